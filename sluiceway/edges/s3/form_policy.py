"""What the policy of a signed form allows (S3 API reference, "POST policy").

The page says which conditions there are. Where it is silent (messages, order, what is refused as a document and
what as a condition) this follows answers recorded from S3.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from sluiceway.errors import AccessDenied, Invalid

_EXPIRATION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z\Z", re.ASCII)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_NUMBER = re.compile(r"\d{1,18}\Z", re.ASCII)
#: Fields that no condition has to name; AWSAccessKeyId and signature are version 2's.
_UNCOVERED: Final = frozenset({"x-amz-signature", "file", "policy", "awsaccesskeyid", "signature"})
_IGNORED: Final = "x-ignore-"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many bytes the file may have."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class _Condition:
    """``operator`` is "eq" or "starts-with". ``field`` is as the policy spells it, with its "$"."""

    operator: str
    field: str
    value: str


@dataclass(frozen=True, slots=True)
class FormPolicy:
    """A policy document. ``conditions`` are in its order; a size condition is a ``Sizes``."""

    expires_s: float
    conditions: tuple[_Condition | Sizes, ...]

    def check(self, fields: Mapping[str, str], bucket: str, now_s: float, most: int) -> Sizes:
        """The sizes that the file may have, at most ``most``, if all that is known before it is as the policy
        wants it. ``fields`` have names in lower case. Raises ``AccessDenied("form")``.
        """
        if now_s >= self.expires_s:
            raise _violated("Policy expired.")
        known = {name: value for name, value in fields.items() if name not in _UNCOVERED} | {"bucket": bucket}
        sizes = Sizes(0, most)
        covered: set[str] = set()
        for condition in self.conditions:
            if isinstance(condition, Sizes):
                sizes = Sizes(max(sizes.least, condition.least), min(sizes.most, condition.most))
                continue
            if not _holds(condition, known):
                raise _failed([condition.operator, condition.field, condition.value])
            covered.add(condition.field[1:].lower())
        extra = [name for name in known if name not in covered and not name.startswith(_IGNORED)]
        if extra:
            raise _violated(f"Extra input fields: {', '.join(extra)}")
        return sizes


def parse_policy(text: str) -> FormPolicy:
    """The document of a form's policy field. Raises ``Invalid("form_policy")``; also ``AccessDenied("form")`` for a
    size that is not a number, which to S3 is a condition that fails."""
    document = _document(text)
    expiration = document.get("expiration")
    if not isinstance(expiration, str):
        raise _invalid("Policy missing expiration.")
    conditions = document.get("conditions")
    if not isinstance(conditions, list):
        raise _invalid("Policy missing conditions.")
    return FormPolicy(_seconds(expiration), tuple(_conditions(conditions)))


def _document(text: str) -> dict[str, Any]:
    try:
        raw = base64.b64decode("".join(text.split()), validate=True)
        document = orjson.loads(_ESCAPE.sub(_standard, raw))
    except ValueError:
        raise _invalid("Invalid JSON.") from None
    if not isinstance(document, dict):
        raise _invalid("Invalid JSON.")
    return document


def _standard(match: re.Match[bytes]) -> bytes:
    """Policies may escape the dollar sign and the vertical tab, which JSON can't."""
    return {b"$": b"$", b"v": b"\\u000b"}.get(match[1], match[0])


def _seconds(expiration: str) -> float:
    try:
        if not _EXPIRATION.match(expiration):
            raise ValueError
        seconds, _, _ = expiration.rstrip("Z").partition(".")
        return datetime.fromisoformat(seconds).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise _invalid(f"Invalid 'expiration' value: '{expiration[:100]}'") from None


def _conditions(conditions: list[Any]) -> Iterator[_Condition | Sizes]:
    for condition in conditions:
        if isinstance(condition, dict):
            yield _simple(condition)
        elif isinstance(condition, list) and condition and isinstance(condition[0], str):
            yield _listed(condition)
        else:
            raise _invalid("Invalid Condition: must be a Simple-Condition or a list that begins with its operation.")


def _simple(condition: dict[str, Any]) -> _Condition:
    if len(condition) != 1:
        raise _invalid("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
    ((name, value),) = condition.items()
    if not isinstance(value, str):
        raise _invalid("Invalid Simple-Condition: value must be a string.")
    return _Condition("eq", f"${name}", value)


def _listed(condition: list[Any]) -> _Condition | Sizes:
    operator = condition[0].lower()
    if operator not in ("eq", "starts-with", "content-length-range"):
        raise _invalid(f"Invalid Condition: unknown operation '{condition[0][:50]}'.")
    if len(condition) != 3:
        raise _invalid(f"Invalid {operator}: wrong number of arguments.")
    _, first, second = condition
    if operator == "content-length-range":
        return Sizes(_size(condition, first), _size(condition, second))
    if not isinstance(first, str) or not isinstance(second, str):
        raise _invalid(f"Invalid {operator}: arguments must be strings.")
    return _Condition(operator, first, second)


def _size(condition: list[Any], given: Any) -> int:
    """Numbers, or their digits in a string."""
    if isinstance(given, int) and not isinstance(given, bool):
        if given < 0:
            raise _invalid("Invalid content-length-range: arguments must not be negative.")
        return given
    if isinstance(given, str) and _NUMBER.match(given):
        return int(given)
    raise _failed(condition)


def _holds(condition: _Condition, known: Mapping[str, str]) -> bool:
    """A field that is not there fails every condition on it, also that it begins with nothing."""
    if not condition.field.startswith("$"):
        return False
    name = condition.field[1:].lower()
    value = known.get(name)
    if value is None:
        return False
    if condition.operator == "eq":
        return value == condition.value
    if name == "content-type" and "," in value:
        return all(item.strip().startswith(condition.value) for item in value.split(","))
    return value.startswith(condition.value)


def _failed(condition: list[Any]) -> AccessDenied:
    shown = ", ".join(orjson.dumps(item).decode() for item in condition)
    return _violated(f"Policy Condition failed: [{shown}]")


def _violated(how: str) -> AccessDenied:
    return AccessDenied("form", f"Invalid according to Policy: {how}")


def _invalid(why: str) -> Invalid:
    return Invalid("form_policy", f"Invalid Policy: {why}")
