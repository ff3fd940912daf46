"""What is said about encryption at rest: by a bucket, by a request, and by the object that results.

It is checked, kept and given back as S3 does. The bytes themselves are as safe as the disk that they are on: this
server encrypts no object. (S3 User Guide, "Setting default server-side encryption behavior for Amazon S3 buckets".)
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any, Final, Protocol

from sluiceway.core.store import Tx, View
from sluiceway.errors import Invalid
from sluiceway.services.objects.rows import SETTINGS, Bucket, bucket_of
from sluiceway.services.objects.values import Encryption

SETTING: Final = "encryption"
PLAIN: Final = "AES256"
KMS: Final = ("aws:kms", "aws:kms:dsse")
#: Characters of an encryption context, which is kept in the object's row; KMS's own limit for one.
_CONTEXT_CHARS_MAX: Final = 8192
#: The key that S3 uses where KMS is asked for and no key is named.
MANAGED_KEY: Final = "alias/aws/s3"


class KeyPort(Protocol):
    """Where encryption keys are looked up. Implemented by the wiring over the KMS service."""

    def arn(self, tx: Tx, name: str) -> str:
        """The ARN of a key that can be used, by its id, ARN or alias.

        Raises ``NotFound("kms_key")``, ``Conflict("kms_disabled" | "kms_state")``.
        """


class Encrypting:
    """Decides what is kept about the encryption of each object."""

    def __init__(self, keys: KeyPort) -> None:
        self._keys = keys

    def effective(self, tx: Tx, bucket: Bucket, asked: Encryption | None) -> Encryption | None:
        """What a new object has: what was asked, else the bucket's default; None for S3's own keys.

        Raises as ``KeyPort.arn``.
        """
        configured = SETTING in bucket.settings
        if asked is None and not configured:
            return None
        default = _default(tx, bucket) if configured else Encryption(PLAIN)
        chosen = asked if asked is not None and asked.algorithm else default
        if chosen.algorithm == PLAIN:
            return None
        wanted = None if asked is None else asked.bucket_key
        bucket_key = bool(default.bucket_key if wanted is None else wanted) and chosen.algorithm == "aws:kms"
        return replace(chosen, key=self._keys.arn(tx, chosen.key or MANAGED_KEY), bucket_key=bucket_key)


def configuration(view: View, bucket_name: str) -> list[dict[str, Any]]:
    """The bucket's rules as the S3 API names them; every bucket has one. Raises ``NotFound("bucket")``."""
    bucket = bucket_of(view, bucket_name)
    kept = view.get(SETTINGS, (bucket_name, SETTING)) if SETTING in bucket.settings else None
    return kept or [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": PLAIN}, "BucketKeyEnabled": False}]


def check_configuration(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules as they are kept. Raises ``Invalid("malformed" | "argument")``.

    (S3 API reference, PutBucketEncryption, ServerSideEncryptionByDefault.)
    """
    if len(rules) != 1:
        raise Invalid("malformed", "The XML you provided was not well-formed or did not validate.")
    rule = rules[0]
    default = rule.get("ApplyServerSideEncryptionByDefault") or {"SSEAlgorithm": PLAIN}
    algorithm, key = default.get("SSEAlgorithm"), default.get("KMSMasterKeyID")
    if algorithm not in (PLAIN, *KMS):
        raise Invalid("malformed", "The XML you provided was not well-formed or did not validate.")
    if key and algorithm == PLAIN:
        raise Invalid(
            "argument",
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse",
            ArgumentName="KMSMasterKeyID",
        )
    bucket_key = bool(rule.get("BucketKeyEnabled"))
    if bucket_key and algorithm == "aws:kms:dsse":
        raise Invalid(
            "argument", "BucketKeyEnabled is not supported with aws:kms:dsse", ArgumentName="BucketKeyEnabled"
        )
    kept = {"SSEAlgorithm": algorithm} | ({"KMSMasterKeyID": key} if key else {})
    made: dict[str, Any] = {"ApplyServerSideEncryptionByDefault": kept, "BucketKeyEnabled": bucket_key}
    if rule.get("BlockedEncryptionTypes"):
        made["BlockedEncryptionTypes"] = rule["BlockedEncryptionTypes"]
    return [made]


def check_asked(algorithm: str, key: str, bucket_key: str, context: str) -> Encryption | None:
    """What request headers ask for; an empty text is a header that is not there. An empty algorithm in what is
    returned is the bucket's default one.

    Raises ``Invalid("argument")``. (S3 API reference, PutObject.)
    """
    name = "x-amz-server-side-encryption"
    if algorithm and algorithm not in (PLAIN, *KMS):
        raise _argument(name, algorithm, "The encryption method specified is not supported")
    if bucket_key not in ("", "true", "false"):
        raise _argument(f"{name}-bucket-key-enabled", bucket_key, "The header's value is true or false")
    for header, value in ((f"{name}-aws-kms-key-id", key), (f"{name}-context", context)):
        if value and algorithm not in KMS:
            raise _argument(header, value, "The header is for server-side encryption with aws:kms only")
    if context and not _is_context(context):
        raise _argument(
            f"{name}-context", context, "The encryption context is not base64 of a small JSON object of texts"
        )
    if bucket_key == "true" and algorithm == "aws:kms:dsse":
        raise _argument(f"{name}-bucket-key-enabled", bucket_key, "S3 Bucket Keys are not supported with aws:kms:dsse")
    if not algorithm and not bucket_key:
        return None
    return Encryption(algorithm, key, bucket_key == "true" if bucket_key else None, context)


def _is_context(text: str) -> bool:
    if len(text) > _CONTEXT_CHARS_MAX:
        return False
    try:
        found = json.loads(base64.b64decode(text, validate=True))
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and all(isinstance(value, str) for value in found.values())


def _argument(name: str, value: str, message: str) -> Invalid:
    return Invalid("argument", message, ArgumentName=name, ArgumentValue=value[:200])


def _default(view: View, bucket: Bucket) -> Encryption:
    rule = configuration(view, bucket.name)[0]
    default = rule["ApplyServerSideEncryptionByDefault"]
    return Encryption(default["SSEAlgorithm"], default.get("KMSMasterKeyID", ""), rule["BucketKeyEnabled"])
