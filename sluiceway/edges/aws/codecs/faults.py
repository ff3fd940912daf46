"""Errors in each protocol's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sluiceway.edges.aws.codecs import jsons, xmls
from sluiceway.edges.aws.codecs.model import ServiceModel, StructureShape
from sluiceway.edges.aws.codecs.operation import WireResponse

_DEFAULT_STATUS = 400

_SQS = "AWS.SimpleQueueService."
#: What a shape was called in the query protocol that its service spoke before. botocore's newer models leave it out,
#: and programs compare it (SQS API reference, "Errors" of each action).
_OLD_CODES: Final[Mapping[str, str]] = {
    "AccessDeniedException": "AccessDenied",
    "BatchEntryIdsNotDistinct": _SQS + "BatchEntryIdsNotDistinct",
    "BatchRequestTooLong": _SQS + "BatchRequestTooLong",
    "EmptyBatchRequest": _SQS + "EmptyBatchRequest",
    "InvalidBatchEntryId": _SQS + "InvalidBatchEntryId",
    "KmsAccessDenied": "KMS.AccessDeniedException",
    "KmsDisabled": "KMS.DisabledException",
    "KmsInvalidState": "KMS.InvalidStateException",
    "KmsNotFound": "KMS.NotFoundException",
    "MessageNotInflight": _SQS + "MessageNotInflight",
    "PurgeQueueInProgress": _SQS + "PurgeQueueInProgress",
    "QueueDeletedRecently": _SQS + "QueueDeletedRecently",
    "QueueDoesNotExist": _SQS + "NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    "TooManyEntriesInBatchRequest": _SQS + "TooManyEntriesInBatchRequest",
    "UnsupportedOperation": _SQS + "UnsupportedOperation",
}

#: Statuses in the query protocol that are not 400; in json all of them are.
_OLD_STATUSES: Final[Mapping[str, int]] = {
    "AccessDeniedException": 403,
    "OverLimit": 403,
    "PurgeQueueInProgress": 403,
    "ResourceNotFoundException": 404,
}


class Faults:
    """A service's errors. A code is the name of an error shape, or a code on the wire."""

    def __init__(self, model: ServiceModel, protocol: str) -> None:
        self._model = model
        self._protocol = protocol
        self._shapes = {shape.name: shape for shape in model.error_shapes}
        for shape in model.error_shapes:
            self._shapes.setdefault(shape.metadata.get("error", {}).get("code", shape.name), shape)
        self._writers = jsons.JsonWriters()

    def write(
        self, code: str, message: str, request_id: str, status: int | None, fields: Mapping[str, Any]
    ) -> WireResponse:
        """The error as a response."""
        shape = self._shapes.get(code)
        trait: dict[str, Any] = shape.metadata.get("error", {}) if shape is not None else {}
        if self._protocol == "query" and "awsQueryCompatible" in self._model.metadata:
            status = _OLD_STATUSES.get(code, status)
        wanted = status or int(trait.get("httpStatusCode") or _DEFAULT_STATUS)
        if self._protocol == "rest-xml":
            return _s3(code, message, request_id, wanted, fields)
        wire_code = str(trait.get("code", code))
        if self._protocol == "query":
            if "awsQueryCompatible" in self._model.metadata:
                wire_code = _OLD_CODES.get(wire_code, wire_code)
            return self._query(wire_code, message, request_id, wanted, trait, fields)
        return self._json(code, shape, message, request_id, wanted, trait, fields)

    def _json(
        self, code: str, shape: StructureShape | None, message: str, request_id: str, status: int,
        trait: Mapping[str, Any], fields: Mapping[str, Any],
    ) -> WireResponse:  # fmt: skip
        body: dict[str, Any] = {}
        key = "message"
        if shape is not None:
            body = self._writers.of(shape)({name: value for name, value in fields.items() if name in shape.members})
            key = next((name for name in shape.members if name.lower() == "message"), "message")
        headers = [("x-amzn-RequestId", request_id)]
        if self._protocol == "json":
            body["__type"] = code
            version = self._model.metadata.get("jsonVersion", "1.0")
            headers.append(("Content-Type", f"application/x-amz-json-{version}"))
        else:
            headers += [("Content-Type", "application/json"), ("x-amzn-ErrorType", code)]
            if shape is not None and "Type" in shape.members:
                body.setdefault("Type", "User" if status < 500 else "Service")
        body[key] = message
        if "awsQueryCompatible" in self._model.metadata:
            old = trait.get("code") or _OLD_CODES.get(code, code)
            headers.append(("x-amzn-query-error", f"{old};{'Sender' if status < 500 else 'Receiver'}"))
        return WireResponse(status, headers, jsons.dumps(body))

    def _query(
        self, code: str, message: str, request_id: str, status: int, trait: Mapping[str, Any], fields: Mapping[str, Any]
    ) -> WireResponse:
        blame = "Sender" if trait.get("senderFault", status < 500) else "Receiver"
        namespace = xmls.escape(self._model.metadata.get("xmlNamespace", ""))
        body = (
            f'<ErrorResponse xmlns="{namespace}"><Error><Type>{blame}</Type><Code>{xmls.escape(code)}</Code>'
            f"<Message>{xmls.escape(message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        headers = [("Content-Type", "text/xml"), ("x-amzn-RequestId", request_id)]
        return WireResponse(status, headers, body.encode())


def _s3(code: str, message: str, request_id: str, status: int, fields: Mapping[str, Any]) -> WireResponse:
    more = "".join(f"<{name}>{xmls.escape(str(value))}</{name}>" for name, value in fields.items())
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{xmls.escape(code)}</Code>'
        f"<Message>{xmls.escape(message)}</Message>{more}<RequestId>{request_id}</RequestId></Error>"
    )
    return WireResponse(status, [("Content-Type", "application/xml"), ("x-amz-request-id", request_id)], body.encode())
