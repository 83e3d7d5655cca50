"""Recordings that are kept, shared, streamed, and read in parts."""

import asyncio
import gc
import tracemalloc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message

import server
from service import audio, recordings
from tests.conftest import model_table
from tests.fakes import SENTENCE_WINDOWS, Client, Counters, get, running, service_of
from tests.waiting import until, when_ready

# How long a recording can wait


def test_a_recording_can_wait_while_its_sound_plays_but_not_for_its_first() -> None:
    recording = recordings.Recording("key", "audio/wav", {})
    assert recording.spare_s == -recordings.HEAD_START_S
    recording.add(b"sound", 100.0)
    assert 50.0 < recording.spare_s <= 100.0
    recording.started_s -= 200.0
    assert recording.spare_s == 0.0


# What is kept


def test_a_recording_is_kept_under_its_url(slow_client: TestClient, counters: Counters) -> None:
    first = slow_client.get("/speak", params={"text": "a ☃"})
    again = slow_client.get("/speak", params={"text": "a ☃"})
    assert [first.headers["x-cache"], again.headers["x-cache"]] == ["miss", "hit"]
    assert again.content == first.content
    assert len(counters.texts_in_order) == SENTENCE_WINDOWS
    for name in ("etag", "x-seed", "x-dropped", "x-dropped-count", "x-duration", "x-sample-rate", "content-length"):
        assert again.headers[name] == first.headers[name]
    assert first.headers["accept-ranges"] == "bytes"
    assert first.headers["cache-control"] == "private, max-age=3600"
    assert first.headers["vary"] == "Accept"
    assert float(first.headers["x-duration"]) == SENTENCE_WINDOWS * 160 / 16000
    cache = slow_client.get("/health").json()["cache"]
    assert cache == {"recordings": 1, "bytes": len(first.content) + recordings.ENTRY_BYTES}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"noise_scale": 0.1},
        {"noise_scale_w": 0.1},
        {"length_scale": 2},
        {"speaker": "trio/carol"},
        {"lang": "en"},
        {"format": "flac"},
        {"text": "Hello"},
    ],
)
def test_each_recording_has_an_etag_of_its_own(client: TestClient, change: dict[str, Any]) -> None:
    first = client.get("/speak", params={"text": "Hello."})
    other = client.get("/speak", params={"text": "Hello."} | change)
    assert other.headers["etag"] != first.headers["etag"]
    assert other.content != first.content


@pytest.mark.parametrize("name", ["wav", "mp3", "opus", "flac", "pcm"])
def test_without_a_cache_a_recording_is_made_again_to_the_last_byte(
    name: str, write_settings: Callable[[str], Path]
) -> None:
    path = write_settings("[server]\nthreads = 1\ncache_mb = 0\n" + model_table("trio", "multi_speaker_sdp"))
    with TestClient(server.create_app(server.read_settings(path))) as client:
        when_ready(client)
        parameters = {"text": "Hello.", "format": name}
        first, again = (client.get("/speak", params=parameters) for _ in range(2))
        part = client.get("/speak", params=parameters, headers={"Range": "bytes=100-199"})
        assert [response.headers["x-cache"] for response in (first, again, part)] == ["miss"] * 3
        assert client.get("/health").json()["cache"] == {"recordings": 0, "bytes": 0}
    assert again.content == first.content
    assert (part.status_code, part.content) == (206, first.content[100:200])


@pytest.mark.anyio
async def test_the_latest_used_are_kept(slow_app: Starlette) -> None:
    async with running(slow_app) as service:

        async def x_cache(text: str) -> str:
            return (await Client(slow_app, f"text={text}").run()).headers["x-cache"]

        one = audio.WAV_HEADER_BYTES + 2 * 160 * SENTENCE_WINDOWS + recordings.ENTRY_BYTES
        service.recordings.limit_bytes = limit = 5 * one // 2
        assert [await x_cache(text) for text in "abaca"] == ["miss", "miss", "hit", "miss", "hit"]
        assert service.recordings.bytes == 2 * one
        assert await x_cache("b") == "miss"
        assert await x_cache("b|b") == "miss"  # larger than a half, it takes the place of both
        assert [await x_cache(text) for text in ("b|b", "a")] == ["hit", "miss"]
        assert await x_cache("|".join("bbbb")) == "miss"  # larger than all of it, it is not kept
        assert service.recordings.bytes <= limit
        assert await x_cache("|".join("bbbb")) == "miss"


KNOWN = {
    "the tag": ("{etag}", 304),
    "a weak one": ("W/{etag}", 304),
    "one of several": ('"a", {etag}', 304),
    "any": ("*", 304),
    "another": ('"another"', 200),
    "no tag": ("another", 200),
}


@pytest.mark.parametrize(("tags", "status"), KNOWN.values(), ids=list(KNOWN))
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_the_client_has_is_not_sent_again(client: TestClient, method: str, tags: str, status: int) -> None:
    first = client.get("/speak", params={"text": "Hello."})
    headers = {"If-None-Match": tags.format(etag=first.headers["etag"])}
    response = client.request(method, "/speak", params={"text": "Hello."}, headers=headers)
    assert response.status_code == status
    for name in ("etag", "cache-control", "vary", "cross-origin-resource-policy"):
        assert response.headers[name] == first.headers[name]
    if status == 304:
        assert response.content == b""
        assert "content-type" not in response.headers


def test_any_tag_matches_only_what_is_kept(slow_client: TestClient) -> None:
    headers = {"If-None-Match": "*"}
    assert slow_client.get("/speak", params={"text": "a"}, headers=headers).status_code == 200
    assert slow_client.get("/speak", params={"text": "a"}, headers=headers).status_code == 304


def test_a_tag_may_stand_in_a_second_header_of_the_same_name(client: TestClient) -> None:
    etag = client.get("/speak", params={"text": "Hello."}).headers["etag"]
    headers = [("If-None-Match", '"another"'), ("If-None-Match", etag)]
    assert client.get("/speak", params={"text": "Hello."}, headers=headers).status_code == 304


def test_two_ranges_in_two_headers_are_answered_whole(client: TestClient) -> None:
    headers = [("Range", "bytes=0-1"), ("Range", "bytes=2-3")]
    assert client.get("/speak", params={"text": "Hello."}, headers=headers).status_code == 200


def test_a_proxy_is_told_not_to_hold_a_stream_back(slow_client: TestClient) -> None:
    streamed = slow_client.get("/speak", params={"text": "a", "stream": "true"})
    assert streamed.headers["x-accel-buffering"] == "no"
    assert "x-accel-buffering" not in slow_client.get("/speak", params={"text": "a"}).headers


def test_a_304_needs_no_synthesis(slow_client: TestClient, counters: Counters) -> None:
    etag = slow_client.get("/speak", params={"text": "a"}).headers["etag"]
    counters.windows.clear()
    response = slow_client.get("/speak", params={"text": "a", "stream": "true"}, headers={"If-None-Match": etag})
    assert response.status_code == 304
    assert counters.windows == []


# Ranges


RANGES: dict[str, tuple[str, slice]] = {
    "Safari's first": ("bytes=0-1", slice(0, 2)),
    "Chromium's first": ("bytes=0-", slice(0, None)),
    "middle": ("bytes=100-199", slice(100, 200)),
    "one byte": ("bytes=7-7", slice(7, 8)),
    "open end": ("bytes=500-", slice(500, None)),
    "past the end": ("bytes=500-999999999999", slice(500, None)),
    "the last": ("bytes=-10", slice(-10, None)),
    "more than all": ("bytes=-99999999999", slice(0, None)),
    "twenty digits": (f"bytes=0-{'9' * 20}", slice(0, None)),
    "the unit in capitals": ("Bytes=0-1", slice(0, 2)),
}


@pytest.mark.parametrize(("wanted", "part"), RANGES.values(), ids=list(RANGES))
def test_a_range_is_a_part_of_the_recording(client: TestClient, wanted: str, part: slice) -> None:
    whole = client.get("/speak", params={"text": "Hello."}).content
    response = client.get("/speak", params={"text": "Hello."}, headers={"Range": wanted})
    assert response.status_code == 206
    assert response.content == whole[part]
    start, stop, _ = part.indices(len(whole))
    assert response.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(whole)}"
    assert int(response.headers["content-length"]) == stop - start


@pytest.mark.parametrize(
    "wanted",
    ["bytes=0-1,5-6", "bytes=5-4", "bytes=-", "bytes=a-b", "seconds=0-1", "bytes", f"bytes={'9' * 5000}-"],
)
def test_a_range_that_is_none_is_answered_whole(client: TestClient, wanted: str) -> None:
    whole = client.get("/speak", params={"text": "Hello."})
    response = client.get("/speak", params={"text": "Hello."}, headers={"Range": wanted})
    assert (response.status_code, response.content) == (200, whole.content)


@pytest.mark.parametrize("wanted", ["bytes=999999999-", "bytes=999999999-1000000000", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused(client: TestClient, wanted: str) -> None:
    size = len(client.get("/speak", params={"text": "Hello."}).content)
    response = client.get("/speak", params={"text": "Hello."}, headers={"Range": wanted})
    assert response.status_code == 416
    assert response.headers["content-range"] == f"bytes */{size}"
    assert response.json()["error"]["code"] == "unsatisfiable_range"


def test_a_range_is_of_the_recording_that_the_client_knows(client: TestClient) -> None:
    whole = client.get("/speak", params={"text": "Hello."})
    for known, status in ((whole.headers["etag"], 206), ('"another"', 200), ("Mon, 23 Nov 2026 12:00:00 GMT", 200)):
        headers = {"Range": "bytes=0-1", "If-Range": known}
        assert client.get("/speak", params={"text": "Hello."}, headers=headers).status_code == status


def test_a_post_has_no_ranges_and_no_conditions(client: TestClient) -> None:
    etag = client.get("/speak", params={"text": "Hello."}).headers["etag"]
    headers = {"Range": "bytes=0-1", "If-None-Match": etag}
    assert client.post("/speak", json={"text": "Hello."}, headers=headers).status_code == 200


@pytest.mark.parametrize("stream", ["true", "false"])
def test_safaris_first_two_bytes_cost_one_synthesis(slow_client: TestClient, counters: Counters, stream: str) -> None:
    parameters = {"text": "a", "stream": stream}
    first = slow_client.get("/speak", params=parameters, headers={"Range": "bytes=0-1"})
    assert (first.status_code, first.content, first.headers["x-cache"]) == (206, b"RI", "miss")
    rest = slow_client.get("/speak", params=parameters, headers={"Range": "bytes=0-"})
    assert (rest.status_code, rest.headers["x-cache"]) == (206, "hit")
    assert len(counters.texts_in_order) == SENTENCE_WINDOWS


def test_chromiums_first_range_does_not_hold_a_stream_back(slow_client: TestClient) -> None:
    response = slow_client.get("/speak", params={"text": "a", "stream": "true"}, headers={"Range": "bytes=0-"})
    assert (response.status_code, response.headers["accept-ranges"]) == (200, "none")


def test_head_knows_the_length_of_what_is_kept(slow_client: TestClient, counters: Counters) -> None:
    whole = slow_client.get("/speak", params={"text": "a"})
    counters.windows.clear()
    head = slow_client.head("/speak", params={"text": "a"})
    assert {**head.headers, "x-cache": "miss"} == dict(whole.headers)
    assert head.content == b""
    assert counters.windows == []


# Streams


@pytest.mark.anyio
async def test_a_stream_begins_with_its_first_window(slow_app: Starlette, counters: Counters) -> None:
    async with running(slow_app):
        client = Client(slow_app, "text=a&stream=true")
        task = asyncio.create_task(client.run())
        await until(lambda: client.pieces)
        assert counters.windows.count("a") < SENTENCE_WINDOWS
        assert "content-length" not in client.headers
        assert client.content.startswith(audio.wav_header(16000))
        await task
        assert client.complete
        assert len(client.content) == audio.WAV_HEADER_BYTES + SENTENCE_WINDOWS * 320


@pytest.mark.anyio
async def test_http_1_0_cannot_tell_a_cut_from_an_end_and_gets_no_stream(slow_app: Starlette) -> None:
    async with running(slow_app):
        client = await Client(slow_app, "text=a&stream=true", version="1.0").run()
        assert int(client.headers["content-length"]) == len(client.content)


@pytest.mark.parametrize(("text", "kind"), [("burst", "RunawayLength"), ("snap", "RuntimeError")])
@pytest.mark.anyio
async def test_an_error_halfway_cuts_the_stream_and_is_not_kept(
    slow_app: Starlette, counters: Counters, caplog: pytest.LogCaptureFixture, text: str, kind: str
) -> None:
    async with running(slow_app) as service:
        client = await Client(slow_app, f"text={text}&stream=true").run()
        assert (client.status, client.complete) == (200, False)
        assert client.content
        assert service.turns.waiting == 0
        assert not service.recordings.kept
        assert not service.recordings.under_way
        counters.windows.clear()
        whole = await Client(slow_app, f"text={text}").run()
        assert (whole.status, whole.complete) == (422 if text == "burst" else 500, True)
    lines = [record.getMessage() for record in caplog.records if kind in record.getMessage()]
    assert lines
    assert not any(text in line for line in lines)


# Readers


@pytest.mark.anyio
async def test_equal_requests_share_one_synthesis(slow_app: Starlette, counters: Counters) -> None:
    async with running(slow_app) as service:
        first = Client(slow_app, "text=a&stream=true")
        tasks = [asyncio.create_task(first.run())]
        await until(lambda: first.pieces)
        others = [Client(slow_app, query) for query in ("text=a&stream=true", "text=a")]
        tasks += [asyncio.create_task(client.run()) for client in others]
        await until(lambda: others[0].pieces)
        assert service.turns.waiting == 1
        await asyncio.gather(*tasks)
        late, whole = others
        assert [client.headers["x-cache"] for client in (first, *others)] == ["miss", "shared", "shared"]
        assert late.content == first.content
        assert whole.content == audio.wav_header(16000, 3200) + first.content[audio.WAV_HEADER_BYTES :]
        assert counters.windows.count("a") == SENTENCE_WINDOWS


@pytest.mark.anyio
async def test_a_synthesis_goes_on_while_anybody_wants_it(slow_app: Starlette, counters: Counters) -> None:
    async with running(slow_app) as service:
        first = Client(slow_app, "text=a&stream=true")
        task = asyncio.create_task(first.run())
        await until(lambda: first.pieces)
        other = asyncio.create_task(Client(slow_app, "text=a").run())
        await until(lambda: [one.readers for one in service.recordings.under_way.values()] == [2])
        first.leaves.set()
        await task
        assert not first.complete
        assert len((await other).content) == audio.WAV_HEADER_BYTES + SENTENCE_WINDOWS * 320
        assert counters.windows.count("a") == SENTENCE_WINDOWS


@pytest.mark.anyio
async def test_a_synthesis_ends_when_the_last_leaves(slow_app: Starlette, counters: Counters) -> None:
    async with running(slow_app) as service:
        clients = [Client(slow_app, query) for query in ("text=a&stream=true", "text=a")]
        tasks = [asyncio.create_task(client.run()) for client in clients]
        await until(lambda: clients[0].pieces)
        for client in clients:
            client.leaves.set()
        await asyncio.gather(*tasks)
        computed = counters.windows.count("a")
        await until(lambda: service.turns.waiting == 0)
        assert counters.windows.count("a") <= computed + 1 < SENTENCE_WINDOWS
        assert not service.recordings.kept
        counters.windows.clear()
        again = await Client(slow_app, "text=a").run()
        assert again.headers["x-cache"] == "miss"
        assert counters.windows.count("a") == SENTENCE_WINDOWS


@pytest.mark.anyio
async def test_a_slow_reader_holds_up_nobody_and_little_memory(slow_app: Starlette, counters: Counters) -> None:
    async with running(slow_app) as service:
        slow = Client(slow_app, "text=" + "|".join("a" * 30) + "&stream=true")
        slow.reads.clear()
        task = asyncio.create_task(slow.run())
        await until(lambda: slow.status)
        assert await get(slow_app, "b") == 200
        await until(lambda: service.turns.waiting == 0)
        assert not slow.pieces
        slow.reads.set()
        await task
        assert slow.complete
        assert len(slow.content) == audio.WAV_HEADER_BYTES + 2 * (30 * SENTENCE_WINDOWS * 160 + 29 * 1600)
        assert max(map(len, slow.pieces)) == recordings.PIECE_BYTES


@pytest.mark.anyio
async def test_a_finished_recording_needs_no_place(slow_app: Starlette) -> None:
    async with running(slow_app) as service:
        service.recordings.limit_bytes = 0
        clients = [Client(slow_app, f"text={text}") for text in "abcd"]
        for client in clients:
            client.reads.clear()
        tasks = [asyncio.create_task(client.run()) for client in clients]
        await until(lambda: all(client.status for client in clients))
        assert service.turns.waiting == 0
        assert await get(slow_app, "e") == 200
        assert (await Client(slow_app, "text=a").run()).headers["x-cache"] == "shared"
        for client in clients:
            client.reads.set()
        await asyncio.gather(*tasks)
        assert not service.recordings.under_way


@pytest.mark.anyio
async def test_recordings_that_are_read_slowly_hold_no_more_memory_than_those_that_may_be_made(
    slow_app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = audio.WAV_HEADER_BYTES + 2 * 160 * SENTENCE_WINDOWS
    async with running(slow_app) as service:
        service.recordings.limit_bytes = 0
        monkeypatch.setattr(server.SpeechService, "most_held_bytes", lambda self: 2 * one)
        clients = [Client(slow_app, f"text={text}") for text in "ab"]
        for client in clients:
            client.reads.clear()
        tasks = [asyncio.create_task(client.run()) for client in clients]
        await until(lambda: all(client.status for client in clients))
        refused = await Client(slow_app, "text=c").run()
        assert (refused.status, refused.headers["retry-after"]) == (503, "2")
        assert (await Client(slow_app, "text=a").run()).status == 200
        clients[0].reads.set()
        await tasks[0]
        assert await get(slow_app, "c") == 200
        clients[1].reads.set()
        await tasks[1]


@pytest.mark.anyio
async def test_what_is_being_read_makes_no_room(slow_app: Starlette) -> None:
    async with running(slow_app) as service:
        slow = Client(slow_app, "text=a")
        slow.reads.clear()
        task = asyncio.create_task(slow.run())
        await until(lambda: slow.status)
        service.recordings.limit_bytes = service.recordings.bytes
        assert await get(slow_app, "b") == 200
        assert [kept.etag for kept in service.recordings.kept.values()] == [slow.headers["etag"]]
        slow.reads.set()
        await task
        latest = await Client(slow_app, "text=c").run()
        assert [kept.etag for kept in service.recordings.kept.values()] == [latest.headers["etag"]]


@pytest.mark.anyio
async def test_a_reader_that_takes_nothing_is_cut_off(
    slow_app: Starlette, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recordings, "PATIENCE_S", 0.1)
    async with running(slow_app) as service:
        service.recordings.limit_bytes = 0
        slow = Client(slow_app, "text=a")
        slow.reads.clear()
        await slow.run()
        assert (slow.status, slow.complete) == (200, False)
        assert slow.aborted
        assert not service.recordings.under_way
    assert "Cut an answer to /speak after its first bytes: TimeoutError" in caplog.text


class Gone(Client):
    """A client whose connection is lost with the first piece, and takes whatever is written to it at once."""

    async def send(self, message: Message) -> None:
        """Take a part of the answer."""
        self.pieces.append(message.get("body", b""))
        self.leaves.set()


@pytest.mark.anyio
async def test_a_recording_is_not_written_to_its_end_for_a_client_that_is_gone(
    slow_app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "PIECE_BYTES", 100)
    async with running(slow_app):
        whole = await Client(slow_app, "text=a").run()
        gone = await Gone(slow_app, "text=a").run()
        assert len(gone.pieces) < 10 < len(whole.pieces)


@pytest.mark.parametrize(("piece_s", "complete"), [(0.0, True), (0.15, True), (0.6, False)])
@pytest.mark.anyio
async def test_a_reader_need_not_be_faster_than_the_sound(
    slow_app: Starlette, monkeypatch: pytest.MonkeyPatch, piece_s: float, complete: bool
) -> None:
    # A piece is a quarter of a second of sound; at the least pace it may take 0.28 s, and all together 0.5 s more.
    monkeypatch.setattr(recordings, "PATIENCE_S", 0.5)
    monkeypatch.setattr(recordings, "PIECE_BYTES", 8000)
    async with running(slow_app):
        client = Client(slow_app, "text=" + "|".join("a" * 10))
        client.piece_s = piece_s
        await client.run()
        assert client.complete == complete


# What is let go of


async def abandon(client: Client, *, leaves: bool) -> None:
    """Let a client read, and leave after its first bytes if it is one that does."""
    task = asyncio.create_task(client.run())
    if leaves:
        await until(lambda: client.pieces)
        client.leaves.set()
    await task


@pytest.mark.parametrize("text", ["a", "burst", "snap", "runaway", "crash"])
@pytest.mark.anyio
async def test_what_failed_or_was_abandoned_is_freed_without_a_garbage_collection(
    slow_app: Starlette, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    alive: list[weakref.ref[recordings.Recording]] = []
    make = server.Speech.recording

    def watched(speech: server.Speech) -> recordings.Recording:
        recording = make(speech)
        alive.append(weakref.ref(recording))
        return recording

    monkeypatch.setattr(server.Speech, "recording", watched)
    async with running(slow_app) as service:
        service.recordings.limit_bytes = 0
        gc.collect()
        gc.disable()
        try:
            for number in range(3):
                await abandon(Client(slow_app, f"text={text}{number}&stream=true"), leaves=text == "a")
                await until(lambda: service.turns.waiting == 0)
            await asyncio.sleep(0.05)
            assert len(alive) == 3
            assert [reference() for reference in alive] == [None] * 3
        finally:
            gc.enable()


def test_a_kept_recording_counts_what_it_holds(slow_client: TestClient) -> None:
    service = service_of(slow_client)
    service.recordings.limit_bytes = 10**9
    slow_client.get("/speak", params={"text": "warm up"})
    tracemalloc.start()
    try:
        before, counted = tracemalloc.get_traced_memory()[0], service.recordings.bytes
        for number in range(20):
            text = f"{number}" + "☃" * 32 + "a" * 1000
            assert slow_client.get("/speak", params={"text": text}).status_code == 200
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held <= service.recordings.bytes - counted <= 2 * held
