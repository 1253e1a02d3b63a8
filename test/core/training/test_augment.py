from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ppd_core.training.augment import (
    add_camera_noise,
    augment,
    image_tensor,
    jitter_colours,
    largest_box,
    random_crop_box,
    resize_depth,
    resize_image,
    through_jpeg,
)
from ppd_core.training.data_config import AugmentConfig

OFF = AugmentConfig(
    crop_scale=(1.0, 1.0), flip_share=0, colour_share=0, noise_share=0, jpeg_share=0
)


def frame(height: int = 60, width: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    depth = rng.uniform(1, 9, (height, width)).astype(np.float32)
    depth[:5] = np.inf
    depth[5:9] = np.nan
    return image, depth


def test_switched_off_it_changes_nothing() -> None:
    image, depth = frame()
    new_image, new_depth = augment(image, depth, (60, 80), OFF, np.random.default_rng(1))
    np.testing.assert_array_equal(new_image, image)
    np.testing.assert_array_equal(new_depth, depth)


def test_the_generator_decides() -> None:
    image, depth = frame()
    results = [
        augment(image, depth, (48, 64), AugmentConfig(jpeg_share=1), np.random.default_rng(seed))
        for seed in (3, 3, 4)
    ]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    assert (results[0][0] != results[2][0]).any()


@pytest.mark.parametrize("size", [(48, 64), (128, 96), (16, 16)])
def test_every_depth_was_there_before(size: tuple[int, int]) -> None:
    image, depth = frame()
    for seed in range(5):
        new_image, new_depth = augment(
            image, depth, size, AugmentConfig(), np.random.default_rng(seed)
        )
        assert new_image.shape == (*size, 3) and new_image.dtype == np.uint8
        assert new_depth.shape == size and new_depth.dtype == np.float32
        assert np.isin(new_depth[~np.isnan(new_depth)], depth).all()


def test_image_and_depth_move_together() -> None:
    # Where the image is its column's number, so is the depth.
    columns = np.arange(80, dtype=np.float32)[None].repeat(60, axis=0)
    image = columns.astype(np.uint8)[..., None].repeat(3, axis=2)
    config = AugmentConfig(flip_share=0.5, colour_share=0, noise_share=0)
    flips = set()
    for seed in range(12):
        new_image, depth = augment(image, columns, (32, 48), config, np.random.default_rng(seed))
        np.testing.assert_allclose(new_image[..., 0], depth, atol=1.5)
        flips.add(bool(depth[0, 0] > depth[0, -1]))
    assert flips == {True, False}


@settings(deadline=None, max_examples=50)
@given(
    full=st.tuples(st.integers(20, 200), st.integers(20, 200)),
    size=st.sampled_from([(16, 16), (48, 64), (96, 32)]),
    seed=st.integers(0, 1000),
)
def test_crops_lie_in_the_image_and_keep_the_aspect(full, size, seed) -> None:
    top, left, height, width = random_crop_box(full, size, (0.5, 1.0), np.random.default_rng(seed))
    assert min(top, left) >= 0 and top + height <= full[0]
    assert left + width <= full[1]
    # Sides are rounded to whole pixels.
    assert abs(height - width * size[0] / size[1]) <= 0.5 + 0.5 * size[0] / size[1] + 1e-9


def test_largest_box_is_centred() -> None:
    assert largest_box((480, 640), (512, 512)) == (0, 80, 480, 480)
    assert largest_box((240, 320), (144, 192)) == (0, 0, 240, 320)


def test_depth_is_taken_at_the_centre_of_each_new_pixel() -> None:
    depth = np.arange(6, dtype=np.float32)[None].repeat(3, axis=0)
    assert resize_depth(depth, (1, 2))[0].tolist() == [1, 4]
    assert resize_depth(depth, (3, 12))[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_an_image_that_shrinks_is_averaged() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[::2] = 200
    assert (resize_image(image, (2, 2)) == 100).all()


def test_jitter_of_no_strength_is_the_identity() -> None:
    config = AugmentConfig(brightness=0, contrast=0, saturation=0, hue_deg=0, gamma=0)
    image = np.random.default_rng(0).random((8, 8, 3), np.float32)
    np.testing.assert_allclose(
        jitter_colours(image, config, np.random.default_rng(1)), image, atol=1e-5
    )


def test_hue_and_saturation_leave_grey_alone() -> None:
    config = AugmentConfig(brightness=0, contrast=0, saturation=0.9, hue_deg=90, gamma=0)
    grey = np.random.default_rng(0).random((8, 8, 1), np.float32).repeat(3, axis=2)
    np.testing.assert_allclose(
        jitter_colours(grey, config, np.random.default_rng(1)), grey, atol=1e-3
    )


def test_noise_has_the_variance_of_its_model() -> None:
    config = AugmentConfig(read_noise=0.05, shot_noise=0.1, blur_px=0)
    grey = np.full((200, 200, 3), 0.5, np.float32)
    rng, drawn = np.random.default_rng(7), np.random.default_rng(7)
    drawn.uniform(0, 0)
    read, shot = drawn.uniform(0, 0.05), drawn.uniform(0, 0.1)
    noise = add_camera_noise(grey, config, rng) - grey
    assert noise.std() == pytest.approx((read**2 + shot**2 * 0.5) ** 0.5, rel=0.02)


def test_jpeg_keeps_the_picture() -> None:
    image = np.full((32, 32, 3), (200, 100, 50), np.uint8)
    np.testing.assert_allclose(through_jpeg(image, 90), image, atol=6)


def test_image_tensor_is_in_the_unit_range() -> None:
    image = torch.tensor([0, 51, 255], dtype=torch.uint8).expand(2, 4, 5, 3)
    made = image_tensor(image, torch.device("cpu"))
    assert made.shape == (2, 3, 4, 5)
    assert made[0, :, 0, 0].tolist() == pytest.approx([0, 0.2, 1])
