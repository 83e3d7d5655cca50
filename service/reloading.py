"""What asks a running server to read its settings again: SIGHUP, and changes of files."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STDERR = 2
QUIET_MS = 500
"""How long all files must stay unchanged before a reload: a file that is being copied changes all the time."""


@contextmanager
def on_hangup(reload: Callable[[], Coroutine[Any, Any, None]]) -> Iterator[None]:
    """Let every SIGHUP start a reload, as systemd and `kill -HUP` send it.

    The same signal says that the terminal of a server was closed, which still ends it. Only the main thread can have
    handlers, and only Unix has the signal; elsewhere nothing is changed.
    """
    loop = asyncio.get_running_loop()
    had_terminal = os.isatty(STDERR)
    reloads: set[asyncio.Task[None]] = set()

    def hang_up() -> None:
        if had_terminal and not os.isatty(STDERR):
            signal.raise_signal(signal.SIGTERM)
            return
        task = loop.create_task(reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    try:
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        handled = True
    except (AttributeError, NotImplementedError, RuntimeError, ValueError):
        handled = False
    try:
        yield
    finally:
        if handled:
            loop.remove_signal_handler(signal.SIGHUP)
        for task in reloads:
            task.cancel()


async def watch(
    files: Callable[[], Iterable[Path]],
    folders: Callable[[], Iterable[Path]],
    reload: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    """Reload whenever a file changes, until cancelled; it needs watchfiles.

    Args:
        files: those that matter now.
        folders: those in which every file matters, but not those within.
        reload: reads everything again, after which other files may matter.

    """
    from watchfiles import awatch

    while True:
        wanted = {path.resolve() for path in files()}
        whole = {path.resolve() for path in folders()}
        looked_at = [path for path in whole | {path.parent for path in wanted} if path.is_dir()]
        async for changes in awatch(*looked_at, recursive=False, step=QUIET_MS, debounce=20 * QUIET_MS):
            if any(path in wanted or path.parent in whole for path in (Path(name) for _, name in changes)):
                await reload()
                break
