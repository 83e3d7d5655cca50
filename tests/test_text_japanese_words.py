"""The words that prepared Japanese is read with, beside OpenJTalk's own."""

import json
from pathlib import Path

import pytest

from vits.errors import MissingLibrary
from vits.text import clean, english, japanese, japanese_names, japanese_words, katakana_words, prepare
from vits.text.cleaners import find

SYMBOLS: dict[str, list[str]] = json.loads(
    (Path(__file__).resolve().parent / "golden/text/symbols.json").read_text(encoding="utf-8")
)


def test_the_compiled_dictionary_is_that_of_the_table(tmp_path: Path) -> None:
    japanese_words.compile_to(tmp_path / "words.dic")
    assert (tmp_path / "words.dic").read_bytes() == japanese_words.COMPILED.read_bytes()


@pytest.mark.parametrize("frame", ["{}", "{}が", "私は{}"])
def test_each_word_is_read_as_the_table_says(frame: str) -> None:
    with japanese_words.used(True):
        read = {
            word: "".join(part["pron"] for part in japanese.words(frame.format(word))).replace("’", "")
            for word in japanese_words.readings()
        }
    assert {word: kana for word, kana in japanese_words.readings().items() if kana not in read[word]} == {}


def test_each_word_is_written_as_it_stands_once_variants_are_standard() -> None:
    assert [word for word in japanese_words.readings() if japanese_names.standard(word) != word] == []


@pytest.mark.parametrize(
    "cleaner", ["japanese_cleaners", "japanese_cleaners2", "zh_ja_mixture_cleaners", "cjke_cleaners2"]
)
def test_the_exact_cleaners_and_texts_that_are_not_normalized_are_read_without_the_words(cleaner: str) -> None:
    exact = clean("[JA]滑舌[JA]" if find(cleaner).tagged else "滑舌", cleaner)
    texts = {
        normalize: prepare("滑舌", cleaner, SYMBOLS[cleaner], "ja", normalize=normalize).sentences[0].cleaned
        for normalize in (True, False)
    }
    assert texts[False].strip() == exact.strip()
    assert texts[True].strip() != exact.strip()


def test_without_the_english_dictionary_only_the_table_is_katakana(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(word: str) -> list[str]:
        raise MissingLibrary("English", ("eng_to_ipa",))

    monkeypatch.setattr(english, "pronunciations", missing)
    for function in (katakana_words._has_dictionary, katakana_words._spoken):
        function.cache_clear()
    try:
        assert katakana_words.spell("GitHubのframework") == "ギットハブのframework"
    finally:
        for function in (katakana_words._has_dictionary, katakana_words._spoken):
            function.cache_clear()
