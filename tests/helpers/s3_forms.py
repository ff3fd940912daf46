"""A server to which forms are posted."""

from __future__ import annotations

import http.client
import re
from pathlib import Path
from typing import Any

from helpers import forms
from helpers.server import ServerProcess

KIB, MIB = 1024, 1024 * 1024
BUCKET = "forms"


class Site:
    """The server as pages see it."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.s3 = server.client("s3")

    def post(
        self,
        body: bytes,
        *,
        path: str = f"/{BUCKET}",
        host: str | None = None,
        content_type: str = forms.content_type(),
        **headers: str,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            sent = {"Host": host or f"127.0.0.1:{self.server.port}", "Content-Type": content_type}
            sent |= {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("POST", path, body, sent)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def send(
        self, fields: dict[str, str], file: bytes = b"content", filename: str | None = "a.txt", **more: Any
    ) -> Answer:
        """A form that is signed by the root key as it stands."""
        made = forms.signed(self.server.key, BUCKET, fields, **more)
        return self.post(forms.body(made.items(), file, filename))

    def stored(self) -> set[str]:
        return {row["Key"] for row in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])}

    def files(self) -> set[Path]:
        return {path for path in (self.server.data / "blobs").rglob("*") if path.is_file()}


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def element(self, name: str) -> str:
        found = re.search(rf"<{name}>(.*?)</{name}>".encode(), self.body, re.DOTALL)
        return found[1].decode().replace("&quot;", '"').replace("&amp;", "&") if found else ""

    def refused(self, status: int, code: str, message: str = "") -> Answer:
        shown = (self.status, self.element("Code"), self.element("Message"))
        assert shown[:2] == (status, code), shown
        assert message in shown[2], shown
        return self


MISSING = "Bucket POST must contain a field named '{}'.  If it is specified, please check the order of the fields."
