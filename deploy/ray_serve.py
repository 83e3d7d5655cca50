"""The same service as replicas on Ray Serve, for more than one machine.

    serve run deploy.ray_serve:app models=models.toml threads=2 max_replicas=4

Each replica is a process with all the models of its models.toml and one inference at a time on `threads` cores. Every
machine has the repository, its .venv and the models at the same path.
"""

import logging
import os
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray import serve
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy.capacity import BASE_MB, FULL_SIZE
from deploy.defaults import cache_capacities, setting
from server import EXIT_START_FAILED, Settings, create_app, read_settings
from service import environment

ROOT = Path(__file__).resolve().parent.parent
TARGET_ONGOING_REQUESTS = 2
"""How many requests under way each replica should have: one computes while the next is read or sent."""
JEMALLOC = "libjemalloc.so.2"
"""A name without a folder: the dynamic linker finds it on every machine of the cluster that has it."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `serve run` or a config file of Serve's can set, as `args`."""

    models: str = str(ROOT / "models.toml")
    """The settings of every replica. For other models in other replicas, run a second application of this file."""
    threads: int = 2
    """Cores of each replica, all of them for the one inference."""
    min_replicas: int = 1
    max_replicas: int = 4


def read_options(arguments: dict[str, Any]) -> Options:
    """The options that `arguments` set; from the command line they are all strings."""
    unknown = arguments.keys() - Options.__dataclass_fields__.keys()
    if unknown:
        known = ", ".join(Options.__dataclass_fields__)
        raise ValueError(f"{', '.join(sorted(unknown))}: there is no such option; there is {known}")
    numbers = {name: int(value) for name, value in arguments.items() if name != "models"}
    return Options(models=os.path.abspath(arguments.get("models", Options().models)), **numbers)


def replica_variables() -> dict[str, str]:
    """What run.sh exports. Ray starts a process for each replica, so here even LD_PRELOAD has its effect."""
    allocator = {"LD_PRELOAD": os.environ.get("LD_PRELOAD", JEMALLOC), "MALLOC_CONF": setting("MALLOC_CONF")}
    return cache_capacities() | allocator | {"PYTHONPATH": str(ROOT)}


def replica_bytes(settings: Settings) -> float:
    """The memory that Ray reserves for a replica: that of a server with full-size models."""
    weights_mb = FULL_SIZE.weights_mb * sum(bool(model.load) for model in settings.models)
    return 1e6 * (BASE_MB + settings.cache_mb + min(weights_mb, settings.memory_mb or weights_mb))


class Ready:
    """ASGI middleware for what Serve leaves out.

    Serve sends requests to a replica as soon as its lifespan has started, so that must wait until the models are
    loaded; and its answers do not say which replica they come from.
    """

    def __init__(self, app: Starlette, replica: str) -> None:
        """Around the service `app`, in the replica of that name."""
        self.app = app
        self.replica = replica.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the lifespan or the request on."""

        async def send_lifespan(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self.app.state.service.ready.wait()
            await send(message)

        async def send_response(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-replica", self.replica)]
            await send(message)

        await self.app(scope, receive, send_lifespan if scope["type"] == "lifespan" else send_response)


def end_process_with(thread: threading.Thread) -> None:
    """End the process when the thread has ended."""
    thread.join()
    os._exit(EXIT_START_FAILED)


class Speaker:
    """A replica."""

    def __init__(self, settings: Settings) -> None:
        """With the models that `settings` name."""
        self.settings = settings
        # Serve gives handlers to its own loggers alone.
        log = logging.getLogger("uvicorn.error")
        log.addHandler(logging.StreamHandler(sys.stderr))
        log.setLevel(logging.INFO)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """The app that Serve asks."""
        # Models that cannot be loaded end the server, which here is the event loop of this thread. If the process
        # lived on, Serve would wait for it for ever.
        threading.Thread(target=end_process_with, args=(threading.current_thread(),), daemon=True).start()
        self.ready = Ready(
            create_app(self.settings, environment.api_key()), serve.get_replica_context().replica_id.unique_id
        )
        return self.ready

    async def check_health(self) -> None:
        """Raise where /health does not answer 200; Serve then starts another replica in place of this one."""
        statuses = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": "/health",
            "query_string": b"",
            "headers": [],
        }
        await self.ready(scope, receive, send)
        if statuses != [200]:
            raise RuntimeError(f"/health answered {statuses}")


def app(arguments: dict[str, Any]) -> serve.Application:
    """The application, for `serve run deploy.ray_serve:app` and for `import_path` in a config file."""
    options = read_options(arguments)
    settings = replace(read_settings(Path(options.models)), threads=options.threads)
    deployment = serve.deployment(
        serve.ingress()(Speaker),
        name="vits-speak",
        # Each request under way holds one of the app's places, so the others wait in Serve instead of getting 503.
        max_ongoing_requests=settings.max_waiting,
        autoscaling_config={
            "min_replicas": options.min_replicas,
            "max_replicas": options.max_replicas,
            "target_ongoing_requests": TARGET_ONGOING_REQUESTS,
        },
        ray_actor_options={
            "num_cpus": options.threads,
            "memory": replica_bytes(settings),
            "runtime_env": {"env_vars": replica_variables()},
        },
        graceful_shutdown_timeout_s=int(setting("GRACE_S")),
        health_check_period_s=5,
        health_check_timeout_s=30,
    )
    return deployment.bind(settings)
