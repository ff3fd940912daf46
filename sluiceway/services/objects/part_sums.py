"""The checksums of the parts that an object was made of.

They stand in a row of their own, ``object_part_sums`` (bucket, sequence), as digests one after the other: ten
thousand of them would make the object's own row, which listings read, a thousand times as long.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

from sluiceway.core.store import Tx, View
from sluiceway.services.objects.checksums import DIGEST_BYTES, text_of
from sluiceway.services.objects.values import Checksum, StoredObject

PART_SUMS: Final = "object_part_sums"


def keep(tx: Tx, bucket: str, sequence: int, checksums: Sequence[str]) -> None:
    """Keep the parts' checksums (base64), in the order of the parts."""
    tx.put(PART_SUMS, (bucket, sequence), b"".join(base64.b64decode(value) for value in checksums))


def forget(tx: Tx, bucket: str, sequence: int) -> None:
    """The object is gone."""
    tx.delete(PART_SUMS, (bucket, sequence))


def of_part(view: View, bucket: str, stored: StoredObject, number: int) -> Checksum | None:
    """The checksum of the part with this place (from 1), if it was kept."""
    found = of_parts(view, bucket, stored)
    if stored.checksum is None or not 0 < number <= len(found):
        return None
    return Checksum(stored.checksum.algorithm, found[number - 1], stored.checksum.type)


def of_parts(view: View, bucket: str, stored: StoredObject) -> list[str]:
    """All parts' checksums in base64; empty if none were kept."""
    if stored.checksum is None or not stored.part_sizes:
        return []
    kept = view.get(PART_SUMS, (bucket, stored.sequence)) or b""
    size = DIGEST_BYTES[stored.checksum.algorithm]
    return [text_of(kept[at : at + size]) for at in range(0, len(kept), size)]
