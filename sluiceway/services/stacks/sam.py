"""SAM resources to CloudFormation's, by AWS's own translator."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from sluiceway.errors import Invalid

_AWS: Final = "arn:aws:iam::aws:policy/"
#: Managed policies that SAM templates name by their short names.
MANAGED_POLICIES: Final[Mapping[str, str]] = {
    name: f"{_AWS}{path}{name}"
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


def translate(template: dict[str, Any], parameters: Mapping[str, Any], region: str) -> dict[str, Any]:
    """The template without SAM's resource types. Raises ``Invalid("template")`` with SAM's reasons.

    ``CodeUri`` must be an ``s3://bucket/key`` address by now, as after ``sam package``.
    """
    # Imported at the first deployment only: the translator costs half a second and 40 MB.
    import boto3
    from samtranslator.parser.parser import Parser
    from samtranslator.public.exceptions import InvalidDocumentException
    from samtranslator.translator.translator import Translator

    translator = Translator(None, Parser(), boto_session=boto3.Session(region_name=region))
    try:
        translated: dict[str, Any] = translator.translate(
            copy.deepcopy(template), dict(parameters), get_managed_policy_map=lambda: dict(MANAGED_POLICIES)
        )
    except InvalidDocumentException as error:
        causes = "; ".join(str(cause.message) for cause in error.causes) or str(error)
        raise Invalid("template", f"Transform AWS::Serverless-2016-10-31 failed with: {causes}") from None
    translated.pop("Transform", None)
    return translated
