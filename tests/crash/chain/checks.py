"""Whether a server holds everything that it acknowledged, once and in order, and everybody was told."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise, zip_longest
from typing import Any
from urllib.parse import unquote_plus

from shared.findings import Findings
from shared.look import Kept, Look
from shared.producers import number_of

from chain.load import Load


class Checks:
    """``run`` looks at a running server that has nothing left to do; ``reactions`` judges it once it stopped."""

    def __init__(self, look: Look, load: Load, findings: Findings) -> None:
        self._look = look
        self._kinds = load.kinds
        self._findings = findings
        self._uploads: list[str] = []
        self._topic: list[dict[str, Any]] = []
        self._records: list[tuple[str, str, str]] = []
        self._changes: list[str] = []
        self._published: list[str] = []
        self._marks: set[str] = set()
        self._searched: dict[str, int] = {}

    def run(self) -> None:
        self._objects()
        self._messages()
        self._letters()
        self._rows()
        self._data_records()
        self._marks = set(self._look.rows(self._look.outputs["MarksTable"]))
        self._searched = self._look.searched()
        self._findings.none("reactions that recorded an event twice", [
            row for row in self._look.status() if row["delivered"] > self._look.lengths.get(row["log"], row["delivered"])
        ])  # fmt: skip

    def _objects(self) -> None:
        """Each upload is there, byte for byte, and in its bucket's history."""
        findings, sent, bucket = self._findings, self._kinds["object"], self._look.outputs["Bucket"]
        history = self._look.log(f"bucket/{bucket}", findings)
        self._uploads = [unquote_plus(event["s3"]["object"]["key"]) for event in history]
        names = [key.removeprefix("in/") for key in self._uploads]
        findings.counted("events of objects", sent, Counter(names))
        findings.in_order("events of objects", names)
        places = [int(event["s3"]["object"]["sequencer"], 16) for event in history]
        findings.none("events with another place than their sequencer", [a for n, a in enumerate(places) if a != n])
        listed = set(self._look.keys(bucket))
        findings.none("objects without an event, or events without an object", listed ^ set(self._uploads))
        wanted = {f"in/{name}": digest for name, digest in sent.acknowledged.items()}
        found = self._look.digests(bucket, wanted.keys() & listed)
        findings.none("objects lost or changed", [key for key, digest in wanted.items() if found.get(key) != digest])

    def _messages(self) -> None:
        """The topic has every upload and every publication once, and its queue a copy of each."""
        findings, sent = self._findings, self._kinds["message"]
        topic = self._look.log(f"topic/{self._look.outputs['TopicArn'].rpartition(':')[2]}", findings)
        self._topic = [entry for entry in topic if "s3:TestEvent" not in entry["message"]]
        messages = [json.loads(entry["message"]) for entry in self._topic]
        uploads = [message["Records"][0]["s3"]["object"] for message in messages if "Records" in message]
        told = [unquote_plus(one["key"]) for one in uploads]
        findings.none("uploads that the topic has not once and in order", _differences(self._uploads, told))
        names = [message["id"] for message in messages if "id" in message]
        self._published = names
        findings.counted("messages", sent, Counter(names))
        findings.in_order("messages", names)
        by_id = {entry["id"]: message for entry, message in zip(self._topic, messages, strict=True)}
        findings.none("messages under another id than was answered", [
            name for name, message_id in sent.acknowledged.items() if by_id.get(message_id) != {"id": name}
        ])  # fmt: skip
        copies = Counter(body for body in self._look.drain(self._look.outputs["CopiesUrl"]) if "TestEvent" not in body)
        wanted = Counter(entry["message"] for entry in self._topic)
        findings.none("copies lost", (wanted - copies).elements())
        findings.none("copies doubled", (copies - wanted).elements())

    def _letters(self) -> None:
        bodies = self._look.drain(self._look.outputs["InboxUrl"])
        self._findings.counted(
            "messages of the queue", self._kinds["letter"], Counter(json.loads(b)["id"] for b in bodies)
        )

    def _rows(self) -> None:
        """Each row is there, and in the table's change stream as one new row."""
        findings, sent, table = self._findings, self._kinds["row"], self._look.outputs["RowsTable"]
        rows = self._look.rows(table)
        findings.none("rows lost", [name for name in sent.acknowledged if name not in rows])
        changes = self._look.log(f"table/{table}", findings)
        inserted = [change for change in changes if _event(change) == "INSERT"]
        self._changes = [_row(change) for change in inserted]
        findings.none(
            "rows without one event, or events without a row", _differences(sorted(rows), sorted(self._changes))
        )
        findings.none("events of rows that are not new", [c for c in changes if _event(c) != "INSERT"])
        findings.in_order("events of rows", self._changes)

    def _data_records(self) -> None:
        """Each record is at the place that was answered."""
        findings, sent, stream = self._findings, self._kinds["record"], self._look.outputs["StreamName"]
        self._records = self._look.records(stream)
        findings.counted("records", sent, Counter(name for _, _, name in self._records))
        findings.in_order("records", [name for _, _, name in self._records])
        there = set(self._records)
        findings.none("records at another place than was answered", [
            (*place, name) for name, place in sent.acknowledged.items() if (*place, name) not in there
        ])  # fmt: skip
        for shard in {shard for shard, _, _ in self._records}:
            self._look.log(f"stream/{stream}/{shard}", findings)
            places = [int(place) for where, place, _ in self._records if where == shard]
            findings.none(f"places in {shard} that go back", [b for a, b in pairwise(places) if b <= a])

    def reactions(self, kept: Kept, hooked: dict[str, int]) -> None:
        """Everybody was told of everything at least once, but of what is kept with its reason."""
        findings = self._findings
        findings.none("events parked or given up without a reason", [one for one in kept.excuses if not one.reason])
        findings.none("events that their target refused", kept.refused)
        findings.none("messages that the webhook never got", [
            entry["id"] for entry in self._topic
            if entry["id"] not in hooked and not kept.excused(entry["id"], "http", "https")
        ])  # fmt: skip
        wanted = [f"object:{key}" for key in self._uploads]
        wanted += [f"message:{name}" for name in self._published]
        self._marked("events that the topic's function never saw", wanted, kept, "function", "function-invoke")
        wanted = [f"record:{name}:{place}" for _, place, name in self._records]
        self._marked("records that their function never saw", wanted, kept, "event-source")
        wanted = [f"job:{name}" for name in self._kinds["job"].acknowledged]
        self._marked("jobs that their function never saw", wanted, kept)
        findings.none("rows that are not searchable", [
            name for name in self._changes
            if self._searched.get(name) != number_of(name) and not kept.excused(name, "event-source")
        ])  # fmt: skip
        findings.none("searchable rows that are not there", self._searched.keys() - set(self._changes))

    def _marked(self, what: str, wanted: list[str], kept: Kept, *targets: str) -> None:
        missing = [mark for mark in wanted if mark not in self._marks]
        self._findings.none(what, [mark for mark in missing if not kept.excused(mark.split(":")[1], *targets)])


def _differences(wanted: list[str], found: list[str]) -> list[tuple[str | None, str | None]]:
    return [(a, b) for a, b in zip_longest(wanted, found) if a != b]


def _event(change: dict[str, Any]) -> str:
    return str(change["eventName"])


def _row(change: dict[str, Any]) -> str:
    return str(change["dynamodb"]["Keys"]["id"]["S"])
