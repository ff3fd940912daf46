"""Order-preserving bytes for key tuples: packed keys compare as their parts do.

Each part is a tag and a body: bytes ``01``, text ``02`` (UTF-8, so text sorts in UTF-8 binary order as S3
lists keys), integer ``03`` (64 bits, big endian, sign flipped). Text and bytes end with ``00``; a zero
inside is written ``00 ff``. The scheme follows the FoundationDB tuple layer specification.
"""

from __future__ import annotations

from sluiceway.core.store import Key, Part

_INT_BIAS = 1 << 63


def pack(key: Key) -> bytes:
    """The bytes of ``key``; a shorter key that is a prefix packs to a prefix."""
    packed = b""
    for part in key:  # no list, no call for the common parts: every reading and writing comes through here
        if type(part) is str and "\x00" not in part and part.isascii():
            packed += b"\x02%b\x00" % part.encode("ascii")
        elif type(part) is int:
            packed += b"\x03" + (part + _INT_BIAS).to_bytes(8, "big")
        else:
            packed += _pack_part(part)
    return packed


def _pack_part(part: Part) -> bytes:
    if isinstance(part, str):
        return b"\x02" + part.encode("utf-8", "surrogatepass").replace(b"\x00", b"\x00\xff") + b"\x00"
    if isinstance(part, bytes):
        return b"\x01" + part.replace(b"\x00", b"\x00\xff") + b"\x00"
    return b"\x03" + (part + _INT_BIAS).to_bytes(8, "big")


def unpack(data: bytes) -> Key:
    """The key whose bytes ``pack`` made."""
    parts: list[Part] = []
    at = 0
    while at < len(data):
        tag = data[at]
        if tag == 3:
            parts.append(int.from_bytes(data[at + 1 : at + 9], "big") - _INT_BIAS)
            at += 9
            continue
        end = _terminator(data, at + 1)
        body = data[at + 1 : end].replace(b"\x00\xff", b"\x00")
        parts.append(body.decode("utf-8", "surrogatepass") if tag == 2 else body)
        at = end + 1
    return tuple(parts)


def _terminator(data: bytes, start: int) -> int:
    at = data.index(b"\x00", start)
    while data[at + 1 : at + 2] == b"\xff":
        at = data.index(b"\x00", at + 2)
    return at


def prefix_end(packed: bytes) -> bytes:
    """The first bytes after every packed key that starts with ``packed`` (whole parts)."""
    return packed + b"\xff"


def text_after(prefix: str) -> str | None:
    """The least text above every text that starts with ``prefix``; None if there is none.

    Used to skip past a common prefix in a listing.
    """
    for at in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[at])
        if code < 0x10FFFF:
            following = 0xE000 if code == 0xD7FF else code + 1
            return prefix[:at] + chr(following)
    return None
