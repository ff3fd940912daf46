"""Stacks are made, changed and removed, and go back where that fails."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.server import TRUST
from helpers.stacks import Stacks, Template, attributes, of, queue, table


def role() -> Template:
    """One that functions take on."""
    return {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": json.loads(TRUST)}}


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


def test_dead_letters_of_a_function_need_a_standard_queue(stacks: Stacks) -> None:
    before = stacks.things()

    def template(**letters: Any) -> Template:
        return of(Role=role(), Letters=queue(**letters), Function={"Type": "AWS::Lambda::Function", "Properties": {
            "Runtime": "python3.11", "Handler": "index.f", "Role": {"Fn::GetAtt": "Role.Arn"},
            "Code": {"ZipFile": "def f(event, context): return 1"},
            "DeadLetterConfig": {"TargetArn": {"Fn::GetAtt": "Letters.Arn"}},
        }})  # fmt: skip

    assert stacks.create("in-groups", template(FifoQueue=True))["StackStatus"] == "ROLLBACK_COMPLETE"
    [reason] = [
        why for logical, status, why in stacks.events("in-groups") if (logical, status) == ("Function", "CREATE_FAILED")
    ]
    assert "FIFO queues and FIFO topics are not supported" in reason
    assert stacks.delete("in-groups")["StackStatus"] == "DELETE_COMPLETE" and stacks.things() == before
    assert stacks.create("standard", template())["StackStatus"] == "CREATE_COMPLETE"
    assert stacks.delete("standard")["StackStatus"] == "DELETE_COMPLETE" and stacks.things() == before


def test_a_failed_update_goes_back_to_the_earlier_state(stacks: Stacks) -> None:
    first = of(Changed=queue(VisibilityTimeout=11), Renamed=queue(QueueName="back-one"), Dropped=queue(), Role=role())
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
