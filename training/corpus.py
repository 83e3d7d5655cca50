"""Make a training corpus: sentences, spoken by the recipe's teachers, with symbols and their durations.

`python -m training.corpus slt` writes training/runs/speech/flite-slt.npz, unless that file exists: recipes share what a
teacher said. The texts come from packages of Debian: fortunes (en), fortunes-zh (zh; GPL-3.0 or later) and manpages-ja
(ja; each page under its program's licence). They are spoken, not shipped.
"""

import argparse
import functools
import gzip
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from training.alignment import frames_per_symbol, symbol_starts
from training.recipes import RECIPES, RUNS, Recipe
from training.teachers import Teacher, speak
from vits.text import clean

FORTUNES = Path("/usr/share/games/fortunes")
JAPANESE_MANUALS = Path("/usr/share/man/ja")
SILENCE_BEFORE_S = 0.048
SILENCE_AFTER_S = 0.16
WORDS = re.compile(r"[A-Za-z][a-z']*(?:, [A-Za-z][a-z']*|[ -][A-Za-z][a-z']*)*[.!?]")
CHARACTERS = re.compile(r"[\u4e00-\u9fff]+(?:[，、；：][\u4e00-\u9fff]+)*[。！？]")
KANA_AND_CHARACTERS = re.compile(r"[\u3041-\u30fa\u30fc\u4e00-\u9fff、]+[。！？]")

Row = tuple[list[int], list[int], np.ndarray]
"""The ids, the frames of each, and int16 samples."""


def english_sentences(folder: Path = FORTUNES) -> list[str]:
    """Return the distinct plain sentences of 3 to 18 words in a folder of fortunes, in a stable order."""
    found: dict[str, None] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix or not path.is_file():
            continue
        for fortune in path.read_text("utf-8", errors="replace").split("\n%\n"):
            text = re.sub(r"\s+", " ", fortune.split("\t\t--")[0])
            for sentence in re.split(r"(?<=[.!?])\s+", text):
                if 3 <= sentence.count(" ") + 1 <= 18 and WORDS.fullmatch(sentence):
                    found[sentence[0].upper() + sentence[1:]] = None
    return list(found)


def chinese_sentences(folder: Path = FORTUNES) -> list[str]:
    """Return the distinct sentences of 5 to 32 characters in the fortunes of fortunes-zh, in a stable order."""
    fortunes = "\n%\n".join((folder / name).read_text("utf-8") for name in ("chinese", "song100", "tang300"))
    return _plain(re.sub(r"\x1b\[[0-9;]*m", "", fortunes).split("\n%\n"), CHARACTERS, 5, 32)


def japanese_sentences(folder: Path = JAPANESE_MANUALS) -> list[str]:
    """Return the distinct sentences of 8 to 42 characters in a folder of Japanese manual pages, in a stable order."""

    def pages() -> Iterator[str]:
        for path in sorted(folder.rglob("*.gz")):
            if not path.is_symlink():
                text = gzip.decompress(path.read_bytes()).decode("utf-8", errors="replace")
                # Headings and items end a paragraph; other roff requests stand inside one.
                yield from re.split(r"^\.(?:SH|SS|TP|PP|IP|P|LP|Sh|Ss|It|Pp)\b.*$", text, flags=re.MULTILINE)

    # The rest of roff's requests and fonts contains Latin letters, and sentences with any are not used.
    return _plain((re.sub(r"\\f.", "", page) for page in pages()), KANA_AND_CHARACTERS, 8, 42)


def _plain(paragraphs: Iterable[str], wanted: re.Pattern[str], least: int, most: int) -> list[str]:
    """Return the distinct sentences of paragraphs without word spacing that match and have a fitting length."""
    found: dict[str, None] = {}
    for paragraph in paragraphs:
        for sentence in re.split("(?<=[。！？])", re.sub(r"\s+", "", paragraph)):
            if least <= len(sentence) <= most and wanted.fullmatch(sentence):
                found[sentence] = None
    return list(found)


SENTENCES: dict[str, Callable[[], list[str]]] = {
    "en": english_sentences,
    "ja": japanese_sentences,
    "zh": chinese_sentences,
}


def utterance(text: str, teacher: Teacher, recipe: Recipe) -> Row | None:
    """Return ids, frames per id and int16 samples of one sentence, or None where text and teacher disagree."""
    tag = f"[{teacher.language.upper()}]"
    cleaned = clean(f"{tag}{text}{tag}", "cjke_cleaners2")
    ids = {symbol: i for i, symbol in enumerate(recipe.symbols)}
    symbols = [s for s in cleaned if s in ids]
    unknown = teacher.language == "en" and "*" in cleaned  # the mark of a word that the English front end cannot read
    if unknown or not symbols or len(symbols) > recipe.most_symbols:
        return None
    samples, rate, phones = speak(teacher, text, recipe.sample_rate_hz)
    sounds = [i for i, (name, _, _) in enumerate(phones or []) if name != " "]
    if not phones or not sounds:
        return None
    first, last = phones[sounds[0]][1], phones[sounds[-1]][2]
    lead = round(SILENCE_BEFORE_S * rate)
    samples = np.concatenate([np.zeros(lead, np.float32), samples])
    phones = [(name, start + lead / rate, end + lead / rate) for name, start, end in phones]
    begin, last = first, last + lead / rate
    phones = [(name, start - begin, end - begin) for name, start, end in phones[sounds[0] : sounds[-1] + 1]]
    end = min(last + SILENCE_AFTER_S, len(samples) / rate) - begin
    phones.append((" ", last - begin, end))
    n_frames = int(end / recipe.frame_s)
    starts = symbol_starts(symbols, phones)
    if starts is None or n_frames > recipe.most_frames:
        return None
    frames = frames_per_symbol(starts, n_frames, recipe.frame_s)
    if frames is None or max(frames) > recipe.most_frames_a_symbol:
        return None
    offset = round(begin * rate)
    cut = samples[offset : offset + n_frames * recipe.hop_length]
    if len(cut) < n_frames * recipe.hop_length:
        return None
    return [ids[s] for s in symbols], frames, (cut.clip(-1, 1) * 32767).astype(np.int16)


def spoken(recipe: Recipe, teacher: Teacher, most: int) -> Iterator[tuple[str, Row]]:
    """Yield sentences that a teacher has spoken, with their rows."""
    texts = SENTENCES[teacher.language]()
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))][:most]
    kept = 0
    with ProcessPoolExecutor() as pool:
        rows = pool.map(functools.partial(utterance, teacher=teacher, recipe=recipe), texts, chunksize=16)
        for n, (text, row) in enumerate(zip(texts, rows, strict=True), 1):
            if row is not None:
                kept += 1
                yield text, row
            if n % 250 == 0 or n == len(texts):
                print(f"{teacher.voice}: {n}/{len(texts)} sentences, {kept} kept", flush=True)


def corpus_path(teacher: Teacher) -> Path:
    """Return the file of what a teacher said; recipes with the same teacher share it."""
    return RUNS / "speech" / f"{teacher.synthesizer}-{teacher.voice}.npz"


def build(recipe: Recipe, teacher: Teacher, most: int) -> None:
    """Write what a teacher says, with the symbols and frames of a recipe, and the sentences beside it."""
    kept, rows = [], []
    for text, row in spoken(recipe, teacher, most):
        kept.append(text)
        rows.append(row)
    path = corpus_path(teacher)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        ids=np.concatenate([np.array(r[0], np.int64) for r in rows]),
        frames=np.concatenate([np.array(r[1], np.int64) for r in rows]),
        samples=np.concatenate([r[2] for r in rows]),
        symbols_each=np.array([len(r[0]) for r in rows]),
        frames_each=np.array([sum(r[1]) for r in rows]),
    )
    path.with_suffix(".txt").write_text("\n".join(kept) + "\n", encoding="utf-8")
    hours = sum(len(r[2]) for r in rows) / recipe.sample_rate_hz / 3600
    print(f"{len(rows)} sentences, {hours:.2f} h -> {path}")


def main() -> None:
    """Build one voice's corpus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("voice", choices=sorted(RECIPES))
    parser.add_argument("--most", type=int, help="the most sentences of each teacher (default: the recipe's number)")
    arguments = parser.parse_args()
    recipe = RECIPES[arguments.voice]
    for teacher in dict.fromkeys(recipe.teachers.values()):
        if corpus_path(teacher).exists():
            print(f"{corpus_path(teacher)} exists already")
        else:
            build(recipe, teacher, arguments.most or recipe.sentences)


if __name__ == "__main__":
    main()
