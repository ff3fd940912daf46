"""The body of a request: framed, decoded, hashed, verified, and put where it belongs.

A small body stays in memory and goes into the store with its row. A larger one is streamed to a blob, so
that an upload takes bounded memory whatever its size. Nothing is stored of a body that is cut short or
does not match what was promised of it.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sluiceway.core.blobs import Hasher
from sluiceway.edges.http import Headers
from sluiceway.edges.s3.call import Call, Tools
from sluiceway.edges.s3.checksums import Promise, check_document, check_md5, check_promise, content_md5, has_digest
from sluiceway.edges.sigv4_chunks import ChunkDecoder, decoder_for
from sluiceway.errors import DomainError, Invalid, TooLarge, Unavailable
from sluiceway.services.objects.checksums import Running, running, text_of
from sluiceway.services.objects.values import Checksum, Content, Piece

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Sums:
    """What is computed over a body in one pass. ``sha256`` only where the signature covers the body;
    ``promised`` only where the client promises another checksum than the one that is kept."""

    algorithm: str
    md5: hashlib._Hash
    checksum: Running
    sha256: hashlib._Hash | None
    promised: Running | None = None

    def all(self) -> list[Hasher]:
        """Whatever wants to see the bytes."""
        found: list[Hasher] = [self.md5, self.checksum]
        if self.sha256 is not None:
            found.append(self.sha256)
        if self.promised is not None:
            found.append(self.promised)
        return found

    def content(self, size: int, pieces: tuple[Piece, ...] = (), inline: bytes | None = None) -> Content:
        """What was hashed, as an object's content."""
        checksum = Checksum(self.algorithm, text_of(self.checksum.digest()))
        return Content(size, self.md5.hexdigest(), checksum, inline, pieces)


def sums_of(algorithm: str, sha256: bool = False, promise: Promise | None = None) -> Sums:
    """Fresh sums."""
    md5 = hashlib.md5(usedforsecurity=False)
    promised = running(promise.algorithm) if promise and promise.algorithm != algorithm else None
    return Sums(algorithm, md5, running(algorithm), hashlib.sha256() if sha256 else None, promised)


async def document(call: Call, *, digest_required: bool = False, of_body: bool = True) -> bytes:
    """A small XML or JSON body, whole and verified.

    ``of_body`` is false where the checksum headers speak of an object, not of this body.
    """
    kept: bytes | None = call.request.scratch.get("s3.document")
    if kept is not None:
        return kept  # policies had to look into it
    headers = call.request.headers
    decoder = decoder_for(call.request, call.verified)
    limit = call.tools.limits.document_bytes_max
    if decoder is None:
        data = await call.request.body.read(limit)
    else:
        data = b"".join([chunk async for chunk in _decoded(call, decoder, limit)])
        if len(data) != _declared_size(headers, True):
            raise _incomplete()
    _check_sha256(call.verified.payload_sha256, hashlib.sha256(data).hexdigest)
    if of_body:
        check_document(headers, data, dict(decoder.trailers) if decoder else {})
    if digest_required and not has_digest(headers):
        raise Invalid("request", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
    return data


async def receive(call: Call, promise: Promise | None, algorithm: str, *, inline: bool = True) -> Content:
    """Take the body as an object's content; ``algorithm`` is the checksum that is kept of it.

    Raises ``Invalid("length"|"incomplete"|"digest"|"digest_form"|"sha256")``, ``TooLarge("object")``,
    ``Unauthenticated`` for a chunk's signature, ``http.ClientGone``.
    """
    limits = call.tools.limits
    decoder = decoder_for(call.request, call.verified)
    size = _declared_size(call.request.headers, decoder is not None)
    if size > limits.put_bytes_max:
        raise TooLarge(
            "object",
            "Your proposed upload exceeds the maximum allowed size",
            ProposedSize=str(size),
            MaxSizeAllowed=str(limits.put_bytes_max),
        )
    content_md5(call.request.headers)  # whose form can be refused before the body
    sums = sums_of(algorithm, len(call.verified.payload_sha256) == 64, promise)
    to_store = inline and size <= limits.inline_bytes_max
    body = call.request.body.at_hand() if to_store and decoder is None else None
    if body is None:
        chunks = call.request.body.chunks() if decoder is None else _decoded(call, decoder, size)
        if not to_store:
            return await _to_blob(call, chunks, size, sums, promise, decoder)
        body = await _collect(chunks, size)
    if len(body) != size:
        raise _incomplete()
    for hasher in sums.all():
        hasher.update(body)
    content = sums.content(size, inline=body)
    _verify(call, sums, content, promise, decoder)
    return content


async def receive_file(call: Call, promise: Promise | None, algorithm: str, chunks: AsyncIterator[bytes]) -> Content:
    """Take ``chunks``, a file whose size is known at its end only (a part of a form), as an object's content."""
    content_md5(call.request.headers)
    sums = sums_of(algorithm, promise=promise)
    held: list[bytes] = []
    size = 0
    async for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size > call.tools.limits.inline_bytes_max:
            return await _to_blob(call, _chained(held, chunks), None, sums, promise, None)
    body = b"".join(held)
    for hasher in sums.all():
        hasher.update(body)
    content = sums.content(size, inline=body)
    _verify(call, sums, content, promise, None)
    return content


async def _chained(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in first:
        yield chunk
    first.clear()
    async for chunk in rest:
        yield chunk


async def _to_blob(
    call: Call,
    chunks: AsyncIterator[bytes],
    size: int | None,
    sums: Sums,
    promise: Promise | None,
    decoder: ChunkDecoder | None,
) -> Content:
    blobs = call.tools.blobs
    staged = await blobs.stage(sums.all())
    try:
        async for chunk in chunks:
            if size is not None and staged.size + len(chunk) > size:
                raise _incomplete()
            await staged.write(chunk)
        if size is not None and staged.size != size:
            raise _incomplete()
        blob = await staged.seal()
    except BaseException:
        await staged.discard()
        raise
    # The hashers run beside the disk and have seen every byte only now.
    content = sums.content(staged.size, (Piece(blob, 0, staged.size),))
    try:
        _verify(call, sums, content, promise, decoder)
    except DomainError:
        await blobs.delete(blob)
        raise
    return content


async def _collect(chunks: AsyncIterator[bytes], size: int) -> bytes:
    parts: list[bytes] = []
    got = 0
    async for chunk in chunks:
        got += len(chunk)
        if got > size:
            raise _incomplete()
        parts.append(chunk)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _decoded(call: Call, decoder: ChunkDecoder, size_max: int) -> AsyncIterator[bytes]:
    """The payload inside ``aws-chunked``."""
    total = 0
    async for raw in call.request.body.chunks():
        for data in decoder.feed(raw):
            total += len(data)
            if total > size_max:
                raise _incomplete()
            yield data
    decoder.finish()


def _declared_size(headers: Headers, chunked: bool) -> int:
    name = "x-amz-decoded-content-length" if chunked else "content-length"
    text = headers.get(name)
    if not text:
        raise Invalid("length", "You must provide the Content-Length HTTP header.")
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Invalid("argument", f"The {name} header is not a number of bytes.")
    return int(text)


def _verify(call: Call, sums: Sums, content: Content, promise: Promise | None, decoder: ChunkDecoder | None) -> None:
    if sums.sha256 is not None:
        _check_sha256(call.verified.payload_sha256, sums.sha256.hexdigest)
    md5 = content_md5(call.request.headers)
    if md5 is not None:
        check_md5(md5, sums.md5.digest())
    found = content.checksum
    if promise is not None and sums.promised is not None:
        found = Checksum(promise.algorithm, text_of(sums.promised.digest()))
    if found is not None:
        check_promise(promise, found, dict(decoder.trailers) if decoder else {})


def _check_sha256(signed: str, computed: Callable[[], str]) -> None:
    """``signed`` is the hash that the signature covers, or a word that says it covers none."""
    if len(signed) != 64:
        return
    found = computed()
    if not hmac.compare_digest(signed.lower(), found):
        raise Invalid(
            "sha256",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ClientComputedContentSHA256=signed,
            S3ComputedContentSHA256=found,
        )


def _incomplete() -> Invalid:
    return Invalid("incomplete", "You did not provide the number of bytes specified by the Content-Length HTTP header")


@asynccontextmanager
async def keeping(tools: Tools, content: Content) -> AsyncIterator[None]:
    """Delete the content's blobs if the commit inside says no.

    After ``Unavailable`` it is unknown what reached the disk: then the sweep at the next start decides.
    """
    try:
        yield
    except Unavailable:
        raise
    except DomainError:
        for piece in content.pieces:
            await tools.blobs.delete(piece.blob)
        raise
