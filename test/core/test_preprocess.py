from __future__ import annotations

import numpy as np
import pytest
import torch

from ppd_core.preprocess import check_image, model_images, model_size, preprocess
from ppd_core.transfer import Uploader

TRAINED_AREA = 1024 * 768


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (768, 1024)),
        ((768, 1024), (768, 1024)),
        ((1080, 1920), (672, 1184)),
        ((640, 480), (1024, 768)),
    ],
)
def test_model_size_keeps_aspect_and_area_in_multiples_of_16(size, expected):
    h, w = model_size(*size, TRAINED_AREA)
    assert (h, w) == expected
    assert h % 16 == 0
    assert w % 16 == 0


def test_model_size_is_never_less_than_one_patch():
    assert model_size(16, 20, 256) == (16, 16)


def test_model_size_refuses_an_image_too_narrow_for_its_area():
    with pytest.raises(ValueError, match="must be less narrow: 4000 x 16 would be 1008 x 16"):
        model_size(16, 4000, 64 * 64)


def test_preprocess_scales_to_unit_range_channels_first():
    image = np.zeros((32, 48, 3), np.uint8)
    image[..., 0] = 255
    tensor = preprocess(image, 32 * 48)
    assert tensor.shape == (1, 3, 32, 48)
    assert tensor.dtype == torch.float32
    assert tensor[0, 0].eq(1).all()
    assert tensor[0, 1:].eq(0).all()


def test_preprocess_shrinks_by_area_so_that_fine_patterns_average_out():
    checkerboard = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    image = np.repeat(checkerboard[..., None], 3, axis=2)
    tensor = preprocess(image, 32 * 32)
    torch.testing.assert_close(tensor, torch.full_like(tensor, 0.5), atol=0.01, rtol=0)


def test_preprocess_grows_cubic():
    import cv2

    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    expected = cv2.resize(image, (64, 64), interpolation=cv2.INTER_CUBIC)
    found = preprocess(image, 64 * 64)[0].permute(1, 2, 0).numpy() * 255
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_preprocess_leaves_the_image_alone():
    image = np.full((16, 16, 3), 7, np.uint8)
    preprocess(image, 256).zero_()
    assert (image == 7).all()


BAD_IMAGES = {
    "a list": ([[1]], "as a numpy array, got list"),
    "greyscale": (np.zeros((32, 32), np.uint8), r"got greyscale \(32, 32\) uint8; repeat it"),
    "RGBA": (np.zeros((32, 32, 4), np.uint8), r"got four channels \(32, 32, 4\).*drop alpha"),
    "channels first": (np.zeros((3, 32, 32), np.uint8), r"got channels first.*transpose"),
    "a batch": (np.zeros((1, 32, 32, 3), np.uint8), r"got \(1, 32, 32, 3\) uint8"),
    "one channel": (np.zeros((32, 32, 1), np.uint8), r"got greyscale \(32, 32, 1\)"),
    "integers": (np.zeros((32, 32, 3), np.int64), r"int64; convert values in 0..255"),
    "16 bit": (np.zeros((32, 32, 3), np.uint16), r"uint16; scale 16-bit values"),
    "floats": (np.zeros((32, 32, 3), np.float32), r"float32; scale values in \[0, 1\]"),
    "NaN": (np.full((32, 32, 3), np.nan), r"float64; and it holds NaN"),
    "zero-sized": (np.zeros((0, 32, 3), np.uint8), "at least 16 x 16 pixels, got 32 x 0"),
    "one pixel": (np.zeros((1, 1, 3), np.uint8), "at least 16 x 16 pixels, got 1 x 1"),
    "enormous": (
        np.broadcast_to(np.uint8(0), (10_001, 10_000, 3)),
        "at most 100 megapixels, got 10000 x 10001 = 100",
    ),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_check_image_says_what_was_wanted_and_what_came(name):
    image, message = BAD_IMAGES[name]
    with pytest.raises(ValueError, match=f"image must .*{message}"):
        check_image(image)


@pytest.mark.parametrize("is_flipped", [False, True])
@pytest.mark.parametrize("area", [32 * 48, 64 * 96])
def test_preprocess_takes_any_layout_and_divides_exactly(is_flipped, area):
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    image.flags.writeable = False
    view = image[::-1, :, ::-1] if is_flipped else image
    found = preprocess(view, area)
    assert torch.equal(found, preprocess(np.ascontiguousarray(view), area))
    assert found.is_contiguous()
    if area == 32 * 48:
        plain = torch.from_numpy(view.transpose(2, 0, 1).copy())[None].float() / 255
        assert torch.equal(found, plain)


SEVERAL_SIZES = [(96, 128), (96, 128), (48, 64), (60, 80)]
"""Of one model size at 64 * 48."""


@pytest.fixture
def several() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in SEVERAL_SIZES]


class CopyingUploader(Uploader):
    """Of the CPU, whatever device it is said to be of."""

    def __init__(self):
        super().__init__(torch.device("cpu"))
        self.batch_sizes = []

    def upload(self, images, out=None):
        self.batch_sizes.append(len(images))
        return super().upload(images, out)


@pytest.mark.parametrize("area", [64 * 48, 256 * 192])
def test_images_for_a_device_are_those_of_the_cpu_but_for_rounding(several, area):
    cpu = model_images(several, area, torch.device("cpu"), torch.float64)
    uploader = CopyingUploader()
    found = model_images(several, area, torch.device("cuda"), torch.float64, uploader)
    assert uploader.batch_sizes == [2, 1, 1]
    assert found.shape == cpu.shape
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, cpu, atol=1.001 / 255, rtol=0)
    assert (found - cpu).abs().mean() < 0.01 / 255


def test_images_for_a_device_are_checked_before_they_are_sent():
    uploader = CopyingUploader()
    bad = np.zeros((48, 64, 4), np.uint8)
    with pytest.raises(ValueError, match="drop alpha"):
        model_images([bad], 64 * 48, torch.device("cuda"), torch.float32, uploader)
    assert uploader.batch_sizes == []
