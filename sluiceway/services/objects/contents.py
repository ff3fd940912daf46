"""Objects: put, read, copy, tag. Row, history event and published events are one transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sluiceway.config import ObjectSettings
from sluiceway.core.store import Tx, View
from sluiceway.errors import Conflict, Invalid, NotFound
from sluiceway.services.objects import garbage, versions
from sluiceway.services.objects.conditions import check_read, check_source, check_write
from sluiceway.services.objects.encryption import Encrypting
from sluiceway.services.objects.grants import Asked
from sluiceway.services.objects.history import History
from sluiceway.services.objects.names import check_key, check_metadata, check_tags
from sluiceway.services.objects.owning import applied, check_asked
from sluiceway.services.objects.restores import check_readable
from sluiceway.services.objects.rows import BODIES, OBJECTS, Bucket, bucket_of
from sluiceway.services.objects.values import (
    NO_CONDITIONS,
    Actor,
    Attributes,
    Checksum,
    Conditions,
    Content,
    Piece,
    Source,
    StoredObject,
)


@dataclass(slots=True)
class Found:
    """An object with the place of its bytes: ``inline`` (if they were asked for) or ``pieces``."""

    stored: StoredObject
    inline: bytes | None
    pieces: tuple[Piece, ...]


class Contents:
    """The objects of all buckets."""

    def __init__(self, limits: ObjectSettings, history: History, encrypting: Encrypting) -> None:
        self._limits = limits
        self._encrypting = encrypting
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
        acl: Asked | None = None,
    ) -> StoredObject:
        """Store an object whose blobs are sealed and new.

        Raises ``NotFound("bucket")``, ``TooLarge("key"|"metadata")``, ``PreconditionFailed``, ``Invalid("acl")``.
        """
        bucket = bucket_of(tx, bucket_name)
        if acl is not None:
            check_asked(tx, bucket, acl)
        check_key(key, self._limits)
        if attributes.metadata:
            check_metadata(attributes.metadata, self._limits)
        for piece in content.pieces:
            garbage.adopt(tx, piece.blob)
        return self.place(tx, bucket, key, content, attributes, actor, conditions, event, acl=acl)

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
        acl: Asked | None = None,
    ) -> StoredObject:
        """Make ``content``, whose blobs this transaction holds references to, the object under ``key``."""
        owner, grants = applied(bucket, acl, actor)
        old = versions.current_at(tx, bucket.name, key)
        check_write(old, key, conditions)
        encryption = self._encrypting.effective(tx, bucket, attributes.encryption)
        if encryption != attributes.encryption:
            attributes = replace(attributes, encryption=encryption)
        sequence = self._history.next_sequence(tx, bucket.name)
        single = content.pieces[0] if len(content.pieces) == 1 and content.pieces[0].start == 0 else None
        single = single if single is not None and single.size == content.size else None
        stored = StoredObject(
            size=content.size,
            etag=content.etag,
            modified_ms=tx.now_ms,
            sequence=sequence,
            owner=owner,
            attributes=attributes,
            checksum=content.checksum,
            inline=content.inline is not None,
            blob=single.blob if single else None,
            part_sizes=part_sizes,
            upload=upload,
            version=versions.new_version(sequence) if bucket.versioning == "Enabled" else None,
            acl=grants,
        )
        versions.make_way(tx, bucket, key, old)
        tx.put(OBJECTS, (bucket.name, key), stored.to_json())
        if content.inline is not None:
            tx.put(BODIES, (bucket.name, sequence), content.inline)
        elif single is None:
            tx.put(BODIES, (bucket.name, sequence), [[p.blob, p.start, p.size] for p in content.pieces])
        self._history.note(tx, bucket, event, key, sequence, stored, actor)
        return stored

    def head(
        self,
        view: View,
        bucket_name: str,
        key: str,
        conditions: Conditions = NO_CONDITIONS,
        version: str | None = None,
    ) -> StoredObject:
        """The current version, or the one with an id.

        Raises ``NotFound("bucket"|"key"|"version"|"marker")``, ``Invalid("argument")``, ``PreconditionFailed``,
        ``conditions.NotModified``.
        """
        stored = versions.current_at(view, bucket_name, key) if version is None else None
        if stored is None:
            stored = versions.object_at(view, bucket_of(view, bucket_name), key, version)
        check_read(stored, conditions)
        return stored

    def find(
        self,
        view: View,
        bucket_name: str,
        key: str,
        conditions: Conditions = NO_CONDITIONS,
        version: str | None = None,
    ) -> Found:
        """The object and where its bytes are; raises as ``head``."""
        stored = self.head(view, bucket_name, key, conditions, version)
        return _found(view, bucket_name, stored)

    def copy(
        self,
        tx: Tx,
        source: Source,
        target: tuple[str, str],
        seen: int,
        attributes: Attributes | None,
        actor: Actor,
        conditions: Conditions = NO_CONDITIONS,
        recomputed: tuple[str, Checksum | None] | None = None,
        acl: Asked | None = None,
    ) -> StoredObject:
        """Make ``target`` (bucket, key) a new object with the bytes of ``source``, without moving them.

        ``seen`` is the sequence of the source that the caller has checked: if it is another one now,
        ``Conflict("source")`` is raised and the caller looks again. ``attributes`` replaces the source's;
        ``recomputed`` is the ETag and checksum where the source's own don't hold for a single object.
        """
        bucket = bucket_of(tx, target[0])
        check_key(target[1], self._limits)
        if acl is not None:
            check_asked(tx, bucket, acl)
        stored = _at(tx, source)
        if stored is None or stored.sequence != seen:
            raise Conflict("source", "The source was changed while it was being copied. Please try again.")
        if attributes is not None:
            check_metadata(attributes.metadata, self._limits)
        found = _found(tx, source.bucket, stored)
        for piece in found.pieces:
            garbage.share(tx, piece.blob)
        etag, checksum = recomputed or (stored.etag, stored.checksum)
        content = Content(stored.size, etag, checksum, found.inline, found.pieces)
        about = attributes or stored.attributes
        return self.place(tx, bucket, target[1], content, about, actor, conditions, "ObjectCreated:Copy", acl=acl)

    def find_source(self, view: View, source: Source, conditions: Conditions) -> Found:
        """The source of a copy. Raises as ``head``; a source that is "not modified" fails, too, and so does one that is
        archived (``Conflict("archived")``)."""
        try:
            stored = self.head(view, source.bucket, source.key, version=source.version)
        except NotFound as error:
            if error.kind != "marker":
                raise
            raise Invalid(
                "request", "The source of a copy request may not specifically refer to a delete marker by version id."
            ) from None
        check_source(stored, conditions)
        check_readable(view, source.bucket, stored, "Operation is not valid for the source object's storage class")
        return _found(view, source.bucket, stored)

    def check_source(self, view: View, source: Source, conditions: Conditions) -> Found:
        """The source of a copy of the whole. Raises as ``find_source``, and for what is too large for one."""
        found = self.find_source(view, source, conditions)
        stored = found.stored
        if stored.size > self._limits.put_bytes_max:
            raise Invalid(
                "request",
                "The specified copy source is larger than the maximum allowable size for a copy source: "
                f"{self._limits.put_bytes_max}",
            )
        return found

    def put_tags(
        self,
        tx: Tx,
        bucket_name: str,
        key: str,
        tags: list[tuple[str, str]] | None,
        actor: Actor,
        version: str | None = None,
    ) -> StoredObject:
        """Replace the version's tags, or remove them (None); not a change of the object, so time and ETag stay."""
        bucket = bucket_of(tx, bucket_name)
        stored = versions.object_at(tx, bucket, key, version)
        checked = check_tags(tags or [], self._limits.object_tags_max)
        changed = replace(stored, attributes=replace(stored.attributes, tags=checked))
        versions.rewrite(tx, bucket_name, key, changed)
        event = "ObjectTagging:Delete" if tags is None else "ObjectTagging:Put"
        self._history.note(tx, bucket, event, key, self._history.next_sequence(tx, bucket_name), changed, actor)
        return changed


def _at(view: View, source: Source) -> StoredObject | None:
    if source.version is None:
        return versions.current_at(view, source.bucket, source.key)
    kept = versions.version_at(view, source.bucket, source.key, source.version)
    return kept if isinstance(kept, StoredObject) else None


def _found(view: View, bucket_name: str, stored: StoredObject) -> Found:
    if stored.blob is not None:
        return Found(stored, None, (Piece(stored.blob, 0, stored.size),))
    body = view.get(BODIES, (bucket_name, stored.sequence))
    if stored.inline:
        return Found(stored, body, ())
    return Found(stored, None, tuple(Piece(*piece) for piece in body or ()))
