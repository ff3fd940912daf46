"""A data folder of release 0.1: its queues and messages are there as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sluiceway.config import QueueSettings, StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.identity import Scope
from sluiceway.core.store import Tx
from sluiceway.core.wakeups import Wakeups
from sluiceway.engines.sqlite.store import open_store
from sluiceway.services.queues import Queues
from sluiceway.services.queues.upgrade import upgrade

LIMITS = QueueSettings(sweep_max=7)


def old_queue(tx: Tx, name: str, count: int, **attributes: str) -> None:
    row = {"name": name, "created_ms": 1, "modified_ms": 2, "attributes": attributes, "tags": {"a": "b"}}
    tx.put("queues", (name,), row)
    for number in range(count):
        system = {"SenderId": "me"}
        if name.endswith(".fifo"):
            system |= {"MessageGroupId": "g", "MessageDeduplicationId": str(number), "SequenceNumber": "1"}
        message: dict[str, Any] = {
            "id": f"id-{number}",
            "body": str(number),
            "sent_ms": tx.now_ms - 10,
            "system": system,
        }
        tx.put("queue_messages", (name, number), message)
        at = tx.now_ms - 10 if number % 5 or name.endswith(".fifo") else tx.now_ms + 60_000
        tx.put("queue_schedule", (name, at, number), [int(at > tx.now_ms), tx.now_ms - 5 if at > tx.now_ms else 0])
    if count:
        tx.put("queue_taken", (name, 0), [tx.now_ms + 60_000, "nonce"])
        tx.put("queue_counters", (name,), {"messages": count, "next": count})


async def test_queues_of_the_first_release(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "store.db", StoreSettings(), SystemClock(), Wakeups())
    queues = Queues(Scope("000000000000", "us-east-1"), LIMITS)
    for name, count, more in (("a", 30, {}), ("b.fifo", 20, {"FifoQueue": "true"}), ("empty", 0, {})):
        await store.commit(old_queue, name, count, **more)
    rounds = 0
    while await store.commit(upgrade, LIMITS):
        rounds += 1
    assert 5 < rounds < 20
    assert await store.view(queues.counts, "a") == (24, 0, 6)
    assert await store.view(queues.counts, "b.fifo") == (20, 0, 0)
    assert (await store.view(queues.get, "empty")).tags == {"a": "b"}
    bodies: list[str] = []
    while got := await store.commit(queues.receive, "b.fifo", 10):
        bodies += [one.body for one in got]
        for one in got:
            assert one.system["MessageGroupId"] == "g" and one.system["SenderId"] == "me"
            await store.commit(queues.delete, "b.fifo", one.receipt_handle)
    assert bodies == [str(at) for at in range(20)]
    got = await store.commit(queues.receive, "a", 10)
    assert got[0].message_id == "id-1" and got[0].system["ApproximateReceiveCount"] == "1"
    for table in ("queue_schedule", "queue_taken", "queue_deduplication"):
        assert await store.view(lambda view, table=table: list(view.scan(table))) == []
    assert not await store.commit(upgrade, LIMITS)
    await store.close()
