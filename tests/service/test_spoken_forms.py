"""What a request may ask of its text: a dictionary of its own, silence for nothing, and a language by any tag."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import soundfile
from starlette.testclient import TestClient

import server
from tests.conftest import model_table
from tests.waiting import when_ready
from vits import BadDictionary


def said(client: TestClient, text: str, **parameters: Any) -> bytes:
    """The sound of a text by the single voice, the noise always the same."""
    body = {"text": text, "speaker": "solo", "seed": 1, "format": "pcm", **parameters}
    response = client.post("/speak", json=body)
    assert response.status_code == 200, response.text
    return response.content


# A dictionary


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a server that has a dictionary, with one model that has its own."""
    path = tmp_path_factory.mktemp("taught") / "models.toml"
    own = '[models.replace]\nSQL = "sequel"\n'
    path.write_text(
        '[server]\nthreads = 1\n[replace]\nSQL = "ess queue ell"\nUSB = {spoken = "you ess bee", case = true}\n'
        + model_table("solo", "single_speaker_dp_resblock2")
        + own
        + model_table("trio", "multi_speaker_sdp")
    )
    with TestClient(server.create_app(server.read_settings(path))) as client:
        yield when_ready(client)


def test_a_dictionary_of_the_server_is_spoken_by_every_model(taught: TestClient) -> None:
    assert said(taught, "A USB stick.") == said(taught, "A you ess bee stick.")
    assert said(taught, "A usb stick.") != said(taught, "A you ess bee stick.")
    assert said(taught, "SQL", speaker="bob") == said(taught, "ess queue ell", speaker="bob")


def test_a_models_own_dictionary_comes_before_the_servers(taught: TestClient) -> None:
    assert said(taught, "Use SQL now.") == said(taught, "Use sequel now.")


def test_a_requests_dictionary_comes_before_both_and_is_part_of_the_recordings_key(taught: TestClient) -> None:
    usual = said(taught, "Use SQL now.")
    own = said(taught, "Use SQL now.", replace={"SQL": "squirrel"})
    assert own == said(taught, "Use squirrel now.") == said(taught, "Use SQL now.", replace={"sql": "squirrel"})
    assert said(taught, "Use SQL now.") == usual != own


def test_phonemes_in_a_dictionary_and_in_the_text_are_spoken(taught: TestClient) -> None:
    bat = said(taught, "Bat.")
    assert said(taught, "Hello.", replace={"hello": "B AE1 T"}) == bat
    assert said(taught, "Hello.", replace={"hello": "[[bæt]]"}) == bat
    assert said(taught, "[[bæt]].") == bat


@pytest.mark.parametrize(
    ("replacements", "message"),
    [
        ("SQL", "replace must be an object"),
        (["SQL"], "replace must be an object"),
        ({"": "a"}, "expected 1 to 100 characters"),
        ({" a": "a"}, "no blank at the ends"),
        ({"a": 1}, "the spoken form is no text"),
        ({"a": {"spoken": "b", "kind": 1}}, "unknown key 'kind'"),
        ({"a": {"spoken": "b", "case": "yes"}}, "case is 'yes'"),
        ({"a": "\ud800"}, "half a character"),
        ({"\ud800": "a"}, "half a character"),
    ],
)
def test_a_dictionary_that_cannot_be_is_refused(client: TestClient, replacements: object, message: str) -> None:
    body = json.dumps({"text": "Hi", "replace": replacements})
    response = client.post("/speak", content=body, headers={"Content-Type": "application/json"})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "bad_request")
    assert message in error["message"]


def test_a_query_has_no_dictionary(client: TestClient) -> None:
    response = client.get("/speak", params={"text": "Hi", "replace": '{"a": "b"}'})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_request")


def test_openais_route_takes_a_dictionary(taught: TestClient) -> None:
    body = {"voice": "solo", "seed": 1, "response_format": "flac"}
    first = taught.post("/v1/audio/speech", json={"input": "An ox.", "replace": {"ox": "axe"}, **body})
    other = taught.post("/v1/audio/speech", json={"input": "An axe.", **body})
    plain = taught.post("/v1/audio/speech", json={"input": "An ox.", **body})
    assert first.status_code == 200
    assert first.content == other.content != plain.content


def test_a_servers_dictionary_that_is_no_table_ends_the_start(write_settings: Callable[[str], Path]) -> None:
    path = write_settings("replace = 1\n" + model_table("solo", "single_speaker_dp_resblock2"))
    with pytest.raises(server.SettingsError, match="replace = 1: expected a table"):
        server.read_settings(path)


def test_a_servers_dictionary_that_cannot_be_ends_the_start(write_settings: Callable[[str], Path]) -> None:
    path = write_settings("[replace]\na = 1\n" + model_table("solo", "single_speaker_dp_resblock2"))
    settings = server.read_settings(path)
    with pytest.raises(BadDictionary, match=r"\[replace\]: 'a': the spoken form is no text"):
        server.load_model(settings, settings.models[0])


# Nothing to say

NOTHING = ("...", "---", "😀", "”", "*", "<br>", "」")


@pytest.mark.parametrize("text", NOTHING)
def test_a_piece_without_anything_to_say_is_silence_on_the_routes_of_others(client: TestClient, text: str) -> None:
    answers = [
        client.post("/v1/audio/speech", json={"input": text, "voice": "solo", "response_format": "wav"}),
        client.get("/voice/vits", params={"text": text, "id": 3}),
        client.get("/speak", params={"text": text, "speaker": "solo", "empty": "silence"}),
    ]
    for answer in answers:
        assert answer.status_code == 200
        samples, rate_hz = soundfile.read(io.BytesIO(answer.content))
        assert len(samples) == round(0.2 * rate_hz)
        assert numpy.abs(samples).max() == 0


@pytest.mark.parametrize("text", NOTHING)
def test_speak_refuses_it_unless_silence_is_asked_for(client: TestClient, text: str) -> None:
    assert client.get("/speak", params={"text": text, "speaker": "solo", "empty": "silence"}).status_code == 200
    for more in ({}, {"empty": "error"}):
        response = client.get("/speak", params={"text": text, "speaker": "solo", **more})
        assert (response.status_code, response.json()["error"]["code"]) == (400, "unspeakable_text")


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_text_may_be_silence_too(client: TestClient, text: str) -> None:
    assert client.get("/speak", params={"text": text, "empty": "silence"}).status_code == 200
    assert client.get("/speak", params={"text": text}).status_code == 400


def test_a_text_that_the_voice_lacks_is_no_silence(client: TestClient) -> None:
    response = client.get("/speak", params={"text": "ж", "speaker": "solo", "empty": "silence"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "unspeakable_text")


def test_only_error_and_silence_may_be_asked_for(client: TestClient) -> None:
    response = client.get("/speak", params={"text": "Hi", "empty": "nothing"})
    assert response.json()["error"]["message"] == "empty must be one of error, silence"


# A language by its tag


@pytest.mark.parametrize("tag", ["en-US", "EN", "eng", "en_GB", "en-Latn-US"])
def test_a_language_may_be_any_tag_of_it(client: TestClient, tag: str) -> None:
    assert said(client, "Hello.", lang=tag) == said(client, "Hello.", lang="en")


@pytest.mark.parametrize("tag", ["", "english", "e", "en-", "en US", "autos", "auto-US"])
def test_what_is_no_tag_is_refused(client: TestClient, tag: str) -> None:
    response = client.get("/speak", params={"text": "Hello.", "lang": tag})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_request")
