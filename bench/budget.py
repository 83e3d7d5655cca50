"""More voices than memory: python -m bench.budget [round-robin | gaps | cold].

round-robin: 20 full-size models that load on demand, a budget of 700 MB, 1000 requests to all in turn, one after the
other: errors, peak memory, growth from the 100th to the last. gaps: one stream of an included small voice, and one of a
full-size model, the longest pause between two pieces of sound, without and with loads of full-size models beside it.
cold: the first sound of models that must load first, their files being in the page cache. Recordings are not kept.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.full_size import sentence, voice_files, write_model
from bench.load import PATIENCE_S, Parameters
from bench.report import ROOT, arguments, install_extras, progress, say, spread, table, write
from bench.serving import Server, serve

if TYPE_CHECKING:
    import httpx2

CHARACTERS = (10, 60)
SMALL = "slt"
"""The included voice whose windows take so little time that a pause shows."""
SENTENCES = {SMALL: 60, "full0": 6}
"""How long the streams are: each takes some seconds to make."""
EARLY = 100
SETTLED_S, LEAVES_S, POLL_S = 0.3, 0.05, 0.05


def write_settings(folder: Path, models: int, precision: str, threads: int, memory_mb: int) -> Path:
    """Return a models.toml of that many full-size models on demand beside an included voice that is always loaded."""
    tables = [model_table(SMALL, *voice_files(ROOT / "voices" / SMALL))]
    for number in range(models):
        name = f"full{number}"
        if not (folder / name).exists():
            progress(f"Writing model {number + 1} of {models}")
            write_model(folder / name, seed=number)
        tables.append(model_table(name, *voice_files(folder / name), 'load = "on demand"'))
    path = folder / f"budget-{models}-{precision}-{memory_mb}.toml"
    server = f'threads = {threads}\nprecision = "{precision}"\ncache_mb = 0\nmemory_mb = {memory_mb}\n'
    path.write_text(f"[server]\n{server}" + "".join(tables))
    return path


def model_table(name: str, checkpoint: Path, config: Path, *lines: str) -> str:
    """Return a [[models]] table."""
    return "\n".join(
        ["[[models]]", f'name = "{name}"', f'checkpoint = "{checkpoint}"', f'config = "{config}"', *lines, ""]
    )


@contextmanager
def client_of(server: Server) -> Iterator[httpx2.Client]:
    """A client that waits as long as it takes."""
    import httpx2

    with httpx2.Client(base_url=server.url, timeout=PATIENCE_S) as client:
        yield client


def round_robin(settings: Path, models: int, requests: int) -> dict[str, Any]:
    """Return answers and memory of requests to all models in turn."""
    source, statuses, rss, took_s = random.Random(0), Counter[str](), [], []
    with serve(settings) as server, client_of(server) as client:
        ready_s, ready_mb = server.ready_s, server.resident_mb
        for number in range(requests):
            query = {"text": sentence(source.randint(*CHARACTERS), source), "speaker": f"full{number % models}"}
            started = time.perf_counter()
            statuses[str(client.get("/speak", params=query | {"lang": "en", "seed": number}).status_code)] += 1
            took_s.append(time.perf_counter() - started)
            rss.append(server.resident_mb)
            progress(f"Request {number + 1} of {requests}: {rss[-1]:.0f} MB")
        counted = client.get("/metrics").text
        peak_mb = server.peak_mb
    early = spread(rss[EARLY - models : EARLY], 0.5) if requests > EARLY else rss[-1]
    late = spread(rss[-models:], 0.5)
    return {
        "ready_s": ready_s,
        "ready_mb": ready_mb,
        "statuses": statuses,
        "early_mb": early,
        "late_mb": late,
        "growth": late / early - 1,
        "peak_mb": peak_mb,
        "took_s": spread(took_s, 0.5),
        "loads": metric(counted, 'speak_model_loads_total{result="loaded"}'),
        "load_s": metric(counted, "speak_model_load_seconds_sum") / metric(counted, "speak_model_load_seconds_count"),
        "rss_mb": rss,
    }


def metric(text: str, name: str) -> float:
    """Return the value of a metric."""
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} "))


async def pauses(client: httpx2.AsyncClient, speaker: str, seed: int) -> list[float]:
    """Return the seconds between the pieces of a stream's sound."""
    text = " ".join(sentence(60, random.Random(number)) for number in range(SENTENCES[speaker]))
    query: Parameters = {
        "text": text,
        "speaker": speaker,
        "lang": "en",
        "seed": seed,
        "format": "pcm",
        "stream": "true",
    }
    found, last = [], None
    async with client.stream("GET", "/speak", params=query) as response:
        assert response.status_code == 200, await response.aread()
        async for _ in response.aiter_raw():
            now = time.perf_counter()
            if last is not None:
                found.append(now - last)
            last = now
    return found


async def with_loads(server: Server, speaker: str, models: range, seed: int) -> tuple[list[float], int]:
    """Return the pauses of a stream beside which models load, one after the other, and how many did."""
    import httpx2

    loads = 0
    async with httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE_S) as client:
        stream = asyncio.create_task(pauses(client, speaker, seed))
        await asyncio.sleep(SETTLED_S)
        for number in models:
            name = f"full{number}"
            # Who asks for a model that must load and leaves causes the load alone, without any speech.
            with suppress(httpx2.TimeoutException):
                await client.get("/speak", params={"text": "One.", "speaker": name, "seed": seed}, timeout=LEAVES_S)
            while not stream.done() and not await is_loaded(client, name):
                await asyncio.sleep(POLL_S)
            if stream.done():
                break
            loads += 1
        return await stream, loads


async def is_loaded(client: httpx2.AsyncClient, name: str) -> bool:
    """Whether a model is in memory now."""
    models = (await client.get("/health")).json()["models"]
    return bool(next(model["loaded"] for model in models if model["name"] == name))


def gaps(settings: Path, models: int) -> list[dict[str, Any]]:
    """Return the longest pauses of streams, alone and beside loads."""
    rows: list[dict[str, Any]] = []
    with serve(settings) as server:
        for speaker in (SMALL, "full0"):
            for beside in ("nothing", "loads", "nothing", "loads"):
                loaded = range(1, models) if beside == "loads" else range(0)
                found, loads = asyncio.run(with_loads(server, speaker, loaded, len(rows)))
                row = {"speaker": speaker, "beside": beside, "loads": loads, "pieces": len(found)}
                longest = {"median_s": spread(found, 0.5), "95_s": spread(found, 0.95), "longest_s": max(found)}
                rows.append(row | longest)
                say(f"{rows[-1]}")
    return rows


def cold(settings: Path, models: int) -> dict[str, Any]:
    """Return the first sound of every model, each of which must load first, and of the same when it is loaded."""
    first: dict[str, list[float]] = {"cold": [], "warm": []}
    with serve(settings) as server, client_of(server) as client:
        for number in range(models):
            for state in first:
                query = {"text": sentence(40, random.Random(number)), "speaker": f"full{number}", "lang": "en"}
                query |= {"stream": "true", "format": "pcm", "seed": "1" if state == "warm" else "0"}
                started = time.perf_counter()
                with client.stream("GET", "/speak", params=query) as response:
                    assert response.status_code == 200, response.read()
                    pieces = response.iter_raw()
                    next(pieces)
                    first[state].append(time.perf_counter() - started)
                    # Who leaves earlier lets the next one wait for the window under way.
                    for _ in pieces:
                        pass
    return {
        state: {"median_s": spread(values, 0.5), "longest_s": max(values), "all": values}
        for state, values in first.items()
    }


def main() -> None:
    """Print the table of one of the three."""
    parser = arguments(__doc__)
    parser.add_argument("what", nargs="?", choices=("round-robin", "gaps", "cold"), default="round-robin")
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--memory-mb", type=int, default=700)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--folder", type=Path, help="where the models are, or are made and stay")
    options = parser.parse_args()
    install_extras()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        settings = write_settings(folder, options.models, options.precision, options.threads, options.memory_mb)
        result: Any
        if options.what == "round-robin":
            result = round_robin(settings, options.models, options.requests)
            rows = [(key, value) for key, value in result.items() if key not in ("rss_mb", "statuses")]
            rows.append(("answers", ", ".join(f"{count} x {status}" for status, count in result["statuses"].items())))
            print(table((f"{options.models} models, {options.memory_mb} MB", ""), rows))
        elif options.what == "gaps":
            result = gaps(settings, options.models)
            keys = ("speaker", "beside", "loads", "pieces", "median_s", "95_s", "longest_s")
            print(table(keys, [[row[key] for key in keys] for row in result]))
        else:
            result = cold(settings, options.models)
            figures = [(state, row["median_s"], row["longest_s"]) for state, row in result.items()]
            print(table(("first sound", "median, s", "longest, s"), figures))
    write(f"budget-{options.what}", result, options.out)


if __name__ == "__main__":
    main()
