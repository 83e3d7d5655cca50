"""Numbers, dates, units and symbols in words, language by language."""

import pytest

from vits.text.normalize import normalize, unify


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("12.5%", "百分之12.5"),
        ("3‰", "千分之3"),
        ("2024年3月15日", "二零二四年3月15日"),
        ("2024-03-15", "二零二四年3月15日"),
        ("10:05开会", "10点零5分开会"),
        ("8:00", "8点"),
        ("3:2", "3比2"),
        ("1,234人", "1234人"),
        ("￥100和$3.5", "100元和3.5美元"),
        ("￥1,299.00元", "1299元"),
        ("温度-5~10℃", "温度负5到10摄氏度"),
        ("5km，-5℃", "5公里，负5摄氏度"),
        ("3~5天", "3到5天"),
        ("1/2", "2分之1"),
        ("2个", "两个"),
        ("12个", "12个"),
        ("电话13800138000", "电话一三八零零一三八零零零"),
        ("1+1=2", "1加1等于2"),
        ("版本1.2.3", "版本1点2点3"),
        ("好,再见.", "好，再见。"),
    ],
)
def test_chinese(text: str, spoken: str) -> None:
    assert normalize(text, "zh") == spoken


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("12.5%", "12点ゴパーセント"),
        ("3.14", "3点イチヨン"),
        ("2024/3/15", "2024年3月15日"),
        ("10:30", "10時30分"),
        ("1,234円", "1234円"),
        ("$100", "100ドル"),
        ("5kg", "5キログラム"),
        ("-5度", "マイナス5度"),
        ("3〜5", "3から5"),
        ("3日〜5日", "3日から5日"),
        ("１２％", "12パーセント"),
    ],
)
def test_japanese(text: str, spoken: str) -> None:
    assert normalize(text, "ja") == spoken


@pytest.mark.parametrize(
    ("text", "spoken"),
    [("12.5%", "십이점오 퍼센트"), ("2024", "이천이십사"), ("3개", "3개"), ("$100", "100달러"), ("10:30", "10시 30분")],
)
def test_korean(text: str, spoken: str) -> None:
    assert normalize(text, "ko") == spoken


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("12.5%", "twelve point five percent"),
        ("$12.50", "twelve dollars, fifty cents"),
        ("$1,999.05", "one thousand, nine hundred ninety nine dollars, five cents"),
        ("in 1999", "in nineteen ninety nine"),
        ("1,234.5", "one thousand, two hundred thirty four point five"),
        ("$1.5 million", "one point five million dollars"),
        ("€7 or £1", "seven euros or one pound"),
        ("2024-03-15", "March fifteenth, twenty twenty-four"),
        ("3/15/2024", "March fifteenth, twenty twenty-four"),
        ("10:30 pm", "ten thirty p m"),
        ("10:05", "ten oh five"),
        ("5 km", "five kilometers"),
        ("1 kg", "one kilogram"),
        ("25°C", "twenty-five degrees Celsius"),
        ("1,234", "one thousand, two hundred thirty four"),
        ("-5 & 3-4", "minus five and three to four"),
        ("555-1234", "five five five, one two three four"),
        ("1/2", "one half"),
        ("#1", "number one"),
        ("C#", "C sharp"),
        ("the 1990s, the '90s", "the nineteen nineties, the 'nineties"),
        ("https://www.example.com", "example dot com"),
        ("iPhone15 on the 21st", "iPhone fifteen on the twenty-first"),
        ("yes—no", "yes, no"),
        ("vitamin A", "vitamin ay"),
        ("A cat", "A cat"),
        ("e.g. this", "for example this"),
        ("a@b", "a at b"),
        ("*bold*", "bold"),
        ("ı.e. this, İ.e. that", "that is this, that is that"),
        ("I.e. this", "that is this"),
        ("one vſ. two", "one versus two"),
        ("İ.E.T.T. trams", "I E T T. trams"),
    ],
)
def test_english(text: str, spoken: str) -> None:
    assert normalize(text, "en").strip() == spoken


@pytest.mark.parametrize(
    ("word", "respelled"),
    [
        ("hello", "hello"),
        ("Dr. Who", "Dr. Who"),
        ("HTTP", "h t t p"),
        ("CUDA", "c u d ay"),
        ("GitHub", "git Hub"),
        ("livestream", "live stream"),
        ("smartphone", "smart phone"),
        ("blicto", "blikto"),
        ("quorxy", "kworksi"),
        ("it's", "it's"),
    ],
)
def test_words_that_the_dictionary_lacks_are_respelled(word: str, respelled: str) -> None:
    assert normalize(word, "en") == respelled


def test_a_cleaner_with_rules_of_its_own_gets_words_as_they_are() -> None:
    assert normalize("NVIDIA's tacocat costs $5", "en", from_dictionary=False) == "NVIDIA's tacocat costs five dollars"


@pytest.mark.parametrize(
    ("text", "unified"),
    [
        ("１２", "12"),
        ("①", "1"),
        ("㎏", "kg"),
        ("𝐛𝐨𝐥𝐝", "bold"),
        ("ｶﾞ", "ガ"),
        ("½", "1/2"),
        ("Ⅲ", "3"),
        ("，", "，"),
    ],
)
def test_compatibility_forms_become_plain(text: str, unified: str) -> None:
    assert unify(text) == unified
