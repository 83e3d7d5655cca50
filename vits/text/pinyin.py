"""Bopomofo readings of Chinese words, as pypinyin 0.54 gives them, from its two data files.

`pypinyin.lazy_pinyin` is not called, because importing pypinyin costs 53 MB and this module 12: pypinyin keeps every
syllable of 47 000 phrases, and every prefix of every phrase, as an object of its own. The readings are those of its
data files (MIT); segmentation follows its seg/mmseg.py and Bopomofo its style/bopomofo.py, and tests compare both.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from functools import cache, lru_cache
from itertools import groupby

from vits.text.libraries import data_file
from vits.text.rules import apply_rules, compile_rules, replace_all

_HAN = re.compile(
    "[\u3007\ue815-\ue864\ufa18\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a703-\U0002b73f"
    "\U0002b740-\U0002b81d\U0002b825-\U0002bf6e\U0002c029-\U0002ce93\U0002d016\U0002d11b-\U0002ebd9"
    "\U0002f80a-\U0002fa1f\U000300f7-\U00031288\U00030edd\U00030ede]"
)
_TONE_MARKS = str.maketrans(
    {
        mark: f"{letter}{tone}"
        for letter, marks in {
            "a": "āáǎà",
            "e": "ēéěè",
            "o": "ōóǒò",
            "i": "īíǐì",
            "u": "ūúǔù",
            "v": "ǖǘǚǜ",
            "n": " ńňǹ",
            "m": " ḿ",
            "ê": " ế ề",
        }.items()
        for tone, mark in enumerate(marks, 1)
        if mark != " "
    }
    | {"ü": "v"}
)
_COMBINED_TONE_MARKS = (("m̄", "m1"), ("m̀", "m4"), ("ê̄", "ê1"), ("ê̌", "ê3"))
_TO_KEYS = compile_rules(
    [
        (r"^([a-zêü]+)([1-5])([a-zêü]*)$", r"\1\3\2"),
        (r"^m(\d)$", r"mu\1"),
        (r"^n(\d)$", r"N\1"),
        (r"^r5$", "er5"),
        ("iu", "iou"),
        ("ui", "uei"),
        ("ong", "ung"),
        ("^yi?", "i"),
        ("^wu?", "u"),
        ("iu", "v"),
        ("^([jqx])u", r"\1v"),
        ("([iuv])n", r"\1en"),
        ("^zhi?", "Z"),
        ("^chi?", "C"),
        ("^shi?", "S"),
        ("^([zcsr])i", r"\1"),
        ("ai", "A"),
        ("ei", "I"),
        ("ao", "O"),
        ("ou", "U"),
        ("ang", "K"),
        ("eng", "G"),
        ("an", "M"),
        ("en", "N"),
        ("er", "R"),
        ("eh", "E"),
        ("([iv])e", r"\1E"),
        ("([^0-4])$", r"\g<1>0"),
        ("1$", ""),
    ]
)
_KEYS = str.maketrans(
    "bpmfdtnlgkhjqxZCSrzcsiuvaoeEAIOUMNKGR2340ê",
    "ㄅㄆㄇㄈㄉㄊㄋㄌㄍㄎㄏㄐㄑㄒㄓㄔㄕㄖㄗㄘㄙㄧㄨㄩㄚㄛㄜㄝㄞㄟㄠㄡㄢㄣㄤㄥㄦˊˇˋ˙ㄝ",
)
_PHRASE = re.compile(r'"([^"]+)": \[\n((?:\[\n[^\]]*\],?\n)+)\]')
_SYLLABLES = re.compile(r'\[\n"([^"]*)"')


def _data_file(name: str) -> str:
    return data_file("pypinyin", name, "Chinese").read_text(encoding="utf-8")


@cache
def _characters() -> dict[int, str]:
    """The first reading of each character, by code point."""
    readings: dict[str, str] = json.loads(_data_file("pinyin_dict.json"))
    shared: dict[str, str] = {}
    first = {}
    for code_point, all_readings in readings.items():
        reading = all_readings.partition(",")[0]
        first[int(code_point)] = shared.setdefault(reading, reading)
    return first


@cache
def _phrases() -> tuple[list[str], list[str]]:
    """All phrases in order of code points, and their readings with a blank between syllables."""
    found = {
        match[1]: " ".join(_SYLLABLES.findall(match[2])) for match in _PHRASE.finditer(_data_file("phrases_dict.json"))
    }
    phrases = sorted(found)
    return phrases, [found[phrase] for phrase in phrases]


def _phrase_reading(word: str) -> str | None:
    phrases, readings = _phrases()
    index = bisect_left(phrases, word)
    return readings[index] if index < len(phrases) and phrases[index] == word else None


def phrase_is_known(word: str) -> bool:
    """Whether the data files have a reading for the whole word."""
    return _phrase_reading(word) is not None


def _starts_a_phrase(text: str) -> bool:
    phrases, _ = _phrases()
    index = bisect_left(phrases, text)
    return index < len(phrases) and phrases[index].startswith(text)


def _split(han: str) -> list[str]:
    """The phrases and single characters of a run, greedily from the left.

    A prefix is lengthened while some phrase begins with it. If it then is no phrase, its first character stands alone;
    at the end of the run, all of its characters do.
    """
    parts: list[str] = []
    start = 0
    while start < len(han):
        end = start
        while end < len(han) and _starts_a_phrase(han[start : end + 1]):
            end += 1
        prefix = han[start:end]
        if prefix and _phrase_reading(prefix) is not None:
            parts.append(prefix)
        elif prefix and end == len(han):
            parts += prefix
            break
        else:
            parts.append(han[start])
        start += len(parts[-1])
    return parts


@lru_cache(maxsize=4096)
def _bopomofo(reading: str) -> str:
    """One syllable of pinyin with its tone mark in Bopomofo; the first tone has no mark."""
    numbered = replace_all(_COMBINED_TONE_MARKS, reading.translate(_TONE_MARKS))
    return apply_rules(_TO_KEYS, numbered).translate(_KEYS)


def numbered_bopomofo(pinyin: str) -> str:
    """Bopomofo for syllables of pinyin with their tones as digits, 5 for the neutral one: "hang2 zhang3"."""
    syllables = (_bopomofo(syllable.removesuffix("5")) for syllable in pinyin.split())
    return "".join(re.sub("([\u3105-\u3129])$", r"\1ˉ", syllable) for syllable in syllables)


@lru_cache(maxsize=4096)
def _numbered(reading: str) -> str:
    """One syllable of pinyin with its tone as a digit behind it, 5 for none, and v for ü."""
    letters = replace_all(_COMBINED_TONE_MARKS, reading.translate(_TONE_MARKS))
    return re.sub(r"^(.*?)([1-4])(.*)$", r"\1\3\2", letters) if re.search("[1-4]", letters) else f"{letters}5"


def _readings(word: str) -> list[tuple[str, bool]]:
    """The pinyin of each syllable of a word, and runs of other characters; and whether it is pinyin."""
    found: list[tuple[str, bool]] = []
    for is_han, group in groupby(word, lambda character: bool(_HAN.match(character))):
        run = "".join(group)
        if not is_han:
            found.append((run, False))
            continue
        for part in _split(run):
            reading = _phrase_reading(part)
            readings = reading.split(" ") if reading else [_characters().get(ord(han), han) for han in part]
            found += [(reading, True) for reading in readings]
    return found


def bopomofo(word: str) -> list[str]:
    """The Bopomofo syllables of a word; runs of other characters stand between them as they are."""
    return [_bopomofo(text) if is_pinyin else text for text, is_pinyin in _readings(word)]


def numbered(word: str) -> list[str]:
    """The syllables of a word in pinyin with digits for tones; runs of other characters stand between them."""
    return [_numbered(text) if is_pinyin else text for text, is_pinyin in _readings(word)]
