from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from rclpy.lifecycle import TransitionCallbackReturn

from ppd_core.config import preset
from ppd_ros.model_loading import process_age_s, ready_pipeline, told
from ppd_ros.model_parameters import ModelSettings
from ppd_ros.parameters import Effort

SETTINGS = ModelSettings("nano", None, None, None, None, warm_up_size=(640, 480))
STEPS_ALONE = Effort(num_steps=2)


class Warm:
    """Notes how it is warmed up."""

    config = preset("nano")

    def __init__(self, error=None):
        self.load_seconds = {"build": 0.25, "weights": 0.5}
        self.calls = []
        self.error = error

    def warm_up(self, height, width, **wanted):
        self.calls.append((height, width, wanted))
        if self.error is not None:
            raise self.error
        return {"total": 1.0}


def ready(pipeline, *, settings=SETTINGS, effort=STEPS_ALONE, batch_sizes=(1,), **options):
    warnings = []
    made, seconds = ready_pipeline(
        lambda asked: pipeline, settings, effort, batch_sizes, warnings.append, **options
    )
    assert made is pipeline
    return seconds, warnings


@pytest.mark.parametrize(("area", "expected"), [(0, 160 * 120), (4096, 4096)])
def test_the_model_is_warmed_up_for_the_frames_to_come(area, expected):
    pipeline = Warm()
    effort = Effort(num_steps=2, processing_area=area)
    seconds, warnings = ready(pipeline, effort=effort, batch_sizes=(1, 3))
    wanted = {"num_steps": 2, "processing_area": expected, "is_warm_started": False}
    assert pipeline.calls == [(480, 640, {**wanted, "batch_size": size}) for size in (1, 3)]
    assert list(seconds) == ["build", "weights", "warm-up"]
    assert not warnings


def test_where_frames_begin_from_the_one_before_both_kinds_are_warmed_up_for():
    pipeline = Warm()
    ready(pipeline, batch_sizes=(1, 2), is_warm_started=True)
    kinds = [(wanted["batch_size"], wanted["is_warm_started"]) for *_, wanted in pipeline.calls]
    assert kinds == [(1, False), (1, True), (2, False), (2, True)]


def test_a_package_is_warm():
    pipeline = Warm()
    pipeline.is_package = True
    assert ready(pipeline) == (pipeline.load_seconds, [])
    assert not pipeline.calls


def test_no_size_is_no_warm_up():
    pipeline = Warm()
    settings = ModelSettings("nano", None, None, None, None)
    assert ready(pipeline, settings=settings) == (pipeline.load_seconds, [])
    assert not pipeline.calls


def test_what_cannot_be_warmed_up_is_taken_as_it_is():
    assert ready(SimpleNamespace(batch=None)) == ({}, [])


def test_too_little_memory_is_told_and_left_to_the_frames():
    seconds, (warning,) = ready(Warm(torch.OutOfMemoryError("CUDA out of memory")))
    assert warning == "memory is not enough to warm up for 1 frame(s) of 640 x 480"
    assert "warm-up" in seconds


@pytest.mark.parametrize("error", [RuntimeError("no kernel image"), ValueError("too narrow")])
def test_another_error_is_the_caller_s(error):
    with pytest.raises(type(error), match=str(error)):
        ready(Warm(error))


def test_seconds_in_words():
    assert told({"build": 0.123, "weights": 2.4}) == "build 0.12 s, weights 2.40 s"


def test_a_process_is_as_old_as_it_says():
    first, second = process_age_s(), process_age_s()
    assert 0 < first <= second < 24 * 3600


def test_configure_tells_once_what_the_start_took(world, make_pipeline, capfd):
    pipeline = make_pipeline()
    pipeline.warm_up, pipeline.load_seconds = Warm().warm_up, {"build": 0.25}
    pipeline.config = Warm.config
    node = world.depth_node(pipeline, autostart=False)
    for is_first in (True, False):
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        log = capfd.readouterr().err
        assert "build 0.25 s, warm-up 0.00 s" in log
        assert ("the model is ready: start and imports" in log) == is_first
        assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS


def test_configure_fails_with_the_reason_of_a_warm_up_that_cannot_be(world, make_pipeline, capfd):
    pipeline = make_pipeline()
    pipeline.warm_up = Warm(ValueError("image must be at least 16 x 16")).warm_up
    pipeline.config = Warm.config
    node = world.depth_node(pipeline, autostart=False, warm_up__width=8)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert "cannot configure: image must be at least 16 x 16" in capfd.readouterr().err


@pytest.mark.parametrize("side", ["width", "height"])
def test_a_side_of_none_is_no_warm_up(world, make_pipeline, side):
    pipeline, warm = make_pipeline(), Warm()
    pipeline.warm_up, pipeline.config = warm.warm_up, warm.config
    node = world.depth_node(pipeline, autostart=False, **{f"warm_up__{side}": 0})
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert not warm.calls


def test_frames_of_all_cameras_at_once_are_warmed_up_for(world, make_pipeline):
    pipeline, warm = make_pipeline(), Warm()
    pipeline.warm_up, pipeline.config = warm.warm_up, warm.config
    cameras = ["left", "right"]
    node = world.depth_node(pipeline, autostart=False, cameras=cameras, num_steps=7)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert [wanted["batch_size"] for _, _, wanted in warm.calls] == [1, 2]
    assert {wanted["num_steps"] for _, _, wanted in warm.calls} == {7}
