"""Several people on one server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from helpers.s3_access import World, assumed, id_of
from helpers.server import ServerProcess, eventually


@pytest.fixture(scope="module")
def world(server: ServerProcess) -> Iterator[World]:
    iam, users = server.client("iam"), {}
    for name in ("ada", "bob"):
        iam.create_user(UserName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        users[name] = server.client("s3", (key["AccessKeyId"], key["SecretAccessKey"]))
    trust = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn = iam.create_role(RoleName="runner", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    root = server.client("s3")
    ids = {"root": root.list_buckets()["Owner"]["ID"]}
    for name, client in users.items():
        grant = {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}
        iam.put_user_policy(
            UserName=name, PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [grant]})
        )
        ids[name] = eventually(lambda client=client: id_of(client))
    made = World(server, root, users, ids, assumed(server, arn))
    yield made
    assert not [line for line in server.lines if "Traceback" in line], "\n".join(server.lines)
