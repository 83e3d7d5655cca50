"""The source that Legado imports, read as Legado reads it."""

import json
import re
import subprocess
from collections.abc import Callable
from urllib.parse import parse_qs, quote, quote_plus, urlsplit

import pytest
from starlette.testclient import TestClient

from service.legado import import_link

TEXT = "你好，世界 + 100% & {more}? “Hello”, #1."


def url_of(template: str, text: str, speak_speed: int, run_node: Callable[[str], str]) -> str:
    """The address that Legado makes of a template (AnalyzeUrl.kt): each {{...}} is JavaScript."""
    script = f"""
        const speakText = {json.dumps(text)}, speakSpeed = {speak_speed};
        const java = {{encodeURI: (text) => encodeURIComponent(text).replaceAll("%20", "+")}};
        console.log({json.dumps(template)}.replace(/\\{{\\{{(.*?)\\}}\\}}/g, (_, code) => String(eval(code))));
    """
    return run_node(script).strip()


@pytest.fixture
def run_node(needs_program: Callable[[str, str], str]) -> Callable[[str], str]:
    node = needs_program("node", "nodejs")
    return lambda script: subprocess.run([node, "-e", script], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("speaker", ["solo", "trio/bob"])
def test_its_url_speaks_at_every_speed_of_legado(
    client: TestClient, speaker: str, run_node: Callable[[str], str]
) -> None:
    source = client.get("/legado.json", params={"speaker": speaker}).json()
    assert re.fullmatch(source["contentType"], "audio/mpeg")
    assert "," not in source["url"].replace("Math.max(0.25, Math.min(4, speakSpeed / 10))", "")
    for speak_speed, speed in {5: 0.5, 10: 1.0, 13: 1.3, 40: 4.0, 50: 4.0}.items():
        url = url_of(source["url"], TEXT, speak_speed, run_node)
        assert "{" not in url
        assert parse_qs(urlsplit(url).query) == {
            **{"text": [TEXT], "speaker": [speaker], "format": ["mp3"], "empty": ["silence"]},
            "speed": [f"{speed:g}"],
        }
    for speak_speed in range(5, 51):
        speed = max(0.25, min(4, speak_speed / 10))
        url = source["url"].replace("{{java.encodeURI(speakText)}}", quote_plus("Hi."))
        response = client.get(re.sub(r"\{\{.*?\}\}", str(speed), url))
        assert (response.status_code, response.headers["content-type"]) == (200, "audio/mpeg")
        assert response.headers["x-voice"] == speaker


def test_the_address_is_the_one_by_which_it_was_asked_for(client: TestClient) -> None:
    def get(host: str, speaker: str) -> dict[str, object]:
        answer: dict[str, object] = client.get(f"/legado.json?speaker={speaker}", headers={"Host": host}).json()
        return answer

    one, other = get("192.168.0.7:8000", "solo"), get("voice.example", "solo")
    assert str(one["url"]).startswith("http://192.168.0.7:8000/speak?text=")
    assert str(other["url"]).startswith("http://voice.example/speak?text=")
    ids = [one["id"], other["id"], get("voice.example", "trio/bob")["id"]]
    assert len(set(ids)) == 3
    assert get("voice.example", "solo") == other
    assert all(isinstance(number, int) and 0 < number < 2**53 for number in ids)


def test_without_a_speaker_it_is_the_default_one(client: TestClient) -> None:
    assert client.get("/legado.json").json()["name"] == "vits-speak trio/alice"


@pytest.mark.parametrize("path", ["/legado.json", "/legado.svg"])
def test_a_speaker_that_is_not_there_and_an_unknown_parameter_are_refused(client: TestClient, path: str) -> None:
    assert client.get(path, params={"speaker": "dave"}).status_code == 404
    assert client.get(path, params={"voice": "solo"}).status_code == 400


def test_the_code_is_a_drawing_that_needs_nothing_else(client: TestClient) -> None:
    response = client.get("/legado.svg", params={"speaker": "solo"})
    assert response.headers["content-type"] == "image/svg+xml"
    assert response.text.lstrip().startswith("<?xml")
    assert "<script" not in response.text
    assert "href" not in response.text
    assert client.get("/legado.svg", params={"speaker": "trio/bob"}).content != response.content


@pytest.mark.parametrize(
    ("host", "key"), [("voice.example", 1000 * "k"), ("voice.example", 400 * "人"), (2000 * "h", "")]
)
def test_what_no_code_can_hold_is_refused(client: TestClient, host: str, key: str) -> None:
    response = client.get("/legado.svg", params={"key": key}, headers={"Host": host})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "bad_request"


def test_the_link_carries_the_whole_address() -> None:
    source = "http://a.example/legado.json?speaker=trio%2Fbob&key=a"
    assert import_link(source) == "legado://import/httpTTS?src=" + quote(source, safe="")
    assert parse_qs(urlsplit(import_link(source)).query) == {"src": [source]}


def test_with_a_key_the_source_shows_it_in_a_header(locked_client: TestClient) -> None:
    assert locked_client.get("/legado.json").status_code == 401
    assert locked_client.get("/legado.svg").status_code == 401
    source = locked_client.get("/legado.json", params={"key": "schlüssel"}).json()
    assert json.loads(source["header"]) == {"Authorization": "Bearer schlüssel"}
    assert "schl" not in source["url"]
    assert locked_client.get("/legado.svg", params={"key": "schlüssel"}).status_code == 200
