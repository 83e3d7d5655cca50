import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vits.network import (
    SPLINE_BINS,
    SPLINE_BOUND,
    DurationPredictor,
    ResidualCouplingBlock,
    StochasticDurationPredictor,
    TextEncoder,
    inverse_spline,
)

CHANNELS, GIN, LENGTH, PADDING = 8, 4, 13, 10

pytestmark = pytest.mark.usefixtures("one_thread")


def text_encoder() -> TextEncoder:
    return TextEncoder(20, 6, CHANNELS, 16, n_heads=2, n_layers=2, kernel_size=3)


def flow(gin_channels: int = GIN) -> ResidualCouplingBlock:
    block = ResidualCouplingBlock(CHANNELS, 12, gin_channels, layers=2, n_flows=3)
    for weight in block.parameters():
        nn.init.normal_(weight, 0.0, 0.3)
    return block


def padded(x: Tensor, value: float) -> Tensor:
    return F.pad(x, (0, PADDING), value=value)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


# What lies outside the mask never reaches what lies inside


@pytest.mark.parametrize("length", [1, 2, 3, LENGTH])
def test_text_encoder_is_exact_under_padding(length: int) -> None:
    encoder = text_encoder()
    ids, mask = torch.randint(20, (1, length)), torch.ones(1, 1, length)
    alone = encoder(ids, mask)
    beside = encoder(padded(ids, 7), padded(mask, 0))
    for expected, result in zip(alone, beside, strict=True):
        torch.testing.assert_close(result[:, :, :length], expected)
        assert not result[:, :, length:].any()


@pytest.mark.parametrize("length", [1, 2, LENGTH])
def test_duration_predictors_are_exact_under_padding(length: int) -> None:
    x, g, mask = torch.randn(1, CHANNELS, length), torch.randn(1, GIN, 1), torch.ones(1, 1, length)
    noise = torch.randn(1, 2, length)
    plain = DurationPredictor(CHANNELS, 16, 3, GIN)
    stochastic = StochasticDurationPredictor(CHANNELS, 3, GIN)
    torch.testing.assert_close(plain(padded(x, 9), padded(mask, 0), g)[:, :, :length], plain(x, mask, g))
    result = stochastic(padded(x, 9), padded(mask, 0), padded(noise, 9), g)[:, :, :length]
    torch.testing.assert_close(result, stochastic(x, mask, noise, g))


@pytest.mark.parametrize("length", [1, 2, LENGTH])
def test_flow_is_exact_under_padding(length: int) -> None:
    block = flow()
    z, g, mask = torch.randn(1, CHANNELS, length), torch.randn(1, GIN, 1), torch.ones(1, 1, length)
    result = block(padded(z, 0), padded(mask, 0), g)
    torch.testing.assert_close(result[:, :, :length], block(z, mask, g))
    assert not result[:, :, length:].any()


# The flows undo each other


def test_flow_undoes_itself() -> None:
    block = flow()
    z, g, mask = torch.randn(2, CHANNELS, LENGTH), torch.randn(2, GIN, 1), torch.ones(2, 1, LENGTH)
    mask[1, :, 9:] = 0
    there = block(z * mask, mask, g, reverse=False)
    assert not torch.allclose(there, z * mask, atol=0.1)
    torch.testing.assert_close(block(there, mask, g, reverse=True), z * mask, atol=1e-5, rtol=1e-5)


def test_spline_rises_from_bound_to_bound_and_is_the_identity_beyond() -> None:
    y = torch.linspace(-2 * SPLINE_BOUND, 2 * SPLINE_BOUND, 4001, dtype=torch.float64)
    bins = [torch.randn(n, dtype=torch.float64).expand(len(y), n) for n in (SPLINE_BINS, SPLINE_BINS, SPLINE_BINS - 1)]
    x = inverse_spline(y, *bins)
    outside = y.abs() >= SPLINE_BOUND
    torch.testing.assert_close(x[outside], y[outside])
    assert (x.diff() > 0).all()
    assert float((x - y).abs().max()) > 0.1


# Training


def test_every_part_can_be_trained() -> None:
    encoder, block = text_encoder(), flow()
    stochastic, plain = StochasticDurationPredictor(6, 3, 0), DurationPredictor(CHANNELS, 16, 3, GIN)
    mask, g = torch.ones(2, 1, LENGTH), torch.randn(2, GIN, 1)
    x, m_p, logs_p = encoder(torch.randint(20, (2, LENGTH)), mask)
    durations = plain(x, mask, g).sum() + stochastic(m_p + logs_p, mask, torch.randn(2, 2, LENGTH)).sum()
    (durations + block(x, mask, g, reverse=False).square().sum()).backward()
    unused = "flows.1."  # left out when durations are drawn, as in the original
    for part in (encoder, block, stochastic, plain):
        for name, weight in part.named_parameters():
            if part is not stochastic or not name.startswith(unused):
                assert weight.grad is not None, name
                assert weight.grad.isfinite().all(), name
