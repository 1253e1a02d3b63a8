from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from ppd_core.device_resize import axis_weights, device_model_images, resize

CPU = torch.device("cpu")
LEVEL = 1 / 255
SIDES = st.integers(16, 150)


def by_cv2(image: np.ndarray, h: int, w: int, is_shrinking: bool) -> np.ndarray:
    interpolation = cv2.INTER_AREA if is_shrinking else cv2.INTER_CUBIC
    return cv2.resize(image, (w, h), interpolation=interpolation).astype(np.float32) / 255


def resized(image: np.ndarray, h: int, w: int, is_shrinking: bool) -> np.ndarray:
    return resize(torch.from_numpy(image)[None], h, w, is_shrinking)[0].permute(1, 2, 0).numpy()


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def matrix(kind: str, size: int, wanted: int) -> Tensor:
    """(wanted, size), what the weights are of the axis as a whole."""
    axis = axis_weights(kind, size, wanted, CPU)
    dense = torch.zeros(wanted, size)
    for indices, weights in zip(axis.indices, axis.weights, strict=True):
        dense[torch.arange(wanted), indices] += weights
    return dense


def test_a_third_is_the_mean_of_three():
    expected = torch.eye(3).repeat_interleave(3, dim=1) / 3
    torch.testing.assert_close(matrix("area", 9, 3), expected)


def test_three_of_five_share_the_samples_that_lie_between_them():
    expected = torch.tensor([[3, 2, 0, 0, 0], [0, 1, 3, 1, 0], [0, 0, 0, 2, 3]]) / 5
    torch.testing.assert_close(matrix("area", 5, 3), expected)


@pytest.mark.parametrize("kind", ["area", "linear", "cubic"])
def test_the_same_size_is_the_same_samples(kind):
    torch.testing.assert_close(matrix(kind, 7, 7), torch.eye(7))


@given(st.sampled_from(["area", "linear", "cubic"]), SIDES, SIDES)
@settings(max_examples=50, deadline=None)
def test_weights_are_of_one_in_all(kind, size, wanted):
    if kind == "area":
        size, wanted = max(size, wanted), min(size, wanted)
    total = matrix(kind, size, wanted).sum(1)
    torch.testing.assert_close(total, torch.ones(wanted))


@given(SIDES, SIDES, SIDES, SIDES, st.booleans(), st.integers(0, 99))
@example(96, 128, 48, 64, True, 0)  # 2 x 2, which cv2 rounds in another way
@example(68, 42, 16, 149, True, 0)  # area, where one side grows
@example(128, 96, 64, 100, True, 0)  # where cv2's own rounding picks the neighbour
@example(64, 100, 64, 64, True, 0)  # one side as it was
@example(480, 640, 96, 128, True, 0)
@example(120, 160, 176, 240, False, 0)
@settings(max_examples=80, deadline=None)
def test_within_one_level_of_cv2(height, width, h, w, is_shrinking, seed):
    image = noise(height, width, seed)
    difference = resized(image, h, w, is_shrinking) - by_cv2(image, h, w, is_shrinking)
    assert np.abs(difference).max() <= LEVEL + 1e-6
    is_area = is_shrinking and h <= height and w <= width
    # Of area where a side grows, cv2 cuts off fractions twice.
    limit = 0.03 if is_area or not is_shrinking else 0.2
    assert np.abs(difference).mean() <= limit * LEVEL


def test_an_image_of_that_size_is_only_scaled():
    image = noise(32, 48)
    assert np.array_equal(resized(image, 32, 48, True), image.astype(np.float32) / 255)


def test_values_are_whole_levels_within_the_range():
    image = noise(40, 40) // 128 * 255  # where cubic overshoots
    levels = resized(image, 64, 64, False) * 255
    np.testing.assert_allclose(levels, levels.round(), atol=1e-4)
    assert levels.min() == 0
    assert levels.max() == 255


def test_images_of_a_batch_do_not_mix():
    images = torch.from_numpy(np.stack([noise(40, 50, seed) for seed in range(3)]))
    together = resize(images, 32, 48, True)
    alone = torch.cat([resize(image[None], 32, 48, True) for image in images])
    assert torch.equal(together, alone)
    assert together.is_contiguous()


def test_settings_of_matrix_products_do_not_matter():
    image = noise(40, 50)
    expected = resized(image, 32, 48, True)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert np.array_equal(resized(image, 32, 48, True), expected)
    finally:
        torch.set_float32_matmul_precision(before)


def test_weights_kept_from_inference_mode_serve_outside_of_it():
    axis_weights.cache_clear()
    with torch.inference_mode():
        resized(noise(40, 50), 32, 48, True)
    axis = axis_weights("area", 40, 32, CPU)
    assert axis_weights.cache_info().hits >= 1
    assert not axis.weights.is_inference()
    assert not axis.indices.is_inference()


@pytest.mark.parametrize(
    "pixels",
    [torch.zeros(4, 4, 3), torch.zeros(1, 4, 4, 3), torch.zeros(1, 3, 4, 4, dtype=torch.uint8)],
)
def test_what_are_no_images_is_refused(pixels):
    with pytest.raises(ValueError, match=r"pixels must be \(B, H, W, 3\) uint8, got \("):
        resize(pixels, 16, 16, True)


@pytest.mark.parametrize("is_shrinking", [True, False])
def test_on_a_device_all_is_kernels(fake_cuda, is_shrinking):
    with fake_cuda() as watch:
        pixels = torch.empty(2, 60, 80, 3, dtype=torch.uint8, device="cuda")
        device_model_images(pixels, 48, 64, is_shrinking, torch.bfloat16)
        with watch():
            images = device_model_images(pixels, 48, 64, is_shrinking, torch.bfloat16)
    assert images.shape == (2, 3, 48, 64)
    assert (images.dtype, images.device.type) == (torch.bfloat16, "cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("is_shrinking", [True, False])
def test_a_captured_resize_sees_the_pixels_of_its_replay(is_shrinking):
    image = torch.from_numpy(noise(60, 80))[None]
    pixels = torch.zeros(1, 60, 80, 3, dtype=torch.uint8, device="cuda")
    device_model_images(pixels, 48, 64, is_shrinking, torch.float32)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        images = device_model_images(pixels, 48, 64, is_shrinking, torch.float32)
    pixels.copy_(image)
    graph.replay()
    torch.testing.assert_close(images.cpu(), resize(image, 48, 64, is_shrinking))
