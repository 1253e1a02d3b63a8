"""How good the average of weights is on held-out frames, and whether it uses its conditions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from ppd_core.data.mixing import permuted_index
from ppd_core.data.shards import iterate_shards
from ppd_core.evaluation.metrics import relative_depth_metrics
from ppd_core.flow import T, timestep_grid, velocity_from_x_0
from ppd_core.models.efficientnet_prompt import most_probable
from ppd_core.sampler import sample
from ppd_core.training.augment import image_tensor
from ppd_core.training.config import SourceConfig, TrainConfig
from ppd_core.training.frames import DiskFrames, Frame, frame_of
from ppd_core.training.objectives import FlowObjective, PredictField, masked_l1, valid_pixels
from ppd_core.training.setup import TrainingModels
from ppd_core.training.surfaces import SurfaceValidator
from ppd_core.training.targets import MAX_DEPTH_M, depth_target

Figures = dict[str, float]
_CONDITIONS = {
    "x0_error": (False, False),
    "x0_error_other_prompt": (True, False),
    "x0_error_other_image": (False, True),
    "x0_error_other_both": (True, True),
}
"""Figure -> whether the prompt, and the image, are those of another frame."""
_NOISE_SEED = 0
_SHUFFLED_FRAMES = 256
"""Shards hold several views of a scene, one after the other, and a wrong prompt must be wrong."""


class Validator:
    """Holds the frames and measures on them.

    Args:
        config: of the run.
        models: for the prompt and the objective.
        device: where to compute.
    """

    def __init__(self, config: TrainConfig, models: TrainingModels, device: torch.device) -> None:
        self.config, self.models, self.device = config, models, device
        self.is_wanted = bool(config.validation.sources)
        self._frames: list[Frame] = []
        self._surfaces: SurfaceValidator | None = None

    @torch.no_grad()
    def run(self, average: nn.Module) -> tuple[Figures, dict[str, np.ndarray]]:
        """Measure the network, and draw the first frames.

        Args:
            average: the trained network, with the average of its weights.

        Returns:
            Name -> figure: "absrel" and "delta1" after the best affine fit in log depth; for a
            flow the "x0_error" at t = T (mean absolute, of fields about 1 high) with its own
            prompt and image, and with those of another frame: as long as these do not differ,
            the network does not look at them; for a mixture the "mixture_absrel" of its most
            probable components. And name -> (H, W, 3) uint8 picture.

        Raises:
            ValueError: the held-out sources have no usable frame.
        """
        if self.config.objective == "surfaces":
            return self._run_surfaces(average), {}
        if not self._frames:
            self._frames = _held_out_frames(self.config)
        sums: dict[str, float] = {}
        pictures: dict[str, np.ndarray] = {}
        for image, depth in self._batches():
            field, errors = self._predict(average, image, depth)
            metrics = relative_depth_metrics(field, depth, valid_pixels(depth))
            figures = {name: float(metrics[name].mean()) for name in ("absrel", "delta1")} | errors
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value * len(image)
            if not pictures:
                pictures = self._draw(image, depth, field)
        return {name: total / len(self._frames) for name, total in sums.items()}, pictures

    def _run_surfaces(self, average: nn.Module) -> Figures:
        if self._surfaces is None:
            sources = [one.urls for one in self.config.validation.sources if one.urls is not None]
            samples = (one for urls in sources for one in iterate_shards(urls, seed=0, epoch=0))
            frames = [
                frame_of(one, None) for one in islice(samples, self.config.validation.frames)
            ]
            self._surfaces = SurfaceValidator(frames, self.config.preset)
        return self._surfaces.run(average)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        size = self.config.validation.batch_size
        for first in range(0, len(self._frames), size):
            images, depths = zip(*self._frames[first : first + size], strict=True)
            depth = torch.from_numpy(np.stack(depths)[:, None]).to(self.device)
            yield image_tensor(torch.from_numpy(np.stack(images)), self.device), depth

    def _predict(self, net: nn.Module, image: Tensor, depth: Tensor) -> tuple[Tensor, Figures]:
        """The field (B, 1, h, w), and what only a flow or a mixture has."""
        objective = self.models.objective
        if not isinstance(objective, FlowObjective):
            field, mixture = PredictField(net, self.config.mixture_weight > 0)(image)
            if mixture is None:
                return field.float(), {}
            mode = most_probable(mixture)
            metrics = relative_depth_metrics(mode, depth, valid_pixels(depth))
            return field.float(), {"mixture_absrel": float(metrics["absrel"].mean())}
        generator = torch.Generator().manual_seed(_NOISE_SEED)
        noise = torch.randn(depth.shape, generator=generator).to(self.device)
        semantics = objective.encode(image)

        def velocity(x_t: Tensor, t: int) -> Tensor:
            times = torch.full((len(x_t),), float(t), device=self.device)
            output = objective.output(net, x_t, image, semantics, times)
            return velocity_from_x_0(x_t, output, t) if objective.prediction == "x0" else output

        steps = timestep_grid(self.models.pipeline_config.sampler.num_steps)
        errors = _condition_errors(objective, net, image, semantics, noise, depth)
        return sample(velocity, noise, steps), errors

    def _draw(self, image: Tensor, depth: Tensor, field: Tensor) -> dict[str, np.ndarray]:
        """Image, truth and prediction side by side, near dark."""
        count = min(self.config.validation.pictures, len(image))
        truth = depth_target(depth, valid_pixels(depth))
        pictures = {}
        for index in range(count):
            greys = [(x[index] + 0.5).clamp(0, 1).expand(3, -1, -1) for x in (truth, field)]
            row = torch.cat([image[index], *greys], dim=2)
            values = (row * 255).round().byte().permute(1, 2, 0)
            pictures[f"validation/{index}"] = values.cpu().numpy()
        return pictures


def _condition_errors(
    objective: FlowObjective,
    net: nn.Module,
    image: Tensor,
    semantics: Tensor | None,
    noise: Tensor,
    depth: Tensor,
) -> Figures:
    """The error of x_0 predicted from pure noise, with right and with wrong conditions."""
    if len(image) < 2:
        return {}  # There is no other frame.
    valid = valid_pixels(depth)
    x_0 = depth_target(depth, valid)
    t = torch.full((len(image),), float(T), device=image.device)
    errors = {}
    for name, (has_other_prompt, has_other_image) in _CONDITIONS.items():
        if semantics is None and has_other_prompt:
            continue
        prompt = semantics.roll(1, 0) if semantics is not None and has_other_prompt else semantics
        picture = image.roll(1, 0) if has_other_image else image
        output = objective.output(net, noise, picture, prompt, t)
        errors[name] = float(masked_l1(objective.field(noise, output, t), x_0, valid))
    return errors


def _held_out_frames(config: TrainConfig) -> list[Frame]:
    """As many frames of each source as its weight says, at the training size."""
    wanted, size = config.validation, config.data.size
    total = sum(source.weight for source in wanted.sources)
    frames: list[Frame] = []
    for source in wanted.sources:
        count = max(1, round(wanted.frames * source.weight / total))
        frames += islice(filter(_is_usable, _frames_of(source, size)), count)
    if not frames:
        raise ValueError("validation.sources hold no frame with depth under 80 m")
    return frames


def _frames_of(source: SourceConfig, size: tuple[int, int]) -> Iterator[Frame]:
    if source.urls is not None:
        order = {"seed": 0, "epoch": 0, "shuffle_buffer": _SHUFFLED_FRAMES}
        for sample in iterate_shards(source.urls, **order):
            yield frame_of(sample, size)
    else:
        samples = DiskFrames(source).samples
        # Frames of a data set come scene by scene: a shuffled order sees many scenes.
        for place in range(len(samples)):
            yield frame_of(samples[permuted_index(place, len(samples), "validation")], size)


def _is_usable(frame: Frame) -> bool:
    depth = frame[1]
    return bool(((depth > 0) & (depth < MAX_DEPTH_M)).any())
