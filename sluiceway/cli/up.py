"""``sluiceway up``: run the server in the foreground until it is asked to stop."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import re
import shutil
import signal
import ssl
import tempfile
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluiceway.cli import logs
from sluiceway.cli.running import Failed, announce, fail, find, settings_from
from sluiceway.config import Settings
from sluiceway.errors import DomainError

if TYPE_CHECKING:
    from sluiceway.server import Server

Say = Callable[[str], None]

log = logging.getLogger(__name__)

#: Objects made between looks for cycles; Python's 700 are a few requests' worth, and requests leave hardly any.
_YOUNG = 10_000


def up(
    template: Annotated[Path | None, typer.Argument(help="A template to deploy once the server runs.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="The data folder.", show_default="sluiceway-data")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0 for a free one.", show_default="4566")] = None,
    stack: Annotated[str | None, typer.Option(help="The template's stack; its folder's name if not given.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json", show_default="text")] = None,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="For test suites: a temporary folder, gone at exit; reset allowed.")
    ] = False,
) -> None:
    """Run the server until Ctrl-C; with a template, deploy it too."""
    if ephemeral and data is not None:
        raise fail("--ephemeral makes a data folder of its own: leave --data away.")
    if template is not None:
        from sluiceway.cli.packaging import read_template  # here, as it takes time, and most starts have no template

        read_template(template)
    folder = Path(tempfile.mkdtemp(prefix="sluiceway-")) if ephemeral else data
    try:
        settings = settings_from(_given(folder, host, port, log_format))
        _check_tls(settings)
        logs.configure(settings)
        _run(_serve(settings, template, stack, ephemeral))
    finally:
        if ephemeral and folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _run(work: Coroutine[Any, Any, None]) -> None:
    import uvloop  # as the server itself: here, so that other commands start in half the time

    uvloop.run(work)


def _given(data: Path | None, host: str | None, port: int | None, log_format: str | None) -> dict[str, Any]:
    http = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    given: dict[str, Any] = {"http": http} if http else {}
    given |= {"data": data} if data is not None else {}
    given |= {"log_format": log_format} if log_format else {}
    return given


def _check_tls(settings: Settings) -> None:
    """Told before anything is opened: a certificate and its key belong together and can be read."""
    certificate, key = settings.http.tls_certificate, settings.http.tls_key
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        raise fail("Settings http.tls_certificate and http.tls_key go together: one of them is missing.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:
        raise fail(f"The certificate {certificate} with the key {key} can't be used: {error}.") from None


async def _serve(settings: Settings, template: Path | None, stack: str | None, ephemeral: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(name, stop.set)
    server = await _started(settings, ephemeral)
    files = announce(server.settings, server.url)
    say = _teller(settings)
    say(f"Sluiceway is at {server.url}, its data in {settings.data}. Ctrl-C stops it.")
    say(f'For AWS tools: eval "$(sluiceway env --port {server.port})"')
    if template is not None:
        arguments = (server.settings.data, template, stack or _stack_name(template), say, stop)
        threading.Thread(target=_deploy, args=arguments, daemon=True).start()
    try:
        await server.until(stop)
    except DomainError as error:
        raise fail(error.message) from None
    finally:
        await server.stop()
        for file in files:
            file.unlink(missing_ok=True)


async def _started(settings: Settings, ephemeral: bool) -> Server:
    gc.disable()  # as in ``__main__``: until all is imported and made
    from sluiceway.server import Server

    try:
        server = Server(settings, ephemeral)
        await server.start()
    except DomainError as error:
        raise fail(error.message) from None
    except OSError as error:
        where = error.filename or settings.data
        raise fail(f"Can't use {where}: {error.strerror or error}. Choose another folder with --data.") from None
    except OverflowError:
        raise fail(
            f"There is no port {settings.http.port}: choose a --port of 1 to 65535, or 0 for a free one."
        ) from None
    gc.freeze()  # what is there now stays: looking through it over and over would hold up requests
    gc.set_threshold(_YOUNG, 20, 20)
    gc.enable()
    return server


def _stack_name(template: Path) -> str:
    """The folder's name, as far as a stack can have it (letters, digits and hyphens, a letter first)."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", template.resolve().parent.name).strip("-")
    return name[:128] if name[:1].isalpha() else f"stack-{name}"[:128].rstrip("-")


def _deploy(data: Path, template: Path, name: str, say: Say, stop: asyncio.Event) -> None:
    """In a thread, as a client like any other."""
    from botocore.exceptions import BotoCoreError

    from sluiceway.cli.deploying import deploy_to

    try:
        outputs = deploy_to(find(data, None), template, name, {}, say)
    except (Failed, BotoCoreError, OSError) as error:
        if not stop.is_set():
            say(f"{error}\nThe server runs on without the stack {name}.")
        return
    for output, value in outputs.items():
        say(f"  {output} = {value}")


def _teller(settings: Settings) -> Say:
    """What is said to the person who started the server; as the log is, if that is for machines."""

    def say(text: str) -> None:
        if settings.log_format == "json":
            row = {"time": datetime.now(UTC).isoformat(), "level": "info", "logger": "sluiceway", "message": text}
            typer.echo(json.dumps(row, ensure_ascii=False))
        else:
            typer.echo(text)

    return say
