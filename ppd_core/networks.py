"""The networks of a pipeline as functions of images of model size."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from ppd_core.config import PipelineConfig
from ppd_core.flow import velocity_from_x_0
from ppd_core.models.layers import RopeTable
from ppd_core.models.moge2 import MoGe2, MoGe2Features
from ppd_core.models.semantics import prepare_image
from ppd_core.models.sp_dit import SpDit
from ppd_core.sampler import sample


@dataclass(frozen=True, eq=False)
class Schedule:
    """What of sampling depends on the times and the size alone, whatever the image.

    Attributes:
        timesteps: at which the network is asked, falling; after the last, step to 0.
        modulations: of each of these times, (1, M, D); see `SpDit.modulation`.
        ropes: of this size; see `SpDit.ropes`.
    """

    timesteps: tuple[int, ...]
    modulations: tuple[Tensor, ...]
    ropes: tuple[RopeTable, RopeTable]


@dataclass(frozen=True, eq=False)
class Estimate:
    """What the networks say of images of model size.

    Attributes:
        relative_depth: (B, 1, h, w).
        features: what MoGe-2's heads need, of the prompt's own pass; None of any other prompt.
    """

    relative_depth: Tensor
    features: MoGe2Features | None


class Networks:
    """Prompt encoder and SP-DiT, and how an image goes through them.

    Args:
        config: what they are.
        models: from `build_models`, with weights, on one device and in one dtype; or in bfloat16
            with float8 layers in between.

    Attributes:
        denoise: SP-DiT with a schedule's tensors, as `SpDit.denoise`. A backend may put a faster
            one in its place, and in that of `prompt`.
        prompt: the encoder of the semantic prompt, None without one.
        state_dtype: of images, noise and the sampled field. Half precision is for the networks.
    """

    def __init__(self, config: PipelineConfig, models: nn.ModuleDict) -> None:
        parameter = next(models.parameters())
        self.config = config
        self.models = models
        self.device: torch.device = parameter.device
        self.dtype: torch.dtype = parameter.dtype
        self.state_dtype = torch.promote_types(self.dtype, torch.float32)
        self.denoise = self.dit.denoise
        encoder = models["semantics"] if config.model.has_semantics else None
        self.prompt = encoder.encode if isinstance(encoder, MoGe2) else encoder

    def twin(self) -> Networks:
        """The same weights, in modules of their own that a backend may change."""
        tensors = chain(self.models.parameters(), self.models.buffers())
        return Networks(self.config, deepcopy(self.models, {id(x): x for x in tensors}))

    @property
    def dit(self) -> SpDit:
        """The denoising network itself."""
        dit = self.models["dit"]
        assert isinstance(dit, SpDit)
        return dit

    def encode(self, images: Tensor) -> tuple[Tensor | None, MoGe2Features | None]:
        """The prompt's tokens, and what MoGe-2's heads need of the same pass.

        Args:
            images: (B, 3, h, w) in [0, 1], sides multiples of 16.

        Returns:
            (B, h/16 * w/16, C), or None for a config without prompt.
        """
        if self.prompt is None:
            return None, None
        # Not in half precision yet: the prompt takes the mean off first, and the difference would
        # have the rounding of the whole.
        encoded = self.prompt(prepare_image(self.config.prompt, images))
        if isinstance(encoded, MoGe2Features):
            return encoded.tokens, encoded
        return encoded, None

    def schedule(self, timesteps: Sequence[int], height: int, width: int) -> Schedule:
        """What `sample` needs to know of times and size."""
        times = torch.tensor(timesteps, device=self.device)
        like = torch.empty(1, 1, height, width, device=self.device, dtype=self.dtype)
        return Schedule(
            tuple(timesteps), self.dit.modulation(times).split(1), self.dit.ropes(like)
        )

    def sample(
        self, images: Tensor, semantics: Tensor | None, x_t: Tensor, schedule: Schedule
    ) -> Tensor:
        """Integrate the flow by Euler steps.

        Args:
            images: (B, 3, h, w) in [0, 1].
            semantics: from `encode`.
            x_t: (B, 1, h, w), the field at the first of the schedule's times: noise, mostly.
            schedule: of these times and this size.

        Returns:
            (B, 1, h, w) relative depth in the dtype of `x_t`: x_0 + 0.5.
        """
        condition = images - 0.5
        modulations = dict(zip(schedule.timesteps, schedule.modulations, strict=True))

        def velocity(x_t: Tensor, t: int) -> Tensor:
            x = torch.cat([x_t, condition], dim=1).to(self.dtype)
            output = self.denoise(x, semantics, modulations[t], schedule.ropes).to(x_t.dtype)
            is_x_0 = self.config.model.prediction == "x0"
            return velocity_from_x_0(x_t, output, t) if is_x_0 else output

        return sample(velocity, x_t, schedule.timesteps) + 0.5

    def estimate(self, images: Tensor, x_t: Tensor, schedule: Schedule) -> Estimate:
        """From images to relative depth, the two above in one."""
        semantics, features = self.encode(images)
        return Estimate(self.sample(images, semantics, x_t, schedule), features)
