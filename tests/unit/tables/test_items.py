"""Items by boto3: one at a time, in batches, and in transactions."""

from __future__ import annotations

from typing import Any

import pytest
from boto3.dynamodb.conditions import Attr
from botocore.exceptions import ClientError
from helpers.inprocess import SCOPE
from helpers.tables import Server, all_records, index, make, refused

# -- items


def test_documents_by_paths_of_placeholders(resource: Any, db: Any) -> None:
    table = resource.Table(make(db, "paths"))
    table.put_item(Item={"id": "a", "m": {"x.y": [1, {"z": b"\x00"}], "name": "n"}})
    table.put_item(Item={"id": "b", "m": {"name": "other"}})
    found = table.scan(FilterExpression=Attr("m.name").eq("n") & Attr("m.name").begins_with("n"))["Items"]
    assert [item["id"] for item in found] == ["a"]
    names = {"#m": "m", "#xy": "x.y", "#n": "name"}
    table.update_item(
        Key={"id": "a"}, UpdateExpression="SET #m.#xy[0] = #m.#xy[0]+:one, #m.#n = :n",
        ExpressionAttributeNames=names, ExpressionAttributeValues={":one": 1, ":n": "new"},
    )  # fmt: skip
    shown = table.get_item(
        Key={"id": "a"}, ProjectionExpression="#m.#xy[0], #m.#n", ExpressionAttributeNames=names, ConsistentRead=True
    )["Item"]
    assert shown == {"m": {"x.y": [2], "name": "new"}}


def test_refusals_show_the_item_with_its_binary(db: Any) -> None:
    name = make(db, "shown")
    item = {"id": {"S": "a"}, "b": {"B": b"\x00\xff"}, "l": {"L": [{"BS": [b"1", b"2"]}]}}
    db.put_item(TableName=name, Item=item)
    put = {"TableName": name, "Item": {"id": {"S": "a"}}, "ConditionExpression": "attribute_not_exists(id)"}
    show = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    with pytest.raises(db.exceptions.ConditionalCheckFailedException) as caught:
        db.put_item(**put, **show)
    assert caught.value.response["Item"] == item
    assert caught.value.response["Error"]["Message"] == "The conditional request failed"
    with pytest.raises(db.exceptions.ConditionalCheckFailedException) as caught:
        db.put_item(**put)
    assert "Item" not in caught.value.response
    with pytest.raises(db.exceptions.TransactionCanceledException) as caught:
        db.transact_write_items(TransactItems=[{"Put": {**put, **show}}])
    assert caught.value.response["CancellationReasons"] == [
        {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed", "Item": item}
    ]
    assert caught.value.response["Error"]["Message"] == (
        "Transaction cancelled, please refer cancellation reasons for specific reasons [ConditionalCheckFailed]"
    )


def test_return_values(resource: Any, db: Any) -> None:
    table = resource.Table(make(db, "returns"))
    assert "Attributes" not in table.put_item(Item={"id": "a", "n": 1}, ReturnValues="ALL_OLD")
    assert table.put_item(Item={"id": "a", "n": 2, "k": 0}, ReturnValues="ALL_OLD")["Attributes"] == {"id": "a", "n": 1}
    update: dict[str, Any] = {
        "Key": {"id": "a"}, "UpdateExpression": "ADD n :one SET x = :one", "ExpressionAttributeValues": {":one": 1},
    }  # fmt: skip
    found = {kind: table.update_item(**update, ReturnValues=kind).get("Attributes")
             for kind in ("NONE", "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW")}  # fmt: skip
    assert found == {
        "NONE": None,
        "ALL_OLD": {"id": "a", "n": 3, "k": 0, "x": 1},
        "ALL_NEW": {"id": "a", "n": 5, "k": 0, "x": 1},
        "UPDATED_OLD": {"n": 5, "x": 1},
        "UPDATED_NEW": {"n": 7, "x": 1},
    }
    assert "Attributes" not in table.update_item(**{**update, "Key": {"id": "new"}}, ReturnValues="ALL_OLD")
    assert refused(table.put_item, Item={"id": "a"}, ReturnValues="ALL_NEW")[0] == "ValidationException"
    assert refused(table.delete_item, Key={"id": "a"}, ReturnValues="UPDATED_OLD")[0] == "ValidationException"
    assert table.delete_item(Key={"id": "a"}, ReturnValues="ALL_OLD")["Attributes"]["n"] == 7
    assert "Attributes" not in table.delete_item(Key={"id": "a"}, ReturnValues="ALL_OLD")
    assert table.update_item(Key={"id": "only"}, ReturnValues="ALL_NEW")["Attributes"] == {"id": "only"}


@pytest.mark.parametrize(
    "operation, params",
    [
        ("put_item", {"Item": {"id": {"S": "a"}}, "Expected": {"id": {"Exists": False}}}),
        ("update_item", {"Key": {"id": {"S": "a"}}, "AttributeUpdates": {"n": {"Value": {"N": "1"}}}}),
        ("get_item", {"Key": {"id": {"S": "a"}}, "AttributesToGet": ["id"]}),
        ("query", {"KeyConditions": {"id": {"AttributeValueList": [{"S": "a"}], "ComparisonOperator": "EQ"}}}),
        ("scan", {"ScanFilter": {"id": {"AttributeValueList": [{"S": "a"}], "ComparisonOperator": "EQ"}}}),
        ("query", {"QueryFilter": {}, "KeyConditionExpression": "id = :a"}),
    ],
)
def test_legacy_parameters_are_refused(db: Any, operation: str, params: dict[str, Any]) -> None:
    code, message = refused(getattr(db, operation), TableName="any", **params)
    assert code == "ValidationException" and "legacy parameter" in message


@pytest.mark.parametrize(
    "item, words",
    [
        ({"at": {"N": "1"}}, "Missing the key id in the item"),
        ({"id": {"S": "a"}}, "Missing the key at in the item"),
        ({"id": {"S": "a"}, "at": {"S": "1"}}, "Type mismatch for key at expected: N actual: S"),
        ({"id": {"S": ""}, "at": {"N": "1"}}, "cannot contain an empty string value. Key: id"),
        (
            {"id": {"S": "é" * 1025}, "at": {"N": "1"}},
            "Size of hashkey has exceeded the maximum size limit of2048 bytes",
        ),
        ({"id": {"S": "a"}, "at": {"N": "1"}, "g": {"N": "1"}}, "Type mismatch for Index Key g Expected: S Actual: N"),
        ({"id": {"S": "a"}, "at": {"N": "1"}, "g": {"S": ""}}, "cannot contain an empty string value. IndexName: by-g"),
        (
            {"id": {"S": "a"}, "at": {"N": "1"}, "r": {"B": b""}},
            "cannot contain an empty binary value. IndexName: by-g",
        ),
        ({"id": {"S": "a"}, "at": {"N": "1"}, "r": {"B": b"x" * 1025}}, "Size of rangekey"),
    ],
)
def test_keys_are_checked(db: Any, item: dict[str, Any], words: str) -> None:
    try:
        db.describe_table(TableName="checked")
    except ClientError:
        make(db, "checked", "id:S at:N g:S r:B", "at", GlobalSecondaryIndexes=[index("by-g", "g", "r")])
    assert words in refused(db.put_item, TableName="checked", Item=item)[1]
    schema_words = "The provided key element does not match the schema"
    for key in (
        {"id": {"S": "a"}},
        {"id": {"S": "a"}, "at": {"S": "1"}},
        {"id": {"S": "a"}, "at": {"N": "1"}, "x": {"N": "1"}},
    ):
        assert refused(db.get_item, TableName="checked", Key=key) == ("ValidationException", schema_words)
        assert refused(db.delete_item, TableName="checked", Key=key) == ("ValidationException", schema_words)


def test_an_update_can_not_break_an_index_key(db: Any) -> None:
    name = make(db, "guarded", "id:S g:S", GlobalSecondaryIndexes=[index("by-g", "g")], stream="NEW_IMAGE")
    db.put_item(TableName=name, Item={"id": {"S": "a"}, "g": {"S": "x"}})
    message = refused(
        db.update_item, TableName=name, Key={"id": {"S": "a"}}, UpdateExpression="SET g = :n",
        ExpressionAttributeValues={":n": {"N": "1"}},
    )[1]  # fmt: skip
    assert "Type mismatch for Index Key g" in message
    assert db.get_item(TableName=name, Key={"id": {"S": "a"}})["Item"]["g"] == {"S": "x"}


# -- batches and transactions


def test_batches(db: Any) -> None:
    name = make(db, "batches")
    puts = [{"PutRequest": {"Item": {"id": {"S": str(n)}, "b": {"B": b"x"}}}} for n in range(25)]
    answer = db.batch_write_item(RequestItems={name: puts}, ReturnConsumedCapacity="TOTAL")
    assert answer["UnprocessedItems"] == {}
    assert answer["ConsumedCapacity"] == [{"TableName": name, "CapacityUnits": 25.0}]
    keys = [{"id": {"S": str(n)}} for n in (3, 99, 5)]
    answer = db.batch_get_item(RequestItems={name: {"Keys": keys}}, ReturnConsumedCapacity="TOTAL")
    assert answer["Responses"][name] == [{"id": {"S": n}, "b": {"B": b"x"}} for n in ("3", "5")]
    assert answer["ConsumedCapacity"][0]["CapacityUnits"] == 1.5
    delete = {"DeleteRequest": {"Key": {"id": {"S": "3"}}}}
    assert "duplicates" in refused(db.batch_write_item, RequestItems={name: [delete, puts[3]]})[1]
    assert "duplicates" in refused(db.batch_get_item, RequestItems={name: {"Keys": [keys[0], keys[0]]}})[1]
    assert refused(db.batch_write_item, RequestItems={name: [*puts, delete]})[0] == "ValidationException"
    assert refused(db.batch_write_item, RequestItems={name: [{}]})[0] == "ValidationException"
    assert refused(db.batch_write_item, RequestItems={})[0] == "ValidationException"
    arn = SCOPE.arn("dynamodb", f"table/{name}")
    assert "twice" in refused(db.batch_write_item, RequestItems={name: [delete], arn: [delete]})[1]
    assert refused(db.batch_get_item, RequestItems={"nowhere": {"Keys": keys}})[0] == "ResourceNotFoundException"
    assert db.get_item(TableName=name, Key=keys[0])["Item"]["b"] == {"B": b"x"}


def test_a_large_batch_get_leaves_the_rest(db: Any) -> None:
    name = make(db, "large")
    for number in range(45):
        db.put_item(TableName=name, Item={"id": {"S": str(number)}, "x": {"S": "x" * 390_000}})
    left: Any = {name: {"Keys": [{"id": {"S": str(n)}} for n in range(45)], "ProjectionExpression": "id"}}
    rounds, found = 0, 0
    while left:
        answer = db.batch_get_item(RequestItems=left)
        rounds, found, left = rounds + 1, found + len(answer["Responses"][name]), answer["UnprocessedKeys"]
    assert (rounds, found) == (2, 45)
    gets = [{"Get": {"TableName": name, "Key": {"id": {"S": str(n)}}}} for n in range(12)]
    assert "4 MB" in refused(db.transact_get_items, TransactItems=gets)[1]


def test_transactions(server: Server, db: Any, streams: Any) -> None:
    one, two = make(db, "tx-one", stream="KEYS_ONLY"), make(db, "tx-two")
    put = {"Put": {"TableName": one, "Item": {"id": {"S": "a"}, "n": {"N": "1"}}}}
    update = {
        "Update": {
            "TableName": two, "Key": {"id": {"S": "b"}}, "UpdateExpression": "ADD n :n",
            "ExpressionAttributeValues": {":n": {"N": "1"}},
        }
    }  # fmt: skip
    check = {
        "ConditionCheck": {"TableName": one, "Key": {"id": {"S": "no"}}, "ConditionExpression": "attribute_exists(id)"}
    }
    with pytest.raises(db.exceptions.TransactionCanceledException) as caught:
        db.transact_write_items(TransactItems=[put, check, update])
    codes = [reason["Code"] for reason in caught.value.response["CancellationReasons"]]
    assert codes == ["None", "ConditionalCheckFailed", "None"]
    assert db.scan(TableName=one)["Count"] == db.scan(TableName=two)["Count"] == 0
    arn = db.describe_table(TableName=one)["Table"]["LatestStreamArn"]
    assert all_records(streams, arn) == []

    answer = db.transact_write_items(
        TransactItems=[put, update], ClientRequestToken="t", ReturnConsumedCapacity="TOTAL"
    )
    assert answer["ConsumedCapacity"][0] == {"TableName": one, "CapacityUnits": 2.0}
    db.transact_write_items(TransactItems=[put, update], ClientRequestToken="t")
    assert len(all_records(streams, arn)) == 1
    gets = [{"Get": {"TableName": t, "Key": {"id": {"S": k}}}} for t, k in ((two, "b"), (one, "zz"), (one, "a"))]
    found = db.transact_get_items(TransactItems=gets)["Responses"]
    assert [item.get("Item", {}).get("n") for item in found] == [{"N": "1"}, None, {"N": "1"}]
    code, _ = refused(db.transact_write_items, TransactItems=[update], ClientRequestToken="t")
    assert code == "IdempotentParameterMismatchException"
    server.clock.ahead_ms += 11 * 60 * 1000
    db.transact_write_items(TransactItems=[update], ClientRequestToken="t")
    assert db.get_item(TableName=two, Key={"id": {"S": "b"}})["Item"]["n"] == {"N": "2"}

    same = {"Delete": {"TableName": one, "Key": {"id": {"S": "a"}}}}
    code, message = refused(db.transact_write_items, TransactItems=[put, update, same])
    assert (code, message) == (
        "ValidationException", "Transaction request cannot include multiple operations on one item",
    )  # fmt: skip
    assert refused(db.transact_write_items, TransactItems=[{**put, **update}])[0] == "ValidationException"
    assert refused(db.transact_write_items, TransactItems=[])[0] == "ValidationException"
    assert (
        refused(db.transact_write_items, TransactItems=[put], ClientRequestToken="x" * 37)[0] == "ValidationException"
    )
    big = [{"Put": {"TableName": one, "Item": {"id": {"S": str(n)}, "x": {"S": "x" * 390_000}}}} for n in range(12)]
    assert "4 MB" in refused(db.transact_write_items, TransactItems=big)[1]
