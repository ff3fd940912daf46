"""The four AWS protocols (query, json, rest-json, rest-xml), both ways, driven by botocore's service models."""

from sluiceway.edges.aws.codecs.operation import WireResponse
from sluiceway.edges.aws.codecs.service import Codecs, Match, ServiceCodec

__all__ = ["Codecs", "Match", "ServiceCodec", "WireResponse"]
