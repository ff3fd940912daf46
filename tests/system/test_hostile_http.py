"""Bad HTTP, endless and oversized requests, and bad input to search, APIs, WebSockets, the issuer and the own pages."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import struct
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from helpers.raw import Answer, Plain, exchange, memory_mb, read_answer, serialized, signed, understood
from helpers.server import ServerProcess, eventually

KIB, MIB = 1024, 1024 * 1024
HEALTH = "GET /_sluiceway/health HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = "GET /_sluiceway/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
LIMIT = 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that loses patience soon, and has little room."""
    limits = {"HEADER_S": "1", "BODY_IDLE_S": "1", "BODY_S": "2", "CONNECTIONS_MAX": str(LIMIT),
              "BODIES_BYTES_MAX": str(64 * MIB)}  # fmt: skip
    environment = {f"SLUICEWAY_HTTP__{name}": value for name, value in limits.items()}
    running = ServerProcess(tmp_path_factory.mktemp("http") / "data", environment=environment).start()
    yield running
    answer = exchange(running, HEALTH.encode(), "GET")
    assert json.loads(answer.body)["status"] == "ok" and memory_mb(running) < 300
    assert not [line for line in running.lines if "ERROR" in line or "Traceback" in line], "\n".join(running.lines)
    assert running.stop() == 0


def everything(server: ServerProcess, data: bytes, seconds: float = 20.0) -> bytes:
    """All that the server says until it closes the connection, or nothing more comes for a while."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(data)
        said = b""
        with contextlib.suppress(OSError):
            while piece := connection.recv(65_536):
                said += piece
                connection.settimeout(1.0)
        return said


def statuses(said: bytes) -> list[int]:
    return [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]


# -- HTTP itself


@pytest.mark.parametrize("hosts", ["", "Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n"])
def test_a_request_says_once_whom_it_asks(server: ServerProcess, hosts: str) -> None:
    """Proxies before a server may have read another one (RFC 9112, 3.2)."""
    said = everything(server, f"GET /_sluiceway/health HTTP/1.1\r\n{hosts}\r\n".encode() + LAST.encode())
    assert statuses(said) == [400] and b"connection: close" in said
    assert statuses(everything(server, b"GET /_sluiceway/health HTTP/1.0\r\n\r\n")) == [200]


INNER = "GET /_sluiceway/metrics HTTP/1.1\r\nHost: inner\r\n\r\n"
SHAPES: dict[str, tuple[str, set[int]]] = {
    "two lengths": (f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: {len(INNER)}\r\n\r\n{INNER}", {400}),
    "the same length twice": ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", {400}),
    "length and chunked": (
        f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{INNER}", {400}),
    "chunked and length": (
        f"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{INNER}", {400}),
    "a negative length": ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", {400}),
    "a signed length": ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nabcd", {400}),
    "a long length": (f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {'9' * 40}\r\n\r\n", {400}),
    "a word for a length": ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ten\r\n\r\n", {400}),
    "chunked, not last": (
        f"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{INNER}", {400}),
    "nearly chunked": (f"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{INNER}", {400}),
    "a bad chunk size": ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", {400}),
    "a huge chunk size": (f"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{'F' * 20}\r\n\r\n", {400}),
    "a folded header": ("GET /_sluiceway/health HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", {200, 400}),
    "a space before the colon": ("GET /_sluiceway/health HTTP/1.1\r\nHost : a\r\n\r\n", {400}),
    "a NUL in a header": ("GET /_sluiceway/health HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", {400}),
    "a bare CR in a header": ("GET /_sluiceway/health HTTP/1.1\r\nHost: a\r\nX: a\rY: b\r\n\r\n", {400}),
    "no colon": ("GET /_sluiceway/health HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", {400}),
    "no host": ("GET /_sluiceway/health HTTP/1.1\r\n\r\n", {200, 400}),
    "two hosts": ("GET /_sluiceway/health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", {200, 400}),
    "HTTP/0.9": ("GET /\r\n\r\n", {400, 403}),
    "HTTP/2": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    "HTTP/9.9": ("GET /_sluiceway/health HTTP/9.9\r\nHost: a\r\n\r\n", {400, 505}),
    "no method": (" / HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "a method of its own": ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "binary": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\xff" * 200, {400}),
    "CONNECT": ("CONNECT evil:443 HTTP/1.1\r\nHost: evil:443\r\n\r\n", {400, 403, 404, 405}),
    "a star": ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", {400, 403, 404, 405}),
    "absolute": ("GET http://elsewhere.example/_sluiceway/health HTTP/1.1\r\nHost: a\r\n\r\n", {200, 400, 403, 404}),
    "a path that is none": ("GET \x7f\xff HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "endless target": (f"GET /{'a' * 200 * KIB} HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "endless header": (f"GET / HTTP/1.1\r\nHost: a\r\nX: {'a' * 200 * KIB}\r\n\r\n", {400}),
    "endless headers": ("GET / HTTP/1.1\r\nHost: a\r\n" + "X: 1\r\n" * 40_000 + "\r\n", {400}),
    "endless query": (f"GET /bucket?{'a' * 40 * KIB} HTTP/1.1\r\nHost: a\r\n\r\n", {400, 413, 414}),
    "endless trailers": ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + "X: 1\r\n" * 40_000 + "\r\n",
                         {400, 403, 405}),
    "endless chunk extension": (
        f"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;{'a' * 300 * KIB}\r\nx\r\n0\r\n\r\n", {400, 403, 405}),
    "upgrade to HTTP/2": ("GET /_sluiceway/health HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                          "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", {200, 400}),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_bad_http_gets_one_answer_and_nothing_is_smuggled(server: ServerProcess, shape: str) -> None:
    text, expected = SHAPES[shape]
    said = everything(server, text.encode("latin-1"))
    found = statuses(said)
    assert len(found) <= 1 and set(found) <= expected, said[:600]
    assert b"sluiceway_requests" not in said and b"Traceback" not in said
    assert found or shape.startswith("endless") or shape == "a path that is none", said


def test_bare_line_feeds_end_no_request_in_the_middle(server: ServerProcess) -> None:
    said = everything(server, f"POST / HTTP/1.1\nHost: a\nContent-Length: {len(INNER)}\n\n{INNER}".encode())
    assert len(statuses(said)) <= 1 and b"sluiceway_requests" not in said


def test_pipelined_requests_are_answered_in_order(server: ServerProcess) -> None:
    body = f"POST /_sluiceway/health HTTP/1.1\r\nHost: a\r\nContent-Length: {len(INNER)}\r\n\r\n{INNER}"
    said = everything(
        server, (HEALTH * 10 + body + "GET /_sluiceway/nothing HTTP/1.1\r\nHost: a\r\n\r\n" + LAST).encode()
    )
    assert statuses(said) == [200] * 11 + [404, 200] and b"sluiceway_requests" not in said


def test_old_clients_are_served_and_let_go(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"GET /_sluiceway/health HTTP/1.0\r\n\r\n")
        assert read_answer(connection, "GET").status == 200
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    "begin", ["", "GET / HTTP/1.1\r\nHost: ", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\nX: "]
)
def test_headers_that_never_end_are_cut_off(server: ServerProcess, begin: str) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(begin.encode())
        connection.settimeout(0.2)
        while time.monotonic() - began < 20:
            try:
                if connection.recv(1000) == b"":
                    break
            except TimeoutError:
                with contextlib.suppress(OSError):
                    connection.sendall(b"a" if begin else b"")
            except ConnectionResetError:
                break
    assert time.monotonic() - began < 15  # by its default it would take 20 s


SLOW = [("/", "sqs", "AmazonSQS.ListQueues"), ("/_es/i/_doc", "es", ""), ("/2015-03-31/functions", "lambda", "")]


@pytest.mark.parametrize("path, scope, target", SLOW)
@pytest.mark.parametrize("drip", [False, True], ids=["silent", "dripping"])
def test_bodies_that_never_end_are_given_up(
    server: ServerProcess, path: str, scope: str, target: str, drip: bool
) -> None:
    plain = Plain("POST", path, b"", {"x-amz-target": target} if target else {})
    made = signed(plain, server.port, server.key, scope)
    made = replace(made, headers=made.headers | {"content-length": "5000"})
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(made.wire(server.port, length=False))
        stop = threading.Event()

        def send() -> None:
            with contextlib.suppress(OSError):
                while not stop.wait(0.2):
                    connection.sendall(b"{")

        if drip:
            threading.Thread(target=send, daemon=True).start()
        answer = read_answer(connection).check()
        stop.set()
    assert 400 <= answer.status < 500 and time.monotonic() - began < 15


# -- size

LARGE = {
    "sns": ("", "CreateTopic", {"Name": "x"}), "sqs": ("", "ListQueues", {}), "dynamodb": ("", "ListTables", {}),
    "dynamodbstreams": ("dynamodb", "ListStreams", {}), "kinesis": ("", "ListStreams", {}), "lambda": ("", "CreateFunction", {}),
    "apigatewayv2": ("apigateway", "CreateApi", {}), "sts": ("", "GetCallerIdentity", {}), "iam": ("", "ListUsers", {}),
    "secretsmanager": ("", "ListSecrets", {}), "ssm": ("", "DescribeParameters", {}), "kms": ("", "ListKeys", {}),
    "cloudformation": ("", "ListStacks", {}), "logs": ("", "DescribeLogGroups", {}), "es": ("", "CreateElasticsearchDomain", {}),
    "apigatewaymanagementapi": ("execute-api", "PostToConnection", {"ConnectionId": "x"}),
}  # fmt: skip


@pytest.mark.parametrize("service", LARGE)
def test_bodies_over_the_limit_are_refused_in_the_protocol(server: ServerProcess, service: str) -> None:
    scope, operation, params = LARGE[service]
    prefix = "/_ws/aaaaaaaaaa/live" if service == "apigatewaymanagementapi" else ""
    made = signed(serialized(service, operation, params, prefix), server.port, server.key, scope or service)
    head = replace(made, body=b"")
    announced = replace(head, headers=head.headers | {"content-length": str(17 * MIB)}).wire(server.port, length=False)
    chunked = replace(head, headers=head.headers | {"transfer-encoding": "chunked"}).wire(server.port, length=False)
    chunk = b"100000\r\n" + b" " * MIB + b"\r\n"
    for data in ([announced], [announced, *[b" " * MIB] * 17], [chunked, *[chunk] * 17, b"0\r\n\r\n"]):
        answer = understood(service, operation, exchange(server, data, made.method).check())
        assert answer.status in (400, 413) and answer.code, answer
        assert "limit" in answer.message or "TooLarge" in answer.code or "too large" in answer.message.lower(), answer


def test_unsigned_bodies_have_a_smaller_limit(server: ServerProcess) -> None:
    head = f"POST / HTTP/1.1\r\nHost: a\r\nX-Amz-Target: AmazonSQS.SendMessage\r\nContent-Length: {9 * MIB}\r\n\r\n"
    assert exchange(server, head.encode()).check().status in (400, 413)


def test_bodies_held_at_the_same_time_have_a_limit(server: ServerProcess) -> None:
    plain = Plain("POST", "/", b"", {"x-amz-target": "DynamoDB_20120810.ListTables"})
    made = signed(plain, server.port, server.key, "dynamodb")
    made = replace(made, headers=made.headers | {"content-length": str(15 * MIB)})
    found: list[Answer] = []

    def send() -> None:
        data = [made.wire(server.port, length=False), b" " * (15 * MIB - 1)]
        found.append(understood("dynamodb", "ListTables", exchange(server, data)))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = Counter(answer.check().code for answer in found)
    # The others waited for their last byte in vain.
    assert set(codes) == {"ProvisionedThroughputExceededException", "ValidationException"}, codes
    assert server.client("dynamodb").list_tables()["TableNames"] == []


def test_more_connections_than_allowed(server: ServerProcess) -> None:
    connections = []
    try:
        for _ in range(500):
            connections.append(socket.create_connection(("127.0.0.1", server.port), timeout=20))
        found: Counter[int] = Counter()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.sendall(HEALTH.encode())
        for connection in connections:
            try:
                found[read_answer(connection, "GET").status] += 1
            except OSError:
                found[0] += 1
    finally:
        for connection in connections:
            connection.close()
    assert set(found) <= {0, 200, 503} and found[503], found
    eventually(lambda: exchange(server, HEALTH.encode(), "GET").status == 200)


# -- search

SEARCH = {
    "truncated": ("POST", "/i/_search", b'{"query": '), "an array": ("POST", "/i/_search", b"[]"), "deep": (
        "POST", "/i/_search", b'{"query":' * 50_000), "deep bool": ("POST", "/i/_search", b'{"query":' + b'{"bool":{"must":' * 5000
        + b"{}" + b"}}" * 5000 + b"}"), "invalid UTF-8": ("PUT", "/i/_doc/1", b'{"a": "\xff"}'),
    "surrogates": ("PUT", "/i/_doc/1", rb'{"a": "\ud800"}'), "deep document": ("PUT", "/i/_doc/1", b'{"a":' * 500 + b"1" + b"}" * 500),
    "not JSON": ("PUT", "/i/_doc/1", b"hello"), "bulk of nonsense": ("POST", "/_bulk", b"hello\nworld\n"), "bulk without an end": (
        "POST", "/_bulk", b'{"index": {"_index": "i"}}\n{"a": 1}'), "bulk of numbers": ("POST", "/_bulk", b"1\n2\n"),
    "unknown query": ("POST", "/i/_search", b'{"query": {"nonsense": {}}}'), "unknown part": ("POST", "/i/_search", b'{"nonsense": 1}'),
    "a number of wrong size": ("POST", "/i/_search", b'{"size": 1e30}'), "window": ("POST", "/i/_search", b'{"from": 99999, "size": 9}'),
    "unknown index": ("POST", "/nobody/_search", b"{}"), "bad index": ("PUT", "/UPPER", b"{}"), "bad path": ("GET", "/%ff", b""),
    "dots": ("GET", "/../../_sluiceway/metrics", b""), "unknown path": ("GET", "/_nonsense/x", b""), "many parts": ("GET", "/a" * 99, b""),
    "unknown document": ("GET", "/i/_doc/nobody", b""), "bad scroll": ("POST", "/_search/scroll", b'{"scroll_id": "\\u0000"}'),
    "bad regexp": ("POST", "/i/_search", b'{"query": {"regexp": {"a": "(((((" }}}'), "bad mapping": (
        "PUT", "/j", b'{"mappings": {"properties": {"a": {"type": "nonsense"}}}}'), "bad date": (
        "POST", "/i/_search", b'{"query": {"range": {"a": {"gte": "now-999999999999999y"}}}}'), "bad sort": (
        "POST", "/i/_search", b'{"sort": [[[]]]}'), "bad aggregation": ("POST", "/i/_search", b'{"aggs": {"a": {"terms": 5}}}'),
    "many buckets": ("POST", "/i/_search", b'{"aggs": {"a": {"terms": {"field": "b", "size": 99999999}}}}'),
    "a gzip bomb": ("POST", "/i/_search", b"\x1f\x8b"), "unknown parameter": ("GET", "/i/_search?nonsense=1", b""),
    "long query string": ("POST", "/i/_search", json.dumps({"query": {"query_string": {"query": "(" * 5000}}}).encode()),
    "words of a query string": ("POST", "/i/_search", json.dumps({"query": {"query_string": {"query": "a OR " * 5000}}}).encode()),
}  # fmt: skip


@pytest.fixture(scope="module")
def index(server: ServerProcess) -> None:
    body = b'{"a": "word", "b": 1}'
    assert ask_search(server, "PUT", "/i/_doc/1?refresh=true", body).status == 201


def ask_search(server: ServerProcess, method: str, path: str, body: bytes, **headers: str) -> Answer:
    token = base64.b64encode(":".join(server.key).encode()).decode()
    kind = "application/x-ndjson" if "_bulk" in path else "application/json"
    plain = Plain(method, f"/_es{path}", body, {"authorization": f"Basic {token}", "content-type": kind})
    return exchange(server, plain.with_headers(**headers).wire(server.port), method)


@pytest.mark.parametrize("kind", SEARCH)
def test_bad_search_requests(server: ServerProcess, index: None, kind: str) -> None:
    method, path, body = SEARCH[kind]
    more = {"content_encoding": "gzip"} if kind == "a gzip bomb" else {}
    answer = ask_search(server, method, path, body, **more).check()
    document = json.loads(answer.body)
    if kind.startswith("unknown document"):
        assert answer.status == 404 and document["found"] is False
    elif answer.status != 200 or kind not in ("bad date", "dots"):
        assert 400 <= answer.status < 500 and document["error"], answer


SEARCH_KEYS = {
    "nobody": {}, "wrong secret": {"authorization": "Basic QUtJQTpub25zZW5zZQ=="}, "no base64": {"authorization": "Basic %%%"},
    "NUL": {"authorization": "Basic AAAA"}, "a bearer": {"authorization": "Bearer x.y.z"}, "nonsense": {"authorization": "x" * 9000},
    "an old signature": {"authorization": "AWS AKIA:xxxx"},
}  # fmt: skip


@pytest.mark.parametrize("kind", SEARCH_KEYS)
def test_search_asks_who_it_is(server: ServerProcess, kind: str) -> None:
    answer = exchange(
        server, Plain("GET", "/_es/_cluster/health", b"", SEARCH_KEYS[kind]).wire(server.port), "GET"
    ).check()
    assert answer.status in (400, 401, 403) and json.loads(answer.body)["error"], answer


# -- APIs


@pytest.fixture(scope="module")
def api(server: ServerProcess) -> str:
    """A route behind the embedded issuer's tokens, and one without an integration that can be called."""
    client = server.client("apigatewayv2")
    found: str = client.create_api(Name="api", ProtocolType="HTTP")["ApiId"]
    arn = "arn:aws:lambda:us-east-1:000000000000:function:nobody"
    target = client.create_integration(
        ApiId=found, IntegrationType="AWS_PROXY", IntegrationUri=arn, PayloadFormatVersion="2.0"
    )
    authorizer = client.create_authorizer(
        ApiId=found, Name="jwt", AuthorizerType="JWT", IdentitySource=["$request.header.Authorization"],
        JwtConfiguration={"Issuer": f"{server.url}/_sluiceway/issuer", "Audience": ["app"]},
    )["AuthorizerId"]  # fmt: skip
    route = {"ApiId": found, "Target": f"integrations/{target['IntegrationId']}"}
    client.create_route(RouteKey="ANY /open/{proxy+}", **route)
    client.create_route(RouteKey="GET /private", AuthorizationType="JWT", AuthorizerId=authorizer, **route)
    client.create_stage(ApiId=found, StageName="$default", AutoDeploy=True)
    return found


def jwt(header: Any, payload: Any, signature: bytes = b"x" * 256) -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def tokens(issuer: str) -> dict[str, str]:
    claims = {"iss": issuer, "aud": "app", "exp": 9_999_999_999, "sub": "x"}
    return {
        "none": "", "a word": "Bearer x", "two parts": "Bearer a.b", "four parts": "Bearer a.b.c.d",
        "no JSON": "Bearer AAAA.AAAA.AAAA", "alg none": "Bearer " + jwt({"alg": "none"}, claims, b""),
        "HS256": "Bearer " + jwt({"alg": "HS256", "kid": "x"}, claims), "a forged RS256": "Bearer " + jwt({"alg": "RS256"}, claims),
        "an unknown key": "Bearer " + jwt({"alg": "RS256", "kid": "../../etc/passwd"}, claims),
        "a key of a list": "Bearer " + jwt({"alg": "RS256", "kid": ["x"]}, claims), "a list": "Bearer " + jwt([], []),
        "another issuer": "Bearer " + jwt({"alg": "RS256", "kid": "x"}, claims | {"iss": "http://127.0.0.1:1"}),
        "jku": "Bearer " + jwt({"alg": "RS256", "jku": "http://127.0.0.1:1/"}, claims), "long": "Bearer " + "a" * 20_000,
        "wrong claims": "Bearer " + jwt({"alg": "RS256"}, {"exp": "x", "nbf": [], "aud": {}, "iss": 5}),
        "deep": "Bearer " + base64.urlsafe_b64encode(b"[" * 9000).decode() + ".AAAA.AAAA",
    }  # fmt: skip


def test_forged_tokens(server: ServerProcess, api: str) -> None:
    for kind, token in tokens(f"{server.url}/_sluiceway/issuer").items():
        headers = {"authorization": token} if token else {}
        answer = exchange(server, Plain("GET", f"/_api/{api}/private", b"", headers).wire(server.port), "GET").check()
        assert answer.status == 401 and json.loads(answer.body) == {"message": "Unauthorized"}, (kind, answer)


@pytest.mark.parametrize(
    "method, path, body, status",
    [
        ("GET", "/_api/nobody/x", b"", 404),
        ("GET", "/_api/", b"", 404),
        ("GET", "/_api/%00/x", b"", 404),
        ("GET", "/_api/API/nothing", b"", 404),
        ("GET", "/_api/API/open/%ff", b"", 400),
        ("GET", "/_api/API/open/../../../_sluiceway/metrics", b"", 500),
        ("GET", "/_api/API/open/x?a=%ff", b"", 400),
        ("POST", "/_api/API/open/x", b"\xff\x00" * 5000, 500),
        ("POST", "/_api/API/open/x", b"x" * (10 * MIB + 1), 413),
    ],
)
def test_bad_requests_to_an_api(
    server: ServerProcess, api: str, method: str, path: str, body: bytes, status: int
) -> None:
    answer = exchange(server, Plain(method, path.replace("API", api), body).wire(server.port), method)
    # API Gateway itself answers 500 when the function can't be called.
    assert answer.status == status and "message" in json.loads(answer.body), answer
    assert b"Traceback" not in answer.body and b"sluiceway_requests" not in answer.body


# -- WebSockets


@pytest.fixture(scope="module")
def sockets(server: ServerProcess) -> str:
    """A WebSocket API whose messages go nowhere."""
    client = server.client("apigatewayv2")
    found: str = client.create_api(
        Name="ws", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action"
    )["ApiId"]
    client.create_stage(ApiId=found, StageName="live", AutoDeploy=True)
    return found


HANDSHAKE = ("GET {} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")  # fmt: skip


def frame(first: int, payload: bytes, mask: bool = True, length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    bit = 0x80 if mask else 0
    head = bytes([first, bit | size]) if size < 126 else bytes([first, bit | 126]) + struct.pack(">H", size) if size < 65_536 else (
        bytes([first, bit | 127]) + struct.pack(">Q", size))  # fmt: skip
    return head + (b"\0\0\0\0" if mask else b"") + payload


FRAMES: dict[str, tuple[bytes, int]] = {
    "unmasked": (frame(0x81, b"{}", mask=False), 1002), "reserved opcode": (frame(0x83, b"x"), 1002),
    "reserved bits": (frame(0xF1, b"x"), 1002), "invalid UTF-8": (frame(0x81, b"\xff\xfe"), 1007),
    "a long ping": (frame(0x89, b"x" * 126), 1002), "a ping in pieces": (frame(0x09, b"x"), 1002),
    "a piece of nothing": (frame(0x80, b"x"), 1002), "too large": (frame(0x81, b"x" * (129 * KIB)), 1009),
    "a huge length": (frame(0x82, b"", length=2**62), 1009), "a close of one byte": (frame(0x88, b"x"), 1002),
    "a bad close": (frame(0x88, struct.pack(">H", 1005)), 1002),
    "large in pieces": (frame(0x01, b"x" * 60_000) + frame(0x00, b"x" * 60_000) * 4 + frame(0x80, b"x"), 1009),
}  # fmt: skip


def open_socket(server: ServerProcess, path: str) -> tuple[socket.socket, bytes]:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    connection.sendall(HANDSHAKE.format(path).encode())
    head = b""
    while b"\r\n\r\n" not in head and (piece := connection.recv(1)):
        head += piece
    return connection, head


@pytest.mark.parametrize("kind", FRAMES)
def test_bad_frames_close_the_socket_with_a_reason(server: ServerProcess, sockets: str, kind: str) -> None:
    data, code = FRAMES[kind]
    connection, head = open_socket(server, f"/_ws/{sockets}/live")
    with connection:
        assert b" 101 " in head, head
        with contextlib.suppress(OSError):
            connection.sendall(data)
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(4096):
                said += piece
                if said[:1] == b"\x88" and len(said) >= 4:
                    break
    assert said[:1] == b"\x88" and struct.unpack(">H", said[2:4])[0] == code, said[:100]


def test_messages_without_sense_leave_the_socket_open(server: ServerProcess, sockets: str) -> None:
    connection, head = open_socket(server, f"/_ws/{sockets}/live")
    with connection:
        assert b" 101 " in head
        for text in (
            b"",
            b"{",
            b"[" * 50_000,
            b'{"action": {"a": 1}}',
            rb'{"action": "\ud800"}',
            b"\x00",
            b'{"action": "$connect"}',
        ):
            connection.sendall(frame(0x81, text))
        connection.sendall(frame(0x82, b"\xff\xfe") + frame(0x89, b"still there"))
        said = b""
        while b"still there" not in said:
            said += connection.recv(65_536)
        assert b"\x88\x02" not in said and b"Traceback" not in said


@pytest.mark.parametrize(
    "path", ["/_ws/nobody/live", "/_ws/API/nobody", "/_ws/", "/_ws/API", "/_ws/%ff/live", "/", "/_api/API"]
)
def test_sockets_to_nowhere_are_refused(server: ServerProcess, sockets: str, path: str) -> None:
    connection, head = open_socket(server, path.replace("API", sockets))
    connection.close()
    assert head.split(b" ")[1] in (b"400", b"403", b"404"), head


# -- the issuer and the own pages

ISSUER = "/_sluiceway/issuer"
PAGES = [
    ("GET", f"{ISSUER}/nothing", b"", {404}), ("GET", f"{ISSUER}/../../etc/passwd", b"", {404}), ("PUT", f"{ISSUER}/token", b"", {405}),
    ("POST", f"{ISSUER}/token", b"", {400, 401}), ("POST", f"{ISSUER}/token", b"grant_type=nonsense", {400}),
    ("POST", f"{ISSUER}/token", b"grant_type=authorization_code&code=\xff\x00", {400}),
    ("POST", f"{ISSUER}/token", b"grant_type=authorization_code&code=" + b"x" * 50_000, {400, 413}),
    ("POST", f"{ISSUER}/token", b"grant_type=authorization_code&code=x&code=y&grant_type=z", {400}),
    ("POST", f"{ISSUER}/token", b"a" * 17 * MIB, {400, 413}), ("GET", f"{ISSUER}/authorize", b"", {400}),
    ("GET", f"{ISSUER}/authorize?redirect_uri=http://evil.example/&client_id=x&response_type=code", b"", {400}),
    ("GET", f"{ISSUER}/authorize?redirect_uri=javascript:alert(1)&client_id=x", b"", {400}), ("GET", f"{ISSUER}/authorize?%ff=%ff", b"", {400}),
    ("GET", f"{ISSUER}/authorize?redirect_uri=http://[&client_id=x", b"", {400}), ("GET", f"{ISSUER}/userinfo", b"", {401}),
    ("POST", f"{ISSUER}/authorize", b"username=x&password=y", {400, 403}), ("GET", f"{ISSUER}/end-session?id_token_hint=x.y.z", b"", {200, 400}),
    ("GET", f"{ISSUER}/end-session?post_logout_redirect_uri=http://evil.example/", b"", {200, 400}),
    ("GET", "/_sluiceway/nothing", b"", {404}), ("GET", "/_sluiceway/", b"", {404}), ("GET", "/_sluiceway/health/../../../etc/passwd", b"", {200, 404}),
    ("GET", "/_sluiceway/../store.db", b"", {404}), ("GET", "/_sluiceway/%2e%2e/master-key", b"", {404}), ("GET", "/_sluiceway/status", b"", {403}),
    ("GET", "/_sluiceway/events?log=topic/x", b"", {403}), ("POST", "/_sluiceway/status", b"{}", {405}), ("POST", "/_sluiceway/reset", b"", {404}),
    ("DELETE", "/_sluiceway/metrics", b"", {405}), ("GET", "/_sluiceway/sns/%ff", b"", {400, 404}), ("GET", "/_sluiceway/sns/../../x", b"", {400, 404}),
    ("GET", "/_sluiceway/\x80\x81", b"", {400, 404}), ("POST", "/_sluiceway/health", b"x" * MIB, {200, 405}),
]  # fmt: skip


@pytest.mark.parametrize("method, path, body, expected", PAGES)
def test_pages_refuse_what_they_do_not_have(
    server: ServerProcess, method: str, path: str, body: bytes, expected: set[int]
) -> None:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    answer = exchange(server, Plain(method, path, body, kind).wire(server.port), method).check()
    assert answer.status in expected, answer
    assert b"evil.example" not in answer.headers.get("location", "").encode() and b"root:" not in answer.body


OWN: list[dict[str, str]] = [
    {}, {"log": "nonsense"}, {"log": "topic/"}, {"log": "a\0b"}, {"from": "@x"}, {"from": "@²"}, {"from": "@" + "9" * 5000},
    {"limit": "-1"}, {"limit": "²"}, {"limit": "9" * 5000}, {"wait_s": "x"}, {"wait_s": "nan"},
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(OWN)))
def test_own_pages_read_their_parameters_with_care(server: ServerProcess, number: int) -> None:
    asked = ({"log": "topic/x"} if OWN[number] else {}) | OWN[number]
    path = "/_sluiceway/events?" + urllib.parse.urlencode(asked, quote_via=urllib.parse.quote, safe="")
    made = signed(Plain("GET", path), server.port, server.key, "sluiceway")
    answer = exchange(server, made.wire(server.port), "GET").check(400)
    assert json.loads(answer.body)["message"]


def test_own_pages_ask_who_it_is(server: ServerProcess) -> None:
    for page in ("status", "events?log=topic/x", "logs"):
        plain = Plain("GET", f"/_sluiceway/{page}")
        for made in (
            signed(plain, server.port, (server.key[0], "wrong" * 8), "sluiceway"),
            signed(plain, server.port, server.key, "s3"),
            signed(plain, server.port, server.key, "sluiceway", moved_s=-3600),
            signed(plain, server.port, server.key, "sluiceway", token="garbage"),
        ):
            assert exchange(server, made.wire(server.port), "GET").check().status in (400, 403)


def test_the_servers_files_are_not_for_others(server: ServerProcess) -> None:
    assert os.stat(server.data).st_mode & 0o077 == 0
