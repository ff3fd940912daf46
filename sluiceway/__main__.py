"""The command line's entry point."""

from __future__ import annotations

import gc

gc.disable()  # nothing that is imported is garbage, and looking for it takes a tenth of the time

from sluiceway.cli.app import app  # noqa: E402


def main() -> None:
    """Run the command that the arguments name."""
    gc.enable()
    app()


if __name__ == "__main__":
    main()
