"""Browser forms: the multipart reader split at every byte, every condition of a policy, and who signed it."""

from __future__ import annotations

import base64
import json
import random
import time
from contextlib import suppress
from typing import Any

import pytest
from helpers import forms
from hypothesis import given, settings
from hypothesis import strategies as st

from sluiceway.config import SecuritySettings
from sluiceway.core.identity import ANONYMOUS, Principal, Scope
from sluiceway.edges.s3.form import FormReader
from sluiceway.edges.s3.form_policy import FormPolicy, Sizes, parse_policy
from sluiceway.edges.s3.post import redirect_to
from sluiceway.edges.sigv4 import SignatureVerifier
from sluiceway.edges.sigv4_forms import verify_form
from sluiceway.errors import (
    AccessDenied,
    DomainError,
    Invalid,
    NotImplementedYet,
    PreconditionFailed,
    TooLarge,
    Unauthenticated,
)

LIMIT = 20 * 1024
END = f"--{forms.BOUNDARY}--\r\n".encode()


def read(pieces: list[bytes], limit: int = LIMIT, content_type: str = forms.content_type()) -> tuple[FormReader, bytes]:
    reader = FormReader(content_type, limit)
    file = b"".join(data for piece in pieces for data in reader.feed(piece))
    reader.finish()
    return reader, file


# -- the reader

BODY = forms.body(
    [("Key", "up/${filename}"), ("x-amz-meta-a", "z\r\n--z"), ("empty", "")], b"\r\n--x\r\n\x00\xff-", "dir/a b.txt"
)
FIELDS = {"key": "up/${filename}", "x-amz-meta-a": "z\r\n--z", "empty": ""}
FILE = b"\r\n--x\r\n\x00\xff-"


def test_split_at_every_byte() -> None:
    for at in range(len(BODY) + 1):
        reader, file = read([BODY[:at], BODY[at:]])
        assert (reader.fields, file, reader.filename) == (FIELDS, FILE, "dir/a b.txt")
    reader, file = read([bytes([byte]) for byte in BODY])
    assert (reader.fields, file) == (FIELDS, FILE)
    assert reader.filled()["key"] == "up/a b.txt"


def test_cut_off_at_every_byte() -> None:
    whole = len(BODY) - 2  # the line's end after the last boundary may be missing
    for at in range(whole):
        with pytest.raises(Invalid) as caught:
            read([BODY[:at]])
        assert caught.value.kind == "form"
    read([BODY[:whole]])


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000), st.randoms(use_true_random=False))
def test_any_file_comes_out_as_it_went_in(data: bytes, order: random.Random) -> None:
    body = forms.body([("key", "k")], data)
    cuts = sorted(order.sample(range(len(body)), min(5, len(body))))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert read(pieces)[1] == data


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(
    st.binary(max_size=40),
    st.sampled_from([
        b"\r\n", b"\n", END, f"--{forms.BOUNDARY}\r\n".encode(), f"\r\n--{forms.BOUNDARY}".encode(),
        b'Content-Disposition: form-data; name="file"\r\n\r\n', b'Content-Disposition: form-data; name="key"',
        b"Content-Length: 5\r\n", b" folded\r\n", b'Content-Disposition: attachment\r\n\r\n', b": \r\n",
    ]),
), max_size=12))  # fmt: skip
def test_garbage_is_refused_and_never_breaks(pieces: list[bytes]) -> None:
    with suppress(DomainError):
        read(pieces)


def kind(body: bytes, **more: Any) -> str:
    with pytest.raises(DomainError) as caught:
        read([body], **more)
    return f"{type(caught.value).__name__} {caught.value.kind}"


def disposition(text: str) -> bytes:
    return f"--{forms.BOUNDARY}\r\nContent-Disposition: {text}\r\n\r\nx\r\n".encode()


@pytest.mark.parametrize(
    "body, expected",
    [
        (b"", "Invalid form"),
        (END, "Invalid argument"),
        (forms.body([("key", "k")], None), "Invalid argument"),
        (forms.part("file", b"") * 2 + END, "Invalid argument"),
        (forms.part("key", "a") + forms.part("KEY", "b") + forms.body([]), "Invalid argument"),
        (forms.part("key", b"\xff") + forms.body([]), "Invalid form"),
        (disposition('form-data; name="a\x00"') + forms.body([]), "Invalid form"),
        (disposition("form-data") + forms.body([]), "Invalid form"),
        (disposition('attachment; name="key"') + forms.body([]), "Invalid form"),
        (f"--{forms.BOUNDARY}\r\n\r\nx\r\n".encode() + forms.body([]), "Invalid form"),
        (forms.part("a", b"a" * LIMIT) + forms.body([]), "TooLarge form"),
        (b"".join(forms.part(f"x{n}", "") for n in range(1000)) + forms.body([]), "TooLarge form"),
        (forms.part("n" * LIMIT, "") + forms.body([]), "TooLarge form"),
        (b"preamble\r\n" * 10_000 + forms.body([]), "TooLarge form"),
        (forms.body([]) + b"epilogue" * 10_000, "TooLarge form"),
        (forms.part("file", b"x") + forms.part("a", b"a" * LIMIT) + END, "TooLarge form"),
    ],
)  # fmt: skip
def test_forms_that_are_none(body: bytes, expected: str) -> None:
    assert kind(body) == expected


@pytest.mark.parametrize("body", [b"--", b"-" * 5000, b"\r\n" * 3000])
def test_what_never_begins_is_held_within_the_limit(body: bytes) -> None:
    reader = FormReader(forms.content_type(), LIMIT)
    with pytest.raises(TooLarge):
        for _ in range(LIMIT):
            reader.feed(body)
    assert len(reader._parser._buffer) < LIMIT


def test_media_types() -> None:
    for text in ("", "text/plain", "multipart/mixed; boundary=x", "application/x-www-form-urlencoded"):
        with pytest.raises(PreconditionFailed):
            FormReader(text, LIMIT)
    for text in ("multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary="a\\\nb"',
                 "multipart/form-data; boundary=" + "b" * 71, "multipart/form-data; boundary=\xfc"):  # fmt: skip
        with pytest.raises(Invalid):
            FormReader(text, LIMIT)
    quoted = forms.body([("key", "k")]).replace(forms.BOUNDARY.encode(), b"a b'()+_,-./:=?c")
    assert (
        read([quoted], content_type='Multipart/Form-Data; charset=utf-8; boundary="a b\'()+_,-./:=?c"')[1] == b"content"
    )


@pytest.mark.parametrize(
    "filename, shown",
    [
        ("a.txt", "a.txt"), ("C:\\Program Files\\a.txt", "a.txt"), ("/tmp/a/b.txt", "b.txt"), ("a/b\\c", "c"), ("", ""),
        ("%22quoted%22", '"quoted"'), ("100%25", "100%25"), ("ünï \U0001f600", "ünï \U0001f600"), (None, "${filename}"),
    ],
)  # fmt: skip
def test_the_files_name_stands_in_for_its_variable(filename: str | None, shown: str) -> None:
    reader, _ = read([forms.body([("key", "a/${filename}/${filename}"), ("b", "$filename")], b"", filename)])
    assert reader.filled() == {"key": f"a/{shown}/{shown}", "b": "$filename"}


def test_names_of_files_that_browsers_never_send() -> None:
    """RFC 7578, 4.2: the encoding of RFC 5987 must not be used, so it names nothing."""
    body = forms.part("key", "${filename}")
    body += disposition("form-data; name=\"file\"; filename*=UTF-8''na%20me") + END
    assert read([body])[0].filled() == {"key": "${filename}"}
    body = forms.part("key", "${filename}") + disposition('form-data; name=file; filename="a\\"b"') + END
    assert read([body])[0].filled() == {"key": 'a"b'}


def test_a_long_name_in_many_places_is_refused() -> None:
    reader, _ = read([forms.body([("a", "${filename}" * 1000)], b"", "n" * 1000)])
    with pytest.raises(TooLarge):
        reader.filled()


# -- policies

NOW = 1_700_000_000
SOON = "2023-11-14T22:13:21.000Z"  # a second after


def encoded(document: Any) -> str:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return base64.b64encode(raw).decode()


def policy(*conditions: Any, expiration: str = SOON) -> FormPolicy:
    return parse_policy(encoded({"expiration": expiration, "conditions": [{"bucket": "b"}, *conditions]}))


def allows(condition: Any, **fields: str) -> bool:
    given = {name.replace("_", "-"): value for name, value in fields.items()}
    try:
        policy(condition).check(given, "b", NOW, 10)
    except AccessDenied:
        return False
    return True


@pytest.mark.parametrize(
    "condition, value, holds",
    [
        ({"key": "a"}, "a", True), ({"key": "a"}, "A", False), ({"KEY": "a"}, "a", True), ({"key": ""}, "", True),
        (["eq", "$key", "a"], "a", True), (["EQ", "$Key", "a"], "a", True), (["eq", "$key", "a"], "ab", False),
        (["eq", "key", "a"], "a", False), (["eq", "$", "a"], "a", False),
        (["starts-with", "$key", "a/"], "a/b", True), (["starts-with", "$key", "a/"], "a", False),
        (["StArTs-WiTh", "$kEy", ""], "anything", True), (["starts-with", "$key", "\\$foo"], "\\$foo.txt", True),
        (["starts-with", "$key", "a"], "x,a", False), (["eq", "$key", "$key"], "$key", True),
    ],
)  # fmt: skip
def test_conditions(condition: Any, value: str, holds: bool) -> None:
    assert allows(condition, key=value) is holds


def test_content_types_may_be_a_list() -> None:
    images = ["starts-with", "$Content-Type", "image/"]
    assert allows(images, content_type="image/jpg,image/png, image/gif")
    assert not allows(images, content_type="image/jpg,text/plain")
    assert not allows({"Content-Type": "image/jpg"}, content_type="image/jpg,image/jpg")
    assert not allows(["starts-with", "$x-amz-meta-t", "image/"], x_amz_meta_t="text/plain,image/png")


def test_every_field_needs_a_condition() -> None:
    free = {"policy": "p", "x-amz-signature": "s", "awsaccesskeyid": "a", "x-ignore-this": "x"}
    assert policy().check(free, "b", NOW, 10) == Sizes(0, 10)
    with pytest.raises(AccessDenied, match=r"Extra input fields: key, x-amz-date$"):
        policy().check({**free, "key": "k", "x-amz-date": "d"}, "b", NOW, 10)
    with pytest.raises(AccessDenied, match=r"Extra input fields: bucket$"):
        parse_policy(encoded({"expiration": SOON, "conditions": []})).check(free, "b", NOW, 10)
    with pytest.raises(AccessDenied, match=r'Policy Condition failed: \["eq", "\$bucket", "b"\]$'):
        policy().check({"bucket": "b"}, "other", NOW, 10)
    with pytest.raises(AccessDenied, match=r'Policy Condition failed: \["starts-with", "\$acl", ""\]$'):
        policy(["starts-with", "$acl", ""]).check({}, "b", NOW, 10)


def test_sizes_are_the_narrowest() -> None:
    within = ["content-length-range", 5, 10]
    assert policy(within).check({}, "b", NOW, 100) == Sizes(5, 10)
    assert policy(within, ["content-length-range", "7", "20"]).check({}, "b", NOW, 9) == Sizes(7, 9)


def test_expiration() -> None:
    for text, left in ((SOON, True), ("2023-11-14T22:13:20Z", False), ("2023-11-14T22:13:21Z", True)):
        if left:
            policy(expiration=text).check({}, "b", NOW, 10)
        else:
            with pytest.raises(AccessDenied, match=r"Policy expired\.$"):
                policy(expiration=text).check({}, "b", NOW, 10)


@pytest.mark.parametrize(
    "text",
    [
        "", "tomorrow", "2999-01-01", "2999-01-01 00:00:00", "2999-01-01T00:00:00+00:00", "2999-02-30T00:00:00Z",
        "2999-01-01T00:00:00", "0000-01-01T00:00:00Z", "２９９９-01-01T00:00:00Z",
    ],
)  # fmt: skip
def test_expirations_that_are_none(text: str) -> None:
    with pytest.raises(Invalid, match="Invalid 'expiration' value") as caught:
        policy(expiration=text)
    assert caught.value.kind == "form_policy"


@pytest.mark.parametrize(
    "document",
    [
        b"", b"not json", b"[]", b"\xff", b"[" * 100_000, {"conditions": []}, {"expiration": SOON},
        {"EXPIRATION": SOON, "conditions": []}, {"expiration": SOON, "CONDITIONS": []},
        {"expiration": 32503680000, "conditions": []}, {"expiration": SOON, "conditions": {}},
        *(
            {"expiration": SOON, "conditions": [condition]}
            for condition in (
                {}, {"acl": "private", "key": "k"}, {"acl": 1}, {"acl": None}, "bucket", None, [], [1], ["eq"],
                ["eq", "$key"], ["eq", "$key", "a", "b"], ["eq", 1, "a"], ["eq", "$key", 1], ["ends-with", "$key", "x"],
                ["content-length-range", 0], ["content-length-range", -1, 0],
            )
        ),
    ],
)  # fmt: skip
def test_documents_that_are_none(document: Any) -> None:
    with pytest.raises(Invalid) as caught:
        parse_policy(encoded(document))
    assert caught.value.kind == "form_policy" and caught.value.message.startswith("Invalid Policy: ")


def test_documents_that_are_no_base64() -> None:
    for text in ("{policy}", "a", "ü", "====", "e30 =x"):
        with pytest.raises(Invalid, match=r"Invalid Policy: Invalid JSON\."):
            parse_policy(text)
    text = encoded({"expiration": SOON, "conditions": []})
    assert parse_policy("\r\n".join(text[at : at + 20] for at in range(0, len(text), 20))).conditions == ()


@pytest.mark.parametrize("size", ["test", None, True, 1.5, "１", "1" * 30, 10**30])
def test_sizes_that_are_no_numbers(size: Any) -> None:
    """For S3 they are a condition that fails, not a document that is wrong."""
    with pytest.raises(AccessDenied, match=r'Policy Condition failed: \["content-length-range", '):
        policy(["content-length-range", size, 10])


def test_escapes_that_json_does_not_have() -> None:
    """The dollar sign and the vertical tab, beside those of JSON (page "POST policy", "Character escaping")."""
    condition = rb'["eq", "$key", "a\$b\v\\\\$\u00fc\"c"]'
    raw = b'{"expiration": "%b", "conditions": [{"bucket": "b"}, %b]}' % (SOON.encode(), condition)
    parse_policy(encoded(raw)).check({"key": 'a$b\x0b\\\\$ü"c'}, "b", NOW, 1)
    with pytest.raises(Invalid):
        parse_policy(encoded(raw.replace(b"\\v", b"\\q")))


def test_a_policy_takes_no_time() -> None:
    """The form's limit bounds its conditions: the worst of 20 KiB."""
    conditions = [["starts-with", "$x", ""]] * 1000
    began = time.process_time()
    policy(*conditions).check({"x": "y"}, "b", NOW, 1)
    assert time.process_time() - began < 0.5


# -- signatures

EXAMPLE = Principal("user", "123456789012", "example", "arn:aws:iam::123456789012:user/example")
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#: S3 API reference, "Example: browser-based upload using HTTP POST (using AWS Signature Version 4)".
DOCUMENT = """{ "expiration": "2015-12-30T12:00:00.000Z",
  "conditions": [
    {"bucket": "sigv4examplebucket"},
    ["starts-with", "$key", "user/user1/"],
    {"acl": "public-read"},
    {"success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"},
    ["starts-with", "$Content-Type", "image/"],
    {"x-amz-meta-uuid": "14365123651274"},
    {"x-amz-server-side-encryption": "AES256"},
    ["starts-with", "$x-amz-meta-tag", ""],

    {"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"},
    {"x-amz-algorithm": "AWS4-HMAC-SHA256"},
    {"x-amz-date": "20151229T000000Z" }
  ]
}"""
FORM = {
    "key": "user/user1/photo.jpg",
    "acl": "public-read",
    "success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html",
    "content-type": "image/jpeg",
    "x-amz-meta-uuid": "14365123651274",
    "x-amz-server-side-encryption": "AES256",
    "x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request",
    "x-amz-algorithm": "AWS4-HMAC-SHA256",
    "x-amz-date": "20151229T000000Z",
    "x-amz-meta-tag": "",
    "policy": base64.b64encode(DOCUMENT.replace("\n", "\r\n").encode()).decode(),
    "x-amz-signature": "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e",
}
NOON_S = 1_451_390_400  # 29 December 2015, 12:00 UTC


class Ring:
    def find(self, access_key_id: str, session_token: str | None) -> tuple[str, Principal]:
        if access_key_id != "AKIAIOSFODNN7EXAMPLE" or session_token:
            raise Unauthenticated("unknown_key", "no such key")
        return SECRET, EXAMPLE


class Noon:
    def now_ms(self) -> int:
        return NOON_S * 1000


VERIFIER = SignatureVerifier(Ring(), Scope("123456789012", "us-east-1"), Noon(), SecuritySettings())


def test_the_documented_example() -> None:
    assert verify_form(VERIFIER, FORM).principal is EXAMPLE
    found = parse_policy(FORM["policy"])
    assert found.check(FORM, "sigv4examplebucket", NOON_S, 5) == Sizes(0, 5)
    with pytest.raises(AccessDenied, match="expired"):
        found.check(FORM, "sigv4examplebucket", NOON_S + 86400, 5)
    for name in FORM.keys() - {"policy", "x-amz-signature"}:
        for changed in ({**FORM, name: "other"}, {field: value for field, value in FORM.items() if field != name}):
            if name != "x-amz-meta-tag" or name not in changed:  # which may begin with anything
                with pytest.raises(AccessDenied):
                    found.check(changed, "sigv4examplebucket", NOON_S, 5)


def test_every_changed_character_of_what_is_signed_is_refused() -> None:
    for name in ("policy", "x-amz-signature", "x-amz-credential", "x-amz-date", "x-amz-algorithm"):
        for at in range(0, len(FORM[name]), 7):
            other = "b" if FORM[name][at] == "a" else "a"
            with pytest.raises((Unauthenticated, Invalid, NotImplementedYet)):
                verify_form(VERIFIER, {**FORM, name: FORM[name][:at] + other + FORM[name][at + 1 :]})


def test_who_has_no_policy_is_nobody() -> None:
    unsigned = {name: value for name, value in FORM.items() if name != "policy"}
    assert verify_form(VERIFIER, unsigned).principal is ANONYMOUS
    with pytest.raises(Unauthenticated):
        verify_form(VERIFIER, {"key": "k", "policy": FORM["policy"]})
    with pytest.raises(Invalid, match="AWS4-HMAC-SHA256"):
        verify_form(VERIFIER, {"key": "k", "policy": FORM["policy"], "awsaccesskeyid": "A", "signature": "s"})
    with pytest.raises(Unauthenticated):
        verify_form(VERIFIER, {**FORM, "x-amz-security-token": "t"})


# -- where to go then


def test_redirects() -> None:
    about = {"bucket": "b", "key": "a b/ü&", "etag": '"e"'}
    told = "bucket=b&key=a%20b%2F%C3%BC%26&etag=%22e%22"
    assert redirect_to("https://x.example/a?b=c%20d#e", about) == f"https://x.example/a?b=c%20d&{told}#e"
    assert redirect_to("http://x.example", about) == f"http://x.example?{told}"
    assert redirect_to("http://x.example/ü", about) == f"http://x.example/%C3%BC?{told}"
    for bad in ("", "/a", "a", "//x.example", "ftp://x", "javascript:alert(1)", "http://", "http://a b/", "http://[x",
                "http://x.example/\r\nset-cookie: a", "http://x.example/\x00"):  # fmt: skip
        assert redirect_to(bad, about) is None, bad
