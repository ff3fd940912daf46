"""DynamoDB's attribute values: checking, canonical form, size, order (Amazon DynamoDB Developer Guide, "Supported
data types and naming rules", "Constraints").

Inside, a value is what it is on the wire ({"S": "x"}, {"N": "1"}, {"L": [...]}), in canonical form: numbers
without needless digits, sets sorted, binary as base64 text. So equal values are equal objects, and JSON.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from decimal import Context, Decimal, DecimalException, Inexact, Overflow, Subnormal, Underflow
from typing import Any, Final

from sluiceway.errors import Invalid, TooLarge

Value = dict[str, Any]
Item = dict[str, Value]

DEPTH_MAX: Final = 32
ITEM_BYTES_MAX: Final = 400 * 1024
TYPES: Final = ("S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M")
_DIGITS: Final = 38
_CONTEXT: Final = Context(prec=_DIGITS, Emax=125, Emin=-130, traps=[Inexact, Overflow, Subnormal, Underflow])
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,9})?")
_NUMBER_CHARS_MAX: Final = 1000  # 0.00...01 with all its zeros has 170
_WIDE: Final = Context(prec=400)  # the sum of any two numbers is exact in it
_BAD: Final = "One or more parameter values were invalid: "


def number(text: str) -> Decimal:
    """Raises ``Invalid("value")`` for what is no number, or one beyond 38 digits or 1E-130 to 9.99E+125."""
    try:
        if len(text) > _NUMBER_CHARS_MAX or not _NUMBER.fullmatch(text):
            raise DecimalException
        exact = Decimal(text)
    except DecimalException:
        raise Invalid("value", f"The parameter cannot be converted to a numeric value: {text[:100]}") from None
    try:
        return _CONTEXT.plus(exact)
    except (Inexact, Subnormal):
        if len("".join(map(str, exact.as_tuple().digits)).strip("0")) > _DIGITS:
            raise Invalid("value", "Attempting to store more than 38 significant digits in a Number") from None
        kind = "overflow" if exact.adjusted() > 0 else "underflow"
        limit = "larger than" if kind == "overflow" else "smaller than"
        raise Invalid(
            "value", f"Number {kind}. Attempting to store a number with magnitude {limit} supported range"
        ) from None


def total(left: str, right: str, sign: int) -> str:
    """The canonical text of ``left`` plus or minus ``right``. Raises ``Invalid("value")`` as ``number`` does."""
    exact = (_WIDE.add if sign > 0 else _WIDE.subtract)(Decimal(left), Decimal(right))
    return number_text(number(str(exact)))


def number_text(value: Decimal) -> str:
    """The canonical text."""
    return "0" if not value else format(value.normalize(_CONTEXT), "f")


def checked(value: Mapping[str, Any], depth: int = 0) -> Value:
    """``value`` in canonical form; binary members are bytes in what is given.

    Raises ``Invalid("value")``.
    """
    if len(value) != 1:
        what = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
        if value:
            what = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"
        raise Invalid("value", what)
    if depth > DEPTH_MAX:
        raise _too_deep()
    kind, content = next(iter(value.items()))
    if kind == "S":
        return {"S": content}
    if kind == "N":
        return {"N": number_text(number(content))}
    if kind == "M":
        return {"M": {name: checked(item, depth + 1) for name, item in content.items()}}
    if kind == "L":
        return {"L": [checked(item, depth + 1) for item in content]}
    return _checked_rare(kind, content)


def _checked_rare(kind: str, content: Any) -> Value:
    if kind == "B":
        return {"B": base64.b64encode(content).decode("ascii")}
    if kind == "BOOL":
        return {"BOOL": content}
    if kind == "NULL":
        if content is not True:
            raise Invalid("value", f"{_BAD}Null attribute value types must have the value of true")
        return {"NULL": True}
    if kind in ("SS", "NS", "BS"):
        return {kind: _checked_set(kind, content)}
    raise Invalid("value", "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")


def _checked_set(kind: str, content: list[Any]) -> list[str]:
    if not content:
        names = {"SS": "string", "NS": "number", "BS": "binary"}
        raise Invalid("value", f"{_BAD}An {names[kind]} set  may not be empty")
    if kind == "NS":
        texts = [number_text(number(text)) for text in content]
    elif kind == "BS":
        texts = [base64.b64encode(data).decode("ascii") for data in content]
    else:
        texts = list(content)
    unique = set(texts)
    if len(unique) != len(texts):
        raise Invalid("value", f"{_BAD}Input collection [{', '.join(map(str, content))[:200]}] contains duplicates.")
    return sorted_set(kind, unique)


def sorted_set(kind: str, members: set[str]) -> list[str]:
    """The canonical order of a set's members."""
    return sorted(members, key=Decimal) if kind == "NS" else sorted(members)


def check_depth(value: Value, depth: int = 0) -> None:
    """Raises ``Invalid("value")`` beyond 32 levels: an update may put a document into another."""
    if depth > DEPTH_MAX:
        raise _too_deep()
    kind, content = next(iter(value.items()))
    if kind in ("L", "M"):
        for member in content if kind == "L" else content.values():
            check_depth(member, depth + 1)


def _too_deep() -> Invalid:
    return Invalid(
        "value",
        "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit",
    )


def checked_item(item: Mapping[str, Mapping[str, Any]]) -> Item:
    """All attributes of an item in canonical form. Raises ``Invalid("value")``, ``TooLarge("item")``."""
    made = {name: checked(value) for name, value in item.items()}
    check_size(made)
    return made


def check_size(item: Item) -> int:
    """Bytes of the item. Raises ``TooLarge("item")`` over 400 KB."""
    size = item_size(item)
    if size > ITEM_BYTES_MAX:
        raise TooLarge("item", "Item size has exceeded the maximum allowed size")
    return size


def outward(value: Value) -> Value:
    """A canonical value with binary as bytes, as the wire's codec wants it."""
    kind, content = next(iter(value.items()))
    if kind == "B":
        return {"B": base64.b64decode(content)}
    if kind == "BS":
        return {"BS": [base64.b64decode(text) for text in content]}
    if kind == "L":
        return {"L": [outward(item) for item in content]}
    if kind == "M":
        return {"M": {name: outward(item) for name, item in content.items()}}
    return value


def outward_item(item: Item) -> Item:
    """``outward`` of every attribute."""
    return {name: outward(value) for name, value in item.items()}


# -- size (Developer Guide, "DynamoDB item sizes and formats")


def item_size(item: Item) -> int:
    """Bytes, as DynamoDB counts them."""
    return sum(_text_bytes(name) + size_of(value) for name, value in item.items())


def size_of(value: Value) -> int:
    """Bytes of one value."""
    kind, content = next(iter(value.items()))
    if kind == "S":
        return _text_bytes(content)
    if kind == "N":
        return _number_bytes(content)
    if kind == "B":
        return binary_bytes(content)
    if kind == "L":
        return 3 + sum(1 + size_of(item) for item in content)
    if kind == "M":
        return 3 + sum(1 + _text_bytes(name) + size_of(item) for name, item in content.items())
    if kind == "SS":
        return sum(map(_text_bytes, content))
    if kind == "NS":
        return sum(map(_number_bytes, content))
    if kind == "BS":
        return sum(map(binary_bytes, content))
    return 1


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _number_bytes(text: str) -> int:
    digits = text.lstrip("-").replace(".", "").strip("0")
    return (len(digits) + 1) // 2 + 1 + (1 if text[0] == "-" else 0)


def binary_bytes(text: str) -> int:
    """Bytes that base64 ``text`` stands for."""
    return len(text) * 3 // 4 - text.count("=", -2)


# -- order


def compare(one: Value, other: Value) -> int | None:
    """-1, 0 or 1; None where the two have no order (different types, or types without one)."""
    (kind, left), (other_kind, right) = next(iter(one.items())), next(iter(other.items()))
    if kind != other_kind or kind not in ("S", "N", "B"):
        return None
    if kind == "N":
        left, right = Decimal(left), Decimal(right)
    elif kind == "B":
        left, right = base64.b64decode(left), base64.b64decode(right)
    return int(left > right) - int(left < right)


def key_part(value: Value) -> str | bytes:
    """A part of a store's key that sorts as the value does. Only S, N and B are keys."""
    kind, content = next(iter(value.items()))
    if kind == "S":
        return str(content)
    if kind == "B":
        return base64.b64decode(content)
    return number_key(Decimal(content))


def number_key(value: Decimal) -> bytes:
    """Bytes that sort as numbers do: sign, exponent, digits; all of it turned round for negative ones."""
    if not value:
        return b"\x01"
    sign, digits, _ = value.normalize(_CONTEXT).as_tuple()
    body = (value.adjusted() + 1000).to_bytes(2, "big") + bytes(digit + 1 for digit in digits)
    if sign:
        return b"\x00" + bytes(255 - byte for byte in body) + b"\xff"
    return b"\x02" + body
