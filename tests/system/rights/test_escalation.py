"""Who has some rights does not come to more by what a service does for them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.raw import Plain, exchange, signed
from helpers.rights import ACCOUNT, arn, denied, function, may, person, role, unsigned
from helpers.server import ServerProcess, eventually


def test_a_function_gets_only_a_role_that_its_maker_may_pass(server: ServerProcess) -> None:
    mighty, humble = role(server), role(server)
    passes = may("iam:PassRole", humble, Condition={"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}})
    maker = server.client("lambda", person(server, may("lambda:*"), passes))
    name = function(maker, humble)
    assert "iam:PassRole" in denied(lambda: function(maker, mighty))
    denied(lambda: function(maker, f"arn:aws:iam::{ACCOUNT}:role/nobody"))  # nor is told which roles there are
    denied(maker.update_function_configuration, FunctionName=name, Role=mighty)
    maker.update_function_configuration(FunctionName=name, Role=humble, Timeout=4)
    assert maker.get_function_configuration(FunctionName=name)["Role"] == humble
    elsewhere = may("iam:PassRole", "*", Condition={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}})
    denied(lambda: function(server.client("lambda", person(server, may("lambda:*"), elsewhere)), humble))


def test_boundaries_are_not_forgotten_in_silence(server: ServerProcess) -> None:
    iam, boundary = server.client("iam"), "arn:aws:iam::aws:policy/IAMReadOnlyAccess"
    with pytest.raises(ClientError, match="NotImplemented"):
        iam.create_user(UserName="bounded", PermissionsBoundary=boundary)
    with pytest.raises(ClientError, match="NotImplemented"):
        iam.create_role(RoleName="bounded", AssumeRolePolicyDocument="{}", PermissionsBoundary=boundary)


def test_a_keys_own_policy_must_say_yes(server: ServerProcess) -> None:
    kms = server.client("kms")
    key, everything = person(server, may("kms:*")), person(server, may("kms:*"))
    arn_of = server.client("sts", key).get_caller_identity()["Arn"]
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": arn_of}, "Action": "kms:*", "Resource": "*"},
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:PutKeyPolicy", "Resource": "*"},
    ]}  # fmt: skip
    made = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.put_key_policy(KeyId=made, PolicyName="default", Policy=json.dumps(policy))
    owner, other = server.client("kms", key), server.client("kms", everything)
    blob = owner.encrypt(KeyId=made, Plaintext=b"x")["CiphertextBlob"]
    denied(other.decrypt, CiphertextBlob=blob)
    denied(other.encrypt, KeyId=made, Plaintext=b"x")
    denied(kms.decrypt, CiphertextBlob=blob)  # not even root, as on AWS
    other.put_key_policy(KeyId=made, PolicyName="default", Policy=json.dumps(policy))  # left to the account's policies
    with pytest.raises(ClientError, match="NotFoundException"):
        other.describe_key(KeyId="00000000-0000-4000-8000-000000000000")


def test_who_sets_a_keys_policy_can_set_it_again(server: ServerProcess) -> None:
    kms = server.client("kms")
    nobody = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:Decrypt", "Resource": "*"},
    ]})  # fmt: skip
    made = kms.create_key()["KeyMetadata"]["KeyId"]
    with pytest.raises(ClientError, match="MalformedPolicyDocument"):
        kms.put_key_policy(KeyId=made, PolicyName="default", Policy=nobody)
    with pytest.raises(ClientError, match="MalformedPolicyDocument"):
        kms.create_key(Policy=nobody)
    kms.put_key_policy(KeyId=made, PolicyName="default", Policy=nobody, BypassPolicyLockoutSafetyCheck=True)
    denied(kms.put_key_policy, KeyId=made, PolicyName="default", Policy=nobody)


def test_aliases_are_moved_by_who_may_touch_alias_and_both_keys(server: ServerProcess) -> None:
    kms = server.client("kms")
    theirs, ours = (kms.create_key()["KeyMetadata"] for _ in range(2))
    kms.create_alias(AliasName="alias/prod", TargetKeyId=theirs["KeyId"])
    mallory = server.client("kms", person(server, may("kms:*", ours["Arn"]), may("kms:*", arn("kms", "alias/mine"))))
    denied(mallory.update_alias, AliasName="alias/prod", TargetKeyId=ours["KeyId"])
    denied(mallory.create_alias, AliasName="alias/other", TargetKeyId=ours["KeyId"])
    mallory.create_alias(AliasName="alias/mine", TargetKeyId=ours["KeyId"])
    mallory.update_alias(AliasName="alias/mine", TargetKeyId=ours["KeyId"])
    on_alias = server.client("kms", person(server, may("kms:*", [ours["Arn"], arn("kms", "alias/prod")])))
    denied(on_alias.update_alias, AliasName="alias/prod", TargetKeyId=ours["KeyId"])  # the key that it names now
    denied(on_alias.delete_alias, AliasName="alias/prod")
    mallory.delete_alias(AliasName="alias/mine")
    assert kms.describe_key(KeyId="alias/prod")["KeyMetadata"]["KeyId"] == theirs["KeyId"]


def test_denied_topics_have_no_other_names(server: ServerProcess) -> None:
    topic = server.client("sns").create_topic(Name="secret")["TopicArn"]
    client = server.client("sns", person(server, may("sns:*"), may("sns:*", topic, "Deny")))
    denied(client.publish, TopicArn=topic, Message="x")
    for other in (topic.replace("arn:aws:", "arn:aws-cn:"), topic.replace("arn:aws:", "arn:x:")):
        with pytest.raises(ClientError, match="NotFound"):
            client.publish(TopicArn=other, Message="x")
        with pytest.raises(ClientError, match="NotFound"):
            client.delete_topic(TopicArn=other)
    server.client("sns").get_topic_attributes(TopicArn=topic)


def test_denied_functions_have_no_other_names(server: ServerProcess) -> None:
    name = function(server.client("lambda"), role(server))
    client = server.client(
        "lambda", person(server, may("lambda:*"), may("lambda:*", arn("lambda", f"function:{name}"), "Deny"))
    )
    for form in (
        name,
        f"{ACCOUNT}:function:{name}",
        arn("lambda", f"function:{name}"),
        arn("lambda", f"function:{name}:$LATEST"),
    ):
        denied(client.tag_resource, Resource=form, Tags={"a": "b"})
        denied(client.list_tags, Resource=form)
        denied(client.get_function, FunctionName=form)


def test_several_domains_are_decided_about_one_by_one(server: ServerProcess) -> None:
    es = server.client("es")
    for name in ("one", "two"):
        es.create_elasticsearch_domain(DomainName=name)
    one = server.client("es", person(server, may("es:*", arn("es", "domain/one"))))
    not_one = server.client("es", person(server, may("es:*"), may("es:*", arn("es", "domain/one"), "Deny")))
    assert len(one.describe_elasticsearch_domains(DomainNames=["one"])["DomainStatusList"]) == 1
    denied(one.describe_elasticsearch_domains, DomainNames=["one", "two"])
    denied(not_one.describe_elasticsearch_domains, DomainNames=["two", "one"])
    assert not_one.describe_elasticsearch_domains(DomainNames=["two"])["DomainStatusList"]


def test_what_one_domain_denies_no_other_opens(server: ServerProcess) -> None:
    """Domains are names of the same documents."""
    key = person(server, may("es:*"))
    deny = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "es:ESHttpGet", "Resource": arn("es", "domain/shut/secret/*")}]}  # fmt: skip
    server.client("es").create_elasticsearch_domain(DomainName="shut", AccessPolicies=json.dumps(deny))
    server.client("es").create_elasticsearch_domain(DomainName="zz-other")

    def ask(path: str) -> int:
        plain = signed(Plain("GET", f"/_es{path}"), server.port, key, "es")
        return exchange(server, plain.wire(server.port), "GET").status

    assert ask("/secret/_doc/1") == 403
    assert ask("/plain/_doc/1") == 404


def test_log_streams_are_named_to_policies(server: ServerProcess) -> None:
    name = function(server.client("lambda"), role(server))
    group = f"/aws/lambda/{name}"
    stream = arn("logs", f"log-group:{group}:log-stream:secret")
    client = server.client("logs", person(server, may("logs:*"), may("logs:GetLogEvents", stream, "Deny")))
    denied(client.get_log_events, logGroupName=group, logStreamName="secret")
    client.get_log_events(logGroupName=group, logStreamName="other")


def test_mappings_tell_policies_their_function(server: ServerProcess) -> None:
    queue = server.client("sqs").create_queue(QueueName="mapped")["QueueUrl"]
    source = server.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    reader = role(server)
    server.client("iam").put_role_policy(RoleName=reader.rpartition("/")[2], PolicyName="p", PolicyDocument=json.dumps(
        {"Version": "2012-10-17", "Statement": [may("sqs:*")]}))  # fmt: skip
    mine, theirs = (function(server.client("lambda"), reader) for _ in range(2))
    condition = {"ArnLike": {"lambda:FunctionArn": arn("lambda", f"function:{mine}")}}
    client = server.client("lambda", person(server, may("lambda:*EventSourceMapping", Condition=condition)))
    denied(client.create_event_source_mapping, FunctionName=theirs, EventSourceArn=source)
    made = client.create_event_source_mapping(FunctionName=mine, EventSourceArn=source, Enabled=False)["UUID"]
    assert client.get_event_source_mapping(UUID=made)["UUID"] == made
    denied(client.update_event_source_mapping, UUID=made, FunctionName=theirs)
    client.update_event_source_mapping(UUID=made, BatchSize=3)
    other = server.client("lambda").create_event_source_mapping(
        FunctionName=theirs, EventSourceArn=source, Enabled=False
    )["UUID"]
    denied(client.delete_event_source_mapping, UUID=other)
    denied(client.get_event_source_mapping, UUID=other)
    client.delete_event_source_mapping(UUID=made)


def test_a_functions_policy_keeps_every_condition(server: ServerProcess) -> None:
    lambda_ = server.client("lambda")
    name = function(lambda_, role(server))
    stranger = server.client("lambda", person(server))
    for number, more in enumerate(({"PrincipalOrgID": "o-a1b2c3d4e5"}, {"EventSourceToken": "token"},
                                   {"FunctionUrlAuthType": "NONE"})):  # fmt: skip
        lambda_.add_permission(
            FunctionName=name, StatementId=f"s{number}", Action="lambda:InvokeFunction", Principal="*", **more
        )
        denied(stranger.invoke, FunctionName=name)


def test_only_some_services_are_open_to_strangers(server: ServerProcess) -> None:
    """Everybody in a policy of a function, a key, a secret or a domain is everybody who signs."""
    lambda_ = server.client("lambda")
    name = function(lambda_, role(server))
    lambda_.add_permission(FunctionName=name, StatementId="all", Action="lambda:*", Principal="*")
    status, body = unsigned(server, "POST", f"/2015-03-31/functions/{name}/invocations", b"{}")
    assert status == 403 and b"missing Authentication Token" in body
    everybody = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "*", "Resource": "*"}]}  # fmt: skip
    server.client("es").create_elasticsearch_domain(DomainName="open", AccessPolicies=json.dumps(everybody))
    assert unsigned(server, "DELETE", "/2015-01-01/es/domain/open")[0] == 403
    key = server.client("kms").create_key(Policy=json.dumps(everybody))["KeyMetadata"]["KeyId"]
    secret = server.client("secretsmanager").create_secret(Name="open", SecretString="x")["ARN"]
    server.client("secretsmanager").put_resource_policy(SecretId=secret, ResourcePolicy=json.dumps(everybody))
    for target, asked in (
        ("TrentService.DescribeKey", {"KeyId": key}),
        ("secretsmanager.GetSecretValue", {"SecretId": secret}),
        ("DynamoDB_20120810.BatchGetItem", {"RequestItems": {}}),
    ):
        status, body = unsigned(server, "POST", "/", json.dumps(asked).encode(), x_amz_target=target,
                                content_type="application/x-amz-json-1.1")  # fmt: skip
        assert status == 400 and b"MissingAuthenticationToken" in body, (target, body)


def test_a_stranger_has_no_name(server: ServerProcess) -> None:
    """A policy for everybody may ask for a name (IAM User Guide, "aws:PrincipalArn")."""
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName="named")["QueueUrl"]
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "sqs:GetQueueUrl", "Resource": "*"}
    form = b"Action=GetQueueUrl&QueueName=named"

    def ask() -> int:
        return unsigned(server, "POST", "/000000000000/named", form, content_type="application/x-www-form-urlencoded")[
            0
        ]

    for condition, status in (
        ({"Null": {"aws:PrincipalArn": "false"}}, 403),
        ({"Null": {"aws:PrincipalArn": "true"}}, 200),
    ):
        policy = {"Version": "2012-10-17", "Statement": [{**everybody, "Condition": condition}]}
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
        assert ask() == status, condition


def test_roles_that_are_not_there_look_like_those_that_one_may_not_have(server: ServerProcess) -> None:
    there = role(server)
    sts = server.client("sts", person(server))
    words = [
        denied(sts.assume_role, RoleArn=one, RoleSessionName="xx").replace(one, "") for one in (there, f"{there}x")
    ]
    assert words[0] == words[1]


def conditions(**keys: Any) -> dict[str, Any]:
    return {"Condition": keys}


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        ({"Bool": {"aws:ViaAWSService": "false"}}, True),
        ({"Bool": {"aws:PrincipalIsAWSService": "false"}}, True),
        ({"StringEquals": {"aws:RequestedRegion": "us-east-1"}}, True),
        ({"StringEquals": {"aws:RequestedRegion": "eu-central-1"}}, False),
        ({"StringEquals": {"aws:ResourceAccount": ACCOUNT}}, True),
        ({"StringLike": {"aws:userid": "AIDA*"}}, True),
        ({"Bool": {"aws:MultiFactorAuthPresent": "true"}}, False),
        ({"Null": {"aws:MultiFactorAuthPresent": "true"}}, True),
    ],
    ids=str,
)
def test_keys_that_every_service_knows(server: ServerProcess, condition: dict[str, Any], allowed: bool) -> None:
    key = person(server, may(["sqs:*", "dynamodb:*"], **conditions(**condition)))
    for call in (server.client("sqs", key).list_queues, server.client("dynamodb", key).list_tables):
        if allowed:
            call()
        else:
            denied(call)


def test_a_stack_does_not_come_from_its_servers_address(server: ServerProcess) -> None:
    """A service acts for its caller from no address of theirs (IAM User Guide, "aws:ViaAWSService")."""
    near = {"IpAddress": {"aws:SourceIp": "127.0.0.1"}}
    via = {
        "Bool": {"aws:ViaAWSService": "true"},
        "StringEquals": {"aws:CalledViaFirst": "cloudformation.amazonaws.com"},
    }
    template = json.dumps({"Resources": {"T": {"Type": "AWS::SNS::Topic"}}})
    for number, (condition, ended) in enumerate(((near, "ROLLBACK_COMPLETE"), (via, "CREATE_COMPLETE"))):
        key = person(server, may("cloudformation:*"), may("sns:*", Condition=condition))
        client, name = server.client("cloudformation", key), f"near-{number}"
        client.create_stack(StackName=name, TemplateBody=template)

        def status(client: Any = client, name: str = name) -> str:
            return str(client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])

        assert eventually(lambda: (now := status()).endswith("_COMPLETE") and now) == ended


def test_the_servers_own_pages_know_who_asks(server: ServerProcess) -> None:
    def ask(*statements: dict[str, Any]) -> int:
        plain = signed(Plain("GET", "/_sluiceway/status"), server.port, person(server, *statements), "sluiceway")
        return exchange(server, plain.wire(server.port), "GET").status

    plain_http = {"Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    assert ask(may("sluiceway:Operate")) == 200
    assert ask() == ask(may("sluiceway:Operate"), may("*", "*", "Deny", **plain_http)) == 403
    assert ask(may("sluiceway:Operate", Condition={"IpAddress": {"aws:SourceIp": "127.0.0.1"}})) == 200
