"""Policies see the tags that a request brings, in every service's form."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.rights import arn, denied, function, may, person, role
from helpers.server import ServerProcess

GOOD, BAD = {"team": "blue"}, {"team": "red"}


def listed(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


@pytest.fixture(scope="module")
def calls(server: ServerProcess) -> dict[str, Any]:
    """(client, tags) -> a request that brings the tags, by service."""
    client = server.client
    topic = client("sns").create_topic(Name="t")["TopicArn"]
    queue = client("sqs").create_queue(QueueName="q")["QueueUrl"]
    key = client("kms").create_key()["KeyMetadata"]["KeyId"]
    client("kinesis").create_stream(StreamName="s", ShardCount=1)
    client("secretsmanager").create_secret(Name="s", SecretString="x")
    client("ssm").put_parameter(Name="p", Value="x", Type="String")
    client("iam").create_user(UserName="tagged")
    name = function(client("lambda"), role(server))
    return {
        "sns": lambda c, t: c.tag_resource(ResourceArn=topic, Tags=listed(t)),
        "sqs": lambda c, t: c.tag_queue(QueueUrl=queue, Tags=t),
        "kms": lambda c, t: c.tag_resource(KeyId=key, Tags=[{"TagKey": k, "TagValue": v} for k, v in t.items()]),
        "kinesis": lambda c, t: c.add_tags_to_stream(StreamName="s", Tags=t),
        "secretsmanager": lambda c, t: c.tag_resource(SecretId="s", Tags=listed(t)),
        "ssm": lambda c, t: c.add_tags_to_resource(ResourceType="Parameter", ResourceId="p", Tags=listed(t)),
        "iam": lambda c, t: c.tag_user(UserName="tagged", Tags=listed(t)),
        "lambda": lambda c, t: c.tag_resource(Resource=arn("lambda", f"function:{name}"), Tags=t),
    }


@pytest.mark.parametrize("service", ["iam", "kinesis", "kms", "lambda", "secretsmanager", "sns", "sqs", "ssm"])
def test_only_the_tags_that_a_policy_allows(server: ServerProcess, calls: dict[str, Any], service: str) -> None:
    condition = {
        "StringEquals": {"aws:RequestTag/team": "blue"},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["team"]},
    }
    client, call = server.client(service, person(server, may("*", Condition=condition))), calls[service]
    call(client, GOOD)
    denied(call, c=client, t=BAD)
    denied(call, c=client, t=GOOD | {"admin": "yes"})


def test_only_the_tags_that_a_policy_lets_go(server: ServerProcess) -> None:
    topic = server.client("sns").create_topic(Name="kept", Tags=listed({"team": "blue", "note": "x"}))["TopicArn"]
    kept = may("sns:*", "*", "Deny", Condition={"ForAnyValue:StringEquals": {"aws:TagKeys": ["team"]}})
    client = server.client("sns", person(server, may("sns:*"), kept))
    denied(client.untag_resource, ResourceArn=topic, TagKeys=["note", "team"])
    client.untag_resource(ResourceArn=topic, TagKeys=["note"])
