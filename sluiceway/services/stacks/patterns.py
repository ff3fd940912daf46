"""Whether a text fits an ``AllowedPattern``, in bounded time whatever the pattern is.

Python's own matcher tries one way after the other, which takes exponential time for some patterns. This one
follows all ways at once (Thompson, "Regular Expression Search Algorithm", 1968) and counts its steps.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import Any, Final

from sluiceway.errors import Invalid

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import sre_parse  # the standard library's parser of patterns; only its matcher is not wanted here

_STEPS_MAX: Final = 500_000  # about half a second
_PATTERN_MAX: Final = 4096
_WORD: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_SPACE: Final = frozenset(" \t\n\r\f\v")
_DIGIT: Final = frozenset("0123456789")


def fits(pattern: str, text: str) -> bool:
    """Whether all of ``text`` fits. Raises ``Invalid("template")`` for a pattern that can't be followed."""
    if len(pattern) > _PATTERN_MAX:
        raise Invalid("template", f"Template format error: an AllowedPattern is over {_PATTERN_MAX} characters.")
    try:
        parsed: Any = sre_parse.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise Invalid("template", f"Template format error: AllowedPattern {pattern[:100]}: {error}") from None
    if parsed.state.flags & ~re.UNICODE:
        raise Invalid("template", f"Template format error: AllowedPattern {pattern[:100]} sets flags.")
    return len(text) in _Walk(pattern, text).through(list(parsed), {0})


class _Walk:
    """Positions in one text that are reached through parts of one pattern."""

    def __init__(self, pattern: str, text: str) -> None:
        self._pattern = pattern
        self._text = text
        self._steps = 0

    def through(self, nodes: Iterable[Any], at: set[int]) -> set[int]:
        """The ends of all ways through ``nodes`` that begin at one of ``at``."""
        for operator, argument in nodes:
            self._steps += len(at) + 1
            if self._steps > _STEPS_MAX:
                raise self._refusal("takes too long")
            at = self._one(str(operator), argument, at)
        return at

    def _one(self, operator: str, argument: Any, at: set[int]) -> set[int]:
        if operator in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
            return {i + 1 for i in at if i < len(self._text) and self._fits(operator, argument, self._text[i])}
        if operator == "BRANCH":
            return set().union(*(self.through(list(way), at) for way in argument[1]))
        if operator in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            return self._repeat(argument, at)
        if operator == "SUBPATTERN" and not argument[1] and not argument[2]:
            return self.through(list(argument[3]), at)
        if operator == "AT":
            return {i for i in at if self._is_at(str(argument), i)}
        if operator in ("ASSERT", "ASSERT_NOT") and argument[0] == 1:
            return {i for i in at if bool(self.through(list(argument[1]), {i})) == (operator == "ASSERT")}
        raise self._refusal("uses a construct that is not available here")

    def _repeat(self, argument: Any, at: set[int]) -> set[int]:
        least, most, body = int(argument[0]), int(argument[1]), list(argument[2])
        for _ in range(least):
            at = self.through(body, at)
        reached, fresh, count = set(at), at, least
        while fresh and count < most:
            fresh = self.through(body, fresh) - reached
            reached |= fresh
            count += 1
        return reached

    def _fits(self, operator: str, argument: Any, char: str) -> bool:
        if operator == "ANY":
            return char != "\n"
        if operator in ("LITERAL", "NOT_LITERAL"):
            return (ord(char) == int(argument)) == (operator == "LITERAL")
        wanted, parts = True, list(argument)
        if str(parts[0][0]) == "NEGATE":
            wanted, parts = False, parts[1:]
        return any(self._in(str(kind), value, char) for kind, value in parts) == wanted

    def _in(self, kind: str, value: Any, char: str) -> bool:
        if kind == "LITERAL":
            return ord(char) == int(value)
        if kind == "RANGE":
            return int(value[0]) <= ord(char) <= int(value[1])
        name = str(value).removeprefix("CATEGORY_")
        found = char in {"DIGIT": _DIGIT, "SPACE": _SPACE, "WORD": _WORD}[name.removeprefix("NOT_")]
        return found != name.startswith("NOT_")

    def _is_at(self, where: str, position: int) -> bool:
        if where in ("AT_BEGINNING", "AT_BEGINNING_STRING"):
            return position == 0
        if where in ("AT_END", "AT_END_STRING"):
            return position == len(self._text)
        before = position > 0 and self._text[position - 1] in _WORD
        after = position < len(self._text) and self._text[position] in _WORD
        return (before != after) == (where == "AT_BOUNDARY")

    def _refusal(self, what: str) -> Invalid:
        return Invalid("template", f"Template format error: AllowedPattern {self._pattern[:100]} {what}.")
