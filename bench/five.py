"""Five different full-size models, and zh, ja and en: python -m bench.five [--limit-mb 2048 --minutes 10].

How long the start takes until it is ready, the most resident memory that the server ever has while clients ask all
models for all three languages, and what the clients are answered. With --limit-mb the server lives in a control group
of that much memory, without swap, and the kernel's kills are counted; that takes root and control groups of version
1. What the models alone take: --precision bfloat16 --cache-mb 0 --minutes 0 --requests 1000.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from bench.full_size import WORDS, sentence, write_settings
from bench.load import CHARACTERS, PRECISIONS, Parameters, ask_for, sample_rate_hz
from bench.report import arguments, install_extras, say, spread, table, write
from bench.serving import CONTROL_GROUPS, control_group, serve

CJK_SHARE = 4
"""A Chinese or Japanese character sounds as long as this many English ones."""


def memory_group(limit_mb: int) -> AbstractContextManager[Path]:
    """Make a control group of so many MiB without swap, which goes when it is empty."""
    names = ["memory.limit_in_bytes"]
    # This one counts swap too; a kernel without swap accounting has no such file.
    if (CONTROL_GROUPS / "memory" / (with_swap := "memory.memsw.limit_in_bytes")).exists():
        names.append(with_swap)
    return control_group("memory", dict.fromkeys(names, limit_mb * 2**20))


def group_report(group: Path) -> dict[str, int]:
    """Return what the kernel counted in a group."""
    kills = [line.split()[1] for line in (group / "memory.oom_control").read_text().splitlines() if "oom_kill " in line]
    return {
        "oom_kills": int(kills[0]),
        "peak_mb": round(int((group / "memory.max_usage_in_bytes").read_text()) / 1e6),
        "times_at_limit": int((group / "memory.failcnt").read_text()),
    }


def every_language(models: int) -> Callable[[], Parameters]:
    """Return a source of requests to all models in turn, in all languages."""
    source, number = random.Random(0), 0

    def request() -> Parameters:
        nonlocal number
        number += 1
        lang = list(WORDS)[number % len(WORDS)]
        characters = source.randint(*CHARACTERS) // (1 if lang == "en" else CJK_SHARE)
        return {
            "text": sentence(characters, source, lang),
            "lang": lang,
            "speaker": f"full{number % models}",
            "seed": source.randrange(2**32),
        }

    return request


def measure(
    settings: Path, models: int, clients: int, seconds: float, group: Path | None, least: int
) -> dict[str, Any]:
    """Return memory, answers (at least so many) and, in a group, what the kernel counted."""
    with serve(settings, group=group) as server:
        ready_mb = server.resident_mb
        requests, rate = every_language(models), sample_rate_hz(server)
        try:
            answers, _ = asyncio.run(ask_for(server, clients, seconds, requests, rate, least))
        except SystemExit as error:
            raise SystemExit(
                f"{error}" if group is None else f"{error}; the kernel counted {group_report(group)}"
            ) from None
        statuses = Counter(str(answer.status) for answer in answers)
        result = {
            "ready_s": server.ready_s,
            "ready_mb": ready_mb,
            "after_mb": server.resident_mb,
            "peak_mb": server.peak_mb,
            "statuses": statuses,
            "first_s": spread((answer.first_s for answer in answers if answer.status == 200), 0.5),
        }
        return result | ({"group": group_report(group)} if group is not None else {})


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--models", type=int, default=5)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--requests", type=int, default=1, help="the fewest, if that takes longer")
    parser.add_argument("--precision", choices=PRECISIONS, default=PRECISIONS[0])
    parser.add_argument("--cache-mb", type=int, help="memory for finished recordings, if not the server's default")
    parser.add_argument("--starts", type=int, default=3, help="how many times it is started; the median counts")
    parser.add_argument("--limit-mb", type=int, help="MiB of memory, without swap; default: no limit")
    options = parser.parse_args()
    install_extras()
    with tempfile.TemporaryDirectory() as folder:
        say(f"Writing {options.models} models")
        settings = write_settings(
            Path(folder), options.threads, options.models, options.precision, options.voice, options.cache_mb
        )
        starts_s = []
        for _ in range(options.starts - 1):
            with serve(settings) as server:
                starts_s.append(server.ready_s)
        with nullcontext() if options.limit_mb is None else memory_group(options.limit_mb) as group:
            result = measure(settings, options.models, options.clients, options.minutes * 60, group, options.requests)
    result["starts_s"] = [*starts_s, result["ready_s"]]
    rows = [
        ("start to ready, s, median", spread(result["starts_s"], 0.5)),
        ("RSS when ready, MB", result["ready_mb"]),
        ("RSS after the last answer, MB", result["after_mb"]),
        ("peak RSS, MB", result["peak_mb"]),
        ("peak RSS, GiB", result["peak_mb"] * 1e6 / 2**30),
        ("answers", ", ".join(f"{count} x {status}" for status, count in result["statuses"].items())),
        ("first sound, s, median", result["first_s"]),
        *((f"control group of {options.limit_mb} MiB: {key}", n) for key, n in result.get("group", {}).items()),
    ]
    print(table((f"{options.models} models, {options.clients} clients", ""), rows))
    write("five" if options.limit_mb is None else "five-limited", result, options.out)


if __name__ == "__main__":
    main()
