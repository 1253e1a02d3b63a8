"""How well a prediction's depth edges lie on the truth's, whatever its scale."""

from __future__ import annotations

import torch
from torch import Tensor

from ppd_core.evaluation.counting import check_alike, counted_mask

RATIOS = (1.05, 1.25)
RATIO_COUNT = 10
NEAREST_M = 1e-6


def boundary_f1(predicted_depth: Tensor, metric_depth: Tensor, valid_mask: Tensor) -> Tensor:
    """Scale-invariant boundary F1 of Depth Pro.

    Of two neighbours, one occludes the other where their depths differ by more than a ratio.
    That is asked in four directions (which of a pair beside or above one another is the farther),
    and each gives a precision and a recall of the prediction's pairs; their means over the four
    give an F1. Ten ratios from 1.05 to 1.25, evenly spaced, are averaged with the ratio itself as
    the weight.

    Here a pair counts only where the truth of both pixels does, at any distance; the published
    code knows no mask. As in it, a direction without a pair has precision and recall 0: so one
    step edge, perfectly predicted, scores 0.25, and an image without edges 0. Figures compare on
    the same images only.

    Args:
        predicted_depth: (B, 1, H, W) or (B, H, W), metres, or times any factor; a NaN is no edge.
        metric_depth: alike, truth in metres.
        valid_mask: alike, bool.

    Returns:
        (B,) float64, 0..1; larger is better.

    Raises:
        ValueError: the shapes differ.

    Source: Bochkovskii et al., "Depth Pro", arXiv 2410.02073, section on boundary metrics, and
    github.com/apple/ml-depth-pro (the range, number and weights of the ratios).
    """
    check_alike(predicted_depth, metric_depth, valid_mask)
    shape = (-1, *metric_depth.shape[-2:])
    valid = counted_mask(metric_depth, valid_mask, torch.inf).reshape(shape)
    predicted = _log_ratios(predicted_depth.reshape(shape), valid)
    true = _log_ratios(metric_depth.reshape(shape), valid)
    ratios = torch.linspace(*RATIOS, RATIO_COUNT, dtype=torch.float64, device=valid.device)
    scores = torch.stack([_f1(predicted, true, ratio.log()) for ratio in ratios], dim=1)
    return (scores * ratios / ratios.sum()).sum(dim=1)


def _log_ratios(depth: Tensor, valid: Tensor) -> list[Tensor]:
    """By how much each pixel is farther than its neighbour, in four directions; NaN = no pair."""
    log_depth = depth.double().clamp(min=NEAREST_M).log()
    log_depth = torch.where(valid, log_depth, torch.nan)
    across, down = log_depth.diff(dim=2).flatten(1), log_depth.diff(dim=1).flatten(1)
    return [across, -across, down, -down]


def _f1(predicted: list[Tensor], true: list[Tensor], limit: Tensor) -> Tensor:
    precisions, recalls = [], []
    for one_predicted, one_true in zip(predicted, true, strict=True):
        is_predicted, is_true = one_predicted > limit, one_true > limit
        hits = (is_predicted & is_true).sum(dim=1).double()
        precisions.append(hits / is_predicted.sum(dim=1).clamp(min=1))
        recalls.append(hits / is_true.sum(dim=1).clamp(min=1))
    precision, recall = torch.stack(precisions).mean(dim=0), torch.stack(recalls).mean(dim=0)
    both = precision + recall
    return torch.where(both > 0, 2 * precision * recall / both, 0)
