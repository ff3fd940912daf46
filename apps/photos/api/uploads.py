"""Signs an upload: the browser sends the file itself straight to the private bucket."""

import json
import os
import re
import uuid

import boto3
from botocore.config import Config

BUCKET = os.environ["BUCKET"]
EXPIRES_S = 900
s3 = boto3.client("s3", config=Config(signature_version="s3v4"))


def handler(event, context):
    """POST /uploads {"name": "cat.jpg", "type": "image/jpeg"} -> {"id", "url"}."""
    try:
        asked = json.loads(event.get("body") or "{}")
        name, kind = str(asked["name"]), str(asked["type"])
    except (ValueError, KeyError, TypeError):
        return answer(400, {"message": 'Send {"name": ..., "type": ...}.'})
    if not re.fullmatch(r"[\w.+-]{1,60}/[\w.+-]{1,60}", kind):
        return answer(400, {"message": "type is a media type such as image/jpeg."})
    owner = event["requestContext"]["authorizer"]["jwt"]["claims"]["sub"]
    photo = uuid.uuid4().hex
    safe = re.sub(r"[^\w. -]", "_", name)[-120:] or "file"
    key = f"uploads/{re.sub(r'[^A-Za-z0-9-]', '_', owner)}/{photo}/{safe}"
    url = s3.generate_presigned_url(
        "put_object", Params={"Bucket": BUCKET, "Key": key, "ContentType": kind}, ExpiresIn=EXPIRES_S
    )
    return answer(201, {"id": photo, "key": key, "url": url})


def answer(status, body):
    """A JSON answer."""
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
