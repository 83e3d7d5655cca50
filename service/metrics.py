"""What /metrics tells, in Prometheus's text format."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import prometheus_client as prometheus
from prometheus_client.process_collector import ProcessCollector
from starlette.requests import Request
from starlette.responses import Response

Result = TypeVar("Result")

RTF_BUCKETS = (0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0)
LOAD_BUCKETS_S = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
FIRST_SOUND_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counts and times, in a registry of their own. No label has a value that a client chose."""

    def __init__(self) -> None:
        """Nothing counted yet."""
        self.registry = registry = prometheus.CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = prometheus.Counter(
            "speak_requests",
            "Answers, by route, HTTP status and error code; the code of one that was not sent to its end is cut.",
            ("route", "status", "code"),
            registry=registry,
        )
        self.audio_s = prometheus.Counter("speak_audio_seconds", "Sound that was computed.", registry=registry)
        self.rtf = prometheus.Histogram(
            "speak_real_time_factor",
            "Seconds of computing per second of sound, once a recording.",
            buckets=RTF_BUCKETS,
            registry=registry,
        )
        self.first_sound_s = prometheus.Histogram(
            "speak_first_sound_seconds",
            "From a request to the first bytes of its sound, by where the recording came from.",
            ("cache",),
            buckets=FIRST_SOUND_BUCKETS_S,
            registry=registry,
        )
        self.cache = prometheus.Counter(
            "speak_cache_requests",
            "Requests for sound, by where the recording came from: hit (kept), shared (under way) or miss (made).",
            ("result",),
            registry=registry,
        )
        self.loads = prometheus.Counter(
            "speak_model_loads", "Models that were loaded, or that failed to be.", ("result",), registry=registry
        )
        self.load_s = prometheus.Histogram(
            "speak_model_load_seconds", "How long a model took to load.", buckets=LOAD_BUCKETS_S, registry=registry
        )
        self.unloads = prometheus.Counter(
            "speak_model_unloads",
            "Models that were let go: for the budget's sake, for idleness, or because they were removed.",
            ("reason",),
            registry=registry,
        )
        # A series that is there from the start, at 0, shows its first count as an increase.
        for counter, values in (
            (self.cache, ("hit", "shared", "miss")),
            (self.loads, ("loaded", "failed")),
            (self.unloads, ("budget", "idle", "removed")),
        ):
            for value in values:
                counter.labels(value)

    def watch(
        self, waiting: Callable[[], float], cache_bytes: Callable[[], float], model_bytes: Callable[[], float]
    ) -> None:
        """Show gauges, which are read from these whenever /metrics is asked for."""
        for name, text, read in (
            ("speak_model_bytes", "Memory of the loaded weights.", model_bytes),
            ("speak_waiting", "Recordings under way.", waiting),
            ("speak_cache_bytes", "Memory of the kept recordings.", cache_bytes),
        ):
            prometheus.Gauge(name, text, registry=self.registry).set_function(read)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Count a load and its time; one that raises failed."""
        started = time.perf_counter()
        try:
            yield
        except BaseException:
            self.loads.labels("failed").inc()
            raise
        self.loads.labels("loaded").inc()
        self.load_s.observe(time.perf_counter() - started)

    async def answer(self, request: Request) -> Response:
        """Counts and times, as Prometheus reads them."""
        report = prometheus.generate_latest(self.registry)
        return Response(report, headers={"Content-Type": prometheus.CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})


class Stopwatch:
    """The time that jobs take in their thread, without their wait for it."""

    def __init__(self) -> None:
        """At zero."""
        self.seconds = 0.0

    def time(self, job: Callable[[], Result]) -> Result:
        """What `job` returns."""
        started = time.perf_counter()
        try:
            return job()
        finally:
            self.seconds += time.perf_counter() - started
