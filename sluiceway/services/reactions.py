"""Reactions and their durable state: cursors, parked events, dead letters.

Tables: ``reactions`` (id) and ``reactions_by_log`` (log, id); ``cursors`` (id); ``parked`` (id, next try,
offset); ``dead_letters`` (id, offset); ``reaction_remains`` (id, or "log NAME") of what is deleted and still being removed.
A change of a reaction wakes "reactions" and "reaction/ID". How many rows a reaction has in ``parked`` and
``dead_letters`` stands in its cursor's row, so that nobody counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from sluiceway.config import ReactionSettings
from sluiceway.core.identity import Arn
from sluiceway.core.reaction import DeadLetter, Letter, Parked, Position, Reaction, ReactionStatus
from sluiceway.core.store import Bounds, Tx, View
from sluiceway.errors import AlreadyExists, DomainError, Invalid, NotFound

REMAINS: Final = "reaction_remains"


class DeadLetterQueues(Protocol):
    """The queue service, as far as dead letters need it."""

    def send(
        self,
        tx: Tx,
        name: str,
        body: str,
        *,
        attributes: dict[str, Any] | None = None,
        group_id: str | None = None,
        deduplication_id: str | None = None,
        content: str | None = None,
    ) -> object:
        """Send a message; raises a ``DomainError`` if the queue is gone or refuses it."""


class DeadLetterTopics(Protocol):
    """The topic service, as far as dead letters need it."""

    def send_letter(self, tx: Tx, name: str, letter: Letter) -> None:
        """Publish it; raises a ``DomainError`` if the topic is gone or refuses it."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of some events of one reaction, to be recorded in one transaction.

    ``next`` and ``done`` are the new cursor (left alone if None, or if ``epoch`` is not the row's).
    ``unpark`` names parked rows that are settled or rescheduled, as (next_try_ms, offset).
    ``wait`` is an ordered reaction's (tries, next_try_ms, batch) at its cursor.
    """

    epoch: int
    next: int | None = None
    done: tuple[int, ...] = ()
    delivered: int = 0
    failed: int = 0
    filtered: int = 0
    park: Sequence[Parked] = ()
    unpark: Sequence[tuple[int, int]] = ()
    dead: Sequence[tuple[DeadLetter, Letter]] = ()
    wait: tuple[int, int, int] = (0, 0, 0)
    error: str = ""


#: Raises a ``DomainError`` if the reaction may not send dead letters to this queue or topic.
LetterGuard = Callable[[View, Reaction, Arn], None]


class Reactions:
    """The rows of reactions. ``queues`` receives dead letters of reactions that name a queue, and ``topics()`` (which
    need reactions themselves) of those that name a topic, as far as all ``guards`` allow; what one refuses is kept
    here."""

    def __init__(
        self,
        limits: ReactionSettings,
        queues: DeadLetterQueues | None = None,
        *guards: LetterGuard,
        topics: Callable[[], DeadLetterTopics] | None = None,
    ) -> None:
        self._limits = limits
        self._queues = queues
        self._guards = guards
        self._topics = topics

    def create(self, tx: Tx, reaction: Reaction, start: int | None = None) -> None:
        """Add ``reaction``; its cursor stands at ``start``, or at the log's end if None.

        Raises ``AlreadyExists("reaction")``.
        """
        if tx.get("reactions", (reaction.id,)) is not None:
            raise AlreadyExists("reaction", f"The reaction {reaction.id} exists already.")
        if tx.get(REMAINS, (reaction.id,)) is not None:  # it was deleted a moment ago, and comes back under its name
            self._remove_rows(tx, reaction.id, None)
            tx.delete(REMAINS, (reaction.id,))
        first = tx.bounds(reaction.log).next if start is None else start
        tx.put("reactions", (reaction.id,), reaction.to_json())
        tx.put("reactions_by_log", (reaction.log, reaction.id), {})
        tx.put("cursors", (reaction.id,), Position(first, tx.now_ms).to_json())
        _changed(tx, reaction.id)

    def update(self, tx: Tx, reaction: Reaction) -> None:
        """Replace everything but the log and the cursor. Raises ``NotFound("reaction")``, and
        ``Invalid("reaction")`` if the log differs."""
        if self.get(tx, reaction.id).log != reaction.log:
            raise Invalid("reaction", "A reaction can't be moved to another log.")
        tx.put("reactions", (reaction.id,), reaction.to_json())
        _changed(tx, reaction.id)

    def change(self, tx: Tx, reaction: Reaction) -> None:
        """``update``, but who paused it must also resume it: a change of a subscription's settings doesn't."""
        self.update(tx, replace(reaction, paused=self.get(tx, reaction.id).paused))

    def delete(self, tx: Tx, reaction_id: str, at_once: bool = True) -> None:
        """Remove the reaction with everything that waits for it; nothing happens if it is gone.

        Of very many rows the rest is removed by ``sweep``: nobody may hold up the writer that long. Without ``at_once``
        all of them are, for who deletes many reactions in one transaction.
        """
        row = tx.get("reactions", (reaction_id,))
        if row is None:
            return
        position = self.position(tx, reaction_id) or Position(0, 0)
        tx.delete("reactions", (reaction_id,))
        tx.delete("reactions_by_log", (row["log"], reaction_id))
        tx.delete("cursors", (reaction_id,))
        if at_once:
            over = self._remove_rows(tx, reaction_id, self._limits.redrive_max)
        else:
            over = not (position.parked or position.kept)
        if not over:
            tx.put(REMAINS, (reaction_id,), {})
        _changed(tx, reaction_id)

    def sweep(self, tx: Tx) -> bool:
        """Remove some rows of deleted reactions. Whether some are left."""
        for key, row in list(tx.scan(REMAINS, limit=1)):
            if "log" in row:
                over = self._trim_some(tx, row["log"], row["before"])
            else:
                over = self._remove_rows(tx, str(key[0]), self._limits.redrive_max)
            if over:
                tx.delete(REMAINS, key)
        return any(True for _ in tx.scan(REMAINS, limit=1))

    def clear(self, tx: Tx, log: str) -> None:
        """Forget every event of a log that nothing reads any more; of very many the rest goes with ``sweep``."""
        before = tx.bounds(log).next
        if not self._trim_some(tx, log, before):
            tx.put(REMAINS, (_remains_of(log),), {"log": log, "before": before})

    def _trim_some(self, tx: Tx, log: str, before: int) -> bool:
        """Whether all below ``before`` is gone."""
        end = min(before, tx.bounds(log).first + self._limits.trim_max)
        tx.trim(log, end)
        return end >= before

    def _remove_rows(self, tx: Tx, reaction_id: str, limit: int | None) -> bool:
        """Whether that was all."""
        for table in ("parked", "dead_letters"):
            rows = list(tx.scan(table, prefix=(reaction_id,), limit=limit))
            for key, _ in rows:
                tx.delete(table, key)
            if limit is not None and len(rows) == limit:
                return False
        return True

    def find(self, view: View, reaction_id: str) -> Reaction | None:
        """The reaction, or None."""
        row = view.get("reactions", (reaction_id,))
        return None if row is None else Reaction.from_json(row)

    def get(self, view: View, reaction_id: str) -> Reaction:
        """The reaction. Raises ``NotFound("reaction")``."""
        reaction = self.find(view, reaction_id)
        if reaction is None:
            raise NotFound("reaction", f"There is no reaction {reaction_id}.")
        return reaction

    def list(self, view: View, log: str | None = None) -> Iterator[Reaction]:
        """All reactions, or those on ``log``, by id."""
        if log is None:
            for _, row in view.scan("reactions"):
                yield Reaction.from_json(row)
            return
        for key, _ in view.scan("reactions_by_log", prefix=(log,)):
            yield self.get(view, str(key[1]))

    def pause(self, tx: Tx, reaction_id: str) -> None:
        """Deliver nothing more until ``resume``; the cursor stays. Raises ``NotFound("reaction")``."""
        self.update(tx, replace(self.get(tx, reaction_id), paused=True))

    def resume(self, tx: Tx, reaction_id: str) -> None:
        """Go on from the cursor. Raises ``NotFound("reaction")``."""
        self.update(tx, replace(self.get(tx, reaction_id), paused=False))

    def position(self, view: View, reaction_id: str) -> Position | None:
        """The cursor, or None if the reaction is gone."""
        row = view.get("cursors", (reaction_id,))
        if row is None:
            return None
        if "kept" not in row:  # written by 0.1, which counted them at each look
            row = {**row, "kept": sum(1 for _ in view.scan("dead_letters", prefix=(reaction_id,)))}
        return Position.from_json(row)

    def status(self, view: View, reaction_id: str) -> ReactionStatus:
        """Lag, waiting and given-up events. Raises ``NotFound("reaction")``."""
        return self._status(view, self.get(view, reaction_id))

    def statuses(self, view: View, after: str, limit: int) -> Sequence[ReactionStatus]:
        """Those of ``limit`` reactions by id, after ``after``: a few look-ups each, whatever they have waiting."""
        rows = view.scan("reactions", start=(after + "\0",), limit=limit)
        return [self._status(view, Reaction.from_json(row)) for _, row in rows]

    def _status(self, view: View, reaction: Reaction) -> ReactionStatus:
        position = self.position(view, reaction.id) or Position(0, 0)
        parked = list(view.scan("parked", prefix=(reaction.id,), limit=1)) if position.parked else []
        bounds = view.bounds(reaction.log)
        begin = max(position.next, bounds.first)
        waiting = [int(row["since_ms"]) for _, row in parked]
        if begin < bounds.next:
            waiting += [entry.time_ms for entry in view.read(reaction.log, begin, 1)]
        return ReactionStatus(
            reaction=reaction,
            position=position,
            lag=max(0, bounds.next - begin - len(position.done)),
            oldest_age_ms=max(0, view.now_ms - min(waiting)) if waiting else 0,
            next_try_ms=int(parked[0][0][1]) if parked else None,
        )

    def lag(self, view: View, log: str) -> int:
        """Events of ``log`` that the slowest of its reactions has not settled."""
        bounds, ids = view.bounds(log), view.scan("reactions_by_log", prefix=(log,))
        nexts = [position.next for key, _ in ids if (position := self.position(view, str(key[1]))) is not None]
        return bounds.next - max(bounds.first, min(nexts, default=bounds.next))

    def settle(self, tx: Tx, reaction: Reaction, report: Report) -> bool:
        """Record what became of delivered events. False if the reaction is gone or its cursor was moved
        by hand meanwhile: the caller must look again before it goes on."""
        position = self.position(tx, reaction.id)
        if position is None:
            return False
        current = position.epoch == report.epoch
        for next_try_ms, offset in report.unpark:
            tx.delete("parked", (reaction.id, next_try_ms, offset))
        for parked in report.park:
            self._park(tx, reaction.id, parked)
        kept = sum([self._bury(tx, reaction, dead, letter) for dead, letter in report.dead])
        position = replace(
            position,
            parked=max(0, position.parked + len(report.park) - len(report.unpark)),
            delivered=position.delivered + report.delivered,
            failed=position.failed + report.failed,
            filtered=position.filtered + report.filtered,
            dead=position.dead + len(report.dead),
            kept=position.kept + kept,
        )
        if report.error:
            position = replace(position, last_error=report.error[:1000], last_error_ms=tx.now_ms)
        if current and report.next is not None:
            tries, next_try_ms, batch = report.wait
            position = replace(
                position,
                next=report.next,
                done=report.done,
                tries=tries,
                next_try_ms=next_try_ms,
                batch=batch,
            )
        tx.put("cursors", (reaction.id,), position.to_json())
        return current

    def _park(self, tx: Tx, reaction_id: str, parked: Parked) -> None:
        row: dict[str, Any] = {
            "tries": parked.tries,
            "since_ms": parked.since_ms,
            "reason": parked.reason[:1000],
        }
        _put_parked(tx, reaction_id, parked.next_try_ms, parked.offset, row)

    def _bury(self, tx: Tx, reaction: Reaction, dead: DeadLetter, letter: Letter) -> int:
        """How many rows more are kept here: none, if the dead-letter queue takes it."""
        reason = dead.reason
        if reaction.dead_letter is not None and self._queues is not None:
            try:
                self._send_letter(tx, self._queues, reaction, dead.offset, letter)
                return 0
            except (DomainError, ValueError) as error:
                reason = f"{reason} (and its dead-letter queue refused it: {error})"
        row = {
            "time_ms": dead.time_ms,
            "value": dead.value,
            "tries": dead.tries,
            "reason": reason[:2000],
            "dead_ms": tx.now_ms,
        }
        key = (reaction.id, dead.offset)
        fresh = tx.get("dead_letters", key) is None  # else it was replayed, and died once more
        tx.put("dead_letters", key, row)
        return int(fresh)

    def _send_letter(self, tx: Tx, queues: DeadLetterQueues, reaction: Reaction, offset: int, letter: Letter) -> None:
        place = Arn.parse(reaction.dead_letter or "")
        for guard in self._guards:
            guard(tx, reaction, place)
        name = place.resource
        if place.service == "sns" and self._topics is not None:
            self._topics().send_letter(tx, name, letter)
            return
        fifo = name.endswith(".fifo")
        queues.send(
            tx,
            name,
            letter.body,
            attributes=letter.attributes,
            group_id=(letter.group or reaction.id) if fifo else None,
            deduplication_id=f"{reaction.id}-{offset}-{tx.now_ms}"[-128:] if fifo else None,
            content=letter.body if letter.content is None else letter.content,
        )

    def due(
        self,
        view: View,
        reaction: Reaction,
        now_ms: int,
        limit: int,
        busy: Set[tuple[int, int]] = frozenset(),
    ) -> tuple[Sequence[Parked], int | None]:
        """Up to ``limit`` parked events whose time has come, and when the first of the others is due.

        ``busy`` are rows to leave out, as (next_try_ms, offset). An event that is no longer in the log
        (nor in the row) has the value None.
        """
        found: list[Parked] = []
        for key, row in view.scan("parked", prefix=(reaction.id,)):
            next_try_ms, offset = int(key[1]), int(key[2])
            if (next_try_ms, offset) in busy:
                continue
            if next_try_ms > now_ms or len(found) == limit:
                return found, next_try_ms
            found.append(self._parked(view, reaction.log, next_try_ms, offset, row))
        return found, None

    def _parked(self, view: View, log: str, next_try_ms: int, offset: int, row: dict[str, Any]) -> Parked:
        time_ms, value = int(row.get("time_ms", 0)), row.get("value")
        if value is None:
            found = view.read(log, offset, 1)
            if found and found[0].offset == offset:
                time_ms, value = found[0].time_ms, found[0].value
        since_ms, reason = int(row["since_ms"]), str(row.get("reason", ""))
        return Parked(offset, next_try_ms, int(row["tries"]), since_ms, time_ms, value, reason)

    def parked(self, view: View, reaction: Reaction, limit: int) -> Sequence[Parked]:
        """The ``limit`` parked events that are tried next."""
        rows = view.scan("parked", prefix=(reaction.id,), limit=limit)
        return [self._parked(view, reaction.log, int(key[1]), int(key[2]), row) for key, row in rows]

    def dead_letters(self, view: View, reaction_id: str, limit: int = 100) -> Sequence[DeadLetter]:
        """The oldest ``limit`` events that were given up and are kept here."""
        rows = view.scan("dead_letters", prefix=(reaction_id,), limit=limit)
        return [
            DeadLetter(int(key[1]), row["time_ms"], row["value"], row["tries"], row["reason"], row["dead_ms"])
            for key, row in rows
        ]

    def redrive(self, tx: Tx, reaction_id: str, offset: int | None = None) -> int:
        """Try given-up events again (one, or up to ``redrive_max`` of all); how many.

        Raises ``NotFound("reaction")``, and ``NotFound("dead_letter")`` if ``offset`` names none.
        """
        self.get(tx, reaction_id)
        rows = self._dead(tx, reaction_id, offset)
        for key, row in rows:
            tx.delete("dead_letters", key)
            again = {"tries": 0, "since_ms": tx.now_ms, "reason": row["reason"]}
            again |= {"time_ms": row["time_ms"], "value": row["value"]}
            _put_parked(tx, reaction_id, tx.now_ms, int(key[1]), again)
        position = self.position(tx, reaction_id) or Position(0, 0)
        position = replace(position, parked=position.parked + len(rows), kept=max(0, position.kept - len(rows)))
        tx.put("cursors", (reaction_id,), position.to_json())
        _changed(tx, reaction_id)
        return len(rows)

    def discard(self, tx: Tx, reaction_id: str, offset: int | None = None) -> int:
        """Forget given-up events (one, or up to ``redrive_max`` of all); how many. Raises as ``redrive``."""
        self.get(tx, reaction_id)
        rows = self._dead(tx, reaction_id, offset)
        for key, _ in rows:
            tx.delete("dead_letters", key)
        position = self.position(tx, reaction_id) or Position(0, 0)
        tx.put("cursors", (reaction_id,), replace(position, kept=max(0, position.kept - len(rows))).to_json())
        return len(rows)

    def _dead(self, tx: Tx, reaction_id: str, offset: int | None) -> Sequence[tuple[Any, Any]]:
        if offset is None:
            return list(tx.scan("dead_letters", prefix=(reaction_id,), limit=self._limits.redrive_max))
        row = tx.get("dead_letters", (reaction_id, offset))
        if row is None:
            raise NotFound("dead_letter", f"The reaction {reaction_id} has no dead letter {offset}.")
        return [((reaction_id, offset), row)]

    def replay(self, tx: Tx, reaction_id: str, *, offset: int | None = None, time_ms: int | None = None) -> int:
        """Move the cursor to ``offset``, or to the first event at or after ``time_ms``; the new offset.

        Other reactions are untouched; parked events stay parked. Raises ``NotFound("reaction")``, and
        ``Invalid("offset")`` where the log no longer, or not yet, has what is asked for.
        """
        reaction = self.get(tx, reaction_id)
        position = self.position(tx, reaction_id) or Position(0, 0)
        start = _start(tx, reaction.log, offset, time_ms or 0)
        epoch = max(tx.now_ms, position.epoch + 1)
        moved = replace(position, next=start, epoch=epoch, done=(), tries=0, next_try_ms=0, batch=0)
        tx.put("cursors", (reaction_id,), moved.to_json())
        _changed(tx, reaction_id)
        return start

    def trim(self, tx: Tx, log: str, before_ms: int) -> int:
        """Forget events older than ``before_ms`` that every reaction on ``log`` is done with.

        At most ``trim_max`` in one transaction; how many.
        """
        bounds = tx.bounds(log)
        floor = min(bounds.next, bounds.first + self._limits.trim_max)
        for key, _ in tx.scan("reactions_by_log", prefix=(log,)):
            reaction_id = str(key[1])
            position = self.position(tx, reaction_id) or Position(0, 0)
            floor = min(floor, position.next)
            if position.parked > self._limits.trim_max:
                return 0  # too many to look through: what they need stays until most are settled
            waiting = tx.scan("parked", prefix=(reaction_id,))
            floor = min([floor, *(int(parked[2]) for parked, row in waiting if "value" not in row)])
        floor = min(floor, offset_at(tx, log, before_ms)) if floor > bounds.first else floor
        if floor > bounds.first:
            tx.trim(log, floor)
        return max(0, floor - bounds.first)


def _remains_of(log: str) -> str:
    return f"log {log}"


def _start(view: View, log: str, offset: int | None, time_ms: int) -> int:
    """Where a replay begins; see ``Reactions.replay``."""
    bounds = bounds_of(view, log)
    if offset is not None:
        if not bounds.first <= offset <= bounds.next:
            kept = f"has the offsets {bounds.first} to {bounds.next - 1}" if bounds.first < bounds.next else "is empty"
            raise Invalid("offset", f"There is no event {offset} to replay from: {log} {kept}.")
        return offset
    start = max(bounds.first, offset_at(view, log, time_ms))
    if start == bounds.first > 0:
        first = view.read(log, start, 1)
        if not first or first[0].time_ms > time_ms:
            raise Invalid(
                "offset",
                f"Events of that time are no longer kept: {log} begins with the offset {bounds.first}. Replay from there.",
            )
    return start


def _put_parked(tx: Tx, reaction_id: str, next_try_ms: int, offset: int, row: dict[str, Any]) -> None:
    """A replayed event can be parked twice; both rows stay, as they are counted."""
    while tx.get("parked", (reaction_id, next_try_ms, offset)) is not None:
        next_try_ms += 1
    tx.put("parked", (reaction_id, next_try_ms, offset), row)


def bounds_of(view: View, log: str) -> Bounds:
    """What the log holds without what was cleared and is still being removed: that was another's of the same name."""
    bounds, cleared = view.bounds(log), view.get(REMAINS, (_remains_of(log),))
    return bounds if cleared is None else replace(bounds, first=max(bounds.first, cleared["before"]))


def offset_at(view: View, log: str, time_ms: int) -> int:
    """The first offset of ``log`` whose time is at or after ``time_ms`` (the end if there is none)."""
    bounds = view.bounds(log)
    low, high = bounds.first, bounds.next
    while low < high:
        middle = (low + high) // 2
        entries = view.read(log, middle, 1)
        if entries and entries[0].time_ms < time_ms:
            low = middle + 1
        else:
            high = middle
    return low


def _changed(tx: Tx, reaction_id: str) -> None:
    tx.on_commit("reactions")
    tx.on_commit(f"reaction/{reaction_id}")
