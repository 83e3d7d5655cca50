"""Turns: which recordings are under way, and the threads that compute them."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from heapq import heappop, heappush
from itertools import count
from typing import TypeVar

from service.errors import Refusal
from service.recordings import LATER

Result = TypeVar("Result")


class Turns:
    """The place where all inference runs: a single thread, with a queue in which the most urgent job is first."""

    def __init__(
        self, threads: int, max_waiting: int, set_threads: Callable[[int], object] = lambda threads: None
    ) -> None:
        """At most `max_waiting` recordings at once; each thread that computes starts with `set_threads`."""
        self.threads = threads
        self.max_waiting = max_waiting
        self.waiting = self.heads = self.taken = self.loads = 0
        self._taken = False
        self._queue: list[tuple[float, int, asyncio.Future[None]]] = []
        """The jobs that wait: when each is due, a number that keeps equal ones in order, and what starts it."""
        self._numbers = count()
        # One thread, always the same: a cancelled request cannot leave a second inference running beside the next,
        # and torch's pools and per-thread caches exist once.
        self._inference = ThreadPoolExecutor(1, "inference", set_threads, (threads,))
        # The front ends' libraries are not safe to share between threads, and may take a second to import.
        self._preparation = ThreadPoolExecutor(1, "preparation")
        self._encoding = ThreadPoolExecutor(1, "encoding")
        self._loading = ThreadPoolExecutor(1, "loading", set_threads, (1,))

    async def start(self) -> None:
        """Start the threads that compute."""
        # The number that is set last counts for all threads in part (MKL's), so inference must be what sets it last.
        await self.load(lambda: None)
        await self.infer(lambda: None)

    @contextmanager
    def admit(self) -> Iterator[None]:
        """A place among the recordings that are being made; a Refusal if there is none."""
        if self.waiting >= self.max_waiting:
            message = f"{self.waiting} recordings are being made already, which is the limit; try again soon."
            raise Refusal("busy", message, headers=LATER)
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    @contextmanager
    def admit_head(self) -> Iterator[None]:
        """The same for a request that wants headers alone: these are cheap to send, so they get a few places only."""
        if self.heads >= max(1, self.max_waiting // 4):
            raise Refusal("busy", "Too many HEAD requests are under way; try again soon.", headers=LATER)
        self.heads += 1
        try:
            with self.admit():
                yield
        finally:
            self.heads -= 1

    async def prepare(self, job: Callable[[Callable[[], None]], Result]) -> Result:
        """What `job` returns, computed beside inference: text work, without torch.

        `job` is given a function to call now and then, which raises once its caller was cancelled.
        """
        abandoned = threading.Event()

        def check() -> None:
            if abandoned.is_set():
                raise CancelledError

        try:
            return await asyncio.get_running_loop().run_in_executor(self._preparation, job, check)
        finally:
            abandoned.set()

    async def encode(self, job: Callable[[], Result]) -> Result:
        """What `job` returns, computed beside inference: samples into a format's bytes."""
        return await asyncio.get_running_loop().run_in_executor(self._encoding, job)

    async def load(self, job: Callable[[], Result]) -> Result:
        """What `job` returns, computed beside inference as far as that leaves cores to it: files, weights."""
        self.loads += 1
        try:
            return await self._finished(self._loading, job)
        finally:
            self.loads -= 1

    async def infer(self, job: Callable[[], Result], spare_s: float = 0.0) -> Result:
        """What `job` returns, computed when its turn has come. A turn is one window of audio.

        The turn goes to the job that is due first, and one that can wait is due so much later: `spare_s`. As time
        passes everything that waits becomes due before what is asked for then, so nothing waits for ever.
        """
        async with self._turn(time.monotonic() + spare_s):
            self.taken += 1
            return await self._finished(self._inference, job)

    @asynccontextmanager
    async def _turn(self, due_s: float) -> AsyncIterator[None]:
        if self._taken:
            call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heappush(self._queue, (due_s, next(self._numbers), call))
            try:
                await call
            except asyncio.CancelledError:
                if not call.cancelled():  # It was called and cancelled at once.
                    self._call_next()
                raise
        self._taken = True
        try:
            yield
        finally:
            self._call_next()

    def _call_next(self) -> None:
        """Pass the turn on; it stays taken until no one waits, so that nobody comes between."""
        while self._queue:
            _, _, call = heappop(self._queue)
            if not call.done():
                call.set_result(None)
                return
        self._taken = False

    async def _finished(self, thread: ThreadPoolExecutor, job: Callable[[], Result]) -> Result:
        future = asyncio.get_running_loop().run_in_executor(thread, job)
        try:
            return await asyncio.shield(future)
        finally:
            # A cancelled caller leaves the thread computing: its turn lasts until that is over.
            if not future.done():
                await asyncio.wait([future])
            del future  # Where the job failed it holds the error, whose traceback holds this frame: a circle.

    async def close(self) -> None:
        """Let cancelled requests come to the end of their window and be answered, then end the threads."""
        while self.waiting or self.loads:
            await asyncio.sleep(0.01)
        for threads in (self._preparation, self._encoding, self._loading, self._inference):
            threads.shutdown(cancel_futures=True)
