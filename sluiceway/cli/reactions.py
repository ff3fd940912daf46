"""``sluiceway reactions``: what reacts to what, how far it is, and what to do about what failed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from sluiceway.cli.look import start_of
from sluiceway.cli.options import Data, Port
from sluiceway.cli.running import fail, find

app = typer.Typer(help="Reactions: list, show, pause, resume, redrive, discard, replay.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The reaction's id, as `sluiceway reactions list` shows it.")]
Offset = Annotated[int | None, typer.Option("--offset", min=0, help="Only the event at this offset; all if not given.")]


@app.command("list")
def list_reactions(data: Data = None, port: Port = None) -> None:
    """Show the id of every reaction, with its log, its target and what waits."""
    for row in find(data, port).get("status")["reactions"]:
        waits = ", ".join(f"{row[name]} {name}" for name in ("lag", "parked", "dead") if row[name])
        paused = "paused, " if row["paused"] else ""
        typer.echo(f"{row['id']}\n    {row['log']} -> {row['target']}: {paused}{waits or 'nothing waits'}")


@app.command()
def show(
    reaction: Name,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    data: Data = None,
    port: Port = None,
) -> None:
    """Show one reaction: how far it is, its last error, and the oldest events that it gave up."""
    found = find(data, port).get("reaction", id=reaction)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    row, position = found["reaction"], found["position"]
    typer.echo(f"{row['log']} -> {row['target']['kind']}:{row['target']['address']}")
    typer.echo(f"  next offset {position['next']}, {found['lag']} behind, {position.get('delivered', 0)} delivered")
    typer.echo(f"  {found['parked']} parked{_next_try(found)}, {found['dead']} given up")
    if position.get("last_error"):
        typer.echo(f"  last error {_time(position.get('last_error_ms', 0))}: {position['last_error']}")
    for letter in found["dead_letters"]:
        typer.echo(f"  given up at {_time(letter['dead_ms'])} after {letter['tries']} tries: offset {letter['offset']}")
        typer.echo(f"    {letter['reason']}")


@app.command()
def pause(reaction: Name, data: Data = None, port: Port = None) -> None:
    """Deliver nothing more until it is resumed; events wait in their log."""
    _act(data, port, id=reaction, action="pause")
    typer.echo("Paused.")


@app.command()
def resume(reaction: Name, data: Data = None, port: Port = None) -> None:
    """Go on where it was paused."""
    _act(data, port, id=reaction, action="resume")
    typer.echo("Resumed.")


@app.command()
def redrive(reaction: Name, offset: Offset = None, data: Data = None, port: Port = None) -> None:
    """Try events that were given up again, from the beginning."""
    typer.echo(f"{_many(reaction, 'redrive', offset, data, port)} events are tried again.")


@app.command()
def discard(reaction: Name, offset: Offset = None, data: Data = None, port: Port = None) -> None:
    """Forget events that were given up."""
    typer.echo(f"{_many(reaction, 'discard', offset, data, port)} events are forgotten.")


@app.command()
def replay(
    reaction: Name,
    begin: Annotated[str, typer.Option("--from", help="An offset, or a time (ISO 8601, UTC).")],
    data: Data = None,
    port: Port = None,
) -> None:
    """Deliver again from an offset or a time on. Other reactions are not touched."""
    start = start_of(begin)
    place = {"time_ms": start[1:]} if start.startswith("@") else {"offset": start}
    if not place.get("offset", place.get("time_ms", "")).isdigit():
        raise fail("--from takes an offset or a time.")
    typer.echo(f"It goes on from offset {_act(data, port, id=reaction, action='replay', **place)}.")


def _many(reaction: str, action: str, offset: int | None, data: Data, port: Port) -> int:
    """All of them, a bounded part in one request."""
    if offset is not None:
        return int(_act(data, port, id=reaction, action=action, offset=str(offset)))
    wanted = int(find(data, port).get("reaction", id=reaction)["dead"])
    total = 0
    while total < wanted:  # what fails once more and comes back is not tried a third time
        count = int(_act(data, port, id=reaction, action=action))
        if not count:
            break
        total += count
    return total


def _act(data: Data, port: Port, **query: str) -> Any:
    return find(data, port).get("reactions", "POST", **query)["result"]


def _next_try(found: dict[str, Any]) -> str:
    return f" (next try {_time(found['next_try_ms'])})" if found["next_try_ms"] else ""


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
