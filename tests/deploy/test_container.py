"""The Dockerfile and the compose file, as far as they can be tried without a container engine."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.defaults import defaults
from tests.conftest import ROOT
from tests.deploy.conftest import DEPLOY, StartProcess, speak
from tests.waiting import WAIT_S

DOCKERFILE = DEPLOY / "Dockerfile"


def copied() -> list[str]:
    """The files and folders that the image gets from the repository."""
    lines = re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE.read_text(), re.M)
    return [name.rstrip("/") for line in lines for name in line.split()[:-1]]


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is missing: .venv/bin/pip install -r tests/requirements.txt")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_all_that_the_dockerfile_copies_is_there() -> None:
    assert copied()
    assert [name for name in copied() if not (ROOT / name).exists()] == []


def test_the_dockerfile_copies_all_that_is_not_ignored_and_nothing_else() -> None:
    kept = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.M)
    assert sorted(copied()) == sorted(kept)


def test_the_server_starts_from_what_the_dockerfile_copies(start_process: StartProcess, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.mkdir()
    (image / ".venv").symlink_to(ROOT / ".venv")
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, image / name)
        else:
            shutil.copy(ROOT / name, image / name)
    server = start_process(image / "run.sh")
    server.wait_until_ready()
    assert speak(server, "Hello.").startswith(b"RIFF")


def test_the_container_answers_at_the_default_port() -> None:
    text = DOCKERFILE.read_text()
    assert f"PORT={defaults()['PORT']} " in text
    assert f"EXPOSE {defaults()['PORT']}\n" in text


def test_compose_publishes_the_default_port_on_this_machine_alone() -> None:
    port = defaults()["PORT"]
    assert f'- "127.0.0.1:{port}:{port}"' in (DEPLOY / "compose.yaml").read_text()


def test_compose_waits_longer_than_requests_are_given() -> None:
    assert f"stop_grace_period: {int(defaults()['GRACE_S']) + 5}s " in (DEPLOY / "compose.yaml").read_text()


@pytest.mark.parametrize(("key", "directive"), [("pids_limit", "TasksMax"), ("nofile", "LimitNOFILE")])
def test_compose_has_the_limits_of_the_unit(key: str, directive: str) -> None:
    compose, unit = (DEPLOY / "compose.yaml").read_text(), (DEPLOY / "vits-speak.service").read_text()
    assert re.findall(rf"{key}: (\d+)", compose) == re.findall(rf"^{directive}=(\d+)$", unit, re.M)
