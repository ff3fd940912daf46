"""Tables by boto3: made, changed, swept, and who may use them."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.inprocess import SCOPE
from helpers.tables import Server, all_records, everything, index, make, refused, schema, typed

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
