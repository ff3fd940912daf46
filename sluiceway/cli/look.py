"""Commands that look at a running server: env, status, events, outbox, logs, doctor."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from sluiceway.cli.options import Data, Port
from sluiceway.cli.running import Running, fail, find

Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")]


def env(data: Data = None, port: Port = None) -> None:
    """Print export lines for every AWS SDK and the AWS CLI: eval "$(sluiceway env)"."""
    server = find(data, port)
    values = {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": server.key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": server.key.secret_access_key,
        "AWS_REGION": server.region,
        "AWS_DEFAULT_REGION": server.region,
    }
    for name, value in values.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    typer.echo("unset AWS_SESSION_TOKEN AWS_PROFILE")


def status(
    data: Data = None,
    port: Port = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the server and every reaction: lag, parked and dead events, the last error."""
    found = find(data, port).get("status")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    state = f"FAILING: {found['problem']}" if found["problem"] else "ok"
    typer.echo(f"sluiceway {found['version']} at {found['url']}, data in {found['data']}: {state}")
    if not found["reactions"]:
        typer.echo("No reactions: nothing is subscribed to anything yet.")
        return
    typer.echo(f"{'LOG':<34} {'TARGET':<44} {'LAG':>6} {'PARKED':>6} {'DEAD':>5} {'DELIVERED':>9} {'FAILED':>6}")
    for row in found["reactions"]:
        typer.echo(
            f"{row['log'][:34]:<34} {row['target'][:44]:<44} {row['lag']:>6} {row['parked']:>6} {row['dead']:>5} "
            f"{row['delivered']:>9} {row['failed']:>6}"
        )
        if row["last_error"]:
            typer.echo(f"    last error: {row['last_error'][:200]}")


def events(
    log: Annotated[
        str, typer.Argument(metavar="KIND:NAME", help="bucket:NAME, topic:NAME, table:NAME or stream:NAME.")
    ],
    begin: Annotated[str, typer.Option("--from", help="An offset, or a time (ISO 8601, UTC).")] = "",
    follow: Follow = False,
    data: Data = None,
    port: Port = None,
) -> None:
    """Print what happened to a bucket, topic, table or stream, oldest first, one JSON object a line."""
    kind, _, name = log.partition(":")
    if kind not in ("bucket", "topic", "table", "stream") or not name:
        raise fail("Name what to show as bucket:NAME, topic:NAME, table:NAME or stream:NAME.")
    server = find(data, port)
    begin = _begin(begin)
    logs = [f"stream/{name}/{shard}" for shard in _shards(server, name)] if kind == "stream" else [f"{kind}/{name}"]
    _print_all(server, logs, begin, follow, lambda entry: json.dumps(entry, ensure_ascii=False))


def outbox(follow: Follow = False, data: Data = None, port: Port = None) -> None:
    """Print mails and text messages that were kept, as no mail server or SMS gateway is set."""
    _print_all(find(data, port), ["mailbox"], "", follow, lambda entry: json.dumps(entry, ensure_ascii=False))


def logs(
    function: Annotated[str, typer.Argument(help="The function's name.")],
    follow: Follow = False,
    data: Data = None,
    port: Port = None,
) -> None:
    """Print what a function wrote."""
    _print_all(find(data, port), [f"function-logs/{function}"], "", follow, _log_line)


def _print_all(
    server: Running, names: list[str], begin: str, follow: bool, show: Callable[[dict[str, Any]], str]
) -> None:
    positions = dict.fromkeys(names, begin)
    try:
        while True:
            for name in names:
                for entry in _entries(server, positions, name, follow and len(names) == 1):
                    typer.echo(show(entry))
            if not follow:
                return
            if len(names) > 1:
                time.sleep(0.2)
    except KeyboardInterrupt:
        return


def _entries(server: Running, positions: dict[str, str], name: str, wait: bool) -> Iterator[dict[str, Any]]:
    while True:
        found = server.get("events", log=name, limit="500", wait_s="15" if wait else "0", **{"from": positions[name]})
        yield from found["entries"]
        positions[name] = str(found["next"])
        if not found["entries"] or found["next"] >= found["end"]:
            return


def _begin(text: str) -> str:
    if not text or text.isdigit():
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise fail(f"--from takes an offset or a time such as 2026-01-31T08:00:00, not {text!r}.") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return f"@{int(moment.timestamp() * 1000)}"


def _shards(server: Running, stream: str) -> list[str]:
    from botocore.exceptions import ClientError

    try:
        shards = server.client("kinesis").list_shards(StreamName=stream)["Shards"]
    except ClientError as error:
        raise fail(str(error)) from None
    return [shard["ShardId"] for shard in shards]


def _log_line(entry: dict[str, Any]) -> str:
    value = entry["value"]
    when = datetime.fromtimestamp(value["at"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return "\n".join(f"{when} {line}" for line in value["lines"])


def doctor(data: Data = None, port: Port = None) -> None:
    """Check this machine and, if one runs, the server; says what to do where something is missing."""
    checks = [
        (sys.version_info >= (3, 11), f"Python {sys.version.split()[0]}", "Python 3.11 or newer is needed."),
        (shutil.which("node") is not None, "node for Node.js functions", "Install Node.js 18 or newer to run them."),
        (os.name == "posix", "POSIX system for function workers", "Functions need Linux or macOS."),
        _disk(data or Path.cwd()),
    ]
    for good, what, advice in checks:
        typer.echo(f"{'ok  ' if good else 'MISS'} {what}" + ("" if good else f": {advice}"))
    try:
        server = find(data, port)
    except typer.Exit:
        raise typer.Exit(0 if all(good for good, _, _ in checks) else 1) from None
    found = server.get("status")
    typer.echo(f"{'ok  ' if not found['problem'] else 'FAIL'} server at {server.url} {found['problem'] or ''}")
    dead = sum(row["dead"] for row in found["reactions"])
    parked = sum(row["parked"] for row in found["reactions"])
    typer.echo(f"{'ok  ' if not dead else 'LOOK'} {parked} events parked, {dead} dead letters kept by reactions")
    if found["problem"]:
        raise typer.Exit(1)


def _disk(folder: Path) -> tuple[bool, str, str]:
    place = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(place).free
    return free > 1 << 30, f"{free >> 20} MiB of free disk", "Less than 1 GiB is left; writing stops when it is full."
