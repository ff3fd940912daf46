"""Queues and messages by boto3, and who may use them."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.queues import arn, counts, made, redrive, refused, take
from helpers.server import ServerProcess

# -- queues


def test_making_a_queue_again_is_the_same_queue_or_an_error(sqs: Any) -> None:
    url = made(sqs, "again", VisibilityTimeout="7")
    assert made(sqs, "again", VisibilityTimeout="7") == made(sqs, "again") == url
    assert refused(sqs.create_queue, QueueName="again", Attributes={"DelaySeconds": "1"}) == "QueueAlreadyExists"
    assert made(sqs, "again", DelaySeconds="0") == url
    assert sqs.get_queue_url(QueueName="again")["QueueUrl"] == url
    with pytest.raises(sqs.exceptions.QueueDoesNotExist) as caught:
        sqs.get_queue_url(QueueName="never")
    assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert refused(sqs.get_queue_url, QueueName="again", QueueOwnerAWSAccountId="111122223333").endswith(
        "NonExistentQueue"
    )


def test_attributes_are_checked_kept_and_shown(sqs: Any) -> None:
    url = made(sqs, "kept")
    shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert shown["SqsManagedSseEnabled"] == "true" and shown["MaximumMessageSize"] == "1048576"
    assert "FifoQueue" not in shown and "Policy" not in shown
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": "alias/aws/sqs", "DelaySeconds": "3"})
    shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (shown["KmsMasterKeyId"], shown["SqsManagedSseEnabled"]) == ("alias/aws/sqs", "false")
    assert shown["KmsDataKeyReusePeriodSeconds"] == "300" and shown["DelaySeconds"] == "3"
    for name, value in {
        "VisibilityTimeout": "43201", "DelaySeconds": "-1", "MessageRetentionPeriod": "59", "MaximumMessageSize": "1023",
        "ReceiveMessageWaitTimeSeconds": "21", "Policy": "{", "SqsManagedSseEnabled": "yes",
    }.items():  # fmt: skip
        assert refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={name: value}) == "InvalidAttributeValue", (
            name
        )
    for name in ("Nonsense", "QueueArn", "ContentBasedDeduplication"):
        assert refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={name: "true"}) == "InvalidAttributeName"
    assert refused(sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["Nonsense"]) == "InvalidAttributeName"
    both = {"KmsMasterKeyId": "x", "SqsManagedSseEnabled": "true"}
    assert refused(sqs.set_queue_attributes, QueueUrl=url, Attributes=both) == "InvalidAttributeValue"
    assert refused(sqs.create_queue, QueueName="bad name") == "InvalidParameterValue"
    assert refused(sqs.create_queue, QueueName="x.fifo") == "InvalidParameterValue"
    assert refused(sqs.create_queue, QueueName="x", Attributes={"FifoQueue": "true"}) == "InvalidParameterValue"
    assert refused(sqs.create_queue, QueueName="x", Attributes={"FifoQueue": "false"}) == "InvalidAttributeName"


def test_queues_are_listed_in_pages(sqs: Any) -> None:
    urls = [made(sqs, f"page-{at}") for at in range(5)]
    found, token = [], None
    while True:
        more = {"NextToken": token} if token else {}
        page = sqs.list_queues(QueueNamePrefix="page-", MaxResults=2, **more)
        found += page.get("QueueUrls", [])
        assert len(page["QueueUrls"]) <= 2
        token = page.get("NextToken")
        if not token:
            break
    assert found == urls
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix="page-no")
    assert refused(sqs.list_queues, MaxResults=0) == refused(sqs.list_queues, NextToken="é") == "InvalidParameterValue"


def test_tags(sqs: Any) -> None:
    url = sqs.create_queue(QueueName="tagged", tags={"a": "1"})["QueueUrl"]
    sqs.tag_queue(QueueUrl=url, Tags={"b": "2", "a": "3"})
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "3", "b": "2"}
    sqs.untag_queue(QueueUrl=url, TagKeys=["a", "never"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"b": "2"}
    assert refused(sqs.tag_queue, QueueUrl=url, Tags={f"k{at}": "" for at in range(51)}) == "InvalidParameterValue"


def test_a_deleted_queue_made_again_is_empty_and_knows_no_old_handles(sqs: Any) -> None:
    url = made(sqs, "phoenix")
    sqs.send_message(QueueUrl=url, MessageBody="old")
    handle = take(sqs, url)[0]["ReceiptHandle"]
    sqs.delete_queue(QueueUrl=url)
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="x") == "AWS.SimpleQueueService.NonExistentQueue"
    assert made(sqs, "phoenix") == url
    assert take(sqs, url) == [] and counts(sqs, url) == (0, 0, 0)
    assert refused(sqs.delete_message, QueueUrl=url, ReceiptHandle=handle) == "ReceiptHandleIsInvalid"


def test_a_purge_leaves_nothing_and_can_be_done_once_in_a_minute(sqs: Any) -> None:
    url = made(sqs, "purged")
    for at in range(12):
        sqs.send_message(QueueUrl=url, MessageBody=str(at), DelaySeconds=at % 3)
    handle = take(sqs, url, 1)[0]["ReceiptHandle"]
    sqs.purge_queue(QueueUrl=url)
    assert counts(sqs, url) == (0, 0, 0) and take(sqs, url, WaitTimeSeconds=3) == []
    sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
    code = refused(sqs.purge_queue, QueueUrl=url)
    assert code == "AWS.SimpleQueueService.PurgeQueueInProgress"
    sqs.send_message(QueueUrl=url, MessageBody="new")
    assert [one["Body"] for one in take(sqs, url)] == ["new"]


# -- messages


def test_a_message_comes_back_as_it_was_sent(sqs: Any) -> None:
    url = made(sqs, "whole")
    attributes = {
        "text": {"DataType": "String.name", "StringValue": "ü☃"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        "number": {"DataType": "Number", "StringValue": "-1.5e3"},
    }
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988"}}
    for body in ("\t\r\n \U0001f600<&>", "x" * 100_000):  # beside its row, too
        sent = sqs.send_message(
            QueueUrl=url, MessageBody=body, MessageAttributes=attributes, MessageSystemAttributes=trace
        )
        got = take(sqs, url, AttributeNames=["All"], MessageAttributeNames=["All"])[0]
        assert got["Body"] == body and got["MessageAttributes"] == attributes and got["MessageId"] == sent["MessageId"]
        assert got["MD5OfBody"] == sent["MD5OfMessageBody"]
        assert got["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
        assert got["Attributes"]["AWSTraceHeader"] == "Root=1-5759e988"
        assert got["Attributes"]["ApproximateReceiveCount"] == "1"
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"], VisibilityTimeout=0)
        again = take(
            sqs, url, MessageSystemAttributeNames=["ApproximateReceiveCount"], MessageAttributeNames=["te.*", "n"]
        )
        assert again[0]["Attributes"] == {"ApproximateReceiveCount": "2"}
        assert again[0]["MessageAttributes"] == {"text": attributes["text"]}
        sqs.delete_message(QueueUrl=url, ReceiptHandle=again[0]["ReceiptHandle"])
    assert counts(sqs, url) == (0, 0, 0)


def test_the_largest_message_is_taken_and_one_byte_more_is_not(sqs: Any) -> None:
    url = made(sqs, "large")
    sqs.send_message(QueueUrl=url, MessageBody="é" * (512 * 1024))
    assert len(take(sqs, url)[0]["Body"]) == 512 * 1024
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="x" * (1024 * 1024 + 1)) == "InvalidParameterValue"
    big = {"a": {"DataType": "String", "StringValue": "x" * 20}}
    full = {"QueueUrl": url, "MessageBody": "x" * (1024 * 1024 - 10), "MessageAttributes": big}
    assert refused(sqs.send_message, **full) == "InvalidParameterValue"
    small = made(sqs, "small", MaximumMessageSize="1024")
    assert refused(sqs.send_message, QueueUrl=small, MessageBody="x" * 1025) == "InvalidParameterValue"
    entries = [{"Id": str(at), "MessageBody": "x" * 600_000} for at in range(2)]
    code = refused(sqs.send_message_batch, QueueUrl=url, Entries=entries)
    assert code == "AWS.SimpleQueueService.BatchRequestTooLong"


def test_delays_hide_a_message_until_their_time(sqs: Any) -> None:
    url = made(sqs, "delayed", DelaySeconds="1")
    sqs.send_message(QueueUrl=url, MessageBody="queue's")
    sqs.send_message(QueueUrl=url, MessageBody="own", DelaySeconds=0)
    sqs.send_message(QueueUrl=url, MessageBody="late", DelaySeconds=900)
    assert [one["Body"] for one in take(sqs, url)] == ["own"]
    assert counts(sqs, url) == (0, 1, 2)
    began = time.monotonic()
    assert [one["Body"] for one in take(sqs, url, WaitTimeSeconds=5)] == ["queue's"]
    assert 0.5 < time.monotonic() - began < 4.5
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="x", DelaySeconds=901) == "InvalidParameterValue"


def test_batches_are_done_in_parts(sqs: Any) -> None:
    url = made(sqs, "batch")
    entries = [{"Id": "good", "MessageBody": "a"}, {"Id": "bad", "MessageBody": "b\x00"},
               {"Id": "late", "MessageBody": "c", "DelaySeconds": 901},
               {"Id": "list", "MessageBody": "d", "MessageAttributes": {"x": {"DataType": "Other", "StringValue": "1"}}},
               {"Id": "good-2", "MessageBody": "e"}]  # fmt: skip
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert [one["Id"] for one in answer["Successful"]] == ["good", "good-2"]
    assert {one["Id"]: one["Code"] for one in answer["Failed"]} == {
        "bad": "InvalidMessageContents", "late": "InvalidParameterValue", "list": "InvalidParameterValue",
    }  # fmt: skip
    got = take(sqs, url)
    changes = [{"Id": str(at), "ReceiptHandle": one["ReceiptHandle"], "VisibilityTimeout": 60 + 43_200 * at}
               for at, one in enumerate(got)]  # fmt: skip
    answer = sqs.change_message_visibility_batch(QueueUrl=url, Entries=changes)
    assert [one["Id"] for one in answer["Successful"]] == ["0"]
    assert [(one["Id"], one["Code"]) for one in answer["Failed"]] == [("1", "InvalidParameterValue")]
    handles = [*(one["ReceiptHandle"] for one in got), "nonsense"]
    answer = sqs.delete_message_batch(
        QueueUrl=url, Entries=[{"Id": str(at), "ReceiptHandle": handle} for at, handle in enumerate(handles)]
    )
    assert [one["Id"] for one in answer["Successful"]] == ["0", "1"]
    assert [(one["Id"], one["Code"]) for one in answer["Failed"]] == [("2", "ReceiptHandleIsInvalid")]


def test_batches_of_the_wrong_form_are_refused_as_a_whole(sqs: Any) -> None:
    url = made(sqs, "forms")

    def code(*ids: str) -> str:
        entries = [{"Id": one, "MessageBody": "x"} for one in ids]
        return refused(sqs.send_message_batch, QueueUrl=url, Entries=entries).removeprefix("AWS.SimpleQueueService.")

    assert code() == "EmptyBatchRequest"
    assert code("a", "a") == "BatchEntryIdsNotDistinct"
    assert code("a b") == code("x" * 81) == code("é") == "InvalidBatchEntryId"
    assert code(*map(str, range(11))) == "TooManyEntriesInBatchRequest"
    assert counts(sqs, url) == (0, 0, 0)


def test_visibility_ends_is_changed_and_has_a_limit(sqs: Any) -> None:
    url = made(sqs, "visibility", VisibilityTimeout="1")
    sqs.send_message(QueueUrl=url, MessageBody="x")
    first = take(sqs, url)[0]["ReceiptHandle"]
    assert take(sqs, url) == [] and counts(sqs, url) == (0, 1, 0)
    second = take(sqs, url, WaitTimeSeconds=5, VisibilityTimeout=100)[0]["ReceiptHandle"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first)  # is answered, and deletes nothing
    assert counts(sqs, url) == (0, 1, 0)
    change = {"QueueUrl": url, "VisibilityTimeout": 10}
    assert refused(sqs.change_message_visibility, ReceiptHandle=first, **change) == "InvalidParameterValue"
    beyond = {"QueueUrl": url, "ReceiptHandle": second, "VisibilityTimeout": 43_200}
    time.sleep(0.01)
    assert refused(sqs.change_message_visibility, **beyond) == "InvalidParameterValue"
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=second, VisibilityTimeout=0)
    assert refused(sqs.change_message_visibility, ReceiptHandle=second, **change).endswith("MessageNotInflight")
    sqs.delete_message(QueueUrl=url, ReceiptHandle=second)  # its time is over, but it is the latest
    assert counts(sqs, url) == (0, 0, 0) and take(sqs, url) == []
    sqs.delete_message(QueueUrl=url, ReceiptHandle=second)


def test_handles_of_other_queues_and_nonsense_are_refused(sqs: Any) -> None:
    one, other = made(sqs, "handles-1"), made(sqs, "handles-2")
    sqs.send_message(QueueUrl=one, MessageBody="x")
    handle = take(sqs, one)[0]["ReceiptHandle"]
    other_reception = base64.b64encode(base64.b64decode(handle)[:-16] + b"0" * 16).decode()
    wrong = [handle[:-4] + "AAAA", handle + "=", "", "x", "é", "A" * 2000, "YS5iLmMuZA==", "Li4u", handle.lower()]
    assert refused(sqs.delete_message, QueueUrl=other, ReceiptHandle=handle) == "ReceiptHandleIsInvalid"
    for nonsense in wrong:
        assert refused(sqs.delete_message, QueueUrl=one, ReceiptHandle=nonsense) == "ReceiptHandleIsInvalid", nonsense
        change = {"QueueUrl": one, "ReceiptHandle": nonsense, "VisibilityTimeout": 0}
        assert refused(sqs.change_message_visibility, **change) == "ReceiptHandleIsInvalid"
    sqs.delete_message(QueueUrl=one, ReceiptHandle=other_reception)
    assert counts(sqs, one) == (0, 1, 0)


@pytest.mark.parametrize("body", ["\x00", "a\x0bb", "\ufffe", "\x1f"])
def test_characters_that_xml_can_not_carry_are_refused(sqs: Any, body: str) -> None:
    url = made(sqs, "characters")
    assert refused(sqs.send_message, QueueUrl=url, MessageBody=body) == "InvalidMessageContents"


@pytest.mark.parametrize(
    "attributes",
    [
        {"x": {"DataType": "Number", "StringValue": "one"}},
        {"x": {"DataType": "Number", "StringValue": "nan"}},
        {"x": {"DataType": "String", "StringValue": ""}},
        {"x": {"DataType": "String", "BinaryValue": b"x"}},
        {"x": {"DataType": "Text", "StringValue": "x"}},
        {"AWS.x": {"DataType": "String", "StringValue": "x"}},
        {"a..b": {"DataType": "String", "StringValue": "x"}},
        {"x" * 257: {"DataType": "String", "StringValue": "x"}},
        {"x": {"DataType": "String", "StringValue": "x\x00"}},
        {"x": {"DataType": "String.\x01", "StringValue": "x"}},
        {"x": {"DataType": "Number.\uffff", "StringValue": "1"}},
        {"x": {"DataType": "String", "StringValue": "x", "StringListValues": ["y"]}},
        {f"x{at}": {"DataType": "String", "StringValue": "x"} for at in range(11)},
    ],
)
def test_message_attributes_of_the_wrong_form_are_refused(sqs: Any, attributes: dict[str, Any]) -> None:
    url = made(sqs, "characters")
    given = {"QueueUrl": url, "MessageBody": "x"}
    assert refused(sqs.send_message, MessageAttributes=attributes, **given) == "InvalidParameterValue"
    for name, value in (("Other", "x"), ("AWSTraceHeader", "Root=1\x01"), ("AWSTraceHeader", "Root=\ufffe")):
        system = {name: {"DataType": "String", "StringValue": value}}
        assert refused(sqs.send_message, MessageSystemAttributes=system, **given) == "InvalidParameterValue"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/000000000000/nobody", "AWS.SimpleQueueService.NonExistentQueue"),
        ("/111122223333/characters", "AWS.SimpleQueueService.NonExistentQueue"),
        ("/characters", "InvalidAddress"),
        ("/", "InvalidAddress"),
        ("/000000000000/a/b", "InvalidAddress"),
    ],
)
def test_urls_of_no_queue(server: ServerProcess, sqs: Any, path: str, code: str) -> None:
    made(sqs, "characters")
    assert refused(sqs.send_message, QueueUrl=server.url + path, MessageBody="x") == code
    elsewhere = "https://sqs.eu-west-1.amazonaws.com/000000000000/characters"
    with pytest.raises(ClientError) as caught:
        sqs.receive_message(QueueUrl=elsewhere)
    assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"


@pytest.mark.parametrize(
    "wrong",
    [{"MaxNumberOfMessages": 0}, {"MaxNumberOfMessages": 11}, {"WaitTimeSeconds": 21}, {"WaitTimeSeconds": -1},
     {"VisibilityTimeout": 43_201}, {"VisibilityTimeout": -1}, {"ReceiveRequestAttemptId": "a b"}],
)  # fmt: skip
def test_receiving_with_numbers_out_of_range(sqs: Any, wrong: dict[str, Any]) -> None:
    assert refused(sqs.receive_message, QueueUrl=made(sqs, "characters"), **wrong) == "InvalidParameterValue"


def test_a_queue_whose_key_can_not_be_used_takes_and_gives_nothing(server: ServerProcess, sqs: Any) -> None:
    kms = server.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    url = made(sqs, "encrypted", KmsMasterKeyId=key)
    given = {"QueueUrl": url, "MessageBody": "x"}
    sqs.send_message(**given)
    kms.disable_key(KeyId=key)
    assert refused(sqs.send_message, **given) == refused(sqs.receive_message, QueueUrl=url) == "KMS.DisabledException"
    kms.enable_key(KeyId=key)
    assert len(take(sqs, url)) == 1
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": "alias/nobody"})
    assert refused(sqs.send_message, **given) == "KMS.NotFoundException"
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": "alias/aws/sqs"})
    sqs.send_message(**given)


# -- who may


def test_permissions_become_statements_of_the_policy(server: ServerProcess, sqs: Any) -> None:
    url = made(sqs, "shared")
    given = {
        "QueueUrl": url,
        "Label": "them",
        "AWSAccountIds": ["111122223333"],
        "Actions": ["SendMessage", "ReceiveMessage"],
    }
    sqs.add_permission(**given)
    assert refused(sqs.add_permission, **given) == "InvalidParameterValue"
    policy = json.loads(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"])
    assert policy["Statement"] == [
        {"Sid": "them", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
         "Action": ["SQS:SendMessage", "SQS:ReceiveMessage"], "Resource": arn(sqs, url)},
    ]  # fmt: skip
    for wrong in ({"Label": "a b"}, {"AWSAccountIds": ["1"]}, {"Actions": ["CreateQueue"]}, {"Actions": ["Nonsense"]}):
        assert refused(sqs.add_permission, **(given | {"Label": "more"} | wrong)) == "InvalidParameterValue", wrong
    assert refused(sqs.remove_permission, QueueUrl=url, Label="nobody") == "InvalidParameterValue"
    sqs.remove_permission(QueueUrl=url, Label="them")
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])


def test_users_need_leave_for_each_operation(server: ServerProcess, sqs: Any) -> None:
    url = made(sqs, "guarded")
    iam = server.client("iam")
    iam.create_user(UserName="clerk")
    key = iam.create_access_key(UserName="clerk")["AccessKey"]
    clerk = server.client("sqs", (key["AccessKeyId"], key["SecretAccessKey"]))
    assert refused(clerk.send_message, QueueUrl=url, MessageBody="x") == "AccessDenied"
    statement = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:user/clerk"},
                 "Action": "sqs:SendMessage", "Resource": arn(sqs, url)}  # fmt: skip
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    clerk.send_message(QueueUrl=url, MessageBody="x")
    clerk.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "x"}])
    assert refused(clerk.receive_message, QueueUrl=url) == "AccessDenied"
    letters = made(sqs, "guarded-letters")
    made(sqs, "guarded-source", **redrive(arn(sqs, letters)))
    start = {"Effect": "Allow", "Action": "sqs:StartMessageMoveTask", "Resource": "*"}
    iam.put_user_policy(UserName="clerk", PolicyName="p",
                        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [start]}))  # fmt: skip
    assert refused(clerk.start_message_move_task, SourceArn=arn(sqs, letters)) == "AccessDenied"
    start["Action"] = ["sqs:StartMessageMoveTask", "sqs:ReceiveMessage", "sqs:DeleteMessage"]
    iam.put_user_policy(UserName="clerk", PolicyName="p",
                        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [start]}))  # fmt: skip
    assert (
        refused(clerk.start_message_move_task, SourceArn=arn(sqs, letters)) == "AccessDenied"
    )  # where they go back to
    start["Action"].append("sqs:SendMessage")
    iam.put_user_policy(UserName="clerk", PolicyName="p",
                        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [start]}))  # fmt: skip
    clerk.start_message_move_task(SourceArn=arn(sqs, letters))
