"""More models than memory, and models.toml changed while the server runs."""

import os
import re
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, expect
from starlette.testclient import TestClient

import server
from tests.conftest import SMALL_VOICES, RunningServer, StartServer, model_table, running_servers
from tests.waiting import wait_until, when_ready

TIMEOUT_S = 30
ON_DEMAND = 'load = "on demand"'
ROOM_FOR_ONE = '[server]\nthreads = 1\nmemory_mb = 1\nprecision = "float32"\n'
"""Trio takes 0.54 MB and duo 0.88 MB."""
TRIO = model_table("trio", "multi_speaker_sdp", ON_DEMAND)
DUO = model_table("duo", "speaker_list_sdp", ON_DEMAND)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of two models of which memory holds one."""
    path = tmp_path_factory.mktemp("budget") / "models.toml"
    path.write_text(ROOM_FOR_ONE + TRIO + DUO)
    with TestClient(server.create_app(server.read_settings(path))) as client:
        yield when_ready(client)


def states(client: TestClient) -> dict[str, str]:
    return {model["name"]: model["state"] for model in client.get("/health").json()["models"]}


def speak(client: TestClient, speaker: str, text: str, **more: str) -> Any:
    return client.get("/speak", params={"text": text, "speaker": speaker, "lang": "en", "format": "pcm", **more})


def counted(client: TestClient, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


# Within a budget


def test_a_model_is_loaded_by_the_first_request_and_lets_the_other_go(client: TestClient) -> None:
    assert speak(client, "trio", "First.").status_code == 200
    assert states(client) == {"trio": "loaded", "duo": "on demand"}
    unloads = counted(client, 'speak_model_unloads_total{reason="budget"}')
    assert speak(client, "duo", "Second.").status_code == 200
    assert states(client) == {"trio": "on demand", "duo": "loaded"}
    assert {row["id"]: row["state"] for row in client.get("/speakers").json()["speakers"]}["trio/bob"] == "on demand"
    assert counted(client, 'speak_model_unloads_total{reason="budget"}') == unloads + 1
    assert counted(client, "speak_model_bytes") < 1_000_000


def test_a_voice_sounds_the_same_after_it_was_let_go(client: TestClient) -> None:
    first = speak(client, "trio", "The same.", seed="1").content
    assert speak(client, "duo", "Meanwhile.").status_code == 200
    client.app.state.service.recordings.kept.clear()  # type: ignore[attr-defined]
    assert speak(client, "trio", "The same.", seed="1").content == first


def test_two_clients_in_turn_with_room_for_one_both_get_on(client: TestClient) -> None:
    def ask(number: int) -> tuple[int, int]:
        answer = speak(client, ("trio", "duo")[number % 2], f"Request {number}. And one more sentence.")
        return answer.status_code, len(answer.content)

    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(ask, range(12)))
    assert {status for status, _ in answers} == {200}
    assert min(size for _, size in answers) > 1000
    assert counted(client, "speak_model_bytes") < 1_000_000


def test_requests_for_a_model_that_is_loading_load_it_once(client: TestClient) -> None:
    assert speak(client, "duo", "Something else.").status_code == 200
    loads = counted(client, 'speak_model_loads_total{result="loaded"}')
    with ThreadPoolExecutor(3) as clients:
        answers = clients.map(lambda number: speak(client, "trio", f"At once, {number}."), range(3))
        assert {answer.status_code for answer in answers} == {200}
    assert counted(client, 'speak_model_loads_total{result="loaded"}') == loads + 1


def test_headers_alone_load_nothing(client: TestClient) -> None:
    assert speak(client, "duo", "Loaded now.").status_code == 200
    loads = counted(client, 'speak_model_loads_total{result="loaded"}')
    assert client.head("/speak", params={"text": "Headers alone.", "speaker": "trio"}).status_code == 200
    assert counted(client, 'speak_model_loads_total{result="loaded"}') == loads


@pytest.mark.anyio
async def test_a_model_that_alone_is_larger_than_the_budget_ends_the_start(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(ROOM_FOR_ONE + model_table("solo", "single_speaker_dp_resblock2", ON_DEMAND))
    service = server.create_app(server.read_settings(path)).state.service
    message = r"memory_mb = 1: expected at least 2: solo takes 1\.2 MB beside 0\.0 MB"
    with pytest.raises(server.SettingsError, match=message):
        await server.take_over(service, service.settings)
    await service.turns.close()


def test_a_model_is_let_go_once_nobody_has_asked_for_it_for_a_while(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text("[server]\nthreads = 1\nidle_unload_s = 1\n" + TRIO)
    with TestClient(server.create_app(server.read_settings(path))) as client:
        assert speak(when_ready(client), "trio", "Hello.").status_code == 200
        wait_until(lambda: states(client) == {"trio": "on demand"})
        assert counted(client, 'speak_model_unloads_total{reason="idle"}') == 1


# Files that change


def copy_of(voice: str, folder: Path) -> str:
    """The [[models]] table of a copy of a small voice, on demand."""
    shutil.copytree(SMALL_VOICES / voice, folder)
    name, files = folder.name, (folder / "G_latest.pth", folder / "config.json")
    return f'[[models]]\nname = "{name}"\ncheckpoint = "{files[0]}"\nconfig = "{files[1]}"\n{ON_DEMAND}\n'


def test_a_file_that_is_gone_is_an_error_until_it_is_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "models.toml"
    path.write_text("[server]\nthreads = 1\n" + copy_of("multi_speaker_sdp", tmp_path / "mine") + DUO)
    checkpoint = tmp_path / "mine/G_latest.pth"
    with TestClient(server.create_app(server.read_settings(path))) as client:
        when_ready(client)
        away = checkpoint.rename(tmp_path / "away")
        for _ in range(2):
            answer = speak(client, "mine", "Hello.")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "broken_model")
            assert answer.headers["retry-after"]
        assert len([line for line in caplog.messages if line.startswith("Could not load mine")]) == 2
        assert str(tmp_path) not in answer.text
        away.rename(checkpoint)
        assert speak(client, "mine", "Hello.").status_code == 200


def test_a_file_that_changed_while_it_was_not_loaded_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(ROOM_FOR_ONE + copy_of("multi_speaker_sdp", tmp_path / "mine") + DUO)
    with TestClient(server.create_app(server.read_settings(path))) as client:
        first = speak(when_ready(client), "mine", "Hello.", seed="1")
        assert speak(client, "duo", "Hello.").status_code == 200
        shutil.copy(SMALL_VOICES / "speaker_list_sdp/G_latest.pth", tmp_path / "mine/G_latest.pth")
        shutil.copy(SMALL_VOICES / "speaker_list_sdp/config.json", tmp_path / "mine/config.json")
        second = speak(client, "mine", "Hello.", seed="1")
        assert (first.status_code, second.status_code) == (200, 200)
        assert second.headers["etag"] != first.headers["etag"]
        assert second.content != first.content
        assert second.content == speak(client, "duo", "Hello.", seed="1").content


# Changes without a restart


def ids(running: RunningServer) -> list[str]:
    return [row["id"] for row in running.get_json("/speakers")[1]["speakers"]]


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A models.toml of one model."""
    path = tmp_path / "models.toml"
    path.write_text("[server]\nthreads = 1\n" + TRIO)
    return path


@pytest.fixture
def start(tmp_path: Path, settings: Path) -> Iterator[StartServer]:
    """Starts ./run.sh with those settings."""
    with running_servers(tmp_path, settings) as start:
        yield start


def test_hup_takes_over_models_that_come_and_go(start: StartServer, settings: Path) -> None:
    running = start()
    assert ids(running) == ["trio/alice", "trio/bob", "trio/carol"]
    settings.write_text("[server]\nthreads = 1\n" + DUO + TRIO)
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "duo/left" in ids(running))
    numbers = {row["name"]: row["id"] for row in running.get_json("/voice/speakers")[1]["VITS"]}
    assert numbers == {"trio/alice": 0, "trio/bob": 1, "trio/carol": 2, "duo/left": 3, "duo/right": 4}
    settings.write_text("[server]\nthreads = 1\n" + DUO)
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: ids(running) == ["duo/left", "duo/right"])
    assert running.get_json("/speak?text=Hello&speaker=bob")[0] == 404


def test_hup_with_a_broken_file_changes_nothing_and_logs_one_line(start: StartServer, settings: Path) -> None:
    running = start()
    for broken in ("[server", "[server]\nthreads = 1\n" + TRIO + "colour = 1\n", 'x = "', TRIO + TRIO):
        before = len(running.log.splitlines())
        settings.write_text(broken)
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda before=before: "Not reloaded" in "".join(running.log.splitlines()[before:]))  # type: ignore[misc]
        new = [line for line in running.log.splitlines()[before:] if "Not reloaded, and nothing changed: " in line]
        assert len(new) == 1
        assert len(running.log.splitlines()) - before == len(new)
        assert ids(running) == ["trio/alice", "trio/bob", "trio/carol"]
        assert running.process.poll() is None


def test_speech_under_way_ends_with_the_voice_that_it_began_with(start: StartServer, settings: Path) -> None:
    running = start()
    text = "+".join(f"This+is+sentence+number+{number}." for number in range(30))
    url = f"{running.url}/speak?text={text}&speaker=bob&format=pcm&stream=true&seed=5"
    with urlopen(url) as answer:
        begun = answer.read(2000)
        settings.write_text("[server]\nthreads = 1\n" + DUO)
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: ids(running) == ["duo/left", "duo/right"])
        streamed = begun + answer.read()
    settings.write_text("[server]\nthreads = 1\n" + TRIO)
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "trio/bob" in ids(running))
    with urlopen(url.replace("&stream=true", "")) as answer:
        assert answer.read() == streamed


def test_hup_during_a_load_loses_no_request(start: StartServer, settings: Path) -> None:
    running = start()
    settings.write_text("[server]\nthreads = 1\n" + TRIO + DUO)
    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(running.get_json, "/speak?text=Hello&speaker=ж")
        asked = [clients.submit(lambda: urlopen(f"{running.url}/speak?text=Hello&speaker=bob").status)]
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "duo/left" in ids(running))
        assert [future.result(TIMEOUT_S) for future in asked] == [200]
        assert first.exception(TIMEOUT_S) is not None or first.result()[0] == 404
    assert running.process.poll() is None


def test_watched_files_are_taken_over_by_themselves(start: StartServer, settings: Path, tmp_path: Path) -> None:
    folder = tmp_path / "voices"
    folder.mkdir()
    server_table = f'[server]\nthreads = 1\nwatch = true\ndiscover = "{folder}"\n'
    settings.write_text(server_table + TRIO)
    running = start()
    copy_of("speaker_list_sdp", tmp_path / "made")
    os.rename(tmp_path / "made", folder / "new")
    wait_until(lambda: "new/left" in ids(running))
    settings.write_text(server_table + DUO)
    wait_until(lambda: "duo/left" in ids(running) and "trio/bob" not in ids(running))


# The page


def test_the_page_marks_voices_that_must_load_first(start: StartServer, settings: Path, browser: Browser) -> None:
    running = start()
    with browser.new_context(locale="en-GB") as context:
        page = context.new_page()
        page.goto(running.url)
        option = page.locator("#voice option").first
        expect(option).to_have_text(re.compile("alice.* · loads first"))
        page.fill("#text", "Hello.")
        page.click("#speak")
        expect(option).to_have_text(re.compile(r"alice(?!.*loads first)"))
