"""Which bucket a request means, by its path or its host."""

from __future__ import annotations

from unittest import mock

import pytest

from sluiceway.edges.http import Body, Headers, Request
from sluiceway.edges.routing import choose
from sluiceway.edges.s3.address import address_of
from sluiceway.errors import Invalid


def request(host: str, path: str) -> Request:
    headers = Headers([("host", host)] if host else [])
    return Request("GET", path.encode(), b"", headers, Body(mock.Mock(), 1.0), "http", "c", "r")


SUFFIXES = [
    "s3.localhost", "s3.us-east-1.localhost", "localhost", "s3.amazonaws.com", "s3.us-east-1.amazonaws.com",
    "s3-us-west-2.amazonaws.com", "s3.dualstack.us-east-1.amazonaws.com", "s3-fips.us-east-1.amazonaws.com",
    "s3-fips.dualstack.us-east-1.amazonaws.com", "s3-accelerate.amazonaws.com", "s3-accelerate.dualstack.amazonaws.com",
]  # fmt: skip
BUCKETS = ["photos", "my.dotted.bucket", "a-b-c", "123", "4.photos", "x.s3", "s3.west", "localhost"]


@pytest.mark.parametrize("port", ["", ":4566"])
@pytest.mark.parametrize(
    "bucket, suffix",
    # "x.s3.localhost" is the bucket "x" of S3's own host.
    [(bucket, suffix) for bucket in BUCKETS for suffix in SUFFIXES if suffix != "localhost" or "s3" not in bucket],
)
def test_the_host_names_the_bucket(bucket: str, suffix: str, port: str) -> None:
    host = f"{bucket}.{suffix}{port}"
    for shown in (host, host.upper()):
        found = address_of(request(shown, "/a/b%20c"))
        assert (found.bucket, found.key) == (bucket, "a/b c")
        assert found.raw_path == f"/{bucket}/a/b%20c".encode()
    assert address_of(request(host, "/")).key == ""
    assert choose(request(host, "/")) == "s3"


def test_a_buckets_host_has_keys_only() -> None:
    """A key may look like a path of the server's own; a bucket's name may not."""
    for path in ("/_es", "/_es/x", "/_api/a", "/_ws/a", "/@connections/x", "/%40connections/x"):
        for host in ("photos.s3.localhost:4566", "my.photos.s3.us-east-1.amazonaws.com"):
            assert choose(request(host, path)) == "s3"
            assert address_of(request(host, path)).key
        for host in ("localhost:4566", "s3.localhost:4566", "127.0.0.1"):
            assert choose(request(host, path)) != "s3"


@pytest.mark.parametrize(
    "host",
    [
        "", "localhost", "localhost:4566", "127.0.0.1:4566", "[::1]:4566", "[::ffff:127.0.0.1]:80", "example.com",
        "s3.localhost:4566", "s3.amazonaws.com", "s3.us-east-1.amazonaws.com", "s3.dualstack.us-east-1.amazonaws.com",
        "s3-us-west-2.amazonaws.com", "files.example.com", "localhost.example.com", ".localhost", "-a.localhost",
    ],
)  # fmt: skip
def test_the_path_names_the_bucket(host: str) -> None:
    found = address_of(request(host, "/photos/a/b"))
    assert (found.bucket, found.key, found.raw_path) == ("photos", "a/b", b"/photos/a/b")
    assert address_of(request(host, "/photos")).bucket == "photos"
    assert address_of(request(host, "/photos/")).key == ""
    assert address_of(request(host, "/")).bucket == ""
    with pytest.raises(Invalid):
        address_of(request(host, "/photos/%ff"))
