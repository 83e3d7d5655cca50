"""Silence for native libraries that write warnings to the C library's stderr."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import RLock

_lock = RLock()


class _Streams:
    """The C library's variable `stderr`, and a stream to nowhere that can take its place."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        libc.fopen.restype = ctypes.c_void_p
        self.stderr = ctypes.c_void_p.in_dll(libc, "stderr")
        self.nowhere = libc.fopen(b"/dev/null", b"w")


@cache
def _streams() -> _Streams | None:
    """The streams; None where the C library names its stderr otherwise, as on macOS."""
    try:
        streams = _Streams()
    except (OSError, AttributeError, ValueError):
        return None
    return streams if streams.nowhere else None


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """A context in which C code that prints to `stderr` prints to nowhere, one thread at a time.

    The C variable is exchanged, not file descriptor 2: whatever else writes there at that moment is kept, which are
    the log lines of other threads, Python's report of a fatal signal, and the C library's own last words.
    """
    streams = _streams()
    if streams is None:
        yield
        return
    with _lock:
        loud = streams.stderr.value
        streams.stderr.value = streams.nowhere
        try:
            yield
        finally:
            streams.stderr.value = loud
