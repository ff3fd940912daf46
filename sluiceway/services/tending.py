"""The loop of a task that looks after something: work, wait until woken or for a while, work again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from sluiceway.core.wakeups import Wakeups
from sluiceway.errors import Throttled, Unavailable

log = logging.getLogger(__name__)

#: Seconds until what failed is tried again. Wake-ups don't shorten them: whoever causes these could fill the log.
AGAIN_S: Final = 5.0


async def tend(wakeups: Wakeups, name: str, work: Callable[[], Awaitable[float | None]], undone: str) -> None:
    """``work`` until cancelled: at once, whenever ``name`` is woken, and after as many seconds as it returned (None: it
    waits to be woken).

    No failure ends it. ``undone`` tells an operator what is left undone meanwhile; of what nobody expected, the log has
    the trace.
    """
    while True:
        woken = wakeups.expect(name)
        try:
            idle_s = await work()
            await asyncio.wait([woken], timeout=idle_s)
        except (Throttled, Unavailable) as error:
            log.warning("%s for now: %s", undone, error.message)
            await asyncio.sleep(AGAIN_S)
        except Exception:  # a task that ended here would leave its work undone until the next start
            log.exception("%s for now", undone)
            await asyncio.sleep(AGAIN_S)
        finally:
            woken.cancel()
