"""The actions of Amazon S3 that a bucket policy can speak of, and the condition keys that each of them knows.

(Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3".) Access points, jobs and
storage lens have actions of their own, which stand on resources that no bucket policy can name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sluiceway.core.policy.matching import like_action

_ON_BUCKETS: Final = """
    CreateBucket CreateBucketMetadataTableConfiguration DeleteBucket DeleteBucketMetadataTableConfiguration
    DeleteBucketPolicy DeleteBucketWebsite GetAccelerateConfiguration GetAnalyticsConfiguration GetBucketAbac
    GetBucketAcl GetBucketCORS GetBucketLocation GetBucketLogging GetBucketMetadataTableConfiguration
    GetBucketNotification GetBucketObjectLockConfiguration GetBucketOwnershipControls GetBucketPolicy
    GetBucketPolicyStatus GetBucketPublicAccessBlock GetBucketRequestPayment GetBucketTagging GetBucketVersioning
    GetBucketWebsite GetEncryptionConfiguration GetIntelligentTieringConfiguration GetInventoryConfiguration
    GetLifecycleConfiguration GetMetricsConfiguration GetReplicationConfiguration ListBucket
    ListBucketMultipartUploads ListBucketVersions ListTagsForResource PauseReplication PutAccelerateConfiguration
    PutAnalyticsConfiguration PutBucketAbac PutBucketAcl PutBucketCORS PutBucketLogging PutBucketNotification
    PutBucketObjectLockConfiguration PutBucketOwnershipControls PutBucketPolicy PutBucketPublicAccessBlock
    PutBucketRequestPayment PutBucketTagging PutBucketVersioning PutBucketWebsite PutEncryptionConfiguration
    PutIntelligentTieringConfiguration PutInventoryConfiguration PutLifecycleConfiguration PutMetricsConfiguration
    PutReplicationConfiguration TagResource UntagResource UpdateBucketMetadataInventoryTableConfiguration
    UpdateBucketMetadataJournalTableConfiguration
"""
_ON_OBJECTS: Final = """
    AbortMultipartUpload BypassGovernanceRetention DeleteObject DeleteObjectTagging DeleteObjectVersion
    DeleteObjectVersionTagging GetObject GetObjectAcl GetObjectAttributes GetObjectLegalHold GetObjectRetention
    GetObjectTagging GetObjectTorrent GetObjectVersion GetObjectVersionAcl GetObjectVersionAttributes
    GetObjectVersionForReplication GetObjectVersionTagging GetObjectVersionTorrent InitiateReplication
    ListMultipartUploadParts ObjectOwnerOverrideToBucketOwner PutObject PutObjectAcl PutObjectLegalHold
    PutObjectRetention PutObjectTagging PutObjectVersionAcl PutObjectVersionTagging ReplicateDelete ReplicateObject
    ReplicateTags RestoreObject UpdateObjectEncryption
"""
#: Known, but on no bucket and no object.
_ELSEWHERE: Final = """
    CreateAccessPoint CreateJob DeleteAccessPoint GetAccessPoint GetAccountPublicAccessBlock GetDataAccess
    ListAccessPoints ListAllMyBuckets ListJobs ListStorageLensConfigurations PutAccountPublicAccessBlock
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _named(words: str) -> frozenset[str]:
    return frozenset(f"s3:{word}" for word in words.split())


BUCKET_ACTIONS: Final = _named(_ON_BUCKETS)
OBJECT_ACTIONS: Final = _named(_ON_OBJECTS)
ACTIONS: Final = BUCKET_ACTIONS | OBJECT_ACTIONS | _named(_ELSEWHERE)

_EXISTING: Final = _named(
    "DeleteObjectTagging DeleteObjectVersionTagging GetObject GetObjectAcl GetObjectAttributes GetObjectTagging "
    "GetObjectVersion GetObjectVersionAcl GetObjectVersionAttributes GetObjectVersionTagging PutObjectAcl "
    "PutObjectTagging PutObjectVersionAcl PutObjectVersionTagging"
)
_VERSIONED: Final = frozenset(
    action for action in OBJECT_ACTIONS if "ObjectVersion" in action and not action.endswith("Replication")
)
_LISTING: Final = _named("ListBucket ListBucketVersions")
_LISTED: Final = _named("CreateBucket PutBucketAcl PutObject PutObjectAcl PutObjectVersionAcl")
_PUT: Final = _named("PutObject")
_CREATE: Final = _named("CreateBucket")
_TAGGED: Final = _named("PutObject PutObjectTagging PutObjectVersionTagging")
_ENCRYPTED: Final = _named("PutObject ReplicateObject UpdateObjectEncryption")
_TAG_RESOURCE: Final = _named("CreateBucket TagResource")

#: Condition key in lower case -> the actions that it is there for. Keys with a name after "/" stand without it.
KEYS: Final[Mapping[str, frozenset[str]]] = {
    "s3:existingobjecttag": _EXISTING,
    "s3:versionid": _VERSIONED,
    "s3:prefix": _LISTING,
    "s3:delimiter": _LISTING,
    "s3:max-keys": _LISTING,
    "s3:x-amz-acl": _LISTED,
    "s3:x-amz-grant-full-control": _LISTED,
    "s3:x-amz-grant-read": _LISTED,
    "s3:x-amz-grant-read-acp": _LISTED,
    "s3:x-amz-grant-write": _LISTED,
    "s3:x-amz-grant-write-acp": _LISTED,
    "s3:x-amz-object-ownership": _CREATE,
    "s3:locationconstraint": _CREATE,
    "s3:x-amz-copy-source": _PUT,
    "s3:x-amz-metadata-directive": _PUT,
    "s3:x-amz-storage-class": _PUT | _named("PutObjectAcl PutObjectVersionAcl"),
    "s3:x-amz-website-redirect-location": _PUT,
    "s3:x-amz-server-side-encryption": _ENCRYPTED,
    "s3:x-amz-server-side-encryption-aws-kms-key-id": _ENCRYPTED,
    "s3:x-amz-server-side-encryption-customer-algorithm": _named("PutObject ReplicateObject"),
    "s3:if-match": _named("PutObject DeleteObject"),
    "s3:if-none-match": _PUT,
    "s3:objectcreationoperation": _PUT,
    "s3:requestobjecttag": _TAGGED,
    "s3:requestobjecttagkeys": _TAGGED,
    "aws:requesttag": _TAG_RESOURCE,
    "aws:tagkeys": _TAG_RESOURCE | _named("UntagResource"),
}
#: Keys of Amazon S3 that go with all its actions, and those of features that are not here (never present).
_EVERYWHERE: Final = _words(
    """
    s3:authtype s3:signatureversion s3:signatureage s3:tlsversion s3:resourceaccount s3:x-amz-content-sha256
    s3:accessgrantsinstancearn s3:accesspointnetworkorigin s3:accesspointtag s3:buckettag s3:dataaccesspointaccount
    s3:dataaccesspointarn s3:destinationregion s3:inventoryaccessibleoptionalfields s3:isreplicationpauserequest
    s3:object-lock-legal-hold s3:object-lock-mode s3:object-lock-remaining-retention-days
    s3:object-lock-retain-until-date s3:x-amz-bucket-namespace
    """
)
_GLOBAL: Final = _words(
    """
    assumedroot calledvia calledviafirst calledvialast chatbotsourcearn currenttime ec2instancesourceprivateipv4
    ec2instancesourcevpc epochtime federatedprovider ismcpserviceaction multifactorauthage multifactorauthpresent
    principalaccount principalarn principalisawsservice principalorgid principalorgpaths principalservicename
    principalservicenameslist principaltag principaltype referer requestedregion requesttag resourceaccount
    resourceorgid resourceorgpaths resourcetag securetransport sourceaccount sourcearn sourceidentity sourceip
    sourceorgid sourceorgpaths sourceowner sourcevpc sourcevpcarn sourcevpce tagkeys tokenissuetime useragent userid
    username viaawsservice viaawsmcpservice vpceaccount vpceorgid vpceorgpaths vpcsourceip
    """
)

#: Keys of other services that policies of buckets may use, and what identity providers tell of people.
_FOREIGN: Final = _words("ec2:sourceinstancearn lambda:sourcefunctionarn glue:credentialissuingservice")
_PROVIDERS: Final = _words("saml sts identitystore accounts.google.com graph.facebook.com www.amazon.com")


def matched(pattern: str) -> frozenset[str]:
    """The known actions that ``pattern`` means."""
    if pattern == "*":
        return ACTIONS
    return frozenset(action for action in ACTIONS if like_action(pattern, action))


def is_key(key: str) -> bool:
    """Whether there is such a condition key for a bucket policy."""
    name = key.lower().partition("/")[0]
    service, _, word = name.partition(":")
    if service == "aws":
        return word in _GLOBAL
    if service == "s3":
        return name in KEYS or name in _EVERYWHERE
    return name in _FOREIGN or service in _PROVIDERS


def applies(key: str, action: str) -> bool:
    """Whether ``key`` can be there in a request for ``action``."""
    actions = KEYS.get(key.lower().partition("/")[0])
    return actions is None or action in actions
