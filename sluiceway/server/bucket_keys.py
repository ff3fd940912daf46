"""The keys that buckets' encryption settings name, looked up in the KMS service.

(S3 User Guide, "Using server-side encryption with AWS KMS keys".)
"""

from __future__ import annotations

from sluiceway.core.store import Tx
from sluiceway.errors import Conflict, NotFound
from sluiceway.services.objects.encryption import MANAGED_KEY
from sluiceway.services.secrets import Keys


class BucketKeys:
    """See ``services.objects.encryption.KeyPort``. The account's own key for S3 is made when it is first asked for."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def arn(self, tx: Tx, name: str) -> str:
        """Raises ``NotFound("kms_key")``, ``Conflict("kms_disabled" | "kms_state")``."""
        try:
            key = self._keys.managed(tx, MANAGED_KEY) if name == MANAGED_KEY else self._keys.get(tx, name)
        except NotFound as error:
            raise NotFound("kms_key", error.message) from None
        if key.gone_ms:
            raise Conflict("kms_state", f"{key.arn} is pending deletion.")
        if not key.enabled:
            raise Conflict("kms_disabled", f"{key.arn} is disabled.")
        return key.arn
