"""Text, numbers, times and bytes as the AWS protocols write them (Smithy, "Timestamp serialization")."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, Final

from sluiceway.edges.aws.codecs.model import Shape
from sluiceway.errors import Invalid

TextReader = Callable[[str], Any]
TextWriter = Callable[[Any], str]
_SPECIAL_FLOATS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def wrong(what: str) -> Invalid:
    """The error for a value of the wrong form."""
    return Invalid("serialization", what)


def text_to_bytes(text: Any) -> bytes:
    """Base64 to bytes."""
    if not isinstance(text, str):
        raise wrong("A blob must be base64 text.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise wrong("A blob is not valid base64.") from None


def bytes_to_text(value: bytes | bytearray | str) -> str:
    """Bytes to base64."""
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode("ascii")


def text_to_int(text: str) -> int:
    """A decimal integer."""
    try:
        if len(text) > 20:
            raise ValueError
        value = int(text)
        if not -(1 << 63) <= value < 1 << 63:
            raise ValueError
        return value
    except ValueError:
        raise wrong(f"{text[:40]!r} is not an integer.") from None


def text_to_float(text: str) -> float:
    """A decimal number, NaN or an infinity."""
    if text in _SPECIAL_FLOATS:
        return _SPECIAL_FLOATS[text]
    try:
        return float(text)
    except ValueError:
        raise wrong(f"{text[:40]!r} is not a number.") from None


def text_to_bool(text: str) -> bool:
    """``true`` or ``false``."""
    lower = text.lower()
    if lower not in ("true", "false"):
        raise wrong(f"{text[:40]!r} is neither true nor false.")
    return lower == "true"


def text_to_time(text: str) -> datetime:
    """ISO 8601, an HTTP date, or seconds since 1970."""
    try:
        if text[:1].isdigit() and ("-" in text or "T" in text):
            moment = datetime.fromisoformat(text)
        elif text[:1].isalpha():
            moment = parsedate_to_datetime(text)
        else:
            moment = datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError, TypeError):
        raise wrong(f"{text[:40]!r} is not a timestamp.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def number_to_time(value: Any) -> datetime:
    """A JSON timestamp: seconds since 1970, or text."""
    if isinstance(value, str):
        return text_to_time(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong("A timestamp must be a number or text.")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise wrong(f"{value!r} is not a timestamp.") from None


def time_to_number(moment: Any) -> int | float:
    """Seconds since 1970; whole ones without a fraction."""
    seconds = moment.timestamp() if isinstance(moment, datetime) else moment
    return int(seconds) if float(seconds).is_integer() else round(float(seconds), 3)


def time_to_iso(moment: datetime) -> str:
    """``2026-01-31T08:00:00Z``, with milliseconds if there are any."""
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="milliseconds" if utc.microsecond else "seconds") + "Z"


def time_to_http(moment: datetime) -> str:
    """An HTTP date (RFC 9110, 5.6.7)."""
    return format_datetime(moment.astimezone(UTC).replace(microsecond=0), usegmt=True)


def float_to_text(value: float) -> str:
    """A number, NaN or an infinity."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def text_reader(shape: Shape) -> TextReader:
    """How a scalar of ``shape`` is read from text (XML, headers, queries, forms)."""
    readers: dict[str, TextReader] = {
        "blob": text_to_bytes,
        "boolean": text_to_bool,
        "double": text_to_float,
        "float": text_to_float,
        "integer": text_to_int,
        "long": text_to_int,
        "timestamp": text_to_time,
    }
    return readers.get(shape.type_name, str)


def text_writer(shape: Shape, default_time: str) -> TextWriter:
    """How a scalar of ``shape`` is written as text. ``default_time`` is the place's timestamp format."""
    if shape.type_name == "timestamp":
        return time_writer(shape.serialization.get("timestampFormat", default_time))
    writers: dict[str, TextWriter] = {
        "blob": bytes_to_text,
        "boolean": lambda value: "true" if value else "false",
        "double": float_to_text,
        "float": float_to_text,
    }
    return writers.get(shape.type_name, str)


def time_writer(form: str) -> TextWriter:
    """``iso8601``, ``rfc822`` or ``unixTimestamp``."""
    if form == "rfc822":
        return time_to_http
    if form == "unixTimestamp":
        return lambda moment: str(time_to_number(moment))
    return time_to_iso
