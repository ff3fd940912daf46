"""DynamoDB and its streams by boto3 against the real HTTP application, in this process."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.dynamodb.conditions import Attr, Key
from botocore.config import Config
from botocore.exceptions import ClientError
from helpers.inprocess import listening

from sluiceway.config import HttpSettings, SecuritySettings, StoreSettings, TableSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.identity import Principal, Scope
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws.codecs import Codecs
from sluiceway.edges.aws.dynamodb import dynamodb_edge
from sluiceway.edges.aws.dynamodbstreams import streams_edge
from sluiceway.edges.aws.pipeline import AwsPipeline
from sluiceway.edges.routing import Router
from sluiceway.edges.sigv4 import SignatureVerifier
from sluiceway.engines.sqlite.store import SqliteStore, open_store
from sluiceway.errors import NotFound, Unauthenticated
from sluiceway.services.access import authorize
from sluiceway.services.tables import Tables, TtlSweeper

SCOPE = Scope("000000000000", "us-east-1")
ROOT = Principal("root", SCOPE.account, "root", "arn:aws:iam::000000000000:root", access_key_id="AKIAROOT")
ONE_TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/open"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "dynamodb:*",
            "Resource": [ONE_TABLE, f"{ONE_TABLE}/*", "arn:*:table/shut/index/*"],
        },
        {"Effect": "Allow", "Action": "dynamodb:*", "Resource": "arn:aws:dynamodb:eu-west-1:*:*"},
    ],
}
GUEST = Principal("user", SCOPE.account, "guest", "arn:aws:iam::000000000000:user/guest", policies=(POLICY,))
LIMITS = TableSettings(trim_every=4, sweep_max=7, ttl_sweep_s=0.05, backfill_max=60, stream_bytes_max=1000)


class Ring:
    """Two keys."""

    def find(self, access_key_id: str, session_token: str | None) -> tuple[str, Principal]:
        known = {"AKIAROOT": ROOT, "AKIAGUEST": GUEST}.get(access_key_id)
        if known is None:
            raise Unauthenticated("unknown_key", "The security token included in the request is invalid.")
        return "secret", known


class ShiftedClock:
    """The machine's clock, and so much more."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return SystemClock().now_ms() + self.ahead_ms


@dataclass
class Server:
    """The address, and what is behind it; the loop runs on a thread of its own."""

    folder: Path
    clock: ShiftedClock = field(default_factory=ShiftedClock)
    url: str = ""

    def start(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)))
        self._thread.start()
        assert ready.wait(20)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(20)

    async def _serve(self, ready: threading.Event) -> None:
        self.loop, self.wakeups = asyncio.get_running_loop(), Wakeups()
        self.store: SqliteStore = await open_store(self.folder / "store.db", StoreSettings(), self.clock, self.wakeups)
        self.tables = Tables(SCOPE, LIMITS)
        verifier = SignatureVerifier(Ring(), SCOPE, SystemClock(), SecuritySettings())
        edges = [dynamodb_edge(self.store, self.tables, LIMITS), streams_edge(self.store, self.tables, LIMITS)]
        codecs = Codecs()
        handlers = {
            edge.name: AwsPipeline(
                edge, codecs, verifier, authorize, SCOPE, self.clock, HttpSettings(), lambda: self.url
            ).handle
            for edge in edges
        }
        self._stopping = asyncio.Event()
        async with listening(Router(handlers, {})) as self.url:
            ready.set()
            await self._stopping.wait()
        await self.store.close()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run ``work`` on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def sweep(self) -> None:
        """One round of the sweeper."""
        self.do(TtlSweeper(self.store, self.tables, self.wakeups).sweep())

    def rows(self, table: str) -> int:
        """How many rows of all tables the store has in ``table``."""
        return int(self.do(self.store.view(lambda view: sum(1 for _ in view.scan(table)))))

    def keywords(self, key: str) -> dict[str, Any]:
        return {
            "endpoint_url": self.url,
            "region_name": "us-east-1",
            "aws_access_key_id": key,
            "aws_secret_access_key": "secret",
            "config": Config(retries={"max_attempts": 1}, parameter_validation=False),
        }

    def client(self, service: str = "dynamodb", key: str = "AKIAROOT") -> Any:
        return boto3.client(service, **self.keywords(key))

    def resource(self) -> Any:
        return boto3.resource("dynamodb", **self.keywords("AKIAROOT"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("tables"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def db(server: Server) -> Any:
    return server.client()


@pytest.fixture(scope="module")
def streams(server: Server) -> Any:
    return server.client("dynamodbstreams")


@pytest.fixture(scope="module")
def resource(server: Server) -> Any:
    return server.resource()


def schema(partition: str, sort: str = "") -> list[dict[str, str]]:
    keys = [{"AttributeName": partition, "KeyType": "HASH"}]
    return [*keys, {"AttributeName": sort, "KeyType": "RANGE"}] if sort else keys


def typed(attributes: str) -> list[dict[str, str]]:
    """ "id:S at:N" as AttributeDefinitions."""
    return [dict(zip(("AttributeName", "AttributeType"), one.split(":"), strict=True)) for one in attributes.split()]


def index(name: str, partition: str, sort: str = "", kind: str = "ALL", included: Any = ()) -> dict[str, Any]:
    projection: dict[str, Any] = {"ProjectionType": kind}
    if included:
        projection["NonKeyAttributes"] = list(included)
    return {"IndexName": name, "KeySchema": schema(partition, sort), "Projection": projection}


def make(db: Any, name: str, attributes: str = "id:S", sort: str = "", stream: str = "", **more: Any) -> str:
    if stream:
        more["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": stream}
    db.create_table(
        TableName=name,
        KeySchema=schema("id", sort),
        AttributeDefinitions=typed(attributes),
        BillingMode="PAY_PER_REQUEST",
        **more,
    )
    return name


def refused(method: Any, /, **params: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        method(**params)
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400, response
    return response["Error"]["Code"], response["Error"]["Message"]


def everything(method: Any, /, **params: Any) -> list[dict[str, Any]]:
    """Items of all pages."""
    items: list[dict[str, Any]] = []
    for _ in range(1000):
        page = method(**params)
        items += page.get("Items", [])
        if "LastEvaluatedKey" not in page:
            return items
        params["ExclusiveStartKey"] = page["LastEvaluatedKey"]
    raise AssertionError("pages never end")


# -- tables


def test_the_life_of_a_table(server: Server, db: Any) -> None:
    made = db.create_table(
        TableName="life",
        KeySchema=schema("id", "at"),
        AttributeDefinitions=typed("id:S at:N g:B"),
        ProvisionedThroughput={"ReadCapacityUnits": 3, "WriteCapacityUnits": 2},
        GlobalSecondaryIndexes=[index("by-g", "g", "at", "INCLUDE", ["x"])],
        LocalSecondaryIndexes=[index("by-l", "id", "g", "KEYS_ONLY")],
        Tags=[{"Key": "a", "Value": "1"}],
        DeletionProtectionEnabled=True,
    )["TableDescription"]
    assert made["TableArn"] == "arn:aws:dynamodb:us-east-1:000000000000:table/life" and made["TableStatus"] == "ACTIVE"
    db.get_waiter("table_exists").wait(TableName="life")
    about = db.describe_table(TableName=made["TableArn"])["Table"]
    assert about["KeySchema"] == schema("id", "at") and about["ProvisionedThroughput"]["ReadCapacityUnits"] == 3
    assert about["GlobalSecondaryIndexes"][0]["Projection"] == {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]}
    assert about["LocalSecondaryIndexes"][0]["IndexArn"] == made["TableArn"] + "/index/by-l"
    assert refused(make, db=db, name="life")[0] == "ResourceInUseException"

    db.tag_resource(ResourceArn=made["TableArn"], Tags=[{"Key": "b", "Value": "2"}])
    db.untag_resource(ResourceArn=made["TableArn"], TagKeys=["a"])
    assert db.list_tags_of_resource(ResourceArn=made["TableArn"])["Tags"] == [{"Key": "b", "Value": "2"}]
    backups = db.describe_continuous_backups(TableName="life")["ContinuousBackupsDescription"]
    assert backups["ContinuousBackupsStatus"] == "DISABLED"

    assert refused(db.delete_table, TableName="life") == (
        "ValidationException", "Resource cannot be deleted as it is currently protected against deletion.",
    )  # fmt: skip
    assert "At least one of" in refused(db.update_table, TableName="life")[1]
    db.update_table(TableName="life", DeletionProtectionEnabled=False, BillingMode="PAY_PER_REQUEST")
    assert db.describe_table(TableName="life")["Table"]["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    for number in range(20):
        db.put_item(TableName="life", Item={"id": {"S": "x"}, "at": {"N": str(number)}, "g": {"B": b"g"}})
    assert db.describe_table(TableName="life")["Table"]["ItemCount"] == 20
    before = server.rows("items"), server.rows("index_items")
    assert db.delete_table(TableName="life")["TableDescription"]["TableStatus"] == "DELETING"
    db.get_waiter("table_not_exists").wait(TableName="life")
    assert refused(db.describe_table, TableName="life")[0] == "ResourceNotFoundException"
    server.sweep()
    assert (server.rows("items"), server.rows("index_items")) == (before[0] - 20, before[1] - 40)
    assert server.rows("removed_tables") == 0


def test_tables_are_listed_page_by_page(db: Any) -> None:
    names = [make(db, f"page{number}") for number in range(7)]
    found: list[str] = []
    for page in db.get_paginator("list_tables").paginate(PaginationConfig={"PageSize": 3}):
        assert len(page["TableNames"]) <= 3
        found += page["TableNames"]
    assert [name for name in found if name.startswith("page")] == names and found == sorted(set(found))
    assert refused(db.list_tables, Limit=101)[0] == "ValidationException"


@pytest.mark.parametrize(
    "params, words",
    [
        ({"TableName": "no"}, "tableName"),
        ({"TableName": "white space"}, "tableName"),
        ({"AttributeDefinitions": typed("id:S other:S")}, "does not exactly match"),
        ({"AttributeDefinitions": typed("other:S")}, "not defined in AttributeDefinitions"),
        ({"AttributeDefinitions": typed("id:BOOL")}, "S, N or B"),
        ({"KeySchema": schema("id", "id")}, "AttributeDefinitions"),
        ({"KeySchema": []}, "KeySchema"),
        ({"BillingMode": "PROVISIONED"}, "BillingMode is PROVISIONED"),
        ({"StreamSpecification": {"StreamEnabled": True}}, "StreamViewType"),
        ({"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "ALL"}}, "StreamViewType"),
        ({"GlobalSecondaryIndexes": [index("x/y", "id")]}, "indexName"),
        ({"GlobalSecondaryIndexes": [index("same", "id"), index("same", "id")]}, "Duplicate index name"),
        ({"GlobalSecondaryIndexes": [index("inc", "id", kind="INCLUDE")]}, "NonKeyAttributes is not specified"),
        ({"GlobalSecondaryIndexes": [index(f"i-{n}", "id") for n in range(21)]}, "too many"),
        (
            {"AttributeDefinitions": typed("id:S x:S"), "LocalSecondaryIndexes": [index("loc", "x")]},
            "local index differ",
        ),
    ],
)
def test_bad_tables_are_refused(db: Any, params: dict[str, Any], words: str) -> None:
    good = {"TableName": "bad", "KeySchema": schema("id"), "AttributeDefinitions": typed("id:S"),
            "BillingMode": "PAY_PER_REQUEST"}  # fmt: skip
    code, message = refused(db.create_table, **{**good, **params})
    assert code == "ValidationException" and words in message


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


# -- queries


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


# -- changing indexes


def test_an_index_made_again_does_not_find_rows_of_the_first(server: Server, db: Any) -> None:
    name = make(db, "again", "id:S g:S", GlobalSecondaryIndexes=[index("by-g", "g")])
    for number in range(30):
        db.put_item(TableName=name, Item={"id": {"S": f"k{number}"}, "g": {"S": "x"}})
    db.update_table(TableName=name, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-g"}}])
    assert "GlobalSecondaryIndexes" not in db.describe_table(TableName=name)["Table"]
    assert refused(
        db.update_table, TableName=name, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-g"}}]
    )[0] == "ResourceNotFoundException"  # fmt: skip
    for number in range(20):
        db.delete_item(TableName=name, Key={"id": {"S": f"k{number}"}})
    # Not fit for the index: another type, empty text, nothing at all.
    for key, value in (("n", {"N": "1"}), ("m", {"M": {}}), ("e", {"S": ""})):
        db.put_item(TableName=name, Item={"id": {"S": key}, "g": value})
    db.update_table(
        TableName=name, AttributeDefinitions=typed("g:S"), GlobalSecondaryIndexUpdates=[{"Create": index("by-g", "g")}]
    )
    asked = {"TableName": name, "IndexName": "by-g"}
    wanted = sorted(f"k{number}" for number in range(20, 30))
    for _ in range(2):
        assert sorted(item["id"]["S"] for item in everything(db.scan, **asked)) == wanted
        server.sweep()
    assert server.rows("removed_tables") == 0
    db.put_item(TableName=name, Item={"id": {"S": "k20"}, "g": {"S": "y"}})
    found = db.query(**asked, KeyConditionExpression="g = :y", ExpressionAttributeValues={":y": {"S": "y"}})["Items"]
    assert [item["id"]["S"] for item in found] == ["k20"]


def test_what_can_not_be_made_an_index(db: Any, resource: Any) -> None:
    name = make(db, "unfit", "id:S g:S", GlobalSecondaryIndexes=[index("by-g", "g")])

    def add(one: dict[str, Any], attributes: str) -> tuple[str, str]:
        return refused(
            db.update_table, TableName=name, AttributeDefinitions=typed(attributes),
            GlobalSecondaryIndexUpdates=[{"Create": one}],
        )  # fmt: skip

    assert "already exists" in add(index("by-g", "g"), "g:S")[1]
    assert "two types" in add(index("other", "g"), "g:N")[1]
    assert "not defined" in add(index("other", "x"), "g:S")[1]
    with resource.Table(name).batch_writer() as batch:
        for number in range(61):
            batch.put_item(Item={"id": str(number)})
    code, message = add(index("other", "x"), "x:S")
    assert code == "LimitExceededException" and "60 items" in message
    assert len(db.describe_table(TableName=name)["Table"]["GlobalSecondaryIndexes"]) == 1


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


# -- streams


def records_of(streams: Any, arn: str, kind: str = "TRIM_HORIZON", **more: Any) -> list[dict[str, Any]]:
    """All records from an iterator on, page by page."""
    shards = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    given = {"StreamArn": arn, "ShardId": shards[0]["ShardId"], "ShardIteratorType": kind, **more}
    iterator = streams.get_shard_iterator(**given)["ShardIterator"]
    found: list[dict[str, Any]] = []
    while iterator:
        page = streams.get_records(ShardIterator=iterator)
        if not page["Records"]:
            break
        found += page["Records"]
        iterator = page.get("NextShardIterator")
    return found


def all_records(streams: Any, arn: str) -> list[dict[str, Any]]:
    return records_of(streams, arn)


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


# -- time to live


def test_expired_items_are_removed_by_the_service(server: Server, db: Any, streams: Any) -> None:
    name = make(db, "ttl", stream="OLD_IMAGE")
    now = server.clock.now_ms() // 1000
    items = {f"over{n}": {"N": str(now - 10)} for n in range(20)}
    items |= {
        "later": {"N": str(now + 1000)},
        "ancient": {"N": str(now - 6 * 365 * 86_400)},
        "text": {"S": str(now - 10)},
    }
    for key, end in items.items():
        db.put_item(TableName=name, Item={"id": {"S": key}, "end": end})
    assert db.describe_time_to_live(TableName=name)["TimeToLiveDescription"] == {"TimeToLiveStatus": "DISABLED"}
    on = {"TableName": name, "TimeToLiveSpecification": {"AttributeName": "end", "Enabled": True}}
    db.update_time_to_live(**on)
    assert "already enabled" in refused(db.update_time_to_live, **on)[1]
    about = db.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert about == {"TimeToLiveStatus": "ENABLED", "AttributeName": "end"}
    server.sweep()
    assert {item["id"]["S"] for item in everything(db.scan, TableName=name)} == {"later", "ancient", "text"}
    arn = db.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    gone = [one for one in all_records(streams, arn) if one["eventName"] == "REMOVE"]
    assert len(gone) == 20
    assert all(one["userIdentity"] == {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"} for one in gone)
    assert gone[0]["dynamodb"]["OldImage"]["end"] == {"N": str(now - 10)}


# -- rights


def test_each_table_is_asked_about(server: Server, db: Any) -> None:
    opened, shut = make(db, "open", "id:S g:S", GlobalSecondaryIndexes=[index("by-g", "g")]), make(db, "shut")
    guest, key = server.client(key="AKIAGUEST"), {"id": {"S": "a"}}
    guest.put_item(TableName=opened, Item=key)
    guest.batch_get_item(RequestItems={opened: {"Keys": [key]}})
    guest.scan(TableName=opened, IndexName="by-g")
    guest.transact_write_items(TransactItems=[{"Put": {"TableName": opened, "Item": key}}])
    put = {"PutRequest": {"Item": key}}
    there = {"TableName": shut, "Key": key}
    tags = {"Tags": [{"Key": "a", "Value": "b"}]}
    for method, params in (
        (guest.put_item, {"TableName": shut, "Item": key}),
        (guest.batch_write_item, {"RequestItems": {opened: [put], shut: [put]}}),
        (guest.batch_get_item, {"RequestItems": {shut: {"Keys": [key]}}}),
        (guest.transact_write_items, {"TransactItems": [{"Delete": there}]}),
        (
            guest.transact_write_items,
            {"TransactItems": [{"ConditionCheck": {**there, "ConditionExpression": "id = id"}}]},
        ),
        (guest.transact_get_items, {"TransactItems": [{"Get": there}]}),
        # An ARN that the guest may use, but that means another table's tags.
        (guest.tag_resource, {"ResourceArn": "arn:aws:dynamodb:us-east-1:000000000000:table/shut/index/x", **tags}),
        (guest.tag_resource, {"ResourceArn": "arn:aws:dynamodb:eu-west-1:000000000000:table/shut", **tags}),
    ):
        assert refused(method, **params)[0] == "AccessDeniedException", method
    assert db.scan(TableName=shut)["Count"] == 0
    assert db.list_tags_of_resource(ResourceArn=SCOPE.arn("dynamodb", f"table/{shut}"))["Tags"] == []
