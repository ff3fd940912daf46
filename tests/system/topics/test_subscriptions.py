"""Subscriptions of every kind, from their beginning to their end."""

from __future__ import annotations

import base64
import io
import json
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from helpers.outside import Mailbox, Outside
from helpers.server import TRUST, ServerProcess, eventually
from helpers.topics import ACCOUNT, queue_of, received, refused, topic_of


def fetch(url: str, form: dict[str, str] | None = None) -> tuple[int, bytes]:
    data = urllib.parse.urlencode(form).encode() if form is not None else None
    try:
        with urllib.request.urlopen(url, data, timeout=10) as answer:
            return int(answer.status), bytes(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read()


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


@pytest.mark.parametrize(("region", "account"), [("eu-west-1", ACCOUNT), ("us-east-1", "123456789012")])
def test_a_subscription_of_another_region_or_account_is_none_of_ours(
    sns: Any, server: ServerProcess, region: str, account: str
) -> None:
    """Even if ours has the same topic's name and id."""
    arn = topic_of(sns, "ours")
    queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:ours"
    made = sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue)["SubscriptionArn"]
    theirs = made.replace(f"us-east-1:{ACCOUNT}", f"{region}:{account}")
    raw = {"AttributeName": "RawMessageDelivery", "AttributeValue": "true"}
    for call, more in ((sns.get_subscription_attributes, {}), (sns.set_subscription_attributes, raw)):
        assert refused(call, SubscriptionArn=theirs, **more)[:2] == ("NotFound", 404)
    assert refused(sns.unsubscribe, SubscriptionArn=theirs)[:2] == ("NotFound", 404)
    query = urllib.parse.urlencode({"Action": "Unsubscribe", "SubscriptionArn": theirs, "Version": "2010-03-31"})
    assert fetch(f"{server.url}/?{query}")[0] == 404
    assert fetch(f"{server.url}/_sluiceway/sns/unsubscribe", {"subscription": theirs})[0] == 400
    assert sns.get_subscription_attributes(SubscriptionArn=made)["Attributes"]["RawMessageDelivery"] == "false"


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
