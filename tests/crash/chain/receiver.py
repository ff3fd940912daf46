"""A webhook's endpoint in the test's process: it lives on while the server dies."""

from __future__ import annotations

import json
import threading
import urllib.request

from shared.endpoint import Endpoint, Moods


class Receiver:
    """``got`` counts by the message's id how often each was taken; a few are refused, as ``moods`` says."""

    def __init__(self, seed: int) -> None:
        self.got: dict[str, int] = {}
        self.moods = Moods(seed)
        self._lock = threading.Lock()
        self._endpoint = Endpoint(self._take)
        self.url = f"{self._endpoint.url}/hook"
        self.close = self._endpoint.close

    def _take(self, path: str, body: bytes) -> int:
        """The status to answer."""
        post = json.loads(body)
        if post["Type"] == "SubscriptionConfirmation":
            threading.Thread(target=_visit, args=(post["SubscribeURL"],), daemon=True).start()
            return 200
        with self._lock:
            if self.moods.refuse():
                return 503
            self.got[post["MessageId"]] = self.got.get(post["MessageId"], 0) + 1
            return 200


def _visit(url: str) -> None:
    with urllib.request.urlopen(url, timeout=10) as answer:
        answer.read()
