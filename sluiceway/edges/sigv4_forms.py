"""Who signed a browser's form: AWS Signature Version 4 in the fields of a POST.

The string to sign is the form's policy, base64 as it was sent ("Authenticating requests: browser-based uploads
using POST", S3 API reference). What the policy says is not looked at here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sluiceway.core.identity import ANONYMOUS
from sluiceway.edges.sigv4 import ALGORITHM, UNSIGNED, SignatureVerifier, Verified, other_mechanism
from sluiceway.errors import Invalid, Unauthenticated

#: The fields of a signed form, as S3's errors spell them; forms may in any case.
_VERSION_4: Final = ("X-Amz-Signature", "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date")
_VERSION_2: Final = ("signature", "awsaccesskeyid")


def verify_form(verifier: SignatureVerifier, fields: Mapping[str, str]) -> Verified:
    """The signer of a form whose ``fields`` have names in lower case; ``ANONYMOUS`` if it has no policy.

    Raises ``Invalid("argument")`` for a field that is missing, and as ``SignatureVerifier.verify_text``.
    """
    policy = fields.get("policy")
    if not policy:
        return Verified(ANONYMOUS, UNSIGNED)
    if not any(name.lower() in fields for name in _VERSION_4):
        if any(name in fields for name in _VERSION_2):
            raise other_mechanism("AWS")
        raise Unauthenticated("missing", "Access Denied")
    for name in _VERSION_4:
        if not fields.get(name.lower()):
            raise missing_field(name)
    algorithm = fields["x-amz-algorithm"]
    if algorithm.startswith("AWS4-ECDSA"):
        raise other_mechanism(algorithm)
    if algorithm != ALGORITHM:
        raise Unauthenticated("malformed_query", f"X-Amz-Algorithm only supports {ALGORITHM}.")
    return verifier.verify_text(
        policy,
        fields["x-amz-credential"],
        fields["x-amz-date"],
        fields["x-amz-signature"],
        fields.get("x-amz-security-token") or None,
    )


def missing_field(name: str) -> Invalid:
    """S3's words for a field that it needs before the file."""
    return Invalid(
        "argument",
        f"Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields.",
        ArgumentName=name,
        ArgumentValue="",
    )
