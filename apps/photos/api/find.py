"""What people see: all pictures, one of them, those that match some words, and how many there are."""

import json
import os

import boto3
import searching
from botocore.config import Config

dynamodb = boto3.resource("dynamodb")
rows = dynamodb.Table(os.environ["ROWS"])
counts = dynamodb.Table(os.environ["COUNTS"])
s3 = boto3.client("s3", config=Config(signature_version="s3v4"))
PAGE = 100


def handler(event, context):
    """GET /photos, /photos?q=words, /photos/{id} and /counts."""
    route = event["routeKey"]
    if route == "GET /counts":
        total = counts.get_item(Key={"id": "total"}).get("Item", {})
        return answer(200, {"uploads": int(total.get("uploads", 0)), "bytes": int(total.get("bytes", 0))})
    if route == "GET /photos/{id}":
        row = rows.get_item(Key={"id": event["pathParameters"]["id"]}).get("Item")
        return answer(200, shown(row)) if row else answer(404, {"message": "There is no such picture."})
    words = (event.get("queryStringParameters") or {}).get("q", "").strip()
    found = matching(words) if words else rows.scan(Limit=PAGE)["Items"]
    return answer(200, {"photos": [shown(row) for row in sorted(found, key=lambda row: row["at"], reverse=True)]})


def matching(words):
    """The rows that search finds for ``words``."""
    query = {"size": PAGE, "query": {"multi_match": {"query": words, "fields": ["words", "name"]}}}
    result = searching.call("POST", "/photos/_search", query)
    hits = result["hits"]["hits"] if result else []
    found = (rows.get_item(Key={"id": hit["_id"]}).get("Item") for hit in hits)
    return [row for row in found if row]


def shown(row):
    """A row as the page wants it, with a link to its thumbnail that is good for an hour."""
    photo = {"id": row["id"], "name": row["name"], "bytes": int(row["bytes"]), "at": row["at"]}
    if row.get("thumbnail"):
        place = {"Bucket": os.environ["THUMBNAILS"], "Key": row["thumbnail"]}
        photo["thumbnail"] = s3.generate_presigned_url("get_object", Params=place, ExpiresIn=3600)
    return photo


def answer(status, body):
    """A JSON answer."""
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
