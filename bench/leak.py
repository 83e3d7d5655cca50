"""Which part of a model keeps memory: python -m bench.leak --model NAME [--settings models.toml] [--count 40].

Speaks that many sentences, each of a length of its own, and prints how resident memory grew within each part of the
voice and how many primitives oneDNN compiled there, after a first half that warms up: front ends load what they need,
and every shape of the fixed windows is met. Then it says what to do. It exits with 1 where memory grows.

    --whole    runs the network without windows, as the original program does: what the windows spare
    --json     prints the figures as one line of JSON instead

It sets none of the variables that run.sh exports, so that it shows what the environment that it is started in does.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bench import original
from bench.report import resident_bytes
from server import ModelSettings, read_settings
from service.environment import CACHE_CAPACITIES
from service.process import allocator
from vits import Voice, load_voice

ROOT = Path(__file__).resolve().parent.parent
PARTS = {"_encoder": "encoder", "_durations": "durations", "_flow": "flow"}
"""A voice's parts, and what they are called here."""
GROWTH_LIMIT_BYTES = 100_000
"""An utterance's share of the growth above which a part counts as leaking; allocators' own ups and downs stay below."""
WORDS = {
    "en": "the quick brown fox jumps over a lazy dog while seven small children watch from an old wooden bridge",
    "zh": "今天 天气 很 好 我们 一起 去 公园 散步 看见 许多 漂亮 的 花 和 高大 的 树",
    "ja": "きょう は とても いい てんき な ので みんな で こうえん へ いって はな を みました",
    "ko": "오늘 은 날씨 가 아주 좋아서 우리 는 함께 공원 에 가서 꽃 을 보았습니다",
    "sa": "अहं गृहं गच्छामि सः वनं गच्छति ते फलानि खादन्ति",
}


def resident() -> int:
    """The memory of this process in bytes; the measurement needs /proc."""
    found = resident_bytes()
    assert found is not None
    return found


@dataclass(slots=True)
class Growth:
    """What one part has kept, in one half of the run."""

    grown_bytes: int = 0
    """Resident memory after the part less that before it, over all calls."""
    primitives: int = 0
    """Primitives that oneDNN compiled and did not find in its cache."""


class Probe:
    """Memory and compilations, booked on the part under which they came about."""

    def __init__(self, verbose: Path) -> None:
        """`verbose` is where oneDNN's messages go."""
        self._verbose = verbose.open("rb")
        self.parts: dict[str, Growth] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Book what happens inside on `name`."""
        self._compiled()
        before = resident()
        try:
            yield
        finally:
            growth = self.parts.setdefault(name, Growth())
            growth.grown_bytes += resident() - before
            growth.primitives += self._compiled()

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, booked on `name`."""

        def measured(*arguments: Any) -> Any:
            with self.part(name):
                return call(*arguments)

        return measured

    def _compiled(self) -> int:
        """How many primitives were compiled since this was asked last."""
        return sum(b"create:cache_miss" in line for line in self._verbose.read().splitlines())


def load(settings: ModelSettings, precision: str, *, whole: bool) -> Voice:
    """Return the voice; for `whole` one that meets new shapes with every length."""
    kind = original.load_voice if whole else load_voice
    return kind(settings.checkpoint, settings.config, precision)


class Watched:
    """A part of a voice whose calls are booked; in all else it is that part."""

    def __init__(self, part: Any, probe: Probe, name: str) -> None:
        self._part, self._probe, self._name = part, probe, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)

    def __call__(self, *arguments: Any) -> Any:
        """Call the part, and book what that takes."""
        with self._probe.part(self._name):
            return self._part(*arguments)

    def spoken_by(self, g: Any) -> Watched:
        """Return the flow for a speaker, watched too."""
        return Watched(self._part.spoken_by(g), self._probe, self._name)


def watch(voice: Voice, probe: Probe) -> None:
    """Book the work of the voice's parts on them."""
    for name, part in PARTS.items():
        setattr(voice, name, Watched(getattr(voice, name), probe, part))
    decode = probe.around("decoder", voice._decoder.__call__)
    voice._decoded = lambda z, window, bias: decode(z, window, bias).numpy()  # type: ignore[method-assign]


def texts(language: str, count: int) -> list[str]:
    """Return sentences of 2 words and more, each longer than the last: the even ones first, then those in between."""
    words = WORDS[language].split()
    joint = "" if language in ("zh", "ja") else " "
    sentences = [joint.join((words * (n // len(words) + 1))[:n]) + "." for n in range(2, count + 2)]
    return sentences[::2] + sentences[1::2]


@contextmanager
def messages_of_onednn(path: Path) -> Iterator[None]:
    """What oneDNN compiles and runs is written to `path`: it knows no other place than standard output."""
    sys.stdout.flush()
    kept = os.dup(1)
    with path.open("wb") as file:
        os.dup2(file.fileno(), 1)
    try:
        with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON_CREATION):  # type: ignore[no-untyped-call]
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def speak(voice: Voice, probe: Probe, sentences: list[str], language: str) -> dict[str, Growth]:
    """Speak them all, and return what each part kept, and what was kept elsewhere."""
    probe.parts = {name: Growth() for name in ("text", *PARTS.values(), "decoder")}
    prepare = probe.around("text", voice.prepare)
    before = resident()
    for text in sentences:
        for sentence in prepare(text, language).sentences:
            for _ in voice.stream(sentence.ids):
                pass
    everywhere = resident() - before
    return probe.parts | {"elsewhere": Growth(everywhere - sum(growth.grown_bytes for growth in probe.parts.values()))}


def advice(grown: dict[str, Growth], count: int, allocator: str, capacities: dict[str, str | None]) -> list[str]:
    """Return what to do about parts that grew in `count` utterances after the warm-up; nothing where none did."""
    limit = GROWTH_LIMIT_BYTES * count
    compiling = [name for name, growth in grown.items() if growth.primitives > count]
    # The allocator returns one part's free pages while another runs: a part has kept something only if all have.
    keeps = sum(growth.grown_bytes for growth in grown.values()) > limit
    growing = [name for name, growth in grown.items() if keeps and growth.grown_bytes > limit]
    lines = []
    if compiling:
        lines.append(
            f"{listed(compiling)}: oneDNN compiles anew at every length, and keeps what it compiled. Run the network "
            "in fixed windows, as vits/ does without --whole; if it has them, they fail for this model's shape."
        )
        missing = [name for name, capacity in capacities.items() if capacity is None]
        if missing:
            lines.append(f"Not set, so what is kept is hardly bounded: {listed(missing)}. run.sh sets both.")
    if "text" in growing:
        lines.append(
            "text: the front end keeps something of every text. Try the sentences of one language after another."
        )
    others = [name for name in growing if name not in ("text", *compiling)]
    if others and allocator == "glibc":
        lines.append(
            f"{listed(others)}: nothing was compiled, so it is glibc's arenas that keep freed memory. "
            "Start with jemalloc, as run.sh does: apt install libjemalloc2."
        )
    elif others:
        lines.append(f"{listed(others)}: nothing was compiled, so something keeps tensors; look for lists that grow.")
    return lines


def listed(names: list[str]) -> str:
    """The names in a row."""
    return ", ".join(names)


def print_table(warm_up: dict[str, Growth], after: dict[str, Growth], count: int) -> None:
    """Print a row for each part."""
    print("| part | warm-up, MB | after it, MB | an utterance, KB | compiled in warm-up | compiled after it |")
    print("|---|---|---|---|---|---|")
    for name, first in warm_up.items():
        second = after[name]
        megabytes = f"{first.grown_bytes / 1e6:.1f} | {second.grown_bytes / 1e6:.1f}"
        each = f"{second.grown_bytes / count / 1e3:.1f}"
        print(f"| {name} | {megabytes} | {each} | {first.primitives} | {second.primitives} |")


def parse_arguments() -> argparse.Namespace:
    """What the command line asks for."""
    description, _, details = (__doc__ or "").partition("\n\n")
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m bench.leak", None, description, details, formatter_class=formatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--settings", type=Path, default=ROOT / "models.toml")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Measure one model, and print the table and the advice."""
    arguments = parse_arguments()
    settings = read_settings(arguments.settings)
    models = {model.name: model for model in settings.models}
    if arguments.model not in models:
        raise SystemExit(f"{arguments.settings} has no model {arguments.model!r}; it has {listed(list(models))}")
    torch.set_num_threads(settings.threads)
    voice = load(models[arguments.model], settings.precision, whole=arguments.whole)
    language = next(name for name in (*voice.languages, "en") if name in WORDS)
    sentences = texts(language, arguments.count)
    half = len(sentences) // 2
    with tempfile.TemporaryDirectory() as folder, messages_of_onednn(Path(folder) / "onednn.log"):
        probe = Probe(Path(folder) / "onednn.log")
        watch(voice, probe)
        warm_up = speak(voice, probe, sentences[:-half], language)
        after = speak(voice, probe, sentences[-half:], language)
    capacities = {name: os.environ.get(name) for name in CACHE_CAPACITIES}
    lines = advice(after, half, allocator(), capacities)
    if arguments.json:
        figures = {name: {"warm_up": asdict(warm_up[name]), "after": asdict(after[name])} for name in after}
        print(json.dumps({"parts": figures, "advice": lines}))
    else:
        print(f"{arguments.model}: {len(sentences)} utterances in {language}, allocator {allocator()}, {capacities}")
        print_table(warm_up, after, half)
        print("\n".join(lines) or "Memory is flat: nothing to do.")
    raise SystemExit(1 if lines else 0)


if __name__ == "__main__":
    main()
