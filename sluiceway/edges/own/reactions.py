"""The pages behind ``sluiceway reactions``: one reaction in detail, and what an operator does with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from sluiceway.core.store import Store, Tx, View
from sluiceway.errors import Invalid
from sluiceway.services.reactions import Reactions

_LETTERS_MAX: Final = 100


class ReactionPages:
    """``show`` reads; ``act`` changes. Both take a request's query."""

    def __init__(self, store: Store, reactions: Reactions) -> None:
        self._store = store
        self._reactions = reactions

    async def show(self, query: dict[str, str]) -> dict[str, Any]:
        """The reaction with its retry policy, position, and the oldest events that were given up.

        Raises ``NotFound("reaction")``.
        """
        return await self._store.view(self._shown, _need(query, "id"))

    def _shown(self, view: View, reaction_id: str) -> dict[str, Any]:
        status = self._reactions.status(view, reaction_id)
        letters = self._reactions.dead_letters(view, reaction_id, _LETTERS_MAX)
        return {
            "reaction": status.reaction.to_json(),
            "position": status.position.to_json(),
            "lag": status.lag,
            "oldest_age_ms": status.oldest_age_ms,
            "parked": status.parked,
            "next_try_ms": status.next_try_ms,
            "dead": status.dead_kept,
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
