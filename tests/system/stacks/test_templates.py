"""Templates: what they may say, and what is refused before anything is made."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.stacks import Stacks, Template, attributes, of, queue

FUNCTIONS = """
AWSTemplateFormatVersion: 2010-09-09
Description: Every function, in the short forms of YAML.
Parameters:
  Stage: {Type: String, Default: test, AllowedValues: [test, live]}
  Names: {Type: CommaDelimitedList, Default: "a, b,c"}
  Size: {Type: Number, Default: 3, MinValue: 1, MaxValue: 5}
  Stored: {Type: "AWS::SSM::Parameter::Value<String>", Default: /stacks/stored}
  Secret: {Type: String, NoEcho: true, Default: hush-hush}
Mappings:
  Sizes:
    test: {Days: 1, Flag: true}
    live: {Days: 14, Flag: false}
Conditions:
  IsLive: !Equals [!Ref Stage, live]
  IsTest: !Not [!Condition IsLive]
  Both: !And [!Condition IsTest, !Equals [!Ref Size, 3]]
  Either: !Or [!Condition IsLive, !Condition Both]
Resources:
  Q:
    Type: AWS::SQS::Queue
    Properties:
      MessageRetentionPeriod: !If [IsLive, 1209600, 3600]
      DelaySeconds: !If [IsLive, 10, !Ref AWS::NoValue]
  OnlyLive: {Type: AWS::SQS::Queue, Condition: IsLive}
Outputs:
  Ref: {Value: !Ref Q}
  Att: {Value: !GetAtt Q.QueueName}
  Sub: {Value: !Sub "${Stage}/${Q.QueueName}/${!literal}/${AWS::StackName}"}
  SubMap: {Value: !Sub ["${A}-${Stage}", {A: !Select [1, !Ref Names]}]}
  Join: {Value: !Join ["|", !Ref Names]}
  Select: {Value: !Select [5, !Split [":", !GetAtt Q.Arn]]}
  Map: {Value: !FindInMap [Sizes, !Ref Stage, Days]}
  Flag: {Value: !FindInMap [Sizes, !Ref Stage, Flag]}
  If: {Value: !If [Either, "yes", "no"]}
  Account: {Value: !Ref AWS::AccountId}
  Pseudo: {Value: !Sub "${AWS::Region} ${AWS::Partition} ${AWS::URLSuffix}"}
  StackId: {Value: !Ref AWS::StackId}
  Base64: {Value: !Base64 hello}
  Stored: {Value: !Ref Stored}
  Zone: {Value: !Select [0, !GetAZs ""]}
  Live: {Value: !Ref OnlyLive, Condition: IsLive}
"""


def test_functions_conditions_and_parameters(stacks: Stacks) -> None:
    stacks.server.client("ssm").put_parameter(Name="/stacks/stored", Value="from the store", Type="String")
    made = stacks.create("functions", FUNCTIONS)
    assert made["StackStatus"] == "CREATE_COMPLETE", stacks.events("functions")
    out, url = stacks.outputs("functions"), stacks.physical("functions", "Q")
    name = url.rsplit("/", 1)[1]
    assert out == {
        "Ref": url, "Att": name, "Sub": "test/" + name + "/${literal}/functions", "SubMap": "b-test", "Join": "a|b|c",
        "Select": name, "Map": "1", "Flag": "true", "If": "yes", "Account": "000000000000",
        "Pseudo": "us-east-1 aws amazonaws.com", "StackId": made["StackId"], "Base64": "aGVsbG8=",
        "Stored": "from the store", "Zone": "us-east-1a",
    }  # fmt: skip
    assert attributes(stacks, url)["MessageRetentionPeriod"] == "3600"
    shown = {each["ParameterKey"]: each["ParameterValue"] for each in made["Parameters"]}
    assert shown["Secret"] == "****" and shown["Stored"] == "/stacks/stored" and shown["Names"] == "a, b,c"
    live = stacks.update("functions", FUNCTIONS, Parameters=[{"ParameterKey": "Stage", "ParameterValue": "live"}])
    assert live["StackStatus"] == "UPDATE_COMPLETE"
    assert set(stacks.resources("functions")) == {"Q", "OnlyLive"}
    out = stacks.outputs("functions")
    assert out["If"] == "yes" and out["Map"] == "14" and out["Flag"] == "false" and out["Live"]
    assert attributes(stacks, url)["DelaySeconds"] == "10"
    assert stacks.update("functions", FUNCTIONS)["StackStatus"] == "UPDATE_COMPLETE"
    assert set(stacks.resources("functions")) == {"Q"} and attributes(stacks, url)["DelaySeconds"] == "0"
    stacks.delete("functions")


def with_q(**properties: Any) -> Template:
    return of(Q=queue(**properties), First=queue())


def parameter(value: str, **spec: Any) -> tuple[Template, dict[str, Any]]:
    template = {**of(Q=queue()), "Parameters": {"P": spec}}
    return template, {"Parameters": [{"ParameterKey": "P", "ParameterValue": value}]}


CIRCLE = of(A={**queue(), "DependsOn": "B"}, B={**queue(), "DependsOn": ["C"]}, C=queue(QueueName={"Ref": "A"}))
DEEP: Any = "x"
for _ in range(200):
    DEEP = {"a": DEEP}
REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "nothing": (" ", {}, "At least one Resources member"),
    "not well-formed": ("Resources: [}", {}, "not well-formed"),
    "JSON that is not well-formed": ('{"Resources": ', {}, "not well-formed"),
    "no resources": ("Description: x", {}, "At least one Resources member"),
    "a list": ("[1, 2]", {}, "At least one Resources member"),
    "an alias": ("Resources:\n  A: &a {Type: AWS::SQS::Queue}\n  B: *a\n", {}, "aliases are not allowed"),
    "binary": ("Resources:\n  A: {Type: AWS::SQS::Queue, Properties: {QueueName: !!binary aGk=}}", {}, "not allowed"),
    "Python": ("Resources:\n  A: !!python/object/apply:os.system [ls]\n", {}, "not well-formed"),
    "too deep": (with_q(RedrivePolicy=DEEP), {}, "nested too deeply"),
    "too many resources": (of(**{f"Q{number}": queue() for number in range(501)}), {}, "more than 500 resources"),
    "too large": (with_q(QueueName="x" * 60_000), {}, "less than or equal to 51200"),
    "a resource that is none": ({"Resources": {"A": "AWS::SQS::Queue"}}, {}, "must be an object"),
    "no type": (of(A={"Properties": {}}), {}, "needs a Type"),
    "odd name": (of(**{"not-a-name": queue()}), {}, "non alphanumeric"),
    "unknown type": (of(A=queue(), B={"Type": "AWS::EC2::Instance"}), {}, "AWS::EC2::Instance"),
    "unknown property": (with_q(Colour="blue"), {}, "Colour"),
    "a property that would be left undone": (
        of(A={"Type": "AWS::S3::Bucket", "Properties": {"ReplicationConfiguration": {"Role": "x"}}}), {},
        "ReplicationConfiguration",
    ),
    "unknown function": (with_q(QueueName={"Fn::Shout": "x"}), {}, "Fn::Shout"),
    "unknown function in an output": ({**of(A=queue()), "Outputs": {"X": {"Value": {"Fn::Shout": "x"}}}}, {}, "Fn::Shout"),
    "unknown reference": (with_q(QueueName={"Ref": "Nobody"}), {}, r"Unresolved resource dependencies \[Nobody\]"),
    "unknown reference in Sub": (with_q(QueueName={"Fn::Sub": "${Nobody.Arn}"}), {}, "Nobody"),
    "unknown reference in an output": ({**of(A=queue()), "Outputs": {"X": {"Value": {"Ref": "B"}}}}, {}, "Outputs block"),
    "reference to what is not made": (
        {**of(A=queue(QueueName={"Ref": "B"}), B={**queue(), "Condition": "No"}),
         "Conditions": {"No": {"Fn::Equals": ["a", "b"]}}}, {}, r"\[B\]",
    ),
    "malformed Sub": (with_q(QueueName={"Fn::Sub": [1, 2, 3]}), {}, "Fn::Sub"),
    "malformed GetAtt": (with_q(QueueName={"Fn::GetAtt": ["First"]}), {}, "Fn::GetAtt"),
    "malformed Select": (with_q(QueueName={"Fn::Select": [7, ["a"]]}), {}, "Fn::Select"),
    "malformed Join": (with_q(QueueName={"Fn::Join": "x"}), {}, "Fn::Join"),
    "unknown mapping": (with_q(QueueName={"Fn::FindInMap": ["A", "b", "c"]}), {}, "Unable to get mapping for A::b::c"),
    "unknown condition": (with_q(QueueName={"Fn::If": ["Nope", "a", "b"]}), {}, "Unresolved condition Nope"),
    "circular conditions": (
        {**of(A=queue()), "Conditions": {"A": {"Fn::Not": [{"Condition": "B"}]}, "B": {"Fn::Not": [{"Condition": "A"}]}}},
        {}, "circular condition",
    ),
    "a condition that is none": ({**of(A=queue()), "Conditions": {"A": {"Fn::Join": ["", []]}}}, {}, "not a condition"),
    "Not of two": ({**of(A=queue()), "Conditions": {"A": {"Fn::Not": [{"Fn::Equals": [1, 1]}] * 2}}}, {}, "Fn::Not"),
    "a circle": (CIRCLE, {}, "Circular dependency between resources"),
    "depends on nobody": (of(A={**queue(), "DependsOn": "Nobody"}), {}, "Nobody"),
    "deletion policy": (of(A={**queue(), "DeletionPolicy": "Snapshot"}), {}, "Snapshot"),
    "missing value": ({**of(A=queue()), "Parameters": {"P": {"Type": "String"}}}, {}, r"\[P\] must have values"),
    "value of no parameter": (of(A=queue()), {"Parameters": [{"ParameterKey": "X", "ParameterValue": "1"}]}, r"\[X\]"),
    "not one of the values": (*parameter("c", Type="String", AllowedValues=["a", "b"]), "must be one of AllowedValues"),
    "not one of the values of a list": (*parameter("a, c", Type="CommaDelimitedList", AllowedValues=["a"]), "AllowedValues"),
    "pattern": (*parameter("A1", Type="String", AllowedPattern="[a-z]+"), "must match pattern"),
    "a pattern that others never end with": (
        *parameter("a" * 3000, Type="String", AllowedPattern="(a+)+b"), "must match pattern|takes too long",
    ),
    "a pattern that is none": (*parameter("a", Type="String", AllowedPattern="("), "AllowedPattern"),
    "own words": (*parameter("A", Type="String", AllowedPattern="[a-z]", ConstraintDescription="small letters"), "small"),
    "too short": (*parameter("a", Type="String", MinLength=2), "MinLength 2"),
    "too long": (*parameter("abc", Type="String", MaxLength="2"), "MaxLength 2"),
    "no number": (*parameter("three", Type="Number"), "must be a number"),
    "too small": (*parameter("0", Type="Number", MinValue=1), "MinValue 1"),
    "too large a number": (*parameter("9", Type="Number", MaxValue=5), "MaxValue 5"),
    "unknown parameter type": (*parameter("a", Type="Colour"), "Colour"),
    "parameter that is not stored": (*parameter("/no/such", Type="AWS::SSM::Parameter::Value<String>"), "/no/such"),
    "SAM that is none": (
        {"Transform": "AWS::Serverless-2016-10-31", **of(F={"Type": "AWS::Serverless::Function", "Properties": {}})}, {},
        "Serverless",
    ),
    "SAM of another repository": (
        {"Transform": "AWS::Serverless-2016-10-31", **of(F={"Type": "AWS::Serverless::Application", "Properties": {
            "Location": {"ApplicationId": "arn:aws:serverlessrepo:us-east-1:1:applications/x", "SemanticVersion": "1.0.0"},
        }})}, {}, "AWS::Serverless::Application",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_template_is_refused_before_anything_is_made(stacks: Stacks, name: str) -> None:
    template, more, reason = REFUSED[name]
    began = time.monotonic()
    with pytest.raises(ClientError, match=reason) as caught:
        stacks.create("refused", template, wait=False, **more)
    assert caught.value.response["Error"]["Code"] == "ValidationError", caught.value
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert time.monotonic() - began < 30
    with pytest.raises(ClientError, match="does not exist"):
        stacks.describe("refused")


def test_malformed_templates_of_any_kind_never_break_the_server(stacks: Stacks) -> None:
    random_ = random.Random(7)
    odd: list[Any] = [
        None,
        1,
        "",
        "x",
        [],
        {},
        [1],
        {"Ref": 1},
        {"Fn::Sub": {}},
        {"Fn::If": []},
        True,
        {"a": {"b": []}},
    ]
    base = {
        "Transform": "AWS::Serverless-2016-10-31",
        "Parameters": {"P": {"Type": "String", "Default": "a"}},
        "Conditions": {"C": {"Fn::Equals": [{"Ref": "P"}, "a"]}},
        "Mappings": {"M": {"a": {"b": "c"}}},
        "Globals": {"Function": {"Timeout": 3}},
        "Resources": {
            "F": {"Type": "AWS::Serverless::Function", "Properties": {
                "InlineCode": "x", "Handler": "index.handler", "Runtime": "python3.11",
                "Events": {"E": {"Type": "SQS", "Properties": {"Queue": {"Fn::GetAtt": ["Q", "Arn"]}}}},
            }},
            "Q": {"Type": "AWS::SQS::Queue", "DependsOn": ["F"], "Condition": "C", "Properties": {"DelaySeconds": 1}},
        },
        "Outputs": {"O": {"Value": {"Ref": "Q"}}},
    }  # fmt: skip
    for _ in range(120):
        template = json.loads(json.dumps(base))
        at: Any = template
        for _ in range(random_.randint(1, 7)):
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            key = random_.choice(keys)
            if not isinstance(at[key], dict | list) or not at[key] or random_.random() < 0.25:
                break
            at = at[key]
        at[key] = random_.choice(odd)
        with pytest.raises(ClientError) as caught:
            # An unknown parameter makes sure that nothing is made even if the template happens to be right.
            stacks.create("odd", template, wait=False, Parameters=[{"ParameterKey": "Zzz", "ParameterValue": "1"}])
        assert caught.value.response["Error"]["Code"] == "ValidationError", (template, caught.value)
        answer = stacks.client.validate_template
        try:
            answer(TemplateBody=json.dumps(template))
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ValidationError", (template, error)


def test_broken_properties_fail_their_resource_with_a_reason(stacks: Stacks) -> None:
    odd: list[Any] = [None, 7, "x", [1], {"a": 1}, [{"x": {}}]]
    random_ = random.Random(3)
    kinds = {
        "AWS::S3::Bucket": [
            "BucketEncryption",
            "CorsConfiguration",
            "LifecycleConfiguration",
            "NotificationConfiguration",
            "Tags",
            "PublicAccessBlockConfiguration",
            "VersioningConfiguration",
        ],
        "AWS::SNS::Subscription": ["TopicArn", "FilterPolicy", "Protocol"],
        "AWS::SQS::Queue": ["RedrivePolicy", "Tags", "DelaySeconds"],
        "AWS::DynamoDB::Table": ["KeySchema", "StreamSpecification", "TimeToLiveSpecification"],
        "AWS::Lambda::Function": ["Code", "Environment", "Role"],
        "AWS::IAM::Role": ["AssumeRolePolicyDocument", "Policies", "ManagedPolicyArns"],
        "AWS::ApiGatewayV2::Api": ["Body", "CorsConfiguration", "Tags"],
        "AWS::SecretsManager::Secret": ["GenerateSecretString", "Tags"],
    }
    for kind, names in kinds.items():
        for name in names:
            stack = f"broken-{kind.split(':')[-1]}-{name}"
            ended = stacks.create(stack, of(A={"Type": kind, "Properties": {name: random_.choice(odd)}}))
            if ended["StackStatus"] != "CREATE_COMPLETE":
                assert ended["StackStatus"] == "ROLLBACK_COMPLETE", ended
                reasons = [reason for logical, _, reason in stacks.events(stack) if logical == "A" and reason]
                assert reasons and "its log says why" not in reasons[0], (kind, name, reasons)
            assert stacks.delete(stack)["StackStatus"] == "DELETE_COMPLETE"


def test_versioning_is_turned_on_and_suspended(stacks: Stacks) -> None:
    def bucket(**properties: Any) -> dict[str, Any]:
        return of(B={"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "with-versions", **properties}})

    s3 = stacks.server.client("s3")
    enabled = bucket(VersioningConfiguration={"Status": "Enabled"})
    assert stacks.create("with-versions", enabled)["StackStatus"] == "CREATE_COMPLETE"
    assert s3.get_bucket_versioning(Bucket="with-versions")["Status"] == "Enabled"
    assert stacks.update("with-versions", bucket())["StackStatus"] == "UPDATE_COMPLETE"
    assert s3.get_bucket_versioning(Bucket="with-versions")["Status"] == "Suspended"
    assert stacks.delete("with-versions")["StackStatus"] == "DELETE_COMPLETE"


def test_a_bucket_s_lifecycle_and_encryption(stacks: Stacks) -> None:
    def bucket(**properties: Any) -> dict[str, Any]:
        return of(B={"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "with-settings", **properties}})

    s3 = stacks.server.client("s3")
    rules: list[dict[str, Any]] = [
        {"Id": "logs", "Status": "Enabled", "Prefix": "logs/", "ExpirationInDays": "30",
         "Transition": {"StorageClass": "GLACIER_IR", "TransitionInDays": 7}},
        {"Id": "old", "Status": "Disabled", "TagFilters": [{"Key": "k", "Value": "v"}], "ObjectSizeGreaterThan": "5",
         "NoncurrentVersionExpirationInDays": 9,
         "NoncurrentVersionTransitions": [{"StorageClass": "GLACIER", "TransitionInDays": 3}]},
        {"Id": "rest", "Status": "Enabled", "ExpirationDate": "2099-01-01T00:00:00Z"},
        {"Id": "uploads", "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}},
    ]  # fmt: skip
    encrypted = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": "true"}
    template = bucket(
        LifecycleConfiguration={"Rules": rules},
        BucketEncryption={"ServerSideEncryptionConfiguration": [encrypted]},
    )
    assert stacks.create("with-settings", template)["StackStatus"] == "CREATE_COMPLETE"
    kept = {row["ID"]: row for row in s3.get_bucket_lifecycle_configuration(Bucket="with-settings")["Rules"]}
    assert kept["logs"]["Filter"] == {"Prefix": "logs/"} and kept["logs"]["Expiration"] == {"Days": 30}
    assert kept["logs"]["Transitions"] == [{"Days": 7, "StorageClass": "GLACIER_IR"}]
    assert kept["old"]["Filter"]["And"] == {"Tags": [{"Key": "k", "Value": "v"}], "ObjectSizeGreaterThan": 5}
    assert kept["old"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 9}
    assert kept["old"]["NoncurrentVersionTransitions"] == [{"NoncurrentDays": 3, "StorageClass": "GLACIER"}]
    assert kept["rest"]["Filter"] == {} and kept["rest"]["Expiration"]["Date"].year == 2099
    assert kept["uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    put = s3.put_object(Bucket="with-settings", Key="a", Body=b"x")
    assert (put["ServerSideEncryption"], put["BucketKeyEnabled"]) == ("aws:kms", True)
    s3.delete_object(Bucket="with-settings", Key="a")
    wrong = bucket(LifecycleConfiguration={"Rules": [{"Status": "Enabled", "ExpirationInDays": 0}]})
    assert stacks.update("with-settings", wrong)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert len(s3.get_bucket_lifecycle_configuration(Bucket="with-settings")["Rules"]) == 4
    assert stacks.update("with-settings", bucket())["StackStatus"] == "UPDATE_COMPLETE"
    with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket="with-settings")
    assert s3.put_object(Bucket="with-settings", Key="a", Body=b"x")["ServerSideEncryption"] == "AES256"
    s3.delete_object(Bucket="with-settings", Key="a")
    assert stacks.delete("with-settings")["StackStatus"] == "DELETE_COMPLETE"


def test_a_large_template_comes_from_a_bucket(stacks: Stacks) -> None:
    s3 = stacks.server.client("s3")
    s3.create_bucket(Bucket="templates")
    large = {**of(Q=queue()), "Metadata": {"Notes": "x" * 100_000}}
    s3.put_object(Bucket="templates", Key="a/large one.json", Body=json.dumps(large).encode())
    url = f"{stacks.server.url}/templates/a/large%20one.json"
    stacks.client.create_stack(StackName="large", TemplateURL=url)
    assert stacks.ended("large")["StackStatus"] == "CREATE_COMPLETE"
    stacks.delete("large")
    s3.put_object(Bucket="templates", Key="huge.json", Body=json.dumps({**large, "Metadata": "x" * 1_100_000}).encode())
    s3.put_object(Bucket="templates", Key="binary.json", Body=b"\xff\xfe\x00")
    for wrong, reason in (
        ("huge.json", "1000000"),
        ("binary.json", "UTF-8"),
        ("none.json", "S3 error"),
        ("", "TemplateURL|S3 error"),
    ):
        with pytest.raises(ClientError, match=reason):
            stacks.client.create_stack(StackName="huge", TemplateURL=f"{stacks.server.url}/templates/{wrong}")


def test_what_is_told_of_a_stack(stacks: Stacks) -> None:
    made = stacks.create("told", of(Q=queue(), Z=queue()))
    client = stacks.client
    for name in ("told", made["StackId"]):
        assert client.describe_stack_resource(StackName=name, LogicalResourceId="Q")["StackResourceDetail"][
            "ResourceStatus"
        ] == "CREATE_COMPLETE"  # fmt: skip
        listed = client.list_stack_resources(StackName=name)["StackResourceSummaries"]
        assert [each["LogicalResourceId"] for each in listed] == ["Q", "Z"]
    with pytest.raises(ClientError, match="does not exist"):
        client.describe_stack_resource(StackName="told", LogicalResourceId="X")
    assert stacks.events("told") == [
        ("told", "CREATE_IN_PROGRESS", "User Initiated"), ("Q", "CREATE_IN_PROGRESS", ""), ("Q", "CREATE_COMPLETE", ""),
        ("Z", "CREATE_IN_PROGRESS", ""), ("Z", "CREATE_COMPLETE", ""), ("told", "CREATE_COMPLETE", ""),
    ]  # fmt: skip
    assert "told" in [
        each["StackName"] for each in client.list_stacks(StackStatusFilter=["CREATE_COMPLETE"])["StackSummaries"]
    ]
    client.get_waiter("stack_create_complete").wait(StackName="told", WaiterConfig={"Delay": 1, "MaxAttempts": 5})
    for name in ("9told", "to_ld", "x" * 200):
        with pytest.raises(ClientError, match="ValidationError"):
            stacks.create(name, of(Q=queue()), wait=False)
    stacks.delete("told")
