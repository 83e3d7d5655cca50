"""The config that VITS and VITS-fast-fine-tuning write beside a checkpoint, read strictly."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vits import text
from vits.errors import BrokenCheckpoint
from vits.files import read_json
from vits.limits import DEFAULTS
from vits.tables import TOP_LEVEL, Table, is_whole
from vits.text.front_end import CleanerFrontEnd, FrontEnd
from vits.text.letters import known_letters
from vits.text.symbols import SYMBOLS

LEAST_RATE_HZ, MAX_RATE_HZ = 8_000, 192_000
MAX_HOP_LENGTH = 4096
MAX_CHANNELS = 16_384
MAX_HEADS = 256
MAX_LAYERS = 64
MAX_KERNEL_SIZE = 31
MAX_BLOCKS = 12
"""The most stages of a decoder, residual blocks in a stage, and convolutions in a block."""
MAX_DILATION = 64
MAX_RATE = 64
MAX_SPEAKERS = 100_000
MAX_SYMBOLS = 65_536
"""Bounds far beyond every network in use. They keep a faulty config from asking for all memory, or for endless work."""

LEAST_KNOWN = 0.5
USUALLY_KNOWN = 0.9
"""Shares of a front end's letters that a symbol table must have, and that it should have."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The config's `model` table, which gives the sizes of the network's tensors."""

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
    """The checked content of a config file."""

    path: Path
    shape: Shape
    symbols: tuple[str, ...]
    """The symbols by id; "" where an id has none."""
    front_end: FrontEnd
    """What turns text into ids."""
    languages: tuple[str, ...]
    """Languages that the voice speaks; empty where the config does not say, as most do not."""
    speaker_languages: Mapping[str, tuple[str, ...]]
    """The languages of single speakers by name, where the config has a table of them."""
    sample_rate_hz: int
    hop_length: int
    """Samples per frame."""
    n_speakers: int
    """Rows of the speaker table; 0 where the config gives no number, and often where there is one speaker."""
    speakers: Mapping[str, int]
    """The speakers' ids by name."""
    default_speaker: int | None = None
    """Who speaks if no speaker is named, as the files say; None: they do not say it."""
    family: str = "VITS"
    """The program whose format the files have."""
    files: tuple[Path, ...] = ()
    """The files that the voice's sound depends on."""
    defaults: Mapping[str, float] = field(default_factory=lambda: DEFAULTS)
    """The noise_scale, noise_scale_w and length_scale that the files give, or else VITS's own."""
    license: str = ""
    """The voice's licence, as its files name it; often they do not."""
    source: str = ""
    """Where the voice or its recordings come from, as its files say."""
    warnings: tuple[str, ...] = ()
    """What is doubtful but no error, a line each."""


def speaker_names(path: Path) -> tuple[str, ...]:
    """Return the names of a config's speakers, without a look at anything else in it.

    Raises:
        BrokenCheckpoint: the file cannot be read, or its speakers are not usable.

    """
    return tuple(_read_speakers(_read_file(path)))


def _read_file(path: Path) -> Table:
    return Table(path, TOP_LEVEL, read_json(path), BrokenCheckpoint)


def read_config(path: str | Path) -> Config:
    """Return what a config file says.

    Raises:
        BrokenCheckpoint: the file cannot be read, or a key is missing or has an unusable value.

    """
    path = Path(path)
    top = _read_file(path)
    data, model = top.table("data"), top.table("model")
    shape = read_shape(model)
    hop_length = data.integer("hop_length", 1, MAX_HOP_LENGTH)
    hop = math.prod(shape.upsample_rates)
    if hop != hop_length:
        data.fail("hop_length", f"the product of model.upsample_rates, {hop}")
    cleaner, *others = data.strings("text_cleaners")
    if others or cleaner not in text.CLEANERS:
        data.fail("text_cleaners", f"a list of one of {', '.join(text.CLEANERS)}")
    speakers = _read_speakers(top)
    languages, speaker_languages = _read_languages(top, cleaner, speakers)
    symbols = _read_symbols(top, cleaner)
    return Config(
        path=path,
        shape=shape,
        symbols=symbols,
        front_end=CleanerFrontEnd(cleaner, symbols, data.boolean("add_blank")),
        languages=languages,
        speaker_languages=speaker_languages,
        sample_rate_hz=data.integer("sampling_rate", LEAST_RATE_HZ, MAX_RATE_HZ),
        hop_length=hop_length,
        n_speakers=data.integer("n_speakers", 0, MAX_SPEAKERS, default=0),
        speakers=speakers,
        license=top.take("license", str, "", "the name of a licence"),
        source=top.take("source", str, "", "where the voice comes from"),
        warnings=_doubts(top, symbols, cleaner, languages),
    )


def read_shape(model: Table) -> Shape:
    """Return the sizes of a network, checked; a table without a usable one raises what it is made to raise."""
    shape = Shape(
        inter_channels=model.integer("inter_channels", 1, MAX_CHANNELS),
        hidden_channels=model.integer("hidden_channels", 1, MAX_CHANNELS),
        filter_channels=model.integer("filter_channels", 1, MAX_CHANNELS),
        n_heads=model.integer("n_heads", 1, MAX_HEADS),
        n_layers=model.integer("n_layers", 1, MAX_LAYERS),
        kernel_size=model.integer("kernel_size", 1, MAX_KERNEL_SIZE),
        resblock=str(model.get("resblock")),
        resblock_kernel_sizes=model.integers("resblock_kernel_sizes", MAX_KERNEL_SIZE, MAX_BLOCKS),
        resblock_dilation_sizes=model.lists("resblock_dilation_sizes", MAX_DILATION, MAX_BLOCKS),
        upsample_rates=model.integers("upsample_rates", MAX_RATE, MAX_BLOCKS),
        upsample_initial_channel=model.integer("upsample_initial_channel", 1, MAX_CHANNELS),
        upsample_kernel_sizes=model.integers("upsample_kernel_sizes", 4 * MAX_RATE, MAX_BLOCKS),
        gin_channels=model.integer("gin_channels", 0, MAX_CHANNELS, default=0),
        use_sdp=model.boolean("use_sdp", default=True),
    )
    if shape.resblock not in ("1", "2"):
        model.fail("resblock", '"1" or "2"')
    if shape.inter_channels % 2:
        model.fail("inter_channels", "an even number")
    if shape.hidden_channels % shape.n_heads:
        model.fail("hidden_channels", f"a multiple of model.n_heads, {shape.n_heads}")
    if any(size % 2 == 0 for size in shape.resblock_kernel_sizes):
        model.fail("resblock_kernel_sizes", "odd numbers")
    if len(shape.resblock_dilation_sizes) != len(shape.resblock_kernel_sizes):
        model.fail("resblock_dilation_sizes", "as many lists as model.resblock_kernel_sizes has numbers")
    # Only so does PyTorch's transposed convolution make exactly `rate` samples of one.
    pairs = list(zip(shape.upsample_kernel_sizes, shape.upsample_rates, strict=False))
    if len(shape.upsample_kernel_sizes) != len(shape.upsample_rates) or any(k < u or (k - u) % 2 for k, u in pairs):
        model.fail("upsample_kernel_sizes", "each of model.upsample_rates plus 0 or an even number")
    if shape.upsample_initial_channel % 2 ** len(shape.upsample_rates):
        model.fail("upsample_initial_channel", f"a multiple of {2 ** len(shape.upsample_rates)}")
    return shape


def _read_symbols(top: Table, cleaner: str) -> tuple[str, ...]:
    """Return the config's symbol table; the original VITS leaves it to the cleaner."""
    symbols = tuple(SYMBOLS[cleaner]) if top.get("symbols") is None else top.strings("symbols")
    return symbols if len(symbols) <= MAX_SYMBOLS else top.fail("symbols", f"at most {MAX_SYMBOLS} of them")


def _doubts(top: Table, symbols: tuple[str, ...], cleaner: str, languages: tuple[str, ...]) -> tuple[str, ...]:
    """Return a warning where the table lacks some of a front end's letters; where it lacks most, refuse the config."""
    shares = known_letters(cleaner, symbols, languages)
    if shares and max(shares.values()) < LEAST_KNOWN:
        top.fail("symbols", f"letters that {cleaner} makes: most of those are not there, so it cannot be the cleaner")
    doubtful = [f"{share:.0%} of those of {language}" for language, share in shares.items() if share < USUALLY_KNOWN]
    if not doubtful:
        return ()
    return (f"{top.path}: symbols has only {', '.join(doubtful)} that {cleaner} makes: is text_cleaners right?",)


def _read_languages(
    top: Table, cleaner: str, speakers: Mapping[str, int]
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Return the languages of the whole voice, and those of single speakers where the config has a table of them."""
    if top.get("languages") is None:
        return (), {}
    by_speaker: dict[str, tuple[str, ...]] = {}
    if isinstance(top.get("languages"), dict):
        table = top.table("languages")
        for name in top.get("languages"):
            if name not in speakers:
                table.fail(name, f"none: it is no speaker; speakers are {', '.join(speakers)}")
            by_speaker[name] = _known_languages(table, name, cleaner)
        return tuple(dict.fromkeys(language for row in by_speaker.values() for language in row)), by_speaker
    return _known_languages(top, "languages", cleaner), {}


def _known_languages(table: Table, key: str, cleaner: str) -> tuple[str, ...]:
    languages, known = table.strings(key), text.languages(cleaner)
    if not {*languages} <= {*known}:
        table.fail(key, f"some of those that {cleaner} speaks: {', '.join(known)}")
    return languages


def _read_speakers(top: Table) -> dict[str, int]:
    speakers = top.get("speakers")
    if speakers is None:
        return {}
    if isinstance(speakers, list):
        names = top.strings("speakers") if speakers else ()
        if len(names) > MAX_SPEAKERS:
            top.fail("speakers", f"at most {MAX_SPEAKERS} of them")
        if len({*names}) < len(names):
            top.fail("speakers", "each name once")
        return {name: number for number, name in enumerate(names)}
    if not isinstance(speakers, dict) or not all(is_whole(number, 0) for number in speakers.values()):
        top.fail("speakers", "a list of names, or a table of names and whole numbers")
    return dict(speakers)
