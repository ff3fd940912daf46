"""Which edge answers a request: one table, read from top to bottom.

AWS gives every service a host of its own; here they share one port. What a request says about its service
is, from the surest sign to the weakest: our own paths, the host, ``X-Amz-Target``, the credential scope of
its signature, its ``Action``. What says nothing is an object request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from sluiceway.edges.http import HOST_CHARS_MAX, Handler, Request, Response
from sluiceway.errors import NotImplementedYet

#: What ``X-Amz-Target`` begins with -> service. (The models' ``targetPrefix``.)
TARGETS: Final[Mapping[str, str]] = {
    "AmazonSQS": "sqs",
    "AmazonSSM": "ssm",
    "DynamoDBStreams_20120810": "dynamodbstreams",
    "DynamoDB_20120810": "dynamodb",
    "Kinesis_20131202": "kinesis",
    "Logs_20140328": "logs",
    "TrentService": "kms",
    "secretsmanager": "secretsmanager",
}

#: Service in the credential scope -> service, where the names differ or one signs for several.
SCOPES: Final[Mapping[str, str]] = {
    "apigateway": "apigateway",
    "aoss": "elasticsearch",
    "cloudformation": "cloudformation",
    "dynamodb": "dynamodb",
    "es": "elasticsearch",
    "execute-api": "apigatewaymanagementapi",
    "iam": "iam",
    "kinesis": "kinesis",
    "kms": "kms",
    "lambda": "lambda",
    "logs": "logs",
    "s3": "s3",
    "secretsmanager": "secretsmanager",
    "sns": "sns",
    "sqs": "sqs",
    "ssm": "ssm",
    "sts": "sts",
}

#: Actions that are asked for without a signature (a token in them proves the right).
OPEN_ACTIONS: Final[Mapping[bytes, str]] = {
    b"Action=ConfirmSubscription": "sns",
    b"Action=Unsubscribe": "sns",
}

#: Paths of the REST services, which an unsigned request is told apart by: no bucket is called like them.
OPEN_PATHS: Final[Mapping[bytes, str]] = {
    b"/2015-01-01/es/": "es",
    b"/2015-01-01/domain": "es",
    b"/2015-03-31/functions": "lambda",
    b"/2015-03-31/event-source-mappings": "lambda",
    b"/v2/": "apigatewayv2",
}

_FORM: Final = "application/x-www-form-urlencoded"
_QUEUE_PATH = re.compile(rb"/\d{12}/[A-Za-z0-9_-]{1,80}(?:\.fifo)?/?\Z")
_SCOPE = re.compile(r"Credential=[^/]*/\d*/[^/]*/([a-z0-9-]+)/")
_QUERY_SCOPE = re.compile(rb"X-Amz-Credential=[^&]*?(?:%2F|/)\d{8}(?:%2F|/)[^&/%]*(?:%2F|/)([a-z0-9-]+)(?:%2F|/)")
_AWS_HOST = re.compile(r"(?:^|\.)([a-z0-9-]+)\.[a-z0-9-]+\.amazonaws\.com(?::\d+)?$")
_API_HOST = re.compile(r"^[a-z0-9]+\.execute-api\.")
_S3_HOST = re.compile(
    r"(?:^|\.)s3(?:-[a-z0-9-]+)?(?:\.dualstack)?(?:\.(?!s3[.-])[a-z0-9-]+)?\.(?:amazonaws\.com|localhost)(?::\d+)?$"
)
_SEARCH_HOST = re.compile(r"\.es\.(?:localhost|amazonaws\.com)(?::\d+)?$")


class Router:
    """``edges`` maps the names that ``choose`` returns to handlers; ``own`` maps path prefixes below
    ``/_sluiceway/`` to the server's own pages."""

    def __init__(self, edges: Mapping[str, Handler], own: Mapping[str, Handler]) -> None:
        self._edges = edges
        self._own = own

    async def __call__(self, request: Request) -> Response:
        """Answer ``request`` through the edge that it belongs to."""
        path = request.raw_path
        if path.startswith(b"/_sluiceway/") and not _names_bucket(request.host):
            return await self._own_page(request)
        name = choose(request)
        request.scratch["service"] = name
        edge = self._edges.get(name)
        if edge is None:
            raise NotImplementedYet("service", f"This server does not have the service {name!r}.")
        return await edge(request)

    async def _own_page(self, request: Request) -> Response:
        request.scratch["service"] = "own"
        name = request.raw_path.decode("latin-1").removeprefix("/_sluiceway/").split("/", 1)[0]
        page = self._own.get(name)
        if page is None:
            return Response(404, [("content-type", "text/plain")], b"There is no such page.\n")
        return await page(request)


def choose(request: Request) -> str:
    """The name of the edge that answers ``request``."""
    path, host = request.raw_path, request.headers.get("host")[-HOST_CHARS_MAX:]
    return _by_path(path, host) or _by_host(path, host) or _by_target(request) or _by_scope(request) or _rest(request)


def _by_path(path: bytes, host: str) -> str | None:
    if not path.startswith((b"/_", b"/@", b"/%")) or _names_bucket(host):
        return None
    if path.startswith(b"/_api/"):
        return "api"
    if path.startswith(b"/_ws/") or path.startswith((b"/@connections/", b"/%40connections/")):
        return "apigatewaymanagementapi"
    if path == b"/_es" or path.startswith(b"/_es/"):
        return "elasticsearch"
    return None


def _by_host(path: bytes, host: str) -> str | None:
    service = _service_of(host)
    if service == "api" and (b"/@connections/" in path or b"/%40connections/" in path):
        return "apigatewaymanagementapi"
    return service


@lru_cache(maxsize=256)  # clients use a few names
def _service_of(host: str) -> str | None:
    host = host.lower()
    if _API_HOST.match(host):
        return "api"
    if _SEARCH_HOST.search(host):
        return "elasticsearch"
    return "s3" if _S3_HOST.search(host) else None


@lru_cache(maxsize=256)
def _names_bucket(host: str) -> bool:
    """Whether the host is a bucket's: then the path is a key, which may look like any of our own paths."""
    match = _S3_HOST.search(host.lower())
    return match is not None and match.start() > 0


def _by_target(request: Request) -> str | None:
    target = request.headers.get("x-amz-target")
    return TARGETS.get(target.partition(".")[0]) if target else None


def _by_scope(request: Request) -> str | None:
    header = _SCOPE.search(request.headers.get("authorization"))
    if header:
        scope = header[1]
    else:
        query = _QUERY_SCOPE.search(request.raw_query) if request.raw_query else None
        if query is None:
            return None
        scope = query[1].decode("latin-1")
    if scope == "apigateway":
        return "apigatewayv2" if request.raw_path.startswith(b"/v2/") else "apigateway"
    if scope == "es" and request.raw_path.startswith((b"/2015-01-01/", b"/2021-01-01/")):
        return "es"
    return SCOPES.get(scope, scope)


def _rest(request: Request) -> str:
    host = _AWS_HOST.search(request.host)
    if host and host[1] in SCOPES:
        return SCOPES[host[1]]
    for prefix, service in OPEN_PATHS.items():
        if request.raw_path.startswith(prefix):
            return service
    for action, service in OPEN_ACTIONS.items():
        if action in request.raw_query:
            return service
    is_form = request.method == "POST" and request.headers.get("content-type").startswith(_FORM)
    if (is_form or b"Action=" in request.raw_query) and _QUEUE_PATH.match(request.raw_path):
        return "sqs"
    if is_form:
        return "sns"
    return "s3"
