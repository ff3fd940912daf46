"""One large object, in and out, beside what MD5, the disk and a socket do without a server, and what others feel."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

from bench.cases.objects import BUCKET, bucket
from bench.cpu import cpu_s, settle
from bench.goal import Goal, at_least, at_most, number
from bench.load import check
from bench.report import percentile
from bench.wire import TIMEOUT_S, Connection, Reader, Target

NAME = "one large PUT and GET"
MIB = 1 << 20
SIZE, QUICK_SIZE = 1024 * MIB, 128 * MIB
ROUNDS, QUICK_ROUNDS = 3, 1
EVERY_S = 0.008  # between the small requests of the others
KEY = "large"


@dataclass
class Large:
    """Rates in bytes a second, a round each; others' latencies in seconds."""

    size: int
    puts: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    gets: list[float] = field(default_factory=list)
    sends: list[float] = field(default_factory=list)
    put_cpu_s: list[float] = field(default_factory=list)
    get_cpu_s: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    reads_others: list[float] = field(default_factory=list)
    quiet: list[float] = field(default_factory=list)
    grown_bytes: list[int] = field(default_factory=list)

    def goals(self) -> list[Goal]:
        """The issue's numbers about large objects."""
        what = f"{self.size // MIB} MiB"
        put, write, get, send = (max(rates) for rates in (self.puts, self.writes, self.gets, self.sends))
        quiet = f"{number(percentile(self.quiet, 99))} ms without it"
        return [
            at_least(f"PUT of {what} / MD5 and write", 70, 100 * put / write, "%",
                     f"{_speed(put)} / {_speed(write)}; {number(min(self.put_cpu_s))} s of CPU"),
            at_most("memory that it takes", 32, max(self.grown_bytes) / MIB, "MiB", "peak of the resident set"),
            at_most("p99 of small requests meanwhile", 20, percentile(self.others, 99), "ms",
                    f"of {len(self.others)}; p50 {number(percentile(self.others, 50))} ms; {quiet}"),
            at_least(f"GET of {what} / bare read and send", 60, 100 * get / send, "%",
                     f"{_speed(get)} / {_speed(send)}; {number(min(self.get_cpu_s))} s of CPU; others' p99 "
                     f"{number(percentile(self.reads_others, 99))} ms"),
        ]  # fmt: skip


def _speed(rate: float) -> str:
    return f"{number(rate / 1e6)} MB/s"


def measure(target: Target, folder: Path, quick: bool) -> Large:
    """``folder`` is the server's data. Calibration and server by turns, so that both have the same weather."""
    found = Large(QUICK_SIZE if quick else SIZE)
    bucket(target)
    client = target.client("s3")
    put = client.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": KEY}, ExpiresIn=3600)
    get = client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": KEY}, ExpiresIn=3600)
    others = Others(target)
    with ProcessPoolExecutor(1, get_context("spawn")) as sender:
        sender.submit(int).result()
        found.quiet += others.ask(lambda: len(found.quiet) + others.asked < 300)
        for _ in range(QUICK_ROUNDS if quick else ROUNDS):
            found.writes.append(md5_and_write(folder, found.size))
            _put(found, target, sender, others, put)
        with bare(_blob(folder, found.size)) as port:
            for _ in range(QUICK_ROUNDS if quick else ROUNDS):
                found.sends.append(fetch(port, b"GET / HTTP/1.1\r\n\r\n", found.size))
                _get(found, target, sender, others, get)
    others.close()
    client.delete_object(Bucket=BUCKET, Key=KEY)
    return found


def _put(found: Large, target: Target, sender: ProcessPoolExecutor, others: Others, url: str) -> None:
    settle(target.pid)
    before, cpu = _reset_peak(target.pid), cpu_s(target.pid)
    job = sender.submit(send, target.port, _head("PUT", url, found.size), found.size)
    found.others += others.ask(lambda: not job.done())
    found.puts.append(found.size / job.result())
    found.put_cpu_s.append(cpu_s(target.pid) - cpu)
    found.grown_bytes.append(_resident(target.pid, "VmHWM") - before)


def _get(found: Large, target: Target, sender: ProcessPoolExecutor, others: Others, url: str) -> None:
    """Twice: the first time alone for the rate, then with others, as three processes on two cores hinder each other."""
    settle(target.pid)
    cpu = cpu_s(target.pid)
    found.gets.append(sender.submit(fetch, target.port, _head("GET", url), found.size).result())
    found.get_cpu_s.append(cpu_s(target.pid) - cpu)
    job = sender.submit(fetch, target.port, _head("GET", url), found.size)
    found.reads_others += others.ask(lambda: not job.done())
    job.result()


def _head(method: str, url: str, size: int | None = None) -> bytes:
    parts = urlsplit(url)
    length = "" if size is None else f"Content-Length: {size}\r\n"
    return f"{method} {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n{length}\r\n".encode()


def _blob(folder: Path, size: int) -> Path:
    """The server's own file of the object, which the bare loop sends."""
    return next(path for path in folder.glob("blobs/??/??/*") if path.stat().st_size == size)


# -- memory


def _reset_peak(pid: int) -> int:
    """Let the kernel count the peak of the resident set anew (proc(5), clear_refs); what it is now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _resident(pid, "VmRSS")


def _resident(pid: int, name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert match is not None
    return int(match[1]) * 1024


# -- the large stream


def send(port: int, head: bytes, size: int) -> float:
    """Seconds until the body is acknowledged. For a process of its own."""
    piece = os.urandom(4 * MIB)
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        began = time.perf_counter()
        connection.sendall(head)
        for _ in range(size // len(piece)):
            connection.sendall(piece)
        reader = Reader()
        while not reader.feed(data := connection.recv(65_536)):
            if not data:
                raise ConnectionError("the server closed the connection before its answer")
        taken = time.perf_counter() - began
    check(reader.answer())
    return taken


def fetch(port: int, head: bytes, size: int) -> float:
    """Bytes a second of a body that is read and dropped."""
    buffer, got, limit = bytearray(MIB), 0, float("inf")
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        began = time.perf_counter()
        connection.sendall(head)
        start = b""
        while got < limit:
            read = connection.recv_into(buffer)
            if not read:
                raise ConnectionError(f"the body ended after {got} bytes")
            got += read
            if limit == float("inf"):
                start += buffer[:read]
                if (end := start.find(b"\r\n\r\n")) >= 0:
                    limit = end + 4 + size
                    assert b" 200 " in start[:20], start[:500]
        return size / (time.perf_counter() - began)


# -- without a server


def md5_and_write(folder: Path, size: int) -> float:
    """Bytes a second of one thread that hashes and writes a file, until it is durable."""
    piece, path, digest = os.urandom(MIB), folder / "written", hashlib.md5(usedforsecurity=False)
    began = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(size // MIB):
            digest.update(piece)
            file.write(piece)
        os.fsync(file.fileno())
    taken = time.perf_counter() - began
    path.unlink()
    return size / taken


@contextmanager
def bare(path: Path) -> Iterator[int]:
    """A process that does nothing but read ``path`` and send it, to whoever connects; its port."""
    process = subprocess.Popen([sys.executable, "-m", "bench.bare", str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# -- the others


class Others:
    """Small requests at a gentle rate, each on one of two connections of their own."""

    def __init__(self, target: Target) -> None:
        body = os.urandom(1024)
        path = f"/{BUCKET}/other"
        puts = [target.wire("s3", "PUT", f"{path}/{number}", body) for number in range(32)]
        gets = [target.wire("s3", "GET", f"{path}/{number}") for number in range(32)]
        self._connections = [Connection(target.port, time.perf_counter) for _ in range(2)]
        for wire in puts:
            check(self._connections[0].ask(wire)[0])
        self._wires = cycle([one for pair in zip(puts, gets, strict=True) for one in pair])
        self.asked = 0

    def ask(self, goes_on: object) -> list[float]:
        """Latencies while ``goes_on()``. One that is late because of the one before counts from when it was due."""
        assert callable(goes_on)
        found: list[float] = []
        self.asked = 0
        due = time.perf_counter()
        late = False
        while goes_on():
            if not late:
                time.sleep(max(0.0, due - time.perf_counter()))
            connection = self._connections[self.asked % 2]
            began = connection.send(next(self._wires))
            answer, ended = connection.receive()
            check(answer)
            found.append(ended - (due if late else began))
            self.asked += 1
            due = max(due + EVERY_S, began) if late else began + EVERY_S
            late = ended > due
        return found

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
