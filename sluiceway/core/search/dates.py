"""Dates as documents and queries write them (Elasticsearch reference 7.10, "format", "Date math")."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from sluiceway.errors import Invalid

DEFAULT: Final = "strict_date_optional_time||epoch_millis"

_ISO = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:[T ](?:(\d{2})(?::(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?)?"
    r"(Z|[+-]\d{2}(?::?\d{2})?)?)?)?)?\Z"
)
_SLASHED = re.compile(r"(\d{4})/(\d{2})/(\d{2})(?: (\d{2}):(\d{2}):(\d{2})()(?: (Z|[+-]\d{2}:?\d{2}))?)?\Z")
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d+)?\Z")
_MATH = re.compile(r"([+-])(\d{1,9})?([yMwdhHms])|/([yMwdhHms])")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})\Z")
_STEPS: Final[Mapping[str, timedelta]] = {
    "w": timedelta(weeks=1), "d": timedelta(days=1), "h": timedelta(hours=1), "H": timedelta(hours=1),
    "m": timedelta(minutes=1), "s": timedelta(seconds=1),
}  # fmt: skip
_UNITS: Final = "yMdhms"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO_FORMATS: Final = frozenset({
    "strict_date_optional_time", "date_optional_time", "strict_date_optional_time_nanos", "strict_date_time",
    "date_time", "date_time_no_millis", "strict_date_time_no_millis", "date", "strict_date", "yyyy-MM-dd",
    "uuuu-MM-dd", "yyyy-MM-dd HH:mm:ss", "yyyy-MM-dd'T'HH:mm:ss", "yyyy-MM-dd'T'HH:mm:ssZ", "yyyy-MM-dd'T'HH:mm:ss.SSSZ",
    "date_hour_minute_second", "strict_date_hour_minute_second", "yyyy", "yyyy-MM", "year_month", "strict_year_month",
    "yyyy-MM-dd HH:mm:ss.SSS", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "yyyy-MM-dd'T'HH:mm:ssXXX",
})  # fmt: skip
_OTHER_FORMATS: Final = frozenset({"epoch_millis", "epoch_second", "basic_date", "yyyyMMdd", "yyyy/MM/dd",
                                   "yyyy/MM/dd HH:mm:ss", "yyyy/MM/dd HH:mm:ss Z", "yyyy/MM/dd Z"})  # fmt: skip


def check_format(text: str) -> None:
    """Raises ``Invalid("mapping")`` for a format that isn't offered here."""
    for name in text.split("||"):
        if name not in _ISO_FORMATS and name not in _OTHER_FORMATS:
            raise Invalid("mapping", f"the date format [{name}] is not offered here")


def parse(value: str | int | float, formats: str = DEFAULT, *, up: bool = False) -> int:
    """Milliseconds since 1970. ``up`` takes the last moment of what the text leaves open ("2015": its end).

    Raises ``ValueError``.
    """
    if isinstance(value, bool):
        raise ValueError("not a date")
    for name in formats.split("||"):
        found = _by(name, str(value), up)
        if found is not None:
            return found
    raise ValueError("not a date in the field's format")


def looks_like_date(text: str) -> bool:
    """Whether a new field with this text becomes a date ("Dynamic field mapping")."""
    if len(text) > 40 or not any(sign in text for sign in "-:/"):
        return False
    try:
        parse(text, "strict_date_optional_time||yyyy/MM/dd")
    except ValueError:
        return False
    return True


def resolve(text: str | int | float, now_ms: int, formats: str = DEFAULT, *, up: bool = False) -> int:
    """As ``parse``, with date math: ``now-1d/d``, ``2015-01-01||+1M``. Raises ``ValueError``."""
    if not isinstance(text, str):
        return parse(text, formats, up=up)
    if text.startswith("now"):
        at, math = now_ms, text[3:]
    else:
        anchor, _, math = text.partition("||")
        at = parse(anchor, formats, up=up and not math)
    return _calculate(at, math, up) if math else at


def text_of(ms: int) -> str:
    """A date as Elasticsearch writes it."""
    try:
        at = _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        return str(ms)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def _by(name: str, text: str, up: bool) -> int | None:
    if name in ("epoch_millis", "epoch_second"):
        if not _NUMBER.match(text):
            return None
        return int(float(text) * 1000) if name == "epoch_second" else int(float(text))
    if name in ("basic_date", "yyyyMMdd"):
        match = _COMPACT.match(text)
        return _of([match[1], match[2], match[3], None, None, None, None, None], up) if match else None
    match = _ISO.match(text) if name in _ISO_FORMATS else _SLASHED.match(text)
    return _of(list(match.groups()), up) if match else None


def _of(parts: list[str | None], up: bool) -> int | None:
    year, month, day, hour, minute, second, fraction, zone = parts
    try:
        at = datetime(int(year or 1), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0),
                      int(second or 0), tzinfo=_zone(zone))  # fmt: skip
        ms = _ms(at) + int(((fraction or "") + "000")[:3])
        open_unit = next((unit for unit, part in zip(_UNITS, parts, strict=False) if part is None), None)
        if up and open_unit is not None:
            return _ms(_next(at, _UNITS[_UNITS.index(open_unit) - 1])) - 1
    except (ValueError, OverflowError):
        return None
    return ms


def _zone(text: str | None) -> timezone:
    if not text or text == "Z":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def _ms(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _next(at: datetime, unit: str, count: int = 1) -> datetime:
    if unit in _STEPS:
        return at + _STEPS[unit] * count
    months = at.year * 12 + at.month - 1 + count * (12 if unit == "y" else 1)
    year, month = divmod(months, 12)
    first_after = datetime(year + (month == 11), (month + 1) % 12 + 1, 1, tzinfo=at.tzinfo)
    return at.replace(year=year, month=month + 1, day=min(at.day, (first_after - timedelta(days=1)).day))


def _floor(at: datetime, unit: str) -> datetime:
    if unit == "w":
        return _floor(at, "d") - timedelta(days=at.weekday())
    zeros = {"microsecond": 0, "second": 0, "minute": 0, "hour": 0, "day": 1, "month": 1}
    kept = {"y": 6, "M": 5, "d": 4, "h": 3, "H": 3, "m": 2, "s": 1}[unit]
    return at.replace(**dict(list(zeros.items())[:kept]))  # type: ignore[arg-type]


def _calculate(at_ms: int, math: str, up: bool) -> int:
    place = 0
    try:
        at = _EPOCH + timedelta(milliseconds=at_ms)
        ms = at_ms
        while place < len(math):
            step = _MATH.match(math, place)
            if step is None:
                raise ValueError(f"operator not supported for date math [{math}]")
            place = step.end()
            if step[4]:
                at = _floor(at, step[4])
                at = _next(at, step[4]) - timedelta(milliseconds=1) if up else at
            else:
                at = _next(at, step[3], int(f"{step[1]}{step[2] or 1}"))
            ms = _ms(at)
    except OverflowError:
        raise ValueError("the date is out of range") from None
    return ms
