"""Voices of Coqui TTS: best_model.pth or model_file.pth, and a config.json whose "model" is "vits".

Follows coqui-tts 0.28.0: TTS/tts/models/vits.py for the network and its arguments, TTS/tts/configs for their defaults.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vits.checkpoint import build_network, read_pickle, read_tensors
from vits.config import LEAST_RATE_HZ, MAX_RATE_HZ, Config, read_shape
from vits.errors import BrokenCheckpoint
from vits.files import read_json
from vits.limits import DEFAULTS
from vits.network import DurationPredictor, Network
from vits.tables import TOP_LEVEL, Table, is_whole
from vits.text.coqui import CoquiFrontEnd
from vits.text.coqui_cleaners import CLEANERS

_SIZES: Mapping[str, tuple[str, object]] = {
    "inter_channels": ("hidden_channels", 192),
    "hidden_channels": ("hidden_channels", 192),
    "filter_channels": ("hidden_channels_ffn_text_encoder", 768),
    "n_heads": ("num_heads_text_encoder", 2),
    "n_layers": ("num_layers_text_encoder", 6),
    "kernel_size": ("kernel_size_text_encoder", 3),
    "resblock": ("resblock_type_decoder", "1"),
    "resblock_kernel_sizes": ("resblock_kernel_sizes_decoder", [3, 7, 11]),
    "resblock_dilation_sizes": ("resblock_dilation_sizes_decoder", [[1, 3, 5], [1, 3, 5], [1, 3, 5]]),
    "upsample_rates": ("upsample_rates_decoder", [8, 8, 2, 2]),
    "upsample_initial_channel": ("upsample_initial_channel_decoder", 512),
    "upsample_kernel_sizes": ("upsample_kernel_sizes_decoder", [16, 16, 4, 4]),
}
"""VITS's names of the sizes, theirs, and their defaults."""

_FIXED: Mapping[str, object] = {
    "use_d_vector_file": False,
    "use_language_embedding": False,
    "condition_dp_on_speaker": True,
    "encoder_sample_rate": None,
    "num_layers_flow": 4,
    "kernel_size_flow": 5,
    "dilation_rate_flow": 1,
}
"""Arguments that have one value in VITS itself, which is also their default there."""

_RULES = (
    (r"text_encoder\.", "enc_p."),
    (r"posterior_encoder\.", "enc_q."),
    (r"duration_predictor\.", "dp."),
    (r"waveform_decoder\.cond_layer\.", "dec.cond."),
    (r"waveform_decoder\.", "dec."),
)
"""The beginnings of names, theirs and VITS's."""

_DURATION_EPS = 1e-4
"""What keeps the normalisation of the predictor of use_sdp false from dividing by 0, where VITS has 1e-5."""

_SPEAKER_FILES = ("speakers.pth", "speaker_ids.json", "speakers.json", "speaker_ids.pth")


def open_model(checkpoint: Path, config: Path) -> tuple[Config, Network]:
    """Return the config and network of a voice.

    Raises:
        BrokenCheckpoint: one of the files cannot be used.

    """
    top = Table(config, TOP_LEVEL, read_json(config), BrokenCheckpoint)
    if top.get("model") != "vits":
        top.fail("model", '"vits": no other model of Coqui\'s is spoken here')
    stored = {name: tensor for name, tensor in read_tensors(checkpoint).items() if not name.startswith("disc.")}
    tensors = {_renamed(name): _reshaped(name, tensor) for name, tensor in stored.items()}
    settings = _read_config(top, checkpoint, tensors)
    network = build_network(checkpoint, tensors, settings)
    if isinstance(network.dp, DurationPredictor):
        network.dp.norm_1.eps = network.dp.norm_2.eps = _DURATION_EPS
    return settings, network


def speaker_names(checkpoint: Path, config: Path) -> tuple[str, ...]:
    """Return the names of a voice's speakers. Raises BrokenCheckpoint where their file cannot be used."""
    return tuple(_speakers(Table(config, TOP_LEVEL, read_json(config), BrokenCheckpoint), checkpoint.parent)[0])


def _renamed(name: str) -> str:
    """Return VITS's name of a parameter; flips take no number in this layout, where VITS gives them every second."""
    name = re.sub(r"^flow\.flows\.(\d+)", lambda match: f"flow.flows.{2 * int(match[1])}", name)
    for pattern, replacement in _RULES:
        name = re.sub(f"^{pattern}", replacement, name)
    name = re.sub(r"^(dp\.(?:post_)?flows)\.([1-9]\d*)", lambda m: f"{m[1]}.{2 * int(m[2]) - 1}", name)
    return name.replace(".translation", ".m").replace(".log_scale", ".logs")


def _reshaped(name: str, tensor: Tensor) -> Tensor:
    """Return a parameter as VITS has it: in the predictor of use_sdp false, normalisation has three axes, not one."""
    is_flat = re.fullmatch(r"duration_predictor\.norm_\d\.(gamma|beta)", name) and tensor.ndim == 3
    return tensor.flatten() if is_flat else tensor


def _read_config(top: Table, checkpoint: Path, tensors: Mapping[str, Tensor]) -> Config:
    arguments = top.table("model_args")
    for key, value in _FIXED.items():
        if arguments.values.get(key, value) != value:
            arguments.fail(key, f"{value}: other networks of this family are not spoken here")
    sizes = {ours: arguments.values.get(theirs, default) for ours, (theirs, default) in _SIZES.items()}
    table = tensors.get("emb_g.weight")
    sizes |= {"gin_channels": 0 if table is None else table.shape[-1]}
    sizes |= {"use_sdp": arguments.boolean("use_sdp", default=True)}
    shape = read_shape(Table(top.path, "model_args", sizes, BrokenCheckpoint))
    symbols, front_end = _front_end(top)
    speakers, files = _speakers(top, checkpoint.parent)
    return Config(
        path=top.path,
        shape=shape,
        symbols=symbols,
        front_end=front_end,
        languages=front_end.languages,
        speaker_languages={},
        sample_rate_hz=top.table("audio").integer("sample_rate", LEAST_RATE_HZ, MAX_RATE_HZ),
        hop_length=math.prod(shape.upsample_rates),
        n_speakers=0 if table is None else table.shape[0],
        speakers=speakers if table is not None else {},
        family="Coqui",
        files=(checkpoint, top.path, *files),
        defaults=_defaults(arguments),
    )


def _defaults(arguments: Table) -> dict[str, float]:
    names = {
        "noise_scale": ("inference_noise_scale", 0.0, 2.0),
        "noise_scale_w": ("inference_noise_scale_dp", 0.0, 2.0),
        "length_scale": ("length_scale", 0.25, 4.0),
    }
    found = {ours: arguments.number(*theirs) for ours, theirs in names.items()}
    return {ours: DEFAULTS[ours] if value is None else float(value) for ours, value in found.items()}


def _front_end(top: Table) -> tuple[tuple[str, ...], CoquiFrontEnd]:
    """Return the symbols by id and the front end."""
    espeak_language = _espeak_language(top)
    cleaner = top.get("text_cleaner") or ""
    if cleaner not in ("", *CLEANERS):
        top.fail("text_cleaner", f"one of {', '.join(CLEANERS)}")
    characters = top.table("characters")
    symbols, marks = _symbols(characters, are_phonemes=bool(espeak_language))
    ids = {symbol: number for number, symbol in enumerate(symbols)}

    def around(mark: str) -> tuple[int, ...]:
        if not top.boolean("enable_eos_bos_chars", default=False):
            return ()
        return (ids[marks[mark]],) if marks[mark] in ids else characters.fail(mark, "a symbol: each sentence has it")

    blank = None
    if top.boolean("add_blank", default=True):
        blank = (
            ids[marks["blank"]] if marks["blank"] in ids else characters.fail("blank", "a symbol: add_blank is true")
        )
    languages = [espeak_language] if espeak_language else _data_languages(top)
    front_end = CoquiFrontEnd(
        cleaner=cleaner,
        cleaner_language=_cleaner_language(top),
        espeak_language=espeak_language,
        vocabulary={symbol: number for symbol, number in ids.items() if len(symbol) == 1},
        blank=blank,
        begin=around("bos"),
        end=around("eos"),
        language=_language(languages[0]) if len(languages) == 1 else "und",
    )
    return tuple(symbols), front_end


def _espeak_language(top: Table) -> str:
    """Return the language that espeak-ng is asked for; "" where the model is one of characters."""
    if not top.boolean("use_phonemes", default=False):
        return ""
    expected = "a language of espeak-ng's, such as en-us"
    language: str = top.take("phoneme_language", str | None, "", expected) or top.fail("phoneme_language", expected)
    if top.get("phonemizer") not in ("espeak", "", None):
        top.fail("phonemizer", '"espeak": no other is spoken here')
    if not top.get("phonemizer") and language in _OTHER_PHONEMIZERS:
        top.fail("phonemizer", f'"espeak": that of {language} is another, and is not spoken here')
    return {"en": "en-us", "zh-cn": "cmn"}.get(language, language)


_OTHER_PHONEMIZERS = ("be", "bn", "ja-jp", "ko-kr", "zh-cn")
"""The languages whose models have another phonemizer than espeak-ng where their config names none."""


def _symbols(characters: Table, *, are_phonemes: bool) -> tuple[list[str], dict[str, str]]:
    """Return the symbols by id, and the symbols that are marks by their names."""
    kind = str(characters.get("characters_class") or "").rpartition(".")[2]
    if kind not in ("", "Graphemes", "IPAPhonemes", "VitsCharacters"):
        characters.fail("characters_class", "VitsCharacters, IPAPhonemes or Graphemes")
    text = {key: characters.take(key, str | None, "", "a string") or "" for key in _CHARACTER_KEYS}
    if kind == "VitsCharacters":
        letters = text["characters"] + text["phonemes"]
        symbols = [text["pad"], *text["punctuations"], *letters, _BLANK_OF_VITS]
        return symbols, text | {"blank": _BLANK_OF_VITS, "bos": "", "eos": ""}
    of_phonemes = kind == "IPAPhonemes" or (not kind and are_phonemes)
    letters = text["phonemes" if of_phonemes and characters.get("phonemes") is not None else "characters"]
    unique = {*letters} if characters.boolean("is_unique", default=True) else letters
    ordered = sorted(unique) if characters.boolean("is_sorted", default=True) else list(letters)
    marks = [text[key] for key in ("pad", "eos", "bos", "blank") if text[key]]
    return [*marks, *ordered, *text["punctuations"]], text


_CHARACTER_KEYS = ("pad", "eos", "bos", "blank", "characters", "punctuations", "phonemes")
_BLANK_OF_VITS = "<BLNK>"


def _data_languages(top: Table) -> list[str]:
    """Return the languages of the data that a model was trained on, where its config tells them."""
    datasets = top.get("datasets")
    found = [row.get("language") for row in datasets if isinstance(row, dict)] if isinstance(datasets, list) else []
    return sorted({code for code in found if isinstance(code, str) and code})


def _cleaner_language(top: Table) -> str | None:
    """Return the language that Coqui's LanguageManager finds for the cleaners, without its region."""
    languages = top.strings("languages") if top.get("languages") else _data_languages(top)
    languages = languages or [str(top.get("phoneme_language") or "en")]
    return languages[0].split("-")[0] if len(languages) == 1 else None


def _language(code: str) -> str:
    """Return a language as requests name it."""
    family = re.split("[-_]", code.lower())[0]
    return {"cmn": "zh", "yue": "zh"}.get(family, family) or "und"


def _speakers(top: Table, folder: Path) -> tuple[dict[str, int], tuple[Path, ...]]:
    """Return the ids of the speakers, and the file beside the model that has them; training's own path is elsewhere."""
    if top.get("speakers"):
        return {name: number for number, name in enumerate(top.strings("speakers"))}, ()
    tables = (top, top.table("model_args")) if "model_args" in top.values else (top,)
    named = [Path(str(table.get("speakers_file") or "")).name for table in tables]
    path = next((folder / name for name in (*named, *_SPEAKER_FILES) if name and (folder / name).is_file()), None)
    if path is None:
        return {}, ()
    values: Any = read_json(path) if path.suffix == ".json" else read_pickle(path)
    if not isinstance(values, dict) or not all(isinstance(k, str) and is_whole(v, 0) for k, v in values.items()):
        raise BrokenCheckpoint(f"{path}: expected a table of speakers and their ids")
    return dict(values), (path,)
