"""Signed requests by the standard library alone: a worker that lives for a second can't wait for an SDK."""

import hashlib
import hmac
import http.client
import json
import os
import time
from urllib.parse import urlsplit


def call(service, url, path, body, headers):
    """POST ``body`` as this function; the JSON answer. Signature Version 4, as AWS documents it."""
    parts = urlsplit(url)
    now, region = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), os.environ["AWS_REGION"]
    headers = {
        **headers,
        "host": parts.netloc,
        "x-amz-date": now,
        "x-amz-security-token": os.environ["AWS_SESSION_TOKEN"],
    }
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"POST\n{path}\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{now[:8]}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in (*scope.split("/"), text):
        signature = hmac.new(key, part.encode(), hashlib.sha256)
        key = signature.digest()
    credential = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature.hexdigest()}"
    )
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=8)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path} answered {answer.status}: {content[:300]!r}")
    return json.loads(content)


def mark(what):
    """Write a row that says that a function saw ``what``."""
    body = json.dumps({"TableName": os.environ["MARKS"], "Item": {"id": {"S": what}}}).encode()
    kind = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.PutItem"}
    call("dynamodb", os.environ["AWS_ENDPOINT_URL"], "/", body, kind)


def bulk(lines):
    """One bulk request to the search domain; raises unless every line of it was carried out."""
    endpoint = os.environ["SEARCH"]
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    url = endpoint if "://" in endpoint else f"http://{endpoint}"
    answer = call("es", url, "/_bulk", body, {"content-type": "application/x-ndjson"})
    if answer["errors"]:
        raise RuntimeError(json.dumps(answer)[:500])
