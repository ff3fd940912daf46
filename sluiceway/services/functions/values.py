"""Functions as values, and the names of their rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

FUNCTIONS: Final = "functions"

#: Runtime -> the family whose client runs it. What has no Docker image here runs on this machine's own
#: Python and Node.js, whatever the minor version named.
RUNTIMES: Final = ("python3.", "nodejs", "provided")


def log_of(name: str) -> str:
    """The log of a function's asynchronous invocations."""
    return f"function/{name}"


def reaction_of(name: str) -> str:
    """The id of the reaction that carries them out."""
    return f"function:{name}"


@dataclass(frozen=True, slots=True)
class Code:
    """A zip archive: its blob, the base64 SHA-256 of its bytes, and how many they are."""

    blob: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Settings:
    """What UpdateFunctionConfiguration changes. ``timeout_s`` in seconds, ``memory_mb`` in MiB."""

    runtime: str
    handler: str
    role: str
    timeout_s: int = 3
    memory_mb: int = 128
    description: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    dead_letter: str = ""
    tracing: str = "PassThrough"


@dataclass(frozen=True, slots=True)
class Function:
    """``revision`` changes with code and settings: workers of an older one are not used again."""

    name: str
    arn: str
    code: Code
    settings: Settings
    revision: str
    created_ms: int
    modified_ms: int
    tags: dict[str, str] = field(default_factory=dict)
    statements: list[dict[str, Any]] = field(default_factory=list)
    concurrency: int | None = None
    on_success: str = ""
    on_failure: str = ""
    tries_max: int | None = None
    age_s_max: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is kept in the table "functions"."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Function:
        """What ``to_json`` wrote."""
        return cls(**{**row, "code": Code(**row["code"]), "settings": Settings(**row["settings"])})
