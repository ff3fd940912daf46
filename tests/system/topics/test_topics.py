"""Topics by boto3: their attributes, what is published, and in which order it comes."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from helpers.outside import Outside
from helpers.server import ServerProcess, eventually
from helpers.topics import ACCOUNT, queue_of, received, refused, topic_of

TWILIO = "/2010-04-01/Accounts/AC123/Messages.json"


# -- topics


def test_every_attribute_of_a_topic(sns: Any) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/logs"
    given = {
        "DisplayName": "Näws", "SignatureVersion": "2", "TracingConfig": "PassThrough", "KmsMasterKeyId": "alias/aws/sns",
        "HTTPSuccessFeedbackRoleArn": role, "HTTPFailureFeedbackRoleArn": role, "HTTPSuccessFeedbackSampleRate": "100",
        "MaximumMessageSize": "2048",
        "DeliveryPolicy": json.dumps({"http": {"defaultHealthyRetryPolicy": {"numRetries": 5},
                                               "defaultThrottlePolicy": {"maxReceivesPerSecond": 7}}}),
    }  # fmt: skip
    arn = topic_of(sns, "attributes", **given)
    shown = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert given.items() <= shown.items()
    assert (shown["TopicArn"], shown["Owner"], shown["SubscriptionsConfirmed"]) == (arn, ACCOUNT, "0")
    effective = json.loads(shown["EffectiveDeliveryPolicy"])["http"]
    assert effective["defaultHealthyRetryPolicy"]["numRetries"] == 5
    assert effective["defaultThrottlePolicy"] == {"maxReceivesPerSecond": 7}
    assert topic_of(sns, "attributes", **given) == arn
    assert refused(sns.create_topic, Name="attributes", Attributes={"DisplayName": "x"})[0] == "InvalidParameter"
    assert refused(sns.publish, TopicArn=arn, Message="x" * 2049)[2] == "Invalid parameter: Message too long"
    sns.publish(TopicArn=arn, Message="x" * 2048)


def test_what_attributes_may_not_be(sns: Any) -> None:
    arn = topic_of(sns, "wrong-attributes")
    wrong = {
        "SignatureVersion": "3", "DisplayName": "a\nb", "FifoThroughputScope": "Topic", "ContentBasedDeduplication": "true",
        "MaximumMessageSize": "1023", "HTTPSuccessFeedbackSampleRate": "101", "SQSFailureFeedbackRoleArn": "x",
        "Nonsense": "x", "FifoTopic": "true", "DeliveryPolicy": '{"http": {"nonsense": 1}}', "Policy": "{",
        "TracingConfig": "x",
    }  # fmt: skip
    for name, value in wrong.items():
        code, status, words = refused(sns.set_topic_attributes, TopicArn=arn, AttributeName=name, AttributeValue=value)
        assert (code, status) == ("InvalidParameter", 400) and words.startswith("Invalid parameter: "), name
    throttle = '{"http": {"defaultThrottlePolicy": {"maxReceivesPerSecond": 0}}}'
    change = {"TopicArn": arn, "AttributeName": "DeliveryPolicy", "AttributeValue": throttle}
    assert "maxReceivesPerSecond" in refused(sns.set_topic_attributes, **change)[2]
    policy = {"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}}
    change = {"TopicArn": arn, "AttributeName": "Policy", "AttributeValue": json.dumps(policy)}
    words = refused(sns.set_topic_attributes, **change)[2]
    assert words == "Invalid parameter: Policy statement action out of service scope!"
    archive = {"TopicArn": arn, "AttributeName": "ArchivePolicy", "AttributeValue": "{}"}
    assert refused(sns.set_topic_attributes, **archive)[:2] == ("NotImplemented", 501)


def test_messages_above_256_kib_are_for_queues_and_functions(sns: Any, sqs: Any) -> None:
    arn = topic_of(sns, "large", MaximumMessageSize=str(1024 * 1024))
    url, queue = queue_of(sqs, "large")
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    assert "MaximumMessageSize" in refused(sns.subscribe, TopicArn=arn, Protocol="email", Endpoint="a@example.com")[2]
    sns.publish(TopicArn=arn, Message="x" * 900_000)
    assert len(received(sqs, url, 1)[0]["Body"]) == 900_000


@pytest.mark.parametrize(
    ("limit", "text"),
    [(256 * 1024, "x"), (1024 * 1024, "x"), (1024 * 1024, '"'), (1024 * 1024, "ü"), (1024 * 1024, "\n")],
)
def test_what_was_published_arrives_however_large_its_document_is(sns: Any, sqs: Any, limit: int, text: str) -> None:
    """Also where the queue takes no more than the topic, and in the queue for what could not be delivered."""
    name = f"full-{limit}-{ord(text)}"
    arn = topic_of(sns, name, MaximumMessageSize=str(limit))
    places = {kind: queue_of(sqs, f"{name}-{kind}", MaximumMessageSize=str(limit)) for kind in ("doc", "raw", "dead")}
    for kind in ("doc", "raw"):
        raw = {"RawMessageDelivery": str(kind == "raw").lower()}
        sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=places[kind][1], Attributes=raw)
    letters = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": places["dead"][1]})}
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=places["doc"][1] + "-gone", Attributes=letters)
    attribute = {"name": {"DataType": "String", "StringValue": "value"}}
    message = text * ((limit - len("nameStringvalue")) // len(text.encode()))
    more = {"Subject": "s" * 100, "MessageAttributes": attribute}
    sns.publish(TopicArn=arn, Message=message, **more)
    assert (
        refused(sns.publish, TopicArn=arn, Message=message + text, **more)[2] == "Invalid parameter: Message too long"
    )
    [raw_one] = received(sqs, places["raw"][0], 1)
    assert raw_one["Body"] == message and raw_one["MessageAttributes"] == attribute
    for kind in ("doc", "dead"):
        [one] = received(sqs, places[kind][0], 1)
        document = json.loads(one["Body"])
        assert document["Message"] == message and document["MessageAttributes"]["name"]["Value"] == "value"
        assert len(one["Body"].encode()) > limit
        assert one["MD5OfBody"] == hashlib.md5(one["Body"].encode()).hexdigest()


@pytest.mark.parametrize("odd", ["\ufffe", "\uffff", "\x00", "\x7f", "\U0001f600"])
def test_what_was_published_arrives_whatever_its_characters_are(sns: Any, sqs: Any, odd: str) -> None:
    """A queue takes no U+FFFE as such; in the document it is escaped, as JSON may."""
    name = f"odd-{ord(odd)}"
    arn = topic_of(sns, name)
    url, queue = queue_of(sqs, name)
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue)
    attribute = {"a": {"DataType": "String", "StringValue": f"value {odd}"}}
    sns.publish(TopicArn=arn, Message=f"text {odd} and \\{odd}", MessageAttributes=attribute)
    [one] = received(sqs, url, 1)
    document = json.loads(one["Body"])
    assert document["Message"] == f"text {odd} and \\{odd}"
    assert document["MessageAttributes"]["a"]["Value"] == f"value {odd}"
    assert one["MD5OfBody"] == hashlib.md5(one["Body"].encode()).hexdigest()


def test_a_queue_still_refuses_a_message_above_its_own_limit(sns: Any, sqs: Any) -> None:
    arn = topic_of(sns, "narrow")
    url, queue = queue_of(sqs, "narrow", MaximumMessageSize="1024")
    dead_url, dead = queue_of(sqs, "narrow-dead")
    letters = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": dead})}
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue, Attributes=letters)
    sns.publish(TopicArn=arn, Message="x" * 1024)
    sns.publish(TopicArn=arn, Message="y" * 1025)
    assert json.loads(received(sqs, url, 1)[0]["Body"])["Message"] == "x" * 1024
    [letter] = received(sqs, dead_url, 1)
    assert json.loads(letter["Body"])["Message"] == "y" * 1025
    assert "shorter than 1024 bytes" in letter["MessageAttributes"]["ErrorMessage"]["StringValue"]


def test_tags(sns: Any) -> None:
    arn = topic_of(sns, "tagged")
    sns.tag_resource(ResourceArn=arn, Tags=[{"Key": str(at), "Value": "ü"} for at in range(50)])
    assert refused(sns.tag_resource, ResourceArn=arn, Tags=[{"Key": "more", "Value": ""}])[0] == "TagLimitExceeded"
    twice = [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]
    for tags in (twice, [{"Key": "aws:x", "Value": ""}], [{"Key": "k" * 129, "Value": ""}]):
        assert refused(sns.tag_resource, ResourceArn=arn, Tags=tags)[:2] == ("InvalidParameter", 400)
    sns.untag_resource(ResourceArn=arn, TagKeys=[str(at) for at in range(49)])
    assert sns.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "49", "Value": "ü"}]
    assert refused(sns.tag_resource, ResourceArn=arn + "x", Tags=[])[0] == "ResourceNotFound"


def test_permissions_are_statements_of_the_policy(sns: Any, server: ServerProcess) -> None:
    arn = topic_of(sns, "permitted")
    good = {"TopicArn": arn, "Label": "p", "AWSAccountId": ["111122223333"], "ActionName": ["Publish", "Subscribe"]}
    for change, words in (
        ({"ActionName": ["CreateTopic"]}, "out of service scope"),
        ({"AWSAccountId": ["x"]}, "PrincipalNotFound"),
        ({"Label": "a b"}, "Label"),
    ):
        assert words in refused(sns.add_permission, **{**good, **change})[2]
    sns.add_permission(**good)
    assert refused(sns.add_permission, **good)[2] == "Invalid parameter: Statement already exists"
    made = json.loads(sns.get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"])["Statement"][1]
    assert made == {
        "Sid": "p", "Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam::111122223333:root"]},
        "Action": ["SNS:Publish", "SNS:Subscribe"], "Resource": arn,
    }  # fmt: skip
    sns.remove_permission(TopicArn=arn, Label="p")
    assert "label" in refused(sns.remove_permission, TopicArn=arn, Label="p")[2]


def test_a_bucket_may_publish_where_the_topics_policy_names_it(sns: Any, sqs: Any, server: ServerProcess) -> None:
    s3, arn = server.client("s3"), topic_of(sns, "pictures")
    url, queue = queue_of(sqs, "pictures")
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    rule = {"TopicConfigurations": [{"TopicArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    for bucket in ("pictures-one", "pictures-two"):
        s3.create_bucket(Bucket=bucket)
    denied = refused(s3.put_bucket_notification_configuration, Bucket="pictures-one", NotificationConfiguration=rule)
    assert denied[0] == "InvalidArgument"
    statement = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "SNS:Publish",
                 "Resource": arn, "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::pictures-one"}}}  # fmt: skip
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)
    s3.put_bucket_notification_configuration(Bucket="pictures-one", NotificationConfiguration=rule)
    assert json.loads(received(sqs, url, 1)[0]["Body"])["Event"] == "s3:TestEvent"
    denied = refused(s3.put_bucket_notification_configuration, Bucket="pictures-two", NotificationConfiguration=rule)
    assert denied[0] == "InvalidArgument"
    s3.put_object(Bucket="pictures-one", Key="a.jpg", Body=b"x")
    assert json.loads(received(sqs, url, 1)[0]["Body"])["Records"][0]["s3"]["object"]["key"] == "a.jpg"


# -- publishing


def test_a_batch_is_accepted_and_refused_entry_by_entry(sns: Any, sqs: Any) -> None:
    arn = topic_of(sns, "batches")
    url, queue = queue_of(sqs, "batches")
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    entries: list[dict[str, Any]] = [
        {"Id": "good", "Message": "good"},
        {"Id": "empty", "Message": ""},
        {"Id": "subject", "Message": "x", "Subject": "a\nb"},
        {"Id": "number", "Message": "x", "MessageAttributes": {"n": {"DataType": "Number", "StringValue": "1_0"}}},
        {"Id": "typeless", "Message": "x", "MessageAttributes": {"n": {"DataType": "", "StringValue": "1"}}},
        {"Id": "structure", "Message": '{"default": "a", "default": "b"}', "MessageStructure": "json"},
        {"Id": "order", "Message": "x", "MessageDeduplicationId": "1"},
        {"Id": "also_good", "Message": "also good"},
    ]
    answer = sns.publish_batch(TopicArn=arn, PublishBatchRequestEntries=entries)
    assert [one["Id"] for one in answer["Successful"]] == ["good", "also_good"]
    assert [one["Id"] for one in answer["Failed"]] == [entry["Id"] for entry in entries[1:-1]]
    assert all(one["SenderFault"] and one["Code"] and one["Message"] for one in answer["Failed"])
    assert [one["Body"] for one in received(sqs, url, 2)] == ["good", "also good"]
    big = [{"Id": str(at), "Message": "x" * 90_000} for at in range(3)]
    assert refused(sns.publish_batch, TopicArn=arn, PublishBatchRequestEntries=big)[0] == "BatchRequestTooLong"


ATTRIBUTES: list[tuple[str, dict[str, Any], str]] = [
    ("a", {"DataType": "String", "StringValue": ""}, "must contain non-empty message attribute value"),
    ("a", {"DataType": "String"}, "must contain non-empty message attribute value"),
    ("a", {"DataType": "Binary", "BinaryValue": b""}, "must contain non-empty message attribute value"),
    ("a", {"DataType": "Boolean", "StringValue": "x"}, "invalid message attribute type"),
    ("a", {"DataType": "Stringy", "StringValue": "x"}, "invalid message attribute type"),
    ("a", {"DataType": "Number", "StringValue": "twelve"}, "value to number"),
    ("a", {"DataType": "Number", "StringValue": "NaN"}, "value to number"),
    ("a", {"DataType": "Number", "StringValue": " 1"}, "value to number"),
    ("a", {"DataType": "String.Array", "StringValue": '{"a": 1}'}, "JSON array"),
    ("a", {"DataType": "String.Array", "StringValue": "[[1]]"}, "JSON array"),
    ("a b", {"DataType": "String", "StringValue": "x"}, "name 'a b' is invalid"),
    (".a", {"DataType": "String", "StringValue": "x"}, "is invalid"),
    ("a..b", {"DataType": "String", "StringValue": "x"}, "is invalid"),
    ("AWS.x", {"DataType": "String", "StringValue": "x"}, "is invalid"),
    ("n" * 257, {"DataType": "String", "StringValue": "x"}, "is invalid"),
]


@pytest.mark.parametrize(("name", "value", "words"), ATTRIBUTES)
def test_what_attributes_of_messages_may_not_be(sns: Any, name: str, value: dict[str, Any], words: str) -> None:
    arn = topic_of(sns, "message-attributes")
    code, status, message = refused(sns.publish, TopicArn=arn, Message="x", MessageAttributes={name: value})
    assert (code, status) == ("ParameterValueInvalid", 400) and words in message


def test_attributes_of_every_type_arrive(sns: Any, sqs: Any) -> None:
    arn = topic_of(sns, "typed")
    url, queue = queue_of(sqs, "typed")
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue)
    given = {
        "s": {"DataType": "String", "StringValue": "ü"}, "n": {"DataType": "Number", "StringValue": "-1.5e3"},
        "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}, "c": {"DataType": "Number.float", "StringValue": "1"},
        "a": {"DataType": "String.Array", "StringValue": '["x", 1, true, null]'},
        "AWS.SNS.SMS.SMSType": {"DataType": "String", "StringValue": "Transactional"},
    }  # fmt: skip
    sns.publish(TopicArn=arn, Message="m", Subject="s", MessageAttributes=given)
    body = json.loads(received(sqs, url, 1)[0]["Body"])
    assert body["MessageAttributes"]["b"] == {"Type": "Binary", "Value": base64.b64encode(b"\x00\xff").decode()}
    assert body["MessageAttributes"]["a"] == {"Type": "String.Array", "Value": '["x", 1, true, null]'}
    assert set(body["MessageAttributes"]) == set(given) and body["Subject"] == "s"


def test_each_protocol_has_its_own_text(sns: Any, sqs: Any) -> None:
    arn = topic_of(sns, "structured")
    url, queue = queue_of(sqs, "structured")
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    texts = {"default": "all", "sqs": "queue \ud800!", "pigeon": 5, "http": {"not": "a text"}}
    sns.publish(TopicArn=arn, Message=json.dumps(texts), MessageStructure="json", Subject="ß")
    assert received(sqs, url, 1)[0]["Body"] == "queue ?!"  # UTF-8 can't say half a surrogate pair
    for text, words in (
        ('{"sqs": "x"}', "No default entry in JSON message body"),
        ('{"default": 1}', "No default entry in JSON message body"),
        ("[]", "JSON message body failed to parse"),
        ('{"default": "x", "default": "y"}', "JSON message body failed to parse"),
        ("[" * 100_000, "JSON message body failed to parse"),
    ):
        assert words in refused(sns.publish, TopicArn=arn, Message=text, MessageStructure="json")[2]
    assert (
        refused(sns.publish, TopicArn=arn, Message="x", MessageStructure="xml")[2]
        == "Invalid parameter: MessageStructure"
    )


@pytest.mark.parametrize("subject", ["", "a\nb", "a\x00b", "x" * 101, " x", "a\u2028b"])
def test_what_a_subject_may_not_be(sns: Any, subject: str) -> None:
    arn = topic_of(sns, "subjects")
    assert refused(sns.publish, TopicArn=arn, Message="x", Subject=subject)[2] == "Invalid parameter: Subject"


def test_to_whom_a_message_goes(sns: Any, sqs: Any, outside: Outside) -> None:
    arn = topic_of(sns, "targets")
    url, queue = queue_of(sqs, "targets")
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    sns.publish(TargetArn=arn, Message="by TargetArn")
    assert received(sqs, url, 1)[0]["Body"] == "by TargetArn"
    texts = json.dumps({"default": "all", "sms": "for phones"})
    given = {"AWS.SNS.SMS.SenderID": {"DataType": "String", "StringValue": "Sluice"}}
    sns.publish(PhoneNumber="+1 (555) 000-2222", Message=texts, MessageStructure="json", MessageAttributes=given)
    eventually(lambda: any(form["To"] == "+15550002222" for form in outside.forms(TWILIO)))
    [form] = [form for form in outside.forms(TWILIO) if form["To"] == "+15550002222"]
    assert (form["Body"], form["From"]) == ("for phones", "Sluice")
    none = "Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter"
    assert refused(sns.publish, Message="x")[2] == none
    assert refused(sns.publish, TopicArn=arn, PhoneNumber="+15550002222", Message="x")[0] == "InvalidParameter"
    assert "not valid to publish to" in refused(sns.publish, PhoneNumber="911", Message="x")[2]
    assert refused(sns.publish, PhoneNumber="+15550002222", Message="x" * 1601)[0] == "InvalidParameter"
    push = f"arn:aws:sns:us-east-1:{ACCOUNT}:endpoint/APNS/app/1"
    assert refused(sns.publish, TargetArn=push, Message="x")[:2] == ("NotImplemented", 501)
    for wrong, reason in (("x", " Reason: An ARN must have at least 6 elements, not 1"), (queue, "")):
        assert refused(sns.publish, TopicArn=wrong, Message="x")[2] == f"Invalid parameter: TopicArn{reason}"
    for other in (arn + "x", arn.replace("us-east-1", "eu-west-1"), arn.replace(ACCOUNT, "111122223333")):
        assert refused(sns.publish, TopicArn=other, Message="x")[:2] == ("NotFound", 404)


# -- order


def test_groups_keep_their_order_and_none_holds_back_another(sns: Any, sqs: Any) -> None:
    arn = topic_of(sns, "ordered.fifo", FifoTopic="true")
    url, queue = queue_of(sqs, "ordered.fifo", FifoQueue="true", MaximumMessageSize="1024")
    made = sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    assert made["SubscriptionArn"].startswith(arn)
    for at in range(30):
        text = "x" * 2000 if at == 3 else f"{at}"  # which the queue refuses: it must not hold back any other
        sns.publish(TopicArn=arn, Message=text, MessageGroupId=f"g{at % 3}", MessageDeduplicationId=str(at))
    got = received(sqs, url, 29)
    for group in range(3):
        texts = [int(one["Body"]) for one in got if one["Attributes"]["MessageGroupId"] == f"g{group}"]
        assert texts == [at for at in range(30) if at % 3 == group and at != 3]


def test_what_a_fifo_topic_takes_for_the_same_message(sns: Any) -> None:
    per_topic = topic_of(sns, "scope.fifo", FifoTopic="true", ContentBasedDeduplication="true")
    per_group = topic_of(sns, "groups.fifo", FifoTopic="true", ContentBasedDeduplication="true",
                         FifoThroughputScope="MessageGroup")  # fmt: skip

    def ids(arn: str, *groups: str) -> list[str]:
        return [sns.publish(TopicArn=arn, Message="same", MessageGroupId=group)["MessageId"] for group in groups]

    assert len(set(ids(per_topic, "a", "b", "a"))) == 1
    assert len(set(ids(per_group, "a", "b", "a"))) == 2
    first = sns.publish(TopicArn=per_topic, Message="1", MessageGroupId="a", MessageDeduplicationId="id")
    again = sns.publish(TopicArn=per_topic, Message="2", MessageGroupId="b", MessageDeduplicationId="id")
    assert first["SequenceNumber"] == again["SequenceNumber"]
    for change in ({"MessageGroupId": ""}, {"MessageGroupId": "a b"}, {"MessageGroupId": "a" * 129},
                   {"MessageDeduplicationId": "ü"}):  # fmt: skip
        assert refused(sns.publish, **{"TopicArn": per_topic, "Message": "x", "MessageGroupId": "a", **change})[0] == (
            "InvalidParameter"
        )
    letters = json.dumps({"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:plain"})
    queue = {"Protocol": "sqs", "Endpoint": f"arn:aws:sqs:us-east-1:{ACCOUNT}:jobs.fifo"}
    words = refused(sns.subscribe, TopicArn=per_topic, Attributes={"RedrivePolicy": letters}, **queue)[2]
    assert "must use a FIFO queue as DLQ" in words
    plain = topic_of(sns, "plain.fifo", FifoTopic="true")
    words = refused(sns.publish, TopicArn=plain, Message="x", MessageGroupId="a")[2]
    assert "ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly" in words
    for protocol, endpoint in (
        ("email", "a@example.com"),
        ("lambda", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"),
    ):
        assert refused(sns.subscribe, TopicArn=plain, Protocol=protocol, Endpoint=endpoint)[0] == "InvalidParameter"


def test_groups_of_a_standard_topic_make_a_standard_queue_a_fair_one(sns: Any, sqs: Any) -> None:
    arn = topic_of(sns, "fair")
    url, queue = queue_of(sqs, "fair")
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    sns.publish(TopicArn=arn, Message="x", MessageGroupId="tenant")
    assert received(sqs, url, 1)[0]["Attributes"]["MessageGroupId"] == "tenant"
    assert refused(sns.publish, TopicArn=arn, Message="x", MessageGroupId="a b")[0] == "InvalidParameter"
    ordered = topic_of(sns, "unordered.fifo", FifoTopic="true", ContentBasedDeduplication="true")
    sns.subscribe(TopicArn=ordered, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    sns.publish(TopicArn=ordered, Message="y", MessageGroupId="g")
    [message] = received(sqs, url, 1)
    assert message["Body"] == "y" and "MessageGroupId" not in message["Attributes"]
