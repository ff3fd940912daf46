"""Whom policies of buckets, queues and topics name: who is nobody is refused, and a name is not passed on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.server import TRUST, ServerProcess, eventually

ACCOUNT = "000000000000"
BUCKET, QUEUE, TOPIC = "named-bucket", "named-queue", "named-topic"


def user(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:user/{name}"


def role(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


class Resource:
    """Something with a policy: put one that names a principal, and see whom it is shown to name."""

    def __init__(self, server: ServerProcess, kind: str) -> None:
        self.kind = kind
        self._s3, self._sqs, self._sns = (server.client(name) for name in ("s3", "sqs", "sns"))
        if kind == "s3":
            self._s3.create_bucket(Bucket=BUCKET)
        elif kind == "sqs":
            self._url = self._sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
        else:
            self._arn = self._sns.create_topic(Name=TOPIC)["TopicArn"]

    def document(self, element: Any, name: str = "Principal") -> str:
        actions = {"s3": ["s3:ListBucket"], "sqs": ["sqs:GetQueueAttributes"], "sns": ["sns:GetTopicAttributes"]}
        arn = {"s3": f"arn:aws:s3:::{BUCKET}", "sqs": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{QUEUE}"}
        resource = arn.get(self.kind, f"arn:aws:sns:us-east-1:{ACCOUNT}:{TOPIC}")
        effect = "Allow" if name == "Principal" else "Deny"
        statement = {"Effect": effect, name: element, "Action": actions[self.kind], "Resource": resource}
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    def put(self, element: Any, name: str = "Principal") -> None:
        text = self.document(element, name)
        if self.kind == "s3":
            self._s3.put_bucket_policy(Bucket=BUCKET, Policy=text)
        elif self.kind == "sqs":
            self._sqs.set_queue_attributes(QueueUrl=self._url, Attributes={"Policy": text})
        else:
            self._sns.set_topic_attributes(TopicArn=self._arn, AttributeName="Policy", AttributeValue=text)

    def text(self) -> str:
        if self.kind == "s3":
            return str(self._s3.get_bucket_policy(Bucket=BUCKET)["Policy"])
        if self.kind == "sqs":
            answer = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["Policy"])
            return str(answer["Attributes"]["Policy"])
        return str(self._sns.get_topic_attributes(TopicArn=self._arn)["Attributes"]["Policy"])

    def named(self, name: str = "Principal") -> Any:
        return json.loads(self.text())["Statement"][0][name]

    def permit(self, label: str, present: bool) -> None:
        """AddPermission and RemovePermission."""
        client, where = (
            (self._sqs, {"QueueUrl": self._url}) if self.kind == "sqs" else (self._sns, {"TopicArn": self._arn})
        )
        if present:
            actions = {"Actions": ["SendMessage"], "AWSAccountIds": ["111111111111"]}
            other = {"ActionName": ["Publish"], "AWSAccountId": ["111111111111"]}
            client.add_permission(**where, Label=label, **(actions if self.kind == "sqs" else other))
        else:
            client.remove_permission(**where, Label=label)

    def may(self, server: ServerProcess, key: tuple[str, str]) -> bool:
        client = server.client(self.kind, key)
        try:
            if self.kind == "s3":
                client.list_objects_v2(Bucket=BUCKET)
            elif self.kind == "sqs":
                client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["All"])
            else:
                client.get_topic_attributes(TopicArn=self._arn)
        except ClientError:
            return False
        return True


CODES = {"s3": "MalformedPolicy", "sqs": "InvalidAttributeValue", "sns": "InvalidParameter"}
WORDS = {"s3": "Invalid principal in policy", "sqs": "parameter Policy", "sns": "PrincipalNotFound"}


@pytest.fixture(scope="module", params=["s3", "sqs", "sns"])
def resource(server: ServerProcess, request: pytest.FixtureRequest) -> Resource:
    return Resource(server, request.param)


@pytest.fixture(scope="module")
def iam(server: ServerProcess) -> Any:
    made = server.client("iam")
    made.create_user(UserName="here", Path="/team/")
    made.create_role(RoleName="here", AssumeRolePolicyDocument=TRUST)
    return made


NOBODY = {
    "no such user": {"AWS": user("nobody")},
    "no such role": {"AWS": role("nobody")},
    "one of two": {"AWS": [user("team/here"), user("nobody")]},
    "another path": {"AWS": user("here")},
    "a group": {"AWS": f"arn:aws:iam::{ACCOUNT}:group/here"},
    "a session of no role": {"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/nobody/me"},
    "a session without a name": {"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/here/"},
    "an id of nobody": {"AWS": "AIDAAAAAAAAAAAAAAAAAA"},
    "a name": {"AWS": "here"},
    "a short account": {"AWS": "12345"},
    "a bucket": {"AWS": "arn:aws:s3:::here"},
    "a canonical id that is none": {"CanonicalUser": "me"},
}
KNOWN = {
    "everybody": "*",
    "everybody in words": {"AWS": "*"},
    "our account": {"AWS": ACCOUNT},
    "our root": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    "another account": {"AWS": ["111111111111", "arn:aws:iam::111111111111:root"]},
    "another account's user": {"AWS": "arn:aws:iam::111111111111:user/who/knows"},
    "another account's session": {"AWS": "arn:aws:sts::111111111111:assumed-role/who/knows"},
    "a user with a path": {"AWS": user("team/here")},
    "a role": {"AWS": [role("here")]},
    "a session": {"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/here/me"},
    "a service": {"Service": "s3.amazonaws.com"},
    "a canonical id": {"CanonicalUser": "0" * 64},
    "an access identity": {"AWS": "arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1"},
}


@pytest.mark.parametrize("element", NOBODY.values(), ids=NOBODY.keys())
@pytest.mark.parametrize("member", ["Principal", "NotPrincipal"])
def test_who_is_nobody_is_refused(resource: Resource, iam: Any, element: Any, member: str) -> None:
    with pytest.raises(ClientError) as caught:
        resource.put(element, member)
    error = caught.value.response["Error"]
    assert error["Code"] == CODES[resource.kind] and WORDS[resource.kind] in error["Message"]


@pytest.mark.parametrize("element", KNOWN.values(), ids=KNOWN.keys())
def test_who_is_there_or_elsewhere_is_taken(server: ServerProcess, resource: Resource, iam: Any, element: Any) -> None:
    if resource.kind == "s3":
        server.client("s3").delete_public_access_block(Bucket=BUCKET)
    resource.put(element)
    assert resource.named() == element


def test_an_id_is_shown_as_the_name(resource: Resource, iam: Any) -> None:
    resource.put({"AWS": iam.get_user(UserName="here")["User"]["UserId"]})
    assert resource.named() == {"AWS": user("team/here")}
    resource.put({"AWS": [iam.get_role(RoleName="here")["Role"]["RoleId"], ACCOUNT]}, "NotPrincipal")
    assert resource.named("NotPrincipal") == {"AWS": [role("here"), ACCOUNT]}


def test_a_name_is_not_passed_on(server: ServerProcess, resource: Resource, iam: Any) -> None:
    name = f"passing-{resource.kind}"

    def make() -> tuple[str, tuple[str, str]]:
        made = iam.create_user(UserName=name)["User"]["UserId"]
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return made, (key["AccessKeyId"], key["SecretAccessKey"])

    first, key = make()
    resource.put({"AWS": user(name)})
    assert resource.named() == {"AWS": user(name)}
    eventually(lambda: resource.may(server, key))
    iam.delete_access_key(UserName=name, AccessKeyId=key[0])
    iam.delete_user(UserName=name)
    assert resource.named() == {"AWS": first}  # as on AWS, where this is how one finds out
    second, key = make()
    assert second != first and resource.named() == {"AWS": first}
    eventually(lambda: server.client("sts", key).get_caller_identity())
    assert not resource.may(server, key)
    with pytest.raises(ClientError):
        resource.put({"AWS": first})
    if resource.kind != "s3":  # what else is in the policy can still be changed
        resource.permit("other", True)
        resource.permit("other", False)
    resource.put({"AWS": user(name)})
    eventually(lambda: resource.may(server, key))


def test_a_policy_without_names_of_ours_is_kept_as_it_was_sent(server: ServerProcess, resource: Resource) -> None:
    resource.put({"AWS": "111111111111"})
    assert resource.text() == resource.document({"AWS": "111111111111"})


def test_a_queue_made_again_with_its_policy_is_the_same(server: ServerProcess, iam: Any) -> None:
    sqs = server.client("sqs")
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:again"
    statement = {"Effect": "Allow", "Principal": {"AWS": user("team/here")}, "Action": "sqs:*", "Resource": arn}
    policy = {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]})}
    url = sqs.create_queue(QueueName="again", Attributes=policy)["QueueUrl"]
    assert sqs.create_queue(QueueName="again", Attributes=policy)["QueueUrl"] == url
