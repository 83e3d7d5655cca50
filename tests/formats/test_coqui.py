"""Coqui's voices of characters and of phonemes: equal to coqui-tts itself, strictly read."""

import importlib.util
import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.golden.formats.coqui_weights import weights
from vits import BrokenCheckpoint, UnspeakableText, load_voice
from vits.errors import BrokenCheckpoint as Refused
from vits.errors import MissingLibrary, TextError
from vits.formats import speaker_names
from vits.formats.coqui import _front_end
from vits.tables import TOP_LEVEL, Table
from vits.text import espeak_program
from vits.text.coqui import CoquiFrontEnd
from vits.text.coqui_cleaners import clean
from vits.text.dictionary import Dictionary
from vits.text.libraries import load

GOLDEN = Path(__file__).parent.parent / "golden/formats"
CHARACTERS = json.loads((GOLDEN / "coqui_ids.json").read_text(encoding="utf-8"))
PHONEMES = json.loads((GOLDEN / "coqui_phonemes.json").read_text(encoding="utf-8"))
TOKENIZERS = CHARACTERS | PHONEMES

pytestmark = pytest.mark.usefixtures("one_thread")
needs_espeak = pytest.mark.skipif(
    bool(espeak_program.missing_packages()) and os.environ.get("CI") != "true",
    reason="needs espeakng-loader, for its espeak-ng",
)


def made_voice(name: str, folder: Path) -> Path:
    """A voice with the weights that the expected samples were made with."""
    shutil.copy(GOLDEN / name / "config.json", folder)
    shapes = json.loads((GOLDEN / name / "shapes.json").read_text())
    state = {name: torch.from_numpy(array) for name, array in weights(shapes).items()}
    torch.save({"model": state, "step": 7, "config": {}}, folder / "best_model.pth")
    return folder


@pytest.fixture(scope="module")
def voice_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice of characters, with the stochastic predictor of durations."""
    return made_voice("coqui", tmp_path_factory.mktemp("coqui"))


@pytest.fixture(scope="module")
def phoneme_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice of phonemes, with the deterministic predictor of durations."""
    return made_voice("coqui_phonemes", tmp_path_factory.mktemp("coqui_phonemes"))


@pytest.mark.parametrize("name", ["coqui", "coqui_phonemes"])
def test_durations_and_samples_equal_coquis(name: str, voice_folder: Path, phoneme_folder: Path) -> None:
    folder = phoneme_folder if name == "coqui_phonemes" else voice_folder
    voice, expected = load_voice(folder, precision="float32"), np.load(GOLDEN / name / "expected.npz")
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


@needs_espeak
def test_a_voice_of_phonemes_speaks_a_text(phoneme_folder: Path) -> None:
    voice = load_voice(phoneme_folder, precision="float32")
    (sentence,) = voice.prepare("Dr. Brown: 3 cats!").sentences
    assert (voice.languages, sentence.cleaned) == (("en",), "dˈɑːktɚ bɹˈaʊn, θɹˈiː kˈæts!")
    assert sum(len(samples) for samples in voice.stream(sentence.ids, 1)) > 0


# Text


def front_end(name: str, **changes: Any) -> CoquiFrontEnd:
    table = Table(Path("config.json"), TOP_LEVEL, TOKENIZERS[name]["config"] | changes, Refused)
    return _front_end(table)[1]


@pytest.mark.parametrize("name", [*CHARACTERS, *(pytest.param(name, marks=needs_espeak) for name in PHONEMES)])
def test_ids_equal_coquis(name: str) -> None:
    texts, reader = TOKENIZERS[name]["ids"], front_end(name)
    assert {text: list(reader.read(text, Counter(), normalize=False)[0].ids) for text in texts} == texts


def test_characters_that_the_voice_lacks_are_counted() -> None:
    prepared = front_end("multilingual").prepare("Hello €1")
    assert prepared.dropped == {"€": 1, "1": 1}
    with pytest.raises(UnspeakableText):
        front_end("multilingual").prepare("€1")


@needs_espeak
def test_phonemes_that_the_voice_lacks_are_counted() -> None:
    prepared = front_end("en_few").prepare("She is there.")
    assert prepared.sentences[0].cleaned == "ʃiː ɪz ðˈɛɹ."
    assert prepared.dropped == {"ð": 1, "ɹ": 1}


@needs_espeak
def test_a_text_without_sounds_is_not_spoken() -> None:
    with pytest.raises(UnspeakableText):
        front_end("en").prepare("... ?!")


@needs_espeak
def test_dictionary_and_markup_are_as_meant() -> None:
    prepared = front_end("en").prepare("**Kyoto** 🙂", dictionary=Dictionary.read({"Kyoto": "key oto"}))
    assert (prepared.sentences[0].cleaned, prepared.dropped) == ("kˈiː ˈoʊɾoʊ", {"🙂": 1})


@needs_espeak
def test_numbers_are_english_words_only_where_the_voice_is_english_or_the_text_is_to_stay() -> None:
    german = front_end("de")
    assert german.prepare("3 Katzen").sentences[0].cleaned == "dɾˈaɪ kˈatsən"
    assert german.prepare("3 Katzen", normalize=False).sentences[0].cleaned == german._phonemes("three Katzen")
    assert front_end("en").prepare("3 cats").sentences[0].cleaned == "θɹˈiː kˈæts"


@needs_espeak
def test_what_follows_a_mark_at_the_beginning_is_spoken() -> None:
    """Coqui's own restoring of marks loses a text whose only mark is its first."""
    assert front_end("en").prepare("—Hello").sentences[0].cleaned == "—həlˈoʊ"


def test_a_blank_stays_after_a_time() -> None:
    """Coqui's own cleaner joins "a m" and the word that follows."""
    assert clean("at 10:30 today", "english_cleaners", "en") == "at ten thirty a m today"


def test_what_and_is_depends_on_the_languages_that_the_config_has() -> None:
    def read(**changes: Any) -> str | None:
        return front_end("multilingual", **changes).cleaner_language

    assert (read(), read(phoneme_language="pt-br"), read(languages=["fr-fr"])) == ("en", "pt", "fr")
    assert (read(datasets=[{"language": "ca"}]), read(languages=["fr", "de"])) == ("ca", None)
    assert clean("a & b", "multilingual_cleaners", "pt") == "a e b"


@needs_espeak
def test_a_language_that_espeak_lacks_is_a_plain_error() -> None:
    with pytest.raises(TextError, match="espeak-ng has no voice 'en-xx', which this model needs"):
        front_end("en", phoneme_language="en-xx").prepare("Hello")


@needs_espeak
def test_a_text_that_ends_espeak_is_an_error_and_the_next_one_is_spoken() -> None:
    reader = front_end("en", phoneme_language="vi", text_cleaner="no_cleaners")
    with pytest.raises(UnspeakableText, match="espeak-ng fails at this text: <-C"):
        reader.prepare("<-C")
    assert reader.prepare("Xin chào").sentences


def test_espeak_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    espeak_program._child.end()
    monkeypatch.setattr(espeak_program, "load", load.__wrapped__)
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    reader = front_end("en")
    assert reader.missing_packages == ("espeakng-loader==0.2.4",)
    assert front_end("basic").missing_packages == ()
    with pytest.raises(MissingLibrary, match="needs: pip install espeakng-loader==0.2.4"):
        reader.prepare("Hello")


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
    ({"use_phonemes": True}, "top level: phoneme_language = None: expected a language of espeak-ng's, such as en-us"),
    ({"text_cleaner": "italian_cleaners"}, "top level: text_cleaner = 'italian_cleaners': expected one of basic"),
    ({"model_args__use_d_vector_file": True}, "model_args: use_d_vector_file = True: expected False: other networks"),
    ({"model_args__use_language_embedding": True}, "model_args: use_language_embedding = True: expected False"),
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


PHONEMIZERS = [
    ({"phonemizer": "gruut"}, "phonemizer = 'gruut': expected \"espeak\": no other is spoken here"),
    ({"phonemizer": "multi_phonemizer"}, "phonemizer = 'multi_phonemizer': expected \"espeak\": no other is spoken"),
    (
        {"phonemizer": None, "phoneme_language": "ja-jp"},
        'phonemizer = None: expected "espeak": that of ja-jp is another',
    ),
    ({"phoneme_language": 3}, "phoneme_language = 3: expected a language of espeak-ng's, such as en-us"),
]


@pytest.mark.parametrize(("changes", "words"), PHONEMIZERS)
def test_other_phonemizers_than_espeak_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BrokenCheckpoint) as error:
        front_end("en", **changes)
    assert f"top level: {words}" in str(error.value)


@pytest.mark.parametrize("name", ["speaker_ids.json", "speakers.pth"])
def test_speakers_may_lie_in_a_file_of_their_own(name: str, copied: Path) -> None:
    change(copied, speakers=None, speakers_file=f"/elsewhere/{name}")
    if name.endswith("json"):
        (copied / name).write_text('{"x": 1, "y": 0, "z": 2}')
    else:
        torch.save({"x": 1, "y": 0, "z": 2}, copied / name)
    assert speaker_names(copied) == ("x", "y", "z")
    assert load_voice(copied, precision="float32").speakers == {"x": 1, "y": 0, "z": 2}
