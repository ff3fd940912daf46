"""IAM, STS, Secrets Manager, Parameter Store and KMS by their official clients, over the whole HTTP application."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from helpers.inprocess import listening

from sluiceway.config import HttpSettings, SecretSettings, SecuritySettings, StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.identity import Scope
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws.codecs import Codecs
from sluiceway.edges.aws.iam import iam_edge
from sluiceway.edges.aws.kms import kms_edge
from sluiceway.edges.aws.pipeline import AwsPipeline
from sluiceway.edges.aws.secretsmanager import secretsmanager_edge
from sluiceway.edges.aws.ssm import ssm_edge
from sluiceway.edges.aws.sts import sts_edge
from sluiceway.edges.routing import Router
from sluiceway.edges.sigv4 import SignatureVerifier
from sluiceway.engines.keyfile import master_key, root_key
from sluiceway.engines.sqlite import open_store
from sluiceway.services.access import authorize
from sluiceway.services.accounts import Accounts, KeyRing
from sluiceway.services.sealing import Sealer
from sluiceway.services.secrets import Keys, Parameters, Secrets

SCOPE = Scope("000000000000", "us-east-1")
TRUST_ACCOUNT = {"AWS": "arn:aws:iam::000000000000:root"}


class Served:
    """A server in a thread of its own; ``client`` makes boto3 clients of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = root_key(folder)
        self.url = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Served:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(20)

    async def _run(self) -> None:
        clock, wakeups = SystemClock(), Wakeups()
        store = await open_store(self.folder / "store.db", StoreSettings(), clock, wakeups)
        sealer, secret_limits = Sealer(master_key(self.folder)), SecretSettings()
        accounts = Accounts(SCOPE, SecuritySettings(), sealer)
        ring = KeyRing(accounts, clock, self.root.access_key_id, self.root.secret_access_key)
        await ring.refresh(store)
        verifier = SignatureVerifier(ring, SCOPE, clock, SecuritySettings())
        codecs = Codecs()
        edges = (
            iam_edge(store, accounts, ring),
            sts_edge(store, accounts),
            secretsmanager_edge(store, Secrets(SCOPE, secret_limits, sealer)),
            ssm_edge(store, Parameters(SCOPE, secret_limits, sealer)),
            kms_edge(store, Keys(SCOPE, secret_limits, sealer)),
        )
        handlers = {
            edge.name: AwsPipeline(
                edge, codecs, verifier, authorize, SCOPE, clock, HttpSettings(), lambda: self.url
            ).handle
            for edge in edges
        }
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        async with listening(Router(handlers, {})) as self.url:
            self._ready.set()
            await self._stopping.wait()
        await store.close()

    def client(self, service: str, key: dict[str, Any] | None = None) -> Any:
        """As root, or with an AccessKey or Credentials of an answer."""
        given = key or {"AccessKeyId": self.root.access_key_id, "SecretAccessKey": self.root.secret_access_key}
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given.get("SessionToken"),
            config=Config(retries={"max_attempts": 1}),
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("data")) as running:
        yield running


def allow(action: Any, resource: Any = "*", effect: str = "Allow", **more: Any) -> str:
    statement = {"Effect": effect, "Action": action, "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trust(principal: Any) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def fails(code: str, call: Any, **params: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**params)
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    return str(error["Message"])


def user_with(served: Served, name: str, *policies: str) -> dict[str, Any]:
    iam = served.client("iam")
    iam.create_user(UserName=name)
    for number, policy in enumerate(policies):
        iam.put_user_policy(UserName=name, PolicyName=f"p{number}", PolicyDocument=policy)
    key: dict[str, Any] = iam.create_access_key(UserName=name)["AccessKey"]
    return key


def test_who_am_i(served: Served) -> None:
    assert served.client("sts").get_caller_identity()["Arn"] == "arn:aws:iam::000000000000:root"
    key = user_with(served, "who")
    identity = served.client("sts", key).get_caller_identity()
    assert identity["Arn"] == "arn:aws:iam::000000000000:user/who"
    assert identity["Account"] == "000000000000"
    assert identity["UserId"].startswith("AIDA")
    wrong = {**key, "SecretAccessKey": "wrong"}
    fails("SignatureDoesNotMatch", served.client("sts", wrong).get_caller_identity)
    unknown = {**key, "AccessKeyId": "AKIANOBODY"}
    fails("InvalidClientTokenId", served.client("sts", unknown).get_caller_identity)


def test_a_key_works_at_once_and_stops_at_once(served: Served) -> None:
    iam = served.client("iam")
    key = user_with(served, "brief", allow("iam:GetUser"))
    mine = served.client("iam", key)
    assert mine.get_user()["User"]["UserName"] == "brief"
    message = fails("AccessDenied", mine.list_users)
    assert "user/brief is not authorized to perform: iam:ListUsers" in message
    iam.update_access_key(UserName="brief", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    fails("InvalidClientTokenId", mine.get_user)
    iam.update_access_key(UserName="brief", AccessKeyId=key["AccessKeyId"], Status="Active")
    iam.delete_user_policy(UserName="brief", PolicyName="p0")
    fails("AccessDenied", mine.get_user)
    fails("DeleteConflict", iam.delete_user, UserName="brief")
    iam.delete_access_key(UserName="brief", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="brief")
    fails("NoSuchEntity", iam.get_user, UserName="brief")


def test_roles(served: Served) -> None:
    iam = served.client("iam")
    document = trust({"Service": "lambda.amazonaws.com"})
    made = iam.create_role(
        RoleName="worker", AssumeRolePolicyDocument=document, Path="/app/", Tags=[{"Key": "a", "Value": "1"}]
    )["Role"]
    assert made["Arn"] == "arn:aws:iam::000000000000:role/app/worker"
    assert made["AssumeRolePolicyDocument"] == json.loads(document)
    fails("EntityAlreadyExists", iam.create_role, RoleName="worker", AssumeRolePolicyDocument=document)
    fails("MalformedPolicyDocument", iam.create_role, RoleName="other", AssumeRolePolicyDocument="{}")
    basic = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    iam.attach_role_policy(RoleName="worker", PolicyArn=basic)
    iam.put_role_policy(RoleName="worker", PolicyName="s3", PolicyDocument=allow("s3:*"))
    assert iam.list_role_policies(RoleName="worker")["PolicyNames"] == ["s3"]
    assert iam.get_role_policy(RoleName="worker", PolicyName="s3")["PolicyDocument"] == json.loads(allow("s3:*"))
    attached = iam.list_attached_role_policies(RoleName="worker")["AttachedPolicies"]
    assert attached == [{"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": basic}]
    iam.tag_role(RoleName="worker", Tags=[{"Key": "b", "Value": "2"}])
    iam.untag_role(RoleName="worker", TagKeys=["a"])
    assert iam.get_role(RoleName="worker")["Role"]["Tags"] == [{"Key": "b", "Value": "2"}]
    assert "worker" in [role["RoleName"] for role in iam.get_paginator("list_roles").paginate().search("Roles")]
    fails("DeleteConflict", iam.delete_role, RoleName="worker")
    iam.detach_role_policy(RoleName="worker", PolicyArn=basic)
    iam.delete_role_policy(RoleName="worker", PolicyName="s3")
    iam.delete_role(RoleName="worker")
    fails("NoSuchEntity", iam.get_role, RoleName="worker")


def test_a_path_is_part_of_the_arn_that_policies_see(served: Served) -> None:
    iam = served.client("iam")
    for name, path in (("inside", "/team/"), ("outside", "/")):
        iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trust(TRUST_ACCOUNT))
    team = "arn:aws:iam::000000000000:role/team/*"
    basic = "arn:aws:iam::aws:policy/service-role/*"
    policies = (
        allow("iam:GetRole", team),
        allow("iam:AttachRolePolicy", Condition={"ArnLike": {"iam:PolicyARN": basic}}),
    )
    mine = served.client("iam", user_with(served, "team", *policies))
    assert mine.get_role(RoleName="inside")["Role"]["Path"] == "/team/"
    fails("AccessDenied", mine.get_role, RoleName="outside")
    fails("AccessDenied", mine.get_role, RoleName="nobody")
    mine.attach_role_policy(RoleName="outside", PolicyArn=f"{basic[:-1]}AWSLambdaBasicExecutionRole")
    admin = "arn:aws:iam::aws:policy/AdministratorAccess"
    fails("AccessDenied", mine.attach_role_policy, RoleName="outside", PolicyArn=admin)


@pytest.mark.parametrize(
    ("service", "action"), [("iam", "ListUsers"), ("iam", "GetUser"), ("sts", "GetCallerIdentity")]
)
def test_unsigned_requests_are_refused(served: Served, service: str, action: str) -> None:
    headers = {"Host": f"{service}.us-east-1.amazonaws.com", "Content-Type": "application/x-www-form-urlencoded"}
    request = urllib.request.Request(served.url, f"Action={action}&Version=2010-05-08".encode(), headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 403
    assert b"MissingAuthenticationToken" in caught.value.read()


def test_unsigned_secrets_are_refused(served: Served) -> None:
    served.client("secretsmanager").create_secret(Name="unsigned", SecretString="v")
    unsigned = boto3.client(
        "secretsmanager",
        endpoint_url=served.url,
        region_name="us-east-1",
        config=Config(signature_version=UNSIGNED),
    )
    fails("MissingAuthenticationTokenException", unsigned.get_secret_value, SecretId="unsigned")
    fails("MissingAuthenticationTokenException", unsigned.list_secrets)


def test_pages(served: Served) -> None:
    iam = served.client("iam")
    for number in range(5):
        iam.create_user(UserName=f"page{number}", Path="/pages/")
    pages = iam.get_paginator("list_users").paginate(PathPrefix="/pages/", PaginationConfig={"PageSize": 2})
    assert [len(page["Users"]) for page in pages] == [2, 2, 1]


def test_managed_policies(served: Served) -> None:
    iam = served.client("iam")
    arn = iam.create_policy(PolicyName="reader", PolicyDocument=allow("ssm:Get*"))["Policy"]["Arn"]
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=allow("ssm:*"), SetAsDefault=True)
    policy = iam.get_policy(PolicyArn=arn)["Policy"]
    assert policy["DefaultVersionId"] == "v2"
    version = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]
    assert version["Document"] == json.loads(allow("ssm:Get*"))
    local = iam.list_policies(Scope="Local")["Policies"]
    assert arn in [policy["Arn"] for policy in local]
    assert iam.list_policies(Scope="AWS", PathPrefix="/service-role/")["Policies"]
    fails("NoSuchEntity", iam.get_policy, PolicyArn=arn + "x")


def test_assume_role(served: Served) -> None:
    iam, sts = served.client("iam"), served.client("sts")
    role = iam.create_role(RoleName="assumed", AssumeRolePolicyDocument=trust(TRUST_ACCOUNT))["Role"]
    iam.put_role_policy(RoleName="assumed", PolicyName="p", PolicyDocument=allow("ssm:PutParameter"))
    made = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="run1", DurationSeconds=900)
    inside = served.client("sts", made["Credentials"]).get_caller_identity()
    assert inside["Arn"] == "arn:aws:sts::000000000000:assumed-role/assumed/run1"
    assert inside["UserId"] == f"{role['RoleId']}:run1" == made["AssumedRoleUser"]["AssumedRoleId"]
    ssm = served.client("ssm", made["Credentials"])
    ssm.put_parameter(Name="from-role", Value="x", Type="String")
    message = fails("AccessDeniedException", ssm.get_parameter, Name="from-role")
    assert "assumed-role/assumed/run1 is not authorized to perform: ssm:GetParameter" in message
    fails("ValidationException", sts.assume_role, RoleArn=role["Arn"], RoleSessionName="x1", DurationSeconds=7200)

    bare = user_with(served, "bare")
    fails("AccessDenied", served.client("sts", bare).assume_role, RoleArn=role["Arn"], RoleSessionName="r1")
    may = user_with(served, "may", allow("sts:AssumeRole", role["Arn"]))
    assert served.client("sts", may).assume_role(RoleArn=role["Arn"], RoleSessionName="r1")
    closed = iam.create_role(RoleName="closed", AssumeRolePolicyDocument=trust({"Service": "lambda.amazonaws.com"}))
    fails("AccessDenied", sts.assume_role, RoleArn=closed["Role"]["Arn"], RoleSessionName="r1")
    fails("AccessDenied", sts.assume_role, RoleArn=role["Arn"] + "x", RoleSessionName="r1")


def test_session_token(served: Served) -> None:
    key = user_with(served, "session", allow("iam:GetUser"))
    token = served.client("sts", key).get_session_token(DurationSeconds=900)["Credentials"]
    assert served.client("iam", token).get_user()["User"]["UserName"] == "session"
    without = {name: value for name, value in token.items() if name != "SessionToken"}
    fails("InvalidClientTokenId", served.client("iam", without).get_user)
    fails("AccessDenied", served.client("sts", token).get_session_token)


def test_secrets(served: Served) -> None:
    secrets = served.client("secretsmanager")
    made = secrets.create_secret(Name="app/db", SecretString="one", Description="d")
    arn = made["ARN"]
    assert arn.startswith("arn:aws:secretsmanager:us-east-1:000000000000:secret:app/db-")
    for name in ("app/db", arn, arn[:-7]):
        assert secrets.get_secret_value(SecretId=name)["SecretString"] == "one"
    fails("ResourceExistsException", secrets.create_secret, Name="app/db", SecretString="two")
    second = secrets.put_secret_value(SecretId="app/db", SecretString="two")
    assert second["VersionStages"] == ["AWSCURRENT"]
    third = secrets.update_secret(SecretId=arn, SecretBinary=b"\x00three")
    found = secrets.get_secret_value(SecretId="app/db")
    assert (found["SecretBinary"], found["VersionId"]) == (b"\x00three", third["VersionId"])
    previous = secrets.get_secret_value(SecretId="app/db", VersionStage="AWSPREVIOUS")
    assert previous["SecretString"] == "two"
    by_id = secrets.get_secret_value(SecretId="app/db", VersionId=made["VersionId"])
    assert by_id["SecretString"] == "one"
    secrets.update_secret_version_stage(
        SecretId="app/db",
        VersionStage="AWSCURRENT",
        MoveToVersionId=made["VersionId"],
        RemoveFromVersionId=third["VersionId"],
    )
    described = secrets.describe_secret(SecretId="app/db")
    assert described["VersionIdsToStages"] == {
        made["VersionId"]: ["AWSCURRENT"],
        third["VersionId"]: ["AWSPREVIOUS"],
    }
    assert [row["Name"] for row in secrets.list_secrets(Filters=[{"Key": "name", "Values": ["app/"]}])["SecretList"]]
    secrets.delete_secret(SecretId="app/db")
    fails("InvalidRequestException", secrets.get_secret_value, SecretId="app/db")
    fails("InvalidRequestException", secrets.create_secret, Name="app/db", SecretString="x")
    secrets.restore_secret(SecretId="app/db")
    assert secrets.get_secret_value(SecretId="app/db")["SecretString"] == "one"
    secrets.delete_secret(SecretId="app/db", ForceDeleteWithoutRecovery=True)
    message = fails("ResourceNotFoundException", secrets.get_secret_value, SecretId="app/db")
    assert message == "Secrets Manager can't find the specified secret."
    again = secrets.create_secret(Name="app/db", SecretString="new")
    assert again["ARN"] != arn
    fails("ResourceNotFoundException", secrets.get_secret_value, SecretId=arn)


def test_a_repeated_request_is_the_same_one(served: Served) -> None:
    secrets = served.client("secretsmanager")
    token = "t" * 32
    first = secrets.create_secret(Name="twice", SecretString="v", ClientRequestToken=token)
    assert secrets.create_secret(Name="twice", SecretString="v", ClientRequestToken=token)["ARN"] == first["ARN"]
    secrets.put_secret_value(SecretId="twice", SecretString="v", ClientRequestToken=token)
    fails(
        "ResourceExistsException",
        secrets.put_secret_value,
        SecretId="twice",
        SecretString="other",
        ClientRequestToken=token,
    )


def test_secrets_are_guarded(served: Served) -> None:
    secrets = served.client("secretsmanager")
    arn = secrets.create_secret(Name="guarded", SecretString="v")["ARN"]
    key = user_with(served, "guard", allow("secretsmanager:GetSecretValue", f"{arn[:-6]}??????"))
    mine = served.client("secretsmanager", key)
    assert mine.get_secret_value(SecretId="guarded")["SecretString"] == "v"
    fails("AccessDeniedException", mine.put_secret_value, SecretId="guarded", SecretString="x")
    fails("AccessDeniedException", mine.get_secret_value, SecretId="other")
    granted = allow("secretsmanager:PutSecretValue", Principal={"AWS": "arn:aws:iam::000000000000:user/guard"})
    secrets.put_resource_policy(SecretId="guarded", ResourcePolicy=granted)
    mine.put_secret_value(SecretId="guarded", SecretString="x")
    denied = allow("secretsmanager:*", effect="Deny", Principal={"AWS": "arn:aws:iam::000000000000:user/guard"})
    secrets.put_resource_policy(SecretId="guarded", ResourcePolicy=denied)
    fails("AccessDeniedException", mine.get_secret_value, SecretId="guarded")


def test_random_password(served: Served) -> None:
    secrets = served.client("secretsmanager")
    made = secrets.get_random_password(PasswordLength=40, ExcludePunctuation=True, ExcludeCharacters="abc")
    password = made["RandomPassword"]
    assert len(password) == 40
    assert password.isalnum()
    assert not set(password) & set("abc")


def test_parameters(served: Served) -> None:
    ssm = served.client("ssm")
    assert ssm.put_parameter(Name="/app/url", Value="u1", Type="String")["Version"] == 1
    fails("ParameterAlreadyExists", ssm.put_parameter, Name="/app/url", Value="u2", Type="String")
    assert ssm.put_parameter(Name="/app/url", Value="u2", Overwrite=True)["Version"] == 2
    found = ssm.get_parameter(Name="/app/url")["Parameter"]
    assert (found["Value"], found["Version"], found["Type"]) == ("u2", 2, "String")
    assert found["ARN"] == "arn:aws:ssm:us-east-1:000000000000:parameter/app/url"
    assert ssm.get_parameter(Name=found["ARN"])["Parameter"]["Value"] == "u2"
    assert ssm.get_parameter(Name="/app/url:1")["Parameter"]["Value"] == "u1"
    fails("ParameterVersionNotFound", ssm.get_parameter, Name="/app/url:9")
    fails("ParameterNotFound", ssm.get_parameter, Name="/app/none")
    ssm.put_parameter(Name="/app/key", Value="s3cret", Type="SecureString")
    assert "s3cret" not in ssm.get_parameter(Name="/app/key")["Parameter"]["Value"]
    assert ssm.get_parameter(Name="/app/key", WithDecryption=True)["Parameter"]["Value"] == "s3cret"
    ssm.put_parameter(Name="/app/deep/x", Value="a,b", Type="StringList")
    many = ssm.get_parameters(Names=["/app/url", "/app/none"])
    assert [item["Name"] for item in many["Parameters"]] == ["/app/url"]
    assert many["InvalidParameters"] == ["/app/none"]
    flat = ssm.get_parameters_by_path(Path="/app")["Parameters"]
    assert [item["Name"] for item in flat] == ["/app/key", "/app/url"]
    pages = ssm.get_paginator("get_parameters_by_path").paginate(
        Path="/app/", Recursive=True, PaginationConfig={"PageSize": 2}
    )
    assert [[item["Name"] for item in page["Parameters"]] for page in pages] == [
        ["/app/deep/x", "/app/key"],
        ["/app/url"],
    ]
    named = ssm.describe_parameters(ParameterFilters=[{"Key": "Type", "Values": ["SecureString"]}])
    assert [item["Name"] for item in named["Parameters"]] == ["/app/key"]
    assert [item["Value"] for item in ssm.get_parameter_history(Name="/app/url")["Parameters"]] == ["u1", "u2"]
    gone = ssm.delete_parameters(Names=["/app/url", "/app/none"])
    assert (gone["DeletedParameters"], gone["InvalidParameters"]) == (["/app/url"], ["/app/none"])
    ssm.delete_parameter(Name="/app/key")
    fails("ParameterNotFound", ssm.delete_parameter, Name="/app/key")
    for name in ("aws-thing", "a//b", "/a/", "ä"):
        fails("ValidationException", ssm.put_parameter, Name=name, Value="v", Type="String")
    fails("ValidationException", ssm.put_parameter, Name="big", Value="v" * 4097, Type="String")


def test_each_parameter_is_guarded(served: Served) -> None:
    ssm = served.client("ssm")
    for name in ("/open/a", "/closed/a"):
        ssm.put_parameter(Name=name, Value="v", Type="String")
    resource = "arn:aws:ssm:us-east-1:000000000000:parameter/open/*"
    mine = served.client("ssm", user_with(served, "ssm", allow("ssm:*", resource)))
    assert mine.get_parameters(Names=["/open/a"])["Parameters"]
    fails("AccessDeniedException", mine.get_parameters, Names=["/open/a", "/closed/a"])
    fails("AccessDeniedException", mine.delete_parameters, Names=["/open/a", "/closed/a"])
    fails("AccessDeniedException", mine.get_parameters_by_path, Path="/closed")


def test_keys(served: Served) -> None:
    kms = served.client("kms")
    made = kms.create_key(Description="photos")["KeyMetadata"]
    kms.create_alias(AliasName="alias/photos", TargetKeyId=made["KeyId"])
    blob = kms.encrypt(KeyId="alias/photos", Plaintext=b"hello", EncryptionContext={"a": "1"})["CiphertextBlob"]
    opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "1"})
    assert (opened["Plaintext"], opened["KeyId"]) == (b"hello", made["Arn"])
    fails("InvalidCiphertextException", kms.decrypt, CiphertextBlob=blob)
    fails("InvalidCiphertextException", kms.decrypt, CiphertextBlob=b"nonsense")
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    wrong = {"CiphertextBlob": blob, "EncryptionContext": {"a": "1"}, "KeyId": other}
    fails("IncorrectKeyException", kms.decrypt, **wrong)
    data = kms.generate_data_key(KeyId=made["Arn"], KeySpec="AES_256")
    assert len(data["Plaintext"]) == 32
    assert kms.decrypt(CiphertextBlob=data["CiphertextBlob"])["Plaintext"] == data["Plaintext"]
    kms.disable_key(KeyId=made["KeyId"])
    fails("DisabledException", kms.encrypt, KeyId="alias/photos", Plaintext=b"x")
    kms.enable_key(KeyId=made["KeyId"])
    kms.schedule_key_deletion(KeyId=made["KeyId"], PendingWindowInDays=7)
    fails("KMSInvalidStateException", kms.encrypt, KeyId="alias/photos", Plaintext=b"x")
    assert kms.describe_key(KeyId=made["KeyId"])["KeyMetadata"]["KeyState"] == "PendingDeletion"
    kms.cancel_key_deletion(KeyId=made["KeyId"])
    fails("NotFoundException", kms.describe_key, KeyId="alias/none")
    assert {key["KeyId"] for key in kms.list_keys()["Keys"]} >= {made["KeyId"], other}
    assert "alias/photos" in [row["AliasName"] for row in kms.list_aliases()["Aliases"]]
    bare = served.client("kms", user_with(served, "kms"))
    fails("AccessDeniedException", bare.encrypt, KeyId=other, Plaintext=b"x")
    may = served.client("kms", user_with(served, "kms2", allow("kms:*", made["Arn"])))
    fails("AccessDeniedException", may.encrypt, KeyId=other, Plaintext=b"x")


def test_nothing_secret_is_readable_in_the_store(served: Served) -> None:
    ssm, secrets = served.client("ssm"), served.client("secretsmanager")
    ssm.put_parameter(Name="hidden", Value="needle-in-parameter", Type="SecureString")
    secrets.create_secret(Name="hidden", SecretString="needle-in-secret")
    kept = b"".join(path.read_bytes() for path in served.folder.glob("store.db*"))
    assert b"hidden" in kept
    assert b"needle-in" not in kept
