"""Values and rows of the document service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sluiceway.core.search.mapping import Fields

#: (name) -> the index. ``uid`` names its documents and its files; a new index of the same name has another.
INDICES = "search_indices"
#: (uid, document id) -> {"v": version, "s": sequence number, "source": the JSON text as it was given}
DOCUMENTS = "documents"
#: (uid) -> {} of deleted indices, until their documents are gone too
DROPPED = "search_dropped"


@dataclass(frozen=True, slots=True)
class Index:
    """An index. ``kept`` is its mapping's row, ``settings`` what stands below ``index``, ``aliases`` by name."""

    name: str
    uid: str
    created_ms: int
    settings: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    aliases: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Its row."""
        return {
            "uid": self.uid,
            "created_ms": self.created_ms,
            "settings": self.settings,
            "kept": self.kept,
            "aliases": self.aliases,
        }

    @property
    def log(self) -> str:
        """The log of its changes."""
        return f"documents/{self.name}"

    @property
    def mappings(self) -> dict[str, Any]:
        """As they are shown."""
        shown: dict[str, Any] = self.kept.get("mappings") or {}
        return shown

    def fields(self, fields_max: int, depth_max: int) -> Fields:
        """The mapping to work with."""
        return Fields(self.kept, self.settings.get("analysis") or {}, fields_max, depth_max)


@dataclass(frozen=True, slots=True)
class Document:
    """A stored document. ``source`` is its JSON text; ``sequence`` the offset of its last change."""

    id: str
    version: int
    sequence: int
    source: str


@dataclass(frozen=True, slots=True)
class Write:
    """One change that is asked for. ``source`` is a JSON text for ``index`` and ``create``; for ``update`` the parts
    that its request has. ``sequence`` and ``term`` are what the document must have (optimistic concurrency)."""

    operation: Literal["index", "create", "update", "delete"]
    index: str
    id: str | None = None
    source: str = ""
    body: Any = None
    sequence: int | None = None
    term: int | None = None
    must_exist: bool = False  # the index: it is not made on the way
    require_alias: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a change. ``source`` is the document after an update."""

    index: str
    uid: str
    id: str
    version: int
    sequence: int
    result: Literal["created", "updated", "deleted", "not_found", "noop"]
    source: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """A part of an index for the feeder: present documents, ids that are gone, and the position afterwards."""

    index: Index
    documents: Sequence[Document]
    gone: Sequence[str]
    position: int
    more: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an index's log is: first offset kept, next offset."""

    index: Index
    first: int
    next: int


def counts_of(kept: Mapping[str, Any]) -> Mapping[str, int]:
    """How many columns of each kind a mapping's row needs."""
    return kept.get("next") or {}
