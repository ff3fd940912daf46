"""Objects."""

from __future__ import annotations

import os
import random

from botocore.exceptions import ClientError

from bench.case import Case, Made, repeat
from bench.load import Script
from bench.wire import Target

MIB = 1 << 20
BUCKET = "bench"
KEYS = 64  # of a connection, one after the other


def bucket(target: Target) -> Made:
    """The bucket that all share."""
    try:
        target.client("s3").create_bucket(Bucket=BUCKET)
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise
    return {}


def puts(target: Target, worker: int, size: int, keys: int) -> Script:
    """Signed payloads of random bytes under ``keys`` keys, new ones at first."""
    body = os.urandom(size)
    return repeat([target.wire("s3", "PUT", f"/{BUCKET}/{size}/{worker}/{n}", body) for n in range(keys)])


class PutKib(Case):
    name = "PUT 1 KiB"
    connections = 32

    def prepare(self, target: Target) -> Made:
        return bucket(target)

    def script(self, target: Target, made: Made, worker: int) -> Script:
        return puts(target, worker, 1024, KEYS)


class PutMib(PutKib):
    name = "PUT 1 MiB"
    base = "echo 1 MiB in"
    connections = 16
    size = MIB
    warm = 2

    def script(self, target: Target, made: Made, worker: int) -> Script:
        return puts(target, worker, MIB, 2)


class GetKib(Case):
    name = "GET 1 KiB"
    connections = 32
    bytes_kept = 1024
    keys = 1000  # as many pictures as a page of a gallery's readers look at

    def prepare(self, target: Target) -> Made:
        bucket(target)
        for n in range(self.keys):
            key = f"get/{self.bytes_kept}/{n}"
            target.client("s3").put_object(Bucket=BUCKET, Key=key, Body=os.urandom(self.bytes_kept))
        return {}

    def script(self, target: Target, made: Made, worker: int) -> Script:
        numbers = random.Random(worker).sample(range(self.keys), min(KEYS, self.keys))
        return repeat([target.wire("s3", "GET", f"/{BUCKET}/get/{self.bytes_kept}/{n}") for n in numbers])


class GetMib(GetKib):
    name = "GET 10 MiB"
    base = "echo 10 MiB out"
    connections = 16
    bytes_kept = size = 10 * MIB
    keys = 1
    warm = 2
