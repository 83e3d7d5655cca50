"""What a slow teacher said, kept as it speaks: shards of some sentences that survive an interruption.

A shard is a FLAC file and, written after it, a file of JSON lines: of each sentence its text, where its samples are,
and its sounds with their seconds. A third, of what was heard in each, may follow.
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


def write(path: Path, sentences: Sequence[Said]) -> None:
    """Write a shard; it counts once its JSON lines are there.

    Args:
        path: of the JSON lines.
        sentences: all at one rate.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines, start = [], 0
    for said in sentences:
        phones = [[symbols, round(a, 4), round(b, 4)] for symbols, a, b in said.phones]
        row = {"text": said.text, "start": start, "samples": len(said.samples), "phones": phones}
        lines.append(json.dumps(row, ensure_ascii=False))
        start += len(said.samples)
    soundfile.write(path.with_suffix(".flac"), np.concatenate([s.samples for s in sentences]), sentences[0].rate_hz)
    partial = path.with_suffix(".partial")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(partial, path)


def read(path: Path) -> Iterator[Said]:
    """Yield the sentences of a shard."""
    samples, rate = soundfile.read(path.with_suffix(".flac"), dtype="float32")
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        phones = [(symbols, start, end) for symbols, start, end in row["phones"]]
        yield Said(row["text"], samples[row["start"] : row["start"] + row["samples"]], rate, phones)


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
