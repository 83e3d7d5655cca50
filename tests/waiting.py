"""Waiting for what another thread, task or process does.

What is counted is how often was asked, not the time: a machine that stood still meanwhile takes one turn.
"""

import asyncio
import time
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from tests.conftest import RunningServer

WAIT_S = 120
PAUSE_S, TURN_S = 0.02, 0.001


def wait_until(condition: Callable[[], object], server: RunningServer | None = None, wait_s: float = WAIT_S) -> None:
    """Return when the condition holds; fail, with the server's log if there is one, where it never does."""
    for _ in range(round(wait_s / PAUSE_S)):
        if condition():
            return
        time.sleep(PAUSE_S)
    pytest.fail(server.log if server else "waited in vain")


async def until(condition: Callable[[], object], wait_s: float = 30) -> None:
    """Return when the condition holds, while other tasks go on; fail where it never does."""
    for _ in range(round(wait_s / TURN_S)):
        if condition():
            return
        await asyncio.sleep(TURN_S)
    pytest.fail("waited in vain")


def when_ready(client: TestClient) -> TestClient:
    """The client, once the models are loaded."""
    wait_until(lambda: client.get("/health").status_code != 503)
    return client
