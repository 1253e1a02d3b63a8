from __future__ import annotations

import numpy as np
import pytest
import torch

from ppd_core.transfer import STAGING_BUFFERS, Uploader, to_device, to_host

CPU = torch.device("cpu")


class Event:
    """Knows what was done with it."""

    def __init__(self):
        self.calls = []

    def record(self):
        self.calls.append("record")

    def synchronize(self):
        self.calls.append("synchronize")


def image(seed: int, height: int = 4, width: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("is_flipped", [False, True])
def test_images_arrive_as_a_batch_whatever_their_layout(is_flipped):
    images = [image(0), image(1)]
    views = [one[::-1, :, ::-1] if is_flipped else one for one in images]
    uploaded = Uploader(CPU).upload(views)
    assert uploaded.dtype == torch.uint8
    assert np.array_equal(uploaded.numpy(), np.stack(views))


def test_images_go_into_the_tensor_that_is_given():
    out = torch.zeros(1, 4, 5, 3, dtype=torch.uint8)
    assert Uploader(CPU).upload([image(0)], out) is out
    assert np.array_equal(out[0].numpy(), image(0))


def test_what_was_uploaded_is_nobody_else_s():
    uploader, camera = Uploader(CPU), image(0)
    first = uploader.upload([camera])
    camera[:] = 0
    for seed in range(1, 2 * STAGING_BUFFERS):
        uploader.upload([image(seed)])
    assert np.array_equal(first[0].numpy(), image(0))


def test_a_buffer_is_filled_again_only_after_its_last_copy():
    events = []

    def new_event():
        events.append(Event())
        return events[-1]

    uploader = Uploader(CPU, new_event)
    for seed in range(STAGING_BUFFERS):
        uploader.upload([image(seed)])
    assert [event.calls for event in events] == [["record"]] * STAGING_BUFFERS
    uploader.upload([image(9)])
    assert events[0].calls == ["record", "synchronize"]
    assert events[1].calls == events[-1].calls == ["record"]


def test_buffers_grow_and_serve_smaller_images():
    uploader = Uploader(CPU)
    for height in (4, 9, 3, 20, 2):
        given = image(height, height)
        assert np.array_equal(uploader.upload([given])[0].numpy(), given)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([image(0), image(0, 6)], r"of one size, got \(4, 5, 3\) uint8, \(6, 5, 3\) uint8"),
        ([image(0).astype(np.float32)], "images must be uint8 .* float32"),
    ],
)
def test_images_that_make_no_batch_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        Uploader(CPU).upload(images)


def test_a_tensor_of_another_size_is_refused():
    out = torch.zeros(2, 4, 5, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"out must be \(1, 4, 5, 3\) uint8, got \(2, 4, 5, 3\)"):
        Uploader(CPU).upload([image(0)], out)


def test_an_array_is_copied_whatever_its_layout():
    given = image(0)
    copied = to_device(given[::-1], CPU)
    given[:] = 0
    assert np.array_equal(copied.numpy(), image(0)[::-1])


def test_tensors_of_the_host_are_themselves():
    tensors = [torch.zeros(2), torch.ones(3, dtype=torch.bool)]
    assert all(one is other for one, other in zip(tensors, to_host(tensors), strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_to_a_gpu_and_back():
    device = torch.device("cuda")
    uploader = Uploader(device)
    images = [image(seed, 480, 640) for seed in range(5)]
    uploaded = [uploader.upload([one])[0] for one in images]
    back = to_host([*uploaded, to_device(images[0], device)])
    for one, other in zip([*images, images[0]], back, strict=True):
        assert other.is_pinned()
        assert np.array_equal(one, other.numpy())
