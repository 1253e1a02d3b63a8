"""What a bug report begins with: what is installed here, and on what; nothing is run."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import re
import shutil
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

import torch

from ppd_core.bench.report import processor
from ppd_core.registry import REGISTRY, WeightsError, verify, weights_dir
from ppd_core.threads import usable_cores
from ppd_core.version import __version__

INSTRUCTION_SETS = {
    "AMX": "_is_amx_tile_supported",
    "AVX512_BF16": "_is_avx512_bf16_supported",
    "AVX512": "_is_avx512_supported",
    "AVX2": "_is_avx2_supported",
}
"""What oneDNN chooses its kernels by, best first -> how torch asks for it."""
ISA_LIMIT = "ONEDNN_MAX_CPU_ISA"
"""The environment variable that shows oneDNN a lesser processor."""
ROS_WHEEL = "ros-rclpy"
MISSING = "none"

_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
_SHARED_MEMORY = Path("/dev/shm")
_MODULES = {
    "timm": "timm",
    "numpy": "numpy",
    "opencv": "cv2",
    "triton": "triton",
    "mujoco": "mujoco",
}

Facts = Mapping[str, str]


def all_facts(directory: Path | None = None) -> dict[str, Facts]:
    """Section -> fact -> what is here.

    Args:
        directory: of the published weights; see `registry.weights_dir`.
    """
    return {
        "versions": versions(),
        "devices": devices(),
        "compilers and drawing": compilers(),
        "ROS": ros(),
        "weights": weights(directory),
    }


def versions() -> Facts:
    """Of what computes."""
    config, names = torch.__config__.show(), metadata.packages_distributions()
    onednn = re.search(r"(?:MKL-DNN|oneDNN|DNNL) v([\d.]+)", config)
    return {
        "ppd": __version__,
        "python": f"{platform.python_version()}, {platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "cuda": torch.version.cuda or MISSING,
        "cudnn": str(torch.backends.cudnn.version() or MISSING),
        "driver": _driver(),
        "onednn": onednn[1] if onednn else MISSING,
        "onednn_isa": _instruction_set(),
        **{name: _module_version(module, names) for name, module in _MODULES.items()},
    }


def devices() -> Facts:
    """What the networks can run on: "cpu", then "cuda.0" and so on."""
    found = {
        "cpu": f"{processor()}, {usable_cores()} cores, {torch.get_num_threads()} threads, "
        f"{_memory_gb():.0f} GB"
    }
    for index in range(torch.cuda.device_count()):
        of_device = torch.cuda.get_device_properties(index)
        found[f"cuda.{index}"] = (
            f"{of_device.name}, {of_device.total_memory / 1e9:.0f} GB, "
            f"compute capability {of_device.major}.{of_device.minor}"
        )
    return found


def compilers() -> Facts:
    """What backend `graph`, `ppd export` and the simulator need."""
    names = [os.environ.get("CXX", ""), "g++", "clang++"]
    found = next((path for name in names if name and (path := shutil.which(name))), MISSING)
    c_compiler = next((p for n in ("gcc", "clang") if (p := shutil.which(n))), MISSING)
    return {"cpp_compiler": found, "c_compiler": c_compiler, "egl": _egl()}


def ros() -> Facts:
    """Which ROS 2 would be imported, and what its messages travel through."""
    spec, kind = importlib.util.find_spec("rclpy"), MISSING
    if spec is not None:
        is_wheel = _distribution_version(ROS_WHEEL) is not None
        kind = "wheels" if is_wheel else "an install"
        kind += f", {Path(spec.origin).parent}" if spec.origin else ""
    prefixes = [path for path in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if path]
    return {
        "ros": kind,
        "ros_distro": os.environ.get("ROS_DISTRO") or _wheel_distro(),
        "ros_prefixes": str(len(prefixes)),
        "rmw": os.environ.get("RMW_IMPLEMENTATION") or "not set: its default",
        "ros_domain_id": os.environ.get("ROS_DOMAIN_ID") or "not set: 0",
        "shared_memory": _told(
            lambda: "{1:.0f} MB free of {0:.0f} MB".format(
                *(shutil.disk_usage(_SHARED_MEMORY)[i] / 1e6 for i in (0, 2))
            )
        ),
    }


def weights(directory: Path | None = None) -> Facts:
    """Of each published file: whether it is here and whole, and its licence."""
    found = {"folder": str(weights_dir(directory))}
    for name, file in REGISTRY.items():
        try:
            status = verify(name, directory).status
            here = {"ok": "whole", "mismatch": DAMAGED}.get(status, "here, its sum not known")
        except WeightsError:
            here = "not here"
        found[name] = f"{here}; {file.licence_text}"
    return found


DAMAGED = "DAMAGED"
"""How a weight file's fact begins that is not what was published."""


def _told(tell: Callable[[], str]) -> str:
    try:
        return tell()
    except OSError as error:
        return f"{MISSING}: {error.strerror or error}"


def _driver() -> str:
    def read() -> str:
        match = re.search(r"\d+\.\d[\d.]*", _NVIDIA_DRIVER.read_text())
        return match[0] if match else "unknown"

    return _told(read) if _NVIDIA_DRIVER.exists() else MISSING


def _instruction_set() -> str:
    checks = {name: getattr(torch.cpu, ask, None) for name, ask in INSTRUCTION_SETS.items()}
    here = [name for name, check in checks.items() if check is not None and check()]
    limit = os.environ.get(ISA_LIMIT)
    return " ".join(here or ["unknown"]) + (f", limited by {ISA_LIMIT}={limit}" if limit else "")


def _module_version(module: str, distributions: Mapping[str, list[str]]) -> str:
    """Of what would be imported, by whatever name it was installed."""
    if importlib.util.find_spec(module) is None:
        return MISSING
    names = sorted(set(distributions.get(module, [])))
    if module in names:
        return metadata.version(module)
    return ", ".join(f"{name} {metadata.version(name)}" for name in names) or "unknown"


def _distribution_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _wheel_distro() -> str:
    for distribution in metadata.distributions():
        match = re.fullmatch(r"ros-(\w+)-rclpy", distribution.name or "")
        if match:
            return match[1]
    return MISSING


def _egl() -> str:
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        return MISSING
    return "libEGL.so.1"


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
