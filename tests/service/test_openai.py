"""The official openai client against the real server, and against its app where the server must be busy."""

import io
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import numpy
import openai
import pytest
import soundfile
from openai import OpenAI
from starlette.testclient import TestClient

import server
from service.recordings import RETRY_AFTER_S
from tests.conftest import RunningServer, model_table, running_servers, write_models
from tests.fakes import service_of

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


# Models and voices


@pytest.mark.parametrize(
    ("model", "voice"),
    [("tts-1", "trio/bob"), ("gpt-4o-mini-tts", "bob"), ("trio", "bob"), ("trio", "trio/bob"), ("trio", {"id": "bob"})],
)
def test_one_voice_can_be_asked_for_in_many_ways(
    client: OpenAI, locked_server: RunningServer, model: str, voice: Any
) -> None:
    response = create(client, model=model, voice=voice, response_format="flac")
    assert response.content == spoken(locked_server, speaker="trio/bob", format="flac")[1]


def test_the_models_are_those_that_are_loaded(client: OpenAI) -> None:
    models = client.models.list().data
    assert [(model.id, model.object, model.owned_by) for model in models] == [
        ("trio", "model", "vits-speak"),
        ("solo", "model", "vits-speak"),
    ]
    assert all(1_500_000_000 < model.created <= time.time() for model in models)


def test_every_listed_voice_speaks(client: OpenAI) -> None:
    voices = client.get("/audio/voices", cast_to=dict[str, Any])["voices"]
    assert [voice["id"] for voice in voices] == ["trio/alice", "trio/bob", "trio/carol", "solo"]
    for voice in voices:
        assert voice["name"] == voice["id"]
        assert "en" in voice["languages"]
        for model in ("tts-1", voice["model"]):
            assert create(client, model=model, voice=voice["id"]).content


# Errors


REFUSALS: dict[str, tuple[dict[str, Any], type[openai.APIStatusError], str, str | None]] = {
    "a voice of OpenAI's": ({"voice": "alloy"}, openai.NotFoundError, "unknown_speaker", "voice"),
    "another model's voice": ({"model": "solo", "voice": "bob"}, openai.NotFoundError, "unknown_speaker", "voice"),
    "a model not loaded": ({"model": "idle", "voice": "left"}, openai.NotFoundError, "speaker_not_loaded", "voice"),
    "an unknown model": ({"model": "gpt-9"}, openai.NotFoundError, "model_not_found", "model"),
    "a model that is no string": ({"model": 1}, openai.BadRequestError, "bad_request", "model"),
    "no text": ({"input": openai.omit}, openai.BadRequestError, "missing_text", "input"),
    "no voice": ({"voice": openai.omit}, openai.BadRequestError, "bad_request", "voice"),
    "no model": ({"model": openai.omit}, openai.BadRequestError, "bad_request", "model"),
    "empty text": ({"input": " "}, openai.BadRequestError, "empty_text", "input"),
    "text that is no string": ({"input": 5}, openai.BadRequestError, "bad_request", "input"),
    "text too long": ({"input": "x" * 2001}, openai.APIStatusError, "text_too_long", "input"),
    "a voice that is no string": ({"voice": {"id": 1}}, openai.BadRequestError, "bad_request", "voice"),
    "a voice with more": ({"voice": {"id": "solo", "x": 1}}, openai.BadRequestError, "bad_request", "voice"),
    "aac": ({"response_format": "aac"}, openai.BadRequestError, "bad_request", "response_format"),
    "too fast": ({"speed": 4.01}, openai.BadRequestError, "bad_number", "speed"),
    "too slow": ({"speed": 0.24}, openai.BadRequestError, "bad_number", "speed"),
    "events": ({"stream_format": "sse"}, openai.BadRequestError, "bad_request", "stream_format"),
    "instructions": ({"instructions": "Sing."}, openai.BadRequestError, "unknown_parameter", None),
    "a language nobody has": ({"extra_body": {"lang": "fr"}}, openai.BadRequestError, "bad_request", "lang"),
    "nothing to say": ({"input": "☃"}, openai.BadRequestError, "unspeakable_text", None),
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


def test_a_refused_model_and_a_refused_format_name_those_there_are(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=r"there is trio, solo, tts-1"):
        create(client, model="gpt-9")
    with pytest.raises(openai.BadRequestError, match=r"one of mp3, opus, flac, wav, pcm"):
        create(client, response_format="aac")


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
        while transport.get("/health").status_code == 503:
            time.sleep(0.01)
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
