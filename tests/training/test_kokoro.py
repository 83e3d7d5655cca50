"""Kokoro as a teacher: how texts are spelt for it, and whose time is whose."""

import re
from typing import Any

import numpy as np
import pytest

from training import kokoro
from training.alignment import MARKS, symbol_starts
from training.kokoro import DURATIONS, RATE_HZ, SAMPLES_A_FRAME, Kokoro, Piece, phones
from training.texts import made_sentences
from vits.text import clean


def letters(text: str, language: str) -> str:
    return "".join(piece.letters for piece in kokoro.PIECES[language](text))


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("Another judge's coffee.", "ənˈʌðəɹ ʤˈʌʤɪz kˈɔfi."),
        ("The church, you know?", "ðə ʧˈɜɹʧ, ju nˈO?"),
        ("I would like to.", "I wʊd lˈIk tə."),
        ("It does.", "ɪt dʌz."),
    ],
)
def test_english_is_spelt_with_stress_before_vowels_and_diphthongs_as_one_letter(text: str, spelt: str) -> None:
    assert letters(text, "en") == spelt


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("你好，今天天气很好。", "ni↓xau↓, ʨi→ntʰjɛ→ntʰjɛ→nʨʰi↘ xə↓n xau↓."),
        ("四十二个人，日本，自己。", "sɨ↘ʂɨ↗ɚ↘kɤ↘ ɻə↗n, ɻɨ↘pə↓n, ʦɨ↘ʨi↓."),
        ("永远用月亮？", "jʊ↓ŋɥɛ↓n jʊ↘ŋ ɥe↘lja↘ŋ?"),
    ],
)
def test_mandarin_is_spelt_with_tones_after_vowels(text: str, spelt: str) -> None:
    # As misaki 0.9.4 spells it, but for the words that the two segmenters cut otherwise, and blanks after marks.
    assert re.sub(r"\s+", " ", letters(text, "zh")).strip() == spelt


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_sound_is_also_in_the_symbols_that_our_front_end_writes(language: str) -> None:
    for text in made_sentences(language, 120):
        cleaned = clean(f"[{language.upper()}]{text}[{language.upper()}]", "cjke_cleaners2")
        if re.search("s[⁼ʰ]?[,.!?]", cleaned):
            continue  # the original's rules leave out the vowel of a toneless zi or si before a mark
        ours = [s for s in cleaned if s not in MARKS and s not in " ,.!?"]
        theirs = "".join(piece.symbols for piece in kokoro.PIECES[language](text)).replace(" ", "")
        assert theirs == "".join(ours), text


def test_what_a_text_has_beyond_the_alphabet_is_handed_on_to_be_refused() -> None:
    assert "~" in letters("你好~", "zh")


# Time


LETTERS = {"h": 1, "I": 2, ".": 3, "ˈ": 4, ",": 5}


class Session:
    """What onnxruntime would give for a network that says one frame for each token's number, and one more."""

    def run(self, names: list[str], inputs: dict[str, Any]) -> list[Any]:
        """Return the outputs."""
        assert names == ["audio", DURATIONS]
        self.inputs = inputs
        frames = inputs["tokens"][0] + 1
        return [np.zeros((1, int(frames.sum()) * SAMPLES_A_FRAME)), frames]


def test_each_piece_has_the_time_of_its_letters() -> None:
    session = Session()
    style = np.arange(510 * 256, dtype=np.float32).reshape(510, 256)
    samples, seconds = Kokoro(session, LETTERS).spoken([Piece("h", "h"), Piece("ˈI", "aɪ"), Piece(".", " ")], style)
    assert len(samples) == sum((1, 2, 5, 3, 4, 1)) * SAMPLES_A_FRAME
    assert seconds == pytest.approx([0.025, 0.05, 0.2, 0.1, 0.025])
    assert session.inputs["tokens"].tolist() == [[0, 1, 4, 2, 3, 0]]
    np.testing.assert_array_equal(session.inputs["style"][0], style[3])  # chosen by the number of letters


def noise(*parts: tuple[float, float]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return stretches of noise, each of so many seconds and so loud."""
    random = np.random.default_rng(0)
    return np.concatenate([random.normal(0, loud, round(s * RATE_HZ)).astype(np.float32) for s, loud in parts])


def test_a_pause_is_given_back_what_the_sound_before_it_has_of_its_silence() -> None:
    pieces = [Piece("h", "h"), Piece("I", "aɪ"), Piece(",", " "), Piece(" ", " "), Piece("I", "aɪ")]
    samples = noise((0.3, 0.0), (0.3, 0.1), (0.4, 0.0), (0.2, 0.1), (0.3, 0.0))
    # As Kokoro counts: the first diphthong lasts until 0.9, though it is heard until 0.6.
    made = phones(pieces, [0.3, 0.1, 0.5, 0.05, 0.05, 0.4, 0.1], samples)
    assert [symbols for symbols, _, _ in made] == [" ", "h", "aɪ", " ", "aɪ", " "]
    starts = [start for _, start, _ in made]
    assert starts == pytest.approx([0.0, 0.3, 0.4, 0.6, 1.0, 1.2], abs=0.006)
    assert all(a[2] == b[1] for a, b in zip(made, made[1:], strict=False))


def test_a_stop_within_a_word_is_no_pause() -> None:
    pieces = [Piece("a", "a"), Piece(" ", " "), Piece("a", "a")]
    samples = noise((0.2, 0.1), (0.1, 0.0), (0.2, 0.1))
    made = phones(pieces, [0.0, 0.2, 0.05, 0.25, 0.0], samples)
    assert made[2][0] == " "
    assert made[2][1:] == pytest.approx((0.2, 0.25))


def test_what_has_no_symbols_belongs_to_the_next_sound() -> None:
    pieces = [Piece("a", "a"), Piece("ˈ", ""), Piece("I", "aɪ")]
    made = phones(pieces, [0.0, 0.1, 0.05, 0.1, 0.0], noise((0.25, 0.1)))
    assert made[2][0] == "aɪ"
    assert made[2][1:] == pytest.approx((0.1, 0.25))


def test_pieces_meet_the_text_that_they_are_of() -> None:
    text = "Would you like a better chair, or another?"
    pieces = list(kokoro.english(text))
    seconds = [0.1, *[0.1] * len(pieces), 0.1]
    timed = phones(pieces, seconds, noise((0.1 * len(seconds), 0.1)))
    starts = symbol_starts(clean(f"[EN]{text}[EN]", "cjke_cleaners2"), timed)
    assert starts is not None
    assert starts == sorted(starts)


def test_a_voice_can_be_the_mean_of_several(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "voices").mkdir()
    for name, value in (("a", 1.0), ("b", 3.0)):
        np.full(510 * 256, value, "<f4").tofile(tmp_path / "voices" / f"{name}.bin")
    monkeypatch.setenv(kokoro.PACKAGES, str(tmp_path))
    kokoro.style.cache_clear()
    assert kokoro.style("a+b").shape == (510, 256)
    assert set(kokoro.style("a+b").ravel()) == {2.0}
    kokoro.style.cache_clear()
