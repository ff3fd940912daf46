"""Amazon SNS's operations: translate, commit, translate."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from sluiceway.core.identity import ANONYMOUS
from sluiceway.core.store import Store, Tx, View
from sluiceway.edges.aws.operations import Call, ErrorTable, Operation, Output, ServiceEdge
from sluiceway.edges.aws.sns_texting import TextOperations
from sluiceway.edges.aws.sns_tokens import from_token, need, to_token
from sluiceway.errors import (
    AccessDenied,
    AlreadyExists,
    Conflict,
    DomainError,
    Invalid,
    NotFound,
    NotImplementedYet,
    Throttled,
    TooLarge,
)
from sluiceway.services.access import authorize
from sluiceway.services.topics import Publication, Published, Subscription, Topic, Topics, policies
from sluiceway.services.topics.subscribing import shown_endpoint
from sluiceway.services.topics.texting import Texting
from sluiceway.services.topics.values import subscription_key, topic_name

ERRORS: Final[ErrorTable] = {
    (AccessDenied, "*"): "AuthorizationErrorException",
    (AlreadyExists, "*"): "InvalidParameterException",
    (Conflict, "sandbox"): "UserErrorException",
    (Invalid, "*"): "InvalidParameterException",
    (Invalid, "batch_empty"): "EmptyBatchRequestException",
    (Invalid, "batch_id"): "InvalidBatchEntryIdException",
    (Invalid, "batch_ids"): "BatchEntryIdsNotDistinctException",
    (Invalid, "message_attribute"): "InvalidParameterValueException",
    (Invalid, "tag_count"): "TagLimitExceededException",
    (Invalid, "unsubscribe"): "AuthorizationErrorException",
    (NotFound, "resource"): "ResourceNotFoundException",
    (NotFound, "sandbox_number"): "ResourceNotFoundException",
    (NotFound, "subscription"): "NotFoundException",
    (NotFound, "topic"): "NotFoundException",
    (Throttled, "*"): "ThrottledException",
    (Throttled, "subscriptions"): "SubscriptionLimitExceededException",
    (Throttled, "topics"): "TopicLimitExceededException",
    (TooLarge, "*"): "InvalidParameterException",
    (TooLarge, "batch"): "BatchRequestTooLongException",
    (TooLarge, "batch_count"): "TooManyEntriesInBatchRequestException",
}
_BATCH_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ACCOUNT = re.compile(r"[0-9]{12}")
#: What AddPermission may grant (SNS API reference, "Topic policy actions").
_GRANTED: Final = frozenset(
    {
        "AddPermission",
        "DeleteTopic",
        "GetTopicAttributes",
        "ListSubscriptionsByTopic",
        "ListTagsForResource",
        "Publish",
        "RemovePermission",
        "SetTopicAttributes",
        "Subscribe",
    }
)
_PAGE: Final = 100  # SNS lists 100 topics or subscriptions at a time


def sns_edge(store: Store, topics: Topics, texting: Texting) -> ServiceEdge:
    """SNS over ``topics``."""
    operations = {**_Sns(store, topics).operations(), **TextOperations(store, texting).operations()}
    return ServiceEdge("sns", "sns", operations, ERRORS, unsigned=True)


class _Sns:
    """The handlers."""

    def __init__(self, store: Store, topics: Topics) -> None:
        self._store = store
        self._topics = topics
        self._prefix = str(topics.arn(""))

    def operations(self) -> Mapping[str, Operation]:
        """Every operation that is here."""
        on_topic: Mapping[str, Callable[[Call], Awaitable[Output]]] = {
            "AddPermission": self.add_permission,
            "DeleteTopic": self.delete_topic,
            "GetTopicAttributes": self.get_topic_attributes,
            "ListSubscriptionsByTopic": self.list_subscriptions,
            "ListTagsForResource": self.list_tags,
            "Publish": self.publish,
            "PublishBatch": self.publish_batch,
            "RemovePermission": self.remove_permission,
            "SetTopicAttributes": self.set_topic_attributes,
            "Subscribe": self.subscribe,
            "TagResource": self.tag,
            "UntagResource": self.untag,
        }
        anywhere: Mapping[str, Callable[[Call], Awaitable[Output]]] = {
            "GetSubscriptionAttributes": self.get_subscription_attributes,
            "ListSubscriptions": self.list_subscriptions,
            "ListTopics": self.list_topics,
            "SetSubscriptionAttributes": self.set_subscription_attributes,
        }
        actions = {"PublishBatch": "sns:Publish"}  # there is no action of that name (SNS, "Actions")
        return {
            **{
                name: Operation(handler, _topic_arn, self._policy, actions.get(name))
                for name, handler in on_topic.items()
            },
            **{name: Operation(handler, lambda _: "*") for name, handler in anywhere.items()},
            "CreateTopic": Operation(
                self.create_topic, lambda call: self._topics.arn(str(call.params.get("Name", "")))
            ),
            "ConfirmSubscription": Operation(self.confirm, _topic_arn, public=True),
            "Unsubscribe": Operation(self.unsubscribe, lambda _: "*", public=True),
        }

    async def _policy(self, call: Call) -> dict[str, Any] | None:
        if "Protocol" in call.params:  # condition keys of Subscribe
            call.conditions["sns:Protocol"] = [call.params["Protocol"]]
            call.conditions["sns:Endpoint"] = [call.params.get("Endpoint", "")]
        try:
            return await self._store.view(self._topics.policy, self._name(_topic_arn(call)))
        except (Invalid, NotFound):
            return None  # the handler says so to a caller who may know

    def _name(self, arn: str, parameter: str = "TopicArn") -> str:
        """Raises ``Invalid("arn")``, and ``NotFound("topic")`` for a topic that is not this server's."""
        plain = arn[len(self._prefix) :]
        if plain and ":" not in plain and arn.startswith(self._prefix):  # as nearly always: nothing is left to parse
            return plain
        topic_name(arn, parameter)
        raise NotFound("topic", "Topic does not exist")  # of another partition, too: policies name it by one ARN only

    # -- topics

    async def create_topic(self, call: Call) -> Output:
        if call.params.get("DataProtectionPolicy"):
            raise NotImplementedYet("operation", "Data protection policies are not here yet.")
        topic = await self._store.commit(
            self._topics.create, need(call, "Name"), call.params.get("Attributes"), _tags(call)
        )
        return {"TopicArn": self._topics.arn(topic.name)}

    async def delete_topic(self, call: Call) -> Output:
        await self._store.commit(self._topics.delete, self._name(need(call, "TopicArn")))
        return None

    async def list_topics(self, call: Call) -> Output:
        after = from_token(call, 1)
        topics = await self._store.view(self._topics.listed, after[0] if after else "", _PAGE)
        output: dict[str, Any] = {"Topics": [{"TopicArn": self._topics.arn(topic.name)} for topic in topics]}
        if len(topics) == _PAGE:
            output["NextToken"] = to_token(topics[-1].name)
        return output

    async def get_topic_attributes(self, call: Call) -> Output:
        name = self._name(need(call, "TopicArn"))
        return {"Attributes": await self._store.view(self._topic_attributes, name)}

    def _topic_attributes(self, view: View, name: str) -> dict[str, str]:
        topic = self._topics.get(view, name)
        confirmed, pending = self._topics.counts(view, name)
        effective = policies.effective_topic(topic.attributes.get("DeliveryPolicy", ""))
        return {
            "TopicArn": self._topics.arn(name),
            "Owner": self._topics.scope.account,
            "DisplayName": "",
            "Policy": json.dumps(self._topics.shown_policy(view, topic)),
            "SubscriptionsConfirmed": str(confirmed),
            "SubscriptionsPending": str(pending),
            "SubscriptionsDeleted": str(topic.deleted),
            "EffectiveDeliveryPolicy": json.dumps(effective),
            **({"ContentBasedDeduplication": "false"} if topic.fifo else {}),
            **topic.attributes,
        }

    async def set_topic_attributes(self, call: Call) -> Output:
        await self._store.commit(
            self._topics.set_attribute,
            self._name(need(call, "TopicArn")),
            need(call, "AttributeName"),
            call.params.get("AttributeValue") or "",
        )
        return None

    async def add_permission(self, call: Call) -> Output:
        name, label = self._name(need(call, "TopicArn")), need(call, "Label")
        accounts = [str(account) for account in call.params.get("AWSAccountId") or ()]
        actions = [str(action) for action in call.params.get("ActionName") or ()]
        if not accounts or not actions:
            raise Invalid("permission", "Invalid parameter: AWSAccountId and ActionName must not be empty")
        if not _BATCH_ID.fullmatch(label):
            raise Invalid("permission", "Invalid parameter: Label Reason: 1 to 80 letters, digits, - and _")
        if not all(_ACCOUNT.fullmatch(account) for account in accounts):
            raise Invalid("permission", "Invalid parameter: Policy Error: PrincipalNotFound")
        if not _GRANTED.issuperset(actions):
            raise Invalid("permission", "Invalid parameter: Policy statement action out of service scope!")
        statement = {
            "Sid": label,
            "Effect": "Allow",
            "Principal": {"AWS": [f"arn:aws:iam::{account}:root" for account in accounts]},
            "Action": [f"SNS:{action}" for action in actions],
            "Resource": self._topics.arn(name),
        }
        await self._store.commit(self._change_policy, name, label, statement)
        return None

    async def remove_permission(self, call: Call) -> Output:
        name = self._name(need(call, "TopicArn"))
        await self._store.commit(self._change_policy, name, need(call, "Label"), None)
        return None

    def _change_policy(self, tx: Tx, name: str, label: str, statement: dict[str, Any] | None) -> None:
        """Add the statement, or remove the one called ``label``."""
        policy = dict(self._topics.kept_policy(self._topics.get(tx, name)))
        given = policy.get("Statement", [])
        statements = list(given) if isinstance(given, list) else [given]
        there = [one for one in statements if one.get("Sid") == label]
        if statement is None and not there:
            raise Invalid("permission", "Invalid parameter: Label Reason: no statement has this label")
        if statement is not None and there:
            raise Invalid("permission", "Invalid parameter: Statement already exists")
        kept = [one for one in statements if one.get("Sid") != label]
        policy["Statement"] = kept + ([statement] if statement is not None else [])
        self._topics.set_policy(tx, name, policy)

    # -- tags

    async def _tagged(self, call: Call) -> Topic:
        try:
            return await self._store.view(self._topics.get, self._name(need(call, "ResourceArn"), "ResourceArn"))
        except NotFound:
            raise NotFound("resource", "Resource does not exist") from None

    async def list_tags(self, call: Call) -> Output:
        topic = await self._tagged(call)
        return {"Tags": [{"Key": key, "Value": value} for key, value in topic.tags.items()]}

    async def tag(self, call: Call) -> Output:
        topic = await self._tagged(call)
        await self._store.commit(self._topics.tag, topic.name, _tags(call))
        return {}

    async def untag(self, call: Call) -> Output:
        topic = await self._tagged(call)
        await self._store.commit(self._topics.untag, topic.name, set(call.params.get("TagKeys") or ()))
        return {}

    # -- publishing

    async def publish(self, call: Call) -> Output:
        params = call.params
        targets = [name for name in ("TopicArn", "TargetArn", "PhoneNumber") if params.get(name)]
        if not targets:
            raise Invalid("target", "Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter")
        if len(targets) > 1:
            raise Invalid(
                "target",
                f"Invalid parameter: {' and '.join(targets)} Reason: only one of TopicArn, TargetArn and PhoneNumber "
                "may be given",
            )
        publication, to = _publication(params), str(params[targets[0]])
        if targets == ["PhoneNumber"]:
            return {"MessageId": await self._store.commit(self._topics.text_message, to, publication)}
        if targets == ["TargetArn"] and ":endpoint/" in to:
            raise NotImplementedYet("target", "Mobile push endpoints are not here yet.")
        return _posted(await self._store.commit(self._topics.post, self._name(to, targets[0]), publication))

    async def publish_batch(self, call: Call) -> Output:
        entries = call.params.get("PublishBatchRequestEntries") or []
        ids = [str(entry.get("Id", "")) for entry in entries]
        if not all(_BATCH_ID.fullmatch(entry_id) for entry_id in ids):
            raise Invalid("batch_id", "The Id of a batch entry in a batch request doesn't abide by the specification.")
        if len(set(ids)) != len(ids):
            raise Invalid("batch_ids", "Two or more batch entries in the request have the same Id.")
        publications = [_entry(entry) for entry in entries]
        name = self._name(need(call, "TopicArn"))
        results = await self._store.commit(self._topics.post_batch, name, publications)
        output: dict[str, Any] = {"Successful": [], "Failed": []}
        for entry_id, result in zip(ids, results, strict=True):
            if isinstance(result, DomainError):
                failed = {"Id": entry_id, "Code": "InvalidParameter", "Message": result.message, "SenderFault": True}
                output["Failed"].append(failed)
            else:
                output["Successful"].append({"Id": entry_id, **_posted(result)})
        return output

    # -- subscriptions

    async def subscribe(self, call: Call) -> Output:
        made = await self._store.commit(
            self._topics.subscribe,
            self._name(need(call, "TopicArn")),
            need(call, "Protocol"),
            need(call, "Endpoint"),
            call.params.get("Attributes"),
            call.principal.arn,
        )
        shown = made.confirmed or call.params.get("ReturnSubscriptionArn")
        return {"SubscriptionArn": self._topics.subscription_arn(made) if shown else "pending confirmation"}

    async def confirm(self, call: Call) -> Output:
        signed = call.principal is not ANONYMOUS
        strict = str(call.params.get("AuthenticateOnUnsubscribe", "")).lower() == "true"
        if strict and not signed:
            raise AccessDenied("access", "AuthenticateOnUnsubscribe needs a signed request.")
        topic, token = self._name(need(call, "TopicArn")), need(call, "Token")
        made = await self._store.commit(self._topics.confirm, token, signed, strict, topic)
        return {"SubscriptionArn": self._topics.subscription_arn(made)}

    async def unsubscribe(self, call: Call) -> Output:
        topic, subscription_id = subscription_key(need(call, "SubscriptionArn"), self._topics.scope)
        signed = call.principal is not ANONYMOUS
        if signed:
            arn = self._topics.arn(topic)
            policy = await self._policy_of(topic)
            authorize(call.principal, "sns:Unsubscribe", arn, call.conditions, policy)
        await self._store.commit(self._topics.unsubscribe, topic, subscription_id, signed)
        return None

    async def _policy_of(self, topic: str) -> dict[str, Any] | None:
        try:
            return await self._store.view(self._topics.policy, topic)
        except NotFound:
            return None

    async def get_subscription_attributes(self, call: Call) -> Output:
        key = subscription_key(need(call, "SubscriptionArn"), self._topics.scope)
        return {"Attributes": await self._store.view(self._subscription_attributes, *key)}

    def _subscription_attributes(self, view: View, topic_name: str, subscription_id: str) -> dict[str, str]:
        subscription = self._topics.subscription(view, topic_name, subscription_id)
        topic = self._topics.get(view, topic_name)
        attributes = {
            "SubscriptionArn": self._topics.subscription_arn(subscription),
            "TopicArn": self._topics.arn(topic_name),
            "Protocol": subscription.protocol,
            "Endpoint": shown_endpoint(subscription.endpoint),
            "Owner": self._topics.scope.account,
            **({"SubscriptionPrincipal": subscription.principal} if subscription.principal else {}),
            "ConfirmationWasAuthenticated": _word(subscription.authenticated),
            "PendingConfirmation": _word(not subscription.confirmed),
            "RawMessageDelivery": "false",
            **({"FilterPolicyScope": "MessageAttributes"} if "FilterPolicy" in subscription.attributes else {}),
            **subscription.attributes,
        }
        if subscription.protocol in ("http", "https"):
            own = subscription.attributes.get("DeliveryPolicy", "")
            effective = policies.effective(topic.attributes.get("DeliveryPolicy", ""), own)
            attributes["EffectiveDeliveryPolicy"] = json.dumps(effective)
        return attributes

    async def set_subscription_attributes(self, call: Call) -> Output:
        topic, subscription_id = subscription_key(need(call, "SubscriptionArn"), self._topics.scope)
        await self._store.commit(
            self._topics.set_subscription_attribute,
            topic,
            subscription_id,
            need(call, "AttributeName"),
            call.params.get("AttributeValue") or "",
        )
        return None

    async def list_subscriptions(self, call: Call) -> Output:
        arn = call.params.get("TopicArn")
        found = await self._store.view(self._page, self._name(arn) if arn else None, from_token(call, 2))
        output: dict[str, Any] = {"Subscriptions": [self._listed(subscription) for subscription in found]}
        if len(found) == _PAGE:
            output["NextToken"] = to_token(found[-1].topic, found[-1].id)
        return output

    def _page(self, view: View, topic: str | None, after: list[str] | None) -> list[Subscription]:
        if topic is not None:
            self._topics.get(view, topic)
        start = (after[0], after[1]) if after else None
        return list(self._topics.subscriptions(view, topic, start, _PAGE))

    def _listed(self, subscription: Subscription) -> dict[str, str]:
        arn = self._topics.subscription_arn(subscription)
        return {
            "SubscriptionArn": arn if subscription.confirmed else "PendingConfirmation",
            "Owner": self._topics.scope.account,
            "Protocol": subscription.protocol,
            "Endpoint": shown_endpoint(subscription.endpoint),
            "TopicArn": self._topics.arn(subscription.topic),
        }


def _topic_arn(call: Call) -> str:
    for name in ("TopicArn", "TargetArn", "ResourceArn"):
        if call.params.get(name):
            return str(call.params[name])
    return "*"


def _tags(call: Call) -> dict[str, str]:
    given = call.params.get("Tags") or ()
    tags = {str(tag.get("Key") or ""): str(tag.get("Value") or "") for tag in given}
    if len(tags) != len(given):
        raise Invalid("tags", "Invalid parameter: Duplicated keys are not allowed.")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise Invalid("tags", "Invalid parameter: Tags Reason: a key has 1 to 128 characters and does not begin "
                          "with aws:, a value has up to 256")  # fmt: skip
    return tags


def _entry(params: Mapping[str, Any]) -> Publication | DomainError:
    try:
        return _publication(params)
    except DomainError as error:
        return error


def _publication(params: Mapping[str, Any]) -> Publication:
    return Publication(
        message=params.get("Message") or "",
        subject=params.get("Subject"),
        attributes={name: _attribute(name, value) for name, value in (params.get("MessageAttributes") or {}).items()},
        structure=params.get("MessageStructure") or "",
        group_id=params.get("MessageGroupId") or "",
        deduplication_id=params.get("MessageDeduplicationId") or "",
    )


def _attribute(name: str, given: Mapping[str, Any]) -> dict[str, str]:
    kind = given.get("DataType") or ""
    if not kind:
        raise Invalid(
            "message_attribute",
            f"The message attribute '{name}' must contain non-empty message attribute type.",
        )
    if kind.startswith("Binary"):
        return {"Type": kind, "Value": base64.b64encode(given.get("BinaryValue") or b"").decode()}
    return {"Type": kind, "Value": given.get("StringValue") or ""}


def _posted(posted: Published) -> dict[str, Any]:
    return {
        "MessageId": posted.message_id,
        **({"SequenceNumber": posted.sequence} if posted.sequence else {}),
    }


def _word(value: bool) -> str:
    return "true" if value else "false"
