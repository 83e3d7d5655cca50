"""The HiFi-GAN decoder of VITS (Kong et al., 2020), which turns latents into samples."""

import copy
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vits.kernels import Convolution, as_columns, convolution, silenced

SLOPE = 0.1
"""Slope of every leaky ReLU but the one before the last convolution, which has PyTorch's default of 0.01."""


def same_padding(kernel_size: int, dilation: int) -> int:
    """Return the padding that keeps the length."""
    return dilation * (kernel_size - 1) // 2


class ResBlock1(nn.Module):
    """Pairs of a dilated and a plain convolution, each pair residual."""

    def __init__(self, channels: int, kernel_size: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel_size, dilation=d, padding=same_padding(kernel_size, d))
            for d in dilations
        )
        self.convs2 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel_size, padding=same_padding(kernel_size, 1)) for _ in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, T] from x [B, C, T]."""
        for conv1, conv2 in zip(self.convs1, self.convs2, strict=True):
            x = x + conv2(F.leaky_relu(conv1(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class ResBlock2(nn.Module):
    """Dilated convolutions, each residual."""

    def __init__(self, channels: int, kernel_size: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel_size, dilation=d, padding=same_padding(kernel_size, d))
            for d in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, T] from x [B, C, T]."""
        for conv in self.convs:
            x = x + conv(F.leaky_relu(x, SLOPE))
        return x


class Generator(nn.Module):
    """The decoder as in the paper, over a whole utterance: training uses it, and the windows must equal it."""

    def __init__(
        self,
        in_channels: int,
        resblock: str,
        resblock_kernel_sizes: Sequence[int],
        resblock_dilation_sizes: Sequence[Sequence[int]],
        upsample_rates: Sequence[int],
        upsample_initial_channel: int,
        upsample_kernel_sizes: Sequence[int],
        gin_channels: int,
    ) -> None:
        super().__init__()
        block = {"1": ResBlock1, "2": ResBlock2}[resblock]
        self.conv_pre = nn.Conv1d(in_channels, upsample_initial_channel, 7, padding=3)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        channels = upsample_initial_channel
        for rate, kernel_size in zip(upsample_rates, upsample_kernel_sizes, strict=True):
            self.ups.append(
                nn.ConvTranspose1d(channels, channels // 2, kernel_size, rate, padding=(kernel_size - rate) // 2)
            )
            channels //= 2
            for block_kernel_size, dilations in zip(resblock_kernel_sizes, resblock_dilation_sizes, strict=True):
                self.resblocks.append(block(channels, block_kernel_size, dilations))
        self.conv_post = nn.Conv1d(channels, 1, 7, padding=3, bias=False)
        if gin_channels:
            self.cond = nn.Conv1d(gin_channels, upsample_initial_channel, 1)

    def forward(self, z: Tensor, g: Tensor | None = None) -> Tensor:
        """Return samples [B, 1, T * hop] in [-1, 1] from latents z [B, C, T] and speaker g [B, C, 1]."""
        x = self.conv_pre(z)
        if g is not None:
            x = x + self.cond(g)
        blocks_per_stage = len(self.resblocks) // len(self.ups)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE))
            blocks = self.resblocks[i * blocks_per_stage : (i + 1) * blocks_per_stage]
            x = torch.stack([block(x) for block in blocks]).sum(0) / blocks_per_stage
        return torch.tanh(self.conv_post(F.leaky_relu(x)))


WINDOW_SIZES = (8, 16, 32, 96)
"""Frames that a window can have, smallest first. Small windows shorten the wait for the first sound and fit the end of
an utterance, where a larger one would be half empty; in a large window a smaller part is context."""

LARGEST_TENSOR_BYTES = 7 * 2**20
"""Windows with larger tensors are not used: allocators serve those by a slow path, mapping pages anew at every call."""


class Window(NamedTuple):
    """A run of latent frames that is decoded in one go."""

    start: int
    """The first frame whose samples are wanted."""
    frames: int
    """How many frames the window is computed for; one of the sizes."""
    useful: int
    """How many of them lie inside the utterance."""


def plan_windows(n_frames: int, sizes: Sequence[int] = WINDOW_SIZES) -> Iterator[Window]:
    """Yield the windows of an utterance, which depend only on its length.

    Each size comes once, in rising order, so that every window is ready before the sound of those before it has been
    heard. Windows of the largest size follow. The end gets smaller sizes, which it fills better: a size is used only
    where more frames are left than it has beyond the next smaller size.
    """
    beyond = [0, *(size - smaller for smaller, size in pairwise(sizes))]
    start = number = 0
    while start < n_frames:
        left = n_frames - start
        frames = max(size for size, more in zip(sizes[: number + 1], beyond, strict=False) if left > more)
        useful = min(frames, left)
        yield Window(start, frames, useful)
        start += useful
        number += 1


class _Block(NamedTuple):
    """A residual block: groups of convolutions, a residual around each group."""

    groups: tuple[tuple[Convolution, ...], ...]

    def to(self, dtype: torch.dtype) -> "_Block":
        return _Block(tuple(tuple(conv.to(dtype) for conv in group) for group in self.groups))

    def for_columns(self, columns: int) -> "_Block":
        """Return it with its weights in the order that suits an input of that length."""
        groups = []
        for group in self.groups:
            convs = []
            for conv in group:
                convs.append(conv.for_columns(columns))
                columns -= 2 * conv.reach
            groups.append(tuple(convs))
        return _Block(tuple(groups))

    @property
    def reach(self) -> int:
        """Samples on each side that one sample of the output depends on."""
        return sum(conv.reach for group in self.groups for conv in group)

    def __call__(self, x: Tensor, activated: Tensor, inside: slice, total: Tensor | None) -> Tensor:
        """Return total plus the block's output, which is shorter than its input x by twice the reach.

        Every convolution computes no more than the next one needs. x is left as it is, total is added to in place.
        activated is x after the leaky ReLU, silenced.
        """
        for number, (*first, last) in enumerate(self.groups, start=1):
            if number > 1:
                activated = silenced(F.leaky_relu(x, SLOPE), inside)
            for conv in first:
                activated, inside = conv(activated, slope=SLOPE), _cropped_slice(inside, conv.reach)
                silenced(activated, inside)
            x, inside = _cropped(x, sum(conv.reach for conv in (*first, last))), _cropped_slice(inside, last.reach)
            if total is not None and number == len(self.groups):
                return last(activated, into=total.add_(x))
            x = last(activated, plus=x) if number == 1 else last(activated, into=x)
        return x


class _Stage(NamedTuple):
    """An upsampling and the residual blocks after it, whose mean is a sum here: the next stage's weights divide it."""

    up: Convolution
    rate: int
    trim: int
    """Samples that the padding of the transposed convolution removes at each end."""
    blocks: tuple[_Block, ...]
    context: int
    """Samples on each side that the following stages need."""

    def to(self, dtype: torch.dtype) -> "_Stage":
        return self._replace(up=self.up.to(dtype), blocks=tuple(block.to(dtype) for block in self.blocks))

    @property
    def reach(self) -> int:
        """Samples that the widest block needs on each side."""
        return max(block.reach for block in self.blocks)

    @property
    def context_before(self) -> int:
        """Samples of the stage's input needed on each side."""
        return -(-(self.context + self.reach + self.trim) // self.rate)

    def upsampled(self, x: Tensor) -> Tensor:
        """Return the transposed convolution of x, cropped to what the blocks need, from an ordinary convolution.

        The convolution's channels are the phases of one input step, outermost, so that in channels-last memory its
        output is already the upsampled signal.
        """
        y = self.up(x).permute(0, 2, 3, 1)
        y = y.reshape(1, 1, y.shape[2] * self.rate, y.shape[3] // self.rate).permute(0, 3, 1, 2)
        start = self.context_before * self.rate - self.context - self.reach + self.trim
        return y[..., start : start + x.shape[3] * self.rate - 2 * (start - self.trim)]

    def __call__(self, x: Tensor, inside: slice) -> Tensor:
        activated, total = silenced(F.leaky_relu(x, SLOPE), inside), None
        for block in self.blocks:
            crop = self.reach - block.reach
            total = block(_cropped(x, crop), _cropped(activated, crop), _cropped_slice(inside, crop), total)
        assert total is not None
        return total

    def for_columns(self, columns: int) -> "_Stage":
        """Return it with its weights in the order that suits an input of that length."""
        longest = self.rate * (columns - 2 * self.context_before) + 2 * (self.context + self.reach)
        blocks = tuple(block.for_columns(longest - 2 * (self.reach - block.reach)) for block in self.blocks)
        return self._replace(up=self.up.for_columns(columns), blocks=blocks)


def _cropped(x: Tensor, columns: int) -> Tensor:
    """Return x [1, C, 1, T] without that many columns at each end."""
    return x.narrow(3, columns, x.shape[3] - 2 * columns)


def _cropped_slice(inside: slice, columns: int) -> slice:
    """Return where the utterance lies after that many columns were cropped at each end."""
    return slice(inside.start - columns, inside.stop - columns)


def _phases(up: nn.Module, scale: float) -> Convolution:
    """Return a ConvTranspose1d as a convolution with a group of output channels for each phase of its stride."""
    assert isinstance(up, nn.ConvTranspose1d)
    assert up.bias is not None
    rate, taps = up.stride[0], -(-up.kernel_size[0] // up.stride[0])
    weight = F.pad(up.weight.detach().mul(scale), (0, taps * rate - up.kernel_size[0]))  # [C_in, C_out, taps * rate]
    weight = weight.view(*weight.shape[:2], taps, rate).flip(2).permute(3, 1, 0, 2)  # [rate, C_out, C_in, taps]
    weight = weight.flatten(0, 1)[:, :, None].contiguous(memory_format=torch.channels_last)
    del up.weight
    return Convolution(weight, up.bias.detach().repeat(rate), taps - 1, 1)


def _block(block: nn.Module) -> _Block:
    if isinstance(block, ResBlock1):
        pairs = zip(block.convs1, block.convs2, strict=True)
        return _Block(tuple((convolution(conv1), convolution(conv2)) for conv1, conv2 in pairs))
    assert isinstance(block, ResBlock2)
    return _Block(tuple((convolution(conv),) for conv in block.convs))


class WindowedDecoder:
    """A Generator that runs on windows of latents and yields the same samples as over the whole utterance.

    Every stage computes only the context that the stages after it need on each side and crops the rest. Columns
    outside the utterance are set to zero before every convolution, as the zero padding of a whole-utterance run does.
    All tensors are [1, C, 1, T] in channels-last memory, and their shapes depend on the window's size alone.
    Upsampling kernels exceed their rates by even numbers, so T frames make exactly T * hop samples.
    """

    def __init__(self, generator: Generator) -> None:
        """Take the weights out of the generator, stage by stage: it cannot run afterwards."""
        self._pre = convolution(generator.conv_pre)
        self._cond = getattr(generator, "cond", None)
        per_stage = len(generator.resblocks) // len(generator.ups)
        scale, stages = 1.0, []
        for i, up in enumerate(generator.ups):
            blocks = tuple(_block(block) for block in generator.resblocks[i * per_stage : (i + 1) * per_stage])
            assert isinstance(up, nn.ConvTranspose1d)
            stages.append(_Stage(_phases(up, scale), up.stride[0], int(up.padding[0]), blocks, 0))
            scale = 1 / per_stage
        # A leaky ReLU passes a positive factor through, so the next weights divide the sum over a stage's blocks.
        self._post = convolution(generator.conv_post, scale)
        context = int(generator.conv_post.padding[0])
        for i in reversed(range(len(stages))):
            stages[i] = stages[i]._replace(context=context)
            context = stages[i].context_before
        self._stages = tuple(stages)
        self.context_frames = context + int(generator.conv_pre.padding[0])
        self.hop_length = math.prod(stage.rate for stage in stages)
        self.window_sizes = self._window_sizes()
        self._reorder()

    def _reorder(self) -> None:
        """Put the weights into oneDNN's order, chosen for the largest window; nearly all suit the smaller ones too."""
        columns = self.window_sizes[-1] + 2 * self.context_frames
        self._pre = self._pre.for_columns(columns)
        columns -= 2 * self._pre.reach
        stages = []
        for stage in self._stages:
            stages.append(stage.for_columns(columns))
            columns = stage.rate * (columns - 2 * stage.context_before) + 2 * stage.context
        self._stages = tuple(stages)
        self._post = self._post.for_columns(columns)

    def to(self, dtype: torch.dtype) -> "WindowedDecoder":
        """Return a decoder that computes in dtype; its samples are still float32."""
        other = copy.copy(self)
        other._pre, other._post = self._pre.to(dtype), self._post.to(dtype)
        other._stages = tuple(stage.to(dtype) for stage in self._stages)
        return other

    @property
    def dtype(self) -> torch.dtype:
        """The type that the convolutions compute in."""
        return self._pre.weight.dtype

    def parameters(self) -> Iterator[Tensor]:
        """Yield every tensor of weights."""
        convs = [self._pre, self._post]
        for stage in self._stages:
            convs += [stage.up, *(conv for block in stage.blocks for group in block.groups for conv in group)]
        for conv in convs:
            yield from (tensor for tensor in (conv.weight, conv.bias) if tensor is not None)
        if self._cond is not None:
            yield from self._cond.parameters()

    def windows(self, n_frames: int) -> Iterator[Window]:
        """Yield the windows in which to decode n_frames."""
        return plan_windows(n_frames, self.window_sizes)

    def bias(self, g: Tensor | None) -> Tensor:
        """Return the first convolution's bias [C] for speaker g [G]: conditioning is an addition after it."""
        assert self._pre.bias is not None
        if g is None or self._cond is None:
            return self._pre.bias
        spoken = F.linear(g, self._cond.weight[:, :, 0], self._cond.bias)
        return (self._pre.bias.float() + spoken).to(self.dtype)

    def __call__(self, z: Tensor, window: Window, bias: Tensor) -> Tensor:
        """Return the window's useful samples, float32 [useful * hop] in [-1, 1].

        Args:
            z: latents of the whole utterance, float32 [T, C].
            window: one of `windows(T)`.
            bias: what `bias` returned for the speaker.

        """
        n_frames, rate = len(z), 1
        x = self._window_of(z, window)
        x = self._pre._replace(bias=bias)(x)
        for stage in self._stages:
            x = F.leaky_relu(x, SLOPE, inplace=True)
            x = stage.upsampled(silenced(x, _inside(window, n_frames, rate, stage.context_before)))
            rate *= stage.rate
            x = stage(x, _inside(window, n_frames, rate, stage.context + stage.reach))
        x = silenced(F.leaky_relu(x, inplace=True), _inside(window, n_frames, rate, self._stages[-1].context))
        return torch.tanh(self._post(x).float())[0, 0, 0, : window.useful * rate]

    def _window_of(self, z: Tensor, window: Window) -> Tensor:
        """Return the window's latents with their context [1, C, 1, T] in the decoder's dtype, zero outside z."""
        rows = z.new_zeros((window.frames + 2 * self.context_frames, z.shape[1]), dtype=self.dtype)
        first = window.start - self.context_frames
        start, stop = max(0, first), min(len(z), first + len(rows))
        rows[start - first : stop - first] = z[start:stop]
        return as_columns(rows)

    def _window_sizes(self) -> tuple[int, ...]:
        """Return the sizes at which no tensor of float32 is too large; the smallest size is always among them."""

        def largest(frames: int) -> int:
            rate, sizes = 1, []
            for stage in self._stages:
                columns = frames * rate + 2 * stage.context_before + stage.up.padding
                sizes.append(4 * stage.up.weight.shape[0] * columns)
                rate *= stage.rate
            return max(sizes)

        smallest, *others = WINDOW_SIZES
        return (smallest, *(size for size in others if largest(size) <= LARGEST_TENSOR_BYTES))


def _inside(window: Window, n_frames: int, rate: int, context: int) -> slice:
    """Return where the utterance lies among the columns of a window with this context, at rate columns a frame."""
    start = context - window.start * rate
    return slice(start, start + n_frames * rate)
