"""Each pixel takes the most probable of its surfaces: one of them, never a mean."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib.resources import as_file, files

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ppd_core import weights
from ppd_core.alignment.hypotheses import FEATURES, NAMES, surface_hypotheses
from ppd_core.geometry.upsample import upsample_depth
from ppd_core.models.surface_net import SurfaceNet, SurfaceNetConfig
from ppd_core.transfer import to_device
from ppd_core.types import AlignedDepth

SAME_LOG = 0.03
"""Hypotheses that differ by less in log depth are one surface: their probabilities add up."""
MAX_PIXELS = 1280 * 1024
"""Of larger images surfaces are chosen at this size, and brought up."""
_NEVER = -1e4


@dataclass(frozen=True, eq=False)
class ChosenSurfaces:
    """What became of the hypotheses.

    Attributes:
        depth: (H, W) float32, metres; NaN where nothing is known.
        confidence: (H, W) float32 in [0, 1], how probable it is that the depth is that of the
            surface seen there; 0 where nothing is known.
    """

    depth: Tensor
    confidence: Tensor


def hypothesis_logits(logits: Tensor, is_known: Tensor) -> Tensor:
    """Logits of which what is not known has no part; alike, (..., K, H, W)."""
    return torch.where(is_known, logits, _NEVER)


def choose_surfaces(
    log_depth: Tensor, is_known: Tensor, logits: Tensor, correction: Tensor
) -> ChosenSurfaces:
    """Read each pixel's depth at its most probable surface; no host sync.

    Args:
        log_depth, is_known: (K, H, W), of `Hypotheses`.
        logits: (K, H, W) float32, of `SurfaceNet`.
        correction: (1, H, W) float32, in log depth.

    Source: a mixture read at its mode instead of its mean, as in "Modeling Depth Ambiguity",
    arXiv 2606.02552; here the components are measured, not predicted.
    """
    share = hypothesis_logits(logits, is_known).softmax(dim=0)
    share = torch.where(is_known, share, 0)
    # 1. Surfaces are what hypotheses agree on.
    together = share.clone()
    count = len(share)
    for one in range(count):
        for other in range(one + 1, count):
            is_same = (log_depth[one] - log_depth[other]).abs() < SAME_LOG
            together[one] += share[other] * is_same
            together[other] += share[one] * is_same
    # 2. The most probable surface, and of its hypotheses the most probable one.
    confidence = together.amax(dim=0)
    is_best = (together >= confidence - 1e-3) & is_known
    chosen = torch.where(is_best, share, -1).argmax(dim=0, keepdim=True)
    depth = (log_depth.gather(0, chosen) + correction)[0].exp()
    is_any = is_known.any(dim=0)
    return ChosenSurfaces(
        torch.where(is_any, depth, torch.nan), torch.where(is_any, confidence.clamp(0, 1), 0)
    )


class SurfaceChooser:
    """Settles the surfaces of aligned frames by the packaged network, loaded at first use.

    Args:
        net: another network of the same inputs, e.g. one in training.
    """

    def __init__(self, net: SurfaceNet | None = None) -> None:
        self._net = net

    @torch.no_grad()
    def __call__(self, image: np.ndarray, aligned: AlignedDepth) -> AlignedDepth:
        """The same frame with each pixel on one surface, and how sure that is.

        Args:
            image: (H, W, 3) uint8 RGB.
            aligned: of that image. Without a sensor's depth there is nothing to choose from, and
                it comes back as it is.
        """
        if aligned.sensor_depth is None:
            return aligned
        depths = [aligned.sensor_depth, aligned.global_depth, aligned.metric_depth]
        device, (height, width) = aligned.sensor_depth.device, image.shape[:2]
        pixels = to_device(image, device).permute(2, 0, 1)
        shrink = math.sqrt(MAX_PIXELS / (height * width))
        if shrink < 1:  # No depth sensor has more pixels.
            size = (round(shrink * height), round(shrink * width))
            pixels = F.interpolate(pixels[None].float(), size=size, mode="area")[0]
            depths = [None if one is None else _resized(one, size) for one in depths]
        found = surface_hypotheses(pixels.float() / 255, depths[0], depths[1:])
        features = found.features[None].contiguous(memory_format=torch.channels_last)
        logits, correction = self._on(device)(features)
        chosen = choose_surfaces(found.log_depth, found.is_known, logits[0], correction[0])
        depth, confidence = chosen.depth, chosen.confidence
        if shrink < 1:
            depth = upsample_depth(depth.log(), height, width, edge_threshold=SAME_LOG).exp()
            confidence = torch.where(depth > 0, _resized(confidence, (height, width)), 0)
        return replace(aligned, metric_depth=depth, confidence=confidence)

    def _on(self, device: torch.device) -> SurfaceNet:
        if self._net is None:
            self._net = load_surface_net()
        # Frames of one pipeline are on one device: this moves it once.
        return self._net.to(device).to(memory_format=torch.channels_last)  # quicker on CPUs, too


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image[None, None], size=size, mode="nearest-exact")[0, 0]


def load_surface_net() -> SurfaceNet:
    """The network in the package, in float32.

    Raises:
        WeightsError: the file is damaged.
    """
    with torch.device("meta"):
        net = SurfaceNet(SurfaceNetConfig(FEATURES, len(NAMES)))
    with as_file(files("ppd_core") / "assets" / "surfaces.safetensors") as path:
        tensors, _ = weights.read_checkpoint(path, dtype=torch.float32)
    weights.load_strict(net, tensors, strip_prefix="surfaces.")
    return net.eval().requires_grad_(False)
