"""Options of the commands that run a model, and what is made of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ppd_core.config import (
    BACKEND_NAMES,
    DEFAULT_PROFILE,
    PRESETS,
    PROFILES,
    PipelineConfig,
    PreprocessConfig,
    SamplerConfig,
)

if TYPE_CHECKING:
    from ppd_core.pipeline import DepthPipeline

DTYPE_NAMES = ("float32", "bfloat16", "float16", "float8")


def add_model_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that say which model runs, and how."""
    group.add_argument(
        "--model",
        default="ppd-da2",
        metavar="NAME|PATH",
        help=f"{', '.join(PRESETS)} or a checkpoint file (default: %(default)s)",
    )
    group.add_argument(
        "--weights-dir",
        type=Path,
        metavar="DIR",
        help="folder of the published weights; see `ppd weights list`",
    )
    group.add_argument(
        "--profile",
        choices=PROFILES,
        default=DEFAULT_PROFILE,
        help="fast: half the steps at half the area; balanced: what the model was made for; "
        f"quality: {PROFILES['quality'].num_steps} steps (default: %(default)s)",
    )
    group.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="network evaluations an image, more is finer (default: the profile's)",
    )
    group.add_argument(
        "--processing-area",
        type=int,
        metavar="PIXELS",
        help="size at which the model sees the image (default: the profile's)",
    )
    group.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: CUDA if there is any)")
    group.add_argument(
        "--dtype",
        choices=DTYPE_NAMES,
        help="of the networks (default: float32 on the CPU, else half precision); "
        "float8 is most of the linear layers, the rest bfloat16: slow on a CPU",
    )
    group.add_argument(
        "--backend",
        choices=BACKEND_NAMES,
        help="how the model runs: graph compiles for each size first and is then faster, worth it "
        "for videos and many images of one size (default: eager)",
    )


def check_effort(args: argparse.Namespace) -> None:
    """Refuse what no model can do, before one is loaded.

    Raises:
        ValueError: --steps or --processing-area is out of range.
    """
    if args.steps is not None:
        SamplerConfig(num_steps=args.steps)
    if args.processing_area is not None:
        PreprocessConfig(processing_area=args.processing_area)


def effort(args: argparse.Namespace, config: PipelineConfig) -> tuple[int, int]:
    """What a frame may cost: as given outright, else as the profile has it.

    Returns:
        The number of steps and the processing area in pixels.
    """
    profile = PROFILES[args.profile]
    steps, area = args.steps, args.processing_area
    return (
        profile.num_steps_of(config) if steps is None else steps,
        profile.processing_area_of(config) if area is None else area,
    )


def load_pipeline(args: argparse.Namespace) -> DepthPipeline:
    """Load the model that the options name.

    Raises:
        ValueError: no such model, device, dtype or backend, or it cannot run here.
        WeightsError: a file is missing or not what it should be; it names the model that needs
            none.
    """
    from ppd_core.backends.package import is_package
    from ppd_core.device import DTYPES
    from ppd_core.pipeline import DepthPipeline
    from ppd_core.threads import set_threads
    from ppd_core.weights import WeightsError

    set_threads()
    try:
        return DepthPipeline.from_pretrained(
            args.model,
            device=args.device,
            dtype=DTYPES[args.dtype] if args.dtype else None,
            # Photos differ in size, and the pipeline's own choice on CUDA compiles for each.
            backend=args.backend or (None if is_package(args.model) else "eager"),
            weights_dir=args.weights_dir,
        )
    except WeightsError as error:
        raise WeightsError(f"{error}; --model nano is in the package and needs none") from error
