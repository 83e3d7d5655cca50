"""What a slow teacher said, kept as it speaks: shards of some sentences that survive an interruption.

A shard is a FLAC file (or an Opus file, where it was packed for a journey) and, written after it, a file of JSON lines:
of each sentence its text, where its samples are, and its sounds with their seconds. A third, of what was heard in each,
may follow.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from training.recipes import RUNS
from training.teachers import Phones, Teacher

OPUS_COMPRESSION = 0.8
"""Of 0 to 1, as libsndfile counts: about 54 kbit/s at 24 kHz."""


class Said(NamedTuple):
    """One sentence as a teacher said it."""

    text: str
    samples: np.ndarray
    """float32 [n]."""
    rate_hz: int
    phones: Phones


def folder(teacher: Teacher) -> Path:
    """Return where the shards of a teacher are."""
    return RUNS / "speech" / f"{teacher.synthesizer}-{teacher.voice}-{teacher.language}"


def write(path: Path, sentences: Sequence[Said], packed: bool = False) -> None:
    """Write a shard; it counts once its JSON lines are there.

    Args:
        path: of the JSON lines.
        sentences: all at one rate.
        packed: whether as Opus, of 24 MB an hour, instead of FLAC, of 80.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines, start = [], 0
    for said in sentences:
        phones = [[symbols, round(a, 4), round(b, 4)] for symbols, a, b in said.phones]
        row = {"text": said.text, "start": start, "samples": len(said.samples), "phones": phones}
        lines.append(json.dumps(row, ensure_ascii=False))
        start += len(said.samples)
    samples, rate = np.concatenate([s.samples for s in sentences]), sentences[0].rate_hz
    if packed:
        sound = path.with_suffix(".opus")
        soundfile.write(sound, samples, rate, format="OGG", subtype="OPUS", compression_level=OPUS_COMPRESSION)
    else:
        soundfile.write(path.with_suffix(".flac"), samples, rate)
    partial = path.with_suffix(".partial")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(partial, path)


def read(path: Path) -> Iterator[Said]:
    """Yield the sentences of a shard."""
    flac = path.with_suffix(".flac")
    samples, rate = soundfile.read(flac if flac.exists() else path.with_suffix(".opus"), dtype="float32")
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        phones = [(symbols, start, end) for symbols, start, end in row["phones"]]
        yield Said(row["text"], samples[row["start"] : row["start"] + row["samples"]], rate, phones)


def pack(teacher: Teacher, target: Path) -> int:
    """Write a teacher's shards as Opus into a folder; return how many bytes they have."""
    size = 0
    for path in sorted(folder(teacher).glob("*.jsonl")):
        made = target / folder(teacher).name / path.name
        write(made, list(read(path)), packed=True)
        files = [made, made.with_suffix(".opus")]
        if hearings_path(path).exists():
            files.append(hearings_path(made))
            files[-1].write_bytes(hearings_path(path).read_bytes())
        size += sum(file.stat().st_size for file in files)
    return size


def hearings_path(path: Path) -> Path:
    """Return where what was heard in a shard is, if it was listened to."""
    return path.with_suffix(".heard")


def write_hearings(path: Path, hearings: Sequence[str]) -> None:
    """Keep what was heard in each sentence of a shard."""
    hearings_path(path).write_text(json.dumps(hearings, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def read_hearings(path: Path) -> list[str] | None:
    """Return what was heard in each sentence of a shard, or None where it was not listened to."""
    heard = hearings_path(path)
    return json.loads(heard.read_text("utf-8")) if heard.exists() else None
