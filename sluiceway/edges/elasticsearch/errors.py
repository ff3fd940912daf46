"""Errors in Elasticsearch's words (reference 7.10, "REST APIs", "Common error response")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sluiceway.errors import (
    AccessDenied,
    AlreadyExists,
    Conflict,
    DomainError,
    Invalid,
    NotFound,
    NotImplementedYet,
    PreconditionFailed,
    Throttled,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

_ILLEGAL: Final = "illegal_argument_exception"

#: (class, kind) -> (type, status); "*" is the default of a class.
TABLE: Final[Mapping[tuple[type[DomainError], str], tuple[str, int]]] = {
    (AccessDenied, "*"): ("security_exception", 403),
    (AlreadyExists, "index"): ("resource_already_exists_exception", 400),
    (AlreadyExists, "*"): (_ILLEGAL, 400),
    (Conflict, "*"): ("version_conflict_engine_exception", 409),
    (Invalid, "action"): ("action_request_validation_exception", 400),
    (Invalid, "concurrency"): ("action_request_validation_exception", 400),
    (Invalid, "document"): ("mapper_parsing_exception", 400),
    (Invalid, "index_name"): ("invalid_index_name_exception", 400),
    (Invalid, "json"): ("parse_exception", 400),
    (Invalid, "mapping"): ("mapper_parsing_exception", 400),
    (Invalid, "query"): ("parsing_exception", 400),
    (Invalid, "query_shard"): ("query_shard_exception", 400),
    (Invalid, "request_timeout"): ("timeout_exception", 408),
    (Invalid, "strict"): ("strict_dynamic_mapping_exception", 400),
    (Invalid, "*"): (_ILLEGAL, 400),
    (NotFound, "alias"): ("aliases_not_found_exception", 404),
    (NotFound, "document"): ("document_missing_exception", 404),
    (NotFound, "index"): ("index_not_found_exception", 404),
    (NotFound, "*"): ("resource_not_found_exception", 404),
    (NotImplementedYet, "*"): (_ILLEGAL, 400),
    (PreconditionFailed, "*"): ("version_conflict_engine_exception", 409),
    (Throttled, "indices"): (_ILLEGAL, 400),
    (Throttled, "*"): ("es_rejected_execution_exception", 429),
    (TooLarge, "request"): ("content_too_long_exception", 413),
    (TooLarge, "*"): (_ILLEGAL, 400),
    (Unauthenticated, "*"): ("security_exception", 401),
    (Unavailable, "*"): ("unavailable_shards_exception", 503),
}


def described(error: DomainError) -> tuple[dict[str, Any], int]:
    """What an error is about, and its status."""
    kind, status = TABLE.get((type(error), error.kind)) or TABLE[type(error), "*"]
    described: dict[str, Any] = {"type": kind, "reason": error.message}
    index = error.detail.get("index")
    if isinstance(index, str):
        described["index"] = index
        if kind == "index_not_found_exception":
            described |= {"resource.type": "index_or_alias", "resource.id": index, "index_uuid": "_na_"}
    return described, status


def document(error: DomainError) -> tuple[dict[str, Any], int]:
    """The body of an error's answer, and its status."""
    about, status = described(error)
    return {"error": {"root_cause": [about], **about}, "status": status}, status
