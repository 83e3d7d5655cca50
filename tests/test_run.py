"""run.sh as its users run it: real processes, real ports."""

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import soundfile

from tests.conftest import ROOT, RunningServer, StartServer, model_table

LONG_TEXT = quote("This sentence is here to take its time. " * 40)


# Installing, with a stand-in for Python that notes what it is asked to do


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with run.sh, requirements, and a .venv whose Python only notes its arguments."""
    folder = tmp_path / "clone"
    python = folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    for name in ("run.sh", "requirements.txt", "requirements-languages.txt"):
        shutil.copy(ROOT / name, folder)
    python.write_text(
        "#!/bin/sh\n"
        'echo "$@" >>"${0%/*}/../../calls"\n'
        'case "$*" in\n'
        "    *importlib.metadata*) exit 1 ;;\n"
        '    *"$FAILING"*) exit 1 ;;\n'
        "esac\n"
    )
    python.chmod(0o755)
    return folder


def start(clone: Path, **variables: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """One start in the clone, and the calls of its Python."""
    calls = clone / "calls"
    calls.unlink(missing_ok=True)
    environment = os.environ | {"FAILING": "nothing at all"} | variables
    done = subprocess.run([clone / "run.sh"], env=environment, capture_output=True, text=True, timeout=30, check=False)
    return done, calls.read_text().splitlines()


def test_the_first_start_installs_and_the_second_does_not(clone: Path) -> None:
    done, calls = start(clone)
    assert done.returncode == 0, done.stderr
    torch, rest = [call for call in calls if " install " in call]
    assert "--no-deps" in torch
    assert "--retries 0" in torch
    assert "--index-url https://download.pytorch.org/whl/cpu" in torch
    assert re.search(r"torch==[\d.]+\+cpu$", torch)
    assert "--requirement=requirements.txt --requirement=requirements-languages.txt" in rest
    assert "index" not in rest
    assert calls[-1].startswith("-m uvicorn --factory server:create_app_from_environment")
    done, calls = start(clone)
    assert len(calls) == 1
    assert done.returncode == 0


def test_install_installs_and_starts_nothing(clone: Path) -> None:
    environment = os.environ | {"FAILING": "nothing at all"}
    done = subprocess.run([clone / "run.sh", "install"], env=environment, timeout=30, check=True)
    assert done.returncode == 0
    calls = (clone / "calls").read_text().splitlines()
    assert len([call for call in calls if " install " in call]) == 2
    assert not any("uvicorn" in call for call in calls)


def test_changed_requirements_are_installed(clone: Path) -> None:
    start(clone)
    with (clone / "requirements.txt").open("a") as file:
        file.write("# changed\n")
    _, calls = start(clone)
    assert any(" install " in call for call in calls)


def test_a_failed_installation_is_tried_again(clone: Path) -> None:
    done, calls = start(clone, FAILING="--requirement=requirements.txt")
    assert done.returncode != 0
    assert "uvicorn" not in calls[-1]
    _, calls = start(clone)
    assert any("--requirement=requirements.txt" in call for call in calls)


def test_an_unreachable_torch_index_is_left_for_the_ordinary_one(clone: Path) -> None:
    done, calls = start(clone, FAILING="--index-url")
    assert done.returncode == 0, done.stderr
    installs = [call for call in calls if " install " in call]
    assert len(installs) == 3
    assert "+cpu" in installs[1]
    assert "index" not in installs[1]


def test_no_cpu_build_of_torch_is_said_with_the_way_out(clone: Path) -> None:
    done, calls = start(clone, FAILING="torch==")
    assert done.returncode != 0
    assert "Set TORCH_INDEX to a mirror" in done.stderr
    assert "uvicorn" not in calls[-1]


def test_arguments_and_addresses_reach_uvicorn(clone: Path) -> None:
    start(clone)
    calls = clone / "calls"
    calls.unlink()
    environment = os.environ | {"FAILING": "nothing at all", "HOST": "0.0.0.0", "PORT": "1234", "GRACE_S": "3"}
    subprocess.run([clone / "run.sh", "--log-level", "warning"], env=environment, timeout=30, check=True)
    assert calls.read_text().endswith("--host 0.0.0.0 --port 1234 --timeout-graceful-shutdown 3 --log-level warning\n")


def test_a_machine_without_jemalloc_is_told_which_package_to_install(clone: Path, tmp_path: Path) -> None:
    uname = tmp_path / "programs/uname"
    uname.parent.mkdir()
    uname.write_text("#!/bin/sh\necho some-other-machine\n")
    uname.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    environment |= {"FAILING": "nothing at all", "PATH": f"{uname.parent}:{os.environ['PATH']}"}
    done = subprocess.run([clone / "run.sh"], env=environment, capture_output=True, text=True, timeout=30, check=True)
    assert "apt install libjemalloc2" in done.stderr
    assert (clone / "calls").read_text().splitlines()[-1].startswith("-m uvicorn")


# Serving


def test_health_reports_what_run_sh_set(start_server: StartServer) -> None:
    server = start_server()
    assert server.health["onednn_primitive_cache_capacity"] == "512"
    assert server.health["lru_cache_capacity"] == "1"
    assert server.health["allocator"] == "jemalloc" or "apt install libjemalloc2" in server.log
    assert "In force: allocator " + server.health["allocator"] in server.log
    assert len(re.findall(r"Loaded \w+: [\d.]+ s, \d+ MB", server.log)) == 2


def test_every_variable_can_be_overridden(start_server: StartServer) -> None:
    server = start_server(LD_PRELOAD="", ONEDNN_PRIMITIVE_CACHE_CAPACITY="0", LRU_CACHE_CAPACITY="2")
    assert server.health["allocator"] == "glibc"
    assert server.health["onednn_primitive_cache_capacity"] == "0"
    assert server.health["lru_cache_capacity"] == "2"
    assert server.get_json("/speakers")[0] == 200


def test_the_server_sets_the_capacities_where_nobody_did(
    start_server: StartServer, models_toml: Path, tmp_path: Path
) -> None:
    code = (
        "import json, os, server\n"
        "from starlette.testclient import TestClient\n"
        "with TestClient(server.create_app_from_environment()) as client:\n"
        "    print(json.dumps(client.get('/health').json()))\n"
    )
    names = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [ROOT / ".venv/bin/python", "-c", code],
        env=environment | {"MODELS": str(models_toml)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    report = json.loads(done.stdout)
    assert (report["onednn_primitive_cache_capacity"], report["lru_cache_capacity"]) == ("512", "1")


def test_models_may_be_relative_to_where_the_user_stands(start_server: StartServer, models_toml: Path) -> None:
    server = start_server(MODELS=os.path.relpath(models_toml))
    assert server.get_json("/speakers")[1]["default"] == "trio/alice"


def test_the_shipped_voice_speaks(start_server: StartServer) -> None:
    server = start_server(MODELS=str(ROOT / "models.toml"))
    with urlopen(f"{server.url}/speak?text={quote('Hello from two small cores.')}") as response:
        seconds = soundfile.info(io.BytesIO(response.read())).duration
    assert 1 < seconds < 5


def test_a_spoken_sentence_leaves_no_text_in_the_log(start_server: StartServer) -> None:
    server = start_server()
    with urlopen(f"{server.url}/speak?text=my+secret&speaker=solo") as response:
        assert response.read(4) == b"RIFF"
    assert server.get_json("/speak?text=my+secret&speaker=nobody")[0] == 404
    assert '"GET /speak HTTP/1.1" 200' in server.log
    assert "secret" not in server.log


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ("[server]\nthread = 2\n", "models.toml: [server]: thread = 2: expected none: unknown key; known are"),
        ("[[models]\n", "expected a readable TOML file"),
        ('[[models]]\nname = "a"\ncheckpoint = "a.pth"\n', "models.toml: [[models]] a: checkpoint = 'a.pth': expected"),
    ],
)
def test_bad_settings_end_the_start_with_one_line(
    start_server: StartServer, models_toml: Path, document: str, line: str
) -> None:
    if document.startswith("[server]"):
        document += model_table("trio", "multi_speaker_sdp")
    models_toml.write_text(document)
    server = start_server(ready=False)
    assert server.process.wait(60) == 3
    assert line in server.log
    assert "Traceback" not in server.log
    assert server.log.count("Cannot start") == 1


def test_missing_settings_end_the_start_with_one_line(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(ready=False, MODELS=str(tmp_path / "none.toml"))
    assert server.process.wait(60) == 3
    assert "none.toml: expected the file that lists the models; there is none" in server.log


def test_a_broken_checkpoint_ends_the_start_with_one_line(
    start_server: StartServer, models_toml: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "G_broken.pth"
    broken.write_bytes(b"not a checkpoint")
    models_toml.write_text(models_toml.read_text().replace(trio_checkpoint(models_toml), str(broken), 1))
    server = start_server(ready=False)
    assert server.process.wait(60) == 3
    (line,) = [line for line in server.log.splitlines() if "Cannot start" in line]
    assert "G_broken.pth" in line
    assert "Traceback" not in server.log


def trio_checkpoint(models_toml: Path) -> str:
    """The checkpoint of the first table."""
    match = re.search(r'checkpoint = "(.*)"', models_toml.read_text())
    assert match
    return match[1]


def test_a_taken_port_ends_the_start(start_server: StartServer) -> None:
    first = start_server()
    second = start_server(ready=False, PORT=str(first.port))
    assert second.process.wait(60) != 0
    assert "address already in use" in second.log


def test_sigterm_lets_requests_under_way_finish(start_server: StartServer) -> None:
    server = start_server()
    answers: list[bytes] = []

    def speak() -> None:
        with urlopen(f"{server.url}/speak?text={LONG_TEXT}&speaker=solo", timeout=60) as response:
            answers.append(response.read())

    client = threading.Thread(target=speak)
    client.start()
    wait_until_waiting(server)
    server.process.send_signal(signal.SIGTERM)
    client.join(60)
    assert server.process.wait(60) in (0, -signal.SIGTERM)
    assert answers
    assert answers[0].startswith(b"RIFF")
    assert "Traceback" not in server.log


@pytest.fixture
def long_request(models_toml: Path) -> bytes:
    """A POST that takes minutes, as bytes on the wire; the settings allow it."""
    models_toml.write_text(models_toml.read_text().replace("threads = 1", "threads = 1\nmax_text_chars = 20000"))
    text = "This sentence is here to take its time. " * 500
    body = json.dumps({"text": text, "speaker": "solo", "length_scale": 4})
    head = f"POST /speak HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def test_a_client_that_vanishes_stops_costing(start_server: StartServer, long_request: bytes) -> None:
    server = start_server()
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(long_request)
        wait_until_waiting(server)
    began = time.monotonic()
    while server.get_json("/health")[1]["waiting"]:
        assert time.monotonic() - began < 20
        time.sleep(0.05)
    with urlopen(f"{server.url}/speak?text=Hello.", timeout=20) as response:
        assert response.status == 200


def test_sigterm_ends_in_bounded_time(start_server: StartServer, long_request: bytes) -> None:
    server = start_server(GRACE_S="1")
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(long_request)
        wait_until_waiting(server)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        assert time.monotonic() - began < 30
        assert client.recv(1000).startswith(b"HTTP/1.1 503 ")
    assert "Traceback" not in server.log


def wait_until_waiting(server: RunningServer) -> None:
    """Return when a request is under way."""
    while server.get_json("/health")[1]["waiting"] == 0:
        time.sleep(0.01)
