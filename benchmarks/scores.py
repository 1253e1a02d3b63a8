"""Errors and edge measures of relative depth, gathered batch by batch over a data set."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ppd_core import Intrinsics
from ppd_core.evaluation.edge_cloud import RADIUS_PX, edge_chamfer, edge_pixels
from ppd_core.evaluation.metrics import abs_rel, apply_affine_log, delta1, fit_affine_log


class Scores:
    """Sums over frames; every frame gets its own best affine fit in log depth.

    AbsRel, delta1 and the Chamfer distance are means over frames (the last over those that have
    an edge); the shares are of all pixels near an edge, in whatever frame.

    Args:
        radius_px: of the edge measures.
    """

    def __init__(self, radius_px: int = RADIUS_PX) -> None:
        self.radius_px = radius_px
        self._absrel: list[Tensor] = []
        self._delta1: list[Tensor] = []
        self._chamfer_m: list[float] = []
        self._near, self._flying, self._unresolved = 0, 0, 0

    def add(
        self,
        relative_depth: Tensor,
        depth: Tensor,
        valid_mask: Tensor,
        intrinsics: Sequence[Intrinsics],
    ) -> None:
        """Take in a batch: (B, H, W) prediction, truth in metres, mask; and each one's camera."""
        relative_depth = relative_depth.float().cpu()
        scale, shift = fit_affine_log(relative_depth, depth, valid_mask)
        predicted = apply_affine_log(relative_depth, scale, shift)
        self._absrel.append(abs_rel(predicted, depth, valid_mask))
        self._delta1.append(delta1(predicted, depth, valid_mask))
        pixels = edge_pixels(predicted, depth, valid_mask, radius_px=self.radius_px)
        self._near += int(pixels.near_edge.sum())
        self._flying += int(pixels.flying.sum())
        self._unresolved += int(pixels.unresolved.sum())
        for frame, camera in enumerate(intrinsics):
            if pixels.near_edge[frame].any():
                distance_m = edge_chamfer(
                    predicted[frame],
                    depth[frame],
                    valid_mask[frame],
                    camera,
                    radius_px=self.radius_px,
                )
                self._chamfer_m.append(distance_m)

    def figures(self) -> dict[str, float]:
        """absrel, delta1, flying_share, unresolved_share, edge_chamfer_m.

        Raises:
            ValueError: no frame came, or none with a depth edge.
        """
        if not self._near:
            raise ValueError("the edge measures need frames with depth edges, got none")
        return {
            "absrel": torch.cat(self._absrel).mean().item(),
            "delta1": torch.cat(self._delta1).mean().item(),
            "flying_share": self._flying / self._near,
            "unresolved_share": self._unresolved / self._near,
            "edge_chamfer_m": math.fsum(self._chamfer_m) / len(self._chamfer_m),
        }
