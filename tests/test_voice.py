import json
import math
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import vits.voice
from vits import BadRequest, BrokenCheckpoint, BrokenSound, RunawayLength, TextError, UnknownSpeaker, Voice, load_voice
from vits.config import read_config
from vits.decoder import WINDOW_SIZES
from vits.limits import MAX_SEED
from vits.network import Network
from vits.text.symbols import SYMBOLS
from vits.voice import MAX_FRAMES, MAX_IDS, Samples

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden/network"
NAMES = sorted(path.name for path in GOLDEN.iterdir())

MODEL = {
    "inter_channels": 6,
    "hidden_channels": 8,
    "filter_channels": 16,
    "n_heads": 2,
    "n_layers": 2,
    "kernel_size": 3,
    "resblock": "2",
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 2], [2, 6]],
    "upsample_rates": [4, 2],
    "upsample_initial_channel": 8,
    "upsample_kernel_sizes": [8, 4],
    "gin_channels": 4,
}
DATA = {"sampling_rate": 8000, "hop_length": 8, "text_cleaners": ["cjke_cleaners2"], "add_blank": True, "n_speakers": 2}
SYMBOL_TABLE = SYMBOLS["cjke_cleaners2"]
IDS = [0, 12, 0, 30, 0, 41, 0, 7, 0]

pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def golden(name: str) -> Voice:
    return load_voice(GOLDEN / name / "G_latest.pth", GOLDEN / name / "config.json", "float32")


class Maker:
    """Makes tiny voices with random weights."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self,
        precision: str = "float32",
        log_frames: float | None = None,
        model: dict[str, Any] | None = None,
        data: dict[str, Any] | None = None,
        **top: Any,
    ) -> Voice:
        config = {
            "model": MODEL | (model or {}),
            "data": DATA | (data or {}),
            "symbols": [*SYMBOL_TABLE],
            "speakers": ["left", "right"],
        } | top
        (self.folder / "config.json").write_text(json.dumps(config))
        read = read_config(self.folder / "config.json")
        torch.manual_seed(1)
        network = Network(read.shape, len(read.symbols), read.n_speakers)
        if log_frames is not None:
            nn.init.constant_(network.get_parameter("dp.proj.bias"), log_frames)
        torch.save(network.state_dict(), self.folder / "G.pth")
        return load_voice(self.folder / "G.pth", self.folder / "config.json", precision)


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    return Maker(tmp_path_factory.mktemp("tiny"))()


def joined(windows: Iterator[Samples]) -> Samples:
    return np.concatenate(list(windows))


def text_of(length: int) -> list[int]:
    return [number * 7 % len(SYMBOL_TABLE) for number in range(length)]


# Parity with the original


@pytest.mark.parametrize("name", NAMES)
def test_durations_and_samples_equal_the_originals(name: str) -> None:
    voice, expected = golden(name), np.load(GOLDEN / name / "expected.npz")
    for i in range(5):
        ids, speaker = expected[f"{i}_ids"], max(0, int(expected[f"{i}_speaker"]))
        scale = float(expected[f"{i}_length_scale"])
        durations = voice.durations(ids, speaker, noise_scale_w=0, length_scale=scale)
        assert durations.dtype == np.int64
        assert durations.tolist() == expected[f"{i}_durations"].tolist()
        samples = joined(voice.stream(ids, speaker, noise_scale=0, noise_scale_w=0, length_scale=scale))
        assert samples.dtype == np.float32
        assert samples.shape == expected[f"{i}_audio"].shape
        assert float(np.abs(samples - expected[f"{i}_audio"]).max()) < 1e-4


# What a voice says of itself


def test_a_voice_describes_itself() -> None:
    voice = golden("multi_speaker_sdp")
    assert (voice.sample_rate_hz, voice.hop_length) == (22050, 256)
    assert voice.speakers == {"alice": 0, "bob": 1, "carol": 2}
    assert voice.cleaner == "cjke_cleaners2"
    assert voice.precision == "float32"
    assert 500_000 < voice.parameter_bytes < 600_000


def test_speakers_of_a_list_are_numbered_in_order() -> None:
    assert golden("speaker_list_sdp").speakers == {"left": 0, "right": 1}


def test_a_single_voice_has_no_speakers() -> None:
    assert golden("japanese_single_sdp").speakers == {}


def test_nameless_speakers_are_called_by_number(make: Maker) -> None:
    assert make(speakers=None).speakers == {"0": 0, "1": 1}


def test_a_name_for_a_speaker_that_the_checkpoint_lacks_is_refused(make: Maker) -> None:
    with pytest.raises(BrokenCheckpoint, match=r"config\.json: speakers: c = 2: expected less than 2"):
        make(speakers=["a", "b", "c"])


def test_languages_are_the_front_ends_unless_the_config_says_less(make: Maker) -> None:
    assert make().languages == ("zh", "ja", "ko", "en")
    assert make(languages=["en"]).languages == ("en",)


def test_each_speaker_may_have_languages_of_its_own(make: Maker) -> None:
    voice = make(languages={"left": ["ja"], "right": ["zh", "en"]})
    assert voice.languages == ("ja", "zh", "en")
    assert [voice.languages_of(speaker) for speaker in (0, 1)] == [("ja",), ("zh", "en")]
    voice = make(languages={"right": ["zh"]})
    assert [voice.languages_of(speaker) for speaker in (0, 1)] == [("zh",), ("zh",)]
    assert make(languages=["en"]).languages_of(1) == ("en",)
    assert make().languages_of(1) == ("zh", "ja", "ko", "en")


def test_a_speakers_languages_decide_where_the_script_does_not(make: Maker) -> None:
    voice = make(languages={"left": ["ja"], "right": ["zh"]})
    left, right = (voice.prepare("東京", speaker=speaker).sentences for speaker in (0, 1))
    assert left[0].ids == voice.prepare("東京", "ja").sentences[0].ids
    assert right[0].ids == voice.prepare("東京", "zh").sentences[0].ids
    assert left[0].ids != right[0].ids


# Text


def test_blanks_stand_between_symbols_and_at_both_ends(tiny: Voice) -> None:
    ids = tiny.ids("Hello.", "en")
    assert len(ids) % 2 == 1
    assert ids[::2] == [0] * (len(ids) // 2 + 1)
    assert "".join(SYMBOL_TABLE[number] for number in ids[1::2]).startswith("hɛˈl")


def test_without_blanks_where_the_config_says_so(make: Maker) -> None:
    with_blanks, without = make().ids("Hello.", "en"), make(data={"add_blank": False}).ids("Hello.", "en")
    assert with_blanks[1::2] == without


def test_a_text_is_prepared_in_sentences(tiny: Voice) -> None:
    prepared = tiny.prepare("Good morning. How are you? ☃", "en")
    assert [sentence.written for sentence in prepared.sentences][:2] == ["Good morning.", "How are you?"]
    assert list(prepared.sentences[0].ids) == tiny.ids("Good morning.", "en")
    assert prepared.sentences[0].pause_s > 0
    assert prepared.dropped == {"☃": 1}


def test_an_unspeakable_text_is_refused(tiny: Voice) -> None:
    with pytest.raises(TextError):
        tiny.prepare(" \n ")


# The stream


def test_a_stream_has_the_frames_of_its_durations_in_windows(tiny: Voice) -> None:
    ids = text_of(200)
    windows = list(tiny.stream(ids, seed=4))
    frames = int(tiny.durations(ids, seed=4).sum())
    assert sum(map(len, windows)) == frames * tiny.hop_length
    assert len(windows) > 4
    assert [len(window) // tiny.hop_length for window in windows[:4]] == [8, 16, 32, 96]
    assert all(np.abs(window).max() <= 1 for window in windows)


@pytest.mark.parametrize("use_sdp", [True, False])
@pytest.mark.parametrize("length", [1, 2, 3, 63, 64, 65])
def test_every_length_can_be_spoken(length: int, use_sdp: bool, make: Maker) -> None:
    samples = joined(make(model={"use_sdp": use_sdp}).stream(text_of(length)))
    assert len(samples) >= 8
    assert np.isfinite(samples).all()


def test_scales_and_speaker_change_the_sound(tiny: Voice) -> None:
    plain = joined(tiny.stream(IDS))
    assert len(joined(tiny.stream(IDS, length_scale=3.0))) > len(plain)
    for change in ({"noise_scale": 0.1}, {"speaker": 1}, {"seed": 1}, {"noise_scale_w": 2.0}):
        assert not np.array_equal(joined(tiny.stream(IDS, **change)), plain)


def test_the_first_window_waits_for_the_latents_that_it_needs_alone(tiny: Voice) -> None:
    latents, _ = tiny._latents(tiny._checked(text_of(300), 0, 1.0, 1.0, 1.0, seed=0))
    tiny._latents_for(next(tiny._decoder.windows(latents.n_frames)), latents)
    assert latents.computed == WINDOW_SIZES[0] + tiny._decoder.context_frames
    assert latents.n_frames > 2 * latents.computed


# Seeds


def test_the_same_seed_gives_the_same_samples_whatever_ran_before(tiny: Voice) -> None:
    expected = joined(tiny.stream(IDS, seed=5))
    torch.manual_seed(99)
    np.random.default_rng().random()
    joined(tiny.stream(text_of(100), seed=6))
    assert np.array_equal(joined(tiny.stream(IDS, seed=5)), expected)


def test_interleaved_streams_do_not_hear_each_other(tiny: Voice) -> None:
    one, other = text_of(150), text_of(220)
    expected = joined(tiny.stream(one, seed=1)), joined(tiny.stream(other, seed=2, speaker=1))
    windows = list(zip_longest(tiny.stream(one, seed=1), tiny.stream(other, seed=2, speaker=1)))
    for stream, samples in zip(zip(*windows, strict=True), expected, strict=True):
        assert np.array_equal(np.concatenate([window for window in stream if window is not None]), samples)


def test_a_synthesis_leaves_the_global_noise_alone(tiny: Voice) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    joined(tiny.stream(IDS))
    assert torch.equal(torch.rand(3), expected)


def test_inference_mode_ends_with_each_step(tiny: Voice) -> None:
    stream = tiny.stream(text_of(150))
    next(stream)
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()
    stream.close()  # type: ignore[attr-defined]  # a generator has it
    assert not torch.is_inference_mode_enabled()


# Refusals


BAD_ARGUMENTS = [
    ({"ids": []}, "there are 0 ids, expected 1 to 2048"),
    ({"ids": [0] * (MAX_IDS + 1)}, "there are 2049 ids, expected 1 to 2048"),
    ({"ids": [0, 68]}, "an id is 68, expected 0 to 67"),
    ({"ids": [-1]}, "an id is -1, expected 0 to 67"),
    ({"ids": [1.5]}, "an id is 1.5, expected a whole number"),
    ({"ids": "ab"}, "an id is 'a', expected a whole number"),
    ({"noise_scale": math.nan}, "noise_scale is nan, expected 0 to 2"),
    ({"noise_scale": -0.1}, "noise_scale is -0.1, expected 0 to 2"),
    ({"noise_scale_w": math.inf}, "noise_scale_w is inf, expected 0 to 2"),
    ({"length_scale": 0.0}, "length_scale is 0.0, expected 0.25 to 4"),
    ({"length_scale": 4.1}, "length_scale is 4.1, expected 0.25 to 4"),
    ({"length_scale": "1"}, "length_scale is '1', expected 0.25 to 4"),
    ({"seed": -1}, "seed is -1, expected 0 to 4294967295"),
    ({"seed": MAX_SEED + 1}, "seed is 4294967296, expected 0 to 4294967295"),
    ({"seed": 0.5}, "seed is 0.5, expected a whole number"),
    ({"speaker": 2}, "speaker is 2, expected 0 to 1"),
    ({"speaker": -1}, "speaker is -1, expected 0 to 1"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD_ARGUMENTS)
def test_bad_arguments_are_refused_at_the_call(arguments: dict[str, Any], words: str, tiny: Voice) -> None:
    with pytest.raises(BadRequest) as error:
        tiny.stream(**{"ids": IDS} | arguments)
    assert str(error.value) == words
    assert isinstance(error.value, UnknownSpeaker) == ("speaker" in arguments)


def test_a_single_voice_has_speaker_0_alone() -> None:
    with pytest.raises(UnknownSpeaker, match="speaker is 1, expected 0 to 0"):
        golden("japanese_single_sdp").stream(IDS, speaker=1)


@pytest.mark.parametrize("log_frames", [7.0, 200.0])
def test_a_runaway_length_is_refused(log_frames: float, make: Maker) -> None:
    voice = make(model={"use_sdp": False}, log_frames=log_frames)
    with pytest.raises(RunawayLength, match=r"9 symbols for \w+ frames, expected at most 560: try another seed"):
        next(voice.stream(IDS))
    with pytest.raises(RunawayLength):
        voice.durations(IDS)


def test_long_symbols_within_the_bound_are_spoken(make: Maker) -> None:
    voice = make(model={"use_sdp": False}, log_frames=3.5)
    assert voice.durations(IDS, length_scale=4.0).sum() > 9 * 40
    with pytest.raises(RunawayLength, match=f"expected at most {MAX_FRAMES}"):
        voice.durations(text_of(1000))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_sound_that_is_no_number_is_an_error_and_no_silence(precision: str, make: Maker) -> None:
    voice = make(precision)
    voice._flow._couplings[0].bias[0] = torch.nan
    with pytest.raises(BrokenSound, match="something that is no number"):
        next(voice.stream(IDS))


# Precision


def test_bfloat16_works_when_asked_for(make: Maker) -> None:
    exact, rough = make("float32"), make("bfloat16")
    assert rough.precision == "bfloat16"
    assert rough.parameter_bytes < exact.parameter_bytes
    assert rough.durations(IDS).tolist() == exact.durations(IDS).tolist()
    expected, samples = joined(exact.stream(text_of(90))), joined(rough.stream(text_of(90)))
    assert samples.dtype == np.float32
    assert 10 * np.log10((expected**2).sum() / ((samples - expected) ** 2).sum()) > 25


@pytest.mark.parametrize(
    ("in_hardware", "floor_db", "expected"),
    [(False, 20.0, "float32"), (True, 20.0, "bfloat16"), (True, 200.0, "float32")],
)
def test_auto_takes_bfloat16_where_it_is_fast_and_good(
    in_hardware: bool, floor_db: float, expected: str, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vits.voice, "has_bfloat16", lambda: in_hardware)
    monkeypatch.setattr(vits.voice, "LEAST_BFLOAT16_SNR_DB", floor_db)
    assert make("auto").precision == expected


def test_an_unknown_precision_is_refused(make: Maker) -> None:
    with pytest.raises(ValueError, match="precision is 'float16', expected one of auto, float32, bfloat16"):
        make("float16")


# Shapes


class Convolutions(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects what oneDNN compiles for: the shapes of every convolution."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[tuple[object, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "conv" in func.name():
            self.seen.add(tuple(arg.shape if isinstance(arg, torch.Tensor) else repr(arg) for arg in args))
        return func(*args, **(kwargs or {}))


def test_utterances_of_all_lengths_reach_the_convolutions_in_few_shapes(tiny: Voice) -> None:
    random = np.random.default_rng(0)
    lengths = random.choice(np.arange(1, 301), 200, replace=False)
    spoken = set()
    with Convolutions() as convolutions:
        for seed, length in enumerate(lengths):
            windows = tiny.stream(text_of(length), length_scale=0.5, seed=seed)
            spoken.add(sum(map(len, windows)) // tiny.hop_length)
    assert len(spoken) > 100
    # The decoder's: first, last, and in each of two stages 1 upsampling and 4 in the blocks, all that in windows of
    # four sizes. The text encoder's: 2 in every feed-forward layer. Durations and flow run as matrix products.
    assert len(convolutions.seen) == len(WINDOW_SIZES) * (2 + 2 * 5) + 2


# Imports


def test_text_needs_no_torch() -> None:
    program = "import sys, vits.text, vits; assert 'torch' not in sys.modules; vits.BadRequest"
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, check=True, timeout=60)


def test_unknown_names_are_no_part_of_the_library() -> None:
    assert not hasattr(vits, "load_model")


def test_speaking_imports_no_symbolic_algebra() -> None:
    folder = GOLDEN / "multi_speaker_sdp"
    program = f"""
import sys
from vits import load_voice
voice = load_voice({str(folder / "G_latest.pth")!r}, {str(folder / "config.json")!r})
assert sum(len(samples) for samples in voice.stream([0, 1, 0]))
assert "sympy" not in sys.modules, "100 MB of it"
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)
