"""Every operation of every service is refused to strangers and to users without rights, and nothing comes of it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from botocore.model import Shape
from helpers.compatibility_page import operations
from helpers.raw import Answer, exchange, model, serialized, signed, understood
from helpers.rights import arn, may, person, role
from helpers.server import ServerProcess

#: Where there is nothing to be refused: who one is, and a session with the rights that one has.
OPEN: Final = {("sts", "GetCallerIdentity"), ("sts", "GetSessionToken")}
#: Rights by a token or by a secret name, also without a signature (SNS API reference).
BY_TOKEN: Final = {("sns", "ConfirmSubscription"), ("sns", "Unsubscribe")}
#: Without a signature most of their paths are no service's but S3's, where they name a bucket that is not there.
BY_PATH: Final = {"es", "lambda"}
SIGNS_AS: Final = {
    "dynamodbstreams": "dynamodb",
    "apigatewayv2": "apigateway",
    "apigatewaymanagementapi": "execute-api",
}
REFUSED: Final = {"AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException", "403"}
MISSING: Final = {"MissingAuthenticationToken", "MissingAuthenticationTokenException", *REFUSED}
#: Operations of S3 whose decision stands in the answer, for each object by itself.
IN_THE_ANSWER: Final = {("s3", "DeleteObjects")}
#: About no thing that policies can name (Service Authorization Reference), or about one that is not there yet.
OF_NOTHING: Final = {
    "apigatewaymanagementapi": "DeleteConnection GetConnection PostToConnection",
    "apigatewayv2": "CreateApi GetApis ImportApi",
    "cloudformation": "DescribeStackResources DescribeStacks GetTemplate ListStacks ValidateTemplate",
    "dynamodb": "ListTables",
    "dynamodbstreams": "ListStreams",
    "es": "ListDomainNames",
    "iam": "ListPolicies ListRoles ListUsers",
    "kinesis": "DescribeLimits ListStreams",
    "kms": "CreateKey GenerateRandom ListAliases ListKeys",
    "lambda": "CreateEventSourceMapping GetAccountSettings ListEventSourceMappings ListFunctions",
    "logs": "DescribeLogGroups",
    "s3": "ListBuckets",
    "secretsmanager": "GetRandomPassword ListSecrets",
    "sns": "CheckIfPhoneNumberIsOptedOut ConfirmSubscription CreateSMSSandboxPhoneNumber DeleteSMSSandboxPhoneNumber "
           "GetSMSAttributes GetSMSSandboxAccountStatus GetSubscriptionAttributes ListOriginationNumbers "
           "ListPhoneNumbersOptedOut ListSMSSandboxPhoneNumbers ListSubscriptions ListTopics OptInPhoneNumber "
           "SetSMSAttributes SetSubscriptionAttributes VerifySMSSandboxPhoneNumber",
    "sqs": "CancelMessageMoveTask ListQueues",
    "ssm": "DescribeParameters",
    "sts": "GetCallerIdentity GetSessionToken",
}  # fmt: skip
CASES: Final = sorted((service, name) for service, names in operations().items() for name in names)


@dataclass
class Things:
    """What is there, and would be touched. ``almighty`` may do everything, but nothing to any of it."""

    server: ServerProcess
    stranger: tuple[str, str]
    almighty: tuple[str, str]
    known: dict[str, Any]

    def state(self) -> str:
        """What root sees of it."""
        client = self.server.client
        s3, sns, sqs, ddb = client("s3"), client("sns"), client("sqs"), client("dynamodb")
        seen = [
            sorted(bucket["Name"] for bucket in s3.list_buckets()["Buckets"]),
            [one["Key"] for one in s3.list_objects_v2(Bucket="things").get("Contents", [])],
            s3.get_bucket_versioning(Bucket="things").get("Status"),
            sns.list_topics()["Topics"], sns.list_subscriptions()["Subscriptions"],
            sns.get_topic_attributes(TopicArn=self.known["TopicArn"])["Attributes"],
            sqs.list_queues()["QueueUrls"],
            sqs.get_queue_attributes(QueueUrl=self.known["QueueUrl"], AttributeNames=["All"])["Attributes"],
            ddb.list_tables()["TableNames"], ddb.scan(TableName="things")["Items"],
            client("kinesis").list_streams()["StreamNames"],
            sorted(user["UserName"] for user in client("iam").list_users()["Users"]),
            client("iam").list_user_policies(UserName="someone")["PolicyNames"],
            [one["AccessKeyId"] for one in client("iam").list_access_keys(UserName="someone")["AccessKeyMetadata"]],
            sorted(one["RoleName"] for one in client("iam").list_roles()["Roles"]),
            [(key["KeyId"], client("kms").describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"])
             for key in client("kms").list_keys()["Keys"]],
            [one["AliasName"] for one in client("kms").list_aliases()["Aliases"]],
            client("secretsmanager").get_secret_value(SecretId="things")["VersionId"],
            client("ssm").get_parameter(Name="things")["Parameter"]["Version"],
            [api["ApiId"] for api in client("apigatewayv2").get_apis()["Items"]],
            client("es").list_domain_names()["DomainNames"],
            [stack["StackName"] for stack in client("cloudformation").list_stacks()["StackSummaries"]],
            client("lambda").list_functions()["Functions"],
        ]  # fmt: skip
        return json.dumps(seen, default=str)


@pytest.fixture(scope="module")
def things(server: ServerProcess) -> Things:
    client, iam = server.client, server.client("iam")
    client("s3").create_bucket(Bucket="things")
    client("s3").put_object(Bucket="things", Key="things", Body=b"x")
    topic = client("sns").create_topic(Name="things")["TopicArn"]
    queue = client("sqs").create_queue(QueueName="things")["QueueUrl"]
    client("sqs").send_message(QueueUrl=queue, MessageBody="x")
    table = client("dynamodb").create_table(
        TableName="things", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )["TableDescription"]  # fmt: skip
    client("dynamodb").put_item(TableName="things", Item={"id": {"S": "x"}})
    streams = client("dynamodbstreams")
    shard = streams.describe_stream(StreamArn=table["LatestStreamArn"])["StreamDescription"]["Shards"][0]["ShardId"]
    client("kinesis").create_stream(StreamName="things", ShardCount=1)
    iam.create_user(UserName="someone")
    iam.create_access_key(UserName="someone")
    key = client("kms").create_key()["KeyMetadata"]
    client("kms").create_alias(AliasName="alias/things", TargetKeyId=key["KeyId"])
    client("secretsmanager").create_secret(Name="things", SecretString="x")
    client("ssm").put_parameter(Name="things", Value="x", Type="String")
    client("es").create_elasticsearch_domain(DomainName="things")
    known: dict[str, Any] = {
        "TopicArn": topic, "QueueUrl": queue, "KeyId": key["KeyId"], "TargetKeyId": key["KeyId"],
        "UserName": "someone", "AliasName": "alias/things", "DomainName": "things", "DomainNames": ["things"],
        "ARN": arn("es", "domain/things"), "StreamArn": table["LatestStreamArn"], "ShardId": shard,
        "RoleArn": role(server), "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess",
        "SubscriptionArn": f"{topic}:12345678-1234-1234-1234-123456789012",
        "SourceArn": arn("sqs", "things"), "ApiId": client("apigatewayv2").create_api(Name="a", ProtocolType="HTTP")["ApiId"],
        "PhoneNumber": "+15555550100", "phoneNumber": "+15555550100", "Bucket": "things", "Key": "things",
        "PolicyDocument": "{}", "CopySource": "things/things", "FunctionName": "things", "VersionId": "v1",
        "logGroupName": "/aws/lambda/things", "Statement": "x", "ReceiptHandle": "x", "Role": arn("iam", "role/x"),
        "Resource": arn("lambda", "function:things"), "CiphertextBlob": client("kms").encrypt(
            KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"],
    }  # fmt: skip
    known["Role"] = known["RoleArn"]
    of_service = {
        "dynamodb.ResourceArn": table["TableArn"], "sns.ResourceArn": topic, "dynamodbstreams.ShardIterator": (
            streams.get_shard_iterator(StreamArn=table["LatestStreamArn"], ShardId=shard, ShardIteratorType="LATEST")["ShardIterator"]),
        "kinesis.ResourceARN": arn("kinesis", "stream/things"), "kinesis.StreamName": "things",
        "kinesis.ShardIterator": client("kinesis").get_shard_iterator(
            StreamName="things", ShardId="shardId-000000000000", ShardIteratorType="LATEST")["ShardIterator"],
        "dynamodb.Key": {"id": {"S": "x"}}, "dynamodb.Item": {"id": {"S": "x"}},
    }  # fmt: skip
    they = ["arn:aws:*:*:*:*things*", key["Arn"], "arn:aws:iam::*:user/someone", known["RoleArn"], known["PolicyArn"],
            f"arn:aws:apigateway:*::/apis/{known['ApiId']}*"]  # fmt: skip
    almighty = person(server, may("*"), may("*", they, "Deny"))
    return Things(server, person(server, may("sluiceway:Nothing")), almighty, known | of_service)


@pytest.fixture(scope="module", autouse=True)
def untouched(things: Things) -> Iterator[None]:
    """After all that was refused everything is as it was."""
    before = things.state()
    yield
    assert things.state() == before


def made_up(service: str, shape: Shape, known: dict[str, Any], name: str = "", depth: int = 0) -> Any:
    """What the model asks for: its required members, filled with what is there."""
    for one in (f"{service}.{name}", name):
        if one in known and (shape.type_name == "map") == isinstance(known[one], dict):
            return known[one]
    if shape.type_name == "structure":
        wanted = {
            *getattr(shape, "required_members", ()),
            *(member for member in shape.members if member in known and depth == 0),
        }
        wanted |= {member for member in shape.members if f"{service}.{member}" in known}
        return {one: made_up(service, shape.members[one], known, one, depth + 1) for one in wanted}
    if shape.type_name == "list":
        return [made_up(service, shape.member, known, "", depth + 1)]
    if shape.type_name == "map":
        return {"things": made_up(service, shape.value, known, "", depth + 1)}
    simple = {"string": (getattr(shape, "enum", None) or ["things"])[0], "blob": b"x", "boolean": False, "integer": 1,
              "long": 1, "double": 1.0, "float": 1.0, "timestamp": 0}  # fmt: skip
    return simple[shape.type_name]


def ask(things: Things, service: str, operation: str, key: tuple[str, str] | None) -> Answer:
    shape = model(service).operation_model(operation).input_shape
    params = made_up(service, shape, things.known) if shape is not None else {}
    if (service, operation) == ("sns", "Publish"):
        params = {"TopicArn": params["TopicArn"], "Message": "x"}
    if (service, operation) == ("dynamodb", "TransactWriteItems"):
        params = {"TransactItems": [{"Put": {"TableName": "things", "Item": things.known["dynamodb.Item"]}}]}
    if service == "apigatewaymanagementapi":
        params["ConnectionId"] = "aaaaaaaaaa-x"
    plain = serialized(
        service, operation, params, "/_ws/aaaaaaaaaa/live" if service == "apigatewaymanagementapi" else ""
    )
    if service == "s3":
        digest = base64.b64encode(hashlib.md5(plain.body).digest()).decode()
        plain = plain.with_headers(x_amz_content_sha256="UNSIGNED-PAYLOAD", content_md5=digest)
    if key is not None:
        plain = signed(plain, things.server.port, key, SIGNS_AS.get(service, service))
    answer = exchange(things.server, plain.wire(things.server.port), plain.method)
    return understood(service, operation, answer)


@pytest.mark.parametrize(("service", "operation"), CASES, ids=lambda value: value)
def test_an_operation_is_refused_to_who_may_not(things: Things, service: str, operation: str) -> None:
    answer = ask(things, service, operation, things.stranger)
    if (service, operation) in OPEN:
        assert answer.status == 200
    elif (service, operation) in IN_THE_ANSWER:
        assert answer.status == 200 and answer.body.count(b"<Code>AccessDenied</Code>") == 1
    elif (service, operation) == ("sns", "ConfirmSubscription"):
        assert answer.code == "InvalidParameter", answer  # a token proves the right, and this is none
    else:
        assert answer.code in REFUSED and answer.status in (400, 403), answer


@pytest.mark.parametrize(
    ("service", "operation"),
    [case for case in CASES if case[1] not in OF_NOTHING.get(case[0], "").split()],
    ids=lambda value: value,
)
def test_an_operation_is_about_what_it_names(things: Things, service: str, operation: str) -> None:
    """What is denied of a thing can't be done to it, whatever else is allowed."""
    answer = ask(things, service, operation, things.almighty)
    if (service, operation) in IN_THE_ANSWER:
        assert answer.status == 200 and answer.body.count(b"<Code>AccessDenied</Code>") == 1
    else:
        assert answer.code in REFUSED and answer.status in (400, 403), answer


@pytest.mark.parametrize(("service", "operation"), CASES, ids=lambda value: value)
def test_an_operation_is_refused_to_strangers(things: Things, service: str, operation: str) -> None:
    answer = ask(things, service, operation, None)
    if service in BY_PATH and answer.status in (404, 405):
        assert b"<Code>NoSuchBucket</Code>" in answer.body or b"<Code>MethodNotAllowed</Code>" in answer.body
    elif (service, operation) in BY_TOKEN:
        assert answer.code == "InvalidParameter" or answer.status == 200, answer
    else:
        assert answer.code in MISSING and answer.status in (400, 403), answer
