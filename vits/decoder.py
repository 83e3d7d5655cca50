"""The HiFi-GAN decoder (Kong et al., 2020) of VITS: latents to samples."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.1
"""Slope of the leaky ReLU everywhere but before the last convolution, where PyTorch's default of 0.01 stands."""


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
    """The decoder as the paper has it, over a whole utterance: what is trained, and what the windows must equal."""

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
