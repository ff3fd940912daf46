"""Bodies that lie, and clients that don't send or don't read."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from helpers.s3_hostile import BUCKET, MIB, Target, Wire
from helpers.server import ServerProcess, eventually

# -- bodies that lie, end early, or never end


def test_a_wrong_signature_is_refused_before_the_body(target: Target) -> None:
    path, body = f"/{BUCKET}/expected", os.urandom(100_000)
    signer = target.signer()
    digest = hashlib.sha256(body).hexdigest()
    waits = {"content-length": str(len(body)), "expect": "100-continue"}
    with Wire(target.server) as wire:
        headers = signer.headers("PUT", path, target.host, digest) | waits
        wire.head("PUT", path, headers | {"authorization": headers["authorization"][:-4] + "0000"})
        answer = wire.answer("PUT")
        assert answer.code == "SignatureDoesNotMatch" and answer.headers["connection"] == "close"
        assert wire.closed()
    with Wire(target.server) as wire:
        wire.head("PUT", path, signer.headers("PUT", path, target.host, digest) | waits)
        assert wire.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(body)
        assert wire.answer("PUT").status == 200
    target.s3.delete_object(Bucket=BUCKET, Key="expected")


def test_a_refused_body_is_skipped_and_the_connection_goes_on(target: Target) -> None:
    body = os.urandom(4 * MIB)
    with Wire(target.server) as wire:
        path = "/no-such-bucket-here/x"
        wire.head("PUT", path, target.signer().headers("PUT", path, target.host, "UNSIGNED-PAYLOAD")
                  | {"content-length": str(len(body))})  # fmt: skip
        wire.send(body)
        assert wire.answer("PUT").code == "NoSuchBucket"
        path = f"/{BUCKET}/there"
        for _ in range(2):
            wire.head("GET", path, target.signer().headers("GET", path, target.host))
            assert wire.answer().body == b"content"
        both = b""
        for number in range(2):
            headers = target.signer().headers("GET", path, target.host)
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            both += f"GET {path}{'' if number == 0 else 'not'} HTTP/1.1\r\n{lines}\r\n".encode()
        wire.send(both)
        received = b""
        while received.count(b"</Error>") < 1:
            received += wire.socket.recv(65536)
        assert received.index(b"content") < received.index(b"SignatureDoesNotMatch"), (
            "pipelined answers keep their order"
        )


@pytest.mark.parametrize("size", [1000, 8 * MIB])
def test_an_upload_that_is_cut_off_leaves_nothing(target: Target, size: int) -> None:
    path = f"/{BUCKET}/cut"
    before = target.files()
    for reset in (False, True):
        with Wire(target.server) as wire:
            headers = target.signer().headers("PUT", path, target.host, "UNSIGNED-PAYLOAD")
            wire.head("PUT", path, headers | {"content-length": str(size)})
            wire.send(os.urandom(size // 2))
            if size > MIB:
                eventually(lambda: len(target.files()) > len(before))
            if reset:
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            else:
                wire.socket.shutdown(socket.SHUT_WR)
    eventually(lambda: target.files() == before)
    assert not target.has("cut")


def test_a_body_other_than_what_was_signed_is_refused(target: Target) -> None:
    path = f"/{BUCKET}/forged"
    for size in (100, 200_000):
        body = os.urandom(size)
        with Wire(target.server) as wire:
            headers = target.signer().headers("PUT", path, target.host, hashlib.sha256(body).hexdigest())
            wire.head("PUT", path, headers | {"content-length": str(size)})
            wire.send(body[:-1] + bytes([body[-1] ^ 1]))
            assert wire.answer("PUT").code == "XAmzContentSHA256Mismatch"
    assert not target.has("forged")


def test_more_body_than_told_is_not_stored(target: Target) -> None:
    path = f"/{BUCKET}/long"
    with Wire(target.server) as wire:
        headers = target.signer().headers("PUT", path, target.host, "UNSIGNED-PAYLOAD")
        wire.head("PUT", path, headers | {"content-length": "5"})
        wire.send(b"12345smuggled bytes\r\n\r\n")
        assert wire.answer("PUT").status in (200, 400)
        assert wire.closed()
    if target.has("long"):
        assert target.s3.get_object(Bucket=BUCKET, Key="long")["Body"].read() == b"12345"
        target.s3.delete_object(Bucket=BUCKET, Key="long")


@pytest.mark.parametrize(
    "length, statuses",
    [
        ("-1", (400,)), ("+5", (400,)), ("5, 5", (400,)), ("5x", (400,)), ("0x5", (400,)), ("", (400, 411)),
        ("1e3", (400,)), ("9" * 30, (400,)), (str(2**63), (400,)), (str(6 * 1024**3), (400,)), ("5\r\ncontent-length: 6", (400,)),
        ("5\r\ntransfer-encoding: chunked", (400, 411)),
    ],
)  # fmt: skip
def test_impossible_lengths(target: Target, length: str, statuses: tuple[int, ...]) -> None:
    path = f"/{BUCKET}/impossible"
    with Wire(target.server) as wire:
        headers = target.signer().headers("PUT", path, target.host, "UNSIGNED-PAYLOAD")
        wire.head("PUT", path, headers | {"content-length": length})
        wire.send(b"12345")
        assert wire.answer("PUT").status in statuses
    assert not target.has("impossible")


@pytest.mark.parametrize(
    "body",
    [b"5\r\n12345\r\n0\r\n\r\n", b"zz\r\nrubbish\r\n", b"-5\r\n12345\r\n", b"f" * 20 + b"\r\n", b"5;" + b"x" * 100_000],
)
def test_http_chunks_need_a_length_and_garbage_is_refused(target: Target, body: bytes) -> None:
    path = f"/{BUCKET}/chunked"
    with Wire(target.server) as wire:
        headers = target.signer().headers("PUT", path, target.host, "UNSIGNED-PAYLOAD")
        wire.head("PUT", path, headers | {"transfer-encoding": "chunked"})
        wire.send(body)
        assert wire.answer("PUT").status in (400, 411)
    assert not target.has("chunked")


@pytest.mark.parametrize("flood", ["long", "many", "line"])
def test_header_floods_are_cut_off(target: Target, flood: str) -> None:
    with Wire(target.server) as wire:
        data = {
            "long": b"GET / HTTP/1.1\r\nx: " + b"y" * (1 * MIB),
            "many": b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 100_000,
            "line": b"GET /" + b"y" * (1 * MIB),
        }[flood]
        try:
            wire.send(data + b"\r\n\r\n")
            assert wire.answer().status in (400, 414, 431)
        except ConnectionError:
            pass
        assert wire.closed()


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", f"/{BUCKET}/../../../../etc/passwd",
        f"/{BUCKET}/%2e%2e/%2e%2e/root-key.json", f"/{BUCKET}/..%2f..%2froot-key.json", f"/{BUCKET}/%00",
        f"/{BUCKET}/%c0%ae%c0%ae/etc/passwd", f"/{BUCKET}/%ff%fe", f"/{BUCKET}/%", f"/{BUCKET}/%zz", "//etc/passwd",
        f"//{BUCKET}/there", f"/{BUCKET}\\..\\..\\x", "/~root/.ssh/id_rsa", f"/{BUCKET}/there%0d%0aset-cookie:x",
    ],
)  # fmt: skip
def test_paths_lead_nowhere_else(target: Target, path: str) -> None:
    for signed in (True, False):
        answer = target.ask("GET", path, signed=signed)
        assert answer.status in (400, 403, 404) and b"root:" not in answer.body, answer
        assert answer.code not in ("", "InternalError") and "set-cookie" not in answer.headers


def test_keys_that_look_like_paths_are_names(target: Target) -> None:
    for key in ("../../../../tmp/s3-escaped", "/etc/s3-escaped", "../root-key.json"):
        target.s3.put_object(Bucket=BUCKET, Key=key, Body=b"k" * 100)
        assert target.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"k" * 100
        target.s3.delete_object(Bucket=BUCKET, Key=key)
    assert not Path("/tmp/s3-escaped").exists() and not Path("/etc/s3-escaped").exists()
    assert len(target.server.key[1]) >= 40


def test_who_stops_in_the_middle_is_let_go(own_server: ServerProcess) -> None:
    """Headers that don't end, bodies that don't come, the rest of a refused body, and readers that don't read."""
    own_server._environment |= {
        "SLUICEWAY_HTTP__HEADER_S": "1", "SLUICEWAY_HTTP__BODY_IDLE_S": "1", "SLUICEWAY_HTTP__STALL_S": "2",
    }  # fmt: skip
    target = Target(own_server.start())
    target.s3.create_bucket(Bucket=BUCKET)
    target.s3.put_object(Bucket=BUCKET, Key="large", Body=os.urandom(16 * MIB))
    wires = {name: Wire(own_server, 4096) for name in ("headers", "body", "refused", "reader")}
    wires["headers"].send(b"GET / HTTP/1.1\r\nhost: x\r\nx-a")
    headers = target.signer().headers("PUT", f"/{BUCKET}/never", target.host, "UNSIGNED-PAYLOAD")
    wires["body"].head("PUT", f"/{BUCKET}/never", headers | {"content-length": str(9 * MIB)})
    wires["body"].send(b"x" * 100_000)
    wires["refused"].head("PUT", "/no-such-bucket-here/x", headers | {"content-length": str(9 * MIB)})
    assert wires["refused"].answer("PUT").status == 403
    wires["refused"].send(b"x")
    path = f"/{BUCKET}/large"
    wires["reader"].head("GET", path, target.signer().headers("GET", path, target.host))
    assert wires["reader"].socket.recv(1, socket.MSG_PEEK), "it is being read"
    target.s3.delete_object(Bucket=BUCKET, Key="large")
    assert target.files(), "it is being read"
    assert wires["body"].answer("PUT").code == "RequestTimeout"
    # Not a byte may be taken from the reader's connection before it was given up, or it would be no stalled one.
    eventually(lambda: not target.files())
    for name, wire in wires.items():
        began = time.monotonic()
        with wire:
            assert wire.closed() and time.monotonic() - began < 30, name


# -- readers


def test_a_slow_reader_holds_nobody_up_and_still_gets_the_whole(target: Target) -> None:
    body = os.urandom(16 * MIB)
    target.s3.put_object(Bucket=BUCKET, Key="slowly", Body=body)
    path = f"/{BUCKET}/slowly"
    with Wire(target.server, receive_bytes=4096) as wire:
        wire.head("GET", path, target.signer().headers("GET", path, target.host))
        got = wire.socket.recv(1000)
        target.s3.delete_object(Bucket=BUCKET, Key="slowly")
        for _ in range(20):
            time.sleep(0.02)
            got += wire.socket.recv(1000)
            assert target.s3.get_object(Bucket=BUCKET, Key="there")["Body"].read() == b"content"
        with pytest.raises(ClientError, match="NoSuchKey"):
            target.s3.get_object(Bucket=BUCKET, Key="slowly")
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
        parts = [got]
        while sum(map(len, parts)) < len(body) and (part := wire.socket.recv(MIB)):
            parts.append(part)
        whole = b"".join(parts).partition(b"\r\n\r\n")[2]
        while len(whole) < len(body) and (part := wire.socket.recv(MIB)):
            whole += part
    assert hashlib.md5(whole).digest() == hashlib.md5(body).digest()


def test_readers_that_leave_let_go_of_what_they_read(target: Target) -> None:
    target.s3.put_object(Bucket=BUCKET, Key="left", Body=os.urandom(16 * MIB))
    path = f"/{BUCKET}/left"

    def leave() -> None:
        with Wire(target.server, receive_bytes=4096) as wire:
            wire.head("GET", path, target.signer().headers("GET", path, target.host))
            wire.socket.recv(1000)

    threads = [threading.Thread(target=leave) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    target.s3.delete_object(Bucket=BUCKET, Key="left")
