"""A start with many blobs: the server answers before it has looked through them, and what is uploaded meanwhile stays."""

from __future__ import annotations

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from helpers.blobs import check_blobs, on_disk
from helpers.server import ServerProcess, eventually

KiB = 1024
LEFT = 40_000


def leave(blobs: Path, count: int) -> list[Path]:
    """Files as a crash leaves them."""
    made = [blobs / (name := str(uuid.uuid4()))[:2] / name[2:4] / name for _ in range(count)]
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
    (blobs / "tmp").mkdir(exist_ok=True)
    for number in range(50):
        (blobs / "tmp" / str(uuid.uuid4())).write_bytes(b"x" * number)
    return made


def test_it_answers_before_it_has_looked_at_all_blobs(own_server: ServerProcess) -> None:
    own_server.start()
    s3 = own_server.client("s3", max_pool_connections=8)
    s3.create_bucket(Bucket="many")
    kept = {f"old{number}": os.urandom(100 * KiB) for number in range(20)}
    for key, body in kept.items():
        s3.put_object(Bucket="many", Key=key, Body=body)
    own_server.kill()
    left = leave(own_server.data / "blobs", LEFT)
    own_server.start()
    s3 = own_server.client("s3", max_pool_connections=8)
    assert len(s3.list_objects_v2(Bucket="many")["Contents"]) == 20
    there = on_disk(own_server.data)
    assert sum(path.name in there for path in left) > LEFT / 2, "all was looked at before it answered"

    def upload(worker: int) -> dict[str, bytes]:
        """Until nothing is left: new ones, and some that are deleted or overwritten again."""
        made: dict[str, bytes] = {}
        number = 0
        while left[0].exists() or left[-1].exists() or number < 20:
            number += 1
            key, body = f"new{worker}-{number % 10}", os.urandom(70 * KiB)
            s3.put_object(Bucket="many", Key=key, Body=body)
            made[key] = body
            if number % 7 == 0:
                s3.delete_object(Bucket="many", Key=key)
                del made[key]
        return made

    s3.delete_object(Bucket="many", Key="old0")
    del kept["old0"]
    with ThreadPoolExecutor(4) as pool:
        for made in pool.map(upload, range(4)):
            kept |= made
    eventually(lambda: on_disk(own_server.data).isdisjoint({path.name for path in left}), 60)
    for key, body in kept.items():
        assert s3.get_object(Bucket="many", Key=key)["Body"].read() == body

    def right() -> bool:
        try:
            check_blobs(own_server.data)
        except AssertionError:
            return False
        return True

    eventually(right, 20)
    assert not list((own_server.data / "blobs" / "tmp").iterdir())
    assert own_server.stop() == 0


def test_it_stops_amid_the_sweep_and_goes_on_at_the_next_start(own_server: ServerProcess) -> None:
    own_server.start()
    own_server.stop()
    left = leave(own_server.data / "blobs", LEFT)
    own_server.start()
    begun = time.monotonic()
    assert own_server.stop() == 0 and time.monotonic() - begun < 10
    assert any(path.exists() for path in left)
    own_server.start()
    eventually(lambda: not on_disk(own_server.data), 60)
