"""The decision about a request, as a table; each row cites what AWS documents by its name."""

from __future__ import annotations

from typing import Any

import pytest

from sluiceway.core.identity import ANONYMOUS, Principal
from sluiceway.core.policy import (
    Question,
    check_identity_policy,
    check_resource_policy,
    check_trust_policy,
    evaluate,
    parse_policy,
)
from sluiceway.core.policy.matching import like, like_arn
from sluiceway.errors import AccessDenied, Invalid
from sluiceway.services.access import authorize

A = "000000000000"
ANN = Principal("user", A, "ann", f"arn:aws:iam::{A}:user/ann", canonical_id="c0ffee")
ROLE = Principal("role", A, "job", f"arn:aws:iam::{A}:role/team/job", session="run1")
ROOT = Principal("root", A, "root", f"arn:aws:iam::{A}:root")
S3 = Principal("service", A, "s3.amazonaws.com", "s3.amazonaws.com")
KEY = "arn:aws:s3:::photos/ann/cat.jpg"


def policy(*statements: dict[str, Any], version: str = "2012-10-17") -> dict[str, Any]:
    return {"Version": version, "Statement": list(statements)}


def st(effect: str = "Allow", action: Any = "s3:*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    members = {"Effect": effect, "Action": action, "Resource": resource, **more}
    return {name: value for name, value in members.items() if value is not None}


ALLOW, DENY = policy(st()), policy(st("Deny"))


def to(principal: Any, effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return policy(st(effect, Principal=principal, **more))


# name, principal, identity policies, resource policy, allowed
DECISIONS: list[tuple[str, Principal, list[dict[str, Any]], dict[str, Any] | None, bool]] = [
    ("nothing is allowed by default", ANN, [], None, False),
    ("identity allow", ANN, [ALLOW], None, True),
    ("identity deny beats allow", ANN, [ALLOW, DENY], None, False),
    ("order does not matter", ANN, [DENY, ALLOW], None, False),
    ("deny alone", ANN, [DENY], to("*"), False),
    ("resource allow suffices in one account", ANN, [], to({"AWS": ANN.arn}), True),
    ("resource deny beats identity allow", ANN, [ALLOW], to("*", "Deny"), False),
    ("resource policy for another user", ANN, [], to({"AWS": f"arn:aws:iam::{A}:user/bob"}), False),
    ("identity allow with silent resource policy", ANN, [ALLOW], to({"AWS": f"arn:aws:iam::{A}:user/bob"}), True),
    ("an account principal delegates: no identity allow", ANN, [], to({"AWS": A}), False),
    ("an account principal delegates: identity allow", ANN, [ALLOW], to({"AWS": A}), True),
    ("an account principal in a deny means everyone in it", ANN, [ALLOW], to({"AWS": A}, "Deny"), False),
    ("an account principal names root", ROOT, [], to({"AWS": f"arn:aws:iam::{A}:root"}), True),
    ("another account", ANN, [], to({"AWS": "111111111111"}), False),
    ("everyone", ANN, [], to("*"), True),
    ("everyone, spelled out", ANN, [], to({"AWS": "*"}), True),
    ("anonymous by everyone", ANONYMOUS, [], to("*"), True),
    ("anonymous by AWS everyone", ANONYMOUS, [], to({"AWS": "*"}), True),
    ("anonymous by default", ANONYMOUS, [], None, False),
    ("anonymous is in no account", ANONYMOUS, [], to({"AWS": A}), False),
    ("root by default", ROOT, [], None, True),
    ("root is denied by a resource policy", ROOT, [], to("*", "Deny"), False),
    ("role by its ARN", ROLE, [], to({"AWS": ROLE.arn}), True),
    ("role by its session", ROLE, [], to({"AWS": f"arn:aws:sts::{A}:assumed-role/job/run1"}), True),
    ("role by another session", ROLE, [], to({"AWS": f"arn:aws:sts::{A}:assumed-role/job/run2"}), False),
    ("a list of principals", ANN, [], to({"AWS": ["111111111111", ANN.arn]}), True),
    ("service principal", S3, [], to({"Service": "s3.amazonaws.com"}), True),
    ("another service", S3, [], to({"Service": "sns.amazonaws.com"}), False),
    ("a service is not a user", ANN, [], to({"Service": "s3.amazonaws.com"}), False),
    ("canonical user", ANN, [], to({"CanonicalUser": "c0ffee"}), True),
    ("another canonical user", ANN, [], to({"CanonicalUser": "badbad"}), False),
    ("no canonical id at all", ROLE, [], to({"CanonicalUser": ""}), False),
    ("federated users are nobody here", ANN, [], to({"Federated": "accounts.google.com"}), False),
    ("NotPrincipal exempts from a deny", ANN, [ALLOW], policy(st("Deny", NotPrincipal={"AWS": ANN.arn})), True),
    ("NotPrincipal denies others", ROLE, [ALLOW], policy(st("Deny", NotPrincipal={"AWS": ANN.arn})), False),
    ("NotPrincipal allows others", ROLE, [], policy(st(NotPrincipal={"AWS": ANN.arn})), True),
    ("no principal in a resource policy", ANN, [], ALLOW, False),
    ("action in another case", ANN, [policy(st(action="S3:getobject"))], None, True),
    ("action with wildcard", ANN, [policy(st(action="s3:Get*"))], None, True),
    ("action with question mark", ANN, [policy(st(action="s3:Get?bject"))], None, True),
    ("another action", ANN, [policy(st(action="s3:Put*"))], None, False),
    ("another service's action", ANN, [policy(st(action="sqs:*"))], None, False),
    ("all actions", ANN, [policy(st(action="*"))], None, True),
    ("list of actions", ANN, [policy(st(action=["s3:PutObject", "s3:GetObject"]))], None, True),
    ("NotAction", ANN, [policy(st(action=None, NotAction="iam:*"))], None, True),
    ("NotAction excludes", ANN, [policy(st(action=None, NotAction=["iam:*", "s3:Get*"]))], None, False),
    ("deny all but", ANN, [ALLOW, policy(st("Deny", None, NotAction="s3:GetObject"))], None, True),
    ("resource itself", ANN, [policy(st(resource=KEY))], None, True),
    ("resource with wildcard", ANN, [policy(st(resource="arn:aws:s3:::photos/*"))], None, True),
    ("bucket is not its objects", ANN, [policy(st(resource="arn:aws:s3:::photos"))], None, False),
    ("resources are case-sensitive", ANN, [policy(st(resource=KEY.upper()))], None, False),
    ("NotResource", ANN, [policy(st(resource=None, NotResource="arn:aws:s3:::secret/*"))], None, True),
    ("NotResource excludes", ANN, [policy(st(resource=None, NotResource="arn:aws:s3:::photos/*"))], None, False),
    ("variable", ANN, [policy(st(resource="arn:aws:s3:::photos/${aws:username}/*"))], None, True),
    ("variable of another", ROLE, [policy(st(resource="arn:aws:s3:::photos/${aws:username}/*"))], None, False),
    (
        "variables need the newer version",
        ANN,
        [policy(st(resource="arn:aws:s3:::photos/${aws:username}/*"), version="2008-10-17")],
        None,
        False,
    ),
    (
        "variable with default",
        ROLE,
        [policy(st(resource="arn:aws:s3:::photos/${aws:username, 'ann'}/*"))],
        None,
        True,
    ),
    ("literal star", ANN, [policy(st(resource="arn:aws:s3:::photos/${*}"))], None, False),
    (
        "unknown variable in NotResource opens nothing",
        ROLE,
        [policy(st(resource=None, NotResource="arn:aws:s3:::photos/${aws:username}/*"))],
        None,
        False,
    ),
    ("an unknown operator allows nothing", ANN, [policy(st(Condition={"Odd": {"a": "b"}}))], None, False),
    ("an unknown operator denies", ANN, [ALLOW, policy(st("Deny", Condition={"Odd": {"a": "b"}}))], None, False),
    ("a single statement without a list", ANN, [{"Version": "2012-10-17", "Statement": st()}], None, True),
]


@pytest.mark.parametrize("row", DECISIONS, ids=lambda row: row[0])
def test_decision(row: Any) -> None:
    _, principal, identity, resource, allowed = row
    context = {"aws:username": ["ann"]} if principal is ANN else {}
    question = Question(principal, "s3:GetObject", KEY, context)
    assert evaluate(question, identity, resource).allowed is allowed


CONTEXT = {
    "aws:SourceIp": ["10.1.2.3"],
    "aws:username": ["ann"],
    "aws:CurrentTime": ["2026-05-01T12:00:00+00:00"],
    "aws:EpochTime": ["1777636800"],
    "aws:SecureTransport": ["false"],
    "aws:SourceArn": ["arn:aws:s3:::photos"],
    "s3:prefix": ["home/ann/x"],
    "s3:max-keys": ["10"],
    "k:bytes": ["aGVsbG8="],
    "aws:TagKeys": ["a", "b"],
    "empty": [],
}
CONDITIONS: list[tuple[dict[str, Any], bool]] = [
    ({"StringEquals": {"aws:username": "ann"}}, True),
    ({"StringEquals": {"AWS:USERNAME": "ann"}}, True),
    ({"StringEquals": {"aws:username": ["bob", "ann"]}}, True),
    ({"StringEquals": {"aws:username": "Ann"}}, False),
    ({"StringEquals": {"aws:username": "a*"}}, False),
    ({"StringEquals": {"missing": "x"}}, False),
    ({"StringEqualsIfExists": {"missing": "x"}}, True),
    ({"StringEqualsIfExists": {"aws:username": "bob"}}, False),
    ({"StringNotEquals": {"aws:username": "bob"}}, True),
    ({"StringNotEquals": {"aws:username": ["bob", "ann"]}}, False),
    ({"StringNotEquals": {"missing": "x"}}, True),
    ({"StringEqualsIgnoreCase": {"aws:username": "ANN"}}, True),
    ({"StringNotEqualsIgnoreCase": {"aws:username": "ANN"}}, False),
    ({"StringLike": {"s3:prefix": "home/*"}}, True),
    ({"StringLike": {"s3:prefix": "home/${aws:username}/*"}}, True),
    ({"StringLike": {"s3:prefix": "home/${missing}/*"}}, False),
    ({"StringLike": {"s3:prefix": ["", "other/*"]}}, False),
    ({"StringNotLike": {"s3:prefix": "home/*"}}, False),
    ({"NumericLessThanEquals": {"s3:max-keys": "10"}}, True),
    ({"NumericLessThanEquals": {"s3:max-keys": 10}}, True),
    ({"NumericLessThan": {"s3:max-keys": "10"}}, False),
    ({"NumericGreaterThan": {"s3:max-keys": "9.5"}}, True),
    ({"NumericGreaterThanEquals": {"s3:max-keys": "11"}}, False),
    ({"NumericEquals": {"s3:max-keys": "10.0"}}, True),
    ({"NumericNotEquals": {"s3:max-keys": "10"}}, False),
    ({"NumericEquals": {"aws:username": "10"}}, False),
    ({"DateGreaterThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}}, True),
    ({"DateLessThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}}, False),
    ({"DateLessThanEquals": {"aws:EpochTime": "2026-05-02T00:00:00Z"}}, True),
    ({"DateEquals": {"aws:CurrentTime": "2026-05-01T14:00:00+02:00"}}, True),
    ({"DateNotEquals": {"aws:CurrentTime": "2026-05-01T12:00:00Z"}}, False),
    ({"DateGreaterThanEquals": {"aws:CurrentTime": "1777636800"}}, True),
    ({"Bool": {"aws:SecureTransport": "false"}}, True),
    ({"Bool": {"aws:SecureTransport": False}}, True),
    ({"Bool": {"aws:SecureTransport": "true"}}, False),
    ({"BinaryEquals": {"k:bytes": "aGVsbG8="}}, True),
    ({"BinaryEquals": {"k:bytes": "d29ybGQ="}}, False),
    ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, True),
    ({"IpAddress": {"aws:SourceIp": ["192.168.0.0/16", "10.1.2.3"]}}, True),
    ({"IpAddress": {"aws:SourceIp": "2001:db8::/32"}}, False),
    ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, False),
    ({"NotIpAddress": {"aws:SourceIp": "11.0.0.0/8"}}, True),
    ({"ArnLike": {"aws:SourceArn": "arn:aws:s3:*:*:ph*"}}, True),
    ({"ArnEquals": {"aws:SourceArn": "arn:aws:s3:::photos"}}, True),
    ({"ArnLike": {"aws:SourceArn": "arn:aws:s*:photos"}}, False),
    ({"ArnNotLike": {"aws:SourceArn": "arn:aws:s3:::other"}}, True),
    ({"ArnNotEquals": {"aws:SourceArn": "arn:aws:s3:::photos"}}, False),
    ({"Null": {"missing": "true"}}, True),
    ({"Null": {"missing": "false"}}, False),
    ({"Null": {"aws:username": "true"}}, False),
    ({"Null": {"aws:username": False}}, True),
    ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b", "c"]}}, True),
    ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}}, False),
    ({"ForAllValues:StringEquals": {"missing": ["a"]}}, True),
    ({"ForAllValues:StringEquals": {"empty": ["a"]}}, True),
    ({"ForAllValues:StringNotEquals": {"aws:TagKeys": ["c"]}}, True),
    ({"ForAllValues:StringNotEquals": {"aws:TagKeys": ["a"]}}, False),
    ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["b", "z"]}}, True),
    ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["z"]}}, False),
    ({"ForAnyValue:StringEquals": {"missing": ["z"]}}, False),
    ({"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["a"]}}, True),
    ({"ForAnyValue:StringNotEquals": {"aws:TagKeys": ["a", "b"]}}, False),
    ({"ForAnyValue:StringNotEquals": {"missing": ["a"]}}, False),
    ({"ForAnyValue:StringLike": {"aws:TagKeys": "?"}}, True),
    ({"StringEquals": {"aws:username": "ann", "s3:max-keys": "10"}}, True),
    ({"StringEquals": {"aws:username": "ann", "s3:max-keys": "11"}}, False),
    ({"StringEquals": {"aws:username": "ann"}, "Bool": {"aws:SecureTransport": "true"}}, False),
    ({}, True),
]


@pytest.mark.parametrize(("condition", "holds"), CONDITIONS, ids=lambda value: str(value)[:80])
def test_condition(condition: dict[str, Any], holds: bool) -> None:
    document = policy(st(Condition=condition))
    check_identity_policy(document)
    question = Question(ANN, "s3:GetObject", KEY, CONTEXT)
    assert evaluate(question, [document]).allowed is holds
    if condition:
        deny = policy(st("Deny", Condition=condition))
        assert evaluate(question, [ALLOW, deny]).allowed is not holds


def test_a_variable_brings_no_wildcards() -> None:
    document = policy(st(resource="arn:aws:s3:::photos/${aws:username}/*"))
    question = Question(ANN, "s3:GetObject", KEY, {"aws:username": ["*"]})
    assert not evaluate(question, [document]).allowed


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("*", "", True),
        ("", "", True),
        ("", "a", False),
        ("a*", "a", True),
        ("a*c", "abbbc", True),
        ("a*c", "abbb", False),
        ("a*b*c", "a-b-b-c", True),
        ("*b", "ab", True),
        ("ab*b", "ab", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("*?", "", False),
        ("*?a", "xa", True),
        ("a.c", "abc", False),
        ("a*", "a\nb", True),
        ("[a]", "a", False),
    ],
)
def test_wildcards(pattern: str, text: str, fits: bool) -> None:
    assert like(pattern, text) is fits


def test_a_wildcard_of_an_arn_stays_in_its_part() -> None:
    assert like_arn("arn:aws:sns:*:*:t", "arn:aws:sns:r:1:t")
    assert not like_arn("arn:aws:*:t", "arn:aws:sns:r:1:t")
    assert like_arn("arn:aws:sns:r:1:*", "arn:aws:sns:r:1:a:b")


def test_many_stars_take_no_time() -> None:
    assert not like("*a" * 60 + "b", "a" * 5000)


def test_trust_policies_have_the_last_word() -> None:
    role = f"arn:aws:iam::{A}:role/job"

    def assume(principal: Principal, identity: list[dict[str, Any]], trusted: Any) -> bool:
        trust = policy({"Effect": "Allow", "Principal": trusted, "Action": "sts:AssumeRole"})
        check_trust_policy(trust)
        return evaluate(Question(principal, "sts:AssumeRole", role), identity, trust, trust=True).allowed

    may = policy(st(action="sts:AssumeRole", resource=role))
    assert not assume(ANN, [may], {"Service": "lambda.amazonaws.com"})
    assert not assume(ANN, [], {"AWS": A})
    assert assume(ANN, [may], {"AWS": A})
    assert assume(ANN, [], {"AWS": ANN.arn})
    assert not assume(ROOT, [], {"Service": "lambda.amazonaws.com"})
    assert assume(ROOT, [], {"AWS": A})


def test_refusals_in_the_words_of_aws() -> None:
    def refusal(principal: Principal, resource_policy: dict[str, Any] | None = None) -> str:
        with pytest.raises(AccessDenied) as caught:
            authorize(principal, "s3:GetObject", KEY, {}, resource_policy)
        return caught.value.message

    assert refusal(ANN) == (
        f"User: {ANN.arn} is not authorized to perform: s3:GetObject on resource: {KEY} "
        "because no identity-based policy allows the s3:GetObject action"
    )
    assert "assumed-role/job/run1 is not authorized" in refusal(ROLE)
    assert "no resource-based policy allows" in refusal(ANONYMOUS)
    assert "with an explicit deny in a resource-based policy" in refusal(ROOT, to("*", "Deny"))
    authorize(ROOT, "s3:DeleteBucketPolicy", "arn:aws:s3:::photos", {}, to("*", "Deny"))


MALFORMED: list[Any] = [
    "",
    "[]",
    "{",
    '{"Version":"2012-10-17"}',
    '{"Version":"2012-10-17","Statement":[]}',
    '{"Version":"2011-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}',
    '{"Statement":[{"Effect":"Allow","Effect":"Deny","Action":"*","Resource":"*"}]}',
    '{"Statement":[{"Effect":"Perhaps","Action":"*","Resource":"*"}]}',
    '{"Statement":[{"Effect":"Allow","Resource":"*"}]}',
    '{"Statement":[{"Effect":"Allow","Action":"*"}]}',
    '{"Statement":[{"Effect":"Allow","Action":"*","NotAction":"s3:*","Resource":"*"}]}',
    '{"Statement":[{"Effect":"Allow","Action":"GetObject","Resource":"*"}]}',
    '{"Statement":[{"Effect":"Allow","Action":[],"Resource":"*"}]}',
    '{"Statement":[{"Effect":"Allow","Action":"*","Resource":"photos"}]}',
    '{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}]}',
    '{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Extra":1}]}',
    '{"Extra":1,"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}',
    '{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Odd":{"a":"b"}}}]}',
    '{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":"a"}}]}',
    '{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NumericEquals":{"a":"x"}}}]}',
    '{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"a":"x"}}}]}',
    '{"Statement":[{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"},'
    '{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"}]}',
]


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_identity_policies(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_identity_policy(parse_policy(text))
    assert caught.value.kind == "policy"


def test_malformed_resource_and_trust_policies() -> None:
    for document in (
        policy(st()),
        to({"Odd": "x"}),
        to({"AWS": f"arn:aws:iam::{A}:user/*"}),
        policy(st(resource=None, Principal="*")),
    ):
        with pytest.raises(Invalid):
            check_resource_policy(document)
    check_resource_policy(to("*"))
    for document in (to("*"), policy({"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"})):
        with pytest.raises(Invalid):
            check_trust_policy(document)
