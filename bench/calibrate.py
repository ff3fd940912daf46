"""What this machine can do at this moment: the disk, a digest, a process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.report import percentile


@dataclass(frozen=True)
class Machine:
    fsync_ms: tuple[float, float]
    md5_mb_s: float
    sha256_mb_s: float
    spawn_ms: tuple[float, float]
    filesystem: str


def measure(folder: Path, seconds: float) -> Machine:
    """All calibrations, about ``seconds`` each."""
    return Machine(
        _percentiles(fsync(folder, seconds)),
        _digest("md5", seconds / 2),
        _digest("sha256", seconds / 2),
        _percentiles(_spawn(seconds)),
        _filesystem(folder),
    )


def _percentiles(latencies: list[float]) -> tuple[float, float]:
    return percentile(latencies, 50), percentile(latencies, 95)


def fsync(folder: Path, seconds: float) -> list[float]:
    """4 KiB written into a file that is long enough, and synced: the least that a durable commit can do."""
    file = os.open(folder / "fsync", os.O_CREAT | os.O_WRONLY)
    taken: list[float] = []
    block, slots = os.urandom(4096), 256
    os.write(file, bytes(len(block) * slots))
    os.fsync(file)
    ends = time.perf_counter() + seconds
    while (began := time.perf_counter()) < ends:
        os.pwrite(file, block, len(block) * (len(taken) % slots))
        os.fdatasync(file)
        taken.append(time.perf_counter() - began)
    os.close(file)
    return taken


def _digest(name: str, seconds: float) -> float:
    block, total, began = bytes(1 << 20), 0, time.perf_counter()
    digest = hashlib.new(name, usedforsecurity=False)
    while (taken := time.perf_counter() - began) < seconds:
        digest.update(block)
        total += len(block)
    return total / taken / 1e6


def _spawn(seconds: float) -> list[float]:
    taken, ends = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < ends:
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        taken.append(time.perf_counter() - began)
    return taken


def _filesystem(folder: Path) -> str:
    """The type of the file system that holds ``folder`` (proc(5), mounts)."""
    best, kind = "", "?"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split()
        if folder.resolve().is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, found
    return kind
