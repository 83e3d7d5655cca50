"""Any text on its way to a model: languages by script, sentences, what could not be spoken."""

import json
from pathlib import Path

import pytest

from vits.text import Prepared, UnknownLanguage, UnspeakableText, auto, prepare, sentences
from vits.text.preparation import MAX_SYMBOLS

SYMBOLS: dict[str, list[str]] = json.loads(
    (Path(__file__).resolve().parent / "golden/text/symbols.json").read_text(encoding="utf-8")
)
CJKE = ("zh", "ja", "ko", "en")


def prepared(text: str, cleaner: str = "cjke_cleaners2", lang: str = "auto", normalize: bool = True) -> Prepared:
    return prepare(text, cleaner, SYMBOLS[cleaner], lang, normalize=normalize)


def spans(text: str, *, languages: tuple[str, ...] = CJKE, declared: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    return [(span.language or "-", span.text) for span in auto.spans(text, languages, declared)]


# --- Languages ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "你好，world。これはテストです。",
            [("zh", "你好，"), ("en", "world。"), ("ja", "これはテストです。")],
        ),
        ("私はPythonが好き", [("ja", "私は"), ("en", "Python"), ("ja", "が好き")]),
        ("日本語、中国語を話します", [("ja", "日本語、中国語を話します")]),
        ("髙橋さんと德川家康の話", [("ja", "髙橋さんと德川家康の話")]),
        ("안녕 hello", [("ko", "안녕 "), ("en", "hello")]),
        ("我们去吃ラーメン吧", [("zh", "我们去吃"), ("ja", "ラーメン"), ("zh", "吧")]),
        ("3个apple", [("zh", "3个"), ("en", "apple")]),
        ("iPhone 15 is", [("en", "iPhone 15 is")]),
        ("iPhone 15很好", [("en", "iPhone "), ("zh", "15很好")]),
        ("say “你好” now", [("en", "say "), ("zh", "“你好” "), ("en", "now")]),
        ("気温", [("ja", "気温")]),
        ("5km先です", [("ja", "5km先です")]),
        ("café naïve", [("en", "café naïve")]),
        ("ｈｅｌｌｏ", [("en", "ｈｅｌｌｏ")]),
        ("Hi Привет", [("en", "Hi "), ("-", "Привет")]),
    ],
)
def test_a_text_is_cut_by_script(text: str, expected: list[tuple[str, str]]) -> None:
    assert spans(text) == expected


@pytest.mark.parametrize(("declared", "language"), [((), "zh"), (("ja",), "ja"), (("zh", "ja"), "zh"), (("en",), "zh")])
def test_a_declared_language_breaks_ties(declared: tuple[str, ...], language: str) -> None:
    assert spans("東京大学", declared=declared) == [(language, "東京大学")]


def test_numbers_alone_are_in_the_declared_language() -> None:
    assert spans("2024", declared=("en",)) == [("en", "2024")]
    assert spans("2024") == [("zh", "2024")]


def test_what_a_cleaner_has_no_front_end_for_goes_to_its_neighbours_or_nowhere() -> None:
    assert spans("你好 hello", languages=("zh", "ja")) == [("zh", "你好 hello")]
    assert spans("你好안녕", languages=("zh", "ja")) == [("zh", "你好"), ("-", "안녕")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[JA]東京[JA]", [("ja", "東京")]),
        ("[JA]東\n京[JA]hi", [("ja", "東\n京"), ("en", "hi")]),
        ("[KR]안녕[KR]", [("ko", "안녕")]),
        ("[ZH]你[EN]hi[EN]好[ZH]", [("zh", "你"), ("en", "hi"), ("zh", "好")]),
        ("[ZH]你好", [("zh", "你好")]),
        ("[EN]東京[EN]", [("en", "東京")]),
        ("[SA]你好[SA]", [("zh", "你好")]),
    ],
)
def test_tags_in_the_text_are_respected(text: str, expected: list[tuple[str, str]]) -> None:
    assert spans(text) == expected


def test_a_requested_language_tags_the_whole_text() -> None:
    assert prepared("東京", lang="ja").sentences[0].normalized == "[JA]東京[JA]"
    assert prepared("東京 hi [EN]hi[EN]", lang="zh").sentences[0].normalized == "[ZH]東京 hi [ZH][EN]hi[EN]"


@pytest.mark.parametrize(
    ("cleaner", "lang"), [("cjke_cleaners2", "xx"), ("japanese_cleaners", "en"), ("cjke_cleaners", "sa")]
)
def test_a_language_that_cannot_be_spoken_is_refused(cleaner: str, lang: str) -> None:
    with pytest.raises(UnknownLanguage, match=lang):
        prepared("hi", cleaner, lang)


def test_untagged_text_is_spoken_whole() -> None:
    result = prepared("你好，world。これはテストです。")
    assert [sentence.cleaned for sentence in result.sentences] == [
        "ni↓↑xɑʊ↓↑, wəɹɫd.",
        "ko↑ɾewa te↓sɯ*todesɯ*.",
    ]
    assert result.dropped == {}


def test_cleaners_of_one_language_get_no_tags() -> None:
    assert prepared("[ZH]你好[ZH]", "chinese_cleaners").sentences[0].normalized == "你好"
    assert prepared("[JA]はい[JA]", "japanese_cleaners").sentences[0].normalized == "はい"


# --- What is left out ---


@pytest.mark.parametrize(
    ("text", "cleaner", "dropped"),
    [
        ("Hi 😀😀!", "cjke_cleaners2", {"😀": 2}),
        ("你好😀", "cjke_cleaners2", {"😀": 1}),
        ("はい😀", "japanese_cleaners", {"😀": 1}),
        ("Hi Привет", "cjke_cleaners2", {"П": 1, "р": 1, "и": 1, "в": 1, "е": 1, "т": 1}),
        ("你好안녕", "chinese_cleaners", {"안": 1, "녕": 1}),
        ("안녕你", "korean_cleaners", {"你": 1}),
        ("はい你好", "japanese_cleaners", {"你": 1, "好": 1}),
        ("你好㐀", "cjke_cleaners2", {"㐀": 1}),
        ("OK \ud800", "cjke_cleaners2", {"\ud800": 1}),
        ("“Hello” (world)…", "cjke_cleaners2", {}),
    ],
)
def test_what_could_not_be_spoken_is_counted(text: str, cleaner: str, dropped: dict[str, int]) -> None:
    assert prepared(text, cleaner).dropped == dropped


def test_without_normalizing_the_originals_losses_are_counted() -> None:
    assert prepared("12.5% cached quickly nvidic", normalize=False).dropped == {"%": 1, "c": 1}
    assert prepared("12.5% cached quickly nvidic").dropped == {}


@pytest.mark.parametrize("text", ["", " \n ", "...", "😀", "[ZH][ZH]", "\ud800", "，。！"])
@pytest.mark.parametrize("cleaner", ["cjke_cleaners2", "japanese_cleaners", "chinese_cleaners", "korean_cleaners"])
def test_text_of_which_nothing_is_left_is_refused(text: str, cleaner: str) -> None:
    with pytest.raises(UnspeakableText):
        prepared(text, cleaner)


# --- Sentences ---


def split(text: str, max_characters: int = 200) -> list[str]:
    return [text[piece.start : piece.end] for piece in sentences.split(text, max_characters)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four… Five.", ["One.", "Two!", "Three?", "Four…", "Five."]),
        ("一。二！三？四……五。", ["一。", "二！", "三？", "四……", "五。"]),
        ("one\ntwo\n\nthree", ["one", "two", "three"]),
        ("Pi is 3.14. Yes.", ["Pi is 3.14.", "Yes."]),
        ("Dr. Smith and Mr. J. R. Jones left.", ["Dr. Smith and Mr. J. R. Jones left."]),
        ("Fruit, e.g. apples, i.e. food. Good.", ["Fruit, e.g. apples, i.e. food.", "Good."]),
        ("At 5 p.m. he left. At 6 p.m. She came.", ["At 5 p.m. he left.", "At 6 p.m.", "She came."]),
        ("No. 5 is alive. No. He is not.", ["No. 5 is alive.", "No.", "He is not."]),
        ("It was I. He knew.", ["It was I.", "He knew."]),
        ("Well... maybe. Wait... What?", ["Well... maybe.", "Wait...", "What?"]),
        ("“Stop!” he said. “Go.” She went.", ["“Stop!” he said.", "“Go.”", "She went."]),
        ("「はい。」と言った。次。", ["「はい。」と言った。", "次。"]),
        ("你好.再见.", ["你好.", "再见."]),
        ("See example.com or v1.2.3 now.", ["See example.com or v1.2.3 now."]),
        ("1. First. 2. Second.", ["1. First.", "2. Second."]),
        ("", []),
        (" \n \n ", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, expected: list[str]) -> None:
    assert split(text) == expected


def test_long_sentences_are_cut_at_commas_then_blanks_then_anywhere() -> None:
    assert split("aaaa aaaa, bbbb bbbb, cccc", 22) == ["aaaa aaaa, bbbb bbbb,", "cccc"]
    assert split("aaaa bbbb cccc dddd", 10) == ["aaaa bbbb", "cccc dddd"]
    assert split("一二三四五六七八九十", 4) == ["一二三四", "五六七八", "九十"]
    assert split("a" * 25, 10) == ["a" * 10, "a" * 10, "a" * 5]
    assert split("costs 1,000,000 now and", 12) == ["costs", "1,000,000", "now and"]


def test_pauses_are_longest_between_paragraphs_and_shortest_in_words() -> None:
    pauses = [piece.pause_s for piece in sentences.split("One. Two\nThree, and four five", 8)]
    assert pauses == [
        sentences.SENTENCE_PAUSE_S,
        sentences.PARAGRAPH_PAUSE_S,
        sentences.CLAUSE_PAUSE_S,
        sentences.NO_PAUSE_S,
        sentences.SENTENCE_PAUSE_S,
    ]


def test_a_sentence_keeps_what_was_written() -> None:
    first, second = prepared("[ZH]你好。[ZH] It costs $5.").sentences
    assert (first.written, first.normalized) == ("你好。", "[ZH]你好。[ZH]")
    assert (second.written, second.normalized) == ("It costs $5.", "[EN]It costs five dollars.[EN]")


@pytest.mark.parametrize("text", ["w" * 400, "9" * 400, "窗" * 400, "ﷺ" * 200])
@pytest.mark.parametrize("cleaner", ["cjke_cleaners2", "chinese_cleaners", "japanese_cleaners", "korean_cleaners"])
def test_no_sentence_has_too_many_symbols(text: str, cleaner: str) -> None:
    try:
        result = prepared(text, cleaner)
    except UnspeakableText:
        return
    assert max(len(sentence.ids) for sentence in result.sentences) <= MAX_SYMBOLS


def test_long_text_is_the_sum_of_its_sentences() -> None:
    one = prepared("The quick brown fox jumps over the lazy dog.").sentences[0]
    many = prepared("The quick brown fox jumps over the lazy dog. " * 50).sentences
    assert [sentence.ids for sentence in many] == [one.ids] * 50
