"""Lifecycle rules: which are taken, in what words the others are refused, and what follows from them at which time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sluiceway.errors import Invalid
from sluiceway.services.objects.lifecycle.checks import check_minimum, checked
from sluiceway.services.objects.lifecycle.evaluation import (
    Subject,
    abortion,
    due_after,
    expiration,
    is_marker_over,
    is_old_over,
    midnight,
    old_transition,
    transition,
)
from sluiceway.services.objects.lifecycle.rules import Rule, Rules

LARGE = 200_000


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def rule(**members: Any) -> dict[str, Any]:
    return {"ID": "r", "Status": "Enabled", "Filter": {}, **members}


def made(*rows: dict[str, Any], minimum: str = "all_storage_classes_128K") -> Rules:
    return Rules(tuple(Rule.from_json(row) for row in checked(rows, 1000)), minimum)


@pytest.mark.parametrize(
    ("start", "days", "due"),
    [
        ("2014-01-15T10:30:00", 3, "2014-01-19"),  # the S3 User Guide's own example
        ("2026-11-26T00:00:00", 1, "2026-11-27"),
        ("2026-11-26T00:00:00.001", 1, "2026-11-28"),
        ("2026-11-26T23:59:59.999", 1, "2026-11-28"),
        ("2026-11-26T12:00:00", 0, "2026-11-27"),
        ("2024-02-28T08:00:00", 1, "2024-03-01"),
        ("2023-02-28T08:00:00", 1, "2023-03-02"),
        ("2024-02-28T08:00:00", 366, "2025-03-01"),
        ("2023-12-31T23:00:00", 1, "2024-01-02"),
        ("2026-11-26T00:00:00", 2**31 - 1, "9999-12-31"),
    ],
)
def test_days_are_rounded_up_to_midnight(start: str, days: int, due: str) -> None:
    assert due_after(ms(start), days) == ms(due)


def test_a_day_begins_at_midnight_utc() -> None:
    assert midnight(ms("2026-11-26T23:59:59.999")) == midnight(ms("2026-11-26")) == ms("2026-11-26")


@pytest.mark.parametrize(
    ("filter_", "covered"),
    [
        ({}, {"a", "logs/x", "logs/big", "tagged"}),
        ({"Prefix": ""}, {"a", "logs/x", "logs/big", "tagged"}),
        ({"Prefix": "logs/"}, {"logs/x", "logs/big"}),
        ({"Tag": {"Key": "k", "Value": "v"}}, {"tagged"}),
        ({"Tag": {"Key": "k", "Value": "w"}}, set()),
        ({"ObjectSizeGreaterThan": 10}, {"logs/big"}),
        ({"ObjectSizeLessThan": 10}, {"a", "logs/x"}),
        ({"And": {"ObjectSizeGreaterThan": 9, "ObjectSizeLessThan": 11}}, {"tagged"}),
        ({"And": {"Prefix": "t", "Tags": [{"Key": "k", "Value": "v"}]}}, {"tagged"}),
        ({"And": {"Prefix": "logs/", "Tags": [{"Key": "k", "Value": "v"}]}}, set()),
        ({"And": {"Tags": [{"Key": "k", "Value": "v"}, {"Key": "l", "Value": ""}]}}, {"tagged"}),
        ({"And": {"Tags": [{"Key": "k", "Value": "v"}, {"Key": "m", "Value": ""}]}}, set()),
    ],
)
def test_filters(filter_: dict[str, Any], covered: set[str]) -> None:
    subjects = [
        Subject("a", 0, 0),
        Subject("logs/x", 0, 9),
        Subject("logs/big", 0, 11),
        Subject("tagged", 0, 10, {"k": "v", "l": "", "other": "x"}),
    ]
    rules = made(rule(Filter=filter_, Expiration={"Days": 1})).rules
    assert {subject.key for subject in subjects if expiration(rules, subject)} == covered


def test_the_earliest_expiration_counts_and_the_first_of_equals() -> None:
    rules = made(
        rule(ID="late", Expiration={"Days": 9}),
        rule(ID="first", Filter={"Prefix": "a"}, Expiration={"Days": 2}),
        rule(ID="second", Expiration={"Days": 2}),
        rule(ID="other", Filter={"Prefix": "b"}, Expiration={"Days": 1}),
        rule(ID="marker", Expiration={"ExpiredObjectDeleteMarker": True}),
    ).rules
    assert expiration(rules, Subject("a", ms("2026-01-01T10:00:00"))) == (ms("2026-01-04"), "first")
    dated = made(rule(ID="date", Expiration={"Date": ms("2020-01-01")})).rules
    assert expiration(dated, Subject("a", ms("2026-01-01"))) == (ms("2020-01-01"), "date")
    assert expiration((), Subject("a", 0)) is None


def moves(*pairs: tuple[int, str]) -> list[dict[str, Any]]:
    return [{"Days": days, "StorageClass": name} for days, name in pairs]


@pytest.mark.parametrize(
    ("now", "here", "expected"),
    [
        ("2026-01-31T00:00:00", "STANDARD", None),
        ("2026-02-01T00:00:00", "STANDARD", "STANDARD_IA"),
        ("2026-02-01T00:00:00", "REDUCED_REDUNDANCY", "STANDARD_IA"),
        ("2026-02-01T00:00:00", "STANDARD_IA", None),
        ("2026-02-01T00:00:00", "GLACIER_IR", None),
        ("2026-03-03T00:00:00", "STANDARD", "GLACIER"),
        ("2026-03-03T00:00:00", "STANDARD_IA", "GLACIER"),
        ("2026-03-03T00:00:00", "DEEP_ARCHIVE", None),
        ("2026-03-03T00:00:00", "SOMETHING_ELSE", None),
    ],
)
def test_moves_go_forward_to_the_coldest(now: str, here: str, expected: str | None) -> None:
    rules = made(rule(Transitions=moves((30, "STANDARD_IA"), (60, "GLACIER"))))
    subject = Subject("a", ms("2026-01-01T10:00:00"), LARGE, storage_class=here)
    assert transition(rules, subject, ms(now)) == expected


@pytest.mark.parametrize(
    ("here", "wanted", "expected"),
    [
        ("STANDARD", ["STANDARD_IA", "GLACIER"], "GLACIER"),
        ("STANDARD", ["INTELLIGENT_TIERING", "GLACIER_IR"], "INTELLIGENT_TIERING"),
        ("STANDARD", ["INTELLIGENT_TIERING", "GLACIER"], "GLACIER"),
        ("INTELLIGENT_TIERING", ["INTELLIGENT_TIERING", "GLACIER_IR"], None),
        ("GLACIER_IR", ["INTELLIGENT_TIERING", "GLACIER_IR"], None),
        ("ONEZONE_IA", ["GLACIER_IR"], None),
        ("ONEZONE_IA", ["GLACIER_IR", "GLACIER"], "GLACIER"),
        ("ONEZONE_IA", ["INTELLIGENT_TIERING"], None),
    ],
)
def test_rules_that_disagree(here: str, wanted: list[str], expected: str | None) -> None:
    rules = made(*[rule(ID=name, Transitions=[{"Date": 0, "StorageClass": name}]) for name in wanted])
    assert transition(rules, Subject("a", 0, LARGE, storage_class=here), ms("2026-01-01")) == expected


@pytest.mark.parametrize(
    ("size", "filter_", "minimum", "name", "moved"),
    [
        (131_071, {}, "all_storage_classes_128K", "GLACIER", False),
        (131_072, {}, "all_storage_classes_128K", "GLACIER", True),
        (1, {}, "varies_by_storage_class", "GLACIER", True),
        (1, {}, "varies_by_storage_class", "DEEP_ARCHIVE", True),
        (1, {}, "varies_by_storage_class", "GLACIER_IR", False),
        (1, {"ObjectSizeGreaterThan": 0}, "all_storage_classes_128K", "GLACIER_IR", True),
        (1, {"ObjectSizeLessThan": 10}, "all_storage_classes_128K", "GLACIER", True),
        (1, {"Prefix": "a"}, "all_storage_classes_128K", "GLACIER", False),
    ],
)
def test_small_objects_stay(size: int, filter_: dict[str, Any], minimum: str, name: str, moved: bool) -> None:
    rules = made(rule(Filter=filter_, Transitions=moves((0, name))), minimum=minimum)
    assert (transition(rules, Subject("a", 0, size), ms("2026-01-01")) == name) is moved


def test_old_versions_go_by_age_and_number() -> None:
    rules = made(rule(NoncurrentVersionExpiration={"NoncurrentDays": 3, "NewerNoncurrentVersions": 2})).rules
    subject, since = Subject("a", 0), ms("2026-01-01T10:00:00")
    assert is_old_over(rules, subject, since, 2, ms("2026-01-05"))
    assert not is_old_over(rules, subject, since, 1, ms("2026-01-05"))
    assert not is_old_over(rules, subject, since, 9, ms("2026-01-05") - 1)
    moving = made(
        rule(
            NoncurrentVersionTransitions=[
                {"NoncurrentDays": 1, "StorageClass": "GLACIER", "NewerNoncurrentVersions": 1}
            ]
        )
    )
    old = Subject("a", 0, LARGE)
    assert old_transition(moving, old, since, 1, ms("2026-01-03")) == "GLACIER"
    assert old_transition(moving, old, since, 0, ms("2026-01-03")) is None
    assert old_transition(moving, old, since, 1, ms("2026-01-02")) is None


def test_markers_go_at_once_or_by_age() -> None:
    marker = Subject("logs/a", ms("2026-01-01T10:00:00"))
    at_once = made(rule(Filter={"Prefix": "logs/"}, Expiration={"ExpiredObjectDeleteMarker": True})).rules
    assert is_marker_over(at_once, marker, marker.created_ms)
    assert not is_marker_over(at_once, Subject("a", 0), ms("2026-01-01"))
    by_age = made(rule(Expiration={"Days": 2})).rules
    assert is_marker_over(by_age, marker, ms("2026-01-04"))
    assert not is_marker_over(by_age, marker, ms("2026-01-04") - 1)
    never = made(rule(Expiration={"ExpiredObjectDeleteMarker": False})).rules
    assert not is_marker_over(never, marker, ms("2030-01-01"))
    tagged = made(rule(Filter={"Tag": {"Key": "k", "Value": "v"}}, Expiration={"Days": 1})).rules
    assert not is_marker_over(tagged, marker, ms("2030-01-01"))


def test_uploads_are_given_up() -> None:
    rules = made(
        rule(ID="slow", AbortIncompleteMultipartUpload={"DaysAfterInitiation": 9}),
        rule(ID="quick", Filter={"Prefix": "a"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}),
    ).rules
    assert abortion(rules, "ab", ms("2026-01-01T10:00:00")) == (ms("2026-01-03"), "quick")
    assert abortion(rules, "b", ms("2026-01-01T10:00:00")) == (ms("2026-01-11"), "slow")


# -- what is refused

_AND = {"Prefix": "a", "Tags": [{"Key": "k", "Value": "v"}]}
_EXPIRES = {"Expiration": {"Days": 90}}


@pytest.mark.parametrize(
    ("kind", "words", "rows"),
    [
        ("malformed", "not well-formed", []),
        ("malformed", "not well-formed", [rule(**_EXPIRES)] * 1001),
        ("malformed", "not well-formed", [rule(Status="enabled", **_EXPIRES)]),
        ("malformed", "not well-formed", [{"ID": "r", "Status": "Enabled", **_EXPIRES}]),
        ("malformed", "not well-formed", [rule(Prefix="a", **_EXPIRES)]),
        ("argument", "ID length should not exceed allowed limit of 255", [rule(ID="x" * 256, **_EXPIRES)]),
        ("argument", "Rule ID must be unique. Found same ID", [rule(**_EXPIRES), rule(**_EXPIRES)]),
        ("request", "At least one action needs to be specified in a rule", [rule()]),
        ("malformed", "not well-formed", [rule(Filter={"Prefix": "a", "ObjectSizeLessThan": 1}, **_EXPIRES)]),
        ("malformed", "not well-formed", [rule(Filter={"And": _AND, "Prefix": "a"}, **_EXPIRES)]),
        ("malformed", "not well-formed", [rule(Filter={"And": {"Prefix": "a"}}, **_EXPIRES)]),
        ("malformed", "not well-formed", [rule(Filter={"Tag": {"Key": "k"}}, **_EXPIRES)]),
        ("request", "Key must be a length", [rule(Filter={"Tag": {"Key": "", "Value": ""}}, **_EXPIRES)]),
        (
            "request",
            "Duplicate Tag Keys",
            [rule(Filter={"And": {"Tags": [{"Key": "k", "Value": "v"}] * 2}}, **_EXPIRES)],
        ),
        ("request", "maximum size of a prefix is 1024", [rule(Filter={"Prefix": "ü" * 513}, **_EXPIRES)]),
        ("request", "'ObjectSizeLessThan' should be between 1", [rule(Filter={"ObjectSizeLessThan": 0}, **_EXPIRES)]),
        ("request", "'ObjectSizeGreaterThan' should be", [rule(Filter={"ObjectSizeGreaterThan": -1}, **_EXPIRES)]),
        (
            "request",
            "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'",
            [rule(Filter={"And": {"ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 5}}, **_EXPIRES)],
        ),
        ("malformed", "not well-formed", [rule(Expiration={})]),
        ("malformed", "not well-formed", [rule(Expiration={"Days": 1, "ExpiredObjectDeleteMarker": True})]),
        ("malformed", "not well-formed", [rule(Expiration={"Days": 1, "Date": 0})]),
        ("malformed", "not well-formed", [rule(Expiration={"Days": 2**31})]),
        ("malformed", "not well-formed", [rule(Expiration={"Days": 10**30})]),
        ("argument", "'Days' for Expiration action must be a positive integer", [rule(Expiration={"Days": 0})]),
        ("argument", "'Days' for Expiration action must be a positive integer", [rule(Expiration={"Days": -5})]),
        ("argument", "'Date' must be at midnight GMT", [rule(Expiration={"Date": ms("2026-01-01T01:00:00")})]),
        (
            "request",
            "ExpiredObjectDeleteMarker cannot be specified with Tags.",
            [rule(Filter={"Tag": {"Key": "k", "Value": ""}}, Expiration={"ExpiredObjectDeleteMarker": True})],
        ),
        (
            "request",
            "AbortIncompleteMultipartUpload cannot be specified with Object Size.",
            [rule(Filter={"ObjectSizeLessThan": 9}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1})],
        ),
        ("malformed", "not well-formed", [rule(AbortIncompleteMultipartUpload={})]),
        (
            "argument",
            "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer",
            [rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 0})],
        ),
        ("malformed", "not well-formed", [rule(NoncurrentVersionExpiration={"NewerNoncurrentVersions": 1})]),
        (
            "argument",
            "'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must not be more than 100",
            [rule(NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 101})],
        ),
        (
            "argument",
            "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer",
            [rule(NoncurrentVersionExpiration={"NoncurrentDays": 0})],
        ),
        ("malformed", "not well-formed", [rule(Transitions=[{"Days": 1}])]),
        ("malformed", "not well-formed", [rule(Transitions=moves((1, "STANDARD")))]),
        ("malformed", "not well-formed", [rule(Transitions=[{"StorageClass": "GLACIER"}])]),
        ("argument", "'Days' for Transition action must be a non-negative", [rule(Transitions=moves((-1, "GLACIER")))]),
        (
            "argument",
            "'Days' in Transition action must be greater than or equal to 30 for storageClass 'STANDARD_IA'",
            [rule(Transitions=moves((29, "STANDARD_IA")))],
        ),
        (
            "request",
            "'StorageClass' must be different for 'Transition' actions in same 'Rule' with filter '(prefix=)'",
            [rule(Transitions=moves((1, "GLACIER"), (2, "GLACIER")))],
        ),
        (
            "argument",
            "'Days' in the 'Transition' action for StorageClass 'GLACIER' for filter '(prefix=)' must be greater",
            [rule(Transitions=moves((30, "STANDARD_IA"), (30, "GLACIER")))],
        ),
        (
            "argument",
            "'Days' in the Expiration action for filter '(prefix=logs/)' must be greater than 'Days' in the Transition",
            [rule(Filter={"Prefix": "logs/"}, Transitions=moves((30, "GLACIER")), Expiration={"Days": 30})],
        ),
        (
            "request",
            "Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule for filter",
            [rule(Transitions=moves((30, "GLACIER")), Expiration={"Date": 0})],
        ),
        (
            "argument",
            "must be greater than 'NoncurrentDays' in the NoncurrentVersionTransition action",
            [
                rule(
                    NoncurrentVersionTransitions=[{"NoncurrentDays": 5, "StorageClass": "GLACIER"}],
                    NoncurrentVersionExpiration={"NoncurrentDays": 5},
                )
            ],
        ),
        (
            "request",
            "Filter element can only be used in Lifecycle V2.",
            [{"Status": "Enabled", "Prefix": "a", **_EXPIRES}, rule(**_EXPIRES)],
        ),
        (
            "request",
            "Base level prefix cannot be used in Lifecycle V2",
            [rule(**_EXPIRES), {"Status": "Enabled", "Prefix": "a", **_EXPIRES}],
        ),
        (
            "request",
            "Found overlapping prefixes '' and 'a' for same action type 'Expiration'",
            [{"Status": "Enabled", "Prefix": prefix, **_EXPIRES} for prefix in ("a", "")],
        ),
        (
            "request",
            "NewerNoncurrentVersions element can only be used in Lifecycle V2.",
            [
                {
                    "Status": "Enabled",
                    "Prefix": "",
                    "NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 1},
                }
            ],
        ),
    ],
)
def test_what_s3_refuses(kind: str, words: str, rows: list[dict[str, Any]]) -> None:
    with pytest.raises(Invalid) as caught:
        checked(rows, 1000)
    assert (caught.value.kind, words in caught.value.message) == (kind, True), caught.value.message


def test_what_s3_takes() -> None:
    rows = [
        rule(ID="a", Filter={"Prefix": "x"}, Expiration={"Days": 1}),
        rule(ID="b", Filter={"Prefix": "xy"}, Expiration={"Days": 1}),
        rule(ID="c", Transitions=moves((0, "INTELLIGENT_TIERING"), (1, "GLACIER_IR"), (2, "DEEP_ARCHIVE"))),
        rule(ID="d", NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 100}),
        {"Status": "Disabled", "Filter": {"And": {"Prefix": "", "ObjectSizeLessThan": 1}}, **_EXPIRES},
    ]
    kept = checked(rows, 1000)
    assert kept[:4] == rows[:4] and len(kept[4]["ID"]) == 48
    older = [{"Status": "Enabled", "Prefix": "a", **_EXPIRES}, {"Status": "Enabled", "Prefix": "b", **_EXPIRES}]
    assert len(checked(older, 1000)) == 2
    assert len(checked([rule(ID=str(n), **_EXPIRES) for n in range(1000)], 1000)) == 1000


def test_the_minimum_size_has_two_names() -> None:
    assert check_minimum("") == "all_storage_classes_128K"
    assert check_minimum("varies_by_storage_class") == "varies_by_storage_class"
    with pytest.raises(Invalid, match="Invalid TransitionDefaultMinimumObjectSize found: tiny"):
        check_minimum("tiny")
