"""SIGKILL under load, again and again: all that was acknowledged is there, its event once, and no byte beside it.

``--rounds N`` is the number of kills, ``--seed N`` draws the same lots again (what the clock does stays chance).
"""

from __future__ import annotations

import collections
import hashlib
import json
import os
import random
import re
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError
from helpers.blobs import check_blobs, on_disk
from helpers.commands import ForkedServer
from helpers.ports import lasting_port
from helpers.raw import Plain, exchange, signed
from helpers.s3_model import MARKER, Key, Upload, Version, Writer
from helpers.server import eventually

ROUNDS = 50  # in about 50 s on two cores
WRITERS = 6
#: Parts may be small, so that there are many.
SETTINGS = {"SLUICEWAY_OBJECTS__PART_BYTES_MIN": "1"}
ALLOWED = {
    "Effect": "Allow",
    "Principal": {"Service": "s3.amazonaws.com"},
    "Action": "sqs:SendMessage",
    "Resource": "*",
}
LISTS = {"ObjectOwnership": "BucketOwnerPreferred"}
EXPIRED = {
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "Expiration": {"Date": "2020-01-01T00:00:00Z"},
}


class Crashes:
    """One server that is killed and started, its writers, and what they know."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.server = ForkedServer(folder / "data", environment=SETTINGS)
        self.server.start(lasting_port())
        self.s3 = self.server.client("s3", retries={"total_max_attempts": 1}, max_pool_connections=WRITERS * 2)
        self._prepare()
        self.writers = [Writer(self.s3, number, random.Random(seed + number)) for number in range(WRITERS)]
        self.uploads_begun: set[str] = set()
        self.put_to_expire: dict[str, str] = {}
        self.tries_to_expire = collections.Counter[str]()

    def _prepare(self) -> None:
        sqs = self.server.client("sqs")
        policy = json.dumps({"Statement": [ALLOWED]})
        self.queue = sqs.create_queue(QueueName="witness", Attributes={"Policy": policy})["QueueUrl"]
        rule = {"QueueArn": "arn:aws:sqs:us-east-1:000000000000:witness", "Events": ["s3:ObjectCreated:*"]}
        for bucket in ("plain", "versioned", "expiring"):
            self.s3.create_bucket(Bucket=bucket)
        self.s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
        for bucket in ("plain", "versioned"):
            self.s3.delete_public_access_block(Bucket=bucket)
            self.s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [LISTS]})
            self.s3.put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]}
            )

    def round(self) -> None:
        """Let them write, kill, start, look."""
        dead = threading.Event()
        works = [lambda writer=writer: writer.run(dead) for writer in self.writers]
        works.append(lambda: self._feed_lifecycle(dead))
        failed: list[BaseException] = []
        threads = [threading.Thread(target=_until_the_end, args=(work, dead, failed)) for work in works]
        for thread in threads:
            thread.start()
        time.sleep(self.chance.uniform(0.02, 0.5))
        self.server.kill()
        dead.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert not failed, failed
        self.server.start(self.server.port)
        self.check()

    def _feed_lifecycle(self, dead: threading.Event) -> None:
        while not dead.is_set():
            key, body = f"{len(self.put_to_expire):06d}", os.urandom(self.chance.choice((10, 70_000)))
            self.tries_to_expire[key] += 1
            self.s3.put_object(Bucket="expiring", Key=key, Body=body)
            self.put_to_expire[key] = hashlib.md5(body).hexdigest()
            if len(self.put_to_expire) % 8 == 0:
                self._expire()

    def _expire(self) -> None:
        """Rules are carried out at once when they change."""
        rules = {"Rules": [EXPIRED | {"ID": str(len(self.put_to_expire))}]}
        self.s3.put_bucket_lifecycle_configuration(Bucket="expiring", LifecycleConfiguration=rules)

    def check(self) -> None:
        """All that is known is so; what is in doubt is one thing or the other, and is known then."""
        seen = self.seen()
        keys = [key for writer in self.writers for key in writer.keys]
        wrong = [why for key in keys if (why := key.settle(seen.pop((key.bucket, key.name), ()), self.look))]
        assert not wrong and not seen, "\n".join(wrong) + f"\nnobody's: {seen}"
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._check_bytes, [key for key in keys if key.touched]))
        self._check_uploads()
        eventually(self._blobs_are_right)

    def seen(self) -> dict[tuple[str, str], tuple[Version, ...]]:
        """Every version of every key, newest first."""
        found: dict[tuple[str, str], list[tuple[bool, Version]]] = {}
        for bucket in ("plain", "versioned"):
            pages = self.s3.get_paginator("list_object_versions").paginate(
                Bucket=bucket, PaginationConfig={"PageSize": 1000}
            )
            rows: dict[str, list[tuple[Any, bool, Version]]] = {}
            for page in pages:
                for row in page.get("Versions", []):
                    version = Version("", row["VersionId"], row["ETag"])
                    rows.setdefault(row["Key"], []).append((row["LastModified"], row["IsLatest"], version))
                for row in page.get("DeleteMarkers", []):
                    rows.setdefault(row["Key"], []).append(
                        (row["LastModified"], row["IsLatest"], Version(MARKER, row["VersionId"]))
                    )
            for key, entries in rows.items():
                assert sum(latest for _, latest, _ in entries) == 1, entries
                found[bucket, key] = [(latest, version) for _, latest, version in entries]
        return {where: self._in_order(where, entries) for where, entries in found.items()}

    def _in_order(self, where: tuple[str, str], entries: list[tuple[bool, Version]]) -> tuple[Version, ...]:
        """The list keeps versions and markers apart, so their order among each other is known from before, the newest
        from ``IsLatest``."""
        [key] = [key for writer in self.writers for key in writer.keys if (key.bucket, key.name) == where]
        order = {version.id: place for place, version in enumerate(key.versions)}
        ordered = sorted((version for _, version in entries), key=lambda version: order.get(version.id, -1))
        if ordered:
            [latest] = [version for latest, version in entries if latest]
            assert ordered[0] == latest, (where, entries)
        for kind in (True, False):  # each of the lists is in order
            told = [version.id for _, version in entries if (version.body == MARKER) == kind]
            assert told == [version.id for version in ordered if (version.body == MARKER) == kind], (where, entries)
        return tuple(ordered)

    def look(self, key: Key) -> tuple[str, bool]:
        """Its tags, and whether its list opens it to everybody."""
        tags = self.s3.get_object_tagging(**key.where)["TagSet"]
        grants = self.s3.get_object_acl(**key.where)["Grants"]
        shown = "&".join(f"{tag['Key']}={tag['Value']}" for tag in tags)
        return shown, any(grant["Grantee"].get("URI", "").endswith("AllUsers") for grant in grants)

    def _check_bytes(self, key: Key) -> None:
        key.touched = False
        for version in key.versions:
            if version.body != MARKER:
                more = {"VersionId": version.id} if key.versioned else {}
                body = self.s3.get_object(**key.where, **more)["Body"].read()
                assert hashlib.md5(body).hexdigest() == version.body, (key.where, version)

    def _check_uploads(self) -> None:
        there: dict[str, str] = {}
        for bucket in ("plain", "versioned"):
            pages = self.s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
            there |= {row["UploadId"]: f"{bucket}/{row['Key']}" for page in pages for row in page.get("Uploads", [])}
        for writer in self.writers:
            for upload in list(writer.uploads):
                if upload.id not in there:
                    assert upload.ended, f"an upload is gone: {upload}"
                    writer.uploads.remove(upload)
                    continue
                upload.ended = False
                self._check_parts(upload)
        known = {upload.id for writer in self.writers for upload in writer.uploads}
        for lost in set(there) - known:  # begun without an answer, or by who was about to complete it
            bucket, _, name = there[lost].partition("/")
            self.s3.abort_multipart_upload(Bucket=bucket, Key=name, UploadId=lost)

    def _check_parts(self, upload: Upload) -> None:
        rows = self.s3.list_parts(**upload.key.where, UploadId=upload.id).get("Parts", [])
        found = {row["PartNumber"]: row["ETag"] for row in rows}
        if upload.doubtful and upload.doubtful in found:
            upload.parts[upload.doubtful] = found[upload.doubtful]
        upload.doubtful = 0
        assert found == upload.parts, upload

    def _blobs_are_right(self) -> bool:
        try:
            check_blobs(self.server.data)
        except AssertionError:
            return False
        return True

    def history(self, bucket: str) -> list[dict[str, Any]]:
        """All events of the bucket in order, as the server tells them."""
        found: list[dict[str, Any]] = []
        while True:
            query = urllib.parse.urlencode({"log": f"bucket/{bucket}", "from": str(len(found)), "limit": "1000"})
            plain = signed(Plain("GET", f"/_sluiceway/events?{query}"), self.server.port, self.server.key, "sluiceway")
            page = json.loads(exchange(self.server, plain.wire(self.server.port), "GET").check(200).body)
            found += [entry["value"] for entry in page["entries"]]
            if len(found) >= page["end"]:
                return found

    def check_events(self) -> None:
        """Each change has its event once and in the order in which its writer made it."""
        created = collections.Counter[tuple[str, str, str]]()
        for bucket in ("plain", "versioned"):
            told: dict[str, list[tuple[str, str]]] = {}
            previous = ""
            for record in self.history(bucket):
                about = record["s3"]["object"]
                assert about["sequencer"] > previous, "events have another order than their sequencers"
                previous = about["sequencer"]
                if record["eventName"].startswith(("ObjectCreated:", "ObjectRemoved:")):
                    told.setdefault(about["key"], []).append((record["eventName"], about.get("versionId", "null")))
                    if record["eventName"].startswith("ObjectCreated:"):
                        created[bucket, about["key"], previous] += 1
            keys = [key for writer in self.writers for key in writer.keys if key.bucket == bucket]
            assert told == {key.name: key.events for key in keys if key.events}
        assert self.drained() == created, "the queue got each event once"

    def drained(self) -> collections.Counter[tuple[str, str, str]]:
        """The events that came to the queue, which is empty afterwards."""
        sqs = self.server.client("sqs")
        found = collections.Counter[tuple[str, str, str]]()

        def drain(_: int) -> None:
            while messages := sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", []):
                for record in [
                    record for message in messages for record in json.loads(message["Body"]).get("Records", [])
                ]:
                    about = record["s3"]["object"]
                    found[record["s3"]["bucket"]["name"], about["key"], about["sequencer"]] += 1
                entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
                assert not sqs.delete_message_batch(QueueUrl=self.queue, Entries=entries).get("Failed")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(drain, range(4)))
        return found

    def check_expired(self) -> None:
        """What a lifecycle rule takes goes once, with its event, and in the end all of it."""
        self._expire()
        eventually(lambda: not self.s3.list_objects_v2(Bucket="expiring").get("Contents"))
        told: dict[str, list[str]] = {}
        for record in self.history("expiring"):
            told.setdefault(record["s3"]["object"]["key"], []).append(record["eventName"])
        assert set(self.put_to_expire) <= set(told)
        for key, names in told.items():
            # A key is put again as long as no put of it was answered, and may have been taken between.
            spelt = "".join({"ObjectCreated:Put": "P", "LifecycleExpiration:Delete": "D"}[name] for name in names)
            assert re.fullmatch("(P+D)+", spelt) and spelt.count("P") <= self.tries_to_expire[key], (key, names)

    def empty(self) -> None:
        """Delete everything; the disk must be empty then, too."""
        for writer in self.writers:
            for upload in writer.uploads:
                self.s3.abort_multipart_upload(**upload.key.where, UploadId=upload.id)
            rows = [(key, version) for key in writer.keys for version in key.versions]
            for bucket in ("plain", "versioned"):
                chosen = [
                    {"Key": key.name, "VersionId": str(version.id)} for key, version in rows if key.bucket == bucket
                ]
                if chosen:
                    assert not self.s3.delete_objects(Bucket=bucket, Delete={"Objects": chosen}).get("Errors")
        for bucket in ("plain", "versioned", "expiring"):
            self.s3.delete_bucket(Bucket=bucket)
        eventually(lambda: not on_disk(self.server.data))

    def end(self) -> None:
        """After all of it, everything."""
        self.check_events()
        self.check_expired()
        self.empty()
        assert self.server.stop() == 0


def _until_the_end(work: Any, dead: threading.Event, failed: list[BaseException]) -> None:
    """The only errors allowed are those of a connection that died."""
    try:
        work()
    except BotoCoreError:
        dead.wait(10)
    except BaseException as error:
        failed.append(error)


@pytest.mark.crash
@pytest.mark.timeout(3600)
def test_acknowledged_changes_survive_kills(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Two servers at the same time: much of a round is the start of one."""
    seed = request.config.getoption("--seed")
    rounds = request.config.getoption("--rounds") or ROUNDS
    seed = int.from_bytes(os.urandom(4), "big") if seed is None else seed
    made: list[Crashes] = []

    def run(number: int) -> int:
        crashes = Crashes(tmp_path / str(number), seed + 100 * number)
        made.append(crashes)
        for _ in range((rounds + 1) // 2):
            crashes.round()
        crashes.end()
        return sum(writer.changes for writer in crashes.writers)

    try:
        for name in ("0", "1"):
            (tmp_path / name).mkdir()
        with ThreadPoolExecutor(2) as pool:
            changes = sum(pool.map(run, range(2)))
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    finally:
        for crashes in made:
            crashes.server.end()
    print(f"{changes} changes, {rounds} kills, seed {seed}")
    assert changes > rounds * 10
