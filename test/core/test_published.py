"""What others see of a frame: metres within a range, or what was asked for without them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ppd_core.depth_result import DepthResult
from ppd_core.published import PublishedDepth, published_depth

RELATIVE = torch.tensor([[-0.1, 0.5, torch.nan]])
UNTIED = DepthResult(RELATIVE, RELATIVE, torch.isfinite(RELATIVE))
METRES = torch.tensor([[0.2, 3.0, 30.0]])
TIED = replace(UNTIED, metric_depth=METRES)


def published(result: DepthResult, **changes: object) -> PublishedDepth | None:
    settings = {"are_metres_wanted": True, "on_failure": "drop", "min_m": 0.5, "max_m": 10.0}
    settings["min_confidence"] = 0.0
    return published_depth(result, **(settings | changes))  # type: ignore[arg-type]


def test_metres_outside_the_range_say_on_which_side() -> None:
    depth = published(TIED)
    assert depth is not None and depth.is_metric
    assert depth.values.tolist() == [[-torch.inf, 3.0, torch.inf]]
    assert depth.z is depth.values


def test_the_sky_is_beyond_every_range() -> None:
    depth = published(replace(TIED, sky_mask=torch.tensor([[False, True, False]])))
    assert depth is not None and depth.values[0, 1] == torch.inf


def test_an_untied_frame_is_dropped_where_metres_were_promised() -> None:
    assert published(UNTIED) is None


def test_or_is_nan_throughout() -> None:
    depth = published(UNTIED, on_failure="nan")
    assert depth is not None and not depth.is_metric and depth.values.isnan().all()


@pytest.mark.parametrize("how", [{"on_failure": "relative"}, {"are_metres_wanted": False}])
def test_relative_depth_has_no_range_and_points_in_front_of_the_camera(how: dict) -> None:
    depth = published(UNTIED, **how)
    assert depth is not None and not depth.is_metric
    torch.testing.assert_close(depth.values, RELATIVE, equal_nan=True)
    torch.testing.assert_close(depth.z, RELATIVE + 0.5, equal_nan=True)


def test_metres_with_less_confidence_than_wanted_are_none() -> None:
    tied = replace(TIED, confidence=torch.tensor([[0.9, 0.4, 0.6]]))
    depth = published(tied, min_confidence=0.5, min_m=0.0, max_m=100.0)
    assert depth is not None and depth.confidence is tied.confidence
    torch.testing.assert_close(
        depth.values, torch.tensor([[0.2, torch.nan, 30.0]]), equal_nan=True
    )
