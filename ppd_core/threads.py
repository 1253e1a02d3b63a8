"""How many threads to compute with on a CPU."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu")


def set_threads() -> int:
    """Have torch compute with as many threads as `usable_cores`; what the user set wins.

    For the main of a process, not for a library.

    Returns:
        How many.
    """
    import torch

    if not any(os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")):
        torch.set_num_threads(usable_cores())
    return torch.get_num_threads()


def usable_cores() -> int:
    """The physical cores that this process may use, at least 1.

    Less than the machine has where the process is bound to some of them (affinity, as by
    `taskset` or `docker --cpuset-cpus`) or may use no more than a share (`docker --cpus`): a
    thread too many waits, and all others for it. Two threads of one core share its units.
    """
    quota = _quota(_CGROUP_V2, _CGROUP_V1)
    return max(1, math.ceil(min(_physical_cores(_allowed()), quota)))


def _allowed() -> set[int]:
    """Numbers of the processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _physical_cores(processors: Iterable[int], siblings: str = _SIBLINGS) -> int:
    """How many cores the processors are threads of; each its own where nothing is known."""
    cores = set()
    for processor in processors:
        try:
            cores.add(Path(siblings.format(processor)).read_text().strip())
        except OSError:
            cores.add(f"processor {processor}")
    return len(cores)


def _quota(v2: Path, v1: Path) -> float:
    """Processors' worth of time that a container may use; infinite without a limit."""
    try:
        quota, period = v2.read_text().split()
    except (OSError, ValueError):
        try:
            quota = (v1 / "cpu.cfs_quota_us").read_text().strip()
            period = (v1 / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return math.inf
    if quota in ("max", "-1"):
        return math.inf
    return int(quota) / int(period)
