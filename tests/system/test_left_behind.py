"""What a test run that is killed leaves behind: nothing that runs."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from helpers.server import eventually

RUN = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from helpers.commands import ForkedServer
from helpers.server import ServerProcess
server = {kind}(Path(sys.argv[2]) / "data").start()
print(server.process.pid, flush=True)
time.sleep(100)
"""


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="without it servers go on running, as `bound` says")
@pytest.mark.parametrize("kind", ["ServerProcess", "ForkedServer"])
def test_servers_die_with_the_test_process(tmp_path: Path, kind: str) -> None:
    command = [sys.executable, "-c", RUN.format(kind=kind), str(Path(__file__).parents[1]), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        server = int(run.stdout.readline())
        assert runs(server)
        run.send_signal(signal.SIGKILL)
    eventually(lambda: not runs(server))
