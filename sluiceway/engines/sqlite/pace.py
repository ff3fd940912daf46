"""Which transaction functions are short enough to run on the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

#: Quick runs in a row until a function that was once long counts as short again: a pause of the machine costs it little,
#: and one whose length depends on its arguments (a batch) stays on the thread.
_AGAIN: Final = 1000


class Pace:
    """Remembers by name which functions took longer than ``short_ms``, a few hundred at most: they are those of the code.
    One without a name counts as long."""

    def __init__(self, short_ms: float) -> None:
        self._short_ms = short_ms
        self._long: dict[str, int] = {}  # and how many quick runs they are still to show

    def is_short(self, fn: Callable[..., Any]) -> bool:
        """Whether ``fn`` may run on the event loop."""
        name = getattr(fn, "__qualname__", None)
        return name is not None and name not in self._long and self._short_ms > 0

    def was_long(self, fn: Callable[..., Any]) -> None:
        """``fn`` took longer than may be."""
        self._long[getattr(fn, "__qualname__", "")] = _AGAIN

    def took(self, fn: Callable[..., Any], ms: float) -> None:
        """``fn`` ran for ``ms`` beside the event loop."""
        if ms > self._short_ms:
            self.was_long(fn)
        elif self._long:
            self._was_quick(getattr(fn, "__qualname__", ""))

    def _was_quick(self, name: str) -> None:
        left = self._long.get(name, 0)
        if left > 1:
            self._long[name] = left - 1
        elif left == 1:
            del self._long[name]
