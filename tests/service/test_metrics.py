"""What /metrics tells, by a client of the small voices."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

import server
from tests.conftest import model_table
from tests.fakes import Client, running, service_of
from tests.waiting import until, when_ready

Samples = Callable[..., float]


@pytest.fixture
def settings(tmp_path: Path) -> server.Settings:
    """Those of one small voice."""
    path = tmp_path / "models.toml"
    path.write_text("[server]\nthreads = 1\n" + model_table("solo", "single_speaker_dp_resblock2"))
    return server.read_settings(path)


@pytest.fixture
def client(settings: server.Settings) -> Iterator[TestClient]:
    """A client of a service that wants a key, and shows it."""
    app = server.create_app(settings, "secret")
    with TestClient(app, raise_server_exceptions=False, headers={"Authorization": "Bearer secret"}) as client:
        yield when_ready(client)


@pytest.fixture
def sample(client: TestClient) -> Samples:
    """Reads one sample of /metrics, 0 where there is none."""

    def read(name: str, **labels: str) -> float:
        families = text_string_to_metric_families(client.get("/metrics").text)
        values = (
            row.value for family in families for row in family.samples if (row.name, row.labels) == (name, labels)
        )
        return next(values, 0.0)

    return read


def speak(client: TestClient, **parameters: str) -> float:
    """The duration of an answer to GET /speak."""
    response = client.get("/speak", params={"text": "Hello from here.", "speaker": "solo"} | parameters)
    assert response.status_code == 200, response.text
    return float(response.headers["x-duration"])


def test_metrics_are_open_and_in_prometheus_text_format(client: TestClient) -> None:
    response = client.get("/metrics", headers={"Authorization": "Bearer wrong"})
    assert response.status_code == 200
    assert response.headers["content-type"] == prometheus_client.CONTENT_TYPE_LATEST
    assert client.get("/speak?text=Hi", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_answers_are_counted_by_route_status_and_code(client: TestClient, sample: Samples) -> None:
    speak(client)
    client.get("/speak", params={"text": "Hi", "speaker": "nobody"})
    client.post("/v1/audio/speech", json={"model": "solo", "input": "Hi", "voice": "nobody"})
    client.delete("/speak")

    def count(route: str, status: str, code: str) -> float:
        return sample("speak_requests_total", route=route, status=status, code=code)

    assert count("/speak", "200", "") == 1
    assert count("/speak", "404", "unknown_speaker") == 1
    assert count("/speak", "405", "method_not_allowed") == 1
    assert count("/v1/audio/speech", "404", "unknown_speaker") == 1
    scrapes = count("/metrics", "200", "")
    assert count("/metrics", "200", "") == scrapes + 1


def test_what_clients_send_is_never_a_label(client: TestClient, sample: Samples) -> None:
    for number in range(5):
        client.get(f"/hidden-{number}")
        client.request(f"HIDDEN{number}", "/speak")
        client.get("/speak", params={"text": f"hidden {number}", "speaker": f"hidden-{number}", "lang": "hidden"})
    assert "hidden" not in client.get("/metrics").text.lower()
    assert sample("speak_requests_total", route="unknown", status="404", code="unknown_path") == 5


def test_sound_is_counted_when_it_is_computed_and_only_then(client: TestClient, sample: Samples) -> None:
    first_s = speak(client)
    assert sample("speak_audio_seconds_total") == pytest.approx(first_s, abs=1e-3)
    speak(client)
    assert sample("speak_audio_seconds_total") == pytest.approx(first_s, abs=1e-3)
    second_s = speak(client, seed="1")
    assert sample("speak_audio_seconds_total") == pytest.approx(first_s + second_s, abs=2e-3)
    assert sample("speak_real_time_factor_count") == 2
    assert sample("speak_real_time_factor_sum") > 0


def test_recordings_are_counted_by_where_they_came_from(client: TestClient, sample: Samples) -> None:
    speak(client)
    speak(client)
    speak(client)
    client.head("/speak", params={"text": "Hello from here.", "speaker": "solo"})
    client.head("/speak", params={"text": "Not made yet.", "speaker": "solo"})
    assert sample("speak_cache_requests_total", result="miss") == 1
    assert sample("speak_cache_requests_total", result="hit") == 3
    assert sample("speak_cache_requests_total", result="shared") == 0
    assert sample("speak_first_sound_seconds_count", cache="miss") == 1
    assert sample("speak_first_sound_seconds_count", cache="hit") == 2, "a HEAD has no sound"


def test_an_error_has_no_first_sound(client: TestClient, sample: Samples) -> None:
    assert client.get("/speak", params={"text": "☃", "speaker": "solo"}).status_code == 400
    assert sample("speak_first_sound_seconds_count", cache="miss") == 0


def test_gauges_say_what_is_under_way_and_what_is_kept(client: TestClient, sample: Samples) -> None:
    assert sample("speak_cache_bytes") == 0
    speak(client)
    assert sample("speak_cache_bytes") == client.get("/health").json()["cache"]["bytes"] > 0
    assert sample("process_resident_memory_bytes") > 50e6
    with service_of(client).turns.admit(), service_of(client).turns.admit():
        assert sample("speak_waiting") == 2
    assert sample("speak_waiting") == 0


@pytest.mark.anyio
async def test_an_answer_that_was_not_sent_to_its_end_is_counted_as_cut(settings: server.Settings) -> None:
    app = server.create_app(settings)
    client = Client(app, "text=Hello&speaker=solo&stream=true")
    client.reads.clear()
    async with running(app) as service:
        reading = asyncio.create_task(client.run())
        await until(lambda: client.status)
        client.leaves.set()
        await reading
        labels = {"route": "/speak", "status": "200", "code": "cut"}
        assert service.metrics.registry.get_sample_value("speak_requests_total", labels) == 1


def test_every_app_counts_for_itself(client: TestClient, settings: server.Settings) -> None:
    speak(client)
    other = server.create_app(settings)
    assert other.state.service.metrics.registry.get_sample_value("speak_audio_seconds_total") == 0
    assert b"speak_" not in prometheus_client.generate_latest()
