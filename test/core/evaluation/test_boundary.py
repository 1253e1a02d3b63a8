from __future__ import annotations

import numpy as np
import pytest
import torch

from ppd_core.evaluation.boundary import boundary_f1

HEIGHT, WIDTH = 20, 30


def step(smeared_px: int = 0) -> torch.Tensor:
    """(1, H, W): 1 m on the left, 2 m on the right; over so many columns even steps in log."""
    position = (torch.arange(WIDTH, dtype=torch.float64) - 12 + 1) / (smeared_px + 1)
    return (2 ** position.clamp(0, 1)).expand(1, HEIGHT, WIDTH).clone()


def score(predicted: torch.Tensor, truth: torch.Tensor) -> float:
    return boundary_f1(predicted, truth, torch.ones_like(truth, dtype=torch.bool)).item()


def by_loops(predicted: np.ndarray, truth: np.ndarray) -> float:
    """The published definition, pixel by pixel."""
    height, width = truth.shape
    ratios = np.linspace(1.05, 1.25, 10)
    total = 0.0
    for ratio in ratios:
        precisions, recalls = [], []
        for row_step, column_step in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            pairs = [
                (row, column, row + row_step, column + column_step)
                for row in range(height)
                for column in range(width)
                if 0 <= row + row_step < height and 0 <= column + column_step < width
            ]
            found = {p for p in pairs if predicted[p[2:]] / predicted[p[:2]] > ratio}
            true = {p for p in pairs if truth[p[2:]] / truth[p[:2]] > ratio}
            precisions.append(len(found & true) / max(len(found), 1))
            recalls.append(len(found & true) / max(len(true), 1))
        precision, recall = np.mean(precisions), np.mean(recalls)
        if precision + recall > 0:
            total += ratio * 2 * precision * recall / (precision + recall)
    return total / ratios.sum()


def test_one_step_edge_has_one_of_the_four_directions():
    assert score(step(), step()) == pytest.approx(0.25)


@pytest.mark.parametrize("smeared_px", [1, 2])
def test_a_smeared_step_has_its_closed_form(smeared_px):
    # k columns between the walls: k + 1 predicted edges of ratio 2^(1/(k + 1)), more than 1.25,
    # one of which is true: precision 1/4 of 1/(k + 1), recall 1/4, F1 1/2 of 1/(k + 2).
    assert score(step(smeared_px), step()) == pytest.approx(0.5 / (smeared_px + 2))


def test_a_wide_smear_fails_the_larger_ratios():
    # Over four columns: 2^(1/5) = 1.149, so the ratios from 1.161 on find no edge.
    ratios = np.linspace(1.05, 1.25, 10)
    share = ratios[ratios < 2**0.2].sum() / ratios.sum()
    assert 0.4 < share < 0.6
    assert score(step(4), step()) == pytest.approx(share * 0.5 / 6)


def test_a_factor_changes_nothing_and_an_edge_aside_misses():
    assert score(37 * step(), step()) == pytest.approx(0.25)
    assert score(step().roll(1, dims=-1)[..., 5:-5], step()[..., 5:-5]) == 0
    assert score(3 - step(), step()) == 0  # the far side is the near one


def test_a_box_in_front_of_a_wall_scores_one():
    depth = torch.full((1, HEIGHT, WIDTH), 3.0)
    depth[:, 5:12, 8:20] = 1.0
    assert score(depth, depth) == pytest.approx(1)
    assert score(torch.ones_like(depth), depth) == 0
    assert score(depth, torch.ones_like(depth)) == 0


def test_it_is_the_published_definition_pixel_by_pixel():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 9, 11, generator=generator, dtype=torch.float64) + 1
    noise = torch.rand(2, 9, 11, generator=generator, dtype=torch.float64)
    predicted = truth * (1 + 0.2 * noise)
    found = boundary_f1(predicted, truth, torch.ones_like(truth, dtype=torch.bool))
    for index in range(2):
        expected = by_loops(predicted[index].numpy(), truth[index].numpy())
        assert found[index].item() == pytest.approx(expected, abs=1e-6)


def test_pairs_with_a_pixel_outside_the_mask_do_not_count():
    depth = torch.full((1, HEIGHT, WIDTH), 3.0)
    depth[:, 5:12, 8:20] = 1.0
    predicted, truth = depth.clone(), depth.clone()
    predicted[:, :, 25:] = torch.nan
    truth[:, :2], predicted[:, :2] = torch.nan, 100.0
    mask = torch.isfinite(truth)
    assert boundary_f1(predicted, truth, mask).item() == pytest.approx(1)
    # A NaN inside the mask is no edge, there or not.
    predicted[:, 5, 8:20] = torch.nan
    assert 0.5 < boundary_f1(predicted, truth, mask).item() < 1


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"got \(1, 20, 30\), \(20, 30\) and \(1, 20, 30\)"):
        boundary_f1(step(), step()[0], torch.ones_like(step()))
