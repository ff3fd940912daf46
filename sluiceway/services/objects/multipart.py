"""Multipart uploads: parts are blobs, and completing one moves no byte.

(S3 User Guide, "Uploading and copying objects using multipart upload".)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from sluiceway.config import ObjectSettings
from sluiceway.core.clock import new_token
from sluiceway.core.keys import text_after
from sluiceway.core.store import Tx, View
from sluiceway.errors import Invalid, NotFound, TooLarge
from sluiceway.services.objects import checksums, garbage, part_sums, versions
from sluiceway.services.objects.contents import Contents
from sluiceway.services.objects.encryption import PLAIN, Encrypting
from sluiceway.services.objects.grants import Asked
from sluiceway.services.objects.listing import common_prefix
from sluiceway.services.objects.names import check_key, check_metadata
from sluiceway.services.objects.owning import check_asked
from sluiceway.services.objects.rows import PARTS, UPLOADS, bucket_of
from sluiceway.services.objects.values import (
    NO_CONDITIONS,
    Actor,
    Attributes,
    Checksum,
    ChecksumType,
    Conditions,
    Content,
    Encryption,
    Piece,
    StoredObject,
)


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that was begun. ``named`` is whether the client chose the checksum algorithm; ``acl`` is the list that
    the object will get."""

    id: str
    key: str
    initiated_ms: int
    owner: str
    algorithm: str
    type: ChecksumType
    named: bool
    attributes: Attributes
    acl: Asked | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """An uploaded part. ``checksum`` is base64, by the upload's algorithm."""

    number: int
    size: int
    etag: str
    checksum: str
    modified_ms: int
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """A part as a completion names it; ``checksums`` are those it gives, by algorithm."""

    number: int
    etag: str
    checksums: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Promised:
    """What a completion says of the whole object; "" and None where it says nothing."""

    checksum: Checksum | None = None
    type: str = ""
    size: int | None = None


NO_PROMISE = Promised()


@dataclass(slots=True)
class UploadPage:
    """A page of uploads. ``last`` is the (key, upload id) or (common prefix, "") shown last; ``next`` is the
    same where another page follows, and None at the end."""

    uploads: list[Upload]
    prefixes: list[str]
    last: tuple[str, str] = ("", "")
    next: tuple[str, str] | None = None


class Multipart:
    """Uploads in parts. ``contents`` places what is completed."""

    def __init__(self, limits: ObjectSettings, contents: Contents, encrypting: Encrypting) -> None:
        self._limits = limits
        self._encrypting = encrypting
        self._contents = contents

    def begin(
        self,
        tx: Tx,
        bucket: str,
        key: str,
        attributes: Attributes,
        actor: Actor,
        algorithm: str | None = None,
        type_: str | None = None,
        acl: Asked | None = None,
    ) -> Upload:
        """Begin an upload. Raises ``Invalid("request")`` for a checksum type that the algorithm lacks,
        ``Invalid("acl")``."""
        found = bucket_of(tx, bucket)
        if acl is not None:
            check_asked(tx, found, acl)
        # Kept also where it is S3's own: the bucket's default may be another when the upload is completed.
        encryption = self._encrypting.effective(tx, found, attributes.encryption) or Encryption(PLAIN)
        check_key(key, self._limits)
        check_metadata(attributes.metadata, self._limits)
        chosen = algorithm or checksums.DEFAULT_ALGORITHM
        checked = checksums.check_type(chosen, type_) if type_ else checksums.default_type(chosen)
        # Ids begin with the time: listings show a key's uploads in the order they were begun.
        upload = Upload(
            f"{tx.now_ms:012x}{new_token(24)}",
            key,
            tx.now_ms,
            actor.canonical_id,
            chosen,
            checked,
            algorithm is not None,
            replace(attributes, encryption=encryption),
            acl,
        )
        tx.put(UPLOADS, (bucket, key, upload.id), _upload_row(upload))
        return upload

    def get(self, view: View, bucket: str, key: str, upload_id: str) -> Upload:
        """Raises ``NotFound("bucket"|"upload")``."""
        row = view.get(UPLOADS, (bucket, key, upload_id))
        if row is None:
            bucket_of(view, bucket)
            raise NotFound(
                "upload",
                "The specified upload does not exist. The upload ID may be invalid, or the upload may have "
                "been aborted or completed.",
                UploadId=upload_id,
            )
        return _upload(key, upload_id, row)

    def check_number(self, number: int) -> None:
        """Raises ``Invalid("argument")``."""
        if not 1 <= number <= self._limits.parts_max:
            raise Invalid(
                "argument",
                f"Part number must be an integer between 1 and {self._limits.parts_max}, inclusive",
                ArgumentName="partNumber",
                ArgumentValue=str(number),
            )

    def put_part(
        self,
        tx: Tx,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        content: Content,
        shared: bool = False,
    ) -> Part:
        """Take a part, in place of one with the same number. ``shared``: its blobs belong to an object."""
        self.check_number(number)
        self.get(tx, bucket, key, upload_id)
        for piece in content.pieces:
            if shared:
                garbage.share(tx, piece.blob)
            else:
                garbage.adopt(tx, piece.blob)
        old = tx.get(PARTS, (upload_id, number))
        if old is not None:
            garbage.drop(tx, [piece[0] for piece in old["pieces"]])
        checksum = content.checksum.value if content.checksum else ""
        part = Part(number, content.size, content.etag, checksum, tx.now_ms, content.pieces)
        tx.put(PARTS, (upload_id, number), _part_row(part))
        return part

    def complete(
        self,
        tx: Tx,
        bucket_name: str,
        key: str,
        upload_id: str,
        chosen: Sequence[Chosen],
        actor: Actor,
        conditions: Conditions = NO_CONDITIONS,
        promised: Promised = NO_PROMISE,
    ) -> StoredObject:
        """Make the object of the chosen parts; other parts are dropped.

        A repetition (its first answer was lost) gives the same object again. Raises
        ``NotFound("upload")``, ``Invalid("part"|"part_order"|"part_size"|"checksum"|"request")``.
        """
        bucket = bucket_of(tx, bucket_name)
        done = versions.current_at(tx, bucket_name, key)
        if done is not None and done.upload == upload_id:
            return done
        upload = self.get(tx, bucket_name, key, upload_id)
        all_parts = {int(number): _part(int(number), row) for (_, number), row in tx.scan(PARTS, prefix=(upload_id,))}
        parts = self._chosen_parts(upload, all_parts, chosen)
        content = _joined(upload, parts)
        self._check_whole(upload, content, promised)
        used = {part.number for part in parts}  # compared one by one, ten thousand parts would take seconds
        for number, part in all_parts.items():
            tx.delete(PARTS, (upload_id, number))
            if number not in used:
                garbage.drop(tx, [piece.blob for piece in part.pieces])
        tx.delete(UPLOADS, (bucket_name, key, upload_id))
        stored = self._contents.place(
            tx,
            bucket,
            key,
            content,
            upload.attributes,
            actor,
            conditions,
            "ObjectCreated:CompleteMultipartUpload",
            tuple(part.size for part in parts),
            upload_id,
            upload.acl,
        )
        part_sums.keep(tx, bucket_name, stored.sequence, [part.checksum for part in parts])
        return stored

    def abort(self, tx: Tx, bucket: str, key: str, upload_id: str) -> None:
        """Forget the upload and its parts. Raises ``NotFound("upload")``."""
        self.get(tx, bucket, key, upload_id)
        for part_key, row in list(tx.scan(PARTS, prefix=(upload_id,))):
            garbage.drop(tx, [piece[0] for piece in row["pieces"]])
            tx.delete(PARTS, part_key)
        tx.delete(UPLOADS, (bucket, key, upload_id))

    def parts(
        self, view: View, bucket: str, key: str, upload_id: str, after: int, limit: int
    ) -> tuple[Upload, list[Part], bool]:
        """The upload, its parts with numbers above ``after``, and whether there are more."""
        upload = self.get(view, bucket, key, upload_id)
        rows = view.scan(PARTS, prefix=(upload_id,), start=(upload_id, after + 1), limit=limit + 1)
        found = [_part(int(part_key[1]), row) for part_key, row in rows]
        return upload, found[:limit], 0 < limit < len(found)  # a page of none is the last, else it came for ever

    def uploads(
        self, view: View, bucket: str, prefix: str, delimiter: str, after: tuple[str, str], limit: int
    ) -> UploadPage:
        """Unfinished uploads by key and time of beginning, after (key, upload id); an upload id of ""
        means after every upload of the key."""
        bucket_of(view, bucket)
        page = UploadPage([], [])
        start = _first_upload(bucket, prefix, delimiter, after)
        while start is not None and limit > 0:
            start = self._walk(view, bucket, prefix, delimiter, start, limit, page)
        return page

    def _walk(
        self,
        view: View,
        bucket: str,
        prefix: str,
        delimiter: str,
        start: tuple[str, ...],
        limit: int,
        page: UploadPage,
    ) -> tuple[str, ...] | None:
        for (_, raw_key, raw_id), row in view.scan(UPLOADS, prefix=(bucket,), start=start):
            key, upload_id = str(raw_key), str(raw_id)
            if not key.startswith(prefix):
                return None
            if len(page.uploads) + len(page.prefixes) >= limit:
                page.next = page.last
                return None
            common = common_prefix(key, prefix, delimiter)
            if common is not None:
                page.prefixes.append(common)
                page.last = (common, "")
                beyond = text_after(common)
                return None if beyond is None else (bucket, beyond)
            page.uploads.append(_upload(key, upload_id, row))
            page.last = (key, upload_id)
        return None

    def _chosen_parts(self, upload: Upload, parts: dict[int, Part], chosen: Sequence[Chosen]) -> list[Part]:
        if not chosen:
            raise Invalid("malformed", "You must specify at least one part")
        if any(one.number >= other.number for one, other in pairwise(chosen)):
            raise Invalid(
                "part_order",
                "The list of parts was not in ascending order. Parts must be ordered by part number.",
                UploadId=upload.id,
            )
        found = [self._chosen_part(upload, parts.get(choice.number), choice) for choice in chosen]
        for part in found[:-1]:
            if part.size < self._limits.part_bytes_min:
                raise Invalid(
                    "part_size",
                    "Your proposed upload is smaller than the minimum allowed size",
                    ProposedSize=str(part.size),
                    MinSizeAllowed=str(self._limits.part_bytes_min),
                    PartNumber=str(part.number),
                    ETag=part.etag,
                )
        return found

    def _chosen_part(self, upload: Upload, part: Part | None, choice: Chosen) -> Part:
        if part is None or part.etag != choice.etag.strip('"'):
            raise _invalid_part(upload, choice)
        given = dict(choice.checksums).get(upload.algorithm)
        if given is None and upload.named and upload.type == "COMPOSITE":
            raise Invalid(
                "request",
                f"The upload was created using a {upload.algorithm.lower()} checksum. The complete request "
                "must include the checksum for each part. It was missing for part "
                f"{choice.number} in the request.",
            )
        if given is not None and given != part.checksum:
            raise _invalid_part(upload, choice)
        return part

    def _check_whole(self, upload: Upload, content: Content, promised: Promised) -> None:
        if content.size > self._limits.object_bytes_max:
            raise TooLarge("object", "Your proposed upload exceeds the maximum allowed size")
        if promised.size not in (None, content.size):
            raise Invalid(
                "request",
                f"The provided 'x-amz-mp-object-size' header value {promised.size} does not match what was "
                f"computed: {content.size}",
            )
        if promised.type not in ("", upload.type):
            raise Invalid(
                "request",
                f"The upload was created using the {upload.type} checksum mode. The complete request must use the same "
                "checksum mode.",
            )
        expected, checksum = promised.checksum, content.checksum
        if expected is not None and checksum is not None and not _keeps(checksum, expected):
            raise Invalid(
                "digest",
                f"The {expected.algorithm} you specified did not match the calculated checksum.",
            )


def _keeps(checksum: Checksum, expected: Checksum) -> bool:
    """Whether it is what was promised. Clients name a composite one with and without its number of parts (boto3 gives back
    what it was told, MinIO's client computes it), and no base64 has a hyphen."""
    return expected.algorithm == checksum.algorithm and expected.value in (
        checksum.value,
        checksum.value.partition("-")[0],
    )


def _first_upload(bucket: str, prefix: str, delimiter: str, after: tuple[str, str]) -> tuple[str, ...] | None:
    """Where a page begins that follows ``after``."""
    key, upload_id = after
    if key < prefix or not key:
        return (bucket, prefix)
    if upload_id:
        return (bucket, key, f"{upload_id}\x00")
    if common_prefix(key, prefix, delimiter) == key:
        beyond = text_after(key)
        return None if beyond is None else (bucket, beyond)
    return (bucket, f"{key}\x00")


def _joined(upload: Upload, parts: list[Part]) -> Content:
    """One content of many parts; its ETag is the MD5 of their MD5s and their number."""
    digest = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts), usedforsecurity=False)
    checksum = checksums.of_parts(upload.algorithm, upload.type, [(part.checksum, part.size) for part in parts])
    return Content(
        size=sum(part.size for part in parts),
        etag=f"{digest.hexdigest()}-{len(parts)}",
        checksum=checksum,
        pieces=tuple(piece for part in parts for piece in part.pieces),
    )


def _invalid_part(upload: Upload, choice: Chosen) -> Invalid:
    return Invalid(
        "part",
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or the "
        "specified entity tag may not match the part's entity tag.",
        UploadId=upload.id,
        PartNumber=str(choice.number),
        ETag=choice.etag.strip('"'),
    )


def _upload_row(upload: Upload) -> dict[str, Any]:
    about = upload.attributes
    row: dict[str, Any] = {
        "initiated_ms": upload.initiated_ms,
        "owner": upload.owner,
        "checksum": [upload.algorithm, upload.type, upload.named],
        "attributes": {
            "content_type": about.content_type,
            "headers": dict(about.headers),
            "metadata": dict(about.metadata),
            "tags": dict(about.tags),
            "storage_class": about.storage_class,
            "encryption": about.encryption.to_json() if about.encryption else None,
        },
    }
    if upload.acl is not None:
        row["acl"] = upload.acl.to_json()
    return row


def _upload(key: str, upload_id: str, row: dict[str, Any]) -> Upload:
    algorithm, type_, named = row["checksum"]
    attributes = Attributes(**row["attributes"])
    if attributes.encryption:
        attributes = replace(attributes, encryption=Encryption(*row["attributes"]["encryption"]))
    acl = Asked.from_json(row["acl"]) if "acl" in row else None
    return Upload(upload_id, key, row["initiated_ms"], row["owner"], algorithm, type_, named, attributes, acl)


def _part_row(part: Part) -> dict[str, Any]:
    return {
        "size": part.size,
        "etag": part.etag,
        "checksum": part.checksum,
        "modified_ms": part.modified_ms,
        "pieces": [[piece.blob, piece.start, piece.size] for piece in part.pieces],
    }


def _part(number: int, row: dict[str, Any]) -> Part:
    pieces = tuple(Piece(*piece) for piece in row["pieces"])
    return Part(number, row["size"], row["etag"], row["checksum"], row["modified_ms"], pieces)
