"""Sanskrit in Devanagari as IPA, for the [SA] tag of cjks_cleaners.

Follows sanskrit.py of VITS-fast-fine-tuning; the transliteration to IAST is that of
indic_transliteration 2.3.37.
"""

from __future__ import annotations

import re

from vits.text.rules import replace_all

_CONSONANTS = dict(
    zip(
        "कखगघङचछजझञटठडढणतथदधनपफबभमयरलवशषसहळऩऱऴ\u0958\u0959\u095a\u095b\u095c\u095e\u095f",
        [
            "k",
            "kh",
            "g",
            "gh",
            "ṅ",
            "c",
            "ch",
            "j",
            "jh",
            "ñ",
            "ṭ",
            "ṭh",
            "ḍ",
            "ḍh",
            "ṇ",
            "t",
            "th",
            "d",
            "dh",
            "n",
            "p",
            "ph",
            "b",
            "bh",
            "m",
            "y",
            "r",
            "l",
            "v",
            "ś",
            "ṣ",
            "s",
            "h",
            "l̤",
            "ṉ",
            "ṟ",
            "ḻ",
            "q",
            "k͟h",
            "ġ",
            "z",
            "r̤",
            "f",
            "ẏ",
        ],
        strict=True,
    )
)
_VOWELS = dict(
    zip(
        "अआइईउऊऋॠऌॡएऐओऔऎऒ",
        ["a", "ā", "i", "ī", "u", "ū", "ṛ", "ṝ", "ḷ", "ḹ", "e", "ai", "o", "au", "è", "ò"],
        strict=True,
    )
)
_VOWEL_SIGNS = dict(
    zip("ािीुूृॄॢॣेैोौॆॊ", ["ā", "i", "ī", "u", "ū", "ṛ", "ṝ", "ḷ", "ḹ", "e", "ai", "o", "au", "è", "ò"], strict=True)
)
_VIRAMA = "्"
_OTHERS = {"ं": "ṃ", "ः": "ḥ", "ँ": "~", "ऽ": "'", "।": "|", "॥": "||"} | {
    chr(0x966 + digit): str(digit) for digit in range(10)
}
_TO_IPA = (
    ("a", "ə"),
    ("ā", "aː"),
    ("ī", "iː"),
    ("ū", "uː"),
    ("ṛ", "ɹ`"),
    ("ṝ", "ɹ`ː"),
    ("ḷ", "l`"),
    ("ḹ", "l`ː"),
    ("e", "eː"),
    ("o", "oː"),
    ("k", "k⁼"),
    ("k⁼h", "kʰ"),
    ("g", "g⁼"),
    ("g⁼h", "gʰ"),
    ("ṅ", "ŋ"),
    ("c", "ʧ⁼"),
    ("ʧ⁼h", "ʧʰ"),
    ("j", "ʥ⁼"),
    ("ʥ⁼h", "ʥʰ"),
    ("ñ", "n^"),
    ("ṭ", "t`⁼"),
    ("t`⁼h", "t`ʰ"),
    ("ḍ", "d`⁼"),
    ("d`⁼h", "d`ʰ"),
    ("ṇ", "n`"),
    ("t", "t⁼"),
    ("t⁼h", "tʰ"),
    ("d", "d⁼"),
    ("d⁼h", "dʰ"),
    ("p", "p⁼"),
    ("p⁼h", "pʰ"),
    ("b", "b⁼"),
    ("b⁼h", "bʰ"),
    ("y", "j"),
    ("ś", "ʃ"),
    ("ṣ", "s`"),
    ("r", "ɾ"),
    ("l̤", "l`"),
    ("h", "ɦ"),
    ("'", ""),
    ("~", "^"),
    ("ṃ", "^"),
)


def to_iast(text: str) -> str:
    """Devanagari in Latin letters; other characters as they are."""
    latin = ""
    for index, character in enumerate(text):
        following = text[index + 1 : index + 2]
        if character in _CONSONANTS:
            has_vowel = following == _VIRAMA or following in _VOWEL_SIGNS
            latin += _CONSONANTS[character] + ("" if has_vowel else "a")
        elif character != _VIRAMA:
            latin += _VOWELS.get(character) or _VOWEL_SIGNS.get(character) or _OTHERS.get(character, character)
    return latin


def to_ipa(text: str) -> str:
    """Sanskrit text in the IPA of cjks_cleaners."""
    text = text.replace("ॐ", "ओम्")
    text = re.sub(r"\s*।\s*$", ".", text)
    text = re.sub(r"\s*।\s*", ", ", text)
    text = re.sub(r"\s*॥", ".", text)
    text = replace_all(_TO_IPA, to_iast(text))
    return re.sub("(.)[`ː]*ḥ", lambda match: f"{match[0][:-1]}h{match[1]}*", text)
