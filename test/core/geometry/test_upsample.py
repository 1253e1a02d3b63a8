from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from torch.nn import functional as F

from ppd_core.geometry import upsample
from ppd_core.geometry.upsample import upsample_depth

NAN, INF = float("nan"), float("inf")

on_any_machine = settings(deadline=None)  # how long an example takes is not what is tested

sides = st.integers(1, 12)
sizes = st.tuples(sides, sides)
values = st.floats(-1, 2, width=32)
images = arrays(np.float32, sizes, elements=values).map(torch.from_numpy)
holed_images = arrays(
    np.float32, sizes, elements=st.one_of(values, st.sampled_from([NAN, INF]))
).map(torch.from_numpy)


def neighbours(depth: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The four neighbours (4, H, W) of each wanted pixel, and the nearest sample (H, W)."""

    def along(size: int, wanted: int) -> tuple[Tensor, Tensor, Tensor]:
        position = ((torch.arange(wanted).double() + 0.5) * size / wanted - 0.5).clamp(0, size - 1)
        before = position.floor().long()
        return before, (before + 1).clamp(max=size - 1), (position + 0.5).floor().long()

    (top, bottom, row), (left, right, column) = (
        along(depth.shape[0], height),
        along(depth.shape[1], width),
    )
    four = [depth[rows][:, columns] for rows in (top, bottom) for columns in (left, right)]
    return torch.stack(four), depth[row][:, column]


def same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.nan_to_num(7.5), other.nan_to_num(7.5))


def test_upsample_depth_keeps_a_step_a_step() -> None:
    wide = upsample_depth(torch.tensor([[0.0, 0.0, 9.0, 9.0]]), 1, 8)
    assert wide.tolist() == [[0, 0, 0, 0, 9, 9, 9, 9]]


def test_upsample_depth_keeps_a_thin_line() -> None:
    wide = upsample_depth(torch.tensor([[0.0, 0.0, 9.0, 0.0, 0.0]]), 1, 10)
    assert wide.tolist() == [[0, 0, 0, 0, 9, 9, 0, 0, 0, 0]]


def test_upsample_depth_is_bilinear_on_a_surface() -> None:
    depth = torch.tensor([[0.0, 0.004]])
    expected = torch.tensor([[0.0, 0.001, 0.003, 0.004]])
    torch.testing.assert_close(upsample_depth(depth, 1, 4), expected)


def test_upsample_depth_draws_a_smooth_border() -> None:
    # Nearest would end at the corner's own quarter; a straight diagonal border cuts it off.
    depth = torch.tensor([[0.0, 9.0], [9.0, 9.0]])
    large = upsample_depth(depth, 20, 20)
    corner = (large == 0).float()
    assert corner.sum() < 100
    assert torch.equal(corner, corner.T)
    assert set(large.unique().tolist()) == {0.0, 9.0}


@on_any_machine
@given(holed_images)
def test_upsample_depth_to_the_same_size_is_the_identity(depth: Tensor) -> None:
    assert same(upsample_depth(depth, *depth.shape), depth)


def test_upsample_depth_to_the_same_size_costs_nothing() -> None:
    depth = torch.rand(4, 5)
    assert upsample_depth(depth, 4, 5) is depth


@on_any_machine
@given(holed_images, sizes)
def test_upsample_depth_is_the_same_where_borders_are_picked_out(
    depth: Tensor, size: tuple[int, int]
) -> None:
    found = []
    for is_sparse in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(upsample, "_is_mostly", lambda mask, answer=is_sparse: answer)
            found.append(upsample_depth(depth, *size))
    assert same(*found)


@on_any_machine
@given(images, sizes)
def test_upsample_depth_stays_within_the_four_neighbours(
    depth: Tensor, size: tuple[int, int]
) -> None:
    out = upsample_depth(depth, *size)
    four, _ = neighbours(depth, *size)
    assert out.shape == size
    assert out.dtype == torch.float32
    assert (out >= four.amin(0)).all()
    assert (out <= four.amax(0)).all()


@on_any_machine
@given(arrays(np.bool_, sizes), sizes)
def test_upsample_depth_has_no_value_between_two_planes(
    mask: np.ndarray, size: tuple[int, int]
) -> None:
    depth = torch.where(torch.from_numpy(mask), 0.75, 0.25)
    assert set(upsample_depth(depth, *size).unique().tolist()) <= {0.25, 0.75}


@on_any_machine
@given(arrays(np.bool_, sizes), sizes, values, values)
def test_upsample_depth_keeps_slanted_planes_apart(
    mask: np.ndarray, size: tuple[int, int], slope_x: float, slope_y: float
) -> None:
    h, w = mask.shape
    slant = 0.01 * (slope_x * torch.arange(w) + slope_y * torch.arange(h)[:, None])
    depth = torch.where(torch.from_numpy(mask), 3.0 + slant, slant)
    out = upsample_depth(depth, *size)
    assert ((out <= slant.max()) | (out >= 3.0 + slant.min())).all()


@on_any_machine
@given(
    st.tuples(st.integers(3, 12), st.integers(3, 12)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    values,
    values,
)
def test_upsample_depth_reproduces_a_plane(
    small: tuple[int, int], large: tuple[int, int], slope_x: float, slope_y: float
) -> None:
    def plane(size: tuple[int, int]) -> Tensor:
        y, x = (
            ((torch.arange(wanted).double() + 0.5) * n / wanted - 0.5).clamp(0, n - 1)
            for wanted, n in zip(size, small, strict=True)
        )
        return (slope_x * x + slope_y * y[:, None] + 0.5).float()

    torch.testing.assert_close(upsample_depth(plane(small), *large), plane(large))


def test_upsample_depth_agrees_with_torch_where_all_is_one_surface() -> None:
    depth = torch.rand(20, 30, generator=torch.Generator().manual_seed(0)) * 0.005
    expected = F.interpolate(depth[None, None], size=(57, 44), mode="bilinear")[0, 0]
    torch.testing.assert_close(upsample_depth(depth, 57, 44), expected, atol=1e-7, rtol=0)


def test_upsample_depth_follows_a_floor_to_the_horizon() -> None:
    def floor(rows: int) -> Tensor:
        y = (torch.arange(rows).double() + 0.5) / rows * 60 + 3
        return (120 / y).log1p().float()[:, None].expand(rows, 8)

    inside = slice(2, -2)  # beyond the outermost samples there is nothing to follow
    error = (upsample_depth(floor(60), 150, 8) - floor(150))[inside].abs()
    staircase = F.interpolate(floor(60)[None, None], size=(150, 8), mode="nearest-exact")[0, 0]
    assert error.max() < 0.1 * (staircase - floor(150))[inside].abs().max()


@on_any_machine
@given(holed_images, sizes)
def test_upsample_depth_gives_a_hole_to_the_nearest_pixels_alone(
    depth: Tensor, size: tuple[int, int]
) -> None:
    out = upsample_depth(depth, *size)
    _, nearest = neighbours(depth, *size)
    assert torch.equal(torch.isnan(out), torch.isnan(nearest))
    assert torch.equal(torch.isinf(out), torch.isinf(nearest))


def test_upsample_depth_beside_a_hole_takes_a_sample() -> None:
    wide = upsample_depth(torch.tensor([[0.1, 0.2, NAN]]), 1, 6)
    torch.testing.assert_close(wide[0, :4], torch.tensor([0.1, 0.1, 0.2, 0.2]))
    assert torch.isnan(wide[0, 4:]).all()


def test_upsample_depth_of_one_pixel() -> None:
    assert upsample_depth(torch.tensor([[0.5]]), 2, 3).tolist() == [[0.5] * 3] * 2


def test_upsample_depth_asks_nothing_of_the_host() -> None:
    # A meta tensor has no values: whatever would wait for one on a GPU fails here.
    out = upsample_depth(torch.empty(6, 8, device="meta"), 12, 20)
    assert out.device.type == "meta"
    assert out.shape == (12, 20)


@pytest.mark.parametrize(
    ("depth", "size", "threshold", "complaint"),
    [
        (torch.zeros(2, 3, 4), (4, 4), 0.1, r"depth must be \(h, w\) .* got \(2, 3, 4\)"),
        (torch.zeros(0, 4), (4, 4), 0.1, r"not empty, got \(0, 4\)"),
        (torch.zeros(2, 2, dtype=torch.int64), (4, 4), 0.1, "floating point.* got .*int64"),
        (torch.zeros(2, 2), (0, 4), 0.1, "size must be at least 1 x 1, got 4 x 0"),
        (torch.zeros(2, 2), (4, 4), -1.0, "edge_threshold must be >= 0, got -1.0"),
        (torch.zeros(2, 2), (4, 4), NAN, "edge_threshold must be >= 0, got nan"),
    ],
)
def test_upsample_depth_says_what_is_wrong(
    depth: Tensor, size: tuple[int, int], threshold: float, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        upsample_depth(depth, *size, edge_threshold=threshold)
