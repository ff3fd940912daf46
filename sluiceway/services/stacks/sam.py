"""SAM resources to CloudFormation's, by AWS's own translator."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from sluiceway.errors import Invalid

TRANSFORM: Final = "AWS::Serverless-2016-10-31"
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

    types = [each.get("Type") for each in template["Resources"].values() if isinstance(each, dict)]
    if "AWS::Serverless::Application" in types:
        raise Invalid("template", "Template format error: AWS::Serverless::Application is not available here.")
    translator = Translator(None, Parser(), boto_session=boto3.Session(region_name=region))
    try:
        translated: dict[str, Any] = translator.translate(
            copy.deepcopy(template), dict(parameters), get_managed_policy_map=lambda: dict(MANAGED_POLICIES)
        )
    except InvalidDocumentException as error:
        causes = "; ".join(str(cause.message) for cause in error.causes) or str(error)
        raise Invalid("template", f"Transform {TRANSFORM} failed with: {causes}") from None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # The translator takes a template's form on trust in places.
        reason = f"{type(error).__name__}: {error}"[:300]
        raise Invalid("template", f"Transform {TRANSFORM} failed: the template is malformed ({reason})") from error
    translated.pop("Transform", None)
    return translated
