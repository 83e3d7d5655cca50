"""The key that speech wants where one is set."""

import pytest
from starlette.testclient import TestClient

SHOWN: dict[str, tuple[str, dict[bytes, bytes], int]] = {
    "nothing": ("", {}, 401),
    "the key in the query": ("&key=schl%C3%BCssel", {}, 200),
    "another in the query": ("&key=schlussel", {}, 401),
    "an empty one": ("&key=", {}, 401),
    "the key": ("", {b"Authorization": "Bearer schlüssel".encode()}, 200),
    "the scheme in small letters": ("", {b"Authorization": "bearer schlüssel".encode()}, 200),
    "another": ("", {b"Authorization": b"Bearer a"}, 401),
    "another and the key in the query": ("&key=schl%C3%BCssel", {b"Authorization": b"Bearer a"}, 401),
    "the key as vits-simple-api has it": ("", {b"X-API-KEY": "schlüssel".encode()}, 200),
    "the key as Azure has it": ("", {b"api-key": "schlüssel".encode()}, 200),
    "another as vits-simple-api has it": ("", {b"X-API-KEY": b"a"}, 401),
    "no scheme": ("", {b"Authorization": "schlüssel".encode()}, 401),
    "another scheme": ("", {b"Authorization": b"Basic c2NobA=="}, 401),
    "bytes that are no text": ("&key=%ff", {b"Authorization": b"Bearer \xff\xfe"}, 401),
}


@pytest.mark.parametrize(("query", "headers", "status"), SHOWN.values(), ids=list(SHOWN))
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_speech_wants_the_key(
    locked_client: TestClient, method: str, query: str, headers: dict[bytes, bytes], status: int
) -> None:
    if method == "POST":
        response = locked_client.post("/speak?" + query[1:], json={"text": "Hello."}, headers=headers)
    else:
        response = locked_client.request(method, "/speak?text=Hello." + query, headers=headers)
    assert response.status_code == status
    if status == 401:
        assert response.headers["www-authenticate"] == "Bearer"
        if method != "HEAD":
            assert response.json()["error"]["code"] == "unauthorized"


def test_the_key_is_asked_for_before_anything_else(locked_client: TestClient) -> None:
    assert locked_client.get("/speak").status_code == 401
    assert locked_client.get("/speak?text=%ff&text=a").status_code == 401
    assert locked_client.post("/speak", content=b"x" * 1_000_000).status_code == 401


def test_what_is_no_speech_is_open(locked_client: TestClient) -> None:
    for path in ("/", "/speakers", "/health"):
        assert locked_client.get(path).status_code == 200


def test_the_key_is_no_part_of_a_recordings_name(locked_client: TestClient, client: TestClient) -> None:
    locked = locked_client.get("/speak", params={"text": "Hello.", "key": "schlüssel"})
    free = client.get("/speak", params={"text": "Hello.", "key": "anything"})
    assert locked.headers["etag"] == free.headers["etag"]
