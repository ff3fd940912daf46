"""Access control lists: where they count, whom they let in, and what is no list."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from helpers.s3_access import World, grant, grants, may, puts, refused
from helpers.server import ServerProcess, eventually

# -- where lists are off


def test_lists_are_off_in_new_buckets(world: World) -> None:
    root, bucket = world.root, world.bucket()
    rules = root.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert rules == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    root.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="bucket-owner-full-control")
    root.put_object(Bucket=bucket, Key="k", Body=b"x", GrantFullControl=f"id={world.ids['root']}")
    for answer in (root.get_bucket_acl(Bucket=bucket), root.get_object_acl(Bucket=bucket, Key="k")):
        assert answer["Owner"]["ID"] == world.ids["root"]
        assert grants(answer) == [(world.ids["root"], "FULL_CONTROL")]
    root.put_bucket_acl(Bucket=bucket, ACL="private")
    root.put_object_acl(Bucket=bucket, Key="k", ACL="bucket-owner-full-control")
    code = "AccessControlListNotSupported"
    refused(code, root.put_bucket_acl, Bucket=bucket, ACL="public-read")
    refused(code, root.put_object_acl, Bucket=bucket, Key="k", ACL="authenticated-read")
    refused(code, root.put_object, Bucket=bucket, Key="new", ACL="public-read")
    refused(code, root.put_object, Bucket=bucket, Key="new", GrantRead=f"id={world.ids['ada']}")
    refused(code, root.create_multipart_upload, Bucket=bucket, Key="new", ACL="public-read")
    refused(code, root.copy_object, Bucket=bucket, Key="new", CopySource=f"{bucket}/k", ACL="public-read")
    assert [row["Key"] for row in root.list_objects_v2(Bucket=bucket)["Contents"]] == ["k"]
    refused("NoSuchKey", root.get_object_acl, Bucket=bucket, Key="nothing")
    refused("NoSuchBucket", root.get_bucket_acl, Bucket="no-such-bucket-here")


def test_what_users_put_belongs_to_the_bucket_where_lists_are_off(world: World) -> None:
    bucket = world.bucket()
    world.allow("ada", {"Effect": "Allow", "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/*"})
    eventually(lambda: puts(world.users["ada"], bucket, "k"))
    assert world.root.get_object_acl(Bucket=bucket, Key="k")["Owner"]["ID"] == world.ids["root"]
    listed = world.root.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"]
    assert [row["Owner"]["ID"] for row in listed] == [world.ids["root"]]


def test_ownership_controls_are_put_changed_and_deleted(world: World) -> None:
    root, bucket = world.root, world.bucket("BucketOwnerPreferred")

    def put(ownership: str) -> None:
        root.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": ownership}]})

    def get() -> str:
        found = root.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
        return str(found[0]["ObjectOwnership"])

    assert get() == "BucketOwnerPreferred"
    put("ObjectWriter")
    assert get() == "ObjectWriter"
    root.put_bucket_acl(Bucket=bucket, GrantRead=f"id={world.ids['ada']}")
    refused("InvalidBucketAclWithObjectOwnership", lambda: put("BucketOwnerEnforced"))
    root.put_bucket_acl(Bucket=bucket, ACL="private")
    put("BucketOwnerEnforced")
    root.delete_bucket_ownership_controls(Bucket=bucket)
    refused("OwnershipControlsNotFoundError", root.get_bucket_ownership_controls, Bucket=bucket)
    root.put_bucket_acl(Bucket=bucket, GrantRead=f"id={world.ids['ada']}")
    refused("MalformedXML", lambda: put("Nobody"))
    refused("InvalidArgument", root.create_bucket, Bucket="never-made", ObjectOwnership="Nobody")
    status, body = world.raw("PUT", f"/{bucket}?ownershipControls", b"<OwnershipControls></OwnershipControls>")
    assert (status, b"MalformedXML" in body) == (400, True)


def test_new_buckets_take_lists_only_where_they_are_on_and_not_public(world: World) -> None:
    root = world.root
    refused("InvalidBucketAclWithObjectOwnership", root.create_bucket, Bucket="listed-1", ACL="public-read")
    refused("InvalidBucketAclWithBlockPublicAccessError", root.create_bucket, Bucket="listed-2",
            ACL="public-read", ObjectOwnership="ObjectWriter")  # fmt: skip
    for name in ("listed-1", "listed-2"):
        refused("404", root.head_bucket, Bucket=name)
    root.create_bucket(Bucket="listed-3", ObjectOwnership="ObjectWriter", GrantWrite=f"id={world.ids['ada']}")
    assert grants(root.get_bucket_acl(Bucket="listed-3")) == [(world.ids["ada"], "WRITE")]
    root.create_bucket(Bucket="listed-4", ACL="private")


# -- grants, each allowed and denied


def test_grants_on_buckets_let_in_whom_they_name(world: World) -> None:
    root, bucket = world.root, world.bucket("ObjectWriter")
    ada, bob = world.users["ada"], world.users["bob"]
    world.allow("ada", {"Effect": "Deny", "Action": "s3:DeleteBucket", "Resource": "*"})
    root.put_object(Bucket=bucket, Key="roots", Body=b"x")

    def granted(**given: str) -> set[str]:
        root.put_bucket_acl(Bucket=bucket, **given)
        calls: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
            "list": (ada.list_objects_v2, {}),
            "uploads": (ada.list_multipart_uploads, {}),
            "put": (ada.put_object, {"Key": "adas", "Body": b"x"}),
            "delete own": (ada.delete_object, {"Key": "adas"}),
            "overwrite": (ada.put_object, {"Key": "roots", "Body": b"stolen"}),
            "delete": (ada.delete_object, {"Key": "roots"}),
            "read list": (ada.get_bucket_acl, {}),
            "write list": (ada.put_bucket_acl, given),
            "policy": (ada.get_bucket_policy, {}),
        }
        found = {name for name, (call, more) in calls.items() if may(call, Bucket=bucket, **more)}
        assert not may(bob.list_objects_v2, Bucket=bucket) and not may(world.role.list_objects_v2, Bucket=bucket)
        assert world.stranger("GET", f"/{bucket}")[0] == 403
        return found

    ada_id = f"id={world.ids['ada']}"
    assert granted(GrantRead=ada_id) == {"list", "uploads"}
    assert granted(GrantWrite=ada_id) == {"put", "delete own"}
    assert granted(GrantReadACP=ada_id) == {"read list"}
    assert granted(GrantWriteACP=ada_id) == {"write list"}
    assert granted(GrantFullControl=ada_id) == {"list", "uploads", "put", "delete own", "read list", "write list"}
    assert granted(GrantRead=f"id={world.ids['root']}") == set()
    assert root.get_object(Bucket=bucket, Key="roots")["Body"].read() == b"x"


def test_a_batch_deletes_what_is_ones_own_only(world: World) -> None:
    root, bucket, ada = world.root, world.bucket("ObjectWriter"), world.users["ada"]
    root.put_object(Bucket=bucket, Key="roots", Body=b"x")
    root.put_bucket_acl(Bucket=bucket, GrantWrite=f"id={world.ids['ada']}")
    ada.put_object(Bucket=bucket, Key="adas", Body=b"x")
    answer = ada.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "roots"}, {"Key": "adas"}]})
    assert [row["Key"] for row in answer["Deleted"]] == ["adas"]
    assert [(row["Key"], row["Code"]) for row in answer["Errors"]] == [("roots", "AccessDenied")]


def test_grants_on_objects_let_in_whom_they_name(world: World) -> None:
    root, bucket = world.root, world.bucket("ObjectWriter")
    ada, bob = world.users["ada"], world.users["bob"]
    root.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=b")

    def granted(**given: str) -> set[str]:
        root.put_object_acl(Bucket=bucket, Key="k", **given)
        calls: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
            "get": (ada.get_object, {}),
            "head": (ada.head_object, {}),
            "read list": (ada.get_object_acl, {}),
            "write list": (ada.put_object_acl, given),
            "put": (ada.put_object, {"Body": b"stolen"}),
            "delete": (ada.delete_object, {}),
            "tags": (ada.get_object_tagging, {}),
        }
        found = {name for name, (call, more) in calls.items() if may(call, Bucket=bucket, Key="k", **more)}
        assert not may(bob.get_object, Bucket=bucket, Key="k") and not may(
            world.role.get_object, Bucket=bucket, Key="k"
        )
        return found

    ada_id = f"id={world.ids['ada']}"
    assert granted(GrantRead=ada_id) == {"get", "head"}
    assert granted(GrantReadACP=ada_id) == {"read list"}
    assert granted(GrantWriteACP=ada_id) == {"write list"}
    assert granted(GrantFullControl=ada_id) == {"get", "head", "read list", "write list"}
    assert granted(ACL="private") == set()


def test_an_explicit_deny_wins_over_every_grant(world: World) -> None:
    root, bucket, ada = world.root, world.bucket("ObjectWriter", public=True), world.users["ada"]
    root.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    assert world.stranger("GET", f"/{bucket}/k") == (200, b"x")
    assert may(ada.get_object, Bucket=bucket, Key="k") and may(world.role.get_object, Bucket=bucket, Key="k")
    world.policy(bucket, {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject",
                          "Resource": f"arn:aws:s3:::{bucket}/*"})  # fmt: skip
    assert world.stranger("GET", f"/{bucket}/k")[0] == 403
    assert not may(ada.get_object, Bucket=bucket, Key="k") and not may(root.get_object, Bucket=bucket, Key="k")
    root.delete_bucket_policy(Bucket=bucket)
    world.allow("ada", {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*"})
    eventually(lambda: not may(ada.get_object, Bucket=bucket, Key="k"))
    assert world.stranger("GET", f"/{bucket}/k")[0] == 200


def test_public_lists_let_strangers_do_what_they_say(world: World) -> None:
    root, bucket = world.root, world.bucket("ObjectWriter", public=True)
    root.put_object(Bucket=bucket, Key="open", Body=b"x", ACL="public-read")
    root.put_object(Bucket=bucket, Key="members", Body=b"x", ACL="authenticated-read")
    root.put_object(Bucket=bucket, Key="closed", Body=b"x")
    assert world.stranger("GET", f"/{bucket}/open") == (200, b"x")
    assert world.stranger("HEAD", f"/{bucket}/open")[0] == 200
    for method, target in (
        ("GET", "/members"), ("GET", "/closed"), ("GET", "/open?acl"), ("GET", "/nothing"), ("GET", ""),
        ("PUT", "/new"), ("DELETE", "/open"), ("PUT", "/open?acl"), ("GET", "?acl"), ("PUT", "?ownershipControls"),
        ("DELETE", "?ownershipControls"), ("DELETE", "?publicAccessBlock"), ("GET", "/open?tagging"),
    ):  # fmt: skip
        assert world.stranger(method, f"/{bucket}{target}")[0] == 403, (method, target)
    assert may(world.users["bob"].get_object, Bucket=bucket, Key="members")
    assert not may(world.users["bob"].get_object, Bucket=bucket, Key="closed")
    root.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    assert world.stranger("GET", f"/{bucket}?list-type=2")[0] == 200
    assert world.stranger("GET", f"/{bucket}/nothing")[0] == 404, "who may list may know"
    assert world.stranger("GET", f"/{bucket}/closed")[0] == 403
    assert world.stranger("PUT", f"/{bucket}/guest", b"hello")[0] == 200
    assert world.stranger("PUT", f"/{bucket}/open", b"stolen")[0] == 403
    assert root.get_object_acl(Bucket=bucket, Key="guest")["Owner"]["ID"] == "65a011a29cdf8ec533ec3d1ccaae921c"
    delete = b"<Delete><Object><Key>closed</Key></Object><Object><Key>guest</Key></Object></Delete>"

    digest = base64.b64encode(hashlib.md5(delete).digest()).decode()
    status, body = world.stranger("POST", f"/{bucket}?delete", delete, content_md5=digest)
    assert status == 200 and b"<Deleted><Key>guest</Key></Deleted>" in body and b"AccessDenied" in body, body
    assert world.root.get_object(Bucket=bucket, Key="closed")["Body"].read() == b"x"


def test_preferred_owners_get_what_is_put_for_them(world: World) -> None:
    root, bucket, ada = world.root, world.bucket("BucketOwnerPreferred"), world.users["ada"]
    root.put_bucket_acl(Bucket=bucket, GrantWrite=f"id={world.ids['ada']}")
    world.allow("ada", {"Effect": "Allow", "Action": "s3:PutObjectAcl", "Resource": f"arn:aws:s3:::{bucket}/*"})
    eventually(lambda: puts(ada, bucket, "given", ACL="bucket-owner-full-control"))
    ada.put_object(Bucket=bucket, Key="kept", Body=b"x")
    assert root.get_object_acl(Bucket=bucket, Key="given")["Owner"]["ID"] == world.ids["root"]
    assert root.get_object_acl(Bucket=bucket, Key="kept")["Owner"]["ID"] == world.ids["ada"]
    assert may(ada.get_object, Bucket=bucket, Key="kept") and not may(ada.get_object, Bucket=bucket, Key="given")


def test_uploads_and_copies_get_the_list_that_was_asked_for(world: World) -> None:
    root, bucket = world.root, world.bucket("ObjectWriter", public=True)
    upload = root.create_multipart_upload(Bucket=bucket, Key="parts", ACL="public-read")["UploadId"]
    part = root.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")
    root.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload,
                                   MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})  # fmt: skip
    assert world.stranger("GET", f"/{bucket}/parts") == (200, b"x")
    root.copy_object(Bucket=bucket, Key="private", CopySource=f"{bucket}/parts")
    root.copy_object(Bucket=bucket, Key="public", CopySource=f"{bucket}/parts", ACL="public-read")
    assert world.stranger("GET", f"/{bucket}/private")[0] == 403, "a list is not copied"
    assert world.stranger("GET", f"/{bucket}/public")[0] == 200
    root.put_object(Bucket=bucket, Key="public", Body=b"y")
    assert world.stranger("GET", f"/{bucket}/public")[0] == 403, "nor inherited from what was there"


def test_forms_ask_for_lists_and_are_asked_about_them(world: World) -> None:
    root, bucket, ada = world.root, world.bucket("ObjectWriter", public=True), world.users["ada"]
    objects = f"arn:aws:s3:::{bucket}/*"
    root.put_object(Bucket=bucket, Key="roots", Body=b"x")

    def sent(client: Any, key: str, **fields: str) -> int:
        made = client.generate_presigned_post(bucket, key, fields, [{name: value} for name, value in fields.items()])
        parts = [*made["fields"].items(), ("file", "hello")]
        lines = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts]
        body = "".join([*lines, "--b--\r\n"]).encode()
        return world.stranger("POST", f"/{bucket}", body, content_type="multipart/form-data; boundary=b")[0]

    assert sent(root, "open", acl="public-read") == 204
    assert world.stranger("GET", f"/{bucket}/open") == (200, b"hello")
    assert sent(root, "closed") == 204 and world.stranger("GET", f"/{bucket}/closed")[0] == 403
    assert sent(root, "never", acl="nonsense") == 400
    world.allow("ada", {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"{objects[:-1]}adas-*"})
    eventually(lambda: puts(ada, bucket, "adas-mark"))
    assert sent(ada, "adas-1") == 204 and sent(ada, "adas-2", acl="private") == 403 and sent(ada, "roots") == 403
    root.put_bucket_acl(Bucket=bucket, GrantWrite=f"id={world.ids['ada']}")
    assert sent(ada, "new") == 204 and sent(ada, "roots") == 403, "what is there is its owner's"
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": objects}
    world.policy(bucket, deny | {"Condition": {"StringEquals": {"s3:authType": "POST"}}})
    assert sent(root, "denied") == 403 and puts(root, bucket, "allowed")


def test_lists_survive_a_crash_and_turning_them_off_hides_them(own_server: ServerProcess) -> None:
    server = own_server.start()
    s3 = server.client("s3")
    s3.create_bucket(Bucket="kept", ObjectOwnership="ObjectWriter")
    s3.delete_public_access_block(Bucket="kept")
    s3.put_object(Bucket="kept", Key="k", Body=b"x", ACL="public-read")
    s3.put_bucket_acl(Bucket="kept", ACL="public-read")
    before = (s3.get_object_acl(Bucket="kept", Key="k")["Grants"], s3.get_bucket_acl(Bucket="kept")["Grants"])
    server.kill()
    s3 = server.start().client("s3")
    assert (s3.get_object_acl(Bucket="kept", Key="k")["Grants"], s3.get_bucket_acl(Bucket="kept")["Grants"]) == before
    s3.put_bucket_acl(Bucket="kept", ACL="private")
    s3.put_bucket_ownership_controls(
        Bucket="kept", OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    assert len(s3.get_object_acl(Bucket="kept", Key="k")["Grants"]) == 1
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", "/kept/k")
    assert connection.getresponse().status == 403


def test_every_version_has_a_list_of_its_own(world: World) -> None:
    root, bucket, ada = world.root, world.bucket("ObjectWriter", public=True), world.users["ada"]
    root.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = root.put_object(Bucket=bucket, Key="k", Body=b"old")["VersionId"]
    new = root.put_object(Bucket=bucket, Key="k", Body=b"new")["VersionId"]
    world.allow("ada", {"Effect": "Deny", "Action": "s3:DeleteBucket", "Resource": "*"})
    assert world.stranger("GET", f"/{bucket}/k?versionId={old}")[0] == 403
    root.put_object_acl(Bucket=bucket, Key="k", VersionId=old, ACL="public-read")
    assert world.stranger("GET", f"/{bucket}/k?versionId={old}") == (200, b"old")
    assert world.stranger("GET", f"/{bucket}/k?versionId={new}")[0] == 403 == world.stranger("GET", f"/{bucket}/k")[0]
    assert len(root.get_object_acl(Bucket=bucket, Key="k", VersionId=old)["Grants"]) == 2
    assert len(root.get_object_acl(Bucket=bucket, Key="k")["Grants"]) == 1
    assert may(ada.copy_object, Bucket=bucket, Key="mine", CopySource=f"{bucket}/k?versionId={old}") is False
    root.put_bucket_acl(Bucket=bucket, GrantWrite=f"id={world.ids['ada']}")
    assert may(ada.copy_object, Bucket=bucket, Key="mine", CopySource=f"{bucket}/k?versionId={old}")
    assert not may(ada.copy_object, Bucket=bucket, Key="mine", CopySource=f"{bucket}/k?versionId={new}")
    mine = ada.put_object(Bucket=bucket, Key="mine", Body=b"x")["VersionId"]
    assert not may(ada.delete_object, Bucket=bucket, Key="mine", VersionId=mine), "for the bucket's owner only"
    assert may(ada.delete_object, Bucket=bucket, Key="mine"), "but hers can be marked"
    root.delete_object(Bucket=bucket, Key="k", VersionId=new)
    assert world.stranger("GET", f"/{bucket}/k") == (200, b"old"), "its list comes along to the front"
    root.delete_object(Bucket=bucket, Key="k")
    assert world.stranger("GET", f"/{bucket}/k")[0] == 403
    refused("NoSuchKey", root.get_object_acl, Bucket=bucket, Key="k")
    refused("InvalidArgument", root.get_object_acl, Bucket=bucket, Key="k", VersionId="nonsense")
    assert world.stranger("GET", f"/{bucket}/k?versionId=nonsense")[0] == 403


def test_policies_speak_of_versions(world: World) -> None:
    root, bucket, role = world.root, world.bucket("ObjectWriter"), world.role
    root.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = root.put_object(Bucket=bucket, Key="k", Body=b"old", Tagging="team=red")["VersionId"]
    new = root.put_object(Bucket=bucket, Key="k", Body=b"new")["VersionId"]
    runner = {"AWS": "arn:aws:iam::000000000000:role/runner"}
    allow = {"Effect": "Allow", "Principal": runner, "Resource": f"arn:aws:s3:::{bucket}/*"}
    one = allow | {"Condition": {"StringEquals": {"s3:VersionId": old}}}
    world.policy(bucket, one | {"Action": ["s3:GetObjectVersion", "s3:GetObjectVersionAcl"]})
    for call in (role.get_object, role.get_object_acl):
        assert may(call, Bucket=bucket, Key="k", VersionId=old)
        assert not may(call, Bucket=bucket, Key="k", VersionId=new) and not may(call, Bucket=bucket, Key="k")
    red = {"Condition": {"StringEquals": {"s3:ExistingObjectTag/team": "red"}}}
    world.policy(bucket, allow | red | {"Action": ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObjectVersionAcl"]})
    assert may(role.get_object, Bucket=bucket, Key="k", VersionId=old)
    assert not may(role.get_object, Bucket=bucket, Key="k")
    assert may(role.put_object_acl, Bucket=bucket, Key="k", VersionId=old, ACL="private")
    assert not may(role.put_object_acl, Bucket=bucket, Key="k", VersionId=new, ACL="private")


# -- events


def test_a_changed_list_is_an_event(world: World) -> None:
    root, bucket = world.root, world.bucket("ObjectWriter")
    sqs = world.server.client("sqs")
    url = sqs.create_queue(QueueName=bucket)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Statement": [policy]})})
    root.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={
        "QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectAcl:Put", "s3:ObjectCreated:*"]}]})  # fmt: skip
    root.put_object(Bucket=bucket, Key="k", Body=b"x")
    etag = root.head_object(Bucket=bucket, Key="k")
    for _ in range(2):
        root.put_object_acl(Bucket=bucket, Key="k", GrantRead=f"id={world.ids['ada']}")
    root.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    root.put_object(Bucket=bucket, Key="k", Body=b"y")
    found: list[dict[str, Any]] = []

    def drained() -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            found.extend(json.loads(message["Body"]).get("Records", []))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(found) >= 4

    eventually(drained)
    found.sort(key=lambda record: record["s3"]["object"]["sequencer"])
    names = [record["eventName"] for record in found]
    assert names == ["ObjectCreated:Put", "ObjectAcl:Put", "ObjectAcl:Put", "ObjectCreated:Put"]
    assert found[1]["s3"]["object"]["eTag"] == etag["ETag"].strip('"')


def test_many_writers_of_one_list_leave_one_of_theirs(world: World) -> None:
    root, bucket = world.root, world.bucket("ObjectWriter")
    root.put_object(Bucket=bucket, Key="k", Body=b"x")
    ids = [f"{number:064x}" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: root.put_object_acl(Bucket=bucket, Key="k", GrantRead=f"id={one}"), ids))
    found = grants(root.get_object_acl(Bucket=bucket, Key="k"))
    assert len(found) == 1 and found[0][0] in ids and found[0][1] == "READ"


# -- lists that are none


def acl(inner: str, owner: str) -> bytes:
    return (
        f"<AccessControlPolicy><Owner><ID>{owner}</ID></Owner><AccessControlList>{inner}</AccessControlList>"
        "</AccessControlPolicy>"
    ).encode()


def test_a_list_as_a_document(world: World) -> None:
    root, bucket, owner = world.root, world.bucket("ObjectWriter"), world.ids["root"]
    root.put_object(Bucket=bucket, Key="k", Body=b"x")
    given = grant("CanonicalUser", f"<ID>{world.ids['ada']}</ID>", "FULL_CONTROL")
    for target, read in ((f"/{bucket}?acl", root.get_bucket_acl), (f"/{bucket}/k?acl", root.get_object_acl)):
        assert world.raw("PUT", target, acl(given, owner))[0] == 200
        more = {"Key": "k"} if "/k" in target else {}
        answer = read(Bucket=bucket, **more)
        assert grants(answer) == [(world.ids["ada"], "FULL_CONTROL")]
        assert answer["Grants"][0]["Grantee"]["Type"] == "CanonicalUser"
        assert world.raw("PUT", target, acl("", owner))[0] == 200
        assert grants(read(Bucket=bucket, **more)) == []
    root.put_object_acl(Bucket=bucket, Key="k", AccessControlPolicy={
        "Owner": {"ID": owner},
        "Grants": [{"Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/s3/LogDelivery"},
                    "Permission": "WRITE"}]})  # fmt: skip
    assert root.get_object_acl(Bucket=bucket, Key="k")["Grants"][0]["Grantee"]["Type"] == "Group"


def test_odd_lists_are_refused(world: World) -> None:
    root, bucket, owner = world.root, world.bucket("ObjectWriter"), world.ids["root"]
    root.put_object(Bucket=bucket, Key="k", Body=b"x")
    ada = f"<ID>{world.ids['ada']}</ID>"
    entity = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;">]>'
    many = "".join(grant("CanonicalUser", f"<ID>{number:064x}</ID>") for number in range(101))
    odd: list[tuple[bytes, int, str]] = [
        (b"", 400, "MissingSecurityHeader"),
        (b"<", 400, "MalformedACLError"),
        (b"not xml", 400, "MalformedACLError"),
        (b"<AccessControlPolicy/>", 400, "MalformedACLError"),
        (acl(grant("CanonicalUser", ada), ""), 400, "MalformedACLError"),
        (acl(grant("CanonicalUser", ada), world.ids["ada"]), 403, "AccessDenied"),
        (acl(grant("CanonicalUser", ada, "OWN"), owner), 400, "MalformedACLError"),
        (acl(grant("CanonicalUser", ada, ""), owner), 400, "MalformedACLError"),
        (acl(grant("Person", ada), owner), 400, "MalformedACLError"),
        (acl(f"<Grant><Grantee>{ada}</Grantee><Permission>READ</Permission></Grant>", owner), 400, "MalformedACLError"),
        (acl("<Grant/>", owner), 400, "MalformedACLError"),
        (acl(grant("CanonicalUser", ""), owner), 400, "MalformedACLError"),
        (acl(grant("CanonicalUser", "<ID>ada</ID>"), owner), 400, "InvalidArgument"),
        (acl(grant("Group", "<URI>http://example.com/all</URI>"), owner), 400, "InvalidArgument"),
        (
            acl(grant("AmazonCustomerByEmail", "<EmailAddress>a@example.com</EmailAddress>"), owner),
            405,
            "MethodNotAllowed",
        ),
        (acl(many, owner), 400, "MalformedACLError"),
        (entity.encode() + acl(grant("CanonicalUser", "<ID>&b;</ID>"), owner), 400, "MalformedACLError"),
        (acl("<Grant>" * 5000 + "</Grant>" * 5000, owner), 400, "MalformedACLError"),
        (b"\xff\xfe\x00", 400, "MalformedACLError"),
        (acl(grant("CanonicalUser", "<ID>\u00e9\u4e2d</ID>"), owner), 400, "InvalidArgument"),
    ]
    for target in (f"/{bucket}?acl", f"/{bucket}/k?acl"):
        for body, status, code in odd:
            found = world.raw("PUT", target, body)
            assert found[0] == status and code.encode() in found[1], (target, body[:200], found)
        found = world.raw("PUT", target, acl(grant("CanonicalUser", ada), owner), x_amz_acl="private")
        assert (found[0], b"UnexpectedContent" in found[1]) == (400, True)
    assert grants(root.get_object_acl(Bucket=bucket, Key="k")) == [(owner, "FULL_CONTROL")]
    assert grants(root.get_bucket_acl(Bucket=bucket)) == [(owner, "FULL_CONTROL")]
