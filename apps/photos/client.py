"""A person at the application's page, without a browser: sign in, upload, listen."""

from __future__ import annotations

import base64
import hashlib
import html
import http.client
import http.cookiejar
import json
import re
import secrets
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

CHUNK = 1024 * 1024


class Refused(Exception):
    """The server answered, but not with what was asked for."""


class Person:
    """Signs in with a new account at the embedded issuer, and calls the API with the token."""

    def __init__(self, api_url: str, issuer: str, name: str) -> None:
        self._api_url = api_url
        self._issuer = issuer
        self._email = f"{name}@example.com"
        self._name = name.capitalize()
        self._password = secrets.token_urlsafe(12)
        self._token = ""

    def sign_in(self) -> None:
        """Authorization code with PKCE (RFC 7636), as the page does it, creating the account on the way."""
        home = self._api_url + "/"
        provider = json.load(urllib.request.urlopen(f"{self._issuer}/.well-known/openid-configuration", timeout=30))
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code", "client_id": "sluiceway", "redirect_uri": home, "scope": "openid profile",
            "state": secrets.token_urlsafe(8), "code_challenge": challenge, "code_challenge_method": "S256",
            "prompt": "create",
        }  # fmt: skip
        code = self._authorize(f"{provider['authorization_endpoint']}?{urllib.parse.urlencode(query)}")
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": home, "client_id": "sluiceway",
            "code_verifier": verifier,
        }  # fmt: skip
        answer = urllib.request.urlopen(provider["token_endpoint"], urllib.parse.urlencode(form).encode(), timeout=30)
        self._token = json.load(answer)["access_token"]

    def _authorize(self, url: str) -> str:
        opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()), _NoRedirect()
        )
        page = opener.open(url, timeout=30).read().decode()
        action = urllib.parse.urljoin(url, html.unescape(_found(r'<form method="post" action="([^"]+)"', page)))
        csrf = html.unescape(_found(r'name="csrf" value="([^"]+)"', page))
        fields = {"csrf": csrf, "name": self._name, "email": self._email, "password": self._password}
        try:
            opener.open(action, urllib.parse.urlencode(fields).encode(), timeout=30)
        except urllib.error.HTTPError as error:
            if error.code not in (302, 303):
                raise Refused(f"the sign-in page answered {error.code}") from None
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(error.headers["location"]).query)
            return query["code"][0]
        raise Refused("the sign-in page did not lead back")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """A JSON request to the API. Raises ``Refused`` or ``OSError``."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        request = urllib.request.Request(f"{self._api_url}/{path}", data, headers, method=method)
        try:
            return json.load(urllib.request.urlopen(request, timeout=30))
        except urllib.error.HTTPError as error:
            raise Refused(f"{method} /{path} answered {error.code}: {error.read()[:200]!r}") from None

    def upload(self, file: Path, progress: Callable[[int], None] = lambda sent: None) -> str:
        """Ask for a URL, and PUT the file straight to the bucket; its id. Raises ``Refused`` or ``OSError``."""
        kind = "image/jpeg" if file.suffix == ".jpg" else "application/octet-stream"
        asked = self.call("POST", "uploads", {"name": file.name, "type": kind})
        place = urllib.parse.urlsplit(asked["url"])
        connection = http.client.HTTPConnection(place.netloc, timeout=60)
        try:
            connection.putrequest("PUT", f"{place.path}?{place.query}")
            connection.putheader("content-type", kind)
            connection.putheader("content-length", str(file.stat().st_size))
            connection.endheaders()
            sent = 0
            with file.open("rb") as source:
                while chunk := source.read(CHUNK):
                    connection.send(chunk)
                    sent += len(chunk)
                    progress(sent)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise Refused(f"the bucket answered {answer.status}: {text[:300]!r}")
        return str(asked["id"])


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """The answer is wanted, not what it leads to."""


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise Refused("the sign-in page is not as expected")
    return match[1]


class Listener(threading.Thread):
    """An open WebSocket that comes back when it is cut off, as the page's does. ``tell(news)`` gets messages."""

    def __init__(self, person: Person, socket_url: str, tell: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(daemon=True)
        self._person = person
        self._url = socket_url
        self._tell = tell
        self._stopped = threading.Event()
        self.open = threading.Event()

    def run(self) -> None:
        """Until ``stop``."""
        while not self._stopped.is_set():
            try:
                self._listen()
            except (OSError, Refused, ConnectionClosed, InvalidHandshake, TimeoutError, http.client.HTTPException):
                self.open.clear()
                time.sleep(0.1)

    def _listen(self) -> None:
        ticket = self._person.call("POST", "tickets", {})["ticket"]
        with connect(f"{self._url}?ticket={urllib.parse.quote(ticket)}", open_timeout=20) as socket:
            self.open.set()
            while not self._stopped.is_set():
                try:
                    self._tell(json.loads(socket.recv(timeout=0.5)))
                except TimeoutError:
                    continue

    def stop(self) -> None:
        """Close the socket."""
        self._stopped.set()
        self.join(5)
