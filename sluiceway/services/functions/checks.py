"""What a function's name, settings and policy may be (AWS Lambda API reference, CreateFunction)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from sluiceway.config import FunctionSettings
from sluiceway.core.identity import Scope
from sluiceway.errors import Invalid, NotFound
from sluiceway.services.functions.values import RUNTIMES, Settings

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_HANDLER = re.compile(r"[^\s]{1,128}")
_ACTION = re.compile(r"lambda:[*A-Za-z]+|\*")
#: AWS Lambda Developer Guide, "Defined runtime environment variables".
_RESERVED: Final = frozenset(
    [
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    ]
)
#: Member of AddPermission -> the condition key that must equal it. Not all are ever there: then the statement allows nobody.
_EQUAL: Final[Mapping[str, str]] = {
    "SourceAccount": "AWS:SourceAccount",
    "PrincipalOrgID": "aws:PrincipalOrgID",
    "EventSourceToken": "lambda:EventSourceToken",
    "FunctionUrlAuthType": "lambda:FunctionUrlAuthType",
}


def plain_name(scope: Scope, text: str) -> str:
    """The name in any of the forms that the API takes: a name, a partial ARN, an ARN, each with a qualifier.

    Raises ``NotFound("function")`` for another account, region or version, ``Invalid("name")``.
    """
    parts = text.split(":")
    if parts[:1] == ["arn"]:
        if parts[:6] != ["arn", "aws", "lambda", scope.region, scope.account, "function"]:
            raise NotFound("function", f"Function not found: {text[:200]}")
        parts = parts[6:]
    elif len(parts) >= 3 and parts[1] == "function":
        if parts[0] != scope.account:
            raise NotFound("function", f"Function not found: {text[:200]}")
        parts = parts[2:]
    name, qualifier = parts[0] if parts else "", parts[1] if len(parts) > 1 else "$LATEST"
    if not _NAME.fullmatch(name) or len(parts) > 2:
        raise Invalid("name", f"The function name {text[:200]!r} is not valid.")
    if qualifier != "$LATEST":
        raise NotFound("function", f"Function not found: {scope.arn('lambda', f'function:{name}:{qualifier}')}")
    return name


def check_settings(settings: Settings, limits: FunctionSettings) -> None:
    """Raises ``Invalid("value")``."""
    if not settings.runtime.startswith(RUNTIMES):
        raise Invalid(
            "value",
            f"The runtime {settings.runtime!r} is not available here: use python3.x, nodejs20.x or provided.al2023.",
        )
    if not _HANDLER.fullmatch(settings.handler):
        raise Invalid("value", "Handler must be 1 to 128 characters without spaces.")
    if not 1 <= settings.timeout_s <= limits.timeout_s_max:
        raise Invalid("value", f"Timeout must be from 1 to {limits.timeout_s_max} seconds.")
    if not limits.memory_mb_min <= settings.memory_mb <= limits.memory_mb_max:
        raise Invalid("value", f"MemorySize must be from {limits.memory_mb_min} to {limits.memory_mb_max}.")
    if len(settings.description) > 256:
        raise Invalid("value", "Description must be at most 256 characters.")
    _check_environment(settings.environment, limits)


def _check_environment(environment: dict[str, str], limits: FunctionSettings) -> None:
    for name, value in environment.items():
        if not _VARIABLE.fullmatch(name) or "\x00" in value:
            raise Invalid("value", f"The environment variable {name[:80]!r} is not valid.")
        if name in _RESERVED:
            raise Invalid(
                "value",
                "Lambda was unable to configure your environment variables because the environment variables you "
                f"have provided contains reserved keys that are currently not supported for modification: {name}",
            )
    if sum(len(f"{name}={value}".encode()) for name, value in environment.items()) > limits.environment_bytes_max:
        raise Invalid(
            "value",
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the {limits.environment_bytes_max // 1024}KB limit.",
        )


def check_outcome_target(arn: str) -> None:
    """Where outcomes and dead letters go is a standard queue or topic, or a function, never a FIFO one (AWS Lambda
    Developer Guide, "Capturing records of Lambda asynchronous invocations"): they have no group. Raises
    ``Invalid("value")``.
    """
    if arn.endswith(".fifo"):
        raise Invalid("value", f"The destination ARN {arn[:300]} is invalid: FIFO queues and FIFO topics are not supported "
                      "as destinations or dead-letter queues.")  # fmt: skip


def statement_of(arn: str, params: dict[str, Any]) -> dict[str, Any]:
    """The policy statement of an AddPermission. Raises ``Invalid("value")``."""
    if not _ACTION.fullmatch(params["Action"]):
        raise Invalid("value", f"The action {params['Action'][:80]!r} is not one of Lambda's.")
    principal = params["Principal"]
    who: Any = "*" if principal == "*" else {"Service" if "." in principal else "AWS": principal}
    condition: dict[str, dict[str, str]] = {}
    if params.get("SourceArn"):
        condition["ArnLike"] = {"AWS:SourceArn": params["SourceArn"]}
    if equal := {key: params[member] for member, key in _EQUAL.items() if params.get(member)}:
        condition["StringEquals"] = equal
    if params.get("InvokedViaFunctionUrl") is not None:
        condition["Bool"] = {"lambda:InvokedViaFunctionUrl": str(params["InvokedViaFunctionUrl"]).lower()}
    statement = {
        "Sid": params["StatementId"],
        "Effect": "Allow",
        "Principal": who,
        "Action": params["Action"],
        "Resource": arn,
    }
    return statement | ({"Condition": condition} if condition else {})


def policy_bytes(statements: list[dict[str, Any]]) -> int:
    """The size that counts against the limit."""
    return len(json.dumps(statements))
