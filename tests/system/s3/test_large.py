"""Uploads in parts, many clients at once, and large bodies."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from helpers.s3_system import drain, open_queue, refused, trailing
from helpers.server import ServerProcess, eventually

MIB = 1024 * 1024


# -- multipart


def test_a_large_file_goes_up_in_parts(s3: Any, bucket: str, tmp_path: Path) -> None:
    body = random.Random(5).randbytes(40 * MIB + 12345)
    (tmp_path / "large").write_bytes(body)
    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=5)
    s3.upload_file(str(tmp_path / "large"), bucket, "large", Config=config, ExtraArgs={"Metadata": {"a": "b"}})
    head = s3.head_object(Bucket=bucket, Key="large", PartNumber=2)
    assert head["PartsCount"] == 6 and head["ContentLength"] == 8 * MIB and head["Metadata"] == {"a": "b"}
    parts = [body[at : at + 8 * MIB] for at in range(0, len(body), 8 * MIB)]
    digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    assert head["ETag"] == f'"{digest}-6"'
    s3.download_file(bucket, "large", str(tmp_path / "back"), Config=config)
    assert (tmp_path / "back").read_bytes() == body
    border = s3.get_object(Bucket=bucket, Key="large", Range=f"bytes={8 * MIB - 10}-{16 * MIB + 9}")
    assert border["Body"].read() == body[8 * MIB - 10 : 16 * MIB + 10]
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")
    s3.copy_object(Bucket=bucket, Key="whole", CopySource=f"{bucket}/large")
    whole = s3.get_object(Bucket=bucket, Key="whole")
    assert whole["ETag"] == f'"{hashlib.md5(body).hexdigest()}"' and whole["Body"].read() == body


def test_the_steps_of_a_multipart_upload(server: ServerProcess, s3: Any, bucket: str) -> None:
    source = random.Random(6).randbytes(6 * MIB)
    s3.put_object(Bucket=bucket, Key="source", Body=source)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m/ü", ContentType="text/m", Metadata={"x": "y"})
    where = {"Bucket": bucket, "Key": "m/ü", "UploadId": upload["UploadId"]}
    assert [row["Key"] for row in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["m/ü"]
    one = s3.upload_part(**where, PartNumber=1, Body=source[: 5 * MIB])["ETag"]
    s3.upload_part(**where, PartNumber=3, Body=b"to be replaced")
    copied = s3.upload_part_copy(
        **where, PartNumber=2, CopySource=f"{bucket}/source", CopySourceRange=f"bytes=0-{5 * MIB - 1}"
    )
    two = copied["CopyPartResult"]["ETag"]
    three = s3.upload_part(**where, PartNumber=3, Body=b"the end")["ETag"]
    rows = s3.list_parts(**where)["Parts"]
    assert [(row["PartNumber"], row["Size"], row["ETag"]) for row in rows] == [
        (1, 5 * MIB, one), (2, 5 * MIB, two), (3, 7, three),
    ]  # fmt: skip
    page = s3.list_parts(**where, MaxParts=1, PartNumberMarker=1)
    assert page["IsTruncated"] and page["NextPartNumberMarker"] == 2
    page = s3.list_parts(**where, MaxParts=0)
    assert not page["IsTruncated"] and "Parts" not in page
    refused("404", s3.head_object, Bucket=bucket, Key="m/ü")

    def complete(*parts: tuple[int, str]) -> dict[str, Any]:
        chosen = [{"PartNumber": number, "ETag": etag} for number, etag in parts]
        return {**where, "MultipartUpload": {"Parts": chosen}}

    finish = s3.complete_multipart_upload
    refused("InvalidPart", finish, **complete((1, one), (2, '"d41d8cd98f00b204e9800998ecf8427e"')))
    refused("InvalidPart", finish, **complete((1, one), (4, three)))
    refused("InvalidPartOrder", finish, **complete((2, two), (1, one)))
    refused("InvalidPartOrder", finish, **complete((1, one), (1, one)))
    small = s3.upload_part(**where, PartNumber=2, Body=b"small")["ETag"]
    refused("EntityTooSmall", finish, **complete((1, one), (2, small), (3, three)))
    refused("MalformedXML", finish, **complete())
    answer = finish(**complete((1, one), (3, three)))
    body = source[: 5 * MIB] + b"the end"
    got = s3.get_object(Bucket=bucket, Key="m/ü")
    assert got["Body"].read() == body and got["ETag"] == answer["ETag"] and got["ETag"].endswith('-2"')
    assert got["ContentType"] == "text/m" and got["Metadata"] == {"x": "y"}
    refused("NoSuchUpload", s3.list_parts, **where)
    refused("NoSuchUpload", s3.upload_part, **where, PartNumber=1, Body=b"x")


def test_a_part_is_copied_of_what_the_source_has(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=b"0123456789")
    where = {"Bucket": bucket, "Key": "made", "PartNumber": 1, "CopySource": f"{bucket}/source"}
    where["UploadId"] = s3.create_multipart_upload(Bucket=bucket, Key="made")["UploadId"]
    for text in ("bytes=0-10", "bytes=10-10", "bytes=20-30", f"bytes=0-{'9' * 5000}"):
        error = refused("InvalidArgument", s3.upload_part_copy, **where, CopySourceRange=text)["Error"]
        assert error["Message"] == "Range specified is not valid for source object of size: 10"
    for text in ("bytes=5-2", "bytes=0-", "bytes=-5", "0-5", "bytes=0-1,3-4", "bytes=\u0661-\u0662"):
        error = refused(
            "InvalidArgument", s3.upload_part_copy, **where, CopySourceRange=text.encode().decode("latin-1")
        )
        assert error["Error"]["Message"].startswith("The x-amz-copy-source-range value must be of the form"), text
    etag = s3.upload_part_copy(**where, CopySourceRange="bytes=3-9")["CopyPartResult"]["ETag"]
    assert etag == f'"{hashlib.md5(b"3456789").hexdigest()}"'


@pytest.mark.parametrize(
    "algorithm, kind",
    [("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("CRC32C", "COMPOSITE"), ("CRC64NVME", "FULL_OBJECT"),
     ("SHA1", "COMPOSITE"), ("SHA256", "COMPOSITE"), (None, "FULL_OBJECT")],
)  # fmt: skip
def test_checksums_of_parts(server: ServerProcess, s3: Any, bucket: str, algorithm: str | None, kind: str) -> None:
    named = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    chosen = {**named, "ChecksumType": kind} if algorithm else {}
    where = {"Bucket": bucket, "Key": "sum"}
    where["UploadId"] = s3.create_multipart_upload(**where, **chosen)["UploadId"]
    bodies, parts, member = (
        (random.Random(9).randbytes(5 * MIB), b"the rest"),
        [],
        f"Checksum{algorithm or 'CRC64NVME'}",
    )
    for number, (client, body) in enumerate(zip((trailing(server), s3), bodies, strict=True), 1):
        answer = client.upload_part(**where, PartNumber=number, Body=body, **named)
        parts.append({"PartNumber": number, "ETag": answer["ETag"], **({member: answer[member]} if algorithm else {})})
        if not algorithm:
            refused("BadDigest", s3.upload_part, **where, PartNumber=number, Body=body, ChecksumCRC32="AAAAAA==")
    if algorithm:
        wrong = [{**parts[0], member: parts[1][member]}, parts[1]]
        refused("InvalidPart", s3.complete_multipart_upload, **where, MultipartUpload={"Parts": wrong})
        other = "SHA1" if algorithm != "SHA1" else "SHA256"
        refused("InvalidRequest", s3.upload_part, **where, PartNumber=1, Body=b"x", ChecksumAlgorithm=other)
    done = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
    again = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
    assert again["ETag"] == done["ETag"], "an answer that was lost can be asked for again"
    found = s3.head_object(Bucket=bucket, Key="sum", ChecksumMode="ENABLED")
    assert found[member] == done[member] and found["ChecksumType"] == kind
    if kind == "COMPOSITE":
        assert found[member].endswith("-2")
    else:
        whole = s3.put_object(
            Bucket=bucket, Key="whole", Body=b"".join(bodies), ChecksumAlgorithm=algorithm or "CRC64NVME"
        )
        assert whole[member] == found[member]
    where["UploadId"] = s3.create_multipart_upload(Bucket=bucket, Key="sum")["UploadId"]
    etag = s3.upload_part(**where, PartNumber=1, Body=b"x")["ETag"]
    only = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    refused("PreconditionFailed", s3.complete_multipart_upload, **where, MultipartUpload=only, IfNoneMatch="*")
    s3.abort_multipart_upload(**where)


def test_a_composite_checksum_may_be_promised_without_its_number_of_parts(s3: Any, bucket: str) -> None:
    """As MinIO's client does, which sums the parts' checksums up by itself."""
    bodies = [random.Random(4).randbytes(5 * MIB), b"the rest"]
    sums = [hashlib.sha256(body).digest() for body in bodies]
    whole = base64.b64encode(hashlib.sha256(b"".join(sums)).digest()).decode()
    for promised, good in (
        (whole, True),
        (f"{whole}-2", True),
        (f"{whole}-3", False),
        (f"A{whole[1:]}", whole[0] == "A"),
    ):
        where = {"Bucket": bucket, "Key": "sum"}
        where["UploadId"] = s3.create_multipart_upload(**where, ChecksumAlgorithm="SHA256")["UploadId"]
        parts = []
        for number, body in enumerate(bodies, 1):
            etag = s3.upload_part(**where, PartNumber=number, Body=body, ChecksumAlgorithm="SHA256")["ETag"]
            sum_ = base64.b64encode(sums[number - 1]).decode()
            parts.append({"PartNumber": number, "ETag": etag, "ChecksumSHA256": sum_})
        chosen = {**where, "MultipartUpload": {"Parts": parts}, "ChecksumSHA256": promised}
        if good:
            assert s3.complete_multipart_upload(**chosen)["ChecksumSHA256"] == f"{whole}-2"
        else:
            refused("BadDigest", s3.complete_multipart_upload, **chosen)
            s3.abort_multipart_upload(**where)


def test_completions_and_abortions_at_once_make_one_object_or_none(server: ServerProcess, s3: Any, bucket: str) -> None:
    url, arn = open_queue(server, "completions", bucket)
    rule = {"QueueArn": arn, "Events": ["s3:ObjectCreated:CompleteMultipartUpload"]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]})
    drain(server, url)
    before = eventually_still(server)
    made = []
    for number in range(10):
        where = {"Bucket": bucket, "Key": f"k{number}"}
        where["UploadId"] = s3.create_multipart_upload(**where)["UploadId"]
        parts = [{"PartNumber": 1, "ETag": s3.upload_part(**where, PartNumber=1, Body=b"x")["ETag"]}]

        def finish(n: int, where: dict[str, str] = where, parts: list[Any] = parts) -> bool:
            try:
                if n == 3:
                    s3.abort_multipart_upload(**where)
                    return False
                return bool(s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}))
            except s3.exceptions.NoSuchUpload:
                return False

        with ThreadPoolExecutor(6) as pool:
            if any(pool.map(finish, range(6))):
                made.append(where["Key"])
    assert [row["Key"] for row in s3.list_objects_v2(Bucket=bucket).get("Contents", [])] == made
    assert [message["Records"][0]["s3"]["object"]["key"] for message in drain(server, url)] == made
    eventually(lambda: len(blob_files(server)) == len(before) + len(made))


def test_an_aborted_upload_leaves_nothing(server: ServerProcess, s3: Any, bucket: str) -> None:
    before = eventually_still(server)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="gone")["UploadId"]
    where = {"Bucket": bucket, "Key": "gone", "UploadId": upload}
    for number in (0, 10_001):
        refused("InvalidArgument", s3.upload_part, **where, PartNumber=number, Body=b"x")
    for number in (1, 2, 10_000):
        s3.upload_part(**where, PartNumber=number, Body=os.urandom(100_000))
    assert len(blob_files(server)) == len(before) + 3
    s3.abort_multipart_upload(**where)
    eventually(lambda: blob_files(server) == before)
    refused("NoSuchUpload", s3.abort_multipart_upload, **where)
    refused(
        "NoSuchUpload",
        s3.complete_multipart_upload,
        **where,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "x"}]},
    )
    refused("NoSuchUpload", s3.list_parts, Bucket=bucket, Key="gone", UploadId="../../etc/passwd")


def blob_files(server: ServerProcess) -> set[str]:
    """Every file that the server keeps bytes of objects in, finished or not."""
    return {str(path) for path in (server.data / "blobs").rglob("*") if path.is_file()}


def eventually_still(server: ServerProcess) -> set[str]:
    """The blobs, once no more of them come or go."""
    found: list[set[str]] = [set()]

    def still() -> bool:
        found.append(blob_files(server))
        return found[-1] == found[-2]

    eventually(still, every=0.2)
    return found[-1]


# -- at once, and much


ENOUGH = 100


class Everyone:
    """Thirty-two threads that put, get and delete the same keys, and check every answer they get."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self.s3, self.bucket = s3, bucket
        self.keys = [f"key-{n}" for n in range(20)]
        self.written: dict[str, dict[str, int]] = {key: {} for key in self.keys}  # key -> MD5 -> size
        self.puts = self.gets = 0
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def run(self, seconds: float) -> None:
        began = time.monotonic()
        with ThreadPoolExecutor(32) as pool:
            for done in [pool.submit(self._one, seed, began, seconds) for seed in range(32)]:
                done.result()

    def _goes_on(self, began: float, seconds: float) -> bool:
        took = time.monotonic() - began
        return took < seconds or (min(self.puts, self.gets) <= ENOUGH and took < 10 * seconds)

    def _one(self, seed: int, began: float, seconds: float) -> None:
        chance = random.Random(seed)
        while self._goes_on(began, seconds):
            key, what = chance.choice(self.keys), chance.random()
            if what < 0.4:
                self._put(key, chance.randbytes(32) * chance.choice((1, 100, 2048, 2049, 6000)))
            elif what < 0.9:
                self._get(key)
            else:
                self.s3.delete_object(Bucket=self.bucket, Key=key)

    def _put(self, key: str, body: bytes) -> None:
        digest = hashlib.md5(body).hexdigest()
        with self._lock:
            self.written[key][digest] = len(body)
            self.puts += 1
        answer = self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        assert answer["ETag"] == f'"{digest}"'

    def _get(self, key: str) -> None:
        try:
            got = self.s3.get_object(Bucket=self.bucket, Key=key)
        except self.s3.exceptions.NoSuchKey:
            return
        body = got["Body"].read()
        digest = hashlib.md5(body).hexdigest()
        with self._lock:
            self.gets += 1
            if self.written[key].get(digest) != len(body) or got["ETag"] != f'"{digest}"':
                self.wrong.append(f"{key}: {len(body)} bytes with {got['ETag']}")


def test_readers_and_writers_of_the_same_keys(server: ServerProcess, s3: Any, bucket: str) -> None:
    url, arn = open_queue(server, "witness", bucket)
    rule = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]})
    everyone = Everyone(s3, bucket)
    everyone.run(4.0)
    assert not everyone.wrong and everyone.puts > ENOUGH and everyone.gets > ENOUGH
    records = [record for message in drain(server, url) for record in message.get("Records", [])]
    records.sort(key=lambda record: record["s3"]["object"]["sequencer"])
    assert sum(record["eventName"] == "ObjectCreated:Put" for record in records) == everyone.puts
    last = {record["s3"]["object"]["key"]: record["s3"]["object"].get("eTag") for record in records}
    now = {row["Key"]: row["ETag"].strip('"') for row in s3.list_objects_v2(Bucket=bucket).get("Contents", [])}
    assert now == {key: etag for key, etag in last.items() if etag}, "the last event of a key is its state"
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in everyone.keys]})


def memory_peak(server: ServerProcess) -> int:
    """The most memory that the server ever had resident, in bytes (proc(5), VmHWM)."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


class Endless(io.RawIOBase):
    """A file of ``size`` bytes that nobody holds in memory."""

    def __init__(self, size: int) -> None:
        self._size, self._at = size, 0
        self._block = random.Random(7).randbytes(MIB)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = self._size - self._at
        wanted = min(left, MIB if size < 0 else size)
        start = self._at % MIB
        data = self._block[start : start + wanted]
        self._at += len(data)
        return data


def test_large_bodies_take_little_memory(server: ServerProcess, s3: Any, bucket: str) -> None:
    size = 300 * MIB
    trailing(server).put_object(Bucket=bucket, Key="huge", Body=Endless(size))
    digest, expected, stream = hashlib.md5(), hashlib.md5(), Endless(size)
    body = s3.get_object(Bucket=bucket, Key="huge")["Body"]
    while chunk := body.read(MIB):
        digest.update(chunk)
    while chunk := stream.read(MIB):
        expected.update(chunk)
    assert digest.hexdigest() == expected.hexdigest()
    s3.delete_object(Bucket=bucket, Key="huge")
    assert memory_peak(server) < 250 * MIB, f"{memory_peak(server) / MIB:.0f} MiB"
