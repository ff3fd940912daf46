"""One operation's codec: its request's reader and its response's writer, compiled at first use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

from sluiceway.edges.aws.codecs import jsons, xmls
from sluiceway.edges.aws.codecs.forms import FormReaders, tree
from sluiceway.edges.aws.codecs.model import OperationModel, Shape, StructureShape
from sluiceway.edges.aws.codecs.places import Wire, bindings, body_members, placed
from sluiceway.edges.aws.codecs.routes import route_of
from sluiceway.edges.aws.codecs.scalars import wrong
from sluiceway.errors import NotImplementedYet

FIELDS_MAX: Final = 10_000  # parameters of a form; a batch of SNS or a stack's parameters take some hundred
S3_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
#: Roots of S3's documents that are not in its model (S3 API reference, each "Response Syntax").
S3_ROOTS: Final = {
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "DeleteObjects": "DeleteResult",
    "GetBucketAccelerateConfiguration": "AccelerateConfiguration",
    "GetBucketAcl": "AccessControlPolicy",
    "GetBucketCors": "CORSConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketNotificationConfiguration": "NotificationConfiguration",
    "GetBucketRequestPayment": "RequestPaymentConfiguration",
    "GetBucketTagging": "Tagging",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetObjectAcl": "AccessControlPolicy",
    "GetObjectAttributes": "GetObjectAttributesResponse",
    "GetObjectTagging": "Tagging",
    "ListBucketAnalyticsConfigurations": "ListBucketAnalyticsConfigurationResult",
    "ListBucketInventoryConfigurations": "ListInventoryConfigurationsResult",
    "ListBucketMetricsConfigurations": "ListMetricsConfigurationsResult",
    "ListBuckets": "ListAllMyBucketsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "ListObjectVersions": "ListVersionsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListParts": "ListPartsResult",
}


@dataclass(frozen=True, slots=True)
class WireResponse:
    """An answer in the protocol's bytes."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class OperationCodec(Protocol):
    """What each protocol gives for an operation."""

    def read(self, wire: Wire) -> dict[str, Any]:
        """The input shape's members."""

    def write(self, output: dict[str, Any], request_id: str) -> WireResponse:
        """The output shape's members as a response."""


def _no_event_stream(operation: OperationModel) -> None:
    if operation.has_event_stream_output or operation.has_event_stream_input:
        raise NotImplementedYet("operation", f"{operation.name} streams events, which is not available here yet.")


class JsonOperation:
    """json 1.0 and 1.1: everything in the body."""

    def __init__(self, operation: OperationModel, content_type: str) -> None:
        _no_event_stream(operation)
        shape = operation.input_shape
        self._read = jsons.JsonReaders().of(shape) if shape is not None else None
        output = operation.output_shape
        self._write = jsons.JsonWriters().of(output) if output is not None else None
        self._content_type = content_type

    def read(self, wire: Wire) -> dict[str, Any]:
        """See ``OperationCodec``."""
        if self._read is None:
            return {}
        result: dict[str, Any] = self._read(jsons.loads(wire.body))
        return result

    def write(self, output: dict[str, Any], request_id: str) -> WireResponse:
        """See ``OperationCodec``."""
        body = jsons.dumps(self._write(output)) if self._write is not None else b""
        headers = [("Content-Type", self._content_type), ("x-amzn-RequestId", request_id)]
        return WireResponse(200, headers, body)


class QueryOperation:
    """query: a form in, an XML document out."""

    def __init__(self, operation: OperationModel) -> None:
        shape = operation.input_shape
        self._read = FormReaders().of(shape) if shape is not None else None
        self._name = operation.name
        self._namespace = operation.metadata.get("xmlNamespace", "")
        output = operation.output_shape
        self._wrapper = output.serialization.get("resultWrapper") if output is not None else None
        self._content = (
            xmls.XmlWriters().content(output, tuple(output.members)) if isinstance(output, StructureShape) else None
        )

    def read(self, wire: Wire) -> dict[str, Any]:
        """See ``OperationCodec``."""
        if self._read is None:
            return {}
        result: dict[str, Any] = self._read(tree([*wire.query, *form(wire.body)]))
        return result

    def write(self, output: dict[str, Any], request_id: str) -> WireResponse:
        """See ``OperationCodec``."""
        out = [f'<{self._name}Response xmlns="{xmls.escape(self._namespace)}">']
        if self._wrapper:
            out.append(f"<{self._wrapper}>")
        if self._content is not None:
            self._content(out, output)
        if self._wrapper:
            out.append(f"</{self._wrapper}>")
        out.append(f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{self._name}Response>")
        headers = [("Content-Type", "text/xml"), ("x-amzn-RequestId", request_id)]
        return WireResponse(200, headers, "".join(out).encode())


@lru_cache(maxsize=1)  # a request's form is looked at for its operation, and at once again for its parameters
def form(body: bytes) -> Sequence[tuple[str, str]]:
    """A form's parameters in order."""
    try:
        return tuple(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=FIELDS_MAX))
    except ValueError:
        raise wrong("The request's form is malformed.") from None


class RestOperation:
    """What rest-json and rest-xml share: places outside the body, and payloads."""

    def __init__(self, operation: OperationModel) -> None:
        _no_event_stream(operation)
        self._bindings = bindings(operation, route_of(operation))
        self._status = int(operation.http.get("responseCode", 200))
        self._placed = placed(operation.output_shape)
        shape, output = operation.input_shape, operation.output_shape
        self._payload_in = shape.serialization.get("payload") if shape is not None else None
        self._payload_out = output.serialization.get("payload") if output is not None else None
        self._required = tuple(shape.required_members) if shape is not None else ()
        self._body_reader = self._make_body_reader(shape)
        self._body_writer = self._make_body_writer(operation, output)

    def _make_body_reader(self, shape: StructureShape | None) -> Callable[[bytes, dict[str, Any]], None]:
        raise NotImplementedError

    def _make_body_writer(
        self, operation: OperationModel, shape: StructureShape | None
    ) -> Callable[[dict[str, Any]], tuple[str, bytes]]:
        raise NotImplementedError

    def read(self, wire: Wire) -> dict[str, Any]:
        """See ``OperationCodec``."""
        result: dict[str, Any] = {}
        for binding in self._bindings:
            binding(wire, result)
        self._body_reader(wire.body, result)
        for name in self._required:
            if name not in result and name != self._payload_in:
                raise jsons.missing(name)
        return result

    def write(self, output: dict[str, Any], request_id: str) -> WireResponse:
        """See ``OperationCodec``."""
        status, headers = self._placed.apply(output, self._status)
        kind, body = self._body_writer(output)
        if kind and not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("Content-Type", kind))
        headers.append((self._request_id_header, request_id))
        return WireResponse(status, headers, body)

    _request_id_header = "x-amzn-RequestId"


def _raw_reader(payload: str, member: Shape) -> Callable[[bytes, dict[str, Any]], None]:
    def read(body: bytes, result: dict[str, Any]) -> None:
        if body:
            result[payload] = body if member.type_name == "blob" else body.decode("utf-8", "replace")

    return read


def _raw_payload(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    return str(value).encode() if value is not None else b""


class RestJsonOperation(RestOperation):
    """rest-json."""

    def _make_body_reader(self, shape: StructureShape | None) -> Callable[[bytes, dict[str, Any]], None]:
        if shape is None:
            return lambda body, result: None
        payload = self._payload_in
        if payload:
            member = shape.members[payload]
            if isinstance(member, StructureShape):
                read_payload = jsons.JsonReaders().of(member)

                def read_document(body: bytes, result: dict[str, Any]) -> None:
                    if body:
                        result[payload] = read_payload(jsons.loads(body))

                return read_document
            return _raw_reader(payload, member)
        fields = body_members(shape)
        readers = jsons.JsonReaders()
        table = {shape.members[n].serialization.get("name", n): (n, readers.of(shape.members[n])) for n in fields}

        def read(body: bytes, result: dict[str, Any]) -> None:
            document = jsons.loads(body) if table else {}
            if not isinstance(document, dict):
                raise wrong("The request's body must be a JSON object.")
            for key, value in document.items():
                field = table.get(key)
                if field is not None and value is not None:
                    result[field[0]] = field[1](value)

        return read

    def _make_body_writer(
        self, operation: OperationModel, shape: StructureShape | None
    ) -> Callable[[dict[str, Any]], tuple[str, bytes]]:
        if shape is None:
            return lambda output: ("", b"")
        payload = self._payload_out
        if payload:
            member = shape.members[payload]
            if isinstance(member, StructureShape):
                write_payload = jsons.JsonWriters().of(member)
                return lambda output: ("application/json", jsons.dumps(write_payload(output.get(payload) or {})))
            return lambda output: ("", _raw_payload(output.get(payload)))
        write = jsons.JsonWriters().members(shape, body_members(shape))
        if self._status == 204:
            return lambda output: ("", b"")
        return lambda output: ("application/json", jsons.dumps(write(output)))


class RestXmlOperation(RestOperation):
    """rest-xml (S3)."""

    _request_id_header = "x-amz-request-id"

    def _make_body_reader(self, shape: StructureShape | None) -> Callable[[bytes, dict[str, Any]], None]:
        if shape is None:
            return lambda body, result: None
        payload = self._payload_in
        if payload:
            member = shape.members[payload]
            if isinstance(member, StructureShape):
                read_payload = xmls.XmlReaders().of(member)
                root = member.serialization.get("name", payload)

                def read_document(body: bytes, result: dict[str, Any]) -> None:
                    if not body:
                        return
                    document = xmls.parse(body)
                    if document.name != root:
                        # Read as the model's, it would look empty, and configurations would be wiped out.
                        raise xmls.malformed()
                    result[payload] = read_payload(document)

                return read_document
            return _raw_reader(payload, member)
        fields = body_members(shape)
        if not fields:
            return lambda body, result: None
        read_members = xmls.XmlReaders().members(shape, fields)
        return lambda body, result: result.update(read_members(xmls.parse(body)) if body else {})

    def _make_body_writer(
        self, operation: OperationModel, shape: StructureShape | None
    ) -> Callable[[dict[str, Any]], tuple[str, bytes]]:
        if shape is None:
            return lambda output: ("", b"")
        if operation.name == "GetBucketLocation":
            return _location
        payload = self._payload_out
        if payload:
            member = shape.members[payload]
            if not isinstance(member, StructureShape):
                return lambda output: ("", _raw_payload(output.get(payload)))
            root = S3_ROOTS.get(operation.name) or member.serialization.get("name") or payload
            return _document(root, xmls.XmlWriters().content(member, tuple(member.members)), payload)
        fields = body_members(shape)
        if not fields:
            return lambda output: ("", b"")
        root = S3_ROOTS.get(operation.name) or shape.serialization.get("name") or shape.name
        return _document(root, xmls.XmlWriters().content(shape, fields), None)


def _document(
    root: str, content: Callable[[list[str], Any], None], payload: str | None
) -> Callable[[dict[str, Any]], tuple[str, bytes]]:
    def write(output: dict[str, Any]) -> tuple[str, bytes]:
        value = output.get(payload) if payload else output
        if value is None:
            return "", b""
        out = [f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{S3_NAMESPACE}">']
        content(out, value)
        out.append(f"</{root}>")
        return "application/xml", "".join(out).encode()

    return write


def _location(output: dict[str, Any]) -> tuple[str, bytes]:
    """Its one member is the document's own text."""
    region = xmls.escape(output.get("LocationConstraint") or "")
    root = f'<LocationConstraint xmlns="{S3_NAMESPACE}">{region}</LocationConstraint>'
    return "application/xml", f'<?xml version="1.0" encoding="UTF-8"?>\n{root}'.encode()
