"""Korean text as single letters of Hangul, or as IPA.

Follows korean.py of VITS-fast-fine-tuning; its reading of numbers comes from g2pK (Apache 2.0).
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from contextlib import suppress
from functools import lru_cache

from vits.text.libraries import load
from vits.text.rules import apply_rules, compile_rules, replace_all, spell_latin

_CLASSIFIERS = (
    "군데 권 개 그루 닢 대 두 마리 모 모금 뭇 발 발짝 방 번 벌 보루 살 수 술 시 쌈 움큼 정 짝 채 척 첩 축 켤레 톨 통"
)
_LETTER_NAMES = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        [
            "에이",
            "비",
            "시",
            "디",
            "이",
            "에프",
            "지",
            "에이치",
            "아이",
            "제이",
            "케이",
            "엘",
            "엠",
            "엔",
            "오",
            "피",
            "큐",
            "아르",
            "에스",
            "티",
            "유",
            "브이",
            "더블유",
            "엑스",
            "와이",
            "제트",
        ],
        strict=True,
    )
)
_DIGITS = "영일이삼사오육칠팔구"
_NATIVE_UNITS = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
_NATIVE_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
_PLACES = ("", "십", "백", "천", "만", "십", "백", "천", "억", "십", "백", "천", "조", "십", "백", "천")
_ONE_IS_SILENT_UP_TO = 7

# Compatibility letters by their place in a syllable of the Unicode block.
_LEADS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_TAILS: tuple[str, ...] = ("", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ")
_DIVIDED = (
    ("ㄳ", "ㄱㅅ"),
    ("ㄵ", "ㄴㅈ"),
    ("ㄶ", "ㄴㅎ"),
    ("ㄺ", "ㄹㄱ"),
    ("ㄻ", "ㄹㅁ"),
    ("ㄼ", "ㄹㅂ"),
    ("ㄽ", "ㄹㅅ"),
    ("ㄾ", "ㄹㅌ"),
    ("ㄿ", "ㄹㅍ"),
    ("ㅀ", "ㄹㅎ"),
    ("ㅄ", "ㅂㅅ"),
    ("ㅘ", "ㅗㅏ"),
    ("ㅙ", "ㅗㅐ"),
    ("ㅚ", "ㅗㅣ"),
    ("ㅝ", "ㅜㅓ"),
    ("ㅞ", "ㅜㅔ"),
    ("ㅟ", "ㅜㅣ"),
    ("ㅢ", "ㅡㅣ"),
    ("ㅑ", "ㅣㅏ"),
    ("ㅒ", "ㅣㅐ"),
    ("ㅕ", "ㅣㅓ"),
    ("ㅖ", "ㅣㅔ"),
    ("ㅛ", "ㅣㅗ"),
    ("ㅠ", "ㅣㅜ"),
)
_TO_LAZY_IPA = compile_rules(
    [
        ("t͡ɕ", "ʧ"),
        ("d͡ʑ", "ʥ"),
        ("ɲ", "n^"),
        ("ɕ", "ʃ"),
        ("ʷ", "w"),
        ("ɭ", "l`"),
        ("ʎ", "ɾ"),
        ("ɣ", "ŋ"),
        ("ɰ", "ɯ"),
        ("ʝ", "j"),
        ("ʌ", "ə"),
        ("ɡ", "g"),
        ("\u031a", "#"),
        ("\u0348", "="),
        ("\u031e", ""),
        ("\u0320", ""),
        ("\u0339", ""),
    ],
    re.IGNORECASE,
)


def _place(digit: int, place: int, *, native: bool) -> str:
    if native and place < 2:
        return (_NATIVE_UNITS, _NATIVE_TENS)[place][digit]
    digit_name = _DIGITS[digit] if digit else ""
    if digit == 1 and 0 < place <= _ONE_IS_SILENT_UP_TO:
        digit_name = ""
    return digit_name + _PLACES[place]


def hangul_number(digits: str, *, native: bool) -> str:
    """Korean words for a whole number of at most 16 ASCII digits, Sino-Korean or native."""
    if digits == "0":
        return "영"
    if native and digits == "20":
        return "스무"
    words: list[str] = []
    for index, digit in enumerate(digits):
        place = len(digits) - 1 - index
        if digit == "0" and (place % 4 or not "".join(words[-3:])):
            words.append("")
        else:
            words.append(_place(int(digit), place, native=native))
    return "".join(words)


def _counted(match: re.Match[str]) -> str:
    digits, counter = match[1].replace(",", ""), match[2]
    if not digits.isascii() or len(digits) > len(_PLACES):
        return match[0]
    native = counter[:2] in _CLASSIFIERS or counter[0] in _CLASSIFIERS
    return hangul_number(digits, native=native) + counter


def _expand_numbers(text: str) -> str:
    """The text with numbers before a Korean word as words, all other digits one by one."""
    text = re.sub(r"(\d[\d,]*)([\uac00-\ud71f]+)", _counted, text)
    return text.translate({ord("0") + digit: name for digit, name in enumerate(_DIGITS)})


def _letters(character: str) -> str:
    """The compatibility letters of one syllable or jamo; any other character as it is."""
    code = ord(character)
    if 0xAC00 <= code <= 0xD7A3:
        lead, rest = divmod(code - 0xAC00, 21 * 28)
        vowel, tail = divmod(rest, 28)
        return _LEADS[lead] + _VOWELS[vowel] + _TAILS[tail]
    if 0x1100 <= code <= 0x11FF:
        name = unicodedata.name(character).split(" ", 2)[2]
        with suppress(KeyError):
            character = unicodedata.lookup(f"HANGUL LETTER {name}")
    return character


def to_letters(text: str) -> str:
    """Korean text in single letters, compound ones divided."""
    text = _expand_numbers(spell_latin(text, _LETTER_NAMES))
    return replace_all(_DIVIDED, "".join(_letters(character) for character in text))


def to_closed_letters(text: str) -> str:
    """Korean text as korean_cleaners has it: in single letters, closed by a full stop."""
    return re.sub(r"([\u3131-\u3163])$", r"\1.", to_letters(text))


@lru_cache(maxsize=1024)
def _romanise(run: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # for how ko-pron calls re.sub
        ipa: str = load("ko_pron", "Korean").romanise(run, "ipa")
    return ipa.partition("] ~ [")[0]


def to_lazy_ipa(text: str) -> str:
    """Korean text in the IPA of cjks_cleaners."""
    text = _expand_numbers(spell_latin(text, _LETTER_NAMES))
    text = re.sub("[\uac00-\ud7a3]+", lambda match: _romanise(match[0]), text)
    return apply_rules(_TO_LAZY_IPA, text)


def to_ipa(text: str) -> str:
    """Korean text in the IPA of the cjke cleaners."""
    return to_lazy_ipa(text).replace("ʧ", "tʃ").replace("ʥ", "dʑ")
