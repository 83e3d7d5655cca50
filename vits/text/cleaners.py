"""The cleaners: which front end a checkpoint was trained with, by the name its config gives.

Follows text/cleaners.py of VITS-fast-fine-tuning, and of VITS for the two English ones. Where the originals stop at
a newline inside a language tag, these go on.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from vits.errors import UnknownCleaner
from vits.limits import LONE_SURROGATES


@dataclass(frozen=True, slots=True)
class Cleaner:
    """A cleaner and what it can speak."""

    front_ends: Mapping[str, str]
    """Its function for each language (zh, ja, ko, en, sa) as "module:function", the most usual language first."""
    tagged: bool = True
    """Whether it speaks only what stands between language tags; one that does not has a single language."""

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages it has a front end for."""
        return tuple(self.front_ends)

    def clean(self, text: str) -> str:
        """The text in the cleaner's symbols."""
        if self.tagged:
            return _between_tags(text, self.front_ends)
        (front_end,) = self.front_ends.values()
        return _function(front_end)(text)


CLEANERS: dict[str, Cleaner] = {
    "chinese_cleaners": Cleaner({"zh": "vits.text.mandarin:to_closed_bopomofo"}, tagged=False),
    "zh_ja_mixture_cleaners": Cleaner(
        {"zh": "vits.text.mandarin:to_romaji", "ja": "vits.text.japanese:to_mixture_romaji"}
    ),
    "cjke_cleaners": Cleaner(
        {
            "zh": "vits.text.mandarin:to_cjke_ipa",
            "ja": "vits.text.japanese:to_cjke_ipa",
            "ko": "vits.text.korean:to_ipa",
            "en": "vits.text.english:to_cjke_ipa",
        }
    ),
    "cjke_cleaners2": Cleaner(
        {
            "zh": "vits.text.mandarin:to_ipa",
            "ja": "vits.text.japanese:to_ipa2",
            "ko": "vits.text.korean:to_ipa",
            "en": "vits.text.english:to_ipa2",
        }
    ),
    "cjks_cleaners": Cleaner(
        {
            "zh": "vits.text.mandarin:to_lazy_ipa",
            "ja": "vits.text.japanese:to_ipa",
            "ko": "vits.text.korean:to_lazy_ipa",
            "sa": "vits.text.sanskrit:to_ipa",
            "en": "vits.text.english:to_lazy_ipa",
        }
    ),
    "japanese_cleaners": Cleaner({"ja": "vits.text.japanese:to_closed_romaji"}, tagged=False),
    "japanese_cleaners2": Cleaner({"ja": "vits.text.japanese:to_closed_romaji2"}, tagged=False),
    "korean_cleaners": Cleaner({"ko": "vits.text.korean:to_closed_letters"}, tagged=False),
    "english_cleaners": Cleaner({"en": "vits.text.espeak:to_bare_phonemes"}, tagged=False),
    "english_cleaners2": Cleaner({"en": "vits.text.espeak:to_phonemes"}, tagged=False),
}


def find(cleaner: str) -> Cleaner:
    """The cleaner of that name. Raises UnknownCleaner."""
    try:
        return CLEANERS[cleaner]
    except KeyError:
        raise UnknownCleaner(cleaner, CLEANERS) from None


def languages(cleaner: str) -> tuple[str, ...]:
    """The languages that the named cleaner has front ends for. Raises UnknownCleaner."""
    return find(cleaner).languages


def clean(text: str, cleaner: str) -> str:
    """The text in the symbols of the named cleaner; language tags are part of the text. Raises UnknownCleaner."""
    return find(cleaner).clean(LONE_SURROGATES.sub("", text))


def tag_of(language: str) -> str:
    """The tag that stands on both sides of a text in that language."""
    return f"[{language.upper()}]"


def _between_tags(text: str, front_ends: Mapping[str, str]) -> str:
    """The text with what stands between language tags in symbols, and closed by a mark."""
    for language, front_end in front_ends.items():
        tag = re.escape(tag_of(language))
        parts = re.split(f"{tag}(.*?){tag}", text, flags=re.DOTALL)
        parts[1::2] = [_function(front_end)(" ".join(part.split("\n"))) + " " for part in parts[1::2]]
        text = "".join(parts)
    text = re.sub(r"\s+$", "", text)
    return re.sub(r"([^\.,!\?\-…~])$", r"\1.", text)


@cache
def _function(path: str) -> Callable[[str], str]:
    """The function that "module:function" names; a language's module is imported when a text first needs it."""
    module, _, name = path.partition(":")
    function: Callable[[str], str] = getattr(importlib.import_module(module), name)
    return function
