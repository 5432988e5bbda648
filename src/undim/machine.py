"""What this machine has: memory, processors, and a folder for what can be made again."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def count_cores() -> int:
    """How many processors this process may keep busy, at least 1.

    Not more than it may run on, nor than a container's share of time (version 2 of Linux's control groups, rounded up).
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()[:2]
        share = math.ceil(int(quota) / int(period))  # the word "max" where there is no limit
    except (OSError, ValueError, ZeroDivisionError):
        return allowed
    return max(1, min(allowed, share))


def cache_folder() -> Path:
    """The folder, perhaps not there yet, for what Undim can make again: the system's own place for such things."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    given = os.environ.get("XDG_CACHE_HOME", "")
    return Path(given if Path(given).is_absolute() else base) / "undim"


def free_memory() -> int | None:
    """Bytes that can be had without swapping, in this container if it is one; None if the system does not tell."""
    known = [free for free in (_machine_memory(), _container_memory()) if free is not None]
    return min(known, default=None)


def peak_memory() -> int | None:
    """Most bytes that this process has held in memory so far; None if the system does not tell.

    Of Linux not what `getrusage` says, which counts what the parent process held when it started this one.
    """
    try:
        lines = Path("/proc/self/status").read_bytes().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(b"VmHWM:"))
    except (OSError, ValueError, IndexError, StopIteration):
        pass
    if sys.platform != "darwin":
        return None
    import resource  # not there on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _machine_memory() -> int | None:
    try:
        lines = _MEMINFO.read_bytes().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(b"MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        pass
    try:
        # Without the file cache, which could be given up: the safe side.
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _container_memory() -> int | None:
    """What the second version of Linux's control groups leaves, the file cache that can be given up included."""
    try:
        limit = int((_CGROUP / "memory.max").read_text())  # the word "max" where there is no limit
        used = int((_CGROUP / "memory.current").read_text())
        lines = (_CGROUP / "memory.stat").read_text().splitlines()
        cache = next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
    except (OSError, ValueError, IndexError):
        return None
    return max(0, limit - used + cache)
