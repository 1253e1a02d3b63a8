"""Where torch's compiler keeps its kernels, so that the next process finds them."""

from __future__ import annotations

import os
from pathlib import Path

from ppd_core.cache_dir import cache_dir

VARIABLES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
"""Environment variable that the compiler reads -> folder in `compile_cache_dir`."""


def compile_cache_dir() -> Path:
    """`ppd_ros/compiled` in the user's cache; it need not exist.

    What is in it is keyed by the versions of torch and its compiler, the device and the code: one
    folder serves all, and may be deleted at any time.
    """
    return cache_dir("compiled")


def keep_compiled() -> dict[str, Path]:
    """Let torch's compiler keep what it makes in `compile_cache_dir`; by itself it keeps it in a
    temporary folder, which a restart or a new container empties.

    To be called before the compiler is first used. A variable that is set already stays.

    Returns:
        Environment variable -> the folder that it names now.

    Raises:
        OSError: a folder cannot be created.
    """
    folders = {}
    for variable, name in VARIABLES.items():
        folder = Path(os.environ.get(variable) or compile_cache_dir() / name)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[variable] = str(folder)
        folders[variable] = folder
    return folders
