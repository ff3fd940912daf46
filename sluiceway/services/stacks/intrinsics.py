"""CloudFormation's intrinsic functions and conditions, as pure functions over parsed templates.

Rules: CloudFormation Template Reference, "Intrinsic functions" and "Conditions section structure".
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sluiceway.errors import Invalid

NO_VALUE: Final = object()  # what AWS::NoValue resolves to: the property is left out
UNKNOWN: Final = "\0unknown"  # stands for what is known once a resource is made; see ``Scope.made``
_SUB = re.compile(r"\$\{(!?)([^}]*)\}")
DEPTH_MAX: Final = 64  # nesting of a template; CloudFormation's documents are far shallower


@dataclass(slots=True)
class Scope:
    """What references resolve to. ``attributes`` of a resource are known once it was made.

    With ``made`` False nothing is made yet: the resources' ids in ``physical_ids`` are ``UNKNOWN``, and so is
    whatever is computed from them. A template is checked so before anything is made of it.
    """

    parameters: Mapping[str, Any]
    conditions: Mapping[str, bool]
    mappings: Mapping[str, Any]
    physical_ids: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: bool = True


def resolve(value: Any, scope: Scope, depth: int = 0) -> Any:
    """``value`` with every intrinsic function replaced by its result.

    Raises ``Invalid("template")`` for a reference to nothing or a malformed function.
    """
    if depth > DEPTH_MAX:
        raise Invalid("template", "Template format error: nested too deeply.")
    if isinstance(value, list):
        items = [resolve(item, scope, depth + 1) for item in value]
        return [item for item in items if item is not NO_VALUE]
    if not isinstance(value, dict):
        return value
    function = _function_of(value)
    if function is not None:
        return _apply(function, value[function], scope, depth)
    resolved = {key: resolve(item, scope, depth + 1) for key, item in value.items()}
    return {key: item for key, item in resolved.items() if item is not NO_VALUE}


def _function_of(value: dict[str, Any]) -> str | None:
    if len(value) != 1:
        return None
    name = next(iter(value))
    return name if name == "Ref" or name.startswith("Fn::") else None


def _apply(name: str, argument: Any, scope: Scope, depth: int) -> Any:
    if name == "Ref":
        return _ref(argument, scope)
    if name == "Fn::GetAtt":
        return _get_att(argument, scope)
    if name == "Fn::If":
        return _if(argument, scope, depth)
    if name == "Fn::Sub":
        return _sub(argument, scope, depth)
    function = _PLAIN.get(name)
    if function is None:
        raise Invalid("template", f"Template error: the function {name} is not available here.")
    resolved = resolve(argument, scope, depth + 1)
    if not scope.made and _is_unknown(resolved):
        return UNKNOWN
    try:
        return function(resolved, scope)
    except (TypeError, ValueError, KeyError, IndexError):
        raise Invalid("template", f"Template error: every {name} object needs its documented arguments.") from None


def _is_unknown(value: Any) -> bool:
    if isinstance(value, list | dict):
        return any(_is_unknown(item) for item in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and UNKNOWN in value


def text_of(value: Any) -> str:
    """A scalar as CloudFormation writes it into text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise Invalid("template", "Template error: a list or an object can't be made part of a text.")
    return str(value)


def _ref(name: Any, scope: Scope) -> Any:
    if name == "AWS::NoValue":
        return NO_VALUE
    if isinstance(name, str):
        if name in scope.parameters:
            return scope.parameters[name]
        if name in scope.physical_ids:
            return scope.physical_ids[name]
    raise Invalid("template", f"Template format error: Unresolved resource dependencies [{name}].")


def _get_att(argument: Any, scope: Scope) -> Any:
    logical, attribute = _att_parts(argument)
    if not scope.made and logical in scope.physical_ids:
        return UNKNOWN
    known = scope.attributes.get(logical)
    if known is None:
        raise Invalid("template", f"Template error: instance of Fn::GetAtt references undefined resource {logical}.")
    if attribute not in known:
        raise Invalid("template", f"Template error: resource {logical} does not support attribute {attribute}.")
    return known[attribute]


def _att_parts(argument: Any) -> tuple[str, str]:
    parts = argument.split(".", 1) if isinstance(argument, str) else argument
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) and part for part in parts):
        raise Invalid("template", "Template error: every Fn::GetAtt object takes a resource and one of its attributes.")
    return parts[0], parts[1]


def _if(argument: Any, scope: Scope, depth: int) -> Any:
    if not isinstance(argument, list) or len(argument) != 3 or not isinstance(argument[0], str):
        raise Invalid("template", "Template error: Fn::If needs a condition's name and two values.")
    if argument[0] not in scope.conditions:
        raise Invalid("template", f"Template format error: Unresolved condition {argument[0]}.")
    return resolve(argument[1] if scope.conditions[argument[0]] else argument[2], scope, depth + 1)


def _sub(argument: Any, scope: Scope, depth: int) -> str:
    if isinstance(argument, list) and len(argument) == 2 and isinstance(argument[1], dict):
        text, own = argument[0], resolve(argument[1], scope, depth + 1)
    else:
        text, own = argument, {}
    if not isinstance(text, str):
        raise Invalid("template", "Template error: every Fn::Sub object takes a string, or a string and a map.")

    def put(match: re.Match[str]) -> str:
        literal, name = match[1], match[2].strip()
        if literal:
            return "${" + match[2] + "}"
        if name in own:
            return text_of(own[name])
        return text_of(_get_att(name, scope) if "." in name and name not in scope.parameters else _ref(name, scope))

    return _SUB.sub(put, text)


def _join(argument: Any, _: Scope) -> str:
    separator, items = argument
    if not isinstance(separator, str) or not isinstance(items, list):
        raise TypeError
    return separator.join(text_of(item) for item in items)


def _select(argument: Any, _: Scope) -> Any:
    index, items = argument
    if int(index) < 0 or not isinstance(items, list):
        raise IndexError
    return items[int(index)]


def _split(argument: Any, _: Scope) -> list[str]:
    separator, text = argument
    return text_of(text).split(separator)


def _find_in_map(argument: Any, scope: Scope) -> Any:
    name, top, second = argument
    try:
        return scope.mappings[name][top][second]
    except KeyError:
        raise Invalid("template", f"Template error: Unable to get mapping for {name}::{top}::{second}") from None


def _base64(argument: Any, _: Scope) -> str:
    return base64.b64encode(text_of(argument).encode()).decode()


def _azs(_: Any, scope: Scope) -> list[str]:
    return [f"{scope.parameters['AWS::Region']}{letter}" for letter in "abc"]


_PLAIN: Final[Mapping[str, Callable[[Any, Scope], Any]]] = {
    "Fn::Base64": _base64,
    "Fn::FindInMap": _find_in_map,
    "Fn::GetAZs": _azs,
    "Fn::Join": _join,
    "Fn::Select": _select,
    "Fn::Split": _split,
}


#: Condition function -> how many conditions it takes (Template Reference, "Condition functions").
_ARGUMENTS: Final[Mapping[str, tuple[int, int]]] = {"Fn::Not": (1, 1), "Fn::And": (2, 10), "Fn::Or": (2, 10)}


def _comparable(value: Any) -> Any:
    return value if isinstance(value, list | dict) else text_of(value)


def evaluate_conditions(declared: Mapping[str, Any], parameters: Mapping[str, Any], mappings: Any) -> dict[str, bool]:
    """The truth of every condition. Raises ``Invalid("template")`` for unknown or circular ones."""
    known: dict[str, bool] = {}

    def truth(expression: Any, path: tuple[str, ...]) -> bool:
        if not isinstance(expression, dict) or len(expression) != 1 or len(path) > DEPTH_MAX:
            raise Invalid("template", "Template format error: a condition is one Fn::And, Equals, Not or Or.")
        name, argument = next(iter(expression.items()))
        if name == "Condition" and isinstance(argument, str):
            return named(argument, path)
        if name == "Fn::Equals" and isinstance(argument, list) and len(argument) == 2:
            scope = Scope(parameters, known, mappings)
            return bool(_comparable(resolve(argument[0], scope)) == _comparable(resolve(argument[1], scope)))
        least, most = _ARGUMENTS.get(name, (1, 0))
        if not isinstance(argument, list) or not least <= len(argument) <= most:
            raise Invalid("template", f"Template format error: {name} is not a condition function with its arguments.")
        parts = [truth(item, path) for item in argument]
        return not parts[0] if name == "Fn::Not" else all(parts) if name == "Fn::And" else any(parts)

    def named(name: str, path: tuple[str, ...]) -> bool:
        if name in path:
            raise Invalid("template", f"Template error: circular condition {name}.")
        if name not in declared:
            raise Invalid("template", f"Template format error: Unresolved condition {name}.")
        if name not in known:
            known[name] = truth(declared[name], (*path, name))
        return known[name]

    for name in declared:
        named(name, ())
    return known


def references(value: Any) -> Iterator[str]:
    """Every logical id or parameter that ``value`` refers to."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "Ref" and isinstance(item, str):
                yield item
            elif key == "Fn::GetAtt":
                yield _att_parts(item)[0]
            elif key == "Fn::Sub":
                yield from _sub_references(item)
            else:
                yield from references(item)


def _sub_references(argument: Any) -> Iterator[str]:
    text, own = argument if isinstance(argument, list) and len(argument) == 2 else (argument, {})
    own = own if isinstance(own, dict) else {}
    yield from references(own)
    for match in _SUB.finditer(str(text)):
        if not match[1] and match[2].strip() not in own:
            yield match[2].strip().partition(".")[0]
