"""Signed requests to the search domain, with what every runtime has installed."""

import json
import os

import boto3
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

http = urllib3.PoolManager(timeout=10.0, retries=False)
session = boto3.Session()


class SearchFailed(Exception):
    """The search domain answered with an error."""


def call(method, path, body=None):
    """Send a JSON request to the domain and return its JSON answer; None for 404."""
    endpoint = os.environ["SEARCH"]
    url = (endpoint if "://" in endpoint else f"https://{endpoint}") + path
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    kind = "application/x-ndjson" if isinstance(body, bytes) else "application/json"
    request = AWSRequest(method, url, data=data, headers={"content-type": kind})
    SigV4Auth(session.get_credentials(), "es", session.region_name).add_auth(request)
    response = http.request(method, url, body=data, headers=dict(request.headers))
    if response.status == 404:
        return None
    if response.status >= 300:
        raise SearchFailed(f"{response.status}: {response.data[:300]!r}")
    return json.loads(response.data)
