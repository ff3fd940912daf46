"""Every resource type that a template may have here."""

from __future__ import annotations

from sluiceway.reactions.stacks import apis, compute, messaging, storage
from sluiceway.reactions.stacks.provider import Provider


def providers() -> dict[str, Provider]:
    """Resource type -> its provider."""
    return {
        "AWS::ApiGatewayV2::Api": apis.Api(),
        **apis.parts(),
        "AWS::CloudFormation::WaitConditionHandle": compute.WaitHandle(),
        "AWS::DynamoDB::Table": storage.Table(),
        "AWS::Elasticsearch::Domain": storage.SearchDomain(),
        "AWS::IAM::Policy": compute.InlinePolicy(),
        "AWS::IAM::Role": compute.Role(),
        "AWS::Kinesis::Stream": storage.Stream(),
        "AWS::Lambda::EventSourceMapping": compute.EventSourceMapping(),
        "AWS::Lambda::Function": compute.Function(),
        "AWS::Lambda::Permission": compute.Permission(),
        "AWS::Logs::LogGroup": compute.LogGroup(),
        "AWS::S3::Bucket": storage.Bucket(),
        "AWS::S3::BucketPolicy": storage.BucketPolicy(),
        "AWS::SNS::Subscription": messaging.Subscription(),
        "AWS::SNS::Topic": messaging.Topic(),
        "AWS::SNS::TopicPolicy": messaging.TopicPolicy(),
        "AWS::SQS::Queue": messaging.Queue(),
        "AWS::SQS::QueuePolicy": messaging.QueuePolicy(),
        "AWS::SSM::Parameter": storage.Parameter(),
        "AWS::SecretsManager::Secret": storage.Secret(),
    }


def accepted() -> dict[str, frozenset[str]]:
    """Resource type -> the properties that it may have here."""
    return {kind: provider.accepts for kind, provider in providers().items()}
