"""The benchmark still runs, on request."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    os.environ.get("SLUICEWAY_TEST_BENCH") != "1", reason="takes a minute: SLUICEWAY_TEST_BENCH=1 runs it"
)
def test_the_quick_benchmark_prints_all_rows(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "--quick", "--write", str(tmp_path / "page.md")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr[-3000:]
    for operation in (
        "PUT 1 KiB",
        "SNS publish, acknowledged",
        "warm invoke",
        "upload acknowledged to WebSocket",
        "PUT of 128 MiB",
        "page of 1000 keys",
        "idle memory",
    ):
        assert f"| {operation}" in done.stdout
    assert done.stdout.partition("\n\n")[0] in (tmp_path / "page.md").read_text()
