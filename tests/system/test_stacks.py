"""Stacks, by boto3 and by ``sluiceway deploy``, on a real server, also when it is killed in the middle of them."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.commands import ForkedServer, complete
from helpers.ports import lasting_port
from helpers.server import ServerProcess, eventually

Template = dict[str, Any]
ENDED = 60.0


class Stacks:
    """One server's stacks as a user sees them."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.client = server.client("cloudformation")

    def create(self, name: str, template: Template | str, *, wait: bool = True, **more: Any) -> dict[str, Any]:
        self.client.create_stack(StackName=name, TemplateBody=text_of(template), **more)
        return self.ended(name) if wait else {}

    def update(self, name: str, template: Template | str, **more: Any) -> dict[str, Any]:
        self.client.update_stack(StackName=name, TemplateBody=text_of(template), **more)
        return self.ended(name)

    def delete(self, name: str) -> dict[str, Any]:
        stack_id = self.describe(name)["StackId"]
        self.client.delete_stack(StackName=name)
        return self.ended(stack_id)

    def describe(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.describe_stacks(StackName=name)["Stacks"][0]
        return found

    def ended(self, name: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.describe(name)
            return None if found["StackStatus"].endswith("_IN_PROGRESS") else found

        ended: dict[str, Any] = eventually(look, ENDED)
        return ended

    def outputs(self, name: str) -> dict[str, str]:
        return {item["OutputKey"]: item["OutputValue"] for item in self.describe(name).get("Outputs", [])}

    def resources(self, name: str) -> dict[str, dict[str, Any]]:
        listed = self.client.describe_stack_resources(StackName=name)["StackResources"]
        return {item["LogicalResourceId"]: item for item in listed}

    def physical(self, name: str, logical: str) -> str:
        return str(self.resources(name)[logical]["PhysicalResourceId"])

    def events(self, name: str) -> list[tuple[str, str, str]]:
        """Oldest first: logical id, status, reason."""
        listed = self.client.describe_stack_events(StackName=name)["StackEvents"]
        return [
            (each["LogicalResourceId"], each["ResourceStatus"], each.get("ResourceStatusReason", ""))
            for each in reversed(listed)
        ]

    def things(self) -> set[str]:
        """Everything in the server that a stack of these tests can make."""
        client = self.server.client
        buckets = [each["Name"] for each in client("s3").list_buckets()["Buckets"]]
        queues = client("sqs").list_queues().get("QueueUrls", [])
        topics = [each["TopicArn"] for each in client("sns").list_topics()["Topics"]]
        subscriptions = [each["SubscriptionArn"] for each in client("sns").list_subscriptions()["Subscriptions"]]
        tables = client("dynamodb").list_tables()["TableNames"]
        streams = client("kinesis").list_streams()["StreamNames"]
        functions = [each["FunctionName"] for each in client("lambda").list_functions()["Functions"]]
        mappings = [each["UUID"] for each in client("lambda").list_event_source_mappings()["EventSourceMappings"]]
        roles = [each["RoleName"] for each in client("iam").list_roles()["Roles"]]
        apis = [each["ApiId"] for each in client("apigatewayv2").get_apis()["Items"]]
        secrets = [each["Name"] for each in client("secretsmanager").list_secrets()["SecretList"]]
        domains = [each["DomainName"] for each in client("es").list_domain_names()["DomainNames"]]
        found = (
            buckets,
            queues,
            topics,
            subscriptions,
            tables,
            streams,
            functions,
            mappings,
            roles,
            apis,
            secrets,
            domains,
        )
        return {f"{number}:{name}" for number, names in enumerate(found) for name in names}


def text_of(template: Template | str) -> str:
    return template if isinstance(template, str) else json.dumps(template)


def of(**resources: Any) -> Template:
    return {"Resources": resources}


def queue(**properties: Any) -> Template:
    return {"Type": "AWS::SQS::Queue", "Properties": properties}


def table(**more: Any) -> Template:
    properties = {
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    }
    return {"Type": "AWS::DynamoDB::Table", "Properties": properties | more}


@pytest.fixture(scope="module")
def stacks(server: ServerProcess) -> Iterator[Stacks]:
    yield Stacks(server)


def attributes(stacks: Stacks, url: str) -> dict[str, str]:
    found: dict[str, str] = stacks.server.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])[
        "Attributes"
    ]
    return found


# -- making, changing, removing


def test_create_update_and_delete(stacks: Stacks) -> None:
    before = stacks.things()
    first = of(
        Kept=queue(VisibilityTimeout=11), Named=queue(QueueName="named-one"), Removed=queue(FifoQueue=False),
        Told={"Type": "AWS::SNS::Topic"},
    )  # fmt: skip
    first["Parameters"] = {"Delay": {"Type": "Number", "Default": 1}}
    first["Resources"]["Kept"]["Properties"]["DelaySeconds"] = {"Ref": "Delay"}
    first["Outputs"] = {"Arn": {"Value": {"Fn::GetAtt": ["Kept", "Arn"]}, "Description": "its ARN"}}
    made = stacks.create("whole", first, Tags=[{"Key": "team", "Value": "a"}])
    assert made["StackStatus"] == "CREATE_COMPLETE" and made["Tags"] == [{"Key": "team", "Value": "a"}]
    assert made["Outputs"][0]["Description"] == "its ARN" and made["Parameters"][0]["ParameterValue"] == "1"
    kept, named = stacks.physical("whole", "Kept"), stacks.physical("whole", "Named")
    assert attributes(stacks, kept)["VisibilityTimeout"] == "11" and attributes(stacks, kept)["DelaySeconds"] == "1"
    second = json.loads(json.dumps(first))
    second["Resources"]["Kept"]["Properties"] |= {"VisibilityTimeout": 12}
    second["Resources"]["Named"]["Properties"]["QueueName"] = "named-two"
    del second["Resources"]["Removed"]
    second["Resources"]["Added"] = table()
    changed = stacks.update("whole", second, Parameters=[{"ParameterKey": "Delay", "ParameterValue": "2"}])
    assert changed["StackStatus"] == "UPDATE_COMPLETE"
    assert stacks.physical("whole", "Kept") == kept
    assert attributes(stacks, kept)["VisibilityTimeout"] == "12" and attributes(stacks, kept)["DelaySeconds"] == "2"
    assert stacks.physical("whole", "Named").endswith("/named-two") and named.endswith("/named-one")
    urls = stacks.server.client("sqs").list_queues()["QueueUrls"]
    assert named not in urls and not any("Removed" in url for url in urls)
    assert set(stacks.resources("whole")) == {"Kept", "Named", "Told", "Added"}
    with pytest.raises(ClientError, match=r"ValidationError.*No updates are to be performed\."):
        stacks.update("whole", second, Parameters=[{"ParameterKey": "Delay", "UsePreviousValue": True}])
    changed = stacks.client.update_stack(
        StackName="whole", UsePreviousTemplate=True, Parameters=[{"ParameterKey": "Delay", "ParameterValue": "3"}]
    )
    assert stacks.ended(changed["StackId"])["StackStatus"] == "UPDATE_COMPLETE"
    assert attributes(stacks, kept)["DelaySeconds"] == "3"
    ended = stacks.delete("whole")
    assert ended["StackStatus"] == "DELETE_COMPLETE" and ended["DeletionTime"]
    assert stacks.things() == before
    with pytest.raises(ClientError, match="Stack with id whole does not exist"):
        stacks.describe("whole")
    stacks.client.delete_stack(StackName="whole")  # there is none, which is fine


def test_what_is_dropped_from_a_template_goes_back_to_its_default(stacks: Stacks) -> None:
    stacks.create("defaults", of(Q=queue(VisibilityTimeout=99, DelaySeconds=5, Tags=[{"Key": "a", "Value": "1"}])))
    url = stacks.physical("defaults", "Q")
    assert stacks.update("defaults", of(Q=queue()))["StackStatus"] == "UPDATE_COMPLETE"
    found = attributes(stacks, url)
    assert found["VisibilityTimeout"] == "30" and found["DelaySeconds"] == "0"
    assert "Tags" not in stacks.server.client("sqs").list_queue_tags(QueueUrl=url)
    stacks.delete("defaults")


def test_a_failed_creation_leaves_nothing(stacks: Stacks) -> None:
    before = stacks.things()
    half = {"Type": "AWS::S3::Bucket", "Properties": {
        "CorsConfiguration": {"CorsRules": [{"AllowedMethods": ["JUGGLE"], "AllowedOrigins": ["*"]}]},
    }}  # fmt: skip
    template = of(Good=queue(), Other=table(), Bad={**half, "DependsOn": ["Good", "Other"]})
    ended = stacks.create("failing", template)
    assert ended["StackStatus"] == "ROLLBACK_COMPLETE" and "[Bad]" in ended["StackStatusReason"]
    assert stacks.things() == before
    events = stacks.events("failing")
    assert ("Bad", "CREATE_FAILED") in [(logical, status) for logical, status, _ in events]
    assert [status for logical, status, _ in events if logical == "Good"] == [
        "CREATE_IN_PROGRESS", "CREATE_COMPLETE", "DELETE_IN_PROGRESS", "DELETE_COMPLETE",
    ]  # fmt: skip
    with pytest.raises(ClientError, match="ROLLBACK_COMPLETE state and can not be updated"):
        stacks.update("failing", of(Good=queue()))
    with pytest.raises(ClientError, match="AlreadyExists"):
        stacks.create("failing", of(Good=queue()))
    assert stacks.delete("failing")["StackStatus"] == "DELETE_COMPLETE"
    ended = stacks.create("halted", template, DisableRollback=True)
    assert ended["StackStatus"] == "CREATE_FAILED" and stacks.things() != before
    assert stacks.delete("halted")["StackStatus"] == "DELETE_COMPLETE" and stacks.things() == before


def test_a_failed_update_goes_back_to_the_earlier_state(stacks: Stacks) -> None:
    role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ]}}}  # fmt: skip
    first = of(Changed=queue(VisibilityTimeout=11), Renamed=queue(QueueName="back-one"), Dropped=queue(), Role=role)
    first["Outputs"] = {"Value": {"Value": "first"}}
    stacks.create("back", first)
    things, before = stacks.things(), stacks.resources("back")
    second = json.loads(json.dumps(first))
    second["Resources"]["Changed"]["Properties"]["VisibilityTimeout"] = 12
    second["Resources"]["Renamed"]["Properties"]["QueueName"] = "back-two"
    second["Resources"]["Fresh"] = {"Type": "AWS::SNS::Topic"}
    del second["Resources"]["Dropped"]
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    second["Resources"]["Role"]["Properties"]["Policies"] = [
        {"PolicyName": "fine", "PolicyDocument": document}, {"PolicyName": "broken", "PolicyDocument": {"no": "policy"}},
    ]  # fmt: skip
    second["Resources"]["Role"]["DependsOn"] = ["Fresh", "Changed", "Renamed"]
    second["Outputs"] = {"Value": {"Value": "second"}}
    ended = stacks.update("back", second)
    assert ended["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE" and stacks.outputs("back") == {"Value": "first"}
    assert stacks.things() == things
    after = stacks.resources("back")
    assert {name: row["PhysicalResourceId"] for name, row in after.items()} == {
        name: row["PhysicalResourceId"] for name, row in before.items()
    }
    assert attributes(stacks, stacks.physical("back", "Changed"))["VisibilityTimeout"] == "11"
    names = stacks.server.client("iam").list_role_policies(RoleName=stacks.physical("back", "Role"))["PolicyNames"]
    assert names == []  # "fine" was there before "broken" failed
    assert "second" not in stacks.client.get_template(StackName="back")["TemplateBody"]
    second["Resources"]["Role"]["Properties"]["Policies"].pop()
    assert (
        stacks.update("back", second)["StackStatus"] == "UPDATE_COMPLETE"
        and stacks.outputs("back")["Value"] == "second"
    )
    stacks.delete("back")
    assert stacks.things() < things


def test_a_bucket_with_objects_stays_and_so_does_its_stack(stacks: Stacks) -> None:
    stacks.create("full", of(Bucket={"Type": "AWS::S3::Bucket"}, Q=queue()))
    bucket, s3 = stacks.physical("full", "Bucket"), stacks.server.client("s3")
    s3.put_object(Bucket=bucket, Key="x", Body=b"1")
    ended = stacks.delete("full")
    assert ended["StackStatus"] == "DELETE_FAILED"
    assert "[Bucket]" in ended["StackStatusReason"] and "not empty" in ended["StackStatusReason"]
    assert stacks.resources("full")["Bucket"]["ResourceStatus"] == "DELETE_FAILED"
    s3.delete_object(Bucket=bucket, Key="x")
    assert stacks.delete("full")["StackStatus"] == "DELETE_COMPLETE"
    assert bucket not in [each["Name"] for each in s3.list_buckets()["Buckets"]]


def test_what_is_to_be_retained_is(stacks: Stacks) -> None:
    s3 = stacks.server.client("s3")
    first = of(
        Kept={"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain", "Properties": {"BucketName": "kept-for-good"}},
        Moved={**table(TableName="moved-1"), "UpdateReplacePolicy": "Retain"},
        Gone={"Type": "AWS::S3::Bucket", "DeletionPolicy": "Delete", "Properties": {"BucketName": "gone-with-it"}},
    )
    stacks.create("retaining", first)
    s3.put_object(Bucket="kept-for-good", Key="x", Body=b"1")
    second = json.loads(json.dumps(first))
    second["Resources"]["Moved"]["Properties"]["TableName"] = "moved-2"
    assert stacks.update("retaining", second)["StackStatus"] == "UPDATE_COMPLETE"
    assert {"moved-1", "moved-2"} <= set(stacks.server.client("dynamodb").list_tables()["TableNames"])
    ended = stacks.delete("retaining")
    assert ended["StackStatus"] == "DELETE_COMPLETE"
    assert ("Kept", "DELETE_SKIPPED", "") in stacks.events(ended["StackId"])
    names = {each["Name"] for each in s3.list_buckets()["Buckets"]}
    assert "kept-for-good" in names and "gone-with-it" not in names
    assert "moved-2" not in stacks.server.client("dynamodb").list_tables()["TableNames"]


def test_a_stack_takes_over_nothing_that_it_did_not_make(stacks: Stacks) -> None:
    client = stacks.server.client
    client("s3").create_bucket(Bucket="mine-already")
    client("sqs").create_queue(QueueName="mine-already")
    client("sns").create_topic(Name="mine-already")
    before = stacks.things()
    for number, (kind, name) in enumerate(
        (("S3::Bucket", "BucketName"), ("SQS::Queue", "QueueName"), ("SNS::Topic", "TopicName"))
    ):
        ended = stacks.create(
            f"greedy-{number}", of(A={"Type": f"AWS::{kind}", "Properties": {name: "mine-already"}}, B=queue())
        )
        assert ended["StackStatus"] == "ROLLBACK_COMPLETE" and "already exists" in ended["StackStatusReason"]
        assert stacks.delete(f"greedy-{number}")["StackStatus"] == "DELETE_COMPLETE"
    assert stacks.things() == before
    # What has its own name and must be replaced is refused, rather than lost.
    stacks.create("own-name", of(T=table(TableName="own-name")))
    client("dynamodb").put_item(TableName="own-name", Item={"id": {"S": "1"}})
    other = table(TableName="own-name", KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
                  AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}])  # fmt: skip
    ended = stacks.update("own-name", of(T=other))
    assert ended["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert any("rename it" in reason for _, _, reason in stacks.events("own-name"))
    assert client("dynamodb").scan(TableName="own-name")["Count"] == 1
    stacks.delete("own-name")


def test_rows_and_subscriptions_survive_changes_in_place(stacks: Stacks) -> None:
    client = stacks.server.client
    definitions = [{"AttributeName": name, "AttributeType": "S"} for name in ("id", "day")]
    index = {
        "IndexName": "by-day", "Projection": {"ProjectionType": "ALL"},
        "KeySchema": [{"AttributeName": "day", "KeyType": "HASH"}],
    }  # fmt: skip
    first = of(T=table(), Target=queue(), Topic={"Type": "AWS::SNS::Topic", "Properties": {}})
    stacks.create("in-place", first)
    name, topic = stacks.physical("in-place", "T"), stacks.physical("in-place", "Topic")
    client("dynamodb").put_item(TableName=name, Item={"id": {"S": "1"}, "day": {"S": "monday"}})
    second = of(
        T=table(
            AttributeDefinitions=definitions, GlobalSecondaryIndexes=[index], Tags=[{"Key": "a", "Value": "1"}],
            StreamSpecification={"StreamViewType": "NEW_IMAGE"},
            TimeToLiveSpecification={"AttributeName": "ends", "Enabled": True},
        ),
        Target=queue(),
        Topic={"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": "News", "Subscription": [
            {"Protocol": "sqs", "Endpoint": {"Fn::GetAtt": "Target.Arn"}},
        ]}},
    )  # fmt: skip
    assert stacks.update("in-place", second)["StackStatus"] == "UPDATE_COMPLETE", stacks.events("in-place")
    assert stacks.physical("in-place", "T") == name and stacks.physical("in-place", "Topic") == topic
    found = client("dynamodb").query(
        TableName=name, IndexName="by-day", KeyConditionExpression="#d = :d", ExpressionAttributeNames={"#d": "day"},
        ExpressionAttributeValues={":d": {"S": "monday"}},
    )  # fmt: skip
    assert found["Count"] == 1
    assert client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsConfirmed"] == "1"
    assert stacks.update("in-place", first)["StackStatus"] == "UPDATE_COMPLETE", stacks.events("in-place")
    described = client("dynamodb").describe_table(TableName=name)["Table"]
    assert "GlobalSecondaryIndexes" not in described and client("dynamodb").scan(TableName=name)["Count"] == 1
    assert client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []
    stacks.delete("in-place")


def test_every_kind_of_resource(stacks: Stacks) -> None:
    before = stacks.things()
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "es:*", "Resource": "*"},
    ]}  # fmt: skip
    template = of(
        Stream={"Type": "AWS::Kinesis::Stream", "Properties": {
            "ShardCount": 2, "RetentionPeriodHours": 48, "Tags": [{"Key": "a", "Value": "1"}],
        }},
        Search={"Type": "AWS::Elasticsearch::Domain", "Properties": {
            "AccessPolicies": policy, "Tags": [{"Key": "team", "Value": "search"}],
        }},
        Parameter={"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "v1", "Name": "/kinds/p"}},
        Secret={"Type": "AWS::SecretsManager::Secret", "Properties": {"GenerateSecretString": {
            "SecretStringTemplate": '{"user": "ada"}', "GenerateStringKey": "password", "PasswordLength": 24,
        }}},
        Logs={"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/aws/lambda/kinds", "RetentionInDays": 7}},
        Topic={"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "kinds.fifo", "FifoTopic": True}},
        Dead=queue(),
        Queue=queue(RedrivePolicy={"deadLetterTargetArn": {"Fn::GetAtt": "Dead.Arn"}, "maxReceiveCount": 3}),
        Handle={"Type": "AWS::CloudFormation::WaitConditionHandle"},
        Bucket={"Type": "AWS::S3::Bucket", "Properties": {"Tags": [{"Key": "a", "Value": "1"}]}},
        BucketPolicy={"Type": "AWS::S3::BucketPolicy", "Properties": {"Bucket": {"Ref": "Bucket"}, "PolicyDocument": {
            "Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObjectAcl",
                                                    "Resource": {"Fn::Sub": "${Bucket.Arn}/*"}}],
        }}},
    )  # fmt: skip
    ended = stacks.create("kinds", template)
    assert ended["StackStatus"] == "CREATE_COMPLETE", stacks.events("kinds")
    client = stacks.server.client
    domain = client("es").describe_elasticsearch_domain_config(DomainName=stacks.physical("kinds", "Search"))
    assert json.loads(domain["DomainConfig"]["AccessPolicies"]["Options"]) == policy
    arn = client("es").describe_elasticsearch_domain(DomainName=stacks.physical("kinds", "Search"))["DomainStatus"][
        "ARN"
    ]
    assert client("es").list_tags(ARN=arn)["TagList"] == [{"Key": "team", "Value": "search"}]
    secret = json.loads(
        client("secretsmanager").get_secret_value(SecretId=stacks.physical("kinds", "Secret"))["SecretString"]
    )
    assert secret["user"] == "ada" and len(secret["password"]) == 24
    summary = client("kinesis").describe_stream_summary(StreamName=stacks.physical("kinds", "Stream"))
    assert summary["StreamDescriptionSummary"]["RetentionPeriodHours"] == 48
    template["Resources"]["Parameter"]["Properties"]["Value"] = "v2"
    template["Resources"]["Stream"]["Properties"]["RetentionPeriodHours"] = 24
    del template["Resources"]["Search"]["Properties"]["AccessPolicies"]
    assert stacks.update("kinds", template)["StackStatus"] == "UPDATE_COMPLETE", stacks.events("kinds")
    assert client("ssm").get_parameter(Name="/kinds/p")["Parameter"]["Value"] == "v2"
    assert stacks.delete("kinds")["StackStatus"] == "DELETE_COMPLETE" and stacks.things() == before


# -- templates

FUNCTIONS = """
AWSTemplateFormatVersion: 2010-09-09
Description: Every function, in the short forms of YAML.
Parameters:
  Stage: {Type: String, Default: test, AllowedValues: [test, live]}
  Names: {Type: CommaDelimitedList, Default: "a, b,c"}
  Size: {Type: Number, Default: 3, MinValue: 1, MaxValue: 5}
  Stored: {Type: "AWS::SSM::Parameter::Value<String>", Default: /stacks/stored}
  Secret: {Type: String, NoEcho: true, Default: hush-hush}
Mappings:
  Sizes:
    test: {Days: 1, Flag: true}
    live: {Days: 14, Flag: false}
Conditions:
  IsLive: !Equals [!Ref Stage, live]
  IsTest: !Not [!Condition IsLive]
  Both: !And [!Condition IsTest, !Equals [!Ref Size, 3]]
  Either: !Or [!Condition IsLive, !Condition Both]
Resources:
  Q:
    Type: AWS::SQS::Queue
    Properties:
      MessageRetentionPeriod: !If [IsLive, 1209600, 3600]
      DelaySeconds: !If [IsLive, 10, !Ref AWS::NoValue]
  OnlyLive: {Type: AWS::SQS::Queue, Condition: IsLive}
Outputs:
  Ref: {Value: !Ref Q}
  Att: {Value: !GetAtt Q.QueueName}
  Sub: {Value: !Sub "${Stage}/${Q.QueueName}/${!literal}/${AWS::StackName}"}
  SubMap: {Value: !Sub ["${A}-${Stage}", {A: !Select [1, !Ref Names]}]}
  Join: {Value: !Join ["|", !Ref Names]}
  Select: {Value: !Select [5, !Split [":", !GetAtt Q.Arn]]}
  Map: {Value: !FindInMap [Sizes, !Ref Stage, Days]}
  Flag: {Value: !FindInMap [Sizes, !Ref Stage, Flag]}
  If: {Value: !If [Either, "yes", "no"]}
  Account: {Value: !Ref AWS::AccountId}
  Pseudo: {Value: !Sub "${AWS::Region} ${AWS::Partition} ${AWS::URLSuffix}"}
  StackId: {Value: !Ref AWS::StackId}
  Base64: {Value: !Base64 hello}
  Stored: {Value: !Ref Stored}
  Zone: {Value: !Select [0, !GetAZs ""]}
  Live: {Value: !Ref OnlyLive, Condition: IsLive}
"""


def test_functions_conditions_and_parameters(stacks: Stacks) -> None:
    stacks.server.client("ssm").put_parameter(Name="/stacks/stored", Value="from the store", Type="String")
    made = stacks.create("functions", FUNCTIONS)
    assert made["StackStatus"] == "CREATE_COMPLETE", stacks.events("functions")
    out, url = stacks.outputs("functions"), stacks.physical("functions", "Q")
    name = url.rsplit("/", 1)[1]
    assert out == {
        "Ref": url, "Att": name, "Sub": "test/" + name + "/${literal}/functions", "SubMap": "b-test", "Join": "a|b|c",
        "Select": name, "Map": "1", "Flag": "true", "If": "yes", "Account": "000000000000",
        "Pseudo": "us-east-1 aws amazonaws.com", "StackId": made["StackId"], "Base64": "aGVsbG8=",
        "Stored": "from the store", "Zone": "us-east-1a",
    }  # fmt: skip
    assert attributes(stacks, url)["MessageRetentionPeriod"] == "3600"
    shown = {each["ParameterKey"]: each["ParameterValue"] for each in made["Parameters"]}
    assert shown["Secret"] == "****" and shown["Stored"] == "/stacks/stored" and shown["Names"] == "a, b,c"
    live = stacks.update("functions", FUNCTIONS, Parameters=[{"ParameterKey": "Stage", "ParameterValue": "live"}])
    assert live["StackStatus"] == "UPDATE_COMPLETE"
    assert set(stacks.resources("functions")) == {"Q", "OnlyLive"}
    out = stacks.outputs("functions")
    assert out["If"] == "yes" and out["Map"] == "14" and out["Flag"] == "false" and out["Live"]
    assert attributes(stacks, url)["DelaySeconds"] == "10"
    assert stacks.update("functions", FUNCTIONS)["StackStatus"] == "UPDATE_COMPLETE"
    assert set(stacks.resources("functions")) == {"Q"} and attributes(stacks, url)["DelaySeconds"] == "0"
    stacks.delete("functions")


def with_q(**properties: Any) -> Template:
    return of(Q=queue(**properties), First=queue())


def parameter(value: str, **spec: Any) -> tuple[Template, dict[str, Any]]:
    template = {**of(Q=queue()), "Parameters": {"P": spec}}
    return template, {"Parameters": [{"ParameterKey": "P", "ParameterValue": value}]}


CIRCLE = of(A={**queue(), "DependsOn": "B"}, B={**queue(), "DependsOn": ["C"]}, C=queue(QueueName={"Ref": "A"}))
DEEP: Any = "x"
for _ in range(200):
    DEEP = {"a": DEEP}

REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "nothing": (" ", {}, "At least one Resources member"),
    "not well-formed": ("Resources: [}", {}, "not well-formed"),
    "JSON that is not well-formed": ('{"Resources": ', {}, "not well-formed"),
    "no resources": ("Description: x", {}, "At least one Resources member"),
    "a list": ("[1, 2]", {}, "At least one Resources member"),
    "an alias": ("Resources:\n  A: &a {Type: AWS::SQS::Queue}\n  B: *a\n", {}, "aliases are not allowed"),
    "binary": ("Resources:\n  A: {Type: AWS::SQS::Queue, Properties: {QueueName: !!binary aGk=}}", {}, "not allowed"),
    "Python": ("Resources:\n  A: !!python/object/apply:os.system [ls]\n", {}, "not well-formed"),
    "too deep": (with_q(RedrivePolicy=DEEP), {}, "nested too deeply"),
    "too many resources": (of(**{f"Q{number}": queue() for number in range(501)}), {}, "more than 500 resources"),
    "too large": (with_q(QueueName="x" * 60_000), {}, "less than or equal to 51200"),
    "a resource that is none": ({"Resources": {"A": "AWS::SQS::Queue"}}, {}, "must be an object"),
    "no type": (of(A={"Properties": {}}), {}, "needs a Type"),
    "odd name": (of(**{"not-a-name": queue()}), {}, "non alphanumeric"),
    "unknown type": (of(A=queue(), B={"Type": "AWS::EC2::Instance"}), {}, "AWS::EC2::Instance"),
    "unknown property": (with_q(Colour="blue"), {}, "Colour"),
    "a property that would be left undone": (
        of(A={"Type": "AWS::S3::Bucket", "Properties": {"ReplicationConfiguration": {"Role": "x"}}}), {},
        "ReplicationConfiguration",
    ),
    "unknown function": (with_q(QueueName={"Fn::Shout": "x"}), {}, "Fn::Shout"),
    "unknown function in an output": ({**of(A=queue()), "Outputs": {"X": {"Value": {"Fn::Shout": "x"}}}}, {}, "Fn::Shout"),
    "unknown reference": (with_q(QueueName={"Ref": "Nobody"}), {}, r"Unresolved resource dependencies \[Nobody\]"),
    "unknown reference in Sub": (with_q(QueueName={"Fn::Sub": "${Nobody.Arn}"}), {}, "Nobody"),
    "unknown reference in an output": ({**of(A=queue()), "Outputs": {"X": {"Value": {"Ref": "B"}}}}, {}, "Outputs block"),
    "reference to what is not made": (
        {**of(A=queue(QueueName={"Ref": "B"}), B={**queue(), "Condition": "No"}),
         "Conditions": {"No": {"Fn::Equals": ["a", "b"]}}}, {}, r"\[B\]",
    ),
    "malformed Sub": (with_q(QueueName={"Fn::Sub": [1, 2, 3]}), {}, "Fn::Sub"),
    "malformed GetAtt": (with_q(QueueName={"Fn::GetAtt": ["First"]}), {}, "Fn::GetAtt"),
    "malformed Select": (with_q(QueueName={"Fn::Select": [7, ["a"]]}), {}, "Fn::Select"),
    "malformed Join": (with_q(QueueName={"Fn::Join": "x"}), {}, "Fn::Join"),
    "unknown mapping": (with_q(QueueName={"Fn::FindInMap": ["A", "b", "c"]}), {}, "Unable to get mapping for A::b::c"),
    "unknown condition": (with_q(QueueName={"Fn::If": ["Nope", "a", "b"]}), {}, "Unresolved condition Nope"),
    "circular conditions": (
        {**of(A=queue()), "Conditions": {"A": {"Fn::Not": [{"Condition": "B"}]}, "B": {"Fn::Not": [{"Condition": "A"}]}}},
        {}, "circular condition",
    ),
    "a condition that is none": ({**of(A=queue()), "Conditions": {"A": {"Fn::Join": ["", []]}}}, {}, "not a condition"),
    "Not of two": ({**of(A=queue()), "Conditions": {"A": {"Fn::Not": [{"Fn::Equals": [1, 1]}] * 2}}}, {}, "Fn::Not"),
    "a circle": (CIRCLE, {}, "Circular dependency between resources"),
    "depends on nobody": (of(A={**queue(), "DependsOn": "Nobody"}), {}, "Nobody"),
    "deletion policy": (of(A={**queue(), "DeletionPolicy": "Snapshot"}), {}, "Snapshot"),
    "missing value": ({**of(A=queue()), "Parameters": {"P": {"Type": "String"}}}, {}, r"\[P\] must have values"),
    "value of no parameter": (of(A=queue()), {"Parameters": [{"ParameterKey": "X", "ParameterValue": "1"}]}, r"\[X\]"),
    "not one of the values": (*parameter("c", Type="String", AllowedValues=["a", "b"]), "must be one of AllowedValues"),
    "not one of the values of a list": (*parameter("a, c", Type="CommaDelimitedList", AllowedValues=["a"]), "AllowedValues"),
    "pattern": (*parameter("A1", Type="String", AllowedPattern="[a-z]+"), "must match pattern"),
    "a pattern that others never end with": (
        *parameter("a" * 3000, Type="String", AllowedPattern="(a+)+b"), "must match pattern|takes too long",
    ),
    "a pattern that is none": (*parameter("a", Type="String", AllowedPattern="("), "AllowedPattern"),
    "own words": (*parameter("A", Type="String", AllowedPattern="[a-z]", ConstraintDescription="small letters"), "small"),
    "too short": (*parameter("a", Type="String", MinLength=2), "MinLength 2"),
    "too long": (*parameter("abc", Type="String", MaxLength="2"), "MaxLength 2"),
    "no number": (*parameter("three", Type="Number"), "must be a number"),
    "too small": (*parameter("0", Type="Number", MinValue=1), "MinValue 1"),
    "too large a number": (*parameter("9", Type="Number", MaxValue=5), "MaxValue 5"),
    "unknown parameter type": (*parameter("a", Type="Colour"), "Colour"),
    "parameter that is not stored": (*parameter("/no/such", Type="AWS::SSM::Parameter::Value<String>"), "/no/such"),
    "SAM that is none": (
        {"Transform": "AWS::Serverless-2016-10-31", **of(F={"Type": "AWS::Serverless::Function", "Properties": {}})}, {},
        "Serverless",
    ),
    "SAM of another repository": (
        {"Transform": "AWS::Serverless-2016-10-31", **of(F={"Type": "AWS::Serverless::Application", "Properties": {
            "Location": {"ApplicationId": "arn:aws:serverlessrepo:us-east-1:1:applications/x", "SemanticVersion": "1.0.0"},
        }})}, {}, "AWS::Serverless::Application",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_template_is_refused_before_anything_is_made(stacks: Stacks, name: str) -> None:
    template, more, reason = REFUSED[name]
    began = time.monotonic()
    with pytest.raises(ClientError, match=reason) as caught:
        stacks.create("refused", template, wait=False, **more)
    assert caught.value.response["Error"]["Code"] == "ValidationError", caught.value
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert time.monotonic() - began < 30
    with pytest.raises(ClientError, match="does not exist"):
        stacks.describe("refused")


def test_malformed_templates_of_any_kind_never_break_the_server(stacks: Stacks) -> None:
    random_ = random.Random(7)
    odd: list[Any] = [
        None,
        1,
        "",
        "x",
        [],
        {},
        [1],
        {"Ref": 1},
        {"Fn::Sub": {}},
        {"Fn::If": []},
        True,
        {"a": {"b": []}},
    ]
    base = {
        "Transform": "AWS::Serverless-2016-10-31",
        "Parameters": {"P": {"Type": "String", "Default": "a"}},
        "Conditions": {"C": {"Fn::Equals": [{"Ref": "P"}, "a"]}},
        "Mappings": {"M": {"a": {"b": "c"}}},
        "Globals": {"Function": {"Timeout": 3}},
        "Resources": {
            "F": {"Type": "AWS::Serverless::Function", "Properties": {
                "InlineCode": "x", "Handler": "index.handler", "Runtime": "python3.11",
                "Events": {"E": {"Type": "SQS", "Properties": {"Queue": {"Fn::GetAtt": ["Q", "Arn"]}}}},
            }},
            "Q": {"Type": "AWS::SQS::Queue", "DependsOn": ["F"], "Condition": "C", "Properties": {"DelaySeconds": 1}},
        },
        "Outputs": {"O": {"Value": {"Ref": "Q"}}},
    }  # fmt: skip
    for _ in range(120):
        template = json.loads(json.dumps(base))
        at: Any = template
        for _ in range(random_.randint(1, 7)):
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            key = random_.choice(keys)
            if not isinstance(at[key], dict | list) or not at[key] or random_.random() < 0.25:
                break
            at = at[key]
        at[key] = random_.choice(odd)
        with pytest.raises(ClientError) as caught:
            # An unknown parameter makes sure that nothing is made even if the template happens to be right.
            stacks.create("odd", template, wait=False, Parameters=[{"ParameterKey": "Zzz", "ParameterValue": "1"}])
        assert caught.value.response["Error"]["Code"] == "ValidationError", (template, caught.value)
        answer = stacks.client.validate_template
        try:
            answer(TemplateBody=json.dumps(template))
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ValidationError", (template, error)


def test_broken_properties_fail_their_resource_with_a_reason(stacks: Stacks) -> None:
    odd: list[Any] = [None, 7, "x", [1], {"a": 1}, [{"x": {}}]]
    random_ = random.Random(3)
    kinds = {
        "AWS::S3::Bucket": [
            "BucketEncryption",
            "CorsConfiguration",
            "LifecycleConfiguration",
            "NotificationConfiguration",
            "Tags",
            "PublicAccessBlockConfiguration",
            "VersioningConfiguration",
        ],
        "AWS::SNS::Subscription": ["TopicArn", "FilterPolicy", "Protocol"],
        "AWS::SQS::Queue": ["RedrivePolicy", "Tags", "DelaySeconds"],
        "AWS::DynamoDB::Table": ["KeySchema", "StreamSpecification", "TimeToLiveSpecification"],
        "AWS::Lambda::Function": ["Code", "Environment", "Role"],
        "AWS::IAM::Role": ["AssumeRolePolicyDocument", "Policies", "ManagedPolicyArns"],
        "AWS::ApiGatewayV2::Api": ["Body", "CorsConfiguration", "Tags"],
        "AWS::SecretsManager::Secret": ["GenerateSecretString", "Tags"],
    }
    for kind, names in kinds.items():
        for name in names:
            stack = f"broken-{kind.split(':')[-1]}-{name}"
            ended = stacks.create(stack, of(A={"Type": kind, "Properties": {name: random_.choice(odd)}}))
            if ended["StackStatus"] != "CREATE_COMPLETE":
                assert ended["StackStatus"] == "ROLLBACK_COMPLETE", ended
                reasons = [reason for logical, _, reason in stacks.events(stack) if logical == "A" and reason]
                assert reasons and "its log says why" not in reasons[0], (kind, name, reasons)
            assert stacks.delete(stack)["StackStatus"] == "DELETE_COMPLETE"


def test_versioning_is_turned_on_and_suspended(stacks: Stacks) -> None:
    def bucket(**properties: Any) -> dict[str, Any]:
        return of(B={"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "with-versions", **properties}})

    s3 = stacks.server.client("s3")
    enabled = bucket(VersioningConfiguration={"Status": "Enabled"})
    assert stacks.create("with-versions", enabled)["StackStatus"] == "CREATE_COMPLETE"
    assert s3.get_bucket_versioning(Bucket="with-versions")["Status"] == "Enabled"
    assert stacks.update("with-versions", bucket())["StackStatus"] == "UPDATE_COMPLETE"
    assert s3.get_bucket_versioning(Bucket="with-versions")["Status"] == "Suspended"
    assert stacks.delete("with-versions")["StackStatus"] == "DELETE_COMPLETE"


def test_a_bucket_s_lifecycle_and_encryption(stacks: Stacks) -> None:
    def bucket(**properties: Any) -> dict[str, Any]:
        return of(B={"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "with-settings", **properties}})

    s3 = stacks.server.client("s3")
    rules: list[dict[str, Any]] = [
        {"Id": "logs", "Status": "Enabled", "Prefix": "logs/", "ExpirationInDays": "30",
         "Transition": {"StorageClass": "GLACIER_IR", "TransitionInDays": 7}},
        {"Id": "old", "Status": "Disabled", "TagFilters": [{"Key": "k", "Value": "v"}], "ObjectSizeGreaterThan": "5",
         "NoncurrentVersionExpirationInDays": 9,
         "NoncurrentVersionTransitions": [{"StorageClass": "GLACIER", "TransitionInDays": 3}]},
        {"Id": "rest", "Status": "Enabled", "ExpirationDate": "2099-01-01T00:00:00Z"},
        {"Id": "uploads", "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}},
    ]  # fmt: skip
    encrypted = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": "true"}
    template = bucket(
        LifecycleConfiguration={"Rules": rules},
        BucketEncryption={"ServerSideEncryptionConfiguration": [encrypted]},
    )
    assert stacks.create("with-settings", template)["StackStatus"] == "CREATE_COMPLETE"
    kept = {row["ID"]: row for row in s3.get_bucket_lifecycle_configuration(Bucket="with-settings")["Rules"]}
    assert kept["logs"]["Filter"] == {"Prefix": "logs/"} and kept["logs"]["Expiration"] == {"Days": 30}
    assert kept["logs"]["Transitions"] == [{"Days": 7, "StorageClass": "GLACIER_IR"}]
    assert kept["old"]["Filter"]["And"] == {"Tags": [{"Key": "k", "Value": "v"}], "ObjectSizeGreaterThan": 5}
    assert kept["old"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 9}
    assert kept["old"]["NoncurrentVersionTransitions"] == [{"NoncurrentDays": 3, "StorageClass": "GLACIER"}]
    assert kept["rest"]["Filter"] == {} and kept["rest"]["Expiration"]["Date"].year == 2099
    assert kept["uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    put = s3.put_object(Bucket="with-settings", Key="a", Body=b"x")
    assert (put["ServerSideEncryption"], put["BucketKeyEnabled"]) == ("aws:kms", True)
    s3.delete_object(Bucket="with-settings", Key="a")
    wrong = bucket(LifecycleConfiguration={"Rules": [{"Status": "Enabled", "ExpirationInDays": 0}]})
    assert stacks.update("with-settings", wrong)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert len(s3.get_bucket_lifecycle_configuration(Bucket="with-settings")["Rules"]) == 4
    assert stacks.update("with-settings", bucket())["StackStatus"] == "UPDATE_COMPLETE"
    with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket="with-settings")
    assert s3.put_object(Bucket="with-settings", Key="a", Body=b"x")["ServerSideEncryption"] == "AES256"
    s3.delete_object(Bucket="with-settings", Key="a")
    assert stacks.delete("with-settings")["StackStatus"] == "DELETE_COMPLETE"


def test_a_large_template_comes_from_a_bucket(stacks: Stacks) -> None:
    s3 = stacks.server.client("s3")
    s3.create_bucket(Bucket="templates")
    large = {**of(Q=queue()), "Metadata": {"Notes": "x" * 100_000}}
    s3.put_object(Bucket="templates", Key="a/large one.json", Body=json.dumps(large).encode())
    url = f"{stacks.server.url}/templates/a/large%20one.json"
    stacks.client.create_stack(StackName="large", TemplateURL=url)
    assert stacks.ended("large")["StackStatus"] == "CREATE_COMPLETE"
    stacks.delete("large")
    s3.put_object(Bucket="templates", Key="huge.json", Body=json.dumps({**large, "Metadata": "x" * 1_100_000}).encode())
    s3.put_object(Bucket="templates", Key="binary.json", Body=b"\xff\xfe\x00")
    for wrong, reason in (
        ("huge.json", "1000000"),
        ("binary.json", "UTF-8"),
        ("none.json", "S3 error"),
        ("", "TemplateURL|S3 error"),
    ):
        with pytest.raises(ClientError, match=reason):
            stacks.client.create_stack(StackName="huge", TemplateURL=f"{stacks.server.url}/templates/{wrong}")


def test_what_is_told_of_a_stack(stacks: Stacks) -> None:
    made = stacks.create("told", of(Q=queue(), Z=queue()))
    client = stacks.client
    for name in ("told", made["StackId"]):
        assert client.describe_stack_resource(StackName=name, LogicalResourceId="Q")["StackResourceDetail"][
            "ResourceStatus"
        ] == "CREATE_COMPLETE"  # fmt: skip
        listed = client.list_stack_resources(StackName=name)["StackResourceSummaries"]
        assert [each["LogicalResourceId"] for each in listed] == ["Q", "Z"]
    with pytest.raises(ClientError, match="does not exist"):
        client.describe_stack_resource(StackName="told", LogicalResourceId="X")
    assert stacks.events("told") == [
        ("told", "CREATE_IN_PROGRESS", "User Initiated"), ("Q", "CREATE_IN_PROGRESS", ""), ("Q", "CREATE_COMPLETE", ""),
        ("Z", "CREATE_IN_PROGRESS", ""), ("Z", "CREATE_COMPLETE", ""), ("told", "CREATE_COMPLETE", ""),
    ]  # fmt: skip
    assert "told" in [
        each["StackName"] for each in client.list_stacks(StackStatusFilter=["CREATE_COMPLETE"])["StackSummaries"]
    ]
    client.get_waiter("stack_create_complete").wait(StackName="told", WaiterConfig={"Delay": 1, "MaxAttempts": 5})
    for name in ("9told", "to_ld", "x" * 200):
        with pytest.raises(ClientError, match="ValidationError"):
            stacks.create(name, of(Q=queue()), wait=False)
    stacks.delete("told")


# -- SAM

PHOTOS = """
Transform: AWS::Serverless-2016-10-31
Globals: {Function: {Runtime: python3.11, Timeout: 10, MemorySize: 128}}
Resources:
  Topic: {Type: AWS::SNS::Topic}
  Queue: {Type: AWS::SQS::Queue}
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
      StreamSpecification: {StreamViewType: NEW_AND_OLD_IMAGES}
  Stream: {Type: AWS::Kinesis::Stream, Properties: {ShardCount: 1}}
  Api:
    Type: AWS::Serverless::HttpApi
    Properties: {CorsConfiguration: {AllowOrigins: ["*"], AllowMethods: ["*"]}}
  Rows:
    Type: AWS::Serverless::SimpleTable
  Seen:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: code/
      Handler: main.handler
      Environment: {Variables: {ROWS: !Ref Rows, WORD: first}}
      Policies:
        - Statement: [{Effect: Allow, Action: "dynamodb:PutItem", Resource: !GetAtt Rows.Arn}]
      Events:
        Topic: {Type: SNS, Properties: {Topic: !Ref Topic}}
        Queue: {Type: SQS, Properties: {Queue: !GetAtt Queue.Arn, BatchSize: 1}}
        Table: {Type: DynamoDB, Properties: {Stream: !GetAtt Table.StreamArn, StartingPosition: TRIM_HORIZON}}
        Stream: {Type: Kinesis, Properties: {Stream: !GetAtt Stream.Arn, StartingPosition: TRIM_HORIZON}}
        Get: {Type: HttpApi, Properties: {ApiId: !Ref Api, Path: /seen, Method: GET}}
Outputs:
  Url: {Value: !GetAtt Api.ApiEndpoint}
  Rows: {Value: !Ref Rows}
  Topic: {Value: !Ref Topic}
  Queue: {Value: !Ref Queue}
  Table: {Value: !Ref Table}
  Stream: {Value: !Ref Stream}
"""
SEEN = """
import os, boto3
def handler(event, context):
    if "rawPath" in event:
        return {"statusCode": 200, "body": os.environ["WORD"] + SUFFIX}
    for record in event["Records"]:
        source = record.get("eventSource") or record["EventSource"]
        boto3.client("dynamodb").put_item(TableName=os.environ["ROWS"], Item={"id": {"S": source}})
SUFFIX = ""
"""


def test_a_serverless_application_with_events_of_every_kind(stacks: Stacks, tmp_path: Path) -> None:
    import urllib.request

    server, before = stacks.server, stacks.things()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "main.py").write_text(SEEN)
    (tmp_path / "t.yaml").write_text(PHOTOS)

    def deploy() -> str:
        environment = {"XDG_RUNTIME_DIR": str(server.data.parent), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        code, text = complete(environment, tmp_path, "deploy", "t.yaml", "--stack", "sam", "--data", server.data)
        assert code == 0, text
        return text

    assert "CREATE_COMPLETE" in deploy()
    out, client = stacks.outputs("sam"), server.client
    client("sns").publish(TopicArn=out["Topic"], Message="x")
    client("sqs").send_message(QueueUrl=out["Queue"], MessageBody="x")
    client("dynamodb").put_item(TableName=out["Table"], Item={"id": {"S": "x"}})
    client("kinesis").put_record(StreamName=out["Stream"], Data=b"x", PartitionKey="x")
    wanted = {"aws:sns", "aws:sqs", "aws:dynamodb", "aws:kinesis"}

    def seen() -> bool:
        rows = client("dynamodb").scan(TableName=out["Rows"])["Items"]
        return {row["id"]["S"] for row in rows} == wanted

    eventually(seen, 30)
    ask = lambda: urllib.request.urlopen(f"{out['Url']}/seen", timeout=20).read().decode()  # noqa: E731
    assert ask() == "first"
    assert "stands already" in deploy()
    (tmp_path / "code" / "main.py").write_text(SEEN.replace('SUFFIX = ""', 'SUFFIX = "!"'))
    (tmp_path / "t.yaml").write_text(PHOTOS.replace("WORD: first", "WORD: second"))
    assert "UPDATE_COMPLETE" in deploy()
    assert stacks.outputs("sam") == out and ask() == "second!"
    assert stacks.delete("sam")["StackStatus"] == "DELETE_COMPLETE"
    assert stacks.things() - before == {"0:sluiceway-deployments-000000000000"}


# -- whose rights


def test_a_stack_has_its_callers_rights_and_no_others(stacks: Stacks) -> None:
    iam = stacks.server.client("iam")
    iam.create_user(UserName="builder")
    document = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["cloudformation:*", "sns:*"], "Resource": "*"},
    ]}  # fmt: skip
    iam.put_user_policy(UserName="builder", PolicyName="p", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName="builder")["AccessKey"]
    own = stacks.server.client("cloudformation", (key["AccessKeyId"], key["SecretAccessKey"]))
    before = stacks.things()
    own.create_stack(StackName="theirs", TemplateBody=json.dumps(of(T={"Type": "AWS::SNS::Topic"})))
    assert stacks.ended("theirs")["StackStatus"] == "CREATE_COMPLETE"
    own.update_stack(StackName="theirs", TemplateBody=json.dumps(of(T={"Type": "AWS::SNS::Topic"}, Q=queue())))
    assert stacks.ended("theirs")["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert any("not authorized" in reason.lower() for logical, _, reason in stacks.events("theirs") if logical == "Q")
    stacks.update("theirs", of(T={"Type": "AWS::SNS::Topic"}, Q=queue(VisibilityTimeout=7)))  # by root
    own.delete_stack(StackName="theirs")
    assert stacks.ended("theirs")["StackStatus"] == "DELETE_FAILED"  # the queue is not theirs to delete
    assert stacks.delete("theirs")["StackStatus"] == "DELETE_COMPLETE" and stacks.things() == before
    iam.put_user_policy(UserName="builder", PolicyName="p", PolicyDocument=json.dumps({
        "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}],
    }))  # fmt: skip
    for call in (
        lambda: own.create_stack(StackName="no", TemplateBody=json.dumps(of(Q=queue()))),
        lambda: own.describe_stacks(StackName="theirs"),
        own.describe_stacks,
    ):
        with pytest.raises(ClientError, match=r"AccessDenied|not authorized"):
            call()


# -- crashes


def many(generation: int) -> Template:
    """Resources of several kinds; another generation changes, replaces, adds and removes some of them."""
    resources: Template = {
        "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"Tags": [{"Key": "g", "Value": str(generation)}]}},
        "Named": queue(QueueName=f"crash-{generation}"),
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": f"g{generation}"}},
        "Queue": queue(VisibilityTimeout=30 + generation),
        "Sub": {"Type": "AWS::SNS::Subscription", "Properties": {
            "TopicArn": {"Ref": "Topic"}, "Protocol": "sqs", "Endpoint": {"Fn::GetAtt": "Queue.Arn"},
        }},
        "Table": table(), "Stream": {"Type": "AWS::Kinesis::Stream", "Properties": {"ShardCount": 1}},
        "Api": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Name": f"crash-{generation}", "ProtocolType": "HTTP"}},
        "Stage": {"Type": "AWS::ApiGatewayV2::Stage", "Properties": {
            "ApiId": {"Ref": "Api"}, "StageName": "$default", "AutoDeploy": True,
        }},
    }  # fmt: skip
    for number in range(8):
        resources[f"Only{generation}x{number}"] = queue()
    return {"Resources": resources}


def test_a_killed_server_goes_on_to_the_same_end(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Ten kills at times of chance: in the middle of a creation, an update, one that fails, and a deletion."""
    seed = request.config.getoption("--seed") or time.time_ns() % 1_000_000
    print(f"--seed {seed}")
    random_, own_server = random.Random(seed), ForkedServer(tmp_path / "data").start(lasting_port())
    port = own_server.port
    initial = Stacks(own_server).things()

    def killed(most: float) -> Stacks:
        time.sleep(random_.uniform(0, most))
        own_server.kill()
        own_server.start(port)
        return Stacks(own_server)

    def created(stacks: Stacks) -> Stacks:
        stacks.create("crash", many(1), wait=False)
        stacks = killed(0.25)
        assert stacks.ended("crash")["StackStatus"] == "CREATE_COMPLETE", stacks.events("crash")
        assert len(stacks.things() - initial) == len(many(1)["Resources"]) - 1  # a stage is no thing of its own
        return stacks

    def updated(stacks: Stacks) -> Stacks:
        kept = [stacks.physical("crash", logical) for logical in ("Table", "Bucket", "Topic", "Api")]
        stacks.client.update_stack(StackName="crash", TemplateBody=json.dumps(many(2)))
        stacks = killed(0.25)
        assert stacks.ended("crash")["StackStatus"] == "UPDATE_COMPLETE", stacks.events("crash")
        assert len(stacks.things() - initial) == len(many(2)["Resources"]) - 1
        assert set(stacks.resources("crash")) == set(many(2)["Resources"])
        assert [stacks.physical("crash", logical) for logical in ("Table", "Bucket", "Topic", "Api")] == kept
        assert stacks.physical("crash", "Named").endswith("/crash-2")
        return stacks

    def failed(stacks: Stacks) -> Stacks:
        template, before = many(3), stacks.things()
        template["Resources"]["Bad"] = {
            "Type": "AWS::SNS::Subscription", "DependsOn": list(template["Resources"]),
            "Properties": {"TopicArn": {"Ref": "Topic"}, "Protocol": "pigeon", "Endpoint": "x"},
        }  # fmt: skip
        stacks.client.update_stack(StackName="crash", TemplateBody=json.dumps(template))
        stacks = killed(0.4)
        assert stacks.ended("crash")["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE", stacks.events("crash")
        assert stacks.things() == before
        return stacks

    def deleted(stacks: Stacks) -> Stacks:
        stack_id = stacks.describe("crash")["StackId"]
        stacks.client.delete_stack(StackName="crash")
        stacks = killed(0.15)
        assert stacks.ended(stack_id)["StackStatus"] == "DELETE_COMPLETE"
        assert stacks.things() == initial
        return stacks

    stacks = Stacks(own_server)
    for step in (created, updated, failed, deleted, created, failed, updated, failed, failed, deleted):
        stacks = step(stacks)
    own_server.end()
