"""Open WebSockets. A browser can't send headers with one, so a signed-in page asks for a ticket first."""

import json
import os
import secrets
import time

import boto3
from botocore.exceptions import ClientError

sockets = boto3.resource("dynamodb").Table(os.environ["SOCKETS"])
TICKET_S = 60
SOCKET_S = 3 * 3600


def ticket(event, context):
    """POST /tickets -> {"ticket"}: lets one WebSocket connect within a minute."""
    token = secrets.token_urlsafe(24)
    sockets.put_item(Item={"id": f"ticket:{token}", "expires": int(time.time()) + TICKET_S})
    return {"statusCode": 201, "headers": {"content-type": "application/json"}, "body": json.dumps({"ticket": token})}


def handler(event, context):
    """$connect spends a ticket and remembers the connection; $disconnect forgets it."""
    context_of = event["requestContext"]
    connection = f"socket:{context_of['connectionId']}"
    if context_of["eventType"] == "DISCONNECT":
        sockets.delete_item(Key={"id": connection})
        return {"statusCode": 200}
    token = (event.get("queryStringParameters") or {}).get("ticket", "")
    if not spend(token):
        return {"statusCode": 401}
    sockets.put_item(Item={"id": connection, "expires": int(time.time()) + SOCKET_S})
    return {"statusCode": 200}


def spend(token):
    """True once for a ticket that has not expired."""
    try:
        sockets.delete_item(
            Key={"id": f"ticket:{token}"},
            ConditionExpression="expires > :now",
            ExpressionAttributeValues={":now": int(time.time())},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            return False
        raise
    return True
