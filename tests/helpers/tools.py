"""Other people's programs as clients of a server."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .server import ServerProcess

TIMEOUT_S = 90.0


def needed(name: str) -> str:
    """Where the program is. A test that needs it is skipped on a machine without, and fails in CI."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        if os.environ.get("CI") == "true":
            raise AssertionError(f"{name} is missing: scripts/test-servers installs it.")
        pytest.skip(f"{name} is not installed: run `make test-servers` as root, or install it")
    return found


@dataclass
class Done:
    """A program's end."""

    code: int
    out: str
    err: str


@dataclass
class Tool:
    """A program with its settings: ``words`` come before what it is told, ``environment`` beside its path and home."""

    program: str
    home: Path
    words: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def ask(self, *words: str, stdin: bytes | None = None) -> Done:
        """Run it, whatever its end."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8", **self.environment}
        done = subprocess.run(
            [self.program, *self.words, *words], env=environment, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True, timeout=TIMEOUT_S, cwd=self.home,
        )  # fmt: skip
        return Done(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))

    def run(self, *words: str, stdin: bytes | None = None) -> str:
        """What it prints; it must succeed."""
        done = self.ask(*words, stdin=stdin)
        assert done.code == 0, f"{' '.join(words)}: {done.code}\n{done.out[-2000:]}\n{done.err[-3000:]}"
        return done.out


def aws_cli(server: ServerProcess, home: Path, s3: str = "addressing_style = path") -> Tool:
    """The CLI with the environment that `sluiceway env` prints. Version 1 presigns with SigV2 unless it is told."""
    (home / ".aws").mkdir()
    (home / ".aws" / "config").write_text(
        f"[default]\nretries.max_attempts = 1\ns3 =\n  signature_version = s3v4\n  multipart_threshold = 6MB\n"
        f"  multipart_chunksize = 5MB\n  {s3}\n"
    )
    return Tool(needed("aws"), home, [], server.environment())


def rclone_s3(server: ServerProcess, home: Path, **more: str) -> Tool:
    """rclone with a remote "s3:" by its environment."""
    key, secret = server.key
    settings = {"TYPE": "s3", "PROVIDER": "Other", "ACCESS_KEY_ID": key, "SECRET_ACCESS_KEY": secret, "REGION": "us-east-1",
                "ENDPOINT": server.url, "FORCE_PATH_STYLE": "true", "CHUNK_SIZE": "5Mi", "UPLOAD_CUTOFF": "5Mi", "LIST_VERSION": "2"}  # fmt: skip
    settings |= more
    environment = {f"RCLONE_CONFIG_S3_{name}": value for name, value in settings.items()}
    return Tool(
        needed("rclone"), home, ["--config", "/dev/null", "--retries", "1", "--low-level-retries", "1"], environment
    )


def s3cmd_of(server: ServerProcess, home: Path, **more: str) -> Tool:
    """s3cmd with a configuration file."""
    key, secret = server.key
    host = f"127.0.0.1:{server.port}"
    settings = {"access_key": key, "secret_key": secret, "host_base": host, "host_bucket": host, "use_https": "False",
                "bucket_location": "us-east-1", "multipart_chunk_size_mb": "5", "progress_meter": "False", "max_retries": "1"} | more  # fmt: skip
    lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
    (home / "s3cfg").write_text(f"[default]\n{lines}")
    return Tool(needed("s3cmd"), home, ["--config", str(home / "s3cfg"), "--no-progress"])


class Proxy:
    """An HTTP proxy that takes every host for the server's: so any program reaches hosts that no resolver knows."""

    def __init__(self, server: ServerProcess) -> None:
        port = server.port

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = self.request.recv(65_536)
                    if not piece:
                        return
                    head += piece
                first, _, rest = head.partition(b"\r\n")
                method, target, version = first.split(b" ")
                assert target.startswith(b"http://"), target
                path = b"/" + target[7:].partition(b"/")[2]
                with socket.create_connection(("127.0.0.1", port)) as onward:
                    onward.sendall(b"%s %s %s\r\nConnection: close\r\n%s" % (method, path, version, rest))
                    back = threading.Thread(target=_pour, args=(onward, self.request))
                    back.start()
                    _pour(self.request, onward, back)
                    back.join(TIMEOUT_S)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


def _pour(source: socket.socket, sink: socket.socket, until: threading.Thread | None = None) -> None:
    """Bytes from one to the other until there are no more, or the other direction is at its end."""
    source.settimeout(0.2 if until else TIMEOUT_S)
    try:
        while until is None or until.is_alive():
            try:
                piece = source.recv(65_536)
            except TimeoutError:
                continue
            if not piece:
                break
            sink.sendall(piece)
    except OSError:
        pass
    if until is None:
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
