"""Settings of Gunicorn: LD_PRELOAD=/path/to/libjemalloc.so.2 .venv/bin/gunicorn --config deploy/gunicorn.conf.py.

LD_PRELOAD and MALLOC_CONF belong before the command or in the unit file, not in raw_env below: the dynamic linker and
the allocator read them when a program starts, and Gunicorn forks its workers from the master instead of starting them.
In raw_env they would change what os.environ says, and nothing else.
"""

import sys
from pathlib import Path

from uvicorn_worker import UvicornWorker

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # Gunicorn does it only after it has read this file.

from deploy.defaults import cache_capacities, setting  # noqa: E402

GRACE_S = int(setting("GRACE_S"))
HOST = setting("HOST")


class Worker(UvicornWorker):  # type: ignore[misc]
    """uvicorn in a worker of Gunicorn's, with the options that run.sh gives it.

    Gunicorn's own ASGI worker ("asgi") serves too. But it refuses request lines above 8190 bytes, about 900 Chinese
    characters in a query, unless that limit is taken away altogether, and it has no handler for the server's own log
    lines (what was loaded, what is in force, what went wrong).
    """

    CONFIG_KWARGS = {
        "http": "service.connections:Connections",
        "loop": "asyncio",
        "ws": "none",
        # Without it a stop waits for requests under way until Gunicorn kills the worker.
        "timeout_graceful_shutdown": GRACE_S,
        "h11_max_incomplete_event_size": int(setting("MAX_HEAD_BYTES")),
    }


wsgi_app = "server:create_app_from_environment()"
chdir = str(ROOT)
bind = f"[{HOST}]:{setting('PORT')}" if ":" in HOST else f"{HOST}:{setting('PORT')}"

# One inference uses every core. A second worker would hold every model a second time, halve the speed of both, and have
# its own limit of waiting requests. For more load use more machines: see README.md.
workers = 1
worker_class = Worker
backlog = 32

# The models load in the worker. A fork does not copy threads: workers of a master that had computed would hang.
preload_app = False

# The worker reads these two at its first inference, so raw_env can set them.
raw_env = [f"{name}={capacity}" for name, capacity in cache_capacities().items()]

# After GRACE_S uvicorn cancels the requests that are left, which takes as long as the window of audio under way.
graceful_timeout = GRACE_S + 5

# A socket in the home folder that takes commands: signals do all that is needed, and a service has no home.
control_socket_disable = True

# Paths without queries, because the query holds users' text. Gunicorn's own workers use the format; the server itself
# cuts uvicorn's access log.
accesslog = "-"
access_log_format = '%(h)s - "%(m)s %(U)s %(H)s" %(s)s'
