import copy

import pytest
import torch
from torch import nn

from vits.encoding import PIECE, STEP, RowDurations, RowEncoder, RowStochasticDurations
from vits.network import DurationPredictor, StochasticDurationPredictor, TextEncoder

CHANNELS, GIN = 8, 4
LENGTHS = [1, 2, 13, STEP, 2 * STEP, 3 * STEP - 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 1]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def shaken(module: nn.Module) -> nn.Module:
    """The module with random weights everywhere, biases and norms too."""
    for weight in module.parameters():
        nn.init.normal_(weight, 0.0, 0.3)
    return module.requires_grad_(False)


def text_encoder(kernel_size: int = 3) -> TextEncoder:
    encoder = TextEncoder(20, 6, CHANNELS, 16, n_heads=2, n_layers=2, kernel_size=kernel_size)
    shaken(encoder)
    return encoder


@torch.inference_mode()
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_the_text_encoder_on_rows_equals_the_one_of_the_network(length: int, kernel_size: int) -> None:
    encoder, ids = text_encoder(kernel_size), torch.randint(20, (length,))
    expected = encoder(ids[None], torch.ones(1, 1, length))
    for result, part in zip(RowEncoder(copy.deepcopy(encoder))(ids), expected, strict=True):
        torch.testing.assert_close(result, part[0].t(), atol=1e-5, rtol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("gin", [0, GIN])
def test_durations_on_rows_equal_those_of_the_network(length: int, gin: int) -> None:
    x, noise, mask = torch.randn(length, CHANNELS), torch.randn(2, length), torch.ones(1, 1, length)
    g = torch.randn(gin) if gin else None
    columns, of_network = x.t()[None], None if g is None else g[None, :, None]
    plain = DurationPredictor(CHANNELS, 16, 3, gin)
    shaken(plain)
    plain.norm_1.eps = 1e-2  # Coqui's networks have another than VITS's.
    expected = plain(columns, mask, of_network)[0, 0]
    torch.testing.assert_close(RowDurations(copy.deepcopy(plain))(x, None, g), expected, atol=1e-5, rtol=1e-4)
    stochastic = StochasticDurationPredictor(CHANNELS, 3, gin)
    shaken(stochastic)
    expected = stochastic(columns, mask, noise[None], of_network)[0, 0]
    result = RowStochasticDurations(copy.deepcopy(stochastic))(x, noise, g)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-4)


def test_convolutions_have_a_few_lengths_whatever_the_text() -> None:
    encoder = RowEncoder(text_encoder())
    seen = set()
    with torch.inference_mode(), torch.profiler.profile(record_shapes=True) as profile:
        for length in LENGTHS:
            encoder(torch.randint(20, (length,)))
    for event in profile.events():
        if event.name in ("mkldnn::_convolution_pointwise", "aten::conv2d"):
            seen.add(tuple(event.input_shapes[0]))
    pieces = range(STEP, PIECE + 1, STEP)
    assert seen == {(1, channels, 1, n + more) for n in pieces for channels, more in ((CHANNELS, 4), (16, 2))}
