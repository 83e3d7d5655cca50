"""Fixtures of all tests, also of test_server.py, which lies above tests/: services of small real and of fake voices.

Loaded as a plugin (see pyproject.toml), so that the services are shared between modules.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import server
from tests.conftest import model_table
from tests.fakes import Counters, SlowVoice
from tests.waiting import when_ready

POOL = (
    "[server]\nthreads = 1\nmax_text_chars = 100\n"
    + model_table("trio", "multi_speaker_sdp")
    + model_table("solo", "single_speaker_dp_resblock2")
    + model_table("pair", "speaker_list_sdp")
    + model_table("idle", "multi_speaker_sdp", "load = false")
)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop of asynchronous tests: uvicorn's."""
    return "asyncio"


@pytest.fixture
def write_settings(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a models.toml."""

    def write(document: str) -> Path:
        path = tmp_path / "models.toml"
        path.write_text(document)
        return path

    return write


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of the small real voices."""
    path = tmp_path_factory.mktemp("pool") / "models.toml"
    path.write_text(POOL)
    with TestClient(server.create_app(server.read_settings(path)), raise_server_exceptions=False) as client:
        yield when_ready(client)


@pytest.fixture
def counters() -> Counters:
    """What the fake voices of this test did."""
    return Counters()


@pytest.fixture
def slow_app(counters: Counters, write_settings: Callable[[str], Path]) -> Starlette:
    """A service of one slow fake voice that lets four requests in."""

    def load(checkpoint: Path, config: Path, precision: str) -> SlowVoice:
        return SlowVoice(counters, speakers={})

    path = write_settings("[server]\nthreads = 1\nmax_waiting = 4\n" + model_table("slow", "multi_speaker_sdp"))
    return server.create_app(server.read_settings(path), load_voice=load)  # type: ignore[arg-type]


@pytest.fixture
def slow_client(slow_app: Starlette) -> Iterator[TestClient]:
    """A client of the slow fake voice."""
    with TestClient(slow_app, raise_server_exceptions=False) as client:
        yield when_ready(client)


@pytest.fixture(scope="session")
def locked_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a server that wants a key, and lets one origin's scripts in."""
    path = tmp_path_factory.mktemp("locked") / "models.toml"
    lines = '[server]\nthreads = 1\ncors_origins = ["https://example.org"]\n'
    path.write_text(lines + model_table("trio", "multi_speaker_sdp"))
    app = server.create_app(server.read_settings(path), api_key="schlüssel")
    with TestClient(app, raise_server_exceptions=False) as client:
        yield when_ready(client)
