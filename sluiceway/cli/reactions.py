"""``sluiceway reactions``: what reacts to what, how far it is, and what to do about what failed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from sluiceway.cli.look import start_of
from sluiceway.cli.options import Data, Port
from sluiceway.cli.running import Running, fail, find

app = typer.Typer(help="Reactions: list, show, pause, resume, redrive, discard, replay.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The reaction's id, as `sluiceway reactions list` shows it.")]
Offset = Annotated[int | None, typer.Option("--offset", min=0, help="Only the event at this offset; all if not given.")]


Json = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command("list")
def list_reactions(as_json: Json = False, data: Data = None, port: Port = None) -> None:
    """Show the id of every reaction, with its log, its target and what waits."""
    rows = list(all_rows(find(data, port)))
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for row in rows:
        typer.echo(f"{row['id']}\n    {row['log']} -> {row['target']}: {_waits(row)}")
        if row["last_error"] and (row["parked"] or row["dead"] or row["lag"]):
            typer.echo(f"    last error: {row['last_error'][:200]}")


def all_rows(server: Running) -> Iterator[dict[str, Any]]:
    """Every reaction, page by page."""
    after: str | None = ""
    while after is not None:
        found = server.get("status", after=after)
        yield from found["reactions"]
        after = found["more"]


def _waits(row: dict[str, Any]) -> str:
    named = {"lag": "behind", "in_flight": "in flight", "parked": "parked", "dead": "dead"}
    waits = [f"{row[name]} {word}" for name, word in named.items() if row[name]]
    if row["lag"] or row["parked"]:
        waits.append(f"the oldest {_span(row['oldest_age_ms'])} old")
    if row["paused"]:
        waits.insert(0, "paused")
    return ", ".join(waits) or "nothing waits"


@app.command()
def show(reaction: Name, as_json: Json = False, data: Data = None, port: Port = None) -> None:
    """Show one reaction: how far it is, its last error, what is tried again next, and what it gave up."""
    found = find(data, port).get("reaction", id=reaction)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    typer.echo(f"{found['log']} -> {found['target']}{' (paused)' if found['paused'] else ''}")
    typer.echo(f"  next offset {found['position']['next']}, {found['lag']} behind, {found['in_flight']} in flight")
    typer.echo(f"  {found['attempts']} attempts: {found['delivered']} delivered, {found['failed']} failed")
    typer.echo(
        f"  {found['parked']} parked{_next_try(found)}, {found['dead']} given up and kept, of {found['given_up']}"
    )
    if found["last_error"]:
        typer.echo(f"  last error {_time(found['last_error_ms'])}: {found['last_error']}")
    for event in found["waiting"]:
        typer.echo(
            f"  tried again at {_time(event['next_try_ms'])} after {event['tries']} tries: offset {event['offset']}"
        )
        typer.echo(f"    {event['reason']}")
    for letter in found["dead_letters"]:
        typer.echo(f"  given up at {_time(letter['dead_ms'])} after {letter['tries']} tries: offset {letter['offset']}")
        typer.echo(f"    {letter['reason']}")


@app.command()
def pause(reaction: Name, as_json: Json = False, data: Data = None, port: Port = None) -> None:
    """Deliver nothing more until it is resumed; events wait in their log."""
    _act(data, port, id=reaction, action="pause")
    _say(as_json, "Paused.", id=reaction, paused=True)


@app.command()
def resume(reaction: Name, as_json: Json = False, data: Data = None, port: Port = None) -> None:
    """Go on where it was paused."""
    _act(data, port, id=reaction, action="resume")
    _say(as_json, "Resumed.", id=reaction, paused=False)


@app.command()
def redrive(reaction: Name, offset: Offset = None, as_json: Json = False, data: Data = None, port: Port = None) -> None:
    """Try events that were given up again, from the beginning."""
    count = _many(reaction, "redrive", offset, data, port)
    _say(as_json, f"{count} events are tried again.", id=reaction, redriven=count)


@app.command()
def discard(reaction: Name, offset: Offset = None, as_json: Json = False, data: Data = None, port: Port = None) -> None:
    """Forget events that were given up."""
    count = _many(reaction, "discard", offset, data, port)
    _say(as_json, f"{count} events are forgotten.", id=reaction, discarded=count)


@app.command()
def replay(
    reaction: Name,
    begin: Annotated[str, typer.Option("--from", help="An offset, or a time (ISO 8601, UTC).")],
    as_json: Json = False,
    data: Data = None,
    port: Port = None,
) -> None:
    """Deliver again from an offset or a time on. Other reactions are not touched."""
    start = start_of(begin)
    place = {"time_ms": start[1:]} if start.startswith("@") else {"offset": start}
    if not place.get("offset", place.get("time_ms", "")).isdigit():
        raise fail("--from takes an offset or a time.")
    offset = _act(data, port, id=reaction, action="replay", **place)
    _say(as_json, f"It goes on from offset {offset}.", id=reaction, next=offset)


def _say(as_json: bool, text: str, **found: Any) -> None:
    typer.echo(json.dumps(found) if as_json else text)


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


def _span(ms: int) -> str:
    seconds = ms // 1000
    for size, word in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {word}"
    return f"{seconds} s"
