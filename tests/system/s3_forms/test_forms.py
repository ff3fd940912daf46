"""Browser forms over the wire: what they may say, by whom, and what is signed."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest
from helpers import forms
from helpers.s3_forms import BUCKET, KIB, MIB, MISSING, Site
from helpers.server import eventually


def presigned(client: Any, key: str, **more: Any) -> tuple[str, dict[str, str]]:
    made = client.generate_presigned_post(BUCKET, key, **more)
    return made["url"], made["fields"]


# -- what boto3 makes


@pytest.mark.parametrize("size", [0, 5, 64 * KIB, 64 * KIB + 1, 3 * MIB])
def test_boto3s_presigned_post(site: Site, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    url, fields = presigned(site.s3, "up/${filename}", Conditions=[["content-length-range", 0, 4 * MIB]])
    parts = urllib.parse.urlsplit(url)
    answer = site.post(forms.body(fields.items(), data, f"größe {size}.bin"), path=parts.path, host=parts.netloc)
    assert (answer.status, answer.body) == (204, b""), answer.body
    assert answer.headers["etag"] == f'"{forms.md5(data)}"'
    key = f"up/größe {size}.bin"
    assert answer.headers["location"] == f"{site.server.url}/{BUCKET}/{urllib.parse.quote(key, safe='')}"
    stored = site.s3.get_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")
    assert stored["Body"].read() == data and stored["ContentType"] == "binary/octet-stream"
    assert stored["ChecksumCRC64NVME"] == answer.headers["x-amz-checksum-crc64nvme"]
    assert stored["ETag"] == answer.headers["etag"]


def test_a_form_says_what_a_put_says(site: Site) -> None:
    data = b"0123456789"
    sha256 = base64.b64encode(hashlib.sha256(data).digest()).decode()
    tagging = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1/2</Value></Tag></TagSet></Tagging>"
    fields = {
        "key": "all/of/it", "acl": "private", "Cache-Control": "max-age=60", "Content-Type": "text/plain",
        "Content-Disposition": 'attachment; filename="x"', "Content-Encoding": "identity",
        "Expires": "Wed, 21 Oct 2037 07:28:00 GMT", "x-amz-meta-Uuid": "14365123651274",
        "x-amz-meta-file": "was ${filename}, ${filename}", "x-amz-meta-name": "Zoë", "x-amz-storage-class": "STANDARD_IA",
        "x-amz-checksum-sha256": sha256, "tagging": tagging, "success_action_status": "201",
        "Content-MD5": base64.b64encode(hashlib.md5(data).digest()).decode(),
    }  # fmt: skip
    conditions = [{"bucket": BUCKET}, *(["starts-with", f"${name}", ""] for name in fields)]
    answer = site.send(fields, data, "C:\\folder\\sub/a b.txt", conditions=conditions)
    assert answer.status == 201 and answer.headers["content-type"] == "application/xml", answer.body
    found = {name: answer.element(name) for name in ("Location", "Bucket", "Key", "ETag")}
    assert found == {
        "Location": f"{site.server.url}/{BUCKET}/all%2Fof%2Fit", "Bucket": BUCKET, "Key": "all/of/it",
        "ETag": f'"{forms.md5(data)}"',
    }  # fmt: skip
    assert answer.headers["x-amz-checksum-sha256"] == sha256
    stored = site.s3.head_object(Bucket=BUCKET, Key="all/of/it", ChecksumMode="ENABLED")
    assert stored["ContentType"] == "text/plain" and stored["CacheControl"] == "max-age=60"
    assert stored["ContentDisposition"] == 'attachment; filename="x"' and stored["StorageClass"] == "STANDARD_IA"
    assert stored["ContentEncoding"] == "identity" and stored["ExpiresString"] == fields["Expires"]
    assert stored["Metadata"] == {
        "uuid": "14365123651274", "file": "was a b.txt, a b.txt", "name": "=?UTF-8?B?Wm/Dqw==?=",
    }  # fmt: skip
    assert stored["ChecksumSHA256"] == sha256
    tags = site.s3.get_object_tagging(Bucket=BUCKET, Key="all/of/it")["TagSet"]
    assert tags == [{"Key": "a b", "Value": "1/2"}]


@pytest.mark.parametrize(
    "fields, status, location",
    [
        ({}, 204, ""), ({"success_action_status": "200"}, 200, ""), ({"success_action_status": "404"}, 204, ""),
        ({"success_action_redirect": "https://example.com/done"}, 303, "https://example.com/done?"),
        ({"success_action_redirect": "http://example.com/?a=b#part"}, 303, "http://example.com/?a=b&"),
        ({"redirect": "http://example.com/old", "success_action_status": "201"}, 303, "http://example.com/old?"),
        ({"success_action_redirect": "/relative"}, 204, ""), ({"success_action_redirect": "ftp://example.com"}, 204, ""),
        ({"success_action_redirect": "javascript:alert(1)"}, 204, ""),
        ({"success_action_redirect": "http://example.com/\r\nset-cookie: a=b"}, 204, ""),
        ({"success_action_redirect": "http://[broken"}, 204, ""),
        ({"success_action_redirect": "http://example.com/ü"}, 303, "http://example.com/%C3%BC?"),
    ],
)  # fmt: skip
def test_the_answer_is_the_one_that_the_form_wants(
    site: Site, fields: dict[str, str], status: int, location: str
) -> None:
    answer = site.send({"key": "answers/a b", **fields})
    assert (answer.status, answer.body) == (status, b""), answer.body
    assert "set-cookie" not in answer.headers
    if location:
        etag = forms.md5(b"content")
        told = f"bucket={BUCKET}&key=answers%2Fa%20b&etag=%22{etag}%22"
        assert answer.headers["location"].partition("#")[0] == location + told
    else:
        assert answer.headers["location"] == f"{site.server.url}/{BUCKET}/answers%2Fa%20b"


def test_the_bucket_may_be_in_the_host(site: Site) -> None:
    dotted = "my.dotted.bucket"
    site.s3.create_bucket(Bucket=dotted)
    port = site.server.port
    for bucket in (BUCKET, dotted):
        for host in (
            f"{bucket}.s3.localhost:{port}", f"{bucket}.localhost:{port}", f"{bucket}.s3.amazonaws.com",
            f"{bucket}.s3.us-east-1.amazonaws.com", f"{bucket}.s3.dualstack.us-east-1.amazonaws.com",
            f"{bucket}.s3-us-west-2.amazonaws.com",
        ):  # fmt: skip
            key = f"hosts/{host}"
            made = forms.signed(site.server.key, bucket, {"key": key, "success_action_status": "201"})
            answer = site.post(forms.body(made.items()), path="/", host=host)
            assert answer.status == 201, (host, answer.body)
            assert answer.headers["location"] == f"http://{host}/{urllib.parse.quote(key, safe='')}"
            assert site.s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"content"
    made = forms.signed(site.server.key, BUCKET, {"key": "elsewhere"})
    answer = site.post(forms.body(made.items()), path="/", host=f"{dotted}.s3.localhost:{port}")
    answer.refused(403, "AccessDenied", f'Policy Condition failed: ["eq", "$bucket", "{BUCKET}"]')


def test_the_event_is_a_post(site: Site) -> None:
    sqs = site.server.client("sqs")
    url = sqs.create_queue(QueueName="posted")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:*", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    rule = {"QueueArn": arn, "Events": ["s3:ObjectCreated:Post"]}
    site.s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [rule]}
    )
    try:
        site.s3.put_object(Bucket=BUCKET, Key="by-put", Body=b"x")
        assert site.send({"key": "by-post"}).status == 204
        records: list[dict[str, Any]] = []

        def told() -> bool:
            for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
                records.extend(json.loads(message["Body"]).get("Records", []))
            return bool(records)

        eventually(told)
        assert [(r["eventName"], r["s3"]["object"]["key"]) for r in records] == [("ObjectCreated:Post", "by-post")]
        assert records[0]["userIdentity"]["principalId"].startswith("AWS:")
    finally:
        site.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})


# -- who may


def make_user(site: Site, name: str, *statements: dict[str, Any]) -> tuple[str, str]:
    iam = site.server.client("iam")
    iam.create_user(UserName=name)
    if statements:
        iam.put_user_policy(
            UserName=name, PolicyName="p",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": list(statements)}),
        )  # fmt: skip
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def test_the_signer_needs_the_right_to_put(site: Site) -> None:
    allowed = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{BUCKET}/ann/*"}
    ann, ben = make_user(site, "ann", allowed), make_user(site, "ben")
    for key, name, status in ((ann, "ann/a", 204), (ann, "other", 403), (ben, "ann/b", 403)):
        made = forms.signed(key, BUCKET, {"key": name})
        answer = site.post(forms.body(made.items()))
        assert answer.status == status, answer.body
        if status == 403:
            answer.refused(403, "AccessDenied", "is not authorized to perform: s3:PutObject")
    assert "other" not in site.stored() and "ann/b" not in site.stored()
    assert site.s3.list_objects_v2(Bucket=BUCKET, Prefix="ann/", FetchOwner=True)["KeyCount"] == 1


def test_a_session_signs_with_its_token(site: Site) -> None:
    sts = site.server.client("sts")
    ann = make_user(site, "session-user", {"Effect": "Allow", "Action": "*", "Resource": "*"})
    session = site.server.client("sts", ann).get_session_token()["Credentials"] if _has(sts) else None
    if session is None:
        iam = site.server.client("iam")
        account = sts.get_caller_identity()["Account"]
        trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "sts:AssumeRole"}
        role = iam.create_role(
            RoleName="former", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )["Role"]["Arn"]
        allow = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}
        iam.put_role_policy(
            RoleName="former", PolicyName="p",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}),
        )  # fmt: skip
        session = site.server.client("sts", ann).assume_role(RoleArn=role, RoleSessionName="s")["Credentials"]
    key = session["AccessKeyId"], session["SecretAccessKey"]
    made = forms.signed(key, BUCKET, {"key": "by-session"}, token=session["SessionToken"])
    assert site.post(forms.body(made.items())).status == 204
    made = forms.signed(key, BUCKET, {"key": "by-nobody"})
    assert site.post(forms.body(made.items())).status in (400, 403)
    made = forms.signed(key, BUCKET, {"key": "by-nobody"}, token="other")
    site.post(forms.body(made.items())).refused(400, "InvalidToken")
    assert "by-nobody" not in site.stored()


def _has(sts: Any) -> bool:
    try:
        sts.get_session_token()
    except sts.exceptions.ClientError:
        return False
    return True


def test_anonymous_forms_need_a_bucket_that_is_open(site: Site) -> None:
    body = forms.body([("key", "public/by-anybody"), ("x-amz-meta-any", "goes")])
    site.post(body).refused(403, "AccessDenied")
    statement = {
        "Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{BUCKET}/public/*",
    }  # fmt: skip
    site.s3.delete_public_access_block(Bucket=BUCKET)
    site.s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Statement": [statement]}))
    try:
        assert site.post(body).status == 204
        site.post(forms.body([("key", "private/by-anybody")])).refused(403, "AccessDenied")
        # A policy without a signature is not an anonymous form: somebody meant it to hold.
        made = forms.signed(site.server.key, BUCKET, {"key": "public/unsigned"})
        unsigned = {"key": made["key"], "policy": made["policy"]}
        site.post(forms.body(unsigned.items())).refused(403, "AccessDenied", "Access Denied")
    finally:
        site.s3.delete_bucket_policy(Bucket=BUCKET)
    assert {"public/by-anybody"} == {key for key in site.stored() if "anybody" in key}


def test_a_denying_bucket_policy_holds_for_forms(site: Site) -> None:
    statement = {
        "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{BUCKET}/denied/*",
    }  # fmt: skip
    site.s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Statement": [statement]}))
    try:
        site.send({"key": "denied/a"}).refused(403, "AccessDenied", "explicit deny")
    finally:
        site.s3.delete_bucket_policy(Bucket=BUCKET)


# -- signatures


Change = Callable[[dict[str, str]], dict[str, str]]


def without(*names: str) -> Change:
    return lambda made: {name: value for name, value in made.items() if name not in names}


def changed(**values: str) -> Change:
    return lambda made: made | {name.replace("_", "-"): value for name, value in values.items()}


@pytest.mark.parametrize(
    "change, status, code, message",
    [
        (without("x-amz-signature"), 400, "InvalidArgument", MISSING.format("X-Amz-Signature")),
        (without("x-amz-algorithm", "x-amz-credential"), 400, "InvalidArgument", MISSING.format("X-Amz-Algorithm")),
        (without("x-amz-date"), 400, "InvalidArgument", MISSING.format("X-Amz-Date")),
        (without("key"), 400, "InvalidArgument", MISSING.format("key")),
        (without("policy"), 403, "AccessDenied", ""),
        (changed(key=""), 400, "InvalidArgument", "length greater than 0"),
        (changed(key="k" * 1025), 403, "AccessDenied", "Policy Condition failed"),
        (changed(x_amz_signature="0" * 64), 403, "SignatureDoesNotMatch", ""),
        (changed(x_amz_signature="ü"), 403, "SignatureDoesNotMatch", ""),
        (changed(x_amz_algorithm="AWS4-HMAC-SHA1"), 400, "AuthorizationQueryParametersError", ""),
        (changed(x_amz_algorithm="AWS4-ECDSA-P256-SHA256"), 501, "NotImplemented", "SigV4A"),
        (changed(x_amz_credential="AKIA/20260101/us-east-1/s3"), 400, "AuthorizationQueryParametersError", ""),
        (changed(x_amz_date="yesterday"), 400, "AuthorizationQueryParametersError", ""),
        (changed(x_amz_date="20200101T000000Z"), 400, "AuthorizationQueryParametersError", ""),
        (lambda made: made | {"policy": made["policy"][:-2]}, 403, "SignatureDoesNotMatch", ""),
        (
            lambda made: made | {"x-amz-credential": made["x-amz-credential"].replace("/us-east-1/", "/eu-west-1/")},
            400, "AuthorizationQueryParametersError", "the region 'eu-west-1' is wrong; expecting 'us-east-1'",
        ),
        (
            lambda made: made | {"x-amz-credential": made["x-amz-credential"].replace("/s3/", "/sqs/")},
            400, "AuthorizationQueryParametersError", "",
        ),
        (
            lambda made: made | {"x-amz-credential": "AKIANOBODY" + made["x-amz-credential"].partition("/")[1]
                                 + made["x-amz-credential"].partition("/")[2]},
            403, "InvalidAccessKeyId", "",
        ),
        (
            lambda made: {"key": made["key"], "policy": made["policy"], "AWSAccessKeyId": "A", "signature": "c2ln"},
            400, "InvalidRequest", "AWS4-HMAC-SHA256",
        ),
    ],
)  # fmt: skip
def test_signatures_that_are_none(site: Site, change: Change, status: int, code: str, message: str) -> None:
    made = change(forms.signed(site.server.key, BUCKET, {"key": "unsigned"}))
    site.post(forms.body(made.items())).refused(status, code, message)
    assert "unsigned" not in site.stored()


def test_a_form_from_before_or_later(site: Site) -> None:
    site.send({"key": "late"}, moved_s=-8 * 86400, lasts_s=600).refused(403, "AccessDenied", "expired")
    site.send({"key": "late"}, moved_s=3600, lasts_s=7200).refused(403, "AccessDenied", "not yet valid")
    site.send({"key": "late"}, lasts_s=-1).refused(403, "AccessDenied", "Invalid according to Policy: Policy expired.")
    assert "late" not in site.stored()
    assert site.send({"key": "from six days ago"}, moved_s=-6 * 86400).status == 204


def test_a_wrong_signature_shows_what_was_signed(site: Site) -> None:
    made = forms.signed(site.server.key, BUCKET, {"key": "k"}) | {"x-amz-signature": "0" * 64}
    answer = site.post(forms.body(made.items())).refused(403, "SignatureDoesNotMatch")
    assert answer.element("AWSAccessKeyId") == site.server.key[0]
    assert answer.element("StringToSign") == made["policy"]
    assert answer.element("SignatureProvided") == "0" * 64
    assert bytes.fromhex(answer.element("StringToSignBytes")).decode() == made["policy"]
    assert site.server.key[1].encode() not in answer.body and b"CanonicalRequest" not in answer.body


def test_a_form_takes_no_other_signature(site: Site) -> None:
    made = forms.signed(site.server.key, BUCKET, {"key": "twice"})
    url = site.s3.generate_presigned_url("list_objects_v2", {"Bucket": BUCKET}, HttpMethod="POST")
    path = url.removeprefix(site.server.url).replace("list-type=2&", "")
    assert site.post(forms.body(made.items()), path=path).status in (400, 403)
    assert "twice" not in site.stored()


# -- conditions and sizes, as the server applies them (each rule of theirs: tests/unit/test_s3_forms.py)


def test_conditions_hold_for_what_is_stored(site: Site) -> None:
    base: list[Any] = [{"bucket": BUCKET}, ["starts-with", "$key", "user/eric/"]]
    send = site.send
    assert send({"key": "user/eric/${filename}"}, filename="a/b.txt", conditions=base).status == 204
    assert "user/eric/b.txt" in site.stored()
    refused = send({"key": "user/other/${filename}"}, filename="user/eric/x", conditions=base)
    refused.refused(403, "AccessDenied", 'Policy Condition failed: ["starts-with", "$key", "user/eric/"]')
    extra = send({"key": "user/eric/extra", "x-amz-meta-More": "1"}, conditions=base)
    extra.refused(403, "AccessDenied", "Invalid according to Policy: Extra input fields: x-amz-meta-more")
    assert send({"key": "user/eric/ignored", "x-ignore-this": "1"}, conditions=base).status == 204
    send({"key": "k"}, conditions=[{"key": "k"}]).refused(403, "AccessDenied", "Extra input fields: bucket")
    assert not {"user/other/x", "user/eric/extra", "k"} & site.stored()


@pytest.mark.parametrize("size, status", [(4, 400), (5, 204), (70_000, 204), (70_001, 400), (3 * MIB, 400)])
def test_the_size_is_within_the_range(site: Site, size: int, status: int) -> None:
    before = site.files()
    conditions = [{"bucket": BUCKET}, {"key": "ranged"}, ["content-length-range", 5, 70_000]]
    answer = site.send({"key": "ranged"}, b"x" * size, conditions=conditions)
    assert answer.status == status, answer.body
    if size > 70_000:
        answer.refused(400, "EntityTooLarge")
        assert answer.element("MaxSizeAllowed") == "70000" and int(answer.element("ProposedSize")) > 70_000
    if size < 5:
        answer.refused(400, "EntityTooSmall")
        assert (answer.element("ProposedSize"), answer.element("MinSizeAllowed")) == ("4", "5")
    if status == 400:
        assert site.files() == before


@pytest.mark.parametrize("size", [10, 100_000])
@pytest.mark.parametrize(
    "field, value, code",
    [
        ("x-amz-checksum-sha256", base64.b64encode(b"0" * 32).decode(), "BadDigest"),
        ("x-amz-checksum-sha256", "sailorjerry", "InvalidRequest"),
        ("Content-MD5", base64.b64encode(b"0" * 16).decode(), "BadDigest"),
        ("Content-MD5", "short", "InvalidDigest"),
        ("x-amz-storage-class", "COLD", "InvalidStorageClass"),
        ("tagging", "a=1", "MalformedXML"),
        ("tagging", "<!DOCTYPE x [<!ENTITY e 'x'>]><Tagging><TagSet/></Tagging>", "MalformedXML"),
        ("x-amz-meta-large", "x" * 2048, "MetadataTooLarge"),
        ("x-amz-meta-lines", "one\r\nset-cookie: two", "InvalidArgument"),
        ("Cache-Control", "one\x00", "InvalidArgument"),
        ("x-amz-meta-b d", "x", "InvalidArgument"),
    ],
)
def test_what_a_put_refuses_a_form_is_refused(site: Site, field: str, value: str, code: str, size: int) -> None:
    before = site.files()
    site.send({"key": "refused", field: value}, b"x" * size).refused(400, code)
    assert "refused" not in site.stored() and site.files() == before


# -- pages of other sites


def test_answers_to_pages_of_other_sites(site: Site) -> None:
    origin = "https://app.example.com"
    rule = {"AllowedMethods": ["POST"], "AllowedOrigins": [origin], "ExposeHeaders": ["ETag", "Location"]}
    site.s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [rule]})
    try:
        made = forms.signed(site.server.key, BUCKET, {"key": "cross"})
        broken = made | {"x-amz-signature": "0" * 64}
        for where in ({}, {"path": "/", "host": f"{BUCKET}.s3.localhost:{site.server.port}"}):
            for fields, status in ((made, 204), (broken, 403)):
                answer = site.post(forms.body(fields.items()), Origin=origin, **where)
                assert answer.status == status
                assert answer.headers["access-control-allow-origin"] == origin
                assert answer.headers["access-control-expose-headers"] == "ETag, Location"
            answer = site.post(forms.body(made.items()), Origin="https://example.org", **where)
            assert "access-control-allow-origin" not in answer.headers
    finally:
        site.s3.delete_bucket_cors(Bucket=BUCKET)
