"""Each writes down what it saw, under the event's own id: seen twice is seen once."""

import base64
import json
from urllib.parse import unquote_plus

import calls


def react(event, context):
    """Messages of the topic: uploads, and what was published."""
    for record in event["Records"]:
        message = json.loads(record["Sns"]["Message"])
        for change in message.get("Records", ()):
            calls.mark("object:" + unquote_plus(change["s3"]["object"]["key"]))
        if "id" in message:
            calls.mark("message:" + message["id"])


def work(event, context):
    """Messages of a queue."""
    for record in event["Records"]:
        calls.mark("job:" + json.loads(record["body"])["id"])


def count(event, context):
    """Records of a data stream."""
    for record in event["Records"]:
        data = json.loads(base64.b64decode(record["kinesis"]["data"]))
        calls.mark(f"record:{data['id']}:{record['kinesis']['sequenceNumber']}")


def index(event, context):
    """Changes of a table."""
    lines = []
    for record in event["Records"]:
        row = record["dynamodb"]["NewImage"]
        lines.append({"index": {"_index": "rows", "_id": row["id"]["S"]}})
        lines.append({"number": int(row["number"]["N"])})
    calls.bulk(lines)
