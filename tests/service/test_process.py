"""Facts of the process, on this machine and on others that files stand in for."""

import errno
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service import process


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of /, without any file that tells something."""
    for name, path in (("PROC", "proc"), ("CPUS", "sys/devices/system/cpu"), ("CGROUPS", "sys/fs/cgroup")):
        monkeypatch.setattr(process, name, tmp_path / path)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def give_cpus(machine: Path, monkeypatch: pytest.MonkeyPatch, *siblings: str) -> None:
    """Let the process use that many CPUs; each names the hyperthreads of its core, as Linux does."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(len(siblings))))
    for cpu, threads in enumerate(siblings):
        write(machine / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", threads + "\n")


# Cores


def test_cores_are_no_more_than_the_cpus_that_may_be_used() -> None:
    assert 1 <= process.usable_cores() <= len(os.sched_getaffinity(0))


def test_hyperthreads_of_one_core_count_once(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_cpus(machine, monkeypatch, "0-1", "0-1", "2-3", "2-3")
    assert process.usable_cores() == 2


def test_without_the_topology_every_usable_cpu_counts(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 7})
    assert process.usable_cores() == 3


def test_without_an_affinity_every_cpu_counts(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    assert process.usable_cores() == 10


def test_without_any_count_there_is_one_core(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert process.usable_cores() == 1


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),  # rounded up
        ("5000 100000", 1),
        ("1600000 100000", 8),  # more than there are
    ],
)
def test_a_limit_of_cpu_time_counts_as_cores(
    machine: Path, monkeypatch: pytest.MonkeyPatch, limit: str, cores: int
) -> None:
    give_cpus(machine, monkeypatch, *"01234567")
    write(machine / "proc/self/cgroup", "0::/\n")
    write(machine / "sys/fs/cgroup/cpu.max", limit + "\n")
    assert process.usable_cores() == cores


def test_the_limit_of_a_parent_group_counts_too(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_cpus(machine, monkeypatch, *"01234567")
    write(machine / "proc/self/cgroup", "0::/system.slice/speak.service\n")
    write(machine / "sys/fs/cgroup/system.slice/speak.service/cpu.max", "600000 100000\n")
    write(machine / "sys/fs/cgroup/system.slice/cpu.max", "300000 100000\n")
    assert process.usable_cores() == 3


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("250000", 3)])
def test_a_limit_of_the_first_version_of_control_groups_counts(
    machine: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    give_cpus(machine, monkeypatch, *"01234567")
    write(machine / "proc/self/cgroup", "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n1:name=systemd:/docker/1\n")
    write(machine / "sys/fs/cgroup/cpu/docker/1/cpu.cfs_quota_us", quota + "\n")
    write(machine / "sys/fs/cgroup/cpu/docker/1/cpu.cfs_period_us", "100000\n")
    assert process.usable_cores() == cores


def test_a_container_that_sees_the_hosts_path_finds_its_limit_at_the_root(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_cpus(machine, monkeypatch, *"01234567")
    write(machine / "proc/self/cgroup", "4:cpu,cpuacct:/docker/1\n")
    write(machine / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n")
    write(machine / "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert process.usable_cores() == 2


def test_groups_without_a_limit_leave_every_core(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_cpus(machine, monkeypatch, *"0123")
    write(machine / "proc/self/cgroup", "0::/user.slice\n")
    assert process.usable_cores() == 4


@pytest.mark.parametrize(("cpus", "threads"), [(2, 2), (8, 8), (512, 8)])
def test_default_threads_are_the_cores_up_to_a_bound(
    machine: Path, monkeypatch: pytest.MonkeyPatch, cpus: int, threads: int
) -> None:
    give_cpus(machine, monkeypatch, *map(str, range(cpus)))
    assert process.default_threads() == threads


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_a_thread_that_yields_to_others_leaves_their_priority_as_it_is() -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = priority()
    with ThreadPoolExecutor(1) as thread:
        thread.submit(process.yield_to_others).result()
        assert thread.submit(priority).result() == min(before + process.LESS_URGENT, 19)
    assert priority() == before


# The allocator


def test_this_process_has_a_known_allocator() -> None:
    assert process.allocator() in ("glibc", *process.ALLOCATORS)


@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", "jemalloc"),
        ("/usr/lib/libtcmalloc_minimal.so.4", "tcmalloc"),
        ("/usr/lib/libmimalloc.so.2", "mimalloc"),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", "glibc"),
    ],
)
def test_the_allocator_is_the_library_that_is_mapped(machine: Path, library: str, name: str) -> None:
    write(machine / "proc/self/maps", f"7f0000000000-7f0000001000 r-xp 00000000 08:01 1234    {library}\n")
    assert process.allocator() == name


def test_without_a_list_of_libraries_the_allocator_is_unknown(machine: Path) -> None:
    assert process.allocator() == "unknown"


# Memory


def test_this_process_holds_memory() -> None:
    held = process.resident_bytes()
    assert held is not None
    assert held > 5e6


def test_the_memory_of_another_process_is_read_from_its_own_file(machine: Path) -> None:
    write(machine / "proc/42/statm", "900 70 30 1 0 90 0\n")
    assert process.resident_bytes(42) == 70 * os.sysconf("SC_PAGE_SIZE")


def test_resident_memory_is_the_second_field_in_pages(machine: Path) -> None:
    write(machine / "proc/self/statm", "5000 1200 300 1 0 900 0\n")
    assert process.resident_bytes() == 1200 * os.sysconf("SC_PAGE_SIZE")


def test_without_its_file_resident_memory_is_unknown(machine: Path) -> None:
    assert process.resident_bytes() is None


# Out of memory


def caused_by(cause: Exception) -> Exception:
    error = ValueError("is not a whole checkpoint")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        caused_by(MemoryError()),
    ],
)
def test_errors_of_missing_memory_are_told_from_others(error: Exception) -> None:
    assert process.is_out_of_memory(error)


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "x"), RuntimeError("x"), caused_by(ValueError("x"))])
def test_other_errors_are_none_of_missing_memory(error: Exception) -> None:
    assert not process.is_out_of_memory(error)
