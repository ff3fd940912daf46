"""The public access block, and the conditions of bucket policies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.s3_access import World, grants, may, puts, refused
from helpers.server import ServerProcess, eventually

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"


# -- the public access block


def block(world: World, bucket: str, *names: str) -> None:
    world.root.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(names, True))


def test_new_buckets_block_all_public_access(world: World) -> None:
    root, bucket = world.root, world.bucket()
    found = root.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert found == dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
    )
    root.delete_public_access_block(Bucket=bucket)
    refused("NoSuchPublicAccessBlockConfiguration", root.get_public_access_block, Bucket=bucket)


def test_block_public_acls(world: World) -> None:
    root, bucket = world.root, world.bucket("ObjectWriter")
    block(world, bucket, "BlockPublicAcls")
    root.put_object(Bucket=bucket, Key="k", Body=b"x", GrantRead=f"id={world.ids['ada']}")
    for call, more in (
        (root.put_bucket_acl, {"ACL": "public-read"}),
        (root.put_bucket_acl, {"GrantReadACP": f"uri={ALL_USERS}"}),
        (root.put_object_acl, {"Key": "k", "ACL": "authenticated-read"}),
        (root.put_object, {"Key": "new", "Body": b"x", "ACL": "public-read"}),
        (root.copy_object, {"Key": "new", "CopySource": f"{bucket}/k", "ACL": "public-read"}),
        (root.create_multipart_upload, {"Key": "new", "ACL": "public-read-write"}),
    ):
        refused("AccessDenied", call, Bucket=bucket, **more)
    assert [row["Key"] for row in root.list_objects_v2(Bucket=bucket)["Contents"]] == ["k"]


def test_ignore_public_acls(world: World) -> None:
    root, bucket, ada = world.root, world.bucket("ObjectWriter", public=True), world.users["ada"]
    both = f"uri={ALL_USERS},id={world.ids['ada']}"
    root.put_object(Bucket=bucket, Key="k", Body=b"x", GrantRead=both)
    root.put_object(Bucket=bucket, Key="open", Body=b"x", ACL="public-read")
    world.allow("ada", {"Effect": "Deny", "Action": "s3:DeleteBucket", "Resource": "*"})
    eventually(lambda: may(ada.get_object, Bucket=bucket, Key="k"))
    assert world.stranger("GET", f"/{bucket}/open")[0] == 200
    block(world, bucket, "IgnorePublicAcls")
    assert world.stranger("GET", f"/{bucket}/open")[0] == 403 == world.stranger("GET", f"/{bucket}/k")[0]
    assert may(ada.get_object, Bucket=bucket, Key="k") and not may(ada.get_object, Bucket=bucket, Key="open")
    assert (ALL_USERS, "READ") in grants(root.get_object_acl(Bucket=bucket, Key="open")), "it stays"
    block(world, bucket)
    assert world.stranger("GET", f"/{bucket}/open")[0] == 200


def test_block_public_policy_and_restrict_public_buckets(world: World) -> None:
    root, bucket, ada = world.root, world.bucket(), world.users["ada"]
    root.put_object(Bucket=bucket, Key="k", Body=b"x")
    anybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    nearby = anybody | {"Condition": {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}}
    with pytest.raises(ClientError, match="AccessDenied"):
        world.policy(bucket, anybody)
    world.policy(bucket, nearby)
    assert root.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is False
    assert world.stranger("GET", f"/{bucket}/k") == (200, b"x"), "not public, and allowed"
    block(world, bucket, "RestrictPublicBuckets")
    world.policy(bucket, anybody)
    assert root.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is True
    assert world.stranger("GET", f"/{bucket}/k")[0] == 403
    assert may(ada.get_object, Bucket=bucket, Key="k"), "the account's own people are let in"
    assert may(world.role.get_object, Bucket=bucket, Key="k") and may(root.get_object, Bucket=bucket, Key="k")
    block(world, bucket)
    assert world.stranger("GET", f"/{bucket}/k") == (200, b"x")


# -- conditions, each met and not met


def test_conditions_of_a_bucket_policy(world: World) -> None:
    root, bucket, role = world.root, world.bucket(), world.role
    root.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="team=red&kind=a")
    root.put_object(Bucket=bucket, Key="a/b", Body=b"x")
    arn, objects = f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"
    runner = {"AWS": "arn:aws:iam::000000000000:role/runner"}
    tagged = {"TagSet": [{"Key": "team", "Value": "red"}]}
    other = {"TagSet": [{"Key": "team", "Value": "blue"}]}
    put = {"Key": "new", "Body": b"x"}
    cases: list[tuple[Any, str, dict[str, Any], str, dict[str, Any], dict[str, Any]]] = [
        ("s3:ListBucket", arn, {"StringLike": {"s3:prefix": "a/*"}}, "list_objects_v2", {"Prefix": "a/b"}, {}),
        ("s3:ListBucket", arn, {"StringEquals": {"s3:delimiter": "/"}}, "list_objects_v2", {"Delimiter": "/"}, {}),
        ("s3:ListBucket", arn, {"NumericLessThanEquals": {"s3:max-keys": "5"}}, "list_objects_v2",
         {"MaxKeys": 5}, {"MaxKeys": 6}),
        ("s3:GetObject", objects, {"StringEquals": {"s3:ExistingObjectTag/team": "red"}}, "get_object",
         {"Key": "k"}, {"Key": "a/b"}),
        (["s3:PutObject", "s3:PutObjectTagging"], objects, {"StringEquals": {"s3:RequestObjectTag/team": "red"}},
         "put_object", put | {"Tagging": "team=red"}, put | {"Tagging": "team=blue"}),
        ("s3:PutObjectTagging", objects, {"StringEquals": {"s3:RequestObjectTag/team": "red"}}, "put_object_tagging",
         {"Key": "k", "Tagging": tagged}, {"Key": "k", "Tagging": other}),
        ("s3:PutObjectTagging", objects, {"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["team"]}},
         "put_object_tagging", {"Key": "k", "Tagging": tagged},
         {"Key": "k", "Tagging": {"TagSet": [{"Key": "x", "Value": "y"}]}}),
        (["s3:PutObject", "s3:PutObjectAcl"], objects, {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}},
         "put_object", put | {"ACL": "bucket-owner-full-control"}, put),
        ("s3:PutObject", objects, {"StringEquals": {"s3:x-amz-storage-class": "STANDARD_IA"}}, "put_object",
         put | {"StorageClass": "STANDARD_IA"}, put),
        ("s3:PutObject", objects, {"StringEquals": {"s3:x-amz-server-side-encryption": "AES256"}}, "put_object",
         put | {"ServerSideEncryption": "AES256"}, put),
        ("s3:PutObject", objects, {"Null": {"s3:if-none-match": "false"}}, "put_object",
         {"Key": "once", "Body": b"x", "IfNoneMatch": "*"}, put),
        ("s3:GetObject", objects, {"IpAddress": {"aws:SourceIp": "127.0.0.1"}}, "get_object", {"Key": "k"}, {}),
        ("s3:GetObject", objects, {"Bool": {"aws:SecureTransport": "false"}}, "get_object", {"Key": "k"}, {}),
        ("s3:GetObject", objects, {"StringEquals": {"s3:authType": "REST-HEADER"}}, "get_object", {"Key": "k"}, {}),
        ("s3:GetObject", objects, {"StringEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}, "get_object",
         {"Key": "k"}, {}),
        ("s3:GetObject", objects, {"NumericLessThan": {"s3:signatureAge": "600000"}}, "get_object", {"Key": "k"}, {}),
        ("s3:GetObject", objects, {"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, "get_object",
         {"Key": "k"}, {}),
        ("s3:GetObject", objects, {"StringEquals": {"s3:ResourceAccount": "000000000000"}}, "get_object",
         {"Key": "k"}, {}),
    ]  # fmt: skip
    for action, resource, condition, name, met, unmet in cases:
        statement = {"Effect": "Allow", "Principal": runner, "Action": action, "Resource": resource}
        world.policy(bucket, statement | {"Condition": condition})
        assert may(getattr(role, name), Bucket=bucket, **met), (condition, "met")
        if unmet or name == "list_objects_v2":
            assert not may(getattr(role, name), Bucket=bucket, **unmet), (condition, "not met")
        else:
            ((operator, keys),) = condition.items()
            ((key, value),) = keys.items()
            otherwise = {"127.0.0.1": "192.0.2.1", "false": "true", "600000": "-1", "000000000000": "1" * 12}
            wrong = otherwise.get(value, "2999-01-01T00:00:00Z" if "Date" in operator else "OTHER")
            world.policy(bucket, statement | {"Condition": {operator: {key: wrong}}})
            assert not may(getattr(role, name), Bucket=bucket, **met), (condition, "not met")
    root.delete_bucket_policy(Bucket=bucket)


def test_conditions_on_referer_and_agent_for_strangers(world: World) -> None:
    bucket = world.bucket(public=True)
    world.root.put_object(Bucket=bucket, Key="k", Body=b"x")
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    world.policy(bucket, allow | {"Condition": {"StringLike": {"aws:Referer": "https://a.example/*"}}})
    assert world.stranger("GET", f"/{bucket}/k", referer="https://a.example/page")[0] == 200
    assert world.stranger("GET", f"/{bucket}/k", referer="https://b.example/page")[0] == 403
    assert world.stranger("GET", f"/{bucket}/k")[0] == 403
    world.policy(bucket, allow | {"Condition": {"StringEquals": {"aws:UserAgent": "good"}}})
    assert world.stranger("GET", f"/{bucket}/k", user_agent="good")[0] == 200
    assert world.stranger("GET", f"/{bucket}/k", user_agent="bad")[0] == 403


def test_who_may_not_read_tags_is_not_told_their_number(world: World) -> None:
    root, bucket, ada = world.root, world.bucket(public=True), world.users["ada"]
    root.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = root.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1&b=2")["VersionId"]
    allow = {"Effect": "Allow", "Principal": "*", "Resource": f"arn:aws:s3:::{bucket}/*"}
    reading = ["s3:GetObject", "s3:GetObjectVersion"]

    def told(client: Any) -> list[Any]:
        where = {"Bucket": bucket, "Key": "k"}
        old = {**where, "VersionId": version}
        return [
            call(**about).get("TagCount") for call in (client.get_object, client.head_object) for about in (where, old)
        ]

    for more, expected in (
        ([], [None] * 4),
        (["s3:GetObjectTagging"], [2, None] * 2),
        (["s3:GetObjectVersionTagging"], [None, 2] * 2),
    ):
        world.policy(bucket, allow | {"Action": [*reading, *more]})
        assert told(ada) == expected, more
        assert told(root) == [2] * 4


def test_a_presigned_url_tells_how_it_was_signed(world: World) -> None:
    bucket = world.bucket()
    world.root.put_object(Bucket=bucket, Key="k", Body=b"x")
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:*",
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}  # fmt: skip
    world.policy(bucket, deny | {"Condition": {"StringNotEquals": {"s3:authType": "REST-QUERY-STRING"}}})
    url = world.root.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert world.stranger("GET", url.split(str(world.server.port), 1)[1]) == (200, b"x")
    assert not may(world.root.get_object, Bucket=bucket, Key="k")
    world.policy(bucket, deny | {"Condition": {"NumericGreaterThan": {"s3:signatureAge": "-1"}}})
    assert world.stranger("GET", url.split(str(world.server.port), 1)[1])[0] == 403


def test_tags_and_lists_need_leave_of_their_own(world: World) -> None:
    bucket, ada, root = world.bucket(), world.users["ada"], world.root
    objects = f"arn:aws:s3:::{bucket}/*"
    root.put_object(Bucket=bucket, Key="tagged", Body=b"x", Tagging="a=b")

    def allow(*actions: str) -> None:
        world.allow("ada", {"Effect": "Allow", "Action": list(actions), "Resource": objects})
        eventually(lambda: puts(ada, bucket, f"mark-{len(actions)}-{actions[-1][3:]}"))

    owner = "bucket-owner-full-control"
    world.allow("ada", {"Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject"], "Resource": objects})
    eventually(lambda: puts(ada, bucket, "plain"))
    assert not puts(ada, bucket, "k", Tagging="a=b") and not puts(ada, bucket, "k", ACL=owner)
    assert not may(ada.create_multipart_upload, Bucket=bucket, Key="k", Tagging="a=b")
    assert not may(ada.copy_object, Bucket=bucket, Key="k", CopySource=f"{bucket}/tagged")
    assert may(ada.copy_object, Bucket=bucket, Key="k", CopySource=f"{bucket}/tagged", TaggingDirective="REPLACE")
    assert may(ada.copy_object, Bucket=bucket, Key="k", CopySource=f"{bucket}/plain")
    more = ["s3:PutObject", "s3:GetObject", "s3:PutObjectTagging", "s3:PutObjectAcl"]
    world.allow("ada", {"Effect": "Allow", "Action": more, "Resource": objects})
    eventually(lambda: puts(ada, bucket, "k", Tagging="a=b", ACL=owner))
    assert not may(ada.copy_object, Bucket=bucket, Key="k", CopySource=f"{bucket}/tagged"), "it must read the tags"
    world.allow("ada", {"Effect": "Allow", "Action": [*more, "s3:GetObjectTagging"], "Resource": objects})
    eventually(lambda: may(ada.copy_object, Bucket=bucket, Key="k", CopySource=f"{bucket}/tagged"))


def test_creating_buckets_under_conditions(world: World) -> None:
    ada = world.users["ada"]
    tagged = {"CreateBucketConfiguration": {"Tags": [{"Key": "team", "Value": "red"}]}}
    world.allow("ada", {"Effect": "Allow", "Action": ["s3:CreateBucket", "s3:TagResource"], "Resource": "*",
                        "Condition": {"StringEquals": {"aws:RequestTag/team": "red"}}})  # fmt: skip
    eventually(lambda: may(ada.create_bucket, Bucket="adas-tagged", **tagged))
    assert not may(ada.create_bucket, Bucket="adas-bare")
    world.allow("ada", {"Effect": "Allow", "Action": "s3:CreateBucket", "Resource": "*"})
    eventually(lambda: may(ada.create_bucket, Bucket="adas-bare"))
    assert not may(ada.create_bucket, Bucket="adas-other", **tagged), "tags need s3:TagResource"
    assert not may(ada.create_bucket, Bucket="adas-other", ObjectOwnership="ObjectWriter")
    assert not may(ada.create_bucket, Bucket="adas-other", ACL="private")


def test_settings_choose_what_new_buckets_are(own_server: ServerProcess) -> None:
    own_server._environment |= {
        "SLUICEWAY_OBJECTS__OWNERSHIP": "ObjectWriter",
        "SLUICEWAY_OBJECTS__PUBLIC_ACCESS_BLOCKED": "false",
    }
    s3 = own_server.start().client("s3")
    s3.create_bucket(Bucket="old-style", ACL="public-read")
    assert (ALL_USERS, "READ") in grants(s3.get_bucket_acl(Bucket="old-style"))
    refused("NoSuchPublicAccessBlockConfiguration", s3.get_public_access_block, Bucket="old-style")


def test_stacks_set_ownership_lists_and_the_block(world: World) -> None:
    template = {"Resources": {"Open": {"Type": "AWS::S3::Bucket", "Properties": {
        "BucketName": "stacked-open", "AccessControl": "PublicRead",
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]},
        "PublicAccessBlockConfiguration": {"BlockPublicAcls": False, "IgnorePublicAcls": False},
    }}}}  # fmt: skip
    stacks = world.server.client("cloudformation")
    stacks.create_stack(StackName="open", TemplateBody=json.dumps(template))
    eventually(lambda: stacks.describe_stacks(StackName="open")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE")
    assert world.stranger("GET", "/stacked-open")[0] == 200
    rules = world.root.get_bucket_ownership_controls(Bucket="stacked-open")["OwnershipControls"]["Rules"]
    assert rules == [{"ObjectOwnership": "BucketOwnerPreferred"}]


def test_who_may_not_read_can_not_ask_for_etags(world: World) -> None:
    """A condition on an ETag tells what the object is: it needs the right to read it. "*" only asks whether it is."""
    bucket, ada = world.bucket(), world.users["ada"]
    where = {"Bucket": bucket, "Key": "k"}
    etag = world.root.put_object(**where, Body=b"secret")["ETag"]
    write = {"Effect": "Allow", "Action": ["s3:PutObject", "s3:DeleteObject"], "Resource": f"arn:aws:s3:::{bucket}/*"}
    world.allow("ada", write)
    eventually(lambda: may(ada.put_object, Bucket=bucket, Key="own"))
    upload = ada.create_multipart_upload(**where)["UploadId"]
    part = ada.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    parts = {"UploadId": upload, "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": part}]}}
    for guess in (etag, '"0"'):
        refused("AccessDenied", ada.put_object, **where, Body=b"x", IfMatch=guess)
        refused("AccessDenied", ada.complete_multipart_upload, **where, **parts, IfMatch=guess)
        refused("AccessDenied", ada.delete_object, **where, IfMatch=guess)
        answer = ada.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "ETag": guess}]})
        assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"] and "Deleted" not in answer
    assert world.root.get_object(**where)["Body"].read() == b"secret"
    refused("PreconditionFailed", ada.put_object, **where, Body=b"x", IfNoneMatch="*")
    ada.put_object(**where, Body=b"x", IfMatch="*")
    world.allow("ada", write, {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"})
    eventually(lambda: may(ada.get_object, **where))
    refused("PreconditionFailed", ada.put_object, **where, Body=b"x", IfMatch=etag)
    ada.delete_object(**where, IfMatch=ada.get_object(**where)["ETag"])


def test_batches_may_be_bound_to_etags(world: World) -> None:
    """S3 User Guide, "Enforce conditional deletes": the condition key is there for the entries of a batch, too."""
    bucket, ada = world.bucket(), world.users["ada"]
    etag = world.root.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    about = {"Effect": "Allow", "Resource": f"arn:aws:s3:::{bucket}/*"}
    bound = {**about, "Action": "s3:DeleteObject", "Condition": {"Null": {"s3:if-match": "false"}}}
    world.allow("ada", bound, {**about, "Action": "s3:GetObject"})
    eventually(lambda: may(ada.get_object, Bucket=bucket, Key="k"))
    answer = ada.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}, {"Key": "k", "ETag": etag}]})
    assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"]
    assert [gone["Key"] for gone in answer["Deleted"]] == ["k"]
