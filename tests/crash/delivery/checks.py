"""Whether everybody got everything that was acknowledged."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from shared.findings import Findings
from shared.look import Kept, Look
from shared.producers import Sent, number_of, producer_of

from delivery.load import Load
from delivery.outside import Outside


class Checks:
    """``run`` looks at a server that has nothing left to do; ``kept`` judges what it kept, once it has stopped."""

    def __init__(self, look: Look, load: Load, outside: Outside, findings: Findings, late_from: float) -> None:
        self._look = look
        self._load = load
        self._outside = outside
        self._findings = findings
        self._late_from = late_from
        self._topic: list[str] = []

    def run(self) -> None:
        self._logged()
        self._copies()
        self._late()
        self._orders()
        self._work()

    def _logged(self) -> None:
        """The topic's log has each publication, and each upload, that was acknowledged."""
        log = self._look.log("topic/news", self._findings)
        names = [_name(entry["message"]) for entry in log]
        self._topic = [name for name in names if name != "test event"]
        counted = Counter(self._topic)
        for kind in ("news", "loud", "object"):
            mine = Counter({name: count for name, count in counted.items() if name.startswith(kind)})
            self._findings.counted(f"{kind} in the topic", self._load.kinds[kind], mine)

    def _copies(self) -> None:
        """The queue has exactly what the topic has: no kill loses or doubles a delivery into the store."""
        copies = Counter(_name(body) for body in self._look.drain(self._load.places["copies_url"]))
        del copies["test event"]
        self._findings.none("copies lost", (Counter(self._topic) - copies).elements())
        self._findings.none("copies doubled", (copies - Counter(self._topic)).elements())

    def _late(self) -> None:
        """Who subscribed in the middle gets what was published from then on."""
        copies = {_name(body) for body in self._look.drain(self._load.places["late_url"])}
        wanted = [
            name for kind in ("news", "loud", "object") for name in self._load.kinds[kind].acknowledged
            if self._load.began[name] > self._late_from
        ]  # fmt: skip
        self._findings.none("messages that a later subscription lost", (name for name in wanted if name not in copies))

    def _orders(self) -> None:
        """Once each, and in order within their group."""
        consumer, sent = self._load.consumers["orders"], self._load.kinds["order"]
        firsts = list(dict.fromkeys(name for _, name, _ in consumer.received))
        self._findings.none("orders lost", (name for name in sent.acknowledged if name not in firsts))
        self._findings.in_order("orders", firsts)
        for group in {producer_of(name) for name in firsts}:
            numbers = [number_of(name) for name in firsts if producer_of(name) == group]
            known = {number_of(name) for name in sent.acknowledged if producer_of(name) == group}
            self._findings.none(f"gaps in {group}", known - set(numbers))
        ids: dict[str, set[str]] = {}
        for message_id, name, _ in consumer.received:
            ids.setdefault(name, set()).add(message_id)
        self._findings.none(
            "orders that are in the queue twice", (name for name, found in ids.items() if len(found) > 1)
        )
        self._findings.none("orders received after their deletion was answered", consumer.again)

    def _work(self) -> None:
        consumer, sent = self._load.consumers["work"], self._load.kinds["work"]
        names = {name: message_id for message_id, name, _ in consumer.received}
        self._findings.none("work lost", (name for name in sent.acknowledged if name not in names))
        known = {message_id for message_id, _, _ in consumer.received}
        self._findings.none(
            "work under another id than was answered", set(sent.acknowledged.values()) - known
        )  # fmt: skip
        self._findings.none("work received after its deletion was answered", consumer.again)

    def kept(self, kept: Kept) -> None:
        """Outward: at least once, but for what is kept with its reason; and each time under the same id."""
        loud = [name for name in self._topic if name.startswith("loud")]
        self._outward("http", self._topic, kept, "http")
        self._outward("mail", loud, kept, "email")
        self._outward("sms", loud, kept, "sms")
        self._outward("function", loud, kept, "function", "function-invoke")
        self._findings.none("events parked or given up without a reason", [e for e in kept.excuses if not e.reason])
        self._findings.none("events that their target refused", kept.refused)
        for kind in ("mail", "sms", "function"):
            quiet = set(self._outside.got[kind]) - set(loud)
            self._findings.none(f"{kind} for what the filter keeps out", quiet - {"test event"})

    def _outward(self, kind: str, names: Iterable[str], kept: Kept, *targets: str) -> None:
        got, sent = self._outside.got[kind], Counter(names)
        self._findings.none(f"{kind} never sent", (n for n in sent if n not in got and not kept.excused(n, *targets)))
        if kind != "sms":  # Twilio's API has no id for a message of the caller's
            doubled = (f"{name} as {dict(got[name])}" for name, count in sent.items() if len(got[name]) > count)
            self._findings.none(f"{kind} repeated under another id", doubled)


def _name(text: str) -> str:
    message = json.loads(text)
    if "Records" in message:
        return str(message["Records"][0]["s3"]["object"]["key"])
    return str(message.get("id", "test event"))


def tries(sent: dict[str, Sent]) -> str:
    """For the summary."""
    return ", ".join(f"{len(one.acknowledged)} {kind}" for kind, one in sent.items())
