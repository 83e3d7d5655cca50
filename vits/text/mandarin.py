"""Chinese text as Bopomofo, romaji or IPA.

Follows mandarin.py of VITS-fast-fine-tuning with the library versions of its time. Words are cut by rjieba, which
cuts as jieba does at a tenth of the time and without its 50 MB; numbers are written as cn2an 0.5.23 writes them.
"""

from __future__ import annotations

import re
import unicodedata

from vits.text.libraries import load
from vits.text.pinyin import bopomofo, numbered
from vits.text.rules import apply_rules, compile_rules, replace_all, spell_latin

_LETTER_NAMES = {
    "a": "ㄟˉ",
    "b": "ㄅㄧˋ",
    "c": "ㄙㄧˉ",
    "d": "ㄉㄧˋ",
    "e": "ㄧˋ",
    "f": "ㄝˊㄈㄨˋ",
    "g": "ㄐㄧˋ",
    "h": "ㄝˇㄑㄩˋ",
    "i": "ㄞˋ",
    "j": "ㄐㄟˋ",
    "k": "ㄎㄟˋ",
    "l": "ㄝˊㄛˋ",
    "m": "ㄝˊㄇㄨˋ",
    "n": "ㄣˉ",
    "o": "ㄡˉ",
    "p": "ㄆㄧˉ",
    "q": "ㄎㄧㄡˉ",
    "r": "ㄚˋ",
    "s": "ㄝˊㄙˋ",
    "t": "ㄊㄧˋ",
    "u": "ㄧㄡˉ",
    "v": "ㄨㄧˉ",
    "w": "ㄉㄚˋㄅㄨˋㄌㄧㄡˋ",
    "x": "ㄝˉㄎㄨˋㄙˋ",
    "y": "ㄨㄞˋ",
    "z": "ㄗㄟˋ",
}
_LABIALS = (("ㄅㄛ", "p⁼wo"), ("ㄆㄛ", "pʰwo"), ("ㄇㄛ", "mwo"), ("ㄈㄛ", "fwo"))
_SHARED_INITIALS = (
    ("ㄅ", "p⁼"),
    ("ㄆ", "pʰ"),
    ("ㄇ", "m"),
    ("ㄈ", "f"),
    ("ㄉ", "t⁼"),
    ("ㄊ", "tʰ"),
    ("ㄋ", "n"),
    ("ㄌ", "l"),
    ("ㄍ", "k⁼"),
    ("ㄎ", "kʰ"),
)
_TONES_AND_MARKS = (
    ("ˉ", "→"),
    ("ˊ", "↑"),
    ("ˇ", "↓↑"),
    ("ˋ", "↓"),
    ("˙", ""),
    ("，", ","),
    ("。", "."),
    ("！", "!"),
    ("？", "?"),
    ("—", "-"),
)
_ROMAJI = (
    *_LABIALS,
    *_SHARED_INITIALS,
    ("ㄏ", "h"),
    ("ㄐ", "ʧ⁼"),
    ("ㄑ", "ʧʰ"),
    ("ㄒ", "ʃ"),
    ("ㄓ", "ʦ`⁼"),
    ("ㄔ", "ʦ`ʰ"),
    ("ㄕ", "s`"),
    ("ㄖ", "ɹ`"),
    ("ㄗ", "ʦ⁼"),
    ("ㄘ", "ʦʰ"),
    ("ㄙ", "s"),
    ("ㄚ", "a"),
    ("ㄛ", "o"),
    ("ㄜ", "ə"),
    ("ㄝ", "e"),
    ("ㄞ", "ai"),
    ("ㄟ", "ei"),
    ("ㄠ", "au"),
    ("ㄡ", "ou"),
    ("ㄧㄢ", "yeNN"),
    ("ㄢ", "aNN"),
    ("ㄧㄣ", "iNN"),
    ("ㄣ", "əNN"),
    ("ㄤ", "aNg"),
    ("ㄧㄥ", "iNg"),
    ("ㄨㄥ", "uNg"),
    ("ㄩㄥ", "yuNg"),
    ("ㄥ", "əNg"),
    ("ㄦ", "əɻ"),
    ("ㄧ", "i"),
    ("ㄨ", "u"),
    ("ㄩ", "ɥ"),
    *_TONES_AND_MARKS,
)
_IPA = (
    *_LABIALS,
    *_SHARED_INITIALS,
    ("ㄏ", "x"),
    ("ㄐ", "tʃ⁼"),
    ("ㄑ", "tʃʰ"),
    ("ㄒ", "ʃ"),
    ("ㄓ", "ts`⁼"),
    ("ㄔ", "ts`ʰ"),
    ("ㄕ", "s`"),
    ("ㄖ", "ɹ`"),
    ("ㄗ", "ts⁼"),
    ("ㄘ", "tsʰ"),
    ("ㄙ", "s"),
    ("ㄚ", "a"),
    ("ㄛ", "o"),
    ("ㄜ", "ə"),
    ("ㄝ", "ɛ"),
    ("ㄞ", "aɪ"),
    ("ㄟ", "eɪ"),
    ("ㄠ", "ɑʊ"),
    ("ㄡ", "oʊ"),
    ("ㄧㄢ", "jɛn"),
    ("ㄩㄢ", "ɥæn"),
    ("ㄢ", "an"),
    ("ㄧㄣ", "in"),
    ("ㄩㄣ", "ɥn"),
    ("ㄣ", "ən"),
    ("ㄤ", "ɑŋ"),
    ("ㄧㄥ", "iŋ"),
    ("ㄨㄥ", "ʊŋ"),
    ("ㄩㄥ", "jʊŋ"),
    ("ㄥ", "əŋ"),
    ("ㄦ", "əɻ"),
    ("ㄧ", "i"),
    ("ㄨ", "u"),
    ("ㄩ", "ɥ"),
    *_TONES_AND_MARKS,
)
_ROMAJI_GLIDES = compile_rules([("i([aoe])", r"y\1"), ("u([aoəe])", r"w\1")])
_ROMAJI_SYLLABIC = compile_rules(
    [("([ʦsɹ]`[⁼ʰ]?)([→↓↑ ]+|$)", r"\1ɹ`\2"), ("ɻ", "ɹ`"), ("([ʦs][⁼ʰ]?)([→↓↑ ]+|$)", r"\1ɹ\2")]
)
_IPA_GLIDES = compile_rules([("i([aoe])", r"j\1"), ("u([aoəe])", r"w\1")])
_IPA_SYLLABIC = compile_rules([("([sɹ]`[⁼ʰ]?)([→↓↑ ]+|$)", r"\1ɹ`\2"), ("ɻ", "ɹ`"), ("(s[⁼ʰ]?)([→↓↑ ]+|$)", r"\1ɹ\2")])
_ROMAJI_TO_LAZY_IPA = compile_rules(
    [("ʃy", "ʃ"), ("ʧʰy", "ʧʰ"), ("ʧ⁼y", "ʧ⁼"), ("NN", "n"), ("Ng", "ŋ"), ("y", "j"), ("h", "x")], re.IGNORECASE
)

_DIGITS = "零一二三四五六七八九"
_PLACES = ("", "十", "百", "千", "万", "十", "百", "千", "亿", "十", "百", "千", "万", "十", "百", "千")
_LONGEST_DECIMALS = 16


def spell_digits(digits: str) -> str:
    """Chinese digits one by one, for ASCII digits."""
    return "".join(_DIGITS[int(digit)] for digit in digits)


def _integer(digits: str) -> str:
    """A whole number as it is read; digit by digit where it outgrows the places that cn2an knows."""
    digits = digits.lstrip("0")
    if len(digits) > len(_PLACES):
        return spell_digits(digits)
    words = ""
    for place, digit in zip(range(len(digits) - 1, -1, -1), digits, strict=True):
        if digit != "0":
            words += _DIGITS[int(digit)] + _PLACES[place]
            continue
        if place % 4 == 0:
            words += "零" + _PLACES[place]
        if not words.endswith("零"):
            words += "零"
    repairs = (("零零", "零"), ("零万", "万"), ("零亿", "亿"), ("亿万", "亿"))
    words = replace_all(repairs, words).strip("零")
    return words.removeprefix("一") if words.startswith("一十") else words or "零"


def number_to_chinese(number: str) -> str:
    """Chinese words for digits of any script, with at most one decimal point and 16 decimals."""
    number = "".join(character if character == "." else str(unicodedata.decimal(character)) for character in number)
    whole, point, decimals = number.partition(".")
    return _integer(whole) + ("点" + spell_digits(decimals[:_LONGEST_DECIMALS]) if point else "")


def _expand_numbers(text: str) -> str:
    return re.sub(r"\d+(?:\.?\d+)?", lambda match: number_to_chinese(match[0]), text)


def _cut(text: str) -> list[str]:
    words: list[str] = load("rjieba", "Chinese").cut(text)
    return words


def to_bopomofo(text: str) -> str:
    """Chinese text in Bopomofo, a blank before each Chinese word; Latin letters by their names."""
    text = re.sub("[、；：]", "，", _expand_numbers(text))
    spoken = ""
    for word in _cut(text):
        if not re.search("[\u4e00-\u9fff]", word):
            spoken += word
            continue
        syllables = [re.sub("([\u3105-\u3129])$", r"\1ˉ", syllable) for syllable in bopomofo(word)]
        spoken += (" " if spoken else "") + "".join(syllables)
    return spell_latin(spoken, _LETTER_NAMES)


def to_numbered_pinyin(text: str) -> list[str]:
    """The syllables of Chinese text in pinyin with digits for tones, and what stands between them, as it is."""
    words = _cut(_expand_numbers(text))
    return [syllable for word in words for syllable in (numbered(word) if word.strip() else [word])]


def to_closed_bopomofo(text: str) -> str:
    """Chinese text as chinese_cleaners has it: closed by a full stop; [ZH] tags are allowed and mean nothing."""
    return re.sub(r"([ˉˊˇˋ˙])$", r"\1。", to_bopomofo(text.replace("[ZH]", "")))


def to_romaji(text: str) -> str:
    """Chinese text in the romaji of zh_ja_mixture_cleaners."""
    text = apply_rules(_ROMAJI_GLIDES, replace_all(_ROMAJI, to_bopomofo(text)))
    return apply_rules(_ROMAJI_SYLLABIC, text)


def to_lazy_ipa(text: str) -> str:
    """Chinese text in the IPA of cjks_cleaners."""
    return apply_rules(_ROMAJI_TO_LAZY_IPA, to_romaji(text))


def to_cjke_ipa(text: str) -> str:
    """Chinese text in the IPA of cjke_cleaners."""
    return replace_all((("ʧ", "tʃ"), ("ʦ", "ts"), ("ɥan", "ɥæn")), to_lazy_ipa(text))


def to_ipa(text: str) -> str:
    """Chinese text in the IPA of cjke_cleaners2."""
    text = apply_rules(_IPA_GLIDES, replace_all(_IPA, to_bopomofo(text)))
    return apply_rules(_IPA_SYLLABIC, text)
