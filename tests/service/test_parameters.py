"""What /speak takes as parameters, and what it refuses."""

from typing import Any

import pytest
from starlette.testclient import TestClient

REFUSALS: dict[str, tuple[dict[str, Any], int, str]] = {
    "no text": ({}, 400, "missing_text"),
    "empty text": ({"text": ""}, 400, "empty_text"),
    "blank text": ({"text": " \n\u3000"}, 400, "empty_text"),
    "text too long": ({"text": "x" * 101}, 413, "text_too_long"),
    "unknown parameter": ({"text": "Hi", "pitch": "1"}, 400, "unknown_parameter"),
    "a parameter in capitals": ({"text": "Hi", "Speed": "1"}, 400, "unknown_parameter"),
    "language": ({"text": "Hi", "lang": "fr"}, 400, "bad_request"),
    "no number": ({"text": "Hi", "noise_scale": "much"}, 400, "bad_number"),
    "empty number": ({"text": "Hi", "noise_scale": ""}, 400, "bad_number"),
    "nan": ({"text": "Hi", "noise_scale": "nan"}, 400, "bad_number"),
    "infinity": ({"text": "Hi", "noise_scale_w": "inf"}, 400, "bad_number"),
    "negative": ({"text": "Hi", "noise_scale": "-0.1"}, 400, "bad_number"),
    "too slow": ({"text": "Hi", "length_scale": "4.1"}, 400, "bad_number"),
    "too fast": ({"text": "Hi", "speed": "1e9"}, 400, "bad_number"),
    "speed zero": ({"text": "Hi", "speed": "0"}, 400, "bad_number"),
    "speed and length": ({"text": "Hi", "speed": 1, "length_scale": 1}, 400, "bad_request"),
    "seed with a fraction": ({"text": "Hi", "seed": "1.5"}, 400, "bad_number"),
    "format": ({"text": "Hi", "format": "aac"}, 400, "bad_request"),
    "format in capitals": ({"text": "Hi", "format": "MP3"}, 400, "bad_request"),
    "switch": ({"text": "Hi", "stream": "yes"}, 400, "bad_request"),
    "empty switch": ({"text": "Hi", "stream": ""}, 400, "bad_request"),
    "negative seed": ({"text": "Hi", "seed": "-1"}, 400, "bad_number"),
    "huge seed": ({"text": "Hi", "seed": "4294967296"}, 400, "bad_number"),
    "a seed in other digits": ({"text": "Hi", "seed": "٣"}, 400, "bad_number"),
    "a seed with an underscore": ({"text": "Hi", "seed": "1_0"}, 400, "bad_number"),
    "a seed with a blank": ({"text": "Hi", "seed": " 1"}, 400, "bad_number"),
    "a number in other digits": ({"text": "Hi", "speed": "２"}, 400, "bad_number"),
    "a number with an underscore": ({"text": "Hi", "speed": "1_0e-1"}, 400, "bad_number"),
}


@pytest.mark.parametrize(("parameters", "status", "code"), REFUSALS.values(), ids=list(REFUSALS.keys()))
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_that_cannot_be_is_refused(
    client: TestClient, method: str, parameters: dict[str, Any], status: int, code: str
) -> None:
    given: dict[str, Any] = {"params": parameters} if method == "GET" else {"json": parameters}
    response = client.request(method, "/speak", **given)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert list(response.json()) == ["error"]
    assert list(error) == ["code", "message"]


@pytest.mark.parametrize("query", ["text=a&text=b", "text=%ff", "text=Hi&speaker=%80"])
def test_a_query_with_two_values_or_no_utf_8_is_refused(client: TestClient, query: str) -> None:
    assert client.get(f"/speak?{query}").status_code == 400


BODIES: dict[str, tuple[bytes, str, int]] = {
    "no JSON": (b"text=Hi", "application/json", 400),
    "a list": (b'["Hi"]', "application/json", 400),
    "empty": (b"", "application/json", 400),
    "duplicate": (b'{"text": "a", "text": "b"}', "application/json", 400),
    "NaN": (b'{"text": "a", "noise_scale": NaN}', "application/json", 400),
    "overflow": (b'{"text": "a", "noise_scale": 1e999}', "application/json", 400),
    "huge integer": (b'{"text": "a", "noise_scale": 1' + b"0" * 400 + b"}", "application/json", 400),
    "a bool for a number": (b'{"text": "a", "noise_scale": true}', "application/json", 400),
    "null": (b'{"text": "a", "noise_scale": null}', "application/json", 400),
    "a fraction for a seed": (b'{"text": "a", "seed": 1.5}', "application/json", 400),
    "a number for a switch": (b'{"text": "a", "stream": 1}', "application/json", 400),
    "null for a switch": (b'{"text": "a", "stream": null}', "application/json", 400),
    "a key": (b'{"text": "a", "key": "a"}', "application/json", 400),
    "a number for text": (b'{"text": 1}', "application/json", 400),
    "half a character": (b'{"text": "\\ud800"}', "application/json", 400),
    "no UTF-8": (b'{"text": "\xff"}', "application/json", 400),
    "UTF-16": ('{"text": "Hi"}'.encode("utf-16"), "application/json", 400),
    "a number as a string": (b'{"text": "a", "speed": "2"}', "application/json", 400),
    "a seed as a string": (b'{"text": "a", "seed": "2"}', "application/json", 400),
    "a switch as a string": (b'{"text": "a", "stream": "true"}', "application/json", 400),
    "deep": (b'{"text": ' + b"[" * 2500 + b"]" * 2500 + b"}", "application/json", 400),
    "a form": (b"text=Hi", "application/x-www-form-urlencoded", 415),
    "no type": (b'{"text": "Hi"}', "", 415),
    "too large": (b'{"text": "' + b"x" * 10_000 + b'"}', "application/json", 413),
}


@pytest.mark.parametrize(("body", "content_type", "status"), BODIES.values(), ids=list(BODIES.keys()))
def test_a_body_that_cannot_be_is_refused(client: TestClient, body: bytes, content_type: str, status: int) -> None:
    response = client.post("/speak", content=body, headers={"Content-Type": content_type})
    assert response.status_code == status
    assert response.json()["error"]["message"]


def test_a_post_with_a_query_is_refused(client: TestClient) -> None:
    assert client.post("/speak?speed=2", json={"text": "Hi"}).status_code == 400


ACCEPTED = {
    "audio/mpeg": "audio/mpeg",
    "audio/ogg; codecs=opus": "audio/ogg; codecs=opus",
    "audio/flac, audio/mpeg;q=0.9": "audio/flac",
    "audio/flac;q=0.1, audio/mpeg;q=0.9": "audio/mpeg",
    "AUDIO/FLAC": "audio/flac",
    "audio/mpeg;q=0": "audio/wav",
    "audio/aac": "audio/wav",
    "*/*": "audio/wav",
    "audio/webm,audio/ogg,audio/wav,audio/*;q=0.9,*/*;q=0.5": "audio/wav",  # Firefox's
    "": "audio/wav",
    ";;,,q=": "audio/wav",
}


@pytest.mark.parametrize(("accept", "media_type"), ACCEPTED.items())
def test_accept_chooses_the_format_where_nothing_else_does(client: TestClient, accept: str, media_type: str) -> None:
    response = client.get("/speak", params={"text": "Hello."}, headers={"Accept": accept})
    assert response.headers["content-type"] == media_type
    named = client.get("/speak", params={"text": "Hello.", "format": "flac"}, headers={"Accept": accept})
    assert named.headers["content-type"] == "audio/flac"


@pytest.mark.parametrize("value", ["2", "2.", "+2.0", "0.2e1", ".2E+1"])
def test_a_query_may_write_a_number_in_every_usual_way(client: TestClient, value: str) -> None:
    usual = client.get("/speak", params={"text": "Hello.", "speed": "2"})
    query = "/speak?text=Hello.&speed=" + value.replace("+", "%2B")
    assert client.get(query).headers["etag"] == usual.headers["etag"]
