"""Configurations that this server does not have, as S3 answers for a bucket that has none.

Terraform, s3cmd and Cyberduck ask for them all to show what a bucket is; what would set them is not implemented.
(S3 API reference, the operations' own pages and "Error responses".)
"""

from __future__ import annotations

from typing import Any

from sluiceway.edges.aws.codecs.xmls import malformed
from sluiceway.edges.http import Response
from sluiceway.edges.s3.body import document
from sluiceway.edges.s3.call import Call, Handler
from sluiceway.errors import Invalid, NotFound, NotImplementedYet


async def nothing(call: Call) -> Response:
    """GetBucketLogging, GetBucketAccelerateConfiguration: an answer without a word."""
    return call.reply({})


async def request_payment(call: Call) -> Response:
    """GetBucketRequestPayment: nobody pays."""
    return call.reply({"Payer": "BucketOwner"})


async def listed(call: Call) -> Response:
    """ListBucketAnalyticsConfigurations and its like: an empty list, in which nothing has a given id."""
    if "id" in call.query:
        raise NotFound("configuration", "The specified configuration does not exist.")
    return call.reply({"IsTruncated": False})


async def unlocked(call: Call) -> Response:
    """GetObjectRetention, GetObjectLegalHold: no bucket has object lock."""
    raise Invalid("request", "Bucket is missing Object Lock Configuration")


async def no_abac(call: Call) -> Response:
    """GetBucketAbac: tags of buckets say nothing about access."""
    return call.reply({"AbacStatus": {"Status": "Disabled"}})


async def removed(call: Call) -> Response:
    """DeleteBucketWebsite, DeleteBucketReplication: there is none, which is success."""
    return Response(204)


def only(payload: str, *unset: dict[str, Any]) -> Handler:
    """A handler that takes a configuration which says what is so anyway, as tools write it when they take one away."""

    async def put(call: Call) -> Response:
        asked = call.params(await document(call)).get(payload)
        if asked is None:
            raise malformed()
        if asked not in unset:
            raise NotImplementedYet("configuration", "This server has no such configuration: it can only be off.")
        return Response(200)

    return put


no_logging = only("BucketLoggingStatus", {})
no_acceleration = only("AccelerateConfiguration", {"Status": "Suspended"})
owner_pays = only("RequestPaymentConfiguration", {"Payer": "BucketOwner"})


def missing(kind: str, message: str) -> Handler:
    """A handler that says that the bucket has no such configuration."""

    async def refuse(call: Call) -> Response:
        raise NotFound(kind, message, BucketName=call.bucket)

    return refuse


website = missing("website", "The specified bucket does not have a website configuration")
replication = missing("replication", "The replication configuration was not found")
object_lock = missing("object_lock", "Object Lock configuration does not exist for this bucket")
