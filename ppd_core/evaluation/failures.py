"""Why an image has no figures. Each is counted by its name, and none is left out in silence."""

from __future__ import annotations

from collections.abc import Mapping

FAILURES: Mapping[str, str] = {
    "unreadable": "image or depth is missing or cannot be read",
    "sizes_differ": "image, depth and mask are not of one size",
    "no_truth": "no pixel has a depth to be measured against",
    "model_failed": "the model gave no answer",
    "prediction_invalid": "the prediction has NaN or infinities where there is truth",
    "not_aligned": "the protocol cannot bring the prediction to metres",
}
"""Reason -> what it means."""


class ImageFailure(Exception):  # noqa: N818 - it ends one image, and the run goes on
    """One image that cannot be measured.

    Args:
        reason: a key of `FAILURES`.
        detail: what was wanted and what came.
    """

    def __init__(self, reason: str, detail: str) -> None:
        assert reason in FAILURES, reason
        super().__init__(" ".join(detail.split()))
        self.reason = reason
