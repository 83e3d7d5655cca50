"""Make a training corpus: sentences, spoken by the recipe's teachers, with symbols and their durations.

`python -m training.corpus slt` writes training/runs/speech/flite-slt.npz, unless that file exists: recipes share what a
teacher said. The texts come from packages of Debian: fortunes (en), fortunes-zh (zh; GPL-3.0 or later) and manpages-ja
(ja; each page under its program's licence). They are spoken, not shipped.
"""

import argparse
import functools
import gzip
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from training import shards
from training.alignment import frames_per_symbol, symbol_starts
from training.judges import MISHEARD, misheard
from training.recipes import RECIPES, RUNS, Recipe
from training.teachers import Speech, Teacher, resampled, speak
from vits.text import clean

FORTUNES = Path("/usr/share/games/fortunes")
JAPANESE_MANUALS = Path("/usr/share/man/ja")
CHINESE_MANUALS = Path("/usr/share/man/zh_CN")
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
    return _plain(_paragraphs(folder), KANA_AND_CHARACTERS, 8, 42)


def chinese_manual_sentences(folder: Path = CHINESE_MANUALS) -> list[str]:
    """Return the distinct sentences of 6 to 32 characters in a folder of Chinese manual pages, in a stable order."""
    return _plain(_paragraphs(folder), CHARACTERS, 6, 32)


def _paragraphs(folder: Path) -> Iterator[str]:
    """Yield the paragraphs of a folder of manual pages."""
    for path in sorted(folder.rglob("*.gz")):
        if not path.is_symlink():
            page = gzip.decompress(path.read_bytes()).decode("utf-8", errors="replace")
            # What is left of roff's requests and fonts has Latin letters in it, and no sentence with any is taken.
            # Headings and items end a paragraph; other requests of roff stand inside one.
            page = re.sub(r"\\f.", "", page)
            yield from re.split(r"^\.(?:SH|SS|TP|PP|IP|P|LP|Sh|Ss|It|Pp)\b.*$", page, flags=re.MULTILINE)


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
SPOKEN: dict[str, Sequence[Callable[[], list[str]]]] = {
    "en": (english_sentences,),
    "ja": (japanese_sentences,),
    "zh": (chinese_manual_sentences,),
}
"""Where the texts of slow teachers come from, besides the templates of `training.texts`."""


def utterance(text: str, teacher: Teacher, recipe: Recipe) -> Row | None:
    """Return ids, frames per id and int16 samples of one sentence, or None where text and teacher disagree."""
    if _symbols(text, teacher, recipe) is None:
        return None
    return row(text, teacher, recipe, speak(teacher, text, recipe.sample_rate_hz))


def _symbols(text: str, teacher: Teacher, recipe: Recipe) -> list[str] | None:
    """Return a text in the recipe's symbols, or None where they cannot write it or it is too long."""
    tag = f"[{teacher.language.upper()}]"
    cleaned = clean(tag + text + tag, "cjke_cleaners2")
    symbols = [s for s in cleaned if s in recipe.symbols]
    unknown = teacher.language == "en" and "*" in cleaned  # as the English front end marks words that it cannot read
    return None if unknown or not symbols or len(symbols) > recipe.most_symbols else symbols


def row(text: str, teacher: Teacher, recipe: Recipe, speech: Speech) -> Row | None:
    """Return ids, frames per id and int16 samples of what a teacher said, or None where it disagrees with the text."""
    symbols = _symbols(text, teacher, recipe)
    samples, rate, phones = speech
    sounds = [i for i, (name, _, _) in enumerate(phones or []) if name != " "]
    if not symbols or not phones or not sounds:
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
    ids = {symbol: i for i, symbol in enumerate(recipe.symbols)}
    return [ids[s] for s in symbols], frames, (cut.clip(-1, 1) * 32767).astype(np.int16)


def spoken(recipe: Recipe, teacher: Teacher, most: int) -> Iterator[tuple[str, Row]]:
    """Yield sentences that a teacher has spoken, with their rows."""
    if shards.folder(teacher).exists():
        yield from _spoken_before(recipe, teacher, most)
        return
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


def _spoken_before(recipe: Recipe, teacher: Teacher, most: int) -> Iterator[tuple[str, Row]]:
    """Yield the sentences of a teacher's shards, but for those that are misheard."""
    kept = misunderstood = unheard = 0
    for path in sorted(shards.folder(teacher).glob("*.jsonl")):
        hearings = shards.read_hearings(path)
        for n, said in enumerate(shards.read(path)):
            if hearings is None:
                unheard += 1
            elif misheard(said.text, hearings[n], teacher.language) > MISHEARD:
                misunderstood += 1
                continue
            samples = resampled(said.samples, said.rate_hz, recipe.sample_rate_hz)
            made = row(said.text, teacher, recipe, Speech(samples, recipe.sample_rate_hz, said.phones))
            if made is not None and kept < most:
                kept += 1
                yield said.text, made
    print(f"{teacher.voice}: {kept} kept, {misunderstood} misheard, {unheard} not listened to", flush=True)


def corpus_path(teacher: Teacher, rate_hz: int = 16000) -> Path:
    """Return the file of what a teacher said; recipes with the same teacher and rate share it."""
    name = f"{teacher.synthesizer}-{teacher.voice}"
    if teacher.synthesizer == "kokoro":  # whose voices speak several languages
        name += f"-{teacher.language}"
    return RUNS / "speech" / f"{name}{'' if rate_hz == 16000 else f'-{rate_hz}'}.npz"


def build(recipe: Recipe, teacher: Teacher, most: int) -> None:
    """Write what a teacher says, with the symbols and frames of a recipe, and the sentences beside it."""
    kept, rows = [], []
    for text, row in spoken(recipe, teacher, most):
        kept.append(text)
        rows.append(row)
    path = corpus_path(teacher, recipe.sample_rate_hz)
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
    for teacher in dict.fromkeys(teacher for _, teacher in recipe.taught):
        path = corpus_path(teacher, recipe.sample_rate_hz)
        if path.exists():
            print(f"{path} is there already")
        else:
            build(recipe, teacher, arguments.most or recipe.sentences)


if __name__ == "__main__":
    main()
