"""A pipeline that is timed."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ppd_core.backends import build_backend
from ppd_core.backends.protocol import Backend
from ppd_core.bench.configuration import Configuration, Way, Workload
from ppd_core.bench.eager_autocast import EagerAutocastBackend
from ppd_core.bench.memory import PeakMemory, weight_bytes
from ppd_core.bench.rounds import LONG_FRAME_S
from ppd_core.config import PRESETS, PipelineConfig
from ppd_core.depth_result import DepthResult
from ppd_core.loading import build_random, load
from ppd_core.models import build_models
from ppd_core.networks import Networks
from ppd_core.pipeline import DepthPipeline

WARM_UP_FRAMES = 2
STAGES_OF_EACH_IMAGE = ("upsample", "align")
"""The others are those of a batch together; see `DepthPipeline.batch`."""


@dataclass(frozen=True)
class Model:
    """Whose networks are timed.

    Args:
        name: a preset or a checkpoint file.
        device: where.
        is_random: build a preset with random weights; the cost does not depend on their values.
        weights_dir: see `weights.weights_dir`.
    """

    name: str
    device: torch.device
    is_random: bool = False
    weights_dir: Path | None = None

    def __post_init__(self) -> None:
        if self.is_random and self.name not in PRESETS:
            raise ValueError(
                f"only a preset can be built at random ({', '.join(PRESETS)}), got {self.name}"
            )

    def config(self) -> PipelineConfig:
        """Of the networks; that of a checkpoint is in its file.

        Raises:
            ValueError: no such preset.
            WeightsError: no such checkpoint.
        """
        if self.name in PRESETS:
            return PRESETS[self.name]
        return load(
            self.name, torch.device("cpu"), torch.float32, self.weights_dir, download=False
        ).config

    def import_all(self) -> None:
        """Import what building needs, so that the first to be timed does not pay for the rest."""
        import cv2  # noqa: F401

        if self.name in PRESETS:
            with torch.device("meta"):
                build_models(PRESETS[self.name])

    def build(self, way: Way) -> tuple[DepthPipeline, Backend]:
        """Load the networks, and make ready to run them so.

        Raises:
            ValueError: they cannot run so, or not here.
            WeightsError: weights are not here; nothing is fetched for a benchmark.
        """
        dtype = torch.float32 if way.is_base else way.dtype
        if self.is_random:
            loaded = build_random(PRESETS[self.name], self.device, dtype)
        else:
            loaded = load(self.name, self.device, dtype, self.weights_dir, download=False)
        networks = Networks(loaded.config, loaded.models)
        backend: Backend
        if way.is_base:
            backend = EagerAutocastBackend(networks, way.dtype)
        else:
            backend = build_backend(networks, way.backend)
        is_trained = loaded.is_trained
        pipeline = DepthPipeline(
            loaded.config, loaded.models, backend=backend, is_trained=is_trained
        )
        return pipeline, backend


@dataclass(eq=False)
class Subject:
    """A configuration and what was measured of it.

    Attributes:
        pipeline: shared with other sizes and steps.
        load_s: seconds of building the pipeline.
        first_frame_s: of the very first frame.
        peak_bytes: weights and the most that a frame took beyond what was there; None = unknown.
        frame_s: of each timed frame; of a batch, all of it.
        stages_s: stage -> seconds in each timed frame.
    """

    configuration: Configuration
    pipeline: DepthPipeline
    load_s: float
    first_frame_s: float = 0.0
    expected_s: float = 0.0
    peak_bytes: int | None = None
    frame_s: list[float] = field(default_factory=list)
    stages_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def config(self) -> PipelineConfig:
        """What the networks are."""
        return self.pipeline.config

    def warm_up(self) -> None:
        """Frames that are not timed. At first they tell the start, the memory and what to expect,
        and a long one does so alone; later one is enough to bring back what was dropped for other
        sizes."""
        if self.frame_s:
            self._run()
            return
        growths, seconds = [], []
        for _ in range(WARM_UP_FRAMES):
            with PeakMemory(self.pipeline.device) as memory:
                seconds.append(self._run()[0])
            growths.append(memory.growth_bytes)
            if seconds[-1] >= LONG_FRAME_S and not self.configuration.way.is_compiled:
                break
        self.first_frame_s, self.expected_s = seconds[0], seconds[-1]
        if self.pipeline.device.type == "cpu" and len(growths) > 1:
            growths = growths[1:]  # in the first one compilers may run
        known = [growth for growth in growths if growth is not None]
        if known:
            models = self.pipeline.models
            weights = 0 if models is None else weight_bytes(models)
            self.peak_bytes = weights + max(known)

    def time_frame(self) -> None:
        """One more frame."""
        seconds, results = self._run()
        self.frame_s.append(seconds)
        for stage in results[0].timings_s:
            each = [float(result.timings_s[stage]) for result in results]
            together = sum(each) if stage in STAGES_OF_EACH_IMAGE else each[0]
            self.stages_s[stage].append(together)

    def _run(self) -> tuple[float, list[DepthResult]]:
        workload = self.configuration.workload
        steps, area = workload.num_steps, workload.pixels
        images, device = images_of(workload), self.pipeline.device
        _wait_for(device)
        start = time.perf_counter()
        if workload.batch == 1:
            results = [self.pipeline(images[0], num_steps=steps, processing_area=area)]
        else:
            results = self.pipeline.batch(images, num_steps=steps, processing_area=area)
        _wait_for(device)
        return time.perf_counter() - start, results


@lru_cache(maxsize=2)
def images_of(workload: Workload) -> tuple[np.ndarray, ...]:
    """Noise of model size: no stage's time depends on what is in a picture."""
    rng = np.random.default_rng(0)
    shape = (workload.height, workload.width, 3)
    return tuple(rng.integers(0, 256, shape, np.uint8) for _ in range(workload.batch))


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
