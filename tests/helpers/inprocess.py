"""A router on a port within the test's own event loop, behind the real listener, and who asks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import boto3
from botocore.config import Config

from sluiceway.config import HttpSettings
from sluiceway.core.identity import Principal, Scope
from sluiceway.edges.application import Application
from sluiceway.edges.http import Handler
from sluiceway.errors import Unauthenticated
from sluiceway.server.listener import Listener

SCOPE = Scope("000000000000", "us-east-1")
ROOT = Principal("root", SCOPE.account, "root", f"arn:aws:iam::{SCOPE.account}:root", access_key_id="AKIAROOT")


class Nobody:
    """Takes no WebSockets and no measurements."""

    async def sockets(self, *_: Any) -> None:
        raise AssertionError("no sockets here")

    def observe(self, service: str, status: int, seconds: float) -> None:
        return


@asynccontextmanager
async def listening(router: Handler, sockets: Any = None) -> AsyncIterator[str]:
    """Serve ``router``; its address."""
    limits = HttpSettings(stop_grace_s=2)
    app = Application(router, sockets or Nobody().sockets, limits, Nobody())
    listener = Listener(app, limits, "127.0.0.1", 0, None)
    await listener.start()
    try:
        yield f"http://127.0.0.1:{listener.port}"
    finally:
        await listener.stop()


class Ring:
    """The root's key, AKIAROOT, and for each of ``others`` AKIA and its name. Every secret is "secret"."""

    def __init__(self, *others: Principal) -> None:
        self._known = {f"AKIA{one.name.upper()}": one for one in (ROOT, *others)}

    def find(self, access_key_id: str, session_token: str | None) -> tuple[str, Principal]:
        known = self._known.get(access_key_id)
        if known is None:
            raise Unauthenticated("unknown_key", "The security token included in the request is invalid.")
        return "secret", known


def user(name: str, *statements: dict[str, Any]) -> Principal:
    """Who is allowed nothing but what these statements of a policy say."""
    policy = {"Version": "2012-10-17", "Statement": list(statements)}
    arn = f"arn:aws:iam::{SCOPE.account}:user/{name}"
    return Principal("user", SCOPE.account, name, arn, policies=(policy,), id=f"AIDA{name.upper()}")


def boto(url: str, service: str, key: str = "AKIAROOT", **config: Any) -> Any:
    """A client that tries once."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=SCOPE.region,
        aws_access_key_id=key,
        aws_secret_access_key="secret",
        config=Config(retries={"max_attempts": 1}, **config),
    )


async def call(method: Any, /, **params: Any) -> Any:
    """A blocking client's call beside the loop that serves it."""
    return await asyncio.to_thread(method, **params)
