"""Random texts through the whole preparation: each gives ids or a clear error, in time, whatever it is made of.

It runs for about 15 seconds, always with the same texts; TEXT_FUZZ_SECONDS=3600 goes on for an hour, and FUZZ_SEED
chooses others.
"""

import json
import os
import random
from pathlib import Path
from time import monotonic, process_time

from vits import BrokenCheckpoint
from vits.files import read_json
from vits.formats import open_model
from vits.formats.coqui import _front_end as coqui_front_end
from vits.tables import TOP_LEVEL, Table
from vits.text import CLEANERS, MAX_CHARACTERS, Dictionary, TextError
from vits.text.front_end import CleanerFrontEnd, FrontEnd
from vits.text.preparation import MAX_SYMBOLS

GOLDEN = Path(__file__).resolve().parent / "golden"
SYMBOLS: dict[str, list[str]] = json.loads((GOLDEN / "text/symbols.json").read_text(encoding="utf-8"))
SYMBOLS["english_cleaners"] = SYMBOLS["english_cleaners2"]
OTHERS = ("many_low/voice.onnx", "hf_many_sdp")
"""Voices of Piper, with phonemes by espeak-ng, and of Hugging Face."""
COQUIS = ("coqui", "coqui_phonemes")
"""Configs of Coqui's, of characters and of phonemes by espeak-ng."""
SEED = int(os.environ.get("FUZZ_SEED", "0"))
SECONDS = float(os.environ.get("TEXT_FUZZ_SECONDS", "15"))
MOST_S = 10.0
"""Processor time that 2 000 characters may take, a first look at a dictionary included."""

PARTS = """
a A i I s k x qu e.g. i.e. ı.e. İ.e. İ.E.T.T. vſ. Vs. K ſ İ ı É ß ﬁ ŉ 'tis it's Dr. St. No. HTTP iPhone NASA's v2.0 C#
1 0 007 10 1,234 1.5 3,14 １２ ① ½ Ⅻ ² 10^6 -5 +5 1/2 3:2 10:30 9:00-17:00 2024-03-15 3/15/2024 5月1日 2024年 5km 25°C
$ $1.5 €7 ¥100 % ‰ & @ # * _ ~ ^ = < > | \\ / + - -- — … ... ! ? ?! . , ; : ' " ( ) [ ] { } 。 ， 、 ！ ？ 「 」 ・ 〜
ー 你好 银行 行长 重 了 得 人 電 髙 𠮟 㐀 〇 々 ヶ 気 東京 これは テスト ｶﾞ ｗ ーｗ っ ゛ ゝ ヴ 한국어 안녕 ᄒ ㄱ 개
नमस्ते ॐ Привет שלום
مرحبا ไทย [ZH] [JA] [EN] [KO] [KR] [SA] [zh] [[ ]] <b> </b> &amp; &#x27; &nbsp; <!-- --> ``` ** __ [x](y) https://a.b/c?d=e#f
a@b.c 😀 👨‍👩‍👧 🇯🇵 ☺️ (^_^) orz ﷺ \u0301 \u0316 \u200b \u200d \ufeff \ud800 \x00 \x1b \x7f \u2028
""".split()  # noqa: SIM905
BLANKS = ["", "", "", " ", "  ", "\n", "\t", "\u3000", "\u00a0"]


def random_text(source: random.Random) -> str:
    """A text of parts, of any characters at all, or of a few of them repeated; at most 2 000 characters."""
    kind = source.random()
    if kind < 0.2:
        parts = [chr(source.randrange(0x110000)) for _ in range(source.randrange(1, 30))]
    else:
        parts = [source.choice(PARTS) + source.choice(BLANKS) for _ in range(source.randrange(1, 30))]
    repeats = source.choice([1, 1, 1, 2, 400]) if kind < 0.9 else 400
    return ("".join(parts) * repeats)[: source.choice([50, 200, 2000])]


def random_dictionary(source: random.Random) -> Dictionary:
    """No entries in most cases, else a few of parts and what they may be spoken as."""
    spoken = ("", "a", "HH AH0 L OW1", "hang2", "[[a]]", "[[", "天" * 240, {"spoken": "x", "case": True}, *PARTS)
    table = {source.choice(PARTS): source.choice(spoken) for _ in range(source.choice([0, 0, 0, 3]))}
    return Dictionary.read({written: said for written, said in table.items() if "\ud800" not in (written, said)})


def front_ends() -> list[FrontEnd]:
    """Every cleaner, and the other formats' front ends as far as what they need is installed."""
    cleaners = [CleanerFrontEnd(name, tuple(SYMBOLS[name]), add_blank=True) for name in sorted(CLEANERS)]
    others = [open_model(GOLDEN / "formats" / name)[0].front_end for name in OTHERS]
    tables = [
        Table(path := GOLDEN / "formats" / name / "config.json", TOP_LEVEL, read_json(path), BrokenCheckpoint)
        for name in COQUIS
    ]
    others += [coqui_front_end(table)[1] for table in tables]
    return [*cleaners, *(reader for reader in others if not reader.missing_packages)]


def test_random_texts_give_ids_or_a_clear_error_in_time() -> None:
    readers = front_ends()
    until = monotonic() + SECONDS
    first = seed = SEED * 10**9
    while monotonic() < until:
        source = random.Random(seed)
        text, reader = random_text(source), source.choice(readers)
        normalize, dictionary = source.random() < 0.9, random_dictionary(source)
        started = process_time()
        prepared, code = None, ""
        try:
            prepared = reader.prepare(text, normalize=normalize, dictionary=dictionary)
        except TextError as error:
            code = error.code
        except Exception as error:
            raise AssertionError(f"seed {seed}, {reader.name}, normalize={normalize}: {text!r}") from error
        assert code != TextError.code, f"seed {seed}, {reader.name}: an error that is no fault of the text's"
        assert process_time() - started < MOST_S, f"seed {seed}, {reader.name}: {text!r}"
        for sentence in prepared.sentences if prepared else ():
            assert 0 < len(sentence.ids) <= 2 * MAX_SYMBOLS + 1, f"seed {seed}"
            assert len(sentence.written) <= MAX_CHARACTERS, f"seed {seed}"
        seed += 1
    assert seed > first + 20
