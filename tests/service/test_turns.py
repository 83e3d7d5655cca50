"""service/turns.py: the order of those who wait for inference, and the threads that compute."""

import asyncio
import threading
import time
from functools import partial
from typing import Any

import pytest
import torch

import server
from service.turns import Turns
from tests.fakes import WINDOW_S

pytestmark = pytest.mark.anyio


async def order_of_turns(*asked: tuple[str, float], cancelled: str = "", pause_s: float = 0.0) -> str:
    """The names of jobs in the order of their turns, where all wait for an earlier one, each with its time to spare."""
    turns = Turns(threads=1, max_waiting=1)
    order: list[str] = []
    under_way = threading.Event()
    jobs: dict[str, asyncio.Task[Any]] = {"": asyncio.create_task(turns.infer(under_way.wait))}
    await asyncio.sleep(0)
    for name, spare_s in asked:
        jobs[name] = asyncio.create_task(turns.infer(partial(order.append, name), spare_s))
        await asyncio.sleep(pause_s)
    if cancelled:
        jobs[cancelled].cancel()
    under_way.set()
    await asyncio.gather(*jobs.values(), return_exceptions=True)
    await turns.close()
    return "".join(order)


async def test_the_next_turn_is_for_the_one_that_can_wait_least() -> None:
    assert await order_of_turns(("a", 9.0), ("b", 5.0), ("c", -1.0), ("d", 7.0)) == "cbda"


async def test_those_that_can_wait_as_long_come_in_the_order_of_asking() -> None:
    assert await order_of_turns(("a", 0.0), ("b", 0.0), ("c", 0.0)) == "abc"


async def test_what_could_wait_comes_before_what_is_asked_for_when_its_time_is_over() -> None:
    assert await order_of_turns(("a", 0.01), ("b", 0.0), ("c", 0.0), pause_s=0.02) == "abc"


async def test_a_cancelled_job_leaves_the_queue_to_the_others() -> None:
    assert await order_of_turns(("a", 0.0), ("b", 0.0), ("c", 0.0), cancelled="b") == "ac"


async def test_a_turn_that_comes_with_the_cancellation_goes_to_the_next() -> None:
    turns = Turns(threads=1, max_waiting=1)

    async def infer_and_cancel_the_next() -> None:
        await turns.infer(lambda: None)
        called.cancel()

    first = asyncio.create_task(infer_and_cancel_the_next())
    await asyncio.sleep(0)
    called, last = asyncio.create_task(turns.infer(lambda: "called")), asyncio.create_task(turns.infer(lambda: "last"))
    assert await asyncio.wait_for(last, 10) == "last"
    await first
    assert called.cancelled()
    await turns.close()


async def test_a_cancelled_turn_lasts_until_the_thread_is_done() -> None:
    turns = Turns(threads=1, max_waiting=1)
    events: list[str] = []

    def first() -> None:
        events.append("first begins")
        time.sleep(5 * WINDOW_S)
        events.append("first ends")

    cancelled = asyncio.create_task(turns.infer(first))
    await asyncio.sleep(WINDOW_S)
    cancelled.cancel()
    await turns.infer(lambda: events.append("second"))
    assert events == ["first begins", "first ends", "second"]
    assert cancelled.cancelled()
    await turns.close()


async def test_loading_computes_with_one_thread_beside_an_inference_of_more() -> None:
    before = torch.get_num_threads()
    turns = Turns(threads=3, max_waiting=1, set_threads=server.set_threads)
    try:
        await turns.start()
        assert await turns.load(torch.get_num_threads) == 1
        assert await turns.infer(torch.get_num_threads) == 3
    finally:
        await turns.close()
        torch.set_num_threads(before)
