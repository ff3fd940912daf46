"""Everything that mappings need, with an address for boto3."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from helpers.inprocess import SCOPE, Ring, listening
from helpers.mappings import CODECS, ERRORS, LIMITS, ROLE, Bench, Fake, Functions, Tables

from sluiceway.config import (
    HttpSettings,
    QueueSettings,
    ReactionSettings,
    SecuritySettings,
    StoreSettings,
    StreamSettings,
)
from sluiceway.core.clock import SystemClock
from sluiceway.core.wakeups import Wakeups
from sluiceway.edges.aws.inprocess import InProcessClient, KnownPrincipals
from sluiceway.edges.aws.kinesis import kinesis_edge
from sluiceway.edges.aws.lambda_mappings import mapping_operations
from sluiceway.edges.aws.operations import ServiceEdge
from sluiceway.edges.aws.pipeline import AwsPipeline
from sluiceway.edges.routing import Router
from sluiceway.engines.sqlite.store import open_store
from sluiceway.reactions.dispatcher import Dispatcher
from sluiceway.reactions.sources import EventSourceTarget, QueuePoller
from sluiceway.services.access import authorize
from sluiceway.services.mappings import Mappings, Sources
from sluiceway.services.queues import Queues
from sluiceway.services.reactions import Reactions
from sluiceway.services.streams import Streams


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    wakeups, clock, fake, functions = Wakeups(), SystemClock(), Fake(), Functions()
    store = await open_store(tmp_path / "store.db", StoreSettings(), clock, wakeups)
    queues, streams = Queues(SCOPE, QueueSettings()), Streams(SCOPE, StreamSettings())
    reactions = Reactions(ReactionSettings(), queues)
    mappings = Mappings(SCOPE, LIMITS, reactions)
    sources = Sources(SCOPE, streams, Tables(), queues)
    operations = mapping_operations(store, mappings, sources, functions, functions.may_use, functions.may_use)
    edge = ServiceEdge("lambda", "lambda", operations, ERRORS)
    verifier = KnownPrincipals(Ring(), SCOPE, clock, SecuritySettings())
    kinesis = kinesis_edge(store, streams, wakeups, StreamSettings())
    handlers = {
        one.name: AwsPipeline(one, CODECS, verifier, authorize, SCOPE, clock, HttpSettings(), lambda: "http://x").handle
        for one in (edge, kinesis)
    }
    target = EventSourceTarget(fake, store, lambda view, name: ROLE, functions.may_use, SCOPE, clock, LIMITS)
    dispatcher = Dispatcher(store, wakeups, reactions, {"event-source": target}, ReactionSettings(), clock)
    poller = QueuePoller(store, queues, wakeups, mappings, fake, functions.may_use, LIMITS)
    await dispatcher.start()
    polling = asyncio.create_task(poller.run())
    await store.commit(streams.create, "s", 1)
    async with listening(Router(handlers, {})) as url:
        client = InProcessClient(handlers, lambda: url)
        yield Bench(url, store, streams, queues, mappings, reactions, functions, fake, client, poller)
        await poller.stop(1.0)
        await polling
        await dispatcher.stop(1.0)
    await store.close()
