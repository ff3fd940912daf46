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
from sluiceway.core.store import Store, View
from sluiceway.edges.aws.codecs import ServiceCodec
from sluiceway.edges.http import Request, Response
from sluiceway.edges.s3 import deciding
from sluiceway.edges.s3.address import Address
from sluiceway.edges.sigv4 import SignatureVerifier, Verified
from sluiceway.errors import Invalid
from sluiceway.services.access import Authorize
from sluiceway.services.objects import Objects
from sluiceway.services.objects.buckets import Access
from sluiceway.services.objects.contents import Found
from sluiceway.services.objects.values import Actor, StoredObject


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
    host_id: str


@dataclass(slots=True)
class Call:
    """An authenticated request. ``access`` is None where no bucket is named or it is not there yet. ``seen`` is the
    action and resource that were allowed by an object's own list or tags, and that object. ``looked`` is what was
    read together with the bucket."""

    request: Request
    operation: str
    address: Address
    query: Mapping[str, str]
    verified: Verified
    tools: Tools
    access: Access | None = None
    seen: tuple[str, str, StoredObject] | None = None
    looked: Found | None = None

    @property
    def actor(self) -> Actor:
        """Who calls, as what is written names it."""
        request, principal = self.request, self.verified.principal
        host_id = self.tools.host_id
        return Actor(told_name(principal), principal.canonical_id, request.client, request.request_id, host_id)

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
        try:
            parsed: dict[str, Any] = self.tools.codec.parse(
                self.operation, request.method, path, request.query(), request.headers, body
            )
        except Invalid as error:
            if error.kind != "validation" or not body:
                raise
            # What a document lacks is told in the words for documents; parameters are looked at before.
            raise Invalid("malformed", "The XML you provided was not well-formed or did not validate") from error
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
        conditions: Mapping[str, list[str]] | None = None,
        stored: deciding.Looked = "unknown",
    ) -> None:
        """Raises ``AccessDenied`` unless policies or lists allow ``action`` on ``resource``.

        ``conditions`` are keys that only the handler knows; ``stored`` is the object as it is, where it was looked up.
        """
        if not deciding.is_free(self, access):
            deciding.decide(self, action, resource, access, conditions or {}, stored)

    def check_seen(self, stored: StoredObject) -> None:
        """Raises ``AccessDenied`` if the object was replaced since it was decided about, by one that decides else."""
        if self.seen is not None and stored != self.seen[2]:
            self.allow(self.seen[0], self.seen[1], self.access, stored=stored)


def told_name(principal: Principal) -> str:
    """The caller as event records name it."""
    return "Anonymous" if principal is ANONYMOUS else f"AWS:{principal.name}"


Handler = Callable[[Call], Awaitable[Response]]
Look = Callable[[View, Call], Found]
