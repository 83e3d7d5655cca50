"""The decoder's speed against the machine's own matrix peak: python -m bench.peak.

The peak is the best of several large matrix products and channels-last convolutions. The decoder's operations are
counted exactly, a multiplication with its addition as two, window by window, context and all. Peak and decoder take
turns, so that a noisy machine treats them alike; the best of many turns counts for both, the median is shown beside
it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.full_size import voice_files, write_model
from bench.report import arguments, progress, spread, table, write

MATRIX_SIZES = (1024, 2048, 3072)
CONVOLUTIONS = ((512, 512, 3, 512), (256, 256, 7, 1024), (128, 128, 11, 2048))
"""Channels in and out, kernel size and length: each within the caches that a decoder's convolution finds."""
Job = Callable[[], object]


def peaks(dtype: Any) -> dict[str, tuple[float, Job]]:
    """Return large operations, each with its count of floating-point operations."""
    import torch
    import torch.nn.functional as F

    jobs: dict[str, tuple[float, Job]] = {}
    for size in MATRIX_SIZES:
        a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
        jobs[f"matrices of {size}"] = (2.0 * size**3, partial(torch.mm, a, b))
    for n_in, n_out, kernel, length in CONVOLUTIONS:
        x = torch.randn(1, n_in, 1, length + kernel - 1).to(dtype).contiguous(memory_format=torch.channels_last)
        w = torch.randn(n_out, n_in, 1, kernel).to(dtype).contiguous(memory_format=torch.channels_last)
        jobs[f"convolution {n_in} x {n_out} x {kernel}"] = (
            2.0 * n_in * n_out * kernel * length,
            partial(F.conv2d, x, w),
        )
    return jobs


def windows(decoder: Any, channels: int) -> dict[str, tuple[float, Job]]:
    """Return each of the decoder's windows, from the middle of an utterance, with its count of operations."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    n_frames = 1000
    z, bias = torch.randn(n_frames, channels), decoder.bias(None)
    by_size = {
        window.frames: window for window in decoder.windows(n_frames) if window.start and window.useful == window.frames
    }
    by_size |= {window.frames: window for window in decoder.windows(n_frames) if window.frames not in by_size}
    jobs: dict[str, tuple[float, Job]] = {}
    for frames, window in sorted(by_size.items()):
        with FlopCounterMode(display=False, custom_mapping=in_one_pass()) as counter:
            decoder(z, window, bias)
        jobs[f"window of {frames} frames"] = (
            float(counter.get_total_flops()),
            partial(decoder, z, window, bias),
        )
    return jobs


def in_one_pass() -> dict[Any, Callable[..., int]]:
    """Return how to count the operations of the convolutions that PyTorch's own counter does not know."""
    import torch
    from torch.utils.flop_counter import conv_flop_count

    def plain(x: Any, weight: Any, *rest: Any, out_shape: Any, **named: Any) -> int:
        if len(rest[0] or ()) == 4:  # what is added stands before the weight
            weight = rest[0]
        return conv_flop_count(list(x), list(weight), list(out_shape))

    def into(total: Any, x: Any, weight: Any, *rest: Any, out_shape: Any, **named: Any) -> int:
        return conv_flop_count(list(x), list(weight), list(out_shape))

    operators = torch.ops.mkldnn
    if not hasattr(operators, "_convolution_pointwise"):
        return {}
    return {operators._convolution_pointwise: plain, operators._convolution_pointwise_: into}


def timed(job: Job) -> float:
    """Return the seconds that a job takes."""
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def measure(jobs: dict[str, tuple[float, Job]], rounds: int) -> dict[str, dict[str, float]]:
    """Return the speed of every job in GFLOP/s."""
    taken: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        progress(f"Round {number} of {rounds}")
        for name, (_, job) in jobs.items():
            taken[name].append(timed(job))
    return {
        name: {
            "gflop": flops / 1e9,
            "best": flops / 1e9 / min(taken[name][1:]),
            "median": flops / 1e9 / spread(taken[name][1:], 0.5),
        }
        for name, (flops, _) in jobs.items()
    }


def main() -> None:
    """Print the table of each precision."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    import torch

    from vits.checkpoint import load_network
    from vits.config import read_config
    from vits.decoder import WindowedDecoder
    from vits.voice import has_bfloat16

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        if options.voice is None:
            write_model(Path(folder))
        checkpoint, path = voice_files(options.voice or Path(folder))
        config = read_config(path)
        decoder = WindowedDecoder(load_network(checkpoint, config).dec)
    results = {}
    with torch.inference_mode():
        for dtype in (torch.float32, torch.bfloat16) if has_bfloat16() else (torch.float32,):
            name = str(dtype).removeprefix("torch.")
            ideal, ours = peaks(dtype), windows(decoder.to(dtype), config.shape.inter_channels)
            speeds = measure(ideal | ours, options.rounds)
            peak = max(speeds[job]["best"] for job in ideal)
            for speed in speeds.values():
                speed["percent"] = 100 * speed["best"] / peak
            results[name] = speeds
            print(
                table(
                    (name, "GFLOP", "best, GFLOP/s", "median", "best, % of peak"),
                    [(job, *s.values()) for job, s in speeds.items()],
                )
            )
    if not has_bfloat16():
        print("bfloat16: not on this CPU")
    write("peak", results, options.out)


if __name__ == "__main__":
    main()
