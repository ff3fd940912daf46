"""Who asks the search domain, and whether policies let them.

Either a signature (SigV4, service "es", as Amazon's domains want it), or HTTP Basic with an access key's id and
secret. (Amazon Elasticsearch Service Developer Guide, "Identity and Access Management".)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sluiceway.core.identity import ANONYMOUS, Principal, Scope
from sluiceway.edges.aws.pipeline import conditions_of
from sluiceway.edges.http import Request
from sluiceway.edges.sigv4 import Keys, SignatureVerifier
from sluiceway.errors import AccessDenied, Unauthenticated
from sluiceway.services.access import Authorize

ACTIONS: Final[Mapping[str, str]] = {
    "DELETE": "es:ESHttpDelete",
    "GET": "es:ESHttpGet",
    "HEAD": "es:ESHttpHead",
    "PATCH": "es:ESHttpPatch",
    "POST": "es:ESHttpPost",
    "PUT": "es:ESHttpPut",
}
#: Stands for the domain as long as none was made.
DEFAULT_DOMAIN: Final = "sluiceway"
CHALLENGE: Final = ("www-authenticate", 'Basic realm="sluiceway", charset="UTF-8"')


class Gate:
    """``keys`` is the key ring behind ``verifier``."""

    def __init__(self, verifier: SignatureVerifier, keys: Keys, authorize: Authorize, scope: Scope) -> None:
        self._verifier = verifier
        self._keys = keys
        self._authorize = authorize
        self._scope = scope

    def caller(self, request: Request, body: bytes) -> Principal:
        """Raises ``Unauthenticated``."""
        scheme, _, value = request.headers.get("authorization").partition(" ")
        if scheme.lower() == "basic":
            return self._basic(value)
        if scheme.lower() in ("apikey", "bearer"):
            raise Unauthenticated("scheme", f"the authentication scheme [{scheme}] is not offered here: sign the request, "
                                  "or use Basic with an access key's id and secret")  # fmt: skip
        principal = self._verifier.verify(request, "elasticsearch", hashlib.sha256(body).hexdigest()).principal
        if principal is ANONYMOUS:
            raise Unauthenticated(
                "missing", f"missing authentication credentials for REST request [{request.path[:300]}]"
            )
        return principal

    def _basic(self, value: str) -> Principal:
        try:
            text = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            raise Unauthenticated("malformed", "invalid basic authentication header encoding") from None
        id, _, secret = text.partition(":")
        refused = Unauthenticated("unknown_key", f"unable to authenticate user [{id[:128]}] for REST request")
        try:
            known, principal = self._keys.find(id, None)
        except Unauthenticated:
            raise refused from None
        if not hmac.compare_digest(known.encode(), secret.encode()):
            raise refused
        return principal

    def admit(
        self,
        principal: Principal,
        request: Request,
        path: str,
        domains: Sequence[tuple[str, dict[str, Any] | None]],
        now_ms: int,
    ) -> None:
        """Return if one of the domains (name and access policy) is open to the request and none denies it: they are names
        of the same documents. Raises ``AccessDenied``."""
        refused: AccessDenied | None = None
        allowed = False
        conditions = conditions_of(request, principal, self._scope, now_ms)
        action = ACTIONS.get(request.method, "es:ESHttpGet")
        for name, policy in domains or [(DEFAULT_DOMAIN, None)]:
            resource = self._scope.arn("es", f"domain/{name}/{path}")
            try:
                self._authorize(principal, action, resource, conditions, policy)
                allowed = True
            except AccessDenied as error:
                if error.detail.get("explicit"):
                    raise
                refused = refused or error
        if refused is not None and not allowed:
            raise refused
