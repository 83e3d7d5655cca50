"""A full-size model to measure with: the shape of VITS-fast-fine-tuning's trilingual base, with random weights."""

from __future__ import annotations

import json
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


def write_model(folder: Path) -> None:
    """Write G.pth and config.json, the same at every call."""
    import torch

    from vits.checkpoint import Network, read_config

    config = {
        "data": {
            "text_cleaners": ["cjke_cleaners2"],
            "sampling_rate": 22050,
            "hop_length": 256,
            "add_blank": True,
            "n_speakers": SPEAKERS,
        },
        "model": MODEL,
        "speakers": {f"speaker{i}": i for i in range(SPEAKERS)},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    settings = read_config(folder / "config.json")
    torch.manual_seed(0)
    network = Network(settings.shape, len(settings.symbols), SPEAKERS)
    torch.save({"model": network.state_dict()}, folder / "G.pth")


def write_settings(folder: Path, models: int = 1) -> Path:
    """Return a models.toml of that many full-size models, written with their one checkpoint to the folder."""
    write_model(folder)
    tables = (f'[[models]]\nname = "full{i}"\ncheckpoint = "G.pth"\nconfig = "config.json"\n' for i in range(models))
    path = folder / "models.toml"
    path.write_text('[server]\nprecision = "float32"\n' + "".join(tables))
    return path
