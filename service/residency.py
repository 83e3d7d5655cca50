"""Which of several large things, such as the weights of models, are in memory: the latest used, within a budget.

A thing stays in memory while someone uses it. If another one would exceed the budget, things without users are let go,
the least recently used first; if that is not enough, the load waits until things in use become free. Those who wait are
served in the order in which they came: a thing that must go takes no new users, so two clients that use two things in
turn, with room for one, both make progress.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from service.errors import Refusal
from service.recordings import LATER

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

State = Literal["loaded", "loading", "on demand"]
Reason = Literal["budget", "idle", "removed"]
"""Why a thing was let go."""


class NoRoom(Refusal):
    """A thing is larger than the budget, or than what those that always stay leave of it."""


@dataclass(eq=False, slots=True)
class _Place(Generic[Key, Value]):
    """One thing, whether it is in memory or not."""

    key: Key
    size_bytes: int
    """As it lies in memory; before it was ever loaded, as it is expected."""
    stays: bool = False
    """Whether it is never let go for room or for idleness."""
    value: Value | None = None
    users: int = 0
    used_s: float = 0.0
    """When it was last used, by the loop's clock."""
    leaving: bool = False
    """Whether it takes no new users because another needs its room."""
    removed: bool = False
    """Whether it is let go after its last user because it was removed."""
    timer: asyncio.TimerHandle | None = None


@dataclass(eq=False, slots=True)
class _Wait(Generic[Key, Value]):
    """Someone who waits for a thing."""

    place: _Place[Key, Value]
    granted: asyncio.Future[Value]


class Residency(Generic[Key, Value]):
    """The things that are known, and those of them that are in memory. It belongs to one event loop."""

    def __init__(
        self,
        load: Callable[[Key], Awaitable[tuple[Value, int]]],
        limit_bytes: int = 0,
        idle_s: float = 0.0,
        let_go: Callable[[Key, Reason], None] = lambda key, reason: None,
    ) -> None:
        """Nothing known yet.

        Args:
            load: what loads a thing and tells its size; only one load runs at a time.
            limit_bytes: the budget of all things in memory together; 0: no limit.
            idle_s: after how long without a user a thing is let go; 0: never.
            let_go: called whenever a thing was let go.

        """
        self.load = load
        self.limit_bytes = limit_bytes
        self.idle_s = idle_s
        self._let_go = let_go
        self._places: dict[Key, _Place[Key, Value]] = {}
        self._waiting: deque[_Wait[Key, Value]] = deque()
        self._loading: _Place[Key, Value] | None = None
        self._task: asyncio.Task[None] | None = None
        self._removed: set[_Place[Key, Value]] = set()
        """Those that were removed and are still in memory."""

    def add(self, key: Key, size_bytes: int) -> None:
        """Add a thing that is loaded when it is first used."""
        self._places[key] = _Place(key, size_bytes)

    def put(self, key: Key, value: Value, size_bytes: int, *, stays: bool = False) -> None:
        """Add a thing that is already in memory."""
        place = self._places[key] = _Place(key, size_bytes, stays, value)
        self._touch(place)
        self._advance()

    def remove(self, key: Key) -> None:
        """Forget a thing; those who use it or wait for it keep it until they are done."""
        place = self._places.pop(key)
        place.removed = True
        self._removed.add(place)
        self._advance()

    def rename(self, old: Key, new: Key) -> None:
        """Give a thing another key."""
        place = self._places.pop(old)
        place.key = new
        self._places[new] = place

    def state(self, key: Key) -> State:
        """Where a thing is."""
        place = self._places[key]
        if place.value is not None:
            return "loaded"
        waits = place is self._loading or any(wait.place is place for wait in self._waiting)
        return "loading" if waits else "on demand"

    def value(self, key: Key) -> Value | None:
        """A thing, if it is in memory; this is no use of it."""
        place = self._places.get(key)
        return place.value if place else None

    @property
    def bytes(self) -> int:
        """The memory of all things that are in memory or about to be."""
        places = {*self._places.values(), *self._removed}
        return sum(place.size_bytes for place in places if place.value is not None or place is self._loading)

    @property
    def staying_bytes(self) -> int:
        """The memory of those that are never let go."""
        return sum(place.size_bytes for place in self._places.values() if place.stays)

    def fits(self, size_bytes: int) -> bool:
        """Whether a thing of that size could ever be loaded beside those that stay."""
        return not self.limit_bytes or self.staying_bytes + size_bytes <= self.limit_bytes

    def spare(self, size_bytes: int) -> None:
        """Let go what is not used until there is that much room, as far as that is possible without a wait."""
        while self._excess(size_bytes) > 0 and (place := next(iter(self._candidates(idle=True)), None)):
            self._drop(place, "budget")

    @asynccontextmanager
    async def lease(self, key: Key) -> AsyncIterator[Value]:
        """A thing, which stays in memory for as long as it is used; raises what its load raises, and NoRoom."""
        # A thing that was removed since its user was sent here is loaded once more for this user alone.
        place = self._places.get(key) or next((place for place in self._removed if place.key == key), None)
        if place is None:
            place = _Place(key, 0, removed=True)
            self._removed.add(place)
        value = await self._acquired(place)
        try:
            yield value
        finally:
            del value
            self._release(place)

    def change(self, limit_bytes: int, idle_s: float) -> None:
        """Go on with another budget and another time of idleness."""
        self.limit_bytes, self.idle_s = limit_bytes, idle_s
        for place in self._places.values():
            self._start_timer(place)
        self._advance()

    async def close(self) -> None:
        """End the load under way, those who wait, and the timers."""
        for wait in self._waiting:
            wait.granted.cancel()
        self._waiting.clear()
        for place in {*self._places.values(), *self._removed}:
            if place.timer is not None:
                place.timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _acquired(self, place: _Place[Key, Value]) -> Value:
        if place.value is not None and not place.leaving:
            return self._use(place, place.value)
        wait = _Wait(place, asyncio.get_running_loop().create_future())
        self._waiting.append(wait)
        self._advance()
        try:
            value: Value = await wait.granted
        except asyncio.CancelledError:
            if not wait.granted.cancelled() and wait.granted.exception() is None:
                self._release(place)
            else:
                self._give_up(wait)
            raise
        return value

    def _give_up(self, wait: _Wait[Key, Value]) -> None:
        if wait in self._waiting:
            self._waiting.remove(wait)
        self._advance()

    def _use(self, place: _Place[Key, Value], value: Value) -> Value:
        place.users += 1
        self._touch(place)
        return value

    def _release(self, place: _Place[Key, Value]) -> None:
        place.users -= 1
        self._touch(place)
        self._advance()

    def _touch(self, place: _Place[Key, Value]) -> None:
        place.used_s = asyncio.get_running_loop().time()
        self._start_timer(place)

    def _start_timer(self, place: _Place[Key, Value]) -> None:
        idle = place.value is not None and not place.users and not place.stays
        if idle and self.idle_s and place.timer is None:
            place.timer = asyncio.get_running_loop().call_later(self.idle_s, self._end_idleness, place)

    def _end_idleness(self, place: _Place[Key, Value]) -> None:
        """Let a thing go if it was idle for long enough; else look again when it may be."""
        place.timer = None
        loop = asyncio.get_running_loop()
        if not self.idle_s or place.users or place.value is None:
            return
        left_s = place.used_s + self.idle_s - loop.time()
        if left_s > 0:
            place.timer = loop.call_later(left_s, self._end_idleness, place)
        else:
            self._drop(place, "idle")
            self._advance()

    def _advance(self) -> None:
        """Do all that can be done now; called after every change."""
        for place in [place for place in self._removed if not self._is_wanted(place)]:
            self._removed.discard(place)
            if place.value is not None:
                self._drop(place, "removed")
        # What was just loaded goes to those who waited for it before the next one's need of room could take it away.
        self._grant()
        self._make_room()
        self._grant()
        first = self._first()
        if first is None or self._loading is not None:
            return
        if not self.fits(first.size_bytes):
            needed = f"{first.size_bytes / 1e6:.0f} MB are needed beside {self.staying_bytes / 1e6:.0f} MB that stay"
            message = f"{needed}, and the limit is {self.limit_bytes / 1e6:.0f} MB."
            self._fail(first, NoRoom("out_of_memory", message, headers=LATER))
            self._advance()
        elif self._excess(first.size_bytes) <= 0:
            self._loading = first
            self._task = asyncio.create_task(self._load(first))

    def _grant(self) -> None:
        """Serve those who wait for what is in memory now."""
        for wait in [wait for wait in self._waiting if wait.place.value is not None and not wait.place.leaving]:
            self._waiting.remove(wait)
            if not wait.granted.done():
                assert wait.place.value is not None
                wait.granted.set_result(self._use(wait.place, wait.place.value))

    def _first(self) -> _Place[Key, Value] | None:
        """What is loaded next: what the first waits for who cannot be served now."""
        return next((wait.place for wait in self._waiting if wait.place.value is None), None)

    def _is_wanted(self, place: _Place[Key, Value]) -> bool:
        return bool(place.users) or place is self._loading or any(wait.place is place for wait in self._waiting)

    def _excess(self, size_bytes: int) -> int:
        """How much must be let go before that much more fits."""
        return self.bytes + size_bytes - self.limit_bytes if self.limit_bytes else 0

    def _candidates(self, *, idle: bool) -> list[_Place[Key, Value]]:
        """What may be let go, in that order: what is not used, what must go already, the least recently used."""
        places = [
            place
            for place in [*self._places.values(), *self._removed]
            if place.value is not None and not place.stays and not (idle and place.users)
        ]
        return sorted(places, key=lambda place: (place.users > 0, not place.leaving, place.used_s))

    def _make_room(self) -> None:
        """Let go what is not used, and close to new users what is, as far as the first who waits needs the room."""
        first = self._first() if self._loading is None else None
        excess = self._excess(first.size_bytes if first and self.fits(first.size_bytes) else 0)
        leaving = set()
        for place in self._candidates(idle=first is None):
            if excess <= 0:
                break
            excess -= place.size_bytes
            if place.users:
                leaving.add(place)
            else:
                self._drop(place, "budget")
        for place in {*self._places.values(), *self._removed}:
            place.leaving = place in leaving

    def _drop(self, place: _Place[Key, Value], reason: Reason) -> None:
        place.value = None
        place.leaving = False
        if place.timer is not None:
            place.timer.cancel()
            place.timer = None
        self._let_go(place.key, reason)

    def _fail(self, place: _Place[Key, Value], error: Exception) -> None:
        for wait in [wait for wait in self._waiting if wait.place is place]:
            self._waiting.remove(wait)
            if not wait.granted.done():
                wait.granted.set_exception(error)

    async def _load(self, place: _Place[Key, Value]) -> None:
        try:
            place.value, place.size_bytes = await self.load(place.key)
            self._touch(place)
        except Exception as error:
            self._fail(place, error)
        finally:
            self._loading = self._task = None
            self._advance()
