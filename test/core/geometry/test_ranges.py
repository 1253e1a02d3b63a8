from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ppd_core.geometry.ranges import finite_depth, limit_range

NAN, INF = float("nan"), float("inf")

depths = arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 40)),
    elements=st.one_of(
        st.floats(-2, 20, width=32), st.sampled_from([NAN, INF, -INF, 0.0, 0.5, 10.0])
    ),
)
on_any_machine = settings(deadline=None)  # how long an example takes is not what is tested


@on_any_machine
@given(depths)
def test_finite_depth_is_what_lies_in_front_of_the_camera(depth: np.ndarray) -> None:
    expected = np.where((depth > 0) & (depth < INF), depth, np.float32(NAN))
    assert np.array_equal(finite_depth(torch.from_numpy(depth)).numpy(), expected, equal_nan=True)


@on_any_machine
@given(depths, st.booleans())
def test_limit_range_says_on_which_side_of_the_range_a_depth_is(
    depth: np.ndarray, has_sky: bool
) -> None:
    sky = np.arange(depth.size).reshape(depth.shape) % 3 == 0
    expected = np.where(depth > 0, depth, np.float32(NAN))
    expected[expected < 0.5] = -INF
    expected[expected > 10] = INF
    if has_sky:
        expected[sky] = INF
    before = depth.copy()
    sky_mask = torch.from_numpy(sky) if has_sky else None
    found = limit_range(torch.from_numpy(depth), 0.5, 10.0, sky_mask)
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), expected, equal_nan=True)
    assert np.array_equal(depth, before, equal_nan=True)


def test_both_ends_belong_to_the_range() -> None:
    depth = torch.tensor([[0.49, 0.5, 10.0, 10.1]])
    assert limit_range(depth, 0.5, 10.0).tolist() == [[-INF, 0.5, 10.0, INF]]


def test_a_range_without_ends_changes_no_distance() -> None:
    depth = torch.tensor([[1e-6, 3e38, INF]])
    assert torch.equal(limit_range(depth, 0.0, INF), depth)


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ((2.0, 2.0), "need 0 <= min_m < max_m metres, got 2.0 and 2.0"),
        ((-1.0, 2.0), "need 0 <= min_m < max_m metres, got -1.0 and 2.0"),
        ((NAN, 2.0), "need 0 <= min_m < max_m metres, got nan and 2.0"),
    ],
)
def test_limit_range_refuses_what_is_no_range(ends: tuple[float, float], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        limit_range(torch.ones(1, 1), *ends)


def test_limit_range_refuses_a_sky_of_another_size() -> None:
    with pytest.raises(ValueError, match=re.escape("depth's size (2, 3), got (3, 2)")):
        limit_range(torch.ones(2, 3), 0.0, 1.0, torch.zeros(3, 2, dtype=torch.bool))
