"""Indices: made, found, changed and dropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from sluiceway.config import SearchSettings
from sluiceway.core.clock import new_id
from sluiceway.core.store import Tx, View
from sluiceway.errors import AlreadyExists, Invalid, NotFound, Throttled
from sluiceway.services.documents import checks
from sluiceway.services.documents.values import DROPPED, INDICES, Index


class Indices:
    """Indices by name, by alias, and by patterns."""

    def __init__(self, limits: SearchSettings) -> None:
        self._limits = limits

    def create(self, tx: Tx, name: str, settings: Any = None, mappings: Any = None, aliases: Any = None) -> Index:
        """Make an index. Raises ``AlreadyExists("index")``, ``Invalid("index_name" | "settings" | "mapping")``."""
        checks.check_name(name)
        existing = self.find(tx, name)
        if existing is not None:
            raise AlreadyExists("index", f"index [{name}/{existing.uid}] already exists", index=name)
        if any(name in index.aliases for index in self.all(tx)):
            raise Invalid("index_name", f"Invalid index name [{name}], already exists as alias")
        if sum(1 for _ in tx.scan(INDICES, limit=self._limits.indices_max)) >= self._limits.indices_max:
            raise Throttled("indices", f"There are {self._limits.indices_max} indices already.")
        index = Index(name, new_id().replace("-", ""), tx.now_ms, checks.settings_of(settings or {}))
        fields = index.fields(self._limits.fields_max, self._limits.depth_max)
        fields.merge(mappings or {})
        if aliases is not None and not isinstance(aliases, dict):
            raise Invalid("settings", "aliases must be an object")
        for alias in aliases or {}:
            self._check_alias(tx, alias)
        index = replace(index, kept=fields.to_row(), aliases={alias: {} for alias in aliases or {}})
        self._put(tx, index)
        return index

    def get(self, view: View, name: str) -> Index:
        """The index of this name, or the only one of this alias. Raises ``NotFound("index")``, ``Invalid("alias")``."""
        index = self.find(view, name)
        if index is not None:
            return index
        behind = [index for index in self.all(view) if name in index.aliases]
        if len(behind) > 1:
            raise Invalid("alias", f"alias [{name}] has more than one index associated with it "
                          f"[{', '.join(index.name for index in behind)}], can't execute a single index op")  # fmt: skip
        if not behind:
            raise missing(name)
        return behind[0]

    def find(self, view: View, name: str) -> Index | None:
        """The index of this very name."""
        if not name or len(name) > 255:
            return None
        row: Any = view.get(INDICES, (name,))
        return Index(name, **row) if row is not None else None

    def all(self, view: View) -> Iterator[Index]:
        """Indices by name."""
        for key, row in view.scan(INDICES):
            yield Index(str(key[0]), **row)

    def named(self, view: View, expression: str, *, lenient: bool = False, allow_none: bool = True) -> list[Index]:
        """Indices of an expression: names, aliases, ``*`` patterns, ``-exclusions``, with commas; "" is all.

        Raises ``NotFound("index")`` for a name that isn't there unless ``lenient``; for a pattern without matches if
        not ``allow_none``.
        """
        found: dict[str, Index] = {}
        for part in (expression or "_all").split(","):
            if part.startswith("-") and found:
                for name in [name for name in found if fnmatchcase(name, part[1:])]:
                    del found[name]
                continue
            matched = self._matching(view, part)
            if not matched and not lenient and ("*" not in part and part != "_all"):
                raise missing(part)
            found.update((index.name, index) for index in matched)
        if not found and not allow_none:
            raise missing(expression)
        return list(found.values())

    def _matching(self, view: View, part: str) -> list[Index]:
        if part in ("_all", "*"):
            return list(self.all(view))
        if "*" not in part:
            index = self.find(view, part)
            return [index] if index else [index for index in self.all(view) if part in index.aliases]
        pattern = part.replace("[", "[[]").replace("?", "[?]")
        return [
            index
            for index in self.all(view)
            if fnmatchcase(index.name, pattern) or any(fnmatchcase(alias, pattern) for alias in index.aliases)
        ]

    def drop(self, tx: Tx, index: Index) -> None:
        """Forget the index; its documents are swept later."""
        tx.delete(INDICES, (index.name,))
        tx.put(DROPPED, (index.uid,), {"name": index.name})
        tx.trim(index.log, tx.bounds(index.log).next)
        tx.on_commit(index.log)

    def put_mapping(self, tx: Tx, index: Index, mappings: Any) -> None:
        """Add fields. Raises ``Invalid("mapping" | "merge")``."""
        fields = index.fields(self._limits.fields_max, self._limits.depth_max)
        fields.merge(mappings)
        if fields.changed:
            self._put(tx, replace(index, kept=fields.to_row()))

    def put_settings(self, tx: Tx, index: Index, settings: Any) -> None:
        """Change settings. Raises ``Invalid("settings")``."""
        changed = checks.settings_of(settings, changing=True)
        self._put(tx, replace(index, settings=_over(index.settings, changed)))

    def set_alias(self, tx: Tx, index: Index, alias: str, *, remove: bool = False) -> None:
        """Raises ``Invalid("index_name")``, ``NotFound("alias")``."""
        if remove:
            if alias not in index.aliases:
                raise NotFound("alias", f"aliases [{alias}] missing")
            aliases = {name: value for name, value in index.aliases.items() if name != alias}
        else:
            self._check_alias(tx, alias)
            aliases = index.aliases | {alias: {}}
        self._put(tx, replace(index, aliases=aliases))

    def keep(self, tx: Tx, index: Index, kept: dict[str, Any]) -> Index:
        """Remember a mapping that grew."""
        index = replace(index, kept=kept)
        self._put(tx, index)
        return index

    def _check_alias(self, tx: Tx, alias: str) -> None:
        checks.check_name(alias)
        if self.find(tx, alias) is not None:
            raise Invalid(
                "index_name",
                f"Invalid alias name [{alias}]: an index or data stream exists with the same name as the alias",
            )

    def _put(self, tx: Tx, index: Index) -> None:
        tx.put(INDICES, (index.name,), index.to_json())
        tx.on_commit(index.log)


def missing(name: str) -> NotFound:
    """Of an index."""
    return NotFound("index", f"no such index [{name[:300]}]", index=name[:300])


def _over(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        before = merged.get(key)
        merged[key] = _over(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged
