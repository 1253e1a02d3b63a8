"""READ FIRST. From images to `DepthResult`s, in the order of the paper's figure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ppd_core.alignment.surfaces import SurfaceChooser
from ppd_core.backends import build_backend, resolve_backend
from ppd_core.backends.aoti import AotiBackend, load_package
from ppd_core.backends.eager import EagerBackend
from ppd_core.backends.fallback import FALLBACK
from ppd_core.backends.package import is_package
from ppd_core.backends.protocol import Backend
from ppd_core.config import PipelineConfig, PreprocessConfig, SamplerConfig
from ppd_core.depth_result import DepthResult
from ppd_core.device import StageClock, resolve_device
from ppd_core.finish import finish
from ppd_core.flow import T, interpolate, timestep_grid, warm_timesteps
from ppd_core.frame import Aligner, Frame, frames_of
from ppd_core.loading import Loaded, build_random, load, load_checked, save
from ppd_core.models.moge2 import MoGe2, MoGe2Features, MoGe2Geometry
from ppd_core.networks import Networks
from ppd_core.preprocess import model_size
from ppd_core.starting_field import check_noise_source, samples_before, starting_noise
from ppd_core.types import Alignment, Intrinsics


class DepthPipeline:
    """Pixel-Perfect Depth as one call: image in, depth and points out.

    Args:
        config: what the models are and how they are run.
        models: from `build_models`, with weights, on one device and in one dtype. Weights that
            change after the first image are not all seen: what depends on times alone is kept.
            None where the backend is an exported package.
        backend: runs the networks; None is the plain path.
        is_trained: False for weights that nobody trained; users are told.

    Attributes:
        load_seconds: what `from_pretrained` and `from_config` took; see `Loaded.seconds`.

    Example:
        >>> pipeline = DepthPipeline.from_pretrained("ppd-da2", device="cuda")
        >>> result = pipeline(image, intrinsics=Intrinsics.from_fov(640, 480, 60))
        >>> result.relative_depth.shape
        torch.Size([480, 640])
    """

    def __init__(
        self,
        config: PipelineConfig,
        models: nn.ModuleDict | None,
        *,
        backend: Backend | None = None,
        is_trained: bool = True,
    ) -> None:
        self._networks = None if models is None else Networks(config, models)
        if self._networks is None and not isinstance(backend, AotiBackend):
            raise ValueError("a pipeline needs models or an exported package, got neither")
        if backend is None:
            backend = EagerBackend(self._own_networks())
        self._backend = backend
        runner = backend if isinstance(backend, AotiBackend) else self._own_networks()
        self.config = config
        self.models = models
        self.device = runner.device
        self.dtype = runner.dtype
        self.state_dtype = runner.state_dtype
        self.is_trained = is_trained
        self.load_seconds: Mapping[str, float] = {}
        self._settle = SurfaceChooser()
        self._fallback = ""

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        backend: str | None = None,
        weights_dir: str | Path | None = None,
        download: bool = True,
    ) -> DepthPipeline:
        """Build a pipeline with its weights.

        Args:
            name_or_path: a preset's name ("ppd-da2", "ppd-moge2", "nano", or the untrained
                "tiny"), or the path of a checkpoint written by `save_pretrained` or by
                `ppd weights convert` of a preset, or of a package written by `ppd export`
                (.pt2). A package is a program: loading it runs native code of the file.
            device: default: CUDA if there is any, else the CPU; a package's own.
            dtype: of weights and activations; default as in `device.resolve_dtype`, or a
                package's own, and float32 where that is computed wrongly here. As
                torch.float8_e4m3fn: most linears in float8, the rest in bfloat16.
            backend: how the networks are run, of `backends.BACKENDS`; default as in
                `backends.resolve_backend`, and eager from where that fails on.
            weights_dir: where the published files are; see `weights.weights_dir`.
            download: fetch published files that are missing; else their absence is an error.

        Raises:
            ValueError: no such preset, device, dtype or backend, it cannot run here, or the dtype
                is computed wrongly; see `precision`.
            WeightsError: a file is missing or not what it should be.
        """
        if is_package(name_or_path):
            package = load_package(name_or_path, device, dtype, backend)
            facts = package.built
            return cls(facts.config, None, backend=package, is_trained=facts.is_trained)
        checked = resolve_device(device)

        def load_in(dtype: torch.dtype) -> Loaded:
            return load(name_or_path, checked, dtype, weights_dir, download=download)

        return cls._of(load_in, checked, dtype, backend)

    @classmethod
    def from_config(
        cls,
        config: PipelineConfig,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        backend: str | None = None,
        seed: int = 0,
    ) -> DepthPipeline:
        """Build a pipeline with random weights, the same for the same seed."""
        checked = resolve_device(device)

        def build_in(dtype: torch.dtype) -> Loaded:
            return build_random(config, checked, dtype, seed)

        return cls._of(build_in, checked, dtype, backend)

    @classmethod
    def _of(
        cls,
        load_in: Callable[[torch.dtype], Loaded],
        device: torch.device,
        dtype: torch.dtype | None,
        backend: str | None,
    ) -> DepthPipeline:
        loaded = load_checked(load_in, dtype, device, resolve_backend(backend, device))
        built = build_backend(Networks(loaded.config, loaded.models), backend)
        pipeline = cls(loaded.config, loaded.models, backend=built, is_trained=loaded.is_trained)
        pipeline.load_seconds = loaded.seconds
        pipeline._fallback = loaded.fallback
        return pipeline

    def warm_up(
        self,
        height: int,
        width: int,
        *,
        num_steps: int | None = None,
        processing_area: int | None = None,
        batch_size: int = 1,
        is_warm_started: bool = False,
    ) -> Mapping[str, float]:
        """Do once what frames of a size would, so that the first of them need not wait for it.

        Whatever is made at first use is made here: kernels are loaded, compiled, tuned and
        captured, memory is taken.

        Args:
            height, width: of the images to come.
            num_steps, processing_area: as in a call.
            batch_size: images at a time.
            is_warm_started: for such as begin from a frame before, in place of such as do not.

        Returns:
            Stage -> seconds, and "total", which is what the caller waited.

        Raises:
            ValueError: an argument is not usable.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {batch_size}")
        start_s = time.perf_counter()
        previous = None
        if is_warm_started:
            previous = torch.zeros(self.model_size(height, width, processing_area))
        result = self.batch(
            [np.zeros((height, width, 3), np.uint8)] * batch_size,
            intrinsics=[Intrinsics.from_fov(width, height, 60)] * batch_size,
            alignments=[Alignment(scale=1.0, shift=0.0, source="constant")] * batch_size,
            previous=[previous] * batch_size,
            num_steps=num_steps,
            processing_area=processing_area,
        )[-1]
        assert result.points is not None  # made when asked for
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return {**result.timings_s, "total": time.perf_counter() - start_s}

    @property
    def is_package(self) -> bool:
        """Whether this was exported: then only the config's step count can be asked for, images of
        one size are taken, and there are no modules."""
        return self._networks is None

    def save_pretrained(self, path: str | Path) -> None:
        """Write config and weights to one .safetensors file that `from_pretrained` reads.

        Raises:
            ValueError: the weights are rounded to float8.
        """
        save(path, Loaded(self.config, self._own_networks().models, self.is_trained))

    @torch.no_grad()
    def __call__(
        self,
        image: np.ndarray,
        *,
        intrinsics: Intrinsics | None = None,
        alignment: Alignment | Aligner | None = None,
        num_steps: int | None = None,
        processing_area: int | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        previous: Tensor | None = None,
    ) -> DepthResult:
        """Estimate the depth of one image.

        Args:
            image: (H, W, 3) uint8 RGB.
            intrinsics: of that image; with them the result has points.
            alignment: what makes metres of relative depth, or a function that finds it for this
                frame; without it there are none.
            num_steps: Euler steps, default the config's.
            processing_area: pixels at model size, default the config's.
            noise: (1, 1, h, w) starting noise at `model_size`; default fixed, so that the same
                image gives the same depth.
            generator: draws the starting noise instead.
            previous: (h, w) `relative_depth_model` of the frame before: sampling begins from it,
                noised to the middle of the steps, and does the second half of them. What is not
                finite in it stays so. `stream.DepthStream` knows when it helps.

        Returns:
            Tensors on the pipeline's device, float32 whatever the compute dtype.

        Raises:
            ValueError: an argument is not usable; the message says what was wanted and what came.
        """
        frame = Frame(image, intrinsics, alignment, previous)
        area, steps = self._checked_area(processing_area), self._checked_steps(num_steps)
        check_noise_source(noise, generator)
        return self._estimate([frame], area, steps, noise, generator)[0]

    @torch.no_grad()
    def batch(
        self,
        images: Sequence[np.ndarray],
        *,
        intrinsics: Sequence[Intrinsics | None] | None = None,
        alignments: Sequence[Alignment | Aligner | None] | None = None,
        previous: Sequence[Tensor | None] | None = None,
        num_steps: int | None = None,
        processing_area: int | None = None,
    ) -> list[DepthResult]:
        """Estimate the depth of several images, those of one model size in one pass.

        Those that begin from a frame before are passes of their own.

        Args:
            images: each as in a call.
            intrinsics, alignments, previous: one for each image, as in a call; default none.
            num_steps, processing_area: as in a call, of all images.

        Returns:
            What calls with one image each would return, in the order of the images. The seconds
            of preprocess, prompt and sample are those of all images of one pass together.

        Raises:
            ValueError: an argument is not usable, or there is not one for each image.
        """
        frames = frames_of(images, intrinsics, alignments, previous)
        area, steps = self._checked_area(processing_area), self._checked_steps(num_steps)
        passes: dict[tuple[tuple[int, int], bool], list[int]] = {}
        for index, frame in enumerate(frames):
            height, width = frame.image.shape[:2]
            size = model_size(height, width, area)
            passes.setdefault((size, frame.previous is not None), []).append(index)
        results: dict[int, DepthResult] = {}
        for indices in passes.values():
            # Of two cameras either may come first; a backend that keeps programs needs one alone.
            indices.sort(key=lambda index: frames[index].image.shape)
            estimated = self._estimate([frames[index] for index in indices], area, steps)
            results.update(zip(indices, estimated, strict=True))
        return [results[index] for index in range(len(frames))]

    def _estimate(
        self,
        frames: Sequence[Frame],
        area: int,
        num_steps: int,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> list[DepthResult]:
        """The results of images of one model size, all with a frame before or none: together."""
        images = [frame.image for frame in frames]
        height, width = images[0].shape[:2]
        size = model_size(height, width, area)
        clock = StageClock(self.device)
        seed, timesteps = self.config.sampler.noise_seed, timestep_grid(num_steps)
        x_t = starting_noise(size, noise, generator, seed, self.device)
        x_t = x_t.to(self.device, self.state_dtype).expand(len(images), -1, -1, -1)
        previous = [frame.previous for frame in frames if frame.previous is not None]
        if previous:
            timesteps = warm_timesteps(timesteps)
            before = samples_before(previous, size, self.device, self.state_dtype)
            x_t = interpolate(before, x_t, timesteps[0])
        estimate = self._backend.estimate(images, area, x_t, timesteps, clock)
        is_warm = timesteps[0] < T
        return [
            finish(
                frame,
                depth[0].float(),
                partial(self._own_geometry, features),
                StageClock(self.device, earlier=clock.seconds),
                self._settle,
                is_warm=is_warm,
            )
            for frame, depth, features in zip(
                frames,
                estimate.relative_depth,
                _of_each(estimate.features, len(frames)),
                strict=True,
            )
        ]

    @property
    def backend(self) -> Backend:
        """How the networks are run."""
        return self._backend

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """Why dtype or backend is not the default one here, a sentence each; empty where it is, or
        where another was asked for. More may come while frames do."""
        return tuple(filter(None, (self._fallback, self._backend.facts.get(FALLBACK))))

    def model_size(
        self, height: int, width: int, processing_area: int | None = None
    ) -> tuple[int, int]:
        """The (h, w) of the model for an H x W image: the size of `noise`."""
        return model_size(height, width, self._checked_area(processing_area))

    def _checked_steps(self, num_steps: int | None) -> int:
        if num_steps is None:
            return self.config.sampler.num_steps
        return SamplerConfig(num_steps=num_steps).num_steps

    def _checked_area(self, processing_area: int | None) -> int:
        if processing_area is None:
            return self.config.preprocess.processing_area
        return PreprocessConfig(processing_area=processing_area).processing_area

    @torch.no_grad()
    def encode(self, model_image: Tensor) -> Tensor | None:
        """The semantic prompt of images of model size.

        Args:
            model_image: (B, 3, h, w) in [0, 1], sides multiples of 16.

        Returns:
            (B, h/16 * w/16, C), or None for a config without prompt.
        """
        return self._own_networks().encode(model_image)[0]

    def _own_geometry(self, features: MoGe2Features | None, size: Sequence[int]) -> MoGe2Geometry:
        """What the prompt network's own heads say of one image."""
        models = self._own_networks().models
        if features is None:
            raise ValueError(
                "metres from the prompt network need prompt kind moge2 (model ppd-moge2), got "
                f"{self.config.prompt.kind!r}"
            )
        encoder = models["semantics"]
        assert isinstance(encoder, MoGe2)
        height, width = size
        return encoder.geometry(features, height, width)

    @torch.no_grad()
    def sample(
        self, model_image: Tensor, semantics: Tensor | None, noise: Tensor, timesteps: list[int]
    ) -> Tensor:
        """Relative depth of images of model size.

        Args:
            model_image: (B, 3, h, w) in [0, 1].
            semantics: from `encode`.
            noise: (B, 1, h, w).
            timesteps: from `flow.timestep_grid`.

        Returns:
            (B, 1, h, w), in the dtype of `noise`: the sampled field + 0.5.
        """
        networks = self._own_networks()
        schedule = networks.schedule(timesteps, *noise.shape[-2:])
        return networks.sample(model_image, semantics, noise, schedule)

    def _own_networks(self) -> Networks:
        if self._networks is None:
            raise ValueError(
                "an exported package has networks only to be run as a whole: for this, give the "
                "model that it was made of"
            )
        return self._networks


def _of_each(features: MoGe2Features | None, count: int) -> list[MoGe2Features | None]:
    """A batch's features as batches of one."""
    if features is None:
        return [None] * count
    pairs = zip(features.grid.split(1), features.class_token.split(1), strict=True)
    return [MoGe2Features(grid, class_token) for grid, class_token in pairs]
