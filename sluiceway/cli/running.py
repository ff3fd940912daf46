"""Finding a running server, and asking it things as its root key.

A server writes its address into its data folder (``server.json``) and into a folder of the user's, named
after its port, so that every command finds it from anywhere.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import ssl
import tomllib
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import typer
from pydantic import ValidationError

from sluiceway.config import BadVariable, Settings, load_settings, runtime_folder
from sluiceway.engines.keyfile import KeyFileError, RootKey, read_root_key

log = logging.getLogger(__name__)


class Failed(typer.Exit):
    """A command's end without success; the command line prints ``message``."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(code)
        self.message = message

    def __str__(self) -> str:
        return self.message


def user_folder() -> Path:
    """Where this user's running servers are listed."""
    return runtime_folder() / "servers"


@dataclass(frozen=True, slots=True)
class Running:
    """A server that was started, and its root key. ``certificate`` is its own, if it speaks TLS."""

    url: str
    data: Path
    pid: int
    region: str
    key: RootKey
    certificate: Path | None = None

    def fetch(self, path: str, method: str = "GET", **query: str) -> Any:
        """The JSON at ``/_sluiceway/PATH``. Raises ``OSError``, of which ``HTTPError`` is one."""
        url = f"{self.url}/_sluiceway/{path}"
        if query:
            url += f"?{urlencode(query)}"
        # Here, as everywhere in this package: botocore takes a fifth of a second, and the server does without it.
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        signed = AWSRequest(method, url)
        credentials = Credentials(self.key.access_key_id, self.key.secret_access_key)
        SigV4Auth(credentials, "sluiceway", self.region).add_auth(signed)
        request = urllib.request.Request(url, headers=dict(signed.headers.items()), method=method)
        with urllib.request.urlopen(request, timeout=60, context=self._trust()) as answer:
            return json.load(answer)

    def _trust(self) -> ssl.SSLContext | None:
        """The very certificate that the server was given, whatever names it has and whoever signed it."""
        if self.certificate is None:
            return None
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as in ``core.trust``: its chain may be in the file, too
        return context

    def get(self, path: str, method: str = "GET", **query: str) -> Any:
        """As ``fetch``, for a command: ends it with a clear message if that fails."""
        try:
            return self.fetch(path, method, **query)
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
            verify=str(self.certificate) if self.certificate else None,
        )


def fail(message: str) -> Failed:
    """Raise what this returns to end a command: ``message`` goes to standard error, the exit status is 1."""
    return Failed(message)


def settings_from(given: dict[str, Any]) -> Settings:
    """``config.load_settings``; ends the command with the name of the setting that is wrong."""
    try:
        return load_settings(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise fail(f"Setting {'.'.join(map(str, first['loc'])) or 'combination'}: {first['msg']}.") from None
    except (BadVariable, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        what = "The environment" if isinstance(error, BadVariable) else "The file sluiceway.toml in the data folder"
        raise fail(f"{what} can't be read as settings: {error}.") from None
    except OSError as error:
        raise fail(f"Can't read {error.filename}: {error.strerror}.") from None


def announce(settings: Settings, url: str) -> list[Path]:
    """Write down where this server is; the files to remove at its end."""
    certificate = settings.http.tls_certificate
    row = {
        "url": url, "data": str(settings.data.resolve()), "pid": os.getpid(), "region": settings.region,
        "certificate": str(certificate.resolve()) if certificate else None,
    }  # fmt: skip
    port = url.rsplit(":", 1)[1]
    files = [settings.data / "server.json", user_folder() / f"{port}.json"]
    for file in files:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            fresh = file.with_suffix(f".{os.getpid()}")
            fresh.write_text(json.dumps(row))
            fresh.replace(file)
        except OSError as error:
            log.warning("commands can't find this server by %s (%s): give them --data", file, error.strerror)
    return files


def find(data: Path | None, port: int | None) -> Running:
    """The server of a data folder, of a port, or the only one that runs. Ends the command if there is none."""
    own, others = _candidates(data, port)
    for file in own:
        found = _server(file, port)
        if found is not None:
            return found
    running = [found for file in others if (found := _server(file, port)) is not None]
    if len(running) > 1:
        urls = ", ".join(sorted(server.url for server in running))
        raise fail(f"Several servers run ({urls}): say which one with --port or --data.")
    if running:
        return running[0]
    where = f" with the data folder {data}" if data else ""
    where += f" on port {port}" if port else ""
    raise fail(f"Found no running server{where}. Start one with 'sluiceway up', or say --data or --port.")


def _candidates(data: Path | None, port: int | None) -> tuple[list[Path], list[Path]]:
    """Files to look at: those that are meant, and those to choose from if there is but one."""
    if data is not None:
        return [data / "server.json"], []
    if port is not None:
        return [user_folder() / f"{port}.json"], []
    settings = settings_from({})
    meant = [settings.data / "server.json", user_folder() / f"{settings.http.port}.json"]
    return meant, sorted(user_folder().glob("*.json"))


def _server(file: Path, port: int | None) -> Running | None:
    """The running server that ``file`` tells of."""
    try:
        row = json.loads(file.read_text())
        url, folder, pid, region = str(row["url"]), Path(row["data"]), int(row["pid"]), str(row["region"])
        certificate = Path(row["certificate"]) if row.get("certificate") else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not _is_alive(pid, folder) or (port is not None and not url.endswith(f":{port}")):
        return None
    try:
        return Running(url, folder, pid, region, read_root_key(folder), certificate)
    except KeyFileError as error:
        raise fail(str(error)) from None


def _is_alive(pid: int, data: Path) -> bool:
    """Whether process ``pid`` is there and the data folder is held: a dead server's number may be another's now."""
    try:
        os.kill(pid, 0)
        lock = os.open(data / "lock", os.O_RDWR | os.O_CLOEXEC)
    except (ProcessLookupError, FileNotFoundError):
        return False
    except PermissionError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(lock)


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["message"])
    except (ValueError, KeyError):
        return f"HTTP {error.code}"
