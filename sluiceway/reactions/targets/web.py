"""Outgoing HTTP: one POST with a time limit, no redirects, and only to addresses that are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sluiceway.config import DeliverySettings
from sluiceway.reactions.target import DeliveryFailed
from sluiceway.reactions.targets.guard import Refused, check_literal

if TYPE_CHECKING:
    import aiohttp


class Web:
    """A client session, opened at the first POST. ``guarded`` limits it to public addresses (subscribers'
    endpoints); an operator's own gateway needs no such limit."""

    def __init__(self, settings: DeliverySettings, guarded: bool) -> None:
        self._settings = settings
        self._guarded = guarded
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and the beginning of the answer. Raises ``DeliveryFailed`` if there is no answer in time,
        permanently if the address may not be reached."""
        import aiohttp  # here: it takes a fifth of a second and 17 MiB, which a start must not wait for

        host = urlsplit(url).hostname or ""
        try:
            if self._guarded:
                check_literal(host)
            async with self._open().post(url, data=body, headers=headers, allow_redirects=False) as response:
                return response.status, await response.content.read(self._settings.answer_bytes_max)
        except Refused as error:
            raise DeliveryFailed(f"The endpoint may not be reached: {error}.", permanent=True) from None
        except aiohttp.InvalidURL as error:
            raise DeliveryFailed(f"The endpoint may not be reached: {_words(error)}", permanent=True) from None
        except TimeoutError:
            raise DeliveryFailed(f"{host} did not answer within {self._settings.http_s:g} seconds.") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(cause := error.__cause__, Refused):
                raise DeliveryFailed(f"The endpoint may not be reached: {cause}.", permanent=True) from None
            raise DeliveryFailed(f"{host} could not be reached: {_words(error)}") from None

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        from sluiceway.reactions.targets.resolver import PublicResolver

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._settings.connections_max,
                    limit_per_host=self._settings.connections_per_host_max,
                    use_dns_cache=False,
                    resolver=PublicResolver() if self._guarded else None,
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


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
