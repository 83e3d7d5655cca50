"""The flow of VITS in blocks of frames, which are computed as the decoder's windows want them."""

import copy
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from vits.kernels import Product, product, silenced, weights_of
from vits.network import ResidualCouplingBlock, ResidualCouplingLayer

BLOCK_SIZES = (64, 256)
"""Frames of a block after the first one, smallest first. In a large block less context is computed twice; a small one
comes sooner, and fits the end of an utterance."""


class Block(NamedTuple):
    """A run of frames whose latents are computed at once."""

    start: int
    frames: int
    """How many frames the block is computed for; those past the utterance's end are of no use."""


class _Layer(NamedTuple):
    """A layer of a WaveNet; its skip connection and the coupling's last convolution are one."""

    gates: Product
    residual: Product | None
    shift: Tensor
    """[C, C / 2]"""

    def to(self, dtype: torch.dtype) -> "_Layer":
        residual = None if self.residual is None else self.residual.to(dtype)
        return _Layer(self.gates.to(dtype), residual, self.shift.to(dtype))


class _Coupling(NamedTuple):
    """A coupling that is run backwards: one half of the channels is shifted by what the other half tells."""

    pre: Product
    layers: tuple[_Layer, ...]
    bias: Tensor
    """[C / 2], of the shift."""
    conditions: tuple[Product, ...] | None
    """What makes a speaker's embedding the bias of each layer's gates."""

    def to(self, dtype: torch.dtype) -> "_Coupling":
        layers = tuple(layer.to(dtype) for layer in self.layers)
        return _Coupling(self.pre.to(dtype), layers, self.bias.to(dtype), self.conditions)

    @property
    def reach(self) -> int:
        """Frames on each side that one frame of the shift depends on."""
        taps = len(self.layers[0].gates.weight) // len(self.layers[0].shift)
        return len(self.layers) * (taps // 2)

    def spoken_by(self, g: Tensor) -> "_Coupling":
        """Return the coupling for the speaker with the embedding g [G]."""
        if self.conditions is None:
            return self
        layers = []
        for layer, condition in zip(self.layers, self.conditions, strict=True):
            bias = condition(g[None])[0].to(layer.gates.weight.dtype)
            layers.append(layer._replace(gates=layer.gates._replace(bias=bias)))
        return self._replace(layers=tuple(layers))

    def shift(self, known: Tensor, inside: slice) -> Tensor:
        """Return what is added to one half [T, C / 2], given the other; rows outside the utterance are void."""
        x = silenced(self.pre(known.to(self.bias.dtype)).t(), inside).t()
        total = self.bias
        for layer in self.layers:
            gate_tanh, gate_sigmoid = layer.gates(x).chunk(2, dim=1)
            h = gate_tanh.tanh().mul_(gate_sigmoid.sigmoid())
            total = torch.addmm(total, h, layer.shift)
            if layer.residual is not None:
                x = silenced(x.add_(layer.residual(h)).t(), inside).t()
        return total


class BlockedFlow:
    """A ResidualCouplingBlock that turns samples of the prior into latents, block by block.

    The latents are those of the whole utterance: every block is computed with the context that its frames depend on,
    and what lies outside the utterance is set to zero before every product that would mix it in. The reversals of the
    channels between couplings are part of the weights. All tensors have one of a few lengths, whatever the text.
    """

    def __init__(self, flow: ResidualCouplingBlock, first_frames: int) -> None:
        """Take the weights out of the flow, whose first block shall have that many frames: it cannot run afterwards."""
        self.first_frames = first_frames
        self._couplings = tuple(
            _coupling(layer, turned=number % 2 == 0) for number, layer in enumerate(reversed(flow.couplings()))
        )
        self.reach = sum(coupling.reach for coupling in self._couplings)

    def to(self, dtype: torch.dtype) -> "BlockedFlow":
        """Return a flow whose products are computed in dtype; its latents are still float32."""
        other = copy.copy(self)
        other._couplings = tuple(coupling.to(dtype) for coupling in self._couplings)
        return other

    @property
    def dtype(self) -> torch.dtype:
        """The type that the products are computed in."""
        return self._couplings[0].bias.dtype

    def spoken_by(self, g: Tensor | None) -> "BlockedFlow":
        """Return the flow for the speaker with the embedding g [G]; None for a voice with a single one."""
        if g is None:
            return self
        other = copy.copy(self)
        other._couplings = tuple(coupling.spoken_by(g) for coupling in self._couplings)
        return other

    def parameters(self) -> Iterator[Tensor]:
        """Yield every tensor of weights."""
        for coupling in self._couplings:
            yield from (*coupling.pre, coupling.bias)
            for layer in coupling.layers:
                yield from (*layer.gates, *(layer.residual or ()), layer.shift)
            for condition in coupling.conditions or ():
                yield from condition

    def next_block(self, start: int, n_frames: int) -> Block:
        """Return the block that begins at a frame of an utterance: it depends on the utterance's length alone."""
        if not start:
            return Block(0, self.first_frames)
        smallest, *_ = BLOCK_SIZES
        return Block(start, max((size for size in BLOCK_SIZES if n_frames - start > size // 2), default=smallest))

    def span(self, block: Block) -> tuple[int, int]:
        """Return the first frame and the one after the last that the latents of a block depend on.

        They can lie outside the utterance, but for the beginning of the first block.
        """
        return block.start - self.reach if block.start else 0, block.start + block.frames + self.reach

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Compute a block of every length for nothing; in bfloat16 oneDNN compiles for each."""
        for block in (Block(0, self.first_frames), *(Block(self.first_frames, size) for size in BLOCK_SIZES)):
            start, stop = self.span(block)
            self(torch.zeros(stop - start, 2 * len(self._couplings[0].pre.weight)), block, stop)

    def __call__(self, z_p: Tensor, block: Block, n_frames: int) -> Tensor:
        """Return a block's latents, float32 [frames, C]; those past the utterance's end are void.

        Args:
            z_p: samples of the prior, float32 [T, C], for the frames of the block's span.
            block: which frames are wanted.
            n_frames: the length of the utterance.

        """
        start, _ = self.span(block)
        first, second = (half.contiguous() for half in z_p.chunk(2, dim=1))
        for number, coupling in enumerate(self._couplings):
            known, other = (first, second) if number % 2 else (second, first)
            other.add_(coupling.shift(known, slice(-start, n_frames - start)))
            # What the couplings after it do not need is dropped; at the utterance's beginning there is nothing before.
            before = coupling.reach if block.start else 0
            first, second = (half[before : len(half) - coupling.reach] for half in (first, second))
            start += before
        rows = torch.cat([first, second], dim=1)
        return rows if len(self._couplings) % 2 == 0 else rows.flip(1)


def _coupling(layer: ResidualCouplingLayer, turned: bool) -> _Coupling:
    """Return a coupling run backwards; `turned` if its channels come in reverse order."""
    net, hidden = layer.enc, layer.enc.channels
    (pre, pre_bias), (post, bias) = weights_of(layer.pre), weights_of(layer.post)
    post, bias = -post[:, :, 0], -bias
    if turned:
        pre, post, bias = pre.flip(1), post.flip(0), bias.flip(0)
    layers = []
    for number, (in_layer, res_skip) in enumerate(zip(net.in_layers, net.res_skip_layers, strict=True)):
        (weight, skip_bias), residual = weights_of(res_skip), None
        if number < len(net.in_layers) - 1:
            residual = product(weight[:hidden], skip_bias[:hidden])
            weight, skip_bias = weight[hidden:], skip_bias[hidden:]
        layers.append(_Layer(product(*weights_of(in_layer)), residual, (post @ weight[:, :, 0]).t().contiguous()))
        bias = bias + post @ skip_bias
    return _Coupling(product(pre, pre_bias), tuple(layers), bias, _conditions(layer, layers))


def _conditions(layer: ResidualCouplingLayer, layers: list[_Layer]) -> tuple[Product, ...] | None:
    cond = getattr(layer.enc, "cond_layer", None)
    if cond is None:
        return None
    weight, bias = weights_of(cond)
    parts = zip(weight.chunk(len(layers)), bias.chunk(len(layers)), layers, strict=True)
    return tuple(product(part, of_speaker + made.gates.bias) for part, of_speaker, made in parts)
