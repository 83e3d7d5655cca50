"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable

import pytest

from tests.conftest import RunningServer

WAIT_S = 120
PAUSE_S = 0.02


def wait_until(condition: Callable[[], object], server: RunningServer | None = None, wait_s: float = WAIT_S) -> None:
    """Return when the condition holds; fail, with the server's log if there is one, where it never does.

    What is counted is how often it was asked, not the time: a machine that stood still meanwhile takes one turn.
    """
    for _ in range(round(wait_s / PAUSE_S)):
        if condition():
            return
        time.sleep(PAUSE_S)
    pytest.fail(server.log if server else "waited in vain")
