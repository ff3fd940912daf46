"""SNS's whole API by its official client, against a server process with real endpoints outside of it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from helpers.outside import Mailbox, Outside
from helpers.server import TRUST, ServerProcess, eventually

ACCOUNT = "000000000000"
TWILIO = "/2010-04-01/Accounts/AC123/Messages.json"
ANYBODY = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": "*"}]})  # fmt: skip


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    made = Outside()
    yield made
    made.close()


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    made = Mailbox()
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, outside: Outside, mailbox: Mailbox) -> Iterator[ServerProcess]:
    delivery = {
        "SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(mailbox.port), "SMTP_TLS": "none", "TWILIO_URL": outside.url,
        "TWILIO_ACCOUNT_SID": "AC123", "TWILIO_AUTH_TOKEN": "secret", "TWILIO_FROM": "+15550001111",
    }  # fmt: skip
    environment = {f"SLUICEWAY_DELIVERY__{name}": text for name, text in delivery.items()}
    environment["SLUICEWAY_ALLOW_PRIVATE_TARGETS"] = "1"
    running = ServerProcess(tmp_path_factory.mktemp("topics") / "data", environment=environment).start()
    yield running
    running.stop()
    assert not [line for line in running.lines if "ERROR" in line], "\n".join(running.lines)


@pytest.fixture(scope="module")
def sns(server: ServerProcess) -> Any:
    return server.client("sns")


@pytest.fixture(scope="module")
def sqs(server: ServerProcess) -> Any:
    return server.client("sqs")


def topic_of(sns: Any, name: str, **attributes: str) -> str:
    return str(sns.create_topic(Name=name, Attributes=attributes)["TopicArn"])


def queue_of(sqs: Any, name: str, **attributes: str) -> tuple[str, str]:
    url = sqs.create_queue(QueueName=name, Attributes={"Policy": ANYBODY, **attributes})["QueueUrl"]
    return url, f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"


def received(sqs: Any, url: str, count: int) -> list[dict[str, Any]]:
    """``count`` messages, in the order in which they came."""
    got: list[dict[str, Any]] = []

    def enough() -> bool:
        answer = sqs.receive_message(
            QueueUrl=url,
            WaitTimeSeconds=1,
            MaxNumberOfMessages=10,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        for one in answer.get("Messages", []):
            got.append(one)
            sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
        return len(got) >= count

    eventually(enough)
    return got


def refused(call: Callable[..., Any], **params: Any) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


def fetch(url: str, form: dict[str, str] | None = None) -> tuple[int, bytes]:
    data = urllib.parse.urlencode(form).encode() if form is not None else None
    try:
        with urllib.request.urlopen(url, data, timeout=10) as answer:
            return int(answer.status), bytes(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read()


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


# -- subscriptions


def test_a_webhook_verifies_everything_as_the_developer_guide_says(sns: Any, outside: Outside) -> None:
    for version, algorithm in (("1", hashes.SHA1()), ("2", hashes.SHA256())):
        arn, path = topic_of(sns, f"signed-{version}", SignatureVersion=version), f"/signed-{version}"
        sns.subscribe(TopicArn=arn, Protocol="http", Endpoint=outside.url + path)
        [asked] = outside.wait(path)
        assert fetch(asked["SubscribeURL"])[0] == 200
        sns.publish(TopicArn=arn, Message="Grüße\n\"✓\"", Subject="Ü", MessageAttributes={
            "a": {"DataType": "String", "StringValue": "x"}})  # fmt: skip
        told = outside.wait(path, 2)[1]
        assert fetch(told["UnsubscribeURL"])[0] == 200
        ended = outside.wait(path, 3)[2]
        assert [one["Type"] for one in (asked, told, ended)] == [
            "SubscriptionConfirmation", "Notification", "UnsubscribeConfirmation"]  # fmt: skip
        for document in (asked, told, ended):
            check_signature(document, algorithm)
        headers = [given for given, _ in outside.got[path]]
        assert [given["x-amz-sns-message-type"] for given in headers] == [one["Type"] for one in (asked, told, ended)]
        assert [given["x-amz-sns-message-id"] for given in headers] == [
            one["MessageId"] for one in (asked, told, ended)
        ]
        assert "x-amz-sns-subscription-arn" not in headers[0]
        assert headers[1]["x-amz-sns-subscription-arn"].startswith(f"{arn}:")
        assert headers[1]["user-agent"] == "Amazon Simple Notification Service Agent"
        assert headers[1]["content-type"] == "text/plain; charset=UTF-8" and headers[1]["x-amz-sns-topic-arn"] == arn


def test_a_queues_message_is_signed_whoever_receives_it_and_wherever_it_went(sns: Any, sqs: Any) -> None:
    """The signature is made when the message is received; nobody can tell."""
    arn = topic_of(sns, "sealed", SignatureVersion="2")
    dead_url, dead = queue_of(sqs, "sealed-dead")
    redrive = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": "2"})
    url, queue = queue_of(sqs, "sealed", RedrivePolicy=redrive)
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue)
    odd = '"Signature" : "' + "0" * 344 + '"'
    given = {"a": {"DataType": "String", "StringValue": odd}}
    sns.publish(TopicArn=arn, Message=f"✓ {odd}", Subject="s", MessageAttributes=given)

    def bodies(of: str) -> list[str]:
        answer = sqs.receive_message(QueueUrl=of, WaitTimeSeconds=1, VisibilityTimeout=0)
        return [one["Body"] for one in answer.get("Messages", [])]

    first, second = eventually(lambda: bodies(url)), eventually(lambda: bodies(url))
    assert eventually(lambda: bodies(url) or bodies(dead_url)) == first == second
    document = json.loads(first[0])
    assert document["Message"] == f"✓ {odd}" and document["MessageAttributes"]["a"]["Value"] == odd
    check_signature(document, hashes.SHA256())


def check_signature(document: dict[str, Any], algorithm: hashes.HashAlgorithm) -> None:
    """Amazon SNS Developer Guide, "Verifying the signatures of Amazon SNS messages"; and that a change is noticed."""
    kind = document["Type"]
    names = (["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"] if kind == "Notification" else
             ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"])  # fmt: skip
    status, certificate = fetch(document["SigningCertURL"])
    assert status == 200
    key = x509.load_pem_x509_certificate(certificate).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    signature = base64.b64decode(document["Signature"])
    text = "".join(f"{name}\n{document[name]}\n" for name in names if name in document)
    key.verify(signature, text.encode(), padding.PKCS1v15(), algorithm)
    with pytest.raises(InvalidSignature):
        key.verify(signature, text.replace("Type", "Typo").encode(), padding.PKCS1v15(), algorithm)


def test_a_subscription_from_its_beginning_to_its_end(sns: Any, outside: Outside) -> None:
    arn = topic_of(sns, "lifetime")
    endpoint = outside.url.replace("http://", "http://user:secret@") + "/lifetime"
    made = sns.subscribe(TopicArn=arn, Protocol="http", Endpoint=endpoint, ReturnSubscriptionArn=True)[
        "SubscriptionArn"
    ]
    outside.wait("/lifetime", 1)
    assert sns.subscribe(TopicArn=arn, Protocol="http", Endpoint=endpoint)["SubscriptionArn"] == "pending confirmation"
    asked, again = outside.wait("/lifetime", 2)
    assert asked["Token"] != again["Token"]
    [listed] = sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
    assert listed["SubscriptionArn"] == "PendingConfirmation" and listed["Endpoint"].endswith(
        "user:****@" + outside.url[7:] + "/lifetime"
    )
    other = topic_of(sns, "lifetime-other")
    for topic, token in ((arn, "nonsense"), (arn, asked["Token"]), (other, again["Token"])):
        code, status, words = refused(sns.confirm_subscription, TopicArn=topic, Token=token)
        assert (code, status) == ("InvalidParameter", 400) and "Invalid token" in words
    confirm = {"TopicArn": arn, "Token": again["Token"], "AuthenticateOnUnsubscribe": "true"}
    assert sns.confirm_subscription(**confirm)["SubscriptionArn"] == made
    assert sns.confirm_subscription(**confirm)["SubscriptionArn"] == made
    shown = sns.get_subscription_attributes(SubscriptionArn=made)["Attributes"]
    assert shown["ConfirmationWasAuthenticated"] == "true" and shown["PendingConfirmation"] == "false"
    assert shown["SubscriptionPrincipal"] and "secret" not in shown["Endpoint"]
    assert json.loads(shown["EffectiveDeliveryPolicy"])["healthyRetryPolicy"]["numRetries"] == 3
    counts = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert (counts["SubscriptionsConfirmed"], counts["SubscriptionsPending"]) == ("1", "0")
    sns.publish(TopicArn=arn, Message="hello")
    told = outside.wait("/lifetime", 3)[2]
    status, page = fetch(told["UnsubscribeURL"])
    assert status == 403 and b"AuthorizationError" in page  # it was confirmed so that only signed requests end it
    sns.unsubscribe(SubscriptionArn=made)
    assert refused(sns.get_subscription_attributes, SubscriptionArn=made)[:2] == ("NotFound", 404)
    assert sns.get_topic_attributes(TopicArn=arn)["Attributes"]["SubscriptionsDeleted"] == "1"


SUBSCRIBING: list[tuple[str, str, dict[str, str], str]] = [
    ("sqs", "{queue}", {"FilterPolicy": "{"}, "FilterPolicy: failed to parse JSON"),
    ("sqs", "{queue}", {"FilterPolicy": '{"a": [{"sufix": "x"}]}'}, "FilterPolicy: Unrecognized match type sufix"),
    ("sqs", "{queue}", {"FilterPolicy": '{"a": {"b": ["x"]}}'}, "does not support nested filter policy"),
    ("sqs", "{queue}", {"FilterPolicy": '{"a": ["%s"]}' % ("x" * 262_144)}, "FilterPolicy"),
    ("sqs", "{queue}", {"FilterPolicyScope": "Everything"}, "FilterPolicyScope: Invalid value [Everything]"),
    ("sqs", "{queue}", {"RawMessageDelivery": "yes"}, "RawMessageDelivery: Invalid value [yes]"),
    ("sqs", "{queue}", {"RedrivePolicy": '{"deadLetterTargetArn": 5}'}, "RedrivePolicy"),
    (
        "sqs",
        "{queue}",
        {"RedrivePolicy": '{"deadLetterTargetArn": "arn:aws:sns:us-east-1:000000000000:x"}'},
        "invalid arn",
    ),
    (
        "sqs",
        "{queue}",
        {"RedrivePolicy": '{"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:000000000000:x"}'},
        "invalid arn",
    ),
    ("sqs", "{queue}", {"DeliveryPolicy": "{}}"}, "Delivery policy"),
    ("sqs", "{queue}", {"Nonsense": "x"}, "AttributeName"),
    ("sms", "+15550001234", {"RawMessageDelivery": "true"}, "does not support raw message delivery"),
    ("pigeon", "x", {}, "does not support this protocol string: pigeon"),
    ("sqs", "nonsense", {}, "SQS endpoint ARN"),
    ("lambda", "{queue}", {}, "Lambda endpoint ARN"),
    ("http", "https://example.com/", {}, "Endpoint must match the specified protocol"),
    ("https", "https://", {}, "Endpoint must match the specified protocol"),
    ("email", "nobody", {}, "Email address"),
    ("sms", "911", {}, "PhoneNumber"),
]


@pytest.mark.parametrize(("protocol", "endpoint", "attributes", "words"), SUBSCRIBING)
def test_what_subscriptions_may_not_be(
    sns: Any, protocol: str, endpoint: str, attributes: dict[str, str], words: str
) -> None:
    arn = topic_of(sns, "refusing")
    endpoint = endpoint.replace("{queue}", f"arn:aws:sqs:us-east-1:{ACCOUNT}:refusing")
    given = {"TopicArn": arn, "Protocol": protocol, "Endpoint": endpoint, "Attributes": attributes}
    code, status, message = refused(sns.subscribe, **given)
    assert (code, status) == ("InvalidParameter", 400) and words in message and len(message) < 1000
    assert sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"] == []


def test_what_is_not_here_says_so(sns: Any) -> None:
    arn = topic_of(sns, "not-here")
    firehose = f"arn:aws:firehose:us-east-1:{ACCOUNT}:deliverystream/x"
    queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:not-here"
    for call, params in (
        (sns.subscribe, {"TopicArn": arn, "Protocol": "firehose", "Endpoint": firehose}),
        (sns.subscribe, {"TopicArn": arn, "Protocol": "application", "Endpoint": f"{arn}:endpoint/APNS/a/1"}),
        (
            sns.subscribe,
            {"TopicArn": arn, "Protocol": "sqs", "Endpoint": queue, "Attributes": {"ReplayPolicy": '{"a":1}'}},
        ),
        (sns.list_platform_applications, {}),
        (sns.get_data_protection_policy, {"ResourceArn": arn}),
        (sns.put_data_protection_policy, {"ResourceArn": arn, "DataProtectionPolicy": "{}"}),
    ):
        assert refused(call, **params)[:2] == ("NotImplemented", 501)


def test_filters_choose_by_the_body_or_the_attributes(sns: Any, sqs: Any) -> None:
    arn = topic_of(sns, "filtered")
    url, queue = queue_of(sqs, "filtered")
    raw = {"RawMessageDelivery": "true"}
    body = {"FilterPolicy": '{"a": {"b": [{"anything-but": {"wildcard": "x*z"}}]}}', "FilterPolicyScope": "MessageBody"}
    made = sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue, Attributes={**raw, **body})["SubscriptionArn"]
    for text in ('{"a": {"b": "xyz"}}', "no JSON", '{"a": [{"b": "xyz"}, {"b": "fits"}]}'):
        sns.publish(TopicArn=arn, Message=text)
    assert received(sqs, url, 1)[0]["Body"] == '{"a": [{"b": "xyz"}, {"b": "fits"}]}'
    nested = {"SubscriptionArn": made, "AttributeName": "FilterPolicyScope", "AttributeValue": "MessageAttributes"}
    assert "nested" in refused(sns.set_subscription_attributes, **nested)[2]
    for name, value in (("FilterPolicy", '{"c": ["red"]}'), ("FilterPolicyScope", "MessageAttributes")):
        sns.set_subscription_attributes(SubscriptionArn=made, AttributeName=name, AttributeValue=value)
    sns.publish(TopicArn=arn, Message='{"c": "red"}')
    sns.publish(TopicArn=arn, Message="red", MessageAttributes={"c": {"DataType": "String", "StringValue": "red"}})
    assert received(sqs, url, 1)[0]["Body"] == "red"


def test_mail_is_confirmed_read_and_ended_by_one_press(sns: Any, mailbox: Mailbox) -> None:
    arn, to = topic_of(sns, "mailed", DisplayName='Zürich "News"'), "reader@example.com"
    sns.subscribe(TopicArn=arn, Protocol="email", Endpoint=to)
    [(_, text)] = mailbox.wait(to)
    link = next(word for word in text.split() if "/sns/confirm?" in word)
    token = urllib.parse.parse_qs(urllib.parse.urlsplit(link).query)["token"][0]
    assert fetch(link.partition("?")[0], {"token": token})[0] == 200
    sns.publish(TopicArn=arn, Message="hello", Subject="Grüße")
    assert mailbox.wait(to, 2)[1][0] == "Grüße"
    mail = [one for one in mailbox.mails if one["X-To"] == to][1]
    assert mail["From"].addresses[0].display_name == 'Zürich "News"'
    press = "".join(mail["List-Unsubscribe"].split()).strip("<>")
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert len(sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]) == 1
    assert fetch(press)[0] == 200  # a scanner follows the link, and nothing happens
    assert len(sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]) == 1
    assert fetch(press, {"List-Unsubscribe": "One-Click"})[0] == 200
    assert sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"] == []
    again = sns.subscribe(TopicArn=arn, Protocol="email", Endpoint="other@example.com", ReturnSubscriptionArn=True)
    press = f"{press.partition('=')[0]}={urllib.parse.quote(again['SubscriptionArn'])}"
    body = b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=b"}  # the encoding that RFC 8058 prefers
    with urllib.request.urlopen(urllib.request.Request(press, body, kind), timeout=10) as answer:
        assert answer.status == 200
    assert sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"] == []


# -- text messages


def test_settings_and_opt_outs_of_text_messages(sns: Any) -> None:
    assert sns.get_sms_attributes()["attributes"]["MonthlySpendLimit"] == "1"
    sns.set_sms_attributes(attributes={"DefaultSMSType": "Transactional", "DefaultSenderID": "News"})
    assert sns.get_sms_attributes(attributes=["DefaultSMSType"])["attributes"] == {"DefaultSMSType": "Transactional"}
    sns.set_sms_attributes(attributes={"DefaultSenderID": ""})
    assert "DefaultSenderID" not in sns.get_sms_attributes()["attributes"]
    for wrong in ({"DefaultSMSType": "x"}, {"MonthlySpendLimit": "-1"}, {"Nonsense": "x"}):
        assert refused(sns.set_sms_attributes, attributes=wrong)[:2] == ("InvalidParameter", 400)
    assert sns.check_if_phone_number_is_opted_out(phoneNumber="+15550003333")["isOptedOut"] is False
    assert refused(sns.check_if_phone_number_is_opted_out, phoneNumber="x")[0] == "InvalidParameter"
    assert sns.list_phone_numbers_opted_out()["phoneNumbers"] == []
    sns.opt_in_phone_number(phoneNumber="+15550003333")
    assert sns.list_origination_numbers()["PhoneNumbers"] == []
    assert sns.get_sms_sandbox_account_status()["IsInSandbox"] is False
    assert sns.list_sms_sandbox_phone_numbers()["PhoneNumbers"] == []
    assert refused(sns.create_sms_sandbox_phone_number, PhoneNumber="+15550003333")[0] == "UserError"
    assert refused(sns.delete_sms_sandbox_phone_number, PhoneNumber="+15550003333")[0] == "ResourceNotFound"
    wrong_code = {"PhoneNumber": "+15550003333", "OneTimePassword": "123456"}
    assert refused(sns.verify_sms_sandbox_phone_number, **wrong_code)[0] == "ResourceNotFound"


# -- functions


def test_a_functions_failures_are_its_own_and_the_subscriptions_are_those_to_call_it(
    sns: Any, sqs: Any, server: ServerProcess
) -> None:
    iam, client = server.client("iam"), server.client("lambda")
    role = iam.create_role(RoleName="work", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_role_policy(RoleName="work", PolicyName="all", PolicyDocument=json.dumps(everything))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(
            "main.py",
            "def handler(event, context):\n"
            "    text = event['Records'][0]['Sns']['Message']\n"
            "    print(f'{len(text)} characters')\n"
            "    raise ValueError(text)",
        )
    arn = client.create_function(FunctionName="fails", Runtime="python3.11", Handler="main.handler", Role=role, Timeout=10,
                                 Code={"ZipFile": buffer.getvalue()})["FunctionArn"]  # fmt: skip
    lost_url, lost = queue_of(sqs, "not-called")
    failed_url, failed = queue_of(sqs, "called-and-failed")
    client.put_function_event_invoke_config(
        FunctionName="fails", MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": failed}}
    )
    topic = topic_of(sns, "for-functions")
    letters = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": lost})}
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn, Attributes=letters)
    sns.publish(TopicArn=topic, Message="too early")  # its policy does not name SNS yet
    [letter] = received(sqs, lost_url, 1)
    assert json.loads(letter["Body"])["Message"] == "too early"
    assert "lambda:InvokeFunction" in letter["MessageAttributes"]["ErrorMessage"]["StringValue"]
    client.add_permission(FunctionName="fails", StatementId="sns", Action="lambda:InvokeFunction",
                          Principal="sns.amazonaws.com", SourceArn=topic)  # fmt: skip
    sns.publish(TopicArn=topic, Message="in time")
    [outcome] = received(sqs, failed_url, 1)
    told = json.loads(outcome["Body"])
    assert told["requestContext"]["condition"] == "RetriesExhausted"
    assert told["responsePayload"]["errorMessage"] == "in time"
    assert told["requestPayload"]["Records"][0]["EventSource"] == "aws:sns"
    sns.set_topic_attributes(TopicArn=topic, AttributeName="MaximumMessageSize", AttributeValue=str(1024 * 1024))
    sns.publish(TopicArn=topic, Message='"' * 1024 * 1024)  # which is twice as much within the event
    logged = {"logGroupName": "/aws/lambda/fails", "filterPattern": '"1048576 characters"'}
    eventually(lambda: server.client("logs").filter_log_events(**logged)["events"])
    assert sqs.receive_message(QueueUrl=lost_url).get("Messages", []) == []
