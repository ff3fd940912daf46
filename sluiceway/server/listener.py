"""The sockets: uvicorn on addresses that are bound here, so that their ports are known before anything runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final, cast

import uvicorn

from sluiceway.config import HttpSettings
from sluiceway.edges.application import Application
from sluiceway.edges.protocol import http_protocol
from sluiceway.errors import Unavailable

_BACKLOG = 2048
_LOOK_S = 0.05  # between looks at what is in flight at a stop
_FLUSH_S = 0.3  # for the last bytes of answers over TLS
_SOCKET_MESSAGE_BYTES = 256 * 1024  # above the 128 KiB of API Gateway, so that the edge itself refuses with 1009


#: What uvicorn says of its clients' faults, some of them as errors with a traceback.
_CLIENTS_FAULTS: Final = frozenset(
    {
        "ASGI callable returned without completing handshake.",  # a refused WebSocket
        "Invalid HTTP request received.",
        "Invalid UTF-8 sequence received from client.",
        "Unsupported upgrade request.",
    }
)
_REPEAT_S: Final = 10.0


class _Quiet(logging.Filter):
    """Keeps clients from filling the log: their faults are told when debugging, and a flood once in a while."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        words = str(record.msg)
        if words in _CLIENTS_FAULTS:
            return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
        if words != "Exceeded concurrency limit.":
            return True
        told = self._told.get(words)
        if told is not None and record.created - told < _REPEAT_S:
            return False
        self._told[words] = record.created
        return True


class _Uvicorn(uvicorn.Server):
    """Signals belong to the command line. ``ready`` is set once connections are accepted."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        await super().startup(sockets)
        self.ready.set()

    async def _wait_tasks_to_complete(self) -> None:
        """As uvicorn's, but for TLS connections without a request: a client may never answer their closing."""
        while self.server_state.connections and not self.force_exit:
            if self.config.is_ssl and not self.server_state.tasks:
                await asyncio.sleep(_FLUSH_S)
                return
            await asyncio.sleep(_LOOK_S)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Take none."""
        yield


class Listener:
    """Serves ``application`` on ``host``:``port`` (0: any free one). Raises ``Unavailable("port")``."""

    def __init__(
        self,
        application: Application,
        limits: HttpSettings,
        host: str,
        port: int,
        tls: tuple[Path, Path] | None,
    ) -> None:
        self._socket = _bind(host, port)
        self.port = int(self._socket.getsockname()[1])
        certificate, key = tls or (None, None)
        config = uvicorn.Config(
            application,
            http=cast(Any, http_protocol(application, limits)),
            ws="websockets-sansio",
            ws_max_size=_SOCKET_MESSAGE_BYTES,
            ws_ping_timeout=60.0,  # a function may run for 29 s before the next frame is read
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=int(limits.stop_grace_s),
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        self._server = _Uvicorn(config)
        log = logging.getLogger("uvicorn.error")
        if not any(isinstance(one, _Quiet) for one in log.filters):
            log.addFilter(_Quiet())
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Accept connections."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait([self._task, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            await self._task

    async def stop(self) -> None:
        """Accept no more, and let what is in flight end within the grace."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()

    @property
    def ended(self) -> bool:
        """Whether it stopped by itself, which it should not."""
        return self._task is not None and self._task.done()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise Unavailable("port", f"Can't listen on {host}:{port}: {error.strerror}. Choose another --port.") from None
    made.setblocking(False)
    return made
