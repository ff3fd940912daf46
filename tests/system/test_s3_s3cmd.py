"""s3cmd, which is older than most of S3."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.server import ServerProcess
from helpers.tools import Proxy, Tool, s3cmd_of

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def s3cmd(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Tool:
    return s3cmd_of(server, tmp_path_factory.mktemp("s3cmd"))


@pytest.fixture
def bucket(s3cmd: Tool, request: pytest.FixtureRequest) -> Iterator[str]:
    name = request.node.name.replace("_", "-")[:50].lower()
    s3cmd.run("mb", f"s3://{name}")
    yield name
    s3cmd.run("rb", "--recursive", "--force", f"s3://{name}")


def test_put_get_and_del(s3cmd: Tool, server: ServerProcess, bucket: str, tmp_path: Path) -> None:
    here = tmp_path / "größe ☃ + %41.txt"
    here.write_bytes(os.urandom(300))
    s3cmd.run(
        "put",
        str(here),
        f"s3://{bucket}/deep/",
        "--add-header=Cache-Control: no-store",
        "--add-header=x-amz-meta-colour: blue",
    )
    key = f"deep/{here.name}"
    about = server.client("s3").head_object(Bucket=bucket, Key=key)
    assert about["CacheControl"] == "no-store" and about["Metadata"]["colour"] == "blue"
    info = s3cmd.run("info", f"s3://{bucket}/{key}")
    assert hashlib.md5(here.read_bytes()).hexdigest() in info and "File size: 300" in info
    assert f"s3://{bucket}/{key}" in s3cmd.run("ls", "--recursive", f"s3://{bucket}")
    assert "DIR" in s3cmd.run("ls", f"s3://{bucket}") and "300" in s3cmd.run("du", f"s3://{bucket}")
    s3cmd.run("get", f"s3://{bucket}/{key}", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == here.read_bytes()
    assert s3cmd.ask("get", f"s3://{bucket}/{key}", str(tmp_path / "back")).code != 0, "it is there"
    with (tmp_path / "back").open("r+b") as file:
        file.truncate(100)
    s3cmd.run("get", "--continue", f"s3://{bucket}/{key}", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == here.read_bytes()
    s3cmd.run("cp", f"s3://{bucket}/{key}", f"s3://{bucket}/copy ü")
    s3cmd.run("mv", f"s3://{bucket}/copy ü", f"s3://{bucket}/moved ü")
    s3cmd.run("modify", "--add-header=Content-Language: de", f"s3://{bucket}/moved ü")
    about = server.client("s3").head_object(Bucket=bucket, Key="moved ü")
    assert about["ContentLanguage"] == "de" and about["Metadata"]["colour"] == "blue"
    s3cmd.run("del", f"s3://{bucket}/moved ü")
    s3cmd.run("del", "--recursive", "--force", f"s3://{bucket}/deep/")
    assert not s3cmd.run("ls", "--recursive", f"s3://{bucket}")
    missing = s3cmd.ask("get", f"s3://{bucket}/missing", str(tmp_path / "missing"))
    assert missing.code != 0 and "does not exist" in missing.err


def test_multipart(s3cmd: Tool, server: ServerProcess, bucket: str, tmp_path: Path) -> None:
    here = tmp_path / "large"
    here.write_bytes(os.urandom(12 * MIB))
    s3cmd.run("put", str(here), f"s3://{bucket}/large")
    assert server.client("s3").head_object(Bucket=bucket, Key="large")["ETag"].endswith('-3"')
    s3cmd.run("get", f"s3://{bucket}/large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == here.read_bytes()
    s3cmd.run("put", "-", f"s3://{bucket}/piped", stdin=here.read_bytes())
    assert server.client("s3").get_object(Bucket=bucket, Key="piped")["Body"].read() == here.read_bytes()
    upload = server.client("s3").create_multipart_upload(Bucket=bucket, Key="left")["UploadId"]
    assert upload in s3cmd.run("multipart", f"s3://{bucket}")
    server.client("s3").upload_part(Bucket=bucket, Key="left", UploadId=upload, PartNumber=1, Body=b"x")
    assert "1" in s3cmd.run("listmp", f"s3://{bucket}/left", upload)
    s3cmd.run("abortmp", f"s3://{bucket}/left", upload)
    assert upload not in s3cmd.run("multipart", f"s3://{bucket}")


def test_sync(s3cmd: Tool, server: ServerProcess, bucket: str, tmp_path: Path) -> None:
    here = tmp_path / "here"
    names = ["a", "with space/ü", "tilde~", "q?x#y", "100%", "日本語", "plus+and&", "deep/er/est"]
    for name in names:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(os.urandom(1000))
    s3cmd.run("sync", f"{here}/", f"s3://{bucket}/site/")
    assert {row["Key"] for row in server.client("s3").list_objects_v2(Bucket=bucket)["Contents"]} == {
        f"site/{name}" for name in names
    }
    (here / "a").write_bytes(b"changed")
    (here / "100%").unlink()
    done = s3cmd.run("sync", "--delete-removed", f"{here}/", f"s3://{bucket}/site/")
    assert "/a'" in done and "delete:" in done and "tilde" not in done
    s3cmd.run("sync", f"s3://{bucket}/site/", f"{tmp_path / 'back'}/")
    for name in set(names) - {"100%"}:
        assert (tmp_path / "back" / name).read_bytes() == (here / name).read_bytes()
    s3cmd.run("sync", f"s3://{bucket}/site/", f"s3://{bucket}/mirror/")
    assert "mirror/日本語" in s3cmd.run("ls", "--recursive", f"s3://{bucket}/mirror/")


def test_configuration(s3cmd: Tool, server: ServerProcess, bucket: str, tmp_path: Path) -> None:
    assert f"s3://{bucket}" in s3cmd.run("ls")
    info = s3cmd.run("info", f"s3://{bucket}")
    assert "us-east-1" in info
    policy = tmp_path / "policy.json"
    policy.write_text('{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",'
                      f'"Resource":"arn:aws:s3:::{bucket}/public/*"}}]}}')  # fmt: skip
    done = s3cmd.ask("setpolicy", str(policy), f"s3://{bucket}")
    assert done.code != 0 and "BlockPublicPolicy" in done.err
    server.client("s3").delete_public_access_block(Bucket=bucket)
    s3cmd.run("setpolicy", str(policy), f"s3://{bucket}")
    assert "public/*" in s3cmd.run("info", f"s3://{bucket}")
    s3cmd.run("put", str(policy), f"s3://{bucket}/public/it")
    with urllib.request.urlopen(f"{server.url}/{bucket}/public/it") as answer:
        assert answer.read() == policy.read_bytes()
    s3cmd.run("delpolicy", f"s3://{bucket}")
    cors = tmp_path / "cors.xml"
    cors.write_text("<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"
                    "</CORSRule></CORSConfiguration>")  # fmt: skip
    s3cmd.run("setcors", str(cors), f"s3://{bucket}")
    assert "AllowedOrigin" in s3cmd.run("info", f"s3://{bucket}")
    s3cmd.run("delcors", f"s3://{bucket}")
    s3cmd.run("put", str(policy), f"s3://{bucket}/plain")
    url = s3cmd.run("signurl", f"s3://{bucket}/plain", "+60").strip()
    # s3cmd signs URLs with signature version 2 only, which AWS's newer regions refuse, too.
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(url)
    assert error.value.code == 400 and b"AWS4-HMAC-SHA256" in error.value.read()
    # Owners are enforced, so there are no ACLs, as in every new bucket on AWS.
    done = s3cmd.ask("setacl", "--acl-public", f"s3://{bucket}/plain")
    assert done.code != 0 and "AccessControlListNotSupported" in done.err, done.err
    done = s3cmd.ask("put", "--acl-public", str(policy), f"s3://{bucket}/open")
    assert done.code != 0 and "AccessControlListNotSupported" in done.err, done.err


def test_lists_where_a_bucket_has_them(s3cmd: Tool, server: ServerProcess, bucket: str, tmp_path: Path) -> None:
    s3 = server.client("s3")
    rules = [{"ObjectOwnership": "BucketOwnerPreferred"}]
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": rules})
    s3.delete_public_access_block(Bucket=bucket)
    (tmp_path / "x").write_bytes(b"to be read by all")
    s3cmd.run("put", "--acl-public", str(tmp_path / "x"), f"s3://{bucket}/open")
    with urllib.request.urlopen(f"{server.url}/{bucket}/open") as answer:
        assert answer.read() == b"to be read by all"
    assert "*anon*: READ" in s3cmd.run("info", f"s3://{bucket}/open")
    s3cmd.run("setacl", "--acl-private", f"s3://{bucket}/open")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{server.url}/{bucket}/open")
    assert [row["Permission"] for row in s3.get_object_acl(Bucket=bucket, Key="open")["Grants"]] == ["FULL_CONTROL"]


def test_virtual_hosted(server: ServerProcess, tmp_path: Path) -> None:
    proxy = Proxy(server)
    try:
        base = f"s3.localhost:{server.port}"
        tool = s3cmd_of(
            server,
            tmp_path,
            host_base=base,
            host_bucket=f"%(bucket)s.{base}",
            proxy_host="127.0.0.1",
            proxy_port=str(proxy.port),
        )
        tool.run("mb", "s3://hosted-by-s3cmd")
        (tmp_path / "x ü").write_bytes(os.urandom(6 * MIB))
        tool.run("put", str(tmp_path / "x ü"), "s3://hosted-by-s3cmd/x ü")
        tool.run("cp", "s3://hosted-by-s3cmd/x ü", "s3://hosted-by-s3cmd/y ü")
        tool.run("get", "s3://hosted-by-s3cmd/y ü", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == (tmp_path / "x ü").read_bytes()
        rows = server.client("s3").list_objects_v2(Bucket="hosted-by-s3cmd")["Contents"]
        assert [row["Key"] for row in rows] == ["x ü", "y ü"]
        tool.run("rb", "--recursive", "--force", "s3://hosted-by-s3cmd")
    finally:
        proxy.close()
