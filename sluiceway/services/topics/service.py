"""Topics and their subscriptions, as transaction functions.

A publication is one entry of the log ``topic/NAME``; each confirmed subscription is a reaction on that log,
so that one message costs one append however many subscribe. What endpoints are told about their
subscriptions goes through a log and a reaction of its own, as it must survive a crash, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sluiceway.config import TopicSettings
from sluiceway.core.clock import new_id, new_token
from sluiceway.core.identity import Scope
from sluiceway.core.reaction import Letter, Reaction, RetryPolicy, Target
from sluiceway.core.store import Tx, View
from sluiceway.errors import AlreadyExists, DomainError, Invalid, NotFound, Throttled, TooLarge
from sluiceway.services import counts
from sluiceway.services.accounts.named import NamedPrincipals
from sluiceway.services.reactions import Reactions
from sluiceway.services.topics import attributes as rules
from sluiceway.services.topics import clearing, publishing, subscribing
from sluiceway.services.topics.texting import choices_of, clean_phone
from sluiceway.services.topics.values import (
    ENDPOINTS,
    NOTICES,
    SUBSCRIPTIONS,
    TOKENS,
    TOPICS,
    Publication,
    Published,
    Subscription,
    Topic,
    check_name,
    log_of,
    topic_of,
)

_IN_SUBSCRIBE = "Invalid parameter: Attributes Reason: "
_NOTICE_RETRY = RetryPolicy(tries_max=10, delay_min_ms=1000, delay_max_ms=60_000)


class Topics:
    """``scope`` is the account and region of every topic."""

    def __init__(self, scope: Scope, limits: TopicSettings, reactions: Reactions) -> None:
        self.scope = scope
        self.limits = limits
        self._reactions = reactions
        self._named = NamedPrincipals(scope)

    def arn(self, name: str) -> str:
        """The topic's ARN."""
        return self.scope.arn("sns", name)

    def subscription_arn(self, subscription: Subscription) -> str:
        """The subscription's ARN."""
        return f"{self.arn(subscription.topic)}:{subscription.id}"

    # -- topics

    def create(
        self,
        tx: Tx,
        name: str,
        attributes: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Topic:
        """Make a topic; the one that is there already if its attributes and tags are the same.

        Raises ``Invalid("name" | "attribute" | "policy" | "tag_count")``, ``AlreadyExists("topic")``,
        ``Throttled("topics")``.
        """
        given, given_tags = dict(attributes or {}), dict(tags or {})
        check_name(name, given.get("FifoTopic") == "true")
        policy = self._access_policy(tx, given.pop("Policy", ""))
        if given.get("FifoTopic") == "false":
            del given["FifoTopic"]
        for attribute, value in given.items():
            rules.check_topic(attribute, value, given.get("FifoTopic") == "true", self.limits)
        known = self.find(tx, name)
        if known is not None:
            return _same(known, given, given_tags, policy)
        if len(given_tags) > self.limits.tags_max:
            raise Invalid("tag_count", "Could not complete request: tag quota of per resource exceeded")
        if not counts.one_more(tx, TOPICS, self.limits.topics_max):
            raise Throttled("topics", "Topic limit exceeded")
        memory = new_id() if given.get("FifoTopic") == "true" else ""
        topic = Topic(name, tx.now_ms, given, given_tags, policy, memory=memory)
        tx.put(TOPICS, (name,), topic.to_row())
        return topic

    def find(self, view: View, name: str) -> Topic | None:
        """The topic, or None."""
        row = view.get(TOPICS, (name,))
        return None if row is None else topic_of(row)

    def get(self, view: View, name: str) -> Topic:
        """Raises ``NotFound("topic")``."""
        topic = self.find(view, name)
        if topic is None:
            raise NotFound("topic", "Topic does not exist")
        return topic

    def delete(self, tx: Tx, name: str) -> None:
        """Remove the topic, its subscriptions and its messages; nothing happens if it is gone.

        What there may be millions of (messages, deduplication ids, parked events) goes piece by piece afterwards; none
        of it is seen again, even if a topic of the same name is made at once.
        """
        topic = self.find(tx, name)
        if topic is None:
            return
        for subscription in list(self.subscriptions(tx, name)):
            self._erase(tx, subscription, at_once=False)
        clearing.discard(tx, topic)
        self._reactions.clear(tx, log_of(name))
        counts.delete(tx, TOPICS, (name,))

    def listed(self, view: View, after: str = "", limit: int | None = None) -> list[Topic]:
        """Topics by name, after ``after``."""
        start = (after + "\0",) if after else None
        return [topic_of(row) for _, row in view.scan(TOPICS, start=start, limit=limit)]

    def logs(self, view: View) -> list[str]:
        """The logs of all topics, for trimming by age."""
        return [*NOTICES.values(), *(log_of(str(key[0])) for key, _ in view.scan(TOPICS))]

    def policy(self, view: View, name: str) -> dict[str, Any] | None:
        """The access policy that the owner set; without one, who may do what is up to the callers' own policies.
        Raises ``NotFound("topic")``."""
        return self.get(view, name).policy

    def kept_policy(self, topic: Topic) -> dict[str, Any]:
        """The policy as it is kept; the default one grants services of the same account (AWS:SourceOwner)."""
        return topic.policy if topic.policy is not None else self._default_policy(topic.name)

    def shown_policy(self, view: View, topic: Topic) -> dict[str, Any]:
        """The policy as SNS shows it, with the names of users and roles."""
        return self._named.shown(view, self.kept_policy(topic))

    def _access_policy(self, view: View, text: str) -> dict[str, Any] | None:
        policy = rules.parse_access_policy(text, self.limits)
        try:
            return None if policy is None else self._named.kept(view, policy)
        except Invalid:
            raise Invalid("policy", "Invalid parameter: Policy Error: PrincipalNotFound") from None

    def _default_policy(self, name: str) -> dict[str, Any]:
        actions = (
            "GetTopicAttributes SetTopicAttributes AddPermission RemovePermission DeleteTopic Subscribe "
            "ListSubscriptionsByTopic Publish"
        )
        statement = {
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": [f"SNS:{action}" for action in actions.split()],
            "Resource": self.arn(name),
            "Condition": {"StringEquals": {"AWS:SourceOwner": self.scope.account}},
        }
        return {"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]}

    def set_attribute(self, tx: Tx, name: str, attribute: str, value: str) -> None:
        """Raises ``NotFound("topic")``, ``Invalid("attribute" | "policy")``."""
        topic = self.get(tx, name)
        if attribute == "Policy":
            topic = replace(topic, policy=self._access_policy(tx, value))
        elif attribute == "FifoTopic":
            raise Invalid("attribute", "Invalid parameter: AttributeName")
        else:
            rules.check_topic(attribute, value, topic.fifo, self.limits)
            kept = {**topic.attributes, attribute: value}
            topic = replace(topic, attributes={key: text for key, text in kept.items() if text})
            if attribute == "MaximumMessageSize":
                rules.check_large(topic, {one.protocol for one in self.subscriptions(tx, name)}, topic.subscriptions)
        tx.put(TOPICS, (name,), topic.to_row())
        for subscription in list(self.subscriptions(tx, name)):
            if subscription.confirmed:
                self._rearm(tx, topic, subscription)

    def set_policy(self, tx: Tx, name: str, policy: dict[str, Any]) -> None:
        """Replace the access policy. Raises ``NotFound("topic")``."""
        tx.put(TOPICS, (name,), replace(self.get(tx, name), policy=policy).to_row())

    def tag(self, tx: Tx, name: str, tags: Mapping[str, str]) -> None:
        """Add or replace tags. Raises ``NotFound("topic")``, ``Invalid("tag_count")``."""
        topic = self.get(tx, name)
        kept = {**topic.tags, **tags}
        if len(kept) > self.limits.tags_max:
            raise Invalid("tag_count", "Could not complete request: tag quota of per resource exceeded")
        tx.put(TOPICS, (name,), replace(topic, tags=kept).to_row())

    def untag(self, tx: Tx, name: str, keys: set[str]) -> None:
        """Raises ``NotFound("topic")``."""
        topic = self.get(tx, name)
        kept = {key: value for key, value in topic.tags.items() if key not in keys}
        tx.put(TOPICS, (name,), replace(topic, tags=kept).to_row())

    # -- publishing

    def publish(self, tx: Tx, name: str, publication: Publication) -> str:
        """Append a message; its id. Raises ``NotFound("topic")``, ``Invalid``, ``TooLarge("message")``."""
        return self.post(tx, name, publication).message_id

    def send_letter(self, tx: Tx, name: str, letter: Letter) -> None:
        """Publish a dead letter; raises as ``publish``."""
        attributes = {
            key: {"Type": one["DataType"], "Value": one["StringValue"]} for key, one in letter.attributes.items()
        }
        self.publish(tx, name, Publication(letter.body, attributes=attributes))

    def post(self, tx: Tx, name: str, publication: Publication) -> Published:
        """``publish`` with a FIFO topic's sequence number."""
        return publishing.append(tx, self.get(tx, name), publication, self.limits)

    def post_batch(
        self, tx: Tx, name: str, publications: Sequence[Publication | DomainError]
    ) -> Sequence[Published | DomainError]:
        """Append several messages; each is accepted or refused by itself (one that is an error stays one).

        Raises ``NotFound("topic")``, ``Invalid("batch_empty")``, ``TooLarge("batch" | "batch_count")``.
        """
        topic = self.get(tx, name)
        if not publications:
            raise Invalid("batch_empty", "The batch request doesn't contain any entries.")
        if len(publications) > self.limits.batch_max:
            raise TooLarge("batch_count", "The batch request contains more entries than permissible.")
        bytes_max = topic.message_bytes_max or self.limits.message_bytes_max
        if sum(publishing.size_of(one) for one in publications if isinstance(one, Publication)) > bytes_max:
            raise TooLarge("batch", "The length of all the batch messages put together is more than the limit.")
        results: list[Published | DomainError] = []
        for publication in publications:
            if isinstance(publication, DomainError):
                results.append(publication)
                continue
            try:
                results.append(publishing.append(tx, topic, publication, self.limits))
            except DomainError as error:  # raised before anything of it was written
                results.append(error)
        return results

    def text_message(self, tx: Tx, phone: str, publication: Publication) -> str:
        """Send a text message to a phone without a topic; its id. Raises ``Invalid("endpoint")`` and as ``publish``."""
        to = clean_phone(phone)
        texts = publishing.check(publication, self.limits.message_bytes_max, self.limits)
        text = publication.message if texts is None else texts.get("sms", texts["default"])
        if not 0 < len(text) <= self.limits.sms_bytes_max:
            raise Invalid("message", "Invalid parameter: Message Reason: a text message has 1 to 1600 characters")
        choices = choices_of(publication.attributes)
        return self._notify(tx, {"type": "Text", "protocol": "sms", "endpoint": to, "text": text, **choices})

    # -- subscriptions

    def subscribe(
        self,
        tx: Tx,
        name: str,
        protocol: str,
        endpoint: str,
        attributes: Mapping[str, str] | None = None,
        principal: str = "",
    ) -> Subscription:
        """Subscribe an endpoint. HTTP(S) and mail endpoints are asked to confirm, the others are
        confirmed at once; a reaction begins at the end of the topic's log then. The same endpoint again
        gives the subscription that is there (and asks again if it is pending).

        Raises ``NotFound("topic")``, ``Invalid``, ``AlreadyExists("subscription")``.
        """
        topic = self.get(tx, name)
        endpoint = subscribing.check_endpoint(topic, protocol, endpoint, self.scope)
        kept = rules.check_subscription(protocol, attributes or {}, self.limits, _IN_SUBSCRIBE)
        subscribing.check_letters(topic, endpoint, kept, self.scope, _IN_SUBSCRIBE)
        known = self._same_endpoint(tx, name, protocol, endpoint)
        if known is not None and attributes and rules.meaning(known.attributes) != rules.meaning(kept):
            raise AlreadyExists(
                "subscription",
                "Invalid parameter: Attributes Reason: Subscription already exists with different attributes",
            )
        if known is not None and known.confirmed:
            return known
        if known is not None:
            tx.delete(TOKENS, (known.token,))
        else:
            if topic.subscriptions >= self.limits.subscriptions_max:
                raise Throttled("subscriptions", "Subscription limit exceeded")
            tx.put(TOPICS, (name,), replace(topic, subscriptions=topic.subscriptions + 1).to_row())
            rules.check_large(topic, {protocol}, topic.subscriptions + 1)
        pending = protocol in subscribing.CONFIRMED_BY_ENDPOINT
        made = known or Subscription(
            new_id(), name, protocol, endpoint, tx.now_ms, not pending, attributes=kept, principal=principal
        )
        if pending:
            return self._ask(tx, topic, made)
        self._save(tx, made)
        self._reactions.create(tx, subscribing.reaction_of(topic, made, self.scope))
        return made

    def _ask(self, tx: Tx, topic: Topic, subscription: Subscription) -> Subscription:
        until_ms = tx.now_ms + self.limits.token_s * 1000
        subscription = replace(subscription, token=new_token(), token_until_ms=until_ms)
        self._save(tx, subscription)
        tx.put(TOKENS, (subscription.token,), {"topic": topic.name, "id": subscription.id})
        self._notify_endpoint(tx, topic, subscription, "SubscriptionConfirmation", subscription.token)
        return subscription

    def confirm(
        self,
        tx: Tx,
        token: str,
        authenticated: bool = False,
        unsubscribe_signed: bool = False,
        topic_name: str | None = None,
    ) -> Subscription:
        """Confirm by the token that the endpoint was sent (for ``topic_name``, if given); again and again if need be.

        ``unsubscribe_signed`` (by an authenticated caller) lets only signed requests end it. Raises
        ``Invalid("token")``.
        """
        row = tx.get(TOKENS, (token,))
        if row is None or topic_name not in (None, row["topic"]):
            raise Invalid("token", "Invalid token")
        found = tx.get(SUBSCRIPTIONS, (row["topic"], row["id"]))
        again = row.get("again")
        topic = self.find(tx, row["topic"])
        if topic is None or (found is None and again is None):
            raise Invalid("token", "Invalid token")
        subscription = Subscription(**(found or again))
        if topic.created_ms > subscription.created_ms:  # a new topic of a deleted one's name: nobody subscribed to it
            raise Invalid("token", "Invalid token")
        if subscription.confirmed and found is not None:
            return subscription
        if tx.now_ms > (row.get("until_ms") or subscription.token_until_ms):
            raise Invalid("token", "Invalid token: it has expired")
        if found is None:
            self._come_back(tx, topic, subscription)
        subscription = replace(
            subscription,
            confirmed=True,
            token=token,
            authenticated=authenticated,
            unsubscribe_signed=authenticated and unsubscribe_signed,
        )
        tx.put(TOKENS, (token,), {"topic": topic.name, "id": subscription.id})
        self._save(tx, subscription)
        self._reactions.create(tx, subscribing.reaction_of(topic, subscription, self.scope))
        return subscription

    def subscription(self, view: View, topic: str, subscription_id: str) -> Subscription:
        """Raises ``NotFound("subscription")``."""
        row = view.get(SUBSCRIPTIONS, (topic, subscription_id))
        if row is None:
            raise NotFound("subscription", "Subscription does not exist")
        return Subscription(**row)

    def subscriptions(
        self, view: View, topic: str | None = None, after: tuple[str, str] | None = None, limit: int | None = None
    ) -> Iterator[Subscription]:
        """Subscriptions of a topic (or all), by topic and id, after ``after``."""
        start = (after[0], after[1] + "\0") if after else None
        prefix = (topic,) if topic is not None else ()
        for _, row in view.scan(SUBSCRIPTIONS, prefix=prefix, start=start, limit=limit):
            yield Subscription(**row)

    def set_subscription_attribute(self, tx: Tx, topic: str, subscription_id: str, name: str, value: str) -> None:
        """Raises ``NotFound("subscription")``, ``Invalid("attribute" | "filter")``."""
        subscription = self.subscription(tx, topic, subscription_id)
        merged = {**subscription.attributes, name: value}
        kept = rules.check_subscription(subscription.protocol, merged, self.limits, "Invalid parameter: ")
        owner = self.get(tx, topic)
        subscribing.check_letters(owner, subscription.endpoint, kept, self.scope, "Invalid parameter: ")
        subscription = replace(subscription, attributes=kept)
        self._save(tx, subscription)
        if subscription.confirmed:
            self._rearm(tx, owner, subscription)

    def unsubscribe(self, tx: Tx, topic: str, subscription_id: str, signed: bool = True) -> None:
        """End a subscription; nothing happens if it is gone. An unsigned request tells the endpoint, with
        a token that restores it. Raises ``Invalid("unsubscribe")`` if only signed requests may end it."""
        row = tx.get(SUBSCRIPTIONS, (topic, subscription_id))
        if row is None:
            return
        subscription = Subscription(**row)
        if not signed and subscription.unsubscribe_signed:
            raise Invalid("unsubscribe", "This subscription can be ended by a signed request only.")
        self._drop(tx, subscription)
        known = self.get(tx, topic)
        if subscription.confirmed:
            tx.put(TOPICS, (topic,), replace(known, deleted=known.deleted + 1).to_row())
        if not signed and subscription.protocol in ("http", "https"):
            token = new_token()
            until_ms = tx.now_ms + self.limits.token_s * 1000
            again = {"topic": topic, "id": subscription_id, "again": row, "until_ms": until_ms}
            tx.put(TOKENS, (token,), again)
            self._notify_endpoint(tx, known, subscription, "UnsubscribeConfirmation", token)

    def overdue(self, view: View, after: str, limit: int) -> tuple[list[str], str | None]:
        """Of the next ``limit`` tokens after ``after`` those whose time is over, and where to go on (None: at the end)."""
        rows = list(view.scan(TOKENS, start=(after + "\0",), limit=limit))
        over = [str(key[0]) for key, row in rows if self._is_over(view, str(key[0]), row)]
        return over, str(rows[-1][0][0]) if len(rows) == limit else None

    def expire(self, tx: Tx, tokens: Sequence[str]) -> None:
        """Remove tokens whose time is over, and the subscriptions that nobody confirmed by them (Developer Guide,
        "Deleting an Amazon SNS topic and subscription": after 48 hours)."""
        for token in tokens:
            row = tx.get(TOKENS, (token,))
            if row is None or not self._is_over(tx, token, row):
                continue
            found = tx.get(SUBSCRIPTIONS, (row["topic"], row["id"]))
            if found is not None and found["token"] == token:
                self._drop(tx, Subscription(**found))
            else:
                tx.delete(TOKENS, (token,))

    def _is_over(self, view: View, token: str, row: dict[str, Any]) -> bool:
        """A token that restores has a time of its own; that of a confirmed subscription is good as long as it is."""
        if "again" in row:
            return bool(row["until_ms"] < view.now_ms)
        found = view.get(SUBSCRIPTIONS, (row["topic"], row["id"]))
        if found is None or found["token"] != token:
            return True
        return not found["confirmed"] and bool(found["token_until_ms"] < view.now_ms)

    def counts(self, view: View, topic: str) -> tuple[int, int]:
        """Confirmed and pending subscriptions."""
        confirmed = [subscription.confirmed for subscription in self.subscriptions(view, topic)]
        return sum(confirmed), len(confirmed) - sum(confirmed)

    # -- inside

    def _come_back(self, tx: Tx, topic: Topic, subscription: Subscription) -> None:
        """A subscription that was ended by its link returns, unless its endpoint has a new one."""
        if self._same_endpoint(tx, topic.name, subscription.protocol, subscription.endpoint) is not None:
            raise Invalid("token", "Invalid token: the endpoint is subscribed again already")
        tx.put(TOPICS, (topic.name,), replace(topic, subscriptions=topic.subscriptions + 1).to_row())

    def _same_endpoint(self, view: View, topic: str, protocol: str, endpoint: str) -> Subscription | None:
        row = view.get(ENDPOINTS, (topic, protocol, endpoint))
        return None if row is None else self.subscription(view, topic, row["id"])

    def _save(self, tx: Tx, subscription: Subscription) -> None:
        tx.put(SUBSCRIPTIONS, (subscription.topic, subscription.id), subscription.to_json())
        endpoint = (subscription.topic, subscription.protocol, subscription.endpoint)
        tx.put(ENDPOINTS, endpoint, {"id": subscription.id})

    def _rearm(self, tx: Tx, topic: Topic, subscription: Subscription) -> None:
        self._reactions.change(tx, subscribing.reaction_of(topic, subscription, self.scope))

    def _drop(self, tx: Tx, subscription: Subscription) -> None:
        self._erase(tx, subscription)
        topic = self.get(tx, subscription.topic)
        tx.put(TOPICS, (topic.name,), replace(topic, subscriptions=topic.subscriptions - 1).to_row())

    def _erase(self, tx: Tx, subscription: Subscription, at_once: bool = True) -> None:
        tx.delete(SUBSCRIPTIONS, (subscription.topic, subscription.id))
        tx.delete(ENDPOINTS, (subscription.topic, subscription.protocol, subscription.endpoint))
        if subscription.token:
            tx.delete(TOKENS, (subscription.token,))
        self._reactions.delete(tx, subscription.reaction_id, at_once)

    def _notify_endpoint(self, tx: Tx, topic: Topic, subscription: Subscription, kind: str, token: str) -> None:
        notice = {
            "type": kind,
            "protocol": subscription.protocol,
            "endpoint": subscription.endpoint,
            "topic_arn": self.arn(topic.name),
            "subscription_arn": self.subscription_arn(subscription),
            "token": token,
            "version": topic.attributes.get("SignatureVersion", "1"),
        }
        self._notify(tx, notice)

    def _notify(self, tx: Tx, notice: dict[str, Any]) -> str:
        log = NOTICES[notice["protocol"]]
        if self._reactions.find(tx, log) is None:
            target = Target("notice", log)
            self._reactions.create(tx, Reaction(log, log, target, retry=_NOTICE_RETRY, concurrency=50))
        notice_id = new_id()
        tx.append(log, {**notice, "id": notice_id, "time_ms": tx.now_ms})
        return notice_id


def _same(known: Topic, attributes: Mapping[str, str], tags: Mapping[str, str], policy: dict[str, Any] | None) -> Topic:
    """Attributes that are given must equal those that the topic has; tags must equal all of them."""
    now = {**rules.TOPIC_DEFAULTS, **known.attributes}
    differ = any(now.get(name) != value for name, value in attributes.items())
    if differ or (policy is not None and policy != known.policy):
        raise AlreadyExists(
            "topic", "Invalid parameter: Attributes Reason: Topic already exists with different attributes"
        )
    if tags and dict(tags) != known.tags:
        raise AlreadyExists("topic", "Invalid parameter: Tags Reason: Topic already exists with different tags")
    return known
