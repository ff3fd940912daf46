"""Every operation of every service, both ways, against botocore's own serialisers and parsers."""

from __future__ import annotations

import base64
import math
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StringShape, StructureShape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluiceway.edges.aws.codecs import Codecs, ServiceCodec
from sluiceway.edges.aws.codecs import model as models
from sluiceway.edges.http import Headers, parse_query
from sluiceway.errors import Invalid, NotFound, NotImplementedYet

SERVICES = [
    "s3",
    "sns",
    "sqs",
    "dynamodb",
    "dynamodbstreams",
    "kinesis",
    "lambda",
    "apigateway",
    "apigatewayv2",
    "apigatewaymanagementapi",
    "sts",
    "iam",
    "secretsmanager",
    "ssm",
    "kms",
    "cloudformation",
    "logs",
    "es",
]
CODECS = Codecs()


@cache
def botocore_model(service: str) -> ServiceModel:
    """The model as botocore itself has it; the codecs read the same file without botocore."""
    return ServiceModel(Loader().load_service_model(service, "service-2"), service_name=service)


DEPTH_MAX = 4
#: Two members of one name on the wire: botocore itself reads one element into both, so only one is compared.
TWINS = dict.fromkeys(
    ("TopicConfigurationDeprecated", "QueueConfigurationDeprecated", "CloudFunctionConfiguration"), ("Event",)
)

times = st.integers(0, 4_000_000_000).map(lambda s: datetime.fromtimestamp(s, UTC))
any_text = st.text(
    st.characters(codec="utf-8", exclude_characters="\r", exclude_categories=("Cc", "Cs", "Cn")), max_size=8
)
plain_text = st.text("abcXYZ019-_", min_size=1, max_size=8)


def scalars(shape: Shape, plain: bool) -> st.SearchStrategy[Any]:
    kind = shape.type_name
    if kind == "string":
        return plain_text if plain else any_text
    if kind in ("integer", "long"):
        return st.integers(-(2**31), 2**31 - 1)
    if kind in ("float", "double"):
        return st.floats(-1e6, 1e6, allow_nan=False, width=32)
    if kind == "boolean":
        return st.booleans()
    if kind == "timestamp":
        return times
    if kind == "blob":
        return st.binary(max_size=8)
    raise AssertionError(kind)


def values(shape: Shape, depth: int = 0, plain: bool = False) -> st.SearchStrategy[Any]:
    if isinstance(shape, StructureShape):
        if shape.is_document_type:
            return st.dictionaries(plain_text, st.integers(0, 9), max_size=2)
        return structures(shape, depth, plain)
    if isinstance(shape, ListShape):
        if depth >= DEPTH_MAX:
            return st.just([])
        return st.lists(values(shape.member, depth + 1, plain), min_size=1, max_size=2)
    if isinstance(shape, MapShape):
        if depth >= DEPTH_MAX:
            return st.just({})
        return st.dictionaries(plain_text, values(shape.value, depth + 1, plain), max_size=2)
    return scalars(shape, plain)


def is_plain(member: Shape) -> bool:
    return "location" in member.serialization or bool(member.serialization.get("xmlAttribute"))


def structures(shape: StructureShape, depth: int, plain: bool) -> st.SearchStrategy[dict[str, Any]]:
    required = {n for n in shape.required_members if n in shape.members}
    optional = [n for n in shape.members if n not in required]
    if depth >= DEPTH_MAX:
        optional = [n for n in optional if not isinstance(shape.members[n], StructureShape | ListShape | MapShape)]
    optional = [n for n in optional if n not in TWINS.get(shape.name, ())]
    if shape.is_tagged_union:
        if depth >= DEPTH_MAX:
            optional = [
                n for n in shape.members if not isinstance(shape.members[n], StructureShape | ListShape | MapShape)
            ]
        return st.sampled_from(optional or list(shape.members)).flatmap(
            lambda name: st.fixed_dictionaries({name: values(shape.members[name], depth + 1, plain)})
        )
    # Forms and flattened XML have no way to write an empty structure, so each has a member.
    chosen = (
        st.sets(st.sampled_from(optional), min_size=0 if required else 1, max_size=4) if optional else st.just(set())
    )
    return chosen.flatmap(
        lambda names: st.fixed_dictionaries(
            {
                name: values(shape.members[name], depth + 1, plain or is_plain(shape.members[name]))
                for name in shape.members
                if name in required or name in names
            }
        )
    )


def normal(shape: Shape | None, value: Any) -> Any:
    """What both sides agree on: empty containers may vanish, floats are compared as text."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        if shape.is_document_type:
            return value
        compared = {n: v for n, v in value.items() if n in shape.members and n not in TWINS.get(shape.name, ())}
        cleaned = {n: normal(shape.members[n], v) for n, v in compared.items() if v is not None}
        return {n: v for n, v in cleaned.items() if v not in ({}, [], "", b"")}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [normal(shape.member, item) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {
            k.lower() if shape.serialization.get("location") == "headers" else k: normal(shape.value, v)
            for k, v in value.items()
        }
    if isinstance(value, float):
        return "nan" if math.isnan(value) else round(value, 3)
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(shape, StringShape) and isinstance(value, bytes):
        return value.decode()
    return value


def round_in(codec: ServiceCodec, model: OperationModel, params: dict[str, Any]) -> dict[str, Any]:
    made = create_serializer(codec.protocol, False).serialize_to_request(params, model)
    query = made["query_string"]
    text = query if isinstance(query, str) else urlencode(query, doseq=True)
    path, _, own = made["url_path"].partition("?")
    pairs = parse_query("&".join(p for p in (own, text) if p).encode())
    body = made["body"]
    if isinstance(body, dict):
        body = urlencode(body, doseq=True).encode()
    elif isinstance(body, str):
        body = body.encode()
    headers = Headers((n.lower(), str(v)) for n, v in made["headers"].items())
    if model.service_model.service_name != "s3":
        assert codec.match(made["method"], path, pairs, headers, body).name == model.name
    return codec.parse(model.name, made["method"], path, pairs, headers, bytes(body))


few = settings(max_examples=3, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def check_request(codec: ServiceCodec, model: OperationModel, shape: StructureShape) -> None:
    @few
    @given(values(shape))
    def check(params: dict[str, Any]) -> None:
        assert normal(shape, round_in(codec, model, params)) == normal(shape, params)

    check()


def check_response(codec: ServiceCodec, model: OperationModel, shape: StructureShape) -> None:
    status = {n for n, m in shape.members.items() if m.serialization.get("location") == "statusCode"}

    @few
    @given(values(shape))
    def check(output: dict[str, Any]) -> None:
        output = {n: v for n, v in output.items() if n not in status}
        parsed = {n: v for n, v in round_out(codec, model, output).items() if n not in status}
        assert normal(shape, parsed) == normal(shape, output)

    check()


@pytest.mark.parametrize("service", SERVICES)
def test_requests_come_out_as_botocore_sent_them(service: str) -> None:
    codec = CODECS.codec_for(service)
    failures = []
    for name in botocore_model(service).operation_names:
        model = botocore_model(service).operation_model(name)
        shape = model.input_shape
        if shape is None or model.has_event_stream_output or model.has_event_stream_input:
            continue

        try:
            check_request(codec, model, shape)
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__} {str(error)[:300]}")
    assert not failures, "\n".join(failures)


def round_out(codec: ServiceCodec, model: OperationModel, output: dict[str, Any]) -> dict[str, Any]:
    wire = codec.serialize(model.name, output, "request-1")
    headers = dict(wire.headers)
    from botocore.awsrequest import HeadersDict

    parsed = create_parser(codec.protocol).parse(
        {"status_code": wire.status, "headers": HeadersDict(headers), "body": wire.body}, model.output_shape
    )
    parsed.pop("ResponseMetadata", None)
    return parsed


@pytest.mark.parametrize("service", SERVICES)
def test_botocore_reads_the_responses(service: str) -> None:
    codec = CODECS.codec_for(service)
    failures = []
    for name in botocore_model(service).operation_names:
        model = botocore_model(service).operation_model(name)
        shape = model.output_shape
        if shape is None or model.has_event_stream_output or name == "GetBucketLocation" or model.has_streaming_output:
            continue
        try:
            check_response(codec, model, shape)
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__} {str(error)[:300]}")
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("service", SERVICES)
def test_the_model_is_the_one_that_botocore_takes(service: str) -> None:
    theirs, ours = botocore_model(service), models.load(service)
    assert ours.operation_names == list(theirs.operation_names)
    assert ours.resolved_protocol == theirs.resolved_protocol
    assert {shape.name for shape in ours.error_shapes} == {shape.name for shape in theirs.error_shapes}


@pytest.mark.parametrize("service", SERVICES)
def test_botocore_reads_every_error(service: str) -> None:
    codec = CODECS.codec_for(service)
    for shape in botocore_model(service).error_shapes:
        wire = codec.serialize_error(None, shape.name, "it went wrong: <&>", "request-1")
        parsed = create_parser(codec.protocol).parse(
            {"status_code": wire.status, "headers": {n.lower(): v for n, v in wire.headers}, "body": wire.body}, None
        )
        expected = shape.metadata.get("error", {}).get("code", shape.name) if codec.protocol == "query" else shape.name
        # Of a service that spoke "query" before, Code is the old one.
        assert parsed["Error"].get("QueryErrorCode", parsed["Error"]["Code"]) == expected
        assert parsed["Error"]["Message"] == "it went wrong: <&>"
        assert wire.status >= 400


HOSTILE_XML = [
    b"<a><b></a>",
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
    b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
    b"<a>" * 100_000,
    b"<a>" * 70 + b"</a>" * 70,
    b"\xff\xfe<a/>",
    b"",
    b"\x00",
    b"<a>&#0;</a>",
    b'<?xml version="1.0" encoding="klingon"?><a/>',
]


@pytest.mark.parametrize("body", HOSTILE_XML)
def test_hostile_xml_is_refused(body: bytes) -> None:
    from sluiceway.edges.aws.codecs import xmls

    with pytest.raises(Invalid):
        xmls.parse(body)


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'"x"', b'{"TableName": 1}', b'{"TableName": "t", "Key": []}', b'{"Key": {"a": {"B": "%%"}}, "TableName": "t"}',
     b'{"TableName":"t","Key":' + b'{"M":' * 5000 + b"1" + b"}" * 5000 + b"}", b"\xff\xfe", b'{"TableName": "t"}'],
)  # fmt: skip
def test_hostile_json_is_refused(body: bytes) -> None:
    codec = CODECS.codec_for("dynamodb")
    with pytest.raises(Invalid):
        codec.parse("GetItem", "POST", "/", [], Headers([]), body)


def test_unknown_operations_are_named() -> None:
    for service, headers, body in (
        ("dynamodb", Headers([("x-amz-target", "DynamoDB_20120810.Nothing")]), b"{}"),
        ("sns", Headers([]), b"Action=Nothing"),
        ("lambda", Headers([]), b""),
    ):
        with pytest.raises(NotFound):
            CODECS.codec_for(service).match("POST", "/nothing/at/all", [], headers, body)


def test_event_streams_are_not_there_yet() -> None:
    with pytest.raises(NotImplementedYet):
        CODECS.codec_for("kinesis").parse("SubscribeToShard", "POST", "/", [], Headers([]), b"{}")


def test_deep_form_names_are_refused() -> None:
    body = base64.b16encode(b"").decode() + ".".join("a" * 1 for _ in range(500)) + "=1"
    with pytest.raises(Invalid):
        CODECS.codec_for("sns").parse("Publish", "POST", "/", [], Headers([]), body.encode())
