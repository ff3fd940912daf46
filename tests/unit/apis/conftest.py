"""A server with APIs, in the test's own loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from helpers.apis import LIMITS, READER, Pool, Server
from helpers.inprocess import SCOPE, Ring, listening

from sluiceway.config import HttpSettings, SecuritySettings, StoreSettings
from sluiceway.core.clock import SystemClock
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.apis.http import ApiEdge
from sluiceway.edges.apis.sockets import WebSocketEdge
from sluiceway.edges.aws.apigatewaymanagementapi import management_edge, path_of
from sluiceway.edges.aws.apigatewayv2 import apigatewayv2_edge
from sluiceway.edges.aws.codecs import Codecs
from sluiceway.edges.aws.operations import ServiceEdge
from sluiceway.edges.aws.pipeline import AwsPipeline
from sluiceway.edges.http import Handler
from sluiceway.edges.routing import Router
from sluiceway.edges.sigv4 import SignatureVerifier
from sluiceway.engines.sqlite.store import open_store
from sluiceway.services.access import authorize
from sluiceway.services.apis import Apis
from sluiceway.services.connections import Connections


@pytest.fixture
async def server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    limits = getattr(request, "param", LIMITS)
    wakeups, clock = Wakeups(), SystemClock()
    store = await open_store(tmp_path / "store.db", StoreSettings(), clock, wakeups)
    pool, apis = Pool(), Apis(SCOPE, limits)
    http = ApiEdge(store, apis, pool, pool.may_invoke, SCOPE, limits, clock)
    where: list[str] = []
    sockets = WebSocketEdge(store, apis, Connections(), pool, pool.may_invoke, SCOPE, limits, lambda: where[0], clock)
    verifier = SignatureVerifier(Ring(READER), SCOPE, clock, SecuritySettings())
    codecs = Codecs()

    def pipeline(edge: ServiceEdge, path_of: Callable[[bytes], bytes] = bytes) -> Handler:
        given = (edge, codecs, verifier, authorize, SCOPE, clock, HttpSettings(), lambda: where[0], path_of)
        return AwsPipeline(*given).handle

    handlers = {
        "api": http.handle,
        "apigatewayv2": pipeline(apigatewayv2_edge(store, apis, limits)),
        "apigatewaymanagementapi": pipeline(management_edge(sockets, limits), path_of),
    }
    async with listening(Router(handlers, {}), sockets.sockets) as url:
        where.append(url)
        yield Server(url, store, pool, apis, sockets)
        await sockets.stop(2.0)
        await http.close()
    await store.close()
