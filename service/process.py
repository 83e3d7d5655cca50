"""Facts about this process that the operating system tells: cores, allocator, memory.

Linux has files for all of them. Where a file is missing, as on macOS, the fact is unknown, and the functions say so.
"""

import errno
import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath

MOST_DEFAULT_THREADS = 8
"""One window of audio is too little work for more threads; a user may still set more."""
ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc")
"""The libraries that replace glibc's allocator when they are preloaded."""

LESS_URGENT = 10
"""How much nicer a thread is that yields to others: Linux then gives it a tenth of a core that another wants whole."""

PROC = Path("/proc")
CPUS = Path("/sys/devices/system/cpu")
CGROUPS = Path("/sys/fs/cgroup")


def default_threads() -> int:
    """How many threads one inference uses unless the settings say otherwise."""
    return min(usable_cores(), MOST_DEFAULT_THREADS)


def usable_cores() -> int:
    """How many physical cores this process may use, at least 1.

    Two hyperthreads of one core count once, because they only slow each other down. A container's limit of CPU time
    counts as that many cores, rounded up: more threads would all be stopped together when the time is used up.
    """
    cores = _physical_cores()
    quota = min(_cpu_quotas(), default=math.inf)
    return cores if quota >= cores else max(1, math.ceil(quota))


def allocator() -> str:
    """The memory allocator of this process, judged by its mapped libraries; "unknown" where no file lists them."""
    try:
        maps = (PROC / "self/maps").read_text(errors="replace")
    except OSError:
        return "unknown"
    return next((name for name in ALLOCATORS if f"lib{name}" in maps), "glibc")


def resident_bytes(process: int | str = "self") -> int | None:
    """How much memory this process, or the one with that number, holds; None where no file says it."""
    try:
        if process == "self":
            pages = os.pread(_own_statm(PROC, os.getpid()), 100, 0).split()[1]
        else:
            pages = (PROC / str(process) / "statm").read_bytes().split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def resident_mb() -> float | str:
    """The memory of this process in megabytes, to one place; "unknown" where no file says it."""
    found = resident_bytes()
    return "unknown" if found is None else round(found / 1e6, 1)


def yield_to_others() -> None:
    """Let the calling thread compute with little of the cores' time while the process's other threads want it all."""
    # Linux has a priority for each thread. Elsewhere, and where a sandbox forbids it, the thread stays as it is.
    if sys.platform == "linux":
        with suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + LESS_URGENT)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that caused it, says that no memory was left: Python's, the system's, or torch's."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or getattr(cause, "errno", None) == errno.ENOMEM:
            return True
        if isinstance(cause, RuntimeError) and "can't allocate memory" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


@cache
def _own_statm(proc: Path, pid: int) -> int:
    """The descriptor of this process's file of sizes, which stays open: /health must answer when none is left."""
    return os.open(proc / "self/statm", os.O_RDONLY | os.O_CLOEXEC)


def _physical_cores() -> int:
    """The cores that the scheduler may put this process on."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    usable = os.sched_getaffinity(0)
    try:
        return len({(CPUS / f"cpu{cpu}/topology/thread_siblings_list").read_text() for cpu in usable})
    except OSError:
        return len(usable)


def _cpu_quotas() -> Iterator[float]:
    """Every limit of CPU time, in CPUs, on the control groups that this process is in; a group's parents count too.

    https://docs.kernel.org/admin-guide/cgroup-v2.html and .../scheduler/sched-bwc.html describe the files.
    """
    for folder in _cpu_groups():
        try:
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        except OSError:
            continue
        if quota not in ("max", "-1"):
            yield int(quota) / int(period)


def _cpu_groups() -> Iterator[Path]:
    """The folders of the control groups of this process, from the inmost to the root.

    /proc/self/cgroup has a line "0::/path" for version 2 and lines such as "4:cpu,cpuacct:/path" for version 1. A
    container may see the host's path there and yet find its own group at the root.
    """
    try:
        lines = (PROC / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root = CGROUPS
        elif "cpu" in controllers.split(","):
            root = CGROUPS / "cpu"
        else:
            continue
        inmost = PurePosixPath(path)
        for group in (inmost, *inmost.parents):
            yield root / group.relative_to("/")
