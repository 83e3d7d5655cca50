"""Chinese, Japanese and Korean numbers, dates, units and symbols in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vits.text.mandarin import number_to_chinese
from vits.text.numbers import is_fraction

_NUMBER = r"\d++(?:\.\d++)?"
_CHINESE_DIGITS = "零一二三四五六七八九"
_SPOKEN_DIGITS = str.maketrans("0123456789", "零幺二三四五六七八九")
_JAPANESE_DIGITS = ("ゼロ", "イチ", "ニ", "サン", "ヨン", "ゴ", "ロク", "ナナ", "ハチ", "キュウ")
_KOREAN_DIGITS = "영일이삼사오육칠팔구"
_CURRENCY_SIGNS = ("US$", "HK$", "$", "€", "£", "¥", "￥", "₩", "₹", "₽", "฿")
_UNITS = [
    "km/h",
    "km²",
    "km2",
    "m²",
    "m2",
    "cm²",
    "m³",
    "m3",
    "m/s",
    "km",
    "cm",
    "mm",
    "nm",
    "μm",
    "m",
    "kg",
    "mg",
    "g",
    "ml",
    "mL",
    "L",
    "t",
    "GHz",
    "MHz",
    "kHz",
    "Hz",
    "GB",
    "MB",
    "KB",
    "TB",
    "kWh",
    "kW",
    "W",
    "V",
    "A",
    "Ω",
    "dB",
    "°C",
    "°F",
    "℉",
    "°",
    "℃",
    "h",
    "min",
    "s",
    "ms",
    "ft",
    "lb",
]


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of a language; {} stands for the number, {a} and {b} for two of them."""

    percent: str
    permille: str
    date: str
    hour: str
    minutes: str
    seconds: str
    fraction: str
    mixed: str
    minus: str
    less: str
    times: str
    power: str
    to: str
    point: str
    currencies: Mapping[str, str]
    units: Mapping[str, str]
    signs: Mapping[str, str]
    scales: str
    about: str
    per: str = ""
    """What a slash between money or a count and one of something says."""


def _units(names: str) -> dict[str, str]:
    return {unit: name.replace("_", " ") for unit, name in zip(_UNITS, names.split(), strict=True) if name != "-"}


def _currencies(names: str) -> dict[str, str]:
    return dict(zip(_CURRENCY_SIGNS, names.split(), strict=True))


_WORDS = {
    "zh": _Words(
        percent="百分之{}",
        permille="千分之{}",
        date="{}年{}月{}日",
        hour="{}点",
        minutes="{}分",
        seconds="{}秒",
        fraction="{b}分之{a}",
        mixed="又",
        minus="负",
        less="减",
        times="乘",
        power="的{}次方",
        to="到",
        point="点",
        currencies=_currencies("美元 港元 美元 欧元 英镑 元 元 韩元 卢比 卢布 泰铢"),
        units=_units(
            "公里每小时 平方公里 平方公里 平方米 平方米 平方厘米 立方米 立方米 米每秒 公里 厘米 毫米 纳米 微米 米 "
            "公斤 毫克 克 毫升 毫升 升 吨 吉赫兹 兆赫兹 千赫兹 赫兹 - - - - 千瓦时 千瓦 瓦 伏 安 欧姆 "
            "分贝 摄氏度 华氏度 华氏度 度 摄氏度 小时 分钟 秒 毫秒 英尺 磅"
        ),
        signs={
            "+": "加",
            "×": "乘",
            "÷": "除以",
            "=": "等于",
            "<": "小于",
            ">": "大于",
            "&": "和",
            "@": "艾特",
            "±": "正负",
            "≤": "小于等于",
            "≥": "大于等于",
            "≈": "约等于",
            "≠": "不等于",
            "²": "的平方",
            "³": "的立方",
            "√": "根号",
            "∞": "无穷大",
            "π": "派",
        },
        scales="千万亿",
        about="约",
        per="每",
    ),
    "ja": _Words(
        percent="{}パーセント",
        permille="{}パーミル",
        date="{}年{}月{}日",
        hour="{}時",
        minutes="{}分",
        seconds="{}秒",
        fraction="{b}分の{a}",
        mixed="と",
        minus="マイナス",
        less="マイナス",
        times="かける",
        power="の{}乗",
        to="から",
        point="点",
        currencies=_currencies("ドル 香港ドル ドル ユーロ ポンド 円 円 ウォン ルピー ルーブル バーツ"),
        units=_units(
            "キロメートル毎時 平方キロメートル 平方キロメートル 平方メートル 平方メートル 平方センチメートル "
            "立方メートル 立方メートル メートル毎秒 キロメートル センチメートル ミリメートル ナノメートル "
            "マイクロメートル メートル キログラム ミリグラム グラム ミリリットル ミリリットル リットル トン "
            "ギガヘルツ メガヘルツ キロヘルツ ヘルツ ギガバイト メガバイト キロバイト テラバイト キロワット時 "
            "キロワット ワット ボルト アンペア オーム デシベル 度 華氏度 華氏度 度 度 時間 分 秒 ミリ秒 フィート ポンド"
        ),
        signs={
            "+": "プラス",
            "×": "かける",
            "÷": "わる",
            "=": "イコール",
            "<": "小なり",
            ">": "大なり",
            "&": "アンド",
            "@": "アットマーク",
            "±": "プラスマイナス",
            "≤": "小なりイコール",
            "≦": "小なりイコール",
            "≥": "大なりイコール",
            "≧": "大なりイコール",
            "≈": "ほぼイコール",
            "≒": "ほぼイコール",
            "≠": "ノットイコール",
            "²": "の二乗",
            "³": "の三乗",
            "√": "ルート",
            "∞": "無限大",
            "π": "パイ",
        },
        scales="千万億兆",
        about="約",
    ),
    "ko": _Words(
        percent="{} 퍼센트",
        permille="{} 퍼밀",
        date="{}년 {}월 {}일",
        hour="{}시",
        minutes=" {}분",
        seconds=" {}초",
        fraction="{b}분의 {a}",
        mixed="과 ",
        minus="마이너스 ",
        less=" 빼기 ",
        times=" 곱하기 ",
        power="의 {}승",
        to="에서 ",
        point="점",
        currencies=_currencies("달러 홍콩달러 달러 유로 파운드 엔 엔 원 루피 루블 바트"),
        units=_units(
            "킬로미터매시 제곱킬로미터 제곱킬로미터 제곱미터 제곱미터 제곱센티미터 세제곱미터 세제곱미터 미터매초 "
            "킬로미터 센티미터 밀리미터 나노미터 마이크로미터 미터 킬로그램 밀리그램 그램 밀리리터 밀리리터 리터 톤 "
            "기가헤르츠 메가헤르츠 킬로헤르츠 헤르츠 기가바이트 메가바이트 킬로바이트 테라바이트 킬로와트시 킬로와트 "
            "와트 볼트 암페어 옴 데시벨 도 화씨_도 화씨_도 도 도 시간 분 초 밀리초 피트 파운드"
        ),
        signs={
            "+": " 더하기 ",
            "×": " 곱하기 ",
            "÷": " 나누기 ",
            "=": "는 ",
            "<": " 작다 ",
            ">": " 크다 ",
            "&": " 그리고 ",
            "@": " 골뱅이 ",
            "±": " 플러스마이너스 ",
            "≤": " 작거나 같다 ",
            "≥": " 크거나 같다 ",
            "≈": " 약 ",
            "≠": " 같지 않다 ",
            "²": " 제곱",
            "³": " 세제곱",
            "√": " 루트 ",
            "∞": " 무한대 ",
            "π": " 파이 ",
        },
        scales="천만억조",
        about="약 ",
    ),
}
# Letters that are names as often as units: 5A级, 5g手机, 4s店, 1t硬盘. What follows tells which.
_LETTER_UNITS = frozenset("gGtTmMsShLWVAK")
_NAMED_BY = re.compile(
    r"\s?(?:[级級型版款码碼店座栋棟区區班号號楼樓室键鍵口线線路代卡档檔]|手机|手機|网|網|信号|信號|时代|時代|通信|通讯|技术|技術|基站|芯片|套餐|流量|"
    r"频段|硬盘|硬碟|内存|記憶體|存储|固态|空间|容量|机械|宽带|带宽|光纤|景区|景點|大作|大片|游戏|遊戲|公司|广告|音频|粉丝|电影|画质|直播|显示|屏|电视|"
    r"スマホ|ネット|回線|通信|ランク|級|サイズ|メモリ|ディスク|テレビ|画質|対応|時代)"
)
_UNIT = re.compile(
    rf"(?<![\d.])({_NUMBER})\s?({'|'.join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))})"
    r"(?![A-Za-z\d/])"
)
_CURRENCY = re.compile(
    rf"({'|'.join(re.escape(sign) for sign in _CURRENCY_SIGNS)})\s?({_NUMBER})([千万亿億兆천만억조]*)"
)
_CURRENCY_AFTER = re.compile(rf"(?<![\d.])({_NUMBER})\s?([$€£₩₹₽฿])")
_DATE = re.compile(r"(?<![\d/.-])(\d{4})([-/.])(1[0-2]|0?[1-9])\2(3[01]|[12]\d|0?[1-9])(?![\d/.-]*\d)")
_TIME = re.compile(r"(?<![\d:.])([01]?\d|2[0-4])[:：]([0-5]\d)(?:[:：]([0-5]\d))?(?![\d:：])")
_SLASH = re.compile(r"(?<![\d/.A-Za-z])(?:(\d{1,6})(?: |-)(?=\d{1,2}/\d))?(\d{1,3})/(\d{1,4})(?![\d/]|\.\d|[A-Za-z])")
_RANGE = re.compile(rf"(?<![\d.-])({_NUMBER})\s?([-~～〜–—])\s?({_NUMBER})(?![\d-]|\.\d)")
_DOTTED = re.compile(r"(?<![\d.])\d+(?:\.\d+)+")
_YEARS = re.compile(r"(?<![\d.-])((?:1[89]|20)\d\d)(年?)\s?[-~～〜–—至到]\s?((?:1[89]|20)\d\d)(?=年)")

# Something counted on the left of a hyphen: a number or a letter, with up to three characters of its unit.
_COUNTED = (
    r"(?:第?\d+(?:[.:]\d+)*|[一二三四五六七八九十百千两零〇]++|(?<![A-Za-z])[A-Z](?![A-Za-z]))"
    r"([\u3400-\u9fff\u3041-\u30ff\uac00-\ud7a3]{0,3}|(?:[a-zA-Z°℃℉%‰]{1,4}))"
)
# After these a hyphen is a sign.
_NO_RANGE = "(?<![至到是为為在从從约約达達低高はもがをにで])"
_HYPHEN = re.compile(
    rf"(?<![\dA-Za-z.一二三四五六七八九十百千两零〇-])({_COUNTED}{_NO_RANGE})\s?[-−–—]\s?(?=([$€£¥￥₩₹]?{_COUNTED}))"
)
_WEEKDAYS = re.compile(
    r"((?:周|星期|礼拜|週)[一二三四五六日天]|(?<![\u3400-\u9fff])[月火水木金土日](?:曜日?)?|[월화수목금토일]요일)\s?[-~～〜–—]\s?"
    r"(?=(?:周|星期|礼拜|週)?[一二三四五六日天](?![\u3400-\u9fff])|(?:周|星期|礼拜|週)[一二三四五六日天]|[月火水木金土日](?:曜|$|[^\u3400-\u9fff])|[월화수목금토일]요일)"
)
_KINDS = ("年月日号號时時点點分秒周週년월일시분초", "元块塊円圆角毛ドルユーロ圓원")
_PER = re.compile(r"(?<=[元块塊刀次个個本件张只台])/(?=[人位斤个個天月年次箱件本台只张小平公克盒包瓶组條条份米间])")
_APPROXIMATE = re.compile(
    r"(?:(?<=([约約概略大]))|(?<![\dA-Za-z%\u3400-\u9fff])|(?<=[\u3400-\u9fff]))[~∼≈]\s?(?=[$€£¥￥]?\d)"
)
_EQUATION = re.compile(rf"(?<![\w.+×÷*/−-]){_NUMBER}(?:\s?[-−+×÷*/]\s?{_NUMBER})+\s?=")


_WIDE_SIGNS = str.maketrans("％＋－−＝＜＞／＊＆＠＃", "%+--=<>/*&@#")


def _joined(text: str) -> str:
    """The text with one form for each part of a number, and without commas between thousands.

    A full-width comma stands between numbers, and so does an ASCII one between digits that are no groups of three.
    """
    text = re.sub(r"(?<=\d)[．](?=\d)", ".", text.translate(_WIDE_SIGNS))
    text = re.sub(r"(?<![\d.])(?<!\d,)\d{1,3}(?:,\d{3})+(?!\d|,\d)", lambda match: match[0].replace(",", ""), text)
    return re.sub(r"(?<=\d),(?=\d)", "，", text)


def _is_alike(left: str, right: str) -> bool:
    """Whether two units make a range: equal ones, two of dates or of money, or none on the left."""
    if not left or not right or left[0] == right[0]:
        return True
    return any(left[-1] in kind and right[0] in kind for kind in _KINDS)


def _hyphen(words: _Words, match: re.Match[str]) -> str:
    """A hyphen after something counted: "to" between two alike, else the silent hyphen of an address or a name."""
    left, unit, right, next_unit = match.groups()
    is_letter = left[0].isalpha() and left[0].isascii()
    if not unit and not (":" in left and ":" in right) and not (is_letter and right[0].isalpha()):
        return match[0]
    if is_letter and not unit and not next_unit:
        return match[0]
    if _is_alike(unit, next_unit) and is_letter == (right[0].isascii() and right[0].isalpha()):
        return left + words.to
    return left + " "


def _ranges(text: str, words: _Words) -> str:
    text = _YEARS.sub(rf"\1\2{words.to}\3", text)
    text = _WEEKDAYS.sub(rf"\1{words.to}", text)
    return _HYPHEN.sub(lambda match: _hyphen(words, match), text)


def _slash(words: _Words, match: re.Match[str]) -> str:
    """A fraction, after a whole number or by itself; other slashes between numbers are silent."""
    whole, above, below = match.groups()
    if whole and 0 < int(above) < int(below) <= 100:
        return f"{whole}{words.mixed}{words.fraction.format(a=above, b=below)}"
    before = f"{whole} " if whole else ""
    if is_fraction(above, below):
        return before + words.fraction.format(a=above, b=below)
    return f"{before}{above} {below}"


def _time(words: _Words, match: re.Match[str], *, zero: str) -> str:
    def counted(form: str, digits: str) -> str:
        return form.format((zero if digits[0] == "0" and digits != "00" else "") + str(int(digits)))

    hours, minutes, seconds = match.groups()
    time = words.hour.format(int(hours))
    if minutes != "00" or seconds:
        time += counted(words.minutes, minutes)
    return time + (counted(words.seconds, seconds) if seconds else "")


def _range(words: _Words, match: re.Match[str]) -> str:
    first, sign, last = match.groups()
    if sign == "-" and (float(first) >= float(last) or len(first) > 4 or len(last) > 4):
        return match[0]
    return f"{first}{words.to}{last}"


def _unit(words: _Words, match: re.Match[str]) -> str:
    name = words.units.get(match[2])
    is_name = match[2] in _LETTER_UNITS and _NAMED_BY.match(match.string, match.end())
    return match[1] + name if name and not is_name else match[0]


def _quantities(text: str, words: _Words, *, zero: str) -> str:
    """The text with dates, times, money, percentages, fractions, ranges and units in words."""
    text = _APPROXIMATE.sub(lambda m: "" if m[1] else words.about, text)
    if words.per:
        text = _PER.sub(words.per, text)
    text = _DATE.sub(lambda m: words.date.format(m[1], int(m[3]), int(m[4])), text)
    text = _TIME.sub(lambda m: _time(words, m, zero=zero), text)
    text = _EQUATION.sub(lambda m: re.sub(r"(?<=\d)\s?[-−]\s?(?=\d)", words.less, m[0]), text)
    text = _ranges(text, words)
    text = _CURRENCY.sub(lambda m: f"{m[2].removesuffix('.00')}{m[3]}{words.currencies[m[1]]}", text)
    text = re.sub(r"([元円원엔])\1", r"\1", text)
    text = _CURRENCY_AFTER.sub(lambda m: f"{m[1]}{words.currencies[m[2]]}", text)
    text = re.sub(
        r"(?<=[%‰])\s?[-~～〜–—]\s?(?=\d)|(?<=[日月年号時点分元円일월년시원])\s?[-~～〜–—]\s?(?=\d)", words.to, text
    )
    text = re.sub(rf"(?<![0-9A-Za-z)%])-(?={_NUMBER})", words.minus, text)
    text = _RANGE.sub(lambda m: _range(words, m), text)
    text = re.sub(rf"(?<![\d.])({_NUMBER})\s?%", lambda m: words.percent.format(m[1]), text)
    text = re.sub(rf"(?<![\d.])({_NUMBER})\s?‰", lambda m: words.permille.format(m[1]), text)
    text = _UNIT.sub(lambda m: _unit(words, m), text)
    text = _SLASH.sub(lambda m: _slash(words, m), text)
    text = re.sub(r"(?<=\d)\s?[*xX]\s?(?=\d)", words.times, text)
    text = re.sub(r"(?<=[\dA-Za-z)）])\^(\d{1,4})", lambda m: words.power.format(m[1]), text)
    return re.sub(r"#(?=\d)", "", text)


def _signs(text: str, words: _Words) -> str:
    """The text with the signs of arithmetic, & and @ as words."""
    for sign, name in words.signs.items():
        text = text.replace(sign, name)
    return text.replace("%", words.percent.replace("{}", ""))


def _with_point(match: re.Match[str], point: str, digit: Callable[[int], str]) -> str:
    """A number whose decimals are read one by one; with several points, one number after the other."""
    whole, *others = match[0].split(".")
    if len(others) == 1:
        return whole + point + "".join(digit(int(character)) for character in others[0])
    return point.join([whole, *others])


# 两 stands for 二 before what is counted by measure words, and before 万, 千, 点 and 小时; not in 2月, 2号, 2楼.
_MEASURES = (
    r"(?:[个位次天只条张件种块斤本倍座间台辆部個隻條張種塊間臺輛万千亿萬億点點周岁歲家名人颗杯碗瓶份层道场项双对套句头匹棵根把支首米吨元秒升"
    r"毛角架艘门扇幅盒箱包袋串片滴粒朵顶团队派群批届回遍趟组类步口顿篇页章节课段行排列股盏枚发具尊滩堆]"
    r"|年(?![级級])|分(?!之)|小时|小時|公里|公斤|公尺|平方|立方|英尺|厘米|毫米|毫升|海里|多个)"
)
_EMERGENCY_NUMBERS = "110|119|120|122|114|911|999|112|10086|10010|10000|12306|12315|12345|12348|12366|12320|95\\d{3}"
_EMERGENCY = re.compile(
    rf"(?:(?<=[打拨撥叫呼话話线線服助警救系])|(?<=[打拨撥叫]了)|(?<=电话[是为：:])|(?<=[热熱]线[是为：:]))\s?(?:{_EMERGENCY_NUMBERS})(?!\d|\.\d)"
    rf"|(?<![\d.,，、])(?:{_EMERGENCY_NUMBERS})(?=\s?(?:报警|電話|电话|急救|热线|熱線|火警|匪警|出警|指挥中心|接警|客服|救护|平台|和1[12]\d|[或与]1[12]\d))"
    r"|(?<![\d.,，、])(?:110|119|120|122|114)(?:[，、,和或与](?:110|119|120|122|114))+(?![\d个人元米分号页])"
)
_TELEPHONE = re.compile(
    r"(?<![\d.+-])(?:\+?86[- ]?)?1[3-9]\d[- ]\d{4}[- ]\d{4}(?![\d-])"
    r"|(?<![\d.+-])0\d{2,3}[- ]\d{7,8}(?![\d-])"
    r"|(?<![\d.+-])[48]00[- ]?\d{3,4}[- ]\d{3,4}(?![\d-])"
    r"|(?<![\d.+-])\(?0\d{2,3}\)[- ]?\d{7,8}(?![\d-])"
)


def _emergency(match: re.Match[str]) -> str:
    """A number of the police or a service, digit by digit, with 幺 for one."""
    return match[0].translate(_SPOKEN_DIGITS)


def _twos(match: re.Match[str]) -> str:
    words = number_to_chinese(match[0])
    return "两" + words[1:] if words[:2] in ("二千", "二万") else words


def _chinese(text: str) -> str:
    def one_by_one(digits: str) -> str:
        return "".join(_CHINESE_DIGITS[int(digit)] for digit in digits)

    text = re.sub(r"(?<![\d.])\d+(?:\.\d+){2,}", lambda m: m[0].replace(".", "点"), text)
    text = _EMERGENCY.sub(_emergency, text)
    text = _TELEPHONE.sub(lambda m: one_by_one(re.sub(r"\D", "", m[0])), text)
    text = re.sub(r"(?<![\d.])(?:1[1-9]\d\d|10(?!00)\d\d|20\d\d)(?=年|到\d{4}年)", lambda m: one_by_one(m[0]), text)
    text = re.sub(r"(?<![\d.])(?:0\d+|1[3-9]\d{9})(?![\d.])", lambda m: one_by_one(m[0]), text)
    text = re.sub(rf"(?<![\d.第点周期])2(?={_MEASURES})", "两", text)
    text = re.sub(r"(?<![\d.])2\d{3,4}(?![\d.年])", _twos, text)
    text = re.sub(r"(?<=\d)[:：](?=\d)", "比", text)
    text = text.replace("〇", "零").replace("...", "…")
    for narrow, wide in zip(",;:!?", "，；：！？", strict=True):
        text = text.replace(narrow, wide)
    return re.sub(r"\.(?!\d)", "。", text)


_JAPANESE_PHONE = re.compile(
    r"(?<![\d.-])(?:\+81[- ]?)?0\d{1,4}(?:-|\()\d{1,4}(?:-|\))\d{3,4}(?![\d-])|(?<![\d.-])0\d{9,10}(?![\d-])"
)


def _japanese(text: str) -> str:
    def telephone(match: re.Match[str]) -> str:
        digits = re.sub(r"\d", lambda digit: _JAPANESE_DIGITS[int(digit[0])], match[0].lstrip("+"))
        return re.sub(r"[- ()]+", "の", digits)

    text = _JAPANESE_PHONE.sub(telephone, text)
    text = re.sub(r"(?<!\d)110番", "ひゃくとおばん", text)
    return _DOTTED.sub(lambda match: _with_point(match, "点", lambda digit: _JAPANESE_DIGITS[digit]), text)


_KOREAN_PHONE = re.compile(r"(?<![\d.-])0\d{1,2}-\d{3,4}-\d{4}(?![\d-])|(?<![\d.-])1\d{3}-\d{4}(?![\d-])")


def _korean(text: str) -> str:
    from vits.text.korean import hangul_number

    def telephone(match: re.Match[str]) -> str:
        return "".join(
            "공" if digit == "0" else _KOREAN_DIGITS[int(digit)] if digit != "-" else " " for digit in match[0]
        )

    def number(match: re.Match[str]) -> str:
        whole, point, decimals = match[0].partition(".")
        if len(whole) > 16 or (len(whole) > 1 and whole[0] == "0"):
            return match[0]
        return hangul_number(whole, native=False) + (
            "점" + "".join(_KOREAN_DIGITS[int(digit)] for digit in decimals) if point else ""
        )

    text = _KOREAN_PHONE.sub(telephone, text)
    text = re.sub(r"(?<![\d.])\d+(?:\.\d+){2,}", lambda m: m[0].replace(".", "점"), text)
    text = re.sub(r"[0-9]+\.[0-9]+", number, text)
    return re.sub(r"(?<![\d,])[0-9]+(?![\d,]*[\uac00-\ud7a3\d,])", number, text)


_OWN: Mapping[str, Callable[[str], str]] = {"zh": _chinese, "ja": _japanese, "ko": _korean}


def normalize(text: str, language: str) -> str:
    """A Chinese, Japanese or Korean text with its numbers and symbols in words that its cleaner can spell."""
    words = _WORDS[language]
    text = _quantities(_joined(text), words, zero="零" if language == "zh" else "")
    return _OWN[language](_signs(text, words))
