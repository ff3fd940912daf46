"""The command ``sluiceway``: one file per group of commands, put together here."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sluiceway import __version__
from sluiceway.cli import deploy, keys, look, reactions, up
from sluiceway.cli.running import Failed
from sluiceway.engines.keyfile import KeyFileError


class _Commands(TyperGroup):
    """Whatever ends a command without success is told in a line or two, never as a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """As typer's."""
        try:
            return super().invoke(ctx)
        except Failed as error:
            typer.echo(f"sluiceway: {error}", err=True)
            raise
        except BrokenPipeError:
            raise
        except (KeyFileError, OSError) as error:
            typer.echo(f"sluiceway: {error}", err=True)
        except Exception as error:
            words = _of_client(error)
            if words is None:
                raise
            typer.echo(f"sluiceway: {words}", err=True)
        raise typer.Exit(1)


def _of_client(error: Exception) -> str | None:
    """What botocore's client met, in words."""
    from botocore.exceptions import BotoCoreError, ClientError  # here: the server starts without botocore

    if isinstance(error, ClientError):
        return error.response["Error"].get("Message") or str(error)
    return f"The server could not be asked: {error}" if isinstance(error, BotoCoreError) else None


app = typer.Typer(
    cls=_Commands,
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
app.add_typer(reactions.app, name="reactions")
