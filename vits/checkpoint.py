"""A checkpoint of VITS or VITS-fast-fine-tuning and its config, read strictly into a network that speaks."""

import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vits import text
from vits.decoder import Generator
from vits.errors import BrokenCheckpoint
from vits.network import DurationPredictor, ResidualCouplingBlock, StochasticDurationPredictor, TextEncoder

TRAINING_ONLY = ("enc_q.", "dp.post_pre.", "dp.post_proj.", "dp.post_convs.", "dp.post_flows.")
"""Parts of a checkpoint that speaking does not need: the posterior encoder and the flow over real durations."""

DURATION_FILTER_CHANNELS = 256
"""Width of the deterministic duration predictor, which no config states."""

DURATION_KERNEL_SIZE = 3
"""Kernel size of both duration predictors, which no config states."""

SYMBOLS = {
    "english_cleaners2": (
        '_;:,.!?¡¿—…"«»“” ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyzɑɐɒæɓʙβɔɕçɗɖðʤəɘɚɛɜɝɞ'
        "ɟʄɡɠɢʛɦɧħɥʜɨɪʝɭɬɫɮʟɱɯɰŋɳɲɴøɵɸθœɶʘɹɺɾɻʀʁɽʂʃʈʧʉʊʋⱱʌɣɤʍχʎʏʑʐʒʔʡʕʢǀǁǂǃˈˌːˑʼʴʰʱʲʷˠˤ˞↓↑→↗↘'̩'ᵻ"
    ),
    "chinese_cleaners": "_，。！？—…ㄅㄆㄇㄈㄉㄊㄋㄌㄍㄎㄏㄐㄑㄒㄓㄔㄕㄖㄗㄘㄙㄚㄛㄜㄝㄞㄟㄠㄡㄢㄣㄤㄥㄦㄧㄨㄩˉˊˇˋ˙ ",
    "japanese_cleaners": "_,.!?-AEINOQUabdefghijkmnoprstuvwyzʃʧ↓↑ ",
    "japanese_cleaners2": "_,.!?-~…AEINOQUabdefghijkmnoprstuvwyzʃʧʦ↓↑ ",
    "korean_cleaners": "_,.!?…~ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎㄲㄸㅃㅆㅉㅏㅓㅗㅜㅡㅣㅐㅔ ",
    "zh_ja_mixture_cleaners": "_,.!?-~…AEINOQUabdefghijklmnoprstuvwyzʃʧʦɯɹəɥ⁼ʰ`→↓↑ ",
    "cjks_cleaners": "_,.!?-~…NQabdefghijklmnopstuvwxyzʃʧʥʦɯɹəɥçɸɾβŋɦː⁼ʰ`^#*=→↓↑ ",
    "cjke_cleaners2": "_,.!?-~…NQabdefghijklmnopstuvwxyzɑæʃʑçɯɪɔɛɹðəɫɥɸʊɾʒθβŋɦ⁼ʰ`^#*=ˈˌ→↓↑ ",
}
SYMBOLS |= {"english_cleaners": SYMBOLS["english_cleaners2"], "cjke_cleaners": SYMBOLS["cjke_cleaners2"]}
"""The symbols of each cleaner where a config gives none, as text/symbols.py of the original programs has them."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The config's `model` section: what the network's tensors are sized by."""

    inter_channels: int
    hidden_channels: int
    filter_channels: int
    n_heads: int
    n_layers: int
    kernel_size: int
    resblock: str
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    upsample_rates: tuple[int, ...]
    upsample_initial_channel: int
    upsample_kernel_sizes: tuple[int, ...]
    gin_channels: int
    use_sdp: bool


@dataclass(frozen=True, slots=True)
class Config:
    """What a config file says, checked."""

    path: Path
    shape: Shape
    symbols: tuple[str, ...]
    cleaner: str
    languages: tuple[str, ...]
    """Languages that the voice is said to speak; empty where the config does not say, as most do not."""
    speaker_languages: Mapping[str, tuple[str, ...]]
    """Those of single speakers by name, where the config says more than which the voice has in all."""
    sample_rate_hz: int
    hop_length: int
    """Samples a frame."""
    add_blank: bool
    """Whether symbol 0 stands between all symbols and at both ends."""
    n_speakers: int
    """Rows of the speaker table; 0 where the config gives no number, and often where there is one speaker."""
    speakers: Mapping[str, int]
    """Names and ids as the config has them."""


class Network(nn.Module):
    """The parts of VITS that speak, named as in its checkpoints."""

    def __init__(self, shape: Shape, n_symbols: int, n_speakers: int) -> None:
        super().__init__()
        gin_channels = shape.gin_channels if n_speakers else 0
        self.enc_p = TextEncoder(
            n_symbols,
            shape.inter_channels,
            shape.hidden_channels,
            shape.filter_channels,
            shape.n_heads,
            shape.n_layers,
            shape.kernel_size,
        )
        self.dp: StochasticDurationPredictor | DurationPredictor
        if shape.use_sdp:
            self.dp = StochasticDurationPredictor(shape.hidden_channels, DURATION_KERNEL_SIZE, gin_channels)
        else:
            self.dp = DurationPredictor(
                shape.hidden_channels, DURATION_FILTER_CHANNELS, DURATION_KERNEL_SIZE, gin_channels
            )
        self.flow = ResidualCouplingBlock(shape.inter_channels, shape.hidden_channels, gin_channels)
        self.dec = Generator(
            shape.inter_channels,
            shape.resblock,
            shape.resblock_kernel_sizes,
            shape.resblock_dilation_sizes,
            shape.upsample_rates,
            shape.upsample_initial_channel,
            shape.upsample_kernel_sizes,
            gin_channels,
        )
        self.emb_g = nn.Embedding(n_speakers, gin_channels) if n_speakers else None


class _Section:
    """A table of a JSON config whose values are checked as they are read."""

    def __init__(self, path: Path, name: str, values: object) -> None:
        self.path, self._name = path, name
        if not isinstance(values, dict):
            raise BrokenCheckpoint(f"{path}: {name or 'the file'} is {_shown(values)}, expected a table")
        self._values: dict[str, Any] = values

    def wrong(self, key: str, expected: str) -> BrokenCheckpoint:
        """Return the error for a key that is missing or has an unusable value."""
        full_name = f"{self._name}.{key}" if self._name else key
        if key not in self._values:
            return BrokenCheckpoint(f"{self.path}: {full_name} is missing, expected {expected}")
        return BrokenCheckpoint(f"{self.path}: {full_name} is {_shown(self._values[key])}, expected {expected}")

    def get(self, key: str) -> Any:
        """Return the value as it is, or None."""
        return self._values.get(key)

    def table(self, key: str) -> "_Section":
        """Return a table within."""
        if not isinstance(self._values.get(key), dict):
            raise self.wrong(key, "a table")
        return _Section(self.path, key, self._values[key])

    def integer(self, key: str, least: int = 1, default: int | None = None) -> int:
        """Return a whole number of at least `least`."""
        value: Any = self._values.get(key, default)
        if not _whole(value, least):
            raise self.wrong(key, f"a whole number of at least {least}")
        return int(value)

    def integers(self, key: str) -> tuple[int, ...]:
        """Return a list of positive whole numbers that is not empty."""
        value = self._values.get(key)
        if not isinstance(value, list) or not value or not all(_whole(item, 1) for item in value):
            raise self.wrong(key, "a list of positive whole numbers")
        return tuple(value)

    def lists(self, key: str) -> tuple[tuple[int, ...], ...]:
        """Return a list of lists of positive whole numbers."""
        value = self._values.get(key)
        if not isinstance(value, list) or not all(
            isinstance(row, list) and row and all(_whole(item, 1) for item in row) for row in value
        ):
            raise self.wrong(key, "a list of lists of positive whole numbers")
        return tuple(tuple(row) for row in value)

    def boolean(self, key: str, default: bool | None = None) -> bool:
        """Return true or false."""
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def strings(self, key: str) -> tuple[str, ...]:
        """Return a list of strings that is not empty."""
        value = self._values.get(key)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "a list of strings")
        return tuple(value)


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _shown(value: object) -> str:
    """Return a value as JSON, short enough for one line."""
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def read_config(path: str | Path) -> Config:
    """Return what a config file says.

    Raises:
        BrokenCheckpoint: the file cannot be read, or a key is missing or has an unusable value.

    """
    path = Path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BrokenCheckpoint(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BrokenCheckpoint(f"{path}: is not JSON: {error}") from error
    top = _Section(path, "", values)
    data, model = top.table("data"), top.table("model")
    shape = _read_shape(model)
    hop_length = data.integer("hop_length")
    hop = 1
    for rate in shape.upsample_rates:
        hop *= rate
    if hop != hop_length:
        raise data.wrong("hop_length", f"the product of model.upsample_rates, {hop}")
    cleaner, *others = data.strings("text_cleaners")
    if others or cleaner not in text.CLEANERS:
        raise data.wrong("text_cleaners", f"a list of one of {', '.join(text.CLEANERS)}")
    speakers = _read_speakers(top)
    languages, speaker_languages = _read_languages(top, cleaner, speakers)
    return Config(
        path=path,
        shape=shape,
        symbols=_read_symbols(top, cleaner),
        cleaner=cleaner,
        languages=languages,
        speaker_languages=speaker_languages,
        sample_rate_hz=data.integer("sampling_rate"),
        hop_length=hop_length,
        add_blank=data.boolean("add_blank"),
        n_speakers=data.integer("n_speakers", least=0, default=0),
        speakers=speakers,
    )


def _read_shape(model: _Section) -> Shape:
    shape = Shape(
        inter_channels=model.integer("inter_channels"),
        hidden_channels=model.integer("hidden_channels"),
        filter_channels=model.integer("filter_channels"),
        n_heads=model.integer("n_heads"),
        n_layers=model.integer("n_layers"),
        kernel_size=model.integer("kernel_size"),
        resblock=str(model.get("resblock")),
        resblock_kernel_sizes=model.integers("resblock_kernel_sizes"),
        resblock_dilation_sizes=model.lists("resblock_dilation_sizes"),
        upsample_rates=model.integers("upsample_rates"),
        upsample_initial_channel=model.integer("upsample_initial_channel"),
        upsample_kernel_sizes=model.integers("upsample_kernel_sizes"),
        gin_channels=model.integer("gin_channels", least=0, default=0),
        use_sdp=model.boolean("use_sdp", default=True),
    )
    if shape.resblock not in ("1", "2"):
        raise model.wrong("resblock", '"1" or "2"')
    if shape.inter_channels % 2:
        raise model.wrong("inter_channels", "an even number")
    if shape.hidden_channels % shape.n_heads:
        raise model.wrong("hidden_channels", f"a multiple of model.n_heads, {shape.n_heads}")
    if any(size % 2 == 0 for size in shape.resblock_kernel_sizes):
        raise model.wrong("resblock_kernel_sizes", "odd numbers")
    if len(shape.resblock_dilation_sizes) != len(shape.resblock_kernel_sizes):
        raise model.wrong("resblock_dilation_sizes", "as many lists as model.resblock_kernel_sizes has numbers")
    # What PyTorch's transposed convolution needs to make exactly rate samples of one.
    pairs = list(zip(shape.upsample_kernel_sizes, shape.upsample_rates, strict=False))
    if len(shape.upsample_kernel_sizes) != len(shape.upsample_rates) or any(k < u or (k - u) % 2 for k, u in pairs):
        raise model.wrong("upsample_kernel_sizes", "each of model.upsample_rates plus 0 or an even number")
    if shape.upsample_initial_channel % 2 ** len(shape.upsample_rates):
        raise model.wrong("upsample_initial_channel", f"a multiple of {2 ** len(shape.upsample_rates)}")
    return shape


def _read_symbols(top: _Section, cleaner: str) -> tuple[str, ...]:
    """Return the config's symbol table; the original VITS leaves it to the cleaner."""
    return tuple(SYMBOLS[cleaner]) if top.get("symbols") is None else top.strings("symbols")


def _read_languages(
    top: _Section, cleaner: str, speakers: Mapping[str, int]
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Return the languages of the whole voice, and those of single speakers where the config has a table of them."""
    if top.get("languages") is None:
        return (), {}
    by_speaker: dict[str, tuple[str, ...]] = {}
    if isinstance(top.get("languages"), dict):
        table = top.table("languages")
        for name in top.get("languages"):
            if name not in speakers:
                raise table.wrong(name, f"none: it is no speaker; speakers are {', '.join(speakers)}")
            by_speaker[name] = _known_languages(table, name, cleaner)
        return tuple(dict.fromkeys(language for row in by_speaker.values() for language in row)), by_speaker
    return _known_languages(top, "languages", cleaner), {}


def _known_languages(section: _Section, key: str, cleaner: str) -> tuple[str, ...]:
    languages, known = section.strings(key), text.languages(cleaner)
    if not {*languages} <= {*known}:
        raise section.wrong(key, f"some of those that {cleaner} speaks: {', '.join(known)}")
    return languages


def _read_speakers(top: _Section) -> dict[str, int]:
    speakers = top.get("speakers")
    if speakers is None:
        return {}
    if isinstance(speakers, list):
        names = top.strings("speakers") if speakers else ()
        if len({*names}) < len(names):
            raise top.wrong("speakers", "each name once")
        return {name: number for number, name in enumerate(names)}
    if not isinstance(speakers, dict) or not all(_whole(number, 0) for number in speakers.values()):
        raise top.wrong("speakers", "a list of names, or a table of names and whole numbers")
    return dict(speakers)


class _Uninitialised(TorchFunctionMode):
    """Leaves out normally distributed initial values, which the checkpoint's replace.

    On the meta device they would have torch import its symbolic half, sympy included: 100 MB for nothing.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is nn.init.normal_:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def load_network(checkpoint: str | Path, config: Config) -> Network:
    """Return the network with a checkpoint's weights in float32, weight norm folded, ready to speak.

    Raises:
        BrokenCheckpoint: the file cannot be read, or a tensor is missing, unknown, of another shape or not finite.

    """
    path = Path(checkpoint)
    stored = {name: tensor for name, tensor in _stored(path).items() if not name.startswith(TRAINING_ONLY)}
    n_speakers = _speaker_rows(path, config, stored.get("emb_g.weight"))
    if not n_speakers:
        # A network sized for speakers but trained without a table of them has conditioning that never ran.
        stored = {name: tensor for name, tensor in stored.items() if not {"cond", "cond_layer"} & {*name.split(".")}}
    with torch.device("meta"), _Uninitialised():
        network = Network(config.shape, len(config.symbols), n_speakers)
    wanted = network.state_dict()
    sources = _sources(path, wanted.keys(), stored)
    _check_shapes(path, wanted, sources)
    network.load_state_dict({name: _folded(*tensors) for name, tensors in sources.items()}, assign=True)
    broken = [name for name, tensor in network.state_dict().items() if not tensor.isfinite().all()]
    if broken:
        raise BrokenCheckpoint(f"{path}: not finite: {_listed(broken)}")
    return network.requires_grad_(False).eval()


def _stored(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name; they are read from the file only when they are used."""
    try:
        # Files of PyTorch before 1.6 are no zip archives and cannot be mapped into memory.
        zipped = zipfile.is_zipfile(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
        # PyTorch does not look at the archive's checksums: damaged weights would be spoken with.
        damaged = _damaged(path) if zipped else None
    except OSError as error:
        raise BrokenCheckpoint(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # whatever a malformed file leads the unpickler to
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise BrokenCheckpoint(f"{path}: is not a whole PyTorch checkpoint: {reason}") from error
    if damaged is not None:
        raise BrokenCheckpoint(f"{path}: is damaged: {damaged} in it has another checksum than when it was written")
    tensors = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(tensors, dict) or not tensors:
        raise BrokenCheckpoint(f"{path}: holds no tensors, expected a state dict, or a table with one as model")
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise BrokenCheckpoint(f"{path}: {name} is not a tensor of floating-point numbers")
    return tensors


def _damaged(archive: Path) -> str | None:
    """Return the first file in an archive whose checksum is wrong."""
    with zipfile.ZipFile(archive) as file:
        return file.testzip()


def _speaker_rows(path: Path, config: Config, table: Tensor | None) -> int:
    """Return how many rows the speaker table must have; whether there is one is for the checkpoint to say."""
    if table is None:
        return config.n_speakers if config.n_speakers > 1 else 0
    if not config.shape.gin_channels:
        raise BrokenCheckpoint(
            f"{config.path}: model.gin_channels is missing or 0, expected {table.shape[-1]}, the width of emb_g.weight "
            f"in {path}"
        )
    return config.n_speakers or table.shape[0]


def _sources(path: Path, wanted: Iterable[str], stored: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, ...]]:
    """Return the stored tensors behind each wanted one: itself, or the length and direction of weight norm."""
    sources, missing, unknown = {}, [], dict.fromkeys(stored)
    for name in wanted:
        stem, _, last = name.rpartition(".")
        parametrized = f"{stem}.parametrizations.{last}.original"
        layouts = ((name,), (f"{name}_g", f"{name}_v"), (f"{parametrized}0", f"{parametrized}1"))
        layout = next((names for names in layouts if any(n in stored for n in names)), (name,))
        missing += [n for n in layout if n not in stored]
        for n in layout:
            unknown.pop(n, None)
        sources[name] = tuple(stored[n] for n in layout if n in stored)
    if missing:
        raise BrokenCheckpoint(f"{path}: missing: {_listed(missing)}")
    if unknown:
        raise BrokenCheckpoint(f"{path}: unknown to this config's network: {_listed(list(unknown))}")
    return sources


def _check_shapes(path: Path, wanted: Mapping[str, Tensor], sources: Mapping[str, Sequence[Tensor]]) -> None:
    wrong = []
    for name, tensors in sources.items():
        expected = wanted[name].shape
        if len(tensors) == 2 and tensors[0].shape != (expected[0], *(1 for _ in expected[1:])):
            wrong.append(f"length of {name} {[*tensors[0].shape]} for {expected[0]} rows")
        elif tensors[-1].shape != expected:
            wrong.append(f"{name} {[*tensors[-1].shape]}, expected {[*expected]}")
    if wrong:
        raise BrokenCheckpoint(f"{path}: of another shape than the config says: {_listed(wrong)}")


def _folded(*stored: Tensor) -> Tensor:
    """Return the float32 weight of stored tensors: a copy of the only one, or length times direction per row."""
    if len(stored) == 1:
        return stored[0].to(torch.float32, copy=True)
    length, direction = (tensor.to(torch.float32) for tensor in stored)
    axes = tuple(range(1, direction.dim()))
    norms: Tensor = torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
    return direction * (length / norms)


def _listed(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
