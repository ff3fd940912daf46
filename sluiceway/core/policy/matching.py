"""Wildcards and policy variables (IAM User Guide, "Policy variables", "Using wildcards")."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

Context = Mapping[str, Sequence[str]]  # condition keys in lower case, and their values

#: Version of the policy language that knows variables; in the older one "${" is plain text.
VARIABLES_SINCE: Final = "2012-10-17"

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_DEFAULT = re.compile(r"\s*([^,\s]+)\s*(?:,\s*'([^']*)'\s*)?\Z")
# Stand-ins for ${*} and ${?}, which mean the characters themselves; not characters of any real name.
_STAR, _MARK = "\ue000", "\ue001"


def listed(value: Any) -> list[str]:
    """A member that may be one text or a list of them, as a list of texts (JSON booleans in lower case)."""
    items = value if isinstance(value, list) else [value]
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in items]


def expand(pattern: str, context: Context | None) -> str | None:
    """``pattern`` with its variables filled in, ready for ``like``; None if one has no single value.

    ``context`` is None where the policy's version has no variables. What a variable brings is literal: its
    own wildcards match themselves only.
    """
    if context is None or "${" not in pattern:
        return pattern
    missing = False

    def fill(match: re.Match[str]) -> str:
        nonlocal missing
        name = match[1]
        if name in ("*", "?", "$"):
            return {"*": _STAR, "?": _MARK, "$": "$"}[name]
        parsed = _DEFAULT.match(name)
        values = context.get(parsed[1].lower(), ()) if parsed else ()
        if len(values) == 1:
            return _literal(values[0])
        if parsed and parsed[2] is not None and not values:
            return _literal(parsed[2])
        missing = True
        return ""

    filled = _VARIABLE.sub(fill, pattern)
    return None if missing else filled


def _literal(text: str) -> str:
    return text.replace("*", _STAR).replace("?", _MARK)


def plain(expanded: str) -> str:
    """What ``expand`` gave, as text to compare for equality."""
    return expanded.replace(_STAR, "*").replace(_MARK, "?")


def like(expanded: str, text: str) -> bool:
    """Whether ``text`` matches the pattern: ``*`` is any characters, ``?`` one.

    The pieces between stars are looked for one after the other: time stays bounded whatever the pattern, as
    it would not with one regular expression.
    """
    if expanded == "*":
        return True
    if "*" not in expanded and "?" not in expanded:  # most are names; no expression is made for each
        return plain(expanded) == text
    first, middle, last = _pieces(expanded)
    if last is None:
        return first.fullmatch(text) is not None
    start = first.match(text)
    if start is None:
        return False
    at = start.end()
    for piece in middle:
        found = piece.search(text, at)
        if found is None:
            return False
        at = found.end()
    tail = last.search(text)
    return tail is not None and tail.start() >= at


_Pieces = tuple[re.Pattern[str], tuple[re.Pattern[str], ...], re.Pattern[str] | None]


@lru_cache(maxsize=4096)
def _pieces(expanded: str) -> _Pieces:
    """What stands before the first star, between stars, and after the last one (None without a star)."""
    texts = ["".join("." if char == "?" else re.escape(plain(char)) for char in part) for part in expanded.split("*")]
    if len(texts) == 1:
        return re.compile(texts[0], re.DOTALL), (), None
    middle = tuple(re.compile(text, re.DOTALL) for text in texts[1:-1] if text)
    return re.compile(texts[0], re.DOTALL), middle, _ending(texts[-1])


def _ending(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{text})\Z", re.DOTALL)


def like_action(pattern: str, action: str) -> bool:
    """Actions are matched whatever their case."""
    return like(pattern.lower(), action.lower())


def like_arn(expanded: str, text: str) -> bool:
    """``ArnLike``: each of the six parts by itself; a wildcard does not reach over a colon, but in the last."""
    wanted, found = expanded.split(":", 5), text.split(":", 5)
    if len(wanted) != 6 or len(found) != 6:
        return expanded == "*"
    return all(like(pattern, part) for pattern, part in zip(wanted, found, strict=True))
