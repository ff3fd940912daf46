"""From an upload's acknowledgement to a client's WebSocket: bucket, topic, function, connection."""

from __future__ import annotations

import json
import os
import time

from websockets.sync.client import ClientConnection, connect

from bench.case import Made
from bench.cases.functions import role
from bench.load import Run, check
from bench.wire import Connection, Target

STACK = "bench-chain"
WARM = 5
NAME = "upload acknowledged to WebSocket"
CODE = """\
import json, os
from urllib.parse import unquote_plus
import boto3
made = {}
def handler(event, context):
    if "requestContext" in event:
        if event["requestContext"]["eventType"] == "MESSAGE":
            tell(event["requestContext"]["connectionId"], event["requestContext"]["connectionId"])
        return {"statusCode": 200}
    for record in event["Records"]:
        for change in json.loads(record["Sns"]["Message"]).get("Records", []):
            connection, name = unquote_plus(change["s3"]["object"]["key"]).split("/")
            tell(connection, name)
def tell(connection, text):
    if "client" not in made:
        made["client"] = boto3.client("apigatewaymanagementapi", endpoint_url="http" + os.environ["URL"][2:])
    made["client"].post_to_connection(ConnectionId=connection, Data=text.encode())
"""


def template(role_arn: str) -> str:
    """The chain, and an API whose clients are told their connection's name when they ask."""

    def ref(name: str) -> dict[str, str]:
        return {"Ref": name}

    publish = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sns:Publish",
               "Resource": ref("Topic")}  # fmt: skip
    uri = "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Function.Arn}/invocations"
    resources = {
        "Topic": ("SNS::Topic", {}),
        "TopicPolicy": ("SNS::TopicPolicy", {"Topics": [ref("Topic")], "PolicyDocument": {
            "Version": "2012-10-17", "Statement": [publish]}}),
        "Api": ("ApiGatewayV2::Api", {"Name": STACK, "ProtocolType": "WEBSOCKET",
                                      "RouteSelectionExpression": "$request.body.action"}),
        "Stage": ("ApiGatewayV2::Stage", {"ApiId": ref("Api"), "StageName": "live", "AutoDeploy": True}),
        "Integration": ("ApiGatewayV2::Integration", {
            "ApiId": ref("Api"), "IntegrationType": "AWS_PROXY", "IntegrationUri": {"Fn::Sub": uri}}),
        "Route": ("ApiGatewayV2::Route", {
            "ApiId": ref("Api"), "RouteKey": "$default", "Target": {"Fn::Sub": "integrations/${Integration}"}}),
        "Function": ("Lambda::Function", {
            "Handler": "index.handler", "Runtime": "python3.11", "Role": role_arn, "Timeout": 30, "MemorySize": 512,
            "Code": {"ZipFile": CODE},
            "Environment": {"Variables": {"URL": {"Fn::Sub": "${Api.ApiEndpoint}/live"}}}}),
        "Called": ("Lambda::Permission", {"Action": "lambda:InvokeFunction", "FunctionName": ref("Function"),
                                          "Principal": "apigateway.amazonaws.com"}),
        "Told": ("Lambda::Permission", {"Action": "lambda:InvokeFunction", "FunctionName": ref("Function"),
                                        "Principal": "sns.amazonaws.com", "SourceArn": ref("Topic")}),
        "Subscription": ("SNS::Subscription", {"TopicArn": ref("Topic"), "Protocol": "lambda",
                                               "Endpoint": {"Fn::GetAtt": ["Function", "Arn"]}}),
        "Bucket": ("S3::Bucket", {"NotificationConfiguration": {"TopicConfigurations": [
            {"Event": "s3:ObjectCreated:*", "Topic": ref("Topic")}]}}),
    }  # fmt: skip
    whole: dict[str, dict[str, object]] = {
        name: {"Type": f"AWS::{kind}", "Properties": made} for name, (kind, made) in resources.items()
    }
    whole["Bucket"]["DependsOn"] = "TopicPolicy"
    outputs = {"Url": {"Value": {"Fn::Sub": "${Api.ApiEndpoint}/live"}}, "Bucket": {"Value": ref("Bucket")}}
    return json.dumps({"Resources": whole, "Outputs": outputs})


def prepare(target: Target) -> Made:
    """Make the stack."""
    post = {"Effect": "Allow", "Action": "execute-api:ManageConnections", "Resource": "*"}
    role_arn = role(target, json.dumps({"Version": "2012-10-17", "Statement": [post]}))
    client = target.client("cloudformation")
    client.create_stack(StackName=STACK, TemplateBody=template(role_arn))
    ends = time.monotonic() + 60
    while (stack := client.describe_stacks(StackName=STACK)["Stacks"][0])["StackStatus"] == "CREATE_IN_PROGRESS":
        if time.monotonic() > ends:
            raise RuntimeError("the stack takes too long")
        time.sleep(0.1)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        events = client.describe_stack_events(StackName=STACK)["StackEvents"]
        raise RuntimeError([e.get("ResourceStatusReason") for e in events if "FAILED" in e["ResourceStatus"]])
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def measure(target: Target, made: Made, uploads: int) -> Run:
    """One upload after the other; the time from its acknowledgement until the socket's message is here."""
    run, connection = Run(), Connection(target.port, time.perf_counter)
    with connect(made["Url"], open_timeout=30, compression=None) as socket:
        socket.send(json.dumps({"action": "name"}))
        own = _told(socket)
        if own.startswith("{"):
            raise RuntimeError(f"the function did not give the connection's name: {own}")
        for number in range(-WARM, uploads):
            time.sleep(0.02)  # the function has answered, too, so that its worker is free
            name = f"{number}.bin"
            connection.send(target.wire("s3", "PUT", f"/{made['Bucket']}/{own}/{name}", os.urandom(1024)))
            answer, acknowledged = connection.receive()
            check(answer)
            while _told(socket) != name:
                pass  # a delivery made twice
            if number >= 0:
                run.latencies.append(time.perf_counter() - acknowledged)
    connection.close()
    return run


def _told(socket: ClientConnection) -> str:
    data = socket.recv(30)
    return data if isinstance(data, str) else data.decode()
