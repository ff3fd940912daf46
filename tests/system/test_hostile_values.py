"""Every operation of every AWS service but S3 with values of the right form and no sense, and of the wrong form."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape
from helpers.raw import Plain, exchange, memory_mb, model, serialized, signed, understood
from helpers.server import TRUST, ServerProcess

SERVICES = {
    "apigatewaymanagementapi": "execute-api", "apigatewayv2": "apigateway", "cloudformation": "", "dynamodb": "",
    "dynamodbstreams": "dynamodb", "es": "", "iam": "", "kinesis": "", "kms": "", "lambda": "", "logs": "",
    "secretsmanager": "", "sns": "", "sqs": "", "ssm": "", "sts": "",
}  # fmt: skip
ROUNDS = 6
TEXTS = ["", "x", "nobody", "a" * 300, "x" * 5000, "ü☃\U0001f600", "a\x00b", "\x1b[31m", "-1", "1e999", "9" * 40, "true",
         "null", "{}", "[]", '{"a":', "[" * 2000, "%", "%00", "%zz", "../..", "..", ".", "/", "//", ":", "arn:aws:::::",
         "arn:aws:sqs:us-east-1:000000000000:nobody", "arn:aws:lambda:us-east-1:999999999999:function:f",
         "arn:aws:dynamodb:us-east-1:000000000000:table/nobody/stream/2020-01-01T00:00:00.000",
         "arn:aws:iam::000000000000:role/nobody", "http://127.0.0.1:1/", "http://[", "s3://x/y", "2020-13-45T99:99:99Z",
         "*", "$.a", "#a = :b", "a=b&c=d", "<a>&", "AAAA", "====", "²", "١", "\u2028", "\ud800"]  # fmt: skip
NUMBERS = [0, 1, -1, 2, 7, 100, 1000, 10**6, 2**31, 2**53, 2**63 - 1, -(2**63), 2**64, 10**30]


Known = dict[str, list[Any]]


def known(server: ServerProcess) -> Known:
    """Things that are there, by the names of the members that mean them: nonsense about them goes deeper."""
    role = server.client("iam").create_role(RoleName="role", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    server.client("iam").create_user(UserName="user")
    topic = server.client("sns").create_topic(Name="topic")["TopicArn"]
    queue = server.client("sqs").create_queue(QueueName="queue")["QueueUrl"]
    queue_arn = topic.replace("sns", "sqs").replace("topic", "queue")
    subscription = server.client("sns").subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=queue_arn, ReturnSubscriptionArn=True
    )["SubscriptionArn"]
    server.client("sqs").send_message(QueueUrl=queue, MessageBody="x")
    receipt = server.client("sqs").receive_message(QueueUrl=queue)["Messages"][0]["ReceiptHandle"]
    table = server.client("dynamodb").create_table(
        TableName="table", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}], BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )["TableDescription"]  # fmt: skip
    server.client("dynamodb").put_item(TableName="table", Item={"id": {"S": "x"}, "n": {"N": "1"}})
    shard = server.client("dynamodbstreams").describe_stream(StreamArn=table["LatestStreamArn"])
    kinesis = server.client("kinesis")
    kinesis.create_stream(StreamName="stream", ShardCount=1)
    data_stream = kinesis.describe_stream(StreamName="stream")["StreamDescription"]
    iterator = kinesis.get_shard_iterator(
        StreamName="stream", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    key = server.client("kms").create_key()["KeyMetadata"]["KeyId"]
    secret = server.client("secretsmanager").create_secret(Name="secret", SecretString="x")["ARN"]
    server.client("ssm").put_parameter(Name="/parameter", Value="x", Type="String")
    server.client("es").create_elasticsearch_domain(DomainName="domain")
    function = server.client("lambda").create_function(
        FunctionName="function", Runtime="python3.11", Handler="main.handler", Role=role, Timeout=2,
        Code={"ZipFile": archive("def handler(event, context): return event")},
    )["FunctionArn"]  # fmt: skip
    api = server.client("apigatewayv2").create_api(Name="api", ProtocolType="HTTP", Target=function)["ApiId"]
    return {
        "RoleName": ["role"], "RoleArn": [role], "Role": [role], "UserName": ["user"], "TopicArn": [topic], "QueueUrl": [queue],
        "QueueName": ["queue"], "SubscriptionArn": [subscription], "ReceiptHandle": [receipt], "TableName": ["table"],
        "StreamArn": [table["LatestStreamArn"]], "StreamName": ["stream"], "StreamARN": [data_stream["StreamARN"]],
        "ShardId": ["shardId-000000000000", shard["StreamDescription"]["Shards"][0]["ShardId"]],
        "ShardIterator": [iterator], "KeyId": [key], "SecretId": ["secret", secret], "Name": ["/parameter"],
        "DomainName": ["domain"], "FunctionName": ["function", function], "ApiId": [api], "Stage": ["$default"],
        "StageName": ["$default"], "EventSourceArn": [queue_arn, data_stream["StreamARN"], table["LatestStreamArn"]],
        "ResourceArn": [topic, secret, key, table["TableArn"]], "Resource": [function], "TargetArn": [topic],
        "logGroupName": ["/aws/lambda/function"], "PolicyArn": ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
        "PolicyDocument": [TRUST, '{"Statement": 5}', '{"Statement": [5]}', '{"Statement": {"Effect": {}}}'],
        "Policy": ['{"Statement": 5}', '{"Statement": [5]}', '{"Statement": {"Effect": "Allow", "Principal": {"AWS": 5}}}'],
        "ExpressionAttributeValues": [{":v": {"S": "x"}}], "Key": [{"id": {"S": "x"}}], "Item": [{"id": {"S": "x"}}],
        "ExpressionAttributeNames": [{"#n": "n"}],
        "UpdateExpression": ["SET #n = :v", "ADD n :v", "SET a[0].b = :v", "REMOVE " + "a." * 500 + "a"],
        "ConditionExpression": ["n = :v", "(" * 400 + "n = :v" + ")" * 400, "attribute_exists(n)", "not " * 1000 + "n = :v"],
        "FilterExpression": ["n between :v and :v", "contains(n, :v)"], "KeyConditionExpression": ["id = :v", "id > :v"],
        "AttributeName": ["FilterPolicy", "DisplayName", "RawMessageDelivery", "RedrivePolicy"],
        "AttributeValue": ['{"a": [{"numeric": ["<", "x"]}]}', '{"a": ' + "[" * 2000, '{"deadLetterTargetArn": 5}'],
        "Attributes": [{"VisibilityTimeout": "²"}, {"RedrivePolicy": '{"maxReceiveCount": Infinity}'}, {"Policy": "[" * 5000}],
        "FilterCriteria": [{"Filters": [{"Pattern": "[" * 2000}]}, {"Filters": [{"Pattern": '{"a": [{"prefix": 1}]}'}]}],
        "TemplateBody": ["{}", "[", "&a [*a]", "a: &a [1]\nb: [*a, *a]", '{"Resources": 5}', '{"Resources": {"A": 5}}',
                         '{"Resources": {"A": {"Type": "AWS::SQS::Queue", "Properties": {"Fn::Sub": []}}}}',
                         '{"Resources": {"A": {"Type": "AWS::SNS::Topic", "DependsOn": ["A"]}}}'],
        "Body": ["{}", "openapi: 3", '{"openapi": "3.0.1", "paths": 5}', '{"openapi": "3.0.1", "paths": {"/": {"get": 5}}}',
                 "&a [*a]"],
    }  # fmt: skip


def archive(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        written.writestr("main.py", text)
    return buffer.getvalue()


def about(params: dict[str, Any], there: Known, chance: random.Random) -> dict[str, Any]:
    """Most of the names are of things that are there."""
    return {
        name: chance.choice(there[name]) if name in there and chance.random() < 0.8 else value
        for name, value in params.items()
    }


def made(shape: Shape, chance: random.Random, depth: int = 0) -> Any:
    """A value of the shape's form."""
    if isinstance(shape, StructureShape):
        if shape.is_document_type:
            return {"a": [1, None, {"b": "c"}]}
        chosen = {}
        for name, member in shape.members.items():
            if depth < 5 and (name in shape.required_members or chance.random() < (0.4 if depth else 0.5)):
                chosen[name] = made(member, chance, depth + 1)
        return chosen
    if isinstance(shape, ListShape):
        return [
            made(shape.member, chance, depth + 1) for _ in range(chance.choice((0, 1, 1, 2, 3)) if depth < 6 else 0)
        ]
    if isinstance(shape, MapShape):
        count = chance.choice((0, 1, 1, 2)) if depth < 6 else 0
        return {text(chance): made(shape.value, chance, depth + 1) for _ in range(count)}
    kind = shape.type_name
    if kind == "string":
        return chance.choice(shape.enum) if getattr(shape, "enum", None) and chance.random() < 0.8 else text(chance)
    if kind in ("integer", "long"):
        return chance.choice(NUMBERS)
    if kind in ("float", "double"):
        return chance.choice([0.0, -1.5, 1e300, 3])
    if kind == "boolean":
        return chance.random() < 0.5
    if kind == "timestamp":
        return chance.choice([0, 1, 1_700_000_000, 4_000_000_000])
    return chance.choice([b"", b"x", b"\x00\xff" * 40, b"PK\x03\x04" + b"\x00" * 40, b"{}"])


def text(chance: random.Random) -> str:
    return chance.choice(TEXTS[:-1])


def broken(value: Any, chance: random.Random) -> Any:
    """A document with one of its parts replaced by something of another form."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        name = chance.choice(list(value))
        return value | {name: broken(value[name], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        place = chance.randrange(len(value))
        return [*value[:place], broken(value[place], chance), *value[place + 1 :]]
    return chance.choice(
        [None, [], {}, [None], [[]], {"": {}}, True, -1, 1.5, 10**30, 1e300, "", "x", "\ud800", "1e5", [1, "a"]]
    )


def requests(service: str, operation: str, there: Known, chance: random.Random) -> Any:
    """Requests for one operation: nothing, sense-free, and of the wrong form."""
    shape = model(service).operation_model(operation).input_shape
    prefix = "/_ws/aaaaaaaaaa/live" if service == "apigatewaymanagementapi" else ""
    for number in range(ROUNDS):
        params = made(shape, chance) if shape is not None and number else {}
        if not operation.startswith(_DESTROYS):
            params = about(params, there, chance)
        for name in required_in_path(shape):
            params.setdefault(name, "x")
            if not str(params[name]).strip("./ "):
                params[name] = "x"
        plain = serialized(service, operation, params, prefix)
        yield plain
        if plain.body.startswith(b"{"):
            yield replace(plain, body=json.dumps(broken(json.loads(plain.body), chance)).encode())


_DESTROYS = ("Delete", "Schedule", "Disable", "Remove", "Untag")


def required_in_path(shape: Shape | None) -> list[str]:
    if not isinstance(shape, StructureShape):
        return []
    return [name for name, member in shape.members.items() if member.serialization.get("location") == "uri"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One that keeps all that it says."""
    made = ServerProcess(tmp_path_factory.mktemp("values") / "data")
    made.lines = deque(maxlen=100_000)
    yield made.start()
    assert made.stop() == 0


@pytest.fixture(scope="module")
def there(server: ServerProcess) -> Known:
    return known(server)


@pytest.mark.parametrize("service", SERVICES)
def test_values_without_sense_are_errors_of_the_client(server: ServerProcess, there: Known, service: str) -> None:
    key, seen, failures, statuses = server.key, 0, [], Counter[int]()
    for operation in model(service).operation_names:
        if operation == "InvokeWithResponseStream":
            continue
        chance = random.Random(f"{service} {operation}")
        for plain in requests(service, operation, there, chance):
            ask = signed(latin(plain), server.port, key, SERVICES[service] or service)
            answer = understood(service, operation, exchange(server, ask.wire(server.port), ask.method))
            if answer.status == 501:
                break
            seen += 1
            statuses[answer.status] += 1
            try:
                answer.check()
                assert answer.status < 300 or answer.code, answer
            except AssertionError as error:
                failures.append(f"{operation} {plain.path[:200]} {plain.body[:500]!r}: {error}"[:1500])
    print(service, seen, "requests", statuses)
    assert seen and not failures, "\n\n".join(failures[:10]) + "\n" + "\n".join(list(server.lines)[-60:])


def latin(plain: Plain) -> Plain:
    """Header values that fit on the wire."""
    kept = {name: "".join(c for c in str(value) if " " <= c < "\x7f") for name, value in plain.headers.items()}
    return replace(plain, headers=kept)


def test_the_server_is_well_after_all_of_it(server: ServerProcess) -> None:
    answer = exchange(server, Plain("GET", "/_sluiceway/health").wire(server.port), "GET")
    assert json.loads(answer.body)["status"] == "ok"
    assert memory_mb(server) < 300
    failed = [n for n, line in enumerate(server.lines) if "ERROR" in line]
    assert not failed, "\n".join("\n".join(list(server.lines)[n : n + 30]) for n in failed[:3])
