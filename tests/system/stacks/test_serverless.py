"""Serverless applications, and with whose rights a stack is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from helpers.commands import complete
from helpers.server import eventually
from helpers.stacks import Stacks, of, queue

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
