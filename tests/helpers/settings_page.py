"""Makes docs/settings.md from sluiceway/config, so that the page can't say anything else than the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sluiceway.config import Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
_UNITS = {
    "bytes": "bytes",
    "s": "seconds",
    "ms": "milliseconds",
    "h": "hours",
    "mb": "MiB",
    "chars": "characters",
    "pages": "pages",
}
_STEPS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_HEAD = """# Settings

Made from `sluiceway/config/` by `scripts/docs`; don't edit. `tests/unit/test_settings.py` keeps it in line.

A setting's value is the first of these that is given: an option of the command line (`--data`, `--host`, `--port`,
`--log-format`), the environment variable, the line in `sluiceway.toml` in the data folder, the default. An unknown
setting in the file and a value that doesn't fit end `sluiceway up` with its name. In the file a section is a table:

```toml
region = "eu-central-1"

[http]
port = 8080

[delivery]
smtp_host = "mail.example.com"
```

Two more variables belong to the user, not to the server: `XDG_RUNTIME_DIR` (else `XDG_CACHE_HOME`, else `~/.cache`)
is where commands find the servers that run. Bytes are counted in powers of two: 1 KiB is 1,024 bytes.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One setting. ``name`` is as in the TOML file ("http.port")."""

    name: str
    field: FieldInfo

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return "SLUICEWAY_" + self.name.upper().replace(".", "__")

    @property
    def default(self) -> Any:
        """What holds if nobody says otherwise."""
        return self.field.get_default(call_default_factory=True)

    @property
    def unit(self) -> str:
        """From the description's first word, the name's last one, or the type."""
        description = self.field.description or ""
        if description.startswith("Characters"):
            return "characters"
        words = [word for word in self.name.rpartition(".")[2].split("_") if word not in ("max", "min")]
        if words[-1] == "port":
            return "port"
        if words[-1] in _UNITS:
            return _UNITS[words[-1]]
        return _kind(self.field.annotation)


def rows() -> Iterator[Row]:
    """Every setting, in the order of ``Settings``."""
    for name, field in Settings.model_fields.items():
        if not _is_section(field):
            yield Row(name, field)
    for section in sections():
        for name, field in section[1].model_fields.items():
            yield Row(f"{section[0]}.{name}", field)


def sections() -> list[tuple[str, type[BaseModel]]]:
    """The sections with their names."""
    return [(name, field.annotation) for name, field in Settings.model_fields.items() if _is_section(field)]  # type: ignore[misc]


def page() -> str:
    """The whole page."""
    every = list(rows())
    parts = [_HEAD, "## The server\n", _table([row for row in every if "." not in row.name])]
    for name, section in sections():
        parts += [
            f"## `[{name}]`\n",
            f"{section.__doc__}\n",
            _table([r for r in every if r.name.startswith(f"{name}.")]),
        ]
    return "\n".join(parts)


def _is_section(field: FieldInfo) -> bool:
    kind = field.annotation
    return isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not Settings


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(annotation))
    text = str(annotation)
    for piece, words in (
        ("list", "list"),
        ("Path", "path"),
        ("SecretStr", "secret"),
        ("bool", "true or false"),
        ("str", "text"),
        ("float", "number"),
        ("int", "count"),
    ):
        if piece in text:
            return words
    raise AssertionError(f"no unit for {text}")


def _table(items: list[Row]) -> str:
    lines = ["| setting | environment | default | unit | what and why |", "|---|---|---|---|---|"]
    for row in items:
        name = row.name.rpartition(".")[2]
        cells = (f"`{name}`", f"`{row.variable}`", _shown(row), row.unit, row.field.description or "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _shown(row: Row) -> str:
    value = row.default
    if value is None or value == [] or str(value) == "":
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return _number(row, value)
    return f"`{value}`"


def _number(row: Row, value: int | float) -> str:
    if row.unit == "bytes" and value >= 1024:
        for step, name in _STEPS:
            if value % step == 0:
                return f"{_grouped(value // step)} {name}"
    if row.unit == "port":
        return str(value)
    return _grouped(value)


def _grouped(value: int | float) -> str:
    return re.sub(r"\.0\Z", "", f"{value:,}")
