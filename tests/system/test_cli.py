"""The command line as a user meets it: real processes, their exit statuses, and what they say."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import signal
import socket
import sqlite3
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
from helpers.commands import Command, ForkedServer, begin, complete
from helpers.server import ServerProcess, eventually

AWS = Path(sys.executable).with_name("aws")
GOOD = "Resources:\n  Q: {Type: AWS::SQS::Queue}\nOutputs:\n  Url: {Value: !Ref Q}\n"
FUNCTION = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Slow:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: slow
      Runtime: python3.11
      Handler: main.handler
      Timeout: 60
      CodeUri: code
      Policies:
        - Statement: [{Effect: Allow, Action: "s3:ListAllMyBuckets", Resource: "*"}]
"""
CODE = """
import time
import urllib.request
def handler(event, context):
    print("woken by", event)
    time.sleep(event.get("seconds", 0))
    if event.get("look"):
        import boto3
        return [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]]
    return "rested"
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SLUICEWAY_"))}
    return {**kept, "XDG_RUNTIME_DIR": str(home), **more}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "sluiceway", *map(str, arguments)]


def run(home: Path, *arguments: object, code: int = 0, **more: str) -> str:
    """What a command printed; it ends with ``code`` and never with a traceback."""
    found, text = complete(environment(home, **more), home, *arguments)
    assert "Traceback" not in text, text
    assert found == code, f"{found}: {text}"
    return text


def on(server: ServerProcess, *arguments: object, code: int = 0) -> str:
    return run(server.data.parent, *arguments, "--data", server.data, code=code)


def template(folder: Path, text: str = GOOD, name: str = "template.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "main.py").write_text(CODE)
    (folder / name).write_text(text)
    return folder / name


def folder_with(home: Path, name: str, **files: str | bytes) -> Path:
    made = home / name
    made.mkdir()
    for file, content in files.items():
        path = made / file.replace("__", ".").replace("_", "-")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o600)
    return made


def newer(home: Path) -> Path:
    made = folder_with(home, "newer")
    connection = sqlite3.connect(made / "store.db")
    connection.execute("PRAGMA user_version = 9999")
    connection.close()
    return made


KEY = json.dumps({"access_key_id": "AKIAAAAAAAAAAAAAAAAA", "secret_access_key": "x" * 40})

#: name -> (arguments, environment) made from a folder; exit status; texts that the user reads.
REFUSED: dict[str, tuple[Callable[[Path], tuple[Any, ...]], dict[str, str], int, tuple[str, ...]]] = {
    "unknown option": (lambda home: ("up", "--wrong"), {}, 2, ("No such option", "--wrong")),
    "unknown command": (lambda home: ("rise",), {}, 2, ("No such command",)),
    "no number": (lambda home: ("up", "--port", "many"), {}, 2, ("--port",)),
    "no such port": (lambda home: ("up", "--data", "d", "--port", "99999"), {}, 1, ("There is no port 99999",)),
    "no such host": (lambda home: ("up", "--data", "d", "--host", "no.such.host.invalid"), {}, 1, ("Can't listen",)),
    "missing template": (lambda home: ("up", "none.yaml", "--data", "d"), {}, 1, ("There is no template none.yaml",)),
    "malformed template": (
        lambda home: ("up", template(home / "malformed", "Resources: [}"), "--data", "d"), {}, 1, ("not well-formed",),
    ),
    "template of nothing": (
        lambda home: ("up", template(home / "nothing", "Description: x"), "--data", "d"), {}, 1, ("Resources member",),
    ),
    "template that is no text": (
        lambda home: ("up", folder_with(home, "binary", t__yaml=b"\xff\xfe\x00") / "t.yaml", "--data", "d"),
        {}, 1, ("not text in UTF-8", ),
    ),
    "data is a file": (lambda home: ("up", "--data", __file__), {}, 1, ("Can't use", "Choose another folder")),
    "ephemeral data": (lambda home: ("up", "--ephemeral", "--data", "d"), {}, 1, ("leave --data away",)),
    "broken settings file": (
        lambda home: ("up", "--data", folder_with(home, "broken", sluiceway__toml="a = [")), {}, 1, ("sluiceway.toml",),
    ),
    "unknown setting": (
        lambda home: ("up", "--data", folder_with(home, "unknown", sluiceway__toml="htp = 1")), {}, 1, ("Setting htp",),
    ),
    "bad setting": (
        lambda home: ("up", "--data", folder_with(home, "bad", sluiceway__toml="[http]\nport = 'x'")),
        {}, 1, ("Setting http.port",),
    ),
    "bad setting of another command": (lambda home: ("status",), {"SLUICEWAY_ACCOUNT": "12"}, 1, ("Setting account",)),
    "bad environment": (lambda home: ("up", "--data", "d"), {"SLUICEWAY_HTTP": "{"}, 1, ("environment", "http")),
    "bad log format": (lambda home: ("up", "--data", "d", "--log-format", "xml"), {}, 1, ("log_format", "'json'")),
    "certificate without its key": (
        lambda home: ("up", "--data", "d"), {"SLUICEWAY_HTTP__TLS_CERTIFICATE": __file__}, 1, ("go together",),
    ),
    "certificate that is none": (
        lambda home: ("up", "--data", "d"),
        {"SLUICEWAY_HTTP__TLS_CERTIFICATE": __file__, "SLUICEWAY_HTTP__TLS_KEY": __file__}, 1, ("can't be used",),
    ),
    "corrupt root key": (
        lambda home: ("up", "--port", "0", "--data", folder_with(home, "root", root_key__json="{")),
        {}, 1, ("is not a root key", "restore it"),
    ),
    "corrupt master key": (
        lambda home: ("up", "--port", "0", "--data", folder_with(home, "master", root_key__json=KEY, master_key="?")),
        {}, 1, ("is not a master key",),
    ),
    "a database of a newer release": (
        lambda home: ("up", "--port", "0", "--data", newer(home)), {}, 1, ("schema 9999", "use a newer release"),
    ),
    "a damaged database": (
        lambda home: ("up", "--port", "0", "--data", folder_with(home, "damaged", store__db="x" * 5000)),
        {}, 1, ("damaged", "backup"),
    ),
    "no server": (lambda home: ("status",), {}, 1, ("no running server", "sluiceway up")),
    "no server on a port": (lambda home: ("env", "--port", "1"), {}, 1, ("no running server on port 1",)),
    "no server in a folder": (lambda home: ("keys", "list", "--data", "d"), {}, 1, ("no running server with the data",)),
    "no server to deploy to": (
        lambda home: ("deploy", template(home / "fine"), "--stack", "x"), {}, 1, ("no running server",),
    ),
    "a parameter without a value": (
        lambda home: ("deploy", "x.yaml", "--stack", "x", "-p", "Name"), {}, 1, ("NAME=VALUE",),
    ),
    "a log that is none": (lambda home: ("events", "photos"), {}, 1, ("bucket:NAME",)),
    "a time that is none": (lambda home: ("events", "bucket:x", "--from", "noon"), {}, 1, ("2026-01-31T08:00:00",)),
}  # fmt: skip


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Every refused command's exit status and text; they run beside each other, each in a folder of its own."""
    made = {}
    # From one thread: with several, multiprocessing loses exit statuses (each start looks after all children).
    for name, (given, more, _, _) in REFUSED.items():
        home = tmp_path_factory.mktemp("refused")
        made[name] = begin(environment(home, **more), home, *given(home))
    return {name: (one.wait(), one.text()) for name, one in made.items()}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_words(refusals: dict[str, tuple[int, str]], name: str) -> None:
    code, text = refusals[name]
    _, _, wanted, parts = REFUSED[name]
    assert "Traceback" not in text, text
    assert code == wanted, text
    for part in parts:
        assert part in text, text


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    as_others = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if os.getuid() == 0 else []
    for data in (closed, closed / "data"):
        done = subprocess.run(
            [*as_others, *command("up", "--data", data, "--port", 0)], env=environment(tmp_path),
            capture_output=True, text=True, timeout=60, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        assert "Can't use" in done.stderr and "Permission denied" in done.stderr


# -- one running server


def test_commands_find_the_server_by_folder_port_or_by_themselves(server: ServerProcess) -> None:
    home = server.data.parent
    by_folder = run(home, "env", "--data", server.data)
    assert run(home, "env", "--port", server.port) == by_folder == run(home, "env")
    assert f"AWS_ENDPOINT_URL={server.url}" in by_folder
    text = run(home, "env", "--data", server.data, "--port", "1", code=1)
    assert "no running server" in text


def test_a_second_server_on_the_folder_or_the_port_is_refused(server: ServerProcess, tmp_path: Path) -> None:
    text = run(tmp_path, "up", "--data", server.data, "--port", 0, code=1)
    assert "Another process holds the data folder" in text and "--data" in text
    text = run(tmp_path, "up", "--data", tmp_path / "other", "--port", server.port, code=1)
    assert "Address already in use" in text and "Choose another --port" in text
    assert server.client("s3").list_buckets()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_shell_with_env_and_the_aws_command_line(server: ServerProcess) -> None:
    server.client("s3").create_bucket(Bucket="seen-by-the-shell")
    script = f"""
        set -e
        eval "$({sys.executable} -m sluiceway env --data {server.data})"
        {AWS} s3 ls
        echo hello | {AWS} s3 cp - s3://seen-by-the-shell/hello.txt
        {AWS} s3 cp s3://seen-by-the-shell/hello.txt -
        {AWS} sns create-topic --name shell
        {AWS} dynamodb list-tables
        {AWS} sqs create-queue --queue-name shell --endpoint-url "$AWS_ENDPOINT_URL"
    """
    done = subprocess.run(
        ["bash", "-c", script], env=environment(server.data.parent, AWS_PROFILE="nobody", AWS_SESSION_TOKEN="old"),
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("seen-by-the-shell", "hello", "arn:aws:sns:us-east-1:000000000000:shell", "TableNames", "/shell"):
        assert part in done.stdout


def test_keys_of_named_users_and_their_policies(server: ServerProcess, tmp_path: Path) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="open-to-ada")
    s3.create_bucket(Bucket="closed-to-ada")
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws:s3:::open-to-ada*"]}],
    }))  # fmt: skip
    made = json.loads(on(server, "keys", "create", "ada", "--policy", policy))
    assert made["user"] == "ada" and made["arn"] == "arn:aws:iam::000000000000:user/ada"
    pair = (made["access_key_id"], made["secret_access_key"])
    own = server.client("s3", pair)
    own.put_object(Bucket="open-to-ada", Key="x", Body=b"1")
    uploads = own.create_multipart_upload(Bucket="open-to-ada", Key="y")
    parts = own.list_parts(Bucket="open-to-ada", Key="y", UploadId=uploads["UploadId"])
    assert len(made["canonical_id"]) == 64 and parts["Initiator"]["ID"] in (made["canonical_id"], made["arn"])
    own.abort_multipart_upload(Bucket="open-to-ada", Key="y", UploadId=uploads["UploadId"])
    for attempt in (lambda: own.put_object(Bucket="closed-to-ada", Key="x", Body=b"1"), own.list_buckets):
        with pytest.raises(ClientError, match="AccessDenied"):
            attempt()
    assert server.client("sts", pair).get_caller_identity()["Arn"] == made["arn"]
    listed = on(server, "keys", "list")
    assert f"{pair[0]}  Active" in listed and f"ada  {made['canonical_id']}" in listed and pair[1] not in listed
    on(server, "keys", "disable", pair[0])
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        own.get_object(Bucket="open-to-ada", Key="x")
    assert f"{pair[0]}  Inactive" in on(server, "keys", "list")
    second = json.loads(on(server, "keys", "create", "ada"))
    other = server.client("s3", (second["access_key_id"], second["secret_access_key"]))
    assert other.get_object(Bucket="open-to-ada", Key="x")["Body"].read() == b"1"
    on(server, "keys", "delete", second["access_key_id"])
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        other.get_object(Bucket="open-to-ada", Key="x")
    assert "There is no key" in on(server, "keys", "delete", second["access_key_id"], code=1)


def test_keys_that_cannot_be_made(server: ServerProcess, tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    assert "Can't read" in on(server, "keys", "create", "eve", "--policy", policy, code=1)
    policy.write_text("{")
    assert "is not JSON" in on(server, "keys", "create", "eve", "--policy", policy, code=1)
    policy.write_text('{"Statement": "all"}')
    assert "sluiceway: " in on(server, "keys", "create", "eve", "--policy", policy, code=1)
    assert "sluiceway: " in on(server, "keys", "create", "e v e/", code=1)
    assert "eve" not in [user["UserName"] for user in server.client("iam").list_users()["Users"]]


def following(server: ServerProcess, *arguments: object) -> Command:
    home = server.data.parent
    return begin(environment(home), home, *arguments, "--data", server.data)


def test_events_of_a_topic_from_an_offset_or_a_time_and_as_they_come(server: ServerProcess) -> None:
    sns = server.client("sns")
    arn = sns.create_topic(Name="told")["TopicArn"]
    sns.publish(TopicArn=arn, Message="first")
    time.sleep(1.1)
    between = datetime.datetime.now(datetime.UTC)
    sns.publish(TopicArn=arn, Message="second")
    follower = following(server, "events", "topic:told", "--follow", "--from", "1")
    rows = [json.loads(line) for line in on(server, "events", "topic:told").splitlines()]
    assert [row["offset"] for row in rows] == [0, 1] and rows[0]["log"] == "topic/told"
    assert "first" in json.dumps(rows[0]) and "second" in json.dumps(rows[1])
    assert [json.loads(line)["offset"] for line in on(server, "events", "topic:told", "--from", "1").splitlines()] == [
        1
    ]
    later = on(server, "events", "topic:told", "--from", between.isoformat())
    assert [json.loads(line)["offset"] for line in later.splitlines()] == [1]
    eventually(lambda: follower.has("second"))
    sns.publish(TopicArn=arn, Message="third")
    eventually(lambda: follower.has("third"))
    assert not follower.has("first") and follower.signal(signal.SIGINT) == 0 and not follower.has("Traceback")


def test_events_of_buckets_tables_and_streams(server: ServerProcess) -> None:
    s3, sns, dynamodb, kinesis = (server.client(name) for name in ("s3", "sns", "dynamodb", "kinesis"))
    s3.create_bucket(Bucket="eventful")
    arn = sns.create_topic(Name="from-bucket")["TopicArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)
    s3.put_bucket_notification_configuration(
        Bucket="eventful",
        NotificationConfiguration={"TopicConfigurations": [{"TopicArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
    )
    s3.put_object(Bucket="eventful", Key="größe.txt", Body=b"1")
    dynamodb.create_table(
        TableName="eventful", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )  # fmt: skip
    dynamodb.put_item(TableName="eventful", Item={"id": {"S": "row-1"}})
    kinesis.create_stream(StreamName="eventful", ShardCount=2)
    for number in range(6):
        kinesis.put_record(StreamName="eventful", Data=b"x", PartitionKey="x", ExplicitHashKey=str(number % 2 << 127))
    assert "gr%C3%B6%C3%9Fe.txt" in on(server, "events", "bucket:eventful")
    assert "row-1" in on(server, "events", "table:eventful")
    rows = [json.loads(line) for line in on(server, "events", "stream:eventful").splitlines()]
    assert len(rows) == 6 and len({row["log"] for row in rows}) == 2
    for kind in ("bucket", "topic", "table", "stream"):
        assert f"There is no {kind} nothing-here" in on(server, "events", f"{kind}:nothing-here", code=1)


def test_status_for_people_and_for_programs(server: ServerProcess) -> None:
    sns, sqs = server.client("sns"), server.client("sqs")
    arn = sns.create_topic(Name="watched")["TopicArn"]
    queue = sqs.create_queue(QueueName="watched")["QueueUrl"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:000000000000:watched")
    text = on(server, "status")
    assert f"at {server.url}" in text and "topic/watched" in text and queue
    found = json.loads(on(server, "status", "--json"))
    assert found["problem"] is None and found["url"] == server.url
    row = next(row for row in found["reactions"] if row["log"].startswith("topic/watched"))
    assert {"lag", "parked", "dead", "delivered", "failed", "last_error"} <= row.keys()


def test_the_outbox_shows_mails_that_nobody_sent(server: ServerProcess) -> None:
    sns = server.client("sns")
    arn = sns.create_topic(Name="mailing")["TopicArn"]
    sns.subscribe(TopicArn=arn, Protocol="email", Endpoint="reader@example.com")
    eventually(lambda: "reader@example.com" in on(server, "outbox"))


def test_doctor(server: ServerProcess, tmp_path: Path) -> None:
    text = on(server, "doctor")
    assert "Landlock" in text and "ok   Python" in text and f"server at {server.url}" in text and "free disk" in text
    assert "no running server" in run(tmp_path, "doctor")
    key = folder_with(tmp_path, "sick", root_key__json="{", sluiceway__toml="") / "root-key.json"
    text = run(tmp_path, "doctor", "--data", key.parent, code=1)
    assert "MISS root key" in text and "restore it" in text


def test_deploy_says_what_it_did_and_what_is_wrong(server: ServerProcess, tmp_path: Path) -> None:
    good = template(tmp_path / "good")
    text = on(server, "deploy", good, "--stack", "good")
    assert "Stack good: CREATE_COMPLETE" in text and "Url = http" in text
    assert "stands already" in on(server, "deploy", good, "--stack", "good")
    wrong = {
        "Resources:\n  A: {Type: AWS::EC2::Instance}\n  B: {Type: AWS::SQS::Queue}\n": "AWS::EC2::Instance",
        "Resources:\n  A: {Type: AWS::SQS::Queue, Properties: {QueueName: !Ref Nothing}}\n": "Nothing",
        FUNCTION.replace("CodeUri: code", "CodeUri: elsewhere"): "there is no folder",
        "Resources:\n  B: {Type: AWS::S3::Bucket, Properties: {BucketName: NOT_A_NAME}}\n": "B (AWS::S3::Bucket): ",
        "Resources: {A: 7}\n": "must be an object",
    }
    queues = len(server.client("sqs").list_queues().get("QueueUrls", []))
    for number, (text, reason) in enumerate(wrong.items()):
        found = on(server, "deploy", template(tmp_path / str(number), text), "--stack", f"wrong-{number}", code=1)
        assert reason in found, found
    assert len(server.client("sqs").list_queues().get("QueueUrls", [])) == queues
    text = on(server, "deploy", good, "--stack", "not_a_name", code=1)
    assert "stackName" in text or "StackName" in text
    text = on(server, "deploy", good, "--stack", "good", "-p", "Size=1", code=1)
    assert "Size" in text


def test_logs_of_a_function(server: ServerProcess, tmp_path: Path) -> None:
    on(server, "deploy", template(tmp_path / "app", FUNCTION), "--stack", "sleeper")
    follower = following(server, "logs", "slow", "--follow")
    client = server.client("lambda")
    client.invoke(FunctionName="slow", Payload=b'{"word": "one"}')
    eventually(lambda: follower.has("woken by {'word': 'one'}"))
    client.invoke(FunctionName="slow", Payload=b'{"word": "two"}')
    eventually(lambda: follower.has("two"))
    assert follower.signal(signal.SIGINT) == 0
    assert "woken by {'word': 'one'}" in on(server, "logs", "slow")
    assert "There is no function nobody" in on(server, "logs", "nobody", code=1)
    client.delete_function(FunctionName="slow")


def test_ctrl_c_during_deploy_leaves_the_work_to_the_server(server: ServerProcess, tmp_path: Path) -> None:
    resources = "".join(f"  Q{number}: {{Type: AWS::SQS::Queue}}\n" for number in range(200))
    many = template(tmp_path / "many", f"Resources:\n{resources}")
    formation = server.client("cloudformation")
    going = following(server, "deploy", many, "--stack", "many")

    def begun() -> bool:
        return any(stack["StackName"] == "many" for stack in formation.describe_stacks()["Stacks"])

    eventually(begun, every=0.01)
    code = going.signal(signal.SIGINT)
    assert not going.has("Traceback")
    if code != 0:  # or it was done already
        assert code == 130 and going.has("Stopped waiting")
    assert "UPDATE_COMPLETE" in on(server, "deploy", many, "--stack", "many") or code == 0 or begun()
    assert formation.describe_stacks(StackName="many")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"


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
    forked.start()
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
        "invoke": lambda: json.load(client.invoke(FunctionName="slow", Payload=b'{"seconds": 2}')["Payload"]),
        "poll": lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20),
    }
    threads = [threading.Thread(target=ask, args=pair) for pair in calls.items()]
    for thread in threads:
        thread.start()
    time.sleep(0.7)
    began = time.monotonic()
    assert forked.process is not None
    forked.process.send_signal(name)
    code = forked.process.wait(40)
    took = time.monotonic() - began
    for thread in threads:
        thread.join(10)
    assert code == 0 and "Traceback" not in forked.text(), forked.text()
    assert answers["invoke"] == "rested" and "Messages" not in answers["poll"], answers
    assert answers["poll"]["ResponseMetadata"]["HTTPStatusCode"] == 200 and took < 8, took


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
    time.sleep(1.5)
    began = time.monotonic()
    assert forked.stop(30) == 0
    assert time.monotonic() - began < 12
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


def reset(server: ServerProcess, method: str = "POST") -> int:
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        head = f"{method} /_sluiceway/reset HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
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
    assert reset(ephemeral) == 200 and time.monotonic() - began < 10
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
        assert server.stop() == 0 and time.monotonic() - began < 8  # with the client's connection still open
