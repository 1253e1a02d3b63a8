"""Training the choice of surfaces: a sensor and a model that err anew in each frame.

A sample is a frame at its own resolution with exact depth. A sensor is drawn and measures it; a
model's relative depth is drawn: none, an exact or a good one, a small model's own, or one that has
nothing to do with the image. What the product makes of the two, anchors, fit, field and
hypotheses, is made by the product's own functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ppd_core.alignment.affine import to_metric_depth
from ppd_core.alignment.aligner import fitted, locally_aligned
from ppd_core.alignment.anchors import Anchors, depth_anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.hypotheses import SPARSE_SHARE, surface_hypotheses
from ppd_core.alignment.surfaces import choose_surfaces, hypothesis_logits
from ppd_core.evaluation.edge_cloud import edge_pixels
from ppd_core.geometry.upsample import upsample_depth
from ppd_core.sim.sensor_kinds import sense_with_any
from ppd_core.training.augment import augment
from ppd_core.training.data_config import AugmentConfig
from ppd_core.types import Alignment, AlignmentError, Intrinsics

MODEL_KINDS = ("none", "exact", "good", "own", "useless")
_MODEL_SHARES = (0.2, 0.2, 0.25, 0.2, 0.15)
_FOV_DEG = (45.0, 80.0)
_CROPS = 4
"""Of so many crops the one with the most to decide is taken."""
SCALE_LOG = 0.01
"""Of the Laplace distribution around each hypothesis, in log depth."""
OUTLIER_DENSITY = 0.02
"""What no hypothesis explains: this density, in 1 / log depth."""
MAX_ERROR_LOG = 0.5
ERROR_SCALE_LOG = 0.03
"""The expected error is counted in this unit."""
UNDECIDED_WEIGHT = 8.0
"""How much more a pixel counts where the sensor alone does not tell the depth."""
UNDECIDED_LOG = 0.03

Arrays = dict[str, Tensor]


def surface_sample(
    image: np.ndarray,
    depth: np.ndarray,
    size: tuple[int, int],
    config: AugmentConfig,
    rng: np.random.Generator,
    *,
    model: str,
) -> Arrays:
    """Make one training sample.

    Args:
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float, metres; NaN = not known, +inf = nothing there.
        size: (h, w) of the crop, at the frame's own resolution.
        config: how colours are varied.
        rng: draws everything.
        model: whose own relative depth is used; a preset's name.

    Returns:
        "features" (C, h, w), "log_depth" (K, h, w) and "target" (1, h, w) float32, log of metres,
        NaN where there is no truth; "is_known" (K, h, w) bool.
    """
    whole = image.shape[0], image.shape[1]
    image, depth = augment(image, depth.astype(np.float32), whole, config, rng)
    camera = Intrinsics.from_fov(whole[1], whole[0], float(rng.uniform(*_FOV_DEG)))
    sensed = sense_with_any(depth, image, camera, rng)
    models = _model_depths(image, depth, sensed, rng, model)
    if rng.random() < 0.3:  # Shadows lie on the other side of a sensor's other imager.
        image, depth, sensed = (
            np.ascontiguousarray(one[:, ::-1]) for one in (image, depth, sensed)
        )
        models = [None if one is None else one.flip(-1) for one in models]
    sample = _sample(image, depth, sensed, models)
    return _most_undecided_crop(sample, size, rng)


def _sample(
    image: np.ndarray, depth: np.ndarray, sensed: np.ndarray, models: list[Tensor | None]
) -> Arrays:
    pixels = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    found = surface_hypotheses(pixels, torch.from_numpy(sensed), models)
    truth = torch.from_numpy(depth)
    is_true = (truth > 0) & (truth < torch.inf)
    target = torch.where(is_true, truth, torch.nan).log()[None]
    return {
        "features": found.features,
        "log_depth": found.log_depth,
        "is_known": found.is_known,
        "target": target,
    }


def _most_undecided_crop(
    sample: Arrays, size: tuple[int, int], rng: np.random.Generator
) -> Arrays:
    height, width = sample["target"].shape[-2:]
    undecided = undecided_pixels(sample["log_depth"], sample["is_known"], sample["target"])
    best, most = (0, 0), -1.0
    for _ in range(_CROPS):
        top = int(rng.integers(height - size[0] + 1))
        left = int(rng.integers(width - size[1] + 1))
        count = float(undecided[..., top : top + size[0], left : left + size[1]].sum())
        if count > most:
            best, most = (top, left), count
    top, left = best
    return {
        name: one[:, top : top + size[0], left : left + size[1]].clone()
        for name, one in sample.items()
    }


def undecided_pixels(log_depth: Tensor, is_known: Tensor, target: Tensor) -> Tensor:
    """(..., 1, H, W) float: 1 within a pixel of where the sensor has no depth, or a wrong one."""
    own, is_seen = log_depth[..., :1, :, :], is_known[..., :1, :, :]
    is_wrong = ~is_seen | ((own - target).abs() > UNDECIDED_LOG)
    return F.max_pool2d(is_wrong.float(), 3, stride=1, padding=1)


def _model_depths(
    image: np.ndarray, depth: np.ndarray, sensed: np.ndarray, rng: np.random.Generator, model: str
) -> list[Tensor | None]:
    """Metres after the global fit, and after the field, of a model that is drawn."""
    kind = str(rng.choice(MODEL_KINDS, p=_MODEL_SHARES))
    if kind == "none":
        return [None, None]
    if kind == "own":
        relative = _pipeline(model)(image).relative_depth.float()
    elif kind == "exact":
        relative = _exact_relative_depth(depth)
    elif kind == "good":
        relative = good_relative_depth(depth, rng)
    else:
        relative = _useless_relative_depth(depth, rng)
    sensor = torch.from_numpy(sensed)
    anchors = _anchors(sensor)
    try:
        alignment = fitted(relative, anchors, AlignmentConfig())
    except AlignmentError:
        if kind != "useless" or not (sensor > 0).any():
            return [None, None]
        # What slips through a check must do no harm, so it has to be met.
        low, high = sensor[sensor > 0].log1p().quantile(torch.tensor([0.05, 0.95])).tolist()
        alignment = Alignment(max(high - low, 1e-3), low, "depth")
    return [to_metric_depth(relative, alignment), locally_aligned(relative, anchors, alignment)]


def _anchors(sensor: Tensor) -> Anchors:
    height, width = sensor.shape
    is_seen = sensor > 0
    if is_seen.float().mean() >= SPARSE_SHARE:
        return depth_anchors(sensor, height, width, AlignmentConfig())
    rows, cols = is_seen.nonzero().unbind(dim=1)
    z = sensor[rows, cols]
    return Anchors(height, width, rows, cols, z, torch.ones_like(z), "lidar")


@cache
def _pipeline(name: str) -> Any:
    from ppd_core.pipeline import DepthPipeline

    return DepthPipeline.from_pretrained(name, device="cpu")


def _exact_relative_depth(depth: np.ndarray) -> Tensor:
    is_there = np.isfinite(depth) & (depth > 0)
    far = depth[is_there].max() if is_there.any() else np.float32(1)
    log_depth = np.log1p(np.where(is_there, depth, far)).astype(np.float32)
    low, high = np.quantile(log_depth, (0.02, 0.98)).astype(np.float32)
    return torch.from_numpy((log_depth - low) / max(high - low, np.float32(1e-3)))


def good_relative_depth(depth: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Relative depth as of a good model: bent, borders off by a pixel, small things missing.

    Args:
        depth: (H, W) float32, metres; NaN = not known, +inf = nothing there.

    Returns:
        (H, W) float32, roughly 0..1.
    """
    height, width = depth.shape
    relative = _exact_relative_depth(depth).numpy()
    # 1. Small things are missing: nearer ones, or gaps.
    if rng.random() < 0.5:
        side = int(rng.integers(2, 7))
        how = cv2.MORPH_CLOSE if rng.random() < 0.7 else cv2.MORPH_OPEN
        relative = cv2.morphologyEx(relative, how, np.ones((side, side), np.uint8))
    # 2. Borders wander.
    reach_px = float(rng.uniform(0, 1.5))
    waves = rng.standard_normal((2, height // 8 + 1, width // 8 + 1), dtype=np.float32)
    right, down = (reach_px * cv2.resize(one, (width, height)) for one in waves)
    cols, rows = np.meshgrid(
        np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    )
    relative = cv2.remap(
        relative, cols + right, rows + down, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )
    # 3. The whole is bent.
    relative = np.clip(relative, 0, None) ** np.float32(np.exp(rng.normal(0, 0.15)))
    coarse = rng.standard_normal((4, 5), dtype=np.float32) * np.float32(rng.uniform(0, 0.06))
    relative = relative + cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    # 4. At the model's own size, and back.
    share = float(rng.choice([1.0, 0.75, 0.5, 0.4]))
    tensor = torch.from_numpy(relative.astype(np.float32))
    if share < 1:
        small = F.interpolate(
            tensor[None, None],
            scale_factor=share,
            mode="nearest-exact",
            recompute_scale_factor=True,
        )
        tensor = upsample_depth(small[0, 0], height, width)
    return tensor


def _useless_relative_depth(depth: np.ndarray, rng: np.random.Generator) -> Tensor:
    height, width = depth.shape
    if rng.random() < 0.5:
        return good_relative_depth(depth, rng).flip(int(rng.integers(2)))
    cells = int(rng.choice([3, 12, 60]))
    noise = rng.random((cells, cells), dtype=np.float32)
    how = cv2.INTER_NEAREST if rng.random() < 0.5 else cv2.INTER_LINEAR
    return torch.from_numpy(cv2.resize(noise, (width, height), interpolation=how))


@dataclass(frozen=True)
class SurfaceObjective:
    """The likelihood of the true depth under the weighed hypotheses, and the expected error."""

    def losses(self, net: nn.Module, sample: Arrays) -> Arrays:
        """The cost of a batch.

        Args:
            net: a `SurfaceNet`, perhaps wrapped.
            sample: of `surface_sample`, stacked.
        """
        is_known, target = sample["is_known"], sample["target"]
        logits, correction = net(sample["features"])
        logits = hypothesis_logits(logits.float(), is_known)
        counts = torch.isfinite(target) & is_known.any(dim=1, keepdim=True)
        truth = torch.where(counts, target, 0)
        error = (sample["log_depth"] + correction.float() - truth).abs()
        error = torch.where(is_known, error, MAX_ERROR_LOG).clamp(max=MAX_ERROR_LOG)
        log_share = logits.log_softmax(dim=1)
        log_density = torch.logsumexp(log_share - error / SCALE_LOG, dim=1, keepdim=True)
        log_density = log_density - torch.log(torch.tensor(2 * SCALE_LOG))
        outlier = torch.full_like(log_density, OUTLIER_DENSITY).log()
        unlikely = -torch.logaddexp(log_density, outlier)
        expected = (log_share.exp() * error).sum(dim=1, keepdim=True) / ERROR_SCALE_LOG
        undecided = undecided_pixels(sample["log_depth"], is_known, truth)
        weight = counts * (1 + UNDECIDED_WEIGHT * undecided)
        total = weight.sum().clamp(min=1)
        parts = {
            "unlikely": (weight * unlikely).sum() / total,
            "expected": (weight * expected).sum() / total,
        }
        loss = 0.3 * parts["unlikely"] + parts["expected"]
        return {"loss": loss, **{name: one.detach() for name, one in parts.items()}}


class SurfaceValidator:
    """Measures the chosen depth on whole held-out frames, with the default sensor.

    Args:
        frames: image (H, W, 3) uint8 and depth (H, W), metres.
        model: a preset's name: its depth is among the hypotheses.
    """

    def __init__(self, frames: list[tuple[np.ndarray, np.ndarray]], model: str) -> None:
        self._samples: list[tuple[Arrays, Tensor, Tensor]] = []
        for index, (image, depth) in enumerate(frames):
            rng = np.random.default_rng(index)
            camera = Intrinsics.from_fov(image.shape[1], image.shape[0], 60)
            depth = depth.astype(np.float32)
            sensed = sense_with_any(depth, image, camera, rng, kind="default")
            anchors = _anchors(torch.from_numpy(sensed))
            relative = _pipeline(model)(image).relative_depth.float()
            models: list[Tensor | None] = [None, None]
            try:
                alignment = fitted(relative, anchors, AlignmentConfig())
                models = [
                    to_metric_depth(relative, alignment),
                    locally_aligned(relative, anchors, alignment),
                ]
            except AlignmentError:
                pass
            sample = _sample(image, depth, sensed, models)
            sample["features"] = sample["features"].half()
            self._samples.append((sample, torch.from_numpy(depth), torch.from_numpy(sensed)))

    @torch.no_grad()
    def run(self, net: nn.Module) -> dict[str, float]:
        """Name -> figure: errors relative to the truth, shares of the pixels near its edges."""
        sums: dict[str, list[float]] = {}
        device = next(net.parameters()).device
        for sample, depth, sensed in self._samples:
            logits, correction = net(sample["features"].float()[None].to(device))
            answer = logits[0].float().cpu(), correction[0].float().cpu()
            chosen = choose_surfaces(sample["log_depth"], sample["is_known"], *answer)
            is_true = (depth > 0) & torch.isfinite(depth)
            counts = is_true & torch.isfinite(chosen.depth)
            error = ((chosen.depth - depth).abs() / depth)[counts]
            is_hole = ~(sensed > 0)[counts]
            edges = edge_pixels(chosen.depth[None], depth[None], is_true[None])
            near = edges.near_edge.sum().clamp(min=1)
            confidence = chosen.confidence[counts]
            figures = {
                "absrel": error.mean(),
                "rmse_m": ((chosen.depth - depth)[counts] ** 2).mean().sqrt(),
                "flying": edges.flying.sum() / near,
                "unresolved": edges.unresolved.sum() / near,
                "confidence": confidence.mean(),
                "right": (error < UNDECIDED_LOG).float().mean(),
            }
            if is_hole.any():
                figures["absrel_holes"] = error[is_hole].mean()
            for name, value in figures.items():
                sums.setdefault(name, []).append(float(value))
        return {name: float(np.mean(values)) for name, values in sums.items()}
