"""A server with several people, and the grants that they give each other."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from helpers.raw import Plain, exchange, signed
from helpers.server import ServerProcess

XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
NAMES = itertools.count()


@dataclass
class World:
    """The server and its people. ``ids`` are their canonical user ids."""

    server: ServerProcess
    root: Any
    users: dict[str, Any]
    ids: dict[str, str]
    role: Any

    def bucket(self, ownership: str = "", *, public: bool = False) -> str:
        """A new bucket; ``public`` takes its public access block away."""
        name = f"access-{next(NAMES)}"
        self.root.create_bucket(Bucket=name, **({"ObjectOwnership": ownership} if ownership else {}))
        if public:
            self.root.delete_public_access_block(Bucket=name)
        return name

    def stranger(self, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """An unsigned request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, body, given)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def raw(self, method: str, target: str, body: bytes, **headers: str) -> tuple[int, bytes]:
        """Root's request with a body of its own making."""

        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
        plain = signed(Plain(method, target, body, given), self.server.port, self.server.key, "s3")
        answer = exchange(self.server, plain.wire(self.server.port), method)
        return answer.status, answer.check().body

    def allow(self, user: str, *statements: dict[str, Any]) -> None:
        """Replace what a user may do."""
        iam = self.server.client("iam")
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=json.dumps(document))

    def policy(self, bucket: str, *statements: dict[str, Any]) -> None:
        """Replace the bucket's policy."""
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        self.root.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))


def id_of(client: Any) -> str:
    try:
        return str(client.list_buckets()["Owner"]["ID"])
    except ClientError:
        return ""


def assumed(server: ServerProcess, arn: str) -> Any:

    given = server.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


def refused(code: str, call: Callable[..., Any], **arguments: Any) -> Any:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response


def grants(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["Grantee"].get("ID") or one["Grantee"]["URI"], one["Permission"]) for one in answer["Grants"]]


def puts(client: Any, bucket: str, key: str, **more: Any) -> bool:
    """Whether the client may put; identity policies reach the server's memory a moment after they were put."""
    try:
        client.put_object(Bucket=bucket, Key=key, Body=b"x", **more)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDenied"
        return False
    return True


def may(call: Callable[..., Any], **arguments: Any) -> bool:
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] in ("AccessDenied", "403"), error
        return False
    return True


def grant(kind: str, who: str, permission: str = "READ") -> str:
    return f'<Grant><Grantee {XSI} xsi:type="{kind}">{who}</Grantee><Permission>{permission}</Permission></Grant>'
