"""A connection's time limits, which a test of a whole server would have to wait for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from sluiceway.config import HttpSettings
from sluiceway.edges.exchange import Exchange
from sluiceway.edges.protocol import http_protocol

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Transport(asyncio.Transport):
    """A client's end: it takes what is written at once, or, ``full``, nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended = ""
        self.full = False
        self.protocol: Any = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def write(self, data: Any) -> None:
        self.written += bytes(data)
        if self.full:
            self.protocol.pause_writing()

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = self.ended or "aborted"

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Answering:
    """Answers everything at once."""

    async def serve(self, exchange: Exchange, scheme: str, client: str) -> None:
        exchange.answer(200, [], b"here you are")


@pytest.fixture
async def transport() -> Transport:
    limits = HttpSettings(keep_alive_s=0.2, stall_s=0.5, header_s=0.3)
    made = http_protocol(Answering(), limits)
    protocol: Any = made(uvicorn.Config(lambda: None, ws="none"), ServerState(), {})
    transport = Transport()
    transport.protocol = protocol
    protocol.connection_made(transport)
    return transport


async def test_a_connection_that_asks_nothing_is_closed(transport: Transport) -> None:
    await asyncio.sleep(0.2)
    assert not transport.ended
    await asyncio.sleep(0.2)
    assert transport.ended == "closed"


async def test_an_idle_connection_is_closed_after_its_answer(transport: Transport) -> None:
    transport.protocol.data_received(ASK)
    await asyncio.sleep(0.1)
    assert transport.written.endswith(b"here you are") and not transport.ended
    await asyncio.sleep(0.2)
    assert transport.ended == "closed"


async def test_a_reader_that_takes_an_answer_late_is_idle_from_then_on(transport: Transport) -> None:
    transport.full = True
    transport.protocol.data_received(ASK)
    await asyncio.sleep(0.3)
    assert not transport.ended  # its time is that of a slow reader, not that of an idle client
    transport.protocol.resume_writing()
    await asyncio.sleep(0.1)
    assert not transport.ended
    await asyncio.sleep(0.3)
    assert transport.ended == "closed"


async def test_a_reader_that_takes_nothing_is_cut_off(transport: Transport) -> None:
    transport.full = True
    transport.protocol.data_received(ASK)
    await asyncio.sleep(0.7)
    assert transport.ended == "aborted"
