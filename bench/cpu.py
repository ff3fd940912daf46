"""Processor time of a process, and of all below it, as Linux counts it (proc(5), stat: utime and stime)."""

from __future__ import annotations

import os
import time
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def _own_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def below(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        for file in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                left += map(int, file.read_text().split())
            except (FileNotFoundError, ProcessLookupError):
                continue  # the thread ended meanwhile
    return found


def cpu_s(pid: int, tree: bool = False) -> float:
    """User and system seconds of a process; with ``tree`` also of those below it that run now."""
    total = 0.0
    for one in below(pid) if tree else [pid]:
        try:
            total += _own_s(one)
        except (FileNotFoundError, ProcessLookupError):
            if one == pid:
                raise
    return total


def settle(pid: int, within_s: float = 2.0) -> None:
    """Wait until the process does next to nothing, so that one case doesn't pay for the one before."""
    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        before = cpu_s(pid, True)
        time.sleep(0.15)
        if cpu_s(pid, True) - before <= 2 * TICK_S:
            return
