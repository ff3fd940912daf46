"""A template's text made ready: parsed, its SAM resources translated, checked, its resources in order."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from sluiceway.core.identity import Scope as ServerScope
from sluiceway.errors import Invalid
from sluiceway.services.stacks.intrinsics import (
    DEPTH_MAX,
    UNKNOWN,
    Scope,
    evaluate_conditions,
    references,
    resolve,
    text_of,
)
from sluiceway.services.stacks.patterns import fits
from sluiceway.services.stacks.sam import TRANSFORM

_POLICIES: Final = ("Delete", "Retain", "RetainExceptOnCreate")
_SECTIONS: Final = ("Parameters", "Mappings", "Conditions", "Outputs", "Resources")
_LOGICAL_ID = re.compile(r"[A-Za-z0-9]{1,255}")
_SSM = re.compile(r"AWS::SSM::Parameter::Value<(.+)>")
_TYPES = re.compile(
    r"String|Number|CommaDelimitedList|List<(String|Number|AWS::[\w:]+)>|AWS::SSM::Parameter::Value<[\w:<>]+>|"
    r"AWS::[\w]+::[\w:]+"
)
_VALUE_BYTES_MAX: Final = 4096  # CloudFormation User Guide, "Quotas"


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms (``!Ref``, ``!Sub``, ...), without aliases, which can be bombs."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Keys are text as it stands there: account ids and versions are not numbers."""
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise Invalid("template", "Template format error: YAML aliases are not allowed in templates.")
        return super().compose_node(parent, index)


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    return {name: value}


def _plain_date(loader: _Loader, node: yaml.Node) -> Any:
    return loader.construct_scalar(node)  # type: ignore[arg-type]


_Loader.add_multi_constructor("!", _short_form)


def _refuse(loader: _Loader, node: yaml.Node) -> Any:
    raise Invalid("template", f"Template format error: {node.tag} is not allowed in templates.")


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _plain_date)
for _tag in ("binary", "set", "omap", "pairs"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _refuse)


def parse(text: str) -> dict[str, Any]:
    """A template's JSON or YAML. Raises ``Invalid("template")``."""
    try:
        template = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, _Loader)
    except (ValueError, TypeError, yaml.YAMLError, RecursionError) as error:
        reason = str(error).replace("\n", " ")[:300]
        raise Invalid("template", f"Template format error: not well-formed. ({reason})") from None
    if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict) or not template["Resources"]:
        raise Invalid("template", "Template format error: At least one Resources member must be defined.")
    for section in _SECTIONS:
        found = template.get(section)
        if found is not None and (
            not isinstance(found, dict) or any(not isinstance(each, dict) for each in found.values())
        ):
            raise Invalid("template", f"Template format error: every {section} member must be an object.")
    _check_depth(template)
    return template


def _check_depth(template: Any) -> None:
    """Layer by layer, so that no depth is too deep for the check itself."""
    layer = [template]
    for _ in range(DEPTH_MAX):
        below = [item for each in layer for item in (each.values() if isinstance(each, dict) else each)]
        layer = [item for item in below if isinstance(item, dict | list)]
        if not layer:
            return
    raise Invalid("template", "Template format error: nested too deeply.")


def is_sam(template: Mapping[str, Any]) -> bool:
    """Whether the template names the SAM transform."""
    transform = template.get("Transform")
    return TRANSFORM in (transform if isinstance(transform, list) else [transform])


def parameter_values(
    template: Mapping[str, Any],
    given: Mapping[str, str],
    pseudo: Mapping[str, Any],
    stored: Mapping[str, str],
) -> dict[str, Any]:
    """Values of declared and pseudo parameters. ``stored`` has what ``stored_names`` asked for."""
    declared: Mapping[str, Any] = template.get("Parameters") or {}
    if unknown := sorted(set(given) - set(declared)):
        raise Invalid("parameter", f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    values = dict(pseudo)
    missing = [name for name, spec in declared.items() if name not in given and "Default" not in spec]
    if missing:
        raise Invalid("parameter", f"Parameters: [{', '.join(missing)}] must have values")
    for name, spec in declared.items():
        values[name] = _parameter(name, spec, given[name] if name in given else text_of(spec["Default"]), stored)
    return values


def stored_names(template: Mapping[str, Any], given: Mapping[str, str]) -> list[str]:
    """Names in the parameter store that the template's parameters take their values from."""
    declared: Mapping[str, Any] = template.get("Parameters") or {}
    return [
        given[name] if name in given else text_of(spec.get("Default", ""))
        for name, spec in declared.items()
        if _SSM.fullmatch(str(spec.get("Type", "")))
    ]


def given_or_default(template: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """Declared parameters as they were given, for a description of the stack."""
    declared: Mapping[str, Any] = template.get("Parameters") or {}
    return {name: given[name] if name in given else text_of(spec.get("Default", "")) for name, spec in declared.items()}


def hidden_parameters(template: Mapping[str, Any]) -> list[str]:
    """Parameters whose values are not to be shown (``NoEcho``)."""
    declared: Mapping[str, Any] = template.get("Parameters") or {}
    return [name for name, spec in declared.items() if str(spec.get("NoEcho", "")).lower() == "true"]


def _parameter(name: str, spec: Mapping[str, Any], text: str, stored: Mapping[str, str]) -> Any:
    kind = str(spec.get("Type", ""))
    if not _TYPES.fullmatch(kind):
        raise Invalid(
            "template", f"Template format error: Invalid template parameter property 'Type' of {name}: {kind}"
        )
    from_ssm = _SSM.fullmatch(kind)
    shown = [item.strip() for item in text.split(",")] if _is_list(kind) and not from_ssm else [text]
    for item in shown:
        _check_value(name, spec, item, "Number" in kind)
    if from_ssm:
        text, kind = stored[text], from_ssm[1]
    return [item.strip() for item in text.split(",")] if _is_list(kind) else text


def _is_list(kind: str) -> bool:
    return kind == "CommaDelimitedList" or kind.startswith("List<")


def _check_value(name: str, spec: Mapping[str, Any], text: str, number: bool) -> None:
    """CloudFormation User Guide, "Parameters": what a value may be."""
    if len(text.encode()) > _VALUE_BYTES_MAX:
        raise Invalid("parameter", f"Parameter '{name}' is over {_VALUE_BYTES_MAX} bytes.")
    why = spec.get("ConstraintDescription")
    hint = f" failed to satisfy constraint: {why}" if why else ""
    allowed = spec.get("AllowedValues")
    if allowed is not None and text not in [text_of(value) for value in (allowed if isinstance(allowed, list) else [])]:
        raise Invalid("parameter", f"Parameter '{name}'{hint or ' must be one of AllowedValues'}")
    pattern = spec.get("AllowedPattern")
    if pattern is not None and not fits(str(pattern), text):
        raise Invalid("parameter", f"Parameter '{name}'{hint or f' must match pattern {pattern}'}")
    if number:
        size, least, most = _number(text), "MinValue", "MaxValue"
        if size is None:
            raise Invalid("parameter", f"Parameter '{name}' must be a number.")
    else:
        size, least, most = float(len(text)), "MinLength", "MaxLength"
    bounds = {each: _number(text_of(spec[each])) for each in (least, most) if each in spec}
    if (low := bounds.get(least)) is not None and size < low:
        raise Invalid("parameter", f"Parameter '{name}'{hint or f' must have {least} {spec[least]}'}")
    if (high := bounds.get(most)) is not None and size > high:
        raise Invalid("parameter", f"Parameter '{name}'{hint or f' must have {most} {spec[most]}'}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a template comes to with given parameters. ``order`` names resources, dependencies first."""

    template: dict[str, Any]
    parameters: dict[str, Any]
    conditions: dict[str, bool]
    order: tuple[str, ...]

    def resource(self, logical_id: str) -> dict[str, Any]:
        """One resource's declaration."""
        declared: dict[str, Any] = self.template["Resources"][logical_id]
        return declared


def plan(template: dict[str, Any], parameters: dict[str, Any], known_types: Iterable[str]) -> Plan:
    """Check the translated template and order its resources. Raises ``Invalid("template")``."""
    conditions = evaluate_conditions(template.get("Conditions") or {}, parameters, template.get("Mappings") or {})
    resources: dict[str, Any] = template["Resources"]
    wanted: dict[str, Any] = {}
    for name, declared in resources.items():
        _check_resource(name, declared, conditions)
        if conditions.get(declared.get("Condition", ""), True):
            wanted[name] = declared
    unknown = sorted({declared["Type"] for declared in wanted.values()} - set(known_types))
    if unknown:
        raise Invalid("template", f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]")
    for name, declared in wanted.items():
        for reference in references(declared.get("Properties") or {}):
            if reference not in resources and reference not in parameters and reference != "AWS::NoValue":
                raise _unresolved(reference, "Resources", name)
        for needed in _depends_on(declared):
            if needed not in resources:
                raise _unresolved(needed, "Resources", name)
    made = Plan(template, parameters, conditions, _ordered(wanted))
    _rehearse(made, wanted)
    return made


def _unresolved(reference: str, block: str, name: str) -> Invalid:
    return Invalid(
        "template",
        f"Template format error: Unresolved resource dependencies [{reference}] in the {block} block of the template "
        f"({name})",
    )


def _rehearse(made: Plan, wanted: Mapping[str, Any]) -> None:
    """Every function in what will be made, as far as its arguments are known before anything is."""
    ids = dict.fromkeys(wanted, UNKNOWN)
    scope = Scope(made.parameters, made.conditions, made.template.get("Mappings") or {}, ids, {}, made=False)
    for declared in wanted.values():
        resolve(declared.get("Properties") or {}, scope)
    for name, output in (made.template.get("Outputs") or {}).items():
        condition = output.get("Condition")
        if condition is not None and condition not in made.conditions:
            raise Invalid("template", f"Template format error: Unresolved condition {condition} in Outputs ({name}).")
        if "Value" not in output:
            raise Invalid("template", f"Template format error: Every Outputs member must contain a Value ({name}).")
        for reference in references(output["Value"]):
            if reference not in made.template["Resources"] and reference not in made.parameters:
                raise _unresolved(reference, "Outputs", name)
        if made.conditions.get(condition or "", True):
            text_of(resolve(output["Value"], scope))


def check_properties(made: Plan, accepted: Mapping[str, Collection[str]]) -> None:
    """Refuse properties that would be left undone. ``accepted`` has the known ones of every resource type."""
    for name in made.order:
        declared = made.resource(name)
        unknown = sorted(set(declared.get("Properties") or {}) - set(accepted[declared["Type"]]))
        if unknown:
            raise Invalid(
                "template",
                f"Properties validation failed for resource {name}: {declared['Type']} does not have "
                f"[{', '.join(unknown)}] here.",
            )


def _check_resource(name: str, declared: Any, conditions: Mapping[str, bool]) -> None:
    if not _LOGICAL_ID.fullmatch(str(name)):
        raise Invalid("template", f"Template format error: Resource name {name} is non alphanumeric.")
    if not isinstance(declared, dict) or not isinstance(declared.get("Type"), str):
        raise Invalid("template", f"Template format error: [/Resources/{name}] needs a Type.")
    if not isinstance(declared.get("Properties") or {}, dict):
        raise Invalid("template", f"Template format error: [/Resources/{name}/Properties] must be an object.")
    policies = [declared.get(each) for each in ("DeletionPolicy", "UpdateReplacePolicy")]
    if wrong := [each for each in policies if each not in (None, *_POLICIES)]:
        raise Invalid("template", f"Template format error: {wrong[0]} of {name} is not one of {', '.join(_POLICIES)}.")
    condition = declared.get("Condition")
    if condition is not None and (not isinstance(condition, str) or condition not in conditions):
        raise Invalid("template", f"Template format error: Unresolved condition {condition} in {name}.")


def _ordered(resources: Mapping[str, Any]) -> tuple[str, ...]:
    """Depth first over dependencies, in the template's order. Raises on a circle."""
    done: dict[str, bool] = {}
    order: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = ", ".join((*path[path.index(name) :], name))
            raise Invalid("template", f"Circular dependency between resources: [{circle}]")
        if name in done:
            return
        for needed in dependencies(resources[name]):
            if needed in resources and needed != name:
                visit(needed, (*path, name))
        done[name] = True
        order.append(name)

    for name in resources:
        visit(name, ())
    return tuple(order)


def dependencies(declared: Mapping[str, Any]) -> list[str]:
    """The logical ids that a resource must be made after."""
    return _depends_on(declared) + list(references(declared.get("Properties") or {}))


def _depends_on(declared: Mapping[str, Any]) -> list[str]:
    explicit = declared.get("DependsOn") or []
    names = [explicit] if isinstance(explicit, str) else explicit
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Invalid("template", "Template format error: DependsOn takes the name of a resource, or a list of names.")
    return names


def pseudo_parameters(scope: ServerScope, stack_name: str, stack_id: str) -> dict[str, Any]:
    """CloudFormation's pseudo parameters (Template Reference, "Pseudo parameters")."""
    return {
        "AWS::AccountId": scope.account,
        "AWS::NotificationARNs": [],
        "AWS::Partition": "aws",
        "AWS::Region": scope.region,
        "AWS::StackId": stack_id,
        "AWS::StackName": stack_name,
        "AWS::URLSuffix": "amazonaws.com",
    }
