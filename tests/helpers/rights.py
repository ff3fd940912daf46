"""People with narrow rights on a real server."""

from __future__ import annotations

import http.client
import io
import itertools
import json
import zipfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

from helpers.server import ServerProcess

ACCOUNT = "000000000000"
_NAMES = itertools.count()


def arn(service: str, resource: str) -> str:
    """Of the server's account and region."""
    return f"arn:aws:{service}:us-east-1:{ACCOUNT}:{resource}"


def may(action: Any, resource: Any = "*", effect: str = "Allow", **more: Any) -> dict[str, Any]:
    """A statement."""
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def person(server: ServerProcess, *statements: dict[str, Any]) -> tuple[str, str]:
    """A new user's key."""
    iam, name = server.client("iam"), f"person-{next(_NAMES)}"
    iam.create_user(UserName=name)
    if statements:
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def denied(method: Any, /, **params: Any) -> str:
    """The words of a refusal for want of rights."""
    with pytest.raises(ClientError) as caught:
        method(**params)
    error = caught.value.response["Error"]
    assert error["Code"] in ("AccessDenied", "AccessDeniedException", "AuthorizationError"), error
    return str(error["Message"])


def unsigned(server: ServerProcess, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    """A request without a signature."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def role(server: ServerProcess, service: str = "lambda.amazonaws.com") -> str:
    """A role's ARN."""
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    made = server.client("iam").create_role(RoleName=f"role-{next(_NAMES)}", AssumeRolePolicyDocument=document)
    return str(made["Role"]["Arn"])


def function(client: Any, role_arn: str) -> str:
    """A new function's name."""
    packed, name = io.BytesIO(), f"function-{next(_NAMES)}"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("main.py", "def handler(event, context):\n    return event\n")
    client.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Handler="main.handler",
        Role=role_arn,
        Code={"ZipFile": packed.getvalue()},
    )
    return name
