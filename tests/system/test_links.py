"""Each link of the chain once, by official clients, against a server process and real endpoints outside of it."""

from __future__ import annotations

import base64
import hashlib
import html
import http.cookiejar
import io
import json
import re
import secrets
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import elasticsearch
import opensearchpy
import pytest
import websockets.sync.client
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from helpers.outside import Mailbox, Outside, delivering
from helpers.server import TRUST, ServerProcess, eventually

HANDLER = """
import json, os, urllib.request
def handler(event, context):
    told = json.dumps({"event": event, "id": context.aws_request_id}).encode()
    request = urllib.request.Request(os.environ["TELL"] + "/functions/" + context.function_name, told)
    urllib.request.urlopen(request, timeout=30).read()
    if "fail" in os.environ.get("HOW", ""): raise ValueError("no luck")
    route = (event.get("requestContext") or {}).get("routeKey")
    claims = ((event.get("requestContext") or {}).get("authorizer") or {}).get("jwt", {}).get("claims", {})
    return {"statusCode": 200, "body": json.dumps({"route": route, "sub": claims.get("sub")})}
"""
ALL = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
ACCOUNT = "000000000000"
TWILIO = "/2010-04-01/Accounts/AC123/Messages.json"


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:us-east-1:{ACCOUNT}:{resource}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, outside: Outside, mailbox: Mailbox) -> Iterator[ServerProcess]:
    with delivering(tmp_path_factory.mktemp("links"), outside, mailbox) as running:
        yield running


@pytest.fixture(scope="module")
def role(server: ServerProcess) -> str:
    made: str = server.client("iam").create_role(RoleName="runner", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    server.client("iam").put_role_policy(RoleName="runner", PolicyName="all", PolicyDocument=ALL)
    return made


def make_function(server: ServerProcess, role: str, outside: Outside, name: str, how: str = "") -> str:
    """A function that tells what it gets at ``/functions/NAME``; all services may call it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("main.py", HANDLER)
    client = server.client("lambda")
    made: str = client.create_function(
        FunctionName=name, Runtime="python3.11", Handler="main.handler", Role=role, Timeout=10,
        Code={"ZipFile": buffer.getvalue()}, Environment={"Variables": {"TELL": outside.url, "HOW": how}},
    )["FunctionArn"]  # fmt: skip
    for service in ("sns", "s3", "apigateway"):
        client.add_permission(
            FunctionName=name, StatementId=service, Action="lambda:InvokeFunction", Principal=f"{service}.amazonaws.com"
        )
    return made


def make_queue(server: ServerProcess, name: str, **attributes: str) -> tuple[str, str]:
    """URL and ARN; topics and buckets may send to it."""
    statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    url = server.client("sqs").create_queue(QueueName=name, Attributes={"Policy": policy, **attributes})["QueueUrl"]
    return url, arn("sqs", name)


def receive(server: ServerProcess, url: str, count: int = 1) -> list[dict[str, Any]]:
    """Messages, taken and deleted, once there are ``count``."""
    sqs, found = server.client("sqs"), []

    def enough() -> bool:
        answer = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageAttributeNames=["All"]
        )
        for message in answer.get("Messages", []):
            found.append(message)
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(found) >= count

    eventually(enough)
    return found


# -- topics


def verify(document: dict[str, Any]) -> None:
    """As a subscriber does (SNS Developer Guide, "Verifying the signatures of Amazon SNS messages")."""
    names = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    text = "".join(f"{name}\n{document[name]}\n" for name in names if name in document)
    with urllib.request.urlopen(document["SigningCertURL"], timeout=30) as answer:
        certificate = x509.load_pem_x509_certificate(answer.read())
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    algorithm = hashes.SHA256() if document["SignatureVersion"] == "2" else hashes.SHA1()
    key.verify(base64.b64decode(document["Signature"]), text.encode(), padding.PKCS1v15(), algorithm)


def test_a_topic_reaches_queue_function_webhook_mail_and_phone(
    server: ServerProcess, role: str, outside: Outside, mailbox: Mailbox
) -> None:
    sns = server.client("sns")
    topic = sns.create_topic(Name="news", Attributes={"SignatureVersion": "2"})["TopicArn"]
    url, queue = make_queue(server, "news")
    _, filtered = make_queue(server, "filtered")
    function = make_function(server, role, outside, "reader")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "false"})
    policy = json.dumps({"kind": ["urgent"], "level": [{"numeric": [">", 3]}]})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=filtered,
                  Attributes={"FilterPolicy": policy, "RawMessageDelivery": "true"})  # fmt: skip
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function)
    sns.subscribe(TopicArn=topic, Protocol="sms", Endpoint="+15552223333")
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=f"{outside.url}/hook")
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ada@example.com")
    asked = outside.wait("/hook")[0]
    assert asked["Type"] == "SubscriptionConfirmation"
    assert outside.got["/hook"][0][0]["x-amz-sns-message-type"] == "SubscriptionConfirmation"
    verify(asked)
    urllib.request.urlopen(asked["SubscribeURL"], timeout=30).read()
    _, text = mailbox.wait("ada@example.com")[0]
    link = html.unescape(re.search(r"http://\S+/_sluiceway/sns/confirm\?token=\S+", text)[0])  # type: ignore[index]
    token = urllib.parse.parse_qs(urllib.parse.urlsplit(link).query)["token"][0]
    urllib.request.urlopen(link.partition("?")[0], urllib.parse.urlencode({"token": token}).encode(), timeout=30).read()
    listed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert len(listed) == 6 and not [one for one in listed if "Pending" in one["SubscriptionArn"]]

    attributes = {
        "kind": {"DataType": "String", "StringValue": "urgent"},
        "level": {"DataType": "Number", "StringValue": "{}"},
    }
    for level in ("2", "5"):
        attributes["level"]["StringValue"] = level
        sns.publish(TopicArn=topic, Subject="Größe", Message=f"level {level} ☃", MessageAttributes=attributes)
    got = sorted(json.loads(message["Body"])["Message"] for message in receive(server, url, 2))
    assert got == ["level 2 ☃", "level 5 ☃"]
    only = receive(server, f"{server.url}/{ACCOUNT}/filtered")
    assert [message["Body"] for message in only] == ["level 5 ☃"]
    assert only[0]["MessageAttributes"]["kind"]["StringValue"] == "urgent"
    events = outside.wait("/functions/reader", 2)
    assert {one["event"]["Records"][0]["Sns"]["Message"] for one in events} == {"level 2 ☃", "level 5 ☃"}
    notices = outside.wait("/hook", 3)[1:]
    for notice in notices:
        assert notice["Type"] == "Notification" and notice["SignatureVersion"] == "2" and notice["Subject"] == "Größe"
        verify(notice)
    with pytest.raises(InvalidSignature):
        verify(notices[0] | {"Message": "another"})
    mails = mailbox.wait("ada@example.com", 3)[1:]
    assert {subject for subject, _ in mails} == {"Größe"} and any("level 5 ☃" in body for _, body in mails)
    eventually(lambda: len(outside.got.get(TWILIO, [])) >= 2)
    form = outside.forms(TWILIO)[0]
    assert form["To"] == "+15552223333" and form["From"] == "+15550001111" and form["Body"].startswith("level")
    basic = base64.b64encode(b"AC123:twilio-secret").decode()
    assert outside.got[TWILIO][0][0]["authorization"] == f"Basic {basic}"


def test_what_a_webhook_never_takes_goes_to_its_dead_letters(server: ServerProcess, outside: Outside) -> None:
    sns = server.client("sns")
    topic = sns.create_topic(Name="lost")["TopicArn"]
    url, dead = make_queue(server, "lost-letters")
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn("lambda", "function:nobody"),
                  Attributes={"RedrivePolicy": json.dumps({"deadLetterTargetArn": dead})})  # fmt: skip
    sns.publish(TopicArn=topic, Message="for nobody")
    assert "for nobody" in receive(server, url)[0]["Body"]


# -- buckets


def test_a_bucket_reaches_topic_queue_and_function(server: ServerProcess, role: str, outside: Outside) -> None:
    s3, sns = server.client("s3"), server.client("sns")
    s3.create_bucket(Bucket="photos")
    allow = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sns:Publish", "Resource": "*"}
    topic = sns.create_topic(
        Name="photos", Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [allow]})}
    )["TopicArn"]
    direct_url, direct = make_queue(server, "photos-direct")
    behind_url, behind = make_queue(server, "photos-behind")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=behind)
    function = make_function(server, role, outside, "photos")

    def rule(prefix: str) -> dict[str, Any]:
        return {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}}

    s3.put_bucket_notification_configuration(
        Bucket="photos",
        NotificationConfiguration={
            "TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"], "Filter": rule("t/")}],
            "QueueConfigurations": [{"QueueArn": direct, "Events": ["s3:ObjectCreated:Put"], "Filter": rule("q/")}],
            "LambdaFunctionConfigurations": [
                {"LambdaFunctionArn": function, "Events": ["s3:ObjectRemoved:*"], "Filter": rule("f/")}
            ],
        },
    )  # fmt: skip
    for key in ("t/ü 1", "q/ü 1", "f/ü 1"):
        s3.put_object(Bucket="photos", Key=key, Body=b"picture")
    s3.delete_object(Bucket="photos", Key="f/ü 1")

    def key_of(document: dict[str, Any]) -> tuple[str, str]:
        record = next(one for one in document["Records"])
        return record["eventName"], urllib.parse.unquote_plus(record["s3"]["object"]["key"])

    tests = lambda messages: [body for body in messages if "s3:TestEvent" not in json.dumps(body)]  # noqa: E731
    first = tests([json.loads(message["Body"]) for message in receive(server, direct_url, 2)])
    assert [key_of(body) for body in first] == [("ObjectCreated:Put", "q/ü 1")]
    second = tests([json.loads(json.loads(message["Body"])["Message"]) for message in receive(server, behind_url, 2)])
    assert [key_of(body) for body in second] == [("ObjectCreated:Put", "t/ü 1")]
    event = outside.wait("/functions/photos")[0]["event"]
    assert key_of(event) == ("ObjectRemoved:Delete", "f/ü 1")


# -- event source mappings


def map_source(server: ServerProcess, function: str, source: str, **more: Any) -> None:
    client = server.client("lambda")
    made = client.create_event_source_mapping(FunctionName=function, EventSourceArn=source, **more)
    eventually(lambda: client.get_event_source_mapping(UUID=made["UUID"])["State"] == "Enabled")


def records_of(outside: Outside, function: str, count: int) -> list[dict[str, Any]]:
    def found() -> list[dict[str, Any]]:
        return [record for one in outside.bodies(f"/functions/{function}") for record in one["event"]["Records"]]

    eventually(lambda: len(found()) >= count)
    return found()


def test_a_queue_feeds_a_function_and_what_fails_goes_to_the_dead_letters(
    server: ServerProcess, role: str, outside: Outside
) -> None:
    dead_url, dead = make_queue(server, "work-dead")
    redrive = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 2})
    url, queue = make_queue(server, "work", VisibilityTimeout="10", RedrivePolicy=redrive)
    make_function(server, role, outside, "worker")
    map_source(server, "worker", queue, BatchSize=5)
    for number in range(10):
        server.client("sqs").send_message(QueueUrl=url, MessageBody=str(number))
    records = records_of(outside, "worker", 10)
    assert {record["body"] for record in records} == {str(number) for number in range(10)}
    assert {record["eventSourceARN"] for record in records} == {queue}
    bad_url, bad = make_queue(server, "bad-work", VisibilityTimeout="1", RedrivePolicy=redrive)
    make_function(server, role, outside, "clumsy", "fail")
    map_source(server, "clumsy", bad, BatchSize=1)
    server.client("sqs").send_message(QueueUrl=bad_url, MessageBody="never done")
    assert receive(server, dead_url)[0]["Body"] == "never done"
    assert len(records_of(outside, "clumsy", 2)) == 2
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    for one in (url, bad_url):
        eventually(lambda one=one: set(server.client("sqs").get_queue_attributes(
            QueueUrl=one, AttributeNames=counts)["Attributes"].values()) == {"0"})  # fmt: skip


def test_a_message_received_too_often_goes_to_the_dead_letters(server: ServerProcess) -> None:
    dead_url, dead = make_queue(server, "often-dead")
    redrive = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 2})
    url, _ = make_queue(server, "often", VisibilityTimeout="0", RedrivePolicy=redrive)
    sqs = server.client("sqs")
    sent = sqs.send_message(QueueUrl=url, MessageBody="again")["MessageId"]
    for _ in range(2):
        assert sqs.receive_message(QueueUrl=url)["Messages"][0]["MessageId"] == sent
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    assert receive(server, dead_url)[0]["MessageId"] == sent
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead_url)["queueUrls"]


def test_a_table_and_a_data_stream_feed_functions(server: ServerProcess, role: str, outside: Outside) -> None:
    dynamodb, kinesis = server.client("dynamodb"), server.client("kinesis")
    stream = dynamodb.create_table(
        TableName="items", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}], BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )["TableDescription"]["LatestStreamArn"]  # fmt: skip
    kinesis.create_stream(StreamName="clicks", ShardCount=2)
    clicks = kinesis.describe_stream_summary(StreamName="clicks")["StreamDescriptionSummary"]["StreamARN"]
    for name, source in (("changes", stream), ("clicks", clicks)):
        make_function(server, role, outside, name)
        map_source(server, name, source, StartingPosition="TRIM_HORIZON", BatchSize=10)
    dynamodb.put_item(TableName="items", Item={"id": {"S": "a"}, "n": {"N": "1"}})
    dynamodb.update_item(TableName="items", Key={"id": {"S": "a"}}, UpdateExpression="ADD n :one",
                         ExpressionAttributeValues={":one": {"N": "1"}})  # fmt: skip
    dynamodb.delete_item(TableName="items", Key={"id": {"S": "a"}})
    for number in range(6):
        kinesis.put_record(StreamName="clicks", Data=f"click {number}".encode(), PartitionKey=str(number))
    changes = records_of(outside, "changes", 3)
    assert [record["eventName"] for record in changes] == ["INSERT", "MODIFY", "REMOVE"]
    assert changes[1]["dynamodb"]["OldImage"]["n"] == {"N": "1"} and changes[1]["dynamodb"]["NewImage"]["n"] == {
        "N": "2"
    }
    got = {base64.b64decode(record["kinesis"]["data"]).decode() for record in records_of(outside, "clicks", 6)}
    assert got == {f"click {number}" for number in range(6)}


# -- functions


def test_failed_invocations_go_to_the_dead_letters_and_the_destination(
    server: ServerProcess, role: str, outside: Outside
) -> None:
    client = server.client("lambda")
    letters_url, letters = make_queue(server, "letters")
    outcomes_url, outcomes = make_queue(server, "outcomes")
    make_function(server, role, outside, "failing", "fail")
    client.update_function_configuration(FunctionName="failing", DeadLetterConfig={"TargetArn": letters})
    client.put_function_event_invoke_config(
        FunctionName="failing", MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": outcomes}}
    )
    asked = client.invoke(FunctionName="failing", InvocationType="Event", Payload=b'{"order": 7}')
    letter, outcome = receive(server, letters_url)[0], json.loads(receive(server, outcomes_url)[0]["Body"])
    assert json.loads(letter["Body"]) == {"order": 7}
    assert letter["MessageAttributes"]["RequestID"]["StringValue"] == asked["ResponseMetadata"]["RequestId"]
    assert outcome["requestContext"]["condition"] == "RetriesExhausted" and outcome["requestPayload"] == {"order": 7}
    assert outcome["responsePayload"]["errorMessage"] == "no luck"


# -- APIs


class Browser:
    """Cookies, and no redirects."""

    def __init__(self) -> None:
        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_: Any) -> None:
                return None

        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies, Stay())

    def open(self, url: str, form: dict[str, str] | None = None) -> tuple[int, str, str]:
        """Status, text, and where it leads to."""
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        try:
            answer = self._opener.open(url, data, timeout=10)
        except urllib.error.HTTPError as error:
            answer = error
        return answer.status or 0, answer.read().decode(), answer.headers.get("location", "")


def sign_in(server: ServerProcess) -> str:
    """An access token of the embedded issuer, by authorization code with PKCE (RFC 7636)."""
    issuer, browser, verifier = f"{server.url}/_sluiceway/issuer", Browser(), secrets.token_urlsafe(40)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    callback = "http://localhost:3000/callback"
    asked = {"client_id": "sluiceway", "redirect_uri": callback, "response_type": "code", "scope": "openid email", "state": "s",
             "code_challenge": challenge, "code_challenge_method": "S256", "prompt": "create"}  # fmt: skip
    _, page, _ = browser.open(f"{issuer}/authorize?{urllib.parse.urlencode(asked)}")
    action = html.unescape(re.search(r'action="([^"]+)"', page)[1])  # type: ignore[index]
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    entered = {"email": "ada@example.com", "name": "Ada", "password": "correct horse battery"}
    status, page, location = browser.open(server.url + action, {**hidden, **entered})
    assert status == 303, page
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(location).query)["code"][0]
    form = {"grant_type": "authorization_code", "client_id": "sluiceway", "redirect_uri": callback, "code": code,
            "code_verifier": verifier}  # fmt: skip
    status, text, _ = browser.open(f"{issuer}/token", form)
    assert status == 200, text
    token: str = json.loads(text)["access_token"]
    return token


def call_api(url: str, token: str = "") -> tuple[int, Any]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_tokens_of_the_own_and_of_a_foreign_issuer_open_an_api(
    server: ServerProcess, role: str, outside: Outside
) -> None:
    function = make_function(server, role, outside, "api")
    client = server.client("apigatewayv2")
    made = client.create_api(Name="api", ProtocolType="HTTP")
    api = {"ApiId": made["ApiId"]}
    integration = client.create_integration(
        **api, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    for name, issuer in (("own", f"{server.url}/_sluiceway/issuer"), ("foreign", outside.url)):
        authorizer = client.create_authorizer(
            **api, Name=name, AuthorizerType="JWT", IdentitySource=["$request.header.Authorization"],
            JwtConfiguration={"Issuer": issuer, "Audience": ["sluiceway", "app"]},
        )["AuthorizerId"]  # fmt: skip
        client.create_route(
            **api,
            RouteKey=f"GET /{name}",
            Target=f"integrations/{integration}",
            AuthorizationType="JWT",
            AuthorizerId=authorizer,
        )
    client.create_stage(**api, StageName="$default", AutoDeploy=True)
    base = f"{server.url}/_api/{made['ApiId']}"
    own, foreign = sign_in(server), outside.token()
    status, body = call_api(f"{base}/own", own)
    assert status == 200 and body["route"] == "GET /own" and body["sub"]
    assert call_api(f"{base}/foreign", foreign) == (200, {"route": "GET /foreign", "sub": "ada"})
    refused = (401, {"message": "Unauthorized"})
    assert call_api(f"{base}/own", foreign) == refused and call_api(f"{base}/foreign", own) == refused
    assert call_api(f"{base}/own") == refused
    assert call_api(f"{base}/foreign", outside.token(exp=1)) == refused
    assert call_api(f"{base}/foreign", outside.token(aud="another")) == refused


def test_a_websocket_api_calls_a_function_and_is_written_to(server: ServerProcess, role: str, outside: Outside) -> None:
    function = make_function(server, role, outside, "sockets")
    client = server.client("apigatewayv2")
    made = client.create_api(Name="chat", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action")
    api = {"ApiId": made["ApiId"]}
    integration = client.create_integration(**api, IntegrationType="AWS_PROXY", IntegrationUri=function)[
        "IntegrationId"
    ]
    for key in ("$connect", "$disconnect", "say"):
        client.create_route(**api, RouteKey=key, Target=f"integrations/{integration}")
    client.create_stage(**api, StageName="live", AutoDeploy=True)
    with websockets.sync.client.connect(f"{made['ApiEndpoint']}/live?room=1") as socket:
        socket.send(json.dumps({"action": "say", "words": "hello"}))
        events = [one["event"] for one in outside.wait("/functions/sockets", 2)]
        contexts = [event["requestContext"] for event in events]
        assert [context["routeKey"] for context in contexts] == ["$connect", "say"]
        assert events[0]["queryStringParameters"] == {"room": "1"} and json.loads(events[1]["body"])["words"] == "hello"
        connection = contexts[0]["connectionId"]
        endpoint = f"{made['ApiEndpoint'].replace('ws:', 'http:')}/live"
        management = boto(server, "apigatewaymanagementapi", endpoint)
        management.post_to_connection(ConnectionId=connection, Data="größer ☃".encode())
        assert socket.recv(timeout=30) == "größer ☃"
        assert management.get_connection(ConnectionId=connection)["Identity"]["SourceIp"] == "127.0.0.1"
    gone = outside.wait("/functions/sockets", 3)[2]["event"]["requestContext"]
    assert gone["routeKey"] == "$disconnect" and gone["connectionId"] == connection
    with pytest.raises(management.exceptions.GoneException):
        management.post_to_connection(ConnectionId=connection, Data=b"x")


def boto(server: ServerProcess, service: str, endpoint: str) -> Any:
    import boto3

    return boto3.client(
        service, endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=server.key[0],
        aws_secret_access_key=server.key[1],
    )  # fmt: skip


# -- search


def test_elasticsearchs_client(server: ServerProcess) -> None:
    client = elasticsearch.Elasticsearch(f"{server.url}/_es", basic_auth=server.key)
    client.indices.create(
        index="books", mappings={"properties": {"title": {"type": "text"}, "year": {"type": "integer"}}}
    )
    client.index(index="books", id="1", document={"title": "The Cat in the Hat", "year": 1957}, refresh="wait_for")
    operations = [{"index": {"_id": "2"}}, {"title": "Green Eggs", "year": 1960}]
    assert client.bulk(index="books", operations=operations, refresh=True)["errors"] is False
    found = client.search(index="books", query={"match": {"title": "cat"}}, aggs={"latest": {"max": {"field": "year"}}})
    assert [hit["_id"] for hit in found["hits"]["hits"]] == ["1"]
    with pytest.raises(elasticsearch.NotFoundError):
        client.get(index="books", id="nobody")
    with pytest.raises(elasticsearch.AuthenticationException):
        elasticsearch.Elasticsearch(f"{server.url}/_es", basic_auth=(server.key[0], "wrong")).info()
    client.close()


def test_opensearchs_client_with_signatures(server: ServerProcess) -> None:
    import boto3

    session = boto3.Session(aws_access_key_id=server.key[0], aws_secret_access_key=server.key[1])
    auth = opensearchpy.RequestsAWSV4SignerAuth(session.get_credentials(), "us-east-1", "es")
    client = opensearchpy.OpenSearch(
        f"{server.url}/_es", http_auth=auth, connection_class=opensearchpy.RequestsHttpConnection
    )
    client.index(index="films", id="1", body={"name": "Metropolis", "year": 1927}, refresh="true")
    found = client.search(index="films", body={"query": {"range": {"year": {"lt": 1930}}}})
    assert found["hits"]["hits"][0]["_source"]["name"] == "Metropolis"
    client.close()


# -- secrets


def test_secrets_are_not_readable_on_disk_and_survive_a_restart(own_server: ServerProcess) -> None:
    own_server.start()
    words = {
        kind: f"{kind}-hidden-{secrets.token_hex(12)}" for kind in ("secret", "binary", "parameter", "key", "variable")
    }
    manager, ssm, kms = (own_server.client(name) for name in ("secretsmanager", "ssm", "kms"))
    manager.create_secret(Name="text", SecretString=words["secret"])
    manager.create_secret(Name="bytes", SecretBinary=words["binary"].encode())
    manager.put_secret_value(SecretId="text", SecretString=words["secret"] + "-2")
    ssm.put_parameter(Name="/app/password", Value=words["parameter"], Type="SecureString")
    ssm.put_parameter(Name="/app/plain", Value="plain-and-readable", Type="String")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    sealed = kms.encrypt(KeyId=key, Plaintext=words["key"].encode())["CiphertextBlob"]
    own_server.client("iam").create_user(UserName="guest")
    access = own_server.client("iam").create_access_key(UserName="guest")["AccessKey"]
    hidden = [words["secret"], words["binary"], words["parameter"], words["key"], access["SecretAccessKey"]]

    def check_disk() -> None:
        files = [file for file in own_server.data.rglob("*") if file.is_file()]
        assert any(b"plain-and-readable" in file.read_bytes() for file in files)
        for file in files:
            assert_hidden(file, hidden)

    check_disk()
    own_server.stop()
    check_disk()
    own_server.start()
    manager, ssm, kms = (own_server.client(name) for name in ("secretsmanager", "ssm", "kms"))
    assert manager.get_secret_value(SecretId="text")["SecretString"] == words["secret"] + "-2"
    assert manager.get_secret_value(SecretId="text", VersionStage="AWSPREVIOUS")["SecretString"] == words["secret"]
    assert manager.get_secret_value(SecretId="bytes")["SecretBinary"] == words["binary"].encode()
    assert ssm.get_parameter(Name="/app/password", WithDecryption=True)["Parameter"]["Value"] == words["parameter"]
    assert words["parameter"] not in ssm.get_parameter(Name="/app/password")["Parameter"]["Value"]
    assert kms.decrypt(CiphertextBlob=sealed)["Plaintext"] == words["key"].encode()
    guest = own_server.client("sts", (access["AccessKeyId"], access["SecretAccessKey"]))
    assert guest.get_caller_identity()["Arn"].endswith("user/guest")
    assert not [line for line in own_server.lines if any(word in line for word in hidden)]
    with pytest.raises(ClientError, match="AccessDenied"):
        own_server.client("secretsmanager", (access["AccessKeyId"], access["SecretAccessKey"])).get_secret_value(
            SecretId="text"
        )


def assert_hidden(file: Path, words: list[str]) -> None:
    content = file.read_bytes()
    for word in words:
        forms = (
            word.encode(),
            base64.b64encode(word.encode())[4:-4],
            word.encode().hex().encode(),
            word.encode("utf-16-le"),
        )
        assert not any(form in content for form in forms), f"{word.partition('-')[0]} is readable in {file}"
