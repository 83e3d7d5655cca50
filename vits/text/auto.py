"""The language of each part of a text, told by its script, so that users need not write tags such as [ZH]...[ZH]."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from vits.text.japanese_names import standard

TAGS = {"ZH": "zh", "JA": "ja", "KO": "ko", "KR": "ko", "SA": "sa", "EN": "en"}
"""Languages by tag. The cleaners expect [KO]; the script that tags VITS-fast-fine-tuning's texts writes [KR]."""

_TAGGED = re.compile(rf"\[({'|'.join(TAGS)})\](.*?)\[\1\]", re.DOTALL | re.IGNORECASE | re.ASCII)
_TAG = re.compile(rf"\[(?:{'|'.join(TAGS)})\]", re.IGNORECASE | re.ASCII)

_HAN, _KANA, _HANGUL, _DEVANAGARI, _LATIN, _OTHER, _NUMBER, _NEUTRAL = (
    "han",
    "kana",
    "hangul",
    "devanagari",
    "latin",
    "other",
    "number",
    "neutral",
)
# A number's unit is read in the language of what stands around the number.
_UNITS = "km/h|[ckmnμ]?m[²³]?|m/s|[mk]?g|m?[lL]|[GMk]?Hz|[KMGT]B|[kM]?W|kWh|V|dB|°[CF]?|℃|℉|m?s|h|min"
_SCRIPTS = (
    (_NUMBER, rf"[$€£¥￥₩]?\d+(?:[.,:/]\d+)*(?:[%％‰]|\s?(?:{_UNITS})(?![A-Za-z]))?"),
    (_HAN, r"[\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]+"),
    (_KANA, r"[\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f]+"),
    (_HANGUL, r"[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff\uffa0-\uffdc]+"),
    (_DEVANAGARI, r"[\u0900-\u097f]+"),
    (
        _LATIN,
        r"(?:[a-zA-Z\uff21-\uff3a\uff41-\uff5a]|(?![×÷])[\u00c0-\u024f\u1e00-\u1eff])(?:[\u0300-\u036f]|['’](?=[a-zA-Z]))*",
    ),
    (_OTHER, r"[^\W\d_]"),
    (_NEUTRAL, r"[\W\d_]"),
)
_TOKEN = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _SCRIPTS))
_WIDE_MARKS = frozenset("，。、；：！？")
_OPENING = frozenset("([{<“‘「『（【《〈［｛¿¡#@&+-−$€£¥￥₩")


_HIRAGANA = re.compile("[\u3041-\u309f]")
# Words of Chinese that Japanese does not write in characters that it has.
_CHINESE_WORDS = re.compile(
    "[我你她吃很也吗呢吧把跟哪喝咱您]|今天|昨天|明天|后天|一个|一台|什么|没有|可以|因为|所以|去年在|怎么|现在|不是|不要|不会|不能|就是|还有|"
    "他的|是在|的是|了一|[买玩]"
)


class Span(NamedTuple):
    """A part of a text in one language."""

    text: str
    language: str | None
    """None where no front end of the cleaner can speak it."""


class _Token(NamedTuple):
    text: str
    script: str


@lru_cache(maxsize=4096)
def _is_in(character: str, charset: str) -> bool:
    try:
        character.encode(charset)
    except UnicodeEncodeError:
        return False
    return True


def _han_evidence(run: str) -> str | None:
    """The language that only has such characters: Japan's standard lacks 你 and 这, China's and Taiwan's lack 気."""
    if any(not _is_in(character, "shift_jis") for character in run):
        return "zh"
    if any(not _is_in(character, "gb2312") and not _is_in(character, "big5") for character in run):
        return "ja"
    return None


def _clauses(tokens: list[_Token]) -> list[list[_Token]]:
    """The tokens between commas, full stops, quotation marks and the like."""
    clauses: list[list[_Token]] = [[]]
    for token in tokens:
        clauses[-1].append(token)
        if token.script == _NEUTRAL and not token.text.isspace() and token.text not in "・-_~'’":
            clauses.append([])
    return clauses


class _Tagger:
    """Languages for the tokens of one text, as far as a cleaner has them."""

    def __init__(self, languages: Sequence[str], declared: Sequence[str], tokens: list[_Token]) -> None:
        self._languages = languages
        preferred = [language for language in declared if language in languages]
        self._first = (preferred or list(languages))[0]
        self._han_preference = next((language for language in preferred if language in ("zh", "ja")), None)
        self._han_languages = [language for language in ("zh", "ja") if language in languages]
        self._has_kana = any(token.script == _KANA for token in tokens)
        self._has_hiragana = any(token.script == _KANA and _HIRAGANA.search(token.text) for token in tokens)
        self._has_chinese = any(token.script == _HAN and self._evidence(token.text) == "zh" for token in tokens)

    def _evidence(self, run: str) -> str | None:
        """As _han_evidence has it; in a text with kana, variants such as 髙 are the Japanese characters they vary."""
        return _han_evidence(standard(run) if self._has_kana else run)

    def by_script(self, clause: list[_Token]) -> list[str | None]:
        """The language of each token whose script says it; None for the others."""
        undecided = self._undecided_han(clause)
        return [self._of(token, undecided) for token in clause]

    def _of(self, token: _Token, undecided: str | None) -> str | None:
        if token.script == _HAN:
            return self._of_han(token.text, undecided)
        language = {_KANA: "ja", _HANGUL: "ko", _DEVANAGARI: "sa", _LATIN: "en"}.get(token.script)
        return language if language in self._languages else None

    def _of_han(self, run: str, undecided: str | None) -> str | None:
        if len(self._han_languages) == 2:
            evidence = self._evidence(run)
            if evidence == "zh" or (evidence == "ja" and (self._has_kana or self._han_preference != "zh")):
                return evidence
        return undecided

    def _undecided_han(self, clause: list[_Token]) -> str | None:
        """The language of those runs of Han in a clause whose own characters do not tell it."""
        if len(self._han_languages) < 2:
            return self._han_languages[0] if self._han_languages else None
        kana = [token.text for token in clause if token.script == _KANA]
        if kana and not (self._is_a_loan(kana) and self._is_chinese(clause)):
            return "ja"
        if self._has_hiragana and not self._has_chinese:
            return "ja"
        evidence = {self._evidence(token.text) for token in clause if token.script == _HAN} - {None}
        if len(evidence) == 1:
            return evidence.pop()
        return self._han_preference or "zh"

    def _is_a_loan(self, kana: list[str]) -> bool:
        """Whether the only kana of a clause is one word in katakana, which Chinese texts borrow as they do English."""
        return len(kana) == 1 and not _HIRAGANA.search(kana[0])

    def _is_chinese(self, clause: list[_Token]) -> bool:
        """Whether a clause has Chinese characters or words, or stands in a text that has them and no hiragana."""
        runs = [token.text for token in clause if token.script == _HAN]
        if any(_CHINESE_WORDS.search(run) or self._evidence(run) == "zh" for run in runs):
            return True
        return self._has_chinese and not self._has_hiragana

    def neighbourly(self, tokens: list[_Token], known: list[str | None]) -> list[str | None]:
        """The languages, where each token that any front end can take has that of a neighbour."""
        following = self._following(tokens, known)
        filled: list[str | None] = []
        before: str | None = None
        is_after_wide_mark = touches_last = False
        for token, language, (after, touches_next) in zip(tokens, known, following, strict=True):
            if language is None and not self._is_unspeakable(token):
                if before is None or (touches_next and not (touches_last and token.script == _NUMBER)):
                    language = after or before or self._first
                elif is_after_wide_mark and before == "en" and token.script == _NUMBER:
                    language = after or before
                else:
                    language = before
            elif language is not None:
                before, is_after_wide_mark = language, False
            is_after_wide_mark |= token.text in _WIDE_MARKS
            touches_last = token.script not in (_NUMBER, _NEUTRAL)
            filled.append(language)
        return filled

    def _following(self, tokens: list[_Token], known: list[str | None]) -> list[tuple[str | None, bool]]:
        """For each token the next known language, and whether only numbers and opening marks stand before it."""
        following: list[tuple[str | None, bool]] = []
        after: str | None = None
        touches = False
        for token, language in zip(reversed(tokens), reversed(known), strict=True):
            if language is not None:
                after, touches = language, True
            else:
                touches = touches and (token.script == _NUMBER or token.text in _OPENING)
            following.append((after, touches))
        return following[::-1]

    def _is_unspeakable(self, token: _Token) -> bool:
        if token.script == _LATIN:
            return not set(self._languages) & {"zh", "ja", "ko"}
        return token.script not in (_NUMBER, _NEUTRAL)


def _tokens(text: str) -> list[_Token]:
    found = [_Token(match[0], match.lastgroup or _NEUTRAL) for match in _TOKEN.finditer(text)]
    joined = []
    for script, group in groupby(found, lambda token: token.script):
        if script in (_NUMBER, _NEUTRAL):
            joined += list(group)
        else:
            joined.append(_Token("".join(token.text for token in group), script))
    return joined


def _merged(spans: list[Span]) -> list[Span]:
    merged = []
    for language, group in groupby((span for span in spans if span.text), lambda span: span.language):
        merged.append(Span("".join(span.text for span in group), language))
    return merged


def by_script(text: str, languages: Sequence[str], declared: Sequence[str] = ()) -> list[Span]:
    """The text without tags cut into runs of one language each, of those given.

    Han goes with the kana beside it. Numbers go with the letters they touch, marks with what stands before them.
    `declared`, the languages a model is said to speak, breaks ties.
    """
    tokens = _tokens(text)
    tagger = _Tagger(languages, declared, tokens)
    known = [language for clause in _clauses(tokens) for language in tagger.by_script(clause)]
    filled = tagger.neighbourly(tokens, known)
    return _merged([Span(token.text, language) for token, language in zip(tokens, filled, strict=True)])


def spans(text: str, languages: Sequence[str], declared: Sequence[str] = (), language: str | None = None) -> list[Span]:
    """The whole text in runs of one language each: by its tags, else in `language`, else by script.

    Tags may hold newlines and other tags. Those of languages that the cleaner lacks, and those that are not closed,
    are left out as if they had not been written.
    """
    found: list[Span] = []
    position = 0
    for match in _TAGGED.finditer(text):
        found += _untagged(text[position : match.start()], languages, declared, language)
        tagged = TAGS[match[1].upper()]
        found += spans(match[2], languages, declared, tagged if tagged in languages else language)
        position = match.end()
    return _merged(found + _untagged(text[position:], languages, declared, language))


def _untagged(text: str, languages: Sequence[str], declared: Sequence[str], language: str | None) -> list[Span]:
    text = _TAG.sub("", text)
    return [Span(text, language)] if language else by_script(text, languages, declared)
