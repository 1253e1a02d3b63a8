from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.fit import fit_affine
from ppd_core.types import AlignmentError

CONFIG = AlignmentConfig()
BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def planted():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import planted as module

        yield module
        sys.modules.pop("planted", None)


def line(count: int = 1000, scale: float = 2.0, shift: float = 0.3):
    relative = torch.linspace(0, 1, count)
    return relative, torch.expm1(scale * relative + shift), torch.ones(count)


def test_a_clean_line_is_found_exactly():
    alignment = fit_affine(*line(), CONFIG).alignment("depth", CONFIG)
    assert alignment.scale == pytest.approx(2.0, abs=1e-5)
    assert alignment.shift == pytest.approx(0.3, abs=1e-5)
    assert (alignment.source, alignment.state) == ("depth", "fitted")
    assert (alignment.inlier_ratio, alignment.sample_count) == (1.0, 1000)
    assert alignment.rmse_m < 1e-4


def test_two_flat_surfaces_without_noise_are_found_exactly():
    relative = torch.tensor([0.0, 0.5]).repeat_interleave(torch.tensor([480, 2592]))
    metres = torch.expm1(0.62 * relative + 0.79)
    alignment = fit_affine(relative, metres, torch.ones_like(metres), CONFIG).alignment(
        "depth", CONFIG
    )
    assert alignment.scale == pytest.approx(0.62, abs=1e-5)
    assert alignment.shift == pytest.approx(0.79, abs=1e-5)


PATTERNS = ["anywhere", "moving hand", "glass pane", "multipath", "moved sensor", "filled holes"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_forty_per_cent_of_outliers_do_not_move_the_line(planted, pattern):
    for seed in range(12):
        relative, metres, scale, shift = planted.planted(seed, pattern)
        fit = fit_affine(relative, metres, torch.ones_like(metres), CONFIG)
        assert fit.scale.item() == pytest.approx(scale, abs=1e-3), seed
        assert fit.shift.item() == pytest.approx(shift, abs=1e-3), seed
        assert fit.failure.item() == 0


def test_every_planted_pattern_is_tested(planted):
    assert list(planted.PATTERNS) == PATTERNS


def test_rows_of_a_batch_do_not_see_each_other():
    d, z, w = line()
    noise = 1 + 0.05 * torch.randn(1000, generator=torch.Generator().manual_seed(0))
    batch = fit_affine(
        torch.stack([d, d, d * 0.5]), torch.stack([z, z * noise, z]), torch.stack([w] * 3), CONFIG
    )
    alone = fit_affine(d, z * noise, w, CONFIG)
    assert batch.scale[1].item() == pytest.approx(alone.scale.item(), abs=1e-5)
    assert batch.scale[2].item() == pytest.approx(4.0, abs=1e-4)


def test_samples_without_weight_and_without_depth_are_not_read():
    d, z, w = line()
    z[:100], w[100:200], d[200:300] = torch.nan, 0.0, torch.nan
    z[100:200], z[300:310], z[310:320] = 99.0, -1.0, torch.inf
    fit = fit_affine(d, z, w, CONFIG)
    assert fit.scale.item() == pytest.approx(2.0, abs=1e-4)
    assert fit.sample_count.item() == 1000 - 320


def test_the_stated_deviation_is_the_one_that_is_seen():
    generator = torch.Generator().manual_seed(3)
    d, z, w = line(4000)
    found, stated = [], []
    for _ in range(200):
        noisy_log = z.log1p() + 0.05 * torch.randn(4000, generator=generator)
        fit = fit_affine(d, noisy_log.expm1(), w, CONFIG)
        found.append((fit.scale.item(), fit.shift.item()))
        stated.append(fit.covariance[0].diagonal().sqrt().tolist())
    seen = torch.tensor(found).std(dim=0)
    torch.testing.assert_close(torch.tensor(stated).mean(dim=0), seen, rtol=0.2, atol=0)


def test_a_constant_added_to_relative_depth_moves_only_the_shift():
    d, z, w = line()
    fit = fit_affine(d + 100, z, w, CONFIG)
    assert fit.scale.item() == pytest.approx(2.0, abs=1e-3)
    assert (fit.shift + 100 * fit.scale).item() == pytest.approx(0.3, abs=1e-2)


def failing(reason: str, d, z, w):
    with pytest.raises(AlignmentError) as caught:
        fit_affine(d, z, w, CONFIG).alignment("depth", CONFIG)
    assert caught.value.reason == reason
    return str(caught.value)


def test_a_sensor_that_sees_nothing_is_no_fit():
    d, z, w = line()
    assert "want 64, got 0" in failing("few_samples", d, torch.full_like(z, torch.nan), w)
    failing("few_samples", d, z, torch.zeros_like(w))
    failing("few_samples", d, -z, w)


def test_a_sensor_of_one_value_is_no_fit():
    d, z, w = line()
    failing("flat_samples", d, torch.full_like(z, 2.0), w)


def test_relative_depth_of_one_value_is_no_fit():
    d, z, w = line()
    failing("flat_relative_depth", torch.full_like(d, 0.4), z, w)


def test_near_and_far_exchanged_is_no_fit():
    d, z, w = line()
    assert "got -2" in failing("inverted", 1 - d, z, w)


def test_samples_that_do_not_belong_to_the_image_are_no_fit():
    d, z, w = line()
    shuffled = z[torch.randperm(1000, generator=torch.Generator().manual_seed(1))] ** 3
    shuffled = shuffled * (0.5 + d)  # so that the line still rises
    failing("few_inliers", d, shuffled, w)


def test_sizes_that_differ_are_refused():
    d, z, w = line()
    with pytest.raises(ValueError, match=r"got \(1000,\), \(999,\) and \(1000,\)"):
        fit_affine(d, z[1:], w, CONFIG)
    with pytest.raises(ValueError, match="N >= 1"):
        fit_affine(d[:0], z[:0], w[:0], CONFIG)


@pytest.mark.gpu
def test_the_fit_does_not_wait_for_the_gpu():
    samples = [one.cuda() for one in line()]
    fit_affine(*samples, CONFIG)
    torch.cuda.set_sync_debug_mode("error")
    try:
        fit = fit_affine(*samples, CONFIG)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert fit.scale.item() == pytest.approx(2.0, abs=1e-4)
