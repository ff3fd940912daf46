"""What the demo watches: every hop of every upload, with the moment at which it was seen."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from apps.photos.client import Refused

#: Hops in the order in which they are shown, and what each means.
HOPS = {
    "queue": "the queue has a copy",
    "webhook": "the webhook was called",
    "partner": "the partner's webhook was called",
    "mail": "the mail was delivered",
    "sms": "a text message lies in the outbox",
    "told": "the page was told that it arrived",
    "row": "its row is in the table",
    "thumbnail": "its thumbnail is in the other bucket",
    "ready": "the page was told that it is ready",
    "search": "search finds it by its words",
    "counted": "the data stream's counter has counted it",
}


class Board:
    """Which upload was seen where, and when. Uploads are known by their ids."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._stored: dict[str, tuple[float, str, frozenset[str]]] = {}
        self._seen: dict[tuple[str, str], float] = {}

    def stored(self, upload: str, name: str, hops: frozenset[str]) -> None:
        """The bucket has acknowledged an upload; ``hops`` are what must follow."""
        with self._lock:
            self._stored[upload] = time.monotonic(), name, hops
            early = [hop for (seen, hop) in self._seen if seen == upload]
        for hop in early:
            self._show(upload, hop)

    def saw(self, upload: str, hop: str) -> None:
        """It arrived there; what is seen again is not shown again."""
        with self._lock:
            if (upload, hop) in self._seen:
                return
            self._seen[upload, hop] = time.monotonic()
            known = upload in self._stored
        if known:
            self._show(upload, hop)

    def _show(self, upload: str, hop: str) -> None:
        began, name, _ = self._stored[upload]
        ms = max(0.0, (self._seen[upload, hop] - began) * 1000)
        self._say(f"    {ms:8.0f} ms  {name}: {HOPS[hop]}")

    def missing(self, hop: str | None = None) -> list[tuple[str, str, str]]:
        """(upload, name, hop) of what has not arrived yet."""
        with self._lock:
            return [
                (upload, name, wanted)
                for upload, (_, name, hops) in self._stored.items()
                for wanted in hops
                if (upload, wanted) not in self._seen and hop in (None, wanted)
            ]

    def since_stored(self, upload: str) -> float:
        """Seconds since the bucket's acknowledgement; 0 before it."""
        with self._lock:
            found = self._stored.get(upload)
        return time.monotonic() - found[0] if found else 0.0

    def medians(self) -> dict[str, float]:
        """Hop -> the median of its times in milliseconds."""
        times: dict[str, list[float]] = {}
        for (upload, hop), at in self._seen.items():
            if upload in self._stored:
                times.setdefault(hop, []).append(max(0.0, (at - self._stored[upload][0]) * 1000))
        return {hop: sorted(found)[len(found) // 2] for hop, found in times.items()}


_AWAY = (OSError, BotoCoreError, ClientError, Refused, http.client.HTTPException)


class Watcher(threading.Thread):
    """Asks the services, as their official clients, until everything was seen."""

    def __init__(self, board: Board, looks: list[Callable[[], None]], every_s: float = 0.1) -> None:
        super().__init__(daemon=True)
        self._board = board
        self._looks = looks
        self._every_s = every_s
        self._stopped = threading.Event()

    def run(self) -> None:
        """Look at everything that is still missing, again and again; a server that is away is asked later."""
        while not self._stopped.wait(self._every_s):
            for look in self._looks:
                try:
                    look()
                except _AWAY:  # the server is killed on purpose in between
                    time.sleep(0.2)

    def stop(self) -> None:
        """At the next look."""
        self._stopped.set()
        self.join(5)
