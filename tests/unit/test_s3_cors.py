"""CORS as S3 answers it: every rule's members, preflights and actual requests, and what is no such request."""

from __future__ import annotations

from typing import Any

import pytest

from sluiceway.edges.http import Headers
from sluiceway.edges.s3 import cors
from sluiceway.errors import AccessDenied, Invalid

ORIGIN = "https://app.example.com"
VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


def asked(origin: str = ORIGIN, method: str = "PUT", *names: str) -> Headers:
    items = [("origin", origin), ("access-control-request-method", method)]
    items += [("access-control-request-headers", name) for name in names]
    return Headers([(name, value) for name, value in items if value])


def rule(**members: Any) -> dict[str, Any]:
    return {"AllowedOrigins": [ORIGIN], "AllowedMethods": ["GET", "PUT"], **members}


def preflight(headers: Headers, *rules: dict[str, Any]) -> dict[str, str]:
    response = cors.preflight(headers, rules, "OBJECT")
    assert response.status == 200 and response.body == b""
    return dict(response.headers)


def refused(headers: Headers, *rules: dict[str, Any]) -> AccessDenied:
    with pytest.raises(AccessDenied) as caught:
        cors.preflight(headers, rules, "OBJECT")
    assert caught.value.kind == "cors"
    return caught.value


def test_a_preflight_is_answered_with_its_rule() -> None:
    full = rule(AllowedHeaders=["*"], ExposeHeaders=["ETag", "x-amz-id-2"], MaxAgeSeconds=3000)
    assert preflight(asked(ORIGIN, "PUT", "X-Amz-Date,content-TYPE", "x-b"), full) == {
        "access-control-allow-origin": ORIGIN,
        "access-control-allow-methods": "GET, PUT",
        "access-control-allow-headers": "x-amz-date, content-type, x-b",
        "access-control-expose-headers": "ETag, x-amz-id-2",
        "access-control-max-age": "3000",
        "access-control-allow-credentials": "true",
        "vary": VARY,
    }
    assert preflight(asked(), rule(AllowedOrigins=["*"])) == {
        "access-control-allow-origin": "*", "access-control-allow-methods": "GET, PUT", "vary": VARY,
    }  # fmt: skip
    assert preflight(asked(), rule(MaxAgeSeconds=0))["access-control-max-age"] == "0"


def test_the_first_rule_that_fits_answers() -> None:
    rules = [rule(AllowedMethods=["GET"]), rule(AllowedHeaders=["x-a"], MaxAgeSeconds=1), rule(AllowedOrigins=["*"])]
    assert preflight(asked(), *rules)["access-control-max-age"] == "1"
    assert preflight(asked("https://other.example"), *rules)["access-control-allow-origin"] == "*"
    assert preflight(asked(ORIGIN, "PUT", "x-a"), *rules)["access-control-allow-headers"] == "x-a"
    refused(asked("https://other.example", "PUT", "x-a"), *rules)


@pytest.mark.parametrize(
    "pattern, origin, fits",
    [
        ("*", "null", True), ("*", "anything", True), ("null", "null", True), (ORIGIN, "null", False),
        ("http://*.origin.com", "http://test.origin.com", True), ("http://*.origin.com", "http://a.b.origin.com", True),
        ("http://*.origin.com", "http://test.origin.com/", False), ("http://*.origin.com", "http://origin.com", False),
        ("http://*.origin.com", "https://test.origin.com", False), ("https://a*b", "https://ab", True),
        ("https://ab*ba", "https://aba", False), ("http://localhost:*", "http://localhost:3000", True),
        (ORIGIN, ORIGIN + ":443", False), (ORIGIN, ORIGIN + ".evil.example", False), ("https://a.b", "https://axb", False),
        (ORIGIN, ORIGIN.upper(), False),
    ],
)  # fmt: skip
def test_origins(pattern: str, origin: str, fits: bool) -> None:
    given = rule(AllowedOrigins=[pattern])
    if fits:
        shown = "*" if pattern == "*" else origin
        assert preflight(asked(origin), given)["access-control-allow-origin"] == shown
    else:
        assert refused(asked(origin), given).detail == {"Method": "PUT", "ResourceType": "OBJECT"}
    assert bool(cors.actual(Headers([("origin", origin)]), "GET", [given])) is fits


@pytest.mark.parametrize(
    "allowed, name, fits",
    [
        ([], "x-a", False), (["*"], "x-a", True), (["x-amz-*"], "X-Amz-Date", True), (["x-amz-*"], "x-am", False),
        (["X-AMZ-Meta"], "x-amz-meta", True), (["x-amz-meta"], "x-amz-meta-a", False), (["*-a"], "x-a", True),
        (["x-a", "x-b"], "x-b", True), (["x-a"], "x-a, x-b", False), (["x-a"], "", True), (["x-a"], " , ", True),
    ],
)  # fmt: skip
def test_headers(allowed: list[str], name: str, fits: bool) -> None:
    given = rule(AllowedHeaders=allowed) if allowed else rule()
    if fits:
        preflight(asked(ORIGIN, "PUT", name), given)
    else:
        refused(asked(ORIGIN, "PUT", name), given)


def test_what_is_no_preflight() -> None:
    for headers, message in (
        (Headers([]), "Insufficient information. Origin request header needed."),
        (asked("", "PUT"), "Insufficient information. Origin request header needed."),
        (asked(ORIGIN, ""), "Invalid Access-Control-Request-Method: null"),
        (asked(ORIGIN, "PATCH"), "Invalid Access-Control-Request-Method: PATCH"),
        (asked(ORIGIN, "put"), "Invalid Access-Control-Request-Method: put"),
    ):
        with pytest.raises(Invalid) as caught:
            cors.preflight(headers, [rule()], "OBJECT")
        assert (caught.value.kind, caught.value.message) == ("preflight", message)


def test_buckets_without_rules_and_without_being() -> None:
    for rules, message in (
        ([], "CORSResponse: CORS is not enabled for this bucket."), (None, "CORSResponse: Bucket not found"),
    ):  # fmt: skip
        for headers, method in ((asked(), "PUT"), (asked(ORIGIN, ""), "OPTIONS")):
            with pytest.raises(AccessDenied) as caught:
                cors.preflight(headers, rules, "OBJECT")
            assert caught.value.message == message
            assert caught.value.detail == {"Method": method, "ResourceType": "BUCKET"}
        with pytest.raises(Invalid):
            cors.preflight(Headers([]), rules, "OBJECT")


def test_actual_requests() -> None:
    full = rule(ExposeHeaders=["ETag"], MaxAgeSeconds=5)
    answer = dict(cors.actual(Headers([("origin", ORIGIN)]), "GET", [full]))
    assert answer == {
        "access-control-allow-origin": ORIGIN, "access-control-allow-methods": "GET, PUT",
        "access-control-expose-headers": "ETag", "access-control-max-age": "5",
        "access-control-allow-credentials": "true", "vary": VARY,
    }  # fmt: skip
    for method, rules in (("DELETE", [full]), ("GET", []), ("GET", None)):
        assert cors.actual(Headers([("origin", ORIGIN)]), method, rules) == []
    # What a preflight would ask decides here, too, if it is sent along.
    assert cors.actual(asked(ORIGIN, "DELETE"), "GET", [full]) == []
    assert cors.actual(asked(ORIGIN, "", "x-a"), "GET", [full]) == []
    assert cors.actual(asked(ORIGIN, "PUT", "x-a"), "GET", [rule(AllowedHeaders=["*"])]) != []
