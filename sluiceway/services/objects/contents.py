"""Objects: put, read, delete, copy. Row, history event and published events are one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sluiceway.config import ObjectSettings
from sluiceway.core.store import Tx, View
from sluiceway.errors import Conflict, Invalid, NotFound
from sluiceway.services.objects import garbage
from sluiceway.services.objects.conditions import check_read, check_source, check_write
from sluiceway.services.objects.history import History
from sluiceway.services.objects.names import check_key, check_metadata, check_tags
from sluiceway.services.objects.rows import BODIES, OBJECTS, Bucket, bucket_of
from sluiceway.services.objects.values import (
    NO_CONDITIONS,
    Actor,
    Attributes,
    Checksum,
    Conditions,
    Content,
    Piece,
    StoredObject,
)


@dataclass(frozen=True, slots=True)
class Found:
    """An object with the place of its bytes: ``inline`` (if they were asked for) or ``pieces``."""

    stored: StoredObject
    inline: bytes | None
    pieces: tuple[Piece, ...]


class Contents:
    """The objects of all buckets."""

    def __init__(self, limits: ObjectSettings, history: History) -> None:
        self._limits = limits
        self._history = history

    def put(
        self,
        tx: Tx,
        bucket_name: str,
        key: str,
        content: Content,
        attributes: Attributes,
        actor: Actor,
        conditions: Conditions = NO_CONDITIONS,
        event: str = "ObjectCreated:Put",
    ) -> StoredObject:
        """Store an object whose blobs are sealed and new.

        Raises ``NotFound("bucket")``, ``TooLarge("key"|"metadata")``, ``PreconditionFailed``.
        """
        bucket = bucket_of(tx, bucket_name)
        check_key(key, self._limits)
        if attributes.metadata:
            check_metadata(attributes.metadata, self._limits)
        for piece in content.pieces:
            garbage.adopt(tx, piece.blob)
        return self.place(tx, bucket, key, content, attributes, actor, conditions, event)

    def place(
        self,
        tx: Tx,
        bucket: Bucket,
        key: str,
        content: Content,
        attributes: Attributes,
        actor: Actor,
        conditions: Conditions,
        event: str,
        part_sizes: tuple[int, ...] = (),
        upload: str | None = None,
    ) -> StoredObject:
        """Make ``content``, whose blobs this transaction holds references to, the object under ``key``."""
        old = stored_at(tx, bucket.name, key)
        check_write(old, conditions)
        sequence = self._history.next_sequence(tx, bucket.name)
        single = content.pieces[0] if len(content.pieces) == 1 and content.pieces[0].start == 0 else None
        single = single if single is not None and single.size == content.size else None
        stored = StoredObject(
            size=content.size,
            etag=content.etag,
            modified_ms=tx.now_ms,
            sequence=sequence,
            owner=actor.canonical_id,
            attributes=attributes,
            checksum=content.checksum,
            inline=content.inline is not None,
            blob=single.blob if single else None,
            part_sizes=part_sizes,
            upload=upload,
        )
        if old is not None:
            self._let_go(tx, bucket.name, old)
        tx.put(OBJECTS, (bucket.name, key), stored.to_json())
        if content.inline is not None:
            tx.put(BODIES, (bucket.name, sequence), content.inline)
        elif single is None:
            tx.put(BODIES, (bucket.name, sequence), [[p.blob, p.start, p.size] for p in content.pieces])
        self._history.note(tx, bucket, event, key, sequence, stored, actor)
        return stored

    def head(self, view: View, bucket_name: str, key: str, conditions: Conditions = NO_CONDITIONS) -> StoredObject:
        """Raises ``NotFound("bucket"|"key")``, ``PreconditionFailed``, ``conditions.NotModified``."""
        stored = stored_at(view, bucket_name, key)
        if stored is None:
            bucket_of(view, bucket_name)
            raise _no_key(key)
        check_read(stored, conditions)
        return stored

    def find(self, view: View, bucket_name: str, key: str, conditions: Conditions = NO_CONDITIONS) -> Found:
        """The object and where its bytes are; raises as ``head``."""
        stored = self.head(view, bucket_name, key, conditions)
        return _found(view, bucket_name, stored)

    def delete(
        self, tx: Tx, bucket_name: str, key: str, actor: Actor, conditions: Conditions = NO_CONDITIONS
    ) -> StoredObject | None:
        """Remove the object and return what it was; None (and no event) if there was none.

        Raises ``NotFound("bucket")``, ``PreconditionFailed``.
        """
        bucket = bucket_of(tx, bucket_name)
        check_key(key, self._limits)
        return self._delete(tx, bucket, key, actor, conditions)

    def delete_many(self, tx: Tx, bucket_name: str, keys: Sequence[tuple[str, str | None]], actor: Actor) -> list[bool]:
        """Remove each (key, required ETag or None); whether each was removed (or not there), in order.

        False is a key whose ETag was another one.
        """
        bucket = bucket_of(tx, bucket_name)
        return [self._delete_listed(tx, bucket, key, etag, actor) for key, etag in keys]

    def copy(
        self,
        tx: Tx,
        source: tuple[str, str],
        target: tuple[str, str],
        seen: int,
        attributes: Attributes | None,
        actor: Actor,
        conditions: Conditions = NO_CONDITIONS,
        recomputed: tuple[str, Checksum | None] | None = None,
    ) -> StoredObject:
        """Make ``target`` (bucket, key) an object with the bytes of ``source``, without moving them.

        ``seen`` is the sequence of the source that the caller has checked: if it is another one now,
        ``Conflict("source")`` is raised and the caller looks again. ``attributes`` replaces the source's;
        ``recomputed`` is the ETag and checksum where the source's own don't hold for a single object.
        """
        bucket = bucket_of(tx, target[0])
        check_key(target[1], self._limits)
        stored = stored_at(tx, *source)
        if stored is None or stored.sequence != seen:
            raise Conflict("source", "The source was changed while it was being copied. Please try again.")
        if attributes is not None:
            check_metadata(attributes.metadata, self._limits)
        found = _found(tx, source[0], stored)
        for piece in found.pieces:
            garbage.share(tx, piece.blob)
        etag, checksum = recomputed or (stored.etag, stored.checksum)
        content = Content(stored.size, etag, checksum, found.inline, found.pieces)
        about = attributes or stored.attributes
        return self.place(tx, bucket, target[1], content, about, actor, conditions, "ObjectCreated:Copy")

    def check_source(self, view: View, bucket_name: str, key: str, conditions: Conditions) -> Found:
        """The source of a copy. Raises as ``head``; a source that is "not modified" fails, too."""
        stored = self.head(view, bucket_name, key)
        check_source(stored, conditions)
        if stored.size > self._limits.put_bytes_max:
            raise Invalid(
                "request",
                "The specified copy source is larger than the maximum allowable size for a copy source: "
                f"{self._limits.put_bytes_max}",
            )
        return _found(view, bucket_name, stored)

    def put_tags(self, tx: Tx, bucket_name: str, key: str, tags: list[tuple[str, str]]) -> None:
        """Replace the object's tags; not a change of the object, so its time and ETag stay."""
        stored = self.head(tx, bucket_name, key)
        checked = check_tags(tags, self._limits.object_tags_max)
        changed = replace(stored, attributes=replace(stored.attributes, tags=checked))
        tx.put(OBJECTS, (bucket_name, key), changed.to_json())

    def _delete(self, tx: Tx, bucket: Bucket, key: str, actor: Actor, conditions: Conditions) -> StoredObject | None:
        old = stored_at(tx, bucket.name, key)
        if old is None:
            return None
        check_write(old, conditions)
        sequence = self._history.next_sequence(tx, bucket.name)
        self._let_go(tx, bucket.name, old)
        tx.delete(OBJECTS, (bucket.name, key))
        self._history.note(tx, bucket, "ObjectRemoved:Delete", key, sequence, None, actor)
        return old

    def _delete_listed(self, tx: Tx, bucket: Bucket, key: str, etag: str | None, actor: Actor) -> bool:
        if etag is not None:
            old = stored_at(tx, bucket.name, key)
            if old is not None and etag.strip('"') not in ("*", old.etag):
                return False
        self._delete(tx, bucket, key, actor, NO_CONDITIONS)
        return True

    def _let_go(self, tx: Tx, bucket_name: str, old: StoredObject) -> None:
        if old.blob is not None:
            garbage.drop(tx, [old.blob])
            return
        if not old.inline:
            pieces = tx.get(BODIES, (bucket_name, old.sequence)) or ()
            garbage.drop(tx, [piece[0] for piece in pieces])
        tx.delete(BODIES, (bucket_name, old.sequence))


def stored_at(view: View, bucket_name: str, key: str) -> StoredObject | None:
    """The current object under ``key``, or None."""
    row = view.get(OBJECTS, (bucket_name, key))
    return None if row is None else StoredObject.from_json(row)


def _found(view: View, bucket_name: str, stored: StoredObject) -> Found:
    if stored.blob is not None:
        return Found(stored, None, (Piece(stored.blob, 0, stored.size),))
    body = view.get(BODIES, (bucket_name, stored.sequence))
    if stored.inline:
        return Found(stored, body, ())
    return Found(stored, None, tuple(Piece(*piece) for piece in body or ()))


def _no_key(key: str) -> NotFound:
    return NotFound("key", "The specified key does not exist.", Key=key)
