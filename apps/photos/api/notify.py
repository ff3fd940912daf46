"""Tells every open WebSocket: at once that a file arrived, and again when its picture is ready."""

import json
import os
from urllib.parse import unquote_plus

import boto3

sockets = boto3.resource("dynamodb").Table(os.environ["SOCKETS"])
endpoint = "http" + os.environ["SOCKET_URL"].removeprefix("ws")
connections = boto3.client("apigatewaymanagementapi", endpoint_url=endpoint)


def handler(event, context):
    """Records of the topic (an upload) or of the rows' change stream (a picture)."""
    for news in (item for record in event["Records"] for item in told(record)):
        send(json.dumps(news).encode())


def told(record):
    """What a record means to the people who look at the page."""
    if record.get("EventSource") == "aws:sns":
        for change in json.loads(record["Sns"]["Message"]).get("Records", []):
            key = unquote_plus(change["s3"]["object"]["key"])
            yield {"type": "uploaded", "id": key.split("/")[2], "name": key.rsplit("/", 1)[1]}
    elif record["eventName"] != "REMOVE":
        yield {"type": "ready", "id": record["dynamodb"]["Keys"]["id"]["S"]}


def send(data):
    """Post to every connection; forget those that are gone."""
    scan = {"FilterExpression": "begins_with(id, :socket)", "ExpressionAttributeValues": {":socket": "socket:"}}
    while True:
        page = sockets.scan(**scan)
        for row in page["Items"]:
            try:
                connections.post_to_connection(ConnectionId=row["id"].removeprefix("socket:"), Data=data)
            except connections.exceptions.GoneException:
                sockets.delete_item(Key={"id": row["id"]})
        if "LastEvaluatedKey" not in page:
            return
        scan["ExclusiveStartKey"] = page["LastEvaluatedKey"]
