"""Voices in the layout of Hugging Face's VitsModel, such as MMS: a folder of config, weights and the tokenizer's files.

Follows transformers 5.24.0: modeling_vits.py for the names of parameters, configuration_vits.py and
tokenization_vits.py for keys and their defaults.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vits.checkpoint import build_network, checked_tensors, read_tensors
from vits.config import LEAST_RATE_HZ, MAX_RATE_HZ, MAX_SPEAKERS, MAX_SYMBOLS, Config, Shape, read_shape
from vits.errors import BrokenCheckpoint
from vits.files import read_json, read_start
from vits.formats.folders import WEIGHTS
from vits.formats.safetensors_file import read_safetensors
from vits.limits import DEFAULTS
from vits.network import (
    DURATION_FILTER_CHANNELS,
    DURATION_KERNEL_SIZE,
    RELATIVE_WINDOW,
    SPLINE_BINS,
    SPLINE_BOUND,
    Network,
)
from vits.tables import TOP_LEVEL, Table, is_whole
from vits.text.characters import CharacterFrontEnd

_FIXED: Mapping[str, object] = {
    "window_size": RELATIVE_WINDOW,
    "hidden_act": "relu",
    "use_bias": True,
    "layer_norm_eps": 1e-5,
    "leaky_relu_slope": 0.1,
    "depth_separable_channels": 2,
    "depth_separable_num_layers": 3,
    "duration_predictor_flow_bins": SPLINE_BINS,
    "duration_predictor_tail_bound": SPLINE_BOUND,
    "duration_predictor_kernel_size": DURATION_KERNEL_SIZE,
    "duration_predictor_num_flows": 4,
    "duration_predictor_filter_channels": DURATION_FILTER_CHANNELS,
    "prior_encoder_num_flows": 4,
    "prior_encoder_num_wavenet_layers": 4,
    "wavenet_kernel_size": 5,
    "wavenet_dilation_rate": 1,
}
"""Keys that have one value in every VITS, which is also their default there."""

_SIZES: Mapping[str, tuple[str, object]] = {
    "hidden_channels": ("hidden_size", 192),
    "inter_channels": ("flow_size", 192),
    "filter_channels": ("ffn_dim", 768),
    "n_heads": ("num_attention_heads", 2),
    "n_layers": ("num_hidden_layers", 6),
    "kernel_size": ("ffn_kernel_size", 3),
    "resblock_kernel_sizes": ("resblock_kernel_sizes", [3, 7, 11]),
    "resblock_dilation_sizes": ("resblock_dilation_sizes", [[1, 3, 5], [1, 3, 5], [1, 3, 5]]),
    "upsample_rates": ("upsample_rates", [8, 8, 2, 2]),
    "upsample_initial_channel": ("upsample_initial_channel", 512),
    "upsample_kernel_sizes": ("upsample_kernel_sizes", [16, 16, 4, 4]),
    "gin_channels": ("speaker_embedding_size", 0),
    "use_sdp": ("use_stochastic_duration_prediction", True),
}
"""VITS's names of the sizes, theirs, and their defaults."""

_RULES = (
    (r"posterior_encoder\.", "enc_q."),
    (r"text_encoder\.embed_tokens\.", "enc_p.emb."),
    (r"text_encoder\.project\.", "enc_p.proj."),
    (r"text_encoder\.encoder\.layers\.(\d+)\.attention\.([qkv])_proj\.", r"enc_p.encoder.attn_layers.\1.conv_\2."),
    (r"text_encoder\.encoder\.layers\.(\d+)\.attention\.out_proj\.", r"enc_p.encoder.attn_layers.\1.conv_o."),
    (r"text_encoder\.encoder\.layers\.(\d+)\.attention\.", r"enc_p.encoder.attn_layers.\1."),
    (r"text_encoder\.encoder\.layers\.(\d+)\.feed_forward\.", r"enc_p.encoder.ffn_layers.\1."),
    (r"text_encoder\.encoder\.layers\.(\d+)\.layer_norm\.", r"enc_p.encoder.norm_layers_1.\1."),
    (r"text_encoder\.encoder\.layers\.(\d+)\.final_layer_norm\.", r"enc_p.encoder.norm_layers_2.\1."),
    (r"embed_speaker\.", "emb_g."),
    (r"decoder\.upsampler\.", "dec.ups."),
    (r"decoder\.", "dec."),
    (r"duration_predictor\.post_conv_pre\.", "dp.post_pre."),
    (r"duration_predictor\.post_conv_proj\.", "dp.post_proj."),
    (r"duration_predictor\.post_conv_dds\.", "dp.post_convs."),
    (r"duration_predictor\.", "dp."),
)
"""The beginnings of names, theirs and VITS's; the first that fits counts."""

_PARTS = (
    (r"\.conv_dds\.", ".convs."),
    (r"\.convs_dilated\.", ".convs_sep."),
    (r"\.convs_pointwise\.", ".convs_1x1."),
    (r"\.wavenet\.", ".enc."),
    (r"(?<!^dec)\.conv_(pre|post|proj)\.", r".\1."),
    (r"\.translate$", ".m"),
    (r"\.log_scale$", ".logs"),
    (r"(\.norm(?:s|_layers)?_[12](?:\.\d+)?)\.weight$", r"\1.gamma"),
    (r"(\.norm(?:s|_layers)?_[12](?:\.\d+)?)\.bias$", r"\1.beta"),
)
"""The other parts of names; all that fit count."""


def open_model(folder: Path, config: Path | None = None) -> tuple[Config, Network]:
    """Return the config and network of a folder.

    Raises:
        BrokenCheckpoint: one of the files cannot be used.

    """
    path = config or folder / "config.json"
    weights = next(folder / name for name in WEIGHTS if (folder / name).is_file())
    top = Table(path, TOP_LEVEL, read_json(path), BrokenCheckpoint)
    if top.get("model_type") != "vits":
        top.fail("model_type", '"vits"')
    settings = _read_config(top, folder, weights)
    stored = read_safetensors(weights) if weights.suffix == ".safetensors" else read_tensors(weights)
    tensors = {_renamed(name): _reshaped(name, tensor) for name, tensor in checked_tensors(weights, stored).items()}
    return settings, build_network(weights, tensors, settings)


def speaker_names(path: Path) -> tuple[str, ...]:
    """Return the names of a voice's speakers, which are numbers. Raises BrokenCheckpoint where it cannot be read."""
    count = Table(path, TOP_LEVEL, read_json(path), BrokenCheckpoint).integer(
        "num_speakers", 0, MAX_SPEAKERS, default=1
    )
    return tuple(map(str, range(count))) if count > 1 else ()


def _renamed(name: str) -> str:
    """Return VITS's name of a parameter; flips take no number in this layout, where VITS gives them every second."""
    name = re.sub(r"^flow\.flows\.(\d+)", lambda match: f"flow.flows.{2 * int(match[1])}", name)
    name = re.sub(
        r"^(duration_predictor\.(?:post_)?flows)\.([1-9]\d*)", lambda match: f"{match[1]}.{2 * int(match[2]) - 1}", name
    )
    for pattern, replacement in _RULES:
        name, found = re.subn(f"^{pattern}", replacement, name)
        if found:
            break
    for pattern, replacement in _PARTS:
        name = re.sub(pattern, replacement, name)
    return name


def _reshaped(name: str, tensor: Tensor) -> Tensor:
    """Return a parameter as VITS has it: attention's projections are convolutions there."""
    return tensor[..., None] if re.search(r"\.(q|k|v|out)_proj\.weight$", name) and tensor.dim() == 2 else tensor


def _read_config(top: Table, folder: Path, weights: Path) -> Config:
    for key, value in _FIXED.items():
        if top.values.get(key, value) != value:
            top.fail(key, f"{value}, which every VITS has")
    sizes = {ours: top.values.get(theirs, default) for ours, (theirs, default) in _SIZES.items()}
    n_symbols = top.integer("vocab_size", 1, MAX_SYMBOLS, default=38)
    shape: Shape = read_shape(Table(top.path, TOP_LEVEL, {**sizes, "resblock": "1"}, BrokenCheckpoint))
    front_end = _tokenizer(folder, n_symbols)
    symbols = [""] * n_symbols
    for symbol, number in front_end.vocabulary.items():
        if number < n_symbols:
            symbols[number] = symbol
    return Config(
        path=top.path,
        shape=shape,
        symbols=tuple(symbols),
        front_end=front_end,
        languages=front_end.languages,
        speaker_languages={},
        sample_rate_hz=top.integer("sampling_rate", LEAST_RATE_HZ, MAX_RATE_HZ, default=16_000),
        hop_length=math.prod(shape.upsample_rates),
        n_speakers=top.integer("num_speakers", 0, MAX_SPEAKERS, default=1),
        speakers={},
        family="Hugging Face",
        files=(weights, top.path, folder / "vocab.json", *_there(folder / "tokenizer_config.json")),
        defaults=_defaults(top),
        license=_license(folder),
        source=str(top.get("_name_or_path") or ""),
    )


def _defaults(top: Table) -> dict[str, float]:
    defaults = dict(DEFAULTS)
    for ours, theirs in (("noise_scale", "noise_scale"), ("noise_scale_w", "noise_scale_duration")):
        value = top.number(theirs, 0.0, 2.0)
        defaults[ours] = defaults[ours] if value is None else float(value)
    rate = top.number("speaking_rate", 0.25, 4.0)
    return defaults if rate is None else defaults | {"length_scale": 1 / rate}


def _there(path: Path) -> tuple[Path, ...]:
    return (path,) if path.is_file() else ()


def _tokenizer(folder: Path, n_symbols: int) -> CharacterFrontEnd:
    vocabulary = read_json(folder / "vocab.json")
    path = folder / "tokenizer_config.json"
    values = read_json(path) if path.is_file() else {}
    if not isinstance(vocabulary, dict) or not all(is_whole(number, 0) for number in vocabulary.values()):
        raise BrokenCheckpoint(f"{folder / 'vocab.json'}: expected a table of characters and their ids")
    table = Table(path, TOP_LEVEL, values, BrokenCheckpoint)
    special = [_token(table, "pad_token", "<pad>"), _token(table, "unk_token", "<unk>")]
    code = table.get("language")
    phonemize = table.boolean("phonemize", default=True)
    language = _LANGUAGES.get(code, code) if isinstance(code, str) and code else "und"
    return CharacterFrontEnd(
        vocabulary={symbol: number for symbol, number in vocabulary.items() if number < n_symbols},
        special=tuple(special),
        language="en" if phonemize else language,
        add_blank=table.boolean("add_blank", default=True),
        normalize=table.boolean("normalize", default=True),
        phonemize=phonemize,
        romanize=table.boolean("is_uroman", default=False),
    )


def _token(table: Table, key: str, default: str) -> str:
    value = table.get(key)
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) and value else default


def _license(folder: Path) -> str:
    """Return the licence that the head of the folder's README.md names."""
    text = read_start(folder / "README.md", 10_000)
    head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    named = re.search(r"^license: *['\"]?([^'\"\n]+)", head[1], re.MULTILINE) if head else None
    return named[1].strip() if named else ""


_LANGUAGES: Mapping[Any, str] = json.loads(
    """{"ara": "ar", "ben": "bn", "bul": "bg", "cat": "ca", "ces": "cs", "cmn": "zh", "cym": "cy", "dan": "da",
    "deu": "de", "ell": "el", "eng": "en", "est": "et", "eus": "eu", "fas": "fa", "fin": "fi", "fra": "fr",
    "guj": "gu", "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu", "ind": "id", "isl": "is", "ita": "it",
    "jpn": "ja", "kan": "kn", "kat": "ka", "kaz": "kk", "khm": "km", "kor": "ko", "lao": "lo", "lav": "lv",
    "lit": "lt", "mal": "ml", "mar": "mr", "mya": "my", "nld": "nl", "nor": "no", "pan": "pa", "pol": "pl",
    "por": "pt", "ron": "ro", "rus": "ru", "san": "sa", "slk": "sk", "slv": "sl", "spa": "es", "sqi": "sq",
    "srp": "sr", "swe": "sv", "swh": "sw", "tam": "ta", "tel": "te", "tgl": "tl", "tha": "th", "tur": "tr",
    "ukr": "uk", "urd": "ur", "uzb": "uz", "vie": "vi", "yor": "yo", "zho": "zh"}"""
)
"""Two-letter codes of MMS's languages that have one, of ISO 639; the others keep their three letters."""
