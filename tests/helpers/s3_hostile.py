"""The object service by raw sockets: every part of a request may be wrong."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import http.client
import re
import socket
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from helpers.server import ServerProcess

KIB, MIB = 1024, 1024 * 1024
EMPTY = hashlib.sha256(b"").hexdigest()
BUCKET = "target"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        found = re.search(rb"<Code>(.*?)</Code>", self.body)
        return found[1].decode() if found else ""


class Signer:
    """Signature Version 4 by hand, so that every part of it can be wrong."""

    def __init__(self, key: tuple[str, str], moved_s: float = 0.0) -> None:
        self.key = key
        now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=moved_s)
        self.time = f"{now:%Y%m%dT%H%M%SZ}"
        self.scope = f"{self.time[:8]}/us-east-1/s3/aws4_request"
        self.seed = ""

    def hmac(self, text: str) -> str:
        key = b"AWS4" + self.key[1].encode()
        for part in self.scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()

    def sign(self, method: str, path: str, query: str, headers: dict[str, str], payload: str) -> str:
        names = ";".join(sorted(name.lower() for name in headers))
        lines = "".join(f"{name.lower()}:{headers[name].strip()}\n" for name in sorted(headers, key=str.lower))
        whole = "\n".join([method, path, query, lines, names, payload])
        digest = hashlib.sha256(whole.encode("latin-1")).hexdigest()
        self.seed = self.hmac(f"AWS4-HMAC-SHA256\n{self.time}\n{self.scope}\n{digest}")
        return self.seed

    def headers(self, method: str, target: str, host: str, payload: str = EMPTY, **more: str) -> dict[str, str]:
        path, _, query = target.partition("?")
        query = "&".join(sorted(item if "=" in item else f"{item}=" for item in query.split("&") if item))
        signed = {"host": host, "x-amz-date": self.time, "x-amz-content-sha256": payload}
        signed |= {name.replace("_", "-"): value for name, value in more.items()}
        signature = self.sign(method, path, query, signed, payload)
        names = ";".join(sorted(name.lower() for name in signed))
        credential = f"{self.key[0]}/{self.scope}"
        about = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
        return signed | {"authorization": about}

    def url(self, method: str, path: str, host: str, seconds: int = 60, **headers: str) -> str:
        signed = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        fields = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.key[0]}/{self.scope}",
            "X-Amz-Date": self.time,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": ";".join(sorted(signed)),
        }
        query = "&".join(f"{name}={urllib.parse.quote(value, safe='')}" for name, value in sorted(fields.items()))
        return f"{path}?{query}&X-Amz-Signature={self.sign(method, path, query, signed, 'UNSIGNED-PAYLOAD')}"


class Wire:
    """A connection that sends any bytes and reads one answer after another."""

    def __init__(self, server: ServerProcess, receive_bytes: int = 0) -> None:
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def head(self, method: str, target: str, headers: dict[str, str]) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.send(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))

    def answer(self, method: str = "GET") -> Answer:
        response = http.client.HTTPResponse(self.socket, method=method)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())

    def closed(self) -> bool:
        """Whether the server ends the connection, soon."""
        self.socket.settimeout(5)
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True


class Target:
    """The server, as an attacker with or without a key sees it."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.host = f"127.0.0.1:{server.port}"
        self.s3 = server.client("s3")

    def signer(self, moved_s: float = 0.0, key: tuple[str, str] | None = None) -> Signer:
        return Signer(key or self.server.key, moved_s)

    def ask(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None, signed: bool = True
    ) -> Answer:
        """One request on a connection of its own."""
        sent = {"host": self.host}
        if signed:
            sent = self.signer().headers(method, target, self.host, hashlib.sha256(body).hexdigest())
        with Wire(self.server) as wire:
            wire.head(method, target, sent | {"content-length": str(len(body))} | (headers or {}))
            wire.send(body)
            return wire.answer(method)

    def has(self, key: str) -> bool:
        return any(row["Key"] == key for row in self.s3.list_objects_v2(Bucket=BUCKET, Prefix=key).get("Contents", []))

    def files(self) -> set[Path]:
        return {path for path in (self.server.data / "blobs").rglob("*") if path.is_file()}
