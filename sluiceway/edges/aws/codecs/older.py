"""The query protocol that a service spoke before json, for the clients that still speak it.

botocore's present model of SQS keeps which lists and maps are flattened, but no longer what their items were called:
that is here (SQS API reference, "Making query API requests"; botocore's own model up to release 1.31).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Final

from sluiceway.edges.aws.codecs.model import ServiceModel

#: List -> what an item is called, where it is not the item's shape.
_ITEMS: Final[Mapping[str, str]] = {
    "AWSAccountIdList": "AWSAccountId",
    "ActionNameList": "ActionName",
    "AttributeNameList": "AttributeName",
    "BinaryList": "BinaryListValue",
    "QueueUrlList": "QueueUrl",
    "StringList": "StringListValue",
}
#: Map -> what a member that holds it is called, and its keys and values.
_MAPS: Final[Mapping[str, tuple[str, str, str]]] = {
    "MessageBodyAttributeMap": ("MessageAttribute", "Name", "Value"),
    "MessageBodySystemAttributeMap": ("MessageSystemAttribute", "Name", "Value"),
    "MessageSystemAttributeMap": ("Attribute", "Name", "Value"),
    "QueueAttributeMap": ("Attribute", "Name", "Value"),
    "TagMap": ("Tag", "Key", "Value"),
}
#: Service -> the parameter that the path of a request stands for.
PATH_PARAMETERS: Final[Mapping[str, str]] = {"sqs": "QueueUrl"}
_NAMESPACES: Final[Mapping[str, str]] = {"sqs": "http://queue.amazonaws.com/doc/2012-11-05/"}


def query_model(model: ServiceModel, service: str) -> ServiceModel | None:
    """The service's model as it was for the query protocol; None if there was none, or it still speaks it."""
    if "awsQueryCompatible" not in model.metadata or service not in _NAMESPACES:
        return None
    older = copy.deepcopy(model.described)
    older["metadata"].update(protocol="query", protocols=["query"], xmlNamespace=_NAMESPACES[service])
    for operation in older["operations"].values():
        if "output" in operation:
            operation["output"]["resultWrapper"] = f"{operation['name']}Result"
    for name, shape in older["shapes"].items():
        if shape["type"] == "list":
            shape["member"]["locationName"] = _ITEMS.get(name, shape["member"]["shape"])
        elif name in _MAPS:
            _, shape["key"]["locationName"], shape["value"]["locationName"] = _MAPS[name]
        for member in shape.get("members", {}).values():
            if member["shape"] in _MAPS:
                member["locationName"] = _MAPS[member["shape"]][0]
    return ServiceModel(older)
