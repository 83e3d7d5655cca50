"""English words in katakana, from their ARPAbet in the CMU dictionary.

Written Japanese takes English words over by sound and by spelling: a weak vowel is said as it is spelt (the o of
"lemon", the e of "system"), a short vowel before a last stop doubles it (ネット), consonants without a vowel get one
(ト, ド, チ, ジ, or else ウ), and r after a vowel lengthens it. So each phone is first laid beside its letters.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_ROWS = (
    " アイウエオ|k カキクケコ|g ガギグゲゴ|s サシスセソ|z ザジズゼゾ|n ナニヌネノ|h ハヒフヘホ|b バビブベボ|"
    "p パピプペポ|m マミムメモ|r ラリルレロ|t タ ティ トゥ テ ト|d ダ ディ ドゥ デ ド|y ヤ イ ユ イェ ヨ|"
    "w ワ ウィ ウ ウェ ウォ|f ファ フィ フ フェ フォ|sh シャ シ シュ シェ ショ|ch チャ チ チュ チェ チョ|"
    "jh ジャ ジ ジュ ジェ ジョ|ky キャ キ キュ キェ キョ|gy ギャ ギ ギュ ギェ ギョ|ny ニャ ニ ニュ ニェ ニョ|"
    "hy ヒャ ヒ ヒュ ヒェ ヒョ|by ビャ ビ ビュ ビェ ビョ|py ピャ ピ ピュ ピェ ピョ|my ミャ ミ ミュ ミェ ミョ|"
    "ry リャ リ リュ リェ リョ|ty チャ チ チュ チェ チョ|dy デャ ディ デュ デェ デョ|"
    "fy フャ フィ フュ フェ フョ|kw クワ クイ クウ クエ クオ|gw グワ グイ グウ グエ グオ|"
    "sw スワ スイ スウ スウェ スウォ|tw トワ ツイ トゥー トゥエ トゥオ|ts ツァ ツィ ツ ツェ ツォ|"
)
_KANA = {
    row + vowel: kana
    for row, _, morae in (part.partition(" ") for part in _ROWS.strip("|").split("|"))
    for vowel, kana in zip("aiueo", morae.split() if " " in morae else morae, strict=True)
}
# Consonants whose rows have another name; v is said as b, l as r, and both th as s and z.
_ROW_OF = {"hh": "h", "l": "r", "v": "b", "th": "s", "dh": "z", "zh": "jh"}
# What a consonant without a vowel is: o for t and d, i for ch and j, else u.
_ALONE = {"t": "ト", "d": "ド", "ch": "チ", "jh": "ジ", "n": "ン", "y": "イ", "w": "ウ"}
_VOWELS = frozenset(["aa", "ae", "ah", "ao", "aw", "ay", "eh", "er", "ey", "ih", "iy", "ow", "oy", "uh", "uw"])

_SPELT = (
    "b b bb|ch ch tch t c|d d dd ed|dh th|f f ff ph gh|g g gg gu gh x|hh h wh|jh j g dg dj d gg|"
    "k k c ck ch q cc kk x qu|l l ll|m m mm mb mn|n n nn kn gn|ng n ng|p p pp|r r rr wr rh|s s ss c sc ps z|"
    "sh sh s ss t c ch sch|t t tt th ed|th th|v v f vv|w w u wh o|y y u i e|z z s zz x ss|zh s g z j|"
)
_SPELLINGS = {phone: tuple(letters) for phone, *letters in (part.split() for part in _SPELT.strip("|").split("|"))}
_VOWEL_LETTERS = re.compile("[aeiouyw]+(?:gh)?")
_R_LETTERS = re.compile("[aeiouy]*r?r?e?")
_LONGEST = 40
"""Longest word that is converted, in letters; laying phones beside letters takes time that grows with their product."""


class _Sound(NamedTuple):
    """A phone with the letters that it is written with."""

    phone: str
    stress: int
    """1 for the main stress, 2 for another, 0 for none; consonants have none."""
    letters: str


def _cost(phone: str, letters: str) -> float | None:
    """What it costs to read the letters as the phone; None where they cannot be read so."""
    if phone == "er":
        return 0.1 * len(letters) if "r" in letters and _R_LETTERS.fullmatch(letters) else None
    if phone in _VOWELS:
        return 0.1 * len(letters) if _VOWEL_LETTERS.fullmatch(letters) else None
    if letters in _SPELLINGS.get(phone, ()):
        return 0.0
    return None


def _unwritten(phone: str, before: str) -> float:
    """What it costs for a phone to have no letters: little for s in x, y in u, and the weak vowel in -le and -sm."""
    return 0.2 if phone in ("ah", "y") or (phone in ("s", "z") and before == "x") else 1.5


def _aligned(word: str, phones: list[str]) -> list[_Sound]:
    """Each phone with its letters, by the cheapest way through both."""
    bare = [phone.rstrip("012") for phone in phones]
    best: list[list[tuple[float, int]]] = [[(0.0, 0)] * (len(word) + 1) for _ in range(len(phones) + 1)]
    for i in range(len(phones) + 1):
        for j in range(len(word) + 1):
            ways = [(0.0, j)] if i == j == 0 else []
            if j:  # a silent letter, written with the phone before it
                ways.append((best[i][j - 1][0] + (0.3 if word[j - 1] in "eh" else 1.0), -1))
            if i:
                ways.append((best[i - 1][j][0] + _unwritten(bare[i - 1], word[j - 1 : j]), j))
                for start in range(max(0, j - 4), j):
                    cost = _cost(bare[i - 1], word[start:j])
                    if cost is not None:
                        ways.append((best[i - 1][start][0] + cost, start))
            best[i][j] = min(ways)
    sounds: list[_Sound] = []
    i, j, end = len(phones), len(word), len(word)
    while i:
        start = best[i][j][1]
        if start == -1:
            j -= 1
            continue
        sounds.append(
            _Sound(bare[i - 1], int(phones[i - 1][-1]) if phones[i - 1][-1].isdigit() else 0, word[start:end])
        )
        i, j, end = i - 1, start, start
    return sounds[::-1]


def _is_vowel(sounds: list[_Sound], at: int) -> bool:
    return 0 <= at < len(sounds) and sounds[at].phone in _VOWELS


def _phone(sounds: list[_Sound], at: int) -> str:
    return sounds[at].phone if 0 <= at < len(sounds) else ""


_LONG = {"aa": "aー", "ao": "oー", "ow": "oー", "uw": "uー", "iy": "iー", "uh": "u"}
_BEFORE_R = {
    "aa": "aー",
    "ao": "oー",
    "ow": "oー",
    "eh": "eア",
    "ae": "eア",
    "ih": "iア",
    "iy": "iア",
    "uh": "uア",
    "uw": "uア",
}
_BEFORE_R |= {"ay": "aイアー", "aw": "aワー", "ey": "eア", "oy": "oイヤー", "ah": "aー"}
_AS_SPELT = {"a": "a", "e": "e", "i": "i", "o": "o", "u": "a", "y": "i"}


def _vowel(sounds: list[_Sound], at: int) -> str:
    """The vowel as one of aiueo and what follows it in katakana; empty where Japanese has none, as in -le."""
    phone, stress, letters = sounds[at]
    following = _phone(sounds, at + 1)
    is_last = at + 1 == len(sounds)
    if following == "r" and phone != "er" and (not _is_vowel(sounds, at + 2) or _ends(sounds, at + 2) == "ing"):
        return _before_r(sounds, at)
    if phone == "er":
        return _r_vowel(sounds, at)
    if phone in ("ah", "ih"):
        return _weak(sounds, at)
    if phone == "aa":
        return _open(sounds, at)
    if phone == "ao":
        is_short = letters[:1] == "o" and len(letters) == 1 and following not in ("", "l", "r", "d")
        is_short |= letters[:1] == "a" and len(letters) == 1 and following in ("n", "sh", "ch", "s")
        is_short |= following == "r" and not (stress == 1 and _phone(sounds, at + 2) == "iy")
        return "o" if is_short or (following == "l" and letters == "o") else "oー"
    if phone == "ow":
        is_silent_e = at + 2 == len(sounds) and sounds[at + 1].letters.endswith("e")
        return "o" if stress != 1 and letters == "o" and not is_silent_e else "oー"
    if phone in ("iy", "uw"):
        if letters == "ay":
            return "eー"
        is_short = _is_vowel(sounds, at + 1) or following == "r"
        is_short |= not is_last and (not stress or (stress == 2 and len(letters) == 1))
        return _LONG[phone][0] if is_short else _LONG[phone]
    if phone == "ey":
        is_open = is_last or _is_vowel(sounds, at + 1) or letters[:2] in ("ei", "ey", "ay")
        if letters == "e":
            return "e"
        return "eイ" if is_open or (letters[:2] == "ai" and following in ("n", "t", "d")) else "eー"
    if phone == "eh":
        return "a" if letters[:1] == "a" and following == "r" else "e"
    return {"ae": "a", "uh": "u", "ay": "aイ", "aw": "aウ", "oy": "oイ"}[phone]


def _ends(sounds: list[_Sound], at: int) -> str:
    """The letters from this place to the end."""
    return "".join(sound.letters for sound in sounds[at:])


def _before_r(sounds: list[_Sound], at: int) -> str:
    """The vowel before an r that no vowel follows."""
    phone, _, letters = sounds[at]
    if phone in ("ih", "iy") and _phone(sounds, at - 1) == "y":
        return "iヤー"
    if phone == "ao" and (letters == "oo" or _ends(sounds, at + 1) in ("re", "res")):
        return "oア"
    if phone == "ay" and at + 2 < len(sounds):
        return "aイヤ"
    return _BEFORE_R[phone]


def _r_vowel(sounds: list[_Sound], at: int) -> str:
    """The vowel of er: as it is spelt before another vowel, which gets the r; else a long a."""
    _, stress, letters = sounds[at]
    if _is_vowel(sounds, at + 1):
        return "a" if stress else "u" if letters[:1] == "u" else _AS_SPELT.get(letters[:1], "a")
    if letters[:2] == "or" and not stress and at + 2 < len(sounds):
        return "o"
    is_weak = not stress and _phone(sounds, at + 1) == "n" and at + 2 == len(sounds) and letters[:1] == "e"
    return "a" if is_weak else "aー"


def _weak(sounds: list[_Sound], at: int) -> str:
    """The vowels that are said as they are spelt where they are weak."""
    phone, stress, letters = sounds[at]
    before, rest = _phone(sounds, at - 1), _ends(sounds, at)
    if not letters and not stress:
        return "u" if before == "y" else ""
    if not stress and at and (rest in ("ate", "ates") or (rest[:2] == "ag" and _phone(sounds, at + 1) == "jh")):
        return "eー"
    if rest == "es" and before in ("jh", "ch", "sh"):
        return "i"
    if phone == "ih":
        return _short_i(sounds, at)
    if before == "y" and letters[:1] == "u":
        return "u"
    if before == "f" and rest[:2] == "ul":
        return "u"
    if before == "v" and rest == "en":
        return ""
    if stress or letters[:2] in ("ou", "ia", "ea") or letters[:3] == "iou" or (before == "d" and rest == "om"):
        return "a"
    return {"io": "o", "eo": "o", "ai": "e", "ie": "e"}.get(letters[:2]) or _AS_SPELT.get(letters[:1], "a")


def _short_i(sounds: list[_Sound], at: int) -> str:
    """A short i: said as the e that it is written with where it is weak, but for the first one of be- and re-."""
    _, stress, letters = sounds[at]
    if letters[:1] != "e" or stress == 1 or _ends(sounds, at) == "es":
        return "i"
    is_first = not any(_is_vowel(sounds, earlier) for earlier in range(at))
    return "i" if is_first and _phone(sounds, at - 1) in ("r", "b") else "e"


def _open(sounds: list[_Sound], at: int) -> str:
    """The vowel of "hot" and "father"."""
    letters, before, following = sounds[at].letters, _phone(sounds, at - 1), _phone(sounds, at + 1)
    if letters[:2] in ("au", "aw"):
        return "oー"
    if letters[:1] == "o" or (letters[:1] == "a" and before == "w"):
        return "o"
    return "aー" if following in ("", "dh") or letters[:2] in ("ah", "al") else "a"


_DOUBLED_AT_END = frozenset(["p", "t", "k", "ch", "sh", "d"])


def _doubles(sounds: list[_Sound], at: int) -> bool:
    """Whether the consonant after the short vowel at this place is doubled."""
    if not (0 < at + 1 < len(sounds)) or _is_vowel(sounds, at + 1):
        return False
    vowel, stress, _ = sounds[at]
    phone, _, letters = sounds[at + 1]
    after = [sound.phone for sound in sounds[at + 2 :]]
    rest = _ends(sounds, at + 2)
    if not after or (after in (["s"], ["z"]) and phone in ("p", "t", "k", "d")) or rest == "ed":
        if phone == "g":
            return letters == "gg" or vowel in ("ih", "eh")
        return phone in _DOUBLED_AT_END or (phone == "jh" and letters[:1] in "gd") or letters == "ff"
    if after[0] not in _VOWELS:
        return False
    if phone == "sh":
        return letters in ("ss", "sh") and rest in ("ion", "ions", "ing", "er", "ers", "ure")
    if letters == "ss" and vowel == "eh":
        return True
    if not stress:
        return False
    if letters in ("pp", "tch", "cc") or (letters == "tt" and rest in ("ing", "ings")):
        return True
    return (letters == "ck" or (vowel, phone) == ("uh", "k")) and rest in ("er", "ers", "ing", "y", "ey", "ie", "ies")


def _onset(sounds: list[_Sound], at: int) -> tuple[str, int]:
    """The row of katakana of the consonants that the vowel after them takes, and their number."""
    row = _ROW_OF.get(sounds[at].phone, sounds[at].phone)
    glide = _phone(sounds, at + 1)
    is_glide = glide in ("w", "y") and _is_vowel(sounds, at + 2) and row + glide + "a" in _KANA
    if is_glide and (row + glide != "tw" or at == 0 or _phone(sounds, at + 2) == "ih"):
        return row + glide, 2
    if row == "t" and glide == "s" and _is_vowel(sounds, at + 2):
        return "ts", 2
    if not _is_vowel(sounds, at + 1):
        return "", 0
    vowel = sounds[at + 1]
    if row in ("k", "g") and vowel.letters[:1] == "a" and vowel.phone in ("ae", "eh"):
        return row + "y", 1
    if row in ("t", "d", "n") and vowel.phone == "uw" and vowel.letters[:1] in ("u", "e"):
        return row + "y", 1
    if (row, vowel.phone, vowel.letters, _phone(sounds, at + 2)) == ("r", "uw", "u", "sh"):
        return "ry", 1
    return ("g" if row == "ng" else row), 1


def _alone(sounds: list[_Sound], at: int) -> str:
    """A consonant without a vowel of its own."""
    phone, following = sounds[at].phone, _phone(sounds, at + 1)
    if phone == "m" and following in ("p", "b", "f") or (phone == "ng" and following in ("k", "g")):
        return "ン"
    if phone == "ng":
        return "ング"
    if (phone, following) in (("t", "s"), ("d", "z")):
        return ""
    if (phone, _phone(sounds, at - 1)) == ("s", "t"):
        return "ツ"
    if phone in _ALONE:
        return _ALONE[phone]
    return _KANA[_ROW_OF.get(phone, phone) + "u"]


def _spell(sounds: list[_Sound]) -> str:
    """The sounds in katakana."""
    kana, at = "", 0
    while at < len(sounds):
        row = ""
        if not _is_vowel(sounds, at):
            row, length = _onset(sounds, at)
            if not length:
                if sounds[at].phone != "r" or not _is_vowel(sounds, at - 1):
                    kana += _alone(sounds, at)
                at += 1
                continue
            kana += "ン" if sounds[at].phone == "ng" else ""
            at += length
        elif _phone(sounds, at - 1) == "er":
            row = "r"
        elif (
            sounds[at].phone == "er"
            and _phone(sounds, at - 1) in ("ay", "ey", "oy")
            or sounds[at].phone == "ah"
            and _phone(sounds, at - 1) == "oy"
        ):
            row = "y"
        vowel = _glided(sounds, at, row) if row[1:] == "y" else _vowel(sounds, at)
        if not vowel:
            kana += _alone(sounds, at - 1) if row and not _is_vowel(sounds, at - 1) else ""
        elif vowel[0] == "*":
            kana += _KANA[row[0] + "i"] + vowel[1:]
        else:
            kana += _KANA[row + vowel[0]] + vowel[1:]
        kana += "ッ" if vowel and not vowel[1:] and _doubles(sounds, at) else ""
        at += 1
    return kana


def _glided(sounds: list[_Sound], at: int, row: str) -> str:
    """The vowel after y; with * before it where the y is an i of its own, as in "million" and "senior"."""
    vowel = _vowel(sounds, at)
    if sounds[at - 1].phone != "y" or sounds[at].phone == "uw" or not vowel:
        return vowel
    if sounds[at].phone == "er":
        return "*ア"
    is_i = sounds[at - 1].letters[-1:] == "i" and sounds[at].phone in ("ah", "aa", "ae", "ow")
    return "*" + dict(zip("aiueo", "アイウエオ", strict=True))[vowel[0]] + vowel[1:] if is_i else vowel


def of_phones(word: str, phones: list[str]) -> str:
    """A small-lettered English word in katakana, from its ARPAbet."""
    sounds = _aligned(word, phones)
    for at in range(len(sounds) - 2, 0, -1):  # the u of "actual", which no w follows in Japanese
        if (
            sounds[at].phone == "w"
            and sounds[at - 1].phone == "ah"
            and "u" in sounds[at - 1].letters + sounds[at].letters
        ):
            sounds[at - 1 : at + 1] = [_Sound("uh", 0, "u")]
    return _spell(sounds)
