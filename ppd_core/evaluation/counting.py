"""Which pixels of a truth count, and means over them."""

from __future__ import annotations

from torch import Tensor

from ppd_core.training.targets import MAX_DEPTH_M as MAX_DEPTH_M


def counted_mask(
    metric_depth: Tensor, valid_mask: Tensor, max_depth_m: float = MAX_DEPTH_M
) -> Tensor:
    """Where truth is something to be measured against: valid, positive, under the cap; bool."""
    return valid_mask.bool() & (metric_depth > 0) & (metric_depth < max_depth_m)


def checked_counts(
    predicted: Tensor, metric_depth: Tensor, valid_mask: Tensor, max_depth_m: float = MAX_DEPTH_M
) -> Tensor:
    """`counted_mask` of a batch, (B, 1, H, W) or (B, H, W), that is fit to be measured.

    Raises:
        ValueError: the shapes differ, or an image has nothing to be measured against.
    """
    check_alike(predicted, metric_depth, valid_mask)
    is_counted = counted_mask(metric_depth, valid_mask, max_depth_m)
    is_empty = ~is_counted.flatten(1).any(dim=1)
    if is_empty.any():
        raise ValueError(
            f"image {int(is_empty.nonzero()[0, 0])} of the batch has no valid pixel "
            f"under {max_depth_m:g} m"
        )
    return is_counted


def check_alike(predicted: Tensor, metric_depth: Tensor, valid_mask: Tensor) -> None:
    """Refuse a prediction, truth and mask that are not (B, 1, H, W) or (B, H, W) alike.

    Raises:
        ValueError: the message names the three shapes.
    """
    shapes = [tuple(tensor.shape) for tensor in (predicted, metric_depth, valid_mask)]
    if predicted.ndim not in (3, 4) or shapes != [shapes[0]] * 3:
        raise ValueError(
            "prediction, truth and mask must be (B, 1, H, W) or (B, H, W) alike, got "
            f"{shapes[0]}, {shapes[1]} and {shapes[2]}"
        )


def image_mean(values: Tensor, is_counted: Tensor) -> Tensor:
    """Each image's mean over its counted pixels; (B,)."""
    # Filled, not multiplied: truth may be NaN or infinite outside the mask.
    total = values.masked_fill(~is_counted, 0).flatten(1).sum(dim=1)
    return total / is_counted.flatten(1).sum(dim=1)
