"""A connection's time limits, which a test of a whole server would have to wait for."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from helpers.waiting import in_no_time
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


def connected() -> Transport:
    limits = HttpSettings(keep_alive_s=75.0, stall_s=300.0, header_s=20.0)
    made = http_protocol(Answering(), limits)
    protocol: Any = made(uvicorn.Config(lambda: None, ws="none"), ServerState(), {})
    transport = Transport()
    transport.protocol = protocol
    protocol.connection_made(transport)
    return transport


async def ends_after(transport: Transport, seconds: float, how: str) -> None:
    await asyncio.sleep(seconds - 1)
    assert not transport.ended
    await asyncio.sleep(2)
    assert transport.ended == how


@in_no_time
async def test_a_connection_that_asks_nothing_is_closed() -> None:
    await ends_after(connected(), 20, "closed")


@in_no_time
async def test_an_idle_connection_is_closed_after_its_answer() -> None:
    transport = connected()
    transport.protocol.data_received(ASK)
    await ends_after(transport, 75, "closed")
    assert transport.written.endswith(b"here you are")


@in_no_time
async def test_a_reader_that_takes_an_answer_late_is_idle_from_then_on() -> None:
    transport = connected()
    transport.full = True
    transport.protocol.data_received(ASK)
    await asyncio.sleep(100)
    assert not transport.ended  # its time is that of a slow reader, not that of an idle client
    transport.protocol.resume_writing()
    await ends_after(transport, 75, "closed")


@in_no_time
async def test_a_reader_that_takes_nothing_is_cut_off() -> None:
    transport = connected()
    transport.full = True
    transport.protocol.data_received(ASK)
    await ends_after(transport, 300, "aborted")
