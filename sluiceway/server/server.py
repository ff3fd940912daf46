"""The process: one data folder, its listener, and whoever stands behind it now."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
from pathlib import Path
from typing import Any, Final

from sluiceway.config import Settings
from sluiceway.edges.application import Application
from sluiceway.edges.http import Handler, Receive, Request, Response
from sluiceway.edges.own.metrics import Metrics
from sluiceway.edges.own.pages import OwnPages
from sluiceway.edges.routing import Router
from sluiceway.engines.keyfile import MASTER_KEY_FILE, ROOT_KEY_FILE
from sluiceway.errors import Unavailable
from sluiceway.server.listener import Listener
from sluiceway.server.node import Node
from sluiceway.server.secure import SecureListener
from sluiceway.server.services import Place, open_services

log = logging.getLogger(__name__)

_LOCK: Final = "lock"
_KEPT: Final = frozenset({_LOCK, ROOT_KEY_FILE, MASTER_KEY_FILE, "server.json"})
_LOOK_S: Final = 0.5


class Server:
    """``ephemeral`` allows a reset. ``port``, ``url`` are known once it has started."""

    def __init__(self, settings: Settings, ephemeral: bool) -> None:
        self.settings = settings.model_copy(update={"data": settings.data.absolute()})
        self._data = self.settings.data
        self._ephemeral = ephemeral
        self._metrics = Metrics()
        self._lock: int | None = None
        self._node: Node | None = None
        self._router: Router | None = None
        self._listener: Listener | None = None
        self._secure: SecureListener | None = None
        self._changing = asyncio.Lock()

    @property
    def port(self) -> int:
        """The TCP port."""
        assert self._listener is not None
        return self._listener.port

    @property
    def url(self) -> str:
        """The address, as programs on this machine reach it."""
        http = self.settings.http
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(http.host, http.host)
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"{'https' if http.tls_certificate else 'http'}://{host}:{self.port}"

    # -- life

    async def start(self) -> None:
        """Open the data folder and accept requests. Raises ``Unavailable`` with what to do."""
        http = self.settings.http
        self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _hold(self._data)
        application = Application(self._route, self._sockets, http, self._metrics)
        tls = (http.tls_certificate, http.tls_key) if http.tls_certificate and http.tls_key else None
        try:
            self._listener = Listener(application, http, http.host, http.port, tls)
            self._secure = SecureListener(application, http, self.settings.region, self._data / "tls")
            await self._open()
            await self._listener.start()
        except BaseException:
            await self.stop()
            raise

    async def until(self, stop: asyncio.Event) -> None:
        """Return when ``stop`` is set. Raises ``Unavailable`` if the listener ended by itself."""
        while not stop.is_set():
            if self._listener is None or self._listener.ended:
                raise Unavailable("listener", "The server no longer accepts connections; its log says why.")
            try:
                await asyncio.wait_for(stop.wait(), _LOOK_S)
            except TimeoutError:
                continue

    async def stop(self) -> None:
        """Finish what is in flight, bounded, and let go of everything."""
        if self._node is not None:
            self._node.services.wakeups.end()
        for listener in (self._listener, self._secure):
            if listener is not None:
                await listener.stop()
        async with self._changing:
            await self._close(self.settings.http.stop_grace_s)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _open(self) -> None:
        services = await open_services(self.settings, Place(self._data, lambda: self.url))
        node = Node(services, self._hosts)
        self._router = node.router(self._pages(node))
        self._node = node
        node.show_in(self._metrics)
        await node.start()

    def _pages(self, node: Node) -> dict[str, Handler]:
        reset = self._reset if self._ephemeral else None
        in_flight = node.dispatcher.stats.in_flight
        return OwnPages(node.services, self._metrics, self.url, reset, lambda: in_flight).handlers()

    async def _close(self, grace_s: float) -> None:
        node, self._node, self._router = self._node, None, None
        if node is not None:
            node.services.wakeups.end()
            await node.stop(grace_s)

    async def _reset(self) -> None:
        """Forget everything but the keys."""
        async with self._changing:
            await self._close(0.0)
            await asyncio.to_thread(_wipe, self._data)
            await self._open()

    # -- requests

    async def _route(self, request: Request) -> Response:
        if self._router is None:
            raise Unavailable("starting", "The server is starting or stopping. Try again in a moment.")
        return await self._router(request)

    async def _sockets(self, scope: dict[str, Any], receive: Receive, send: Any) -> None:
        if self._node is None:
            await receive()
            await send({"type": "websocket.close", "code": 1013})
            return
        await self._node.edges.sockets.sockets(scope, receive, send)

    async def _hosts(self) -> dict[str, Any]:
        """For ``Surroundings.hosts``."""
        assert self._secure is not None
        port, made = await self._secure.opened()
        return {"http": self.port, "https": port, "ca": str(made.authority), "bundle": str(made.bundle)}


def _hold(data: Path) -> int:
    """Hold the data folder for this process alone. Raises ``Unavailable("data")``."""
    lock = os.open(data / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise Unavailable(
            "data", f"Another process holds the data folder {data}. Stop it, or choose another with --data."
        ) from None
    return lock


def _wipe(data: Path) -> None:
    for path in data.iterdir():
        if path.name in _KEPT or path.name == "tls":
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
