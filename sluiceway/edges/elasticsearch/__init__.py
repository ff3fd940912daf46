"""Elasticsearch's REST protocol, below ``/_es`` (see ``SearchEdge``)."""

from sluiceway.edges.elasticsearch.edge import SearchEdge

__all__ = ["SearchEdge"]
