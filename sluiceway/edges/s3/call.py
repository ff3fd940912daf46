"""One request to the object service on its way through the edge, and what its handlers hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sluiceway.config import ObjectSettings
from sluiceway.core.blobs import Blobs
from sluiceway.core.clock import Clock
from sluiceway.core.identity import ANONYMOUS, Principal
from sluiceway.core.store import Store
from sluiceway.edges.aws.codecs import ServiceCodec
from sluiceway.edges.aws.pipeline import Authorize, conditions_of
from sluiceway.edges.http import Request, Response
from sluiceway.edges.s3.address import Address
from sluiceway.edges.sigv4 import SignatureVerifier, Verified
from sluiceway.services.objects import Objects
from sluiceway.services.objects.buckets import Access
from sluiceway.services.objects.values import Actor


@dataclass(frozen=True, slots=True)
class Tools:
    """What handlers work with. ``pins`` counts the readers of each blob, which the sweep respects."""

    store: Store
    blobs: Blobs
    objects: Objects
    codec: ServiceCodec
    authorize: Authorize
    limits: ObjectSettings
    clock: Clock
    pins: Counter[str]
    verifier: SignatureVerifier


@dataclass(slots=True)
class Call:
    """An authenticated request. ``access`` is None where no bucket is named or it is not there yet."""

    request: Request
    operation: str
    address: Address
    query: Mapping[str, str]
    verified: Verified
    actor: Actor
    tools: Tools
    access: Access | None = None

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.address.bucket

    @property
    def key(self) -> str:
        """The object's key."""
        return self.address.key

    @property
    def principal(self) -> Principal:
        """Who calls."""
        return self.verified.principal

    def params(self, body: bytes = b"") -> dict[str, Any]:
        """The model's input. Raises ``Invalid("malformed")`` and the like for what does not fit it."""
        request = self.request
        path = self.address.raw_path.decode("latin-1")
        parsed: dict[str, Any] = self.tools.codec.parse(
            self.operation, request.method, path, request.query(), request.headers, body
        )
        return parsed

    def reply(self, output: dict[str, Any] | None = None) -> Response:
        """The model's output as a response."""
        wire = self.tools.codec.serialize(self.operation, output, self.request.request_id)
        return Response(wire.status, list(wire.headers), wire.body)

    def allow(
        self,
        action: str,
        resource: str,
        access: Access | None,
        conditions: dict[str, list[str]] | None = None,
    ) -> None:
        """Raises ``AccessDenied`` unless policies allow ``action`` on ``resource``."""
        policy = access.policy if access else None
        principal = self.principal
        if principal.kind == "root" and policy is None:
            self.tools.authorize(principal, action, resource, {}, None)
            return
        known = conditions_of(self.request, principal, self.tools.clock.now_ms())
        known.update(conditions or {})
        self.tools.authorize(principal, action, resource, known, policy)


def told_name(principal: Principal) -> str:
    """The caller as event records name it."""
    return "Anonymous" if principal is ANONYMOUS else f"AWS:{principal.name}"


Handler = Callable[[Call], Awaitable[Response]]
