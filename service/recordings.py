"""Recordings: each is made once, read by all who want it and kept while there is room. Their parts and tags."""

import asyncio
import logging
import re
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from service.connections import ABORT
from service.errors import Refusal

log = logging.getLogger("uvicorn.error")

Result = TypeVar("Result")

MAX_AGE_S = 3600
"""How long a client may play a recording again without asking; asking costs a 304, until another voice is loaded."""
PIECE_BYTES = 64 * 1024
"""The most that a client is handed at once: what one that reads slowly holds besides the shared recording."""
PATIENCE_S = 30.0
"""How far a client may fall behind LEAST_PACE before it is disconnected, because what it reads holds memory."""
LEAST_PACE = 0.9
"""The pace below which a client falls behind, in seconds of sound per second; a player reads at 1."""
HEAD_START_S = 1.0
"""How much earlier than it was asked for a first window is due: it is short, and a listener waits for it."""
CHARACTERS_NAMED = 32
"""How many dropped characters a header names."""
ENTRY_BYTES = 6144
"""Bookkeeping bytes per cached recording: its headers, its key and the objects around them."""
RETRY_AFTER_S = 2
LATER = {"Retry-After": str(RETRY_AFTER_S)}
"""When a client that was refused for want of room may come back."""
EMBEDDABLE = {"Cross-Origin-Resource-Policy": "cross-origin"}
"""A header of speech, with which audio tags on pages of other origins may play it; their scripts cannot read it."""


class Recording:
    """One answer while it is made and afterwards: every client that wants it reads the same bytes."""

    def __init__(self, key: str, media_type: str, headers: Mapping[str, str]) -> None:
        """An empty recording.

        Args:
            key: a digest of all that its bytes depend on; equal keys are equal bytes.
            media_type: the media type of the answer.
            headers: the headers that are known before it is made.

        """
        self.key = key
        self.media_type = media_type
        self.headers = {**headers, "Vary": "Accept"}
        self.body: bytes | bytearray = bytearray()
        self.sound_s = 0.0
        """Seconds of sound in the body."""
        self.started_s = time.monotonic()
        self.finished = False
        self.error: BaseException | None = None
        self.readers = 0
        self.task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    @property
    def etag(self) -> str:
        """The key as the value of the header ETag."""
        return f'"{self.key}"'

    @property
    def bytes_per_s(self) -> float:
        """How many bytes one second of its sound takes, on average so far."""
        return len(self.body) / max(self.sound_s, 1.0)

    @property
    def spare_s(self) -> float:
        """How many seconds its next window can wait without a gap in playback; negative before the first window."""
        if not self.sound_s:
            return -HEAD_START_S
        return max(0.0, self.started_s + self.sound_s - time.monotonic())

    def add(self, encoded: bytes, sound_s: float) -> None:
        """Add bytes, which hold that many seconds of sound, to its end."""
        self.body += encoded
        self.sound_s += sound_s
        self._tell()

    def finish(self, patches: Iterable[tuple[int, bytes]]) -> None:
        """Complete it: the size in the file's header, and the HTTP headers that only a complete answer has."""
        assert isinstance(self.body, bytearray)
        for start, patch in patches:
            self.body[start : start + len(patch)] = patch
        self.body = bytes(self.body)
        self.headers |= {"X-Duration": f"{self.sound_s:.3f}", "Accept-Ranges": "bytes", **tag_headers(self.key)}
        self.finished = True
        self._tell()

    def fail(self, error: BaseException) -> None:
        """Tell all who wait for it that it will not be made."""
        if self.readers:
            self.error = error
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def reaches(self, n_bytes: int | None) -> None:
        """Return when it has that many bytes or is finished (None: when it is finished); raise where it fails."""
        while not self.finished:
            if self.error is not None:
                raise self.error
            if n_bytes is not None and len(self.body) >= n_bytes:
                return
            await self._news.wait()

    async def pieces(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        """Its bytes from `start` to before `end`, as they come."""
        while True:
            await self.reaches(start + 1)
            stop = min(start + PIECE_BYTES, len(self.body) if end is None else end)
            if start >= stop:
                return
            yield bytes(self.body[start:stop])
            start = stop


class Recordings:
    """The recordings that are made or read, and the finished ones that are kept."""

    def __init__(self, limit_bytes: int) -> None:
        """No recordings yet; of finished ones, the latest used are kept, `limit_bytes` at most."""
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self.under_way: dict[str, Recording] = {}
        """Those that are being made, and finished ones that are not kept but still read."""
        self.kept: OrderedDict[str, Recording] = OrderedDict()

    def find(self, key: str) -> tuple[Recording | None, str]:
        """The recording of that key, if there is one, and the value of X-Cache."""
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key], "hit"
        if key in self.under_way:
            return self.under_way[key], "shared"
        return None, "miss"

    def start(self, recording: Recording, work: Coroutine[Any, Any, None]) -> None:
        """Let `work` make it, for as long as it has readers."""
        self.under_way[recording.key] = recording
        recording.task = asyncio.create_task(work)

    def check_room(self, limit_bytes: int) -> None:
        """Raise if the recordings that are not kept hold that much memory already."""
        held = sum(len(recording.body) for recording in self.under_way.values())
        if held >= limit_bytes:
            message = "Recordings that are still being read take all the memory there is; try again soon."
            raise Refusal("busy", message, headers=LATER)

    def keep(self, recording: Recording) -> None:
        """Keep a finished one if there is room; those that are being read are not evicted for it."""
        size = held_bytes(recording)
        idle = [key for key, kept in self.kept.items() if not kept.readers]
        while idle and self.bytes + size > self.limit_bytes and size <= self.limit_bytes:
            self.bytes -= held_bytes(self.kept.pop(idle.pop(0)))
        if self.bytes + size <= self.limit_bytes:
            self.forget(recording)
            self.kept[recording.key] = recording
            self.bytes += size

    def forget(self, recording: Recording) -> None:
        """Let no further request join it."""
        if self.under_way.get(recording.key) is recording:
            del self.under_way[recording.key]

    def join(self, recording: Recording) -> None:
        """Add one reader to it."""
        recording.readers += 1

    def leave(self, recording: Recording) -> None:
        """Take one reader from it; without any, it is given up unless it is kept."""
        recording.readers -= 1
        if recording.readers:
            return
        self.forget(recording)
        # An error's traceback leads back to the recording, and so does the task's frame: without these two references
        # there is no circle that would keep its bytes until the next garbage collection.
        recording.error = None
        task, recording.task = recording.task, None
        if task is not None:
            task.cancel()


def held_bytes(recording: Recording) -> int:
    """How much memory a finished recording takes."""
    return len(recording.body) + ENTRY_BYTES


class Pace:
    """How fast a client reads, by the time for which it kept the server waiting."""

    def __init__(self, recording: Recording) -> None:
        """Nothing read yet."""
        self.recording = recording
        self.taken_bytes = 0
        self.waited_s = 0.0

    def patience_s(self) -> float:
        """How much longer the client may keep the server waiting."""
        sound_s = self.taken_bytes / self.recording.bytes_per_s if self.taken_bytes else 0.0
        return PATIENCE_S + sound_s / LEAST_PACE - self.waited_s

    async def send(self, send: Send, message: Message) -> None:
        """Send a part of the answer; a TimeoutError where the client is too slow."""
        clock = asyncio.get_running_loop().time
        started_s = clock()
        async with asyncio.timeout(max(0.0, self.patience_s())):
            await send(message)
            # Nothing else waits where the whole recording is there and the client is gone: each further write would
            # then be a line of asyncio's in the log, up to the end of the recording.
            await asyncio.sleep(0)
        self.waited_s += clock() - started_s
        self.taken_bytes += len(message.get("body", b""))


class Playback(StreamingResponse):
    """A recording, or a part of one, on its way to a client; leaves it at the end."""

    def __init__(
        self,
        recordings: Recordings,
        recording: Recording,
        x_cache: str,
        part: slice | None,
        foreseen: tuple[type[Exception], ...],
    ) -> None:
        """All of it, or the bytes in `part`; what is not finished is sent as it is made.

        Args:
            recordings: whose reader this is.
            recording: what is sent.
            x_cache: where it comes from, for the header of that name.
            part: the bytes to send; None: all.
            foreseen: the errors of making a recording that cut the answer and need one line in the log.

        """
        start, end, _ = part.indices(len(recording.body)) if part else (0, None, 1)
        headers = recording.headers | EMBEDDABLE | {"X-Cache": x_cache}
        if recording.finished:
            size = len(recording.body)
            end = size if end is None else end
            headers["Content-Length"] = str(end - start)
            if part:
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        else:
            headers |= {"Accept-Ranges": "none", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(recording.pieces(start, end), 206 if part else 200, headers, recording.media_type)
        self.recordings = recordings
        self.recording = recording
        self.cuts: tuple[type[Exception], ...] = (TimeoutError, *foreseen)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; where that fails halfway the connection is cut, so that no part looks like a whole."""
        pace = Pace(self.recording)
        try:
            with suppress(ClientDisconnect):
                await unless_gone(receive, self.stream_response(partial(pace.send, send)))
        except self.cuts as error:
            log.warning("Cut an answer to %s after its first bytes: %s", scope["path"], type(error).__name__)
            # What the client did not read would otherwise stay in the socket's buffer, and the socket with it.
            if abort := scope.get("extensions", {}).get(ABORT):
                abort()
                await asyncio.sleep(0)
        finally:
            self.recordings.leave(self.recording)


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` returns; it is cancelled as soon as the client is gone."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(client_leaves(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
        # A task that failed holds its error, whose traceback holds this frame: a circle, if the frame held the task.
        del working, leaving


async def client_leaves(receive: Receive) -> None:
    """Return when the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def dropped_headers(dropped: Mapping[str, int]) -> dict[str, str]:
    """Which characters could not be spoken, percent-encoded, each with its count."""
    if not dropped:
        return {}
    most = Counter(dropped).most_common(CHARACTERS_NAMED)
    named = ", ".join(f"{quote(character, safe='')}={count}" for character, count in most)
    return {"X-Dropped-Count": str(sum(dropped.values())), "X-Dropped": named}


def tag_headers(key: str) -> dict[str, str]:
    """The headers by which a client can ask again whether it still has the recording of that key."""
    return {"ETag": f'"{key}"', "Cache-Control": f"private, max-age={MAX_AGE_S}"}


def not_modified(key: str) -> Response:
    """The answer to a client that has the recording already."""
    return Response(status_code=304, headers=tag_headers(key) | {"Vary": "Accept"} | EMBEDDABLE)


def is_known(request: Request, key: str, *, exists: bool) -> bool:
    """Whether the client has this recording already: If-None-Match, which any match fulfils, also a weak one.

    "*" means any recording that exists, which is one that is kept.
    """
    tags = re.findall(r'\*|"[^"]*"', ", ".join(request.headers.getlist("if-none-match")))
    return f'"{key}"' in tags or (exists and "*" in tags)


def wants_part(request: Request) -> bool:
    """Whether a range was asked for that is not simply all there is, as browsers ask at first."""
    wanted = request.headers.get("range", "") if request.method == "GET" else ""
    return wanted.replace(" ", "").lower() not in ("", "bytes=0-")


def read_range(request: Request, recording: Recording) -> slice | None:
    """The part that Range asks for (RFC 9110, 14.2); None: all, as for several parts or another recording's."""
    given = request.headers.getlist("range")
    wanted = re.fullmatch(r"(?ai:bytes)=\s*(\d{0,100})-(\d{0,100})\s*", given[0], re.ASCII) if len(given) == 1 else None
    if request.method != "GET" or not recording.finished or not wanted or not any(wanted.groups()):
        return None
    if request.headers.get("if-range", recording.etag) != recording.etag:
        return None
    first, last = wanted.groups()
    size = len(recording.body)
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        headers = {"Content-Range": f"bytes */{size}"}
        message = f"The range begins after the end: the recording has {size} bytes."
        raise Refusal("unsatisfiable_range", message, headers=headers)
    return slice(start, end)
