"""Secrets Manager's protocol (AWS Secrets Manager API reference)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from sluiceway.core.store import Store, View
from sluiceway.edges.aws.operations import Call, ErrorTable, Operation, Output, ServiceEdge, moment
from sluiceway.errors import AlreadyExists, Conflict, Invalid, NotFound, TooLarge
from sluiceway.services.secrets import Secrets
from sluiceway.services.secrets.passwords import random_password
from sluiceway.services.secrets.store import Secret, SecretValue

_ERRORS: Final[ErrorTable] = {
    (NotFound, "*"): "ResourceNotFoundException",
    (AlreadyExists, "*"): "ResourceExistsException",
    (Conflict, "limit"): "LimitExceededException",
    (Conflict, "*"): "InvalidRequestException",
    (Invalid, "policy"): "MalformedPolicyDocumentException",
    (Invalid, "next_token"): "InvalidNextTokenException",
    (Invalid, "*"): "InvalidParameterException",
    (TooLarge, "*"): "InvalidParameterException",
}
_PAGE_MAX: Final = 100


class _SecretsManager:
    def __init__(self, store: Store, secrets: Secrets) -> None:
        self._store = store
        self._secrets = secrets

    async def create(self, call: Call) -> Output:
        params = call.params
        secret, version = await self._store.commit(
            self._secrets.create,
            params["Name"],
            _value_in(params),
            token=params.get("ClientRequestToken"),
            description=params.get("Description") or "",
            kms_key_id=params.get("KmsKeyId") or "",
            tags=_tags_in(params),
        )
        return {**_named(secret), "VersionId": version}

    async def get_value(self, call: Call) -> Output:
        params = call.params
        found = await self._store.view(
            self._secrets.value, params["SecretId"], params.get("VersionId"), params.get("VersionStage")
        )
        return _value_out(found)

    async def put_value(self, call: Call) -> Output:
        params = call.params
        value = _value_in(params)
        if value is None:
            raise Invalid("value", "You must provide either SecretString or SecretBinary.")
        secret, version = await self._store.commit(
            self._secrets.put,
            params["SecretId"],
            value,
            token=params.get("ClientRequestToken"),
            stages=params.get("VersionStages") or ("AWSCURRENT",),
        )
        return {**_named(secret), "VersionId": version.id, "VersionStages": version.stages}

    async def update(self, call: Call) -> Output:
        params = call.params
        secret, version = await self._store.commit(
            self._secrets.update,
            params["SecretId"],
            _value_in(params),
            token=params.get("ClientRequestToken"),
            description=params.get("Description"),
            kms_key_id=params.get("KmsKeyId"),
        )
        return {**_named(secret), "VersionId": version}

    async def describe(self, call: Call) -> Output:
        def read(view: View) -> Output:
            secret = self._secrets.get(view, call.params["SecretId"])
            stages = {version.id: version.stages for version in self._secrets.versions(view, secret)}
            return {**_secret_out(secret), "VersionIdsToStages": {name: has for name, has in stages.items() if has}}

        return await self._store.view(read)

    async def list(self, call: Call) -> Output:
        params = call.params

        def read(view: View) -> list[dict[str, Any]]:
            found = [
                secret
                for secret in self._secrets.list(view)
                if (params.get("IncludePlannedDeletion") or not secret.gone_ms)
                and all(_fits(secret, rule) for rule in params.get("Filters") or [])
            ]
            if params.get("SortOrder") == "desc":
                found.reverse()
            stages = [{v.id: v.stages for v in self._secrets.versions(view, secret)} for secret in found]
            return [
                {**_secret_out(secret), "SecretVersionsToStages": has}
                for secret, has in zip(found, stages, strict=True)
            ]

        return _page(params, await self._store.view(read), "SecretList")

    async def list_versions(self, call: Call) -> Output:
        params = call.params

        def read(view: View) -> tuple[Secret, list[dict[str, Any]]]:
            secret = self._secrets.get_live(view, params["SecretId"])
            versions = [
                {"VersionId": version.id, "VersionStages": version.stages, "CreatedDate": moment(version.created_ms)}
                for version in self._secrets.versions(view, secret)
                if version.stages or params.get("IncludeDeprecated")
            ]
            return secret, versions

        secret, versions = await self._store.view(read)
        return {**_page(params, versions, "Versions"), "ARN": secret.arn, "Name": secret.name}

    async def delete(self, call: Call) -> Output:
        params = call.params
        secret = await self._store.commit(
            self._secrets.delete,
            params["SecretId"],
            params.get("RecoveryWindowInDays"),
            force=bool(params.get("ForceDeleteWithoutRecovery")),
        )
        return {"ARN": secret.arn, "Name": secret.name, "DeletionDate": moment(secret.gone_ms)}

    async def restore(self, call: Call) -> Output:
        return _named(await self._store.commit(self._secrets.restore, call.params["SecretId"]))

    async def move_stage(self, call: Call) -> Output:
        params = call.params
        secret = await self._store.commit(
            self._secrets.move_stage,
            params["SecretId"],
            params["VersionStage"],
            params.get("MoveToVersionId"),
            params.get("RemoveFromVersionId"),
        )
        return _named(secret)

    async def tag(self, call: Call) -> Output:
        await self._store.commit(self._secrets.retag, call.params["SecretId"], _tags_in(call.params))
        return {}

    async def untag(self, call: Call) -> Output:
        await self._store.commit(self._secrets.retag, call.params["SecretId"], {}, call.params["TagKeys"])
        return {}

    async def get_policy(self, call: Call) -> Output:
        secret = await self._store.view(self._secrets.get_live, call.params["SecretId"])
        return {**_named(secret), "ResourcePolicy": secret.policy or None}

    async def put_policy(self, call: Call) -> Output:
        params = call.params
        text = params["ResourcePolicy"]
        return _named(await self._store.commit(self._secrets.set_policy, params["SecretId"], text))

    async def delete_policy(self, call: Call) -> Output:
        return _named(await self._store.commit(self._secrets.set_policy, call.params["SecretId"], ""))

    async def password(self, call: Call) -> Output:
        params = call.params
        made = random_password(
            params.get("PasswordLength") or 32,
            exclude=params.get("ExcludeCharacters") or "",
            lowercase=not params.get("ExcludeLowercase"),
            uppercase=not params.get("ExcludeUppercase"),
            numbers=not params.get("ExcludeNumbers"),
            punctuation=not params.get("ExcludePunctuation"),
            space=bool(params.get("IncludeSpace")),
            each=params.get("RequireEachIncludedType") is not False,
        )
        return {"RandomPassword": made}

    async def policy(self, call: Call) -> dict[str, Any] | None:
        """The secret's own policy. It also leaves the secret's ARN for ``_resource``, which has no store."""

        def read(view: View) -> Secret | None:
            try:
                return self._secrets.get(view, call.params.get("SecretId", ""))
            except NotFound:
                return None

        secret = await self._store.view(read)
        if secret is None:
            return None
        call.conditions["secretsmanager:SecretId"] = [secret.arn]
        return json.loads(secret.policy) if secret.policy else None


def _resource(call: Call) -> str:
    known = call.conditions.get("secretsmanager:SecretId")
    if known:
        return known[0]
    name = str(call.params.get("SecretId") or call.params.get("Name") or "")
    return name if name.startswith("arn:") else call.scope.arn("secretsmanager", f"secret:{name}")


def _everything(call: Call) -> str:
    return "*"


def _value_in(params: dict[str, Any]) -> str | bytes | None:
    text, binary = params.get("SecretString"), params.get("SecretBinary")
    if text is not None and binary is not None:
        raise Invalid("value", "You can't specify both a SecretString and a SecretBinary.")
    return text if text is not None else binary


def _value_out(found: SecretValue) -> dict[str, Any]:
    member = "SecretString" if isinstance(found.value, str) else "SecretBinary"
    return {
        **_named(found.secret),
        "VersionId": found.version.id,
        "VersionStages": found.version.stages,
        "CreatedDate": moment(found.version.created_ms),
        member: found.value,
    }


def _named(secret: Secret) -> dict[str, Any]:
    return {"ARN": secret.arn, "Name": secret.name}


def _secret_out(secret: Secret) -> dict[str, Any]:
    out: dict[str, Any] = {
        **_named(secret),
        "CreatedDate": moment(secret.created_ms),
        "LastChangedDate": moment(secret.changed_ms),
        "Tags": [{"Key": key, "Value": value} for key, value in secret.tags.items()],
    }
    if secret.description:
        out["Description"] = secret.description
    if secret.kms_key_id:
        out["KmsKeyId"] = secret.kms_key_id
    if secret.gone_ms:
        out["DeletedDate"] = moment(secret.deleted_ms)
    return out


def _fits(secret: Secret, rule: dict[str, Any]) -> bool:
    """Values are prefixes; ``!`` before one negates it. Raises ``Invalid("filter")``."""
    key = rule.get("Key", "all")
    texts: dict[str, Iterable[str]] = {
        "name": [secret.name],
        "description": [secret.description],
        "tag-key": secret.tags.keys(),
        "tag-value": secret.tags.values(),
        "all": [secret.name, secret.description, *secret.tags, *secret.tags.values()],
    }
    if key not in texts:
        raise Invalid("filter", f"There is no filter {str(key)[:50]!r} here.")

    def matches(value: str) -> bool:
        wanted = value.removeprefix("!")
        return any(text.startswith(wanted) for text in texts[key]) != value.startswith("!")

    return any(matches(value) for value in rule.get("Values") or [])


def _page(params: dict[str, Any], items: list[dict[str, Any]], member: str) -> dict[str, Any]:
    token = params.get("NextToken") or "0"
    if not (token.isascii() and token.isdigit()) or len(token) > 9:
        raise Invalid("next_token", "The NextToken value is invalid.")
    start = int(token)
    limit = params.get("MaxResults", _PAGE_MAX)
    if not 1 <= limit <= _PAGE_MAX:
        raise Invalid("max_results", f"MaxResults must be between 1 and {_PAGE_MAX}.")
    end = start + limit
    out: dict[str, Any] = {member: items[start:end]}
    if end < len(items):
        out["NextToken"] = str(end)
    return out


def _tags_in(params: dict[str, Any]) -> dict[str, str]:
    return {str(tag.get("Key", "")): str(tag.get("Value", "")) for tag in params.get("Tags") or []}


def secretsmanager_edge(store: Store, secrets: Secrets) -> ServiceEdge:
    """The edge."""
    manager = _SecretsManager(store, secrets)
    on_secret: dict[str, Callable[[Call], Awaitable[Output]]] = {
        "GetSecretValue": manager.get_value,
        "PutSecretValue": manager.put_value,
        "UpdateSecret": manager.update,
        "DescribeSecret": manager.describe,
        "ListSecretVersionIds": manager.list_versions,
        "DeleteSecret": manager.delete,
        "RestoreSecret": manager.restore,
        "UpdateSecretVersionStage": manager.move_stage,
        "TagResource": manager.tag,
        "UntagResource": manager.untag,
        "GetResourcePolicy": manager.get_policy,
        "PutResourcePolicy": manager.put_policy,
        "DeleteResourcePolicy": manager.delete_policy,
    }
    operations = {name: Operation(handler, _resource, manager.policy) for name, handler in on_secret.items()}
    operations["CreateSecret"] = Operation(manager.create, _resource)
    operations["ListSecrets"] = Operation(manager.list, _everything)
    operations["GetRandomPassword"] = Operation(manager.password, _everything)
    return ServiceEdge("secretsmanager", "secretsmanager", operations, _ERRORS)
