"""The steps of a preparation take time in proportion to the text, and one that takes too long can be ended."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

import pytest

from vits import TextError
from vits.errors import BadDictionary
from vits.text import (
    MAX_CHARACTERS,
    PreparationTooLong,
    auto,
    dictionary,
    english_heteronyms,
    english_tokens,
    katakana,
    katakana_words,
    laughs,
    markup,
    normalize,
    normalize_cjk,
    normalize_english,
    numbers,
    phonemes,
    pinyin,
    prepare,
    sentences,
)
from vits.text.auto import Span
from vits.text.normalize import unify
from vits.text.preparation import _Slices

SYMBOLS: dict[str, list[str]] = json.loads(
    (Path(__file__).resolve().parent / "golden/text/symbols.json").read_text(encoding="utf-8")
)
CJKE = ("zh", "ja", "ko", "en")
CHARACTERS = 20_000
MOST_S = 10.0
"""Processor time that the characters may take: at least ten times what a linear step needs, and a tenth of
what a quadratic one does."""

NASTY = [
    "人a",
    "人a,",
    "人あ",
    "ーｗ",
    "1",
    "1.",
    "1,234",
    "\n",
    " ",
    " \n",
    ".",
    "...a",
    "a.",
    "A. ",
    "”",
    "。」",
    "\u0301",
    "a\u0316\u0301\u0323",
    "[ZH]",
    "[ZH]人[ZH]a",
    "[ZH][JA][EN][KO]",
    "-",
    "'",
    "$1",
    "好你",
    "\ud800\udc00",
]


def repeated(part: str) -> str:
    return (part * CHARACTERS)[:CHARACTERS]


def slices(text: str) -> list[list[Span]]:
    cut = _Slices([Span(text[start : start + 3], "en") for start in range(0, len(text), 3)])
    return [cut.between(start, start + 5) for start in range(0, len(text), 5)]


STEPS: dict[str, Callable[[str], object]] = {
    "unify": unify,
    "spans": lambda text: auto.spans(text, CJKE),
    "spans in one language": lambda text: auto.spans(text, CJKE, language="en"),
    "split": lambda text: sentences.split(text, MAX_CHARACTERS),
    "slices": slices,
    "katakana": katakana_words.spell,
    "readings": lambda text: pinyin.bopomofo(text.replace("a", "银行")),
}


@pytest.mark.parametrize("part", NASTY)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_takes_time_in_proportion(step: str, part: str) -> None:
    text = repeated(part)
    started = process_time()
    STEPS[step](text)
    assert process_time() - started < MOST_S


RULES_OF = [
    auto,
    dictionary,
    english_heteronyms,
    english_tokens,
    katakana,
    katakana_words,
    laughs,
    markup,
    normalize,
    normalize_cjk,
    normalize_english,
    numbers,
    phonemes,
]
SLOW_TO_SCAN = [
    "1",
    "1 ",
    "1,",
    "1.",
    "1-",
    "a",
    "a ",
    "A-",
    "I",
    "[",
    "(",
    "<",
    "<a ",
    "*",
    "**a ",
    "_a",
    "`",
    "&a",
    "#",
    "人",
    "人1-",
    "一",
    "http://a",
    "^1",
    "\n",
    " ",
    "-",
    ":)",
    "a.",
    "a,",
    "read ",
    "2万",
    "$1",
    "あw",
    "笑",
    "(笑",
    "aB",
    "a'",
    "kk",
]


def rules() -> Iterator[tuple[str, re.Pattern[str]]]:
    """The regular expressions of the modules that prepare a text, by their names."""
    for module in RULES_OF:
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                yield f"{module.__name__}.{name}", value
            elif isinstance(value, list) and value and isinstance(value[0], tuple):
                yield from (
                    (f"{module.__name__}.{name}", pattern) for pattern, *_ in value if isinstance(pattern, re.Pattern)
                )


@pytest.mark.parametrize("part", SLOW_TO_SCAN)
def test_every_rule_scans_a_long_text_in_proportion(part: str) -> None:
    text = (part * 100_000)[:100_000]
    for name, pattern in rules():
        started = process_time()
        for _ in pattern.finditer(text):
            pass
        assert process_time() - started < MOST_S, name


def test_slices_are_the_spans_of_the_characters_asked_for() -> None:
    cut = _Slices([Span("ab", "en"), Span("你", "zh"), Span("c", "en")])
    assert cut.between(1, 3) == [Span("b", "en"), Span("你", "zh")]
    assert cut.between(2, 4) == [Span("你", "zh"), Span("c", "en")]
    assert cut.between(0, 0) == []
    assert _Slices([]).between(0, 1) == []


def test_the_check_is_called_before_each_sentence_and_ends_the_preparation() -> None:
    calls: list[None] = []

    class Cancelled(Exception):
        pass

    def check() -> None:
        calls.append(None)
        if len(calls) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        prepare("One. Two. Three. Four. Five.", "cjke_cleaners2", SYMBOLS["cjke_cleaners2"], check=check)
    assert len(calls) == 3


def test_a_text_that_takes_too_long_is_refused() -> None:
    with pytest.raises(PreparationTooLong, match="0 seconds"):
        prepare("One. Two.", "cjke_cleaners2", SYMBOLS["cjke_cleaners2"], timeout_s=0)
    assert issubclass(PreparationTooLong, TextError)


def test_marks_beyond_those_of_any_script_are_left_out() -> None:
    assert unify("a" + "\u0301" * 1000) == "á" + "\u0301" * 29
    assert unify("a\u0323\u0301") == "\u1ea1\u0301"


def test_a_large_dictionary_takes_no_longer_at_a_place_than_a_small_one() -> None:
    entries = {f"a{number:04x}{'b' * (number % 90)}": "c" for number in range(dictionary.MAX_ENTRIES)}
    started = process_time()
    assert dictionary.Dictionary.read(entries).spell("a" * CHARACTERS, phonemes_allowed=False) == "a" * CHARACTERS
    assert process_time() - started < MOST_S


@pytest.mark.parametrize("spoken", ["天" * 240, "1" * 240, "a " * 120])
def test_spoken_forms_that_make_a_text_far_longer_are_refused(spoken: str) -> None:
    table = dictionary.Dictionary.read({"人": spoken})
    started = process_time()
    with pytest.raises(BadDictionary, match="over 4 times as long"):
        prepare("人" * 4096, "cjke_cleaners2", SYMBOLS["cjke_cleaners2"], dictionary=table)
    with pytest.raises(BadDictionary, match="over 4 times as long"):
        table.spell("人" * 4096, phonemes_allowed=False)
    assert process_time() - started < MOST_S


def test_spoken_forms_may_make_a_short_text_long() -> None:
    table = dictionary.Dictionary.read({"人": "天" * 240})
    assert table.spell("人" * 40, phonemes_allowed=False) == "天" * 240 * 40
