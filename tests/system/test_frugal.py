"""What the server takes: memory for a large upload, and what a start imports. Bounds, not times."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.server import ServerProcess

MIB = 1 << 20
LARGE = 200 * MIB
GROWTH_MAX = 64 * MIB  # it is 8; what counts is that it is not the upload's size
#: What other services, clients and the first delivery need, and a start does not.
HEAVY = {
    "aiohttp", "aiosmtplib", "awscrt", "boto3", "botocore", "jwt", "prometheus_client", "pydantic_settings",
    "samtranslator", "urllib3", "yaml",
}  # fmt: skip
STARTED = """
import asyncio, sys, urllib.error, urllib.request
from pathlib import Path
import sluiceway.__main__
from sluiceway.config import load_settings
from sluiceway.server import Server

def ask(url):
    try:
        urllib.request.urlopen(url + "/some-bucket/key")
    except urllib.error.HTTPError as error:
        return error.code

async def main():
    server = Server(load_settings({"data": Path(sys.argv[1]), "http": {"port": 0}}), False)
    await server.start()
    answered = await asyncio.to_thread(ask, server.url)
    print(answered, *sorted({name.partition(".")[0] for name in sys.modules}))
    await server.stop()

asyncio.run(main())
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data").start()
    yield process
    process.stop()


def resident(server: ServerProcess, name: str) -> int:
    assert server.process is not None
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text(), re.M)
    assert found is not None
    return int(found[1]) * 1024


def stream(server: ServerProcess, url: str, size: int) -> bytes:
    """PUT ``size`` bytes as fast as the server takes them; the answer's first line."""
    parts = urllib.parse.urlsplit(url)
    piece = os.urandom(MIB)
    head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {size}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), 60) as connection:
        connection.sendall(head.encode())
        for _ in range(size // len(piece)):
            connection.sendall(piece)
        return connection.recv(65_536).partition(b"\r\n")[0]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_upload_takes_bounded_memory(server: ServerProcess) -> None:
    client = server.client("s3")
    client.create_bucket(Bucket="large")
    client.put_object(Bucket="large", Key="small", Body=bytes(MIB))  # all threads and libraries are there
    url = client.generate_presigned_url("put_object", Params={"Bucket": "large", "Key": "large"})
    before = resident(server, "VmRSS")
    assert stream(server, url, LARGE).startswith(b"HTTP/1.1 200")
    assert client.head_object(Bucket="large", Key="large")["ContentLength"] == LARGE
    assert resident(server, "VmHWM") - before < GROWTH_MAX


def test_a_start_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARTED, str(tmp_path / "data")], capture_output=True, text=True, timeout=60
    )
    status, *modules = done.stdout.split()
    assert status == "404", done.stderr
    assert not HEAVY & set(modules)
    assert {"apsw", "pydantic", "uvicorn"} <= set(modules)  # the test sees what is imported
