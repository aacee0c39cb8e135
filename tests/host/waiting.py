"""Waiting for a condition instead of sleeping."""

import asyncio
import time
from collections.abc import Callable

SECONDS = 20.0  # far beyond what any of it takes: only a failure waits so long


def until(condition: Callable[[], object], seconds: float = SECONDS) -> bool:
    """True as soon as condition holds, False after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


async def until_async(condition: Callable[[], object], seconds: float = SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True
