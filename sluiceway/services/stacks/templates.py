"""A template's text made ready: parsed, its SAM resources translated, checked, its resources in order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from sluiceway.core.identity import Scope as ServerScope
from sluiceway.errors import Invalid
from sluiceway.services.stacks.intrinsics import evaluate_conditions, references

SAM_TRANSFORM: Final = "AWS::Serverless-2016-10-31"
_LOGICAL_ID = re.compile(r"[A-Za-z0-9]{1,255}")
_SSM = re.compile(r"AWS::SSM::Parameter::Value<(.+)>")


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms (``!Ref``, ``!Sub``, ...) and without anchors' bombs."""

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
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _plain_date)


def parse(text: str) -> dict[str, Any]:
    """A template's JSON or YAML. Raises ``Invalid("template")``."""
    try:
        template = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, _Loader)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        reason = str(error).replace("\n", " ")[:300]
        raise Invalid("template", f"Template format error: not well-formed. ({reason})") from None
    if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict) or not template["Resources"]:
        raise Invalid("template", "Template format error: At least one Resources member must be defined.")
    return template


def is_sam(template: Mapping[str, Any]) -> bool:
    """Whether the template names the SAM transform."""
    transform = template.get("Transform")
    return SAM_TRANSFORM in (transform if isinstance(transform, list) else [transform])


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
        values[name] = _parameter(name, spec, str(given.get(name, spec.get("Default", ""))), stored)
    return values


def stored_names(template: Mapping[str, Any], given: Mapping[str, str]) -> list[str]:
    """Names in the parameter store that the template's parameters take their values from."""
    declared: Mapping[str, Any] = template.get("Parameters") or {}
    return [
        str(given.get(name, spec.get("Default", "")))
        for name, spec in declared.items()
        if _SSM.fullmatch(str(spec.get("Type", "")))
    ]


def given_or_default(template: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """Declared parameters as they were given, for a description of the stack."""
    declared: Mapping[str, Any] = template.get("Parameters") or {}
    return {name: str(given.get(name, spec.get("Default", ""))) for name, spec in declared.items()}


def _parameter(name: str, spec: Mapping[str, Any], text: str, stored: Mapping[str, str]) -> Any:
    kind = str(spec.get("Type", "String"))
    allowed = spec.get("AllowedValues")
    if allowed is not None and text not in [str(value) for value in allowed]:
        raise Invalid("parameter", f"Parameter '{name}' must be one of AllowedValues")
    pattern = spec.get("AllowedPattern")
    if pattern is not None and not re.fullmatch(str(pattern), text):
        raise Invalid("parameter", f"Parameter '{name}' must match pattern {pattern}")
    if kind == "Number":
        try:
            float(text)
        except ValueError:
            raise Invalid("parameter", f"Parameter '{name}' must be a number.") from None
    from_ssm = _SSM.fullmatch(kind)
    if from_ssm:
        text, kind = stored[text], from_ssm[1]
    return text.split(",") if kind in ("CommaDelimitedList",) or kind.startswith("List<") else text


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
                raise Invalid(
                    "template",
                    f"Template format error: Unresolved resource dependencies [{reference}] in the "
                    f"Resources block of the template ({name})",
                )
    return Plan(template, parameters, conditions, _ordered(wanted))


def _check_resource(name: str, declared: Any, conditions: Mapping[str, bool]) -> None:
    if not _LOGICAL_ID.fullmatch(str(name)):
        raise Invalid("template", f"Template format error: Resource name {name} is non alphanumeric.")
    if not isinstance(declared, dict) or not isinstance(declared.get("Type"), str):
        raise Invalid("template", f"Template format error: [/Resources/{name}] needs a Type.")
    if not isinstance(declared.get("Properties") or {}, dict):
        raise Invalid("template", f"Template format error: [/Resources/{name}/Properties] must be an object.")
    condition = declared.get("Condition")
    if condition is not None and condition not in conditions:
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
    explicit = declared.get("DependsOn") or []
    names = [explicit] if isinstance(explicit, str) else list(explicit)
    return names + list(references(declared.get("Properties") or {}))


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
