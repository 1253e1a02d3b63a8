"""The fits against NumPy written out, on predictions that are far from perfect."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ppd_core.evaluation.fits import align_least_squares, align_median_ratio, align_ransac_log


@pytest.fixture
def truth() -> torch.Tensor:
    return torch.rand(2, 40, 50, generator=torch.Generator().manual_seed(0)) * 6 + 0.5


@pytest.fixture
def valid(truth) -> torch.Tensor:
    return torch.rand(truth.shape, generator=torch.Generator().manual_seed(1)) < 0.6


@pytest.fixture
def noise(truth) -> torch.Tensor:
    return torch.randn(truth.shape, generator=torch.Generator().manual_seed(2))


def masked(index: int, *images: torch.Tensor, mask: torch.Tensor) -> list[np.ndarray]:
    return [one[index][mask[index]].double().numpy() for one in images]


def test_least_squares_is_numpys(truth, valid, noise):
    for space in ("depth", "disparity"):
        relative = (truth if space == "depth" else 1 / truth) * 0.3 + 0.05 * noise
        aligned = align_least_squares(relative, truth, valid, space=space)
        for index in range(2):
            d, z = masked(index, relative, truth, mask=valid)
            target = z if space == "depth" else 1 / z
            columns = np.stack([d, np.ones_like(d)], axis=1)
            scale, shift = np.linalg.lstsq(columns, target, rcond=None)[0]
            fitted = scale * d + shift
            expected = fitted if space == "depth" else 1 / np.clip(fitted, 1 / z.max(), None)
            found = aligned[index][valid[index]].numpy()
            np.testing.assert_allclose(found, np.clip(expected, 1e-3, z.max()), rtol=1e-6)


def test_ransac_is_numpys_of_the_same_lines(truth, valid, noise):
    relative = truth.log1p() + 0.1 * noise
    relative[:, :10] += 2  # a quarter is off
    aligned = align_ransac_log(relative, truth, valid, trials=50)
    generator = torch.Generator().manual_seed(0)
    for index in range(2):
        d, z = masked(index, relative, truth, mask=valid)
        y = np.log1p(z)
        # torch's median is the lower of two middle values.
        middle = np.sort(y)[(len(y) - 1) // 2]
        limit = np.sort(np.abs(y - middle))[(len(y) - 1) // 2]
        best = np.zeros(len(d), bool)
        for one, other in torch.randint(len(d), (2, 50), generator=generator).T.tolist():
            if d[one] == d[other]:
                continue
            slope = (y[other] - y[one]) / (d[other] - d[one])
            inliers = np.abs(y - slope * d - (y[one] - slope * d[one])) <= limit
            best = inliers if inliers.sum() > best.sum() else best
        scale, shift = np.polyfit(d[best], y[best], 1)
        expected = np.clip(np.expm1(scale * d + shift), 1e-3, z.max())
        np.testing.assert_allclose(aligned[index][valid[index]].numpy(), expected, rtol=1e-6)


def test_median_ratio_is_numpys(truth, valid, noise):
    predicted = 0.4 * truth + 0.05 * noise.abs()
    aligned = align_median_ratio(predicted, truth, valid)
    for index in range(2):
        d, z = masked(index, predicted, truth, mask=valid)
        ratio = np.sort(z)[(len(z) - 1) // 2] / np.sort(d)[(len(d) - 1) // 2]
        np.testing.assert_allclose(aligned[index][valid[index]].numpy(), ratio * d, rtol=1e-6)
