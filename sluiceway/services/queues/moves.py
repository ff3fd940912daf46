"""Move tasks: messages go from a dead-letter queue back to where they came from, or to another queue.

A task is a row of ``queue_moves`` (id), listed by its source in ``queue_moves_by_source`` (queue, started, id) and, as
long as it is at work, in ``queue_moves_active`` (id). Each step moves some messages and writes how far it came, in one
transaction: after a crash it goes on there, and no message is moved twice or lost.

    RUNNING     --nothing is left of what was there at its start-->  COMPLETED
    RUNNING     --a queue is gone, or a source is unknown-->         FAILED
    RUNNING     --CancelMessageMoveTask-->                           CANCELLING  --next step-->  CANCELLED
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from sluiceway.core.clock import new_id
from sluiceway.core.identity import Arn
from sluiceway.core.store import Tx, View
from sluiceway.errors import Conflict, Invalid, NotFound
from sluiceway.services.queues.service import Queues, fresh_row
from sluiceway.services.queues.shelf import Shelf, counters
from sluiceway.services.queues.states import AVAILABLE, DELAYED, Event
from sluiceway.services.queues.values import Queue

MOVES: Final = "queue_moves"
BY_SOURCE: Final = "queue_moves_by_source"
ACTIVE: Final = "queue_moves_active"
MOVE_WORK: Final = "queue_move_work"  # woken when a task begins
_KEPT: Final = 10  # tasks that are listed of a queue
_RATE_MAX: Final = 500  # messages per second; SQS API reference, StartMessageMoveTask

Task = dict[str, Any]


class Moves:
    """The tasks over ``queues``."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._limits = queues.limits

    def start(self, tx: Tx, source_arn: str, destination_arn: str | None, rate: int | None) -> str:
        """Begin a task; its handle.

        Raises ``Invalid("move")``, ``NotFound("resource")``, ``Conflict("move")``.
        """
        if rate is not None and not 1 <= rate <= _RATE_MAX:
            raise Invalid("move", f"Value {rate} for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: Must be "
                          f"between 1 and {_RATE_MAX}.")  # fmt: skip
        source = self._queue(tx, source_arn, "SourceArn")
        if not self._queues.sources(tx, source.name):
            raise Invalid("move", "Source queue must be configured as a Dead Letter Queue.")
        destination = self._queue(tx, destination_arn, "DestinationArn") if destination_arn is not None else None
        if destination is not None and destination.id == source.id:
            raise Invalid("move", "Source queue arn and destination queue arn cannot be same.")
        if destination is not None and destination.fifo != source.fifo:
            raise Invalid("move", "Source and destination queue must be of the same type.")
        for _, known in self._of(tx, source):
            if known["status"] in ("RUNNING", "CANCELLING"):
                raise Conflict("move", "There is already a task running. Only one active task is allowed for a source "
                               "queue arn at a given time.")  # fmt: skip
        shelf = self._queues.shelf(tx, source)
        shelf.give_back(self._limits.due_max)  # what somebody looked at and let go is there again
        shelf.close()
        counts = counters(tx, source)
        task: Task = {
            "id": new_id(),
            "source": source.name,
            "queue": source.id,
            "destination": destination.name if destination is not None else None,
            "rate": rate,
            "before": counts[3],  # messages that come later are not the task's
            "after": None,
            "to_move": counts[AVAILABLE],
            "moved": 0,
            "status": "RUNNING",
            "started_ms": tx.now_ms,
        }
        tx.put(MOVES, (task["id"],), task)
        tx.put(BY_SOURCE, (source.id, tx.now_ms, task["id"]), 1)
        tx.put(ACTIVE, (task["id"],), 1)
        self._forget(tx, source)
        tx.on_commit(MOVE_WORK)
        return self.handle(task)

    def cancel(self, tx: Tx, handle: str) -> int:
        """Stop a task; how many messages it has moved. Raises ``NotFound("resource")``, ``Invalid("move")``.

        The source that the handle names is what the caller's right was asked for, so it must be the task's.
        """
        try:
            given = json.loads(base64.b64decode(handle.encode("ascii"), validate=True))
            task: Task | None = tx.get(MOVES, (str(given["taskId"]),))
            source = given["sourceArn"]
        except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
            raise Invalid("move", "Value for parameter TaskHandle is invalid.") from None
        if task is None or task["status"] != "RUNNING" or source != self._queues.arn(task["source"]):
            raise NotFound("resource", "Task does not exist.")
        tx.put(MOVES, (task["id"],), {**task, "status": "CANCELLING"})
        tx.on_commit(MOVE_WORK)
        return int(task["moved"])

    def newest(self, view: View, source_arn: str, count: int) -> list[Task]:
        """A queue's newest tasks. Raises ``NotFound("resource")``, ``Invalid("move")``."""
        if not 1 <= count <= _KEPT:
            raise Invalid("move", f"Value {count} for parameter MaxResults is invalid. Reason: Must be between 1 and "
                          f"{_KEPT}.")  # fmt: skip
        source = self._queue(view, source_arn, "SourceArn")
        return [task for _, task in self._of(view, source)][-count:][::-1]

    def handle(self, task: Task) -> str:
        """What the owner names the task by."""
        given = {"taskId": task["id"], "sourceArn": self._queues.arn(task["source"])}
        return base64.b64encode(json.dumps(given).encode()).decode("ascii")

    def active(self, view: View) -> list[tuple[str, int]]:
        """The tasks at work, and how many messages each may move in a second."""
        found: list[Any] = [view.get(MOVES, (key[0],)) for key, _ in view.scan(ACTIVE)]
        return [(task["id"], task["rate"] or self._limits.move_per_s) for task in found]

    # -- work

    def step(self, tx: Tx, task_id: str, count: int) -> None:
        """Move up to ``count`` messages of a task."""
        task: Task | None = tx.get(MOVES, (task_id,))
        if task is None or task["status"] not in ("RUNNING", "CANCELLING"):
            tx.delete(ACTIVE, (task_id,))
            return
        if task["status"] == "CANCELLING":
            task["status"] = "CANCELLED"
        else:
            self._advance(tx, task, count)
        if task["status"] != "RUNNING":
            tx.delete(ACTIVE, (task_id,))
        tx.put(MOVES, (task_id,), task)

    def _advance(self, tx: Tx, task: Task, count: int) -> None:
        try:
            source = self._queues.get(tx, task["source"])
        except NotFound:
            source = None
        if source is None or source.id != task["queue"]:
            _fail(task, "AWS.SimpleQueueService.NonExistentQueue")
            return
        places = _Places(self._queues, tx)
        shelf = places.open(source)
        after = tuple(task["after"]) if task["after"] is not None else None
        if after is not None and after[0] != source.shelf:  # purged meanwhile
            after = None
        given_back = shelf.give_back(self._limits.due_max)
        found = shelf.available_after(after, count)
        for one in found:
            if shelf.is_expired(one[1]):
                shelf.drop(Event.EXPIRED, one)
            elif one[0][3] < task["before"]:
                target = self._target(tx, task, one[1])
                if target is None:
                    break
                self._move(tx, shelf, places.open(target), one)
                task["moved"] += 1
            task["after"] = list(one[0])
        places.close()
        if task["status"] == "RUNNING" and len(found) < count:
            if given_back < self._limits.due_max:
                task["status"] = "COMPLETED"
            else:  # more may be due, and come to stand before what was looked at
                task["after"] = None

    def _target(self, tx: Tx, task: Task, row: dict[str, Any]) -> Queue | None:
        """Where a message goes; None if that can't be found out, and the task fails."""
        name = task["destination"]
        if name is None and "source" in row:
            name = Arn.parse(row["source"]).resource
        if name is None:
            _fail(task, "CouldNotDetermineMessageSource")
            return None
        try:
            return self._queues.get(tx, name)
        except NotFound:
            _fail(task, "AWS.SimpleQueueService.NonExistentQueue")
            return None

    def _move(self, tx: Tx, shelf: Shelf, target: Shelf, found: Any) -> None:
        """What is moved is a new message: id, time and retention begin anew (SQS Developer Guide, "Dead-letter queue
        redrive")."""
        row = fresh_row(shelf.whole(found), None) | {"id": new_id(), "sent_ms": tx.now_ms}
        shelf.drop(Event.MOVED, found)
        delay_ms = 0 if target.queue.fifo else target.queue.number("DelaySeconds", 0) * 1000
        target.add(row, tx.now_ms + delay_ms, DELAYED if delay_ms else AVAILABLE)

    # -- inside

    def _queue(self, view: View, text: str | None, parameter: str) -> Queue:
        try:
            arn = Arn.parse(text or "")
        except ValueError:
            arn = None
        if arn is None or arn.service != "sqs":
            raise Invalid("move", f"Value {(text or '')[:200]} for parameter {parameter} is invalid. Reason: You must use "
                          "this format to specify the ARN: arn:<partition>:<service>:<region>:<account-id>:"
                          "<resource-id>.")  # fmt: skip
        queue = self._queues.find(view, arn.resource) if str(arn) == self._queues.arn(arn.resource) else None
        if queue is not None:
            return queue
        raise NotFound("resource", f"The resource that you specified for the {parameter} parameter doesn't exist.")

    def _of(self, view: View, source: Queue) -> list[tuple[Any, Task]]:
        """A queue's tasks, the oldest first, with their keys in the list."""
        found: list[tuple[Any, Any]] = []
        for key, _ in view.scan(BY_SOURCE, prefix=(source.id,)):
            found.append((key, view.get(MOVES, (key[2],))))
        return found

    def _forget(self, tx: Tx, source: Queue) -> None:
        for key, task in self._of(tx, source)[:-_KEPT]:
            tx.delete(BY_SOURCE, key)
            tx.delete(MOVES, (task["id"],))


class _Places:
    """The shelves that a step touches, each opened once."""

    def __init__(self, queues: Queues, tx: Tx) -> None:
        self._queues = queues
        self._tx = tx
        self._open: dict[int, Shelf] = {}

    def open(self, queue: Queue) -> Shelf:
        if queue.id not in self._open:
            self._open[queue.id] = self._queues.shelf(self._tx, queue)
        return self._open[queue.id]

    def close(self) -> None:
        for shelf in self._open.values():
            shelf.close()
            self._tx.on_commit(f"queue/{shelf.queue.name}")


def _fail(task: Task, why: str) -> None:
    task["status"] = "FAILED"
    task["failure"] = why
