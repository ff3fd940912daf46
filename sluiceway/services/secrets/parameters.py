"""Parameters with versions (Systems Manager User Guide, "Parameter Store").

Tables: ``parameters`` (name) holds the newest version, ``parameter_versions`` (name, version) all that are
kept. A SecureString's value is sealed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Final

from sluiceway.config import SecretSettings
from sluiceway.core.identity import Scope
from sluiceway.core.store import Tx, View
from sluiceway.errors import AlreadyExists, Conflict, Invalid, NotFound, NotImplementedYet, TooLarge
from sluiceway.services import counts
from sluiceway.services.sealing import Sealer

PARAMETERS: Final = "parameters"
HISTORY: Final = "parameter_versions"
TYPES: Final = frozenset({"String", "StringList", "SecureString"})

_NAME = re.compile(r"[a-zA-Z0-9_.\-/]{1,1011}\Z")
_RESERVED = re.compile(r"/?(?:aws|ssm)", re.IGNORECASE)
_LEVELS_MAX: Final = 15


@dataclass(frozen=True, slots=True)
class Parameter:
    """``value`` is sealed for a SecureString. ``tags`` are of the parameter, not of a version."""

    name: str
    arn: str
    type: str
    value: str
    version: int
    modified_ms: int
    modified_by: str = ""
    description: str = ""
    tier: str = "Standard"
    data_type: str = "text"
    allowed_pattern: str = ""
    key_id: str = ""
    tags: dict[str, str] = field(default_factory=dict)


class Parameters:
    """The operations."""

    def __init__(self, scope: Scope, limits: SecretSettings, sealer: Sealer) -> None:
        self._scope = scope
        self._limits = limits
        self._sealer = sealer

    def arn(self, name: str) -> str:
        """A parameter's ARN; the name's first slash stands only once in it."""
        return self._scope.arn("ssm", f"parameter/{name.removeprefix('/')}")

    def put(
        self,
        tx: Tx,
        name: str,
        value: str,
        type: str | None = None,
        overwrite: bool = False,
        *,
        description: str = "",
        tier: str | None = None,
        data_type: str = "text",
        allowed_pattern: str = "",
        key_id: str = "",
        tags: dict[str, str] | None = None,
        by: str = "",
    ) -> Parameter:
        """Create, or with ``overwrite`` add a version; without ``type``, the former version's.

        Raises ``Invalid("name" | "type" | "value" | "pattern" | "tags")``, ``AlreadyExists("parameter")``,
        ``TooLarge("parameter")``, ``Conflict("limit")``.
        """
        old = self._find(tx, name)
        if old is not None and not overwrite:
            raise AlreadyExists(
                "parameter",
                "The parameter already exists. To overwrite this value, set the overwrite option in the request to "
                "true.",
            )
        if old is not None and tags:
            raise Invalid("tags", "Invalid request: tags and overwrite can't be used together.")
        kind = type or (old.type if old else "")
        if kind not in TYPES:
            raise Invalid("type", "A parameter type is required when you create a parameter.")
        level = self._tier(tier or (old.tier if old else "Standard"), value)
        self._check(name, value, level, allowed_pattern, tags or {})
        if old is None and not counts.one_more(tx, PARAMETERS, self._limits.parameters_max):
            raise Conflict("limit", f"You have exceeded the number of parameters: {self._limits.parameters_max}.")
        version = old.version + 1 if old else 1
        kept = self._sealer.seal(value.encode(), _context(name, version)) if kind == "SecureString" else value
        parameter = Parameter(
            name,
            self.arn(name),
            kind,
            kept,
            version,
            tx.now_ms,
            by,
            description,
            level,
            data_type,
            allowed_pattern,
            (key_id or "alias/aws/ssm") if kind == "SecureString" else "",
            dict(old.tags if old else tags or {}),
        )
        self._save(tx, parameter)
        tx.put(HISTORY, (name, version), asdict(parameter))
        if version > self._limits.versions_max:
            tx.delete(HISTORY, (name, version - self._limits.versions_max))
        return parameter

    def get(self, view: View, selector: str) -> Parameter:
        """The parameter by name or ARN, with ``:VERSION`` behind for a version.

        Raises ``NotFound("parameter" | "version")``.
        """
        name, version = self._selected(selector)
        found = self._find(view, name)
        if found is None:
            raise NotFound("parameter", f"Parameter {selector[:1100]} not found.")
        if version is None:
            return found
        row = (
            view.get(HISTORY, (found.name, int(version)))
            if version.isascii() and version.isdigit() and len(version) < 10
            else None
        )
        if row is None:
            raise NotFound(
                "version",
                f"Systems Manager could not find version {version[:20]} of {name[:1011]}. Verify the version.",
            )
        return Parameter(**row)

    def plain(self, parameter: Parameter) -> str:
        """The value, opened."""
        if parameter.type != "SecureString":
            return parameter.value
        return self._sealer.open(parameter.value, _context(parameter.name, parameter.version)).decode()

    def under(self, view: View, path: str, *, recursive: bool, after: str = "") -> Iterator[Parameter]:
        """Parameters below a path in the order of their names, those after ``after``.

        Raises ``Invalid("path")``.
        """
        if not path.startswith("/") or not _NAME.match(path):
            raise Invalid("path", "The parameter doesn't meet the parameter name requirements: a path begins with /.")
        prefix = path if path.endswith("/") else f"{path}/"
        for parameter in self.list(view, max(prefix, after)):
            name = parameter.name
            if not name.startswith(prefix):
                return
            if name != after and (recursive or "/" not in name[len(prefix) :]):
                yield parameter

    def list(self, view: View, start: str = "") -> Iterator[Parameter]:
        """All parameters by name, from ``start`` on."""
        for _, row in view.scan(PARAMETERS, start=(start,)):
            yield Parameter(**row)

    def history(self, view: View, name: str) -> Sequence[Parameter]:
        """Every kept version, oldest first. Raises ``NotFound("parameter")``."""
        found = self.get(view, name)
        return [Parameter(**row) for _, row in view.scan(HISTORY, prefix=(found.name,))]

    def delete(self, tx: Tx, name: str) -> None:
        """Raises ``NotFound("parameter")``."""
        found = self.get(tx, name)
        for key, _ in list(tx.scan(HISTORY, prefix=(found.name,))):
            tx.delete(HISTORY, key)
        counts.delete(tx, PARAMETERS, (found.name,))

    def retag(self, tx: Tx, name: str, add: Mapping[str, str], drop: Sequence[str] = ()) -> None:
        """Set some tags and remove others. Raises ``NotFound("parameter")``, ``Invalid("tags")``."""
        found = self.get(tx, name)
        tags = {**{key: value for key, value in found.tags.items() if key not in drop}, **add}
        self._check_tags(tags)
        self._save(tx, replace(found, tags=tags))

    def _selected(self, selector: str) -> tuple[str, str | None]:
        prefix = self._scope.arn("ssm", "parameter")
        name = selector.removeprefix(prefix)
        name, colon, version = name.partition(":")
        return name, version if colon else None

    def _find(self, view: View, name: str) -> Parameter | None:
        row = view.get(PARAMETERS, (name,))
        if row is None and name.startswith("/") and name.count("/") == 1:
            row = view.get(PARAMETERS, (name[1:],))  # an ARN does not tell "/name" from "name"
        return None if row is None else Parameter(**row)

    def _save(self, tx: Tx, parameter: Parameter) -> None:
        tx.put(PARAMETERS, (parameter.name,), asdict(parameter))

    def _tier(self, asked: str, value: str) -> str:
        if asked != "Intelligent-Tiering":
            return asked
        return "Advanced" if len(value.encode()) > self._limits.parameter_bytes_max else "Standard"

    def _check(self, name: str, value: str, tier: str, pattern: str, tags: Mapping[str, str]) -> None:
        self._check_name(name)
        self._check_tags(tags)
        if not value:
            raise Invalid("value", "The parameter's value must not be empty.")
        limit = self._limits.advanced_bytes_max if tier == "Advanced" else self._limits.parameter_bytes_max
        if len(value.encode()) > limit:
            raise TooLarge(
                "parameter",
                f"{tier} tier parameters support a maximum parameter value of {limit} characters.",
            )
        if pattern:
            # A client's expression on a client's value could hold up everybody's transactions.
            raise NotImplementedYet("pattern", "AllowedPattern is not offered here yet.")

    def _check_name(self, name: str) -> None:
        if not _NAME.match(name) or "//" in name or name.endswith("/") or ("/" in name and not name.startswith("/")):
            raise Invalid(
                "name",
                "Parameter name must be a fully qualified name: letters, digits, and any of _.-/, beginning with / if "
                "it has one.",
            )
        if _RESERVED.match(name):
            raise Invalid("name", 'Parameter name: can\'t be prefixed with "aws" or "ssm" (case-insensitive).')
        if name.count("/") > _LEVELS_MAX:
            raise Invalid("levels", f"A hierarchy can have a maximum of {_LEVELS_MAX} levels.")

    def _check_tags(self, tags: Mapping[str, str]) -> None:
        if len(tags) > self._limits.tags_max:
            raise Conflict("tags", f"A parameter has at most {self._limits.tags_max} tags.")
        for key, value in tags.items():
            if not 0 < len(key) <= 128 or len(value) > 256 or key.startswith("aws:"):
                raise Invalid("tags", f"The tag {key[:128]!r} is not allowed.")


def _context(name: str, version: int) -> str:
    return f"parameter/{name}/{version}"
