"""What is minimised: the velocity's error, the field's gradients', a mixture's surprise."""

from __future__ import annotations

from torch import Tensor

from ppd_core.models.efficientnet_prompt import Mixture

SCALES = (1, 2, 4, 8)


def velocity_loss(predicted: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
    """Mean squared error over valid pixels.

    Args:
        predicted, target: (B, 1, H, W) velocities.
        valid_mask: (B, 1, H, W).

    Returns:
        A scalar; 0 when no pixel is valid.
    """
    weight = valid_mask.to(predicted.dtype)
    return ((predicted - target) ** 2 * weight).sum() / (weight.sum() + 1e-6)


def gradient_loss(predicted: Tensor, target: Tensor, valid_mask: Tensor) -> Tensor:
    """Absolute differences of neighbouring errors, over four scales of every 1, 2, 4, 8 pixels.

    A step in the error at an object's border costs as much as the step is high, wherever the
    surfaces themselves are: borders become sharp.

    Args:
        predicted, target: (B, 1, H, W) fields x_0.
        valid_mask: (B, 1, H, W); a difference counts where both of its pixels are valid.

    Returns:
        A scalar: for each scale the sum over the batch divided by its valid pixels, added up.

    Source: MiDaS, arXiv 1907.01341; PPD's second training stage weights it 0.2.
    """
    mask = valid_mask.to(predicted.dtype)
    # Where nothing is valid the target may be NaN, and NaN * 0 is NaN.
    error = (predicted - target).masked_fill(mask == 0, 0)
    return sum(
        (_gradient_loss(error[..., ::s, ::s], mask[..., ::s, ::s]) for s in SCALES),
        start=predicted.new_zeros(()),
    )


def _gradient_loss(error: Tensor, mask: Tensor) -> Tensor:
    across = error.diff(dim=-1).abs() * mask[..., 1:] * mask[..., :-1]
    down = error.diff(dim=-2).abs() * mask[..., 1:, :] * mask[..., :-1, :]
    return (across.sum() + down.sum()) / mask.sum()


def mixture_loss(mixture: Mixture, target: Tensor, valid_mask: Tensor) -> Tensor:
    """Mean negative log likelihood, in nats, over valid pixels.

    Args:
        mixture: of Laplace distributions of the field, (B, K, h, w) each.
        target: (B, 1, h, w) field x_0.
        valid_mask: (B, 1, h, w).

    Returns:
        A scalar; 0 when no pixel is valid.

    Source: mixture density networks; of Laplace distributions for depth at borders, SMD-Nets,
    arXiv 2104.03866.
    """
    weight = valid_mask.to(target.dtype)
    # Where nothing is valid the target may be NaN, and NaN * 0 is NaN.
    target = target.masked_fill(~valid_mask.bool(), 0)
    distance = (target - mixture.location).abs() / mixture.scale
    log_likelihood = (mixture.log_weight - distance - (2 * mixture.scale).log()).logsumexp(1, True)
    return -(log_likelihood * weight).sum() / (weight.sum() + 1e-6)
