"""run.sh as its users run it: real processes, real ports."""

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import soundfile

from deploy.defaults import cache_capacities, defaults
from tests.conftest import ROOT, RunningServer, StartServer, free_port, head_in_segments, model_table
from tests.waiting import wait_until

LONG_TEXT = quote("This sentence is here to take its time. " * 40)


# Installing, with stand-ins for Python and the system's programs that note what they are asked to do

FAKE_PYTHON = f"""#!/bin/sh
case "$*" in *fcntl*) exec "{sys.executable}" "$@" ;; esac
echo "$@" >>calls
case "$*" in
    *importlib.metadata*) exit 1 ;;
    *"$FAILING"*) exit 1 ;;
    "-m venv .venv") sleep 1; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    "-m uvicorn"*) env >environment ;;
esac
"""
"""It runs in the folder of run.sh, where it leaves its arguments, and the server's environment."""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder for stand-ins that come before the system's programs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    return folder


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def bare_clone(tmp_path: Path, programs: Path) -> Path:
    """A folder with run.sh and its requirements alone; the system's Python only notes its arguments."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("run.sh", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    write_program(programs / "python3", FAKE_PYTHON)
    return folder


@pytest.fixture
def clone(bare_clone: Path) -> Path:
    """The same with a .venv, whose Python only notes its arguments too."""
    python = bare_clone / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    write_program(python, FAKE_PYTHON)
    return bare_clone


def variables_of(clone: Path, variables: dict[str, str]) -> dict[str, str]:
    """The environment of a start: this one without what the tests themselves were started with."""
    unset = ("LD_PRELOAD", "MODELS", *defaults())
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    path = f"{clone.parent / 'programs'}:{os.environ['PATH']}"
    return kept | {"FAILING": "nothing at all", "PATH": path} | variables


def start(
    clone: Path, *arguments: str, command: Path | None = None, cwd: Path | None = None, **variables: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """One start in the clone, and the calls of its Python."""
    calls = clone / "calls"
    calls.write_text("")
    done = subprocess.run(
        [command or clone / "run.sh", *arguments],
        env=variables_of(clone, variables),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done, calls.read_text().splitlines()


def environment_of_the_server(clone: Path) -> dict[str, str]:
    lines = (clone / "environment").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def installs(calls: list[str]) -> list[str]:
    return [call for call in calls if " install " in call]


def test_torch_comes_without_dependencies_from_the_index_of_its_cpu_builds(clone: Path) -> None:
    done, calls = start(clone)
    assert done.returncode == 0, done.stderr
    torch, rest = installs(calls)
    assert "--no-deps" in torch
    assert "--retries 0" in torch
    assert "--index-url https://download.pytorch.org/whl/cpu" in torch
    assert re.search(r"torch==[\d.]+\+cpu$", torch)
    assert "--requirement=requirements.txt" in rest
    assert "index" not in rest


def test_the_first_start_installs_and_the_second_does_not(clone: Path) -> None:
    _, calls = start(clone)
    assert len(installs(calls)) == 2
    assert calls[-1].startswith("-m uvicorn --factory server:create_app_from_environment")
    done, calls = start(clone)
    assert len(calls) == 1
    assert done.returncode == 0


def test_install_installs_and_starts_nothing(clone: Path) -> None:
    done, calls = start(clone, "install")
    assert done.returncode == 0
    assert len(installs(calls)) == 2
    assert not any("uvicorn" in call for call in calls)


def test_test_installs_what_the_tests_need(clone: Path) -> None:
    copy_requirements(clone)
    _, calls = start(clone, "test", CI="")
    (call,) = [call for call in installs(calls) if "tests/requirements.txt" in call]
    for name in ("vits/text/requirements-espeak.txt", "deploy/requirements-gunicorn.txt", "bench/requirements.txt"):
        assert f"--requirement={name}" in call
    assert not any("requirements-ray" in call for call in calls)
    assert calls[-1] == "-m pytest --numprocesses 2 --dist loadfile"


def test_ray_is_installed_for_the_tests_where_every_test_must_run(clone: Path) -> None:
    copy_requirements(clone)
    _, calls = start(clone, "test", CI="true")
    assert "--requirement=requirements.txt --requirement=deploy/requirements-ray.txt" in installs(calls)[-1]


def copy_requirements(clone: Path) -> None:
    for path in ROOT.glob("*/**/requirements*.txt"):
        copy = clone / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)


def test_changed_requirements_are_installed(clone: Path) -> None:
    start(clone)
    change_requirements(clone)
    _, calls = start(clone)
    assert any(" install " in call for call in calls)


def change_requirements(clone: Path) -> None:
    with (clone / "requirements.txt").open("a") as file:
        file.write("# changed\n")


def test_a_failed_installation_is_tried_again(clone: Path) -> None:
    done, calls = start(clone, FAILING="--requirement=requirements.txt")
    assert done.returncode != 0
    assert "uvicorn" not in calls[-1]
    _, calls = start(clone)
    assert any("--requirement=requirements.txt" in call for call in calls)


def test_an_unreachable_torch_index_is_left_for_the_ordinary_one(clone: Path) -> None:
    done, calls = start(clone, FAILING="--index-url")
    assert done.returncode == 0, done.stderr
    assert len(installs(calls)) == 3
    assert "+cpu" in installs(calls)[1]
    assert "index" not in installs(calls)[1]


def test_no_cpu_build_of_torch_is_said_with_the_way_out(clone: Path) -> None:
    done, calls = start(clone, FAILING="torch==")
    assert done.returncode != 0
    assert "Set TORCH_INDEX to a mirror" in done.stderr
    assert "uvicorn" not in calls[-1]


def test_two_first_starts_at_once_install_once(bare_clone: Path) -> None:
    starts = [
        subprocess.Popen([bare_clone / "run.sh"], env=variables_of(bare_clone, {}), stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[1] for process in starts]
    assert [process.returncode for process in starts] == [0, 0], said
    calls = (bare_clone / "calls").read_text().splitlines()
    assert calls.count("-m venv .venv") == 1
    assert len(installs(calls)) == 2
    assert len([call for call in calls if call.startswith("-m uvicorn")]) == 2
    assert sum("Waiting for another run.sh" in text for text in said) == 1


def test_the_server_does_not_hold_the_lock_of_the_installation(clone: Path) -> None:
    python = clone / ".venv/bin/python"
    write_program(python, FAKE_PYTHON.replace("env >environment", "ls /proc/self/fd >environment"))
    start(clone)
    assert "9" not in (clone / "environment").read_text().split()


# Starting


def test_arguments_and_addresses_reach_uvicorn(clone: Path) -> None:
    _, calls = start(clone, "--log-level", "warning", HOST="::1", PORT="1234", GRACE_S="3", MAX_HEAD_BYTES="99999")
    assert "--host ::1 --port 1234" in calls[-1]
    assert "--timeout-graceful-shutdown 3 --h11-max-incomplete-event-size 99999" in calls[-1]
    assert calls[-1].endswith(" --log-level warning")


def test_what_other_packages_have_installed_changes_no_protocol(clone: Path) -> None:
    _, calls = start(clone)
    assert "--http service.connections:Connections --loop asyncio --ws none" in calls[-1]


def test_the_caches_and_the_allocator_are_set_for_the_server(clone: Path) -> None:
    start(clone)
    variables = environment_of_the_server(clone)
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY", "MALLOC_CONF"):
        assert variables[name] == defaults()[name]


def test_the_models_are_those_beside_run_sh_by_default(clone: Path, tmp_path: Path) -> None:
    start(clone, cwd=tmp_path)
    assert environment_of_the_server(clone)["MODELS"] == str(clone / "models.toml")


def test_models_of_a_relative_path_are_found_from_where_the_user_stands(clone: Path, tmp_path: Path) -> None:
    start(clone, cwd=tmp_path, MODELS="mine/models.toml")
    assert environment_of_the_server(clone)["MODELS"] == str(tmp_path / "mine/models.toml")


def test_a_symbolic_link_starts_what_it_leads_to(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/first").symlink_to("../clone/run.sh")
    (tmp_path / "bin/second").symlink_to(tmp_path / "bin/first")
    done, calls = start(clone, command=tmp_path / "bin/second", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert calls[-1].startswith("-m uvicorn")
    assert environment_of_the_server(clone)["MODELS"] == str(clone / "models.toml")


def test_cdpath_leads_nowhere_else(clone: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "clone").mkdir(parents=True)
    done, calls = start(clone, command=Path("clone/run.sh"), cwd=tmp_path, CDPATH=str(other))
    assert done.returncode == 0, done.stderr
    assert calls[-1].startswith("-m uvicorn")
    assert list((other / "clone").iterdir()) == []


# jemalloc


@pytest.fixture
def without_jemalloc(programs: Path) -> Path:
    """Stand-ins for a machine of another kind, where no jemalloc is found, with apt-get and dpkg-deb; their folder."""
    write_program(programs / "uname", '#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo some-other-machine\n')
    write_program(
        programs / "apt-get",
        '#!/bin/sh\nfor last; do :; done\necho "$last" >>"${0%/*}/downloads"\n>"${last}_1_some.deb"\n',
    )
    write_program(
        programs / "dpkg-deb",
        '#!/bin/sh\n[ -e "$2" ] && mkdir -p "$3/usr/lib/some" && >"$3/usr/lib/some/libjemalloc.so.2"\n',
    )
    return programs


def downloads(programs: Path) -> list[str]:
    path = programs / "downloads"
    return path.read_text().splitlines() if path.exists() else []


def test_a_missing_jemalloc_is_fetched_into_the_environment(clone: Path, without_jemalloc: Path) -> None:
    done, _ = start(clone)
    assert downloads(without_jemalloc) == ["libjemalloc2"]
    assert environment_of_the_server(clone)["LD_PRELOAD"] == ".venv/jemalloc/libjemalloc.so.2"
    assert (clone / ".venv/jemalloc/libjemalloc.so.2").exists()
    assert "jemalloc is missing" not in done.stderr


def test_jemalloc_is_fetched_once(clone: Path, without_jemalloc: Path) -> None:
    start(clone)
    start(clone)
    change_requirements(clone)
    start(clone)
    assert downloads(without_jemalloc) == ["libjemalloc2"]
    assert environment_of_the_server(clone)["LD_PRELOAD"] == ".venv/jemalloc/libjemalloc.so.2"


@pytest.mark.parametrize("failing", ["apt-get", "dpkg-deb"])
def test_a_jemalloc_that_cannot_be_fetched_costs_a_warning_alone(
    clone: Path, without_jemalloc: Path, failing: str
) -> None:
    write_program(without_jemalloc / failing, "#!/bin/sh\necho something >&2\nexit 100\n")
    done, calls = start(clone)
    assert done.returncode == 0
    assert "apt install libjemalloc2" in done.stderr
    assert "something" not in done.stderr
    assert calls[-1].startswith("-m uvicorn")
    assert environment_of_the_server(clone)["LD_PRELOAD"] == ""


def test_a_jemalloc_that_could_not_be_fetched_is_tried_again_after_the_next_installation(
    clone: Path, without_jemalloc: Path
) -> None:
    program = without_jemalloc / "apt-get"
    write_program(program, program.read_text() + "exit 100\n")
    for _ in range(2):
        done, _ = start(clone)
        assert "apt install libjemalloc2" in done.stderr
        assert len(downloads(without_jemalloc)) == 1
    change_requirements(clone)
    start(clone)
    assert len(downloads(without_jemalloc)) == 2


def test_a_user_who_chooses_the_allocator_gets_no_other(clone: Path, without_jemalloc: Path) -> None:
    done, _ = start(clone, LD_PRELOAD="")
    assert downloads(without_jemalloc) == []
    assert environment_of_the_server(clone)["LD_PRELOAD"] == ""
    assert "jemalloc" not in done.stderr


def test_a_machine_without_apt_is_told_that_jemalloc_is_missing(clone: Path, without_jemalloc: Path) -> None:
    posix_programs(without_jemalloc)
    for name in ("apt-get", "dpkg-deb"):
        (without_jemalloc / name).unlink()
    done, calls = start(clone, PATH=str(without_jemalloc))
    assert "apt install libjemalloc2" in done.stderr
    assert calls[-1].startswith("-m uvicorn")


# macOS, as far as stand-ins can show it


def posix_programs(folder: Path) -> None:
    """Fill a folder with what every system has."""
    names = ("awk", "bash", "cat", "cksum", "cp", "dirname", "env", "mkdir", "mktemp", "mv", "rm", "sed", "sh")
    for name in (*names, "sleep", "touch"):
        program = shutil.which(name)
        assert program
        (folder / name).symlink_to(program)


@pytest.fixture
def macos(programs: Path) -> str:
    """A PATH as on macOS: no sha256sum, ldconfig, realpath, flock or apt-get, and a readlink without -f."""
    posix_programs(programs)
    write_program(programs / "uname", '#!/bin/sh\n[ "$1" = -s ] && echo Darwin || echo arm64\n')
    readlink = shutil.which("readlink")
    write_program(programs / "readlink", f'#!/bin/sh\n[ "$1" != -f ] || exit 1\nexec {readlink} "$@"\n')
    return str(programs)


def test_macos_gets_the_only_build_of_torch_that_it_has(clone: Path, macos: str) -> None:
    done, calls = start(clone, PATH=macos)
    assert done.returncode == 0, done.stderr
    assert re.search(r"torch==[\d.]+$", installs(calls)[0])
    assert calls[-1].startswith("-m uvicorn")


def test_macos_installs_once_too(clone: Path, macos: str) -> None:
    start(clone, PATH=macos)
    done, calls = start(clone, PATH=macos)
    assert len(calls) == 1
    assert done.stderr == ""


def test_macos_preloads_nothing(clone: Path, macos: str) -> None:
    done, _ = start(clone, PATH=macos, DYLD_INSERT_LIBRARIES="mine.dylib")
    variables = environment_of_the_server(clone)
    assert "LD_PRELOAD" not in variables
    assert variables["DYLD_INSERT_LIBRARIES"] == "mine.dylib"
    assert "jemalloc" not in done.stderr


def test_macos_follows_symbolic_links(clone: Path, macos: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("clone/run.sh")
    done, calls = start(clone, command=tmp_path / "link", PATH=macos)
    assert done.returncode == 0, done.stderr
    assert calls[-1].startswith("-m uvicorn")


# Serving


def test_health_reports_what_run_sh_set(start_server: StartServer) -> None:
    server = start_server()
    assert {name: server.health[name.lower()] for name in cache_capacities()} == cache_capacities()
    assert server.health["allocator"] == "jemalloc" or "apt install libjemalloc2" in server.log
    assert "In force: allocator " + server.health["allocator"] in server.log
    assert len(re.findall(r"Loaded \w+: [\d.]+ s, \d+ MB", server.log)) == 2


def test_every_variable_can_be_overridden(start_server: StartServer) -> None:
    server = start_server(LD_PRELOAD="", ONEDNN_PRIMITIVE_CACHE_CAPACITY="0", LRU_CACHE_CAPACITY="2")
    assert server.health["allocator"] == "glibc"
    assert server.health["onednn_primitive_cache_capacity"] == "0"
    assert server.health["lru_cache_capacity"] == "2"
    assert server.get_json("/speakers")[0] == 200


def test_the_server_sets_the_capacities_of_run_sh_where_there_are_none(
    start_server: StartServer, models_toml: Path, tmp_path: Path
) -> None:
    code = (
        "import json, os, server\n"
        "from starlette.testclient import TestClient\n"
        "with TestClient(server.create_app_from_environment()) as client:\n"
        "    print(json.dumps(client.get('/health').json()))\n"
    )
    names = cache_capacities().keys()
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
    assert {name: report[name.lower()] for name in names} == {name: defaults()[name] for name in names}


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


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_server_without_standard_streams_speaks(models_toml: Path, tmp_path: Path, closed: str) -> None:
    closing = ["sh", "-c", f'exec "{ROOT}/run.sh" {closed}']
    environment = os.environ | {"PORT": str(free_port()), "MODELS": str(models_toml)}
    server = RunningServer(subprocess.Popen(closing, env=environment), int(environment["PORT"]), tmp_path / "none")
    (tmp_path / "none").touch()
    try:
        server.wait_until_ready()
        with urlopen(f"{server.url}/speak?text=Hello.&speaker=solo") as response:
            assert response.read(4) == b"RIFF"
    finally:
        server.process.kill()
        server.process.wait()


def test_a_language_without_its_library_costs_that_language_alone(start_server: StartServer, tmp_path: Path) -> None:
    (tmp_path / "pyopenjtalk.py").write_text("raise ModuleNotFoundError('not here', name='pyopenjtalk')\n")
    server = start_server(PYTHONPATH=str(tmp_path))
    status, answer = server.get_json(f"/speak?text={quote('これはテストです。')}&speaker=solo&lang=ja")
    assert (status, answer["error"]["code"]) == (501, "missing_library")
    with urlopen(f"{server.url}/speak?text=Hello.&speaker=solo") as response:
        assert response.read(4) == b"RIFF"


def test_a_query_of_many_chinese_characters_is_read_however_it_arrives(start_server: StartServer) -> None:
    server = start_server()
    assert head_in_segments(server.port, f"/speak?speaker=solo&text={quote('你好。' * 660)}") == 200


def test_a_query_of_64_kib_is_read_however_it_arrives(start_server: StartServer) -> None:
    server = start_server()
    assert head_in_segments(server.port, "/speak?text=".ljust(65_536, "a")) == 413


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
    wait_until(lambda: server.get_json("/health")[1]["waiting"] == 0, server, wait_s=20)
    with urlopen(f"{server.url}/speak?text=Hello.", timeout=60) as response:
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
    wait_until(lambda: server.get_json("/health")[1]["waiting"], server)
