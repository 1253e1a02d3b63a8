"""One frame after the other from relative depth to metres: fit, track, correct."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ppd_core.alignment.affine import to_metric_depth
from ppd_core.alignment.anchors import Anchors, depth_anchors
from ppd_core.alignment.borders import settle_borders
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.field import correction_field
from ppd_core.alignment.fit import fit_affine
from ppd_core.alignment.tracker import MAX_GAP_S, ScaleTracker
from ppd_core.types import AlignedDepth, Alignment, AlignmentError

Evidence = Anchors | Alignment | AlignmentError
"""What is known of a frame's metres: samples, a given alignment, or why there is nothing."""

SENSORS = ("depth", "lidar")
"""Sources that measure; the others guess anew in each frame, and so are tied to the one before."""
TIE_TOLERANCE = 0.1
TIE_MIN_INLIERS = 0.5
"""Of two frames of one video most pixels agree by this factor over 1; else it was cut."""
TIE_SAMPLES = 4096
PULL_S = 5.0
"""In about so many seconds tied metres come back to what their source says."""


@dataclass(frozen=True, eq=False)
class _Before:
    """The last frame that had metres, on the pixels that the next one is tied to."""

    anchors: Anchors
    stamp_s: float


class FrameAligner:
    """Ties the frames of one camera to metres; keeps what it needs of the frames before.

    Use one for each camera, from one thread; `reset` may be called from another.

    Args:
        config: when samples are trusted.
    """

    def __init__(self, config: AlignmentConfig) -> None:
        self._config = config
        self._tie_config = replace(
            config,
            max_samples=TIE_SAMPLES,
            min_samples=min(config.min_samples, TIE_SAMPLES),
            inlier_tolerance=TIE_TOLERANCE,
            min_inlier_ratio=TIE_MIN_INLIERS,
        )
        self._tracker = ScaleTracker(config.hold_s)
        self._before: _Before | None = None
        self._is_reset_wanted = threading.Event()

    def align(self, relative_depth: Tensor, evidence: Evidence, stamp_s: float) -> AlignedDepth:
        """Tie one frame to metres. Never raises for what a sensor may send.

        The fit, the samples and the field are made on the tensors' device; one row of numbers is
        read from it, to decide whether the fit is trusted.

        Args:
            relative_depth: (H, W) float32.
            evidence: of this very frame; an `AlignmentError` says why there is none.
            stamp_s: when the frame was taken, seconds on any clock.

        Returns:
            Metres, the alignment that made them and, where the frame's own samples were not
            used, why. Without any trusted metres both are None.
        """
        if self._is_reset_wanted.is_set():
            self._is_reset_wanted.clear()
            self._tracker.reset()
            self._before = None
        try:
            aligned = self._measured(relative_depth, evidence, stamp_s)
        except AlignmentError as failure:
            aligned = self._held(relative_depth, failure, stamp_s)
        if aligned.metric_depth is not None:
            # Held frames, too: else a second one would be tied to what is two frames back.
            height, width = relative_depth.shape
            anchors = depth_anchors(
                aligned.metric_depth, height, width, self._tie_config, source="tie"
            )
            self._before = _Before(anchors, stamp_s)
        return aligned

    def reset(self) -> None:
        """Forget all frames before the next one."""
        self._is_reset_wanted.set()

    def _measured(
        self, relative_depth: Tensor, evidence: Evidence, stamp_s: float
    ) -> AlignedDepth:
        """The frame by its own evidence.

        Raises:
            AlignmentError: there is none that can be trusted.
        """
        if isinstance(evidence, AlignmentError):
            raise evidence
        if isinstance(evidence, Alignment):
            alignment = self._tied(relative_depth, evidence, stamp_s)
            return AlignedDepth(to_metric_depth(relative_depth, alignment), alignment)
        alignment = fitted(relative_depth, evidence, self._config)
        if evidence.source in SENSORS and self._config.is_tracked:
            alignment = self._tracker.accept(alignment, stamp_s)
        else:
            alignment = self._tied(relative_depth, alignment, stamp_s)
        if not self._config.has_field:
            return AlignedDepth(to_metric_depth(relative_depth, alignment), alignment)
        metric_depth = locally_aligned(relative_depth, evidence, alignment)
        return AlignedDepth(metric_depth, replace(alignment, has_field=True))

    def _tied(self, relative_depth: Tensor, target: Alignment, stamp_s: float) -> Alignment:
        """The frame before's metres, drawn to the target; the target where nothing ties them."""
        before = self._before
        if before is None or not self._config.is_tracked:
            return self._tracker.accept_anew(target, stamp_s)
        try:
            carried = self._carried(relative_depth, stamp_s)
        except AlignmentError:
            return self._tracker.accept_anew(target, stamp_s)
        gain = 1 - math.exp(-(stamp_s - before.stamp_s) / PULL_S)
        state = "tied" if target.state == "constant" else target.state
        return self._tracker.pull(carried, replace(target, state=state), gain, stamp_s)

    def _held(
        self, relative_depth: Tensor, failure: AlignmentError, stamp_s: float
    ) -> AlignedDepth:
        """The last good metres, for `hold_s`, as long as the scene is still the same."""
        last = self._tracker.last
        if last is None or not self._tracker.is_holding(stamp_s):
            return AlignedDepth(None, None, failure)
        alignment = replace(last, state="held", has_field=False)
        if self._config.is_tracked:
            # Relative depth has a scale of its own in every frame: what is held are the metres.
            try:
                carried = self._carried(relative_depth, stamp_s)
            except AlignmentError:
                return AlignedDepth(None, None, failure)
            alignment = replace(alignment, scale=carried.scale, shift=carried.shift)
        return AlignedDepth(to_metric_depth(relative_depth, alignment), alignment, failure)

    def _carried(self, relative_depth: Tensor, stamp_s: float) -> Alignment:
        """This frame's fit to the metres of the one before.

        Raises:
            AlignmentError: there is none, it is too old, or it shows another scene.
        """
        before = self._before
        gap_s = math.inf if before is None else stamp_s - before.stamp_s
        if before is None or not 0 <= gap_s <= max(MAX_GAP_S, self._config.hold_s):
            raise AlignmentError("few_samples", f"the frame before is {gap_s:g} s away")
        if (before.anchors.height, before.anchors.width) != tuple(relative_depth.shape):
            raise AlignmentError("few_samples", "the frame before is of another size")
        return fitted(relative_depth, before.anchors, self._tie_config)


def locally_aligned(relative_depth: Tensor, anchors: Anchors, alignment: Alignment) -> Tensor:
    """Metres whose surfaces follow the samples and whose borders are the model's.

    Args:
        relative_depth: (H, W) float32.
        anchors: of that image.
        alignment: the global fit to them.

    Returns:
        (H, W) float32, metres; NaN only where relative depth, or the line itself, gives none.
    """
    field = correction_field(relative_depth, anchors, alignment)
    depth = torch.expm1(alignment.scale * relative_depth + alignment.shift + field)
    is_valid = (depth > 0) & torch.isfinite(depth)
    depth = torch.where(is_valid, depth, to_metric_depth(relative_depth, alignment))
    if anchors.sensor_depth is None:
        return depth
    return settle_borders(depth, anchors.sensor_depth)


def fitted(relative_depth: Tensor, anchors: Anchors, config: AlignmentConfig) -> Alignment:
    """The global fit of one image to its samples.

    Args:
        relative_depth: (H, W) float32.
        anchors: of that image.
        config: when it is trusted.

    Raises:
        AlignmentError: it cannot be trusted.
    """
    d = anchors.pick(relative_depth)
    return fit_affine(d, anchors.depth, anchors.weight, config).alignment(anchors.source, config)
