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
from sluiceway.cli.running import Failed, Running, fail, find, settings_from
from sluiceway.engines.keyfile import ROOT_KEY_FILE, KeyFileError, read_root_key

_LOOK_S = 0.5  # between looks at a stream of several shards
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
    if server.certificate is not None:
        values |= {"AWS_CA_BUNDLE": str(server.certificate), "NODE_EXTRA_CA_CERTS": str(server.certificate)}
    for name, value in values.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    typer.echo("unset AWS_SESSION_TOKEN AWS_PROFILE")


def status(
    data: Data = None,
    port: Port = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the server and its reactions: lag, what is under way, parked, dead and delivered, the last error."""
    found = find(data, port).get("status")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    state = f"FAILING: {found['problem']}" if found["problem"] else "ok"
    typer.echo(f"sluiceway {found['version']} at {found['url']}, data in {found['data']}: {state}")
    if not found["reactions"]:
        typer.echo("No reactions: nothing is subscribed to anything yet.")
        return
    typer.echo(
        f"{'LOG':<34} {'TARGET':<44} {'LAG':>6} {'OLDEST':>8} {'FLYING':>6} {'PARKED':>6} {'DEAD':>5} "
        f"{'DELIVERED':>9} {'FAILED':>6}"
    )
    for row in found["reactions"]:
        typer.echo(
            f"{row['log'][:34]:<34} {row['target'][:44]:<44} {row['lag']:>6} "
            f"{row['oldest_age_ms'] / 1000:>7.0f}s {row['in_flight']:>6} {row['parked']:>6} {row['dead']:>5} "
            f"{row['delivered']:>9} {row['failed']:>6}"
        )
        if row["last_error"]:
            typer.echo(f"    last error: {row['last_error'][:200]}")
    if found["more"]:
        typer.echo("There are more: `sluiceway reactions list` shows all.")


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
    begin = start_of(begin)
    server = find(data, port)

    def logs_now() -> list[str]:
        return [f"stream/{name}/{shard}" for shard in _shards(server, name)] if kind == "stream" else [f"{kind}/{name}"]

    _check_there(server, logs_now(), kind, name)
    _print_all(server, logs_now, begin, follow, _json_line)


def outbox(follow: Follow = False, data: Data = None, port: Port = None) -> None:
    """Print mails and text messages that were kept, as no mail server or SMS gateway is set."""
    _print_all(find(data, port), lambda: ["mailbox"], "", follow, _json_line)


def logs(
    function: Annotated[str, typer.Argument(help="The function's name.")],
    follow: Follow = False,
    data: Data = None,
    port: Port = None,
) -> None:
    """Print what a function wrote."""
    server, names = find(data, port), [f"function-logs/{function}"]
    _check_there(server, names, "function", function)
    _print_all(server, lambda: names, "", follow, _log_line)


def _check_there(server: Running, names: list[str], kind: str, name: str) -> None:
    """End the command if nothing has that name; what is gone may still be looked at while its log is there."""
    from botocore.exceptions import ClientError, ParamValidationError

    if kind == "stream" or any(server.get("events", log=each, limit="1")["end"] for each in names):
        return
    account = server.client("sts").get_caller_identity()["Account"] if kind == "topic" else ""
    service, operation, parameters = {
        "bucket": ("s3", "head_bucket", {"Bucket": name}),
        "topic": ("sns", "get_topic_attributes", {"TopicArn": f"arn:aws:sns:{server.region}:{account}:{name}"}),
        "table": ("dynamodb", "describe_table", {"TableName": name}),
        "function": ("lambda", "get_function_configuration", {"FunctionName": name}),
    }[kind]
    try:
        getattr(server.client(service), operation)(**parameters)
    except (ClientError, ParamValidationError):
        raise fail(f"There is no {kind} {name}.") from None


def _print_all(
    server: Running,
    names: Callable[[], list[str]],
    begin: str,
    follow: bool,
    show: Callable[[str, dict[str, Any]], str],
) -> None:
    positions: dict[str, str] = {}
    try:
        while True:
            logs_now = names()
            for name in logs_now:
                positions.setdefault(name, begin)
                for entry in _entries(server, positions, name, follow and len(logs_now) == 1):
                    typer.echo(show(name, entry))
            if not follow:
                return
            if len(logs_now) > 1:
                time.sleep(_LOOK_S)
    except KeyboardInterrupt:
        return


def _json_line(log: str, entry: dict[str, Any]) -> str:
    return json.dumps({"log": log, **entry}, ensure_ascii=False)


def _entries(server: Running, positions: dict[str, str], name: str, wait: bool) -> Iterator[dict[str, Any]]:
    while True:
        found = server.get("events", log=name, limit="500", wait_s="15" if wait else "0", **{"from": positions[name]})
        yield from found["entries"]
        positions[name] = str(found["next"])
        if not found["entries"] or found["next"] >= found["end"]:
            return


def start_of(text: str) -> str:
    """What the server calls an offset (as it is) or a time (``@`` and milliseconds)."""
    if not text or text.isdigit():
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise fail(f"--from takes an offset or a time such as 2026-01-31T08:00:00, not {text!r}.") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return f"@{int(moment.timestamp() * 1000)}"


def _shards(server: Running, stream: str) -> list[str]:
    from botocore.exceptions import ClientError, ParamValidationError

    try:
        pages = server.client("kinesis").get_paginator("list_shards").paginate(StreamName=stream)
        return [shard["ShardId"] for page in pages for shard in page["Shards"]]
    except (ClientError, ParamValidationError):
        raise fail(f"There is no stream {stream}.") from None


def _log_line(_: str, entry: dict[str, Any]) -> str:
    value = entry["value"]
    when = datetime.fromtimestamp(value["at"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return "\n".join(f"{when} {line}" for line in value["lines"])


def doctor(data: Data = None, port: Port = None) -> None:
    """Check this machine and, if one runs, the server; says what to do where something is missing."""
    checks = [
        (sys.version_info >= (3, 11), f"Python {sys.version.split()[0]}", "Python 3.11 or newer is needed."),
        (shutil.which("node") is not None, "node for Node.js functions", "Install Node.js 18 or newer to run them."),
        (sys.platform == "linux", "Linux for function workers", "Functions need Linux."),
        *_confinement(),
        *_folder(data),
    ]
    for good, what, advice in checks:
        typer.echo(f"{'ok  ' if good else 'MISS'} {what}" + ("" if good else f": {advice}"))
    good = all(good for good, _, _ in checks)
    try:
        server = find(data, port)
    except Failed as error:
        typer.echo(f"     {error}")
        raise typer.Exit(0 if good else 1) from None
    found = server.get("status")
    typer.echo(f"{'ok  ' if not found['problem'] else 'FAIL'} server at {server.url} {found['problem'] or ''}")
    dead = sum(row["dead"] for row in found["reactions"])
    parked = sum(row["parked"] for row in found["reactions"])
    typer.echo(f"{'ok  ' if not dead else 'LOOK'} {parked} events parked, {dead} dead letters kept by reactions")
    raise typer.Exit(1 if found["problem"] or not good else 0)


_Check = tuple[bool, str, str]


def _confinement() -> list[_Check]:
    if sys.platform != "linux":
        return []
    from sluiceway.reactions.functions.sandbox import landlock_version  # with all of the pool: for doctor only

    advice = (
        "This kernel has no Landlock (Linux 5.13), or has it turned off: functions could read the server's own files. "
        "Run only functions that you trust, or set functions.sandbox to required, which refuses to run any."
    )
    return [(landlock_version() > 0, "Landlock, which keeps functions from the server's files", advice)]


def _folder(data: Path | None) -> list[_Check]:
    """The settings, and the data folder that they lead to."""
    try:
        settings = settings_from({"data": data} if data is not None else {})
    except Failed as error:
        return [(False, "settings", str(error)), _disk(data or Path.cwd())]
    checks = [(True, "settings", ""), _disk(settings.data)]
    if settings.data.is_dir():
        can = os.access(settings.data, os.R_OK | os.W_OK | os.X_OK)
        checks.append((can, f"data folder {settings.data}", "This user can't write into it: check its owner and mode."))
    if (settings.data / ROOT_KEY_FILE).exists():
        try:
            read_root_key(settings.data)
            checks.append((True, "root key", ""))
        except KeyFileError as error:
            checks.append((False, "root key", str(error)))
    return checks


def _disk(folder: Path) -> _Check:
    place = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(place).free
    return free > 1 << 30, f"{free >> 20} MiB of free disk", "Less than 1 GiB is left; writing stops when it is full."
