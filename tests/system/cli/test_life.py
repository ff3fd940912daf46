"""A server's life by the command line: how it starts, stops, is reset, and speaks TLS."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from helpers.certificates import old_chain
from helpers.cli import AWS, FUNCTION, environment, folder_with, on, run, template
from helpers.commands import ForkedServer, begin
from helpers.ports import lasting_port
from helpers.server import ServerProcess, eventually

# -- a server's life


@pytest.fixture
def forked(tmp_path: Path) -> Iterator[ForkedServer]:
    """A server of the test's own, not started yet."""
    made = ForkedServer(tmp_path / "data")
    yield made
    made.end()


def test_it_stops_in_order_and_leaves_no_trace_of_running(forked: ForkedServer) -> None:
    for name in (signal.SIGTERM, signal.SIGINT):
        forked.start()
        listed = forked.data.parent / "sluiceway" / "servers" / f"{forked.port}.json"
        assert listed.exists() and (forked.data / "server.json").exists()
        assert forked.process is not None
        forked.process.send_signal(name)
        assert forked.process.wait(20) == 0
        assert not listed.exists() and not (forked.data / "server.json").exists()
        assert "Traceback" not in forked.text()


def test_a_killed_servers_files_do_not_mislead(forked: ForkedServer) -> None:
    forked.start(lasting_port())
    home = forked.data.parent
    forked.kill()
    row = json.loads((forked.data / "server.json").read_text())
    (forked.data / "server.json").write_text(json.dumps(row | {"pid": os.getpid()}))  # another's number by now
    assert "no running server" in run(home, "status", "--data", forked.data, code=1)
    forked.start(forked.port)
    assert "ok" in run(home, "status")
    assert forked.stop() == 0


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_what_is_in_flight_is_finished(forked: ForkedServer, tmp_path: Path, name: signal.Signals) -> None:
    forked._environment = {"SLUICEWAY_HTTP__STOP_GRACE_S": "60"}
    forked.start()
    on(forked, "deploy", template(tmp_path / "app", FUNCTION), "--stack", "sleeper")
    url = forked.client("sqs").create_queue(QueueName="empty")["QueueUrl"]
    sqs = forked.client("sqs", retries={"max_attempts": 0})
    client = forked.client("lambda", retries={"max_attempts": 0})
    client.invoke(FunctionName="slow", Payload=b"{}")
    answers: dict[str, Any] = {}

    def ask(key: str, call: Callable[[], Any]) -> None:
        try:
            answers[key] = call()
        except (BotoCoreError, ClientError) as error:
            answers[key] = error

    calls = {
        "poll": lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20),
        "invoke": lambda: json.load(client.invoke(FunctionName="slow", Payload=b'{"seconds": 4}')["Payload"]),
    }
    threads = [threading.Thread(target=ask, args=pair) for pair in calls.items()]
    for thread in threads:
        thread.start()
    eventually(lambda: woken(forked, 4) == 1)  # the poll was sent before it
    began = time.monotonic()
    assert forked.process is not None
    forked.process.send_signal(name)
    code = forked.process.wait(40)
    took = time.monotonic() - began
    for thread in threads:
        thread.join(10)
    assert code == 0 and "Traceback" not in forked.text(), forked.text()
    assert answers["invoke"] == "rested" and "Messages" not in answers["poll"], answers
    assert answers["poll"]["ResponseMetadata"]["HTTPStatusCode"] == 200 and took < 15, took


def woken(server: ServerProcess, seconds: int) -> int:
    """How many runs of the function have begun that rest for so long."""
    about = {"logGroupName": "/aws/lambda/slow", "filterPattern": f'"{seconds}}}"'}
    return len(server.client("logs").filter_log_events(**about)["events"])


def test_a_function_that_takes_too_long_does_not_hold_up_the_end(forked: ForkedServer, tmp_path: Path) -> None:
    forked._environment = {"SLUICEWAY_HTTP__STOP_GRACE_S": "2"}
    forked.start()
    on(forked, "deploy", template(tmp_path / "app", FUNCTION), "--stack", "sleeper")
    client = forked.client("lambda", retries={"max_attempts": 0})
    asked = client.invoke(FunctionName="slow", InvocationType="Event", Payload=b'{"seconds": 50}')
    assert asked["StatusCode"] == 202
    thread = threading.Thread(
        target=lambda: _quiet(lambda: client.invoke(FunctionName="slow", Payload=b'{"seconds": 50}'))
    )
    thread.start()
    eventually(lambda: woken(forked, 50) == 2)
    began = time.monotonic()
    assert forked.stop(45) == 0
    assert time.monotonic() - began < 30
    thread.join(20)
    assert "Traceback" not in forked.text(), forked.text()


def _quiet(call: Callable[[], Any]) -> None:
    try:
        call()
    except (BotoCoreError, ClientError):
        return


def test_logs_for_machines_are_one_object_a_line(tmp_path: Path) -> None:
    made = begin(
        environment(tmp_path, SLUICEWAY_LOG_LEVEL="debug"), tmp_path, "up", template(tmp_path / "app"), "--data", "data",
        "--port", 0, "--log-format", "json",
    )  # fmt: skip
    eventually(lambda: made.has("Url = "), 30)
    assert made.signal(signal.SIGTERM) == 0
    lines = [json.loads(line) for line in made.text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert any("Sluiceway is at" in line["message"] for line in lines)


def test_up_with_a_template_deploys_it(tmp_path: Path) -> None:
    server = ForkedServer(tmp_path / "data", str(template(tmp_path / "my_app.2"))).start()
    try:
        eventually(lambda: "Url = http" in server.text())
        assert "Stack my-app-2: CREATE_COMPLETE" in server.text()
    finally:
        assert server.stop() == 0
    broken = template(tmp_path / "broken", "Resources:\n  A: {Type: AWS::EC2::Instance}\n")
    server = ForkedServer(tmp_path / "data", str(broken)).start()
    try:
        eventually(lambda: "runs on without the stack broken" in server.text())
        assert "AWS::EC2::Instance" in server.text() and server.client("sqs").list_queues()["QueueUrls"]
    finally:
        assert server.stop() == 0


def test_account_and_region_are_settings(tmp_path: Path) -> None:
    data = folder_with(tmp_path, "data", sluiceway__toml='account = "123456789012"\nregion = "eu-central-1"\n')
    server = ForkedServer(data).start()
    try:
        text = on(server, "env")
        assert "export AWS_REGION=eu-central-1" in text
        made = json.loads(on(server, "keys", "create", "bob"))
        assert made["arn"] == "arn:aws:iam::123456789012:user/bob"
        client = boto3.client(
            "sns", endpoint_url=server.url, region_name="eu-central-1", aws_access_key_id=server.key[0],
            aws_secret_access_key=server.key[1],
        )  # fmt: skip
        assert client.create_topic(Name="x")["TopicArn"] == "arn:aws:sns:eu-central-1:123456789012:x"
    finally:
        server.stop()


# -- for other people's test suites


@pytest.fixture
def ephemeral(forked: ForkedServer) -> ForkedServer:
    return forked.ephemeral()


def reset(server: ServerProcess, method: str = "POST", more: str = "") -> int:
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        head = f"{method} /_sluiceway/reset HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n{more}\r\n"
        connection.sendall(head.encode())
        answer = connection.makefile("rb").read()
    return int(answer.split()[1])


def test_reset_wipes_everything_and_the_folder_is_gone_at_exit(ephemeral: ForkedServer, tmp_path: Path) -> None:
    assert ephemeral.data.is_dir() and ephemeral.data.is_relative_to(tmp_path)
    home = tmp_path
    run(home, "deploy", template(tmp_path / "app", FUNCTION), "--stack", "sleeper")
    client = ephemeral.client("lambda")
    client.invoke(FunctionName="slow", Payload=b"{}")
    guest = json.loads(run(home, "keys", "create", "guest"))
    for round_ in range(3):
        s3, sqs, kinesis = (ephemeral.client(name) for name in ("s3", "sqs", "kinesis"))
        s3.create_bucket(Bucket="wiped")
        s3.put_object(Bucket="wiped", Key="large", Body=b"x" * 300_000)
        url = sqs.create_queue(QueueName="wiped")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="hello")
        assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "hello"
        kinesis.create_stream(StreamName="wiped", ShardCount=1)
        assert reset(ephemeral, "GET") == 405
        assert reset(ephemeral, more="Origin: https://evil.example\r\n") == 403  # a page in a browser on this machine
        assert reset(ephemeral) == 200, round_
        assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == []
        assert not sqs.list_queues().get("QueueUrls")
        assert kinesis.list_streams()["StreamNames"] == []
        assert client.list_functions()["Functions"] == []
        assert ephemeral.client("cloudformation").describe_stacks()["Stacks"] == []
        assert ephemeral.client("iam").list_users()["Users"] == []
    with pytest.raises(ClientError):
        ephemeral.client("s3", (guest["access_key_id"], guest["secret_access_key"])).list_buckets()
    run(home, "deploy", template(tmp_path / "app", FUNCTION), "--stack", "sleeper")
    assert json.load(client.invoke(FunctionName="slow", Payload=b"{}")["Payload"]) == "rested"
    assert ephemeral.stop() == 0
    assert not ephemeral.data.exists()
    assert "Traceback" not in ephemeral.text(), ephemeral.text()


def test_reset_with_requests_under_way(ephemeral: ForkedServer, tmp_path: Path) -> None:
    sqs = ephemeral.client("sqs", retries={"max_attempts": 0})
    url = sqs.create_queue(QueueName="polled")["QueueUrl"]
    thread = threading.Thread(target=lambda: _quiet(lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)))
    thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    assert reset(ephemeral) == 200 and time.monotonic() - began < 15
    assert not ephemeral.client("sqs").list_queues().get("QueueUrls")
    assert ephemeral.stop() == 0
    thread.join(20)
    assert "Traceback" not in ephemeral.text(), ephemeral.text()


def test_a_normal_server_has_no_reset(server: ServerProcess) -> None:
    assert reset(server) == 404


# -- addresses


def test_ipv4_clients_of_an_ipv6_socket_are_who_they_are(tmp_path: Path) -> None:
    if not ipv6():
        pytest.skip("this machine has no IPv6")
    server = ForkedServer(tmp_path / "data", "--host", "::").start()
    try:
        four, six = (named_client(server, f"http://{host}:{server.port}") for host in ("127.0.0.1", "[::1]"))
        for s3 in (four, six):
            metrics = f"{s3.meta.endpoint_url}/_sluiceway/metrics"  # for this machine only, without a key
            assert urllib.request.urlopen(metrics, timeout=10).status == 200
        four.create_bucket(Bucket="guarded")
        here = {"Condition": {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}}
        deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::guarded"}
        four.put_bucket_policy(Bucket="guarded", Policy=json.dumps({"Statement": [deny | here]}))
        with pytest.raises(ClientError, match="AccessDenied"):
            four.list_objects_v2(Bucket="guarded")
        six.list_objects_v2(Bucket="guarded")
    finally:
        assert server.stop() == 0


def ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as made:
            made.bind(("::1", 0))
    except OSError:
        return False
    return True


def named_client(server: ForkedServer, url: str) -> Any:
    return boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=server.key[0],
        aws_secret_access_key=server.key[1],
    )  # fmt: skip


# -- TLS


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(private)
    return folder / "cert.pem", folder / "key.pem"


def policies_know_the_tls_version(server: ForkedServer, chain: Path) -> None:
    s3 = boto3.client(
        "s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=server.key[0],
        aws_secret_access_key=server.key[1], verify=str(chain),
    )  # fmt: skip
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::secured"}
    for operator, version, allowed in (("NumericLessThan", "1.2", True), ("NumericGreaterThan", "1.1", False)):
        statement = deny | {"Condition": {operator: {"s3:TlsVersion": version}}}
        s3.put_bucket_policy(Bucket="secured", Policy=json.dumps({"Statement": [statement]}))
        if allowed:
            s3.list_objects_v2(Bucket="secured")
        else:
            with pytest.raises(ClientError, match="AccessDenied"):
                s3.list_objects_v2(Bucket="secured")


def test_tls_with_a_chain_of_an_old_authority(tmp_path: Path) -> None:
    old = old_chain(tmp_path)
    more = {"SLUICEWAY_HTTP__TLS_CERTIFICATE": str(old.chain), "SLUICEWAY_HTTP__TLS_KEY": str(old.key)}
    server = ForkedServer(tmp_path / "data", environment=more).start()
    try:
        assert "ok" in on(server, "status")
        assert json.loads(on(server, "keys", "create", "carol"))["access_key_id"]
        old.chain.write_bytes(old_chain(tmp_path / "data").chain.read_bytes())
        assert "certificate" in on(server, "status", code=1)  # another's, of the same names
    finally:
        assert server.stop() == 0


def test_tls_with_a_certificate_of_ones_own(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path)
    more = {"SLUICEWAY_HTTP__TLS_CERTIFICATE": str(chain), "SLUICEWAY_HTTP__TLS_KEY": str(key)}
    more["SLUICEWAY_HTTP__STOP_GRACE_S"] = "60"
    server = ForkedServer(tmp_path / "data", environment=more).start()
    try:
        assert server.url.startswith("https://127.0.0.1:")
        text = on(server, "env")
        assert f"AWS_ENDPOINT_URL={server.url}" in text and f"AWS_CA_BUNDLE={chain}" in text
        script = f'eval "$({sys.executable} -m sluiceway env --data {server.data})" && {AWS} s3 mb s3://secured'
        done = subprocess.run(["bash", "-c", script], env=environment(tmp_path), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "ok" in on(server, "status")
        on(server, "deploy", template(tmp_path / "app", FUNCTION), "--stack", "secured")
        client = boto3.client(
            "lambda", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=server.key[0],
            aws_secret_access_key=server.key[1], verify=str(chain),
        )  # fmt: skip
        assert "secured" in json.load(client.invoke(FunctionName="slow", Payload=b'{"look": 1}')["Payload"])
        made = json.loads(on(server, "keys", "create", "carol"))
        assert made["access_key_id"]
        policies_know_the_tls_version(server, chain)
    finally:
        began = time.monotonic()
        assert server.stop() == 0 and time.monotonic() - began < 20  # with the client's connection still open
