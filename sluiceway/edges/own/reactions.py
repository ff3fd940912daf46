"""The pages behind ``sluiceway reactions``: how far each is, one in detail, and what an operator does with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from sluiceway.config import ReactionSettings
from sluiceway.core.reaction import ReactionStatus
from sluiceway.core.store import Store, Tx, View
from sluiceway.edges.own.metrics import Sample
from sluiceway.errors import Invalid
from sluiceway.services.reactions import Reactions

_LETTERS_MAX: Final = 100


#: A row's member -> what it means, for metrics. Of the others it is the sum that counts (see ``Node``).
_GAUGES: Final = (
    ("lag", "Events not yet settled."),
    ("in_flight", "Deliveries under way."),
    ("parked", "Events that wait for their next try."),
    ("dead", "Events given up and kept."),
    ("oldest_age_ms", "Age of the oldest event not yet settled."),
    ("paused", "1 while somebody has paused it."),
)
_TOTALS: Final = (
    ("attempts", "Deliveries tried."),
    ("delivered", "Events delivered."),
    ("failed", "Failed tries."),
    ("filtered", "Events that the filter kept out."),
    ("given_up", "Events given up."),
)


class ReactionPages:
    """``rows``, ``samples`` and ``show`` read; ``act`` changes. ``in_flight`` gives the deliveries under way by
    reaction."""

    def __init__(
        self, store: Store, reactions: Reactions, limits: ReactionSettings, in_flight: Callable[[], Mapping[str, int]]
    ) -> None:
        self._store = store
        self._reactions = reactions
        self._limits = limits
        self._in_flight = in_flight

    async def rows(self, query: dict[str, str]) -> dict[str, Any]:
        """A page of reactions by id, after ``after``; ``more`` is what to ask for next, or nothing."""
        limit = min(_number(query, "limit") or self._limits.status_max, self._limits.status_max)
        rows = await self._store.view(self._rows, query.get("after", ""), limit)
        return {"reactions": rows, "more": rows[-1]["id"] if len(rows) == limit else None}

    async def samples(self) -> list[Sample]:
        """Metrics of the first ``metrics_max`` reactions: Prometheus must hold a series for each."""
        samples = []
        for row in await self._store.view(self._rows, "", self._limits.metrics_max):
            labels = (("reaction", str(row["id"])), ("log", str(row["log"])), ("target", str(row["target"])))
            for total, names in ((False, _GAUGES), (True, _TOTALS)):
                samples += [
                    Sample(f"sluiceway_reaction_{name}", text, row[name], labels, total) for name, text in names
                ]
        return samples

    def _rows(self, view: View, after: str, limit: int) -> list[dict[str, Any]]:
        in_flight = self._in_flight()
        return [
            _row(status, in_flight.get(status.reaction.id, 0))
            for status in self._reactions.statuses(view, after, limit)
        ]

    async def show(self, query: dict[str, str]) -> dict[str, Any]:
        """The reaction with its retry policy, position, the events that are tried again next, and the oldest that
        were given up.

        Raises ``NotFound("reaction")``.
        """
        return await self._store.view(self._shown, _need(query, "id"))

    def _shown(self, view: View, reaction_id: str) -> dict[str, Any]:
        status = self._reactions.status(view, reaction_id)
        letters = self._reactions.dead_letters(view, reaction_id, _LETTERS_MAX)
        waiting = self._reactions.parked(view, status.reaction, _LETTERS_MAX)
        return {
            **_row(status, self._in_flight().get(reaction_id, 0)),
            "reaction": status.reaction.to_json(),
            "position": status.position.to_json(),
            "waiting": [{name: value for name, value in asdict(one).items() if name != "value"} for one in waiting],
            "dead_letters": [asdict(letter) for letter in letters],
        }

    async def act(self, query: dict[str, str]) -> dict[str, Any]:
        """Do ``action``: pause, resume, redrive, discard (of all, or of ``offset``), or replay (from ``offset``, or
        from ``time_ms``). Raises ``NotFound``, ``Invalid``.
        """
        actions: dict[str, Callable[[Tx, str, dict[str, str]], Any]] = {
            "pause": lambda tx, name, _: self._reactions.pause(tx, name),
            "resume": lambda tx, name, _: self._reactions.resume(tx, name),
            "redrive": lambda tx, name, q: self._reactions.redrive(tx, name, _number(q, "offset")),
            "discard": lambda tx, name, q: self._reactions.discard(tx, name, _number(q, "offset")),
            "replay": self._replay,
        }
        action = actions.get(_need(query, "action"))
        if action is None:
            raise Invalid("action", f"The action is one of {', '.join(actions)}.")
        return {"result": await self._store.commit(action, _need(query, "id"), query)}

    def _replay(self, tx: Tx, reaction_id: str, query: dict[str, str]) -> int:
        offset, time_ms = _number(query, "offset"), _number(query, "time_ms")
        if (offset is None) == (time_ms is None):
            raise Invalid("number", "A replay begins at an offset or at a time: give one of the two.")
        return self._reactions.replay(tx, reaction_id, offset=offset, time_ms=time_ms)


def _row(status: ReactionStatus, in_flight: int) -> dict[str, Any]:
    reaction, position = status.reaction, status.position
    return {
        "id": reaction.id,
        "log": reaction.log,
        "target": f"{reaction.target.kind}:{reaction.target.address}",
        "paused": reaction.paused,
        "lag": status.lag,
        "oldest_age_ms": status.oldest_age_ms,
        "in_flight": in_flight,
        "attempts": status.attempts,
        "delivered": position.delivered,
        "failed": position.failed,
        "filtered": position.filtered,
        "parked": status.parked,
        "next_try_ms": status.next_try_ms,
        "dead": status.dead_kept,
        "given_up": position.dead,
        "last_error": position.last_error,
        "last_error_ms": position.last_error_ms,
    }


def _need(query: dict[str, str], name: str) -> str:
    if not query.get(name):
        raise Invalid(name, f"The parameter {name} is missing.")
    return query[name]


def _number(query: dict[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not text.isdigit() or len(text) > 18:
        raise Invalid("number", f"{name} must be a whole number.")
    return int(text)
