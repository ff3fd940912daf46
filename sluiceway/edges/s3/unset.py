"""Configurations that this server does not have, as S3 answers for a bucket that has none.

Terraform, s3cmd and Cyberduck ask for them all to show what a bucket is; what would set them is not implemented.
(S3 API reference, the operations' own pages and "Error responses".)
"""

from __future__ import annotations

from sluiceway.edges.http import Response
from sluiceway.edges.s3.call import Call, Handler
from sluiceway.errors import Invalid, NotFound


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


def missing(kind: str, message: str) -> Handler:
    """A handler that says that the bucket has no such configuration."""

    async def refuse(call: Call) -> Response:
        raise NotFound(kind, message, BucketName=call.bucket)

    return refuse


website = missing("website", "The specified bucket does not have a website configuration")
replication = missing("replication", "The replication configuration was not found")
object_lock = missing("object_lock", "Object Lock configuration does not exist for this bucket")
