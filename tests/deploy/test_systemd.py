"""The systemd unit, read by the real systemd-analyze."""

import re
import subprocess
from pathlib import Path

import pytest

import server
from deploy.defaults import defaults
from service.connections import MOST_CONNECTIONS, SPARE_DESCRIPTORS
from tests.conftest import ROOT
from tests.deploy.conftest import DEPLOY, NeedsProgram, replaced
from tests.waiting import WAIT_S

UNIT = DEPLOY / "vits-speak.service"
FOLDER = "/opt/vits-speak"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with this repository in place of /opt/vits-speak."""
    path = tmp_path / "vits-speak.service"
    path.write_text(replaced(UNIT.read_text(), **{FOLDER: str(ROOT)}))
    return path


@pytest.fixture
def directives() -> dict[str, str]:
    """The unit's directives; of one that stands several times the last."""
    return dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.M))


def environment() -> dict[str, str]:
    return dict(re.findall(r"^Environment=(\w+)=(.*)$", UNIT.read_text(), re.M))


def test_systemd_accepts_the_unit(needs_program: NeedsProgram, unit: Path) -> None:
    analyze = needs_program("systemd-analyze", "systemd")
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_finds_the_unit_little_exposed(needs_program: NeedsProgram, unit: Path) -> None:
    analyze = needs_program("systemd-analyze", "systemd")
    command = [analyze, "security", "--offline=true", "--no-pager", "--threshold=10", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd-analyze is older than version 250")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_sets_what_run_sh_sets() -> None:
    expected = {name: value for name, value in defaults().items() if name != "TORCH_INDEX"}
    expected["MODELS"] = expected["MODELS"].replace("$PWD", FOLDER)
    assert expected.items() <= environment().items()


def test_the_unit_preloads_jemalloc_as_run_sh_does() -> None:
    assert environment()["LD_PRELOAD"] == "libjemalloc.so.2"


def test_the_unit_gives_uvicorn_the_options_that_run_sh_gives_it() -> None:
    script, unit = ((ROOT / "run.sh").read_text(), UNIT.read_text())
    (by_run_sh,) = re.findall(r"^exec .venv/bin/python (.*?) \"\$@\"$", script, re.M | re.S)
    (by_unit,) = re.findall(rf"^ExecStart={FOLDER}/.venv/bin/python (.*?[^\\])$", unit, re.M | re.S)
    options = re.sub(r'"\$(\w+)"', r"${\1}", by_run_sh)
    assert options.replace("\\\n", "").split() == by_unit.replace("\\\n", "").split()


def test_the_page_names_the_limits_of_the_unit(directives: dict[str, str]) -> None:
    page = (DEPLOY / "systemd.md").read_text()
    assert f"{directives['TasksMax']} threads and {directives['LimitNOFILE']} file descriptors" in page
    assert f"{directives['MemoryMax'].removesuffix('G')} GB of memory (`MemoryMax`)" in page
    assert f"(exit status {directives['RestartPreventExitStatus']})" in page
    assert f"{defaults()['GRACE_S']} seconds (`GRACE_S`)" in page


def test_the_unit_waits_longer_than_requests_are_given(directives: dict[str, str]) -> None:
    assert int(directives["TimeoutStopSec"]) == int(defaults()["GRACE_S"]) + 5


def test_a_start_that_ran_out_of_memory_is_tried_again_without_end(directives: dict[str, str]) -> None:
    assert directives["Restart"] == "on-failure"
    assert directives["StartLimitIntervalSec"] == "0"
    assert int(directives["RestartSec"]) > 0


def test_a_start_with_invalid_settings_is_not_tried_again(directives: dict[str, str]) -> None:
    assert directives["RestartPreventExitStatus"] == str(server.EXIT_START_FAILED)


def test_the_unit_allows_as_many_threads_as_the_settings_do(directives: dict[str, str]) -> None:
    assert int(directives["TasksMax"]) > 2 * 256 + 64 + 8


def test_the_unit_has_descriptors_for_as_many_connections_as_the_server_takes(directives: dict[str, str]) -> None:
    assert int(directives["LimitNOFILE"]) >= MOST_CONNECTIONS + SPARE_DESCRIPTORS
