"""The S3 protocol's way in: address, preflight, signature, operation, permission, handler, answer.

It authenticates by itself, unlike the other services' pipeline, because object bodies stream: the hash that
the signature covers is known at the end of the body only.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

from sluiceway.config import ObjectSettings
from sluiceway.core.blobs import Blobs
from sluiceway.core.clock import Clock, new_token
from sluiceway.core.store import Store, View
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws.codecs import Codecs
from sluiceway.edges.http import ClientGone, Request, Response
from sluiceway.edges.s3 import cors, deciding
from sluiceway.edges.s3.address import Address, address_of
from sluiceway.edges.s3.admission import admit
from sluiceway.edges.s3.call import Call, Tools
from sluiceway.edges.s3.error import code_of, fields_of
from sluiceway.edges.s3.hoisted import with_hoisted
from sluiceway.edges.s3.router import Route, route
from sluiceway.edges.s3.sweeper import BlobSweeper
from sluiceway.edges.s3.versions import marker_headers
from sluiceway.edges.sigv4 import SignatureVerifier
from sluiceway.errors import AccessDenied, DomainError, NotFound
from sluiceway.services.access import Authorize
from sluiceway.services.objects import Objects
from sluiceway.services.pressure import Pressure

log = logging.getLogger(__name__)

_OWNERS: Final = frozenset({"x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"})
_INTERNAL = "We encountered an internal error. Please try again."
#: Operations that take data in. (A form is a PutObject, too.)
_GROWING: Final = frozenset({"PutObject", "CopyObject", "UploadPart", "UploadPartCopy", "CreateMultipartUpload"})
#: Errors after which the rest of a body would still come: the connection is of no more use.
_CLOSING: Final = frozenset({"RequestTimeout", "EntityTooLarge"})


class S3Edge:
    """``handle`` answers one request. ``sweeper(wakeups)`` makes the task that deletes dropped blobs."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        objects: Objects,
        codecs: Codecs,
        verifier: SignatureVerifier,
        authorize: Authorize,
        limits: ObjectSettings,
        clock: Clock,
        pressure: Pressure,
    ) -> None:
        self._verifier = verifier
        self._pressure = pressure
        self._host_id = new_token(24)
        codec = codecs.codec_for("s3")
        self._tools = Tools(store, blobs, objects, codec, authorize, limits, clock, Counter(), verifier, self._host_id)

    def sweeper(self, wakeups: Wakeups) -> BlobSweeper:
        """It shares this edge's knowledge of which blobs are being read."""
        tools = self._tools
        return BlobSweeper(tools.store, tools.blobs, wakeups, tools.pins, tools.limits.sweep_batch)

    async def handle(self, request: Request) -> Response:
        """Answer ``request`` in S3's protocol, whatever happens."""
        operation: str | None = None
        address = Address("", "", request.raw_path)
        try:
            address = address_of(request)
            if request.method == "OPTIONS":
                return self._finish(request, await self._preflight(request, address))
            query = dict(request.query()) if request.raw_query else {}
            verified = self._verifier.verify(request, "s3")
            if "X-Amz-Signature" in query:
                request.headers = with_hoisted(request.headers, query)
            found = route(request.method, address, query, request.headers)
            operation = found.name
            call = Call(request, found.name, address, query, verified, self._tools)
            await self._admit(call, found)
            if found.name in _GROWING:
                self._pressure.check_disk()
            response = await found.handler(call)
        except ClientGone:
            raise
        except DomainError as error:
            response = self._failed(request, address, operation, error)
        except Exception:
            log.exception("s3 %s failed, request %s", operation, request.request_id)
            response = self._error(request, operation, "InternalError", _INTERNAL, 500, {})
        if "origin" in request.headers and request.method != "OPTIONS":
            response.headers.extend(await self._cors_headers(request, address))
        return self._finish(request, response)

    async def _admit(self, call: Call, found: Route) -> None:
        """Find the bucket and ask the policies. Raises ``NotFound("bucket")`` or ``AccessDenied``."""
        tools = self._tools
        resource = "*"
        if call.bucket:
            resource = f"arn:aws:s3:::{call.bucket}"
            if found.name != "CreateBucket":
                await tools.store.view(self._look, call, found)
                if call.request.headers.has_any(_OWNERS):
                    self._check_owner(call.request)
        if call.key:
            resource = f"{resource}/{call.key}"
        if not found.action:
            return
        action = found.action
        if call.key and "versionId" in call.query:
            action = found.versioned()
        if not deciding.is_free(call, call.access):
            await admit(call, action, resource)

    def _look(self, view: View, call: Call, found: Route) -> None:
        call.access = self._tools.objects.buckets.access(view, call.bucket)
        if found.look is not None and deciding.is_free(call, call.access):
            call.looked = found.look(view, call)

    def _check_owner(self, request: Request) -> None:
        account = self._tools.objects.scope.account
        for header in _OWNERS:
            if request.headers.get(header) not in ("", account):
                raise AccessDenied("owner", "Access Denied")

    async def _preflight(self, request: Request, address: Address) -> Response:
        rules = None
        try:
            if address.bucket:
                access = await self._tools.store.view(self._tools.objects.buckets.access, address.bucket)
                rules = access.cors or []
            return cors.preflight(request.headers, rules, "OBJECT" if address.key else "BUCKET")
        except NotFound:
            return self._failed(request, address, None, cors.no_bucket(request.headers))
        except DomainError as error:
            return self._failed(request, address, None, error)

    async def _cors_headers(self, request: Request, address: Address) -> list[tuple[str, str]]:
        """Also for errors, so that a page in a browser may read them."""
        if not address.bucket:
            return []
        try:
            access = await self._tools.store.view(self._tools.objects.buckets.access, address.bucket)
        except NotFound:
            return []
        return cors.actual(request.headers, request.method, access.cors)

    def _failed(self, request: Request, address: Address, operation: str | None, error: DomainError) -> Response:
        code, status = code_of(error)
        if status == 500:
            log.error("s3 %s: unmapped error %r %s: %s", operation, error, error.kind, error.message)
            return self._error(request, operation, code, _INTERNAL, status, {})
        if status == 503:
            log.warning("s3 %s: %s", operation, error.message)
        fields = {**fields_of(error), "Resource": address.raw_path.decode("latin-1")[:2048]}
        response = self._error(request, operation, code, error.message, status, fields)
        response.headers.extend(marker_headers(operation, error))
        return response

    def _error(
        self,
        request: Request,
        operation: str | None,
        code: str,
        message: str,
        status: int,
        fields: dict[str, str],
    ) -> Response:
        fields = {**fields, "HostId": self._host_id}
        wire = self._tools.codec.serialize_error(
            operation, code, message, request.request_id, status=status, fields=fields
        )
        headers = list(wire.headers)
        if code in _CLOSING:
            headers.append(("connection", "close"))
        return Response(wire.status, headers, wire.body)

    def _finish(self, request: Request, response: Response) -> Response:
        headers, request_id = response.headers, ("x-amz-request-id", request.request_id)
        if request_id not in headers:  # codecs give it
            headers.append(request_id)
        headers.append(("x-amz-id-2", self._host_id))
        return response
