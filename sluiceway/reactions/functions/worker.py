"""One worker: a process group that runs one function's handler, one invocation at a time."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any, Final

from sluiceway.config import FunctionSettings
from sluiceway.core.clock import new_token
from sluiceway.core.invoker import Invocation
from sluiceway.reactions.functions.environment import AWS_CONFIG, Keys, Surroundings, environment_of, plan_of
from sluiceway.reactions.functions.output import Output
from sluiceway.reactions.functions.runtime_api import RuntimeConnection
from sluiceway.services.functions import Function

log = logging.getLogger(__name__)

_LAUNCH: Final = Path(__file__).parent / "launch.py"
_EXIT_S: Final = 5.0
_MiB: Final = 1024 * 1024


class WorkerLost(Exception):
    """A warm worker was gone before it got the event: another one can have it."""


class _Ended(Exception):
    """The invocation can't be answered by the handler any more; ``kind`` and ``text`` say why."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


class Worker:
    """``folder`` is its own, removed at its end. ``usable`` is False once it must not be used again."""

    def __init__(self, function: Function, folder: Path, stream: str, output: Output, limits: FunctionSettings) -> None:
        self.function = function
        self.stream = stream
        self.usable = True
        self.born = time.monotonic()
        self.idle_since = self.born
        self.busy = False
        self._folder = folder
        self._output = output
        self._limits = limits
        self._process: asyncio.subprocess.Process | None = None
        self._server: asyncio.Server | None = None
        self._connection: RuntimeConnection | None = None  # the one that waits in "next"
        self._asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outcome: asyncio.Future[tuple[bytes, bool]] | None = None
        self._request_id = ""
        self._init_error: bytes | None = None
        self._ended: asyncio.Task[None] | None = None
        self._why = ""
        self._peak = 0
        self._fresh = True

    # -- life

    async def start(self, keys: Keys, around: Surroundings, task: Path) -> None:
        """Start the process; it becomes ready by asking for its first invocation. Raises ``Unavailable``."""
        hosts = await around.hosts()
        plan = plan_of(self.function, around, hosts, task, self._folder, self._limits)
        await asyncio.to_thread(_prepare, self._folder)
        loop = asyncio.get_running_loop()
        body_max = self._limits.payload_bytes_max
        self._server = await loop.create_server(lambda: RuntimeConnection(self, body_max), "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        api = f"127.0.0.1:{port}"
        environment = environment_of(self.function, keys, around, hosts, api, task, self._folder, self.stream)
        self._process = await asyncio.create_subprocess_exec(
            around.python, "-P", str(_LAUNCH), json.dumps(plan),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env=environment, cwd=task, start_new_session=True,
        )  # fmt: skip
        self._ended = asyncio.create_task(self._watch(self._process))

    async def stop(self, why: str = "") -> None:
        """Kill the process with its children, and clean up."""
        self.usable = False
        self._why = self._why or why
        self._kill()
        if self._ended is not None:
            await asyncio.wait([self._ended], timeout=_EXIT_S)
        if self._server is not None:
            self._server.close()
        await self._output.flush()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def _kill(self) -> None:
        if self._process is not None and self._process.pid:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Read its output; when it has exited, end what waits for it and what it left behind."""
        assert process.stdout is not None
        reading = asyncio.create_task(self._output.read(process.stdout))
        code = await process.wait()
        self.usable = False
        self._kill()
        await asyncio.wait([reading], timeout=1.0)
        reading.cancel()
        ended = _Ended("Runtime.ExitError", f"Runtime exited with error: {self._why or _exit_text(code)}")
        for waiting in (self._asked, self._outcome):
            if waiting is not None and not waiting.done():
                waiting.set_exception(ended)
        if not self._asked.cancelled():
            self._asked.exception()  # nobody may be waiting for it

    # -- Runtime (the client's side)

    def ask(self, connection: RuntimeConnection) -> None:
        """See ``runtime_api.Runtime``."""
        self._connection = connection
        if not self._asked.done():
            self._asked.set_result(None)

    def answer(self, request_id: str, payload: bytes, failed: bool) -> bool:
        """See ``runtime_api.Runtime``."""
        if self._outcome is None or self._outcome.done() or request_id != self._request_id:
            return False
        self._outcome.set_result((payload, failed))
        return True

    def init_failed(self, payload: bytes) -> None:
        """See ``runtime_api.Runtime``."""
        self._init_error = payload

    def confused(self) -> None:
        """See ``runtime_api.Runtime``."""
        self.usable = False

    def gone(self, connection: RuntimeConnection) -> None:
        """See ``runtime_api.Runtime``."""
        if self._connection is connection:
            self._connection = None

    # -- invocations

    async def invoke(self, request_id: str, payload: bytes, client_context: str | None) -> Invocation:
        """Run the handler once. Whatever happens there is in the answer. Raises ``WorkerLost``."""
        began = time.perf_counter()
        fresh, self._fresh = self._fresh, False
        self.busy, self._request_id, self._peak = True, request_id, 0
        self._output.begin()
        self._output.say(f"START RequestId: {request_id} Version: $LATEST")
        init_ms = 0.0
        try:
            await self._until_ready(fresh)
            if fresh:
                init_ms = (time.perf_counter() - began) * 1000
            began = time.perf_counter()
            answer, failed = await self._run(request_id, payload, client_context)
            error = "Unhandled" if failed else None
        except _Ended as ended:
            self.usable = False
            answer, error = self._error_document(request_id, ended), "Unhandled"
        finally:
            self.busy = False
            self.idle_since = time.monotonic()
        duration_ms = (time.perf_counter() - began) * 1000
        # What the handler printed before it answered is in the pipe already: let the loop read it.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self._report(request_id, duration_ms, init_ms)
        return Invocation(answer, error, "$LATEST", self._output.tail(), duration_ms, request_id)

    async def _until_ready(self, fresh: bool) -> None:
        try:
            await asyncio.wait_for(asyncio.shield(self._asked), self._limits.init_s)
        except TimeoutError:
            self._why = "the handler did not load in time"
            self._kill()
            raise _Ended("Sandbox.Timedout", f"Init timed out after {self._limits.init_s:.2f} seconds") from None
        except _Ended:
            if fresh:
                raise
            raise WorkerLost from None
        if self._connection is None:
            self.usable = False
            raise WorkerLost

    async def _run(self, request_id: str, payload: bytes, client_context: str | None) -> tuple[bytes, bool]:
        connection = self._connection
        assert connection is not None
        timeout_s = self.function.settings.timeout_s
        self._outcome = asyncio.get_running_loop().create_future()
        self._connection = None
        self._asked = asyncio.get_running_loop().create_future()
        connection.give(self._headers(request_id, timeout_s, client_context), payload)
        try:
            return await asyncio.wait_for(self._outcome, timeout_s)
        except TimeoutError:
            self._why = "it took too long"
            self._kill()
            raise _Ended("Sandbox.Timedout", f"Task timed out after {timeout_s:.2f} seconds") from None
        finally:
            self._outcome = None

    def _headers(self, request_id: str, timeout_s: int, client_context: str | None) -> list[tuple[bytes, bytes]]:
        deadline = int((time.time() + timeout_s) * 1000)
        headers = [
            (b"Lambda-Runtime-Aws-Request-Id", request_id.encode()),
            (b"Lambda-Runtime-Deadline-Ms", str(deadline).encode()),
            (b"Lambda-Runtime-Invoked-Function-Arn", self.function.arn.encode()),
            (b"Lambda-Runtime-Trace-Id", _trace_id().encode()),
        ]
        if client_context:
            headers.append((b"Lambda-Runtime-Client-Context", client_context.encode("ascii", "replace")))
        return headers

    def _error_document(self, request_id: str, ended: _Ended) -> bytes:
        if self._init_error is not None:
            return self._init_error
        document: dict[str, Any] = {
            "errorType": ended.kind,
            "errorMessage": f"RequestId: {request_id} Error: {ended.text}",
        }
        return json.dumps(document).encode()

    def _report(self, request_id: str, duration_ms: float, init_ms: float) -> None:
        self._output.say(f"END RequestId: {request_id}")
        line = (
            f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\t"
            f"Billed Duration: {int(duration_ms) + 1} ms\tMemory Size: {self.function.settings.memory_mb} MB\t"
            f"Max Memory Used: {max(self._peak, self.resident_bytes()) // _MiB} MB"
        )
        self._output.say(line + (f"\tInit Duration: {init_ms:.2f} ms" if init_ms else ""))

    # -- memory

    def resident_bytes(self) -> int:
        """Resident memory of the process and its children."""
        return _resident(self._process.pid) if self._process is not None else 0

    def check_memory(self) -> None:
        """Kill it if it uses more than its function may."""
        self._peak = max(self._peak, self.resident_bytes())
        if self.busy and self._peak > self.function.settings.memory_mb * _MiB:
            self._why = "signal: killed (out of memory)"
            self._kill()


def _prepare(folder: Path) -> None:
    (folder / "tmp").mkdir(parents=True)
    (folder / "aws-config").write_text(AWS_CONFIG)


def _resident(pid: int) -> int:
    """From /proc, with the children of children; 0 for what is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(_resident(int(child)) for child in children)


def _exit_text(code: int) -> str:
    if code < 0:
        return f"signal: {signal.Signals(-code).name.removeprefix('SIG').lower()}"
    return f"exit status {code}"


def _trace_id() -> str:
    """AWS X-Ray's form: version, time, 96 random bits."""
    return f"Root=1-{int(time.time()):08x}-{os.urandom(12).hex()};Sampled=0"


def new_stream() -> str:
    """A log stream's name, as Lambda forms them."""
    return f"{time.strftime('%Y/%m/%d', time.gmtime())}/[$LATEST]{new_token(12)}"
