"""The bare echo: answers what it was sent; ``/N`` answers N bytes, and swallows what it was sent."""

from __future__ import annotations

from typing import Any

PIECE = bytes(65_536)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """ASGI."""
    if scope["type"] != "http":
        return
    size = scope["path"][1:]
    parts, more = [], True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        if not size:
            parts.append(message.get("body", b""))
    body = b"".join(parts)
    length = int(size) if size else len(body)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(length).encode())]})
    while size and length > len(PIECE):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
        length -= len(PIECE)
    await send({"type": "http.response.body", "body": PIECE[:length] if size else body})
