"""Pages for people and endpoints: confirm or end a subscription from a mail, and the signing certificate.

Mail scanners fetch every link, so a link opens a page, and only the page's button acts.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Final

from sluiceway.core.store import Store
from sluiceway.edges.http import Request, Response, parse_query
from sluiceway.errors import DomainError
from sluiceway.services.topics import Topics
from sluiceway.services.topics.values import subscription_key

_FORM_BYTES_MAX: Final = 8 * 1024
_HEADERS: Final[Mapping[str, str]] = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 4rem auto; padding: 0 1rem; color: #1b1f24 }}
h1 {{ font-size: 1.4rem }}
code {{ overflow-wrap: anywhere }}
button {{ font: inherit; padding: .5rem 1.25rem; border: 0; border-radius: .4rem; background: #0b57d0; color: #fff }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


class SnsPages:
    """Answers below ``/_sluiceway/sns/``: ``certificate.pem``, ``confirm`` and ``unsubscribe``."""

    def __init__(self, store: Store, topics: Topics, certificate_pem: bytes) -> None:
        self._store = store
        self._topics = topics
        self._certificate = certificate_pem

    async def handle(self, request: Request) -> Response:
        """Answer ``request``."""
        name = request.path.removeprefix("/_sluiceway/sns/")
        if name == "certificate.pem" and request.method in ("GET", "HEAD"):
            return Response(200, [("content-type", "application/x-pem-file")], self._certificate)
        if name not in ("confirm", "unsubscribe"):
            return _page(404, "There is no such page", "")
        if request.method == "GET":
            return self._ask(name, dict(request.query()))
        if request.method != "POST":
            return _page(405, "This page knows GET and POST only", "")
        body = await request.body.read(_FORM_BYTES_MAX)
        if name == "unsubscribe" and request.query() and _is_one_click(body):
            form = dict(request.query())
        else:
            form = dict(parse_query(body))
        try:
            if name == "confirm":
                return await self._confirm(form)
            return await self._unsubscribe(form)
        except DomainError as error:
            return _page(400, "This did not work", f"<p>{html.escape(error.message)}</p>")

    def _ask(self, name: str, query: Mapping[str, str]) -> Response:
        if name == "confirm":
            title, button, field = "Confirm this subscription?", "Confirm", "token"
            body = "<p>You will get the messages that are published to the topic.</p>"
        else:
            title, button, field = "End this subscription?", "End it", "subscription"
            body = f"<p>No more messages will be sent for<br><code>{html.escape(query.get(field, ''))}</code></p>"
        value = html.escape(query.get(field, ""), quote=True)
        form = (
            f'<form method="post" action="/_sluiceway/sns/{name}">'
            f'<input type="hidden" name="{field}" value="{value}"><button>{button}</button></form>'
        )
        return _page(200, title, body + form)

    async def _confirm(self, form: Mapping[str, str]) -> Response:
        made = await self._store.commit(self._topics.confirm, form.get("token", ""))
        arn = html.escape(self._topics.subscription_arn(made))
        return _page(200, "You are subscribed", f"<p><code>{arn}</code></p>")

    async def _unsubscribe(self, form: Mapping[str, str]) -> Response:
        topic, subscription_id = subscription_key(form.get("subscription", ""), self._topics.scope)
        await self._store.commit(self._topics.unsubscribe, topic, subscription_id, False)
        return _page(200, "The subscription has ended", "<p>No more messages will be sent.</p>")


def _is_one_click(body: bytes) -> bool:
    """A mail program's button: a form in either encoding (RFC 8058, section 3.2)."""
    return b"List-Unsubscribe=One-Click" in body or (b'"List-Unsubscribe"' in body and b"One-Click" in body)


def _page(status: int, title: str, body: str) -> Response:
    text = _PAGE.format(title=html.escape(title), body=body)
    return Response(status, list(_HEADERS.items()), text.encode())
