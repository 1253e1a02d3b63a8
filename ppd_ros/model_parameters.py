"""The parameters of what `configure` loads.

Defaults are read from `ppd_core.config`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ppd_core.config import BACKEND_NAMES, PRESETS
from ppd_core.device import DTYPES
from ppd_ros.parameter_spec import ParameterSpec

AUTO = "auto"
DEFAULT_MODEL = next(iter(PRESETS))
MAX_WARM_UP_PX = 10_000

SPECS = (
    ParameterSpec(
        "model",
        DEFAULT_MODEL,
        f"A preset ({', '.join(PRESETS)}; tiny is untrained) or the path of a checkpoint or "
        "package.",
        is_fixed_by_configure=True,
    ),
    ParameterSpec(
        "weights_dir",
        "",
        "Folder of the published weight files; empty: $PPD_WEIGHTS_DIR, else the user's cache.",
        is_fixed_by_configure=True,
    ),
    ParameterSpec(
        "device",
        AUTO,
        "Where the model runs: auto (CUDA if there is any, else the CPU), cpu, cuda, cuda:1 ...",
        is_fixed_by_configure=True,
    ),
    ParameterSpec(
        "dtype",
        AUTO,
        "Number format of the model; auto: bfloat16 on CUDA (float16 before Ampere), on the CPU "
        "float32, with graph bfloat16 where it has units for it; float32 wherever another is "
        "computed wrongly. float8: most linear layers, the rest bfloat16; from Ada and Hopper on.",
        choices=(AUTO, *DTYPES),
        is_fixed_by_configure=True,
    ),
    ParameterSpec(
        "backend",
        AUTO,
        "How the model runs; auto: graph on CUDA, eager on the CPU and where graph fails. graph "
        "compiles on its first frame of each size and is then faster, on the CPU it needs a C++ "
        "compiler.",
        choices=(AUTO, *BACKEND_NAMES),
        is_fixed_by_configure=True,
    ),
    ParameterSpec(
        "warm_up.width",
        640,
        "Width of the images for which configure gets the model ready, so that the first one need "
        "not wait; 0: no warm-up.",
        bounds=(0, MAX_WARM_UP_PX),
        is_fixed_by_configure=True,
    ),
    ParameterSpec(
        "warm_up.height",
        480,
        "Height of those images; 0: no warm-up.",
        bounds=(0, MAX_WARM_UP_PX),
        is_fixed_by_configure=True,
    ),
)


@dataclass(frozen=True)
class ModelSettings:
    """What `DepthPipeline.from_pretrained` is asked for; None is its own default.

    Attributes:
        warm_up_size: width and height of the images to get ready for, or None.
    """

    model: str
    weights_dir: Path | None
    device: str | None
    dtype: torch.dtype | None
    backend: str | None
    warm_up_size: tuple[int, int] | None = None


def model_settings(values: Mapping[str, Any]) -> ModelSettings:
    """What to load, by values that are among the choices."""
    size = values["warm_up.width"], values["warm_up.height"]
    return ModelSettings(
        model=values["model"],
        weights_dir=Path(values["weights_dir"]).expanduser() if values["weights_dir"] else None,
        device=None if values["device"] == AUTO else values["device"],
        dtype=DTYPES.get(values["dtype"]),
        backend=None if values["backend"] == AUTO else values["backend"],
        warm_up_size=size if min(size) > 0 else None,
    )
