"""Makes a thumbnail of each uploaded picture, writes its row, and records the upload on the data stream."""

import io
import json
import os
import re
from urllib.parse import unquote_plus

import boto3
from PIL import Image, ImageOps, UnidentifiedImageError

PICTURE_BYTES_MAX = 60 * 1024 * 1024
SIDE_PIXELS = 480
Image.MAX_IMAGE_PIXELS = 120_000_000

s3 = boto3.client("s3")
kinesis = boto3.client("kinesis")
rows = boto3.resource("dynamodb").Table(os.environ["ROWS"])


def handler(event, context):
    """A topic's message holds the bucket's event. Doing it twice gives the same result."""
    for record in event["Records"]:
        for change in json.loads(record["Sns"]["Message"]).get("Records", []):
            process(change)


def process(change):
    """One uploaded object. Its id is in its key: uploads/OWNER/ID/NAME."""
    place = change["s3"]["object"]
    key = unquote_plus(place["key"])
    _, owner, photo, name = key.split("/", 3)
    row = {
        "id": photo,
        "owner": owner,
        "name": name,
        "words": re.sub(r"[\W_]+", " ", name.rsplit(".", 1)[0]),
        "bytes": place["size"],
        "at": change["eventTime"],
    }
    if place["size"] <= PICTURE_BYTES_MAX:
        thumbnail = made(change["s3"]["bucket"]["name"], key)
        if thumbnail:
            row["thumbnail"] = f"{photo}.jpg"
            s3.put_object(
                Bucket=os.environ["THUMBNAILS"], Key=row["thumbnail"], Body=thumbnail, ContentType="image/jpeg"
            )
    rows.put_item(Item=row)
    data = json.dumps({"id": photo, "bytes": place["size"], "at": row["at"]}).encode()
    kinesis.put_record(StreamName=os.environ["ACTIVITY"], PartitionKey=photo, Data=data)


def made(bucket, key):
    """JPEG bytes of the thumbnail; None for what is not a picture."""
    data = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    try:
        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        return None
    picture.thumbnail((SIDE_PIXELS, SIDE_PIXELS))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=85)
    return out.getvalue()
