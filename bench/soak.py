"""Memory over many requests: python -m bench.soak [--requests 1000] [--cases ours original ...] [--precision ...].

Each case is a real server of its own with one full-size model, asked over HTTP for sentences of 10 to 80 characters,
one after the other, the same ones in every case; the original with its cure is slow, and asked for 300 of them at
most. Its resident memory is read after every request and drawn. The growth is that of the median of the last ten
requests over that of the ten up to the 100th (or the first tenth, where there are fewer); where there are more than
1000, also of those up to the 1000th. Finished recordings are not kept here, since memory that is there to be filled is
no leak: --cache-mb.

For 5000 sentences of 1 to 45 words: --requests 5000 --cases ours --precision float32 bfloat16 --characters 4 230.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.full_size import sentences, write_settings
from bench.load import PRECISIONS
from bench.report import arguments, install_extras, progress, say, spread, table, write
from bench.serving import jemalloc, serve

ORIGINAL = "bench.original:create_app_from_environment"
CHARACTERS = (10, 80)
EARLY, LATE = 100, 1000
NEIGHBOURS = 10
ARENAS = "narenas:2,background_thread:true"


@dataclass(frozen=True)
class Case:
    """A way of running the server."""

    title: str
    factory: str | None = None
    """The application, where it is not run.sh's."""
    variables: Mapping[str, str] = field(default_factory=dict)
    preload: bool = False
    """Whether jemalloc comes first; run.sh sees to that by itself."""
    requests: int | None = None
    """How many it is asked at most."""

    def environment(self) -> dict[str, str]:
        """Return its variables."""
        return dict(self.variables) | ({"LD_PRELOAD": jemalloc()} if self.preload else {})


CASES = {
    # The defaults of oneDNN and ideep.
    "original": Case(
        "original, no cure",
        ORIGINAL,
        {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "1024", "LRU_CACHE_CAPACITY": "1024", "LD_PRELOAD": ""},
    ),
    "cured": Case(
        "original, cured",
        ORIGINAL,
        {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "0", "LRU_CACHE_CAPACITY": "1"},
        preload=True,
        requests=300,
    ),
    "ours": Case("ours, jemalloc"),
    "ours-glibc": Case("ours, glibc", variables={"LD_PRELOAD": ""}),
}
ALLOCATORS = {
    "jemalloc-plain": Case("ours, jemalloc as it comes", variables={"MALLOC_CONF": ""}),
    **{
        f"jemalloc-{decay_s}s": Case(
            f"ours, jemalloc, 2 arenas, decay {decay_s} s",
            variables={"MALLOC_CONF": f"{ARENAS},dirty_decay_ms:{decay_s}000,muzzy_decay_ms:{decay_s}000"},
        )
        for decay_s in (1, 5, 30)
    },
}
"""Not asked for unless named."""


def soak(case: Case, settings: Path, texts: list[str], limit_mb: float) -> dict[str, Any]:
    """Return memory when ready and after each request, and the RTF of each; too much memory ends it."""
    with serve(settings, case.environment(), case.factory) as server:
        allocator = server.health()["allocator"]
        memory, factors = [server.resident_mb], []
        for number, text in enumerate(texts, 1):
            took_s, sound_s = server.speak(text=text, lang="en", seed=number)
            factors.append(took_s / sound_s)
            memory.append(server.resident_mb)
            progress(f"{case.title}: request {number} of {len(texts)}, {memory[-1]:.0f} MB")
            if memory[-1] > limit_mb:
                say(f"{case.title}: stopped after {number} requests, past {limit_mb:.0f} MB")
                break
        return {
            "allocator": allocator,
            "memory_mb": memory,
            "rtf": factors,
            "peak_mb": server.peak_mb,
            "stopped": memory[-1] > limit_mb,
        }


def summary(result: Mapping[str, Any], requests: int | None = None) -> dict[str, float]:
    """Return what stands in the table of one case, after all requests or so many."""
    memory = result["memory_mb"][: None if requests is None else requests + 1]
    last = len(memory) - 1
    early = EARLY if last >= 2 * EARLY else max(1, last // 10)
    early_mb, late_mb = (spread(memory[max(1, n - NEIGHBOURS + 1) : n + 1], 0.5) for n in (early, last))
    return {
        "ready_mb": memory[0],
        "early": early,
        "early_mb": early_mb,
        "last": last,
        "last_mb": late_mb,
        "growth_percent": 100 * (late_mb / early_mb - 1),
        "peak_mb": result["peak_mb"],
        "rtf": spread(result["rtf"], 0.5),
    }


def draw(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw memory over requests."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for result in results.values():
        memory = result["memory_mb"]
        (line,) = axes.plot(memory, label=result["title"], linewidth=1.2)
        if result["stopped"]:
            axes.plot(len(memory) - 1, memory[-1], "x", color=line.get_color())
    axes.set(xlabel="requests for sentences of many lengths", xlim=(0, None))
    axes.set(ylabel="resident memory, MB", ylim=(0, None))
    axes.set_title("One full-size VITS" + "; × is where it was stopped" * any(r["stopped"] for r in results.values()))
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    figure.savefig(path, dpi=120)
    say(f"Written: {path}")


def main() -> None:
    """Print a row for every case."""
    parser = arguments(__doc__)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--cases", nargs="+", choices=[*CASES, *ALLOCATORS], default=list(CASES))
    parser.add_argument("--limit-mb", type=float, default=4000, help="a case that passes this is stopped")
    parser.add_argument(
        "--cache-mb", type=int, default=0, help="memory for finished recordings, which grows until full"
    )
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=PRECISIONS[:1])
    parser.add_argument("--characters", nargs=2, type=int, default=CHARACTERS, help="the shortest and the longest text")
    options = parser.parse_args()
    install_extras()
    texts, results = sentences(options.requests, *options.characters), {}
    with tempfile.TemporaryDirectory() as folder:
        for precision, name in itertools.product(options.precision, options.cases):
            settings = write_settings(
                Path(folder), options.threads, precision=precision, voice=options.voice, cache_mb=options.cache_mb
            )
            case = (CASES | ALLOCATORS)[name]
            title = case.title if len(options.precision) == 1 else f"{case.title}, {precision}"
            key = name if len(options.precision) == 1 else f"{name}, {precision}"
            results[key] = {"title": title} | soak(case, settings, texts[: case.requests], options.limit_mb)
            results[key]["summary"] = summary(results[key])
            write("soak", results, options.out)
    columns = ("", "ready, MB", "early: after", "MB", "late: after", "MB", "growth, %", "peak, MB", "RTF, median")
    print(table(columns, [(result["title"], *row.values()) for result in results.values() for row in rows(result)]))
    draw(results, options.out / "soak.png")


def rows(result: Mapping[str, Any]) -> list[dict[str, float]]:
    """Return the summaries of one case: at the end, and before that after LATE requests."""
    return [*([summary(result, LATE)] if result["summary"]["last"] > LATE else []), result["summary"]]


if __name__ == "__main__":
    main()
