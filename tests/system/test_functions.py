"""Functions by boto3 against a real server: warm workers, limits, credentials, logs, and hard-wired hosts."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import io
import json
import os
import shutil
import signal
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.cli import on
from helpers.server import TRUST, ServerProcess, eventually

PYTHON = """
import json, os, subprocess, sys, time
import boto3
started = time.time()
calls = 0
def handler(event, context):
    global calls
    calls += 1
    print("called with", json.dumps(event, ensure_ascii=False))
    what = event.get("do")
    if what == "fail": raise ValueError("no luck")
    if what == "sleep": time.sleep(event["seconds"])
    if what == "child":
        subprocess.Popen(["sleep", event["mark"]])
        time.sleep(60)
    if what == "look":
        found = {}
        for path in event["paths"]:
            try: found[path] = open(path, "rb").read(20).decode("latin-1")
            except OSError as error: found[path] = type(error).__name__
        return found
    if what == "listed": return sorted(os.listdir(event["folder"]))
    if what == "write": open(event["path"], "w").write("x"); return os.listdir("/tmp")
    if what == "signal":
        try: os.kill(event["pid"], 0)
        except OSError as error: return type(error).__name__
        return "sent"
    if what == "memory": data = bytearray(event["mb"] * 1024 * 1024); time.sleep(3)
    if what == "exit": os._exit(7)
    if what == "big": return "x" * event["bytes"]
    if what == "buckets": return [b["Name"] for b in boto3.client("s3").list_buckets()["Buckets"]]
    if what == "make": boto3.client("s3").create_bucket(Bucket="not-allowed-to"); return "made"
    if what == "hard":
        s3 = boto3.client("s3", endpoint_url="https://s3.us-east-1.amazonaws.com")
        return [b["Name"] for b in s3.list_buckets()["Buckets"]]
    if what == "who": return boto3.client("sts").get_caller_identity()["Arn"]
    if what == "env": return {n: os.environ.get(n) for n in event["names"]}
    if what == "queue": boto3.client("sqs").send_message(QueueUrl=event["url"], MessageBody=context.aws_request_id)
    return {"calls": calls, "event": event, "id": context.aws_request_id, "pid": os.getpid(),
            "left": context.get_remaining_time_in_millis(), "memory": context.memory_limit_in_mb}
"""
NODE = """
import fs from "node:fs";
export const handler = async (event, context) => {
  console.log("node got", JSON.stringify(event));
  if (event.do === "fail") throw new TypeError("nothing doing");
  if (event.do === "hard") {
    const answer = await fetch("https://sns.us-east-1.amazonaws.com/?Action=ListTopics&Version=2010-03-31");
    return { status: answer.status, text: await answer.text() };
  }
  return { event, id: context.awsRequestId, memory: context.memoryLimitInMB };
};
"""
SHELL = """#!/bin/sh
while true; do
  headers=$(mktemp)
  event=$(curl -sS -D "$headers" "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next")
  id=$(grep -i aws-request-id "$headers" | tr -d '[:space:]' | cut -d: -f2)
  curl -sS "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response" -d "{\\"shell\\": $event}" >/dev/null
done
"""


def archive(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, text in files.items():
            info = zipfile.ZipInfo(name.replace("__", "."))
            info.external_attr = 0o755 << 16
            made.writestr(info, text)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def role(server: ServerProcess) -> str:
    iam = server.client("iam")
    arn: str = iam.create_role(RoleName="runner", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    allowed = {"Effect": "Allow", "Action": ["s3:ListAllMyBuckets", "sqs:SendMessage"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName="runner", PolicyName="some", PolicyDocument=document)
    return arn


@pytest.fixture(scope="module")
def python(server: ServerProcess, role: str) -> Iterator[str]:
    server.client("lambda").create_function(
        FunctionName="plain", Runtime="python3.11", Handler="main.handler", Role=role, Timeout=10,
        Code={"ZipFile": archive(main__py=PYTHON)}, Environment={"Variables": {"GREETING": "Grüß Gott"}},
    )  # fmt: skip
    server.client("s3").create_bucket(Bucket="seen-by-functions")
    yield "plain"


def invoke(server: ServerProcess, name: str, /, **event: Any) -> tuple[Any, str | None, str]:
    answer = server.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode(), LogType="Tail")
    log = base64.b64decode(answer["LogResult"]).decode()
    return json.loads(answer["Payload"].read()), answer.get("FunctionError"), log


def test_a_function_answers_and_its_worker_stays_warm(server: ServerProcess, python: str) -> None:
    first, error, log = invoke(server, python, text="größer ☃")
    assert error is None and first["event"] == {"text": "größer ☃"} and first["memory"] == "128"
    assert 8000 < first["left"] <= 10_000
    assert f"START RequestId: {first['id']}" in log and "größer" in log and "Max Memory Used" in log
    second, _, _ = invoke(server, python)
    assert second["pid"] == first["pid"] and second["calls"] == first["calls"] + 1
    environment, _, _ = invoke(server, python, do="env", names=["GREETING", "AWS_LAMBDA_FUNCTION_NAME", "HOME"])
    assert environment["GREETING"] == "Grüß Gott" and environment["AWS_LAMBDA_FUNCTION_NAME"] == "plain"


def test_a_handler_that_fails_says_why(server: ServerProcess, python: str) -> None:
    document, error, log = invoke(server, python, do="fail")
    assert error == "Unhandled" and document["errorType"] == "ValueError" and document["errorMessage"] == "no luck"
    assert "Traceback" in log
    _, error, _ = invoke(server, python)
    assert error is None


def test_a_timeout_kills_the_worker_with_its_children(server: ServerProcess, python: str) -> None:
    server.client("lambda").update_function_configuration(FunctionName=python, Timeout=1)
    mark = f"{time.time():.6f}"  # seconds that no other sleep has
    try:
        document, error, _ = invoke(server, python, do="child", mark=mark)
        assert error == "Unhandled" and "Task timed out after 1.00 seconds" in document["errorMessage"]
        eventually(lambda: not running(mark))
    finally:
        server.client("lambda").update_function_configuration(FunctionName=python, Timeout=10)


def running(mark: str) -> bool:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"sleep\0{mark}\0".encode() in file.read_bytes():
                return True
    return False


def confined() -> bool:
    """Whether this kernel has Landlock (syscall 444 asks for its version)."""
    return sys.platform == "linux" and ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) >= 1


@pytest.mark.skipif(not confined(), reason="this kernel has no Landlock: functions are not confined here")
def test_a_function_reaches_no_file_but_its_own(server: ServerProcess, python: str) -> None:
    secret = [str(server.data / name) for name in ("root-key.json", "master-key", "store.db", "tls/server.key")]
    assert Path(secret[0]).exists() and Path(secret[2]).exists()
    found, error, _ = invoke(server, python, do="look", paths=[*secret, "/etc/hostname", "/usr/bin/env"])
    assert error is None
    assert all(found[path] in ("PermissionError", "FileNotFoundError") for path in secret), found
    assert "Error" not in found["/usr/bin/env"]
    listed, error, _ = invoke(server, python, do="listed", folder=str(server.data))
    assert error == "Unhandled" or set(listed) <= {"functions", "tls"}  # the folders on the way to its own
    written, error, _ = invoke(server, python, do="write", path="/tmp/notes.txt")
    assert error is None and "notes.txt" in written and not Path("/tmp/notes.txt").exists()
    invoke(server, python, do="write", path=str(server.data / "planted"))
    assert not (server.data / "planted").exists()


@pytest.mark.skipif(not confined(), reason="this kernel has no Landlock: functions are not confined here")
def test_a_function_cannot_signal_the_server(server: ServerProcess, python: str) -> None:
    assert server.process is not None
    answer, error, _ = invoke(server, python, do="signal", pid=server.process.pid)
    assert error is None and answer in ("PermissionError", "ProcessLookupError")


def test_a_warm_worker_that_was_killed_is_replaced_unseen(server: ServerProcess, python: str) -> None:
    for _ in range(5):
        first, error, _ = invoke(server, python)
        assert error is None
        os.kill(first["pid"], signal.SIGKILL)
        # Sooner, the event may be given to a process that is dying: then it failed.
        eventually(lambda pid=first["pid"]: not Path(f"/proc/{pid}").exists())
        second, error, _ = invoke(server, python)
        assert error is None and second["pid"] != first["pid"]


def test_memory_exits_and_large_answers_are_bounded(server: ServerProcess, python: str) -> None:
    document, error, _ = invoke(server, python, do="memory", mb=400)
    assert error == "Unhandled" and "out of memory" in document["errorMessage"]
    document, error, _ = invoke(server, python, do="exit")
    assert error == "Unhandled" and "exit status 7" in document["errorMessage"]
    document, error, _ = invoke(server, python, do="big", bytes=7_000_000)
    assert error == "Unhandled" and document["errorType"] == "Function.ResponseSizeTooLarge"
    answer, error, _ = invoke(server, python, do="big", bytes=6_000_000)
    assert error is None and len(answer) == 6_000_000
    with pytest.raises(ClientError, match="RequestTooLargeException"):
        server.client("lambda").invoke(FunctionName=python, Payload=b'"' + b"x" * 6_300_000 + b'"')


def test_a_function_has_its_roles_rights_only(server: ServerProcess, python: str) -> None:
    names, error, _ = invoke(server, python, do="buckets")
    assert error is None and "seen-by-functions" in names
    document, error, _ = invoke(server, python, do="make")
    assert error == "Unhandled" and "AccessDenied" in document["errorMessage"]
    who, _, _ = invoke(server, python, do="who")
    assert who == "arn:aws:sts::000000000000:assumed-role/runner/plain"


def test_hard_wired_host_names_lead_here(server: ServerProcess, python: str) -> None:
    names, error, log = invoke(server, python, do="hard")
    assert error is None, log
    assert "seen-by-functions" in names


def test_asynchronous_invocations_are_kept_and_run(server: ServerProcess, python: str) -> None:
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName="results")["QueueUrl"]
    event = json.dumps({"do": "queue", "url": url}).encode()
    wanted = set()
    for _ in range(5):
        answer = server.client("lambda").invoke(FunctionName=python, InvocationType="Event", Payload=event)
        assert answer["StatusCode"] == 202
        wanted.add(answer["ResponseMetadata"]["RequestId"])
    got: set[str] = set()

    def arrived() -> bool:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
        got.update(message["Body"] for message in messages)
        return got >= wanted

    eventually(arrived)
    assert got == wanted


def test_dead_letters_go_to_a_topic_if_the_role_may_publish_there(
    server: ServerProcess, python: str, role: str
) -> None:
    client, sns, sqs = server.client("lambda"), server.client("sns"), server.client("sqs")
    topic = sns.create_topic(Name="letters")["TopicArn"]
    namesake = sqs.create_queue(QueueName="letters")["QueueUrl"]
    queue, allow = "arn:aws:sqs:us-east-1:000000000000:behind", {"Effect": "Allow", "Resource": "*"}
    policy = {"Statement": [{**allow, "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}]}
    url = sqs.create_queue(QueueName="behind", Attributes={"Policy": json.dumps(policy)})["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    client.create_function(FunctionName="hapless", Runtime="python3.11", Handler="main.handler", Role=role, Timeout=10,
                           Code={"ZipFile": archive(main__py=PYTHON)}, DeadLetterConfig={"TargetArn": topic})  # fmt: skip
    client.put_function_event_invoke_config(FunctionName="hapless", MaximumRetryAttempts=0)

    def failed() -> str:
        answer = client.invoke(FunctionName="hapless", InvocationType="Event", Payload=b'{"do": "fail"}')
        return str(answer["ResponseMetadata"]["RequestId"])

    failed()
    kept = eventually(lambda: json.loads(on(server, "reactions", "show", "function:hapless", "--json"))["dead_letters"])
    assert "no luck" in kept[0]["reason"] and "not authorized to perform: sns:Publish" in kept[0]["reason"]
    document = json.dumps({"Version": "2012-10-17", "Statement": [{**allow, "Action": "sns:Publish"}]})
    server.client("iam").put_role_policy(RoleName="runner", PolicyName="letters", PolicyDocument=document)
    request_id = failed()
    [message] = eventually(lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages"))
    told = json.loads(message["Body"])
    assert (told["TopicArn"], json.loads(told["Message"])) == (topic, {"do": "fail"})
    assert told["MessageAttributes"]["RequestID"] == {"Type": "String", "Value": request_id}
    assert told["MessageAttributes"]["ErrorCode"] == {"Type": "Number", "Value": "200"}
    assert "Messages" not in sqs.receive_message(QueueUrl=namesake)  # a queue of the topic's name has no part in it
    server.client("iam").delete_role_policy(RoleName="runner", PolicyName="letters")


def test_new_code_is_used_at_once(server: ServerProcess, role: str) -> None:
    client = server.client("lambda")
    for text in ("one", "two", "three"):
        code = archive(main__py=f"def handler(event, context): return {text!r}")
        if text == "one":
            client.create_function(FunctionName="changing", Runtime="python3.11", Handler="main.handler", Role=role,
                                   Code={"ZipFile": code})  # fmt: skip
        else:
            client.update_function_code(FunctionName="changing", ZipFile=code)
        assert invoke(server, "changing")[0] == text


def test_a_handler_that_cannot_be_loaded_says_so(server: ServerProcess, role: str) -> None:
    client = server.client("lambda")
    client.create_function(FunctionName="broken", Runtime="python3.11", Handler="main.handler", Role=role,
                           Code={"ZipFile": archive(main__py="import nothing_like_this")})  # fmt: skip
    document, error, _ = invoke(server, "broken")
    assert error == "Unhandled" and document["errorType"] == "Runtime.ImportModuleError"


@pytest.mark.skipif(
    shutil.which("node") is None and os.environ.get("CI") != "true",
    reason="Node.js is not installed: `make test-servers` installs it as root",
)
def test_node_functions(server: ServerProcess, role: str) -> None:
    server.client("lambda").create_function(
        FunctionName="node", Runtime="nodejs20.x", Handler="index.handler", Role=role, Timeout=10, MemorySize=256,
        Code={"ZipFile": archive(index__mjs=NODE)},
    )  # fmt: skip
    answer, error, log = invoke(server, "node", word="über")
    assert error is None and answer["event"] == {"word": "über"} and answer["memory"] == "256" and "node got" in log
    document, error, _ = invoke(server, "node", do="fail")
    assert error == "Unhandled" and document["errorType"] == "TypeError"
    answer, error, _ = invoke(server, "node", do="hard")
    assert error is None and answer["status"] == 403 and "MissingAuthenticationToken" in answer["text"]


def test_provided_runtimes_bring_their_own_bootstrap(server: ServerProcess, role: str) -> None:
    server.client("lambda").create_function(
        FunctionName="shell", Runtime="provided.al2023", Handler="any", Role=role, Timeout=10,
        Code={"ZipFile": archive(bootstrap=SHELL)},
    )  # fmt: skip
    assert invoke(server, "shell", a=[1, 2])[0] == {"shell": {"a": [1, 2]}}


def test_a_loud_function_loses_no_line(server: ServerProcess, role: str) -> None:
    text = "def handler(event, context):\n    for n in range(5000): print('line', n)\n"
    server.client("lambda").create_function(FunctionName="loud", Runtime="python3.11", Handler="main.handler",
                                            Role=role, Code={"ZipFile": archive(main__py=text)}, Timeout=20)  # fmt: skip
    invoke(server, "loud")
    logs = server.client("logs")

    def lines() -> list[str]:
        found = logs.filter_log_events(logGroupName="/aws/lambda/loud", filterPattern="line")
        return [event["message"].strip() for event in found["events"]]

    eventually(lambda: len(lines()) >= 5000)
    assert lines() == [f"line {n}" for n in range(5000)]


def test_concurrent_calls_get_workers_of_their_own_and_reserved_concurrency_limits(
    server: ServerProcess, python: str
) -> None:
    client, answers = server.client("lambda"), []

    def call() -> None:
        answers.append(invoke(server, python, do="sleep", seconds=0.6)[0])

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["pid"] for answer in answers}) == 4
    client.put_function_concurrency(FunctionName=python, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError, match="TooManyRequestsException"):
        client.invoke(FunctionName=python)
    client.delete_function_concurrency(FunctionName=python)


@pytest.mark.parametrize(
    "change, code",
    [
        ({"Runtime": "cobol85"}, "InvalidParameterValueException|ValidationException"),
        ({"Code": {"ZipFile": b"this is no archive"}}, "InvalidParameterValueException"),
        ({"Code": {"S3Bucket": "seen-by-functions", "S3Key": "nothing"}}, "InvalidParameterValueException"),
        ({"Role": "arn:aws:iam::000000000000:role/nobody"}, "InvalidParameterValueException"),
        ({"Timeout": 100_000}, "InvalidParameterValueException"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "InvalidParameterValueException"),
        ({"Environment": {"Variables": {"BIG": "x" * 5000}}}, "InvalidParameterValueException"),
        ({"FunctionName": "plain"}, "ResourceConflictException"),
        ({"Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:x:1"]}, "InvalidParameterValueException"),
    ],
)
def test_bad_functions_are_refused(server: ServerProcess, python: str, role: str, change: Any, code: str) -> None:
    good = {"FunctionName": "bad", "Runtime": "python3.11", "Handler": "main.handler", "Role": role,
            "Code": {"ZipFile": archive(main__py=PYTHON)}}  # fmt: skip
    with pytest.raises(ClientError, match=code):
        server.client("lambda").create_function(**(good | change))


def test_outcomes_and_dead_letters_go_to_nothing_with_groups(server: ServerProcess, python: str, role: str) -> None:
    """AWS Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations": standard queues and topics."""
    client = server.client("lambda")
    fifo = {"sqs": "arn:aws:sqs:us-east-1:000000000000:q.fifo", "sns": "arn:aws:sns:us-east-1:000000000000:t.fifo"}
    standard = fifo["sqs"].removesuffix(".fifo")
    kept = client.put_function_event_invoke_config(
        FunctionName=python, MaximumRetryAttempts=1, DestinationConfig={"OnFailure": {"Destination": standard}}
    )
    refused = "InvalidParameterValueException.*FIFO"
    for arn in fifo.values():
        for which in ("OnSuccess", "OnFailure"):
            wanted = {"FunctionName": python, "DestinationConfig": {which: {"Destination": arn}}}
            with pytest.raises(ClientError, match=refused):
                client.put_function_event_invoke_config(**wanted)
            with pytest.raises(ClientError, match=refused):
                client.update_function_event_invoke_config(**wanted)
        letters = {"TargetArn": arn}
        with pytest.raises(ClientError, match=refused):
            client.update_function_configuration(FunctionName=python, DeadLetterConfig=letters, Description="changed")
        with pytest.raises(ClientError, match=refused):
            client.create_function(FunctionName="fifo", Runtime="python3.11", Handler="main.handler", Role=role,
                                   Code={"ZipFile": archive(main__py=PYTHON)}, DeadLetterConfig=letters)  # fmt: skip
    found = client.get_function_event_invoke_config(FunctionName=python)
    assert (found["DestinationConfig"], found["MaximumRetryAttempts"]) == (kept["DestinationConfig"], 1)
    configuration = client.get_function_configuration(FunctionName=python)
    assert "DeadLetterConfig" not in configuration and configuration["Description"] != "changed"
    assert "fifo" not in [function["FunctionName"] for function in client.list_functions()["Functions"]]
    client.delete_function_event_invoke_config(FunctionName=python)


def test_archives_that_lead_outside_are_refused(server: ServerProcess, role: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("../../outside.py", "x = 1")
        made.writestr("main.py", "def handler(event, context): return 1")
    client = server.client("lambda")
    client.create_function(FunctionName="sly", Runtime="python3.11", Handler="main.handler", Role=role,
                           Code={"ZipFile": buffer.getvalue()})  # fmt: skip
    with pytest.raises(ClientError, match="leads out of it"):
        client.invoke(FunctionName="sly")
    assert not list(server.data.rglob("outside.py"))


def test_unknown_functions_and_malformed_events(server: ServerProcess, python: str) -> None:
    client = server.client("lambda")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client.invoke(FunctionName="nobody")
    with pytest.raises(ClientError, match="InvalidRequestContentException"):
        client.invoke(FunctionName=python, Payload=b"{not json")
    with pytest.raises(ClientError, match="AccessDenied"):
        iam = server.client("iam")
        iam.create_user(UserName="guest")
        key = iam.create_access_key(UserName="guest")["AccessKey"]
        server.client("lambda", (key["AccessKeyId"], key["SecretAccessKey"])).invoke(FunctionName=python)
