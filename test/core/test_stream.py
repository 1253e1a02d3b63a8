"""When a frame begins from the depth of the one before, and when from noise."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from ppd_core import DepthPipeline, DepthStream, WarmStartConfig
from ppd_core.config import PipelineConfig, PreprocessConfig, SpDitConfig
from ppd_core.depth_result import DepthResult
from ppd_core.scene_cut import CutDetector, scene_difference
from ppd_core.stream import WarmStart

SIZE = (48, 64)


def scene(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Smooth random blobs."""
    grid = np.random.default_rng(seed).uniform(0, 255, (6, 8))
    tall = np.kron(grid, np.ones((height // 6, width // 8)))
    return np.repeat(tall[..., None], 3, axis=2).astype(np.uint8)


def result(depth: float = 0.5, *, is_warm: bool = False) -> DepthResult:
    relative = torch.full(SIZE, depth)
    return DepthResult(relative, relative, torch.isfinite(relative), is_warm=is_warm)


IMAGE = scene(0)


def told(config: WarmStartConfig | None = None) -> WarmStart:
    """What remembers one frame, at time 1."""
    warm_start = WarmStart(config)
    warm_start.remember(IMAGE, 1.0, result())
    return warm_start


def test_the_first_frame_is_cold():
    assert WarmStart().previous_for(IMAGE, 0.0, SIZE) is None


def test_the_next_frame_begins_from_the_one_before():
    previous = told().previous_for(IMAGE, 1.1, SIZE)
    assert previous is not None
    assert (previous == 0.5).all()


@pytest.mark.parametrize("stamp_s", [0.5, 1.0, 1.51, 100.0])
def test_time_that_stands_or_goes_back_or_leaves_a_gap_is_cold(stamp_s):
    assert told().previous_for(IMAGE, stamp_s, SIZE) is None


def test_the_longest_gap_can_be_chosen():
    config = WarmStartConfig(max_gap_s=2.0)
    assert told(config).previous_for(IMAGE, 2.9, SIZE) is not None
    assert told(config).previous_for(IMAGE, 3.1, SIZE) is None


def test_another_model_size_is_cold():
    assert told().previous_for(IMAGE, 1.1, (64, 48)) is None


def test_after_a_reset_the_next_frame_is_cold():
    warm_start = told()
    warm_start.reset()
    assert warm_start.previous_for(IMAGE, 1.1, SIZE) is None


def test_a_cut_is_cold_and_the_frame_after_it_is_warm():
    warm_start, other = told(), scene(1)
    assert warm_start.previous_for(other, 1.1, SIZE) is None
    warm_start.remember(other, 1.1, result())
    assert warm_start.previous_for(other, 1.2, SIZE) is not None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_not_passed_on(value):
    warm_start = WarmStart()
    warm_start.remember(IMAGE, 1.0, result(value))
    assert warm_start.previous_for(IMAGE, 1.1, SIZE) is None


def test_remembering_waits_for_no_gpu():
    """A fake tensor has no values: whatever waited for one would raise."""
    with FakeTensorMode():
        depth = torch.empty(SIZE, device="cuda")
        warm_start = WarmStart()
        warm_start.remember(IMAGE, 1.0, DepthResult(depth, depth, depth > 0))
        with pytest.raises(DataDependentOutputException):
            warm_start.previous_for(IMAGE, 1.1, SIZE)


def test_after_so_many_warm_frames_one_is_cold():
    warm_start, was_warm = WarmStart(WarmStartConfig(max_warm_frames=2)), []
    for number in range(7):
        is_warm = warm_start.previous_for(IMAGE, 0.1 * number, SIZE) is not None
        warm_start.remember(IMAGE, 0.1 * number, result(is_warm=is_warm))
        was_warm.append(is_warm)
    assert was_warm == [False, True, True, False, True, True, False]


def test_a_reset_may_come_from_another_thread_while_a_frame_is_in_hand():
    warm_start = told()
    assert warm_start.previous_for(IMAGE, 1.1, SIZE) is not None
    thread = threading.Thread(target=warm_start.reset)
    thread.start()
    thread.join()
    warm_start.remember(IMAGE, 1.1, result(is_warm=True))
    assert warm_start.previous_for(IMAGE, 1.2, SIZE) is not None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_gap_s": 0.0}, "max_gap_s must be > 0, got 0.0"),
        ({"cut_difference": float("nan")}, "cut_difference must be > 0, got nan"),
        ({"max_warm_frames": 0}, "max_warm_frames must be >= 1, got 0"),
    ],
)
def test_a_config_refuses_what_makes_no_sense(values, message):
    with pytest.raises(ValueError, match=message):
        WarmStartConfig(**values)


def test_exposure_and_size_are_no_difference():
    image = scene(0, 96, 128)
    assert scene_difference(image, image) == 0
    assert scene_difference(image, (0.4 * image + 20).astype(np.uint8)) < 0.02
    assert scene_difference(image, scene(0, 192, 256)) < 1e-6


def test_pictures_with_nothing_in_common_differ_by_two_over_the_root_of_pi():
    rng = np.random.default_rng(0)
    # Of independent normal values a, b: E|a - b| = 2 / sqrt(pi).
    grey = rng.normal(128, 30, (100, 24, 32, 1)).clip(0, 255).astype(np.uint8)
    images = list(grey.repeat(3, axis=3))
    pairs = zip(images[::2], images[1::2], strict=True)
    assert np.mean([scene_difference(*pair) for pair in pairs]) == pytest.approx(
        2 / np.sqrt(np.pi), rel=0.02
    )


def test_noise_on_a_wall_is_no_cut():
    rng = np.random.default_rng(0)
    walls = [rng.normal(100, 4, (480, 640, 3)).round().astype(np.uint8) for _ in range(2)]
    assert scene_difference(*walls) < WarmStartConfig().cut_difference


@pytest.fixture(scope="module")
def pipeline() -> DepthPipeline:
    config = PipelineConfig(
        model=SpDitConfig(hidden_size=32, depth=2, num_heads=2, has_semantics=False),
        preprocess=PreprocessConfig(processing_area=48 * 64),
    )
    return DepthPipeline.from_config(config, device="cpu")


def test_a_stream_is_the_calls_that_it_stands_for(pipeline):
    stream = DepthStream(pipeline)
    first, second = stream(IMAGE, 0.0), stream(IMAGE, 0.1)
    assert (first.is_warm, second.is_warm) == (False, True)
    again = pipeline(IMAGE, previous=first.relative_depth_model)
    assert torch.equal(second.relative_depth, again.relative_depth)
    stream.reset()
    assert torch.equal(stream(IMAGE, 0.2).relative_depth, first.relative_depth)


def test_a_stream_takes_a_choice_of_each_call(pipeline):
    stream = DepthStream(pipeline)
    stream(IMAGE, 0.0)
    smaller = stream(IMAGE, 0.1, processing_area=32 * 32, num_steps=2)
    assert not smaller.is_warm
    assert smaller.relative_depth_model.shape != SIZE
    assert stream(IMAGE, 0.2, processing_area=32 * 32).is_warm


def test_a_stream_refuses_what_is_no_image(pipeline):
    with pytest.raises(ValueError, match="image must be"):
        DepthStream(pipeline)(np.zeros((4,)), 0.0)


def test_a_cut_is_told_from_a_camera_that_pans():
    cuts = CutDetector()
    rooms = [scene(seed, 120, 240) for seed in (0, 1)]
    assert not any(cuts.is_cut(rooms[0][:, n : n + 160]) for n in range(0, 40, 4))
    assert cuts.is_cut(rooms[1][:, :160])
    assert not cuts.is_cut(rooms[1][:, 4:164])
