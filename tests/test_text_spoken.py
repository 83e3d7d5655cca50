"""Texts as people and programs write them, and the words that they must become: the tables in golden/spoken/."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from vits.text import clean, japanese, japanese_words, prepare
from vits.text.english import arpabet_to

GOLDEN = Path(__file__).resolve().parent / "golden"
SYMBOLS: list[str] = json.loads((GOLDEN / "text/symbols.json").read_text(encoding="utf-8"))["cjke_cleaners2"]
ROWS: list[Any] = [
    pytest.param(row, id=f"{path.stem}-{row['language']}-{row['text'][:30]!r}")
    for path in sorted((GOLDEN / "spoken").glob("*.json"))
    for row in json.loads(path.read_text(encoding="utf-8"))
    if "words" in row
]
READINGS: list[dict[str, str]] = json.loads((GOLDEN / "spoken/readings.json").read_text(encoding="utf-8"))


def heard(cleaned: str, language: str) -> str:
    """What a listener can tell apart: no marks, and blanks only where they part English words."""
    heard = "".join(" " if character in ",.!?…~-" else character for character in cleaned if character in SYMBOLS)
    return " ".join(heard.split()) if language == "en" else "".join(heard.split())


def exact(words: str, language: str) -> str:
    """The words as the cleaner has them, without any preparation; ARPAbet stands between two @."""
    if language == "auto":
        return clean(words, "cjke_cleaners2")
    tag = f"[{language.upper()}]"
    parts = re.split("@([^@]*)@", words)
    parts[::2] = [clean(f"{tag}{part}{tag}", "cjke_cleaners2") if part.strip() else "" for part in parts[::2]]
    parts[1::2] = [arpabet_to("to_ipa2", phones) for phones in parts[1::2]]
    return " ".join(parts)


@pytest.mark.parametrize("row", ROWS)
def test_a_text_is_spoken_in_the_right_words(row: dict[str, str]) -> None:
    language = row["language"]
    prepared = prepare(row["text"], "cjke_cleaners2", SYMBOLS, language)
    spoken = " ".join(sentence.cleaned for sentence in prepared.sentences)
    assert heard(spoken, language) == heard(exact(row["words"], language), language), prepared.sentences[0].normalized


@pytest.mark.parametrize("row", READINGS, ids=lambda row: row["text"])
def test_a_word_that_openjtalk_misreads_is_read_as_people_read_it(row: dict[str, str]) -> None:
    (sentence,) = prepare(row["text"], "cjke_cleaners2", SYMBOLS, "ja").sentences
    with japanese_words.used(True):
        words = japanese.words(sentence.normalized.replace("[JA]", ""))
    assert "".join(word["pron"] for word in words).replace("’", "") == row["kana"]


LANGUAGES = {"English": "en", "Chinese": "zh", "Japanese": "ja", "What is left out or changed": "en"}
SECTIONS = re.findall(
    r"^## (.+)\n((?:(?!^## ).*\n?)*)",
    (GOLDEN.parent.parent / "docs/text.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)
EXAMPLES = [
    (LANGUAGES[heading], written, spoken)
    for heading, section in SECTIONS
    for written, spoken in re.findall(r"^\| `(.+)` \| (.+) \|$", section, re.MULTILINE)
]


@pytest.mark.parametrize(("language", "written", "spoken"), EXAMPLES)
def test_the_examples_of_the_documents_are_spoken_as_they_say(language: str, written: str, spoken: str) -> None:
    prepared = prepare(written, "cjke_cleaners2", SYMBOLS, language)
    said = " ".join(sentence.cleaned for sentence in prepared.sentences)
    assert heard(said, language) == heard(exact(spoken, language), language), prepared.sentences[0].normalized


def test_the_documents_have_examples() -> None:
    assert len(EXAMPLES) > 25
