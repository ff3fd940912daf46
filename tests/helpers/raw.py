"""Requests by hand: botocore's own serialisers, signer and parsers around sockets, so that every part can be wrong."""

from __future__ import annotations

import datetime
import functools
import hashlib
import http.client
import re
import socket
import time
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import botocore.parsers
import botocore.serialize
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.model import ServiceModel

from .server import ServerProcess

TIMEOUT_S = 20.0  # what takes longer hangs; less than the server's own patience, more than a busy machine needs
#: What no answer may hold: the inside of the server.
_LEAKS = re.compile(rb"Traceback|site-packages|\.py\b|File \"|sqlite3|asyncio|NoneType|object at 0x")


@dataclass
class Answer:
    """A response. ``code`` is the error's code as botocore reads it, if ``service`` was given."""

    status: int
    headers: dict[str, str]
    body: bytes
    code: str = ""
    message: str = ""
    seconds: float = 0.0
    raw: bytes = b""

    def check(self, *statuses: int) -> Answer:
        """No failure of the server's own, nothing of its inside, and one of ``statuses`` if there are any."""
        shown = f"{self.status} {self.code} {self.message} {self.body[:300]!r}"
        assert self.status < 500 or self.status in (501, 503), shown
        assert not _LEAKS.search(self.body), shown
        assert not statuses or self.status in statuses, shown
        return self


@dataclass(frozen=True)
class Plain:
    """A request that is not signed yet."""

    method: str = "POST"
    path: str = "/"
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def with_headers(self, **more: str) -> Plain:
        """Names with "_" for "-"."""
        return replace(self, headers=self.headers | {name.replace("_", "-"): value for name, value in more.items()})

    def wire(self, port: int, length: bool = True) -> bytes:
        """The bytes of it."""
        headers = {"host": f"127.0.0.1:{port}"} | self.headers
        if length and (self.body or self.method in ("POST", "PUT")) and "transfer-encoding" not in headers:
            headers.setdefault("content-length", str(len(self.body)))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{self.method} {self.path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + self.body


@functools.cache
def model(service: str) -> ServiceModel:
    """botocore's own model."""
    return ServiceModel(botocore.session.get_session().get_service_data(service), service)


def serialized(service: str, operation: str, params: dict[str, Any], prefix: str = "") -> Plain:
    """The request that botocore would send."""
    found = model(service)
    serializer = botocore.serialize.create_serializer(found.metadata["protocol"], include_validation=False)
    made = serializer.serialize_to_request(params, found.operation_model(operation))
    query = made["query_string"]
    body = made["body"]
    if isinstance(body, dict):
        request = AWSRequest("POST", "http://x/", data=body).prepare()
        body = request.body
        made["headers"].setdefault("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
    pairs = urllib.parse.urlencode(query, doseq=True, quote_via=urllib.parse.quote)
    glue = "&" if "?" in made["url_path"] else "?"
    path = prefix + made["url_path"] + (f"{glue}{pairs}" if pairs else "")
    body = body.encode() if isinstance(body, str) else bytes(body or b"")
    return Plain(made["method"], path, body, {name.lower(): value for name, value in made["headers"].items()})


class _Signer(SigV4Auth):
    """Signs with a clock of its own."""

    moved_s: float = 0.0

    def add_auth(self, request: AWSRequest) -> None:
        now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self.moved_s)
        request.context["timestamp"] = now.strftime("%Y%m%dT%H%M%SZ")
        self._modify_request_before_signing(request)
        canonical = self.canonical_request(request)
        signature = self.signature(self.string_to_sign(request, canonical), request)
        self._inject_signature_to_request(request, signature)

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        request.headers["X-Amz-Date"] = request.context["timestamp"]
        if self.credentials.token:
            request.headers["X-Amz-Security-Token"] = self.credentials.token


def signed(
    plain: Plain,
    port: int,
    key: tuple[str, str],
    scope: str,
    *,
    region: str = "us-east-1",
    moved_s: float = 0.0,
    token: str | None = None,
) -> Plain:
    """``plain`` with a signature of the service ``scope``."""
    about = {name: value for name, value in plain.headers.items() if name != "content-length"}
    request = AWSRequest(plain.method, f"http://127.0.0.1:{port}{plain.path}", headers=about, data=plain.body)
    signer = _Signer(Credentials(key[0], key[1], token), scope, region)
    signer.moved_s = moved_s
    signer.add_auth(request)
    return replace(plain, headers={name.lower(): value for name, value in request.headers.items()})


def exchange(
    server: ServerProcess, data: bytes | Iterable[bytes], method: str = "POST", timeout_s: float = TIMEOUT_S
) -> Answer:
    """Send bytes, read one answer. An answer that comes before all is sent is read as well."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout_s) as connection:
        try:
            for piece in [data] if isinstance(data, bytes) else data:
                connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = read_answer(connection, method)
    answer.seconds = time.monotonic() - began
    return answer


def read_answer(connection: socket.socket, method: str = "POST") -> Answer:
    """One response."""
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def understood(service: str, operation: str, answer: Answer) -> Answer:
    """With the error's code as botocore reads it."""
    if answer.status < 300:
        return answer
    found = model(service)
    parser = botocore.parsers.create_parser(found.metadata["protocol"])
    shape = found.operation_model(operation).output_shape
    parsed = parser.parse({"status_code": answer.status, "headers": answer.headers, "body": answer.body}, shape)
    error = parsed.get("Error", {})
    return replace(answer, code=error.get("Code") or "", message=error.get("Message") or "")


def sha256(body: bytes) -> str:
    """In hex."""
    return hashlib.sha256(body).hexdigest()


def memory_mb(server: ServerProcess) -> float:
    """What the process holds in memory now."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024
