"""Judge the shipped voices beside their teachers: `python -m training.evaluate` prints what voices/README.md tables.

Whisper writes down what it hears, DNSMOS says how it sounds, and the rest is measured.

The sentences are those of held_out/, none of which is in a corpus. A picture of one sentence's spectrograms is saved
in each voice's folder.
"""

import argparse
import io
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.corpus import utterance
from training.export import VOICES
from training.judges import Impression, error_rate, heard, impression
from training.losses import magnitudes
from training.measures import (
    RATE_HZ,
    Samples,
    comb_db,
    harmonic_contrast_db,
    level_db,
    paired_semitones,
    steps_at_joins,
    warped,
)
from training.recipes import RECIPES, SHIPPED, Recipe
from training.teachers import Teacher, resampled, speak
from training.texts import HELD_OUT

Synthesis = Callable[[str], list[Samples]]
"""Turns a sentence into its windows."""

MODELS = Path(__file__).parent.parent / "models.toml"
PICTURED = {"en": "Hello from two small cores.", "ja": "今日は、お元気ですか。", "zh": "你好，今天天气很好。"}
UNLISTED = {"noise_scale": 0.3, "noise_scale_w": 0.2}
"""How a voice speaks that models.toml does not list."""
BEFORE_S, AFTER_S = 0.008, 0.05
"""How much of an utterance's beginning and of its end must be silent."""
COLOURS = 48
"""Of a picture, which then takes an eighth of a megabyte instead of half of one."""
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
    teacher: Teacher
    """In one of the languages that it speaks."""
    folder: Path

    @property
    def label(self) -> str:
        """Return what the service calls it, and the language."""
        name = f"{self.recipe.name}/{self.name}" if self.recipe.speakers else self.recipe.name
        return f"{name}, {self.teacher.language}"

    @property
    def picture(self) -> Path:
        """Return where its spectrogram goes."""
        several = len(self.recipe.taught) > 1
        suffix = f"-{self.name}" if self.recipe.speakers else f"-{self.teacher.language}"
        return self.folder / f"spectrogram{suffix if several else ''}.png"

    def taught(self, text: str) -> Samples:
        """Return what the teacher makes of a text, at the voice's rate."""
        samples: Samples = speak(self.teacher, text, self.recipe.sample_rate_hz).samples
        return samples

    def voice(self) -> Synthesis:
        """Return a function that speaks a sentence in windows, with the scales that models.toml sets."""
        from vits import load_voice

        voice = load_voice(self.folder / "G.pth", self.folder / "config.json", precision="float32")
        tables = tomllib.loads(MODELS.read_text("utf-8"))["models"]
        table: dict[str, Any] = next((table for table in tables if table["name"] == self.recipe.name), UNLISTED)
        scales = {key: table[key] for key in ("noise_scale", "noise_scale_w", "length_scale") if key in table}
        speaker = self.recipe.speakers.index(self.name) if self.recipe.speakers else 0

        def synthesize(text: str) -> list[Samples]:
            return list(voice.stream(voice.ids(text, lang=self.teacher.language), speaker=speaker, **scales))

        return synthesize


def speakers(recipe: Recipe, folder: Path) -> Iterator[Speaker]:
    """Yield the speakers of a recipe's voice in a folder, once for each language."""
    for name, teacher in recipe.taught:
        yield Speaker(recipe, name, teacher, folder)


@dataclass(frozen=True, slots=True)
class Said:
    """Sentences, as a speaker and its teacher say them."""

    sentences: list[str]
    windows: list[list[Samples]]
    """The speaker's, at its own rate."""
    taught: list[Samples]
    """The teacher's, at the voice's rate."""


def said(speaker: Speaker, synthesize: Synthesis, most: int) -> Said:
    """Return at most so many sentences that were never taught."""
    sentences = (HELD_OUT / f"{speaker.teacher.language}.txt").read_text("utf-8").splitlines()[:most]
    return Said(sentences, [synthesize(text) for text in sentences], [speaker.taught(text) for text in sentences])


def at_16_khz(speech: Iterable[Samples], rate_hz: int) -> list[Samples]:
    """Return speech at the rate at which it is judged and compared."""
    return [resampled(samples, rate_hz, RATE_HZ) for samples in speech]


@dataclass(frozen=True, slots=True)
class Judged:
    """What independent listeners make of one speaker."""

    error_rate: float
    """Of Whisper, in words, syllables or kana."""
    impression: Impression
    """Of DNSMOS, the mean over sentences."""


def judged(sentences: Sequence[str], speech: Sequence[Samples], language: str) -> Judged:
    """Return what listeners make of sentences and their speech at 16 kHz."""
    hearings = [heard(samples, language, beams=5) for samples in speech]
    scores = np.mean([impression(samples) for samples in speech], axis=0)
    return Judged(error_rate(sentences, hearings, language), Impression(*map(float, scores)))


@dataclass(frozen=True, slots=True)
class Measured:
    """One speaker's row of the table."""

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


def measured(speaker: Speaker, said: Said) -> Measured:
    """Return the measures of what one speaker said."""
    rate = speaker.recipe.sample_rate_hz
    full = [np.concatenate(parts) for parts in said.windows]
    ours, taught = at_16_khz(full, rate), at_16_khz(said.taught, rate)
    joins, elsewhere = (max(steps) for steps in zip(*map(steps_at_joins, said.windows), strict=True))
    pairs = list(map(warped, ours, taught))
    semitones = [paired_semitones(a, b, pair.frames) for a, b, pair in zip(ours, taught, pairs, strict=True)]
    pitch, teachers_pitch = np.concatenate(semitones).T
    off = np.abs(pitch - teachers_pitch)
    return Measured(
        distortion_db=_mean(pair.distortion_db for pair in pairs),
        distortion_from_another_db=_mean(
            warped(*pair).distortion_db for pair in zip(ours, taught[1:] + taught[:1], strict=True)
        ),
        duration_error=_duration_error(speaker, said.sentences, full),
        pitch_error=float(np.median(off)),
        monotones_pitch_error=float(np.median(np.abs(np.median(teachers_pitch) - teachers_pitch))),
        pitch_lost=float(np.mean(off >= LOST)),
        harmonics_db=_mean(harmonic_contrast_db(samples, *BAND_HZ) for samples in ours),
        teachers_harmonics_db=_mean(harmonic_contrast_db(samples, *BAND_HZ) for samples in taught),
        comb_db=_mean(comb_db(samples, speaker.recipe.hop_length) for samples in full),
        teachers_comb_db=_mean(comb_db(samples, speaker.recipe.hop_length) for samples in said.taught),
        step_at_joins=joins,
        step_elsewhere=elsewhere,
        before_db=max(level_db(samples[: round(BEFORE_S * rate)]) for samples in full),
        after_db=max(level_db(samples[-round(AFTER_S * rate) :]) for samples in full),
        clipped=sum(int((np.abs(samples) >= CLIPPED).sum()) for samples in full),
    )


def _mean(values: Iterable[float]) -> float:
    """Return the mean of the values that are numbers."""
    return float(np.nanmean(list(values)))


def _table(cells: Iterable[tuple[str, str]]) -> str:
    """Return a speaker's column names and cells as a table of one row."""
    names, values = zip(*cells, strict=True)
    return "\n".join(f"| {' | '.join(row)} |" for row in (names, ["---"] * len(names), values))


def judges_table(speaker: Speaker, ours: Judged, taught: Judged) -> str:
    """Return what listeners make of a speaker, the teacher in brackets."""
    pairs = zip(ours.impression, taught.impression, strict=True)
    scores = [f"{mine:.2f} ({teachers:.2f})" for mine, teachers in pairs]
    errors = f"{ours.error_rate:.3f} ({taught.error_rate:.3f})"
    names = ("speaker", "errors (teacher's)", "overall (teacher's)", "signal", "background", "P.808")
    return _table(zip(names, (speaker.label, errors, *scores), strict=True))


def measures_table(speaker: Speaker, m: Measured) -> str:
    """Return what is measured of a speaker."""
    return _table(
        (
            ("speaker", speaker.label),
            ("distortion, dB (from another sentence)", f"{m.distortion_db:.2f} ({m.distortion_from_another_db:.2f})"),
            ("duration error", f"{m.duration_error:.1%}"),
            ("pitch error, semitones (a monotone's)", f"{m.pitch_error:.2f} ({m.monotones_pitch_error:.2f})"),
            ("pitch lost", f"{m.pitch_lost:.0%}"),
            ("harmonics, dB (teacher's)", f"{m.harmonics_db:.1f} ({m.teachers_harmonics_db:.1f})"),
            ("comb, dB (teacher's)", f"{m.comb_db:.1f} ({m.teachers_comb_db:.1f})"),
            ("largest step at joins (elsewhere)", f"{m.step_at_joins:.3f} ({m.step_elsewhere:.3f})"),
            ("before / after, dB", f"{m.before_db:.0f} / {m.after_db:.0f}"),
            ("clipped", str(m.clipped)),
        )
    )


def _duration_error(speaker: Speaker, sentences: list[str], ours: list[Samples]) -> float:
    """Return the mean difference in length between sentences and the teacher's, relative to the teacher's."""
    errors = []
    for text, samples in zip(sentences, ours, strict=True):
        row = utterance(text, speaker.teacher, speaker.recipe)  # the corpus has the teacher's own silent ends cut off
        if row is not None:
            errors.append(abs(len(samples) / len(row[2]) - 1))
    return float(np.mean(errors))


def picture(speaker: Speaker, synthesize: Synthesis) -> None:
    """Write the spectrograms of one sentence, the teacher's above ours."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

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
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=70)
    pyplot.close(figure)
    few = Image.open(drawn).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(speaker.picture, optimize=True)


def main() -> None:
    """Measure one voice, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("voice", nargs="*", choices=sorted(RECIPES), help="which (default: those that are shipped)")
    parser.add_argument("--most", type=int, default=1000, help="at most so many sentences of each language")
    parser.add_argument("--judges-only", action="store_true", help="what Whisper and DNSMOS say, and nothing else")
    parser.add_argument("--voices", type=Path, default=VOICES, help="the folder of the voices' folders")
    arguments = parser.parse_args()
    for name in arguments.voice or SHIPPED:
        for speaker in speakers(RECIPES[name], arguments.voices / name):
            synthesize = speaker.voice()
            speech = said(speaker, synthesize, arguments.most)
            language, rate = speaker.teacher.language, speaker.recipe.sample_rate_hz
            ours = at_16_khz((np.concatenate(windows) for windows in speech.windows), rate)
            both = [judged(speech.sentences, who, language) for who in (ours, at_16_khz(speech.taught, rate))]
            print(judges_table(speaker, *both), flush=True)
            if not arguments.judges_only:
                picture(speaker, synthesize)
                print(measures_table(speaker, measured(speaker, speech)), flush=True)


if __name__ == "__main__":
    main()
