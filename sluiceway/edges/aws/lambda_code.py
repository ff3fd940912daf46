"""Functions' archives on their way in: from the request itself, or from a bucket that the caller may read."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from sluiceway.config import FunctionSettings
from sluiceway.core.blobs import Blobs
from sluiceway.core.store import Store
from sluiceway.edges.aws.operations import Call
from sluiceway.errors import AccessDenied, Conflict, Invalid, NotFound, TooLarge
from sluiceway.services.access import Authorize
from sluiceway.services.functions import Code
from sluiceway.services.objects import Objects
from sluiceway.services.objects.restores import check_readable
from sluiceway.services.objects.values import Piece

_CHUNK: Final = 256 * 1024
_ARCHIVED: Final = "The operation is not valid for the object's storage class"
#: A zip file ends with this record, which a comment of up to 65,535 bytes may follow (PKWARE APPNOTE, 4.3.16).
_END_MARK: Final = b"PK\x05\x06"
_END_BYTES: Final = 22 + 65_535


class Archives:
    """Stages the code of CreateFunction and UpdateFunctionCode as a blob."""

    def __init__(
        self, store: Store, blobs: Blobs, objects: Objects, authorize: Authorize, limits: FunctionSettings
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._objects = objects
        self._authorize = authorize
        self._limits = limits

    async def take(self, call: Call, code: dict[str, Any]) -> Code:
        """The archive that ``code`` (a FunctionCode) names, sealed. Raises ``Invalid("code")``, ``TooLarge``."""
        if code.get("ImageUri"):
            raise Invalid("code", "Container images are not supported here: send a .zip archive.")
        if code.get("ZipFile") is not None:
            return await self._keep(_once(code["ZipFile"]))
        if code.get("S3Bucket") and code.get("S3Key"):
            return await self._keep(await self._object(call, code))
        raise Invalid("code", "Please provide a source for function code.")

    async def _object(self, call: Call, code: dict[str, Any]) -> AsyncIterator[bytes]:
        bucket, key, version = code["S3Bucket"], code["S3Key"], code.get("S3ObjectVersion")
        action = "s3:GetObjectVersion" if version else "s3:GetObject"
        try:
            access = await self._store.view(self._objects.buckets.access, bucket)
            resource = f"arn:aws:s3:::{bucket}/{key}"
            self._authorize(call.principal, action, resource, call.conditions, access.policy)
            found = await self._store.view(self._objects.contents.find, bucket, key, version=version or None)
            await self._store.view(check_readable, bucket, found.stored, _ARCHIVED)
        except (NotFound, AccessDenied, Invalid, Conflict) as error:
            text = "Error occurred while GetObject. S3 Error Code: "
            raise Invalid("code", f"{text}{_code_of(error)}. S3 Error Message: {error.message}") from None
        if found.inline is not None:
            return _once(found.inline)
        return self._pieces(found.pieces)

    async def _pieces(self, pieces: Sequence[Piece]) -> AsyncIterator[bytes]:
        for piece in pieces:
            async for chunk in self._blobs.open(piece.blob, piece.start, piece.size):
                yield chunk

    async def _keep(self, chunks: AsyncIterator[bytes]) -> Code:
        digest, tail = hashlib.sha256(), b""
        staged = await self._blobs.stage([digest])
        try:
            async for chunk in chunks:
                if staged.size + len(chunk) > self._limits.archive_bytes_max:
                    raise TooLarge("code", f"The archive must be smaller than {self._limits.archive_bytes_max} bytes.")
                await staged.write(chunk)
                tail = (tail + chunk)[-_END_BYTES:]
            if _END_MARK not in tail:
                raise Invalid(
                    "code", "Could not unzip uploaded file. Please check your file, then try to upload again."
                )
            size = staged.size
            blob = await staged.seal()
        except BaseException:
            await staged.discard()
            raise
        return Code(blob, base64.b64encode(digest.digest()).decode(), size)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), _CHUNK):
        yield data[at : at + _CHUNK]


def _code_of(error: NotFound | AccessDenied | Invalid | Conflict) -> str:
    """What the object service would have answered."""
    if isinstance(error, Conflict):
        return "InvalidObjectState"
    if isinstance(error, AccessDenied):
        return "AccessDenied"
    if isinstance(error, Invalid):
        return "InvalidArgument"
    return {"version": "NoSuchVersion", "marker": "MethodNotAllowed"}.get(error.kind, "NoSuchKey")
