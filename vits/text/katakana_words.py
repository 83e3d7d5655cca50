"""English words of Japanese sentences in katakana, as a Japanese speaker says them.

Names and common words come from a table, other English words from their sounds in the CMU dictionary, Japanese words in
Latin letters from their spelling, and longer words that no dictionary has from a guess. Words that OpenJTalk knows,
acronyms (capitals) and short unknown words stay as they are: OpenJTalk says the latter letter by letter.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from vits.errors import MissingLibrary
from vits.text import katakana
from vits.text.rules import fold

_WORDS = """
github ギットハブ gitlab ギットラブ git ギット python パイソン chatgpt チャットジーピーティー docker ドッカー
netflix ネットフリックス tiktok ティックトック discord ディスコード line ライン spotify スポティファイ zoom ズーム
excel エクセル instagram インスタグラム slack スラック linux リナックス ubuntu ウブントゥ debian デビアン
windows ウィンドウズ macos マックオーエス ios アイオーエス iphone アイフォーン ipad アイパッド android アンドロイド
google グーグル gmail ジーメール chrome クローム firefox ファイアーフォックス safari サファリ youtube ユーチューブ
youtuber ユーチューバー vtuber ブイチューバー twitter ツイッター facebook フェイスブック amazon アマゾン
apple アップル microsoft マイクロソフト openai オープンエーアイ claude クロード gemini ジェミニ
copilot コパイロット nvidia エヌビディア intel インテル tesla テスラ uber ウーバー paypay ペイペイ paypal ペイパル
rakuten ラクテン mercari メルカリ nintendo ニンテンドー switch スイッチ playstation プレイステーション
xbox エックスボックス steam スチーム minecraft マインクラフト pokemon ポケモン twitch ツイッチ notion ノーション
figma フィグマ photoshop フォトショップ powerpoint パワーポイント word ワード outlook アウトルック teams チームズ
wikipedia ウィキペディア java ジャバ javascript ジャバスクリプト typescript タイプスクリプト rust ラスト
ruby ルビー react リアクト mysql マイエスキューエル postgresql ポストグレスキューエル kubernetes クバネティス
nginx エンジンエックス wifi ワイファイ bluetooth ブルートゥース ok オーケー etc エトセトラ vs バーサス
pdf ピーディーエフ network ネットワーク coffee コーヒー machine マシン programming プログラミング
program プログラム camera カメラ video ビデオ business ビジネス schedule スケジュール customer カスタマー
birthday バースデー container コンテナ channel チャンネル debug デバッグ the ザ to トゥー window ウィンドウ
tv テレビ wi ワイ fi ファイ ph ピーエイチ hoge ホゲ piyo ピヨ plugin プラグイン training トレーニング
kpop ケーポップ wordpress ワードプレス login ログイン logout ログアウト email イーメール
"""
_TABLE = dict(zip(_WORDS.split()[::2], _WORDS.split()[1::2], strict=True))
_WORD = re.compile(r"[A-Za-z]++(?:['’](?:s|t|re|ve|ll|d|m)\b)?", re.ASCII)
_HUMP = re.compile("(?<=[a-z])(?=[A-Z])")
_LONGEST = 24
_SHORTEST_CAPITALS, _SHORTEST_ROMAJI, _SHORTEST_GUESS = 5, 4, 5

_MORAE = (
    " アイウエオ|k カキクケコ|g ガギグゲゴ|s サシスセソ|z ザジズゼゾ|t タチツテト|d ダヂヅデド|"
    "n ナニヌネノ|h ハヒフヘホ|b バビブベボ|p パピプペポ|m マミムメモ|r ラリルレロ"
)
_ROMAJI = {
    row + vowel: kana
    for row, _, morae in (part.partition(" ") for part in _MORAE.split("|"))
    for vowel, kana in zip("aiueo", morae, strict=True)
}
_ROMAJI |= {
    row + "y" + vowel: _ROMAJI[row + "i"] + small
    for row in "kgnhbpmr"
    for vowel, small in zip("auo", "ャュョ", strict=True)
}
_ROMAJI |= {
    row + vowel: kana + small
    for row, kana in (("sh", "シ"), ("ch", "チ"), ("j", "ジ"))
    for vowel, small in zip("auo", "ャュョ", strict=True)
}
_ROMAJI |= dict(
    zip(("shi", "chi", "tsu", "fu", "ji", "ya", "yu", "yo", "wa", "n"), "シチツフジヤユヨワン", strict=True)
)
for _not_hepburn in ("si", "ti", "tu", "hu", "zi", "di", "du"):
    del _ROMAJI[_not_hepburn]
_SYLLABLE = re.compile(
    "(?P<double>k(?=k)|s(?=s)|p(?=p)|t(?=t|ch))?+"
    "(?P<mora>(?:[kgsztdnhbpmyrwfj]|sh|ch|ts|[kgnhbpmr]y)?[aiueo]|n(?![aiueoy]))"
)

# How letters sound in a word that no dictionary has, longest first: names are mostly said as they are spelt.
_GUESSES = (
    "tion sh ah0 n|sch sh|tch ch|igh ay1|ee iy1|ea iy1|oo uw1|ou uw1|ai ey1|ay ey1|oa ow1|au ao1|aw ao1|"
    "ow ow1|ch ch|sh sh|th th|ph f|ck k|qu k w|ng ng|wh w|kn n|er er0|ir er1|ur er1|ar aa1 r|or ao1 r|bb b|"
    "cc k|dd d|ff f|gg g|ll l|mm m|nn n|pp p|rr r|ss s|tt t|zz z|a ah1|b b|c k|d d|e eh1|f f|g g|h hh|i ih1|"
    "j jh|k k|l l|m m|n n|o aa1|p p|q k|r r|s s|t t|u uh1|v v|w w|x k s|z z|"
)
_SOUNDS = tuple(
    (letters, sound.split()) for letters, _, sound in (p.partition(" ") for p in _GUESSES.strip("|").split("|"))
)
_LONG_BEFORE_E = {"a": "ey1", "i": "ay1", "o": "ow1", "u": "uw1"}


def _of_romaji(word: str) -> str:
    """A word in Hepburn's romaji in katakana; empty where it is none."""
    kana, at = "", 0
    while match := _SYLLABLE.match(word, at):
        mora, double = _ROMAJI.get(match["mora"], ""), match["double"] or ""
        if not mora:
            return ""
        kana += ("ッ" if double else "") + mora
        at = match.end()
    return kana if at == len(word) else ""


def _guessed(word: str) -> list[str]:
    """The ARPAbet of a word that no dictionary has, by its spelling."""
    phones: list[str] = []
    at = 0
    while at < len(word):
        rest = word[at:]
        letters, sound = rest[0], list[str]()
        if re.fullmatch("[aiou][bcdfgklmnpstvz]e", rest):
            sound = [_LONG_BEFORE_E[rest[0]]]
        elif rest == "e" and len(phones) > 1:
            sound = []
        elif rest[0] == "c" and rest[1:2] in tuple("eiy"):
            sound = ["s"]
        elif rest[0] == "y":
            sound = ["iy0" if len(rest) == 1 else "y" if rest[1] in "aeiou" else "ih1"]
        else:
            letters, sound = next((pair for pair in _SOUNDS if rest.startswith(pair[0])), (letters, sound))
        phones += sound
        at += len(letters)
    return phones


def _is_known_to_openjtalk(word: str) -> bool:
    from vits.text.japanese import words

    return all(part["pos"] not in ("フィラー", "記号") for part in words(word))


@cache
def _has_dictionary() -> bool:
    from vits.text.english import pronunciations

    try:
        return bool(pronunciations("a"))
    except MissingLibrary:
        return False


@lru_cache(maxsize=4096)
def _spoken(word: str) -> str:
    """One word in katakana, or as it was."""
    from vits.text.english import pronunciations

    small = fold(word)
    if small in _TABLE:
        return _TABLE[small]
    humps = _HUMP.split(word)
    if len(humps) > 1:
        return "".join(map(_spoken, humps))
    is_acronym = word.isupper() and len(word) < _SHORTEST_CAPITALS
    if len(word) == 1 or len(word) > _LONGEST or is_acronym or _is_known_to_openjtalk(word) or not _has_dictionary():
        return word
    letters = re.sub("['’]", "", small)
    if entries := pronunciations(small.replace("’", "'")):
        return katakana.of_phones(letters, entries[0].split()) or word
    if word.isupper() or not re.search("[aeiouy]", letters):
        return word
    if len(letters) >= _SHORTEST_ROMAJI and (kana := _of_romaji(letters)):
        return kana
    return katakana.of_phones(letters, _guessed(letters)) if len(letters) >= _SHORTEST_GUESS else word


def spell(text: str) -> str:
    """A Japanese text with its English words in katakana."""
    return _WORD.sub(lambda match: _spoken(match[0]), text)
