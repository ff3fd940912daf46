"""AWS's own managed policies, as far as templates name them (AWS Managed Policy Reference Guide).

Only statements about services that exist here are kept: the others could allow nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

_LOGS: Final = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
_XRAY: Final = ("xray:PutTraceSegments", "xray:PutTelemetryRecords")
_S3_READ: Final = ("s3:Get*", "s3:List*", "s3:Describe*", "s3-object-lambda:Get*", "s3-object-lambda:List*")


def _allow(*actions: str, resource: str = "*") -> str:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _power_user() -> str:
    kept: Sequence[str] = ("iam:*", "organizations:*", "account:*")
    statement: dict[str, Any] = {"Effect": "Allow", "NotAction": list(kept), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _functions() -> str:
    passed = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": ["lambda:*", "logs:*"], "Resource": "*"},
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*", "Condition": passed},
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


_PREFIX: Final = "arn:aws:iam::aws:policy/"

#: ARN -> document.
AWS_POLICIES: Final[Mapping[str, str]] = {
    _PREFIX + name: document
    for name, document in (
        ("AdministratorAccess", _allow("*")),
        ("PowerUserAccess", _power_user()),
        ("IAMFullAccess", _allow("iam:*")),
        ("IAMReadOnlyAccess", _allow("iam:Get*", "iam:List*", "iam:GenerateCredentialReport")),
        ("AmazonS3FullAccess", _allow("s3:*", "s3-object-lambda:*")),
        ("AmazonS3ReadOnlyAccess", _allow(*_S3_READ)),
        ("AmazonSNSFullAccess", _allow("sns:*")),
        ("AmazonSNSReadOnlyAccess", _allow("sns:GetTopicAttributes", "sns:List*")),
        ("AmazonSQSFullAccess", _allow("sqs:*")),
        ("AmazonSQSReadOnlyAccess", _allow("sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:List*")),
        ("AmazonDynamoDBFullAccess", _allow("dynamodb:*")),
        (
            "AmazonDynamoDBReadOnlyAccess",
            _allow(
                "dynamodb:BatchGetItem",
                "dynamodb:Describe*",
                "dynamodb:List*",
                "dynamodb:GetItem",
                "dynamodb:Query",
                "dynamodb:Scan",
                "dynamodb:PartiQLSelect",
            ),
        ),
        ("AmazonKinesisFullAccess", _allow("kinesis:*")),
        ("AmazonKinesisReadOnlyAccess", _allow("kinesis:Get*", "kinesis:List*", "kinesis:Describe*")),
        ("AWSLambda_FullAccess", _functions()),
        ("AWSLambda_ReadOnlyAccess", _allow("lambda:Get*", "lambda:List*")),
        ("CloudWatchLogsFullAccess", _allow("logs:*")),
        ("SecretsManagerReadWrite", _allow("secretsmanager:*", "kms:ListAliases", "kms:ListKeys", "kms:DescribeKey")),
        ("AmazonSSMFullAccess", _allow("ssm:*")),
        ("AmazonSSMReadOnlyAccess", _allow("ssm:Describe*", "ssm:Get*", "ssm:List*")),
        ("AmazonAPIGatewayAdministrator", _allow("apigateway:*", resource="arn:aws:apigateway:*::/*")),
        (
            "AmazonAPIGatewayInvokeFullAccess",
            _allow("execute-api:Invoke", "execute-api:ManageConnections", resource="arn:aws:execute-api:*:*:*"),
        ),
        ("AWSCloudFormationFullAccess", _allow("cloudformation:*")),
        ("AWSXRayDaemonWriteAccess", _allow(*_XRAY)),
        ("AWSXrayWriteOnlyAccess", _allow(*_XRAY)),
        ("service-role/AWSLambdaBasicExecutionRole", _allow(*_LOGS)),
        ("service-role/AWSLambdaVPCAccessExecutionRole", _allow(*_LOGS)),
        (
            "service-role/AWSLambdaSQSQueueExecutionRole",
            _allow("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", *_LOGS),
        ),
        (
            "service-role/AWSLambdaKinesisExecutionRole",
            _allow(
                "kinesis:DescribeStream",
                "kinesis:DescribeStreamSummary",
                "kinesis:GetRecords",
                "kinesis:GetShardIterator",
                "kinesis:ListShards",
                "kinesis:ListStreams",
                "kinesis:SubscribeToShard",
                *_LOGS,
            ),
        ),
        (
            "service-role/AWSLambdaDynamoDBExecutionRole",
            _allow(
                "dynamodb:DescribeStream",
                "dynamodb:GetRecords",
                "dynamodb:GetShardIterator",
                "dynamodb:ListStreams",
                *_LOGS,
            ),
        ),
        ("service-role/AWSLambdaRole", _allow("lambda:InvokeFunction")),
        (
            "service-role/AmazonAPIGatewayPushToCloudWatchLogs",
            _allow(
                *_LOGS, "logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:GetLogEvents", "logs:FilterLogEvents"
            ),
        ),
    )
}
