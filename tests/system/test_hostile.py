"""Bad input to every AWS protocol but S3: each gets the protocol's own error, soon, and the server stays well."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from helpers.raw import Answer, Plain, exchange, memory_mb, serialized, sha256, signed, understood
from helpers.server import ServerProcess

KIB, MIB = 1024, 1024 * 1024
OTHER = "arn:aws:{}:us-east-1:999999999999:{}"
DEEP = 100_000


@dataclass(frozen=True)
class Service:
    """``reads`` and ``writes`` are requests that are fine; ``unknown`` names what is not there."""

    name: str
    reads: str
    writes: tuple[str, dict[str, Any]]
    unknown: tuple[str, dict[str, Any], str]
    scope: str = ""
    json_errors: bool = False
    read_params: dict[str, Any] = field(default_factory=dict)
    prefix: str = ""

    @property
    def signs_as(self) -> str:
        return self.scope or self.name

    def read(self) -> Plain:
        return serialized(self.name, self.reads, self.read_params, self.prefix)

    def write(self) -> Plain:
        return serialized(self.name, self.writes[0], self.writes[1], self.prefix)


SERVICES = [
    Service("sns", "ListTopics", ("CreateTopic", {"Name": "t", "Attributes": {"DisplayName": "x"}}),
            ("GetTopicAttributes", {"TopicArn": OTHER.format("sns", "t")}, "NotFound")),
    Service("sqs", "ListQueues", ("CreateQueue", {"QueueName": "q", "Attributes": {"DelaySeconds": "1"}}),
            ("GetQueueAttributes", {"QueueUrl": "http://localhost/999999999999/nobody"}, "AWS.SimpleQueueService.NonExistentQueue")),
    Service("dynamodb", "ListTables", ("PutItem", {"TableName": "nobody", "Item": {"id": {"S": "x"}}}),
            ("DescribeTable", {"TableName": "nobody"}, "ResourceNotFoundException"), json_errors=True),
    Service("dynamodbstreams", "ListStreams", ("DescribeStream", {"StreamArn": OTHER.format("dynamodb", "table/t/stream/x")}),
            ("DescribeStream", {"StreamArn": OTHER.format("dynamodb", "table/t/stream/2020-01-01T00:00:00.000")},
             "ResourceNotFoundException"), "dynamodb", json_errors=True),
    Service("kinesis", "ListStreams", ("PutRecord", {"StreamName": "nobody", "Data": b"x", "PartitionKey": "k"}),
            ("DescribeStreamSummary", {"StreamName": "nobody"}, "ResourceNotFoundException"), json_errors=True),
    Service("lambda", "ListFunctions", ("CreateFunction", {"FunctionName": "f", "Role": OTHER.format("iam", "role/r"),
            "Runtime": "python3.11", "Handler": "a.b", "Code": {"ZipFile": b"x"}}),
            ("GetFunction", {"FunctionName": OTHER.format("lambda", "function:f")}, "ResourceNotFoundException")),
    Service("apigatewayv2", "GetApis", ("CreateApi", {"Name": "n", "ProtocolType": "NONE"}),
            ("GetApi", {"ApiId": "nobody"}, "NotFoundException"), "apigateway"),
    Service("apigatewaymanagementapi", "GetConnection", ("PostToConnection", {"ConnectionId": "x", "Data": b"x"}),
            ("GetConnection", {"ConnectionId": "nobody"}, "GoneException"), "execute-api",
            read_params={"ConnectionId": "x"}, prefix="/_ws/aaaaaaaaaa/live"),
    Service("sts", "GetCallerIdentity", ("AssumeRole", {"RoleArn": OTHER.format("iam", "role/r"), "RoleSessionName": "s"}),
            ("AssumeRole", {"RoleArn": OTHER.format("iam", "role/nobody"), "RoleSessionName": "s"}, "AccessDenied")),
    Service("iam", "ListUsers", ("CreateUser", {"UserName": "n" * 65}),
            ("GetUser", {"UserName": "nobody"}, "NoSuchEntity")),
    Service("secretsmanager", "ListSecrets", ("PutSecretValue", {"SecretId": "nobody", "SecretString": "x"}),
            ("GetSecretValue", {"SecretId": OTHER.format("secretsmanager", "secret:nobody-abcdef")}, "ResourceNotFoundException"),
            json_errors=True),
    Service("ssm", "DescribeParameters", ("PutParameter", {"Name": "/aws/x", "Value": "x", "Type": "String"}),
            ("GetParameter", {"Name": "/nobody"}, "ParameterNotFound"), json_errors=True),
    Service("kms", "ListKeys", ("Encrypt", {"KeyId": "nobody", "Plaintext": b"x"}),
            ("DescribeKey", {"KeyId": OTHER.format("kms", "key/12345678-1234-1234-1234-123456789012")}, "NotFoundException"),
            json_errors=True),
    Service("cloudformation", "ListStacks", ("CreateStack", {"StackName": "1-bad", "TemplateBody": "{}"}),
            ("DescribeStacks", {"StackName": "nobody"}, "ValidationError")),
    Service("logs", "DescribeLogGroups", ("FilterLogEvents", {"logGroupName": "nobody", "limit": 1}),
            ("GetLogEvents", {"logGroupName": "nobody", "logStreamName": "x"}, "ResourceNotFoundException"), json_errors=True),
    Service("es", "ListDomainNames", ("CreateElasticsearchDomain", {"DomainName": "X"}),
            ("DescribeElasticsearchDomain", {"DomainName": "nobody"}, "ResourceNotFoundException")),
]  # fmt: skip
BY_NAME = {service.name: service for service in SERVICES}
every_service = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that loses patience soon."""
    limits = {"SLUICEWAY_HTTP__HEADER_S": "1", "SLUICEWAY_HTTP__BODY_IDLE_S": "1",
              "SLUICEWAY_HTTP__CONNECTIONS_MAX": "200"}  # fmt: skip
    running = ServerProcess(tmp_path_factory.mktemp("hostile") / "data", environment=limits).start()
    yield running
    check_well(running)
    assert running.stop() == 0


def check_well(server: ServerProcess) -> None:
    """Healthy, small, and without a word of failure in its log."""
    answer = exchange(server, Plain("GET", "/_sluiceway/health").wire(server.port), "GET")
    assert json.loads(answer.body)["status"] == "ok"
    assert memory_mb(server) < 300
    bad = [line for line in server.lines if "ERROR" in line or "Traceback" in line]
    assert not bad, "\n".join(server.lines)


def send(server: ServerProcess, service: Service, plain: Plain, operation: str = "", **signing: Any) -> Answer:
    """Sign and send; the answer with botocore's reading of it."""
    key = signing.pop("key", None) or server.key
    made = signed(plain, server.port, key, signing.pop("scope", service.signs_as), **signing)
    return tell(server, service, made, operation)


def tell(server: ServerProcess, service: Service, made: Plain, operation: str = "") -> Answer:
    answer = exchange(server, made.wire(server.port), made.method)
    return understood(service.name, operation or service.reads, answer).check()


@every_service
def test_what_is_right_works_and_what_is_not_there_is_not_found(server: ServerProcess, service: Service) -> None:
    if service.name != "apigatewaymanagementapi":
        assert send(server, service, service.read()).status == 200
    operation, params, code = service.unknown
    answer = send(server, service, serialized(service.name, operation, params, service.prefix), operation)
    assert answer.code == code and 400 <= answer.status < 500 and answer.message, answer


# -- signatures

Tamper = Callable[[Plain, tuple[str, str], int, Service], Plain]


def sign(plain: Plain, key: tuple[str, str], port: int, service: Service, **changes: Any) -> Plain:
    return signed(plain, port, key, changes.pop("scope", service.signs_as), **changes)


def _changed(plain: Plain, name: str, old: str, new: str) -> Plain:
    assert old in plain.headers[name]
    return replace(plain, headers=plain.headers | {name: plain.headers[name].replace(old, new)})


MISMATCH = {"SignatureDoesNotMatch", "InvalidSignatureException"}
UNKNOWN = {"InvalidClientTokenId", "UnrecognizedClientException"}
INCOMPLETE = {"IncompleteSignature", "IncompleteSignatureException"}
MISSING = {"MissingAuthenticationToken", "MissingAuthenticationTokenException", "AccessDeniedException"}
FORGERIES: dict[str, tuple[set[str], Tamper]] = {
    "wrong secret": (MISMATCH, lambda r, k, p, s: sign(r, (k[0], "wrong" * 8), p, s)),
    "unknown key": (UNKNOWN, lambda r, k, p, s: sign(r, ("AKIA" + "X" * 16, "wrong" * 8), p, s)),
    "old date": (MISMATCH, lambda r, k, p, s: sign(r, k, p, s, moved_s=-16 * 60)),
    "future date": (MISMATCH, lambda r, k, p, s: sign(r, k, p, s, moved_s=16 * 60)),
    "ancient date": (MISMATCH, lambda r, k, p, s: sign(r, k, p, s, moved_s=-20 * 365 * 86_400)),
    "garbage token": (UNKNOWN, lambda r, k, p, s: sign(r, k, p, s, token="garbage" * 20)),
    "garbage token of a role": (UNKNOWN, lambda r, k, p, s: sign(r, ("ASIA" + "X" * 16, "y" * 40), p, s, token="Z" * 400)),
    "wrong region": (INCOMPLETE, lambda r, k, p, s: sign(r, k, p, s, region="mars-north-1")),
    "no signature": (MISSING, lambda r, k, p, s: r),
    "tampered body": (MISMATCH, lambda r, k, p, s: replace(sign(r, k, p, s), body=r.body + b" ")),
    "lying hash": (MISMATCH, lambda r, k, p, s: sign(r.with_headers(x_amz_content_sha256=sha256(b"other")), k, p, s)),
    "tampered header": (MISMATCH, lambda r, k, p, s: _changed(
        sign(r.with_headers(x_amz_meta="one"), k, p, s), "x-amz-meta", "one", "two")),
    "unsigned header": (MISMATCH, lambda r, k, p, s: sign(r, k, p, s).with_headers(x_amz_extra="smuggled")),
    "another path": (MISMATCH, lambda r, k, p, s: replace(made := sign(r, k, p, s), path=made.path + (
        "&x=1" if "?" in made.path else "?x=1"))),
    "no host signed": (INCOMPLETE, lambda r, k, p, s: _changed(sign(r, k, p, s), "authorization", "host;", "")),
    "no credential": (INCOMPLETE, lambda r, k, p, s: _changed(sign(r, k, p, s), "authorization", "SignedHeaders=", "X=")),
    "short credential": (INCOMPLETE, lambda r, k, p, s: _changed(
        sign(r, k, p, s), "authorization", "/aws4_request", "/aws4")),
    "endless signature": (MISMATCH, lambda r, k, p, s: _changed(
        sign(r, k, p, s), "authorization", "Signature=", "Signature=" + "a" * 20_000)),
    "no date": (INCOMPLETE, lambda r, k, p, s: _changed(sign(r, k, p, s), "x-amz-date", "T", "X")),
    "no day": (INCOMPLETE, lambda r, k, p, s: sign(r, k, p, s).with_headers(x_amz_date="20209999T000000Z")),
}  # fmt: skip


@every_service
@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_signatures(server: ServerProcess, service: Service, forgery: str) -> None:
    codes, tamper = FORGERIES[forgery]
    answer = tell(server, service, tamper(service.write(), server.key, server.port, service), service.writes[0])
    assert answer.status in (400, 403) and answer.code in codes, answer


# -- bodies

JSON_BODIES: dict[str, bytes] = {
    "truncated": b'{"a": "b',
    "empty": b"",
    "not JSON": b"<xml/>",
    "an array": b"[]",
    "null": b"null",
    "a number": b"17",
    "deep arrays": b'{"a":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep and cut": b'{"a":' * DEEP,
    "NaN": b'{"Limit": NaN, "MaxResults": NaN}',
    "infinite": b'{"Limit": 1e999, "MaxResults": 1e999, "limit": 1e999}',
    "long number": b'{"Limit": ' + b"9" * 100_000 + b"}",
    "lone surrogates": rb'{"TableName": "\ud800", "Name": "\udfff", "SecretId": "\ud800x", "KeyId": "\ud800"}',
    "invalid UTF-8": b'{"TableName": "\xff\xfe", "Name": "\xc3\x28", "QueueUrl": "\xed\xa0\x80"}',
    "UTF-16": '{"TableName": "x"}'.encode("utf-16"),
    "NUL": b'{"TableName": "a\\u0000b", "Name": "a\\u0000", "QueueName": "\\u0000", "SecretId": "\\u0000"}',
    "raw NUL": b'{"TableName": "a\x00b"}',
    "bytes only": bytes(range(256)) * 8,
    "many members": b"{" + b",".join(b'"k%d": 1' % n for n in range(100_000)) + b"}",
}
#: By value: each member of the good body is replaced by it.
WRONG_VALUES: dict[str, Any] = {
    "null": None, "a list": [[]], "a number": 12345678901234567890123, "negative": -1, "a fraction": 1.5, "truth": True,
    "nested": {"a": {"b": ["c"]}}, "empty": "", "long": "x" * 200_000, "NUL": "a\x00b", "a surrogate": "\ud800",
    "a bad number": "1e999", "an ARN of nobody": "arn:aws:x:::", "colons": ":" * 50, "a path": "../../../etc/passwd",
    "controls": "\x01\x1b[31m\r\n", "right to left": "\u202ex\u0000", "astral": "\U0001f600" * 100,
}  # fmt: skip


def json_services() -> list[Service]:
    from helpers.raw import model

    return [service for service in SERVICES if "json" in model(service.name).metadata["protocol"]]


@pytest.mark.parametrize("service", json_services(), ids=lambda service: service.name)
@pytest.mark.parametrize("kind", JSON_BODIES)
def test_malformed_json(server: ServerProcess, service: Service, kind: str) -> None:
    answer = send(server, service, replace(service.write(), body=JSON_BODIES[kind]), service.writes[0])
    assert 400 <= answer.status < 500 and answer.code, answer


@pytest.mark.parametrize("service", json_services(), ids=lambda service: service.name)
@pytest.mark.parametrize("kind", WRONG_VALUES)
def test_wrong_values(server: ServerProcess, service: Service, kind: str) -> None:
    good = service.write()
    if not good.body.startswith(b"{"):
        return
    members = json.loads(good.body)
    for name in members:
        body = json.dumps(members | {name: WRONG_VALUES[kind]}).encode()
        answer = send(server, service, replace(good, body=body), service.writes[0])
        assert answer.status < 300 or answer.code, (name, answer)


# -- documents within requests


def bomb(levels: int, merge: bool = False) -> str:
    """Nine references to nine references and so on."""
    lines = ["a0: &a0 {x: 1}" if merge else "a0: &a0 [x, x]"]
    for level in range(1, levels):
        inside = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"a{level}: &a{level} " + (f"{{<<: [{inside}]}}" if merge else f"[{inside}]"))
    return "\n".join(lines)


DOCUMENTS = {
    "a bomb": bomb(12),
    "a bomb of merges": bomb(12, merge=True),
    "one that holds itself": "a: &a [*a]",
    "a large one": "openapi: 3.0.1\nx: [" + "1," * 200_000 + "1]",
    "a deep one": "[" * 20_000,
    "tags of Python": "!!python/object/apply:os.system [true]",
    "a tab": "a:\n\t- b",
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_documents_that_blow_up_are_refused_soon(server: ServerProcess, kind: str) -> None:
    text = DOCUMENTS[kind]
    for name, operation, params in (
        ("cloudformation", "CreateStack", {"StackName": "bomb", "TemplateBody": text}),
        ("cloudformation", "ValidateTemplate", {"TemplateBody": text}),
        ("apigatewayv2", "ImportApi", {"Body": text}),
    ):
        answer = send(server, BY_NAME[name], serialized(name, operation, params), operation)
        assert answer.status == 400 and answer.code, answer


def test_many_parameters_and_deep_names_of_a_form(server: ServerProcess) -> None:
    for body in (
        "Action=ListTopics&" + "&".join(f"a.{n}.b=1" for n in range(60_000)),
        "Action=ListTopics&" + "&".join(f"{n}" + ".a" * 38 + "=1" for n in range(9_000)),
        "Action=CreateTopic&Name=x&Attributes.entry." + "1." * 60 + "key=x",
        "Action=CreateTopic&Name=x&Tags.member.²=x&Tags.member.99999999999999999999.Key=x",
    ):
        made = Plain("POST", "/", body.encode(), {"content-type": "application/x-www-form-urlencoded"})
        answer = send(server, BY_NAME["sns"], made, "CreateTopic")
        assert answer.status == 200 or answer.code, answer
