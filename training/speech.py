"""Let slow teachers speak: `python -m training.speech mira --hours 3` adds shards to what they have said already.

The recipes' teachers take turns, a shard each, so that whatever there is when it ends is balanced. It can be stopped
at any time, and several processes can share the work (`--part 0/2`, `--part 1/2`). With `--listen`, Whisper writes down
what it hears in the shards that are there; `training.corpus`, which makes a corpus of them, leaves out sentences that
it hears otherwise than they are written. `--pack FOLDER` writes them as Opus, to be carried to another machine's
training/runs/speech.
"""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from training import shards
from training.corpus import SPOKEN
from training.judges import MISHEARD, RATE_HZ, heard, misheard
from training.kokoro import RATE_HZ as KOKORO_HZ
from training.recipes import RECIPES
from training.teachers import Teacher, resampled, speak
from training.texts import HELD_OUT, interleaved, made_sentences

SLOW = frozenset(["kokoro"])
"""The synthesizers that speak into shards."""
A_SHARD = 24
"""Sentences."""
MADE = 6000
"""How many sentences are made from templates, of each language."""
LEVEL_DB, SILENT_DB, PEAK = -23.0, -35.0, 0.95
"""The level of what is not silent; below the loudest piece of 50 ms; no sample is larger."""


def texts(teacher: Teacher) -> list[str]:
    """Return what a teacher is to say, in an order that stays the same; sentences that voices are judged by are not."""
    held_out = set((HELD_OUT / f"{teacher.language}.txt").read_text("utf-8").splitlines())
    sources = [made_sentences(teacher.language, MADE)]
    for source in SPOKEN[teacher.language]:
        found = source()
        sources.append([found[i] for i in np.random.default_rng(0).permutation(len(found))])
    return [text for text in dict.fromkeys(interleaved(*sources)) if text not in held_out]


def levelled(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Return samples float32 [n], not silent, at the level that all sentences have."""
    size = rate_hz // 20
    power = (samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64) ** 2).mean(1)
    level = power[power > power.max() * 10 ** (SILENT_DB / 10)].mean()
    gain = min((10 ** (LEVEL_DB / 10) / level) ** 0.5, PEAK / float(np.abs(samples).max()))
    made: np.ndarray = (samples * gain).astype(np.float32)
    return made


def said(teacher: Teacher, text: str) -> shards.Said | None:
    """Return a sentence as a teacher says it, or None where it cannot be said."""
    speech = speak(teacher, text, KOKORO_HZ)
    if not speech.phones or len(speech.phones) < 3:
        return None
    return shards.Said(text, levelled(speech.samples, speech.rate_hz), speech.rate_hz, speech.phones)


def listen(teacher: Teacher) -> None:
    """Write down what is heard in a teacher's shards, of those where this is not done yet."""
    for path in sorted(shards.folder(teacher).glob("*.jsonl")):
        if not shards.hearings_path(path).exists():
            sentences = list(shards.read(path))
            hearings = [heard(resampled(s.samples, s.rate_hz, RATE_HZ), teacher.language) for s in sentences]
            shards.write_hearings(path, hearings)
            rates = [misheard(s.text, h, teacher.language) for s, h in zip(sentences, hearings, strict=True)]
            well = sum(rate <= MISHEARD for rate in rates)
            print(f"{path.parent.name}/{path.name}: {well} of {len(rates)} heard as written", flush=True)


def missing(teachers: list[Teacher], part: int, parts: int) -> Iterator[tuple[Teacher, Path, list[str]]]:
    """Yield the shards that are not there yet, the teachers taking turns, with the texts of each."""
    all_texts = {teacher: texts(teacher) for teacher in teachers}
    for n in itertools.count():
        for k, teacher in enumerate(teachers):
            batch = all_texts[teacher][n * A_SHARD : (n + 1) * A_SHARD]
            path = shards.folder(teacher) / f"{n:04}.jsonl"
            if not any(all_texts[t][n * A_SHARD :] for t in teachers):
                return
            if batch and (n * len(teachers) + k) % parts == part and not path.exists():
                yield teacher, path, batch


def main() -> None:
    """Speak until there are so many hours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("voices", nargs="+", choices=sorted(RECIPES), help="the recipes whose teachers speak")
    parser.add_argument("--hours", type=float, default=100.0, help="of speech in all, after which to stop")
    parser.add_argument("--listen", action="store_true", help="to what was said before, instead of speaking")
    parser.add_argument("--pack", type=Path, help="the folder to pack what was said before into")
    parser.add_argument("--part", default="0/1", help="which of how many processes this one is")
    arguments = parser.parse_args()
    part, parts = map(int, arguments.part.split("/"))
    every = (teacher for name in arguments.voices for _, teacher in RECIPES[name].taught)
    teachers = [teacher for teacher in dict.fromkeys(every) if teacher.synthesizer in SLOW]
    if arguments.listen:
        for teacher in teachers:
            listen(teacher)
        return
    if arguments.pack:
        size = sum(shards.pack(teacher, arguments.pack) for teacher in teachers)
        print(f"{size / 2**20:.1f} MiB -> {arguments.pack}")
        return
    seconds = 0.0
    for teacher, path, batch in missing(teachers, part, parts):
        made = [sentence for sentence in (said(teacher, text) for text in batch) if sentence]
        if made:
            shards.write(path, made)
        seconds += sum(len(sentence.samples) / sentence.rate_hz for sentence in made)
        print(f"{path.parent.name}/{path.name}: {len(made)} of {len(batch)}; {seconds / 3600:.2f} h so far", flush=True)
        if seconds >= arguments.hours * 3600:
            return


if __name__ == "__main__":
    main()
