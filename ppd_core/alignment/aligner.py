"""One frame after the other from relative depth to metres: fit, track, correct."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppd_core.alignment.affine import to_metric_depth
from ppd_core.alignment.anchors import (
    Anchors,
    check_sensor_depth,
    check_unit,
    depth_anchors,
    sensor_at_image,
)
from ppd_core.alignment.borders import settle_borders
from ppd_core.alignment.confidence import local_confidence
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.field import correction_field
from ppd_core.alignment.fit import fit_affine
from ppd_core.alignment.relation import check_explained, check_related
from ppd_core.alignment.snapshot import tensor_from_json, tensor_to_json
from ppd_core.alignment.tie import MAX_KEYFRAME_S, MOVED, Keyframe
from ppd_core.alignment.tracker import MAX_GAP_S, ScaleTracker
from ppd_core.scene_cut import PICTURE, CutDetector
from ppd_core.types import AlignedDepth, Alignment, AlignmentError

Evidence = Anchors | Alignment | AlignmentError
"""What is known of a frame's metres: samples, a given alignment, or why there is nothing."""

SENSORS = ("depth", "lidar")
"""Sources that measure; the others guess anew in each frame, and so are tied to those before."""
WITH_FIELD = AlignmentConfig(has_field=True)
PULL_S = 5.0
"""In about so many seconds tied metres come back to what their source says."""


class FrameAligner:
    """Ties the frames of one camera to metres; keeps what it needs of the frames before.

    Use one for each camera, from one thread; `reset` may be called from another.

    Args:
        config: when samples are trusted.
    """

    def __init__(self, config: AlignmentConfig) -> None:
        self._config = config
        self._tracker = ScaleTracker(config.hold_s)
        self._keyframe: Keyframe | None = None
        self._cuts = CutDetector()
        self._is_reset_wanted = threading.Event()

    def align(
        self,
        relative_depth: Tensor,
        evidence: Evidence,
        stamp_s: float,
        *,
        image: np.ndarray | None = None,
    ) -> AlignedDepth:
        """Tie one frame to metres. Never raises for what a sensor may send.

        All is made on the tensors' device; a row of numbers is read from it to decide whether the
        fit is trusted, and one more whether a sensor's samples are of the image.

        Args:
            relative_depth: (H, W) floating point.
            evidence: of this very frame; an `AlignmentError` says why there is none.
            stamp_s: when the frame was taken, seconds on any clock.
            image: (H, W, 3) uint8 RGB, the frame; without it nobody looks whether a sensor's
                depth image shows the same, or whether the video goes on with another scene.

        Returns:
            Metres, the alignment that made them and, where the frame's own samples were not
            used, why. Without any trusted metres both are None.
        """
        is_cut = image is not None and self._cuts.is_cut(image)
        if is_cut or self._is_reset_wanted.is_set():
            self._is_reset_wanted.clear()
            self._tracker.reset()
            self._keyframe = None
        relative_depth = relative_depth.float()
        try:
            return self._measured(relative_depth, evidence, stamp_s, image)
        except AlignmentError as failure:
            # Without what led to it: a traceback keeps the frames' tensors alive.
            failure.__context__ = failure.__cause__ = None
            return self._held(relative_depth, failure.with_traceback(None), stamp_s)

    def reset(self) -> None:
        """Forget all frames before the next one."""
        self._is_reset_wanted.set()

    def state(self) -> dict[str, Any]:
        """What is remembered of the frames before, as JSON values; not while a frame is aligned.

        An aligner that it is given to by `restore` goes on as this one would, bit for bit on a
        device of the same kind.
        """
        if self._is_reset_wanted.is_set():
            return FrameAligner(self._config).state()
        keyframe = None if self._keyframe is None else self._keyframe.state()
        picture = self._cuts.before
        return {
            "tracker": self._tracker.state(),
            "keyframe": keyframe,
            "picture": None if picture is None else tensor_to_json(torch.from_numpy(picture)),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Remember what another aligner did, in place of what is remembered here.

        Args:
            state: from `state` of an aligner with the same config, be it through JSON.

        Raises:
            ValueError: it is no such state; then nothing has changed.
        """
        tracker = ScaleTracker(self._config.hold_s)
        try:
            tracker.restore(state["tracker"])
            kept = state["keyframe"]
            keyframe = None if kept is None else Keyframe.from_state(kept)
            kept = state["picture"]
            picture = None if kept is None else tensor_from_json(kept).reshape(PICTURE).numpy()
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"an aligner's state must be what its `state` gave: {error}"
            ) from error
        self._is_reset_wanted.clear()
        self._tracker, self._keyframe, self._cuts.before = tracker, keyframe, picture

    def _measured(
        self, relative_depth: Tensor, evidence: Evidence, stamp_s: float, image: np.ndarray | None
    ) -> AlignedDepth:
        """The frame by its own evidence.

        Raises:
            AlignmentError: there is none that can be trusted.
        """
        if isinstance(evidence, AlignmentError):
            raise evidence
        if isinstance(evidence, Alignment):
            alignment = self._tied(relative_depth, evidence, stamp_s)
            return _aligned(to_metric_depth(relative_depth, alignment), alignment)
        own = fitted(relative_depth, evidence, self._config)
        if evidence.source in SENSORS:
            if evidence.sensor_depth is None:
                check_explained(evidence.pick(relative_depth), evidence)
            elif image is not None:
                check_related(image, relative_depth, evidence, self._config)
            alignment = self._tracker.accept(own, stamp_s) if self._config.is_tracked else own
            self._keep(relative_depth, alignment, stamp_s)
        else:
            alignment = self._tied(relative_depth, own, stamp_s)
            # What the tie has taken away shall not come back through the field.
            evidence = _moved(evidence, relative_depth, own, alignment)
        global_depth = to_metric_depth(relative_depth, alignment)
        has_surfaces = self._config.has_surfaces and evidence.source in SENSORS
        if not (self._config.has_field or has_surfaces):
            return _aligned(global_depth, alignment, evidence)
        metric_depth = locally_aligned(relative_depth, evidence, alignment)
        alignment = replace(alignment, has_field=True)
        if not has_surfaces:
            return _aligned(metric_depth, alignment, evidence)
        return AlignedDepth(
            metric_depth,
            alignment,
            sensor_depth=sensor_at_image(evidence),
            global_depth=global_depth,
        )

    def _tied(self, relative_depth: Tensor, target: Alignment, stamp_s: float) -> Alignment:
        """The keyframe's metres, drawn to the target; the target where nothing ties them."""
        keyframe = self._keyframe
        try:
            if keyframe is None or not self._config.is_tracked:
                raise AlignmentError("few_samples", "nothing to be tied to")
            carried = self._carried(keyframe, relative_depth, stamp_s, MAX_GAP_S)
        except AlignmentError:
            self._keep(relative_depth, target, stamp_s)
            return target
        gain = 1 - math.exp(-(stamp_s - keyframe.stamp_s) / PULL_S)
        drawn = self._tracker.pull(carried, target, gain, stamp_s)
        tied = replace(drawn, source=target.source, state="tied")
        self._keep_if_moved(keyframe, relative_depth, tied, stamp_s)
        return tied

    def _held(
        self, relative_depth: Tensor, failure: AlignmentError, stamp_s: float
    ) -> AlignedDepth:
        """The last good metres, for `hold_s`, as long as the scene is still the same."""
        keyframe = self._keyframe
        if keyframe is None or not self._tracker.is_holding(stamp_s):
            return AlignedDepth(None, None, failure)
        # Relative depth has a scale of its own in every frame: what is held are the metres.
        try:
            carried = self._carried(keyframe, relative_depth, stamp_s, self._config.hold_s)
        except AlignmentError:
            return AlignedDepth(None, None, failure)
        held = replace(carried, source=keyframe.alignment.source, state="held")
        self._keep_if_moved(keyframe, relative_depth, held, stamp_s)
        return _aligned(to_metric_depth(relative_depth, held), held, failure=failure)

    def _carried(
        self, keyframe: Keyframe, relative_depth: Tensor, stamp_s: float, max_gap_s: float
    ) -> Alignment:
        max_age_s = MAX_KEYFRAME_S + max_gap_s
        return keyframe.carried(relative_depth, stamp_s, max_age_s=max_age_s, config=self._config)

    def _keep(self, relative_depth: Tensor, alignment: Alignment, stamp_s: float) -> None:
        """Remember a frame by its own evidence."""
        self._keyframe = Keyframe.of(relative_depth, alignment, stamp_s)
        self._tracker.keep(alignment, stamp_s)

    def _keep_if_moved(
        self, keyframe: Keyframe, relative_depth: Tensor, alignment: Alignment, stamp_s: float
    ) -> None:
        """Take a carried frame as the new keyframe only where it must be: each adds its error."""
        is_old = stamp_s - keyframe.stamp_s >= MAX_KEYFRAME_S
        if is_old or alignment.inlier_ratio < MOVED:
            self._keyframe = Keyframe.of(relative_depth, alignment, stamp_s)


def _aligned(
    metric_depth: Tensor,
    alignment: Alignment,
    anchors: Anchors | None = None,
    failure: AlignmentError | None = None,
) -> AlignedDepth:
    confidence = local_confidence(metric_depth, alignment, anchors)
    return AlignedDepth(metric_depth, alignment, failure, confidence=confidence)


def alignment_from_depth(
    sensor_depth: np.ndarray | Tensor, config: AlignmentConfig = WITH_FIELD
) -> Callable[..., AlignedDepth]:
    """What ties one image, by itself, to the depth image of a sensor.

    Of the frames of a moving camera give each to one `FrameAligner` instead: it steadies the
    scale.

    Args:
        sensor_depth: (h, w) floating point, metres along the optical z axis, registered to the
            colour image and of any size; NaN, infinite or <= 0 = hole.
        config: when the samples are trusted; the default follows the sensor on surfaces, too.

    Returns:
        For `DepthPipeline`'s `alignment`. Samples that cannot be trusted give a result without
        metres, and with `alignment_failure`.

    Raises:
        ValueError: `sensor_depth` is not such an image.
    """
    sensor_depth = torch.as_tensor(sensor_depth)
    check_sensor_depth(sensor_depth)

    def align(
        image: np.ndarray, relative_depth: Tensor, own_anchors: Callable[[], Anchors]
    ) -> AlignedDepth:
        evidence: Evidence
        try:
            check_unit(sensor_depth)  # Before it goes to a GPU, for the answer is wanted here.
            on_device = sensor_depth.to(relative_depth.device)
            height, width = relative_depth.shape
            evidence = depth_anchors(on_device, height, width, config)
        except AlignmentError as failure:
            evidence = failure
        return FrameAligner(config).align(relative_depth, evidence, stamp_s=0.0, image=image)

    return align


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


def _moved(anchors: Anchors, relative_depth: Tensor, own: Alignment, used: Alignment) -> Anchors:
    """The samples as they would be, had their own fit been the one that is used."""
    d = anchors.pick(relative_depth)
    step = (used.scale - own.scale) * d + used.shift - own.shift
    return replace(anchors, depth=torch.expm1(anchors.depth.log1p() + step), sensor_depth=None)
