"""Folders as people have them: what is found in them, what is called by name, and what is left to the person."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import ROOT, SMALL_VOICES
from vits import BrokenCheckpoint, load_voice
from vits.check import main as check
from vits.formats import FoundModel, find_models, speaker_names

GOLDEN = ROOT / "tests/golden/formats"
VOICE = SMALL_VOICES / "multi_speaker_sdp"

pytestmark = pytest.mark.usefixtures("one_thread")


def tensors_of(folder: Path) -> dict[str, Any]:
    tensors: dict[str, Any] = torch.load(folder / "G_latest.pth", weights_only=True)["model"]
    return tensors


def as_it_is(folder: Path) -> Path:
    return folder


def as_safetensors(folder: Path) -> Path:
    save_file(tensors_of(folder), folder / "model.safetensors")
    (folder / "G_latest.pth").unlink()
    return folder


def of_data_parallel_in_float16(folder: Path) -> Path:
    state = {f"module.{name}": tensor.half() for name, tensor in tensors_of(folder).items()}
    torch.save({"model": state}, folder / "G_latest.pth")
    return folder


def averaged_alone(folder: Path) -> Path:
    torch.save({"ema": tensors_of(folder)}, folder / "G_latest.pth")
    return folder


def with_spaces_and_chinese(folder: Path) -> Path:
    renamed = folder.with_name("我的 声音")
    folder.rename(renamed)
    (renamed / "G_latest.pth").rename(renamed / "G 最终 版.pth")
    (renamed / "config.json").rename(renamed / "配置 (1).json")
    return renamed / "G 最终 版.pth"


def with_steps(folder: Path) -> Path:
    (folder / "G_latest.pth").rename(folder / "G_1200.pth")
    (folder / "G_900.pth").touch()
    (folder / "D_1200.pth").touch()
    return folder


def with_other_configs(folder: Path) -> Path:
    (folder / "config.json").rename(folder / "finetune_speaker.json")
    (folder / "config.json").write_text("{}")
    (folder / "notes.json").write_text("{}")
    return folder


def with_a_mark_and_comments(folder: Path) -> Path:
    path = folder / "config.json"
    text = path.read_text(encoding="utf-8").replace('"data"', '// of training\n"data"', 1)
    path.write_text(text, encoding="utf-8-sig")
    return folder


LAYOUTS = [
    as_it_is,
    as_safetensors,
    of_data_parallel_in_float16,
    averaged_alone,
    with_spaces_and_chinese,
    with_steps,
    with_other_configs,
    with_a_mark_and_comments,
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small voice."""
    target = tmp_path / "voice"
    target.mkdir()
    for name in ("G_latest.pth", "config.json"):
        shutil.copy(VOICE / name, target)
    return target


def spoken(checkpoint: Path) -> Any:
    return np.concatenate(list(load_voice(checkpoint, precision="float32").stream([0, 12, 0, 30, 0], 1, 0.0, 0.0)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_folder_gives_the_same_voice(layout: Callable[[Path], Path], folder: Path) -> None:
    expected = spoken(VOICE)
    samples = spoken(layout(folder))
    assert samples.shape == expected.shape
    assert float(np.abs(samples - expected).max()) < (1e-2 if "float16" in layout.__name__ else 1e-6)


def test_the_files_that_count_are_told(folder: Path) -> None:
    assert load_voice(folder).files == (folder / "G_latest.pth", folder / "config.json")


def refusal(checkpoint: Path) -> str:
    with pytest.raises(BrokenCheckpoint) as error:
        load_voice(checkpoint)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: is a folder without a model: expected a checkpoint and its config in it"


def test_a_checkpoint_without_config_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert refusal(folder).endswith("G_latest.pth: has no config: expected a JSON file beside it, such as config.json")


def test_several_checkpoints_are_left_to_the_person(folder: Path) -> None:
    (folder / "G_latest.pth").rename(folder / "a.pth")
    (folder / "b.pth").touch()
    assert (
        refusal(folder) == f"{folder}: has several checkpoints, a.pth, b.pth: name the one that counts in models.toml"
    )


def test_several_configs_are_left_to_the_person(folder: Path) -> None:
    (folder / "config.json").rename(folder / "a.json")
    (folder / "b.json").touch()
    assert refusal(folder) == f"{folder}: has several configs, a.json, b.json: name the one that counts in models.toml"


def test_a_config_in_gbk_is_said_to_be_one(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["speakers"] = {"张三": 0, "李四": 1, "王五": 2}
    del config["symbols"]  # GBK lacks some; most such configs were written by hand
    (folder / "config.json").write_bytes(json.dumps(config, ensure_ascii=False).encode("gbk"))
    assert "it is not UTF-8, but perhaps GBK: please save it as UTF-8" in refusal(folder)


# Discovery


def test_folders_and_exports_are_found_by_name(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "hf_single_dp", tmp_path / "mms tts")
    (tmp_path / "en_US-joe-medium.onnx").touch()
    (tmp_path / "piper").mkdir()
    (tmp_path / "piper/de.onnx").touch()
    (tmp_path / "piper/fr.onnx").touch()
    (tmp_path / "README.md").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache/a.onnx").touch()
    found, doubts = find_models(tmp_path)
    assert doubts == []
    assert found == [
        FoundModel("en_US-joe-medium", tmp_path / "en_US-joe-medium.onnx", None),
        FoundModel("mms-tts", tmp_path / "mms tts", None),
        FoundModel("de", tmp_path / "piper/de.onnx", None),
        FoundModel("fr", tmp_path / "piper/fr.onnx", None),
        FoundModel("voice", folder / "G_latest.pth", folder / "config.json"),
    ]


def test_a_folder_in_doubt_is_one_line_and_the_others_are_found(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/a.pth").touch()
    found, doubts = find_models(tmp_path)
    assert [model.name for model in found] == ["voice"]
    assert len(doubts) == 1
    assert doubts[0].startswith(f"{tmp_path / 'odd/a.pth'}: has no config")


@pytest.mark.parametrize("name", ["G_latest.pth", "config.json"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(name: str, folder: Path) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(BrokenCheckpoint, match=f"{name}: is no file, but a pipe or a device"):
        load_voice(folder / "G_latest.pth")


def test_models_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("a b.onnx", "a-b.onnx"):
        (tmp_path / name).touch()
    assert [model.name for model in find_models(tmp_path)[0]] == ["a-b", "a-b-2"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BrokenCheckpoint, match="absent: cannot be read: No such file"):
        find_models(tmp_path / "absent")


def test_the_voices_that_come_with_it_are_found() -> None:
    found, doubts = find_models(ROOT / "voices")
    assert [model.name for model in found] == ["mei", "mira", "rms", "slt", "trio"]
    assert doubts == []


def test_speakers_are_known_without_the_weights(folder: Path) -> None:
    assert speaker_names(folder) == ("alice", "bob", "carol")
    assert speaker_names(GOLDEN / "many_low/voice.onnx") == ("ann", "bo", "cy")
    assert speaker_names(GOLDEN / "hf_many_sdp") == ("0", "1", "2")
    assert speaker_names(GOLDEN / "hf_single_dp") == ()


# ./run.sh check


def test_check_says_what_a_model_is_and_speaks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check([str(folder), "Hello."]) == 0
    printed = capsys.readouterr().out
    assert "Family:     VITS" in printed
    assert "Speakers:   3: alice, bob, carol" in printed
    assert f"Written: {folder / 'voice.wav'}" in printed
    assert (folder / "voice.wav").read_bytes().startswith(b"RIFF")


def test_check_says_in_one_line_why_a_model_cannot_be_used(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "G_latest.pth").write_bytes(b"<html>404")
    assert check([str(folder)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Cannot be used: ")
    assert captured.err.count("\n") == 1
    assert "it is a web page" in captured.err
