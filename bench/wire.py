"""A client that costs next to nothing: requests signed beforehand as bytes, answers read by their length alone."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import urlencode

import boto3
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

REGION = "us-east-1"
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


@dataclass(frozen=True)
class Target:
    """A server under measurement; ``key`` signs what is sent to it."""

    name: str
    port: int
    pid: int
    key: tuple[str, str] = ("bench", "bench")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str) -> Any:
        """boto3, for setting things up; never measured."""
        return _client(service, self.url, self.key)

    def wire(
        self, service: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> bytes:
        """A whole signed request (Signature Version 4, payload hash included), as it goes over the wire."""
        request = AWSRequest(method=method, url=self.url + path, data=body, headers=dict(headers or {}))
        request.headers["Host"] = f"127.0.0.1:{self.port}"
        sign = S3SigV4Auth if service == "s3" else SigV4Auth
        sign(Credentials(*self.key), service, REGION).add_auth(request)
        return plain(method, path, body, dict(request.headers.items()))

    def json(self, service: str, target: str, body: bytes, version: str = "1.0") -> bytes:
        """A request of AWS's JSON protocols."""
        headers = {"Content-Type": f"application/x-amz-json-{version}", "X-Amz-Target": target}
        return self.wire(service, "POST", "/", body, headers)

    def form(self, service: str, **fields: str) -> bytes:
        """A request of AWS's query protocol."""
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        return self.wire(service, "POST", "/", urlencode(fields).encode(), headers)


@cache
def _client(service: str, url: str, key: tuple[str, str]) -> Any:
    settings: dict[str, Any] = (
        {"s3": {"addressing_style": "path"}, "signature_version": "s3v4"} if service == "s3" else {}
    )
    return boto3.client(
        service, endpoint_url=url, region_name=REGION, config=Config(read_timeout=60, **settings),
        aws_access_key_id=key[0], aws_secret_access_key=key[1],
    )  # fmt: skip


def plain(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A request as bytes, with the length of its body."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class Reader:
    """One answer, from the pieces in which it arrives."""

    status: int = 0
    closes: bool = False
    _head: bytes = b""
    _parts: list[bytes] = field(default_factory=list)
    _left: int = -1
    _chunked: bool = False

    def feed(self, data: bytes) -> bool:
        """Take a piece; True once the answer is whole."""
        if not self.status:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return False
            self._begin(head)
            if not data:
                return self._left == 0
        self._parts.append(data)
        if self._chunked:
            return b"".join(self._parts[-2:]).endswith(b"0\r\n\r\n")
        self._left -= len(data)
        return self._left <= 0

    def _begin(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        self.status = int(first.split(b" ", 2)[1])
        self.closes = first.startswith(b"HTTP/1.0")
        for line in lines:
            name, _, value = line.partition(b":")
            name, value = name.lower(), value.strip().lower()
            if name == b"content-length":
                self._left = int(value)
            elif name == b"transfer-encoding":
                self._chunked = value == b"chunked"
            elif name == b"connection":
                self.closes = value == b"close"
        if self.status in (204, 304) or (self._left < 0 and not self._chunked):
            self._left = 0

    def answer(self) -> Answer:
        """The whole answer; a chunked body is joined without looking at its chunks' sizes twice."""
        body = b"".join(self._parts)
        return Answer(self.status, _dechunk(body) if self._chunked else body)


def _dechunk(data: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    while True:
        line = data.index(b"\r\n", at)
        size = int(data[at:line].partition(b";")[0], 16)
        if not size:
            return b"".join(parts)
        parts.append(data[line + 2 : line + 2 + size])
        at = line + size + 4


class Connection:
    """One blocking keep-alive connection, opened again when the server closed it."""

    def __init__(self, port: int, clock: Callable[[], float]) -> None:
        self._port, self._clock = port, clock
        self._socket: socket.socket | None = None

    def send(self, wire: bytes) -> float:
        """Send a request; the time before it went."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), TIMEOUT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = self._clock()
        self._socket.sendall(wire)
        return began

    def receive(self) -> tuple[Answer, float]:
        """The answer, and the time when it was whole."""
        assert self._socket is not None
        reader = Reader()
        while not reader.feed(data := self._socket.recv(262_144)):
            if not data:
                raise ConnectionError("the server closed the connection within an answer")
        ended = self._clock()
        if reader.closes:
            self.close()
        return reader.answer(), ended

    def ask(self, wire: bytes) -> tuple[Answer, float]:
        """The answer to a request, and how long it took."""
        began = self.send(wire)
        answer, ended = self.receive()
        return answer, ended - began

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
