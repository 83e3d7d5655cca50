"""Coqui's voices of characters: equal to coqui-tts itself, strictly read."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.golden.formats.coqui_weights import weights
from vits import BrokenCheckpoint, UnspeakableText, load_voice
from vits.errors import BrokenCheckpoint as Refused
from vits.formats import speaker_names
from vits.formats.coqui import _front_end
from vits.tables import TOP_LEVEL, Table
from vits.text.coqui import CoquiFrontEnd

GOLDEN = Path(__file__).parent.parent / "golden/formats"
TOKENIZERS = json.loads((GOLDEN / "coqui_ids.json").read_text(encoding="utf-8"))

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def voice_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice with the weights that the expected samples were made with."""
    folder = tmp_path_factory.mktemp("coqui")
    shutil.copy(GOLDEN / "coqui/config.json", folder)
    shapes = json.loads((GOLDEN / "coqui/shapes.json").read_text())
    state = {name: torch.from_numpy(array) for name, array in weights(shapes).items()}
    torch.save({"model": state, "step": 7, "config": {}}, folder / "best_model.pth")
    return folder


def test_durations_and_samples_equal_coquis(voice_folder: Path) -> None:
    voice, expected = load_voice(voice_folder, precision="float32"), np.load(GOLDEN / "coqui/expected.npz")
    for number in range(3):
        ids, speaker, scale = (expected[f"{number}_{key}"] for key in ("ids", "speaker", "length_scale"))
        durations = voice.durations(ids, int(speaker), 0.0, float(scale))
        assert durations.tolist() == expected[f"{number}_durations"].tolist()
        samples = np.concatenate(list(voice.stream(ids, int(speaker), 0.0, 0.0, float(scale))))
        assert samples.shape == expected[f"{number}_audio"].shape
        assert float(np.abs(samples - expected[f"{number}_audio"]).max()) < 1e-4


def test_a_voice_is_described_by_its_config(voice_folder: Path) -> None:
    voice = load_voice(voice_folder, precision="float32")
    assert (voice.family, voice.sample_rate_hz, voice.hop_length) == ("Coqui", 22050, 256)
    assert voice.speakers == {"ann": 0, "bo": 1, "cy": 2}
    assert voice.defaults == {"noise_scale": 0.5, "noise_scale_w": 0.6, "length_scale": 1.2}
    assert [path.name for path in voice.files] == ["best_model.pth", "config.json"]
    assert voice.prepare("Hello there. Bye!").sentences[1].written == "Bye!"


# Text


def front_end(name: str, **changes: Any) -> CoquiFrontEnd:
    table = Table(Path("config.json"), TOP_LEVEL, TOKENIZERS[name]["config"] | changes, Refused)
    return _front_end(table)[1]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_ids_equal_coquis(name: str) -> None:
    texts, reader = TOKENIZERS[name]["ids"], front_end(name)
    assert {text: list(reader._read(text, Counter()).ids) for text in texts} == texts


def test_characters_that_the_voice_lacks_are_counted() -> None:
    prepared = front_end("multilingual").prepare("Hello €1")
    assert prepared.dropped == {"€": 1, "1": 1}
    with pytest.raises(UnspeakableText):
        front_end("multilingual").prepare("€1")


# Refusals


@pytest.fixture
def copied(voice_folder: Path, tmp_path: Path) -> Path:
    """A voice to be broken; its weights are linked."""
    shutil.copy(voice_folder / "config.json", tmp_path)
    (tmp_path / "best_model.pth").symlink_to(voice_folder / "best_model.pth")
    return tmp_path


def change(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for key, value in values.items():
        table, _, name = key.rpartition("__")
        (config[table] if table else config)[name] = value
    path.write_text(json.dumps(config))


CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"model": "tacotron2"}, "top level: model = 'tacotron2': expected \"vits\": no other model of Coqui's is spoken"),
    ({"use_phonemes": True}, "top level: use_phonemes = True: expected false: of Coqui's models, those of characters"),
    ({"text_cleaner": "english_cleaners"}, "top level: text_cleaner = 'english_cleaners': expected one of basic"),
    ({"model_args__use_d_vector_file": True}, "model_args: use_d_vector_file = True: expected False: other networks"),
    ({"model_args__use_language_embedding": True}, "model_args: use_language_embedding = True: expected False"),
    ({"model_args__use_sdp": False}, "model_args: use_sdp = False: expected True: other networks of this family"),
    ({"audio__sample_rate": 1}, "audio: sample_rate = 1: expected a whole number from 8000 to 192000"),
    ({"characters__characters_class": "my.Own"}, "characters: characters_class = 'my.Own': expected VitsCharacters"),
    ({"model_args__num_layers_text_encoder": 99}, "model_args: n_layers = 99: expected a whole number from 1 to 64"),
]


@pytest.mark.parametrize(("values", "words"), CONFIGS)
def test_a_config_that_cannot_be_followed_is_refused_in_one_line(
    values: dict[str, Any], words: str, copied: Path
) -> None:
    change(copied, **values)
    with pytest.raises(BrokenCheckpoint) as error:
        load_voice(copied)
    assert str(error.value).startswith(f"{copied / 'config.json'}: {words}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["speaker_ids.json", "speakers.pth"])
def test_speakers_may_lie_in_a_file_of_their_own(name: str, copied: Path) -> None:
    change(copied, speakers=None, speakers_file=f"/elsewhere/{name}")
    if name.endswith("json"):
        (copied / name).write_text('{"x": 1, "y": 0, "z": 2}')
    else:
        torch.save({"x": 1, "y": 0, "z": 2}, copied / name)
    assert speaker_names(copied) == ("x", "y", "z")
    assert load_voice(copied, precision="float32").speakers == {"x": 1, "y": 0, "z": 2}
