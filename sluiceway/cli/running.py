"""Finding a running server, and asking it things as its root key.

A server writes its address into its data folder (``server.json``) and into a folder of the user's, named
after its port, so that every command finds it from anywhere.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import typer
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sluiceway.config import Settings, runtime_folder
from sluiceway.engines.keyfile import RootKey, read_root_key


def user_folder() -> Path:
    """Where this user's running servers are listed."""
    return runtime_folder() / "servers"


@dataclass(frozen=True, slots=True)
class Running:
    """A server that was started, and its root key."""

    url: str
    data: Path
    pid: int
    region: str
    key: RootKey

    def fetch(self, path: str, **query: str) -> Any:
        """The JSON at ``/_sluiceway/PATH``. Raises ``OSError``, of which ``HTTPError`` is one."""
        url = f"{self.url}/_sluiceway/{path}"
        if query:
            url += f"?{urlencode(query)}"
        signed = AWSRequest("GET", url)
        credentials = Credentials(self.key.access_key_id, self.key.secret_access_key)
        SigV4Auth(credentials, "sluiceway", self.region).add_auth(signed)
        request = urllib.request.Request(url, headers=dict(signed.headers.items()))
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def get(self, path: str, **query: str) -> Any:
        """As ``fetch``, for a command: ends it with a clear message if that fails."""
        try:
            return self.fetch(path, **query)
        except urllib.error.HTTPError as error:
            raise fail(f"The server refused: {_message(error)}") from None
        except OSError as error:
            raise fail(f"The server at {self.url} does not answer ({error}). Is it running?") from None

    def client(self, service: str) -> Any:
        """A boto3 client of this server, as its root key."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=self.region,
            aws_access_key_id=self.key.access_key_id,
            aws_secret_access_key=self.key.secret_access_key,
        )


def fail(message: str) -> typer.Exit:
    """Print why to standard error; raise what this returns."""
    typer.echo(f"sluiceway: {message}", err=True)
    return typer.Exit(1)


def announce(settings: Settings, url: str) -> list[Path]:
    """Write down where this server is; the files to remove at its end."""
    row = {"url": url, "data": str(settings.data.resolve()), "pid": os.getpid(), "region": settings.region}
    port = url.rsplit(":", 1)[1]
    files = [settings.data / "server.json", user_folder() / f"{port}.json"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(row))
    return files


def find(data: Path | None, port: int | None) -> Running:
    """The server of a data folder, of a port, or the only one that runs. Ends the command if there is none."""
    for file in _candidates(data, port):
        row = _read(file)
        if row is not None and _is_alive(int(row["pid"])):
            folder = Path(row["data"])
            return Running(row["url"], folder, int(row["pid"]), row["region"], read_root_key(folder))
    where = f" with the data folder {data}" if data else f" on port {port}" if port else ""
    raise fail(f"Found no running server{where}. Start one with 'sluiceway up', or say --data or --port.")


def _candidates(data: Path | None, port: int | None) -> list[Path]:
    if data is not None:
        return [data / "server.json"]
    if port is not None:
        return [user_folder() / f"{port}.json"]
    listed = sorted(user_folder().glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    return [Settings().data / "server.json", user_folder() / "4566.json", *listed]


def _read(file: Path) -> dict[str, Any] | None:
    try:
        row: dict[str, Any] = json.loads(file.read_text())
        return row
    except (OSError, ValueError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["message"])
    except (ValueError, KeyError):
        return f"HTTP {error.code}"
