"""What every benchmark writes: one flat JSON object, its figures and how they were made.

It is in the package, for `ppd bench` writes one, too; `benchmarks/` is not installed.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

import ppd_core
from ppd_core.atomic_file import atomic_write

SIGNIFICANT_DIGITS = 5


def write_report(path: Path, figures: Mapping[str, float]) -> None:
    """Write the figures beside hardware, versions and command.

    Raises:
        ValueError: a figure is NaN or infinite, or nothing can be created there.
    """
    for name, value in figures.items():
        if not math.isfinite(value):
            raise ValueError(f"figure {name} must be a finite number, got {value}")
    rounded = {name: float(f"{value:.{SIGNIFICANT_DIGITS}g}") for name, value in figures.items()}
    facts = {"hardware": hardware(), "versions": versions(), "command": command()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as stream:
        stream.write(json.dumps({**rounded, **facts}, indent=2, allow_nan=False).encode() + b"\n")


def hardware() -> str:
    """The processor, the cores this process may use, torch's threads, and the GPU if any."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [processor(), f"{cores} cores", f"{torch.get_num_threads()} threads"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


def versions() -> str:
    """Of Python, torch and this package."""
    return (
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"ppd_core {ppd_core.__version__}"
    )


def command() -> str:
    """The words of this process, as a shell takes them."""
    script = Path(sys.argv[0])
    if script.name == "ppd" or script.parts[-3:] == ("ppd_core", "cli", "__main__.py"):
        return shlex.join(["ppd", *sys.argv[1:]])
    if script.parent.name == "benchmarks":
        script = Path(script.parent.name, script.name)
    return shlex.join(["python", str(script), *sys.argv[1:]])


def print_figures(figures: Mapping[str, float]) -> None:
    """One figure a line."""
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name:{width}}  {value:.{SIGNIFICANT_DIGITS}g}")


def processor() -> str:
    """The name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
