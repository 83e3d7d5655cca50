"""What every answer carries, and what stays out of the log."""

import logging

import pytest
from starlette.testclient import TestClient


def test_scripts_of_an_origin_are_let_in(locked_client: TestClient) -> None:
    origin = {"Origin": "https://example.org"}
    for response in (
        locked_client.get("/speak", params={"text": "Hello.", "key": "schlüssel"}, headers=origin),
        locked_client.get("/speak", params={"text": "Hello."}, headers=origin),
    ):
        assert response.headers["access-control-allow-origin"] == "https://example.org"
        assert "Origin" in response.headers["vary"]
        exposed = response.headers["access-control-expose-headers"]
        assert {"X-Seed", "X-Cache", "ETag", "Content-Length", "Content-Range"} <= {*exposed.split(", ")}
    ask = origin | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    assert locked_client.options("/speak", headers=ask).status_code == 200
    refused = locked_client.options("/speak", headers=ask | {"Origin": "https://example.com"})
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("name", ["x-stainless-os", "user-agent", "authorization, content-type"])
def test_scripts_of_an_origin_may_send_any_header(locked_client: TestClient, name: str) -> None:
    ask = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    answer = locked_client.options("/speak", headers=ask | {"Access-Control-Request-Headers": name})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-headers"] == name


def test_scripts_of_other_origins_are_kept_out_by_default(client: TestClient) -> None:
    response = client.get("/speak", params={"text": "Hello."}, headers={"Origin": "https://example.org"})
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("path", ["/", "/speak?text=Hello.", "/speak", "/speakers", "/health", "/nothing"])
def test_every_answer_has_safe_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    speech = path == "/speak?text=Hello."
    assert headers["cross-origin-resource-policy"] == ("cross-origin" if speech else "same-origin")


def test_the_users_text_is_never_logged(slow_client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for text in ("crash my secret", "runaway my secret", "my secret"):
        response = slow_client.get("/speak", params={"text": text})
        assert "secret" not in response.text
    ours = [record for record in caplog.records if record.name.startswith("uvicorn")]
    assert any("RuntimeError in /speak" in record.getMessage() for record in ours)
    assert not any("secret" in record.getMessage() for record in ours)
