"""Which stage of which API a request is for, kept ready between requests."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass

from sluiceway.config import ApiSettings
from sluiceway.core.store import Store, View
from sluiceway.services.apis import Apis, Served

_HOST = re.compile(r"^([a-z0-9]+)\.execute-api\.")
DEFAULT_STAGE = "$default"


@dataclass(frozen=True, slots=True)
class Address:
    """An API's id and the undecoded path behind it, beginning with a slash."""

    api_id: str
    path: bytes


def address(host: str, raw_path: bytes, prefix: bytes) -> Address | None:
    """By path (``prefix`` is ``/_api/`` or ``/_ws/``), or by the host ``ID.execute-api...``."""
    if raw_path.startswith(prefix):
        api_id, _, rest = raw_path[len(prefix) :].partition(b"/")
        return Address(api_id.decode("latin-1"), b"/" + rest)
    found = _HOST.match(host)
    return Address(found[1], raw_path or b"/") if found else None


class Stages:
    """Reads an API's routes once per change of it."""

    def __init__(self, store: Store, apis: Apis, limits: ApiSettings) -> None:
        self._store = store
        self._apis = apis
        self._limits = limits
        self._ready: OrderedDict[str, tuple[int, dict[str, Served]]] = OrderedDict()

    async def of(self, api_id: str) -> dict[str, Served]:
        """What the API's stages serve, by stage; empty if there is no such API."""
        known = self._ready.get(api_id)
        revision, served = await self._store.view(self._load, api_id, known)
        if not revision:
            self._ready.pop(api_id, None)
            return {}
        self._ready[api_id] = (revision, served)
        self._ready.move_to_end(api_id)
        if len(self._ready) > self._limits.cached_max:
            self._ready.popitem(last=False)
        return served

    def _load(
        self, view: View, api_id: str, known: tuple[int, dict[str, Served]] | None
    ) -> tuple[int, dict[str, Served]]:
        revision = self._apis.revision(view, api_id)
        if known is not None and known[0] == revision:
            return known
        return revision, self._apis.served(view, api_id) if revision else {}
