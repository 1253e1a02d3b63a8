"""What `configure` does with the model: load it, warm it up, and tell what that took."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from pathlib import Path

from ppd_core.device import is_out_of_memory
from ppd_core.pipeline import DepthPipeline
from ppd_ros.batches import Pipeline
from ppd_ros.model_parameters import ModelSettings
from ppd_ros.parameters import Effort


def load_pipeline(settings: ModelSettings) -> DepthPipeline:
    """Load what the parameters ask for; never downloads: a transition must not last minutes.

    Raises:
        ValueError: no such model, device, dtype or backend, or it cannot run here.
        ppd_core.weights.WeightsError: a file is missing (and where to get it) or broken.
    """
    return DepthPipeline.from_pretrained(
        settings.model,
        device=settings.device,
        dtype=settings.dtype,
        backend=settings.backend,
        weights_dir=settings.weights_dir,
        download=False,
    )


def ready_pipeline(
    load: Callable[[ModelSettings], Pipeline],
    settings: ModelSettings,
    effort: Effort,
    batch_sizes: Iterable[int],
    warn: Callable[[str], None],
    *,
    is_warm_started: bool = False,
) -> tuple[Pipeline, dict[str, float]]:
    """A pipeline that is warm, if it can be warmed up and that is wanted.

    An exported package is as ready as it can be, and may be for other images than these.

    Args:
        load: makes the pipeline.
        settings: for `load`, and the size of the images to warm up for.
        effort: of the frames to come.
        batch_sizes: frames at a time, each of which is warmed up for.
        warn: told where memory is not enough. That is no error here: of frames, `on_oom` tells
            what becomes.
        is_warm_started: whether there will be frames that begin from the one before.

    Returns:
        The pipeline, and part -> its seconds.

    Raises:
        Exception: whatever `load` and the model raise.
    """
    pipeline = load(settings)
    seconds = dict(getattr(pipeline, "load_seconds", {}))
    warm_up = getattr(pipeline, "warm_up", None)
    config = getattr(pipeline, "config", None)
    is_compiled = getattr(pipeline, "is_package", False)
    if warm_up is None or config is None or is_compiled or settings.warm_up_size is None:
        return pipeline, seconds
    width, height = settings.warm_up_size
    start_s = time.perf_counter()
    try:
        for size, is_warm in product(batch_sizes, sorted({False, is_warm_started})):
            warm_up(
                height,
                width,
                num_steps=effort.num_steps_of(config),
                processing_area=effort.processing_area_of(config),
                batch_size=size,
                is_warm_started=is_warm,
            )
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        warn(f"memory is not enough to warm up for {size} frame(s) of {width} x {height}")
    seconds["warm-up"] = time.perf_counter() - start_s
    return pipeline, seconds


def told(seconds: Mapping[str, float]) -> str:
    """Parts and their seconds in words: "build 0.12 s, weights 2.40 s"."""
    return ", ".join(f"{part} {part_s:.2f} s" for part, part_s in seconds.items())


def process_age_s() -> float | None:
    """Seconds since this process was started; None where the system does not tell."""
    try:
        # After the name, which may hold spaces: the 20th is the start in ticks since boot.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started_s
    except (OSError, AttributeError, IndexError, ValueError):
        return None
