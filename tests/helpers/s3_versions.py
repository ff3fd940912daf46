"""What the tests of versions share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

NEVER = "A" * 32  # well-formed, and never given out


def switch(s3: Any, bucket: str, status: str = "Enabled") -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


def refused(code: str, call: Callable[..., Any], **arguments: Any) -> Any:
    """The response of the error that ``call`` must end in."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response


def read(s3: Any, bucket: str, key: str, version: str | None = None) -> bytes:
    named = {} if version is None else {"VersionId": version}
    body: bytes = s3.get_object(Bucket=bucket, Key=key, **named)["Body"].read()
    return body


def listed(s3: Any, bucket: str, **arguments: Any) -> list[tuple[str, str, bool, bool]]:
    """(key, version, whether the latest, whether a marker) of all pages, versions before markers in each page."""
    found: list[tuple[str, str, bool, bool]] = []
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, **arguments):
        for member, marker in (("Versions", False), ("DeleteMarkers", True)):
            found += [(row["Key"], row["VersionId"], row["IsLatest"], marker) for row in page.get(member, [])]
    return found
