"""The requests that clients of vits-simple-api send."""

import io
import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import soundfile
from starlette.testclient import TestClient

from service.vits_simple_api import OTHER_FAMILIES
from tests.fakes import recording

TEXT = "Hello from two small cores."
SPEAKERS = ["trio/alice", "trio/bob", "trio/carol", "solo", "pair/left", "pair/right"]


def samples(content: bytes) -> list[int]:
    return [int(sample) for sample in recording(content)[0]]


# Speakers


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/voice/speakers", "/voice/speakers/"])
def test_the_ids_count_all_loaded_speakers_in_order(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path).json()
    assert [(row["id"], row["name"]) for row in answer["VITS"]] == list(enumerate(SPEAKERS))
    assert all("en" in row["lang"] for row in answer["VITS"])
    assert {name: rows for name, rows in answer.items() if name != "VITS"} == {name: [] for name in OTHER_FAMILIES}


@pytest.mark.parametrize("number", range(len(SPEAKERS)))
def test_every_id_speaks_as_its_speaker(client: TestClient, number: int) -> None:
    response = client.get("/voice/vits", params={"text": TEXT, "id": number})
    plain = client.get("/speak", params={"text": TEXT, "speaker": SPEAKERS[number]})
    assert response.headers["x-voice"] == SPEAKERS[number]
    assert response.content == plain.content
    assert response.headers["etag"] == plain.headers["etag"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_id_can_be_looked_up(client: TestClient, method: str) -> None:
    answer = client.request(method, "/voice/check?id=3&model=vits").json()
    assert (answer["status"], answer["id"], answer["name"]) == ("success", 3, "solo")
    assert "en" in answer["lang"]
    assert client.post("/voice/check", json={"id": 3, "model_type": "VITS"}).json() == answer


def test_the_defaults_are_those_of_the_default_voice(client: TestClient) -> None:
    assert client.get("/voice/default_parameter").json() == {
        "vits_config": {
            **{"id": 0, "format": "wav", "lang": "auto", "segment_size": 50, "use_streaming": False},
            **{"length": 1.0, "noise": 0.667, "noisew": 0.8},
        }
    }


# Requests


def test_the_parameters_may_be_in_a_query_in_a_form_or_in_json(client: TestClient) -> None:
    given = {"text": "你好, hello.", "id": "1", "length": "1.2", "noise": "0.3", "noisew": "0.4", "format": "flac"}
    expected = client.get(
        "/speak",
        params={
            **{"text": given["text"], "speaker": "trio/bob", "format": "flac"},
            **{"length_scale": 1.2, "noise_scale": 0.3, "noise_scale_w": 0.4},
        },
    )
    numbers = {"id": 1, "length": 1.2, "noise": 0.3, "noisew": 0.4}
    half: Any = {"text": given["text"], "format": "flac"}
    multipart = {name: (None, value) for name, value in given.items()}
    for path in ("/voice/vits", "/voice", "/voice/", "/voice/vits/"):
        answers = [
            client.get(path, params=given),
            client.post(path, params=given),
            client.post(path, data=given),
            client.post(path, files=multipart),
            client.post(path, json=given),
            client.post(path, json={**given, **numbers}),
            client.post(f"{path}?{urlencode({**given, 'text': 'No.'})}", data=half),
        ]
        for answer in answers:
            assert answer.status_code == 200, answer.text
            assert answer.content == expected.content
            assert "x-ignored" not in answer.headers


# What SillyTavern's vits.js sends (public/scripts/extensions/tts/vits.js), without and with streaming.
SILLY_TAVERN = {
    **{"text": TEXT, "id": "3", "format": "wav", "lang": "auto", "length": "1", "noise": "0.33", "noisew": "0.4"},
    "segment_size": "50",
}


def test_sillytavern_gets_its_sound_and_its_stream(client: TestClient) -> None:
    for name, container in (("wav", "WAV"), ("mp3", "MP3"), ("ogg", "OGG"), ("flac", "FLAC")):
        response = client.post("/voice/vits", data=SILLY_TAVERN | {"format": name})
        assert (response.status_code, response.headers["x-ignored"]) == (200, "segment_size")
        assert response.headers["content-disposition"] == f"inline; filename=speech.{name}"
        with soundfile.SoundFile(io.BytesIO(response.content)) as file:
            assert file.format == container
    del (streamed := dict(SILLY_TAVERN))["format"]
    response = client.get("/voice/vits", params=streamed | {"streaming": "true"})
    assert (response.status_code, response.headers["content-type"]) == (200, "audio/mpeg")
    assert response.headers["x-voice"] == "solo"


# vits-simple-api's own api_test.py: a multipart form, whose answer must name a file.
def test_its_own_client_gets_the_name_of_a_file(client: TestClient) -> None:
    fields = {"text": TEXT, "id": "0", "format": "wav", "lang": "auto", "length": "1", "noise": "0.667"}
    fields |= {"noisew": "0.8", "segment_size": "50"}
    response = client.post("/voice/vits", files={name: (None, value) for name, value in fields.items()})
    assert response.headers["content-disposition"].partition("filename=")[2] == "speech.wav"
    assert response.content == client.get("/speak", params={"text": TEXT}).content


# What bots send: the method, the way of the parameters, the parameters, and what is passed over.
BOTS: dict[str, tuple[str, str, dict[str, str], str | None]] = {
    # koishi-plugin-open-vits 2.0.6, lib/index.js: baseSay. It offers zh, en, auto and jp.
    "koishi": ("POST", "files", {"text": TEXT, "id": "3", "format": "ogg", "lang": "zh", "length": "1.4"}, None),
    "koishi's jp": ("POST", "files", {"text": TEXT, "id": "3", "format": "mp3", "lang": "jp", "length": "1.4"}, "lang"),
    # AI-Vtuber, utils/audio_handle/my_tts.py: vits_api.
    "AI-Vtuber": (
        *("GET", "params"),
        {
            **{"text": TEXT, "id": "3", "format": "wav", "lang": "auto", "length": "1"},
            **{"noise": "0.33", "noisew": "0.4", "max": "50"},
        },
        "max",
    ),
    # The plugin of MaiBot for this protocol.
    "MaiBot": ("GET", "params", {"text": TEXT, "id": "3", "lang": "en"}, None),
}


@pytest.mark.parametrize(("method", "where", "given", "ignored"), BOTS.values(), ids=list(BOTS))
def test_the_request_of_a_known_bot_gets_sound(
    client: TestClient, method: str, where: str, given: dict[str, str], ignored: str | None
) -> None:
    sent: Any = {name: (None, value) for name, value in given.items()} if where == "files" else given
    response = client.request(method, "/voice/vits", **{where: sent})
    assert (response.status_code, response.headers["x-voice"]) == (200, "solo")
    assert response.headers.get("x-ignored") == ignored
    assert samples(response.content)


@pytest.mark.parametrize(("name", "start"), [("silk", b"\x02#!SILK_V3"), ("amr", b"#!AMR\n")])
def test_the_formats_of_chat_programs_are_made(client: TestClient, name: str, start: bytes) -> None:
    response = client.get("/voice/vits", params={"text": TEXT, "format": name})
    assert response.headers["content-type"] == f"audio/{name}"
    assert response.content.startswith(start)


def test_a_stream_is_mp3_as_it_is_made(client: TestClient) -> None:
    response = client.get("/voice/vits", params={"text": "A stream of its own.", "format": "wav", "streaming": "1"})
    assert response.headers["content-type"] == "audio/mpeg"
    assert response.headers["content-disposition"] == "attachment; filename=speech.mp3"
    assert response.headers["x-ignored"] == "format"
    assert "content-length" not in response.headers


PASSED_OVER: dict[str, tuple[dict[str, Any], str]] = {
    "an id that is no number": ({"id": "alice"}, "id"),
    "an id that is a switch": ({"id": True}, "id"),
    "a length that is no number": ({"length": "long"}, "length"),
    "no finite number": ({"noise": "nan", "noisew": "inf"}, "noise, noisew"),
    "numbers outside the ranges": ({"length": 5, "noise": -1, "noisew": 3}, "length, noise, noisew"),
    "a list for a number": ({"length": [1]}, "length"),
    "a switch that is none": ({"streaming": "maybe"}, "streaming"),
    "sizes of parts": ({"segment_size": 50, "max": 50}, "segment_size, max"),
    "a language that the speaker lacks": ({"lang": "fr"}, "lang"),
    "another family's": ({"emotion": 3, "sdp_ratio": 0.2}, "emotion, sdp_ratio"),
}


@pytest.mark.parametrize(("changes", "ignored"), PASSED_OVER.values(), ids=list(PASSED_OVER))
def test_what_is_no_value_falls_back_and_is_named(client: TestClient, changes: dict[str, Any], ignored: str) -> None:
    response = client.post("/voice/vits", json={"text": TEXT, **changes})
    assert response.status_code == 200
    assert (response.headers["x-ignored"], response.headers["x-voice"]) == (ignored, "trio/alice")


def test_a_number_outside_the_range_is_the_nearest_one_within(client: TestClient) -> None:
    response = client.get("/voice/vits", params={"text": "Hi.", "length": 5, "noise": -1})
    plain = client.get("/speak", params={"text": "Hi.", "length_scale": 4, "noise_scale": 0})
    assert response.content == plain.content


@pytest.mark.parametrize("nothing", ["", None])
def test_what_is_nothing_is_absent(client: TestClient, nothing: str | None) -> None:
    response = client.post("/voice/vits", json={"text": TEXT, "length": nothing, "id": nothing, "lang": nothing})
    assert response.content == client.get("/speak", params={"text": TEXT}).content
    assert "x-ignored" not in response.headers


LANGUAGES: dict[str, tuple[object, str, str | None]] = {
    "one": ("en", "en", None),
    "one in capitals": ("EN", "en", None),
    "detected": ("auto", "auto", None),
    "tagged": ("mix", "auto", None),
    "a list": (["en"], "en", None),
    "one that it has and one that it lacks": ("en,fr", "en", "lang"),
    "some that it has": ("zh，en", "auto", "lang"),
    "none that it has": ("fr", "auto", "lang"),
    "detected beside another": ("auto en", "auto", None),
}


@pytest.mark.parametrize(("lang", "ours", "ignored"), LANGUAGES.values(), ids=list(LANGUAGES))
def test_languages_are_those_that_the_speaker_has(
    client: TestClient, lang: object, ours: str, ignored: str | None
) -> None:
    response = client.post("/voice/vits", json={"text": TEXT, "lang": lang})
    plain = client.get("/speak", params={"text": TEXT, "lang": ours})
    assert (response.content, response.headers.get("x-ignored")) == (plain.content, ignored)


def test_tags_choose_the_languages_of_a_mixed_text(client: TestClient) -> None:
    tagged = client.get("/voice/vits", params={"text": "[EN]Hello.[EN]", "lang": "mix"})
    assert samples(tagged.content)
    assert "x-dropped" not in tagged.headers


# Errors


def refused(response: Any, status: int, message: str) -> None:
    answer = response.json()
    assert (response.status_code, set(answer), answer["status"]) == (status, {"status", "message"}, "error")
    assert message in answer["message"]


REFUSALS: dict[str, tuple[dict[str, Any], int, str]] = {
    "no text": ({"id": 0}, 400, "text is missing"),
    "no text but white space": ({"text": " "}, 400, "text is empty"),
    "text that is none": ({"text": ["a"]}, 400, "text must be a string"),
    "text too long": ({"text": "x" * 101}, 413, "at most 100 are allowed"),
    "an id too high": ({"text": TEXT, "id": 6}, 400, "id 6 does not exist; the ids are 0 to 5"),
    "an id below": ({"text": TEXT, "id": -1}, 400, "id -1 does not exist"),
    "an id beyond all": ({"text": TEXT, "id": 10**400}, 400, "id 1000"),
    "an unknown format": ({"text": TEXT, "format": "m4a"}, 400, "format must be one of wav, ogg, mp3, flac, silk, amr"),
}


@pytest.mark.parametrize(("given", "status", "message"), REFUSALS.values(), ids=list(REFUSALS))
def test_a_refusal_has_the_shape_of_the_protocol(
    client: TestClient, given: dict[str, Any], status: int, message: str
) -> None:
    refused(client.post("/voice/vits", json=given), status, message)
    if "text" not in given or isinstance(given["text"], str):
        refused(client.get("/voice/vits", params=given), status, message)


BODIES: dict[str, tuple[bytes, str, int]] = {
    "broken JSON": (b"{", "application/json", 400),
    "no object": (b"[]", "application/json", 400),
    "a form that is no UTF-8": (b"text=%ff", "application/x-www-form-urlencoded", 400),
    "a form of many fields": (b"a=1&" * 100, "application/x-www-form-urlencoded", 400),
    "multipart without a boundary": (b"text", "multipart/form-data", 400),
    "multipart with a file": (
        b'--b\r\nContent-Disposition: form-data; name="text"; filename="a"\r\n\r\nHi\r\n--b--\r\n',
        "multipart/form-data; boundary=b",
        400,
    ),
    "multipart that is no UTF-8": (
        b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n\xff\r\n--b--\r\n',
        "multipart/form-data; boundary=b",
        400,
    ),
    "text": (b"Hi", "text/plain", 415),
    "too large": (b"text=" + b"x" * 20_000, "application/x-www-form-urlencoded", 413),
    "multipart too large": (b"x" * 20_000, "multipart/form-data; boundary=b", 413),
}


@pytest.mark.parametrize(("body", "kind", "status"), BODIES.values(), ids=list(BODIES))
def test_a_body_that_cannot_be_is_refused(client: TestClient, body: bytes, kind: str, status: int) -> None:
    refused(client.post("/voice/vits", content=body, headers={"Content-Type": kind}), status, "")


@pytest.mark.parametrize("path", ["bert-vits2", "w2v2-vits", "hubert-vits", "gpt-sovits", "reading", "ssml"])
def test_what_only_that_server_has_is_not_here(client: TestClient, path: str) -> None:
    refused(client.post(f"/voice/{path}", data={"text": TEXT}), 404, "this server has VITS voices alone")


def test_a_check_that_fails_says_why(client: TestClient) -> None:
    refused(client.get("/voice/check?id=0&model=bert-vits2"), 400, "BERT-VITS2 not loaded")
    refused(client.get("/voice/check?id=0&model=else"), 404, "model ELSE does not exist")
    refused(client.get("/voice/check?id=6&model=vits"), 400, "id 6 does not exist")
    refused(client.get("/voice/check?model=vits"), 400, "id must be a whole number")


def test_the_key_is_taken_where_its_clients_put_it(locked_client: TestClient) -> None:
    url, key = f"/voice/vits?text={quote(TEXT)}", "schlüssel"
    for response in (
        locked_client.get(f"{url}&api_key={quote(key)}"),
        locked_client.get(url, headers={b"X-API-KEY": key.encode()}),
        locked_client.post("/voice/vits", data={"text": TEXT}, headers={b"X-API-KEY": key.encode()}),
    ):
        assert response.status_code == 200
        assert "x-ignored" not in response.headers
    refused(locked_client.get(url), 401, "Missing or wrong key")
    refused(locked_client.get(f"{url}&api_key=another"), 401, "Missing or wrong key")
    refused(locked_client.get("/voice/check?id=0&model=vits"), 401, "")
    assert locked_client.get("/voice/speakers").status_code == 200


def test_json_is_read_whatever_its_charset_says(client: TestClient) -> None:
    body = json.dumps({"text": "你好, hello."}, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert client.post("/voice/vits", content=body, headers=headers).status_code == 200
