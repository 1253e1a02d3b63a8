from __future__ import annotations

from typing import NoReturn

import numpy as np
import pytest
import torch

from ppd_core import DepthPipeline, DepthResult
from ppd_core.alignment.affine import alignment_from_range, to_metric_depth
from ppd_core.alignment.anchors import Anchors, depth_anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.surfaces import SurfaceChooser
from ppd_core.device import StageClock
from ppd_core.finish import finish
from ppd_core.frame import Aligner, Frame
from ppd_core.steady import EvidenceOf, SteadyDepth, without_metres
from ppd_core.types import AlignmentError

HEIGHT, WIDTH = 120, 160
GIVEN = alignment_from_range(0.5, 8.0)
TRACKED, ALONE = AlignmentConfig(), AlignmentConfig(is_tracked=False)


def still_camera(count: int) -> list[np.ndarray]:
    """A floor, a wall and a box, under a camera's noise and a lamp that flickers."""
    rng = np.random.default_rng(0)
    image = np.full((HEIGHT, WIDTH, 3), (150, 140, 130), np.float32)
    image[HEIGHT // 2 :] = np.linspace(60, 160, HEIGHT // 2)[:, None, None]
    image[45:90, 60:110] = (170, 60, 40)
    frames = []
    for _ in range(count):
        light = 1 + 0.05 * rng.standard_normal()
        noisy = image * light + 6 * rng.standard_normal(image.shape)
        frames.append(noisy.clip(0, 255).astype(np.uint8))
    return frames


@pytest.fixture(scope="module")
def relative_depths() -> list[torch.Tensor]:
    """What nano makes of those frames."""
    nano = DepthPipeline.from_pretrained("nano", device="cpu")
    frames = still_camera(12)
    return [
        nano(one, num_steps=2, processing_area=HEIGHT * WIDTH).relative_depth for one in frames
    ]


IMAGE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


def steady_of(
    relative_depths: list[torch.Tensor], evidence_of: EvidenceOf | None, config: AlignmentConfig
) -> SteadyDepth:
    """Of a camera at 15 Hz; the model's part of each frame is known already."""

    def estimate(
        image: np.ndarray, stamp_s: float, *, intrinsics: None, alignment: Aligner | None
    ) -> DepthResult:
        relative = relative_depths[round(15 * stamp_s)]
        frame = Frame(image, intrinsics, alignment)
        clock = StageClock(relative.device)
        return finish(frame, relative, no_geometry, clock, SurfaceChooser(), is_warm=False)

    return SteadyDepth(estimate, evidence_of, config)


def no_geometry(size: object) -> NoReturn:
    pytest.fail("this model has no metres of its own")


def log_depths(
    relative_depths: list[torch.Tensor], has_metres: bool, config: AlignmentConfig
) -> torch.Tensor:
    """(N, H, W): log(1 + z), or relative depth."""
    evidence_of = (lambda own_anchors: GIVEN) if has_metres else None
    steady = steady_of(relative_depths, evidence_of, config)
    found = [steady(IMAGE, n / 15) for n in range(len(relative_depths))]
    assert all((one.metric_depth is not None) == has_metres for one in found)
    depths = [one.metric_depth.log1p() if has_metres else one.relative_depth for one in found]
    return torch.stack(depths)


@pytest.mark.parametrize("has_metres", [False, True])
def test_tied_depth_of_a_still_camera_flickers_less_than_each_frame_alone(
    relative_depths: list[torch.Tensor], has_metres: bool
) -> None:
    tied, alone = (log_depths(relative_depths, has_metres, one) for one in (TRACKED, ALONE))
    torch.testing.assert_close(tied[0], alone[0], rtol=0, atol=1e-6)
    breathing = [one.nanmean(dim=(1, 2)).diff().abs().mean() for one in (tied, alone)]
    assert breathing[0] < 0.5 * breathing[1]
    flicker = [one.std(dim=0).nanmean() for one in (tied, alone)]
    assert flicker[0] < 0.95 * flicker[1]


def test_metres_that_are_guessed_anew_in_each_frame_are_steadied(
    relative_depths: list[torch.Tensor],
) -> None:
    tied, alone = (
        steady_of(relative_depths, guesses(relative_depths), config) for config in (TRACKED, ALONE)
    )
    jumps = []
    for steady in (tied, alone):
        depths = [steady(IMAGE, n / 15).metric_depth for n in range(len(relative_depths))]
        medians = torch.stack([depth.nanmedian() for depth in depths])
        jumps.append(medians.log().diff().abs().mean())
    assert jumps[0] < 0.3 * jumps[1]


def guesses(relative_depths: list[torch.Tensor]) -> EvidenceOf:
    """Metres as of a network that sees another size of the scene in each frame, by 10 %."""
    generator = torch.Generator().manual_seed(0)
    depths = iter(relative_depths)

    def evidence_of(own_anchors: object) -> Anchors:
        size = 1 + 0.1 * torch.randn(1, generator=generator)
        metres = size * to_metric_depth(next(depths), GIVEN)
        return depth_anchors(metres, HEIGHT, WIDTH, TRACKED, source="moge2")

    return evidence_of


def test_after_a_reset_a_frame_is_what_it_is_alone(relative_depths: list[torch.Tensor]) -> None:
    steady = steady_of(relative_depths, None, TRACKED)
    steady(IMAGE, 0.0)
    steady.reset()
    second = steady(IMAGE, 1 / 15)
    torch.testing.assert_close(second.relative_depth, relative_depths[1], rtol=0, atol=1e-6)


def test_a_frame_without_evidence_has_no_metres_and_says_why(
    relative_depths: list[torch.Tensor],
) -> None:
    def nothing(own_anchors: object) -> NoReturn:
        raise AlignmentError("few_samples", "want 64, got 3")

    result = steady_of(relative_depths, nothing, TRACKED)(IMAGE, 0.0)
    assert result.metric_depth is None
    assert result.alignment_failure.reason == "few_samples"
    invalid = without_metres(result)
    assert invalid.metric_depth.isnan().all()
    assert not invalid.valid_mask.any()
