"""``sluiceway up``: run the server in the foreground until it is asked to stop."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import signal
import sys
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from pydantic import ValidationError

from sluiceway.cli import deploy as deployment
from sluiceway.cli.running import announce, fail, find
from sluiceway.config import Settings, load_settings
from sluiceway.errors import DomainError
from sluiceway.server import Server

log = logging.getLogger(__name__)


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
    if template is not None and not template.is_file():
        raise fail(f"There is no template {template}.")
    folder = Path(tempfile.mkdtemp(prefix="sluiceway-")) if ephemeral else data
    try:
        settings = _settings(folder, host, port, log_format)
        _configure_logs(settings)
        uvloop.run(_serve(settings, template, stack, ephemeral))
    finally:
        if ephemeral and folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _settings(data: Path | None, host: str | None, port: int | None, log_format: str | None) -> Settings:
    http = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    given: dict[str, Any] = {"http": http} if http else {}
    given |= {"data": data} if data is not None else {}
    given |= {"log_format": log_format} if log_format else {}
    try:
        return load_settings(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise fail(f"Setting {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


async def _serve(settings: Settings, template: Path | None, stack: str | None, ephemeral: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    server = Server(settings, ephemeral)
    try:
        await server.start()
    except DomainError as error:
        raise fail(error.message) from None
    files = announce(server.settings, server.url)
    typer.echo(f"Sluiceway is at {server.url}, its data in {settings.data}. Ctrl-C stops it.")
    typer.echo(f'For AWS tools: eval "$(sluiceway env --port {server.port})"')
    if template is not None:
        threading.Thread(target=_deploy, args=(settings.data, template, stack), daemon=True).start()
    try:
        await server.until(stop)
    finally:
        await server.stop()
        for file in files:
            file.unlink(missing_ok=True)


def _deploy(data: Path, template: Path, stack: str | None) -> None:
    """In a thread, as a client like any other."""
    name = stack or template.resolve().parent.name
    try:
        outputs = deployment.deploy_to(find(data, None), template, name, {}, say=typer.echo)
    except typer.Exit:
        typer.echo(f"The server runs on without the stack {name}.", err=True)
        return
    for output, value in outputs.items():
        typer.echo(f"  {output} = {value}")


class _Lines(logging.Formatter):
    """One readable line for each record; a traceback follows on lines of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Names without the package in front."""
        record.name = record.name.removeprefix("sluiceway.")
        return super().format(record)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One JSON object a line."""
        row = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            row["exception"] = self.formatException(record.exc_info)
        return json.dumps(row, ensure_ascii=False)


def _configure_logs(settings: Settings) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if settings.log_format == "json" else _Lines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("sluiceway").setLevel(settings.log_level.upper())
