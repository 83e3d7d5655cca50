"""Many clients at once, first sound, and busy neighbours: python -m bench.load [clients | first-sound | ...].

clients: 1 to 32 of them, each asking again as soon as it has been answered (or, refused with a 503, after the seconds
that Retry-After says), for a minute each: audio seconds per second, first sound, refusals. first-sound: the seconds
until the first samples of a stream come over HTTP, one client, utterances of 2 to 10 s; float32 and, where the CPU
has it, bfloat16. beside-streams: the same alone and while other clients stream long texts; and how long a player of
those would have had to pause. quota: one thread and two in a control group with the CPU time of one core (--cores), in
turns; that takes root and control groups of version 1. neighbour: latency beside a niced process that keeps one core
busy, and without it, for both OMP_WAIT_POLICY. Finished recordings are not kept, so that every answer is computed.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.full_size import sentence, write_settings
from bench.report import arguments, install_extras, progress, say, spread, table, write
from bench.serving import Server, control_group, serve

if TYPE_CHECKING:
    import httpx2

KINDS = ("clients", "first-sound", "beside-streams", "quota", "neighbour")
PRECISIONS = ("float32", "bfloat16")
CLIENTS = (1, 2, 4, 8, 16, 32)
CHARACTERS = (20, 120)
SOUND_S = (2.0, 10.0)
LONG_SENTENCES = 5
"""In a text of those that stream beside: about half a minute."""
PAUSE_S = 0.5
"""The longest pause between two requests beside streams, so that they come at any time of a window."""
SETTLING_S = 2.0
"""How long the streams have begun before they are measured beside."""
PATIENCE_S = 600.0
PERIOD_US = 100_000
"""How long the span is within which a group's CPU time is counted: what containers have by default."""
BUSY_LOOP = "import os, sys; os.nice(19); os.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"
Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """One answered request."""

    status: int
    first_s: float
    """Until the first samples."""
    took_s: float
    """Until the last."""
    sound_s: float
    gap_s: float = 0.0
    """The longest time between two pieces of it."""
    dry_s: float = 0.0
    """How long a player that begins with the first piece has to pause in all."""


async def ask(client: httpx2.AsyncClient, parameters: Parameters, sample_rate_hz: int) -> Answer:
    """Return what became of a request for a stream of bare samples, 16-bit."""
    import httpx2

    started, first_s, size = time.perf_counter(), 0.0, 0
    gap_s = dry_s = came_s = 0.0
    query = {**parameters, "stream": "true", "format": "pcm"}
    try:
        async with client.stream("GET", "/speak", params=query) as response:
            async for chunk in response.aiter_raw():
                now_s = time.perf_counter() - started
                first_s = first_s or now_s
                gap_s = max(gap_s, now_s - (came_s or now_s))
                dry_s = max(dry_s, now_s - first_s - size / 2 / sample_rate_hz)
                size, came_s = size + len(chunk), now_s
    except httpx2.TransportError as error:
        raise SystemExit(f"The server went away: {error!r}") from None
    took_s = time.perf_counter() - started
    if response.status_code == 503:
        await asyncio.sleep(float(response.headers["retry-after"]))
    elif response.status_code != 200:
        raise SystemExit(f"{response.url} was answered with {response.status_code}")
    sound_s = size / 2 / sample_rate_hz if response.status_code == 200 else 0.0
    return Answer(response.status_code, first_s, took_s, sound_s, gap_s, dry_s)


async def ask_for(
    server: Server,
    clients: int,
    seconds: float,
    requests: Callable[[], Parameters],
    sample_rate_hz: int,
    least: int = 1,
) -> tuple[list[Answer], float]:
    """Return the answers that so many clients got who asked for so long, and the seconds until the last was there.

    They go on until there are at least so many answers.
    """
    import httpx2

    answers: list[Answer] = []
    started = time.perf_counter()

    async def keep_asking(client: httpx2.AsyncClient) -> None:
        while len(answers) < least or time.perf_counter() - started < seconds:
            answers.append(await ask(client, requests(), sample_rate_hz))
            progress(f"{clients} clients: {len(answers)} answers in {time.perf_counter() - started:.0f} s")

    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE_S, limits=limits) as client:
        await asyncio.gather(*(keep_asking(client) for _ in range(clients)))
    return answers, time.perf_counter() - started


def english(seed: int, least: int = CHARACTERS[0], most: int = CHARACTERS[1]) -> Callable[[], Parameters]:
    """Return a source of requests, each for another sentence, the same ones in the same order for equal seeds."""
    source = random.Random(seed)
    return lambda: {
        "text": sentence(source.randint(least, most), source),
        "lang": "en",
        "seed": source.randrange(2**32),
    }


def sample_rate_hz(server: Server) -> int:
    """Return the rate of the server's first voice."""
    import httpx2

    rate: int = httpx2.get(server.url + "/speakers").json()["speakers"][0]["sample_rate_hz"]
    return rate


def summary(answers: Sequence[Answer], elapsed_s: float) -> dict[str, Any]:
    """Return figures of many answers."""
    spoken = [answer for answer in answers if answer.status == 200]
    sound_s = sum(answer.sound_s for answer in spoken)
    return {
        "answered": len(spoken),
        "refused": len(answers) - len(spoken),
        "audio_per_s": sound_s / elapsed_s,
        "rtf": elapsed_s / sound_s,
        "first_s": spread((answer.first_s for answer in spoken), 0.5),
        "first_95_s": spread((answer.first_s for answer in spoken), 0.95),
        "took_s": spread((answer.took_s for answer in spoken), 0.5),
        "took_95_s": spread((answer.took_s for answer in spoken), 0.95),
        "took_most_s": spread((answer.took_s for answer in spoken), 1.0),
        "own_dry_s": spread((answer.dry_s for answer in spoken), 0.95),
    }


def measure_clients(settings: Path, counts: Sequence[int], seconds: float, out: Path) -> None:
    """Print and draw what so many clients get."""
    results = {}
    with serve(settings) as server:
        rate = sample_rate_hz(server)
        for count in counts:
            answers, elapsed_s = asyncio.run(ask_for(server, count, seconds, english(count), rate))
            results[count] = summary(answers, elapsed_s) | {"rss_mb": server.resident_mb}
    keys = ("answered", "refused", "audio_per_s", "rtf", "first_s", "first_95_s", "took_s", "took_95_s", "rss_mb")
    columns = ("answered", "503", "audio s / s", "RTF", "first sound, s", "95 %", "whole, s", "95 %", "RSS, MB")
    print(table(("clients", *columns), [(count, *(row[key] for key in keys)) for count, row in results.items()]))
    write("load", results, out)
    draw(results, out / "load.png")


def draw(results: Mapping[int, Mapping[str, Any]], path: Path) -> None:
    """Draw throughput and first sound over clients."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    counts = list(results)
    panels[0].plot(counts, [row["audio_per_s"] for row in results.values()], "o-")
    panels[0].set(title="Throughput", ylabel="seconds of audio per second")
    panels[1].plot(counts, [row["first_s"] for row in results.values()], "o-", label="median")
    panels[1].plot(counts, [row["first_95_s"] for row in results.values()], "o--", label="95 %")
    panels[1].set(title="First sound of those who were let in", ylabel="seconds")
    panels[1].legend()
    for axes in panels:
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, map(str, counts))
        axes.set(xlabel="clients", ylim=(0, None))
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    say(f"Written: {path}")


def measure_first_sound(settings: Mapping[str, Path], count: int, out: Path) -> None:
    """Print how long the first sound of an utterance takes, for each precision."""
    results: dict[str, Any] = {}
    for precision, path in settings.items():
        with serve(path) as server:
            answers = asyncio.run(utterances_within(server, count))
        results[precision] = summary(answers, sum(answer.took_s for answer in answers))
        results[precision]["answers"] = [asdict(answer) for answer in answers]
    keys = ("answered", "first_s", "first_95_s", "took_s", "rtf")
    columns = ("precision", "utterances", "first sound, s", "95 %", "whole, s", "RTF")
    print(table(columns, [(precision, *(row[key] for key in keys)) for precision, row in results.items()]))
    write("first_sound", results, out)


def measure_beside_streams(settings: Mapping[str, Path], count: int, streams: int, out: Path) -> None:
    """Print how long the first sound of an utterance takes alone and beside streams of long texts."""
    results: dict[str, Any] = {}
    for precision, path in settings.items():
        with serve(path) as server:
            alone = asyncio.run(utterances_within(server, count, PAUSE_S))
            beside, others = asyncio.run(beside_streams(server, count, streams))
        for name, answers in (("alone", alone), (f"beside {streams} streams", beside)):
            results[f"{precision}, {name}"] = summary(answers, sum(answer.took_s for answer in answers))
        row = results[f"{precision}, beside {streams} streams"]
        row["ratio"] = row["first_s"] / results[f"{precision}, alone"]["first_s"]
        row["gap_s"] = spread((answer.gap_s for answer in others), 1.0)
        row["dry_s"] = spread((answer.dry_s for answer in others), 1.0)
    keys = ("answered", "first_s", "first_95_s", "took_s", "own_dry_s", "ratio", "gap_s", "dry_s")
    columns = ("", "utterances", "first sound, s", "95 %", "whole, s", "its pauses, s, 95 %", "x alone")
    others_columns = ("longest gap of a stream, s", "its pauses, s")
    print(table((*columns, *others_columns), [(name, *map(row.get, keys)) for name, row in results.items()]))
    write("beside_streams", results, out)


async def beside_streams(server: Server, count: int, streams: int) -> tuple[list[Answer], list[Answer]]:
    """Return one client's answers, and those of others that stream long texts meanwhile."""
    import httpx2

    rate, others = sample_rate_hz(server), list[Answer]()
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE_S, limits=limits) as client:

        async def keep_streaming(requests: Callable[[], Parameters]) -> None:
            while not finished.is_set():
                text = " ".join(str(requests()["text"]) for _ in range(LONG_SENTENCES))
                others.append(await ask(client, {**requests(), "text": text}, rate))

        finished = asyncio.Event()
        streaming = [asyncio.create_task(keep_streaming(english(number, 60, 140))) for number in range(1, streams + 1)]
        await asyncio.sleep(SETTLING_S)
        answers = await utterances_within(server, count, PAUSE_S)
        finished.set()
        await asyncio.gather(*streaming)
    return answers, others


async def utterances_within(server: Server, count: int, pause_s: float = 0.0) -> list[Answer]:
    """Return the answers to one client's requests whose sound was within SOUND_S, with pauses up to that between."""
    import httpx2

    requests, rate, kept = english(0, 30, 140), sample_rate_hz(server), list[Answer]()
    pauses = random.Random(0)
    async with httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE_S) as client:
        while len(kept) < count:
            await asyncio.sleep(pauses.uniform(0.0, pause_s))
            answer = await ask(client, requests(), rate)
            if SOUND_S[0] <= answer.sound_s <= SOUND_S[1]:
                kept.append(answer)
            progress(f"Utterance {len(kept)} of {count}")
    return kept


def measure_quota(folder: Path, voice: Path | None, cores: float, precision: str, count: int, out: Path) -> None:
    """Print what one thread and two give in a control group with so many cores' CPU time."""
    results: dict[str, Any] = {}
    write_settings(folder, 1, voice=voice)
    for turn, threads in itertools.product(("first", "second"), (1, 2)):
        own = folder / f"{threads}"
        own.mkdir(exist_ok=True)
        settings = write_settings(own, threads, precision=precision, voice=voice or folder / "full0", cache_mb=0)
        with cpu_group(cores) as group, serve(settings, group=group) as server:
            answers = asyncio.run(utterances_within(server, count))
            row = summary(answers, sum(answer.took_s for answer in answers))
        row["gap_s"] = spread((answer.gap_s for answer in answers), 1.0)
        results[f"{threads} threads, {turn} turn"] = row
    keys = ("answered", "first_s", "first_95_s", "took_s", "rtf", "gap_s")
    columns = (f"time of {cores:g} cores", "utterances", "first sound, s", "95 %", "whole, s", "RTF", "longest gap, s")
    print(table(columns, [(name, *(row[key] for key in keys)) for name, row in results.items()]))
    write("quota", results, out)


def cpu_group(cores: float) -> AbstractContextManager[Path]:
    """Make a control group with so many cores' CPU time, which goes when it is empty."""
    return control_group("cpu", {"cpu.cfs_period_us": PERIOD_US, "cpu.cfs_quota_us": round(PERIOD_US * cores)})


def measure_neighbour(settings: Path, seconds: float, out: Path) -> None:
    """Print latency with and without a busy neighbour."""
    results = {}
    for policy in ("", "active", "passive"):
        with serve(settings, {"OMP_WAIT_POLICY": policy} if policy else {}) as server:
            rate = sample_rate_hz(server)
            for beside, neighbour in (("nothing", nullcontext()), ("a busy loop, nice 19", busy_loop())):
                with neighbour:
                    answers, elapsed_s = asyncio.run(ask_for(server, 1, seconds, english(0), rate))
                results[f"{policy or 'default'}, {beside}"] = summary(answers, elapsed_s)
    keys = ("answered", "first_s", "first_95_s", "took_s", "took_95_s", "took_most_s", "rtf")
    columns = ("OMP_WAIT_POLICY, beside", "answers", "first sound, s", "95 %", "whole, s", "95 %", "most", "RTF")
    print(table(columns, [(name, *(row[key] for key in keys)) for name, row in results.items()]))
    write("neighbour", results, out)


@contextmanager
def busy_loop() -> Iterator[None]:
    """Keep one core busy, at the lowest priority, until the block ends."""
    core = max(os.sched_getaffinity(0))
    process = subprocess.Popen([sys.executable, "-c", BUSY_LOOP, str(core)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Print the table of one of them."""
    parser = arguments(__doc__)
    parser.add_argument("what", nargs="?", choices=KINDS, default=KINDS[0])
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--seconds", type=float, default=60, help="for each number of clients, or each neighbour")
    parser.add_argument("--utterances", type=int, default=40, help="of all that do not last a time")
    parser.add_argument("--streams", type=int, default=3, help="of beside-streams")
    parser.add_argument("--cores", type=float, default=1.0, help="of quota")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, help="default: all that pay")
    options = parser.parse_args()
    install_extras()
    from vits.voice import has_bfloat16

    with tempfile.TemporaryDirectory() as folder:
        precisions = options.precision or (PRECISIONS if has_bfloat16() else PRECISIONS[:1])
        settings = {
            precision: write_settings(
                Path(folder), options.threads, precision=precision, voice=options.voice, cache_mb=0
            )
            for precision in precisions
        }
        if options.what == "clients":
            measure_clients(settings[precisions[0]], options.clients, options.seconds, options.out)
        elif options.what == "first-sound":
            measure_first_sound(settings, options.utterances, options.out)
        elif options.what == "beside-streams":
            measure_beside_streams(settings, options.utterances, options.streams, options.out)
        elif options.what == "quota":
            measure_quota(Path(folder), options.voice, options.cores, precisions[-1], options.utterances, options.out)
        else:
            measure_neighbour(settings[precisions[0]], options.seconds, options.out)


if __name__ == "__main__":
    main()
