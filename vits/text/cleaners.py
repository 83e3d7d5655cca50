"""The cleaners: which front end a checkpoint was trained with, by the name its config gives.

Follows text/cleaners.py of VITS-fast-fine-tuning, and of VITS for the two English ones. Where the originals stop at
a newline inside a language tag, these go on; the front ends are imported when a text first needs them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vits.text.errors import UnknownCleaner

Speak = Callable[[str], str]

_CJKE_CHINESE_OR_JAPANESE = (("ʧ", "tʃ"), ("ʦ", "ts"), ("ɥan", "ɥæn"))
_CJKE_ENGLISH = str.maketrans({"ɑ": "a", "ɔ": "o", "ɛ": "e", "ɪ": "i", "ʊ": "u"})


def _tagged(text: str, fronts: Mapping[str, Speak]) -> str:
    """The text with what stands between language tags in symbols, and closed by a mark."""
    for tag, speak in fronts.items():
        parts = re.split(rf"\[{tag}\](.*?)\[{tag}\]", text, flags=re.DOTALL)
        parts[1::2] = [speak(" ".join(part.split("\n"))) + " " for part in parts[1::2]]
        text = "".join(parts)
    text = re.sub(r"\s+$", "", text)
    return re.sub(r"([^\.,!\?\-…~])$", r"\1.", text)


def japanese_cleaners(text: str) -> str:
    """Japanese in romaji with accents."""
    from vits.text import japanese

    return re.sub(r"([A-Za-z])$", r"\1.", japanese.to_romaji(text))


def japanese_cleaners2(text: str) -> str:
    """As japanese_cleaners, with single symbols for ts and for three dots."""
    return japanese_cleaners(text).replace("ts", "ʦ").replace("...", "…")


def korean_cleaners(text: str) -> str:
    """Korean in single letters."""
    from vits.text import korean

    return re.sub(r"([\u3131-\u3163])$", r"\1.", korean.to_letters(text))


def chinese_cleaners(text: str) -> str:
    """Chinese in Bopomofo; [ZH] tags are allowed and mean nothing."""
    from vits.text import mandarin

    return re.sub(r"([ˉˊˇˋ˙])$", r"\1。", mandarin.to_bopomofo(text.replace("[ZH]", "")))


def zh_ja_mixture_cleaners(text: str) -> str:
    """Tagged Chinese and Japanese in romaji."""

    def chinese(part: str) -> str:
        from vits.text import mandarin

        return mandarin.to_romaji(part)

    def japanese(part: str) -> str:
        from vits.text.japanese import to_romaji

        return to_romaji(part).replace("ts", "ʦ").replace("u", "ɯ").replace("...", "…")

    return _tagged(text, {"ZH": chinese, "JA": japanese})


def cjks_cleaners(text: str) -> str:
    """Tagged Chinese, Japanese, Korean, Sanskrit and English in a reduced IPA."""

    def chinese(part: str) -> str:
        from vits.text import mandarin

        return mandarin.to_lazy_ipa(part)

    def japanese(part: str) -> str:
        from vits.text.japanese import to_ipa

        return to_ipa(part)

    def korean(part: str) -> str:
        from vits.text.korean import to_lazy_ipa

        return to_lazy_ipa(part)

    def sanskrit(part: str) -> str:
        from vits.text.sanskrit import to_ipa

        return to_ipa(part)

    def english(part: str) -> str:
        from vits.text.english import to_lazy_ipa

        return to_lazy_ipa(part)

    return _tagged(text, {"ZH": chinese, "JA": japanese, "KO": korean, "SA": sanskrit, "EN": english})


def _korean_ipa(part: str) -> str:
    from vits.text import korean

    return korean.to_ipa(part)


def _english_ipa2(part: str) -> str:
    from vits.text import english

    return english.to_ipa2(part)


def cjke_cleaners(text: str) -> str:
    """Tagged Chinese, Japanese, Korean and English in IPA."""
    from vits.text.rules import replace_all

    def chinese(part: str) -> str:
        from vits.text import mandarin

        return replace_all(_CJKE_CHINESE_OR_JAPANESE, mandarin.to_lazy_ipa(part))

    def japanese(part: str) -> str:
        from vits.text.japanese import to_ipa

        return replace_all((*_CJKE_CHINESE_OR_JAPANESE, ("ʥ", "dz")), to_ipa(part))

    def english(part: str) -> str:
        return _english_ipa2(part).translate(_CJKE_ENGLISH)

    return _tagged(text, {"ZH": chinese, "JA": japanese, "KO": _korean_ipa, "EN": english})


def cjke_cleaners2(text: str) -> str:
    """Tagged Chinese, Japanese, Korean and English in a finer IPA."""

    def chinese(part: str) -> str:
        from vits.text import mandarin

        return mandarin.to_ipa(part)

    def japanese(part: str) -> str:
        from vits.text.japanese import to_ipa2

        return to_ipa2(part)

    return _tagged(text, {"ZH": chinese, "JA": japanese, "KO": _korean_ipa, "EN": _english_ipa2})


def english_cleaners(text: str) -> str:
    """English in espeak's phonemes, without stress and punctuation."""
    from vits.text import espeak

    return espeak.to_phonemes(text, punctuation=False, stress=False)


def english_cleaners2(text: str) -> str:
    """English in espeak's phonemes, with stress and punctuation."""
    from vits.text import espeak

    return espeak.to_phonemes(text, punctuation=True, stress=True)


@dataclass(frozen=True, slots=True)
class Cleaner:
    """A cleaner and what it can speak."""

    clean: Speak
    languages: tuple[str, ...]
    """Languages it has a front end for, the most usual first: zh, ja, ko, en, sa."""
    tagged: bool
    """Whether it speaks only what stands between language tags."""


CLEANERS: dict[str, Cleaner] = {
    "chinese_cleaners": Cleaner(chinese_cleaners, ("zh",), tagged=False),
    "zh_ja_mixture_cleaners": Cleaner(zh_ja_mixture_cleaners, ("zh", "ja"), tagged=True),
    "cjke_cleaners": Cleaner(cjke_cleaners, ("zh", "ja", "ko", "en"), tagged=True),
    "cjke_cleaners2": Cleaner(cjke_cleaners2, ("zh", "ja", "ko", "en"), tagged=True),
    "cjks_cleaners": Cleaner(cjks_cleaners, ("zh", "ja", "ko", "sa", "en"), tagged=True),
    "japanese_cleaners": Cleaner(japanese_cleaners, ("ja",), tagged=False),
    "japanese_cleaners2": Cleaner(japanese_cleaners2, ("ja",), tagged=False),
    "korean_cleaners": Cleaner(korean_cleaners, ("ko",), tagged=False),
    "english_cleaners": Cleaner(english_cleaners, ("en",), tagged=False),
    "english_cleaners2": Cleaner(english_cleaners2, ("en",), tagged=False),
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
    return find(cleaner).clean(re.sub("[\ud800-\udfff]", "", text))
