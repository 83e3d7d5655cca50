"""Every error is one JSON object, whatever caused it."""

import json

import pytest
from starlette.testclient import TestClient


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/nothing", "GET", 404),
        ("/speak/", "GET", 404),
        ("/speak/../../etc/passwd", "GET", 404),
        ("/speak", "DELETE", 405),
        ("/speakers", "POST", 405),
        ("/health", "PUT", 405),
    ],
)
def test_unknown_paths_and_methods_get_a_json_error(client: TestClient, path: str, method: str, status: int) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["code"] in ("unknown_path", "method_not_allowed")


@pytest.mark.parametrize(("text", "status"), [("☃", 400), ("runaway", 422), ("missing", 501), ("crash", 500)])
def test_an_error_before_the_first_byte_of_a_stream_is_json(slow_client: TestClient, text: str, status: int) -> None:
    response = slow_client.get("/speak", params={"text": text, "stream": "true", "format": "mp3"})
    assert response.status_code == status
    assert response.json()["error"]["message"]
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("☃", 400, "unspeakable_text"),
        ("runaway", 422, "runaway_length"),
        ("tedious", 422, "preparation_too_long"),
        ("missing", 501, "missing_library"),
        ("crash", 500, "internal_error"),
    ],
)
def test_the_librarys_errors_are_answered_in_json(slow_client: TestClient, text: str, status: int, code: str) -> None:
    response = slow_client.get("/speak", params={"text": text})
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert slow_client.get("/health").json()["waiting"] == 0


def test_a_missing_library_is_named(slow_client: TestClient) -> None:
    message = slow_client.get("/speak", params={"text": "missing"}).json()["error"]["message"]
    assert "pip install somepackage==1.0" in message


def test_errors_are_json_that_any_client_can_read(client: TestClient) -> None:
    response = client.get("/speak")
    assert response.headers["content-type"] == "application/json"
    assert json.loads(response.content)["error"]["code"] == "missing_text"
