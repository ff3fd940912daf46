"""Which lifecycle configurations S3 takes, and in what words it refuses the others.

(S3 API reference, PutBucketLifecycleConfiguration and "Error responses"; S3 User Guide, "Lifecycle configuration
elements". What those pages don't word is worded as S3's answers are that people have reported.)
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from sluiceway.core.clock import new_id
from sluiceway.errors import Invalid
from sluiceway.services.objects.lifecycle.evaluation import DAY_MS
from sluiceway.services.objects.lifecycle.rules import CLASSES, MINIMUMS

_INTEGER_MAX: Final = 2**31 - 1
_SIZE_MAX: Final = 1_099_511_627_776_000
_RETAINED_MAX: Final = 100  # S3 API reference, NoncurrentVersionExpiration
_INFREQUENT: Final = ("STANDARD_IA", "ONEZONE_IA")
_INFREQUENT_DAYS: Final = 30
_ACTIONS: Final = (
    "Expiration",
    "Transitions",
    "NoncurrentVersionExpiration",
    "NoncurrentVersionTransitions",
    "AbortIncompleteMultipartUpload",
)
_PREDICATES: Final = ("Prefix", "Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan", "And")


def checked(rules: Sequence[dict[str, Any]], count_max: int) -> list[dict[str, Any]]:
    """The rules with an id each. Raises ``Invalid("malformed" | "argument" | "request")``."""
    if not 0 < len(rules) <= count_max:
        raise _malformed()
    for rule in rules:
        _check_form(rule)
        _check_filter(rule)
        _check_actions(rule)
    named = [{**rule, "ID": rule.get("ID") or _new_rule_id()} for rule in rules]
    if len({rule["ID"] for rule in named}) != len(named):
        raise _argument("Rule ID must be unique. Found same ID for more than one rule")
    _check_generations(named)
    return named


def check_minimum(text: str) -> str:
    """The default minimum size for transitions; the usual one for "". Raises ``Invalid("request")``."""
    if text and text not in MINIMUMS:
        raise _request(f"Invalid TransitionDefaultMinimumObjectSize found: {text[:100]}")
    return text or MINIMUMS[0]


def _new_rule_id() -> str:
    """As S3 makes them: base64 of a UUID."""
    return base64.b64encode(new_id().encode()).decode()


def _check_form(rule: dict[str, Any]) -> None:
    if rule.get("Status") not in ("Enabled", "Disabled"):
        raise _malformed()
    if len(rule.get("ID") or "") > 255:
        raise _argument("ID length should not exceed allowed limit of 255")
    if ("Filter" in rule) == ("Prefix" in rule):
        raise _malformed()
    if not any(name in rule for name in _ACTIONS):
        raise _request("At least one action needs to be specified in a rule")


# -- filters


def _check_filter(rule: dict[str, Any]) -> None:
    given = rule.get("Filter") or {}
    if sum(name in given for name in _PREDICATES) > 1:
        raise _malformed()
    both = given.get("And")
    if both is not None:
        given = both
        tags = given.get("Tags") or []
        if sum(name in given for name in ("Prefix", "ObjectSizeGreaterThan", "ObjectSizeLessThan")) + len(tags) < 2:
            raise _malformed()
        if len({tag.get("Key") for tag in tags}) != len(tags):
            raise _request("Duplicate Tag Keys are not allowed.")
    for tag in _tags(rule):
        _check_tag(tag)
    if len((rule.get("Prefix") or given.get("Prefix") or "").encode()) > 1024:
        raise _request("The maximum size of a prefix is 1024.")
    _check_sizes(given.get("ObjectSizeGreaterThan"), given.get("ObjectSizeLessThan"))


def _tags(rule: dict[str, Any]) -> list[dict[str, Any]]:
    given = rule.get("Filter") or {}
    return [*([given["Tag"]] if "Tag" in given else ()), *((given.get("And") or {}).get("Tags") or ())]


def _sized(rule: dict[str, Any]) -> bool:
    given = rule.get("Filter") or {}
    given = given.get("And") or given
    return "ObjectSizeGreaterThan" in given or "ObjectSizeLessThan" in given


def _check_tag(tag: dict[str, Any]) -> None:
    key, value = tag.get("Key"), tag.get("Value")
    if key is None or value is None:
        raise _malformed()
    if not 0 < len(key) <= 128:
        raise _request("A Tag's Key must be a length between 1 and 128.")
    if len(value) > 256:
        raise _request("A Tag's Value must be a length between 0 and 256.")


def _check_sizes(above: int | None, below: int | None) -> None:
    if above is not None and not 0 <= above <= _SIZE_MAX:
        raise _request(f"'ObjectSizeGreaterThan' should be between 0 and {_SIZE_MAX}.")
    if below is not None and not 1 <= below <= _SIZE_MAX:
        raise _request(f"'ObjectSizeLessThan' should be between 1 and {_SIZE_MAX}.")
    if above is not None and below is not None and below <= above:
        raise _request("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.")


# -- actions


def _check_actions(rule: dict[str, Any]) -> None:
    if "Expiration" in rule:
        _check_expiration(rule)
    if "NoncurrentVersionExpiration" in rule:
        _check_old(rule["NoncurrentVersionExpiration"], "NoncurrentVersionExpiration", 1)
    if "AbortIncompleteMultipartUpload" in rule:
        _refuse_filters(rule, "AbortIncompleteMultipartUpload")
        days = rule["AbortIncompleteMultipartUpload"].get("DaysAfterInitiation")
        _check_days(days, "DaysAfterInitiation", "AbortIncompleteMultipartUpload", 1)
    _check_moves(rule)
    _check_old_moves(rule)


def _check_expiration(rule: dict[str, Any]) -> None:
    expiration = rule["Expiration"]
    if sum(name in expiration for name in ("Days", "Date", "ExpiredObjectDeleteMarker")) != 1:
        raise _malformed()
    if "Days" in expiration:
        _check_days(expiration["Days"], "Days", "Expiration", 1)
    elif "Date" in expiration:
        _check_date(expiration["Date"])
    else:
        _refuse_filters(rule, "ExpiredObjectDeleteMarker")


def _refuse_filters(rule: dict[str, Any], action: str) -> None:
    if _tags(rule):
        raise _request(f"{action} cannot be specified with Tags.")
    if _sized(rule):
        raise _request(f"{action} cannot be specified with Object Size.")


def _check_days(days: int | None, member: str, action: str, least: int) -> None:
    if days is None or days > _INTEGER_MAX:
        raise _malformed()
    if days < least:
        kind = "a positive" if least else "a non-negative"
        raise _argument(f"'{member}' for {action} action must be {kind} integer")


def _check_date(date_ms: int) -> None:
    if date_ms % DAY_MS:
        raise _argument("'Date' must be at midnight GMT")


def _check_old(action: dict[str, Any], name: str, least: int) -> None:
    _check_days(action.get("NoncurrentDays"), "NoncurrentDays", name, least)
    if "NewerNoncurrentVersions" in action:
        _check_days(action["NewerNoncurrentVersions"], "NewerNoncurrentVersions", name, 1)
        if action["NewerNoncurrentVersions"] > _RETAINED_MAX:
            raise _argument(f"'NewerNoncurrentVersions' for {name} action must not be more than {_RETAINED_MAX}")


def _check_moves(rule: dict[str, Any]) -> None:
    moves = rule.get("Transitions") or []
    which = f"for filter '(prefix={_prefix(rule)})'"
    for move in moves:
        if move.get("StorageClass") not in CLASSES or ("Days" in move) == ("Date" in move):
            raise _malformed()
        if "Date" in move:
            _check_date(move["Date"])
            continue
        _check_days(move["Days"], "Days", "Transition", 0)
        _check_infrequent(move["StorageClass"], move["Days"], "Days", "Transition")
    _check_classes(moves, rule, "Transition")
    timed = [*moves, *([rule["Expiration"]] if _is_timed(rule) else ())]
    if len({"Days" in one for one in timed}) > 1:
        mixed = "Expiration and Transition" if _is_timed(rule) else "Transition"
        raise _request(f"Found mixed 'Date' and 'Days' based {mixed} actions in lifecycle rule {which}")
    member = "Days" if timed and "Days" in timed[0] else "Date"
    _check_order(moves, member, "Transition", which)
    if moves and _is_timed(rule) and rule["Expiration"][member] <= max(move[member] for move in moves):
        than = "greater" if member == "Days" else "later"
        raise _argument(
            f"'{member}' in the Expiration action {which} must be {than} than '{member}' in the Transition action"
        )


def _check_old_moves(rule: dict[str, Any]) -> None:
    moves = rule.get("NoncurrentVersionTransitions") or []
    name, member = "NoncurrentVersionTransition", "NoncurrentDays"
    for move in moves:
        if move.get("StorageClass") not in CLASSES:
            raise _malformed()
        _check_old(move, name, 0)
        _check_infrequent(move["StorageClass"], move[member], member, name)
    _check_classes(moves, rule, name)
    which = f"for filter '(prefix={_prefix(rule)})'"
    _check_order(moves, member, name, which)
    last = rule.get("NoncurrentVersionExpiration")
    if moves and last and last[member] <= max(move[member] for move in moves):
        raise _argument(
            f"'{member}' in the NoncurrentVersionExpiration action {which} must be greater than '{member}' in the "
            f"{name} action"
        )


def _check_infrequent(storage_class: str, days: int, member: str, action: str) -> None:
    if storage_class in _INFREQUENT and days < _INFREQUENT_DAYS:
        raise _argument(
            f"'{member}' in {action} action must be greater than or equal to {_INFREQUENT_DAYS} for storageClass "
            f"'{storage_class}'"
        )


def _check_classes(moves: list[dict[str, Any]], rule: dict[str, Any], action: str) -> None:
    if len({move["StorageClass"] for move in moves}) != len(moves):
        raise _request(
            f"'StorageClass' must be different for '{action}' actions in same 'Rule' with filter "
            f"'(prefix={_prefix(rule)})'"
        )


def _check_order(moves: list[dict[str, Any]], member: str, action: str, which: str) -> None:
    """What is colder comes later."""
    ordered = sorted(moves, key=lambda move: CLASSES.index(move["StorageClass"]))
    for warmer, colder in pairwise(ordered):
        if colder[member] <= warmer[member]:
            raise _argument(
                f"'{member}' in the '{action}' action for StorageClass '{colder['StorageClass']}' {which} must be "
                f"greater than '{member}' in the '{action}' action for StorageClass '{warmer['StorageClass']}'"
            )


def _is_timed(rule: dict[str, Any]) -> bool:
    expiration = rule.get("Expiration") or {}
    return "Days" in expiration or "Date" in expiration


def _prefix(rule: dict[str, Any]) -> str:
    given = rule.get("Filter") or {}
    return str(rule.get("Prefix") or (given.get("And") or given).get("Prefix") or "")


# -- the two generations of the format


def _check_generations(rules: list[dict[str, Any]]) -> None:
    """Rules with a filter and rules of the older kind, with a prefix of their own, don't mix."""
    older = [rule for rule in rules if "Prefix" in rule]
    if not older:
        return
    if len(older) < len(rules):
        if "Prefix" in rules[0]:
            raise _request("Filter element can only be used in Lifecycle V2.")
        raise _request("Base level prefix cannot be used in Lifecycle V2, prefixes are only supported in the Filter.")
    if '"NewerNoncurrentVersions"' in json.dumps(older):
        raise _request("NewerNoncurrentVersions element can only be used in Lifecycle V2.")
    for action in _ACTIONS:
        # Whatever stands between two that overlap overlaps with the first of them, so neighbours tell.
        for one, other in pairwise(sorted(rule["Prefix"] for rule in older if action in rule)):
            if other.startswith(one):
                kind = action.rstrip("s")
                raise _request(f"Found overlapping prefixes '{one}' and '{other}' for same action type '{kind}'")


def _malformed() -> Invalid:
    return Invalid(
        "malformed", "The XML you provided was not well-formed or did not validate against our published schema"
    )


def _argument(message: str) -> Invalid:
    return Invalid("argument", message)


def _request(message: str) -> Invalid:
    return Invalid("request", message)
