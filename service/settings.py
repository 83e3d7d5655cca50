"""models.toml as plain data, checked as it is read."""

import logging
import math
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

from service import process
from service.middleware import ORIGINS
from vits.limits import LANGUAGES, PRECISIONS, RANGES, language_of
from vits.tables import TOP_LEVEL, Table

log = logging.getLogger("uvicorn.error")


LOAD = 'true, false or "on demand"'


class SettingsError(Exception):
    """Invalid settings: one line that names the file, the table, the key, the value and what was expected."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One [[models]] table."""

    name: str
    """What requests call it."""
    checkpoint: Path
    """The weights, as training or an export wrote them, or the folder of a model."""
    config: Path | None = None
    """The JSON file that belongs to the checkpoint; None: the one beside it."""
    load: bool | Literal["on demand"] = True
    """Whether it is loaded at start, at the first request that needs it, or stays configured but cannot speak."""
    speaker: str | None = None
    """Who speaks where a request names the model alone; None: the first of the config."""
    lang: str = "auto"
    """The language of a request that names none."""
    normalize: bool = True
    """Whether numbers, units and signs are put into words that the model's own front end would drop or misread."""
    noise_scale: float | None = None
    """How much the voice varies if a request does not say it; None: vits.limits.DEFAULTS, as for the next two."""
    noise_scale_w: float | None = None
    """How much the rhythm varies if a request does not say it."""
    length_scale: float | None = None
    """Duration relative to the model's own if a request does not say it."""
    replace: Mapping[str, object] = field(default_factory=dict)
    """Its [models.replace] table: written forms and how this model speaks them, before those of the server."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All of models.toml: its [server] table and its models."""

    path: Path
    """The file itself, for messages."""
    models: tuple[ModelSettings, ...]
    """In the file's order; the first loaded one speaks where a request names no speaker."""
    threads: int
    """Threads of one inference."""
    precision: str = "auto"
    """What decoders compute in: float32, bfloat16, or auto (bfloat16 where the CPU has it and it sounds the same)."""
    max_text_chars: int = 4096
    """The longest text of a request, in characters."""
    max_waiting: int = 8
    """The most recordings under way at once, the one that computes included."""
    max_audio_s: int = 1200
    """The longest recording, in seconds of audio: what bounds the memory of one request."""
    cache_mb: int = 64
    """How much memory finished recordings may take, in megabytes (10^6 bytes); 0 keeps none."""
    memory_mb: int = 0
    """How much memory the weights of all models may take together, in megabytes (10^6 bytes); 0: no limit."""
    idle_unload_s: int = 0
    """After how long without a request a model on demand is let go, in seconds; 0: never."""
    watch: bool = False
    """Whether changes of this file and of the models' files are taken over by themselves."""
    cors_origins: tuple[str, ...] = ()
    """The origins whose pages may read answers by script; "*" is every one."""
    discover: Path | None = None
    """A folder whose models are loaded besides those listed, each named after its folder or file."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """The [aliases] table: further names of speakers, for clients of other protocols."""
    replace: Mapping[str, object] = field(default_factory=dict)
    """The [replace] table: written forms and how every model speaks them."""


def read_settings(path: Path) -> Settings:
    """What models.toml says; a SettingsError where something in it is invalid."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: expected the file that lists the models; there is none") from None
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: {error}: expected a readable TOML file") from None
    top = Table(path, TOP_LEVEL, document, SettingsError)
    server = Table(path, "[server]", top.take("server", dict, {}, "a table"), SettingsError)
    entries = top.take("models", list, [], "[[models]] tables")
    aliases = Table(path, "[aliases]", top.take("aliases", dict, {}, "a table"), SettingsError)
    replace = top.take("replace", dict, {}, "a table of written and spoken forms")
    top.end()
    discover = server.existing("discover")
    if discover is not None and not discover.is_dir():
        server.fail("discover", "the path of a folder, relative to " + path.name)
    models = tuple(read_model(path, index, entry) for index, entry in enumerate(entries, 1))
    for name, count in Counter(model.name for model in models).items():
        if count > 1:
            raise SettingsError(f"{path}: [[models]]: name = {name!r}: expected once, found {count} times")
    if discover is None and not any(model.load for model in models):
        raise SettingsError(f"{path}: [[models]]: load: expected at least one model that can speak, found none")
    default = {field.name: int(field.default) for field in fields(Settings) if isinstance(field.default, int)}
    settings = Settings(
        path=path,
        models=models,
        threads=server.integer("threads", 1, 256, default=process.default_threads()),
        precision=server.choice("precision", PRECISIONS),
        max_text_chars=server.integer("max_text_chars", 1, 100_000, default=default["max_text_chars"]),
        max_waiting=server.integer("max_waiting", 1, 10_000, default=default["max_waiting"]),
        max_audio_s=server.integer("max_audio_s", 1, 36_000, default=default["max_audio_s"]),
        cache_mb=server.integer("cache_mb", 0, 1_000_000, default=default["cache_mb"]),
        cors_origins=server.matching("cors_origins", *ORIGINS),
        memory_mb=server.integer("memory_mb", 0, 1_000_000, default=default["memory_mb"]),
        idle_unload_s=server.integer("idle_unload_s", 0, 10_000_000, default=default["idle_unload_s"]),
        watch=read_watch(server),
        discover=discover,
        replace=replace,
        aliases={name: aliases.take(name, str, None, "a speaker's name") for name in tuple(aliases.values)},
    )
    server.end()
    return settings


def read_model(path: Path, index: int, entry: object) -> ModelSettings:
    """One [[models]] table, the `index`th of the file."""
    table = Table(path, f"[[models]] number {index}", entry, SettingsError)
    expected = "a name of letters, digits, '.', '_' and '-'"
    name: str = table.take("name", str, "", expected)
    if not re.fullmatch(r"\w[\w.-]*", name):
        table.fail("name", expected)
    table.where = f"[[models]] {name}"
    model = ModelSettings(
        name=name,
        checkpoint=table.existing("checkpoint") or table.fail("checkpoint", "the path of a file or a folder"),
        config=table.existing("config"),
        load=read_load(table),
        speaker=table.take("speaker", str, None, "a speaker's name"),
        lang=read_language(table),
        normalize=read_normalize(table),
        noise_scale=table.number("noise_scale", *RANGES["noise_scale"]),
        noise_scale_w=table.number("noise_scale_w", *RANGES["noise_scale_w"]),
        length_scale=table.number("length_scale", *RANGES["length_scale"]),
        replace=table.take("replace", dict, {}, "a table of written and spoken forms"),
    )
    table.end()
    return model


def read_watch(table: Table) -> bool:
    """Whether files are watched, which needs a package of its own."""
    watch = table.boolean("watch", default=False)
    if watch and find_spec("watchfiles") is None:
        table.fail("watch", "watchfiles to be there: .venv/bin/pip install -r service/requirements-watch.txt")
    return watch


def read_load(table: Table) -> bool | Literal["on demand"]:
    """When a model is loaded."""
    value = table.get("load")
    if value is None:
        return True
    if value == "on demand":
        return "on demand"
    return value if isinstance(value, bool) else table.fail("load", LOAD)


def read_language(table: Table) -> str:
    """The language of a model's texts, one of LANGUAGES by a tag of BCP 47; a model of one language needs none."""
    expected = "one of " + ", ".join(LANGUAGES)
    lang = language_of(table.take("lang", str, "auto", expected))
    return lang if lang in LANGUAGES else table.fail("lang", expected)


def read_normalize(table: Table) -> bool:
    """Whether texts are normalized, by the key of that name or by its former name `mend`."""
    if "mend" not in table.values:
        return table.boolean("normalize", default=True)
    if "normalize" in table.values:
        table.fail("mend", "none: it is the former name of normalize, which is given too")
    log.warning("%s: %s: mend is now called normalize; please rename the key", table.path, table.where)
    return table.boolean("mend")


class Found(Protocol):
    """A model that a folder holds."""

    @property
    def name(self) -> str:
        """What it is called, after its folder or file."""

    @property
    def checkpoint(self) -> Path:
        """Its weights."""

    @property
    def config(self) -> Path | None:
        """The JSON file that belongs to them."""


Find = Callable[[Path], tuple[Sequence[Found], Sequence[str]]]
"""What lists the models of a folder, and what in it is doubtful."""


def discovered(settings: Settings, find: Find) -> tuple[ModelSettings, ...]:
    """The models in the folder of that setting that no [[models]] table lists; a name that is taken is passed over."""
    if settings.discover is None:
        return ()
    found, doubts = find(settings.discover)
    for doubt in doubts:
        log.warning("discover: passed over %s", doubt)
    listed_files = {model.checkpoint.resolve() for model in settings.models}
    names = {model.name for model in settings.models}
    # A folder may hold more models than the budget, so with one they take their turns in memory.
    load: Literal["on demand", True] = "on demand" if settings.memory_mb else True
    models = []
    for model in found:
        if model.checkpoint.resolve() in listed_files:
            continue
        if model.name in names:
            log.warning("discover: passed over %s: a [[models]] table has the name %s", model.checkpoint, model.name)
            continue
        models.append(ModelSettings(model.name, model.checkpoint, model.config, load))
    return tuple(models)


def check_budget(settings: Settings, sizes_bytes: Mapping[str, int]) -> None:
    """Raise where a model does not fit into memory_mb beside those that are always loaded."""
    limit_bytes = settings.memory_mb * 1_000_000
    always = {model.name for model in settings.models if model.load is True}
    staying_bytes = sum(size for name, size in sizes_bytes.items() if name in always)
    for name, size in sizes_bytes.items():
        beside_bytes = staying_bytes - (size if name in always else 0)
        if limit_bytes and beside_bytes + size > limit_bytes:
            raise SettingsError(
                f"{settings.path}: [server]: memory_mb = {settings.memory_mb}: expected at least "
                f"{math.ceil((beside_bytes + size) / 1e6)}: {name} takes {size / 1e6:.1f} MB beside "
                f"{beside_bytes / 1e6:.1f} MB of others that are always loaded"
            )
