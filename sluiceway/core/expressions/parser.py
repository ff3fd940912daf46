"""From text to trees. A tree is tuples: ("and", a, b), ("compare", "<", a, b), ("path", ("#n", 0, "x")), ...

Placeholders stay in the tree, so that a parsed expression can be kept and used with other names and values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sluiceway.errors import Invalid

Node = tuple[Any, ...]

# Placeholders are # or : and letters, digits, underscores: a dot or a minus after one is the path's or the sum's.
_TOKEN = re.compile(r"\s*(?:([#:][A-Za-z0-9_]+|[A-Za-z_][A-Za-z0-9_]*|[0-9]+)|(<>|<=|>=|[=<>()\[\].,+-]))")
_CHARS_MAX: Final = 4096
_DEPTH_MAX: Final = 60
_OPERATORS_MAX: Final = 300
_COMPARISONS: Final = ("=", "<>", "<", "<=", ">", ">=")
#: The grammar's own among the reserved words; the others of the Developer Guide's list are let through as names.
_KEYWORDS: Final = frozenset({"AND", "OR", "NOT", "IN", "BETWEEN", "SET", "REMOVE", "ADD", "DELETE"})
_FUNCTIONS: Final[Mapping[str, int]] = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
}


@dataclass(frozen=True, slots=True)
class Parsed:
    """A tree with the placeholders in it."""

    kind: str
    tree: Any
    names: frozenset[str]
    values: frozenset[str]


def parse_condition(text: str, kind: str = "ConditionExpression") -> Parsed:
    """A condition, filter or key condition. Raises ``Invalid("expression")``."""
    parser = _Parser(text, kind)
    return parser.finish(parser.either(0))


def parse_projection(text: str) -> Parsed:
    """A list of paths. Raises ``Invalid("expression")``."""
    parser = _Parser(text, "ProjectionExpression")
    return parser.finish(tuple(parser.listed(parser.path)))


def parse_update(text: str) -> Parsed:
    """A list of ("set", path, operand), ("remove", path), ("add" or "delete", path, value).

    Raises ``Invalid("expression")``.
    """
    parser = _Parser(text, "UpdateExpression")
    return parser.finish(tuple(parser.sections()))


class _Parser:
    def __init__(self, text: str, kind: str) -> None:
        self._kind = kind
        self._text = text
        self._names: set[str] = set()
        self._values: set[str] = set()
        self._tokens = self._split(text)
        self._at = 0
        self._operators = 0

    def _split(self, text: str) -> list[str]:
        if not text.strip():
            raise self._wrong("The expression can not be empty;")
        if len(text) > _CHARS_MAX:
            raise self._wrong(f"Expression size has exceeded the maximum allowed size; expression size: {len(text)}")
        tokens, at = [], 0
        end = len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._wrong(
                    f'Syntax error; token: "{text[at:].strip()[:1]}", near: "{text[max(0, at - 5) : at + 5]}"'
                )
            tokens.append(match[1] or match[2])
            at = match.end()
        return tokens

    def _wrong(self, text: str) -> Invalid:
        return Invalid("expression", f"Invalid {self._kind}: {text}")

    def _syntax(self) -> Invalid:
        token = self._peek() or "<EOF>"
        near = " ".join(self._tokens[max(0, self._at - 1) : self._at + 2])
        return self._wrong(f'Syntax error; token: "{token}", near: "{near}"')

    def finish(self, tree: Any) -> Parsed:
        if self._at != len(self._tokens):
            raise self._syntax()
        return Parsed(self._kind, tree, frozenset(self._names), frozenset(self._values))

    # -- tokens

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _word(self) -> str:
        """The next token in capitals, as keywords are written in any case."""
        return self._peek().upper()

    def _take(self, token: str) -> bool:
        if self._word() != token:
            return False
        self._at += 1
        return True

    def _need(self, token: str) -> None:
        if not self._take(token):
            raise self._syntax()

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise self._syntax()
        self._at += 1
        return token

    def listed(self, one: Any) -> list[Any]:
        found = [one()]
        while self._take(","):
            found.append(one())
        return found

    def _count(self) -> None:
        self._operators += 1
        if self._operators > _OPERATORS_MAX:
            raise self._wrong(f"The expression contains too many operators; operator count: {self._operators}")

    # -- conditions

    def either(self, depth: int) -> Node:
        if depth > _DEPTH_MAX:
            raise self._wrong("The expression is nested too deeply.")
        node = self._both(depth)
        while self._take("OR"):
            self._count()
            node = ("or", node, self._both(depth))
        return node

    def _both(self, depth: int) -> Node:
        node = self._negated(depth)
        while self._take("AND"):
            self._count()
            node = ("and", node, self._negated(depth))
        return node

    def _negated(self, depth: int) -> Node:
        if depth > _DEPTH_MAX:
            raise self._wrong("The expression is nested too deeply.")
        if self._take("NOT"):
            self._count()
            return ("not", self._negated(depth + 1))
        if self._take("("):
            node = self.either(depth + 1)
            self._need(")")
            return node
        return self._test()

    def _test(self) -> Node:
        name = self._peek()
        if self._at + 1 < len(self._tokens) and self._tokens[self._at + 1] == "(" and name != "size":
            return self._function()
        left = self._operand()
        self._count()
        if self._take("BETWEEN"):
            low = self._operand()
            self._need("AND")
            return ("between", left, low, self._operand())
        if self._take("IN"):
            self._need("(")
            members = tuple(self.listed(self._operand))
            self._need(")")
            if len(members) > 100:
                raise self._wrong("The number of operands for the IN operator is greater than 100.")
            return ("in", left, members)
        operator = self._next()
        if operator not in _COMPARISONS:
            self._at -= 1
            raise self._syntax()
        return ("compare", operator, left, self._operand())

    def _function(self) -> Node:
        name = self._next()
        if name not in _FUNCTIONS:
            raise self._wrong(f"Invalid function name; function: {name}")
        self._count()
        self._need("(")
        arguments = tuple(self.listed(self._operand))
        self._need(")")
        if len(arguments) != _FUNCTIONS[name]:
            raise self._wrong(
                f"Incorrect number of operands for operator or function; operator or function: {name}, number of operands: {len(arguments)}"
            )
        if name.startswith("attribute_") and arguments[0][0] != "path":
            raise self._wrong(f"Operator or function requires a document path; operator or function: {name}")
        return ("function", name, arguments)

    def _operand(self) -> Node:
        token = self._peek()
        if token.startswith(":"):
            return self._value()
        if token == "size" and self._tokens[self._at + 1 : self._at + 2] == ["("]:
            self._at += 2
            self._count()
            node = ("size", self._value() if self._peek().startswith(":") else self.path())
            self._need(")")
            return node
        return self.path()

    def _value(self) -> Node:
        token = self._next()
        if not token.startswith(":"):
            self._at -= 1
            raise self._syntax()
        self._values.add(token)
        return ("value", token)

    def path(self) -> Node:
        parts: list[str | int] = [self._name()]
        while True:
            if self._take("."):
                parts.append(self._name())
            elif self._take("["):
                index = self._next()
                if not (index.isascii() and index.isdigit()) or len(index) > 9:
                    self._at -= 1
                    raise self._syntax()
                parts.append(int(index))
                self._need("]")
            else:
                break
        if len(parts) > 32:
            raise self._wrong("The document path has too many nesting elements;")
        return ("path", tuple(parts))

    def _name(self) -> str:
        token = self._next()
        if token.startswith("#"):
            self._names.add(token)
        elif not (token[0].isalpha() or token[0] == "_"):
            self._at -= 1
            raise self._syntax()
        elif token.upper() in _KEYWORDS:
            raise self._wrong(f"Attribute name is a reserved keyword; reserved keyword: {token}")
        return token

    # -- updates

    def sections(self) -> list[Node]:
        actions: list[Node] = []
        seen: set[str] = set()
        while self._peek():
            word = self._word()
            if word in seen:
                raise self._wrong(f'The "{word}" section can only be used once in an update expression;')
            seen.add(word)
            self._at += 1
            if word == "SET":
                actions += self.listed(self._assignment)
            elif word == "REMOVE":
                actions += [("remove", path) for path in self.listed(self.path)]
            elif word in ("ADD", "DELETE"):
                kind = word.lower()
                actions += self.listed(lambda kind=kind: (kind, self.path(), self._value()))
            else:
                self._at -= 1
                raise self._syntax()
        return actions

    def _assignment(self) -> Node:
        path = self.path()
        self._need("=")
        return ("set", path, self._sum(0))

    def _sum(self, depth: int) -> Node:
        left = self._set_operand(depth)
        for operator in ("+", "-"):
            if self._take(operator):
                self._count()
                return ("sum", operator, left, self._set_operand(depth))
        return left

    def _set_operand(self, depth: int) -> Node:
        if depth > _DEPTH_MAX:
            raise self._wrong("The expression is nested too deeply.")
        if self._take("("):
            node = self._sum(depth + 1)
            self._need(")")
            return node
        token = self._peek()
        if self._tokens[self._at + 1 : self._at + 2] == ["("]:
            if token not in ("if_not_exists", "list_append"):
                raise self._wrong(f"Invalid function name; function: {token}")
            self._at += 2
            self._count()
            first = self.path() if token == "if_not_exists" else self._set_operand(depth + 1)
            self._need(",")
            second = self._set_operand(depth + 1)
            self._need(")")
            return (token, first, second)
        return self._value() if token.startswith(":") else self.path()
