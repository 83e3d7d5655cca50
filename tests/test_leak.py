"""bench.leak: it finds a leak that is there, and none where there is none."""

import ctypes.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.leak import Growth, advice
from service.environment import CACHE_CAPACITIES
from tests.conftest import ROOT

COUNT = 20
CAPACITIES: dict[str, str | None] = {**CACHE_CAPACITIES}


def measure(models: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """The exit status and the figures of a run of its own, with the capacities of run.sh.

    It has jemalloc as the service has, where that is installed: what glibc's arenas keep differs from run to run.
    Pages that are free are returned at once. Otherwise a part that needs many for a moment seems to keep them, and
    the part that happens to run when they are returned seems to shrink.
    """
    command = [sys.executable, "-m", "bench.leak", "--model=solo", f"--settings={models}", f"--count={COUNT}", "--json"]
    environment = os.environ | {
        **CACHE_CAPACITIES,
        "LD_PRELOAD": ctypes.util.find_library("jemalloc") or "",
        "MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0",
    }
    done = subprocess.run(
        [*command, *options], cwd=ROOT, env=environment, stdout=subprocess.PIPE, timeout=300, check=False
    )
    return done.returncode, json.loads(done.stdout)


def test_a_voice_in_windows_keeps_nothing_once_warm(models_toml: Path) -> None:
    status, report = measure(models_toml)
    assert report["parts"]["decoder"]["warm_up"]["primitives"] > 0
    assert [part["after"]["primitives"] for part in report["parts"].values()] == [0] * len(report["parts"])
    assert report["advice"] == []
    assert status == 0


def test_a_voice_without_windows_is_found_leaking_in_its_decoder(models_toml: Path) -> None:
    status, report = measure(models_toml, "--whole")
    decoder = report["parts"]["decoder"]["after"]
    assert decoder["primitives"] > COUNT
    assert decoder["grown_bytes"] > 5_000_000
    assert decoder["grown_bytes"] == max(part["after"]["grown_bytes"] for part in report["parts"].values())
    assert "decoder" in report["advice"][0]
    assert "windows" in report["advice"][0]
    assert status == 1


def test_a_model_that_does_not_exist_is_refused_with_those_that_do(models_toml: Path) -> None:
    command = [sys.executable, "-m", "bench.leak", "--model=nobody", f"--settings={models_toml}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode != 0
    assert "trio, solo, idle" in done.stderr


@pytest.mark.parametrize(
    ("part", "growth", "allocator", "capacities", "said"),
    [
        ("text", Growth(50_000_000), "jemalloc", CAPACITIES, ["front end"]),
        ("decoder", Growth(50_000_000, 500), "glibc", CAPACITIES, ["fixed windows"]),
        ("decoder", Growth(0, 500), "glibc", {"LRU_CACHE_CAPACITY": None}, ["fixed windows", "LRU_CACHE_CAPACITY"]),
        ("flow", Growth(50_000_000), "glibc", CAPACITIES, ["apt install libjemalloc2"]),
        ("flow", Growth(50_000_000), "jemalloc", CAPACITIES, ["keeps tensors"]),
        ("flow", Growth(100_000), "glibc", {"LRU_CACHE_CAPACITY": None}, []),
    ],
)
def test_the_advice_follows_from_what_grew(
    part: str, growth: Growth, allocator: str, capacities: dict[str, str | None], said: list[str]
) -> None:
    grown = {name: Growth() for name in ("text", "encoder", "durations", "flow", "decoder", "elsewhere")} | {
        part: growth
    }
    lines = advice(grown, 20, allocator, capacities)
    assert len(lines) == len(said)
    for line, words in zip(lines, said, strict=True):
        assert words in line
