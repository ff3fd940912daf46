"""Keeps search up to date with the rows: each change of a row is a change of its document."""

import json

import searching

INDEX = "photos"


def handler(event, context):
    """One bulk request for a batch of the table's change stream, in its order."""
    lines = []
    for record in event["Records"]:
        photo = record["dynamodb"]["Keys"]["id"]["S"]
        if record["eventName"] == "REMOVE":
            lines.append({"delete": {"_index": INDEX, "_id": photo}})
        else:
            row = record["dynamodb"]["NewImage"]
            lines.append({"index": {"_index": INDEX, "_id": photo}})
            lines.append({name: row[name]["S"] for name in ("name", "words", "owner", "at") if name in row})
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    result = searching.call("POST", "/_bulk", body)
    failed = [item for item in result["items"] if next(iter(item.values()))["status"] >= 400]
    if [item for item in failed if "delete" not in item]:
        raise searching.SearchFailed(json.dumps(failed)[:500])
