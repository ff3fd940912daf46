"""Headers that a presigned URL brings in its query.

The presigners of the SDKs for JavaScript, Go and Ruby move a request's ``x-amz-`` headers (metadata, encryption, storage
class, access control lists) into the query, where the URL's signature covers them, so that whoever uses the URL need not
send them. S3 takes them for headers. What it leaves aside there: tags (AWS SDK for Go v2, pull request 1017), and
checksums, which SDKs compute of the empty body that they have when they sign (AWS SDK issue 480).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sluiceway.edges.http import Headers
from sluiceway.errors import Invalid

#: What no header's value may hold: it would break the answers that give it back.
UNSAFE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: What a header may be called (RFC 9110, 5.6.2), in lower case.
NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+\Z")
#: The signature's own parameters, what speaks of the body, and what S3 leaves aside.
_LEFT: Final = (
    "x-amz-algorithm",
    "x-amz-checksum-",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-expires",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
    "x-amz-tagging",
    "x-amz-trailer",
)


def with_hoisted(headers: Headers, query: Mapping[str, str]) -> Headers:
    """``headers`` and those of a presigned ``query``; what is sent as a header counts. Raises ``Invalid("argument")``."""
    found: list[tuple[str, str]] = []
    for given, value in query.items():
        name = given.lower()
        if not name.startswith("x-amz-") or name.startswith(_LEFT) or name in headers:
            continue
        if UNSAFE.search(value) or not NAME.match(name):
            raise Invalid(
                "argument",
                "A parameter has characters that a header can't have.",
                ArgumentName=given[:50],
                ArgumentValue="",
            )
        found.append((name, value.strip().encode().decode("latin-1")))
    return Headers([*headers.items, *found]) if found else headers
