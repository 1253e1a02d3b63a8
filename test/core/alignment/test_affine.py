from __future__ import annotations

import pytest
import torch

from ppd_core.alignment.affine import alignment_from_range, to_metric_depth
from ppd_core.types import Alignment


def test_range_puts_near_at_zero_and_far_at_one():
    alignment = alignment_from_range(0.5, 10)
    metres = to_metric_depth(torch.tensor([0.0, 1.0]), alignment)
    torch.testing.assert_close(metres, torch.tensor([0.5, 10.0]))
    assert alignment.source == "constant"


def test_metric_depth_is_the_inverse_of_the_log_line():
    z = torch.tensor([0.3, 2.0, 60.0])
    alignment = Alignment(scale=2.0, shift=-0.1, source="constant")
    relative = (torch.log1p(z) - alignment.shift) / alignment.scale
    torch.testing.assert_close(to_metric_depth(relative, alignment), z)


def test_metric_depth_is_nan_behind_the_camera_and_past_what_a_number_holds():
    alignment = alignment_from_range(0.5, 10)
    metres = to_metric_depth(torch.tensor([-0.5, torch.nan, 0.5, 1e6]), alignment)
    assert metres.isnan().tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("near", "far"), [(1, 1), (2, 1), (-1, 3), (0.1, float("inf")), (float("nan"), 1)]
)
def test_range_refuses_an_order_that_makes_no_sense(near, far):
    with pytest.raises(ValueError, match=rf"need 0 <= near < far metres, got near {near}, far"):
        alignment_from_range(near, far)
