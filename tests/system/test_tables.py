"""Tables by boto3 against a real server."""

from __future__ import annotations

import random
import threading
import uuid
from decimal import Decimal
from typing import Any

import boto3
import pytest
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError
from helpers.server import ServerProcess, eventually


@pytest.fixture(scope="module")
def db(server: ServerProcess) -> Any:
    access_key_id, secret = server.key
    return boto3.resource(
        "dynamodb",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret,
    )


def make(db: Any, sort: str = "", stream: str = "", indexes: Any = (), types: Any = ()) -> Any:
    name = f"t-{uuid.uuid4().hex[:8]}"
    schema = [{"AttributeName": "id", "KeyType": "HASH"}]
    attributes = {"id": "S", **dict(types)}
    if sort:
        schema.append({"AttributeName": "at", "KeyType": "RANGE"})
        attributes["at"] = sort
    more: dict[str, Any] = {}
    if stream:
        more["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": stream}
    if indexes:
        more["GlobalSecondaryIndexes"] = list(indexes)
    return db.create_table(
        TableName=name,
        KeySchema=schema,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in attributes.items()],
        **more,
    )


def test_all_types_come_back_as_they_went(db: Any) -> None:
    table = make(db)
    item = {
        "id": "größe ☃ 😀",
        "n": Decimal("-12345678901234567890.123456789012345678"),
        "small": Decimal("1E-130"),
        "b": b"\x00\xff",
        "t": True,
        "nothing": None,
        "l": [Decimal(1), "zwei", {"drei": [b"3"]}],
        "m": {"": "empty name is fine inside", "deep": {"er": Decimal("0")}},
        "ss": {"a", "b"},
        "ns": {Decimal(1), Decimal("2.5")},
        "bs": {b"x", b"y"},
        "empty": "",
    }
    table.put_item(Item=item)
    found = table.get_item(Key={"id": item["id"]})["Item"]
    for name in ("b",):
        found[name] = bytes(found[name].value)
    found["l"][2]["drei"] = [bytes(one.value) for one in found["l"][2]["drei"]]
    found["bs"] = {bytes(one.value) for one in found["bs"]}
    assert found == item


def test_conditions_protect_writes(db: Any) -> None:
    table = make(db)
    table.put_item(Item={"id": "a", "n": 1}, ConditionExpression="attribute_not_exists(id)")
    with pytest.raises(ClientError) as refused:
        table.put_item(
            Item={"id": "a", "n": 2},
            ConditionExpression=Attr("n").gt(5) | Attr("x").exists(),
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    assert refused.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert refused.value.response["Item"] == {"id": {"S": "a"}, "n": {"N": "1"}}
    table.delete_item(Key={"id": "a"}, ConditionExpression=Attr("n").between(1, 3) & Attr("id").begins_with("a"))
    assert "Item" not in table.get_item(Key={"id": "a"})


def test_updates(db: Any) -> None:
    table = make(db)
    answer = table.update_item(
        Key={"id": "a"},
        UpdateExpression="SET #n = if_not_exists(#n, :zero) + :one, l = list_append(:l, :l), m = :m ADD s :s, c :one",
        ExpressionAttributeNames={"#n": "name"},
        ExpressionAttributeValues={":zero": 0, ":one": 1, ":l": [1, 2], ":m": {"x": {"y": 1}}, ":s": {"p", "q"}},
        ReturnValues="ALL_NEW",
    )
    assert answer["Attributes"] == {
        "id": "a",
        "name": 1,
        "l": [1, 2, 1, 2],
        "m": {"x": {"y": 1}},
        "s": {"p", "q"},
        "c": 1,
    }
    answer = table.update_item(
        Key={"id": "a"},
        UpdateExpression="REMOVE l[0], l[2], m.x.y DELETE s :p SET m.z = m.x.y, l[9] = :new",
        ExpressionAttributeValues={":p": {"p"}, ":new": "end"},
        ReturnValues="UPDATED_NEW",
    )
    assert answer["Attributes"] == {"l": [2, 2, "end"], "m": {"x": {}, "z": 1}, "s": {"q"}}
    for expression, values, words in (
        ("SET id = :x", {":x": "b"}, "part of the key"),
        ("SET a = :x, a.b = :x", {":x": 1}, "overlap"),
        ("SET a.b = :x", {":x": 1}, "document path"),
        ("SET a = b + :x", {":x": 1}, "does not exist"),
        ("SET a = :x SET b = :x", {":x": 1}, "only be used once"),
        ("SET a = :x", {":x": 1, ":y": 2}, "unused"),
        ("SET a = :x", {}, "not defined"),
        ("MAKE a = :x", {":x": 1}, "Syntax error"),
        ("ADD c :x", {":x": "text"}, "Incorrect operand type"),
    ):
        given = {"ExpressionAttributeValues": values} if values else {}
        with pytest.raises(ClientError, match=words) as refused:
            table.update_item(Key={"id": "a"}, UpdateExpression=expression, **given)
        assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_queries_are_in_the_order_of_their_sort_key(db: Any) -> None:
    table = make(db, sort="N")
    numbers = [
        Decimal(text) for text in ("-1E+20", "-3.5", "-3.4", "-1E-9", "0", "1E-9", "1", "1.5", "10", "9", "99", "1E+30")
    ]
    with table.batch_writer() as batch:
        for number in random.Random(3).sample(numbers, len(numbers)):
            batch.put_item(Item={"id": "a", "at": number})
            batch.put_item(Item={"id": "b", "at": number})
    found = [item["at"] for item in table.query(KeyConditionExpression=Key("id").eq("a"))["Items"]]
    assert found == sorted(numbers)
    backwards = table.query(KeyConditionExpression=Key("id").eq("a"), ScanIndexForward=False)["Items"]
    assert [item["at"] for item in backwards] == sorted(numbers, reverse=True)
    for condition, wanted in (
        (Key("at").lt(1), [n for n in numbers if n < 1]),
        (Key("at").lte(1), [n for n in numbers if n <= 1]),
        (Key("at").gt(-3), [n for n in numbers if n > -3]),
        (Key("at").gte(Decimal("-3.4")), [n for n in numbers if n >= Decimal("-3.4")]),
        (Key("at").between(0, 10), [n for n in numbers if 0 <= n <= 10]),
        (Key("at").eq(9), [Decimal(9)]),
    ):
        items = table.query(KeyConditionExpression=Key("id").eq("a") & condition)["Items"]
        assert [item["at"] for item in items] == sorted(wanted)


def test_pages_cover_everything_once(db: Any) -> None:
    table = make(db, sort="S")
    keys = [f"{'x' * (n % 7)}é{n:03}" for n in range(137)]
    with table.batch_writer() as batch:
        for key in keys:
            batch.put_item(Item={"id": "p", "at": key, "even": int(key[-3:]) % 2 == 0})
    for forward in (True, False):
        seen: list[str] = []
        more: dict[str, Any] = {}
        while True:
            page = table.query(
                KeyConditionExpression=Key("id").eq("p"), Limit=10, ScanIndexForward=forward,
                FilterExpression=Attr("even").eq(True), **more,
            )  # fmt: skip
            seen += [item["at"] for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                break
            more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        wanted = sorted((key for key in keys if int(key[-3:]) % 2 == 0), reverse=not forward)
        assert seen == wanted
    begins = table.query(KeyConditionExpression=Key("id").eq("p") & Key("at").begins_with("xxé"))["Items"]
    assert [item["at"] for item in begins] == sorted(key for key in keys if key.startswith("xxé"))
    segments = [table.scan(Segment=n, TotalSegments=4)["Items"] for n in range(4)]
    assert sorted(item["at"] for items in segments for item in items) == sorted(keys)


def test_a_page_ends_at_a_megabyte(db: Any) -> None:
    table = make(db, sort="N")
    for number in range(8):
        table.put_item(Item={"id": "big", "at": number, "data": "x" * 300_000})
    first = table.query(KeyConditionExpression=Key("id").eq("big"))
    assert first["Count"] == 4 and first["LastEvaluatedKey"] == {"id": "big", "at": 3}


INDEX = {
    "IndexName": "by-group",
    "KeySchema": [{"AttributeName": "group", "KeyType": "HASH"}, {"AttributeName": "score", "KeyType": "RANGE"}],
    "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["name"]},
}


def test_indexes_follow_their_table_through_random_changes(db: Any) -> None:
    table = make(db, indexes=[INDEX], types={"group": "S", "score": "N"})
    chance, model = random.Random(11), {}
    for _ in range(400):
        key = f"k{chance.randrange(40)}"
        what = chance.random()
        if what < 0.6:
            item: dict[str, Any] = {"id": key, "name": f"n{chance.randrange(9)}", "other": 1}
            if chance.random() < 0.8:
                item["group"] = chance.choice("abc")
            if chance.random() < 0.8:
                item["score"] = Decimal(chance.randrange(-5, 5))
            table.put_item(Item=item)
            model[key] = item
        elif what < 0.8 and key in model:
            table.update_item(
                Key={"id": key}, UpdateExpression="SET score = :s REMOVE #n", ExpressionAttributeValues={":s": 7},
                ExpressionAttributeNames={"#n": "name"},
            )  # fmt: skip
            model[key] = {**{k: v for k, v in model[key].items() if k != "name"}, "score": Decimal(7)}
        else:
            table.delete_item(Key={"id": key})
            model.pop(key, None)
    for group in "abc":
        found = table.query(IndexName="by-group", KeyConditionExpression=Key("group").eq(group))["Items"]
        wanted = [
            {k: v for k, v in item.items() if k in ("id", "group", "score", "name")}
            for item in model.values()
            if item.get("group") == group and "score" in item
        ]
        assert sorted(found, key=lambda i: i["id"]) == sorted(wanted, key=lambda i: i["id"])
        assert [item["score"] for item in found] == sorted(item["score"] for item in found)
    assert {item["id"] for item in table.scan()["Items"]} == set(model)


def test_an_index_added_later_is_filled(db: Any, server: ServerProcess) -> None:
    table = make(db)
    for number in range(20):
        table.put_item(Item={"id": str(number), "group": "g", "score": number})
    server.client("dynamodb").update_table(
        TableName=table.name,
        AttributeDefinitions=[
            {"AttributeName": "group", "AttributeType": "S"},
            {"AttributeName": "score", "AttributeType": "N"},
        ],
        GlobalSecondaryIndexUpdates=[{"Create": INDEX}],
    )
    found = table.query(IndexName="by-group", KeyConditionExpression=Key("group").eq("g"))["Items"]
    assert [item["score"] for item in found] == list(range(20))


def test_transactions_do_all_or_nothing(db: Any, server: ServerProcess) -> None:
    table, client = make(db), server.client("dynamodb")
    put = {
        "Put": {"TableName": table.name, "Item": {"id": {"S": "a"}}, "ConditionExpression": "attribute_not_exists(id)"}
    }
    count = {
        "Update": {
            "TableName": table.name, "Key": {"id": {"S": "total"}}, "UpdateExpression": "ADD n :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }
    }  # fmt: skip
    client.transact_write_items(TransactItems=[put, count], ClientRequestToken="once")
    client.transact_write_items(TransactItems=[put, count], ClientRequestToken="once")
    with pytest.raises(ClientError, match="IdempotentParameterMismatch"):
        client.transact_write_items(TransactItems=[count], ClientRequestToken="once")
    with pytest.raises(ClientError) as refused:
        client.transact_write_items(TransactItems=[count, put])
    assert [reason["Code"] for reason in refused.value.response["CancellationReasons"]] == [
        "None",
        "ConditionalCheckFailed",
    ]
    assert table.get_item(Key={"id": "total"})["Item"]["n"] == 1


def test_concurrent_counters_lose_nothing(db: Any, server: ServerProcess) -> None:
    table = make(db)

    def count() -> None:
        client = server.client("dynamodb")
        for _ in range(25):
            client.update_item(
                TableName=table.name, Key={"id": {"S": "n"}}, UpdateExpression="ADD n :one",
                ExpressionAttributeValues={":one": {"N": "1"}},
            )  # fmt: skip

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert table.get_item(Key={"id": "n"})["Item"]["n"] == 200


def test_changes_are_a_stream(db: Any, server: ServerProcess) -> None:
    table, streams = make(db, stream="NEW_AND_OLD_IMAGES"), server.client("dynamodbstreams")
    table.put_item(Item={"id": "a", "b": b"\x01"})
    table.put_item(Item={"id": "a", "b": b"\x01"})  # nothing changes: no record
    table.update_item(Key={"id": "a"}, UpdateExpression="SET n = :n", ExpressionAttributeValues={":n": 1})
    table.delete_item(Key={"id": "a"})
    table.delete_item(Key={"id": "a"})
    arn = streams.list_streams(TableName=table.name)["Streams"][0]["StreamArn"]
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]

    def read(kind: str, **more: Any) -> list[Any]:
        iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType=kind, **more)
        return list(streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"])

    records = read("TRIM_HORIZON")
    assert [record["eventName"] for record in records] == ["INSERT", "MODIFY", "REMOVE"]
    assert records[0]["dynamodb"]["NewImage"] == {"id": {"S": "a"}, "b": {"B": b"\x01"}}
    assert records[1]["dynamodb"]["OldImage"] == {"id": {"S": "a"}, "b": {"B": b"\x01"}}
    assert "NewImage" not in records[2]["dynamodb"]
    numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
    assert numbers == sorted(numbers) and len(set(numbers)) == 3
    assert len(read("AFTER_SEQUENCE_NUMBER", SequenceNumber=numbers[0])) == 2
    assert len(read("AT_SEQUENCE_NUMBER", SequenceNumber=numbers[0])) == 3
    assert read("LATEST") == []


def test_items_whose_time_is_over_go(tmp_path: Any) -> None:
    running = ServerProcess(tmp_path / "data", environment={"SLUICEWAY_TABLES__TTL_SWEEP_S": "0.2"}).start()
    try:
        client = running.client("dynamodb")
        client.create_table(
            TableName="ttl", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}], BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "OLD_IMAGE"},
        )  # fmt: skip
        client.update_time_to_live(TableName="ttl", TimeToLiveSpecification={"AttributeName": "end", "Enabled": True})
        for key, end in (("over", "1700000000"), ("later", "4000000000")):
            client.put_item(TableName="ttl", Item={"id": {"S": key}, "end": {"N": end}})
        eventually(lambda: client.scan(TableName="ttl")["Count"] == 1)
        assert client.scan(TableName="ttl")["Items"][0]["id"] == {"S": "later"}
    finally:
        running.stop()


@pytest.mark.parametrize(
    "item, words",
    [
        ({"id": {"S": ""}}, "empty string"),
        ({"id": {"N": "1"}}, "Type mismatch for key id"),
        ({"x": {"S": "1"}}, "Missing the key id"),
        ({"id": {"S": "x" * 2049}}, "Size of hashkey"),
        ({"id": {"S": "a"}, "n": {"N": "one"}}, "numeric value"),
        ({"id": {"S": "a"}, "n": {"N": "1" * 39}}, "38 significant digits"),
        ({"id": {"S": "a"}, "n": {"N": "1E126"}}, "overflow"),
        ({"id": {"S": "a"}, "s": {"SS": []}}, "may not be empty"),
        ({"id": {"S": "a"}, "s": {"SS": ["x", "x"]}}, "duplicates"),
        ({"id": {"S": "a"}, "v": {}}, "AttributeValue"),
        ({"id": {"S": "a"}, "big": {"S": "x" * 409_600}}, "Item size"),
    ],
)
def test_bad_items_are_refused(db: Any, server: ServerProcess, item: Any, words: str) -> None:
    table = make(db)
    client = server.client("dynamodb", parameter_validation=False)
    with pytest.raises(ClientError, match=words) as refused:
        client.put_item(TableName=table.name, Item=item)
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_nesting_is_bounded(db: Any, server: ServerProcess) -> None:
    table, value = make(db), {"S": "end"}
    for _ in range(40):
        value = {"L": [value]}
    with pytest.raises(ClientError, match="Nesting"):
        server.client("dynamodb").put_item(TableName=table.name, Item={"id": {"S": "a"}, "v": value})


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 200 + "a = :v" + ")" * 200,
        "a = :v AND",
        "a == :v",
        "nothing(a, :v)",
        "a IN ()",
        "a BETWEEN :v",
        "=",
        "a.[1] = :v",
        "é = :v",
    ],
)
def test_bad_expressions_are_refused(db: Any, expression: str) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        make(db).scan(FilterExpression=expression, ExpressionAttributeValues={":v": 1})


def test_unknown_tables_and_callers(db: Any, server: ServerProcess) -> None:
    client = server.client("dynamodb")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client.get_item(TableName="nowhere", Key={"id": {"S": "a"}})
    with pytest.raises(ClientError, match="ResourceInUseException"):
        client.create_table(
            TableName=make(db).name, KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}], BillingMode="PAY_PER_REQUEST",
        )  # fmt: skip
    iam = server.client("iam")
    iam.create_user(UserName="stranger")
    key = iam.create_access_key(UserName="stranger")["AccessKey"]
    stranger = server.client("dynamodb", (key["AccessKeyId"], key["SecretAccessKey"]))
    name = make(db).name
    for call in (
        lambda: stranger.get_item(TableName=name, Key={"id": {"S": "a"}}),
        lambda: stranger.batch_get_item(RequestItems={name: {"Keys": [{"id": {"S": "a"}}]}}),
        lambda: stranger.transact_write_items(TransactItems=[{"Put": {"TableName": name, "Item": {"id": {"S": "a"}}}}]),
    ):
        with pytest.raises(ClientError, match="AccessDeniedException"):
            call()
