"""What each front end writes, known without its libraries, to tell whether a symbol table can be its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SYLLABLES = {
    "zh": "妈你好中国是上去学天水人",
    "ja": "かきさしつてのひみやらわ",
    "ko": "가나다라마바사아자차하기",
    "en": "he go day see she thing now my boy but for you",
    "sa": "कगचजतदनपबमयर",
}
"""A dozen syllables of each language, which have most of its sounds."""

LETTERS = {
    "chinese_cleaners": {"zh": "ㄇㄚˉㄋㄧˇㄏㄠㄓㄨㄥㄍㄛˊㄕˋㄤㄑㄩㄒㄝㄊㄢㄟㄖㄣ"},
    "zh_ja_mixture_cleaners": {"zh": "ma→ni↓↑huʦ`⁼Ngkwosɹʧʰɥʃetyə", "ja": "ka↑Is↓ʃʦɯtenohimyrw"},
    "cjke_cleaners": {
        "zh": "ma→ni↓↑xuts`⁼ŋkwoɹʃʰɥejə",
        "ja": "ka↑i*s↓ʃtɯenoçmjɾw",
        "ko": "kandɾmbsʰʑtʃɦgi",
        "en": "higoudesʃθŋnambətfɹj",
    },
    "cjke_cleaners2": {
        "zh": "ma→ni↓↑xɑʊts`⁼ŋkwoɹʃʰɥɛjeɪə",
        "ja": "ka↑i*s↓ʃtɯenoçmjɾw",
        "ko": "kandɾmbsʰʑtʃɦgi",
        "en": "higoʊdeɪsʃθŋnambɔətfɹju",
    },
    "cjks_cleaners": {
        "zh": "ma→ni↓↑xuʦ`⁼ŋkwosɹʧʰɥʃetjə",
        "ja": "ka↑i*s↓ʃʦɯtenoçmjɾw",
        "ko": "kandɾmbsʰʥʧɦgi",
        "sa": "k⁼əgʧʥtdnpbmjɾ",
        "en": "higoudesʃŋnambətfɹj",
    },
    "japanese_cleaners": {"ja": "ka↑Is↓ʃtuenohimyrw"},
    "japanese_cleaners2": {"ja": "ka↑Is↓ʃʦutenohimyrw"},
    "korean_cleaners": {"ko": "ㄱㅏㄴㄷㄹㅁㅂㅅㅇㅈㅊㅎㅣ"},
    "english_cleaners": {"en": "hiːɡoʊdeɪsʃθŋnambɔʌtfɹju"},
    "english_cleaners2": {"en": "hiːɡˌoʊdˈeɪsʃθŋnambɔʌtfɹju"},
}
"""The letters and signs that each cleaner makes of those syllables. A test holds them equal to what it makes."""

_MARKS = frozenset(" .,!?…-~。")


def letters(cleaned: str) -> str:
    """The letters and signs of a cleaned text, each once."""
    return "".join(dict.fromkeys(character for character in cleaned if character not in _MARKS))


def known_letters(cleaner: str, symbols: Iterable[str], languages: Sequence[str] = ()) -> dict[str, float]:
    """The share of a cleaner's letters that a symbol table has, by language: of those given, or of all."""
    table = frozenset(symbols)
    return {
        language: sum(letter in table for letter in made) / len(made)
        for language, made in LETTERS.get(cleaner, {}).items()
        if not languages or language in languages
    }
