"""SIGKILL under load: what was acknowledged is there, its event once, and no byte that nobody refers to."""

from __future__ import annotations

import collections
import hashlib
import json
import os
import random
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from helpers.server import ServerProcess, eventually

ROUNDS = 8  # of each of two servers
MIB = 1024 * 1024
BUCKET = "crashing"
ALLOWED = {
    "Effect": "Allow",
    "Principal": {"Service": "s3.amazonaws.com"},
    "Action": "sqs:SendMessage",
    "Resource": "*",
}


class Load:
    """Clients that put until the server dies. ``acknowledged``: key -> MD5 of what was answered with 200.

    ``shared`` keys are overwritten again and again: each holds one of the bodies that were on their way last.
    """

    def __init__(self, server: ServerProcess, number: int) -> None:
        self._s3 = server.client("s3", retries={"total_max_attempts": 1}, max_pool_connections=12)
        self._number = number
        self._dead = threading.Event()
        self._lock = threading.Lock()
        self.acknowledged: dict[str, str] = {}
        self.shared: dict[str, list[str]] = {}
        works = [self._small] * 3 + [self._large] * 3 + [self._parts] * 2 + [self._overwrite, self._copy_and_delete]
        self._threads = [threading.Thread(target=self._run, args=(n, work)) for n, work in enumerate(works)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """After the server died."""
        self._dead.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _run(self, worker: int, work: Any) -> None:
        count = 0
        while not self._dead.is_set():
            try:
                work(f"r{self._number:02d}/w{worker}-{count:05d}")
            except (BotoCoreError, ClientError) as error:
                # The only errors allowed are those of a connection that died.
                assert not isinstance(error, ClientError), error
                return
            count += 1

    def _acknowledge(self, key: str, body: bytes) -> None:
        with self._lock:
            self.acknowledged[key] = hashlib.md5(body).hexdigest()

    def _small(self, key: str) -> None:
        body = os.urandom(random.randint(0, 60_000))
        self._s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        self._acknowledge(key, body)

    def _large(self, key: str) -> None:
        body = os.urandom(random.randint(70_000, 700_000))
        self._s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        self._acknowledge(key, body)

    def _parts(self, key: str) -> None:
        first, last = random.randbytes(1024) * 5 * 1024, os.urandom(100_000)
        upload = self._s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
        where = {"Bucket": BUCKET, "Key": key, "UploadId": upload}
        etags = [self._s3.upload_part(**where, PartNumber=n, Body=body)["ETag"] for n, body in ((1, first), (2, last))]
        self._s3.upload_part(**where, PartNumber=3, Body=b"left out of the whole")
        parts = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]
        self._s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
        self._acknowledge(key, first + last)

    def _overwrite(self, key: str) -> None:
        key, body = f"shared/{self._number}", os.urandom(random.choice((100, 100_000)))
        with self._lock:
            self.shared[key] = [*self.shared.get(key, [])[-1:], hashlib.md5(body).hexdigest()]
        self._s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        with self._lock:
            self.shared[key] = self.shared[key][-1:]

    def _copy_and_delete(self, key: str) -> None:
        source, body = f"gone/{key}", os.urandom(100_000)
        self._s3.put_object(Bucket=BUCKET, Key=source, Body=body)
        self._s3.copy_object(Bucket=BUCKET, Key=key, CopySource=f"{BUCKET}/{source}")
        self._s3.delete_object(Bucket=BUCKET, Key=source)
        self._acknowledge(key, body)


class Witness:
    """Looks at the server after its restart."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        s3, sqs = server.client("s3"), server.client("sqs")
        s3.create_bucket(Bucket=BUCKET)
        self.url = sqs.create_queue(QueueName="witness", Attributes={"Policy": json.dumps({"Statement": [ALLOWED]})})[
            "QueueUrl"
        ]
        rule = {"QueueArn": "arn:aws:sqs:us-east-1:000000000000:witness", "Events": ["s3:ObjectCreated:*"]}
        s3.put_bucket_notification_configuration(
            Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [rule]}
        )
        assert self.events() == {None: 1}, "the test event"

    def events(self) -> dict[str | None, int]:
        """Key -> events in the queue, which is empty afterwards."""
        sqs, found = self.server.client("sqs"), collections.Counter[str | None]()
        while messages := sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                for record in json.loads(message["Body"]).get("Records", [{}]):
                    found[record["s3"]["object"]["key"] if record else None] += 1
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
            assert not sqs.delete_message_batch(QueueUrl=self.url, Entries=entries).get("Failed")
        return dict(found)

    def objects(self, prefix: str) -> dict[str, str]:
        s3 = self.server.client("s3")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {row["Key"]: row["ETag"].strip('"') for page in pages for row in page.get("Contents", [])}

    def digests(self, keys: list[str]) -> dict[str, str]:
        """Key -> MD5 of its bytes."""
        s3 = self.server.client("s3")
        with ThreadPoolExecutor(4) as pool:
            got = pool.map(lambda key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read(), keys)
            return {key: hashlib.md5(body).hexdigest() for key, body in zip(keys, got, strict=True)}

    def check(self, load: Load, number: int) -> None:
        there = self.objects(f"r{number:02d}/")
        assert set(load.acknowledged) <= set(there), "an acknowledged object is gone"
        assert self.digests(list(load.acknowledged)) == load.acknowledged
        for key, bodies in load.shared.items():
            # Before the first answer, there may be nothing.
            now = self.objects(key).get(key)
            assert now in bodies or (now is None and len(bodies) == 1), key
        found = self.events()
        events = {key: count for key, count in found.items() if key and key.startswith("r")}
        assert events == dict.fromkeys(there, 1), "an object without its event, or an event without its object"
        self.check_blobs()

    def check_blobs(self) -> None:
        """Files on the disk are what the store's rows refer to, each as often as it is counted."""
        on_disk = {path.name for path in (self.server.data / "blobs").rglob("*") if path.is_file()}
        with closing(sqlite3.connect(f"file:{self.server.data / 'store.db'}?mode=ro", uri=True)) as store:
            tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master")}

            def rows(table: str) -> list[tuple[Any, Any]]:
                """A table is made with its first row."""
                return list(store.execute(f'SELECT key, value FROM "{table}"')) if table in tables else []

            counted = {key[1:-1].decode(): int(count) for key, count in rows("blobs")}
            found = collections.Counter(blob for _, row in rows("objects") if (blob := json.loads(row).get("blob")))
            for _, row in rows("object_bodies"):
                found.update(piece[0] for piece in (json.loads(row) if isinstance(row, str) else ()))
            for _, row in rows("upload_parts"):
                found.update(piece[0] for piece in json.loads(row)["pieces"])
        assert counted == dict(found)
        assert on_disk == set(found), "blobs that nobody refers to, or that are missing"

    def empty(self) -> None:
        """Delete everything; the disk must be empty then, too."""
        s3 = self.server.client("s3")
        for upload in s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
            s3.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
        keys = list(self.objects(""))
        for at in range(0, len(keys), 1000):
            chosen = [{"Key": key} for key in keys[at : at + 1000]]
            assert not s3.delete_objects(Bucket=BUCKET, Delete={"Objects": chosen}).get("Errors")
        folder: Path = self.server.data / "blobs"
        eventually(lambda: not [path for path in folder.rglob("*") if path.is_file()], 20)
        s3.delete_bucket(Bucket=BUCKET)


def crash_again_and_again(server: ServerProcess, seed: int, rounds: int) -> None:
    witness = Witness(server.start())
    chance = random.Random(seed)
    everything: dict[str, str] = {}
    for number in range(rounds):
        load = Load(server, number)
        load.start()
        time.sleep(chance.uniform(0.05, 0.8))
        server.kill()
        load.end()
        server.start(server.port)
        witness.check(load, number)
        everything |= load.acknowledged
    assert len(everything) > rounds * 3
    assert set(everything) <= set(witness.objects("r"))
    sample = chance.sample(sorted(everything), min(30, len(everything)))
    assert witness.digests(sample) == {key: everything[key] for key in sample}
    witness.empty()


@pytest.mark.crash
def test_acknowledged_objects_survive_kills(tmp_path: Path) -> None:
    """Two servers at the same time: most of a round is the start of one."""
    seed = int.from_bytes(os.urandom(4), "big")
    servers = [ServerProcess(tmp_path / name / "data") for name in ("one", "other")]
    try:
        with ThreadPoolExecutor(2) as pool:
            runs = [pool.submit(crash_again_and_again, server, seed + n, ROUNDS) for n, server in enumerate(servers)]
            for run in runs:
                run.result()
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    finally:
        for server in servers:
            if server.process is not None and server.process.poll() is None:
                server.kill()
