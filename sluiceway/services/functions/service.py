"""Functions and their asynchronous invocations, as transaction functions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from sluiceway.config import FunctionSettings
from sluiceway.core.clock import new_id
from sluiceway.core.identity import Scope
from sluiceway.core.reaction import ASYNCHRONOUS_INVOCATION, Reaction, Target
from sluiceway.core.store import Tx, View
from sluiceway.errors import AlreadyExists, Invalid, NotFound, Throttled, TooLarge
from sluiceway.services.functions import checks
from sluiceway.services.functions.values import FUNCTIONS, Code, Function, Settings, log_of, reaction_of
from sluiceway.services.objects import garbage
from sluiceway.services.reactions import Reactions

#: What wakes those who look after workers, when a function changed or went.
CHANGED: Final = "functions"
#: Asynchronous invocations of one function at the same time.
_CONCURRENCY: Final = 10


class Functions:
    """``scope`` is the account and region of every function."""

    def __init__(self, scope: Scope, limits: FunctionSettings, reactions: Reactions) -> None:
        self.scope = scope
        self.limits = limits
        self._reactions = reactions

    def arn(self, name: str) -> str:
        """The function's ARN."""
        return self.scope.arn("lambda", f"function:{name}")

    def plain_name(self, text: str) -> str:
        """See ``checks.plain_name``."""
        return checks.plain_name(self.scope, text)

    # -- functions

    def create(self, tx: Tx, name: str, code: Code, settings: Settings, tags: dict[str, str]) -> Function:
        """Add a function whose code's blob is sealed and new.

        Raises ``AlreadyExists("function")``, ``Invalid("name" | "value")``, ``Throttled("functions")``.
        """
        if self.plain_name(name) != name:
            raise Invalid("name", f"The function name {name[:200]!r} is not valid.")
        checks.check_settings(settings, self.limits)
        checks.check_outcome_target(settings.dead_letter)
        if tx.get(FUNCTIONS, (name,)) is not None:
            raise AlreadyExists("function", f"Function already exist: {name}")
        if sum(1 for _ in tx.scan(FUNCTIONS, limit=self.limits.functions_max)) >= self.limits.functions_max:
            raise Throttled("functions", f"There are {self.limits.functions_max} functions already.")
        made = Function(name, self.arn(name), code, settings, new_id(), tx.now_ms, tx.now_ms, dict(tags))
        garbage.adopt(tx, code.blob)
        self._save(tx, made)
        self._reactions.create(tx, self._reaction(made))
        return made

    def find(self, view: View, name: str) -> Function | None:
        """The function, or None."""
        row = view.get(FUNCTIONS, (name,))
        return None if row is None else Function.from_json(row)

    def get(self, view: View, name: str) -> Function:
        """Raises ``NotFound("function")``."""
        found = self.find(view, name)
        if found is None:
            raise NotFound("function", f"Function not found: {self.arn(name)}")
        return found

    def exists(self, view: View, name: str) -> bool:
        """Whether there is a function of this name."""
        return view.get(FUNCTIONS, (name,)) is not None

    def page(self, view: View, after: str, limit: int) -> list[Function]:
        """Functions by name, from the one after ``after``."""
        rows: Iterator[Any] = view.scan(FUNCTIONS, start=(after + "\x00",) if after else None, limit=limit)
        return [Function.from_json(row) for _, row in rows]

    def update_code(self, tx: Tx, name: str, code: Code) -> Function:
        """Replace the code; running invocations finish with the old one. Raises ``NotFound("function")``."""
        old = self.get(tx, name)
        garbage.adopt(tx, code.blob)
        garbage.drop(tx, [old.code.blob])
        return self._save(tx, replace(old, code=code, revision=new_id(), modified_ms=tx.now_ms))

    def update_settings(self, tx: Tx, name: str, changes: dict[str, Any]) -> Function:
        """``changes`` are fields of ``Settings``. Raises ``NotFound("function")``, ``Invalid("value")``."""
        old = self.get(tx, name)
        settings = replace(old.settings, **changes)
        checks.check_settings(settings, self.limits)
        checks.check_outcome_target(changes.get("dead_letter", ""))
        made = self._save(tx, replace(old, settings=settings, revision=new_id(), modified_ms=tx.now_ms))
        self._reactions.change(tx, self._reaction(made))
        return made

    def remove(self, tx: Tx, name: str) -> None:
        """Remove the function and what waits for it. Raises ``NotFound("function")``."""
        old = self.get(tx, name)
        garbage.drop(tx, [old.code.blob])
        self._reactions.delete(tx, reaction_of(name))
        tx.trim(log_of(name), tx.bounds(log_of(name)).next)
        tx.delete(FUNCTIONS, (name,))
        tx.on_commit(CHANGED)

    def set_concurrency(self, tx: Tx, name: str, limit: int | None) -> None:
        """Reserve (and limit to) so many workers; None for no limit of its own."""
        self._save(tx, replace(self.get(tx, name), concurrency=limit))

    def set_asynchronous(self, tx: Tx, name: str, changes: dict[str, Any]) -> Function:
        """``changes`` are ``on_success``, ``on_failure``, ``tries_max`` and ``age_s_max`` of ``Function``. Raises
        ``NotFound("function")``, ``Invalid("value")``."""
        for place in ("on_success", "on_failure"):
            checks.check_outcome_target(changes.get(place, ""))
        made = self._save(tx, replace(self.get(tx, name), **changes))
        self._reactions.change(tx, self._reaction(made))
        return made

    def retag(self, tx: Tx, name: str, add: dict[str, str], drop: Sequence[str] = ()) -> None:
        """Raises ``NotFound("function")``, ``Invalid("value")`` for too many."""
        old = self.get(tx, name)
        tags = {key: value for key, value in {**old.tags, **add}.items() if key not in drop}
        if len(tags) > self.limits.tags_max:
            raise Invalid("value", f"A function has at most {self.limits.tags_max} tags.")
        self._save(tx, replace(old, tags=tags))

    # -- permission

    def policy(self, view: View, name: str, /) -> dict[str, Any] | None:
        """Who may call the function. Raises ``NotFound("function")``."""
        statements = self.get(view, name).statements
        if not statements:
            return None
        return {"Version": "2012-10-17", "Id": "default", "Statement": statements}

    def add_permission(self, tx: Tx, name: str, params: dict[str, Any]) -> dict[str, Any]:
        """``params`` are AddPermission's. Raises ``AlreadyExists("statement")``, ``TooLarge("policy")``."""
        old = self.get(tx, name)
        sid = params["StatementId"]
        if any(statement["Sid"] == sid for statement in old.statements):
            raise AlreadyExists("statement", f"The statement id ({sid}) provided already exists. Please provide a new.")
        statement = checks.statement_of(old.arn, params)
        statements = [*old.statements, statement]
        if checks.policy_bytes(statements) > self.limits.policy_bytes_max:
            raise TooLarge("policy", f"The function's policy is limited to {self.limits.policy_bytes_max} bytes.")
        self._save(tx, replace(old, statements=statements))
        return statement

    def remove_permission(self, tx: Tx, name: str, sid: str) -> None:
        """Raises ``NotFound("statement")``."""
        old = self.get(tx, name)
        statements = [statement for statement in old.statements if statement["Sid"] != sid]
        if len(statements) == len(old.statements):
            raise NotFound("statement", f"Statement {sid} is not found in resource policy.")
        self._save(tx, replace(old, statements=statements))

    # -- asynchronous invocation

    def enqueue(
        self,
        tx: Tx,
        name: str,
        payload: Any,
        *,
        request_id: str | None = None,
        source: str = "",
        content: str | None = None,
    ) -> str:
        """Accept an asynchronous invocation and return its request id. ``payload`` is the event as JSON value;
        ``content`` is what of it counts against the limit, if not all.

        Raises ``NotFound("function")``, ``TooLarge("payload")``.
        """
        if not self.exists(tx, name):
            raise NotFound("function", f"Function not found: {self.arn(name)}")
        counted = json.dumps(payload, ensure_ascii=False) if content is None else content
        size = len(counted.encode("utf-8", "replace"))
        if size > self.limits.async_bytes_max:
            raise TooLarge("payload", f"{size} byte payload is too large for the Event invocation type (limit "
                           f"{self.limits.async_bytes_max} bytes)")  # fmt: skip
        made = request_id or new_id()
        tx.append(log_of(name), {"request_id": made, "payload": payload, "source": source})
        return made

    def _reaction(self, function: Function) -> Reaction:
        retry = ASYNCHRONOUS_INVOCATION
        if function.tries_max is not None:
            retry = replace(retry, tries_max=function.tries_max + 1)
        if function.age_s_max is not None:
            retry = replace(retry, age_max_ms=function.age_s_max * 1000)
        options = {"on_success": function.on_success, "on_failure": function.on_failure}
        return Reaction(
            id=reaction_of(function.name),
            log=log_of(function.name),
            target=Target("function-invoke", function.name, {key: arn for key, arn in options.items() if arn}),
            retry=retry,
            dead_letter=function.settings.dead_letter or None,
            concurrency=_CONCURRENCY,
        )

    def _save(self, tx: Tx, function: Function) -> Function:
        tx.put(FUNCTIONS, (function.name,), function.to_json())
        tx.on_commit(CHANGED)
        return function
