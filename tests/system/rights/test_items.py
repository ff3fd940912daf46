"""Policies that open some items and attributes of a table (Amazon DynamoDB Developer Guide, "Using IAM policy conditions
for fine-grained access control")."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from helpers.rights import arn, denied, may, person
from helpers.server import ServerProcess

TABLE = "scores"
ADA, BOB = {"user": {"S": "ada"}, "game": {"S": "chess"}}, {"user": {"S": "bob"}, "game": {"S": "chess"}}


@pytest.fixture(scope="module")
def root(server: ServerProcess) -> Any:
    client = server.client("dynamodb")
    client.create_table(
        TableName=TABLE, BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "user", "KeyType": "HASH"}, {"AttributeName": "game", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("user", "game", "team")],
        GlobalSecondaryIndexes=[{"IndexName": "teams", "KeySchema": [{"AttributeName": "team", "KeyType": "HASH"}],
                                 "Projection": {"ProjectionType": "ALL"}}],
    )  # fmt: skip
    for key in (ADA, BOB):
        client.put_item(TableName=TABLE, Item={**key, "team": {"S": f"team-{key['user']['S']}"}, "points": {"N": "7"}})
    return client


def own(server: ServerProcess, *values: str, name: str = "dynamodb:LeadingKeys", **more: Any) -> Any:
    condition = {"ForAllValues:StringEquals": {name: list(values)}, **more}
    resources = [arn("dynamodb", f"table/{TABLE}"), arn("dynamodb", f"table/{TABLE}/index/*")]
    return server.client("dynamodb", person(server, may("dynamodb:*", resources, Condition=condition)))


def test_only_the_keys_that_a_policy_opens(server: ServerProcess, root: Any) -> None:
    ada = own(server, "ada", "team-ada")
    of_ada, of_bob = {"TableName": TABLE, "Key": ADA}, {"TableName": TABLE, "Key": BOB}
    assert ada.get_item(**of_ada)["Item"]["points"] == {"N": "7"}
    denied(ada.get_item, **of_bob)
    denied(ada.delete_item, **of_bob)
    denied(ada.put_item, TableName=TABLE, Item=BOB)
    denied(ada.update_item, **of_bob, UpdateExpression="SET points = :p", ExpressionAttributeValues={":p": {"N": "0"}})
    ada.update_item(**of_ada, UpdateExpression="SET points = :p", ExpressionAttributeValues={":p": {"N": "7"}})
    assert root.get_item(**of_bob)["Item"]["points"] == {"N": "7"}


def test_only_the_partitions_that_a_policy_opens(server: ServerProcess, root: Any) -> None:
    ada = own(server, "ada", "team-ada")

    def query(name: str, value: str, **more: Any) -> Any:
        about = {"ExpressionAttributeNames": {"#k": name}, "ExpressionAttributeValues": {":k": {"S": value}}}
        return ada.query(TableName=TABLE, KeyConditionExpression="#k = :k", **about, **more)

    assert query("user", "ada")["Count"] == 1
    assert query("team", "team-ada", IndexName="teams")["Count"] == 1
    denied(query, name="user", value="bob")
    denied(query, name="team", value="team-bob", IndexName="teams")


def test_every_item_of_a_batch_and_a_transaction(server: ServerProcess, root: Any) -> None:
    ada = own(server, "ada")
    keys = {TABLE: {"Keys": [ADA, BOB]}}
    denied(ada.batch_get_item, RequestItems=keys)
    denied(ada.batch_write_item, RequestItems={TABLE: [{"PutRequest": {"Item": ADA}}, {"DeleteRequest": {"Key": BOB}}]})
    denied(ada.batch_write_item, RequestItems={TABLE: [{"PutRequest": {"Item": ADA}}, {"PutRequest": {"Item": BOB}}]})
    denied(ada.batch_write_item, RequestItems={TABLE: [{"DeleteRequest": {"Key": ADA}, "PutRequest": {"Item": BOB}}]})
    denied(ada.transact_get_items, TransactItems=[{"Get": {"TableName": TABLE, "Key": key}} for key in (ADA, BOB)])
    denied(ada.transact_write_items, TransactItems=[
        {"Put": {"TableName": TABLE, "Item": ADA}}, {"Delete": {"TableName": TABLE, "Key": BOB}}])  # fmt: skip
    assert ada.batch_get_item(RequestItems={TABLE: {"Keys": [ADA]}})["Responses"][TABLE]
    assert ada.transact_get_items(TransactItems=[{"Get": {"TableName": TABLE, "Key": ADA}}])["Responses"][0]["Item"]
    assert root.get_item(TableName=TABLE, Key=BOB)["Item"]["points"] == {"N": "7"}


def test_only_the_attributes_that_a_policy_opens(server: ServerProcess, root: Any) -> None:
    whole = {"StringEqualsIfExists": {"dynamodb:Select": "SPECIFIC_ATTRIBUTES", "dynamodb:ReturnValues": "NONE"}}
    some = own(server, "user", "game", "team", name="dynamodb:Attributes", **whole)
    of_ada = {"TableName": TABLE, "Key": ADA}
    assert some.get_item(**of_ada, ProjectionExpression="team")["Item"] == {"team": {"S": "team-ada"}}
    assert some.scan(TableName=TABLE, ProjectionExpression="team")["Count"] == 2
    denied(some.get_item, **of_ada)
    denied(some.scan, TableName=TABLE)
    denied(some.get_item, **of_ada, ProjectionExpression="team, points")
    denied(some.get_item, **of_ada, ProjectionExpression="#p", ExpressionAttributeNames={"#p": "points"})
    denied(some.batch_get_item, RequestItems={TABLE: {"Keys": [ADA], "ProjectionExpression": "points"}})
    denied(some.scan, TableName=TABLE, ProjectionExpression="team", FilterExpression="points > :p",
           ExpressionAttributeValues={":p": {"N": "1"}})  # fmt: skip
    denied(some.put_item, TableName=TABLE, Item={**ADA, "points": {"N": "9"}})
    denied(some.delete_item, **of_ada, ConditionExpression="points > :p", ExpressionAttributeValues={":p": {"N": "99"}})
    denied(some.delete_item, **of_ada, ReturnValues="ALL_OLD")
    denied(some.update_item, **of_ada, UpdateExpression="SET points = :p", ExpressionAttributeValues={":p": {"N": "9"}})
    some.update_item(**of_ada, UpdateExpression="SET team = :t", ExpressionAttributeValues={":t": {"S": "team-ada"}})


def test_other_conditions_go_on_as_they_were(server: ServerProcess, root: Any) -> None:
    nobody = own(server, "ada", Null={"dynamodb:LeadingKeys": "true"})
    denied(nobody.get_item, TableName=TABLE, Key=ADA)
    with pytest.raises(ClientError, match="ValidationException"):
        own(server, "ada").query(TableName=TABLE, KeyConditionExpression="nonsense")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        server.client("dynamodb", person(server, may("dynamodb:*", Condition={
            "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["ada"]}}))).get_item(TableName="nowhere", Key=ADA)  # fmt: skip
