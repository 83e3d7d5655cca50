"""What is in memory and what is let go: with things that are loaded when the test says so."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from service.residency import NoRoom, Residency
from tests.waiting import until

pytestmark = pytest.mark.anyio


class Shelf:
    """A residency of things that are their own names in capitals; a size is 10 unless told."""

    def __init__(self, limit: int = 0, idle_s: float = 0.0, **sizes: int) -> None:
        self.loads: list[str] = []
        self.let_go: list[tuple[str, str]] = []
        self.loading: dict[str, asyncio.Future[None]] = {}
        self.held: set[str] = set()
        self.faults: dict[str, Exception] = {}
        self.measured: dict[str, int] = {}
        self.sizes = {"a": 10, "b": 10, "c": 10, **sizes}
        self.residency = Residency[str, str](self.load, limit, idle_s, lambda *what: self.let_go.append(what))
        for key, size in self.sizes.items():
            self.residency.add(key, size)

    async def load(self, key: str) -> tuple[str, int]:
        """Load at once, or when the test lets it."""
        self.loads.append(key)
        if key in self.held:
            self.loading[key] = asyncio.get_running_loop().create_future()
            await self.loading[key]
        if key in self.faults:
            raise self.faults[key]
        return key.upper(), self.measured.get(key, self.sizes[key])

    async def use(self, *keys: str) -> None:
        """Use things, one after the other."""
        for key in keys:
            async with self.residency.lease(key) as value:
                assert value == key.upper()

    def states(self) -> str:
        """The names of those in memory."""
        return "".join(key for key in self.sizes if self.residency.state(key) == "loaded")


class User:
    """Someone who uses a thing until told to stop."""

    def __init__(self, shelf: Shelf, key: str) -> None:
        self.value: str | None = None
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.run(shelf, key))

    async def run(self, shelf: Shelf, key: str) -> None:
        async with shelf.residency.lease(key) as self.value:
            await self.stop.wait()

    async def leave(self) -> None:
        self.stop.set()
        await self.task


@asynccontextmanager
async def user(shelf: Shelf, key: str) -> AsyncIterator[User]:
    """Someone who has the thing, if it can be had now."""
    one = User(shelf, key)
    await rest()
    yield one
    await one.leave()


async def rest() -> None:
    """Let everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_thing_is_loaded_at_its_first_use_and_then_stays() -> None:
    shelf = Shelf()
    assert shelf.residency.state("a") == "on demand"
    await shelf.use("a", "a")
    assert shelf.loads == ["a"]
    assert shelf.residency.state("a") == "loaded"
    assert shelf.residency.bytes == 10


async def test_two_at_once_load_it_once() -> None:
    shelf = Shelf()
    shelf.held.add("a")
    users = [User(shelf, "a"), User(shelf, "a")]
    await rest()
    assert shelf.residency.state("a") == "loading"
    shelf.loading["a"].set_result(None)
    await rest()
    assert [one.value for one in users] == ["A", "A"]
    assert shelf.loads == ["a"]
    for one in users:
        await one.leave()


async def test_one_load_runs_at_a_time() -> None:
    shelf = Shelf()
    shelf.held |= {"a", "b"}
    users = [User(shelf, "a"), User(shelf, "b")]
    await rest()
    assert shelf.loads == ["a"]
    assert [shelf.residency.state(key) for key in "abc"] == ["loading", "loading", "on demand"]
    shelf.loading["a"].set_result(None)
    await rest()
    assert shelf.loads == ["a", "b"]
    shelf.loading["b"].set_result(None)
    for one in users:
        await one.leave()


async def test_the_least_recently_used_is_let_go_for_room() -> None:
    shelf = Shelf(limit=20)
    await shelf.use("a", "b", "a", "c")
    assert shelf.states() == "ac"
    assert shelf.let_go == [("b", "budget")]


async def test_as_many_are_let_go_as_the_next_needs() -> None:
    shelf = Shelf(limit=40, d=35)
    await shelf.use("a", "b", "c", "d")
    assert shelf.states() == "d"


async def test_what_is_used_is_not_let_go() -> None:
    shelf = Shelf(limit=20)
    async with user(shelf, "a"):
        await shelf.use("b", "c")
        assert shelf.states() == "ac"


async def test_what_stays_is_never_let_go() -> None:
    shelf = Shelf(limit=20, idle_s=0.001)
    shelf.residency.put("s", "S", 10, stays=True)
    await shelf.use("a", "b")
    await until(lambda: ("b", "idle") in shelf.let_go)
    assert shelf.residency.state("s") == "loaded"
    assert shelf.let_go[0] == ("a", "budget")


async def test_with_room_for_one_two_users_in_turn_both_get_on() -> None:
    shelf = Shelf(limit=15)
    first = User(shelf, "a")
    await rest()
    second, third = User(shelf, "b"), User(shelf, "a")
    await rest()
    # The thing is there, but who came first and needs its room is not kept waiting by ever new users of it.
    assert (second.value, third.value) == (None, None)
    await first.leave()
    await rest()
    assert (second.value, third.value) == ("B", None)
    await second.leave()
    await rest()
    assert third.value == "A"
    await third.leave()
    assert shelf.loads == ["a", "b", "a"]


@pytest.mark.parametrize("limit", [10, 15, 20, 25])
async def test_crowds_all_get_on_whatever_the_budget(limit: int) -> None:
    shelf = Shelf(limit=limit)
    served = []

    async def client(key: str) -> None:
        for _ in range(20):
            async with shelf.residency.lease(key):
                await asyncio.sleep(0)
                assert shelf.residency.bytes <= limit
            served.append(key)

    async with asyncio.timeout(30):
        await asyncio.gather(*(client(key) for key in "abcabc"))
    assert {key: served.count(key) for key in "abc"} == {"a": 40, "b": 40, "c": 40}


async def test_what_must_go_is_let_go_even_while_its_users_leave_one_by_one() -> None:
    shelf = Shelf(limit=20)
    users = [User(shelf, key) for key in "aabb"]
    await rest()
    waits = User(shelf, "c")
    await rest()
    await users[0].leave()
    late = User(shelf, "a")
    await rest()
    assert late.value is None
    await users[1].leave()
    await rest()
    assert waits.value == "C"
    for one in (waits, users[2], users[3], late):
        await one.leave()


async def test_who_gives_up_waiting_opens_again_what_had_to_go() -> None:
    shelf = Shelf(limit=15)
    async with user(shelf, "a"):
        waits, behind = User(shelf, "b"), User(shelf, "a")
        await rest()
        waits.task.cancel()
        await rest()
        assert behind.value == "A"
        await behind.leave()
    assert shelf.loads == ["a"]


async def test_who_leaves_in_the_moment_of_success_holds_nothing() -> None:
    shelf = Shelf(limit=15)
    shelf.held.add("a")
    one = User(shelf, "a")
    await rest()
    shelf.loading["a"].set_result(None)
    await until(lambda: shelf.residency.state("a") == "loaded")
    one.task.cancel()
    await rest()
    await shelf.use("b")
    assert shelf.states() == "b"


async def test_a_load_goes_on_without_those_who_waited_for_it() -> None:
    shelf = Shelf()
    shelf.held.add("a")
    one = User(shelf, "a")
    await rest()
    one.task.cancel()
    await rest()
    shelf.loading["a"].set_result(None)
    await rest()
    assert shelf.states() == "a"


async def test_a_failed_load_fails_those_who_wait_and_the_next_tries_again() -> None:
    shelf = Shelf()
    shelf.held.add("a")
    shelf.faults["a"] = OSError("gone")
    users = [User(shelf, "a"), User(shelf, "a")]
    await rest()
    shelf.loading["a"].set_result(None)
    for one in users:
        with pytest.raises(OSError, match="gone"):
            await one.task
    assert shelf.loads == ["a"]
    assert shelf.residency.state("a") == "on demand"
    assert shelf.residency.bytes == 0
    shelf.faults.clear()
    shelf.held.clear()
    await shelf.use("a")
    assert shelf.loads == ["a", "a"]


async def test_those_behind_a_failed_load_are_served() -> None:
    shelf = Shelf(limit=10)
    shelf.faults["a"] = OSError("gone")
    failing = User(shelf, "a")
    await shelf.use("b")
    with pytest.raises(OSError, match="gone"):
        await failing.task


async def test_what_is_larger_than_the_budget_is_refused() -> None:
    shelf = Shelf(limit=30, d=25)
    shelf.residency.put("s", "S", 10, stays=True)
    assert shelf.residency.fits(20)
    assert not shelf.residency.fits(25)
    with pytest.raises(NoRoom, match="0 MB"):
        await shelf.use("d")
    await shelf.use("a", "b")
    assert shelf.loads == ["a", "b"]


async def test_the_measured_size_counts_from_the_first_load_on() -> None:
    shelf = Shelf(limit=30)
    shelf.measured["c"] = 25
    await shelf.use("a", "b", "c")
    assert shelf.states() == "c"
    assert shelf.residency.bytes == 25
    await shelf.use("a")
    assert shelf.states() == "a"


async def test_what_is_idle_for_long_enough_is_let_go() -> None:
    shelf = Shelf(idle_s=0.02)
    await shelf.use("a")
    async with user(shelf, "b"):
        await until(lambda: shelf.let_go)
        assert shelf.let_go == [("a", "idle")]
        assert shelf.states() == "b"
    await until(lambda: len(shelf.let_go) == 2)
    assert shelf.states() == ""


async def test_a_removed_thing_stays_with_those_who_use_it() -> None:
    shelf = Shelf()
    async with user(shelf, "a") as one:
        shelf.residency.remove("a")
        await rest()
        assert (one.value, shelf.let_go, shelf.residency.bytes) == ("A", [], 10)
    assert shelf.let_go == [("a", "removed")]
    assert shelf.residency.bytes == 0


async def test_a_thing_that_is_removed_while_it_loads_serves_those_who_waited() -> None:
    shelf = Shelf()
    shelf.held.add("a")
    one = User(shelf, "a")
    await rest()
    shelf.residency.remove("a")
    shelf.loading["a"].set_result(None)
    await rest()
    assert one.value == "A"
    await one.leave()
    assert shelf.let_go == [("a", "removed")]


async def test_who_was_sent_to_a_thing_before_it_was_removed_gets_it() -> None:
    shelf = Shelf()
    shelf.residency.remove("a")
    await shelf.use("a")
    assert shelf.let_go == [("a", "removed")]
    assert shelf.residency.bytes == 0


async def test_room_is_made_as_far_as_that_needs_no_wait() -> None:
    shelf = Shelf(limit=30)
    async with user(shelf, "a"):
        await shelf.use("b", "c")
        shelf.residency.spare(15)
        assert shelf.states() == "a"
        shelf.residency.spare(25)
        assert shelf.states() == "a"


@pytest.mark.parametrize(
    ("change", "left"), [(lambda r: r.change(10, 0.0), "b"), (lambda r: r.change(0, 0.001), "")], ids=["budget", "idle"]
)
async def test_another_budget_or_time_counts_at_once(change: Callable[[Residency[str, str]], None], left: str) -> None:
    shelf = Shelf()
    await shelf.use("a", "b")
    change(shelf.residency)
    await until(lambda: shelf.states() == left)


async def test_an_end_ends_the_load_under_way_and_those_who_wait() -> None:
    shelf = Shelf()
    shelf.held.add("a")
    one = User(shelf, "a")
    await rest()
    await shelf.residency.close()
    with pytest.raises(asyncio.CancelledError):
        await one.task
