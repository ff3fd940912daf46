"""Who may send a function's dead letters, and what its mappings give up: its role (AWS Lambda Developer Guide, "Adding a
dead-letter queue", "Retain discarded batch records")."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sluiceway.core.identity import Arn, Principal, Scope
from sluiceway.core.reaction import Reaction
from sluiceway.core.store import View
from sluiceway.errors import NotFound
from sluiceway.services.access import authorize

_KINDS: Final = frozenset({"function-invoke", "event-source"})  # both have the function's name for an address
_ACTIONS: Final[Mapping[str, str]] = {"sqs": "sqs:SendMessage", "sns": "sns:Publish"}

#: The role of the function of this name, as a caller. Raises ``NotFound``.
CallerOf = Callable[[View, str], Principal]
#: The policy of the queue or topic of this name, if it has one. Raises ``NotFound`` for a topic that is gone.
PolicyOf = Callable[[View, str], dict[str, Any] | None]


class RoleGuard:
    """Checks reactions that run a function; ``policies`` are by service, "sqs" and "sns"."""

    def __init__(self, scope: Scope, caller_of: CallerOf, policies: Mapping[str, PolicyOf]) -> None:
        self._scope = scope
        self._caller_of = caller_of
        self._policies = policies

    def __call__(self, view: View, reaction: Reaction, place: Arn) -> None:
        """Raises ``AccessDenied`` if the function's role may not send to ``place``, and ``NotFound``."""
        if reaction.target.kind not in _KINDS:
            return
        if place.service not in _ACTIONS or str(place) != self._scope.arn(place.service, place.resource):
            raise NotFound("destination", f"{place} is no queue or topic of this account and region")
        function = reaction.target.address
        conditions = {"aws:SourceArn": [self._scope.arn("lambda", f"function:{function}")]}
        policy = self._policies[place.service](view, place.resource)
        authorize(self._caller_of(view, function), _ACTIONS[place.service], str(place), conditions, policy)
