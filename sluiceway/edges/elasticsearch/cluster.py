"""What clients ask about the server itself. There is one node, and all is well with it when it answers."""

from __future__ import annotations

from typing import Any, Final

from sluiceway.edges.elasticsearch.call import Answer, Call
from sluiceway.edges.elasticsearch.search import named

#: What official clients of versions 7 and 8 accept, and those of OpenSearch too.
VERSION: Final = "7.10.2"
_NODE: Final = "sluiceway"


async def root(call: Call) -> Answer:
    """GET /"""
    version = {
        "number": VERSION,
        "build_flavor": "default",
        "build_type": "pip",
        "build_hash": "unknown",
        "build_date": "2021-01-13T00:42:12.435326Z",
        "build_snapshot": False,
        "lucene_version": "8.7.0",
        "minimum_wire_compatibility_version": "6.8.0",
        "minimum_index_compatibility_version": "6.0.0-beta1",
    }
    body = {
        "name": _NODE,
        "cluster_name": _NODE,
        "cluster_uuid": "c2x1aWNld2F5LXNlYXJjaA",
        "version": version,
        "tagline": "You Know, for Search",
    }
    return Answer(200, body)


async def health(call: Call) -> Answer:
    """_cluster/health"""
    indices = await named(call, call.path.get("index", ""))
    body: dict[str, Any] = {
        "cluster_name": _NODE,
        "status": "green",
        "timed_out": False,
        "number_of_nodes": 1,
        "number_of_data_nodes": 1,
        "active_primary_shards": len(indices),
        "active_shards": len(indices),
        "relocating_shards": 0,
        "initializing_shards": 0,
        "unassigned_shards": 0,
        "delayed_unassigned_shards": 0,
        "number_of_pending_tasks": 0,
        "number_of_in_flight_fetch": 0,
        "task_max_waiting_in_queue_millis": 0,
        "active_shards_percent_as_number": 100.0,
    }
    return Answer(200, body)


async def nodes(call: Call) -> Answer:
    """_nodes: this one, without an address, so that clients stay where they are."""
    node = {"name": _NODE, "version": VERSION, "roles": ["data", "ingest", "master"]}
    body = {"_nodes": {"total": 1, "successful": 1, "failed": 0}, "cluster_name": _NODE, "nodes": {_NODE: node}}
    return Answer(200, body)


async def settings(call: Call) -> Answer:
    """GET _cluster/settings"""
    return Answer(200, {"persistent": {}, "transient": {}})
