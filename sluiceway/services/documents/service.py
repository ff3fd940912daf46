"""The document service, as transaction functions.

A document is a row with the JSON text as it was given. Each change is appended to the log ``documents/INDEX``; its
offset is the document's sequence number. The searchable index follows the log (``reactions.search_feeder``).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from sluiceway.config import SearchSettings
from sluiceway.core.search.mapping import Fields
from sluiceway.core.search.values import flatten
from sluiceway.core.store import Tx, View
from sluiceway.errors import DomainError, Invalid, NotFound, PreconditionFailed
from sluiceway.services.documents import checks
from sluiceway.services.documents.indices import Indices, missing
from sluiceway.services.documents.updates import updated
from sluiceway.services.documents.values import DOCUMENTS, DROPPED, Batch, Document, Index, Standing, Write, Written

#: There is one primary, for ever (Elasticsearch counts its fail-overs here).
PRIMARY_TERM: Final = 1


@dataclass(slots=True)
class _Open:
    """Indices that a transaction has looked at, with their mappings to work with."""

    indices: dict[str, tuple[Index, Fields]] = field(default_factory=dict)  # by the index's own name
    names: dict[str, str] = field(default_factory=dict)  # as they were asked for -> the index's own


class Documents:
    """Documents of all indices; ``indices`` are the indices themselves."""

    def __init__(self, limits: SearchSettings) -> None:
        self._limits = limits
        self.indices = Indices(limits)

    # -- reading

    def get(self, view: View, name: str, id: str) -> tuple[Index, Document | None]:
        """The document as it is now. Raises ``NotFound("index")``."""
        index = self.indices.get(view, name)
        return index, self._find(view, index.uid, id)

    def fields(self, index: Index) -> Fields:
        """The index's mapping to work with."""
        return index.fields(self._limits.fields_max, self._limits.depth_max)

    # -- writing

    def write(self, tx: Tx, write: Write) -> Written:
        """Make one change.

        Raises ``NotFound("index" | "document")``, ``PreconditionFailed("version" | "exists")``, ``Invalid``.
        """
        return self._write(tx, write, _Open())

    def write_all(self, tx: Tx, writes: Sequence[Write]) -> list[Written | DomainError]:
        """Make changes in order; each succeeds or fails by itself."""
        opened = _Open()
        outcomes: list[Written | DomainError] = []
        for write in writes:
            try:
                outcomes.append(self._write(tx, write, opened))
            except DomainError as error:
                opened.indices.clear()  # what the failed one did to a mapping never happened
                outcomes.append(error)
        return outcomes

    def _write(self, tx: Tx, write: Write, opened: _Open) -> Written:
        if write.id is not None:
            checks.check_id(write.id)
        index, fields = self._opened(tx, write, opened)
        id = write.id if write.id is not None else secrets.token_urlsafe(15)
        old = self._find(tx, index.uid, id)
        _check_sequence(write, id, old)
        if write.operation == "delete":
            return self._delete(tx, index, id, old)
        if write.operation == "create" and old is not None:
            raise PreconditionFailed("exists", f"[{id}]: version conflict, document already exists (current version "
                                     f"[{old.version}])", index=index.name)  # fmt: skip
        source, value = write.source, write.body
        if write.operation == "update":
            made = updated(old, write.body, id, index.name)
            if made is None:
                assert old is not None
                return Written(index.name, index.uid, id, old.version, old.sequence, "noop", old.source)
            source, value = made
        flatten(fields, value, id, self._limits.depth_max)
        if fields.changed:
            fields.changed = False
            opened.indices[index.name] = self.indices.keep(tx, index, fields.to_row()), fields
        sequence = tx.append(index.log, {"op": "put", "id": id})
        version = old.version + 1 if old is not None else 1
        tx.put(DOCUMENTS, (index.uid, id), {"v": version, "s": sequence, "source": source})
        result: Any = "created" if old is None else "updated"
        return Written(index.name, index.uid, id, version, sequence, result, source)

    def _delete(self, tx: Tx, index: Index, id: str, old: Document | None) -> Written:
        if old is None:
            return Written(index.name, index.uid, id, 1, max(0, tx.bounds(index.log).next - 1), "not_found")
        tx.delete(DOCUMENTS, (index.uid, id))
        sequence = tx.append(index.log, {"op": "delete", "id": id})
        return Written(index.name, index.uid, id, old.version + 1, sequence, "deleted")

    def _opened(self, tx: Tx, write: Write, opened: _Open) -> tuple[Index, Fields]:
        known = opened.indices.get(opened.names.get(write.index, ""))
        if known is not None:
            return known
        if write.require_alias and self.indices.find(tx, write.index) is not None:
            raise missing(write.index)
        try:
            index = self.indices.get(tx, write.index)
        except NotFound:
            if write.must_exist or write.operation == "delete" or write.require_alias:
                raise
            index = self.indices.create(tx, write.index)
        opened.names[write.index] = index.name
        if index.name not in opened.indices:
            opened.indices[index.name] = index, self.fields(index)
        return opened.indices[index.name]

    def _find(self, view: View, uid: str, id: str) -> Document | None:
        row: Any = view.get(DOCUMENTS, (uid, id))
        return _document(id, row) if row is not None else None

    # -- what the feeder asks

    def standings(self, view: View, names: Sequence[str] | None = None) -> list[Standing]:
        """Where logs are, of these indices or of all; those that are gone are left out."""
        indices: Iterator[Index | None] = (
            iter(self.indices.all(view)) if names is None else (self.indices.find(view, name) for name in names)
        )
        found = []
        for index in indices:
            if index is not None:
                bounds = view.bounds(index.log)
                found.append(Standing(index, bounds.first, bounds.next))
        return found

    def changes(self, view: View, name: str, position: int) -> Batch | None:
        """What changed from ``position`` on, as it is now; None if the index is gone."""
        index = self.indices.find(view, name)
        if index is None:
            return None
        entries = view.read(index.log, position, self._limits.feed_entries)
        documents: dict[str, Document | None] = {}
        size, after = 0, position
        for entry in entries:
            id = entry.value["id"]
            if id not in documents:
                document = documents[id] = self._find(view, index.uid, id)
                size += len(document.source) if document else 0
            after = entry.offset + 1
            if size > self._limits.feed_bytes:
                break
        gone = [id for id, document in documents.items() if document is None]
        present = [document for document in documents.values() if document is not None]
        return Batch(index, present, gone, after, after < view.bounds(index.log).next)

    def page(self, view: View, name: str, after: str | None) -> Batch | None:
        """All documents by id, a page at a time, with where the log is now; None if the index is gone."""
        index = self.indices.find(view, name)
        if index is None:
            return None
        start = None if after is None else (index.uid, after)
        documents: list[Document] = []
        size, more = 0, False
        # One row more than a page says whether there is a next one; the one that it goes on from comes again.
        for key, row in view.scan(DOCUMENTS, prefix=(index.uid,), start=start, limit=self._limits.feed_entries + 2):
            if key[1] == after:
                continue
            if len(documents) == self._limits.feed_entries or size > self._limits.feed_bytes:
                more = True
                break
            documents.append(_document(str(key[1]), row))
            size += len(documents[-1].source)
        return Batch(index, documents, (), view.bounds(index.log).next, more)

    def trim(self, tx: Tx, name: str, before: int) -> None:
        """Forget changes that are in the index."""
        index = self.indices.find(tx, name)
        if index is not None:
            tx.trim(index.log, before)

    def sweep(self, tx: Tx) -> bool:
        """Delete some documents of dropped indices; whether there are more."""
        for key, _ in list(tx.scan(DROPPED, limit=1)):
            rows = [row for row, _ in tx.scan(DOCUMENTS, prefix=key, limit=self._limits.feed_entries)]
            for row in rows:
                tx.delete(DOCUMENTS, row)
            if len(rows) < self._limits.feed_entries:
                tx.delete(DROPPED, key)
            return True
        return False


def _document(id: str, row: Any) -> Document:
    return Document(id, row["v"], row["s"], row["source"])


def _check_sequence(write: Write, id: str, old: Document | None) -> None:
    if write.sequence is None and write.term is None:
        return
    if write.sequence is None or write.term is None:
        raise Invalid("concurrency", "Validation Failed: 1: ifSeqNo and ifPrimaryTerm must be given together;")
    present = (
        f"current document has seqNo [{old.sequence}] and primary term [{PRIMARY_TERM}]"
        if old
        else "but no document was found"
    )
    if old is None or old.sequence != write.sequence or write.term != PRIMARY_TERM:
        raise PreconditionFailed("version", f"[{id}]: version conflict, required seqNo [{write.sequence}], primary term "
                                 f"[{write.term}]. {present}", index=write.index)  # fmt: skip


def parsed(text: str | bytes, kind: str = "json") -> Any:
    """JSON, not too deep to be worked with. Raises ``Invalid(kind)``."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(kind, f"the body is not JSON: {error}") from None
    deepest = 100
    level = [value]
    while level and deepest:
        level = [item for part in level if isinstance(part, dict | list) for item in
                 (part.values() if isinstance(part, dict) else part) if isinstance(item, dict | list)]  # fmt: skip
        deepest -= 1
    if level:
        raise Invalid(kind, "the body's objects and lists are more than 100 deep")
    return value
