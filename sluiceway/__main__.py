"""The command line's entry point."""

from __future__ import annotations

from sluiceway.cli.app import app


def main() -> None:
    """Run the command that the arguments name."""
    app()


if __name__ == "__main__":
    main()
