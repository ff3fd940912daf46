"""Outgoing HTTP: one POST with a time limit, no redirects, and only to addresses that are allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sluiceway.config import DeliverySettings
from sluiceway.core.trust import trust
from sluiceway.reactions.target import DeliveryFailed
from sluiceway.reactions.targets.challenges import answer_to
from sluiceway.reactions.targets.guard import Refused, check_literal

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL


class Web:
    """A client session, opened at the first POST. ``guarded`` limits it to public addresses (subscribers'
    endpoints); an operator's own gateway needs no such limit."""

    def __init__(self, settings: DeliverySettings, guarded: bool) -> None:
        self._settings = settings
        self._guarded = guarded
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and the beginning of the answer. A user and password in ``url`` answer the endpoint's challenge.
        Raises ``DeliveryFailed`` if there is no answer in time, permanently if the address may not be reached."""
        import aiohttp  # here: it takes a fifth of a second and 17 MiB, which a start must not wait for
        from yarl import URL

        host = ""
        try:
            address = URL(url)
            host = address.host or ""
            if self._guarded:
                check_literal(host)
            async with asyncio.timeout(self._settings.http_s):
                return await self._exchange(address, body, headers)
        except Refused as error:
            raise DeliveryFailed(f"The endpoint may not be reached: {error}.", permanent=True) from None
        except aiohttp.InvalidURL as error:
            raise DeliveryFailed(f"The endpoint may not be reached: {_words(error)}", permanent=True) from None
        except TimeoutError:
            raise DeliveryFailed(f"{host} did not answer within {self._settings.http_s:g} seconds.") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if (refusal := _refusal(error)) is not None:
                raise DeliveryFailed(f"The endpoint may not be reached: {refusal}.", permanent=True) from None
            raise DeliveryFailed(f"{host} could not be reached: {_words(error)}") from None

    async def _exchange(self, address: URL, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        plain = address.with_user(None)
        status, answer, challenges = await self._ask(plain, body, headers)
        if status != 401 or not address.user:
            return status, answer
        proof = answer_to(challenges, address.user, address.password or "", "POST", plain.raw_path_qs)
        if proof is None:
            return status, answer
        status, answer, _ = await self._ask(plain, body, {**headers, "Authorization": proof})
        return status, answer

    async def _ask(self, address: URL, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes, list[str]]:
        async with self._open().post(address, data=body, headers=headers, allow_redirects=False) as response:
            answer = await response.content.read(self._settings.answer_bytes_max)
            return response.status, answer, response.headers.getall("WWW-Authenticate", [])

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        from sluiceway.reactions.targets.resolver import Resolver, guarded_socket

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._settings.connections_max,
                    limit_per_host=self._settings.connections_per_host_max,
                    use_dns_cache=False,
                    resolver=Resolver(self._settings.lookups_max, self._guarded),
                    socket_factory=guarded_socket if self._guarded else None,
                    ssl=trust(self._settings.certificates),
                ),
                timeout=aiohttp.ClientTimeout(total=self._settings.http_s),
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def check_status(host: str, status: int, answer: bytes) -> None:
    """Raises ``DeliveryFailed`` unless ``status`` is 2xx; permanently for 4xx but 429, as SNS takes a client
    error for one that stays ("Message delivery retries")."""
    if 200 <= status < 300:
        return
    words = " ".join(answer[:200].decode("utf-8", "replace").split())
    reason = f"{host} answered {status}" + (f": {words}" if words else ".")
    raise DeliveryFailed(reason, permanent=400 <= status < 500 and status != 429)


def _refusal(error: BaseException | None) -> Refused | None:
    """Our own refusal, if a library has wrapped it."""
    while error is not None and not isinstance(error, Refused):
        error = error.__cause__ or error.__context__
    return error


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
