"""Resource types that carry messages: topics, subscriptions, queues and their policies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sluiceway.reactions.stacks.provider import (
    Context,
    Look,
    Made,
    Properties,
    Provider,
    Replace,
    changed,
    pick,
    tag_changes,
    tag_list,
    tag_map,
)

_GONE = ("NotFound", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


def _texts(values: Properties) -> dict[str, str]:
    """Attribute values as the APIs want them: text, documents as JSON."""
    made = {}
    for name, value in values.items():
        if isinstance(value, bool):
            made[name] = "true" if value else "false"
        else:
            made[name] = json.dumps(value) if isinstance(value, dict | list) else str(value)
    return made


#: Attributes that change in place, and what a topic has of each that says nothing.
_TOPIC_DEFAULTS: Final[Mapping[str, str]] = {
    "ContentBasedDeduplication": "false",
    "DisplayName": "",
    "FifoThroughputScope": "Topic",
    "KmsMasterKeyId": "",
    "SignatureVersion": "1",
    "TracingConfig": "PassThrough",
}


class Topic(Provider):
    """AWS::SNS::Topic"""

    accepts = frozenset(
        {
            "ContentBasedDeduplication",
            "DisplayName",
            "FifoThroughputScope",
            "FifoTopic",
            "KmsMasterKeyId",
            "SignatureVersion",
            "Subscription",
            "Tags",
            "TopicName",
            "TracingConfig",
        }
    )
    named_by = "TopicName"
    look = Look("sns", "GetTopicAttributes", "TopicArn", lambda ctx, name: ctx.scope.arn("sns", name))

    async def create(self, ctx: Context, props: Properties) -> Made:
        """CreateTopic gives the existing one if it is the same."""
        fifo = str(props.get("FifoTopic", "")).lower() == "true"
        name = props.get("TopicName") or (ctx.name(251) + ".fifo" if fifo else ctx.name(256))
        attributes = _texts(pick(props, "FifoTopic", *_TOPIC_DEFAULTS))
        arn = (await ctx.call("sns", "CreateTopic", Name=name, Attributes=attributes, Tags=props.get("Tags")))[
            "TopicArn"
        ]
        await ctx.claim(arn)
        for item in props.get("Subscription") or []:
            await ctx.call("sns", "Subscribe", TopicArn=arn, Protocol=item["Protocol"], Endpoint=item["Endpoint"])
        return Made(arn, {"TopicArn": arn, "TopicName": name})

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Attributes change in place."""
        if changed(old, new, "TopicName", "FifoTopic"):
            raise Replace
        for name, default in _TOPIC_DEFAULTS.items():
            if changed(old, new, name):
                value = _texts({"value": new.get(name, default)})["value"]
                await ctx.call(
                    "sns",
                    "SetTopicAttributes",
                    TopicArn=physical_id,
                    AttributeName=name,
                    AttributeValue=value,
                )
        if changed(old, new, "Subscription"):
            await _subscriptions(ctx, physical_id, old.get("Subscription") or [], new.get("Subscription") or [])
        put, gone = tag_changes(old, new)
        if put:
            await ctx.call("sns", "TagResource", ResourceArn=physical_id, Tags=tag_list(put))
        if gone:
            await ctx.call("sns", "UntagResource", ResourceArn=physical_id, TagKeys=gone)
        return Made(physical_id, {"TopicArn": physical_id, "TopicName": physical_id.rsplit(":", 1)[1]})

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """With its subscriptions."""
        await ctx.unless(_GONE, "sns", "DeleteTopic", TopicArn=physical_id)


async def _subscriptions(ctx: Context, topic: str, old: list[Properties], new: list[Properties]) -> None:
    wanted = {(item["Protocol"], item["Endpoint"]) for item in new}
    dropped = {(item["Protocol"], item["Endpoint"]) for item in old} - wanted
    params: Properties = {"TopicArn": topic}
    while dropped:
        page = await ctx.call("sns", "ListSubscriptionsByTopic", **params)
        for item in page.get("Subscriptions") or []:
            if (item["Protocol"], item["Endpoint"]) in dropped and item["SubscriptionArn"].startswith("arn:"):
                await ctx.call("sns", "Unsubscribe", SubscriptionArn=item["SubscriptionArn"])
        if not page.get("NextToken"):
            break
        params["NextToken"] = page["NextToken"]
    for protocol, endpoint in sorted(wanted):
        await ctx.call("sns", "Subscribe", TopicArn=topic, Protocol=protocol, Endpoint=endpoint)


class TopicPolicy(Provider):
    """AWS::SNS::TopicPolicy"""

    accepts = frozenset({"PolicyDocument", "Topics"})

    async def create(self, ctx: Context, props: Properties) -> Made:
        """The same policy for every topic named."""
        await ctx.claim(ctx.name(128))
        for topic in props["Topics"]:
            await _topic_policy(ctx, topic, json.dumps(props["PolicyDocument"]))
        return Made(ctx.name(128))

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Topics that are no longer named lose it."""
        for topic in set(old["Topics"]) - set(new["Topics"]):
            await _topic_policy(ctx, topic, "")
        for topic in new["Topics"]:
            await _topic_policy(ctx, topic, json.dumps(new["PolicyDocument"]))
        return Made(physical_id)

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """Back to the default policy."""
        for topic in props["Topics"]:
            await _topic_policy(ctx, topic, "")


async def _topic_policy(ctx: Context, topic: str, text: str) -> None:
    gone = () if text else (*_GONE, "InvalidParameter")
    await ctx.unless(gone, "sns", "SetTopicAttributes", TopicArn=topic, AttributeName="Policy", AttributeValue=text)


class Subscription(Provider):
    """AWS::SNS::Subscription"""

    accepts = frozenset(
        {
            "DeliveryPolicy",
            "Endpoint",
            "FilterPolicy",
            "FilterPolicyScope",
            "Protocol",
            "RawMessageDelivery",
            "RedrivePolicy",
            "TopicArn",
        }
    )

    async def create(self, ctx: Context, props: Properties) -> Made:
        """Subscribe gives the existing one if it is the same."""
        arn = (
            await ctx.call(
                "sns", "Subscribe", TopicArn=props["TopicArn"], Protocol=props["Protocol"],
                Endpoint=props.get("Endpoint"), Attributes=self._attributes(props), ReturnSubscriptionArn=True,
            )
        )["SubscriptionArn"]  # fmt: skip
        return Made(arn)

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Attributes change in place."""
        if changed(old, new, "TopicArn", "Protocol", "Endpoint"):
            raise Replace
        before, after = self._attributes(old), self._attributes(new)
        for name in before.keys() | after.keys():
            if before.get(name) != after.get(name):
                default = "{}" if name in ("FilterPolicy", "RedrivePolicy", "DeliveryPolicy") else "false"
                await ctx.call(
                    "sns", "SetSubscriptionAttributes", SubscriptionArn=physical_id, AttributeName=name,
                    AttributeValue=after.get(name, default),
                )  # fmt: skip
        return Made(physical_id)

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """The topic stays."""
        await ctx.unless((*_GONE, "InvalidParameter"), "sns", "Unsubscribe", SubscriptionArn=physical_id)

    @staticmethod
    def _attributes(props: Properties) -> dict[str, str]:
        names = ("RawMessageDelivery", "FilterPolicy", "FilterPolicyScope", "RedrivePolicy", "DeliveryPolicy")
        return _texts(pick(props, *names))


_QUEUE_ATTRIBUTES = (
    "ContentBasedDeduplication", "DeduplicationScope", "DelaySeconds", "FifoQueue", "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds", "KmsMasterKeyId", "MaximumMessageSize", "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds", "RedriveAllowPolicy", "RedrivePolicy", "SqsManagedSseEnabled", "VisibilityTimeout",
)  # fmt: skip


#: What an attribute goes back to when a template no longer has it (SQS API Reference, SetQueueAttributes).
_QUEUE_DEFAULTS: Final = {
    "ContentBasedDeduplication": "false", "DeduplicationScope": "queue", "DelaySeconds": "0",
    "FifoThroughputLimit": "perQueue", "MaximumMessageSize": "1048576", "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0", "RedriveAllowPolicy": "", "RedrivePolicy": "", "VisibilityTimeout": "30",
}  # fmt: skip


class Queue(Provider):
    """AWS::SQS::Queue"""

    accepts = frozenset({*_QUEUE_ATTRIBUTES, "QueueName", "Tags"})
    named_by = "QueueName"
    look = Look("sqs", "GetQueueUrl", "QueueName")

    async def create(self, ctx: Context, props: Properties) -> Made:
        """CreateQueue gives the existing one if it is the same."""
        fifo = str(props.get("FifoQueue", "")).lower() == "true"
        name = props.get("QueueName") or (ctx.name(75) + ".fifo" if fifo else ctx.name(80))
        attributes = _texts(pick(props, *_QUEUE_ATTRIBUTES))
        if not fifo:  # a standard queue's may be false in a template, and is unknown to CreateQueue
            attributes.pop("FifoQueue", None)
        made = await ctx.call("sqs", "CreateQueue", QueueName=name, Attributes=attributes, tags=tag_map(props))
        return self._made(ctx, made["QueueUrl"], name)

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Attributes change in place."""
        if changed(old, new, "QueueName", "FifoQueue"):
            raise Replace
        attributes = _texts(pick(new, *(name for name in _QUEUE_ATTRIBUTES if name != "FifoQueue")))
        attributes |= {name: value for name, value in _QUEUE_DEFAULTS.items() if name in old and name not in new}
        if attributes:
            await ctx.call("sqs", "SetQueueAttributes", QueueUrl=physical_id, Attributes=attributes)
        put, gone = tag_changes(old, new)
        if put:
            await ctx.call("sqs", "TagQueue", QueueUrl=physical_id, Tags=put)
        if gone:
            await ctx.call("sqs", "UntagQueue", QueueUrl=physical_id, TagKeys=gone)
        return self._made(ctx, physical_id, physical_id.rsplit("/", 1)[1])

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """With its messages."""
        await ctx.unless(_GONE, "sqs", "DeleteQueue", QueueUrl=physical_id)

    @staticmethod
    def _made(ctx: Context, url: str, name: str) -> Made:
        return Made(url, {"Arn": ctx.scope.arn("sqs", name), "QueueName": name, "QueueUrl": url})


class QueuePolicy(Provider):
    """AWS::SQS::QueuePolicy"""

    accepts = frozenset({"PolicyDocument", "Queues"})

    async def create(self, ctx: Context, props: Properties) -> Made:
        """The same policy for every queue named."""
        await ctx.claim(ctx.name(128))
        for queue in props["Queues"]:
            await _queue_policy(ctx, queue, json.dumps(props["PolicyDocument"]))
        return Made(ctx.name(128))

    async def update(self, ctx: Context, physical_id: str, old: Properties, new: Properties) -> Made:
        """Queues that are no longer named lose it."""
        for queue in set(old["Queues"]) - set(new["Queues"]):
            await _queue_policy(ctx, queue, "")
        for queue in new["Queues"]:
            await _queue_policy(ctx, queue, json.dumps(new["PolicyDocument"]))
        return Made(physical_id)

    async def delete(self, ctx: Context, physical_id: str, props: Properties) -> None:
        """The queues stay."""
        for queue in props["Queues"]:
            await _queue_policy(ctx, queue, "")


async def _queue_policy(ctx: Context, queue: str, text: str) -> Any:
    gone = () if text else _GONE
    return await ctx.unless(gone, "sqs", "SetQueueAttributes", QueueUrl=queue, Attributes={"Policy": text})
