"""Measure the voices against their teachers: `python -m training.evaluate` prints the table of voices/README.md.

The sentences are those of held_out/, none of which is in a corpus. A picture of one sentence's spectrograms is saved
in each voice's folder.
"""

import argparse
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.corpus import utterance
from training.export import VOICES
from training.losses import magnitudes
from training.measures import (
    Samples,
    comb_db,
    harmonic_contrast_db,
    level_db,
    paired_semitones,
    recognize,
    steps_at_joins,
    warped,
    word_errors,
    words,
)
from training.recipes import RECIPES, Recipe
from training.teachers import Teacher, speak

Synthesis = Callable[[str], list[Samples]]
"""Turns a sentence into its windows."""

HELD_OUT = Path(__file__).parent / "held_out"
MODELS = Path(__file__).parent.parent / "models.toml"
PICTURED = {"en": "Hello from two small cores.", "ja": "今日は、お元気ですか。", "zh": "你好，今天天气很好。"}
BEFORE_S, AFTER_S = 0.008, 0.05
"""How much of an utterance's beginning and of its end must be silent."""
CLIPPED = 0.999
LOST = 6.0
"""Semitones from the teacher's pitch at which a pitch counts as lost: half an octave."""
BAND_HZ = (3000.0, 4000.0)
"""The band in which harmonics are hardest to resolve, among those that should be resolved."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """One speaker of a shipped voice, with the teacher that it learned from."""

    recipe: Recipe
    name: str
    folder: Path

    @property
    def teacher(self) -> Teacher:
        """Return the speaker's teacher."""
        return self.recipe.teachers[self.name]

    @property
    def label(self) -> str:
        """Return the name that the service gives the speaker."""
        return f"{self.recipe.name}/{self.name}" if self.recipe.speakers else self.name

    def taught(self, text: str) -> Samples:
        """Return the teacher's speech of a text, at 16 kHz."""
        samples: Samples = speak(self.teacher, text, self.recipe.sample_rate_hz).samples
        return samples

    def voice(self) -> Synthesis:
        """Return a function that speaks a sentence in windows, with the scales that models.toml sets."""
        from vits import load_voice

        voice = load_voice(self.folder / "G.pth", self.folder / "config.json", precision="float32")
        tables = tomllib.loads(MODELS.read_text("utf-8"))["models"]
        table: dict[str, Any] = next((table for table in tables if table["name"] == self.recipe.name), {})
        scales = {key: table[key] for key in ("noise_scale", "noise_scale_w", "length_scale") if key in table}
        speaker = self.recipe.speakers.index(self.name) if self.recipe.speakers else 0

        def synthesize(text: str) -> list[Samples]:
            return list(voice.stream(voice.ids(text, lang=self.teacher.language), speaker=speaker, **scales))

        return synthesize


def speakers(recipe: Recipe, folder: Path) -> Iterator[Speaker]:
    """Yield the speakers of a recipe's voice in a folder."""
    for name in recipe.teachers:
        yield Speaker(recipe, name, folder)


def word_error_rate(sentences: list[str], speech: list[Samples]) -> float:
    """Return the word error rate of pocketsphinx over sentences and their speech."""
    heard = map(recognize, speech)
    errors = sum(word_errors(words(text), words(what)) for text, what in zip(sentences, heard, strict=True))
    return errors / sum(len(words(text)) for text in sentences)


@dataclass(frozen=True, slots=True)
class Measured:
    """One speaker's row of the table."""

    word_error_rate: float | None
    """The word error rate of pocketsphinx in English; the next is the teacher's."""
    teachers_word_error_rate: float | None
    distortion_db: float
    """The mel-cepstral distortion from the teacher's speech of the same sentence."""
    distortion_from_another_db: float
    """The distortion from the teacher's speech of another sentence, as a measure of no likeness at all."""
    duration_error: float
    """The error of whole sentences' durations, relative to the teacher's."""
    pitch_error: float
    """The median distance from the teacher's pitch in semitones, over frames that are voiced in both."""
    monotones_pitch_error: float
    """The same for a voice that always spoke at the teacher's median pitch."""
    pitch_lost: float
    """The share of these frames whose pitch is LOST or more from the teacher's."""
    harmonics_db: float
    """How far harmonics stand out in BAND_HZ."""
    teachers_harmonics_db: float
    comb_db: float
    """How far the frame rate's multiples stand out; the next is the teacher's."""
    teachers_comb_db: float
    step_at_joins: float
    """The largest step between two neighbouring samples."""
    step_elsewhere: float
    before_db: float
    """The level of the loudest beginning; the next is that of the loudest end."""
    after_db: float
    clipped: int
    """How many samples are at full scale."""


def measured(speaker: Speaker, synthesize: Synthesis, most: int) -> Measured:
    """Return the measures of one speaker over at most `most` sentences."""
    sentences = (HELD_OUT / f"{speaker.teacher.language}.txt").read_text("utf-8").splitlines()[:most]
    windows = [synthesize(text) for text in sentences]
    ours = [np.concatenate(parts) for parts in windows]
    taught = [speaker.taught(text) for text in sentences]
    rate = speaker.recipe.sample_rate_hz
    joins, elsewhere = (max(steps) for steps in zip(*map(steps_at_joins, windows), strict=True))
    pairs = list(map(warped, ours, taught))
    semitones = [paired_semitones(a, b, pair.frames) for a, b, pair in zip(ours, taught, pairs, strict=True)]
    pitch, teachers_pitch = np.concatenate(semitones).T
    off = np.abs(pitch - teachers_pitch)
    english = speaker.teacher.language == "en"
    return Measured(
        word_error_rate=word_error_rate(sentences, ours) if english else None,
        teachers_word_error_rate=word_error_rate(sentences, taught) if english else None,
        distortion_db=_mean(pair.distortion_db for pair in pairs),
        distortion_from_another_db=_mean(
            warped(*pair).distortion_db for pair in zip(ours, taught[1:] + taught[:1], strict=True)
        ),
        duration_error=_duration_error(speaker, sentences, ours),
        pitch_error=float(np.median(off)),
        monotones_pitch_error=float(np.median(np.abs(np.median(teachers_pitch) - teachers_pitch))),
        pitch_lost=float(np.mean(off >= LOST)),
        harmonics_db=_mean(harmonic_contrast_db(samples, *BAND_HZ) for samples in ours),
        teachers_harmonics_db=_mean(harmonic_contrast_db(samples, *BAND_HZ) for samples in taught),
        comb_db=_mean(comb_db(samples, speaker.recipe.hop_length) for samples in ours),
        teachers_comb_db=_mean(comb_db(samples, speaker.recipe.hop_length) for samples in taught),
        step_at_joins=joins,
        step_elsewhere=elsewhere,
        before_db=max(level_db(samples[: round(BEFORE_S * rate)]) for samples in ours),
        after_db=max(level_db(samples[-round(AFTER_S * rate) :]) for samples in ours),
        clipped=sum(int((np.abs(samples) >= CLIPPED).sum()) for samples in ours),
    )


def _mean(values: Iterable[float]) -> float:
    """Return the mean of the values that are numbers."""
    return float(np.nanmean(list(values)))


HEAD = """\
| speaker | word errors (teacher's) | distortion, dB (from another sentence) | duration error | \
pitch error, semitones (a monotone's) | pitch lost | harmonics, dB (teacher's) | comb, dB (teacher's) | \
largest step at joins (elsewhere) | before / after, dB | clipped |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def row(speaker: Speaker, m: Measured) -> str:
    """Return a speaker's row of the table."""
    errors = "" if m.word_error_rate is None else f"{m.word_error_rate:.3f} ({m.teachers_word_error_rate:.3f})"
    cells = (
        speaker.label,
        errors,
        f"{m.distortion_db:.2f} ({m.distortion_from_another_db:.2f})",
        f"{m.duration_error:.1%}",
        f"{m.pitch_error:.2f} ({m.monotones_pitch_error:.2f})",
        f"{m.pitch_lost:.0%}",
        f"{m.harmonics_db:.1f} ({m.teachers_harmonics_db:.1f})",
        f"{m.comb_db:.1f} ({m.teachers_comb_db:.1f})",
        f"{m.step_at_joins:.3f} ({m.step_elsewhere:.3f})",
        f"{m.before_db:.0f} / {m.after_db:.0f}",
        str(m.clipped),
    )
    return f"| {' | '.join(cells)} |"


def _duration_error(speaker: Speaker, sentences: list[str], ours: list[Samples]) -> float:
    """Return the mean difference in length between sentences and the teacher's, relative to the teacher's."""
    errors = []
    for text, samples in zip(sentences, ours, strict=True):
        row = utterance(text, speaker.teacher, speaker.recipe)  # the corpus has the teacher's own silent ends cut off
        if row is not None:
            errors.append(abs(len(samples) / len(row[2]) - 1))
    return float(np.mean(errors))


def picture(speaker: Speaker, synthesize: Synthesis, path: Path) -> None:
    """Write the spectrograms of one sentence, the teacher's above ours."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    text = PICTURED[speaker.teacher.language]
    ours = np.concatenate(synthesize(text))
    teacher = f"{speaker.teacher.synthesizer} {speaker.teacher.voice} (teacher)"
    figure, axes = pyplot.subplots(2, 1, figsize=(11, 9), layout="constrained")
    for axis, (title, samples) in zip(axes, ((teacher, speaker.taught(text)), (speaker.label, ours)), strict=True):
        decibels = 20 * magnitudes(torch.from_numpy(samples)[None], 1024, 128)[0].log10().numpy()
        extent = (0, len(samples) / speaker.recipe.sample_rate_hz, 0, speaker.recipe.sample_rate_hz / 2000)
        axis.imshow(decibels, origin="lower", aspect="auto", vmin=-40, vmax=35, extent=extent)
        axis.set(title=title, ylabel="kHz")
    axes[-1].set_xlabel("seconds")
    figure.savefig(path, dpi=70)
    pyplot.close(figure)


def main() -> None:
    """Measure one voice, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("voice", nargs="*", choices=sorted(RECIPES), help="which voices (default: all)")
    parser.add_argument("--most", type=int, default=1000, help="how many sentences of each language to use at most")
    parser.add_argument("--voices", type=Path, default=VOICES, help="the folder that holds a folder for each voice")
    arguments = parser.parse_args()
    print(HEAD)
    for name in arguments.voice or RECIPES:
        folder = arguments.voices / name
        for speaker in speakers(RECIPES[name], folder):
            suffix = f"-{speaker.name}" if RECIPES[name].speakers else ""
            synthesize = speaker.voice()
            picture(speaker, synthesize, folder / f"spectrogram{suffix}.png")
            print(row(speaker, measured(speaker, synthesize, arguments.most)), flush=True)


if __name__ == "__main__":
    main()
