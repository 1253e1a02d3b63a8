from __future__ import annotations

import torch

from ppd_core.alignment.affine import to_metric_depth
from ppd_core.alignment.aligner import locally_aligned
from ppd_core.alignment.anchors import depth_anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.field import correction_field
from ppd_core.types import Alignment

CONFIG = AlignmentConfig()
LINE = Alignment(scale=2.0, shift=0.3, source="depth", state="fitted")
HEIGHT, WIDTH = 96, 128


def two_surfaces() -> torch.Tensor:
    """Relative depth: a near box before a far wall."""
    relative = torch.full((HEIGHT, WIDTH), 0.8)
    relative[30:70, 40:90] = 0.2
    return relative


def ramp() -> torch.Tensor:
    """A smooth error in log(1 + z), -0.1 to 0.1 from left to right."""
    return torch.linspace(-0.1, 0.1, WIDTH).expand(HEIGHT, WIDTH)


def metres(log_depth: torch.Tensor) -> torch.Tensor:
    return torch.expm1(log_depth)


def test_a_smooth_error_is_taken_away():
    relative = two_surfaces()
    sensor = metres(2 * relative + 0.3 + ramp())
    field = correction_field(relative, depth_anchors(sensor, HEIGHT, WIDTH, CONFIG), LINE)
    assert (field - ramp())[2:-2, 2:-2].abs().max() < 0.01


def test_each_surface_has_a_correction_of_its_own():
    relative = two_surfaces()
    is_box = relative < 0.5
    error = torch.where(is_box, 0.08, -0.05)
    sensor = metres(2 * relative + 0.3 + error)
    field = correction_field(relative, depth_anchors(sensor, HEIGHT, WIDTH, CONFIG), LINE)
    assert (field - error).abs().max() < 0.01  # right at the border, too


def test_without_samples_around_the_global_fit_holds():
    relative = two_surfaces()
    sensor = metres(2 * relative + 0.3 + 0.1)
    sensor[:, 40:] = torch.nan
    field = correction_field(relative, depth_anchors(sensor, HEIGHT, WIDTH, CONFIG), LINE)
    assert (field[:, :36] - 0.1)[relative[:, :36] > 0.5].abs().max() < 0.02
    assert field[32:68, 80:88].abs().max() < 1e-3  # a surface that the sensor nowhere sees
    nothing = depth_anchors(torch.full((9, 9), torch.nan), HEIGHT, WIDTH, CONFIG)
    assert (correction_field(relative, nothing, LINE) == 0).all()


def test_a_hole_takes_the_correction_of_its_surface():
    relative = two_surfaces()
    sensor = metres(2 * relative + 0.3 + torch.where(relative < 0.5, 0.1, 0.0))
    sensor[40:60, 55:75] = torch.nan
    field = correction_field(relative, depth_anchors(sensor, HEIGHT, WIDTH, CONFIG), LINE)
    assert (field[40:60, 55:75] - 0.1).abs().max() < 0.02


def test_stray_samples_have_little_say():
    relative = two_surfaces()
    sensor = metres(2 * relative + 0.3)
    generator = torch.Generator().manual_seed(0)
    is_stray = torch.rand(sensor.shape, generator=generator) < 0.1
    anchors = depth_anchors(torch.where(is_stray, 3 * sensor, sensor), HEIGHT, WIDTH, CONFIG)
    assert correction_field(relative, anchors, LINE).abs().mean() < 0.02


def test_nan_stays_nan_and_sizes_need_not_divide():
    relative = two_surfaces()[:91, :127].clone()
    relative[0, 0] = torch.nan
    anchors = depth_anchors(metres(2 * relative + 0.4), 91, 127, CONFIG)
    field = correction_field(relative, anchors, LINE)
    assert torch.isnan(field).sum() == 1
    assert torch.isfinite(locally_aligned(relative, anchors, LINE)).sum() == 91 * 127 - 1


def test_the_local_result_is_nearer_to_the_truth_and_fills_the_sensor_s_holes():
    relative = two_surfaces()
    truth = metres(2 * relative + 0.3 + ramp())
    generator = torch.Generator().manual_seed(0)
    sensor = truth + 0.002 * torch.randn(truth.shape, generator=generator) * truth**2
    sensor[torch.rand(truth.shape, generator=generator) < 0.3] = torch.nan
    anchors = depth_anchors(sensor, HEIGHT, WIDTH, CONFIG)
    local = locally_aligned(relative, anchors, LINE)
    overall = to_metric_depth(relative, LINE)
    assert torch.isfinite(local).all()
    assert (local - truth).square().mean() < 0.1 * (overall - truth).square().mean()
