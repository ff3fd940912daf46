"""The streams of tables by boto3."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.tables import Server, all_records, make, records_of, refused

from sluiceway.errors import NotFound


@pytest.mark.parametrize("view", ["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"])
def test_what_a_stream_shows(db: Any, streams: Any, view: str) -> None:
    name = make(db, f"view-{view}", stream=view)
    db.put_item(TableName=name, Item={"id": {"S": "a"}, "b": {"B": b"\x00"}})
    db.put_item(TableName=name, Item={"id": {"S": "a"}, "b": {"B": b"\x01"}})
    db.delete_item(TableName=name, Key={"id": {"S": "a"}})
    arn = db.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    found = all_records(streams, arn)
    assert [one["eventName"] for one in found] == ["INSERT", "MODIFY", "REMOVE"]
    changed = found[1]["dynamodb"]
    assert changed["Keys"] == {"id": {"S": "a"}} and changed["StreamViewType"] == view
    assert changed.get("NewImage", {}).get("b") == ({"B": b"\x01"} if "NEW" in view else None)
    assert changed.get("OldImage", {}).get("b") == ({"B": b"\x00"} if "OLD" in view else None)
    assert changed["SizeBytes"] == 3 + 5 * (("NEW" in view) + ("OLD" in view))
    assert found[0]["eventSource"] == "aws:dynamodb" and found[0]["awsRegion"] == "us-east-1"
    assert len({one["eventID"] for one in found}) == 3


def test_where_reading_begins(db: Any, streams: Any) -> None:
    name = make(db, "iterators", stream="KEYS_ONLY")
    for number in range(40):
        db.put_item(TableName=name, Item={"id": {"S": str(number)}})
    arn = db.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    numbers = [one["dynamodb"]["SequenceNumber"] for one in all_records(streams, arn)]
    assert len(numbers) == 40
    for kind, wanted in (("AT_SEQUENCE_NUMBER", numbers[25:]), ("AFTER_SEQUENCE_NUMBER", numbers[26:])):
        found = records_of(streams, arn, kind, SequenceNumber=numbers[25])
        assert [one["dynamodb"]["SequenceNumber"] for one in found] == wanted
    assert records_of(streams, arn, "LATEST") == []
    about = streams.describe_stream(StreamArn=arn)["StreamDescription"]
    assert about["StreamStatus"] == "ENABLED" and about["StreamViewType"] == "KEYS_ONLY"
    assert about["Shards"][0]["SequenceNumberRange"] == {"StartingSequenceNumber": numbers[0]}
    shard = {"StreamArn": arn, "ShardId": about["Shards"][0]["ShardId"], "ShardIteratorType": "AT_SEQUENCE_NUMBER"}
    for bad in ("", "²", "-1", "9" * 200, "abc", "1"):
        assert refused(streams.get_shard_iterator, **shard, SequenceNumber=bad)[0] == "ValidationException", bad
    elsewhere = {**shard, "ShardId": "shardId-1", "SequenceNumber": numbers[0]}
    assert refused(streams.get_shard_iterator, **elsewhere)[0] == "ResourceNotFoundException"
    for bad in ("", "x", "e30=", "////"):
        assert refused(streams.get_records, ShardIterator=bad)[0] == "ValidationException"
    iterator = streams.get_shard_iterator(**shard, SequenceNumber=numbers[0])["ShardIterator"]
    assert len(streams.get_records(ShardIterator=iterator, Limit=5)["Records"]) == 5
    assert refused(streams.get_records, ShardIterator=iterator, Limit=0)[0] == "ValidationException"
    assert refused(streams.describe_stream, StreamArn=arn + "0")[0] == "ResourceNotFoundException"


def test_records_come_a_bounded_piece_at_a_time(db: Any, streams: Any) -> None:
    name = make(db, "pieces", stream="NEW_IMAGE")
    for number in range(6):
        db.put_item(TableName=name, Item={"id": {"S": str(number)}, "x": {"S": "x" * 390}})
    arn = db.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    begin = {"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    iterator = streams.get_shard_iterator(**begin)["ShardIterator"]
    assert len(streams.get_records(ShardIterator=iterator)["Records"]) == 2
    assert [one["dynamodb"]["Keys"]["id"]["S"] for one in all_records(streams, arn)] == [str(n) for n in range(6)]


def test_old_records_are_forgotten_and_old_iterators_expire(server: Server, db: Any, streams: Any) -> None:
    name = make(db, "old", stream="KEYS_ONLY")

    def put(count: int) -> None:
        for _ in range(count):
            db.update_item(
                TableName=name, Key={"id": {"S": "n"}}, UpdateExpression="ADD n :n",
                ExpressionAttributeValues={":n": {"N": "1"}},
            )  # fmt: skip

    put(21)
    arn = db.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    first = all_records(streams, arn)[0]["dynamodb"]["SequenceNumber"]
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    begin = {"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "LATEST"}
    iterator = streams.get_shard_iterator(**begin)["ShardIterator"]
    server.clock.ahead_ms += 16 * 60 * 1000
    assert refused(streams.get_records, ShardIterator=iterator)[0] == "ExpiredIteratorException"
    server.clock.ahead_ms += 24 * 3600 * 1000
    put(8)
    assert len(all_records(streams, arn)) == 8
    again = {**begin, "ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": first}
    assert refused(streams.get_shard_iterator, **again)[0] == "TrimmedDataAccessException"


def test_streams_go_off_and_on(server: Server, db: Any, streams: Any) -> None:
    name = make(db, "switched")
    on = {"TableName": name, "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}}
    off = {"TableName": name, "StreamSpecification": {"StreamEnabled": False}}
    assert "no stream" in refused(db.update_table, **off)[1]
    db.put_item(TableName=name, Item={"id": {"S": "unseen"}})
    first = db.update_table(**on)["TableDescription"]["LatestStreamArn"]
    assert "already has an enabled stream" in refused(db.update_table, **on)[1]
    log = server.do(server.store.view(server.tables.stream_log, first))
    assert log == f"table/{name}"
    db.put_item(TableName=name, Item={"id": {"S": "seen"}})
    db.update_table(**off)
    db.put_item(TableName=name, Item={"id": {"S": "unseen too"}})
    about = streams.describe_stream(StreamArn=first)["StreamDescription"]
    assert about["StreamStatus"] == "DISABLED" and "EndingSequenceNumber" in about["Shards"][0]["SequenceNumberRange"]
    assert [one["dynamodb"]["Keys"]["id"]["S"] for one in all_records(streams, first)] == ["seen"]
    second = db.update_table(**on)["TableDescription"]["LatestStreamArn"]
    db.put_item(TableName=name, Item={"id": {"S": "later"}})
    assert second != first
    assert [one["dynamodb"]["Keys"]["id"]["S"] for one in all_records(streams, second)] == ["later"]
    with pytest.raises(NotFound) as missing:
        server.do(server.store.view(server.tables.stream_log, first))
    assert missing.value.kind == "stream"


def test_streams_are_listed_page_by_page(db: Any, streams: Any) -> None:
    names = {make(db, name, stream="KEYS_ONLY") for name in ("ab.c", "abc", "abc-d", "abc.d", "abc0", "abcd")}
    found: list[str] = []
    more: dict[str, Any] = {}
    while True:
        page = streams.list_streams(Limit=2, **more)
        found += [one["TableName"] for one in page["Streams"]]
        if "LastEvaluatedStreamArn" not in page:
            break
        more = {"ExclusiveStartStreamArn": page["LastEvaluatedStreamArn"]}
    assert len(found) == len(set(found)) and names <= set(found)
    assert [one["TableName"] for one in streams.list_streams(TableName="abc")["Streams"]] == ["abc"]


def test_records_in_the_log_are_as_functions_receive_them(server: Server, db: Any) -> None:
    name = make(db, "log", stream="NEW_AND_OLD_IMAGES")
    db.put_item(TableName=name, Item={"id": {"S": "a"}, "b": {"B": b"\x00\xff"}, "n": {"N": "1.50"}})
    entry = server.do(server.store.view(lambda view: view.read(f"table/{name}", 0, 10)))[0]
    arn = db.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    assert entry.value == {
        "eventID": entry.value["eventID"],
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": entry.value["dynamodb"]["ApproximateCreationDateTime"],
            "Keys": {"id": {"S": "a"}},
            "NewImage": {"id": {"S": "a"}, "b": {"B": "AP8="}, "n": {"N": "1.5"}},
            "SequenceNumber": "100000000000000000000",
            "SizeBytes": 3 + 3 + 3 + 3,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": arn,
    }
