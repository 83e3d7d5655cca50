"""Pronunciations of the user's own: a dictionary, and what stands between [[ and ]]."""

import json
from pathlib import Path

import pytest

from vits.text import BadDictionary, Dictionary, NothingToSay, TextError, UnspeakableText, prepare

SYMBOLS: dict[str, list[str]] = json.loads(
    (Path(__file__).resolve().parent / "golden/text/symbols.json").read_text(encoding="utf-8")
)


def spoken(text: str, table: dict[str, object], lang: str = "auto", cleaner: str = "cjke_cleaners2") -> str:
    prepared = prepare(text, cleaner, SYMBOLS[cleaner], lang, dictionary=Dictionary.read(table))
    return " ".join(" ".join(sentence.cleaned for sentence in prepared.sentences).split())


# --- The dictionary ---


@pytest.mark.parametrize(
    ("text", "table", "same"),
    [
        ("Ask Siobhan now", {"Siobhan": "shivawn"}, "Ask shivawn now"),
        ("SQL and sql", {"SQL": "sequel"}, "sequel and sequel"),
        ("SQL, MySQLdb", {"SQL": "sequel"}, "sequel, MySQLdb"),
        ("New York City", {"New York": "one", "New York City": "two"}, "two"),
        ("US us", {"US": {"spoken": "States", "case": True}}, "States us"),
        ("C++ is old", {"C++": "see plus plus"}, "see plus plus is old"),
        ("行长来了", {"行长": "杭掌"}, "杭掌来了"),
        ("東京です", {"東京": "とうきょう"}, "とうきょうです"),
        ("カフェラテ", {"カフェ": "喫茶"}, "喫茶ラテ"),
        ("<3 you", {"<3": "love"}, "love you"),
        ("İx ıx", {"ix": "nine"}, "nine nine"),
    ],
)
def test_a_written_form_is_spoken_as_the_dictionary_says(text: str, table: dict[str, object], same: str) -> None:
    assert spoken(text, table) == spoken(same, {})


@pytest.mark.parametrize(
    ("text", "spoken_form", "part"),
    [
        ("行长来了", "hang2 zhang3", "xɑŋ↑ts`⁼ɑŋ↓↑"),
        ("Siobhan came", "SH AH0 V AO1 N", "ʃəˈvɔn"),
        ("Siobhan came", "[[ʃəvɔn]]", "ʃəvɔn"),
    ],
)
def test_a_spoken_form_may_be_phonemes(text: str, spoken_form: str, part: str) -> None:
    written = text[:2] if text[0] == "行" else text.split()[0]
    cleaned = spoken(text, {written: spoken_form})
    assert part in cleaned
    assert cleaned.endswith(spoken(text.removeprefix(written), {}))


def test_what_looks_like_pinyin_is_text_where_the_syllables_do_not_match() -> None:
    assert spoken("行长", {"行长": "a1"}) == spoken("a1", {})


def test_the_part_that_was_replaced_is_kept_as_it_was_written() -> None:
    prepared = prepare(
        "Siobhan came.", "cjke_cleaners2", SYMBOLS["cjke_cleaners2"], dictionary=Dictionary.read({"Siobhan": "[[ʃə]]"})
    )
    assert prepared.sentences[0].written == "Siobhan came."


def test_the_own_dictionary_goes_before_that_of_the_server() -> None:
    own, servers = Dictionary.read({"a": "one"}), Dictionary.read({"a": "two", "b": "three"})
    assert own.over(servers) == Dictionary.read({"a": "one", "b": "three"})
    assert hash(own.over(servers)) == hash(Dictionary.read({"a": "one", "b": "three"}))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"": "x"}, "1 to 100 characters"),
        ({" a": "x"}, "no blank"),
        ({"a" * 101: "x"}, "1 to 100"),
        ({"a": 3}, "'a'"),
        ({"a": "x" * 241}, "at most 240"),
        ({"a": {"spoken": "x", "kase": True}}, "kase"),
        ({"a": {"spoken": "x", "case": "yes"}}, "true or false"),
        ({"a": {"case": True}}, "'a'"),
        ({"a\udc00": "x"}, "half a character"),
        ({"a": {"spoken": "\ud800"}}, "half a character"),
        ({str(number): "x" for number in range(10_001)}, "10001 entries"),
    ],
)
def test_an_unusable_entry_is_named(table: dict[str, object], message: str) -> None:
    with pytest.raises(BadDictionary, match=message):
        Dictionary.read(table)


def test_every_cleaner_takes_a_dictionary() -> None:
    assert spoken("你好行长", {"行长": "hang2 zhang3"}, cleaner="chinese_cleaners") == "ㄋㄧˇㄏㄠˇㄏㄤˊㄓㄤˇ。"
    assert spoken("はい橋", {"橋": "はし"}, cleaner="japanese_cleaners") == spoken(
        "はいはし", {}, cleaner="japanese_cleaners"
    )


# --- Inline ---


def test_phonemes_between_brackets_are_spoken_as_they_are() -> None:
    assert spoken("Say [[həˈloʊ]], please.", {}) == "seɪ həˈloʊ, pliz."
    assert spoken("Say [[HH AH0 L OW1]].", {}) == "seɪ həˈloʊ."
    assert spoken("他是[[hang2 zhang3]]。", {}) == "tʰa→ s`ɹ`↓ xɑŋ↑ts`⁼ɑŋ↓↑."
    assert spoken("はい[[hai]]", {}, cleaner="japanese_cleaners") == "ha↓ihai"


def test_brackets_that_hold_no_phonemes_are_text() -> None:
    assert spoken("See [[Main Page]] now", {}) == spoken("See Main Page now", {})


def test_pinyin_for_a_voice_without_chinese_is_refused() -> None:
    with pytest.raises(UnspeakableText, match="pinyin"):
        spoken("はい[[hang2]]", {}, cleaner="japanese_cleaners")


def test_private_characters_in_a_text_stand_for_nothing() -> None:
    assert spoken("Hi \ue000\U000f0000there", {}) == spoken("Hi there", {})


# --- Nothing to say, and languages by their tags ---


@pytest.mark.parametrize(
    "text", ["", "...", "---", "😀", "”", " \n", "(^_^)", "<b></b>", "<think>well</think>", "=====", "：）"]
)
def test_a_text_without_letters_and_digits_has_an_error_of_its_own(text: str) -> None:
    with pytest.raises(NothingToSay):
        spoken(text, {})


def test_a_text_that_the_voice_cannot_speak_is_another_error() -> None:
    with pytest.raises(UnspeakableText) as caught:
        spoken("Привет", {})
    assert not isinstance(caught.value, NothingToSay)
    assert issubclass(NothingToSay, TextError)


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("en-US", "en"),
        ("EN", "en"),
        ("en_GB", "en"),
        ("zh-CN", "zh"),
        ("zh-Hant-TW", "zh"),
        ("cmn-Hans", "zh"),
        ("ja-JP", "ja"),
        ("jpn", "ja"),
        ("ko-KR", "ko"),
        ("AUTO", "auto"),
    ],
)
def test_languages_are_named_by_tags_of_bcp_47(tag: str, language: str) -> None:
    text = "안녕 2" if language == "ko" else "Chapter 2"
    assert spoken(text, {}, tag) == spoken(text, {}, language)


@pytest.mark.parametrize("tag", ["xx", "auto-US", "english", "", "e", "fr-FR"])
def test_other_tags_are_refused(tag: str) -> None:
    with pytest.raises(TextError, match="unknown language"):
        spoken("hi", {}, tag)
