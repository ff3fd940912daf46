"""Who may do what with buckets and objects: the pure rules."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from unittest.mock import MagicMock

import pytest

from sluiceway.core.identity import ANONYMOUS, Principal, Scope
from sluiceway.edges.http import Body, Headers, Request
from sluiceway.edges.s3 import conditions
from sluiceway.edges.s3.acl import list_of
from sluiceway.edges.s3.address import Address
from sluiceway.edges.s3.admission import further_actions
from sluiceway.edges.s3.call import Call
from sluiceway.edges.s3.router import ROUTES
from sluiceway.edges.sigv4 import Verified
from sluiceway.errors import AccessDenied, DomainError, Invalid
from sluiceway.services.objects.actions import ACTIONS, BUCKET_ACTIONS, KEYS, OBJECT_ACTIONS
from sluiceway.services.objects.buckets import Access
from sluiceway.services.objects.grants import (
    ALL_USERS,
    AUTHENTICATED_USERS,
    LOG_DELIVERY,
    NEEDED,
    Asked,
    canned,
    granted,
    is_public,
    permits,
)
from sluiceway.services.objects.owning import applied
from sluiceway.services.objects.policies import check_policy
from sluiceway.services.objects.public import is_public_policy
from sluiceway.services.objects.rows import Bucket
from sluiceway.services.objects.values import Actor, Attributes, StoredObject

OWNER, ADA, BOB = "0" * 64, "a" * 64, "b" * 64
BUCKET = "arn:aws:s3:::photos"
USER = Principal("user", "000000000000", "ada", "arn:aws:iam::000000000000:user/ada", ADA)
ROLE = Principal("role", "000000000000", "runner", "arn:aws:iam::000000000000:role/runner", OWNER)


# -- lists


@pytest.mark.parametrize(
    ("name", "grants"),
    [
        ("private", [(ADA, "FULL_CONTROL")]),
        ("public-read", [(ADA, "FULL_CONTROL"), (ALL_USERS, "READ")]),
        ("public-read-write", [(ADA, "FULL_CONTROL"), (ALL_USERS, "READ"), (ALL_USERS, "WRITE")]),
        ("authenticated-read", [(ADA, "FULL_CONTROL"), (AUTHENTICATED_USERS, "READ")]),
        ("bucket-owner-read", [(ADA, "FULL_CONTROL"), (OWNER, "READ")]),
        ("bucket-owner-full-control", [(ADA, "FULL_CONTROL"), (OWNER, "FULL_CONTROL")]),
    ],
)
def test_canned_lists_of_objects(name: str, grants: list[tuple[str, str]]) -> None:
    assert list(canned(name, "object").resolved(ADA, OWNER)) == grants


def test_canned_lists_of_buckets() -> None:
    delivery = ((OWNER, "FULL_CONTROL"), (LOG_DELIVERY, "WRITE"), (LOG_DELIVERY, "READ_ACP"))
    assert canned("log-delivery-write", "bucket").resolved(OWNER, OWNER) == delivery
    assert canned("bucket-owner-read", "bucket") == Asked("private"), "S3 ignores it for buckets"
    for name in ("log-delivery-write", "", "PUBLIC-READ", "everything"):
        with pytest.raises(Invalid):
            canned(name, "object")


@pytest.mark.parametrize("kind", ["anonymous", "user", "other", "role"])
@pytest.mark.parametrize("grantee", [ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY, ADA, OWNER])
@pytest.mark.parametrize("given", ["READ", "WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL"])
def test_a_grant_lets_in_whom_it_names_to_what_it_names(kind: str, grantee: str, given: str) -> None:
    other = Principal("user", "000000000000", "bob", "arn:aws:iam::000000000000:user/bob", BOB)
    principal = {"anonymous": ANONYMOUS, "user": USER, "other": other, "role": ROLE}[kind]
    named = {
        ALL_USERS: True,
        AUTHENTICATED_USERS: kind != "anonymous",
        LOG_DELIVERY: False,
        ADA: kind == "user",
        OWNER: False,  # the account's id: its roles have their policies
    }[grantee]
    for asked in ("READ", "WRITE", "READ_ACP", "WRITE_ACP"):
        expected = named and given in (asked, "FULL_CONTROL")
        assert permits(((grantee, given),), asked, principal) is expected
        ignored = permits(((grantee, given),), asked, principal, ignore_public=True)
        assert ignored is (expected and grantee == ADA)


#: S3 User Guide, "Mapping of ACL permissions and access policy permissions".
MAPPING = {
    ("bucket", "READ"): "s3:ListBucket s3:ListBucketVersions s3:ListBucketMultipartUploads",
    ("bucket", "WRITE"): "s3:PutObject s3:DeleteObject s3:DeleteObjectVersion",
    ("bucket", "READ_ACP"): "s3:GetBucketAcl",
    ("bucket", "WRITE_ACP"): "s3:PutBucketAcl",
    ("object", "READ"): "s3:GetObject s3:GetObjectVersion",
    ("object", "READ_ACP"): "s3:GetObjectAcl s3:GetObjectVersionAcl",
    ("object", "WRITE_ACP"): "s3:PutObjectAcl s3:PutObjectVersionAcl",
}


def test_permissions_mean_the_actions_that_aws_documents() -> None:
    for level in NEEDED:
        found: dict[tuple[str, str], set[str]] = {}
        for action, permission in NEEDED[level].items():
            found.setdefault((level, permission), set()).add(action)
        assert found == {key: set(words.split()) for key, words in MAPPING.items() if key[0] == level}


@pytest.mark.parametrize(
    ("headers", "grants"),
    [
        ({"x-amz-grant-read": f'id="{ADA}"'}, [(ADA, "READ")]),
        ({"x-amz-grant-read": f"id={ADA}, uri={ALL_USERS}"}, [(ADA, "READ"), (ALL_USERS, "READ")]),
        ({"x-amz-grant-full-control": f"id={ADA}", "x-amz-grant-write-acp": f"ID={BOB}"},
         [(ADA, "FULL_CONTROL"), (BOB, "WRITE_ACP")]),
        ({"x-amz-grant-read": f"id={ADA},id={ADA}"}, [(ADA, "READ")]),
    ],
)  # fmt: skip
def test_grants_in_headers(headers: dict[str, str], grants: list[tuple[str, str]]) -> None:
    asked = list_of(Headers(headers.items()))
    assert asked is not None and list(asked.grants) == grants


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"x-amz-grant-read": ""}, "argument"),
        ({"x-amz-grant-read": "id"}, "argument"),
        ({"x-amz-grant-read": "id="}, "argument"),
        ({"x-amz-grant-read": f"name={ADA}"}, "argument"),
        ({"x-amz-grant-read": "id=short"}, "argument"),
        ({"x-amz-grant-read": f"id={ALL_USERS}"}, "argument"),
        ({"x-amz-grant-read": f"uri={ADA}"}, "argument"),
        ({"x-amz-grant-read": "uri=http://example.com/everybody"}, "argument"),
        ({"x-amz-grant-read": 'emailAddress="ada@example.com"'}, "acl_email"),
        ({"x-amz-acl": "private", "x-amz-grant-read": f"id={ADA}"}, "request"),
        ({"x-amz-acl": "nonsense"}, "argument"),
        ({"x-amz-grant-read": ",".join(f"id={n:064x}" for n in range(101))}, "acl_form"),
    ],
)
def test_odd_grants_in_headers(headers: dict[str, str], kind: str) -> None:
    with pytest.raises(DomainError) as refused:
        list_of(Headers(headers.items()))
    assert refused.value.kind == kind


def test_a_list_has_a_hundred_grants_at_most() -> None:
    grants = [(f"{number:064x}", "READ") for number in range(100)]
    assert len(granted(grants).grants) == 100
    with pytest.raises(Invalid):
        granted([*grants, (ADA, "READ")])
    with pytest.raises(Invalid):
        granted([(ADA, "OWN")])


def test_a_list_is_public_by_the_two_groups_that_anybody_is_in() -> None:
    assert is_public(((ADA, "READ"), (ALL_USERS, "READ_ACP")))
    assert is_public(((AUTHENTICATED_USERS, "READ"),))
    assert not is_public(((ADA, "FULL_CONTROL"), (LOG_DELIVERY, "WRITE")))
    assert canned("authenticated-read", "object").public and not canned("aws-exec-read", "object").public


@pytest.mark.parametrize(
    ("ownership", "acl", "owner", "kept"),
    [
        ("BucketOwnerEnforced", None, OWNER, None),
        ("BucketOwnerEnforced", "private", OWNER, None),
        ("BucketOwnerPreferred", None, ADA, None),
        ("BucketOwnerPreferred", "bucket-owner-full-control", OWNER, None),
        ("BucketOwnerPreferred", "bucket-owner-read", ADA, ((ADA, "FULL_CONTROL"), (OWNER, "READ"))),
        ("ObjectWriter", "private", ADA, None),
        ("ObjectWriter", "bucket-owner-full-control", ADA, ((ADA, "FULL_CONTROL"), (OWNER, "FULL_CONTROL"))),
        ("", "public-read", ADA, ((ADA, "FULL_CONTROL"), (ALL_USERS, "READ"))),
    ],
)
def test_who_owns_what_is_put(ownership: str, acl: str | None, owner: str, kept: Any) -> None:
    bucket = Bucket("photos", 0, OWNER, "us-east-1", ownership=ownership)
    actor = Actor("AWS:ada", ADA, "127.0.0.1", "r", "h")
    assert applied(bucket, canned(acl, "object") if acl else None, actor) == (owner, kept)


def test_only_lists_that_differ_from_the_private_one_are_kept() -> None:
    stored = StoredObject(1, "e", 1, 1, ADA, Attributes(), None, True, None)
    assert "acl" not in stored.to_json() and StoredObject.from_json(stored.to_json()) == stored
    for acl in (((ADA, "READ"),), ()):
        shared = StoredObject(1, "e", 1, 1, ADA, Attributes(), None, True, None, acl=acl)
        assert StoredObject.from_json(json.loads(json.dumps(shared.to_json()))) == shared
    for ownership in ("BucketOwnerEnforced", "ObjectWriter", ""):
        bucket = Bucket("photos", 0, OWNER, "us-east-1", ("acl",), "Suspended", ownership)
        assert Bucket.from_json("photos", json.loads(json.dumps(bucket.to_json()))) == bucket


# -- the meaning of public


def allow(principal: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": f"{BUCKET}/*", **more}


def when(operator: str, key: str, value: Any) -> dict[str, Any]:
    return allow(Condition={operator: {key: value}})


@pytest.mark.parametrize(
    ("statement", "public"),
    [
        (allow(), True),
        (allow({"AWS": "*"}), True),
        (allow({"AWS": ["arn:aws:iam::000000000000:root", "*"]}), True),
        (allow({"AWS": "arn:aws:iam::000000000000:root"}), False),
        (allow({"Service": "cloudfront.amazonaws.com"}), False),
        (allow({"CanonicalUser": ADA}), False),
        ({"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}, False),
        ({"Effect": "Allow", "NotPrincipal": {"AWS": "1"}, "Action": "s3:*", "Resource": "*"}, True),
        (when("IpAddress", "aws:SourceIp", "203.0.113.0/24"), False),
        (when("IpAddress", "aws:SourceIp", ["203.0.113.0/24", "0.0.0.0/0"]), True),
        (when("IpAddress", "aws:SourceIp", "0.0.0.0/1"), True),
        (when("IpAddress", "aws:SourceIp", "100.0.0.0/8"), False),
        (when("IpAddress", "aws:SourceIp", "100.0.0.0/7"), True),
        (when("IpAddress", "aws:SourceIp", "10.0.0.0/8"), False),
        (when("IpAddress", "aws:SourceIp", "2001:db8::/32"), False),
        (when("IpAddress", "aws:SourceIp", "2000::/31"), True),
        (when("IpAddress", "aws:SourceIp", "${aws:SourceIp}"), True),
        (when("NotIpAddress", "aws:SourceIp", "203.0.113.0/24"), True),
        (when("IpAddressIfExists", "aws:SourceIp", "203.0.113.0/24"), True),
        (when("StringEquals", "aws:SourceVpc", "vpc-91237329"), False),
        (when("StringLike", "aws:SourceVpc", "vpc-91237329"), False),
        (when("StringLike", "aws:SourceVpc", "vpc-*"), True),
        (when("StringNotEquals", "aws:SourceVpc", "vpc-91237329"), True),
        (when("StringEquals", "aws:PrincipalOrgID", "o-1"), False),
        (when("StringEquals", "aws:PrincipalOrgID", ["o-1", "${aws:username}"]), True),
        (when("StringEqualsIfExists", "aws:PrincipalOrgID", "o-1"), True),
        (when("ForAllValues:StringEquals", "aws:SourceVpc", "vpc-1"), True),
        (when("ForAnyValue:StringEquals", "aws:PrincipalOrgPaths", "o-1/r-1/"), False),
        (when("ArnEquals", "aws:SourceArn", "arn:aws:cloudfront::000000000000:distribution/E"), False),
        (when("ArnLike", "aws:SourceArn", "arn:aws:cloudfront::000000000000:distribution/*"), True),
        (when("StringEquals", "aws:SourceAccount", "000000000000"), False),
        (when("StringEquals", "aws:userid", "AIDAEXAMPLE"), False),
        (when("StringLike", "aws:userid", "AROAEXAMPLE:*"), True),
        (when("StringEquals", "aws:userid", "AROAEXAMPLE:*"), True),
        (when("StringEquals", "s3:DataAccessPointAccount", "000000000000"), False),
        (when("StringLike", "s3:DataAccessPointArn", "arn:aws:s3:us-east-1:000000000000:accesspoint/*"), False),
        (when("StringLike", "s3:DataAccessPointArn", "arn:aws:s3:us-east-1:*:accesspoint/*"), True),
        (when("StringEquals", "s3:x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:x"), False),
        (when("Bool", "aws:SecureTransport", "true"), True),
        (when("StringEquals", "aws:Referer", "https://example.com/"), True),
        (when("Bool", "aws:PrincipalIsAWSService", "true"), False),
        (allow(Condition={"Bool": {"aws:SecureTransport": "true"}, "StringEquals": {"aws:SourceVpc": "v"}}), False),
    ],
)
def test_the_meaning_of_public(statement: dict[str, Any], public: bool) -> None:
    assert is_public_policy({"Statement": statement}) is public
    private = allow({"AWS": "arn:aws:iam::000000000000:root"})
    assert is_public_policy({"Statement": [private, statement]}) is public, "one statement is enough"


# -- bucket policies


def test_good_policies_pass() -> None:
    for statement in (
        allow(),
        allow(Action="s3:*", Resource=[BUCKET, f"{BUCKET}/*"]),
        allow(Action=["s3:ListBucket", "s3:GetObject"], Resource=[BUCKET, f"{BUCKET}/*"]),
        allow(Action="s3:Get*", Resource=BUCKET),
        allow(Action="*", Resource="*"),
        allow(Action="S3:getobject", Resource=f"{BUCKET}*"),
        allow(Action="s3:ListBucket", Resource=BUCKET, Condition={"StringLike": {"s3:prefix": "a/*"}}),
        allow(Condition={"StringEquals": {"s3:ExistingObjectTag/a": "b", "aws:PrincipalTag/x": "${aws:username}"}}),
        {"Effect": "Deny", "NotPrincipal": {"AWS": "000000000000"}, "NotAction": "s3:GetObject", "NotResource": BUCKET},
    ):
        check_policy(json.dumps({"Version": "2012-10-17", "Statement": statement}), BUCKET)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "first byte"),
        (" {}", "first byte"),
        ("{", "invalid Json"),
        ('{"Statement": ' + "[" * 100_000, "invalid Json"),
        ('{"Statement": [], "Statement": []}', "invalid Json"),
        ("{}", "Missing required field Statement"),
        ('{"Statement": []}', "Missing required field Statement"),
        ('{"Version": "2013-01-01", "Statement": []}', "valid version"),
        ({"Bogus": 1}, "Unknown field Bogus"),
        ({"Effect": "allow"}, "Invalid effect"),
        ({"Principal": None}, "Invalid principal"),
        ({"Principal": {"AWS": "arn:aws:iam::000000000000:user/*"}}, "Invalid principal"),
        ({"Principal": {"Person": "x"}}, "Invalid principal"),
        ({"Action": "sqs:SendMessage"}, "Policy has invalid action"),
        ({"Action": "s3:GetObjekt"}, "Policy has invalid action"),
        ({"Action": ["s3:GetObject", "s3:Nothing*"]}, "Policy has invalid action"),
        ({"Resource": "arn:aws:s3:::other/*"}, "Policy has invalid resource"),
        ({"Resource": 7}, "Policy has invalid resource"),
        ({"Resource": []}, "Policy has invalid resource"),
        ({"Action": "s3:ListBucket"}, "Action does not apply to any resource(s) in statement"),
        ({"Action": ["s3:GetObject", "s3:ListBucket"]}, "Action does not apply to any resource(s) in statement"),
        ({"Resource": BUCKET}, "Action does not apply to any resource(s) in statement"),
        ({"Action": "s3:ListAllMyBuckets", "Resource": "*"}, "Action does not apply to any resource(s)"),
        ({"Condition": {"StringEquals": {"s3:nothing": "x"}}}, "invalid condition key"),
        ({"Condition": {"StringEquals": {"aws:Weather": "rain"}}}, "invalid condition key"),
        ({"Condition": {"StringEquals": {"sqs:x": "rain"}}}, "invalid condition key"),
        ({"Condition": {"StringSimilar": {"s3:prefix": "x"}}}, "Invalid Condition type"),
        ({"Condition": {"StringEquals": {"s3:prefix": "x"}}}, "Conditions do not apply to combination"),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "nowhere"}}}, "Invalid value"),
    ],
)
def test_odd_policies_are_refused_in_s3s_words(text: Any, message: str) -> None:
    whole = text if isinstance(text, str) else json.dumps({"Statement": [allow() | text]})
    with pytest.raises(Invalid) as refused:
        check_policy(whole, BUCKET)
    assert refused.value.kind == "policy" and message in refused.value.message


def test_the_actions_of_all_routes_are_s3s_own() -> None:
    for (level, _, _), route in ROUTES.items():
        if not route.action:
            continue
        assert route.action in ACTIONS, route
        if level == "bucket":
            assert route.action in BUCKET_ACTIONS, route
        if level == "object":
            assert route.action in OBJECT_ACTIONS, route
    assert set().union(*KEYS.values()) <= ACTIONS


@pytest.mark.parametrize(
    ("operation", "headers", "actions"),
    [
        ("PutObject", {}, []),
        ("PutObject", {"x-amz-acl": "private"}, ["s3:PutObjectAcl"]),
        ("PutObject", {"x-amz-grant-read": "id=1"}, ["s3:PutObjectAcl"]),
        ("PutObject", {"x-amz-tagging": "a=b"}, ["s3:PutObjectTagging"]),
        ("CreateMultipartUpload", {"x-amz-tagging": "a=b", "x-amz-acl": "private"},
         ["s3:PutObjectAcl", "s3:PutObjectTagging"]),
        ("CopyObject", {"x-amz-tagging": "a=b"}, []),
        ("CopyObject", {"x-amz-tagging": "a=b", "x-amz-tagging-directive": "REPLACE"}, ["s3:PutObjectTagging"]),
        ("UploadPart", {"x-amz-acl": "private"}, []),
        ("CreateBucket", {"x-amz-acl": "private"}, ["s3:PutBucketAcl"]),
        ("CreateBucket", {"x-amz-object-ownership": "ObjectWriter"}, ["s3:PutBucketOwnershipControls"]),
    ],
)  # fmt: skip
def test_what_else_a_request_needs_leave_for(operation: str, headers: dict[str, str], actions: list[str]) -> None:
    assert further_actions(operation, Headers(headers.items())) == actions


# -- condition keys


def call(
    operation: str = "GetObject",
    query: dict[str, str] | None = None,
    principal: Principal = USER,
    signed: bool = True,
    **headers: str,
) -> Call:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if signed and principal is not ANONYMOUS and "X-Amz-Signature" not in (query or {}):
        given["authorization"] = "AWS4-HMAC-SHA256 ..."
    request = Request("GET", b"/photos/a", b"", Headers(given.items()), Body(MagicMock(), 1), "https", "192.0.2.1", "r")
    verified = Verified(principal, "", b"", "s" if signed else "", "20260101T000000Z")
    tools = MagicMock()
    tools.clock.now_ms.return_value = 1_767_225_610_500  # 10.5 seconds after that
    tools.objects.scope = Scope("000000000000", "eu-north-1")
    return Call(request, operation, Address("photos", "a", b"/photos/a"), query or {}, verified, tools)


def collected(made: Call, action: str, tags: dict[str, str] | None = None) -> dict[str, list[str]]:
    stored = StoredObject(1, "e", 1, 1, ADA, Attributes(tags=tags), None, True, None) if tags else None
    return conditions.collect(made, action, {}, stored)


def test_keys_of_every_request() -> None:
    found = collected(
        call(user_agent="curl", referer="https://a.example/", x_amz_content_sha256="e3b0"), "s3:GetObject"
    )
    assert found == {
        "aws:SourceIp": ["192.0.2.1"],
        "aws:userid": ["000000000000"],
        "aws:SecureTransport": ["true"],
        "aws:CurrentTime": ["2026-01-01T00:00:10.500000+00:00"],
        "aws:EpochTime": ["1767225610"],
        "aws:PrincipalArn": [USER.arn],
        "aws:PrincipalAccount": ["000000000000"],
        "aws:PrincipalType": ["User"],
        "aws:PrincipalIsAWSService": ["false"],
        "aws:ViaAWSService": ["false"],
        "aws:RequestedRegion": ["eu-north-1"],
        "aws:ResourceAccount": ["000000000000"],
        "aws:username": ["ada"],
        "aws:UserAgent": ["curl"],
        "aws:Referer": ["https://a.example/"],
        "s3:ResourceAccount": ["000000000000"],
        "s3:authType": ["REST-HEADER"],
        "s3:signatureversion": ["AWS4-HMAC-SHA256"],
        "s3:signatureAge": ["10500"],
        "s3:x-amz-content-sha256": ["e3b0"],
    }


def test_keys_that_only_some_requests_have() -> None:
    bare = collected(call(), "s3:GetObject")
    assert not {"aws:UserAgent", "aws:Referer", "s3:x-amz-content-sha256", "s3:TlsVersion"} & set(bare)
    anonymous = collected(call(principal=ANONYMOUS, signed=False), "s3:GetObject")
    assert not {"s3:authType", "s3:signatureversion", "s3:signatureAge", "aws:PrincipalArn", "aws:username"} & set(
        anonymous
    )
    assert collected(call(query={"X-Amz-Signature": "s"}), "s3:GetObject")["s3:authType"] == ["REST-QUERY-STRING"]


HEADER_KEYS = [
    ("x-amz-acl", {"CreateBucket", "PutBucketAcl", "PutObject", "PutObjectAcl"}),
    ("x-amz-grant-full-control", {"CreateBucket", "PutBucketAcl", "PutObject", "PutObjectAcl"}),
    ("x-amz-grant-read", {"CreateBucket", "PutBucketAcl", "PutObject", "PutObjectAcl"}),
    ("x-amz-grant-read-acp", {"CreateBucket", "PutBucketAcl", "PutObject", "PutObjectAcl"}),
    ("x-amz-grant-write", {"CreateBucket", "PutBucketAcl", "PutObject", "PutObjectAcl"}),
    ("x-amz-grant-write-acp", {"CreateBucket", "PutBucketAcl", "PutObject", "PutObjectAcl"}),
    ("x-amz-object-ownership", {"CreateBucket"}),
    ("x-amz-copy-source", {"PutObject"}),
    ("x-amz-metadata-directive", {"PutObject"}),
    ("x-amz-storage-class", {"PutObject", "PutObjectAcl"}),
    ("x-amz-server-side-encryption", {"PutObject"}),
    ("x-amz-server-side-encryption-aws-kms-key-id", {"PutObject"}),
    ("if-match", {"PutObject", "DeleteObject"}),
    ("if-none-match", {"PutObject"}),
]


@pytest.mark.parametrize(("name", "actions"), HEADER_KEYS)
def test_headers_are_keys_of_the_actions_that_aws_lists(name: str, actions: set[str]) -> None:
    made = call(**{name.replace("-", "_"): "value"})
    for action in (
        "CreateBucket",
        "DeleteObject",
        "GetObject",
        "ListBucket",
        "PutBucketAcl",
        "PutObject",
        "PutObjectAcl",
    ):
        expected = ["value"] if action in actions else None
        assert collected(made, f"s3:{action}").get(f"s3:{name}") == expected, action


def test_listings_and_versions() -> None:
    made = call(query={"prefix": "a/", "delimiter": "", "max-keys": "5", "versionId": "v"})
    found = collected(made, "s3:ListBucket")
    assert (found["s3:prefix"], found["s3:delimiter"], found["s3:max-keys"]) == (["a/"], [""], ["5"])
    assert "s3:VersionId" not in found
    found = collected(made, "s3:GetObjectVersion")
    assert found["s3:VersionId"] == ["v"] and "s3:prefix" not in found
    assert not {"s3:VersionId", "s3:prefix"} & set(collected(made, "s3:GetObject"))


@pytest.mark.parametrize("source", ["/photos/a b", "photos/a+b", "photos/a%20b", "/photos/a%20b?versionId=null"])
def test_a_copys_source_has_one_form(source: str) -> None:
    made = call("CopyObject", x_amz_copy_source=source)
    assert collected(made, "s3:PutObject")["s3:x-amz-copy-source"] == ["photos/a b"]


def test_tags_of_request_and_object() -> None:
    found = collected(call("PutObject", x_amz_tagging="a=1&b=%C3%A9"), "s3:PutObject", {"old": "yes"})
    assert found["s3:RequestObjectTag/a"] == ["1"] and found["s3:RequestObjectTag/b"] == ["é"]
    assert found["s3:RequestObjectTagKeys"] == ["a", "b"]
    assert "s3:ExistingObjectTag/old" not in found, "not supported for PutObject (S3 User Guide)"
    found = collected(call(), "s3:GetObject", {"old": "yes"})
    assert found["s3:ExistingObjectTag/old"] == ["yes"] and "s3:RequestObjectTagKeys" not in found


@pytest.mark.parametrize(
    ("operation", "creates"),
    [("PutObject", "true"), ("CopyObject", "true"), ("CompleteMultipartUpload", "true"),
     ("CreateMultipartUpload", "false"), ("UploadPart", "false"), ("UploadPartCopy", "false")],
)  # fmt: skip
def test_which_operations_make_an_object(operation: str, creates: str) -> None:
    assert collected(call(operation), "s3:PutObject")["s3:ObjectCreationOperation"] == [creates]


def test_nothing_is_collected_that_nobody_asks_for() -> None:
    plain = {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    variable = {"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::b/${aws:username}/*"}}
    tagged = {"Statement": [when("StringEquals", "S3:existingObjectTag/a", "b")]}
    assert not conditions.asked_for([plain]) and not conditions.asked_for([])
    assert conditions.asked_for([plain, variable]) and conditions.asked_for([tagged])
    assert conditions.mentioned([plain, tagged], "s3:existingobjecttag")
    assert not conditions.mentioned([plain, variable], "s3:existingobjecttag")


def test_an_object_that_was_replaced_since_it_was_decided_about_is_decided_about_again() -> None:
    """Deciding and reading are two looks at the store; what comes in between must not slip through."""
    made = call(principal=ANONYMOUS, signed=False)
    made.tools.authorize.side_effect = AccessDenied("access", "no policy allows it")
    bucket = Bucket("photos", 0, OWNER, "us-east-1", ownership="ObjectWriter")
    made.access = Access(bucket, None, None, ((OWNER, "FULL_CONTROL"),))
    public = StoredObject(1, "e", 1, 1, OWNER, Attributes(), None, True, None, acl=((ALL_USERS, "READ"),))
    private = replace(public, sequence=2, acl=None)
    made.check_seen(private)  # whom policies let in is not asked again
    made.seen = ("s3:GetObject", f"{BUCKET}/a", public)
    made.check_seen(public)
    made.check_seen(replace(public, sequence=3))
    with pytest.raises(AccessDenied):
        made.check_seen(private)


def test_where_nobody_looked_at_the_object_no_list_lets_anybody_in() -> None:
    made = call("PutObject")
    made.tools.authorize.side_effect = AccessDenied("access", "no policy allows it")
    bucket = Bucket("photos", 0, OWNER, "us-east-1", ownership="ObjectWriter")
    made.access = Access(bucket, None, None, ((ADA, "FULL_CONTROL"),))
    mine = StoredObject(1, "e", 1, 1, ADA, Attributes(), None, True, None)
    made.allow("s3:ListBucket", BUCKET, made.access)
    for action in ("s3:PutObject", "s3:DeleteObject"):
        made.allow(action, f"{BUCKET}/a", made.access, stored=None)
        made.allow(action, f"{BUCKET}/a", made.access, stored=mine)
        for looked in ({"stored": replace(mine, owner=BOB)}, {}):
            with pytest.raises(AccessDenied):
                made.allow(action, f"{BUCKET}/a", made.access, **looked)
    with pytest.raises(AccessDenied):
        made.allow("s3:GetObject", f"{BUCKET}/a", made.access)
