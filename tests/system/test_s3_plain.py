"""A request whose headers say nothing special is answered at a glance, and as every other one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from helpers.raw import Answer, exchange
from helpers.s3_wire import Ask, sign
from helpers.server import ServerProcess

BUCKET = "plain-and-not"
BODY = b"a small picture"
#: Different in every answer.
PASSING = {"date", "x-amz-request-id"}

Put = Callable[..., Any]

#: How an object is made; each is small, so that it is kept in the store.
OBJECTS: dict[str, Callable[[Put], Any]] = {
    "nothing said": lambda put: put(Key="nothing said"),
    "empty": lambda put: put(Key="empty", Body=b""),
    "archived": lambda put: put(Key="archived", StorageClass="GLACIER"),
    "deep": lambda put: put(Key="deep", StorageClass="DEEP_ARCHIVE"),
    "infrequent": lambda put: put(Key="infrequent", StorageClass="STANDARD_IA"),
    "described": lambda put: put(
        Key="described", ContentType="image/png", CacheControl="no-cache", Metadata={"a": "b"}, Tagging="x=1"
    ),
    "checked": lambda put: put(Key="checked", ChecksumAlgorithm="SHA256"),
    "encrypted": lambda put: put(Key="encrypted", ServerSideEncryption="aws:kms"),
    "expiring/soon": lambda put: put(Key="expiring/soon"),
}


@pytest.fixture(scope="module", params=["", "Enabled"], ids=["plain bucket", "versions"])
def bucket(server: ServerProcess, request: pytest.FixtureRequest) -> str:
    s3 = server.client("s3")
    name = f"{BUCKET}-{request.param.lower() or 'none'}"
    s3.create_bucket(Bucket=name)
    if request.param:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": request.param})
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "expiring/"}, "Expiration": {"Days": 1}}
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [rule]})
    for make in OBJECTS.values():
        make(lambda **given: s3.put_object(**{"Bucket": name, "Body": BODY} | given))
    return name


def ask(server: ServerProcess, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    about = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    asked = sign(Ask(method, path.encode(), b"", body, about), f"127.0.0.1:{server.port}", server.key)
    return exchange(server, asked.wire(), method)


def told(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """What does not change from one answer to the next."""
    body = b"" if answer.status >= 400 else answer.body  # errors carry the request's id
    return answer.status, {name: value for name, value in answer.headers.items() if name not in PASSING}, body


@pytest.mark.parametrize("key", [*OBJECTS, "not there"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_plain_read_is_answered_as_any_other(server: ServerProcess, bucket: str, key: str, method: str) -> None:
    path = f"/{bucket}/{key.replace(' ', '%20')}"
    plain, other = (ask(server, method, path, **more) for more in ({}, {"x_nobody_knows": "this"}))
    assert told(plain) == told(other)
    archived = method == "GET" and key in ("archived", "deep")
    assert plain.status == (404 if key == "not there" else 403 if archived else 200)
    if key == "expiring/soon":
        assert 'rule-id="r"' in plain.headers["x-amz-expiration"]


def test_a_plain_write_is_done_as_any_other(server: ServerProcess, bucket: str) -> None:
    path = f"/{bucket}/expiring/written"
    answers = []
    for more in ({}, {"x_nobody_knows": "this"}):
        written = told(ask(server, "PUT", path, BODY, **more))
        read = told(ask(server, "GET", path, x_amz_checksum_mode="ENABLED"))
        for _, headers, _ in (written, read):
            headers.pop("x-amz-version-id", None)
            headers.pop("last-modified", None)
        answers.append((written, read))
    assert answers[0] == answers[1]
    assert answers[0][1][0] == 200 and answers[0][1][2] == BODY
