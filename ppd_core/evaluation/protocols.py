"""How papers align depth to the truth before they measure it, by name; for evaluation alone.

Each takes the truth itself as samples, so the figures that follow say how good the shape of a
depth is, and the choice among them changes those figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ppd_core.evaluation.counting import counted_mask
from ppd_core.evaluation.fits import align_least_squares, align_median_ratio, align_ransac_log
from ppd_core.evaluation.metrics import MIN_DEPTH_M
from ppd_core.evaluation.model import SPACES, Prediction


class ProtocolError(ValueError):
    """A prediction that a protocol cannot align; the message says why."""


@dataclass(frozen=True)
class AlignmentProtocol:
    """One way from a model's depth to metres.

    Attributes:
        name: as `PROTOCOLS` has it.
        spaces: what a relative depth must be affine to. A model that gives metres of itself is
            taken by every protocol: log(1 + z) and -1 / z follow from z. From a relative depth
            they do not, as its scale and shift are not known before the fit.
        summary: what is fitted, in half a sentence.
        fit: (d, truth, mask), (1, H, W) each, to (1, H, W) metres.
        from_metres: what the fit takes in place of a relative depth; from (H, W) metres.
    """

    name: str
    spaces: tuple[str, ...]
    summary: str
    fit: Callable[[Tensor, Tensor, Tensor], Tensor]
    from_metres: Callable[[Tensor], Tensor]

    def align(
        self, prediction: Prediction, truth: Tensor, valid_mask: Tensor, *, space: str
    ) -> Tensor:
        """Metres of one image.

        Args:
            prediction: what the model says.
            truth: (H, W), metres; not read outside the mask.
            valid_mask: (H, W) bool.
            space: the model's `space`.

        Returns:
            (H, W) float32, metres >= 1 mm; NaN where the prediction is.

        Raises:
            ProtocolError: the protocol does not take such a model, nothing is valid, or the model
                says nothing of a valid pixel.
            ValueError: no such space, or the sizes differ.
        """
        given = self._given(prediction, space)
        if not given.shape == truth.shape == valid_mask.shape:
            raise ValueError(
                "prediction, truth and mask must be (H, W) alike, got "
                f"{tuple(given.shape)}, {tuple(truth.shape)} and {tuple(valid_mask.shape)}"
            )
        is_counted = counted_mask(truth, valid_mask, math.inf)
        if not is_counted.any():
            raise ProtocolError("no pixel of the truth is valid")
        unknown = int((is_counted & ~torch.isfinite(given)).sum())
        if unknown:
            raise ProtocolError(
                f"the model says nothing of {unknown} of the {int(is_counted.sum())} valid pixels"
            )
        try:
            return self.fit(given[None], truth[None], is_counted[None])[0]
        except ValueError as error:
            raise ProtocolError(str(error)) from error

    def _given(self, prediction: Prediction, space: str) -> Tensor:
        if space not in SPACES:
            raise ValueError(f"space must be one of {', '.join(SPACES)}, got {space!r}")
        if space in self.spaces:
            return prediction.relative_depth
        if prediction.metric_depth is not None:
            return self.from_metres(prediction.metric_depth)
        needed = " or ".join((*self.spaces, "metric"))
        what = "no metric depth" if space == "metric" else f"a relative depth of space {space}"
        raise ProtocolError(f"protocol {self.name} takes {needed} depth; the model gives {what}")


def _least_squares_disparity(relative_depth: Tensor, truth: Tensor, valid_mask: Tensor) -> Tensor:
    # Small = near holds for every relative depth, so disparity comes with the other sign.
    return align_least_squares(-relative_depth, truth, valid_mask, space="disparity")


def _as_it_is(predicted_depth: Tensor, truth: Tensor, valid_mask: Tensor) -> Tensor:
    return predicted_depth.float().clamp(min=MIN_DEPTH_M)


def _itself(metric_depth: Tensor) -> Tensor:
    return metric_depth


_PROTOCOLS = (
    AlignmentProtocol(
        "ppd",
        ("log",),
        "RANSAC of log(1 + z) = a d + b, at most the farthest truth",
        align_ransac_log,
        torch.log1p,
    ),
    AlignmentProtocol(
        "marigold",
        ("depth",),
        "least squares of z = a d + b, at most the farthest truth",
        align_least_squares,
        _itself,
    ),
    AlignmentProtocol(
        "disparity",
        ("disparity",),
        "least squares of 1 / z = a d + b, at most the farthest truth",
        _least_squares_disparity,
        lambda metres: -1 / metres.clamp(min=MIN_DEPTH_M),
    ),
    AlignmentProtocol("scale", (), "the ratio of the medians", align_median_ratio, _itself),
    AlignmentProtocol("metric", (), "nothing", _as_it_is, _itself),
)
PROTOCOLS: Mapping[str, AlignmentProtocol] = {protocol.name: protocol for protocol in _PROTOCOLS}
"""Name -> protocol."""

OWN_PROTOCOL: Mapping[str, str] = {
    "log": "ppd",
    "depth": "marigold",
    "disparity": "disparity",
    "metric": "metric",
}
"""Space -> the protocol that a model of it is published with."""
