"""Convolutions over time, with the leaky ReLU or the sum that follows them in the same pass over memory.

PyTorch's public operators put oneDNN's weights into its own order at every call, and write and read every result once
more for what follows. Its operators for compiled graphs (torch/_inductor/mkldnn_lowerings.py uses them) do neither, but
no document promises them. So they are tried once for each type when a voice is loaded, and where one is missing, fails
or gives other numbers, the public ones do the same.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Convolution(NamedTuple):
    """A convolution on [1, C, 1, T] in channels-last memory."""

    weight: Tensor
    """[C_out, C_in, 1, kernel size], in channels-last memory or in oneDNN's own order."""
    bias: Tensor | None
    padding: int
    """Zeros that are added at each end; without them the result is shorter than the input by twice the reach."""
    dilation: int
    columns: int = 0
    """The length of input that oneDNN's order is chosen for; another length is as exact."""

    @property
    def reach(self) -> int:
        """Samples on each side that one sample of the output depends on."""
        return self.dilation * (self.weight.shape[3] - 1) // 2

    def __call__(
        self, x: Tensor, slope: float | None = None, plus: Tensor | None = None, into: Tensor | None = None
    ) -> Tensor:
        """Return the convolution of x.

        Args:
            x: [1, C_in, 1, T] in channels-last memory, which may be part of a longer tensor.
            slope: of a leaky ReLU on the result.
            plus: what is added to the result, as long as that.
            into: what the result is added to in place, and what is returned.

        """
        assert (slope is not None) + (plus is not None) + (into is not None) <= 1
        return (_in_one_pass if self.weight.is_mkldnn else _by_public_operators)(self, x, slope, plus, into)

    def for_columns(self, columns: int) -> "Convolution":
        """Return it with its weights in oneDNN's order for that length of input, where that can be used."""
        weight = self.weight
        if weight.device.type == "cpu" and not weight.is_mkldnn and works_in_one_pass(weight.dtype):
            weight = _in_onednn_order(weight, self.padding, self.dilation, columns)
        return self._replace(weight=weight, columns=columns)

    def to(self, dtype: torch.dtype) -> "Convolution":
        """Return it computing in dtype."""
        weight = (self.weight.to_dense() if self.weight.is_mkldnn else self.weight).to(dtype)
        weight = weight.contiguous(memory_format=torch.channels_last)
        other = self._replace(weight=weight, bias=None if self.bias is None else self.bias.to(dtype))
        return other.for_columns(self.columns) if self.weight.is_mkldnn else other


def as_columns(rows: Tensor) -> Tensor:
    """Return [1, C, 1, T] in channels-last memory, without a copy, from rows [T, C]."""
    return rows[None, None].permute(0, 3, 1, 2)


def as_rows(columns: Tensor) -> Tensor:
    """Return rows [T, C], without a copy, from [1, C, 1, T]."""
    return columns[0, :, 0].t()


def silenced(x: Tensor, inside: slice) -> Tensor:
    """Return x [..., T] with what lies outside a slice of its last axis set to zero, in place."""
    if inside.start > 0:
        x[..., : inside.start] = 0
    if inside.stop < x.shape[-1]:
        x[..., inside.stop :] = 0
    return x


def convolution(conv: nn.Module, scale: float = 1.0) -> Convolution:
    """Return a Conv1d as a convolution on [1, C, 1, T], its weights scaled; the Conv1d is left without weights."""
    assert isinstance(conv, nn.Conv1d)
    weight = conv.weight.detach()[:, :, None].mul(scale).contiguous(memory_format=torch.channels_last)
    bias = None if conv.bias is None else conv.bias.detach()
    del conv.weight
    return Convolution(weight, bias, 0, conv.dilation[0])


class Product(NamedTuple):
    """A convolution on rows as one matrix product, which has nothing to compile in float32."""

    weight: Tensor
    """[K * C_in, C_out]"""
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return [T, C_out] from x [T, C_in], zeros around it."""
        taps = len(self.weight) // x.shape[1]
        if taps > 1:
            before = (taps - 1) // 2
            padded = F.pad(x, (0, 0, before, taps - 1 - before))
            x = padded.as_strided((len(x), taps * x.shape[1]), (x.shape[1], 1))
        return torch.addmm(self.bias, x, self.weight)

    def to(self, dtype: torch.dtype) -> "Product":
        """Return it computing in dtype."""
        return Product(self.weight.to(dtype), self.bias.to(dtype))


def product(weight: Tensor, bias: Tensor) -> Product:
    """Return the product for a convolution's weight [C_out, C_in, K] and bias [C_out]."""
    return Product(weight.permute(2, 1, 0).flatten(0, 1).contiguous(), bias)


def weights_of(conv: nn.Module) -> tuple[Tensor, Tensor]:
    """Return a Conv1d's weight and bias; it is left without its weight."""
    assert isinstance(conv, nn.Conv1d)
    assert conv.bias is not None
    weight = conv.weight.detach()
    del conv.weight
    return weight, conv.bias.detach()


def _by_public_operators(
    conv: Convolution, x: Tensor, slope: float | None, plus: Tensor | None, into: Tensor | None
) -> Tensor:
    y = F.conv2d(x, conv.weight, conv.bias, padding=(0, conv.padding), dilation=(1, conv.dilation))
    if into is not None:
        return into.add_(y)
    if plus is not None:
        return y.add_(plus)
    return y if slope is None else F.leaky_relu(y, slope, inplace=True)


def _in_one_pass(conv: Convolution, x: Tensor, slope: float | None, plus: Tensor | None, into: Tensor | None) -> Tensor:
    shape = (conv.weight, conv.bias, (0, conv.padding), (1, 1), (1, conv.dilation), 1)
    operators = torch.ops.mkldnn
    if into is not None:
        operators._convolution_pointwise_.binary(into, x, *shape, "add", None, None, [], None)
        return into
    y: Tensor
    if plus is not None:
        y = operators._convolution_pointwise.binary(x, plus, *shape, "add", None, None, [], None)
    elif slope is not None:
        y = operators._convolution_pointwise(x, *shape, "leaky_relu", [slope], "")
    else:
        y = operators._convolution_pointwise(x, *shape, "none", [], "")
    return y


def _in_onednn_order(weight: Tensor, padding: int, dilation: int, columns: int) -> Tensor:
    size = (1, weight.shape[1], 1, columns)
    reorder = torch.ops.mkldnn._reorder_convolution_weight
    reordered: Tensor = reorder(weight, (0, padding), (1, 1), (1, dilation), 1, size)
    return reordered


@cache
def works_in_one_pass(dtype: torch.dtype) -> bool:
    """Whether the operators that do all in one pass are there and give the same numbers as the public ones."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    try:
        return _trial(dtype)
    except (AttributeError, RuntimeError, NotImplementedError, TypeError):
        return False


@torch.inference_mode()
def _trial(dtype: torch.dtype) -> bool:
    """Compare all forms on a small convolution, whose tensors are parts of longer ones as a decoder's can be."""
    source, channels, length = torch.Generator().manual_seed(0), 16, 24

    def random(*shape: int) -> Tensor:
        numbers = torch.randn(shape, generator=source).to(dtype)
        return numbers.contiguous(memory_format=torch.channels_last)

    x, other = random(1, channels, 1, length + 2), random(1, channels, 1, length + 2)
    plain = Convolution(random(channels, channels, 1, 3) / 8, random(1, channels, 1, 1).flatten(), 1, 1)

    def results(conv: Convolution) -> Iterator[Tensor]:
        near, total = x[..., 1:-1], other.clone()
        yield conv(near)
        yield conv(near, slope=0.1)
        yield conv(near, plus=other[..., 1:-1])
        conv(near, into=total[..., 1:-1])
        yield total

    fused = plain._replace(weight=_in_onednn_order(plain.weight, plain.padding, plain.dilation, length))
    tolerance = 20 * torch.finfo(dtype).eps
    return all(
        torch.allclose(ours, expected, rtol=tolerance, atol=tolerance)
        for ours, expected in zip(results(fused), results(plain), strict=True)
    )
