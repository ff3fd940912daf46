"""Counts uploads from the data stream. A record may come twice, so each is counted under its own id."""

import base64
import json
import os

import boto3

table = boto3.resource("dynamodb").Table(os.environ["COUNTS"])
client = table.meta.client


def handler(event, context):
    """A batch of the stream's records, in order."""
    for record in event["Records"]:
        upload = json.loads(base64.b64decode(record["kinesis"]["data"]))
        count(upload["id"], upload["bytes"])


def count(upload, size):
    """Add one upload to the total, once: its mark and the total change together or not at all."""
    mark = {
        "TableName": table.name,
        "Item": {"id": f"upload:{upload}"},
        "ConditionExpression": "attribute_not_exists(id)",
    }
    total = {
        "TableName": table.name,
        "Key": {"id": "total"},
        "UpdateExpression": "ADD uploads :one, #bytes :size",
        "ExpressionAttributeNames": {"#bytes": "bytes"},
        "ExpressionAttributeValues": {":one": 1, ":size": size},
    }
    try:
        client.transact_write_items(TransactItems=[{"Put": mark}, {"Update": total}])
    except client.exceptions.TransactionCanceledException as error:
        reasons = [reason.get("Code") for reason in error.response.get("CancellationReasons", [])]
        if "ConditionalCheckFailed" not in reasons:
            raise
