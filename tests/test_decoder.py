import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vits import kernels
from vits.decoder import WINDOW_SIZES, Generator, WindowedDecoder, plan_windows

Dilations = Sequence[Sequence[int]]

pytestmark = pytest.mark.usefixtures("one_thread")


class Design(NamedTuple):
    resblock: str
    kernel_sizes: Sequence[int]
    dilations: Dilations
    rates: Sequence[int]
    upsample_kernel_sizes: Sequence[int]
    channels: int = 16
    gin_channels: int = 0

    def generator(self, in_channels: int = 4) -> Generator:
        torch.manual_seed(0)
        generator = Generator(
            in_channels,
            self.resblock,
            self.kernel_sizes,
            self.dilations,
            self.rates,
            self.channels,
            self.upsample_kernel_sizes,
            self.gin_channels,
        )
        with torch.no_grad():
            for weight in generator.parameters():  # Louder than at the start of a training, so that errors show.
                weight.mul_(2)
        return generator.requires_grad_(False).eval()


STANDARD = Design("1", [3, 7, 11], [[1, 3, 5]] * 3, [8, 8, 2, 2], [16, 16, 4, 4])
SMALL = Design("2", [3, 5, 7], [[1, 2], [2, 6], [3, 12]], [8, 8, 4], [16, 16, 8])
TINY = Design("2", [3, 5], [[1, 2], [2, 6]], [4, 2], [8, 4], channels=8)
DESIGNS = {
    "standard": STANDARD,
    "small": SMALL,
    "tiny": TINY,
    "equal rates": Design("1", [3, 7], [[1, 3], [1, 5]], [4, 4, 4, 4], [8, 8, 8, 8]),
    "kernels that are no multiple of their rate": Design(
        "2",
        [3, 7],
        [[1, 3], [1, 5]],
        [5, 5, 3],
        [11, 7, 9],
    ),
    "kernels as wide as their rate": Design(
        "1",
        [3],
        [[1, 3]],
        [5, 2, 3],
        [5, 2, 3],
    ),
    "a rate of one": Design(
        "2",
        [5],
        [[1]],
        [3, 1],
        [7, 3],
    ),
    "speakers": Design("1", [3, 7], [[1, 3], [1, 5]], [5, 5, 3], [11, 9, 7], gin_channels=6),
}
LENGTHS = (1, 2, 7, 31, 32, 33, 64, 65, 96, 97, 128, 129, 161, 193)


def decoded(decoder: WindowedDecoder, z: Tensor, g: Tensor | None = None) -> Tensor:
    """The samples of latents and speaker as the generator takes them, [1, C, T] and [1, G, 1]."""
    rows, bias = z[0].t(), decoder.bias(None if g is None else g[0, :, 0])
    return torch.cat([decoder(rows, window, bias) for window in decoder.windows(len(rows))])


@contextmanager
def without_compiling() -> Iterator[None]:
    """Convolutions of PyTorch's own: oneDNN would take minutes to compile for every length of whole utterances."""
    torch.backends.mkldnn.set_flags(False)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        torch.backends.mkldnn.set_flags(True)  # type: ignore[no-untyped-call]


def largest_difference(design: Design, lengths: Sequence[int]) -> float:
    generator = design.generator()
    decoder = WindowedDecoder(copy.deepcopy(generator))
    g = torch.randn(1, design.gin_channels, 1) if design.gin_channels else None
    worst = 0.0
    for length in lengths:
        z = torch.randn(1, 4, length)
        with without_compiling():
            expected = generator(z, g)[0, 0]
        samples = decoded(decoder, z, g)
        assert samples.shape == expected.shape == (length * math.prod(design.rates),)
        worst = max(worst, float((samples - expected).abs().max()))
    return worst


# The plan of windows


def test_windows_follow_each_other_and_cover_the_utterance() -> None:
    for n_frames in range(1, 1000):
        windows = list(plan_windows(n_frames))
        assert windows[0].start == 0
        assert all(after.start == before.start + before.useful for before, after in pairwise(windows))
        assert windows[-1].start + windows[-1].useful == n_frames
        assert all(0 < window.useful <= window.frames for window in windows)


def test_windows_grow_and_then_stay_large_until_the_end() -> None:
    for n_frames in range(sum(WINDOW_SIZES), 1000):
        sizes = [window.frames for window in plan_windows(n_frames)]
        assert sizes[: len(WINDOW_SIZES)] == [*WINDOW_SIZES]
        shrinking = sizes[len(WINDOW_SIZES) - 1 :]
        assert shrinking == sorted(shrinking, reverse=True)
        assert {*sizes} <= {*WINDOW_SIZES}


def test_few_frames_are_computed_in_vain() -> None:
    for n_frames in range(1, 1000):
        *whole, last = plan_windows(n_frames)
        assert all(window.useful == window.frames for window in whole)
        assert last.frames - last.useful < (32 if last.frames == 96 else 16)


def test_one_size_is_enough() -> None:
    assert [(window.frames, window.useful) for window in plan_windows(40, [16])] == [(16, 16), (16, 16), (16, 8)]


# The samples


@torch.inference_mode()
@pytest.mark.parametrize("name", DESIGNS)
def test_windows_equal_the_whole_utterance(name: str) -> None:
    assert largest_difference(DESIGNS[name], LENGTHS) < 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("name", ["standard", "small"])
def test_windows_equal_the_whole_utterance_by_public_operators(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "works_in_one_pass", lambda dtype: False)
    assert largest_difference(DESIGNS[name], (1, 33, 129)) < 1e-5


@torch.inference_mode()
def test_windows_equal_the_whole_utterance_at_every_length() -> None:
    assert largest_difference(TINY, range(1, 301)) < 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("name", ["tiny", "kernels that are no multiple of their rate"])
def test_context_is_as_small_as_it_can_be(name: str) -> None:
    design = DESIGNS[name]
    generator, hop = design.generator(), math.prod(design.rates)
    decoder = WindowedDecoder(copy.deepcopy(generator))
    n_frames = 2 * decoder.context_frames + 1
    z = torch.zeros(1, 4, n_frames)
    z[:, :, decoder.context_frames] = torch.nan  # It spreads over all samples that depend on this frame.
    heard = generator(z)[0, 0].isnan().nonzero() // hop
    assert (int(heard.min()), int(heard.max())) == (0, n_frames - 1)


@torch.inference_mode()
def test_a_window_can_be_computed_alone() -> None:
    decoder = WindowedDecoder(TINY.generator())
    z = torch.randn(1, 4, 300)
    whole = decoded(decoder, z)
    last = list(decoder.windows(300))[-1]
    assert torch.equal(decoder(z[0].t(), last, decoder.bias(None)), whole[last.start * 8 :])


@torch.inference_mode()
def test_latents_are_left_as_they_were() -> None:
    decoder = WindowedDecoder(TINY.generator())
    z = torch.randn(1, 4, 50)
    before = z.clone()
    decoded(decoder, z)
    assert torch.equal(z, before)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["small", "speakers"])
def test_bfloat16_is_close_to_float32(name: str) -> None:
    design = DESIGNS[name]
    decoder = WindowedDecoder(design.generator())
    g = torch.randn(1, design.gin_channels, 1) if design.gin_channels else None
    z = torch.randn(1, 4, 140)
    expected, samples = decoded(decoder, z, g), decoded(decoder.to(torch.bfloat16), z, g)
    assert samples.dtype == torch.float32
    assert 10 * torch.log10((expected**2).sum() / ((samples - expected) ** 2).sum()) > 25


# Memory


class Tensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers the largest result of all operations."""

    largest_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.largest_bytes = max(self.largest_bytes, out.untyped_storage().nbytes())
        return out


FULL_SIZE_DESIGNS = [
    (STANDARD._replace(channels=512, gin_channels=256), (8, 16, 32, 96)),
    (STANDARD._replace(channels=512, rates=[8, 8, 4, 2], upsample_kernel_sizes=[16, 16, 8, 4]), (8, 16, 32, 96)),
    (STANDARD._replace(channels=1024, rates=[8, 8, 4, 2], upsample_kernel_sizes=[16, 16, 8, 4]), (8, 16, 32)),
]


@torch.inference_mode()
@pytest.mark.parametrize(("design", "window_sizes"), FULL_SIZE_DESIGNS)
def test_no_tensor_reaches_eight_megabytes(design: Design, window_sizes: tuple[int, ...]) -> None:
    with torch.device("meta"):  # shapes without numbers
        decoder = WindowedDecoder(design.generator(192))
        z = torch.empty(1, 192, 300)
        g = torch.empty(1, design.gin_channels, 1) if design.gin_channels else None
        with Tensors() as tensors:  # type: ignore[no-untyped-call]
            decoded(decoder, z, g)
    assert decoder.window_sizes == window_sizes
    assert tensors.largest_bytes < 8 * 2**20


@torch.inference_mode()
def test_weights_exist_once() -> None:
    generator = STANDARD.generator()
    expected = sum(weight.numel() for weight in generator.parameters())
    decoder = WindowedDecoder(generator)
    phases = sum(
        stage.up.bias.numel() * (stage.rate - 1) // stage.rate for stage in decoder._stages if stage.up.bias is not None
    )
    assert sum(weight.numel() for weight in decoder.parameters()) == expected + phases
    assert not any(name.endswith("weight") for name, _ in generator.named_parameters())
