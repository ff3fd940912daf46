"""SAM resources to CloudFormation's, by AWS's own translator."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from sluiceway.errors import Invalid

#: Managed policies that SAM templates name by their short names.
MANAGED_POLICIES: Final[Mapping[str, str]] = {
    name: f"arn:aws:iam::aws:policy/{path}{name}"
    for name, path in {
        "AWSLambdaBasicExecutionRole": "service-role/",
        "AWSLambdaDynamoDBExecutionRole": "service-role/",
        "AWSLambdaKinesisExecutionRole": "service-role/",
        "AWSLambdaSQSQueueExecutionRole": "service-role/",
        "AWSXRayDaemonWriteAccess": "",
        "AmazonS3FullAccess": "",
        "AmazonDynamoDBFullAccess": "",
        "AmazonSNSFullAccess": "",
        "AmazonSQSFullAccess": "",
        "AdministratorAccess": "",
        "ReadOnlyAccess": "",
    }.items()
}


@cache
def _translator_parts() -> tuple[Any, Any, Any]:
    """Imported at the first deployment only: the translator costs half a second and 40 MB."""
    from samtranslator.public.exceptions import InvalidDocumentException
    from samtranslator.translator.transform import transform

    return transform, InvalidDocumentException, None


def translate(template: dict[str, Any], parameters: Mapping[str, Any], region: str) -> dict[str, Any]:
    """The template without SAM's resource types. Raises ``Invalid("template")`` with SAM's reasons.

    ``CodeUri`` must be an ``s3://bucket/key`` address by now, as after ``sam package``.
    """
    import boto3

    transform, failure, _ = _translator_parts()
    source = copy.deepcopy(template)
    try:
        translated: dict[str, Any] = transform(
            source, dict(parameters), _Policies(), feature_toggle=None, boto_session=boto3.Session(region_name=region)
        )
    except failure as error:
        causes = "; ".join(str(cause.message) for cause in error.causes) or str(error)
        raise Invalid("template", f"Transform AWS::Serverless-2016-10-31 failed with: {causes}") from None
    translated.pop("Transform", None)
    return translated


class _Policies:
    """What the translator asks for the ARNs of managed policies."""

    def load(self) -> dict[str, str]:
        """Name to ARN."""
        return dict(MANAGED_POLICIES)
