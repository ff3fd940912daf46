"""The command ``sluiceway``: one file per group of commands, put together here."""

from __future__ import annotations

from typing import Annotated

import typer

from sluiceway import __version__
from sluiceway.cli import deploy, keys, look, up

app = typer.Typer(
    name="sluiceway",
    help="Event processing that you own: objects, topics, queues, streams, tables, functions and search in one "
    "durable process that AWS's own tools talk to.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sluiceway {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


app.command("up")(up.up)
app.command("env")(look.env)
app.command("deploy")(deploy.deploy)
app.command("status")(look.status)
app.command("events")(look.events)
app.command("outbox")(look.outbox)
app.command("logs")(look.logs)
app.command("doctor")(look.doctor)
app.add_typer(keys.app, name="keys")
