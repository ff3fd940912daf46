"""Requests and responses as every edge sees them: thin values, with limits applied.

The connection is in ``edges.protocol``, what runs a request in ``edges.application``, the choice of an edge in
``edges.routing``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

from sluiceway.errors import Invalid, Throttled, TooLarge

Receive = Callable[[], Awaitable[dict[str, Any]]]


#: What of a Host header is looked at and remembered: a name and its port (RFC 1035, 2.3.4); headers may be 64 KiB.
HOST_CHARS_MAX: Final = 260


class Headers:
    """Request headers: names in lower case, repeated ones kept in order."""

    __slots__ = ("_first", "items")

    def __init__(self, items: Iterable[tuple[str, str]]) -> None:
        self.items = items if isinstance(items, list) else list(items)
        self._first: dict[str, str] = dict(self.items[::-1])  # from the back, so that the first one stays

    def get(self, name: str, default: str = "") -> str:
        """The first value of ``name`` (lower case)."""
        return self._first.get(name, default)

    def __contains__(self, name: str) -> bool:
        return name in self._first

    @property
    def repeated(self) -> bool:
        """Whether a name stands more than once."""
        return len(self._first) != len(self.items)

    def lines(self, names: tuple[str, ...]) -> str | None:
        """``name:value`` in lines, with each name's first value; None if one is not there."""
        first = self._first
        try:
            return "\n".join([f"{name}:{first[name]}" for name in names])
        except KeyError:
            return None

    def has_any(self, names: frozenset[str]) -> bool:
        """Whether one of ``names`` (lower case) is there."""
        return not names.isdisjoint(self._first)

    def has_only(self, names: frozenset[str]) -> bool:
        """Whether nothing but ``names`` (lower case) is there."""
        return names.issuperset(self._first)

    def all(self, name: str) -> list[str]:
        """Every value of ``name``, in order."""
        return [value for key, value in self.items if key == name]

    def as_dict(self) -> dict[str, str]:
        """Name to value; repeated ones joined by a comma (RFC 9110, 5.3)."""
        joined: dict[str, str] = {}
        for name, value in self.items:
            joined[name] = f"{joined[name]},{value}" if name in joined else value
        return joined


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class Room:
    """Memory for the bodies that are held whole, of all requests together. One for a listener."""

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes

    def take(self, size: int) -> None:
        """Raises ``Throttled("bodies")`` when there is no room."""
        if size > self._left:
            raise Throttled("bodies", "Too many large requests are under way. Try again in a moment.")
        self._left -= size

    def give(self, size: int) -> None:
        """What was taken."""
        self._left += size


class Incoming(Protocol):
    """What has come of a body. ``ended`` is whether nothing will follow what is here, ``gone`` whether nobody waits for
    an answer any more."""

    @property
    def ended(self) -> bool: ...

    @property
    def gone(self) -> bool: ...

    def take(self) -> bytes:
        """What is here now; b"" if nothing is."""

    async def more(self, within_s: float) -> None:
        """Return when there may be more, or the end. Asks the client for its body where it waits for that.

        Raises ``ClientGone``, or ``Invalid("request_timeout")`` after ``within_s`` seconds.
        """


class Given:
    """A body that is here already."""

    ended = True
    gone = False

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self) -> bytes:
        """See ``Incoming``."""
        data, self._data = self._data, b""
        return data

    async def more(self, within_s: float) -> None:
        """See ``Incoming``."""


class Body:
    """The request's body as a stream.

    ``announced`` is the length that the client gave. A body that is read whole takes place in ``room`` until ``release``,
    and may take ``whole_s`` seconds.
    """

    __slots__ = ("_announced", "_idle_s", "_room", "_source", "_taken", "_whole_s")

    def __init__(
        self,
        source: Incoming,
        idle_s: float,
        announced: int | None = None,
        room: Room | None = None,
        whole_s: float | None = None,
    ) -> None:
        self._source = source
        self._idle_s = idle_s
        self._announced = announced
        self._room = room
        self._whole_s = whole_s
        self._taken = 0

    @property
    def gone(self) -> bool:
        """Whether the client is: nothing should be done for it that only it could use."""
        return self._source.gone

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they arrive.

        Raises ``ClientGone`` on a disconnect, ``Invalid("request_timeout")`` when nothing arrives in time.
        """
        source = self._source
        while True:
            ended = source.ended
            data = source.take()
            if data:
                yield data
            elif ended:
                return
            else:
                await source.more(self._idle_s)

    def at_hand(self) -> bytes | None:
        """The whole body if it has come, as most small ones have with their headers; else None, and nothing is taken."""
        return self._source.take() if self._source.ended else None

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body. Raises ``TooLarge("request")`` as soon as it is known to pass ``limit_bytes``."""
        if self._announced is not None and self._announced > limit_bytes:
            raise _over(limit_bytes)
        if self._source.ended:  # most often it came with the headers
            data = self._source.take()
            if len(data) > limit_bytes:
                raise _over(limit_bytes)
            self._take(len(data))
            return data
        try:
            async with asyncio.timeout(self._whole_s):
                return await self._gathered(limit_bytes)
        except TimeoutError:
            raise late() from None

    async def _gathered(self, limit_bytes: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit_bytes:
                raise _over(limit_bytes)
            self._take(len(chunk))
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take(self, size: int) -> None:
        if self._room is not None and size:
            self._room.take(size)
            self._taken += size

    def release(self) -> None:
        """Give its room back, once nothing refers to it any more."""
        if self._taken and self._room is not None:
            self._room.give(self._taken)
            self._taken = 0


def _over(limit_bytes: int) -> TooLarge:
    return TooLarge("request", f"The request's body is over the limit of {limit_bytes} bytes.")


def late() -> Invalid:
    """What a client is told whose body does not come."""
    return Invalid("request_timeout", "The request's body did not arrive within the time allowed.")


@dataclass(slots=True)
class Request:
    """One HTTP request. ``raw_path`` and ``raw_query`` are the bytes on the wire, undecoded."""

    method: str
    raw_path: bytes
    raw_query: bytes
    headers: Headers
    body: Body
    scheme: str
    client: str
    request_id: str
    scratch: dict[str, Any] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The Host header, in lower case, with its port if it has one."""
        return self.headers.get("host").lower()

    @property
    def path(self) -> str:
        """The decoded path. Raises ``Invalid("uri")`` if it is not UTF-8."""
        return decode(self.raw_path)

    def query(self) -> list[tuple[str, str]]:
        """Decoded query parameters in order; a name without "=" has the value ""."""
        return parse_query(self.raw_query)

    @property
    def base_url(self) -> str:
        """Where the client reached this server, for links in answers."""
        return f"{self.scheme}://{self.host}"


def decode(raw: bytes) -> str:
    """Percent-decode to text. Raises ``Invalid("uri")`` if the bytes are not UTF-8."""
    try:
        return (unquote_to_bytes(raw) if b"%" in raw else raw).decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid("uri", "The request's URI is not valid UTF-8.") from None


def parse_query(raw: bytes) -> list[tuple[str, str]]:
    """Split and decode a query string, keeping order and empty values ("+" is a space)."""
    pairs: list[tuple[str, str]] = []
    for piece in raw.split(b"&"):
        if piece:
            name, _, value = piece.replace(b"+", b" ").partition(b"=")
            pairs.append((decode(name), decode(value)))
    return pairs


@dataclass(slots=True)
class Response:
    """One HTTP response. A streamed body is sent with backpressure; set content-length yourself then."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | AsyncIterator[bytes] = b""


Handler = Callable[[Request], Awaitable[Response]]
