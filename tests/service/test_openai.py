"""The official openai client against the real server, other clients' requests, and the app where it must be busy."""

import asyncio
import base64
import io
import json
import math
import time
import wave
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import av
import httpx2
import numpy
import openai
import pytest
import soundfile
from openai import AsyncOpenAI, OpenAI
from starlette.testclient import TestClient

import server
from service.host import VoiceEntry
from service.openai import MODELS, VOICES, spread
from service.recordings import RETRY_AFTER_S
from tests.conftest import RunningServer, model_table, running_servers, write_models
from tests.fakes import service_of
from tests.waiting import when_ready

KEY = "a secret key"
TEXT = "Hello from two small cores."
FORMATS = {
    "mp3": ("MP3", "audio/mpeg"),
    "opus": ("OGG", "audio/ogg; codecs=opus"),
    "flac": ("FLAC", "audio/flac"),
    "wav": ("WAV", "audio/wav"),
}


@pytest.fixture(scope="module")
def locked_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with small voices that wants a key."""
    folder = tmp_path_factory.mktemp("server")
    with running_servers(folder, write_models(folder)) as start:
        yield start(SPEAK_API_KEY=KEY)


@pytest.fixture(scope="module")
def client(locked_server: RunningServer) -> Iterator[OpenAI]:
    """The official client, knowing the address and the key and nothing else of ours."""
    with OpenAI(base_url=f"{locked_server.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def create(client: OpenAI, **changes: Any) -> Any:
    """The answer to a request, with its headers."""
    request: dict[str, Any] = {"model": "tts-1", "input": TEXT, "voice": "solo"}
    return client.audio.speech.with_raw_response.create(**request | changes)


def spoken(locked_server: RunningServer, **parameters: object) -> Any:
    """What GET /speak answers."""
    url = f"{locked_server.url}/speak?" + urlencode({"text": TEXT, "speaker": "solo", **parameters})
    with urlopen(Request(url, headers={"Authorization": f"Bearer {KEY}"}), timeout=30) as response:
        return response.headers, response.read()


# Speech


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_is_a_file_of_its_kind(client: OpenAI, locked_server: RunningServer, name: str) -> None:
    container, media_type = FORMATS[name]
    response = create(client, response_format=name)
    assert response.headers["content-type"] == media_type
    with soundfile.SoundFile(io.BytesIO(response.content)) as file:
        assert (file.format, file.channels) == (container, 1)
        assert file.samplerate == int(response.headers["x-sample-rate"])
        duration_s = len(file.read()) / file.samplerate
    assert duration_s == pytest.approx(float(spoken(locked_server)[0]["x-duration"]), abs=0.2)


def test_the_default_is_mp3(client: OpenAI) -> None:
    assert create(client).headers["content-type"] == "audio/mpeg"


def test_pcm_has_the_24_khz_that_openais_player_plays(client: OpenAI, locked_server: RunningServer) -> None:
    response = create(client, response_format="pcm")
    assert response.headers["content-type"] == "audio/pcm;rate=24000;channels=1"
    samples = numpy.frombuffer(response.content, "<i2")
    headers, wav = spoken(locked_server)
    own, own_rate_hz = soundfile.read(io.BytesIO(wav), dtype="int16")
    assert own_rate_hz != 24000
    assert len(samples) / 24000 == pytest.approx(float(headers["x-duration"]), abs=0.01)
    assert samples.std() == pytest.approx(own.std(), rel=0.1)


def test_it_is_the_recording_of_speak_and_shares_its_cache(client: OpenAI, locked_server: RunningServer) -> None:
    text = "One recording, two ways to it."
    response = create(client, input=text, response_format="flac")
    headers, content = spoken(locked_server, text=text, format="flac")
    assert headers["x-cache"] == "hit"
    assert headers["x-seed"] == response.headers["x-seed"]
    again = create(client, input=text, response_format="flac")
    assert again.headers["x-cache"] == "hit"
    assert again.content == content


def test_the_bytes_flow_as_they_are_made(client: OpenAI) -> None:
    request: dict[str, Any] = {"model": "tts-1", "voice": "solo", "response_format": "wav", "stream_format": "audio"}
    with client.audio.speech.with_streaming_response.create(input="Let it flow. " * 5, **request) as response:
        assert response.headers["transfer-encoding"] == "chunked"
        content = b"".join(response.iter_bytes())
    assert content[40:44] == b"\xff\xff\xff\xff", "a stream's length is not known when it begins"
    assert numpy.frombuffer(content[44:], "<i2").any()


def test_a_wav_file_knows_its_length_unless_a_stream_is_asked_for(client: OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    client.audio.speech.create(model="tts-1", input=TEXT, voice="solo", response_format="wav").write_to_file(path)
    with wave.open(str(path)) as file:
        assert path.stat().st_size == 44 + 2 * file.getnframes() > 1000


def test_speed_means_what_it_means_to_speak(client: OpenAI, locked_server: RunningServer) -> None:
    fast = create(client, response_format="flac", speed=2)
    slow = create(client, response_format="flac", speed=0.5)
    assert len(slow.content) > len(fast.content)
    assert spoken(locked_server, format="flac", speed=2)[0]["x-cache"] == "hit"


def test_what_openai_has_no_name_for_goes_into_the_extra_body(client: OpenAI) -> None:
    response = create(client, extra_body={"seed": 7, "lang": "en", "noise_scale": 0.5, "noise_scale_w": 0.1})
    assert response.headers["x-seed"] == "7"


def test_sound_as_aac_is_that_of_its_kind(client: OpenAI, locked_server: RunningServer) -> None:
    response = create(client, response_format="aac")
    assert response.headers["content-type"] == "audio/aac"
    with av.open(io.BytesIO(response.content), "r") as file:
        assert file.format.name == "aac"
        n_samples = sum(frame.samples for frame in file.decode(file.streams.audio[0]))
    duration_s = n_samples / int(response.headers["x-sample-rate"])
    assert duration_s == pytest.approx(float(spoken(locked_server)[0]["x-duration"]), abs=0.2)


# Events


def events_of(content: str) -> list[dict[str, Any]]:
    """The events of an answer."""
    assert content.endswith("\n\n")
    lines = content.removesuffix("\n\n").split("\n\n")
    assert all(line.startswith("data: ") for line in lines)
    return [json.loads(line.removeprefix("data: ")) for line in lines]


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_events_carry_the_plain_answer_to_the_last_byte(client: OpenAI, name: str) -> None:
    text = f"Events of {name}. " * 3
    create(client, input=text, response_format=name)
    plain = create(client, input=text, response_format=name)
    response = create(client, input=text, response_format=name, stream_format="sse")
    assert response.headers["content-type"] == "text/event-stream"
    *deltas, done = events_of(response.text)
    assert {event["type"] for event in deltas} == {"speech.audio.delta"}
    assert b"".join(base64.b64decode(event["audio"]) for event in deltas) == plain.content
    seconds = math.ceil(float(plain.headers["x-duration"]))
    usage = {"input_tokens": len(text), "output_tokens": seconds, "total_tokens": len(text) + seconds}
    assert done == {"type": "speech.audio.done", "usage": usage}


def test_events_come_while_the_sound_is_made(client: OpenAI) -> None:
    text = "One sentence after the other. " * 8
    kind: Any = {"model": "tts-1", "voice": "alloy", "response_format": "opus", "stream_format": "sse"}
    with client.audio.speech.with_streaming_response.create(input=text, **kind) as response:
        assert response.headers["x-cache"] == "miss"
        assert "content-length" not in response.headers
        *deltas, done = events_of("".join(response.iter_text()))
    assert len(deltas) > 1
    assert done["type"] == "speech.audio.done"
    plain = create(client, input=text, voice="alloy", response_format="opus")
    assert b"".join(base64.b64decode(event["audio"]) for event in deltas) == plain.content


def test_events_of_sound_that_fails_halfway_have_no_end(slow_client: TestClient) -> None:
    body = {"input": "hello|hello|burst", "stream_format": "sse", "response_format": "pcm"}
    content = b""
    with slow_client.stream("POST", "/v1/audio/speech", json=body) as response:
        assert response.status_code == 200
        with suppress(Exception):
            for part in response.iter_bytes():
                content += part
    assert b"speech.audio.done" not in content


# What is passed over


PASSED_OVER: dict[str, tuple[dict[str, Any], str | None]] = {
    "nothing": ({}, None),
    "the models that clients have built in": ({"model": MODELS[2]}, None),
    "null": ({"extra_body": {"speed": None, "instructions": None, "voice": None, "model": None}}, None),
    "instructions": ({"instructions": "Sing."}, "instructions"),
    "an unknown field": ({"extra_body": {"volume": 3, "größe": 1, "": 0}}, 'volume, gr%C3%B6%C3%9Fe, ""'),
    "an unknown model": ({"model": "gpt-9"}, "model"),
    "too fast": ({"speed": 4.01}, "speed"),
    "too slow": ({"speed": 0}, "speed"),
    "a version": ({"extra_query": {"api-version": "2025-03-01-preview"}}, "api-version"),
    "OpenAI's voice beside a model": ({"model": "solo", "voice": VOICES[0]}, "voice"),
}


@pytest.mark.parametrize(("changes", "ignored"), PASSED_OVER.values(), ids=list(PASSED_OVER))
def test_what_has_no_meaning_here_is_passed_over_and_named(
    client: OpenAI, changes: dict[str, Any], ignored: str | None
) -> None:
    response = create(client, **changes)
    assert response.content
    assert response.headers.get("x-ignored") == ignored
    assert response.headers["x-voice"] in ("solo", "trio/alice")


def test_a_speed_outside_the_range_is_the_nearest_one_within(client: OpenAI, locked_server: RunningServer) -> None:
    fast = create(client, speed=100, response_format="flac")
    assert fast.content == spoken(locked_server, format="flac", speed=4)[1]
    slow = create(client, speed=0.01, response_format="flac")
    assert slow.content == spoken(locked_server, format="flac", speed=0.25)[1]


def test_a_slash_at_the_end_changes_nothing(client: OpenAI) -> None:
    response = client.post("/audio/speech/", cast_to=httpx2.Response, body={"input": TEXT})
    assert response.headers["content-type"] == "audio/mpeg"
    for path in ("/models/", "/models/solo/", "/audio/voices/", "/audio/models/"):
        assert client.get(path, cast_to=dict[str, Any])


# Models and voices


@pytest.mark.parametrize(
    ("model", "voice"),
    [
        ("tts-1", "trio/bob"),
        ("gpt-4o-mini-tts", "bob"),
        ("trio", "bob"),
        ("trio", "trio/bob"),
        ("trio", {"id": "bob"}),
        ("", "trio/bob"),
        ("gpt-9", "bob"),
        ("trio/bob", openai.omit),
        ("trio/bob", ""),
    ],
)
def test_one_voice_can_be_asked_for_in_many_ways(
    client: OpenAI, locked_server: RunningServer, model: str, voice: Any
) -> None:
    response = create(client, model=model, voice=voice, response_format="flac")
    assert response.content == spoken(locked_server, speaker="trio/bob", format="flac")[1]
    assert response.headers["x-voice"] == "trio/bob"


def test_the_models_are_those_that_are_loaded(client: OpenAI) -> None:
    models = client.models.list().data
    assert [(model.id, model.object, model.owned_by) for model in models] == [
        ("trio", "model", "vits-speak"),
        ("solo", "model", "vits-speak"),
    ]
    assert all(1_500_000_000 < model.created <= time.time() for model in models)


def test_one_model_is_described_as_in_the_list(client: OpenAI) -> None:
    assert client.models.retrieve("solo") == client.models.list().data[1]


def test_open_webui_finds_the_models(client: OpenAI) -> None:
    models = [{"id": "trio", "name": "trio"}, {"id": "solo", "name": "solo"}]
    assert client.get("/audio/models", cast_to=dict[str, Any]) == {"models": models}


def entry(voice: str, *languages: str) -> VoiceEntry:
    return VoiceEntry(voice, voice, voice, languages, 22050, {}, 0)


def test_openais_voices_are_spread_over_the_speakers_of_the_default_ones_language() -> None:
    voices = [entry("mei", "ja"), entry("amy", "en"), entry("all", "zh", "en"), entry("bob", "en")]
    assert list(spread(voices, voices[1]).items())[:5] == [
        ("alloy", "amy"),
        ("ash", "all"),
        ("ballad", "bob"),
        ("cedar", "amy"),
        ("coral", "all"),
    ]
    assert set(spread(voices, voices[0]).values()) == {"mei"}
    assert list(spread(voices, voices[1])) == list(VOICES)


def test_an_alias_of_models_toml_comes_before_the_spread(tmp_path: Path) -> None:
    path = write_models(tmp_path)
    path.write_text('[aliases]\nalloy = "carol"\nassistant = "solo"\n' + path.read_text())
    with TestClient(server.create_app(server.read_settings(path))) as client:
        when_ready(client)
        rows = {row["id"]: row.get("alias_of") for row in client.get("/v1/audio/voices").json()["voices"]}
        assert (rows["alloy"], rows["assistant"], rows["trio/carol"]) == ("trio/carol", "solo", None)
        for voice, speaks in (("alloy", "trio/carol"), ("assistant", "solo")):
            response = client.post("/v1/audio/speech", json={"input": "Hi.", "voice": voice})
            assert response.headers["x-voice"] == speaks
        assert client.get("/speak", params={"text": "Hi.", "speaker": "assistant"}).status_code == 404


def test_every_listed_voice_speaks(client: OpenAI) -> None:
    voices = client.get("/audio/voices", cast_to=dict[str, Any])["voices"]
    own = [voice["id"] for voice in voices if "alias_of" not in voice]
    assert own == ["trio/alice", "trio/bob", "trio/carol", "solo"]
    assert [voice["id"] for voice in voices if "alias_of" in voice] == list(VOICES)
    for voice in voices:
        assert voice["name"] == voice["id"]
        assert "en" in voice["languages"]
        for model in ("tts-1", voice["model"]):
            response = create(client, model=model, voice=voice["id"])
            assert response.headers["x-voice"] == voice.get("alias_of", voice["id"])


# Other clients


def test_the_asynchronous_client_reads_while_the_sound_is_made(locked_server: RunningServer) -> None:
    async def read() -> tuple[str, bytes]:
        async with AsyncOpenAI(base_url=f"{locked_server.url}/v1", api_key=KEY, max_retries=0) as client:
            kind: Any = {"model": "gpt-4o-mini-tts", "voice": "alloy", "response_format": "pcm"}
            async with client.audio.speech.with_streaming_response.create(input="Async. " * 5, **kind) as response:
                return response.headers["x-voice"], b"".join([part async for part in response.iter_bytes()])

    voice, content = asyncio.run(read())
    assert voice == "trio/alice"
    assert numpy.frombuffer(content, "<i2").any()


RECORDED: dict[str, dict[str, Any]] = {
    # open-webui, backend/open_webui/routers/audio.py: what its page sends, with the model of its settings.
    "Open WebUI": {"input": TEXT, "voice": "alloy", "model": "tts-1"},
    # SillyTavern, src/endpoints/openai.js: /custom/generate-voice.
    "SillyTavern": {"input": TEXT, "response_format": "mp3", "voice": "alloy", "speed": 1, "model": "tts-1"},
    # lobe-tts, src/server/createOpenaiAudioSpeech.ts, by OpenAI's library.
    "LobeChat": {"input": TEXT, "model": "tts-1", "voice": "alloy"},
    # LibreChat, api/server/services/Files/Audio/TTSService.js: openAIProvider and localAIProvider.
    "LibreChat": {"input": TEXT, "model": "tts-1-hd", "voice": "nova", "backend": "vits"},
    "LibreChat for LocalAI": {"input": TEXT, "model": "solo", "backend": "vits"},
    # anything-llm, server/utils/TextToSpeech/openAiGeneric/index.js.
    "AnythingLLM": {"model": "tts-1", "voice": "alloy", "input": TEXT},
    # n8n, nodes/vendors/OpenAi/v2/actions/audio/generate.operation.ts, with its default and with aac.
    "n8n": {"model": "tts-1", "input": TEXT, "voice": "onyx", "response_format": "mp3", "speed": 1},
    "n8n with aac": {"model": "tts-1", "input": TEXT, "voice": "echo", "response_format": "aac", "speed": 1},
    # AstrBot, astrbot/core/provider/sources/openai_tts_api_source.py; the model is empty unless it is configured.
    "AstrBot": {"model": "", "voice": "alloy", "response_format": "wav", "input": TEXT},
    # xiaozhi-esp32-server, main/xiaozhi-server/core/providers/tts/openai.py.
    "xiaozhi": {"model": "tts-1", "input": TEXT, "voice": "alloy", "response_format": "wav", "speed": 1.0},
    # sfortis/openai_tts 3.7, custom_components/openai_tts/openaitts_engine.py, and what older versions sent.
    "Home Assistant": {
        **{"model": "gpt-4o-mini-tts", "input": TEXT, "voice": "shimmer", "response_format": "mp3", "speed": 1.0},
        "instructions": "Speak calmly.",
    },
    "older Home Assistant": {"model": "tts-1", "input": TEXT, "voice": "nova", "response_format": "wav", "speed": 1},
    # wyoming_openai, src/wyoming_openai/handler.py, with its defaults and with instructions and a speed.
    "wyoming_openai": {"model": "tts-1", "voice": "alloy", "input": TEXT, "response_format": "wav", "speed": 1.0},
    "wyoming_openai with instructions": {
        **{"model": "gpt-4o-mini-tts", "voice": "sage", "input": TEXT, "response_format": "wav"},
        "instructions": "Speak calmly.",
    },
    # livekit-plugins-openai 1.8.9, tts.py, with its defaults and with the models that it streams as sound.
    "livekit": {
        **{"input": TEXT, "model": "gpt-4o-mini-tts", "voice": "ash", "response_format": "mp3", "speed": 1.0},
        "stream_format": "sse",
    },
    "livekit with tts-1": {
        **{"input": TEXT, "model": "tts-1", "voice": "ash", "response_format": "mp3", "speed": 1.0},
        "stream_format": "audio",
    },
    # pipecat-ai 1.14.0, services/openai/tts.py, with its defaults.
    "pipecat": {"input": TEXT, "model": "gpt-4o-mini-tts", "voice": "alloy", "response_format": "pcm"},
    # Open-LLM-VTuber, src/open_llm_vtuber/tts/openai_tts.py, with a voice of OpenAI's and its own default model.
    "Open-LLM-VTuber": {"model": "kokoro", "voice": "alloy", "input": TEXT, "response_format": "mp3", "speed": 1.0},
    "curl": {"input": "hi"},
}


@pytest.mark.parametrize("body", RECORDED.values(), ids=list(RECORDED))
@pytest.mark.parametrize("key", [None, "Bearer ", "Bearer sk-none", "Basic bm9uZQ=="])
def test_the_request_of_a_known_client_gets_sound(client_of_all: TestClient, body: Any, key: str | None) -> None:
    headers = {} if key is None else {"Authorization": key}
    response = client_of_all.post("/v1/audio/speech", json=body, headers=headers)
    assert response.status_code == 200
    sse = body.get("stream_format") == "sse"
    assert response.headers["content-type"].startswith("text/event-stream" if sse else "audio/")
    assert len(response.content) > 1000


def test_a_name_that_is_no_text_is_named_too(client_of_all: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    response = client_of_all.post("/v1/audio/speech", content=b'{"input": "hi", "\\ud800": 0}', headers=headers)
    assert (response.status_code, response.headers["x-ignored"]) == (200, "%3F")


@pytest.fixture(scope="module")
def client_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a server without a key."""
    settings = server.read_settings(write_models(tmp_path_factory.mktemp("open")))
    with TestClient(server.create_app(settings)) as client:
        yield when_ready(client)


# Errors


REFUSALS: dict[str, tuple[dict[str, Any], type[openai.APIStatusError], str, str | None]] = {
    "an unknown voice": ({"voice": "zed"}, openai.NotFoundError, "unknown_speaker", "voice"),
    "another model's voice": ({"model": "solo", "voice": "bob"}, openai.NotFoundError, "unknown_speaker", "voice"),
    "a model not loaded": ({"model": "idle", "voice": "left"}, openai.NotFoundError, "speaker_not_loaded", "voice"),
    "a model that is no string": ({"model": 1}, openai.BadRequestError, "bad_request", "model"),
    "no text": ({"input": openai.omit}, openai.BadRequestError, "missing_text", "input"),
    "empty text": ({"input": " "}, openai.BadRequestError, "empty_text", "input"),
    "text that is no string": ({"input": 5}, openai.BadRequestError, "bad_request", "input"),
    "text too long": ({"input": "x" * 4097}, openai.APIStatusError, "text_too_long", "input"),
    "a voice that is no string": ({"voice": {"id": 1}}, openai.BadRequestError, "bad_request", "voice"),
    "a voice with more": ({"voice": {"id": "solo", "x": 1}}, openai.BadRequestError, "bad_request", "voice"),
    "an unknown format": ({"response_format": "m4a"}, openai.BadRequestError, "bad_request", "response_format"),
    "a speed that is no number": ({"speed": "fast"}, openai.BadRequestError, "bad_number", "speed"),
    "a switch for a speed": ({"speed": True}, openai.BadRequestError, "bad_number", "speed"),
    "an unknown stream": ({"stream_format": "rtp"}, openai.BadRequestError, "bad_request", "stream_format"),
    "a language nobody has": ({"extra_body": {"lang": "fr"}}, openai.BadRequestError, "bad_request", "lang"),
    "nothing to say": ({"input": "ж"}, openai.BadRequestError, "unspeakable_text", None),
}


@pytest.mark.parametrize(("changes", "kind", "code", "param"), REFUSALS.values(), ids=list(REFUSALS))
def test_a_refusal_is_the_clients_own_exception(
    client: OpenAI, changes: dict[str, Any], kind: type[openai.APIStatusError], code: str, param: str | None
) -> None:
    with pytest.raises(openai.APIStatusError) as refusal:
        create(client, **changes)
    assert type(refusal.value) is kind
    assert (refusal.value.code, refusal.value.param) == (code, param)
    assert refusal.value.type == "invalid_request_error"
    if param is not None and code not in ("unknown_speaker", "speaker_not_loaded"):
        assert refusal.value.body["message"].startswith(f"{param} ")  # type: ignore[index]


def test_a_refusal_names_what_there_is(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=r"there is trio/alice, trio/bob, trio/carol, solo"):
        create(client, voice="zed")
    with pytest.raises(openai.BadRequestError, match=r"one of mp3, opus, aac, flac, wav, pcm"):
        create(client, response_format="m4a")
    with pytest.raises(openai.NotFoundError, match=r"'gpt-9' does not exist; there is trio, solo"):
        client.models.retrieve("gpt-9")


def test_a_wrong_key_is_an_authentication_error(client: OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as refusal:
        create(client.with_options(api_key="another key"))
    assert refusal.value.code == "unauthorized"
    assert "another key" not in str(refusal.value)
    assert client.with_options(api_key="another key").models.list().data


def test_an_unknown_path_and_a_wrong_method_have_openais_shape(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refusal:
        client.files.list()
    assert (refusal.value.code, refusal.value.type) == ("unknown_path", "invalid_request_error")
    with pytest.raises(openai.APIStatusError) as refused_method:
        client.delete("/models", cast_to=object)
    assert (refused_method.value.status_code, refused_method.value.code) == (405, "method_not_allowed")


def test_a_busy_server_is_tried_again_when_it_says(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text("[server]\nthreads = 1\nmax_waiting = 1\n" + model_table("solo", "single_speaker_dp_resblock2"))
    statuses = []
    with TestClient(server.create_app(server.read_settings(path)), base_url="http://testserver") as transport:
        when_ready(transport)
        transport.event_hooks = {
            "response": [lambda response: statuses.append((response.status_code, time.monotonic()))]
        }
        client = OpenAI(base_url="http://testserver/v1", api_key="none", http_client=transport, max_retries=0)
        place = service_of(transport).turns.admit()
        with place, pytest.raises(openai.InternalServerError) as refusal:
            create(client)
        assert (refusal.value.status_code, refusal.value.code, refusal.value.type) == (503, "busy", "server_error")
        assert refusal.value.response.headers["retry-after"] == str(RETRY_AFTER_S)
        with service_of(transport).turns.admit(), pytest.raises(openai.InternalServerError):
            create(client.with_options(max_retries=1))
        assert [status for status, _ in statuses] == [503, 503, 503]
        assert statuses[2][1] - statuses[1][1] >= RETRY_AFTER_S
        assert create(client).content
