"""HTTP and WebSocket APIs, as transaction functions.

Every part of an API is a row, and the API's row counts the changes of all of them: what serves requests keeps
a stage ready and looks at that number only. A deployment is a copy of the parts; a stage serves its deployment,
or with ``auto_deploy`` whatever the parts are now.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Literal

from sluiceway.config import ApiSettings
from sluiceway.core.identity import Scope
from sluiceway.core.store import Tx, View
from sluiceway.errors import Conflict, Invalid, NotFound, Throttled
from sluiceway.services.apis import checks
from sluiceway.services.apis.checks import Row
from sluiceway.services.apis.serving import Served, build

if TYPE_CHECKING:
    from sluiceway.services.apis.openapi import Plan

Kind = Literal["route", "integration", "authorizer", "stage", "deployment", "route_response", "integration_response"]

_APIS: Final = "apis"
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_HTTP_SELECTION: Final = "${request.method} ${request.path}"
#: What a deployment copies.
_DEPLOYED: Final[tuple[Kind, ...]] = ("route", "integration", "authorizer")
_KINDS: Final[tuple[Kind, ...]] = (
    *_DEPLOYED, "stage", "deployment", "route_response", "integration_response",
)  # fmt: skip


def new_api_part_id(length: int) -> str:
    """A random name as API Gateway gives them: lower-case letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


class Apis:
    """``scope`` is the account and region of every API."""

    def __init__(self, scope: Scope, limits: ApiSettings) -> None:
        self.scope = scope
        self.limits = limits
        self._most = {
            "route": limits.routes_max,
            "integration": limits.integrations_max,
            "authorizer": limits.authorizers_max,
            "stage": limits.stages_max,
        }

    # -- APIs

    def create(self, tx: Tx, fields: Row, target: str | None = None, route_key: str | None = None) -> Row:
        """A new API; ``target`` (a function) makes a route, its integration and an auto-deployed default stage.

        Raises ``Invalid``, ``Throttled("apis")``.
        """
        if sum(1 for _ in tx.scan(_APIS, limit=self.limits.apis_max)) >= self.limits.apis_max:
            raise Throttled("apis", f"There are {self.limits.apis_max} APIs already.")
        row = {"api_key_selection_expression": "$request.header.x-api-key", **fields}
        if row["protocol_type"] == "HTTP":
            row.setdefault("route_selection_expression", _HTTP_SELECTION)
        checks.check_api(row, self.limits)
        row |= {"api_id": new_api_part_id(10), "created_ms": tx.now_ms, "revision": 1}
        tx.put(_APIS, (row["api_id"],), row)
        if target is not None:
            self._quick(tx, row, target, route_key or "$default")
        return self.get(tx, row["api_id"])

    def _quick(self, tx: Tx, api: Row, target: str, route_key: str) -> None:
        if api["protocol_type"] != "HTTP":
            raise Invalid("target", "Quick create is for HTTP APIs only.")
        kind = "HTTP_PROXY" if target.startswith(("http://", "https://")) else "AWS_PROXY"
        fields = {"integration_type": kind, "integration_uri": target, "payload_format_version": "2.0"}
        integration = self.add(tx, "integration", api["api_id"], fields)
        aim = f"integrations/{integration['integration_id']}"
        self.add(tx, "route", api["api_id"], {"route_key": route_key, "target": aim})
        self.add(tx, "stage", api["api_id"], {"stage_name": "$default", "auto_deploy": True})

    def get(self, view: View, api_id: str) -> Row:
        """Raises ``NotFound("api")``."""
        row: Row | None = view.get(_APIS, (api_id,))
        if row is None:
            raise NotFound("api", f"Invalid API identifier specified {self.scope.account}:{api_id}")
        return row

    def page(self, view: View, after: str, limit: int) -> list[Row]:
        """APIs by id, from the one after ``after``."""
        start = (after + "\x00",) if after else None
        return [row for _, row in view.scan(_APIS, start=start, limit=limit)]

    def change(self, tx: Tx, api_id: str, fields: Row) -> Row:
        """Set some values of an API. Raises ``NotFound("api")``, ``Invalid``."""
        row = {**self.get(tx, api_id), **fields}
        checks.check_api(row, self.limits)
        return self._save_api(tx, row)

    def drop_cors(self, tx: Tx, api_id: str) -> None:
        """Without CORS. Raises ``NotFound("api")``."""
        row = self.get(tx, api_id)
        row.pop("cors_configuration", None)
        self._save_api(tx, row)

    def remove(self, tx: Tx, api_id: str) -> None:
        """The API with all that belongs to it. Raises ``NotFound("api")``."""
        self.get(tx, api_id)
        for kind in _KINDS:
            for key in [key for key, _ in tx.scan(_table(kind), prefix=(api_id,))]:
                tx.delete(_table(kind), key)
        tx.delete(_APIS, (api_id,))

    # -- importing

    def planned(self, document: str | bytes) -> Plan:
        """An OpenAPI 3 document, read. It takes seconds if it is large. Raises ``Invalid("document")``."""
        from sluiceway.services.apis import openapi  # here: with YAML, and most servers import no API

        return openapi.read(document, self.limits)

    def imported(self, tx: Tx, plan: Plan, strict: bool) -> Row:
        """A new HTTP API from an OpenAPI document. Raises ``Invalid("document")`` and as the parts do."""
        api = self.create(tx, {"protocol_type": "HTTP", **plan.api})
        return self._fill(tx, api, plan, strict)

    def reimported(self, tx: Tx, api_id: str, plan: Plan, strict: bool) -> Row:
        """Replace routes, integrations and authorizers by those of the document. Stages stay."""
        api = self.get(tx, api_id)
        if api["protocol_type"] != "HTTP":
            raise Invalid("document", "Only HTTP APIs can be imported.")
        for kind in _DEPLOYED:
            for key in [key for key, _ in tx.scan(_table(kind), prefix=(api_id,))]:
                tx.delete(_table(kind), key)
        api.pop("cors_configuration", None)
        tags = {**(api.get("tags") or {}), **plan.api.get("tags", {})}
        merged = {**api, **plan.api, "tags": tags}
        checks.check_api(merged, self.limits)
        return self._fill(tx, merged, plan, strict)

    def _fill(self, tx: Tx, api: Row, plan: Plan, strict: bool) -> Row:
        if strict and plan.warnings:
            raise Invalid("document", f"Warnings found during import: {'; '.join(plan.warnings)}")
        api_id = api["api_id"]
        api = self._save_api(tx, {**api, "warnings": plan.warnings} if plan.warnings else api)
        authorizers = {
            name: self.add(tx, "authorizer", api_id, fields)["authorizer_id"]
            for name, fields in plan.authorizers.items()
        }
        integrations = [self.add(tx, "integration", api_id, fields)["integration_id"] for fields in plan.integrations]
        for route in plan.routes:
            fields: Row = {"route_key": route.key}
            if route.integration is not None:
                fields["target"] = f"integrations/{integrations[route.integration]}"
            if route.authorizer is not None:
                fields |= {"authorization_type": route.authorization, "authorizer_id": authorizers[route.authorizer]}
                if route.scopes:
                    fields["authorization_scopes"] = route.scopes
            if route.operation:
                fields["operation_name"] = route.operation
            self.add(tx, "route", api_id, fields)
        return self.get(tx, api_id)

    # -- parts

    def add(self, tx: Tx, kind: Kind, api_id: str, fields: Row, parent: str = "") -> Row:
        """Add a part; ``parent`` is the route or integration of a response. Raises ``NotFound``, ``Invalid``,
        ``Conflict`` for a name that is taken, ``Throttled`` past the limit."""
        api = self.get(tx, api_id)
        most = self._most.get(kind)
        if most is not None and sum(1 for _ in tx.scan(_table(kind), prefix=(api_id,), limit=most)) >= most:
            raise Throttled(kind, f"The API has {most} {kind}s already.")
        row = {key: value for key, value in fields.items() if value is not None}
        if kind == "stage":
            row.setdefault("auto_deploy", False)
            row |= {"created_ms": tx.now_ms, "updated_ms": tx.now_ms}
            identity = row.get("stage_name", "")
        else:
            identity = new_api_part_id(7)
            row[_id_name(kind)] = identity
        self._check(tx, kind, api, row, parent)
        if kind == "stage" and tx.get(_table(kind), (api_id, identity)) is not None:
            raise Conflict("stage", "Stage already exists")
        tx.put(_table(kind), _key(kind, api_id, parent, identity), row)
        self._save_api(tx, api)
        return row

    def part(self, view: View, kind: Kind, api_id: str, identity: str, parent: str = "") -> Row:
        """Raises ``NotFound``."""
        self.get(view, api_id)
        row: Row | None = view.get(_table(kind), _key(kind, api_id, parent, identity))
        if row is None:
            raise NotFound(kind, f"Unable to find {_words(kind)} by key {identity} within the provided scope.")
        return row

    def parts(
        self, view: View, kind: Kind, api_id: str, after: str = "", limit: int | None = None, parent: str = ""
    ) -> list[Row]:
        """Parts of a kind by id, from the one after ``after``. Raises ``NotFound("api")``."""
        self.get(view, api_id)
        prefix = (api_id, parent) if parent else (api_id,)
        start = (*prefix, after + "\x00") if after else None
        return [row for _, row in view.scan(_table(kind), prefix=prefix, start=start, limit=limit)]

    def change_part(self, tx: Tx, kind: Kind, api_id: str, identity: str, fields: Row, parent: str = "") -> Row:
        """Set some values of a part. Raises as ``add`` does."""
        api = self.get(tx, api_id)
        old = self.part(tx, kind, api_id, identity, parent)
        row = {**old, **{key: value for key, value in fields.items() if value is not None}}
        if kind == "stage":
            row["updated_ms"] = tx.now_ms
        self._check(tx, kind, api, row, parent)
        tx.put(_table(kind), _key(kind, api_id, parent, identity), row)
        self._save_api(tx, api)
        return row

    def remove_part(self, tx: Tx, kind: Kind, api_id: str, identity: str, parent: str = "") -> None:
        """Raises ``NotFound``, ``Conflict`` while something names it."""
        api = self.get(tx, api_id)
        self.part(tx, kind, api_id, identity, parent)
        users = self._users(tx, kind, api_id, identity)
        if users:
            raise Conflict(kind, f"Cannot delete {_words(kind)} '{identity}': it is referenced by {users}.")
        tx.delete(_table(kind), _key(kind, api_id, parent, identity))
        for child in ("route_response", "integration_response"):
            if child == f"{kind}_response":
                for key in [key for key, _ in tx.scan(_table(child), prefix=(api_id, identity))]:
                    tx.delete(_table(child), key)
        self._save_api(tx, api)

    def deploy(self, tx: Tx, api_id: str, description: str | None, stage_name: str | None) -> Row:
        """Copy the parts as they are; ``stage_name`` serves the copy from now on. Raises ``NotFound``."""
        if stage_name is not None:
            self.part(tx, "stage", api_id, stage_name)
        fields = _deployed(tx, api_id)
        if not fields["route"]:
            raise Invalid("deployment", "At least one route is required before deploying the Api.")
        fields |= {"created_ms": tx.now_ms, "description": description}
        row = self.add(tx, "deployment", api_id, fields)
        if stage_name is not None:
            self.change_part(tx, "stage", api_id, stage_name, {"deployment_id": row["deployment_id"]})
        self._forget_deployments(tx, api_id)
        return row

    # -- serving

    def revision(self, view: View, api_id: str) -> int:
        """How often the API was changed; 0 if there is none (deletes don't come back under the same id)."""
        row: Row | None = view.get(_APIS, (api_id,))
        return 0 if row is None or row.get("disable_execute_api_endpoint") else int(row["revision"])

    def served(self, view: View, api_id: str) -> dict[str, Served]:
        """What each stage of the API serves; without the stages that have nothing deployed."""
        api: Row | None = view.get(_APIS, (api_id,))
        if api is None:
            return {}
        served: dict[str, Served] = {}
        live = _deployed(view, api_id)
        for stage in self._rows(view, "stage", api_id):
            parts: Row | None = live
            if not stage.get("auto_deploy"):
                parts = view.get(_table("deployment"), (api_id, stage.get("deployment_id", "")))
            if parts is not None:
                served[stage["stage_name"]] = build(api, stage, parts)
        return served

    # -- tags

    def tag_holder(self, view: View, arn: str) -> tuple[Kind | None, str, str]:
        """What an ARN names: (None, API, "") or ("stage", API, stage). Raises ``NotFound``, ``Invalid("arn")``."""
        path = arn.partition("::/apis/")[2].split("/")
        if len(path) == 1 and path[0]:
            self.get(view, path[0])
            return None, path[0], ""
        if len(path) == 3 and path[1] == "stages":
            self.part(view, "stage", path[0], path[2])
            return "stage", path[0], path[2]
        raise Invalid("arn", f"Invalid resource ARN: {arn[:300]}")

    def tags(self, view: View, arn: str) -> dict[str, str]:
        """Raises as ``tag_holder`` does."""
        kind, api_id, name = self.tag_holder(view, arn)
        row = self.get(view, api_id) if kind is None else self.part(view, kind, api_id, name)
        return dict(row.get("tags") or {})

    def retag(self, tx: Tx, arn: str, add: dict[str, str], drop: list[str]) -> None:
        """Raises as ``tag_holder`` does, ``Invalid("tags")`` for too many."""
        kind, api_id, name = self.tag_holder(tx, arn)
        tags = {key: value for key, value in {**self.tags(tx, arn), **add}.items() if key not in drop}
        if kind is None:
            self.change(tx, api_id, {"tags": tags})
        else:
            self.change_part(tx, kind, api_id, name, {"tags": tags})

    # -- inside

    def _save_api(self, tx: Tx, row: Row) -> Row:
        row = {**row, "revision": int(row["revision"]) + 1}
        tx.put(_APIS, (row["api_id"],), row)
        return row

    def _check(self, tx: Tx, kind: Kind, api: Row, row: Row, parent: str) -> None:
        protocol = api["protocol_type"]
        checked: dict[str, Callable[[Row, str, ApiSettings], None]] = {
            "route": checks.check_route,
            "integration": checks.check_integration,
            "authorizer": checks.check_authorizer,
        }
        if kind in checked:
            checked[kind](row, protocol, self.limits)
        if kind == "route":
            self._check_names(tx, api["api_id"], row)
        elif kind == "stage":
            checks.check_stage(row, self.limits)
            if protocol == "WEBSOCKET" and row["stage_name"] == "$default":
                raise Invalid("stage_name", "The $default stage is for HTTP APIs only.")
            if row.get("deployment_id"):
                self.part(tx, "deployment", api["api_id"], row["deployment_id"])
        elif kind == "authorizer":
            self._check_unused(tx, kind, api["api_id"], row, "name", "An authorizer with this name exists already.")
        elif kind in ("route_response", "integration_response"):
            self.part(tx, "route" if kind == "route_response" else "integration", api["api_id"], parent)

    def _check_names(self, tx: Tx, api_id: str, row: Row) -> None:
        message = f"Route with key {row['route_key']} already exists for this API"
        self._check_unused(tx, "route", api_id, row, "route_key", message)
        if row.get("target"):
            self.part(tx, "integration", api_id, row["target"].removeprefix("integrations/"))
        if row.get("authorizer_id"):
            authorizer = self.part(tx, "authorizer", api_id, row["authorizer_id"])
            if (authorizer["authorizer_type"] == "JWT") != (row["authorization_type"] == "JWT"):
                raise Invalid("authorization", "The authorizer's type does not fit the authorization type.")

    def _check_unused(self, tx: Tx, kind: Kind, api_id: str, row: Row, name: str, message: str) -> None:
        for other in self._rows(tx, kind, api_id):
            if other[name] == row[name] and other[_id_name(kind)] != row[_id_name(kind)]:
                raise Conflict(kind, message)

    def _rows(self, view: View, kind: Kind, api_id: str) -> Iterator[Row]:
        return (row for _, row in view.scan(_table(kind), prefix=(api_id,)))

    def _users(self, tx: Tx, kind: Kind, api_id: str, identity: str) -> str:
        if kind == "integration":
            names = [row["route_key"] for row in self._rows(tx, "route", api_id) if _target(row) == identity]
        elif kind == "authorizer":
            routes = self._rows(tx, "route", api_id)
            names = [row["route_key"] for row in routes if row.get("authorizer_id") == identity]
        elif kind == "deployment":
            stages = self._rows(tx, "stage", api_id)
            names = [row["stage_name"] for row in stages if row.get("deployment_id") == identity]
        else:
            names = []
        return ", ".join(names[:5])

    def _forget_deployments(self, tx: Tx, api_id: str) -> None:
        used = {row.get("deployment_id") for row in self._rows(tx, "stage", api_id)}
        rows = sorted(self._rows(tx, "deployment", api_id), key=lambda row: int(row["created_ms"]))
        for row in rows[: -self.limits.deployments_max]:
            if row["deployment_id"] not in used:
                tx.delete(_table("deployment"), (api_id, row["deployment_id"]))


def _deployed(view: View, api_id: str) -> Row:
    return {kind: [row for _, row in view.scan(_table(kind), prefix=(api_id,))] for kind in _DEPLOYED}


def _table(kind: str) -> str:
    return f"api_{kind}s"


def _id_name(kind: Kind) -> str:
    return "stage_name" if kind == "stage" else f"{kind}_id"


def _key(kind: Kind, api_id: str, parent: str, identity: str) -> tuple[str, ...]:
    return (api_id, parent, identity) if kind.endswith("_response") else (api_id, identity)


def _words(kind: Kind) -> str:
    return kind.replace("_", " ").title().replace(" ", "")


def _target(row: Row) -> str:
    return str(row.get("target", "")).removeprefix("integrations/")
