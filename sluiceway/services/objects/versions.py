"""Versions of a key: their ids, where each lies, and how one takes another's place.

A key's newest version is either current, and then its row is in ``objects``, or a delete marker, and then the key has
no row there. Everything older is in ``object_versions``, newest first. So, whatever happens to a key:

* what is in ``objects`` is newer than all that is in ``object_versions``;
* where ``objects`` has nothing, the first row in ``object_versions``, if there is one, is a marker;
* at most one version is the *null* version: the one from a time without versioning, or put while it is suspended.

A version's row moves between the two tables; its bytes stay where its sequence names them. (S3 User Guide,
"How S3 Versioning works", "Working with objects in a versioning-suspended bucket".)
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from sluiceway.core.store import Key, Tx, View
from sluiceway.errors import Invalid, NotFound
from sluiceway.services.objects import garbage, part_sums, restores
from sluiceway.services.objects.rows import BODIES, NULLS, OBJECTS, VERSIONS, Bucket
from sluiceway.services.objects.values import NULL_VERSION, Kept, Marker, StoredObject, kept_of

_NOISE_BYTES: Final = 16
_ID_CHARS: Final = 32
_SEQUENCE_MASK: Final = 2**63 - 1
#: No id begins with "-", which command lines would take for an option; the alphabet is that of AWS's own ids.
_ALPHABET: Final = b"._"


def new_version(sequence: int) -> str:
    """An id for the change with this place in the bucket's history: random, with the place hidden in it.

    A request for a version so finds its row by the row's key, and the row's own copy of the id tells it from a guess.
    """
    noise = secrets.token_bytes(_NOISE_BYTES)
    hidden = sequence ^ int.from_bytes(noise[:8], "big")
    return base64.b64encode(noise + hidden.to_bytes(8, "big"), _ALPHABET).decode()


def sequence_in(version: str) -> int:
    """The place that an id holds, whether or not it was ever given out. Raises ``Invalid("argument")``."""
    try:
        data = base64.b64decode(version.encode("ascii"), _ALPHABET, validate=True)
    except (UnicodeEncodeError, binascii.Error):
        data = b""
    if len(version) != _ID_CHARS or len(data) != _NOISE_BYTES + 8:
        raise bad_version(version)
    hidden = int.from_bytes(data[_NOISE_BYTES:], "big")
    return (hidden ^ int.from_bytes(data[:8], "big")) & _SEQUENCE_MASK


def is_version(version: str) -> bool:
    """Whether this can be an id."""
    try:
        return version == NULL_VERSION or sequence_in(version) >= 0
    except Invalid:
        return False


def bad_version(version: str, argument: str = "versionId") -> Invalid:
    """What is said of an id that can't be one."""
    message = "Invalid version id specified" if version else "Version id cannot be the empty string"
    return Invalid("argument", message, ArgumentName=argument, ArgumentValue=version[:100])


def current_at(view: View, bucket: str, key: str) -> StoredObject | None:
    """The current version, None if there is none or it is a delete marker."""
    return view.get_as(OBJECTS, (bucket, key), _object)


def _object(_key: Key, row: dict[str, Any]) -> StoredObject:
    return StoredObject.from_json(row)


def newest_kept(view: View, bucket: str, key: str) -> Kept | None:
    """The newest version that is not in ``objects``."""
    for _, row in view.scan(VERSIONS, prefix=(bucket, key), limit=1):
        return kept_of(row)
    return None


def latest_at(view: View, bucket: str, key: str) -> Kept | None:
    """The newest version, be it a delete marker."""
    return current_at(view, bucket, key) or newest_kept(view, bucket, key)


def version_at(view: View, bucket: str, key: str, version: str) -> Kept | None:
    """The version with this id. Raises ``Invalid("argument")`` for what is no id."""
    sequence = None if version == NULL_VERSION else sequence_in(version)
    current = current_at(view, bucket, key)
    if current is not None and current.version_id == version:
        return current
    if sequence is None:
        sequence = null_sequence(view, bucket, key)
    row = None if sequence is None else view.get(VERSIONS, (bucket, key, -sequence))
    kept = None if row is None else kept_of(row)
    return kept if kept is not None and kept.version_id == version else None


def at_sequence(view: View, bucket: str, key: str, sequence: int) -> StoredObject | None:
    """The version with this place in the bucket's history."""
    current = current_at(view, bucket, key)
    if current is not None and current.sequence == sequence:
        return current
    row = view.get(VERSIONS, (bucket, key, -sequence))
    kept = None if row is None else kept_of(row)
    return kept if isinstance(kept, StoredObject) else None


def null_sequence(view: View, bucket: str, key: str) -> int | None:
    """The sequence of the null version, if it is not current."""
    sequence: int | None = view.get(NULLS, (bucket, key))
    return sequence


def versions_of(view: View, bucket: str, key: str) -> Iterator[Kept]:
    """All of a key's versions, newest first; read as far as the caller goes."""
    current = current_at(view, bucket, key)
    if current is not None:
        yield current
    for _, row in view.scan(VERSIONS, prefix=(bucket, key)):
        yield kept_of(row)


def object_at(view: View, bucket: Bucket, key: str, version: str | None) -> StoredObject:
    """The current version, or the one with this id.

    Raises ``NotFound("key")`` (with ``marker`` where a delete marker says so), ``NotFound("version")``,
    ``NotFound("marker")`` for the id of a delete marker, ``Invalid("argument")``.
    """
    if version is None:
        current = current_at(view, bucket.name, key)
        if current is None:
            raise no_key(view, bucket, key)
        return current
    found = version_at(view, bucket.name, key, version)
    if found is None:
        raise NotFound("version", "The specified version does not exist.", Key=key, VersionId=version)
    if isinstance(found, Marker):
        raise NotFound(
            "marker",
            "The specified method is not allowed against this resource.",
            ResourceType="DeleteMarker",
            marker=found,
        )
    return found


def no_key(view: View, bucket: Bucket, key: str) -> NotFound:
    """What is said where a key has no current version."""
    marker = newest_kept(view, bucket.name, key) if bucket.versioning else None
    return NotFound("key", "The specified key does not exist.", Key=key, marker=marker)


def make_way(tx: Tx, bucket: Bucket, key: str, current: StoredObject | None) -> None:
    """Before a newer version comes: the current one is kept, or goes if the newer one takes its place.

    The caller puts or deletes the key's row in ``objects``. Without versioning this reads nothing and writes nothing
    but what frees the old bytes.
    """
    if current is not None:
        if bucket.versioning == "Enabled" or current.version is not None:
            keep(tx, bucket.name, key, replace(current, retired_ms=tx.now_ms))
        else:
            let_go(tx, bucket.name, current)
    if bucket.versioning == "Suspended" and (current is None or current.version is not None):
        _drop_null(tx, bucket.name, key)


def keep(tx: Tx, bucket: str, key: str, kept: Kept) -> None:
    """Write the row of a version that is not current, or of a marker."""
    tx.put(VERSIONS, (bucket, key, -kept.sequence), kept.to_json())
    if kept.version is None:
        tx.put(NULLS, (bucket, key), kept.sequence)


def rewrite(tx: Tx, bucket: str, key: str, stored: StoredObject) -> None:
    """Write the row of a version anew, wherever it lies."""
    current = current_at(tx, bucket, key)
    if current is not None and current.sequence == stored.sequence:
        tx.put(OBJECTS, (bucket, key), stored.to_json())
    else:
        keep(tx, bucket, key, stored)


def remove(tx: Tx, bucket: str, key: str, kept: Kept) -> None:
    """Delete a version for good; where it was the newest, the one before it becomes current again."""
    current = current_at(tx, bucket, key)
    if current is not None and current.sequence == kept.sequence:
        tx.delete(OBJECTS, (bucket, key))
        current = None
    else:
        _forget(tx, bucket, key, kept)
    if isinstance(kept, StoredObject):
        let_go(tx, bucket, kept)
    before = newest_kept(tx, bucket, key) if current is None else None
    if isinstance(before, StoredObject):
        _forget(tx, bucket, key, before)
        tx.put(OBJECTS, (bucket, key), replace(before, retired_ms=0).to_json())


def let_go(tx: Tx, bucket: str, stored: StoredObject) -> None:
    """Free the bytes of a version whose row goes."""
    if stored.attributes.storage_class in restores.ARCHIVES:
        restores.forget(tx, bucket, stored.sequence)
    if stored.part_sizes:
        part_sums.forget(tx, bucket, stored.sequence)
    if stored.blob is not None:
        garbage.drop(tx, [stored.blob])
        return
    if not stored.inline:
        pieces = tx.get(BODIES, (bucket, stored.sequence)) or ()
        garbage.drop(tx, [piece[0] for piece in pieces])
    tx.delete(BODIES, (bucket, stored.sequence))


def _forget(tx: Tx, bucket: str, key: str, kept: Kept) -> None:
    tx.delete(VERSIONS, (bucket, key, -kept.sequence))
    if kept.version is None:
        tx.delete(NULLS, (bucket, key))


def _drop_null(tx: Tx, bucket: str, key: str) -> None:
    sequence = null_sequence(tx, bucket, key)
    row = None if sequence is None else tx.get(VERSIONS, (bucket, key, -sequence))
    if row is None:
        return
    kept = kept_of(row)
    _forget(tx, bucket, key, kept)
    if isinstance(kept, StoredObject):
        let_go(tx, bucket, kept)
