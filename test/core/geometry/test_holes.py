from __future__ import annotations

import pytest
import torch

from ppd_core.geometry.holes import fill_nearest

NAN = float("nan")


def test_a_hole_takes_the_nearest_known_value():
    image = torch.tensor([[1.0, NAN, NAN, NAN, NAN, 2.0]])
    filled = fill_nearest(image, torch.isfinite(image))
    assert filled.tolist() == [[1, 1, 1, 2, 2, 2]]


def test_in_two_dimensions_it_is_the_nearest_by_distance():
    image = torch.full((9, 9), NAN)
    image[0, 0], image[8, 8], image[0, 8] = 1, 2, 3
    filled = fill_nearest(image, torch.isfinite(image))
    rows, cols = torch.meshgrid(torch.arange(9), torch.arange(9), indexing="ij")
    corners = torch.tensor([[0, 0], [8, 8], [0, 8]])
    offsets = torch.stack([rows, cols], dim=-1)[..., None, :] - corners
    distances = offsets.float().norm(dim=-1)
    two = distances.topk(2, largest=False).values
    is_clear = two[..., 1] - two[..., 0] > 0.5  # the transform's distances are near, not exact
    expected = torch.tensor([1.0, 2.0, 3.0])[distances.argmin(-1)]
    assert is_clear.sum() > 50
    assert torch.equal(filled[is_clear], expected[is_clear])


def test_known_pixels_stay_and_whatever_else_is_not_read():
    image = torch.rand(7, 5, generator=torch.Generator().manual_seed(0))
    known = image > 0.5
    filled = fill_nearest(image.masked_fill(~known, torch.inf), known)
    assert torch.equal(filled[known], image[known])
    assert set(filled.flatten().tolist()) == set(image[known].tolist())


def test_without_holes_nothing_changes():
    image = torch.rand(3, 4)
    assert fill_nearest(image, torch.ones(3, 4, dtype=torch.bool)) is image


def test_nothing_known_is_an_error():
    with pytest.raises(ValueError, match="no pixel is known"):
        fill_nearest(torch.ones(2, 2), torch.zeros(2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"got \(2, 2\) and \(2, 3\)"):
        fill_nearest(torch.ones(2, 2), torch.ones(2, 3, dtype=torch.bool))
