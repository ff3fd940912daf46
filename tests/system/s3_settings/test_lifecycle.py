"""Lifecycle rules by boto3."""

from __future__ import annotations

import hashlib
import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from helpers.s3_settings import lower_headers, multipart, names, put_rules, queue_of, received, refused, rule
from helpers.server import ServerProcess, eventually

PAST = datetime(2020, 1, 1, tzinfo=UTC)


# -- lifecycle


def test_a_configuration_comes_back_as_it_went(s3: Any, bucket: str) -> None:
    refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    rules = [
        rule(ID="all", Expiration={"Date": datetime(2099, 2, 28, tzinfo=UTC)}),
        rule(ID="prefix", Filter={"Prefix": "logs/"}, Transitions=[{"Days": 0, "StorageClass": "GLACIER_IR"}]),
        rule(
            ID="and",
            Status="Disabled",
            Filter={"And": {"Prefix": "", "Tags": [{"Key": "a", "Value": "b"}], "ObjectSizeGreaterThan": 5}},
            NoncurrentVersionExpiration={"NoncurrentDays": 3, "NewerNoncurrentVersions": 2},
            NoncurrentVersionTransitions=[{"NoncurrentDays": 1, "StorageClass": "GLACIER"}],
        ),
        rule(ID="uploads", Filter={"Prefix": "x"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 7}),
        rule(ID="markers", Expiration={"ExpiredObjectDeleteMarker": True}),
        rule(ID="size", Filter={"ObjectSizeLessThan": 9}, Expiration={"Days": 2}),
        rule(ID="tag", Filter={"Tag": {"Key": "k", "Value": ""}}, Expiration={"Days": 2}),
    ]
    assert put_rules(s3, bucket, *rules)["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    kept = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert kept["Rules"] == rules
    assert kept["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    put_rules(s3, bucket, *rules, TransitionDefaultMinimumObjectSize="varies_by_storage_class")
    kept = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert kept["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    older = {"Status": "Enabled", "Prefix": "old/", "Expiration": {"Days": 1}}
    put_rules(s3, bucket, older)
    kept = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert len(kept[0].pop("ID")) == 48 and kept == [older]
    s3.delete_bucket_lifecycle(Bucket=bucket)
    s3.delete_bucket_lifecycle(Bucket=bucket)
    refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    with pytest.raises(ClientError, match="TransitionDefaultMinimumObjectSize found: some"):
        put_rules(s3, bucket, older, TransitionDefaultMinimumObjectSize="some")


def test_answers_say_when_an_object_goes(s3: Any, bucket: str) -> None:
    put_rules(
        s3,
        bucket,
        rule(ID="week äöü", Filter={"Prefix": "logs/"}, Expiration={"Days": 7}),
        rule(ID="tagged", Filter={"Tag": {"Key": "temp", "Value": "yes"}}, Expiration={"Days": 1}),
        rule(ID="uploads", AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}),
    )
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    week = (day + timedelta(days=8)).strftime("%a, %d %b %Y 00:00:00 GMT")
    expected = f'expiry-date="{week}", rule-id="week %C3%A4%C3%B6%C3%BC"'
    put = s3.put_object(Bucket=bucket, Key="logs/a", Body=b"x")
    got = s3.get_object(Bucket=bucket, Key="logs/a")
    head = s3.head_object(Bucket=bucket, Key="logs/a")
    copy = s3.copy_object(Bucket=bucket, Key="logs/b", CopySource=f"{bucket}/logs/a")
    parts = multipart(s3, bucket, "logs/c", b"x")
    assert [answer["Expiration"] for answer in (put, got, head, copy, parts)] == [expected] * 5
    assert "Expiration" not in s3.put_object(Bucket=bucket, Key="other", Body=b"x")
    s3.put_object_tagging(Bucket=bucket, Key="logs/a", Tagging={"TagSet": [{"Key": "temp", "Value": "yes"}]})
    assert 'rule-id="tagged"' in s3.head_object(Bucket=bucket, Key="logs/a")["Expiration"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="any")
    assert upload["AbortDate"] == day + timedelta(days=3) and upload["AbortRuleId"] == "uploads"
    listed = s3.list_parts(Bucket=bucket, Key="any", UploadId=upload["UploadId"])
    assert (listed["AbortDate"], listed["AbortRuleId"]) == (upload["AbortDate"], "uploads")


def test_rules_are_carried_out_and_told(server: ServerProcess, s3: Any, bucket: str) -> None:
    receive = queue_of(server, s3, bucket, "s3:LifecycleExpiration:*", "s3:LifecycleTransition")
    for key in ("old/1", "old/2", "kept", "cold/1"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x" * 10)
    before = s3.head_object(Bucket=bucket, Key="cold/1")
    put_rules(
        s3,
        bucket,
        rule(ID="old", Filter={"Prefix": "old/"}, Expiration={"Date": PAST}),
        rule(
            ID="cold",
            Filter={"And": {"Prefix": "cold/", "ObjectSizeGreaterThan": 1}},
            Transitions=[{"Date": PAST, "StorageClass": "GLACIER_IR"}],
        ),
    )

    def classes() -> dict[str, str]:
        return {row["Key"]: row["StorageClass"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]}

    eventually(lambda: classes() == {"cold/1": "GLACIER_IR", "kept": "STANDARD"})
    after = s3.head_object(Bucket=bucket, Key="cold/1")
    assert after["StorageClass"] == "GLACIER_IR"
    assert (after["ETag"], after["LastModified"]) == (before["ETag"], before["LastModified"])
    assert s3.get_object(Bucket=bucket, Key="cold/1")["Body"].read() == b"x" * 10
    records: list[Any] = []
    eventually(lambda: records.extend(receive()) or len(records) == 3)
    for record in records:
        assert record["eventVersion"] == "2.3" and record["userIdentity"] == {"principalId": "s3.amazonaws.com"}
        assert record["requestParameters"] == {"sourceIPAddress": "s3.amazonaws.com"}
    told = {record["s3"]["object"]["key"]: record for record in records}
    assert told["old/1"]["eventName"] == told["old/2"]["eventName"] == "LifecycleExpiration:Delete"
    assert told["cold/1"]["eventName"] == "LifecycleTransition"
    assert told["cold/1"]["lifecycleEventData"] == {"transitionEventData": {"destinationStorageClass": "GLACIER_IR"}}
    assert "size" not in told["old/1"]["s3"]["object"] and told["cold/1"]["s3"]["object"]["size"] == 10


def test_versions_get_markers_and_markers_go(server: ServerProcess, s3: Any, bucket: str) -> None:
    receive = queue_of(server, s3, bucket, "s3:LifecycleExpiration:*")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    kept = [s3.put_object(Bucket=bucket, Key="a", Body=b"x")["VersionId"] for _ in range(2)]
    s3.put_object(Bucket=bucket, Key="gone", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="gone", VersionId=s3.head_object(Bucket=bucket, Key="gone")["VersionId"])
    lonely = s3.delete_object(Bucket=bucket, Key="gone")["VersionId"]
    put_rules(
        s3, bucket,
        rule(ID="a", Filter={"Prefix": "a"}, Expiration={"Date": PAST}),
        rule(ID="m", Filter={"Prefix": ""}, Expiration={"ExpiredObjectDeleteMarker": True}),
    )  # fmt: skip
    records: list[Any] = []
    eventually(lambda: records.extend(receive()) or len(records) == 2)
    listed = s3.list_object_versions(Bucket=bucket)
    assert [row["VersionId"] for row in listed["Versions"]] == kept[::-1]
    (marker,) = listed["DeleteMarkers"]
    assert marker["Key"] == "a" and marker["IsLatest"]
    told = {record["eventName"]: record["s3"]["object"] for record in records}
    assert told["LifecycleExpiration:DeleteMarkerCreated"]["versionId"] == marker["VersionId"]
    assert told["LifecycleExpiration:Delete"] | {"sequencer": ""} == {
        "key": "gone",
        "versionId": lonely,
        "sequencer": "",
    }


@pytest.mark.parametrize("seed", range(3))
def test_rules_go_on_after_a_kill(tmp_path: Path, seed: int) -> None:
    """Killed again and again while a run is under way: each object goes once, with one event."""
    random_ = random.Random(seed)
    slow = {"SLUICEWAY_OBJECTS__LIFECYCLE_ROWS_MAX": "2", "SLUICEWAY_OBJECTS__LIFECYCLE_BATCH": "1"}
    server = ServerProcess(tmp_path / "data", environment=slow).start()
    try:
        s3 = server.client("s3")
        s3.create_bucket(Bucket="many")
        queue_of(server, s3, "many", "s3:LifecycleExpiration:*")
        keys = [f"{n:03d}" for n in range(150)]
        for key in keys:
            s3.put_object(Bucket="many", Key=key, Body=b"x" if key < "140" else b"x" * 100_000)
        put_rules(s3, "many", rule(Expiration={"Date": PAST}))
        left, killed_at = [], []
        for most in (145, 110, 75, 40):

            def some_are_gone(most: int = most, s3: Any = s3) -> bool:
                killed_at.append(s3.list_objects_v2(Bucket="many")["KeyCount"])
                return killed_at[-1] <= most

            eventually(some_are_gone, every=0.01)
            time.sleep(random_.uniform(0.0, 0.05))
            server.kill()
            server.start()
            s3 = server.client("s3")
            left.append(s3.list_objects_v2(Bucket="many")["KeyCount"])
        eventually(lambda: s3.list_objects_v2(Bucket="many")["KeyCount"] == 0, 60)
        assert left == sorted(left, reverse=True) and any(0 < count < 150 for count in killed_at), (left, killed_at)
        records = received(server, "many")
        assert [record["s3"]["object"]["key"] for record in records] == keys
        eventually(lambda: not [path for path in (server.data / "blobs").rglob("*") if path.is_file()])
    finally:
        server.kill()


# -- hostile


def raw_put(server: ServerProcess, path: str, body: bytes) -> tuple[int, bytes]:
    """A signed PUT of bytes that no client would send."""
    key, secret = server.key
    url = f"{server.url}{path}"
    request = AWSRequest("PUT", url, data=body, headers={"x-amz-content-sha256": hashlib.sha256(body).hexdigest()})
    S3SigV4Auth(Credentials(key, secret), "s3", "us-east-1").add_auth(request)
    answer = urllib3.request("PUT", url, body=body, headers=dict(request.headers.items()))
    return answer.status, answer.data


_LIFECYCLE = "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter/>%s</Rule></LifecycleConfiguration>"


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("MalformedXML", ""),
        ("MalformedXML", "<LifecycleConfiguration/>"),
        ("MalformedXML", "<LifecycleConfiguration><Rule/></LifecycleConfiguration>"),
        ("MalformedXML", "<LifecycleConfiguration>"),
        ("MalformedXML", _LIFECYCLE % "<Expiration/>"),
        ("MalformedXML", _LIFECYCLE % "<Expiration><Days/></Expiration>"),
        ("MalformedXML", _LIFECYCLE % "<Expiration><Days>one</Days></Expiration>"),
        ("MalformedXML", _LIFECYCLE % f"<Expiration><Days>{'9' * 5000}</Days></Expiration>"),
        ("MalformedXML", _LIFECYCLE % f"<Expiration><Days>-{'9' * 30}</Days></Expiration>"),
        ("InvalidArgument", _LIFECYCLE % "<Expiration><Days>-2147483648</Days></Expiration>"),
        ("MalformedXML", _LIFECYCLE % "<Expiration><Days>1.5</Days></Expiration>"),
        ("MalformedXML", _LIFECYCLE % "<Expiration><Date>tomorrow</Date></Expiration>"),
        ("MalformedXML", _LIFECYCLE % "<Expiration><Date>2026-13-45T00:00:00Z</Date></Expiration>"),
        ("InvalidArgument", _LIFECYCLE % "<Expiration><Date>2026-01-01T00:00:01Z</Date></Expiration>"),
        ("MalformedXML", _LIFECYCLE % "<Transition><Days>1</Days><StorageClass>&#x1F600;</StorageClass></Transition>"),
        ("MalformedXML", _LIFECYCLE % "<Transition/>"),
        ("MalformedXML", _LIFECYCLE % "<NoncurrentVersionTransition/>"),
        ("MalformedXML", _LIFECYCLE % "<NoncurrentVersionExpiration/>"),
        ("MalformedXML", _LIFECYCLE % "<AbortIncompleteMultipartUpload/>"),
        ("InvalidRequest", _LIFECYCLE % "<Unknown/>"),
        ("MalformedXML", "<LifecycleConfiguration>" + "<Rule><Rule>" * 5000),
        ("MalformedXML", "<LifecycleConfiguration>" + "<Rule></Rule>" * 20_000 + "</LifecycleConfiguration>"),
    ],
)
def test_lifecycle_documents_that_are_odd(server: ServerProcess, s3: Any, code: str, body: str) -> None:
    if "odd-documents" not in names(s3):
        s3.create_bucket(Bucket="odd-documents")
    status, answer = raw_put(server, "/odd-documents?lifecycle=", body.encode())
    assert status == 400 and f"<Code>{code}</Code>".encode() in answer, answer
    refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket="odd-documents")


@pytest.mark.parametrize("date", ["1890-01-01T00:00:00Z", "1969-12-31T00:00:00Z", "9999-12-31T00:00:00Z", "2030-02-28"])
def test_far_dates_are_told_and_carried_out(server: ServerProcess, s3: Any, bucket: str, date: str) -> None:
    body = _LIFECYCLE % f"<Expiration><Date>{date}</Date></Expiration>"
    status, answer = raw_put(server, f"/{bucket}?lifecycle=", body.encode())
    assert status == 200, answer
    [kept] = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert kept["Expiration"]["Date"].strftime("%Y").zfill(4) == date[:4]
    assert "Expiration" in s3.put_object(Bucket=bucket, Key="a", Body=b"x")


def test_a_rule_s_name_can_not_break_out_of_its_header(server: ServerProcess, s3: Any, bucket: str) -> None:
    odd = "a&#13;&#10;x-evil: 1&quot;&#x1F600;"
    body = _LIFECYCLE % f"<ID>{odd}</ID><Expiration><Days>2147483647</Days></Expiration>"
    assert raw_put(server, f"/{bucket}?lifecycle=", body.encode())[0] == 200
    put = s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    assert 'expiry-date="Fri, 31 Dec 9999' in put["Expiration"]
    assert put["Expiration"].endswith('rule-id="a%0D%0Ax-evil: 1%22%F0%9F%98%80"')
    assert "x-evil" not in lower_headers(put)
