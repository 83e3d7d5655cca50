"""Text encoder and duration predictors for one utterance, on rows: one [C] for each of its T symbols.

They compute what the modules of vits/network.py do, from the same weights. Without batches there is nothing to mask,
normalisation finds its channels side by side, and the taps of a kernel are one matrix product. The feed-forward
convolutions, which are most of the work, run in pieces of a few lengths, so that oneDNN has nothing to compile for a
new text.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vits.kernels import Convolution, Product, as_columns, as_rows, convolution, product, silenced, weights_of
from vits.network import (
    RELATIVE_WINDOW,
    SPLINE_BINS,
    ConvFlow,
    DDSConv,
    DurationPredictor,
    ElementwiseAffine,
    FeedForward,
    LayerNorm,
    MultiHeadAttention,
    StochasticDurationPredictor,
    TextEncoder,
    inverse_spline,
)

PIECE, STEP = 64, 16
"""Symbols that a feed-forward layer takes at a time, and those of which the last piece is a multiple."""


class _Norm(NamedTuple):
    """Layer normalisation over the channels of rows."""

    gamma: Tensor
    beta: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.gamma.shape, self.gamma, self.beta, self.eps)


class _Attention(NamedTuple):
    """Self-attention with relative positions, whose embeddings the heads share."""

    heads: int
    into_qkv: Product
    """Queries, already divided by the root of their width, keys and values."""
    near_keys: Tensor
    """[S, C / S, 9]: the embeddings of the distances from -4 to 4."""
    near_values: Tensor
    """[S, 9, C / S]"""
    out: Product

    def __call__(self, x: Tensor) -> Tensor:
        T, C = x.shape
        q, k, v = self.into_qkv(x).view(T, 3, self.heads, C // self.heads).permute(1, 2, 0, 3)  # each [S, T, C / S]
        # With room for the positions beyond both ends, the diagonals near the middle one are rows of another view.
        scores = x.new_full((self.heads, T, T + 2 * RELATIVE_WINDOW), -math.inf)
        inner = scores[..., RELATIVE_WINDOW:-RELATIVE_WINDOW]
        torch.bmm(q, k.transpose(1, 2), out=inner)
        _diagonals(scores).add_(torch.bmm(q, self.near_keys))
        weights = scores.softmax(dim=-1)
        y = torch.bmm(weights[..., RELATIVE_WINDOW:-RELATIVE_WINDOW], v)
        y.baddbmm_(_diagonals(weights), self.near_values)
        return self.out(y.transpose(0, 1).reshape(T, C))


def _diagonals(scores: Tensor) -> Tensor:
    """Return a view [S, T, 9] on scores [S, T, T + 8]: what each position has for those at most 4 away."""
    S, T, width = scores.shape
    return scores.as_strided((S, T, 2 * RELATIVE_WINDOW + 1), (T * width, width + 1, 1))


class _FeedForward(NamedTuple):
    """Two convolutions with a ReLU between them."""

    conv_1: Convolution
    conv_2: Convolution

    def __call__(self, x: Tensor) -> Tensor:
        """Return [T, C] from x [T, C]."""
        T, taps = len(x), self.conv_1.weight.shape[3]
        before, after = (taps - 1) // 2, taps // 2
        source = F.pad(x, (0, 0, 2 * before, 2 * after + -T % STEP))
        made = []
        for start in range(0, T, PIECE):
            part = as_columns(source[start : start + PIECE + 2 * (taps - 1)])
            h = silenced(self.conv_1(part, slope=0.0), slice(before - start, before - start + T))
            made.append(as_rows(self.conv_2(h)))
        return torch.cat(made)[:T]


class _Layer(NamedTuple):
    """One layer of the text encoder."""

    attention: _Attention
    norm_1: _Norm
    feed_forward: _FeedForward
    norm_2: _Norm


class Prior(NamedTuple):
    """What the text encoder makes of an utterance's symbols: each [T, C]."""

    hidden: Tensor
    mean: Tensor
    log_deviation: Tensor


class RowEncoder:
    """A TextEncoder for one utterance at a time."""

    def __init__(self, encoder: TextEncoder) -> None:
        """Take the weights out of the encoder: it cannot run afterwards."""
        self._emb = encoder.emb.weight.detach() * math.sqrt(encoder.emb.embedding_dim)
        stack = encoder.encoder
        layers = zip(stack.attn_layers, stack.norm_layers_1, stack.ffn_layers, stack.norm_layers_2, strict=True)
        self._layers = tuple(
            _Layer(_attention(attention), _norm(norm_1), _feed_forward(feed_forward), _norm(norm_2))
            for attention, norm_1, feed_forward, norm_2 in layers
        )
        self._proj = _product(encoder.proj)

    def parameters(self) -> Iterator[Tensor]:
        """Yield every tensor of weights."""
        yield from _tensors((self._emb, self._layers, self._proj))

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Compute a piece of every length for nothing, for which oneDNN compiles."""
        for length in range(STEP, PIECE + 1, STEP):
            self(torch.zeros(length, dtype=torch.int64))

    def __call__(self, ids: Tensor) -> Prior:
        """Return the hidden states, and mean and log deviation of the prior, of ids int64 [T]."""
        x = F.embedding(ids, self._emb)
        for attention, norm_1, feed_forward, norm_2 in self._layers:
            x = norm_1(x + attention(x))
            x = norm_2(x + feed_forward(x))
        return Prior(x, *self._proj(x).chunk(2, dim=1))


def _gelu(x: Tensor) -> Tensor:
    """Return the GELU of rows, of a view on which PyTorch leaves it to itself: oneDNN would compile for every T."""
    return F.gelu(x.t()).t()


class _Separable(NamedTuple):
    """A dilated convolution of every channel by itself, and one over the channels."""

    taps: Tensor
    """[K, C]"""
    bias: Tensor
    dilation: int
    norm_1: _Norm
    pointwise: Product
    norm_2: _Norm

    def __call__(self, x: Tensor) -> Tensor:
        reach = self.dilation * (len(self.taps) - 1) // 2
        padded, y = F.pad(x, (0, 0, reach, reach)), self.bias
        for number, tap in enumerate(self.taps):
            y = torch.addcmul(y, tap, padded.narrow(0, number * self.dilation, len(x)))
        y = self.pointwise(_gelu(self.norm_1(y)))
        return x + _gelu(self.norm_2(y))


class _Spline(NamedTuple):
    """A coupling of the two duration channels, run backwards."""

    pre: Tensor
    """[C]"""
    pre_bias: Tensor
    layers: tuple[_Separable, ...]
    proj: Product

    def __call__(self, known: Tensor, other: Tensor, condition: Tensor) -> Tensor:
        """Return the channel [T] that the spline maps to `other`, given the known one and the condition [T, C]."""
        h = torch.addcmul(condition + self.pre_bias, known[:, None], self.pre)
        for layer in self.layers:
            h = layer(h)
        sizes = torch.split(self.proj(h), [SPLINE_BINS, SPLINE_BINS, SPLINE_BINS - 1], dim=1)
        return inverse_spline(other, *sizes)


class RowStochasticDurations:
    """A StochasticDurationPredictor for one utterance at a time."""

    def __init__(self, predictor: StochasticDurationPredictor) -> None:
        """Take over the weights."""
        affine = predictor.flows[0]
        assert isinstance(affine, ElementwiseAffine)
        self._shift, self._scale = affine.m.detach()[:, 0], torch.exp(-affine.logs.detach()[:, 0])
        # As in the original, inference skips the spline flow next to the affine one.
        splines = [flow for flow in predictor.flows[2:] if isinstance(flow, ConvFlow)]
        self._splines = tuple(_spline(flow) for flow in reversed(splines))
        self._pre, self._proj = _product(predictor.pre), _product(predictor.proj)
        self._layers = _separable(predictor.convs)
        self._cond = _condition(predictor)

    def parameters(self) -> Iterator[Tensor]:
        """Yield every tensor of weights."""
        yield from _tensors((self._shift, self._scale, self._splines, self._pre, self._proj, self._layers, self._cond))

    def __call__(self, x: Tensor, noise: Tensor | None, g: Tensor | None) -> Tensor:
        """Return log durations in frames [T] from hidden states x [T, C], noise [2, T] and speaker g [G]."""
        assert noise is not None
        x = _conditioned(self._pre(x), self._cond, g)
        for layer in self._layers:
            x = layer(x)
        condition = self._proj(x)
        first, second = noise.unbind()
        for spline in self._splines:
            first, second = second, spline(second, first, condition)
        return (second - self._shift[0]) * self._scale[0]


class RowDurations:
    """A DurationPredictor for one utterance at a time."""

    def __init__(self, predictor: DurationPredictor) -> None:
        """Take over the weights."""
        self._layers = (
            (_product(predictor.conv_1), _norm(predictor.norm_1)),
            (_product(predictor.conv_2), _norm(predictor.norm_2)),
        )
        self._proj = _product(predictor.proj)
        self._cond = _condition(predictor)

    def parameters(self) -> Iterator[Tensor]:
        """Yield every tensor of weights."""
        yield from _tensors((self._layers, self._proj, self._cond))

    def __call__(self, x: Tensor, noise: Tensor | None, g: Tensor | None) -> Tensor:
        """Return log durations in frames [T] from hidden states x [T, C] and speaker g [G]; there is no noise."""
        assert noise is None
        x = _conditioned(x, self._cond, g)
        for conv, norm in self._layers:
            x = norm(torch.relu_(conv(x)))
        log_durations: Tensor = self._proj(x)[:, 0]
        return log_durations


def _tensors(parts: object) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples."""
    if isinstance(parts, Tensor):
        yield parts
    elif isinstance(parts, tuple):
        for part in parts:
            yield from _tensors(part)


def _product(*convs: nn.Module) -> Product:
    """Return one product for convolutions of the same input, whose channels follow each other."""
    weights, biases = zip(*map(weights_of, convs), strict=True)
    return product(torch.cat(weights), torch.cat(biases))


def _norm(norm: nn.Module) -> _Norm:
    assert isinstance(norm, LayerNorm)
    return _Norm(norm.gamma.detach(), norm.beta.detach(), norm.eps)


def _attention(attention: nn.Module) -> _Attention:
    assert isinstance(attention, MultiHeadAttention)
    heads, keys, values = attention.heads, attention.emb_rel_k.detach()[0], attention.emb_rel_v.detach()[0]
    qkv = _product(attention.conv_q, attention.conv_k, attention.conv_v)
    width = keys.shape[1]
    qkv.weight[:, : heads * width] *= width**-0.5
    qkv.bias[: heads * width] *= width**-0.5
    near_keys, near_values = keys.t().expand(heads, -1, -1), values.expand(heads, -1, -1)
    return _Attention(heads, qkv, near_keys, near_values, _product(attention.conv_o))


def _feed_forward(layer: nn.Module) -> _FeedForward:
    assert isinstance(layer, FeedForward)
    convs, taps = [], layer.conv_1.kernel_size[0]
    for conv, columns in ((layer.conv_1, PIECE + 2 * (taps - 1)), (layer.conv_2, PIECE + taps - 1)):
        convs.append(convolution(conv).for_columns(columns))
    return _FeedForward(*convs)


def _separable(convs: DDSConv) -> tuple[_Separable, ...]:
    layers = []
    parts = zip(convs.convs_sep, convs.norms_1, convs.convs_1x1, convs.norms_2, strict=True)
    for separable, norm_1, pointwise, norm_2 in parts:
        assert isinstance(separable, nn.Conv1d)
        weight, bias = weights_of(separable)
        taps = weight[:, 0].t().contiguous()
        dilation = separable.dilation[0]
        layers.append(_Separable(taps, bias, dilation, _norm(norm_1), _product(pointwise), _norm(norm_2)))
    return tuple(layers)


def _spline(flow: ConvFlow) -> _Spline:
    """Return a flow's spline, whose widths and heights are unscaled: their weights are divided here."""
    weight, bias = weights_of(flow.pre)
    proj = _product(flow.proj)
    scale = flow.pre.out_channels**-0.5
    proj.weight[:, : 2 * SPLINE_BINS] *= scale
    proj.bias[: 2 * SPLINE_BINS] *= scale
    return _Spline(weight[:, 0, 0].contiguous(), bias, _separable(flow.convs), proj)


def _condition(predictor: nn.Module) -> Product | None:
    cond = getattr(predictor, "cond", None)
    return None if cond is None else _product(cond)


def _conditioned(x: Tensor, cond: Product | None, g: Tensor | None) -> Tensor:
    """Return rows with what a predictor makes of the speaker g [G]; unchanged where there is one speaker only."""
    return x if cond is None or g is None else x + cond(g[None])
