"""Every operation of S3's model with nonsense, signed as it should be: no 5xx, no hang, no trace, and nothing is harmed.

``--rounds N`` makes more of it (requests for each operation), ``--seed N`` says it again.
"""

from __future__ import annotations

import json
import random
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

import pytest
from helpers.blobs import check_blobs
from helpers.raw import Answer, memory_mb, model, read_answer, understood
from helpers.s3_nonsense import Nonsense
from helpers.s3_wire import Ask, presign, sign
from helpers.server import ServerProcess, eventually

from sluiceway.edges.s3.router import ROUTES

ROUNDS = 60  # requests for each operation of the model: about 3,000 in 10 s
RENEWED = 25  # requests after which what is there is made anew
TIMEOUT_S = 20.0
WORKERS = 3
MIB = 1024 * 1024
#: WriteGetObjectResponse goes to a host of its own.
OPERATIONS = sorted(set(model("s3").operation_names) - {"WriteGetObjectResponse"})
HERE = {route.name for route in ROUTES.values()}
#: What no write may touch: the user who sends the nonsense is denied it.
PROTECTED = ["s3:Put*", "s3:Delete*", "s3:Replicate*", "s3:Restore*", "s3:AbortMultipartUpload", "s3:ObjectOwner*"]
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
        {"Effect": "Deny", "Action": PROTECTED, "Resource": ["arn:aws:s3:::fuzzed/kept/*", "arn:aws:s3:::fuzzed"]},
        {"Effect": "Deny", "Action": "s3:DeleteBucket", "Resource": "arn:aws:s3:::wild"},
    ],
}
#: Headers that ask for what the compatibility page says is not there.
_ASKS_MUCH = ("x-amz-server-side-encryption", "x-amz-object-lock", "x-amz-bucket-object-lock", "x-amz-grant", "x-amz-write-offset",
              "x-amz-object-ownership", "x-amz-storage-class", "x-amz-mfa")  # fmt: skip
_ASKS_MUCH_INSIDE = (
    b"<EventBridgeConfiguration",
    b"<MfaDelete>Enabled",
    b"<SelectParameters",
    b"<OutputLocation",
    b"<Type>",
)
#: Conditions that S3 has for reads, or for other kinds of buckets.
_ASKED_OF_WRITES = ("if-none-match", "x-amz-if-match-")
_WRITES = ("PutObject", "CopyObject", "CompleteMultipartUpload", "DeleteObject")
#: What can only be off.
_ONLY_OFF = ("PutBucketLogging", "PutBucketAccelerateConfiguration", "PutBucketRequestPayment")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One that keeps all that it says, and waits for no body longer than a second."""
    made = ServerProcess(tmp_path_factory.mktemp("fuzz") / "data", environment={"SLUICEWAY_HTTP__BODY_IDLE_S": "1"})
    made.lines = deque(maxlen=100_000)
    yield made.start()
    assert made.stop() == 0


class Kept:
    """Objects that no nonsense may change, and the user who sends it."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.s3 = s3 = server.client("s3")
        chance = random.Random(1)
        self.bodies = {"kept/inline": chance.randbytes(500), "kept/large": chance.randbytes(200_000)}
        for bucket in ("fuzzed", "wild"):
            s3.create_bucket(Bucket=bucket)
        for key, body in self.bodies.items():
            s3.put_object(Bucket="fuzzed", Key=key, Body=body, Metadata={"a": "b"}, Tagging="c=d", CacheControl="e")
        first, last = chance.randbytes(5 * MIB), chance.randbytes(10)
        upload = s3.create_multipart_upload(Bucket="fuzzed", Key="kept/parts")["UploadId"]
        about: dict[str, Any] = {"Bucket": "fuzzed", "Key": "kept/parts", "UploadId": upload}
        etags = [s3.upload_part(**about, PartNumber=n, Body=body)["ETag"] for n, body in ((1, first), (2, last))]
        parts = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]
        s3.complete_multipart_upload(**about, MultipartUpload={"Parts": parts})
        self.bodies["kept/parts"] = first + last
        s3.put_bucket_versioning(Bucket="fuzzed", VersioningConfiguration={"Status": "Enabled"})
        self.before = self.state()
        iam = server.client("iam")
        iam.create_user(UserName="fuzzer")
        iam.put_user_policy(UserName="fuzzer", PolicyName="p", PolicyDocument=json.dumps(POLICY))
        key = iam.create_access_key(UserName="fuzzer")["AccessKey"]
        self.key = (key["AccessKeyId"], key["SecretAccessKey"])

    def state(self) -> dict[str, Any]:
        """All that can be read of what is kept."""
        versions = self.s3.list_object_versions(Bucket="fuzzed", Prefix="kept/")
        found: dict[str, Any] = {"versions": versions["Versions"], "markers": versions.get("DeleteMarkers")}
        for key in self.bodies:
            about = self.s3.head_object(Bucket="fuzzed", Key=key)
            about.pop("ResponseMetadata")
            found[key] = about, self.s3.get_object_tagging(Bucket="fuzzed", Key=key)["TagSet"]
        return found

    def check(self) -> None:
        assert self.state() == self.before
        for key, body in self.bodies.items():
            assert self.s3.get_object(Bucket="fuzzed", Key=key)["Body"].read() == body

    def known(self) -> dict[str, list[Any]]:
        """What is there, made anew: nonsense deletes it again and again."""
        s3 = self.s3
        s3.delete_bucket_policy(Bucket="wild")
        for size, key in ((70_000, "große ☃"), (200, "victim")):
            put = s3.put_object(Bucket="wild", Key=key, Body=b"v" * size, Tagging="a=b")
        upload = s3.create_multipart_upload(Bucket="wild", Key="victim")["UploadId"]
        etag = s3.upload_part(Bucket="wild", Key="victim", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
        return {
            "Bucket": ["wild"] * 5 + ["fuzzed"] * 2 + ["missing-bucket"],
            "Key": ["victim"] * 5 + ["große ☃", "kept/inline", "kept/large", "kept/parts", "missing", "a//b", "../x", "\x01"],
            "UploadId": [upload, upload, upload, "missing"], "VersionId": [put.get("VersionId", "null"), "null", "missing", ""], "ETag": [etag],
            "IfMatch": [etag, "*"], "CopySource": ["fuzzed/kept/inline", "fuzzed/kept/large", "fuzzed/kept/parts", "wild/victim", "missing/x"],
            "PartNumber": [1, 1, 2, 10_000, 0], "Policy": ['{"Statement": 5}', '{"Statement": [{"Effect": "Deny"}]}', "[" * 5000],
            "Range": ["bytes=0-9", "bytes=-5", "bytes=100000-200000"], "Tagging": ["a=b", {"TagSet": [{"Key": "a", "Value": "b"}]}],
            "ContinuationToken": ["", "AAAA", "YQ==", "!"], "ExpectedBucketOwner": ["000000000000"], "ChecksumAlgorithm": ["CRC32"],
            "ExpectedSourceBucketOwner": ["000000000000"], "MaxKeys": [0, 1, 2, 1000],
        }  # fmt: skip


@pytest.fixture(scope="module")
def kept(server: ServerProcess) -> Kept:
    return Kept(server)


def ask(server: ServerProcess, made: Ask) -> Answer | None:
    """The answer; None if there was none, which is right only for who hung up before the body's end."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S) as connection:
        try:
            connection.sendall(made.wire())
            answer = read_answer(connection, made.method)
        except (BrokenPipeError, ConnectionResetError):
            return None
    answer.seconds = time.monotonic() - began
    return answer


def may_be_missing(operation: str, made: Ask, same: bool) -> bool:
    """Whether NotImplemented is an answer: to an operation that is not there, or to a word that asks for one."""
    much = any(name.lower().startswith(_ASKS_MUCH) for name, _ in made.headers)
    much = much or any(word in made.body for word in _ASKS_MUCH_INSIDE) or operation in _ONLY_OFF
    much = much or (operation in _WRITES and any(name.lower().startswith(_ASKED_OF_WRITES) for name, _ in made.headers))
    return operation not in HERE or not same or much or "ECDSA" in (made.payload or "")


def wrong(operation: str, made: Ask, same: bool, answer: Answer | None) -> str:
    """What is wrong with the answer, or ""."""
    if answer is None:
        return "" if made.length not in ("",) or len(made.body) > 0 else "no answer"
    shown = f"{answer.status} {answer.code} {answer.message[:200]} {answer.body[:200]!r}"
    if answer.seconds > TIMEOUT_S:
        return f"it took {answer.seconds:.1f} s: {shown}"
    try:
        answer.check()
    except AssertionError as error:
        return f"{error}"
    if b"sluiceway" in answer.body.lower() and b"/_sluiceway" not in made.path and answer.status >= 400:
        return f"internal names: {shown}"
    if answer.status == 501 and not may_be_missing(operation, made, same):
        return f"not implemented: {shown}"
    if answer.status >= 500 and answer.status != 501:
        return shown
    if answer.status >= 400 and not answer.code and made.method != "HEAD" and b"/_sluiceway" not in made.path:
        return f"no code: {shown}"
    return ""


def rounds_for(
    server: ServerProcess, kept: Kept, operation: str, seed: int, rounds: int
) -> tuple[Counter[int], list[str]]:
    rounds = rounds if operation in HERE else rounds // 8 + 2
    often = 5 if "Upload" in operation else RENEWED
    nonsense = Nonsense(random.Random(f"{seed} {operation}"), {})
    host, statuses, failures = f"127.0.0.1:{server.port}", Counter[int](), []
    codes = Counter[str]()
    for number in range(rounds):
        if number % often == 0:
            nonsense.known = kept.known()
        made, same = nonsense.request(operation, spoil=number > rounds // 4)
        try:
            signer = presign if number % 7 == 6 else sign
            answer = ask(server, signer(made, host, kept.key))
            answer = understood("s3", operation, answer) if answer is not None and made.method != "HEAD" else answer
            found = wrong(operation, made, same, answer)
        except TimeoutError:
            answer, found = None, "it hangs"
        except Exception as error:  # an answer that its reader can't make sense of
            answer, found = None, repr(error)
        statuses[answer.status if answer else 0] += 1
        codes[answer.code if answer else ""] += 1
        if found:
            failures.append(f"{operation} #{number}: {found}\n  {made.wire()[:900]!r}")
    print(operation, dict(codes))
    return statuses, failures


def test_nonsense_is_the_clients_error_and_harms_nothing(
    server: ServerProcess, kept: Kept, request: pytest.FixtureRequest
) -> None:
    seed = request.config.getoption("--seed")
    rounds = request.config.getoption("--rounds") or ROUNDS
    seed = 20_240_601 if seed is None else seed
    statuses, failures = Counter[int](), []
    began = time.monotonic()
    with ThreadPoolExecutor(WORKERS) as pool:
        for counted, failed in pool.map(lambda name: rounds_for(server, kept, name, seed, rounds), OPERATIONS):
            statuses += counted
            failures += failed
    print(f"{sum(statuses.values())} requests in {time.monotonic() - began:.1f} s: {dict(statuses)}")
    assert statuses[200] > rounds and statuses[400] > rounds, statuses
    assert not failures, f"seed {seed}, {len(failures)} wrong answers\n" + "\n".join(failures[:12])
    logged = [n for n, line in enumerate(server.lines) if "Traceback" in line or " ERROR " in line]
    assert not logged, f"seed {seed}\n" + "\n".join("\n".join(list(server.lines)[n : n + 30]) for n in logged[:3])


def test_nonsense_in_forms(server: ServerProcess, kept: Kept, request: pytest.FixtureRequest) -> None:
    seed = request.config.getoption("--seed")
    seed = 20_240_601 if seed is None else seed
    nonsense = Nonsense(random.Random(f"{seed} forms"), kept.known())
    statuses, failures, codes = Counter[int](), [], Counter[str]()
    for number in range((request.config.getoption("--rounds") or ROUNDS) * 10):
        if number % RENEWED == 0:
            kept.known()
        made = nonsense.form(f"127.0.0.1:{server.port}", kept.key)
        answer = ask(server, made)
        answer = understood("s3", "PutObject", answer) if answer else None
        statuses[answer.status if answer else 0] += 1
        codes[answer.code if answer else ""] += 1
        if found := wrong("PutObject", made, False, answer):
            failures.append(f"#{number}: {found}\n  {made.wire()[:1500]!r}")
    print(dict(statuses), dict(codes))
    assert statuses[204] > 20 and statuses[400] > 20, statuses
    assert not failures, f"seed {seed}, {len(failures)} wrong answers\n" + "\n".join(failures[:12])


def test_afterwards_everything_still_works(server: ServerProcess, kept: Kept) -> None:
    s3 = kept.s3
    for bucket in ("fuzzed", "wild"):
        s3.delete_bucket_policy(Bucket=bucket)
    kept.check()
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket="wild"):
        for row in page.get("Contents", []):
            about = {"Bucket": "wild", "Key": row["Key"]}
            got = s3.get_object(**about)
            assert len(got["Body"].read()) == row["Size"] and got["ETag"] == row["ETag"]
            s3.get_object_tagging(**about)
            s3.delete_object(**about)
    pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket="wild", EncodingType="url")
    for row in [row for page in pages for row in page.get("Uploads", [])]:
        upload = {"Bucket": "wild", "Key": unquote(row["Key"]), "UploadId": row["UploadId"]}
        s3.list_parts(**upload)
        s3.abort_multipart_upload(**upload)
    s3.put_object(Bucket="wild", Key="after", Body=b"x" * 100_000)
    for page in s3.get_paginator("list_object_versions").paginate(Bucket="wild"):
        for row in page.get("Versions", []) + page.get("DeleteMarkers", []):
            s3.delete_object(Bucket="wild", Key=row["Key"], VersionId=row["VersionId"])
    s3.delete_bucket(Bucket="wild")
    eventually(lambda: _blobs_are_right(server))
    assert memory_mb(server) < 300


def _blobs_are_right(server: ServerProcess) -> bool:
    try:
        check_blobs(server.data)
    except AssertionError:
        return False
    return True
