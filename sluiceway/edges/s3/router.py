"""Which operation a request is: one table over method, level and subresource.

The S3 protocol names operations by a query parameter without a value ("?policy"). What it has and this
server has not is in no row of ``ROUTES`` and is answered by NotImplemented.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sluiceway.edges.http import Headers
from sluiceway.edges.s3 import (
    acl,
    attributes,
    buckets,
    delete,
    get,
    lifecycle,
    list,
    multipart,
    post,
    public,
    put,
    restore,
    tagging,
    unset,
    versions,
)
from sluiceway.edges.s3.address import Address
from sluiceway.edges.s3.call import Handler, Look
from sluiceway.errors import Invalid, NotFound, NotImplementedYet

Level = Literal["service", "bucket", "object"]


@dataclass(frozen=True, slots=True)
class Route:
    """``name`` is the service model's; ``action`` is what policies call it (empty: the handler decides), and
    ``version_action`` where the request names a version (empty: it can't). ``look`` reads what the handler wants
    together with the bucket, where nothing can refuse it."""

    name: str
    action: str
    handler: Handler
    version_action: str = ""
    look: Look | None = None

    def versioned(self) -> str:
        """The action where a version is named. Raises ``Invalid("argument")``."""
        if not self.version_action:
            raise Invalid("argument", "This operation does not accept a version-id.", ArgumentName="versionId")
        return self.version_action


#: Parameters that choose an operation (S3 API reference, every operation's request syntax).
SUBRESOURCES: Final = frozenset(
    {
        "abac",
        "accelerate",
        "acl",
        "analytics",
        "annotation",
        "attributes",
        "cors",
        "delete",
        "encryption",
        "intelligent-tiering",
        "inventory",
        "legal-hold",
        "lifecycle",
        "location",
        "logging",
        "metadataConfiguration",
        "metadataTable",
        "metrics",
        "notification",
        "object-lock",
        "ownershipControls",
        "policy",
        "policyStatus",
        "publicAccessBlock",
        "renameObject",
        "replication",
        "requestPayment",
        "restore",
        "retention",
        "select",
        "session",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versioning",
        "versions",
        "website",
    }
)

ROUTES: Final[Mapping[tuple[Level, str, str], Route]] = {
    ("service", "GET", ""): Route("ListBuckets", "s3:ListAllMyBuckets", buckets.list_buckets),
    ("bucket", "PUT", ""): Route("CreateBucket", "s3:CreateBucket", buckets.create_bucket),
    ("bucket", "HEAD", ""): Route("HeadBucket", "s3:ListBucket", buckets.head_bucket),
    ("bucket", "DELETE", ""): Route("DeleteBucket", "s3:DeleteBucket", buckets.delete_bucket),
    ("bucket", "GET", ""): Route("ListObjects", "s3:ListBucket", list.list_v1),
    ("bucket", "GET", "list-type"): Route("ListObjectsV2", "s3:ListBucket", list.list_v2),
    ("bucket", "GET", "uploads"): Route(
        "ListMultipartUploads", "s3:ListBucketMultipartUploads", multipart.list_uploads
    ),
    # Browser forms ("POST Object") are no operation of the model: they are PutObject by another way.
    ("bucket", "POST", ""): Route("PutObject", "", post.post_object),
    ("bucket", "POST", "delete"): Route("DeleteObjects", "", delete.delete_objects),
    ("bucket", "GET", "location"): Route("GetBucketLocation", "s3:GetBucketLocation", buckets.get_location),
    ("bucket", "GET", "versioning"): Route("GetBucketVersioning", "s3:GetBucketVersioning", versions.get_versioning),
    ("bucket", "PUT", "versioning"): Route("PutBucketVersioning", "s3:PutBucketVersioning", versions.put_versioning),
    ("bucket", "GET", "versions"): Route("ListObjectVersions", "s3:ListBucketVersions", versions.list_object_versions),
    ("bucket", "GET", "policy"): Route("GetBucketPolicy", "s3:GetBucketPolicy", buckets.get_policy),
    ("bucket", "PUT", "policy"): Route("PutBucketPolicy", "s3:PutBucketPolicy", buckets.put_policy),
    ("bucket", "DELETE", "policy"): Route("DeleteBucketPolicy", "s3:DeleteBucketPolicy", buckets.delete_policy),
    ("bucket", "GET", "policyStatus"): Route("GetBucketPolicyStatus", "s3:GetBucketPolicyStatus", public.policy_status),
    ("bucket", "GET", "publicAccessBlock"): Route(
        "GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock", public.get_block
    ),
    ("bucket", "PUT", "publicAccessBlock"): Route(
        "PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock", public.put_block
    ),
    ("bucket", "DELETE", "publicAccessBlock"): Route(
        "DeletePublicAccessBlock", "s3:PutBucketPublicAccessBlock", public.delete_block
    ),
    ("bucket", "GET", "acl"): Route("GetBucketAcl", "s3:GetBucketAcl", acl.get_bucket_acl),
    ("bucket", "PUT", "acl"): Route("PutBucketAcl", "s3:PutBucketAcl", acl.put_bucket_acl),
    ("bucket", "GET", "ownershipControls"): Route(
        "GetBucketOwnershipControls", "s3:GetBucketOwnershipControls", acl.get_ownership
    ),
    ("bucket", "PUT", "ownershipControls"): Route(
        "PutBucketOwnershipControls", "s3:PutBucketOwnershipControls", acl.put_ownership
    ),
    ("bucket", "DELETE", "ownershipControls"): Route(
        "DeleteBucketOwnershipControls", "s3:PutBucketOwnershipControls", acl.delete_ownership
    ),
    ("bucket", "GET", "cors"): Route("GetBucketCors", "s3:GetBucketCORS", buckets.get_cors),
    ("bucket", "PUT", "cors"): Route("PutBucketCors", "s3:PutBucketCORS", buckets.put_cors),
    ("bucket", "DELETE", "cors"): Route("DeleteBucketCors", "s3:PutBucketCORS", buckets.delete_cors),
    ("bucket", "GET", "tagging"): Route("GetBucketTagging", "s3:GetBucketTagging", buckets.get_tagging),
    ("bucket", "PUT", "tagging"): Route("PutBucketTagging", "s3:PutBucketTagging", buckets.put_tagging),
    ("bucket", "DELETE", "tagging"): Route("DeleteBucketTagging", "s3:PutBucketTagging", buckets.delete_tagging),
    ("bucket", "GET", "notification"): Route(
        "GetBucketNotificationConfiguration", "s3:GetBucketNotification", buckets.get_notification
    ),
    ("bucket", "PUT", "notification"): Route(
        "PutBucketNotificationConfiguration", "s3:PutBucketNotification", buckets.put_notification
    ),
    ("object", "PUT", ""): Route("PutObject", "s3:PutObject", put.put_object),
    ("object", "PUT", "copy"): Route("CopyObject", "s3:PutObject", put.copy_object),
    ("object", "GET", ""): Route("GetObject", "s3:GetObject", get.get_object, "s3:GetObjectVersion", get.look),
    ("object", "HEAD", ""): Route(
        "HeadObject", "s3:GetObject", get.head_object, "s3:GetObjectVersion", get.look_at_head
    ),
    ("object", "DELETE", ""): Route("DeleteObject", "s3:DeleteObject", delete.delete_object, "s3:DeleteObjectVersion"),
    ("object", "GET", "acl"): Route("GetObjectAcl", "s3:GetObjectAcl", acl.get_object_acl, "s3:GetObjectVersionAcl"),
    ("object", "PUT", "acl"): Route("PutObjectAcl", "s3:PutObjectAcl", acl.put_object_acl, "s3:PutObjectVersionAcl"),
    ("object", "GET", "tagging"): Route(
        "GetObjectTagging", "s3:GetObjectTagging", tagging.get_tagging, "s3:GetObjectVersionTagging"
    ),
    ("object", "PUT", "tagging"): Route(
        "PutObjectTagging", "s3:PutObjectTagging", tagging.put_tagging, "s3:PutObjectVersionTagging"
    ),
    ("object", "DELETE", "tagging"): Route(
        "DeleteObjectTagging", "s3:DeleteObjectTagging", tagging.delete_tagging, "s3:DeleteObjectVersionTagging"
    ),
    ("object", "POST", "uploads"): Route("CreateMultipartUpload", "s3:PutObject", multipart.create),
    ("object", "PUT", "uploadId"): Route("UploadPart", "s3:PutObject", multipart.upload_part),
    ("object", "PUT", "uploadId copy"): Route("UploadPartCopy", "s3:PutObject", multipart.upload_part_copy),
    ("object", "POST", "uploadId"): Route("CompleteMultipartUpload", "s3:PutObject", multipart.complete),
    ("object", "DELETE", "uploadId"): Route("AbortMultipartUpload", "s3:AbortMultipartUpload", multipart.abort),
    ("object", "GET", "uploadId"): Route("ListParts", "s3:ListMultipartUploadParts", multipart.list_parts),
    ("object", "GET", "attributes"): Route(
        "GetObjectAttributes", "s3:GetObjectAttributes", attributes.get_attributes, "s3:GetObjectVersionAttributes"
    ),
    ("object", "POST", "restore"): Route(
        "RestoreObject", "s3:RestoreObject", restore.restore_object, "s3:RestoreObject"
    ),
    ("bucket", "GET", "lifecycle"): Route(
        "GetBucketLifecycleConfiguration", "s3:GetLifecycleConfiguration", lifecycle.get_lifecycle
    ),
    ("bucket", "PUT", "lifecycle"): Route(
        "PutBucketLifecycleConfiguration", "s3:PutLifecycleConfiguration", lifecycle.put_lifecycle
    ),
    ("bucket", "DELETE", "lifecycle"): Route(
        "DeleteBucketLifecycle", "s3:PutLifecycleConfiguration", lifecycle.delete_lifecycle
    ),
    ("bucket", "GET", "encryption"): Route(
        "GetBucketEncryption", "s3:GetEncryptionConfiguration", lifecycle.get_encryption
    ),
    ("bucket", "PUT", "encryption"): Route(
        "PutBucketEncryption", "s3:PutEncryptionConfiguration", lifecycle.put_encryption
    ),
    ("bucket", "DELETE", "encryption"): Route(
        "DeleteBucketEncryption", "s3:PutEncryptionConfiguration", lifecycle.delete_encryption
    ),
    ("bucket", "GET", "logging"): Route("GetBucketLogging", "s3:GetBucketLogging", unset.nothing),
    ("bucket", "PUT", "logging"): Route("PutBucketLogging", "s3:PutBucketLogging", unset.no_logging),
    ("bucket", "PUT", "accelerate"): Route(
        "PutBucketAccelerateConfiguration", "s3:PutAccelerateConfiguration", unset.no_acceleration
    ),
    ("bucket", "PUT", "requestPayment"): Route(
        "PutBucketRequestPayment", "s3:PutBucketRequestPayment", unset.owner_pays
    ),
    ("bucket", "DELETE", "website"): Route("DeleteBucketWebsite", "s3:DeleteBucketWebsite", unset.removed),
    ("bucket", "DELETE", "replication"): Route(
        "DeleteBucketReplication", "s3:PutReplicationConfiguration", unset.removed
    ),
    ("bucket", "GET", "abac"): Route("GetBucketAbac", "s3:GetBucketAbac", unset.no_abac),
    ("bucket", "GET", "accelerate"): Route(
        "GetBucketAccelerateConfiguration", "s3:GetAccelerateConfiguration", unset.nothing
    ),
    ("bucket", "GET", "requestPayment"): Route(
        "GetBucketRequestPayment", "s3:GetBucketRequestPayment", unset.request_payment
    ),
    ("bucket", "GET", "website"): Route("GetBucketWebsite", "s3:GetBucketWebsite", unset.website),
    ("bucket", "GET", "replication"): Route(
        "GetBucketReplication", "s3:GetReplicationConfiguration", unset.replication
    ),
    ("bucket", "GET", "object-lock"): Route(
        "GetObjectLockConfiguration", "s3:GetBucketObjectLockConfiguration", unset.object_lock
    ),
    ("bucket", "GET", "analytics"): Route(
        "ListBucketAnalyticsConfigurations", "s3:GetAnalyticsConfiguration", unset.listed
    ),
    ("bucket", "GET", "inventory"): Route(
        "ListBucketInventoryConfigurations", "s3:GetInventoryConfiguration", unset.listed
    ),
    ("bucket", "GET", "metrics"): Route("ListBucketMetricsConfigurations", "s3:GetMetricsConfiguration", unset.listed),
    ("bucket", "GET", "intelligent-tiering"): Route(
        "ListBucketIntelligentTieringConfigurations", "s3:GetIntelligentTieringConfiguration", unset.listed
    ),
    ("object", "GET", "retention"): Route(
        "GetObjectRetention", "s3:GetObjectRetention", unset.unlocked, "s3:GetObjectRetention"
    ),
    ("object", "GET", "legal-hold"): Route(
        "GetObjectLegalHold", "s3:GetObjectLegalHold", unset.unlocked, "s3:GetObjectLegalHold"
    ),
}


def route(method: str, address: Address, query: Mapping[str, str], headers: Headers) -> Route:
    """Raises ``NotImplementedYet("operation")`` or, for a method that S3 does not have there,
    ``NotFound("operation")``."""
    level: Level = "object" if address.key else "bucket" if address.bucket else "service"
    sub = _subresource(query) if query else ""
    if level == "object" and method == "PUT" and "x-amz-copy-source" in headers and sub in ("", "uploadId"):
        sub = f"{sub} copy".strip()
    if level == "bucket" and not sub and method == "GET" and query.get("list-type") == "2":
        sub = "list-type"
    found = ROUTES.get((level, method, sub))
    if found is not None:
        return found
    if sub:
        raise NotImplementedYet(
            "operation", "A header or query you provided implies functionality that is not implemented."
        )
    raise NotFound(
        "operation",
        "The specified method is not allowed against this resource.",
        Method=method[:20],
        ResourceType=level.upper(),
    )


def _subresource(query: Mapping[str, str]) -> str:
    for name in query:
        if name in SUBRESOURCES:
            return name
    return ""
