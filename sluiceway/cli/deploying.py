"""What ``sluiceway deploy`` and ``sluiceway up TEMPLATE`` do: send the functions' code, and make the stack stand."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from sluiceway.cli.packaging import Package, package
from sluiceway.cli.running import Running, fail

_POLL_S = 0.3
_REMADE = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")
_TEMPLATE_INLINE_MAX = 51_200  # bytes that CloudFormation takes as TemplateBody; more goes by a bucket


def deploy_to(server: Running, template: Path, stack: str, parameters: dict[str, str], say: Any) -> dict[str, str]:
    """The stack's outputs. Ends the command with the reason if the stack can't be made."""
    with tempfile.TemporaryDirectory(prefix="sluiceway-") as folder:
        packaged = package(template, Path(folder), say)
        try:
            bucket = _upload(server, packaged)
            return _apply(server, stack, packaged.text(bucket), parameters, bucket, say)
        except ClientError as error:
            raise fail(error.response["Error"].get("Message") or str(error)) from None


def _upload(server: Running, packaged: Package) -> str:
    """Put the functions' archives where the template says; archives that are there are not sent again."""
    account = server.client("sts").get_caller_identity()["Account"]
    bucket = f"sluiceway-deployments-{account}"
    s3 = server.client("s3")
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError:
        s3.create_bucket(Bucket=bucket)
    for key, file in packaged.archives.items():
        try:
            s3.head_object(Bucket=bucket, Key=key)
        except ClientError:
            s3.upload_file(str(file), bucket, key)
    return bucket


def _apply(server: Running, stack: str, text: str, parameters: dict[str, str], bucket: str, say: Any) -> dict[str, str]:
    formation = server.client("cloudformation")
    request: dict[str, Any] = {
        "StackName": stack,
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
    }
    if len(text.encode()) <= _TEMPLATE_INLINE_MAX:
        request["TemplateBody"] = text
    else:
        key = f"{stack}.template"
        server.client("s3").put_object(Bucket=bucket, Key=key, Body=text.encode())
        request["TemplateURL"] = f"{server.url}/{bucket}/{key}"
    before = _settled(formation, stack, say)
    try:
        _request(formation, request, before, parameters)
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise
        say(f"Stack {stack} stands already as the template says.")
        return _outputs(formation, stack)
    _finish(formation, stack, say)
    return _outputs(formation, stack)


def _settled(formation: Any, stack: str, say: Any) -> dict[str, Any] | None:
    """The stack when nothing is under way; none if it was never made as its template said, and is removed."""
    before = _described(formation, stack)
    if before is not None and before["StackStatus"].endswith("_IN_PROGRESS"):
        say(f"Stack {stack} is in {before['StackStatus']}: waiting for it.")
        before = _wait(formation, stack)
    if before is None or before["StackStatus"] not in _REMADE:
        return before
    say(f"Stack {stack} is in {before['StackStatus']}: removing it first.")
    formation.delete_stack(StackName=stack)
    left = _wait(formation, stack)
    if left is not None:
        raise fail(f"Stack {stack} could not be removed. {left.get('StackStatusReason', '')}")
    return None


def _request(formation: Any, request: dict[str, Any], before: Any, parameters: dict[str, str]) -> None:
    if before is None:
        formation.create_stack(**request)
        return
    declared = {item["ParameterKey"] for item in formation.validate_template(**_template_of(request))["Parameters"]}
    kept = [
        {"ParameterKey": item["ParameterKey"], "UsePreviousValue": True}
        for item in before.get("Parameters", [])
        if item["ParameterKey"] not in parameters and item["ParameterKey"] in declared
    ]
    formation.update_stack(**{**request, "Parameters": request["Parameters"] + kept})


def _template_of(request: dict[str, Any]) -> dict[str, Any]:
    return {name: request[name] for name in ("TemplateBody", "TemplateURL") if name in request}


def _described(formation: Any, stack: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = formation.describe_stacks(StackName=stack)["Stacks"][0]
        return found
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise


def _wait(formation: Any, stack: str) -> dict[str, Any] | None:
    while True:
        found = _described(formation, stack)
        if found is None or not found["StackStatus"].endswith("_IN_PROGRESS"):
            return found
        time.sleep(_POLL_S)


def _finish(formation: Any, stack: str, say: Any) -> None:
    found = _wait(formation, stack)
    status = found["StackStatus"] if found else "gone"
    say(f"Stack {stack}: {status}")
    if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        return
    reasons = list(dict.fromkeys(_reasons(formation, stack)))
    raise fail("The stack could not be made as the template says:\n" + "\n".join(reasons[:10]))


def _reasons(formation: Any, stack: str) -> Iterator[str]:
    """What failed since the last request, the newest first."""
    for event in formation.describe_stack_events(StackName=stack)["StackEvents"]:
        reason = event.get("ResourceStatusReason")
        if reason == "User Initiated":
            return
        if event["ResourceStatus"].endswith("_FAILED") and reason:
            yield f"  {event['LogicalResourceId']} ({event['ResourceType']}): {reason}"


def _outputs(formation: Any, stack: str) -> dict[str, str]:
    found = _described(formation, stack) or {}
    return {item["OutputKey"]: item["OutputValue"] for item in found.get("Outputs", [])}
