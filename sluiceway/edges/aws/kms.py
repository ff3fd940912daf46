"""KMS's protocol, for symmetric keys (AWS KMS API reference)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sluiceway.core.store import Store, Tx, View
from sluiceway.edges.aws.operations import Call, ErrorTable, Operation, Output, ServiceEdge, moment
from sluiceway.errors import AccessDenied, AlreadyExists, Conflict, Invalid, NotFound, NotImplementedYet, TooLarge
from sluiceway.services.access import authorize
from sluiceway.services.secrets import Keys
from sluiceway.services.secrets.keys import EncryptionKey

_ERRORS: Final[ErrorTable] = {
    (NotFound, "*"): "NotFoundException",
    (AlreadyExists, "*"): "AlreadyExistsException",
    (Conflict, "limit"): "LimitExceededException",
    (Conflict, "disabled"): "DisabledException",
    (Conflict, "*"): "KMSInvalidStateException",
    (Invalid, "ciphertext"): "InvalidCiphertextException",
    (Invalid, "wrong_key"): "IncorrectKeyException",
    (Invalid, "alias"): "InvalidAliasNameException",
    (Invalid, "policy"): "MalformedPolicyDocumentException",
    (Invalid, "marker"): "InvalidMarkerException",
    (Invalid, "tags"): "TagException",
    (TooLarge, "*"): "ValidationException",
}
_ALGORITHM: Final = "SYMMETRIC_DEFAULT"
_DATA_KEY_BYTES: Final = {"AES_256": 32, "AES_128": 16}
_RANDOM_BYTES_MAX: Final = 1024
_PAGE_MAX: Final = 100
_ARN: Final = "kms:KeyArn"  # where ``policy`` leaves the key's ARN for ``_resource``


class _Kms:
    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    async def create(self, call: Call) -> Output:
        params = call.params
        spec = params.get("KeySpec") or params.get("CustomerMasterKeySpec") or _ALGORITHM
        if spec != _ALGORITHM or params.get("KeyUsage", "ENCRYPT_DECRYPT") != "ENCRYPT_DECRYPT":
            raise NotImplementedYet("parameter", "Only symmetric keys for encryption are offered here yet.")

        def create(tx: Tx) -> EncryptionKey:
            key = self._keys.create(tx, params.get("Description") or "", params.get("Policy"), _tags_in(params))
            if params.get("Policy"):
                _check_lockout(call, key)
            return key

        return {"KeyMetadata": _metadata(await self._store.commit(create))}

    async def describe(self, call: Call) -> Output:
        return {"KeyMetadata": _metadata(await self._key(call))}

    async def list(self, call: Call) -> Output:
        keys = await self._store.view(lambda view: list(self._keys.list(view)))
        rows = [{"KeyId": key.id, "KeyArn": key.arn} for key in keys]
        return _page(call, rows, "Keys", "KeyId")

    async def encrypt(self, call: Call) -> Output:
        params = call.params
        key, blob = await self._store.view(self._keys.encrypt, params["KeyId"], params["Plaintext"], _context(params))
        return {"CiphertextBlob": blob, "KeyId": key.arn, "EncryptionAlgorithm": _ALGORITHM}

    async def decrypt(self, call: Call) -> Output:
        params = call.params
        if "CiphertextBlob" not in params:
            raise Invalid("ciphertext_missing", "CiphertextBlob must be provided.")
        key, plain = await self._store.view(
            self._keys.decrypt, params["CiphertextBlob"], _context(params), params.get("KeyId")
        )
        return {"KeyId": key.arn, "Plaintext": plain, "EncryptionAlgorithm": _ALGORITHM}

    async def data_key(self, call: Call) -> Output:
        plain = secrets.token_bytes(_data_key_bytes(call.params))
        key, blob = await self._store.view(self._keys.encrypt, call.params["KeyId"], plain, _context(call.params))
        return {"CiphertextBlob": blob, "Plaintext": plain, "KeyId": key.arn}

    async def data_key_sealed(self, call: Call) -> Output:
        made = await self.data_key(call)
        return {name: value for name, value in (made or {}).items() if name != "Plaintext"}

    async def random(self, call: Call) -> Output:
        size = call.params.get("NumberOfBytes") or 0
        if not 1 <= size <= _RANDOM_BYTES_MAX:
            raise Invalid("value", f"NumberOfBytes must be from 1 to {_RANDOM_BYTES_MAX}.")
        return {"Plaintext": secrets.token_bytes(size)}

    async def enable(self, call: Call) -> Output:
        await self._store.commit(self._keys.set_enabled, call.params["KeyId"], True)
        return {}

    async def disable(self, call: Call) -> Output:
        await self._store.commit(self._keys.set_enabled, call.params["KeyId"], False)
        return {}

    async def schedule(self, call: Call) -> Output:
        days = call.params.get("PendingWindowInDays") or 30
        key = await self._store.commit(self._keys.schedule_deletion, call.params["KeyId"], days)
        deletion = {"DeletionDate": moment(key.gone_ms), "KeyState": key.state, "PendingWindowInDays": days}
        return {"KeyId": key.arn, **deletion}

    async def cancel(self, call: Call) -> Output:
        return {"KeyId": (await self._store.commit(self._keys.cancel_deletion, call.params["KeyId"])).arn}

    async def get_policy(self, call: Call) -> Output:
        return {"Policy": (await self._key(call)).policy, "PolicyName": "default"}

    async def put_policy(self, call: Call) -> Output:
        def put(tx: Tx) -> None:
            self._keys.set_policy(tx, call.params["KeyId"], call.params["Policy"])
            _check_lockout(call, self._keys.get(tx, call.params["KeyId"]))

        await self._store.commit(put)
        return {}

    async def list_policies(self, call: Call) -> Output:
        await self._key(call)
        return {"PolicyNames": ["default"], "Truncated": False}

    async def create_alias(self, call: Call) -> Output:
        params = call.params
        await self._allow_alias(call)
        await self._store.commit(self._keys.create_alias, params["AliasName"], params["TargetKeyId"])
        return {}

    async def update_alias(self, call: Call) -> Output:
        params = call.params
        await self._allow_alias(call)
        await self._store.commit(self._keys.point_alias, params["AliasName"], params["TargetKeyId"])
        return {}

    async def delete_alias(self, call: Call) -> Output:
        await self._allow_alias(call)
        await self._store.commit(self._keys.delete_alias, call.params["AliasName"])
        return {}

    async def _allow_alias(self, call: Call) -> None:
        """The alias, and the key that it names now, beside the key that it is to name (KMS Developer Guide, "Control
        access to aliases")."""
        alias, action = str(call.params["AliasName"]), f"kms:{call.operation}"
        authorize(call.principal, action, call.scope.arn("kms", alias), call.conditions)
        if call.operation == "CreateAlias":
            return
        try:
            key = await self._store.view(self._keys.get, alias)
        except NotFound:
            return
        authorize(call.principal, action, key.arn, call.conditions, json.loads(key.policy), trust=True)

    async def list_aliases(self, call: Call) -> Output:
        wanted = (await self._key(call)).id if call.params.get("KeyId") else None
        aliases = await self._store.view(lambda view: list(self._keys.aliases(view)))
        rows = [
            {
                "AliasName": alias.name,
                "AliasArn": call.scope.arn("kms", alias.name),
                "TargetKeyId": alias.key_id,
                "CreationDate": moment(alias.created_ms),
                "LastUpdatedDate": moment(alias.created_ms),
            }
            for alias in aliases
            if wanted in (None, alias.key_id)
        ]
        return _page(call, rows, "Aliases", "AliasName")

    async def tag(self, call: Call) -> Output:
        await self._store.commit(self._keys.retag, call.params["KeyId"], _tags_in(call.params))
        return {}

    async def untag(self, call: Call) -> Output:
        await self._store.commit(self._keys.retag, call.params["KeyId"], {}, call.params["TagKeys"])
        return {}

    async def list_tags(self, call: Call) -> Output:
        key = await self._key(call)
        tags = [{"TagKey": name, "TagValue": value} for name, value in key.tags.items()]
        return {"Tags": tags, "Truncated": False}

    async def rotation(self, call: Call) -> Output:
        return {"KeyRotationEnabled": False, "KeyId": (await self._key(call)).arn}

    async def policy(self, call: Call) -> dict[str, Any] | None:
        """The key's own policy; it also leaves the key's ARN for ``_resource``, which has no store."""

        def read(view: View) -> EncryptionKey | None:
            name = call.params.get("KeyId") or call.params.get("TargetKeyId")
            try:
                if name:
                    return self._keys.get(view, name)
                return self._keys.key_of(view, call.params.get("CiphertextBlob") or b"")
            except (NotFound, Invalid):
                return None

        key = await self._store.view(read)
        if key is None:
            return None
        call.conditions[_ARN] = [key.arn]
        for name, value in _context(call.params).items():
            call.conditions[f"kms:EncryptionContext:{name}"] = [value]
        parsed: dict[str, Any] = json.loads(key.policy)
        return parsed

    async def _key(self, call: Call) -> EncryptionKey:
        return await self._store.view(self._keys.get, call.params["KeyId"])


def _check_lockout(call: Call, key: EncryptionKey) -> None:
    """Nobody is to lose a key by its policy (API reference, PutKeyPolicy, "BypassPolicyLockoutSafetyCheck"). Raises
    ``Invalid("policy")`` if the caller could not change it again."""
    if call.params.get("BypassPolicyLockoutSafetyCheck"):
        return
    try:
        authorize(call.principal, "kms:PutKeyPolicy", key.arn, call.conditions, json.loads(key.policy), trust=True)
    except AccessDenied:
        raise Invalid(
            "policy", "The new key policy will not allow you to update the key policy in the future."
        ) from None


def _resource(call: Call) -> str:
    known = call.conditions.get(_ARN)
    if known:
        return known[0]
    name = str(call.params.get("KeyId") or "")
    return name if name.startswith("arn:") or not name else call.scope.arn("kms", f"key/{name}")


def _everything(call: Call) -> str:
    return "*"


def _context(params: dict[str, Any]) -> dict[str, str]:
    return params.get("EncryptionContext") or {}


def _data_key_bytes(params: dict[str, Any]) -> int:
    spec, size = params.get("KeySpec"), params.get("NumberOfBytes")
    if (spec is None) == (size is None):
        raise Invalid("value", "Please specify either number of bytes or key spec.")
    if spec is not None:
        if spec not in _DATA_KEY_BYTES:
            raise Invalid("value", "KeySpec must be AES_256 or AES_128.")
        return _DATA_KEY_BYTES[spec]
    if not 1 <= int(size or 0) <= _RANDOM_BYTES_MAX:
        raise Invalid("value", f"NumberOfBytes must be from 1 to {_RANDOM_BYTES_MAX}.")
    return int(size or 0)


def _metadata(key: EncryptionKey) -> dict[str, Any]:
    out: dict[str, Any] = {
        "AWSAccountId": key.arn.split(":")[4],
        "KeyId": key.id,
        "Arn": key.arn,
        "CreationDate": moment(key.created_ms),
        "Enabled": key.enabled,
        "Description": key.description,
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": key.state,
        "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER",
        "CustomerMasterKeySpec": _ALGORITHM,
        "KeySpec": _ALGORITHM,
        "EncryptionAlgorithms": [_ALGORITHM],
        "MultiRegion": False,
    }
    if key.gone_ms:
        out["DeletionDate"] = moment(key.gone_ms)
    return out


def _page(call: Call, rows: list[dict[str, Any]], member: str, name: str) -> dict[str, Any]:
    """Rows stand in the order of ``name``; the marker is the last one's."""
    marker = call.params.get("Marker") or ""
    left = [row for row in rows if row[name] > marker]
    limit = call.params.get("Limit", _PAGE_MAX)
    if not 1 <= limit <= 1000:
        raise Invalid("limit", "Limit must be between 1 and 1000.")
    out: dict[str, Any] = {member: left[:limit], "Truncated": len(left) > limit}
    if len(left) > limit:
        out["NextMarker"] = left[limit - 1][name]
    return out


def _tags_in(params: dict[str, Any]) -> dict[str, str]:
    return {str(tag["TagKey"]): str(tag["TagValue"]) for tag in params.get("Tags") or []}


def kms_edge(store: Store, keys: Keys) -> ServiceEdge:
    """The edge."""
    kms = _Kms(store, keys)
    on_key: dict[str, Callable[[Call], Awaitable[Output]]] = {
        "DescribeKey": kms.describe,
        "Encrypt": kms.encrypt,
        "Decrypt": kms.decrypt,
        "GenerateDataKey": kms.data_key,
        "GenerateDataKeyWithoutPlaintext": kms.data_key_sealed,
        "EnableKey": kms.enable,
        "DisableKey": kms.disable,
        "ScheduleKeyDeletion": kms.schedule,
        "CancelKeyDeletion": kms.cancel,
        "GetKeyPolicy": kms.get_policy,
        "PutKeyPolicy": kms.put_policy,
        "ListKeyPolicies": kms.list_policies,
        "GetKeyRotationStatus": kms.rotation,
        "CreateAlias": kms.create_alias,
        "UpdateAlias": kms.update_alias,
        "TagResource": kms.tag,
        "UntagResource": kms.untag,
        "ListResourceTags": kms.list_tags,
    }
    operations = {name: Operation(handler, _resource, kms.policy, trust=True) for name, handler in on_key.items()}
    operations["CreateKey"] = Operation(kms.create, _everything)
    operations["ListKeys"] = Operation(kms.list, _everything)
    operations["ListAliases"] = Operation(kms.list_aliases, _everything)
    operations["DeleteAlias"] = Operation(
        kms.delete_alias, lambda call: call.scope.arn("kms", call.params["AliasName"])
    )
    operations["GenerateRandom"] = Operation(kms.random, _everything)
    return ServiceEdge("kms", "kms", operations, _ERRORS)
