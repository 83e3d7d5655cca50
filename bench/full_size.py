"""A full-size model to measure: VITS-fast-fine-tuning's trilingual base, with random weights. And texts."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

# configs/uma_trilingual.json of github.com/Plachtaa/VITS-fast-fine-tuning.
MODEL = {
    "inter_channels": 192,
    "hidden_channels": 192,
    "filter_channels": 768,
    "n_heads": 2,
    "n_layers": 6,
    "kernel_size": 3,
    "p_dropout": 0.1,
    "resblock": "1",
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "upsample_rates": [8, 8, 2, 2],
    "upsample_initial_channel": 512,
    "upsample_kernel_sizes": [16, 16, 4, 4],
    "gin_channels": 256,
}
SPEAKERS = 999
LOG_FRAMES = 0.4
"""Added to the log durations of random weights, which would otherwise speak half as fast again as people do."""
LOUDNESS = 8.0
"""Factor on the last convolution of random weights, whose speech would otherwise be a whisper."""

WORDS = {
    "en": "the quick brown fox jumps over a lazy dog while seven small children watch from an old wooden bridge",
    "zh": "今天 天气 很好 我们 去 公园 散步 看见 七个 孩子 站在 木桥 上面 唱歌",
    "ja": "今日は 天気が いいので 公園を 散歩して 七人の 子供が 古い 橋の上で 歌うのを 聞きました",
}
STOPS = {"en": ".", "zh": "。", "ja": "。"}


def write_model(folder: Path, seed: int = 0, **changes: object) -> None:
    """Write G.pth and config.json, the same at every call; changes are to MODEL."""
    import torch

    from vits.config import read_config
    from vits.network import Network

    config = {
        "data": {
            "text_cleaners": ["cjke_cleaners2"],
            "sampling_rate": 22050,
            "hop_length": 256,
            "add_blank": True,
            "n_speakers": SPEAKERS,
        },
        "model": MODEL | changes,
        "speakers": {f"speaker{i}": i for i in range(SPEAKERS)},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    settings = read_config(folder / "config.json")
    torch.manual_seed(seed)
    network = Network(settings.shape, len(settings.symbols), SPEAKERS)
    state = network.state_dict()
    state["dp.flows.0.m"] -= LOG_FRAMES
    state["dec.conv_post.weight"] *= LOUDNESS
    for name, tensor in state.items():
        if name.startswith("flow.") and ".post." in name:  # They start as zeros, which a flow does not keep.
            tensor.normal_(0.0, 0.02)
    torch.save({"model": state}, folder / "G.pth")


def write_settings(
    folder: Path,
    threads: int,
    models: int = 1,
    precision: str = "float32",
    voice: Path | None = None,
    cache_mb: int | None = None,
) -> Path:
    """Return a models.toml of that many different full-size models in the folder, or of one voice as many times.

    Finished recordings are kept up to cache_mb, where it is given, else as the server does by itself.
    """
    tables = []
    for i in range(models):
        if voice is None and not (folder / f"full{i}").exists():
            write_model(folder / f"full{i}", seed=i)
        checkpoint, config = voice_files(voice or folder / f"full{i}")
        tables.append(f'[[models]]\nname = "full{i}"\ncheckpoint = "{checkpoint}"\nconfig = "{config}"\n')
    path = folder / f"models-{models}-{precision}.toml"
    cache = "" if cache_mb is None else f"cache_mb = {cache_mb}\n"
    path.write_text(f'[server]\nthreads = {threads}\nprecision = "{precision}"\n{cache}' + "".join(tables))
    return path


def voice_files(folder: Path) -> tuple[Path, Path]:
    """Return the checkpoint and the config in a folder."""
    place = folder.resolve()
    # A comparison writes its export beside the checkpoint.
    checkpoints = sorted(place.glob("*.pth")) or sorted(place.glob("*.onnx"))
    configs = sorted(place.glob("*.json"))
    if len(checkpoints) != 1 or len(configs) != 1:
        raise SystemExit(f"{folder}: expected one .pth and one .json file, or one .onnx of Piper's and its .json")
    return checkpoints[0], configs[0]


def sentence(characters: int, source: random.Random, lang: str = "en") -> str:
    """Return a sentence of just that many characters."""
    words, separator = WORDS[lang].split(), " " if lang == "en" else ""
    text = source.choice(words)
    while len(text) < characters:
        text += separator + source.choice(words)
    return text[: characters - 1].rstrip().ljust(characters - 1, text[0]) + STOPS[lang]


def sentences(count: int, least: int = 10, most: int = 160, seed: int = 0) -> list[str]:
    """Return English sentences of many lengths, more short ones than long ones, the same at every call."""
    source = random.Random(seed)
    lengths = (round(least * (most / least) ** source.random()) for _ in range(count))
    return [sentence(length, source) for length in lengths]


def symbol_ids(length: int, n_symbols: int, seed: int = 0) -> list[int]:
    """Return an utterance as the network gets it: random symbols with blanks between them."""
    source = random.Random(f"{seed} {length}")
    return [0 if i % 2 == 0 else source.randrange(1, n_symbols) for i in range(length)]


def lengths(count: int, least: int = 20, most: int = 240, seed: int = 0) -> Sequence[int]:
    """Return different lengths from least to most, both included, evenly spaced but in random order."""
    if count == 1:
        return [most]
    spaced = [least + round(i * (most - least) / (count - 1)) for i in range(count)]
    random.Random(seed).shuffle(spaced)
    return spaced
