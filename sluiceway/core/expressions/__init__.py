"""DynamoDB's expressions (Developer Guide, "Using expressions in DynamoDB")."""

from sluiceway.core.expressions.conditions import Environment, holds
from sluiceway.core.expressions.keys import KeyCondition, key_condition
from sluiceway.core.expressions.parser import Parsed, parse_condition, parse_projection, parse_update
from sluiceway.core.expressions.paths import project
from sluiceway.core.expressions.updates import updated

__all__ = [
    "Environment",
    "KeyCondition",
    "Parsed",
    "holds",
    "key_condition",
    "parse_condition",
    "parse_projection",
    "parse_update",
    "project",
    "updated",
]
