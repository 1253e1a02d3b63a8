"""The pipeline's steps for batches of frames: `DepthPipeline` itself takes one image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ppd_core import DepthPipeline
from ppd_core.evaluation.baselines.own import has_mixture, regressed, regressed_mode
from ppd_core.flow import timestep_grid
from ppd_core.geometry.upsample import upsample_depth
from ppd_core.preprocess import preprocess
from ppd_core.training.targets import depth_target

__all__ = [
    "has_mixture",
    "model_images",
    "regressed",
    "regressed_mode",
    "sampled",
    "target_depth",
    "upsampled",
]


def model_images(images: Sequence[np.ndarray], processing_area: int) -> Tensor:
    """(B, 3, h, w) in [0, 1] at model size, of (H, W, 3) uint8 images of one size."""
    return torch.cat([preprocess(image, processing_area) for image in images])


def sampled(pipeline: DepthPipeline, images: Tensor, num_steps: int | None = None) -> Tensor:
    """(B, h, w) relative depth by the sampler, from the noise that the pipeline itself takes."""
    images = images.to(pipeline.device, pipeline.state_dtype)
    sampler = pipeline.config.sampler
    generator = torch.Generator().manual_seed(sampler.noise_seed)
    noise = torch.randn((1, 1, *images.shape[-2:]), generator=generator)
    return pipeline.sample(
        images,
        pipeline.encode(images),
        noise.to(images).expand(len(images), -1, -1, -1),
        timestep_grid(num_steps or sampler.num_steps),
    )[:, 0]


def target_depth(depth: Tensor, valid_mask: Tensor) -> Tensor:
    """(B, h, w) relative depth as the training target has it: the best that can be predicted."""
    return depth_target(depth[:, None], valid_mask[:, None])[:, 0] + 0.5


def upsampled(relative_depth: Tensor, height: int, width: int) -> Tensor:
    """(B, h, w) at the camera's size, as the pipeline brings it there."""
    return torch.stack([upsample_depth(one, height, width) for one in relative_depth])
