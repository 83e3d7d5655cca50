"""Settings of Gunicorn: LD_PRELOAD=/path/to/libjemalloc.so.2 .venv/bin/gunicorn --config deploy/gunicorn.conf.py.

LD_PRELOAD and MALLOC_CONF stand before the command or in the unit file, and not in raw_env below: the dynamic linker
and the allocator read them when a program is started, and workers are forked from the master, not started. There they
would change what os.environ says, and nothing else.
"""

import os
from pathlib import Path

from uvicorn_worker import UvicornWorker

GRACE_S = int(os.environ.get("GRACE_S", "10"))


class Worker(UvicornWorker):  # type: ignore[misc]
    """uvicorn, as run.sh starts it, in a worker of Gunicorn's.

    Gunicorn's own ASGI worker ("asgi") was tried, and serves too. But it refuses request lines above 8190 bytes, some
    900 Chinese characters in a query, unless that limit is taken away altogether; and the server's own log lines (what
    was loaded, what is in force, what went wrong) have no handler there.
    """

    # Without it a stop waits for requests under way until Gunicorn kills the worker.
    CONFIG_KWARGS = {**UvicornWorker.CONFIG_KWARGS, "timeout_graceful_shutdown": GRACE_S}


wsgi_app = "server:create_app_from_environment()"
chdir = str(Path(__file__).resolve().parent.parent)
bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"

# One inference already uses every core. A second worker would hold every model a second time, halve the speed of both,
# and have a limit of waiting requests of its own. More machines are for more load: see README.md.
workers = 1
worker_class = Worker

# The models load in the worker. A fork does not copy threads: workers of a master that had computed would hang.
preload_app = False

# These two are read in the worker, at its first inference, so raw_env can set them.
raw_env = [
    f"{name}={os.environ.get(name, default)}"
    for name, default in (("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "512"), ("LRU_CACHE_CAPACITY", "1"))
]

# After GRACE_S uvicorn cancels what is left, which ends with the window of audio under way.
graceful_timeout = GRACE_S + 5

# A socket in the home folder that commands Gunicorn: signals do all that is needed, and a service has no home.
control_socket_disable = True

# Paths without queries: the query holds users' text. The format counts for Gunicorn's own workers; uvicorn's access log
# is cut by the server itself.
accesslog = "-"
access_log_format = '%(h)s - "%(m)s %(U)s %(H)s" %(s)s'
