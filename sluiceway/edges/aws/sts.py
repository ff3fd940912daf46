"""STS's protocol: who am I, and temporary credentials (STS API reference)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from sluiceway.core.policy.principals import session_arn
from sluiceway.core.store import Store
from sluiceway.edges.aws.operations import Call, ErrorTable, Operation, Output, ServiceEdge
from sluiceway.errors import AccessDenied, Invalid, NotFound, NotImplementedYet, Unauthenticated
from sluiceway.services.access import authorize
from sluiceway.services.accounts import Accounts, Credentials

_ERRORS: Final[ErrorTable] = {
    (Invalid, "policy"): "MalformedPolicyDocumentException",
}
_SESSION_TOKEN_S: Final = 43_200  # GetSessionToken's default of 12 hours
_ASSUME_ROLE_S: Final = 3600
_NOBODY: Final[dict[str, Any]] = {"Version": "2012-10-17", "Statement": []}


class _Sts:
    def __init__(self, store: Store, accounts: Accounts) -> None:
        self._store = store
        self._accounts = accounts

    async def caller(self, call: Call) -> Output:
        principal = call.principal
        unique_id = call.scope.account
        if principal.kind == "user":
            unique_id = (await self._store.view(self._accounts.users.get, principal.name)).id
        elif principal.kind == "role":
            role = await self._store.view(self._accounts.roles.get, principal.name)
            unique_id = f"{role.id}:{principal.session}"
        return {"UserId": unique_id, "Account": call.scope.account, "Arn": session_arn(principal)}

    async def assume_role(self, call: Call) -> Output:
        """The role's trust policy must allow it; what the caller's own policies say is asked here as well,
        because the trust policy may leave the decision to them."""
        params = call.params
        for member in ("Policy", "PolicyArns", "Tags", "SourceIdentity", "SerialNumber"):
            if params.get(member):
                raise NotImplementedYet("parameter", f"AssumeRole has no {member} here yet.")
        arn, session = params["RoleArn"], params["RoleSessionName"]
        conditions = {**call.conditions, "sts:RoleSessionName": [session]}
        if params.get("ExternalId"):
            conditions["sts:ExternalId"] = [params["ExternalId"]]
        try:
            role = await self._store.view(self._accounts.roles.by_arn, arn)
        except NotFound:  # told in the words of a role that trusts nobody, so that nobody learns which ones there are
            authorize(call.principal, "sts:AssumeRole", arn, conditions, _NOBODY, trust=True)
            raise
        authorize(call.principal, "sts:AssumeRole", arn, conditions, json.loads(role.trust), trust=True)
        duration_s = params.get("DurationSeconds") or _ASSUME_ROLE_S
        chained = call.principal.kind == "role"  # a role that assumes another gets an hour at most
        if duration_s > (_ASSUME_ROLE_S if chained else role.session_s_max):
            raise Invalid("duration", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
        made = await self._store.view(self._accounts.assume_role, arn, session, duration_s)
        assumed = {
            "AssumedRoleId": f"{role.id}:{session}",
            "Arn": f"arn:aws:sts::{call.scope.account}:assumed-role/{role.name}/{session}",
        }
        return {"Credentials": _credentials(made), "AssumedRoleUser": assumed}

    async def session_token(self, call: Call) -> Output:
        if call.params.get("SerialNumber"):
            raise NotImplementedYet("parameter", "GetSessionToken has no multi-factor devices here.")
        duration_s = call.params.get("DurationSeconds") or _SESSION_TOKEN_S
        if call.principal.access_key_id.startswith("ASIA"):
            raise AccessDenied("access", "Cannot call GetSessionToken with session credentials")
        if call.principal.kind == "user":
            made = await self._store.view(self._accounts.sessions.of_user, call.principal.name, duration_s)
        elif call.principal.kind == "root":
            # AWS bounds root's sessions to an hour.
            made = await self._store.view(self._accounts.sessions.of_root, min(duration_s, _ASSUME_ROLE_S))
        else:
            raise AccessDenied("access", "Cannot call GetSessionToken with session credentials")
        return {"Credentials": _credentials(made)}


def _credentials(made: Credentials) -> dict[str, Any]:
    return {
        "AccessKeyId": made.access_key_id,
        "SecretAccessKey": made.secret_access_key,
        "SessionToken": made.session_token,
        "Expiration": datetime.fromtimestamp(made.expires_ms // 1000, UTC),
    }


def _nothing(call: Call) -> str:
    return "*"


def sts_edge(store: Store, accounts: Accounts) -> ServiceEdge:
    """The edge. GetCallerIdentity needs no permission; AssumeRole asks the role's trust policy itself."""
    sts = _Sts(store, accounts)
    operations = {
        "GetCallerIdentity": Operation(sts.caller, _nothing, _own),
        "AssumeRole": Operation(sts.assume_role, _nothing, _own),
        "GetSessionToken": Operation(sts.session_token, _nothing, _own),
    }
    return ServiceEdge("sts", "sts", operations, _ERRORS)


async def _own(call: Call) -> dict[str, Any]:
    """Every signed request may ask: what it may have is decided by the handler."""
    if call.principal.kind == "anonymous":
        raise Unauthenticated("missing", "Request is missing Authentication Token")
    principal = {"AWS": [call.principal.arn]}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:*", "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}
