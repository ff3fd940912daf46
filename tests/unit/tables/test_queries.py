"""Queries, scans and indexes by boto3."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.conditions import Key
from botocore.exceptions import ClientError
from helpers.tables import all_records, everything, index, make, refused


@pytest.mark.parametrize(
    "params, words",
    [
        ({"Limit": 0}, "greater than or equal to 1"),
        ({"Limit": -1}, "greater than or equal to 1"),
        ({"ExclusiveStartKey": {"id": {"S": ""}, "at": {"N": "1"}}}, "starting key is invalid"),
        ({"ExclusiveStartKey": {"id": {"S": "other"}, "at": {"N": "1"}}}, "outside query boundaries"),
        ({"ExclusiveStartKey": {"id": {"S": "a"}}}, "starting key is invalid"),
        ({"FilterExpression": "id = :a"}, "non-primary key attributes"),
        ({"KeyConditionExpression": "id = :n"}, "does not match schema type"),
        ({"IndexName": "nothing"}, "does not have the specified index"),
        ({"Select": "SPECIFIC_ATTRIBUTES"}, "ProjectionExpression"),
        ({"Select": "COUNT", "ProjectionExpression": "x"}, "only the Count"),
        ({"Select": "ALL_PROJECTED_ATTRIBUTES"}, "IndexName"),
        ({"Select": "SOME"}, "select"),
        ({"IndexName": "by-g", "ConsistentRead": True, "KeyConditionExpression": "g = :a"}, "Consistent reads"),
        (
            {"IndexName": "by-g", "Select": "ALL_ATTRIBUTES", "KeyConditionExpression": "g = :a"},
            "projection type is not ALL",
        ),
        ({"IndexName": "by-g", "ProjectionExpression": "y", "KeyConditionExpression": "g = :a"}, "does not project"),
    ],
)
def test_bad_queries_are_refused(db: Any, params: dict[str, Any], words: str) -> None:
    try:
        db.describe_table(TableName="asked")
    except ClientError:
        make(db, "asked", "id:S at:N g:S", "at", GlobalSecondaryIndexes=[index("by-g", "g", kind="KEYS_ONLY")])
    given = {"TableName": "asked", "KeyConditionExpression": "id = :a", **params}
    used = {":a": {"S": "a"}} if ":a" in given["KeyConditionExpression"] else {":n": {"N": "1"}}
    code, message = refused(db.query, **given, ExpressionAttributeValues=used)
    assert code == "ValidationException" and words in message


def test_a_local_index_fetches_what_it_does_not_have(resource: Any, db: Any) -> None:
    local = [index("by-x", "id", "x", "KEYS_ONLY")]
    table = resource.Table(make(db, "local", "id:S at:N x:S", "at", LocalSecondaryIndexes=local))
    for number in range(5):
        table.put_item(Item={"id": "a", "at": number, "x": "edcba"[number], "more": number * 10})
    asked = {"IndexName": "by-x", "KeyConditionExpression": Key("id").eq("a"), "ConsistentRead": True}
    assert table.query(**asked)["Items"][0] == {"id": "a", "at": 4, "x": "a"}
    assert table.query(**asked, Select="ALL_ATTRIBUTES")["Items"][0] == {"id": "a", "at": 4, "x": "a", "more": 40}
    found = table.query(**asked, ProjectionExpression="more")["Items"]
    assert found == [{"more": number} for number in (40, 30, 20, 10, 0)]
    counted = table.query(**asked, Select="COUNT", Limit=2)
    assert counted["Count"] == 2 and "Items" not in counted and counted["LastEvaluatedKey"]["x"] == "b"


def test_segments_share_a_scan(db: Any, resource: Any) -> None:
    table = resource.Table(make(db, "segments", "id:S g:S", GlobalSecondaryIndexes=[index("by-g", "g")]))
    with table.batch_writer() as batch:
        for number in range(100):
            batch.put_item(Item={"id": f"k{number}", "g": f"g{number % 10}"})
    for more in ({}, {"IndexName": "by-g"}):
        parts = [
            {item["id"] for item in everything(table.scan, Segment=n, TotalSegments=3, Limit=7, **more)}
            for n in range(3)
        ]
        assert sum(map(len, parts)) == 100 and len(set.union(*parts)) == 100 and all(parts)
    for bad in (
        {"Segment": 1},
        {"TotalSegments": 2},
        {"Segment": 2, "TotalSegments": 2},
        {"Segment": 0, "TotalSegments": 10**6 + 1},
    ):
        assert refused(table.scan, **bad)[0] == "ValidationException"


def _sorts(item: dict[str, Any], sort: str, tie: tuple[str, ...]) -> Any:
    return (item[sort], *(item[name] for name in tie))


def test_indexes_answer_as_a_simple_model_does(db: Any, resource: Any) -> None:
    table = resource.Table(
        make(
            db, "model", "id:S at:N g:S s:N", "at", stream="NEW_AND_OLD_IMAGES",
            GlobalSecondaryIndexes=[index("gsi", "g", "s", "INCLUDE", ["x"])],
            LocalSecondaryIndexes=[index("lsi", "id", "s", "KEYS_ONLY")],
        )
    )  # fmt: skip
    chance, model = random.Random(30), {}
    for _ in range(250):
        key = {"id": chance.choice("ab"), "at": Decimal(chance.randrange(-20, 20)) / 4}
        place, kind = (key["id"], key["at"]), chance.random()
        if kind < 0.55:
            item = {**key, "x": chance.randrange(3), "y": "not in an index"}
            item |= {n: v for n, v in (("g", chance.choice("pq")), ("s", chance.randrange(4))) if chance.random() < 0.8}
            table.put_item(Item=item)
            model[place] = item
        elif kind < 0.75:
            table.update_item(Key=key, UpdateExpression="SET s = :s REMOVE x", ExpressionAttributeValues={":s": 9})
            model[place] = {n: v for n, v in {**model.get(place, key), "s": 9}.items() if n != "x"}
        else:
            table.delete_item(Key=key)
            model.pop(place, None)

    def wanted(name: str, value: str, sort: str, names: str) -> list[dict[str, Any]]:
        rows = [item for item in model.values() if item.get(name) == value and sort in item]
        rows.sort(key=lambda item: _sorts(item, sort, ("id", "at")))
        return [{n: v for n, v in item.items() if not names or n in names.split()} for item in rows]

    for limit in (1, 3, 1000):
        for value in "pq":
            asked = {"IndexName": "gsi", "KeyConditionExpression": Key("g").eq(value), "Limit": limit}
            assert everything(table.query, **asked) == wanted("g", value, "s", "id at g s x")
            assert (
                everything(table.query, **asked, ScanIndexForward=False) == wanted("g", value, "s", "id at g s x")[::-1]
            )
        for value in "ab":
            asked = {"IndexName": "lsi", "KeyConditionExpression": Key("id").eq(value), "Limit": limit}
            assert everything(table.query, **asked) == wanted("id", value, "s", "id at s")
            for low in (-4, 0, 3):
                between = Key("id").eq(value) & Key("at").between(low, low + 2)
                found = everything(table.query, KeyConditionExpression=between, Limit=limit)
                assert found == [item for item in wanted("id", value, "at", "") if low <= item["at"] <= low + 2]
            for operator, holds in (
                ("<", Decimal.__lt__),
                ("<=", Decimal.__le__),
                (">", Decimal.__gt__),
                (">=", Decimal.__ge__),
            ):
                found = everything(
                    table.query, KeyConditionExpression=f"id = :id AND #at {operator} :at", Limit=limit,
                    ExpressionAttributeNames={"#at": "at"}, ExpressionAttributeValues={":id": value, ":at": Decimal("1.5")},
                )  # fmt: skip
                assert found == [item for item in wanted("id", value, "at", "") if holds(item["at"], Decimal("1.5"))]
    assert len(everything(table.scan, Limit=7)) == len(model)
    assert len(everything(table.scan, IndexName="gsi")) == sum("g" in item and "s" in item for item in model.values())


def test_the_stream_tells_the_whole_story(db: Any, streams: Any) -> None:
    """Replaying the records of the test before gives the table."""
    arn = db.describe_table(TableName="model")["Table"]["LatestStreamArn"]
    replayed: dict[str, Any] = {}
    numbers = []
    for record in all_records(streams, arn):
        change = record["dynamodb"]
        place = str(sorted(change["Keys"].items()))
        assert replayed.get(place) == change.get("OldImage") and change.get("OldImage") != change.get("NewImage")
        assert record["eventName"] == (
            "INSERT" if "OldImage" not in change else "MODIFY" if "NewImage" in change else "REMOVE"
        )
        replayed[place] = change.get("NewImage")
        numbers.append(change["SequenceNumber"])
    kept = [item for item in replayed.values() if item is not None]
    by_key = {(item["id"]["S"], item["at"]["N"]): item for item in everything(db.scan, TableName="model")}
    assert {(item["id"]["S"], item["at"]["N"]): item for item in kept} == by_key and len(kept) == len(by_key)
    assert numbers == sorted(numbers) and len(set(numbers)) == len(numbers) and {len(one) for one in numbers} == {21}
