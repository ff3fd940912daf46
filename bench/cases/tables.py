"""Items."""

from __future__ import annotations

import json

from botocore.exceptions import ClientError

from bench.case import Case, Made, repeat
from bench.load import Script
from bench.wire import Target

TABLE = "bench"
KEYS = 64
TARGET = "DynamoDB_20120810"


def item(key: str, text: str = "x") -> dict[str, object]:
    """About 1 KB, mostly ``text``."""
    return {
        "id": {"S": key},
        "n": {"N": "1234.5"},
        "tags": {"L": [{"S": "one"}, {"S": "two"}]},
        "about": {"M": {"name": {"S": "somebody"}, "old": {"BOOL": False}}},
        "text": {"S": text * 850},
    }


class PutItem(Case):
    name = "PutItem 1 KB"

    def prepare(self, target: Target) -> Made:
        client = target.client("dynamodb")
        try:
            client.create_table(
                TableName=TABLE, BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            )  # fmt: skip
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceInUseException":
                raise
        client.get_waiter("table_exists").wait(TableName=TABLE)
        client.put_item(TableName=TABLE, Item=item("read"))
        return {}

    def script(self, target: Target, made: Made, worker: int) -> Script:
        # Each item differs from the one that it replaces, as a put that changes nothing need not be written.
        items = [item(f"{worker}/{n}", text) for text in "xy" for n in range(KEYS)]
        bodies = [json.dumps({"TableName": TABLE, "Item": one}).encode() for one in items]
        return repeat([target.json("dynamodb", f"{TARGET}.PutItem", body) for body in bodies])


class GetItem(PutItem):
    name = "GetItem 1 KB"

    def script(self, target: Target, made: Made, worker: int) -> Script:
        body = json.dumps({"TableName": TABLE, "Key": {"id": {"S": "read"}}}).encode()
        return repeat([target.json("dynamodb", f"{TARGET}.GetItem", body)])
