"""What is trained for each voice: its network, its teacher and its schedule."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from training.teachers import Teacher
from vits.text.symbols import SYMBOLS

RUNS = Path(__file__).parent / "runs"
"""Corpora and checkpoints; ignored by git."""

CJKE_SYMBOLS = tuple(SYMBOLS["cjke_cleaners2"])


Taught = Literal["latents", "text", "decoder", "autoencoder", "contest", "all"]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of training in which some parts of the network are taught."""

    teaches: Taught
    """The latents of text and recording, without the decoder; those of text alone; the decoder alone, by a recording's
    latents; the posterior encoder and the decoder as an autoencoder, or likewise with the judges; or all, half of the
    segments from text alone, and with the judges."""
    steps: int
    learning_rate: float
    learning_rate_end: float


FROM_NOTHING = (
    Stage("latents", 4000, 1e-3, 3e-4),
    Stage("decoder", 12000, 5e-4, 1e-4),
    Stage("all", 1500, 2e-4, 5e-5),
)
FINE_TUNE = (
    Stage("latents", 500, 5e-4, 2e-4),
    Stage("decoder", 1000, 3e-4, 1e-4),
    Stage("all", 500, 2e-4, 5e-5),
)
LEARN_PHASES = (
    Stage("latents", 1500, 6e-4, 2e-4),
    Stage("decoder", 2000, 4e-4, 1e-4),
    Stage("all", 1000, 2e-4, 4e-5),
)
"""From weights that were taught none."""
SHORT = (
    Stage("latents", 1800, 8e-4, 2e-4),
    Stage("decoder", 3000, 4e-4, 1e-4),
    Stage("text", 2000, 8e-4, 1.5e-4),
    Stage("all", 1000, 2e-4, 4e-5),
)
"""For a small voice's fine-tune by another teacher: an hour and a quarter of one core that has bfloat16."""
OTHER_LANGUAGES = (
    Stage("latents", 1000, 6e-4, 3e-4),
    Stage("decoder", 2500, 3e-4, 1e-4),
    Stage("text", 3000, 8e-4, 1.5e-4),
    Stage("all", 1500, 2e-4, 4e-5),
)
"""From a voice of the same person, who is to speak more languages."""
TWO_CORES = (
    Stage("autoencoder", 20000, 5e-4, 2e-4),
    Stage("contest", 10000, 2e-4, 1e-4),
    Stage("text", 20000, 6e-4, 1e-4),
    Stage("all", 2000, 1e-4, 3e-5),
)
"""For a large network: the costly decoder first, by the recordings' own latents; text afterwards, in cheap steps."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One voice's network and training."""

    name: str
    teachers: Mapping[str, Teacher]
    """Who speaks the corpus, by the name of the speaker that is taught; several make a voice of several speakers."""
    also: tuple[Teacher, ...] = ()
    """What the one speaker of a voice learns besides: the same person in other languages."""
    sentences: int = 4000
    """The most sentences that each teacher speaks."""
    start_from: tuple[str, str | None] | None = None
    """The recipe, and the speaker of it where it has several, whose trained weights this one begins with."""
    use_sdp: bool = False
    """Whether durations are drawn from a flow or, without it, are always the same."""
    gin_channels: int = 64
    """The width of a speaker's embedding, where there are several."""
    symbols: tuple[str, ...] = CJKE_SYMBOLS
    sample_rate_hz: int = 16000
    n_fft: int = 1024
    win_length: int = 1024
    """Samples of the window through which the posterior encoder sees a recording. Through one of many periods it sees
    their pitch, but not where a pulse falls."""
    fundamental_hz: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """The lowest and the highest pitch of the speakers whose latents are taught the phase of the fundamental: of every
    speaker, or of none. A voice has to be, whose pitch is not far above the frame rate."""
    hop_length: int = 256
    hidden_channels: int = 96
    filter_channels: int = 384
    n_heads: int = 2
    n_layers: int = 4
    kernel_size: int = 3
    posterior_layers: int = 8
    decoder: dict[str, Any] = field(
        default_factory=lambda: {
            "resblock": "2",
            "resblock_kernel_sizes": [3, 5, 7],
            "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]],
            "upsample_rates": [8, 4, 4, 2],
            "upsample_initial_channel": 256,
            "upsample_kernel_sizes": [16, 8, 8, 4],
        }
    )
    most_symbols: int = 160
    most_frames: int = 448
    most_frames_a_symbol: int = 48
    batch: int = 8
    segment_frames: int = 32
    stages: tuple[Stage, ...] = FROM_NOTHING

    @property
    def steps(self) -> int:
        """Return how many steps all stages take."""
        return sum(stage.steps for stage in self.stages)

    def stage(self, step: int) -> tuple[Stage, int]:
        """Return the stage that a step belongs to, and which of its steps it is; past the end, of the last."""
        for stage in self.stages:
            if step < stage.steps:
                return stage, step
            step -= stage.steps
        return self.stages[-1], self.stages[-1].steps

    @property
    def speakers(self) -> tuple[str, ...]:
        """Return the names in the speaker table: none for a voice with one speaker."""
        return tuple(self.teachers) if len(self.teachers) > 1 else ()

    @property
    def taught(self) -> list[tuple[str, Teacher]]:
        """Return who is taught by whom; one speaker several times, if in several languages."""
        return [*self.teachers.items(), *((name, teacher) for name in self.teachers for teacher in self.also)]

    @property
    def frame_s(self) -> float:
        """Return the seconds of one latent frame."""
        return self.hop_length / self.sample_rate_hz

    def config(self) -> dict[str, Any]:
        """Return config.json in the layout of VITS-fast-fine-tuning."""
        model = {
            "inter_channels": self.hidden_channels,
            "hidden_channels": self.hidden_channels,
            "filter_channels": self.filter_channels,
            "n_heads": self.n_heads,
            "n_layers": self.n_layers,
            "kernel_size": self.kernel_size,
            "p_dropout": 0.0,
            **self.decoder,
            "n_layers_q": self.posterior_layers,
            "use_spectral_norm": False,
            "use_sdp": self.use_sdp,
            **({"gin_channels": self.gin_channels} if self.speakers else {}),
        }
        data = {
            "text_cleaners": ["cjke_cleaners2"],
            "max_wav_value": 32768.0,
            "sampling_rate": self.sample_rate_hz,
            "filter_length": self.n_fft,
            "hop_length": self.hop_length,
            "win_length": self.win_length,
            "add_blank": False,
            "n_speakers": len(self.speakers),
            "cleaned_text": True,
        }
        train = {"segment_size": self.segment_frames * self.hop_length}
        return {
            "train": train,
            "data": data,
            "model": model,
            "symbols": list(self.symbols),
            "speakers": {name: number for number, name in enumerate(self.speakers)},
            "languages": self._languages(),
        }

    def _languages(self) -> dict[str, list[str]] | list[str]:
        """Return what each speaker speaks, or the one voice."""
        spoken: dict[str, list[str]] = {}
        for name, teacher in self.taught:
            spoken.setdefault(name, []).append(teacher.language)
        return spoken if self.speakers else next(iter(spoken.values()))


FLITE_SLT = Teacher("flite", "slt", "en")
FLITE_RMS = Teacher("flite", "rms", "en")
MEI = Teacher("openjtalk", "mei_normal", "ja")
ANNIE = Teacher("espeak", "cmn+Annie", "zh")  # whose tones are wide, and high enough to be learnt
MIRA = {lang: Teacher("kokoro", "af_heart+jf_alpha+zf_xiaoxiao", lang) for lang in ("en", "ja", "zh")}
"""A woman in three languages: the mean of one of Kokoro's voices of each."""
KUMO = {lang: Teacher("kokoro", "jm_kumo", lang) for lang in ("en", "ja", "zh")}


def _from_trio(name: str, teacher: Teacher, speaker: str, use_sdp: bool = True) -> Recipe:
    """Return the recipe of a voice that is trio's, taught a little longer by one teacher only."""
    return Recipe(name, {name: teacher}, start_from=("trio", speaker), use_sdp=use_sdp, stages=FINE_TUNE)


def _with_phases(
    recipe: Recipe, win_length: int, fundamental_hz: tuple[float, float], stages: tuple[Stage, ...] = LEARN_PHASES
) -> Recipe:
    """Return the recipe of a voice whose latents are taught the phase of its fundamental besides."""
    pitches = dict.fromkeys(recipe.teachers, fundamental_hz)
    return replace(recipe, win_length=win_length, fundamental_hz=pitches, stages=stages)


def _trilingual(name: str, teachers: Mapping[str, Teacher]) -> Recipe:
    """Return the recipe of one speaker of three languages, at the teacher's own rate."""
    decoder = {
        "resblock": "2",
        "resblock_kernel_sizes": [3, 5, 7],
        "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]],
        "upsample_rates": [8, 8, 4],
        "upsample_initial_channel": 256,
        "upsample_kernel_sizes": [16, 16, 8],
    }
    return Recipe(
        name, {name: teachers["en"]}, also=(teachers["zh"], teachers["ja"]), use_sdp=True, sample_rate_hz=24000,
        hidden_channels=160, filter_channels=640, n_layers=6, decoder=decoder, most_frames=750,
        most_frames_a_symbol=80, stages=TWO_CORES,
    )  # fmt: skip


SHIPPED = ("mei", "mira", "rms", "slt", "trio")
"""The recipes whose voices come with the project."""
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("trio", {"amy": FLITE_SLT, "mei": MEI, "ling": ANNIE}, use_sdp=True),
        _from_trio("slt", FLITE_SLT, "amy", use_sdp=False),
        _with_phases(_from_trio("rms", FLITE_RMS, "amy"), 512, (60.0, 160.0)),
        _from_trio("mei", MEI, "mei"),
        _with_phases(_from_trio("cmn", MIRA["zh"], "ling"), 256, (140.0, 325.0), stages=SHORT),
        _with_phases(
            Recipe("mira", {"mira": MIRA["en"]}, also=(MIRA["zh"], MIRA["ja"]), start_from=("cmn", None), use_sdp=True),
            256,
            (140.0, 325.0),
            stages=OTHER_LANGUAGES,
        ),
        _trilingual("kumo", KUMO),
    )
}
