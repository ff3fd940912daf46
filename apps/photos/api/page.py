"""The one page, and its script and style."""

import html
import json
import os
from pathlib import Path

HERE = Path(__file__).parent
KINDS = {"app.js": "text/javascript; charset=utf-8", "style.css": "text/css; charset=utf-8"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' http: https: data:; "
    "connect-src 'self' http: https: ws: wss:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def handler(event, context):
    """GET / and GET /assets/{name}."""
    name = (event.get("pathParameters") or {}).get("name")
    if name is None:
        return answer(200, "text/html; charset=utf-8", page())
    if name not in KINDS:
        return answer(404, "text/plain", "There is no such file.\n")
    return answer(200, KINDS[name], (HERE / name).read_text())


def page():
    """The page with the addresses that its script needs."""
    names = ("ISSUER", "CLIENT_ID", "SOCKET_URL")
    config = json.dumps({name.lower(): os.environ[name] for name in names})
    return (HERE / "page.html").read_text().replace("{{config}}", html.escape(config))


def answer(status, kind, body):
    """A text that is not to be kept, framed or guessed at."""
    headers = {
        "content-type": kind,
        "cache-control": "no-cache",
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
    }
    return {"statusCode": status, "headers": headers, "body": body}
