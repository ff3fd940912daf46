"""Runs one operation of an AWS service: read, authenticate, parse, authorise, handle, serialise.

Everything that all services share stands here once; a service's own file holds translation only.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from sluiceway.config import HttpSettings
from sluiceway.core.clock import Clock
from sluiceway.core.identity import ANONYMOUS, Principal, Scope
from sluiceway.edges.aws.codecs import Codecs, ServiceCodec, WireResponse
from sluiceway.edges.aws.inprocess import OWN_PRINCIPAL
from sluiceway.edges.aws.operations import Call, Operation, ServiceEdge
from sluiceway.edges.aws.request_tags import tags_of
from sluiceway.edges.http import ClientGone, Request, Response
from sluiceway.edges.sigv4 import SignatureVerifier
from sluiceway.errors import (
    AccessDenied,
    Conflict,
    DomainError,
    Invalid,
    NotFound,
    NotImplementedYet,
    PreconditionFailed,
    Throttled,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from sluiceway.services.access import Authorize

log = logging.getLogger(__name__)

#: Values of aws:PrincipalType that are not the kind's own name.
_PRINCIPAL_TYPES: Final = {"root": "Account", "role": "AssumedRole"}
_STACKS: Final = "cloudformation.amazonaws.com"  # the service that is its callers' client here


class AwsPipeline:
    """One service's HTTP handler. ``scope`` is the server's account and region; ``path_of`` gives the path that
    the service model knows, where requests have more in front of it (the signature covers all of it)."""

    def __init__(
        self,
        edge: ServiceEdge,
        codecs: Codecs,
        verifier: SignatureVerifier,
        authorize: Authorize,
        scope: Scope,
        clock: Clock,
        limits: HttpSettings,
        own_url: Callable[[], str],
        path_of: Callable[[bytes], bytes] = lambda raw: raw,
    ) -> None:
        self._edge = edge
        self._codecs = codecs
        self._verifier = verifier
        self._authorize = authorize
        self._scope = scope
        self._clock = clock
        self._limits = limits
        self._own_url = own_url
        self._path_of = path_of

    async def handle(self, request: Request) -> Response:
        """Answer ``request`` in the service's protocol, whatever happens."""
        codec = self._codecs.codec_for(self._edge.name).spoken(request.headers)
        name: str | None = None
        try:
            body = await request.body.read(self._body_limit(request))
            principal = self._authenticate(request, body)
            path = self._path_of(request.raw_path).decode("latin-1")
            query = request.query()
            name = _name_of(codec, request, path, query, body, principal)
            operation = self._edge.operations.get(name)
            if operation is None:
                raise NotImplementedYet("operation", f"{self._edge.name} has no operation {name} here yet.")
            if principal is ANONYMOUS and not operation.public and not (self._edge.unsigned and operation.policy):
                raise _anonymous()
            params = codec.parse(name, request.method, path, query, request.headers, body)
            call = self._call(request, name, params, principal)
            await self._allow(call, operation)
            output = await operation.handler(call)
            return _response(codec.serialize(name, output, request.request_id))
        except ClientGone:
            raise
        except DomainError as error:
            return self._failed(codec, name, request, error)
        except Exception:
            log.exception("%s %s failed, request %s", self._edge.name, name, request.request_id)
            message = "The server could not finish the request; its log says why."
            wire = codec.serialize_error(name, "InternalFailure", message, request.request_id, status=500)
            return _response(wire)

    def _body_limit(self, request: Request) -> int:
        claims = (
            request.headers.get("authorization")
            or b"X-Amz-Signature=" in request.raw_query
            or OWN_PRINCIPAL in request.scratch
        )
        return self._limits.body_bytes_max if claims else self._limits.unsigned_body_bytes_max

    def _authenticate(self, request: Request, body: bytes) -> Principal:
        return self._verifier.verify(request, None, hashlib.sha256(body).hexdigest()).principal

    def _call(self, request: Request, name: str, params: dict[str, Any], principal: Principal) -> Call:
        now_ms = self._clock.now_ms()
        return Call(
            service=self._edge.name,
            operation=name,
            params=params,
            principal=principal,
            scope=self._scope,
            request_id=request.request_id,
            now_ms=now_ms,
            base_url=request.base_url if request.host else self._own_url(),
            body=request.body,
            context=lambda: conditions_of(request, principal, self._scope, now_ms) | tags_of(params),
        )

    async def _allow(self, call: Call, operation: Operation) -> None:
        if operation.public:
            return
        policy = await operation.policy(call) if operation.policy else None
        if policy is None and call.principal.kind == "root":
            return  # nothing can refuse it
        action = operation.action or f"{self._edge.iam_prefix}:{call.operation}"
        trust = operation.trust and policy is not None
        self._authorize(call.principal, action, operation.resource(call), call.conditions, policy, trust=trust)

    def _failed(self, codec: ServiceCodec, name: str | None, request: Request, error: DomainError) -> Response:
        unknown = name is None and isinstance(error, NotFound) and error.kind == "operation"
        code, status = ("InvalidAction", 400) if unknown and codec.protocol == "query" else self._code_of(error)
        if status is not None and status >= 500:
            log.warning("%s %s: %s", self._edge.name, name, error.message)
        fields = {key: value for key, value in error.detail.items() if key[:1].isupper()}
        wire = codec.serialize_error(name, code, error.message, request.request_id, status=status, fields=fields)
        return _response(wire)

    def _code_of(self, error: DomainError) -> tuple[str, int | None]:
        for kind in (error.kind, "*"):
            code = self._edge.errors.get((type(error), kind))
            if code is not None:
                return code, None
        return _common_code(error, self._edge.name)


def _name_of(
    codec: ServiceCodec, request: Request, path: str, query: list[tuple[str, str]], body: bytes, principal: Principal
) -> str:
    """The operation. Who is not known is not told which ones there are; an unsigned form may be for any service."""
    try:
        return codec.match(request.method, path, query, request.headers, body).name
    except NotFound:
        if principal is ANONYMOUS:
            raise _anonymous() from None
        raise


def _anonymous() -> Unauthenticated:
    return Unauthenticated("missing", "Request is missing Authentication Token")


def conditions_of(request: Request, principal: Principal, scope: Scope, now_ms: int) -> dict[str, list[str]]:
    """The global condition keys of a request (IAM User Guide, "AWS global condition context keys")."""
    conditions = {
        "aws:SecureTransport": ["true" if request.scheme == "https" else "false"],
        "aws:CurrentTime": [datetime.fromtimestamp(now_ms / 1000, UTC).isoformat()],
        "aws:EpochTime": [str(now_ms // 1000)],
        "aws:PrincipalType": [_PRINCIPAL_TYPES.get(principal.kind, principal.kind.capitalize())],
        "aws:PrincipalIsAWSService": ["false"],
        "aws:RequestedRegion": [scope.region],
        "aws:ResourceAccount": [scope.account],
    }
    if OWN_PRINCIPAL in request.scratch:  # a service for its caller, whose address this is not
        conditions["aws:ViaAWSService"] = ["true"]
        for key in ("aws:CalledVia", "aws:CalledViaFirst", "aws:CalledViaLast"):
            conditions[key] = [_STACKS]
    else:
        conditions["aws:ViaAWSService"] = ["false"]
        conditions["aws:SourceIp"] = [request.client]
    if principal.kind != "anonymous":
        conditions |= _of_caller(principal)
    if agent := request.headers.get("user-agent"):
        conditions["aws:UserAgent"] = [agent]
    if referer := request.headers.get("referer"):
        conditions["aws:Referer"] = [referer]
    return conditions


def _of_caller(principal: Principal) -> dict[str, list[str]]:
    """What policies may ask about who signed."""
    conditions = {
        "aws:PrincipalArn": [principal.arn],
        "aws:PrincipalAccount": [principal.account],
        "aws:userid": [principal.id or principal.account],
    }
    if principal.kind == "role":
        conditions["aws:userid"] = [f"{principal.id}:{principal.session}"]
    else:
        conditions["aws:username"] = [principal.name]
    # Only sessions have the key, and there are no devices.
    if principal.access_key_id.startswith("ASIA"):
        conditions["aws:MultiFactorAuthPresent"] = ["false"]
    for key, value in principal.tags.items():
        conditions[f"aws:PrincipalTag/{key}"] = [value]
    return conditions


def _common_code(error: DomainError, service: str) -> tuple[str, int | None]:
    """Codes that all services share (each API reference, "Common Errors")."""
    if isinstance(error, Unauthenticated):
        return _unauthenticated_code(error.kind, service)
    if isinstance(error, AccessDenied):
        json_style = service in ("sqs", "dynamodb", "dynamodbstreams", "kinesis", "secretsmanager", "ssm", "kms")
        return ("AccessDeniedException" if json_style or service == "lambda" else "AccessDenied"), (
            400 if json_style else 403
        )
    if isinstance(error, NotImplementedYet):
        return "NotImplemented", 501
    if isinstance(error, Unavailable):
        return "ServiceUnavailable", 503
    if isinstance(error, Throttled):
        return "ThrottlingException", 400
    if isinstance(error, TooLarge):
        return "RequestEntityTooLargeException", 413
    if isinstance(error, NotFound) and error.kind == "operation":
        return "UnknownOperationException", None
    if isinstance(error, Invalid) and error.kind == "serialization":
        return "SerializationException", 400
    if isinstance(error, NotFound):
        return "ResourceNotFoundException", 404
    if isinstance(error, Conflict | PreconditionFailed):
        return "ConflictException", 409
    return ("InvalidParameter" if service == "sns" else "ValidationException"), 400


def _unauthenticated_code(kind: str, service: str) -> tuple[str, int | None]:
    json_style = service in ("dynamodb", "dynamodbstreams", "kinesis", "secretsmanager", "ssm", "kms", "logs")
    if kind == "missing":
        return ("MissingAuthenticationTokenException" if json_style else "MissingAuthenticationToken"), (
            400 if json_style else 403
        )
    if kind == "unknown_key":
        return ("UnrecognizedClientException" if json_style else "InvalidClientTokenId"), 400 if json_style else 403
    if kind in ("malformed", "scope"):
        return ("IncompleteSignatureException" if json_style else "IncompleteSignature"), 400
    if kind == "token_expired":
        return ("ExpiredTokenException" if json_style else "ExpiredToken"), 400 if json_style else 403
    if kind == "token":
        return ("UnrecognizedClientException" if json_style else "InvalidClientTokenId"), 403
    return ("InvalidSignatureException" if json_style else "SignatureDoesNotMatch"), 400 if json_style else 403


def _response(wire: WireResponse) -> Response:
    return Response(wire.status, wire.headers, wire.body)
