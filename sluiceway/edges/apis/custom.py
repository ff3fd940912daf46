"""Lambda (REQUEST) authorizers: a function decides.

Developer Guide, "Control access to HTTP APIs with AWS Lambda authorizers". Nothing is cached: each request asks.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from sluiceway.core.identity import Principal
from sluiceway.edges.apis.calling import Caller, CallFailed
from sluiceway.edges.apis.events import Incoming, event
from sluiceway.edges.apis.jwt import Refused, identity_of
from sluiceway.errors import AccessDenied
from sluiceway.services.access import authorize
from sluiceway.services.apis import Authorizer

_TIMEOUT_MS: Final = 10_000  # Developer Guide, "Lambda authorizer timeout"
_ACTION: Final = "execute-api:Invoke"


class CustomAuthorizer:
    """Asks authorizer functions."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def judge(
        self, authorizer: Authorizer, incoming: Incoming, query: dict[str, str], arn: str
    ) -> dict[str, Any]:
        """The context that the authorizer gives to the function. Raises ``Refused``."""
        found = [_identity(source, incoming, query) for source in authorizer.sources]
        if not all(found):
            raise Refused(401, "an identity source is missing")
        asked = {**event(incoming, authorizer.payload_format), "type": "REQUEST"}
        asked.pop("body", None)
        asked.pop("isBase64Encoded", None)
        if authorizer.payload_format == "2.0":
            asked |= {"routeArn": arn, "identitySource": found}
        else:
            asked |= {"methodArn": arn, "identitySource": ",".join(map(str, found))}
            asked["authorizationToken"] = str(found[0]) if found else None
        return await self.ask(authorizer, incoming.served.api_id, incoming.served.variables, asked, arn)

    async def ask(
        self, authorizer: Authorizer, api_id: str, variables: dict[str, str], asked: dict[str, Any], arn: str
    ) -> dict[str, Any]:
        """The context in the answer to the event ``asked``. Raises ``Refused``."""
        source = self._caller.arn(f"{api_id}/authorizers/{authorizer.id}")
        try:
            payload = await self._caller.call(authorizer.uri, variables, asked, source, _TIMEOUT_MS)
            answer = orjson.loads(payload)
        except (CallFailed, orjson.JSONDecodeError) as error:
            raise Refused(500, f"the authorizer failed: {error}") from None
        if not isinstance(answer, dict):
            raise Refused(500, "the authorizer's answer is not an object")
        context = answer.get("context")
        known: dict[str, Any] = dict(context) if isinstance(context, dict) else {}
        if authorizer.simple:
            if answer.get("isAuthorized") is not True:
                raise Refused(403, "the authorizer said no")
            return known
        _check_policy(answer, arn)
        return {"principalId": str(answer.get("principalId", "")), **known}


def _check_policy(answer: dict[str, Any], arn: str) -> None:
    policy = answer.get("policyDocument")
    if not isinstance(policy, dict):
        raise Refused(500, "the authorizer's answer has no policyDocument")
    name = str(answer.get("principalId", ""))
    caller = Principal("user", "", name, "*", policies=(policy,))
    try:
        authorize(caller, _ACTION, arn, {}, None)
    except AccessDenied:
        raise Refused(403, "the authorizer's policy does not allow the request") from None


def _identity(source: str, incoming: Incoming, query: dict[str, str]) -> str | None:
    if source.startswith("$stageVariables."):
        return incoming.served.variables.get(source.removeprefix("$stageVariables."))
    if source.startswith("$context."):
        known = {"httpMethod": incoming.request.method, "path": incoming.path, "routeKey": incoming.route.key}
        return known.get(source.removeprefix("$context."))
    return identity_of(source, incoming.request.headers.get, query)
