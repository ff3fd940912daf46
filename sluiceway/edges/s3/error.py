"""Domain errors to S3's codes and statuses (S3 API reference, "Error responses")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sluiceway.errors import (
    AccessDenied,
    AlreadyExists,
    Conflict,
    DomainError,
    Invalid,
    NotFound,
    NotImplementedYet,
    PreconditionFailed,
    Throttled,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

ERRORS: Final[Mapping[tuple[type[DomainError], str], tuple[str, int]]] = {
    (NotFound, "bucket"): ("NoSuchBucket", 404),
    (NotFound, "key"): ("NoSuchKey", 404),
    (NotFound, "upload"): ("NoSuchUpload", 404),
    (NotFound, "version"): ("NoSuchVersion", 404),
    (NotFound, "marker"): ("MethodNotAllowed", 405),
    (NotFound, "policy"): ("NoSuchBucketPolicy", 404),
    (NotFound, "public_access"): ("NoSuchPublicAccessBlockConfiguration", 404),
    (NotFound, "ownership"): ("OwnershipControlsNotFoundError", 404),
    (NotFound, "cors"): ("NoSuchCORSConfiguration", 404),
    (NotFound, "lifecycle"): ("NoSuchLifecycleConfiguration", 404),
    (NotFound, "website"): ("NoSuchWebsiteConfiguration", 404),
    (NotFound, "replication"): ("ReplicationConfigurationNotFoundError", 404),
    (NotFound, "object_lock"): ("ObjectLockConfigurationNotFoundError", 404),
    (NotFound, "configuration"): ("NoSuchConfiguration", 404),
    (NotFound, "tags"): ("NoSuchTagSet", 404),
    (NotFound, "kms_key"): ("KMS.NotFoundException", 400),
    (Conflict, "kms_disabled"): ("KMS.DisabledException", 400),
    (Conflict, "kms_state"): ("KMS.KMSInvalidStateException", 400),
    (NotFound, "operation"): ("MethodNotAllowed", 405),
    (AlreadyExists, "bucket"): ("BucketAlreadyOwnedByYou", 409),
    (Conflict, "bucket"): ("BucketNotEmpty", 409),
    (Conflict, "archived"): ("InvalidObjectState", 403),
    (Conflict, "active"): ("ObjectAlreadyInActiveTierError", 403),
    (Conflict, "restoring"): ("RestoreAlreadyInProgress", 409),
    (Conflict, "buckets"): ("TooManyBuckets", 400),
    (Conflict, "*"): ("OperationAborted", 409),
    (PreconditionFailed, "*"): ("PreconditionFailed", 412),
    (TooLarge, "key"): ("KeyTooLongError", 400),
    (TooLarge, "metadata"): ("MetadataTooLarge", 400),
    (TooLarge, "policy"): ("MalformedPolicy", 400),
    (TooLarge, "object"): ("EntityTooLarge", 400),
    (TooLarge, "form"): ("MaxPostPreDataLengthExceeded", 400),
    (TooLarge, "request"): ("MaxMessageLengthExceeded", 400),
    (TooLarge, "*"): ("EntityTooLarge", 400),
    (Invalid, "bucket_name"): ("InvalidBucketName", 400),
    (Invalid, "uri"): ("InvalidURI", 400),
    (Invalid, "argument"): ("InvalidArgument", 400),
    (Invalid, "request"): ("InvalidRequest", 400),
    (Invalid, "cors"): ("InvalidRequest", 400),
    (Invalid, "malformed"): ("MalformedXML", 400),
    (Invalid, "xml"): ("MalformedXML", 400),
    (Invalid, "serialization"): ("MalformedXML", 400),
    (Invalid, "policy"): ("MalformedPolicy", 400),
    (Invalid, "principal"): ("MalformedPolicy", 400),
    (Invalid, "versioning"): ("IllegalVersioningConfigurationException", 400),
    (Invalid, "location"): ("InvalidLocationConstraint", 400),
    (Invalid, "part"): ("InvalidPart", 400),
    (Invalid, "part_order"): ("InvalidPartOrder", 400),
    (Invalid, "part_size"): ("EntityTooSmall", 400),
    (Invalid, "small"): ("EntityTooSmall", 400),
    (Invalid, "form"): ("MalformedPOSTRequest", 400),
    (Invalid, "form_policy"): ("InvalidPolicyDocument", 400),
    (Invalid, "range"): ("InvalidRange", 416),
    (Invalid, "part_range"): ("InvalidPartNumber", 416),
    (Invalid, "digest"): ("BadDigest", 400),
    (Invalid, "digest_form"): ("InvalidDigest", 400),
    (Invalid, "sha256"): ("XAmzContentSHA256Mismatch", 400),
    (Invalid, "incomplete"): ("IncompleteBody", 400),
    (Invalid, "length"): ("MissingContentLength", 411),
    (Invalid, "request_timeout"): ("RequestTimeout", 400),
    (Invalid, "storage_class"): ("InvalidStorageClass", 400),
    (Invalid, "redirect"): ("InvalidRedirectLocation", 400),
    (Invalid, "acl"): ("AccessControlListNotSupported", 400),
    (Invalid, "acl_form"): ("MalformedACLError", 400),
    (Invalid, "acl_missing"): ("MissingSecurityHeader", 400),
    (Invalid, "acl_twice"): ("UnexpectedContent", 400),
    (Invalid, "acl_email"): ("MethodNotAllowed", 405),
    (Invalid, "acl_ownership"): ("InvalidBucketAclWithObjectOwnership", 400),
    (Invalid, "acl_blocked"): ("InvalidBucketAclWithBlockPublicAccessError", 400),
    (Invalid, "tag"): ("InvalidTag", 400),
    (Invalid, "tags"): ("BadRequest", 400),
    (Invalid, "preflight"): ("BadRequest", 400),
    (Invalid, "checksum_algorithm"): ("InvalidRequest", 400),
    (Invalid, "*"): ("InvalidArgument", 400),
    (AccessDenied, "cors"): ("AccessForbidden", 403),
    (AccessDenied, "*"): ("AccessDenied", 403),
    (Unauthenticated, "unknown_key"): ("InvalidAccessKeyId", 403),
    (Unauthenticated, "signature"): ("SignatureDoesNotMatch", 403),
    (Unauthenticated, "chunk"): ("SignatureDoesNotMatch", 403),
    (Unauthenticated, "skew"): ("RequestTimeTooSkewed", 403),
    (Unauthenticated, "expired"): ("AccessDenied", 403),
    (Unauthenticated, "not_yet_valid"): ("AccessDenied", 403),
    (Unauthenticated, "malformed"): ("AuthorizationHeaderMalformed", 400),
    (Unauthenticated, "malformed_query"): ("AuthorizationQueryParametersError", 400),
    (Unauthenticated, "scope"): ("AuthorizationHeaderMalformed", 400),
    (Unauthenticated, "token"): ("InvalidToken", 400),
    (Unauthenticated, "token_expired"): ("ExpiredToken", 400),
    (Unauthenticated, "*"): ("AccessDenied", 403),
    (Throttled, "*"): ("SlowDown", 503),
    (Unavailable, "*"): ("ServiceUnavailable", 503),
    (NotImplementedYet, "*"): ("NotImplemented", 501),
    (NotFound, "*"): ("NoSuchKey", 404),
}


def code_of(error: DomainError) -> tuple[str, int]:
    """The code and status; what is in no row is internal."""
    for kind in (error.kind, "*"):
        found = ERRORS.get((type(error), kind))
        if found is not None:
            return found
    return "InternalError", 500


def fields_of(error: DomainError) -> dict[str, str]:
    """Further elements of the error body: details whose names are S3's (they begin with a capital)."""
    return {name: str(value) for name, value in error.detail.items() if name[:1].isupper()}
