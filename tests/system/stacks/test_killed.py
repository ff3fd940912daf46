"""A server that is killed amid the change of a stack."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from helpers.commands import ForkedServer
from helpers.ports import lasting_port
from helpers.stacks import Stacks, Template, queue, table


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
