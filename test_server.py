"""server.py from its settings to its health: with small real voices, and with a slow fake one where turns matter."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import server
from service.environment import CACHE_CAPACITIES
from tests.conftest import model_table
from tests.fakes import SENTENCE_WINDOWS, WINDOW_S, Counters, SlowVoice, get, recording, running
from tests.waiting import until, wait_until, when_ready

MODEL_A = model_table("a", "multi_speaker_sdp")


SETTINGS_THAT_CANNOT_BE = {
    "no TOML": ("[server", "expected a readable TOML file"),
    "no models": ("[server]\nthreads = 1", "at least one model that can speak, found none"),
    "unknown table": (
        MODEL_A + "[cache]\n",
        "top level: cache = {}: expected none: unknown key",
    ),
    "unknown server key": (
        MODEL_A + "[server]\nthread = 1",
        "[server]: thread = 1: expected none",
    ),
    "unknown model key": (
        model_table("a", "multi_speaker_sdp", "loud = true"),
        "[[models]] a: loud = True: expected none",
    ),
    "duplicate": (
        MODEL_A + MODEL_A,
        "[[models]]: name = 'a': expected once, found 2 times",
    ),
    "no name": ("[[models]]\nload = true", "[[models]] number 1: name = (missing): expected a name"),
    "a slash in a name": ('[[models]]\nname = "a/b"', "name = 'a/b': expected a name of letters"),
    "no file": (
        '[[models]]\nname = "a"\ncheckpoint = "no.pth"',
        "[[models]] a: checkpoint = 'no.pth': expected the path",
    ),
    "load is no bool": (model_table("a", "multi_speaker_sdp", "load = 1"), "load = 1: expected true, false or"),
    "scale out of range": (
        model_table("a", "multi_speaker_sdp", "length_scale = 9"),
        "[[models]] a: length_scale = 9: expected a number from 0.25 to 4",
    ),
    "scale is nan": (
        model_table("a", "multi_speaker_sdp", "noise_scale = nan"),
        "noise_scale = nan: expected a number",
    ),
    "language": (model_table("a", "multi_speaker_sdp", 'lang = "fr"'), "lang = 'fr': expected one of auto, zh, ja"),
    "threads": (
        MODEL_A + "[server]\nthreads = 0",
        "[server]: threads = 0: expected a whole number from 1",
    ),
    "threads is a bool": (
        MODEL_A + "[server]\nthreads = true",
        "threads = True: expected a whole number",
    ),
    "an origin with a path": (
        MODEL_A + '[server]\ncors_origins = ["https://example.org/"]',
        "cors_origins = ['https://example.org/']: expected a list of origins",
    ),
    "an origin without a list": (
        MODEL_A + '[server]\ncors_origins = "*"',
        "cors_origins = '*': expected a list of origins",
    ),
    "normalize by both of its names": (
        model_table("a", "multi_speaker_sdp", "normalize = true", "mend = true"),
        "[[models]] a: mend = True: expected none: it is the former name of normalize",
    ),
    "less than no cache": (
        MODEL_A + "[server]\ncache_mb = -1",
        "cache_mb = -1: expected a whole number from 0",
    ),
    "an alias that is no name": (
        MODEL_A + "[aliases]\nalloy = 1",
        "[aliases]: alloy = 1: expected a speaker's name",
    ),
    "precision": (
        MODEL_A + '[server]\nprecision = "int8"',
        "precision = 'int8': expected one of auto,",
    ),
}


@pytest.mark.parametrize(
    ("document", "message"), SETTINGS_THAT_CANNOT_BE.values(), ids=list(SETTINGS_THAT_CANNOT_BE.keys())
)
def test_settings_that_cannot_be_are_refused_in_one_line(
    document: str, message: str, write_settings: Callable[[str], Path]
) -> None:
    path = write_settings(document)
    with pytest.raises(server.SettingsError) as refusal:
        server.read_settings(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_missing_settings_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(server.SettingsError, match="there is none"):
        server.read_settings(tmp_path / "models.toml")


@pytest.mark.parametrize(
    "document", ["a = " + 10_000 * "[", "a = " + 5_000 * "9", "\ufffe"], ids=["deep", "long", "odd"]
)
def test_settings_without_end_are_refused_in_one_line(document: str, write_settings: Callable[[str], Path]) -> None:
    with pytest.raises(server.SettingsError, match=r"^[^\n]*models\.toml: [^\n]+: expected a readable TOML file$"):
        server.read_settings(write_settings(document))


def test_settings_may_begin_with_a_byte_order_mark(write_settings: Callable[[str], Path]) -> None:
    assert server.read_settings(write_settings("\ufeff" + MODEL_A)).models[0].name == "a"


def test_paths_are_relative_to_the_settings(tmp_path: Path) -> None:
    for name in ("G.pth", "config.json"):
        (tmp_path / name).touch()
    path = tmp_path / "models.toml"
    path.write_text('[[models]]\nname = "a"\ncheckpoint = "G.pth"\nconfig = "config.json"\nnoise_scale = 0\n')
    (model,) = server.read_settings(path).models
    assert model.checkpoint == tmp_path / "G.pth"
    assert model.noise_scale == 0
    assert model.length_scale is None
    assert model.load


def test_mend_is_a_deprecated_name_of_normalize(
    write_settings: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = write_settings(model_table("a", "multi_speaker_sdp", "mend = false"))
    (model,) = server.read_settings(path).models
    assert not model.normalize
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: [[models]] a: mend is now called normalize; please rename the key"
    ]


def test_threads_are_the_physical_cores_by_default(write_settings: Callable[[str], Path]) -> None:
    settings = server.read_settings(write_settings(MODEL_A))
    assert 1 <= settings.threads <= len(os.sched_getaffinity(0))


def test_the_shipped_settings_can_be_read() -> None:
    settings = server.read_settings(Path(server.__file__).parent / "models.toml")
    assert settings.models[0].name == "rms"


# The pool


def test_speakers_lists_everybody_who_is_loaded(client: TestClient) -> None:
    answer = client.get("/speakers").json()
    assert answer["default"] == "trio/alice"
    ids = [row["id"] for row in answer["speakers"]]
    assert ids == ["trio/alice", "trio/bob", "trio/carol", "solo", "pair/left", "pair/right"]
    row = answer["speakers"][1]
    assert (row["model"], row["speaker"], row["sample_rate_hz"]) == ("trio", "bob", 22050)
    assert "en" in row["languages"]
    assert (row["noise_scale"], row["noise_scale_w"], row["length_scale"]) == (0.667, 0.8, 1.0)
    assert answer["ranges"]["speed"] == [0.25, 4.0]
    assert answer["formats"] == ["wav", "mp3", "opus", "flac", "pcm", "pcm24k"]


def test_every_listed_id_speaks(client: TestClient) -> None:
    for row in client.get("/speakers").json()["speakers"]:
        response = client.get("/speak", params={"text": "Hello.", "speaker": row["id"]})
        assert response.status_code == 200, row
        assert recording(response.content)[1] == row["sample_rate_hz"]


@pytest.mark.parametrize(("name", "full_name"), [(None, "trio/alice"), ("trio", "trio/alice"), ("right", "pair/right")])
def test_short_names_mean_the_same_as_full_ones(client: TestClient, name: str | None, full_name: str) -> None:
    short = client.get("/speak", params={"text": "Hello."} | ({"speaker": name} if name else {}))
    full = client.get("/speak", params={"text": "Hello.", "speaker": full_name})
    assert short.content == full.content


def test_a_name_that_two_models_have_needs_the_model(
    write_settings: Callable[[str], Path],
) -> None:
    path = write_settings(
        "[server]\nthreads = 1\n"
        + model_table("one", "multi_speaker_sdp")
        + model_table("two", "multi_speaker_sdp", 'speaker = "carol"')
    )
    with TestClient(server.create_app(server.read_settings(path))) as client:
        when_ready(client)
        response = client.get("/speak", params={"text": "Hello.", "speaker": "bob"})
        assert response.status_code == 404
        assert "one/bob, two/bob" in response.json()["error"]["message"]
        carol = client.get("/speak", params={"text": "Hello.", "speaker": "two/carol", "seed": 1})
        assert client.get("/speak", params={"text": "Hello.", "speaker": "two", "seed": 1}).content == carol.content


@pytest.mark.parametrize("name", ["nobody", "trio/nobody", "nobody/alice", "", "/", "trio/", "solo/solo", "0"])
def test_an_unknown_speaker_gets_a_list_of_those_there_are(client: TestClient, name: str) -> None:
    response = client.get("/speak", params={"text": "Hello.", "speaker": name})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "unknown_speaker")
    assert "trio/alice, trio/bob, trio/carol, solo, pair/left, pair/right" in error["message"]


@pytest.mark.parametrize("name", ["idle", "idle/alice", "idle/nobody"])
def test_a_speaker_that_is_not_loaded_is_said_to_be_so(client: TestClient, name: str) -> None:
    response = client.get("/speak", params={"text": "Hello.", "speaker": name})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "speaker_not_loaded")
    assert "configured but not loaded" in error["message"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['speaker = "dave"'], "speaker = 'dave': expected one of alice, bob, carol"),
        (['lang = "sa"'], "lang = 'sa': expected one of auto, "),
    ],
)
def test_a_default_that_the_model_does_not_have_ends_the_start(
    lines: list[str], message: str, write_settings: Callable[[str], Path]
) -> None:
    path = write_settings(model_table("trio", "multi_speaker_sdp", *lines))
    settings = server.read_settings(path)
    with pytest.raises(server.SettingsError) as refusal:
        server.load_model(settings, settings.models[0])
    assert message in str(refusal.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("alias", "message"),
    [
        ('alloy = "dave"', "[aliases]: alloy = 'dave': expected a loaded speaker: There is no speaker 'dave'"),
        ('alloy = "idle"', "[aliases]: alloy = 'idle': expected a loaded speaker: 'idle' is configured but not loaded"),
        ('bob = "alice"', "[aliases]: bob = 'alice': expected an alias that no speaker has as its name"),
    ],
)
async def test_an_alias_that_means_nobody_ends_the_start(
    alias: str, message: str, write_settings: Callable[[str], Path]
) -> None:
    idle = model_table("idle", "speaker_list_sdp", "load = false")
    path = write_settings(f"[aliases]\n{alias}\n" + model_table("trio", "multi_speaker_sdp") + idle)
    service = server.create_app(server.read_settings(path)).state.service
    with pytest.raises(server.SettingsError) as refusal:
        await server.take_over(service, service.settings)
    assert str(refusal.value).startswith(f"{path}: {message}")
    await service.turns.close()


def test_another_checkpoint_makes_other_etags(tmp_path: Path) -> None:
    voice = SlowVoice(Counters(), speakers={})
    voice.files = (tmp_path / "G.pth", tmp_path / "config.json")
    for name in ("G.pth", "config.json"):
        (tmp_path / name).write_text(name)
    table = server.ModelSettings("a", tmp_path / "G.pth", tmp_path / "config.json")
    settings = server.Settings(tmp_path / "models.toml", (table,), threads=1)
    first = server.identity_of(settings, table, voice, voice.precision)  # type: ignore[arg-type]
    assert server.identity_of(settings, table, voice, voice.precision) == first  # type: ignore[arg-type]
    for name in ("G.pth", "config.json"):
        (tmp_path / name).write_text(name.upper())
        assert server.identity_of(settings, table, voice, voice.precision) != first  # type: ignore[arg-type]
        (tmp_path / name).write_text(name)


# Sound


def test_speak_answers_a_whole_wav_file(client: TestClient) -> None:
    response = client.get("/speak", params={"text": "Hello from two small cores.", "speaker": "solo"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "audio/wav"
    assert int(response.headers["content-length"]) == len(response.content)
    samples, sample_rate_hz = recording(response.content)
    assert sample_rate_hz == 16000
    assert len(response.content) == 44 + 2 * len(samples)
    assert numpy.abs(samples).max() > 0


def test_post_speaks_as_get_does(client: TestClient) -> None:
    parameters: dict[str, Any] = {
        "text": "Hello.",
        "speaker": "trio/bob",
        "lang": "en",
        "noise_scale": 0.5,
        "speed": 2,
        "seed": 3,
    }
    assert client.post("/speak", json=parameters).content == client.get("/speak", params=parameters).content


def test_one_url_is_one_recording(client: TestClient) -> None:
    parameters = {"text": "Hello."}
    first = client.get("/speak", params=parameters)
    assert client.get("/speak", params=parameters).content == first.content
    assert client.get("/speak", params=parameters | {"seed": first.headers["x-seed"]}).content == first.content


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"noise_scale": 0.1},
        {"noise_scale_w": 0.1},
        {"length_scale": 2},
        {"speaker": "trio/carol"},
    ],
)
def test_whatever_changes_the_sound_changes_the_recording(client: TestClient, change: dict[str, Any]) -> None:
    first = client.get("/speak", params={"text": "Hello."})
    assert client.get("/speak", params={"text": "Hello."} | change).content != first.content


def test_speed_is_the_inverse_of_length_scale(client: TestClient) -> None:
    slow = client.get("/speak", params={"text": "Hello.", "length_scale": 2, "seed": 1})
    assert client.get("/speak", params={"text": "Hello.", "speed": 0.5, "seed": 1}).content == slow.content


def test_defaults_come_from_the_models_table(client: TestClient, write_settings: Callable[[str], Path]) -> None:
    parameters: dict[str, Any] = {"text": "Hello.", "seed": 1}
    wanted = client.get("/speak", params=parameters | {"length_scale": 2, "noise_scale": 0, "noise_scale_w": 0.5})
    lines = ("length_scale = 2", "noise_scale = 0", "noise_scale_w = 0.5")
    path = write_settings("[server]\nthreads = 1\n" + model_table("trio", "multi_speaker_sdp", *lines))
    with TestClient(server.create_app(server.read_settings(path))) as other:
        assert when_ready(other).get("/speak", params=parameters).content == wanted.content


def test_sentences_are_joined_by_their_pauses(slow_client: TestClient) -> None:
    samples, _ = recording(slow_client.get("/speak", params={"text": "one|two"}).content)
    assert len(samples) == 2 * SENTENCE_WINDOWS * 160 + 1600
    assert not samples[SENTENCE_WINDOWS * 160 :][:1600].any()


def test_head_answers_headers_without_a_synthesis(slow_client: TestClient, counters: Counters) -> None:
    response = slow_client.head("/speak", params={"text": "one ☃"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "audio/wav"
    assert response.headers["x-dropped-count"] == "1"
    assert "content-length" not in response.headers
    assert response.content == b""
    assert slow_client.head("/speak").status_code == 400
    assert counters.texts_in_order == []


def test_dropped_characters_are_counted_and_named(slow_client: TestClient) -> None:
    headers = slow_client.get("/speak", params={"text": "☃ one € and € two"}).headers
    assert headers["x-dropped-count"] == "3"
    assert headers["x-dropped"] == "%E2%82%AC=2, %E2%98%83=1"
    assert "x-dropped" not in slow_client.get("/speak", params={"text": "one"}).headers


def test_signs_are_said_unless_the_models_table_says_not_to(write_settings: Callable[[str], Path]) -> None:
    tables = (
        model_table(f"normalize_{value}", "multi_speaker_sdp", 'lang = "en"', f"normalize = {value}")
        for value in ("true", "false")
    )
    app = server.create_app(server.read_settings(write_settings("\n".join(("[server]\nthreads = 1", *tables)))))
    with TestClient(app) as client:
        when_ready(client)
        said = client.head("/speak", params={"text": "12.5%", "speaker": "normalize_true"})
        dropped = client.head("/speak", params={"text": "12.5%", "speaker": "normalize_false"})
    assert "x-dropped" not in said.headers
    assert dropped.headers["x-dropped"] == "%25=1"


def test_untagged_text_in_three_languages_is_spoken_whole(client: TestClient) -> None:
    response = client.get("/speak", params={"text": "你好，world。これはテストです。"})
    assert response.status_code == 200
    assert "x-dropped" not in response.headers


def test_a_recording_has_a_longest_length(write_settings: Callable[[str], Path]) -> None:
    path = write_settings("[server]\nthreads = 1\nmax_audio_s = 1\n" + model_table("trio", "multi_speaker_sdp"))
    with TestClient(server.create_app(server.read_settings(path))) as client:
        when_ready(client)
        response = client.get("/speak", params={"text": "Hello. " * 40, "length_scale": 4})
        assert (response.status_code, response.json()["error"]["code"]) == (422, "audio_too_long")


# Turns


def test_requests_take_turns_window_by_window(slow_client: TestClient, counters: Counters) -> None:
    with ThreadPoolExecutor(3) as clients:
        responses = list(clients.map(lambda text: slow_client.get("/speak", params={"text": text}), "abc"))
    assert [response.status_code for response in responses] == [200, 200, 200]
    assert counters.most_running == 1
    order = "".join(counters.texts_in_order)
    assert all(order.count(text) == SENTENCE_WINDOWS for text in "abc")
    middle = order[SENTENCE_WINDOWS : 2 * SENTENCE_WINDOWS]
    assert all(len(set(middle[start : start + 3])) == 3 for start in range(0, 6, 3)), order


def test_requests_for_headers_alone_take_a_few_places_only(slow_client: TestClient, counters: Counters) -> None:
    with ThreadPoolExecutor(6) as clients:
        pondering = [clients.submit(slow_client.head, f"/speak?text=ponder{number}") for number in range(4)]
        wait_until(lambda: sum(one.done() for one in pondering) >= 3)
        speaking = clients.submit(slow_client.get, "/speak?text=a")
        wait_until(lambda: slow_client.get("/health").json()["waiting"] >= 2)
        counters.may_go_on.set()
        assert sorted(one.result().status_code for one in pondering) == [200, 503, 503, 503]
        assert speaking.result().status_code == 200


@pytest.mark.anyio
async def test_a_short_request_does_not_wait_for_a_long_one(slow_app: Starlette, counters: Counters) -> None:
    async with running(slow_app):
        long = asyncio.create_task(get(slow_app, "|".join("l" * 20)))
        await until(lambda: "l" in counters.windows)
        assert await get(slow_app, "s") == 200
        assert not long.done()
        assert await long == 200


@pytest.mark.anyio
async def test_streams_that_are_ahead_of_their_players_wait_for_a_new_request(
    slow_app: Starlette, counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlowVoice, "sample_rate_hz", 160)  # so that a window lasts a second
    async with running(slow_app):
        streams = [asyncio.create_task(get(slow_app, "|".join(text * 5))) for text in "ab"]
        await until(lambda: all(counters.windows.count(text) >= SENTENCE_WINDOWS for text in "ab"))
        assert await get(slow_app, "s") == 200
        order = "".join(counters.texts_in_order)
        between = order[order.index("s") : order.rindex("s")].split("s")
        assert len(between) == SENTENCE_WINDOWS
        # Of the two streams one may get a turn while the new window is on its way to its client.
        assert max(map(len, between)) <= 1, order
        assert await asyncio.gather(*streams) == [200, 200]


@pytest.mark.anyio
async def test_a_client_that_leaves_costs_no_more_than_its_window(slow_app: Starlette, counters: Counters) -> None:
    async with running(slow_app) as service:
        leaving = asyncio.Event()
        leaver = asyncio.create_task(get(slow_app, "l", leaving))
        other = asyncio.create_task(get(slow_app, "o"))
        await until(lambda: counters.windows.count("l") >= 2)
        leaving.set()
        await leaver
        computed = counters.windows.count("l")
        assert computed <= 4
        assert await other == 200
        assert counters.windows.count("l") == computed
        assert service.turns.waiting == 0
    assert counters.most_running == 1


@pytest.mark.anyio
async def test_cancelled_requests_never_let_two_inferences_run_at_once(slow_app: Starlette, counters: Counters) -> None:
    async with running(slow_app) as service:
        for attempt in range(5):
            tasks = [asyncio.create_task(get(slow_app, f"{attempt}{text}")) for text in "abcd"]
            await asyncio.sleep(1.5 * WINDOW_S)
            for task in tasks[:3]:
                task.cancel()
            await asyncio.gather(*tasks[:3], return_exceptions=True)
            assert await tasks[3] == 200
        assert service.turns.waiting == 0
    assert counters.most_running == 1


def test_slow_text_work_keeps_nobody_else_waiting(slow_client: TestClient, counters: Counters) -> None:
    with ThreadPoolExecutor(1) as clients:
        pondering = clients.submit(slow_client.get, "/speak", params={"text": "ponder"})
        wait_until(lambda: slow_client.get("/health").json()["waiting"])
        counters.may_go_on.set()
        assert pondering.result().status_code == 200


@pytest.mark.anyio
async def test_the_preparation_of_a_client_that_leaves_ends(slow_app: Starlette, counters: Counters) -> None:
    async with running(slow_app) as service:
        leaving = asyncio.Event()
        leaver = asyncio.create_task(get(slow_app, "endless", leaving))
        await until(lambda: counters.checks)
        leaving.set()
        await leaver
        assert await get(slow_app, "a") == 200
        assert service.turns.waiting == 0


def test_more_requests_than_may_wait_are_told_to_come_back(slow_client: TestClient) -> None:
    with ThreadPoolExecutor(12) as clients:
        responses = list(clients.map(lambda text: slow_client.get("/speak", params={"text": text}), "abcdefghijkl"))
    statuses = [response.status_code for response in responses]
    assert statuses.count(200) >= 4
    refused = [response for response in responses if response.status_code == 503]
    assert len(refused) == 12 - statuses.count(200)
    assert refused
    for response in refused:
        assert int(response.headers["retry-after"]) > 0
        assert response.json()["error"]["code"] == "busy"
    assert slow_client.get("/speak", params={"text": "a"}).status_code == 200


# Health


def test_health_reports_what_is_in_force(client: TestClient) -> None:
    report = client.get("/health").json()
    assert report["status"] == "ready"
    assert [(model["name"], model["loaded"]) for model in report["models"]] == [
        ("trio", True),
        ("solo", True),
        ("pair", True),
        ("idle", False),
    ]
    assert report["models"][0]["megabytes"] > 0
    assert report["models"][0]["precision"] in ("float32", "bfloat16")
    assert report["waiting"] == 0
    assert report["rss_mb"] > 50
    assert report["allocator"] in ("glibc", "jemalloc")
    assert report["threads"] == 1
    assert report["onednn_primitive_cache_capacity"] == CACHE_CAPACITIES["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]
    assert report["lru_cache_capacity"] == CACHE_CAPACITIES["LRU_CACHE_CAPACITY"]
    assert report["precision"] in ("float32", "bfloat16")


def test_nobody_is_served_until_the_models_are_loaded(
    slow_app: Starlette, monkeypatch: pytest.MonkeyPatch, counters: Counters
) -> None:
    may_load = threading.Event()

    def load(checkpoint: Path, config: Path, precision: str) -> SlowVoice:
        assert may_load.wait(10)
        return SlowVoice(counters, speakers={})

    monkeypatch.setattr(server, "load_voice", load)
    with TestClient(slow_app) as client:
        for path in ("/health", "/speakers", "/speak?text=a"):
            response = client.get(path)
            assert response.status_code == 503
            assert "retry-after" in response.headers
        assert client.get("/health").json()["status"] == "loading"
        may_load.set()
        assert when_ready(client).get("/speak?text=a").status_code == 200
