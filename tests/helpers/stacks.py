"""Stacks of a server, by boto3."""

from __future__ import annotations

import json
from typing import Any

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


def attributes(stacks: Stacks, url: str) -> dict[str, str]:
    found: dict[str, str] = stacks.server.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])[
        "Attributes"
    ]
    return found
