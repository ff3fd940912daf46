"""What requests ask beside the thing itself: conditions that can't be kept, pages of buckets, configurations that can
only be off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from botocore.exceptions import ClientError
from helpers.raw import Plain, exchange, signed
from helpers.server import ServerProcess


def refused(code: str, call: Callable[..., Any], **arguments: Any) -> Any:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response


# -- conditions


def test_a_write_that_asks_for_another_etag_is_refused(s3: Any, bucket: str) -> None:
    """AWS has If-None-Match for "*" only: what it does not know must not be done without the condition."""
    where = {"Bucket": bucket, "Key": "a"}
    etag = s3.put_object(**where, Body=b"one")["ETag"]
    part = s3.create_multipart_upload(**where)["UploadId"]
    done = {
        "Parts": [{"PartNumber": 1, "ETag": s3.upload_part(**where, UploadId=part, PartNumber=1, Body=b"x")["ETag"]}]
    }
    for value in (etag, '"other"', f"{etag}, *"):
        answer = refused("NotImplemented", s3.put_object, **where, Body=b"two", IfNoneMatch=value)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 501 and answer["Error"]["Header"] == "If-None-Match"
        refused(
            "NotImplemented",
            s3.complete_multipart_upload,
            **where,
            UploadId=part,
            MultipartUpload=done,
            IfNoneMatch=value,
        )
        refused(
            "NotImplemented",
            s3.copy_object,
            **where,
            CopySource=f"{bucket}/a",
            MetadataDirective="REPLACE",
            IfNoneMatch=value,
        )
    refused("NotImplemented", s3.put_object, **where, Body=b"two", IfNoneMatch="*", IfMatch=etag)
    assert s3.get_object(**where)["Body"].read() == b"one"
    s3.copy_object(**where, CopySource=f"{bucket}/a", MetadataDirective="REPLACE", IfMatch=etag)
    refused(
        "PreconditionFailed",
        s3.copy_object,
        **where,
        CopySource=f"{bucket}/a",
        MetadataDirective="REPLACE",
        IfNoneMatch="*",
    )
    s3.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/a", IfNoneMatch="*")


def test_a_deletion_under_unknown_conditions_is_refused(s3: Any, bucket: str) -> None:
    """Conditions of directory buckets: the object must not go as if nothing had been said."""
    s3.put_object(Bucket=bucket, Key="a", Body=b"one")
    when = s3.head_object(Bucket=bucket, Key="a")["LastModified"]
    refused("NotImplemented", s3.delete_object, Bucket=bucket, Key="a", IfMatchSize=3)
    refused("NotImplemented", s3.delete_object, Bucket=bucket, Key="a", IfMatchLastModifiedTime=when)
    refused("NotImplemented", s3.delete_object, Bucket=bucket, Key="a", IfMatchSize=3, IfMatch="*")
    items = [{"Key": "a", "Size": 3}, {"Key": "a", "LastModifiedTime": when}, {"Key": "b"}]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": items})
    assert [error["Code"] for error in answer["Errors"]] == ["NotImplemented"] * 2
    assert [one["Key"] for one in answer["Deleted"]] == ["b"]
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"one"


# -- buckets


def test_pages_of_buckets(s3: Any) -> None:
    names = [f"paged-{number}" for number in range(7)]
    for name in names:
        s3.create_bucket(Bucket=name)
    pages = list(s3.get_paginator("list_buckets").paginate(Prefix="paged-", PaginationConfig={"PageSize": 3}))
    assert [[row["Name"] for row in page["Buckets"]] for page in pages] == [names[:3], names[3:6], names[6:]]
    assert s3.list_buckets(Prefix="paged-", MaxBuckets=7).get("ContinuationToken") is None
    assert len(s3.list_buckets(Prefix="paged-", BucketRegion="us-east-1")["Buckets"]) == 7
    refused("InvalidArgument", s3.list_buckets, BucketRegion="eu-west-1")
    refused("InvalidArgument", s3.list_buckets, MaxBuckets=10_001)
    for token in ("!", "\u00fc", "/w=="):
        refused("InvalidArgument", s3.list_buckets, ContinuationToken=token)


# -- what can only be off


def test_configurations_can_be_put_as_they_are(server: ServerProcess, s3: Any, bucket: str) -> None:
    where = {"Bucket": bucket}
    s3.put_bucket_logging(**where, BucketLoggingStatus={})
    s3.put_bucket_accelerate_configuration(**where, AccelerateConfiguration={"Status": "Suspended"})
    s3.put_bucket_request_payment(**where, RequestPaymentConfiguration={"Payer": "BucketOwner"})
    s3.delete_bucket_website(**where)
    s3.delete_bucket_replication(**where)
    assert s3.get_bucket_abac(**where)["AbacStatus"] == {"Status": "Disabled"}
    target = {"LoggingEnabled": {"TargetBucket": bucket, "TargetPrefix": ""}}
    refused("NotImplemented", s3.put_bucket_logging, **where, BucketLoggingStatus=target)
    refused(
        "NotImplemented", s3.put_bucket_accelerate_configuration, **where, AccelerateConfiguration={"Status": "Enabled"}
    )
    refused(
        "NotImplemented", s3.put_bucket_request_payment, **where, RequestPaymentConfiguration={"Payer": "Requester"}
    )
    roots = {
        "accelerate": "AccelerateConfiguration",
        "analytics": "ListBucketAnalyticsConfigurationResult",
        "inventory": "ListInventoryConfigurationsResult",
        "lifecycle": "LifecycleConfiguration",
        "logging": "BucketLoggingStatus",
        "metrics": "ListMetricsConfigurationsResult",
        "requestPayment": "RequestPaymentConfiguration",
    }
    rule = {"ID": "a", "Filter": {}, "Status": "Enabled", "Expiration": {"Days": 1}}
    s3.put_bucket_lifecycle_configuration(**where, LifecycleConfiguration={"Rules": [rule]})
    for name, root in roots.items():
        plain = signed(
            Plain("GET", f"/{bucket}?{name}=", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}),
            server.port,
            server.key,
            "s3",
        )
        body = exchange(server, plain.wire(server.port), "GET").check(200).body
        assert ElementTree.fromstring(body).tag.partition("}")[2] == root, "other clients than boto3 look at roots"
    for call in (s3.delete_bucket_website, s3.delete_bucket_replication, s3.get_bucket_abac):
        refused("NoSuchBucket", call, Bucket="there-is-none")
