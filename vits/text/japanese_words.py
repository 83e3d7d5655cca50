"""Words that OpenJTalk misreads, with their readings: a user dictionary that prepared texts are read with.

Words of the internet, titles, names of artists, actors, writers, athletes and characters, and common words that
OpenJTalk gives the rarer reading. The exact cleaners know nothing of it. japanese_words.dic, made from the table by
`python -c "from vits.text import japanese_words as words; words.compile_to(words.COMPILED)"`, is shipped because
OpenJTalk prints to the process's standard output as it compiles.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from vits.text.libraries import load

COMPILED = Path(__file__).with_suffix(".dic")

# Each word with how it is said and the mora after which the pitch falls, 0 where it does not fall.
_WORDS = """
滑舌/カツゼツ/0 鬼滅の刃/キメツノヤイバ/4 陽キャ/ヨーキャ/0 陰キャ/インキャ/0 呪術廻戦/ジュジュツカイセン/5
爆速/バクソク/0 東京喰種/トーキョーグール/5 禰豆子/ネズコ/1 竈門禰豆子/カマドネズコ/4 黙食/モクショク/0
黙浴/モクヨク/0 尊死/トートシ/0 親ガチャ/オヤガチャ/3 胸熱/ムネアツ/0 腐女子/フジョシ/2 腐男子/フダンシ/2
喪女/モジョ/1 担降り/タンオリ/0 米津玄師/ヨネズケンシ/4 星野源/ホシノゲン/4 情強/ジョーキョー/0 微課金/ビカキン/2
詫び石/ワビイシ/2 勝ち確/カチカク/0 負け確/マケカク/0 限凸/ゲントツ/0 禿同/ハゲドー/0 厨二/チューニ/1
操虫棍/ソーチューコン/3 狩猟笛/シュリョーブエ/4 黒龍/コクリュー/0 斬魄刀/ザンパクトー/0 四皇/ヨンコー/0
七武海/シチブカイ/3 呪霊/ジュレー/0 千本桜/センボンザクラ/5 廻廻奇譚/カイカイキタン/5 残響散歌/ザンキョーサンカ/5
紅蓮華/グレンゲ/2 冬景色/フユゲシキ/3 天城越え/アマギゴエ/0 鬼殺隊/キサツタイ/0 柱合会議/チューゴーカイギ/5
血鬼術/ケッキジュツ/3 炎柱/エンバシラ/3 卍解/バンカイ/0 担々麺/タンタンメン/3 地獄楽/ジゴクラク/3
化物語/バケモノガタリ/5 自来也/ジライヤ/0 巡音ルカ/メグリネルカ/5 重音テト/カサネテト/4 結月ゆかり/ユズキユカリ/4
山姥切国広/ヤマンバギリクニヒロ/8 へし切長谷部/ヘシキリハセベ/5
鶴丸国永/ツルマルクニナガ/6 加州清光/カシューキヨミツ/5
煉獄杏寿郎/レンゴクキョージュロー/7 藤井風/フジイカゼ/4 我妻善逸/アガツマゼンイツ/5 善逸/ゼンイツ/1
嘴平伊之助/ハシビライノスケ/6 冨岡義勇/トミオカギユー/5 宇髄天元/ウズイテンゲン/4 時透無一郎/トキトームイチロー/7
甘露寺蜜璃/カンロジミツリ/5 伊黒小芭内/イグロオバナイ/4 不死川実弥/シナズガワサネミ/6 悲鳴嶼行冥/ヒメジマギョーメー/5
猗窩座/アカザ/0 童磨/ドーマ/1 黒死牟/コクシボー/3 堕姫/ダキ/1 妓夫太郎/ギュータロー/1 栗花落カナヲ/ツユリカナオ/4
産屋敷耀哉/ウブヤシキカガヤ/6 虎杖悠仁/イタドリユージ/5 七海建人/ナナミケント/4 漏瑚/ジョーゴ/1
緑谷出久/ミドリヤイズク/5 爆豪勝己/バクゴーカツキ/5 轟焦凍/トドロキショート/5
麗日お茶子/ウララカオチャコ/6 猫猫/マオマオ/1 壬氏/ジンシ/1
愛久愛海/アクアマリン/4 瑠美衣/ルビー/1 中野一花/ナカノイチカ/4 中野二乃/ナカノニノ/4 中野三玖/ナカノミク/4
中野四葉/ナカノヨツバ/4 中野五月/ナカノイツキ/4 花垣武道/ハナガキタケミチ/6 龍宮寺堅/リューグージケン/6
阿良々木/アララギ/2 式波/シキナミ/0 犬神家/イヌガミケ/0 芥見下々/アクタミゲゲ/5 吾峠呼世晴/ゴトーゲコヨハル/5
諫山創/イサヤマハジメ/5 岸本斉史/キシモトマサシ/5 久保帯人/クボタイト/3 羽海野チカ/ウミノチカ/4 凪良ゆう/ナギラユー/4
菅田将暉/スダマサキ/3 常田大希/ツネタダイキ/4 家入レオ/イエイリレオ/5 崎山蒼志/サキヤマソーシ/5 須田景凪/スダケーナ/3
大森元貴/オーモリモトキ/5 若井滉斗/ワカイヒロト/4 藤澤涼架/フジサワリョーカ/5 勢喜遊/セキユー/3
生田絵梨花/イクタエリカ/4 指原莉乃/サシハラリノ/5
平野紫耀/ヒラノショー/4 道枝駿佑/ミチエダシュンスケ/5 岩本照/イワモトヒカル/5
宮舘涼太/ミヤダテリョータ/5 橋本環奈/ハシモトカンナ/5 吉岡里帆/ヨシオカリホ/5 深田恭子/フカダキョーコ/4
上白石萌音/カミシライシモネ/7 上白石萌歌/カミシライシモカ/7 永野芽郁/ナガノメー/4 森七菜/モリナナ/3
清原果耶/キヨハラカヤ/5 山崎賢人/ヤマザキケント/5 松坂桃李/マツザカトーリ/5 賀来賢人/カクケント/3
中村倫也/ナカムラトモヤ/5 神木隆之介/カミキリューノスケ/4 新田真剣佑/アラタマッケンユー/5 眞栄田郷敦/マエダゴードン/4
宮崎駿/ミヤザキハヤオ/5 小津安二郎/オズヤスジロー/5 悠木碧/ユーキアオイ/4 神谷浩史/カミヤヒロシ/4 梶裕貴/カジユーキ/3
花江夏樹/ハナエナツキ/4 松岡禎丞/マツオカヨシツグ/5
内田真礼/ウチダマアヤ/4 雨宮天/アマミヤソラ/5 茅野愛衣/カヤノアイ/4
鬼頭明里/キトーアカリ/4 下野紘/シモノヒロ/4
石川界人/イシカワカイト/5 豊崎愛生/トヨサキアキ/5 竹達彩奈/タケタツアヤナ/5
上坂すみれ/ウエサカスミレ/5 東山奈央/トーヤマナオ/5 綾辻行人/アヤツジユキト/5 樋口一葉/ヒグチイチヨー/4
久保建英/クボタケフサ/3 冨安健洋/トミヤスタケヒロ/5 佐々木朗希/ササキローキ/4 今永昇太/イマナガショータ/5
池江璃花子/イケエリカコ/4 早田ひな/ハヤタヒナ/4 宇野昌磨/ウノショーマ/3 照ノ富士/テルノフジ/3 水卜麻美/ミウラアサミ/4
黒閃/コクセン/0 十二鬼月/ジューニキズキ/4 獪岳/カイガク/0 不死川玄弥/シナズガワゲンヤ/6 界王拳/カイオーケン/0
尸魂界/ソールソサエティ/4 朽木白哉/クチキビャクヤ/4 藍染惣右介/アイゼンソースケ/5 更木剣八/ザラキケンパチ/4
四楓院夜一/シホーインヨルイチ/7 虚圏/ウェコムンド/3 百鬼あやめ/ナキリアヤメ/4 宝鐘マリン/ホーショーマリン/5
兎田ぺこら/ウサダペコラ/4 星街すいせい/ホシマチスイセー/5 夏色まつり/ナツイロマツリ/5 戌神ころね/イヌガミコロネ/5
天音かなた/アマネカナタ/4 獅白ぼたん/シシロボタン/4 風真いろは/カザマイロハ/4 沙花叉クロヱ/サカマタクロエ/5
月ノ美兎/ツキノミト/4 剣持刀也/ケンモチトーヤ/5 壱百満天原/ヒャクマンテンバラ/5 椎名唯華/シーナユイカ/4
加賀美ハヤト/カガミハヤト/4 原神/ゲンシン/0 刻晴/コクセー/0 珊瑚宮心海/サンゴノミヤココミ/6 月村手毬/ツキムラテマリ/5
花海咲季/ハナミサキ/4
"""
# Words that OpenJTalk has in the rarer reading. They must cost less than its own rows do.
_REREAD = """
他人事/ヒトゴト/0 重複/チョーフク/0 明後日/アサッテ/2 二十歳/ハタチ/1 払拭/フッショク/0 凸凹/デコボコ/0
目途/メド/1 川面/カワモ/0 其処/ソコ/0 此処/ココ/0
"""
_COST, _COST_OF_REREAD = 4000, 1
"""How unlikely a cut with such a word is. Cheaper ones would be found in 藤井|風太 and 二重|複合 too."""
_VERBAL = frozenset(["重複", "払拭"])
_SMALL = frozenset("ァィゥェォャュョヮ")

_in_use: ContextVar[bool] = ContextVar("japanese_words", default=False)


@contextmanager
def used(in_use: bool) -> Iterator[None]:
    """A context in which Japanese is read with these words, or without."""
    token = _in_use.set(in_use)
    try:
        yield
    finally:
        _in_use.reset(token)


def are_used() -> bool:
    """Whether Japanese is to be read with these words here."""
    return _in_use.get()


def readings() -> dict[str, str]:
    """How each word is said, in katakana."""
    return {word: kana for word, kana, _ in _rows()}


def _rows() -> list[tuple[str, str, str]]:
    rows = [row.split("/") for row in (_WORDS + _REREAD).split()]
    return [(word, kana, accent) for word, kana, accent in rows]


def compile_to(path: Path) -> None:
    """Compile the table into a dictionary of OpenJTalk; prints its progress."""
    lines = []
    for word, kana, accent in _rows():
        cost = _COST_OF_REREAD if f"{word}/" in _REREAD else _COST
        kind = "サ変接続" if word in _VERBAL else "一般"
        morae = sum(character not in _SMALL for character in kana)
        lines.append(f"{word},,,{cost},名詞,{kind},*,*,*,*,{word},{kana},{kana},{accent}/{morae},*\n")
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "words.csv"
        table.write_text("".join(lines), encoding="utf-8")
        load("pyopenjtalk", "Japanese").mecab_dict_index(str(table), str(path))
