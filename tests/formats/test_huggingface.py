"""Voices in Hugging Face's layout: equal to transformers' own VitsModel and VitsTokenizer, strictly read."""

import importlib.util
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vits import BadDictionary, BrokenCheckpoint, Dictionary, MissingLibrary, UnspeakableText, Voice, load_voice
from vits.formats.huggingface import _tokenizer
from vits.formats.safetensors_file import read_safetensors
from vits.text.characters import CharacterFrontEnd

GOLDEN = Path(__file__).parent.parent / "golden/formats"
NAMES = ("hf_many_sdp", "hf_single_dp")
TOKENIZERS = json.loads((GOLDEN / "hf_tokenizers/ids.json").read_text(encoding="utf-8"))
NEEDS = {"mms_uroman": "uroman", "phonemes": "phonemizer"}

pytestmark = pytest.mark.usefixtures("one_thread")


def installed(package: str) -> None:
    if importlib.util.find_spec(package) is None and os.environ.get("CI") != "true":
        pytest.skip(f"needs {package}")


@cache
def voice_of(name: str) -> Voice:
    return load_voice(GOLDEN / name, precision="float32")


def samples_of(voice: Voice, expected: Any, number: int) -> Any:
    ids, speaker, scale = (expected[f"{number}_{key}"] for key in ("ids", "speaker", "length_scale"))
    return np.concatenate(list(voice.stream(ids, int(speaker), 0.0, 0.0, float(scale))))


# Parity with transformers


@pytest.mark.parametrize("name", NAMES)
def test_samples_equal_those_of_transformers(name: str) -> None:
    expected = np.load(GOLDEN / name / "expected.npz")
    for number in range(3):
        samples = samples_of(voice_of(name), expected, number)
        assert samples.shape == expected[f"{number}_audio"].shape  # equal durations, then
        assert float(np.abs(samples - expected[f"{number}_audio"]).max()) < 1e-4


def as_a_pickle(folder: Path) -> Path:
    torch.save(read_safetensors(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def in_float16(folder: Path) -> Path:
    tensors = {name: tensor.half() for name, tensor in read_safetensors(folder / "model.safetensors").items()}
    torch.save(tensors, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def by_its_weights(folder: Path) -> Path:
    return folder / "model.safetensors"


@pytest.mark.parametrize("layout", [as_a_pickle, in_float16, by_its_weights])
def test_every_layout_gives_the_same_voice(layout: Callable[[Path], Path], copied: Path) -> None:
    expected = np.load(GOLDEN / "hf_many_sdp/expected.npz")
    samples = samples_of(load_voice(layout(copied), precision="float32"), expected, 0)
    assert samples.shape == expected["0_audio"].shape
    assert float(np.abs(samples - expected["0_audio"]).max()) < (1e-2 if layout is in_float16 else 1e-4)


# What a voice says of itself


def test_a_voice_is_described_by_its_files(copied: Path) -> None:
    (copied / "README.md").write_text("---\nlanguage: en\nlicense: cc-by-nc-4.0\n---\n# MMS\n")
    change(copied, _name_or_path="facebook/mms-tts-eng")
    voice = load_voice(copied)
    assert (voice.family, voice.sample_rate_hz, voice.languages) == ("Hugging Face", 16000, ("en",))
    assert voice.speakers == {"0": 0, "1": 1, "2": 2}
    assert voice.defaults == {"noise_scale": 0.5, "noise_scale_w": 0.6, "length_scale": 1.25}
    assert (voice.license, voice.source) == ("cc-by-nc-4.0", "facebook/mms-tts-eng")
    assert [path.name for path in voice.files] == [
        "model.safetensors",
        "config.json",
        "vocab.json",
        "tokenizer_config.json",
    ]


# Text


def front_end(name: str) -> CharacterFrontEnd:
    return _tokenizer(GOLDEN / "hf_tokenizers" / name, 100)


def known_texts(name: str) -> dict[str, list[int]]:
    """What transformers made of texts, but for those in which it gave the id of a row that no network has."""
    unknown = len(front_end(name).vocabulary)
    return {text: ids for text, ids in TOKENIZERS[name].items() if unknown not in ids}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_ids_equal_those_of_transformers(name: str) -> None:
    if name in NEEDS:
        installed(NEEDS[name])
    texts, reader = known_texts(name), front_end(name)
    assert len(texts) >= 3
    assert {text: list(reader.read(text, Counter(), normalize=True)[0].ids) for text in texts} == texts


def test_a_character_without_a_row_is_left_out_and_counted() -> None:
    prepared = front_end("as_written").prepare("Hello €")
    assert prepared.dropped == {"H": 1, "€": 1}
    assert prepared.sentences[0].ids == (0, 5, 0, 11, 0, 11, 0, 14, 0, 26, 0)


def test_a_text_is_cut_into_sentences_first() -> None:
    prepared = front_end("mms").prepare("One. Two!\n\nThree?")
    assert [sentence.written for sentence in prepared.sentences] == ["One.", "Two!", "Three?"]


def test_a_text_in_other_letters_is_refused() -> None:
    with pytest.raises(UnspeakableText):
        front_end("mms").prepare("你好")


def test_without_uroman_the_line_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vits.text.characters._romanizer", lambda: (_ for _ in ()).throw(MissingLibrary("x", ("y",))))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert front_end("mms_uroman").missing_packages == ("uroman==1.3.1.1",)
    assert front_end("mms").missing_packages == ()
    with pytest.raises(MissingLibrary):
        front_end("mms_uroman").prepare("привет")
    assert front_end("mms_uroman").prepare("ok").sentences


# Refusals


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of a small voice, to be broken."""
    shutil.copytree(GOLDEN / "hf_many_sdp", tmp_path / "voice")
    return tmp_path / "voice"


def change(folder: Path, name: str = "config.json", **values: Any) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values))


def refusal(checkpoint: Path) -> str:
    with pytest.raises(BrokenCheckpoint) as error:
        load_voice(checkpoint)
    assert "\n" not in str(error.value)
    return str(error.value)


CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"model_type": "bert"}, "model_type = 'bert': expected \"vits\""),
    ({"prior_encoder_num_flows": 6}, "prior_encoder_num_flows = 6: expected 4, which every VITS has"),
    ({"window_size": 8}, "window_size = 8: expected 4, which every VITS has"),
    ({"sampling_rate": 1}, "sampling_rate = 1: expected a whole number from 8000 to 192000"),
    ({"hidden_size": 10**9}, "hidden_channels = 1000000000: expected a whole number from 1 to 16384"),
]


@pytest.mark.parametrize(("values", "words"), CONFIGS)
def test_a_broken_config_is_refused_in_one_line(values: dict[str, Any], words: str, copied: Path) -> None:
    change(copied, **values)
    assert refusal(copied).startswith(f"{copied / 'config.json'}: top level: {words}")


def test_sizes_that_the_weights_do_not_have_are_named(copied: Path) -> None:
    change(copied, ffn_dim=48)
    assert "shapes differ from those of the config: enc_p.encoder.ffn_layers.0.conv_1.weight" in refusal(copied)


def test_a_vocabulary_of_something_else_is_refused(copied: Path) -> None:
    (copied / "vocab.json").write_text('["a"]')
    assert refusal(copied).endswith("vocab.json: expected a table of characters and their ids")


@pytest.mark.parametrize("size", [0, 3, 9, 500, 300_000])
def test_cut_weights_are_refused(size: int, copied: Path) -> None:
    path = copied / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    assert refusal(copied).startswith(f"{path}: is no ")


def test_a_damaged_header_is_refused(copied: Path) -> None:
    path = copied / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"shape":[', b'"shape":7 ', 1))
    assert refusal(copied).startswith(f"{path}: is no whole safetensors file: ")


# The reader of safetensors files


@pytest.mark.parametrize("name", NAMES)
def test_tensors_are_those_that_the_safetensors_package_reads(name: str) -> None:
    path = GOLDEN / name / "model.safetensors"
    expected = load_file(path)
    found = read_safetensors(path)
    assert {*found} == {*expected}
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def test_a_dictionary_holds_words_alone_for_characters() -> None:
    voice = load_voice(GOLDEN / "hf_single_dp", precision="float32")
    text = "abc"
    words = Dictionary.read({"☃": text})
    assert voice.prepare("☃", dictionary=words).sentences[0].ids == voice.prepare(text).sentences[0].ids
    for spoken in ("[[a]]", "hang2"):
        with pytest.raises(BadDictionary, match="this voice does not read"):
            voice.prepare("行", dictionary=Dictionary.read({"行": spoken}))
