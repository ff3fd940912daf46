"""Functions whose workers run already."""

from __future__ import annotations

import time

from botocore.exceptions import ClientError

from bench.case import TRUST, Case, Made, archive, repeat
from bench.load import Script
from bench.wire import Target

NAME = "bench"
CODE = "def handler(event, context):\n    return event\n"


def role(target: Target, policy: str = "") -> str:
    """The role that the benchmarks' functions run as."""
    client = target.client("iam")
    try:
        client.create_role(RoleName=NAME, AssumeRolePolicyDocument=TRUST)
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityAlreadyExists":
            raise
    if policy:
        client.put_role_policy(RoleName=NAME, PolicyName="all", PolicyDocument=policy)
    arn: str = client.get_role(RoleName=NAME)["Role"]["Arn"]
    return arn


class Invoke(Case):
    name = "warm invoke"
    tree = True
    moto = False  # it runs functions in Docker only

    def prepare(self, target: Target) -> Made:
        client = target.client("lambda")
        client.create_function(
            FunctionName=NAME, Runtime="python3.11", Handler="main.handler", Role=role(target),
            Code={"ZipFile": archive(CODE)}, Timeout=30,
        )  # fmt: skip
        while client.get_function_configuration(FunctionName=NAME)["State"] != "Active":
            time.sleep(0.05)
        return {}

    def script(self, target: Target, made: Made, worker: int) -> Script:
        path = f"/2015-03-31/functions/{NAME}/invocations"
        return repeat([target.wire("lambda", "POST", path, b'{"a": [1, 2, 3]}')])
