"""What is published of a frame, above all of one that nothing ties to metres."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from ppd_core.types import Alignment, AlignmentError, DepthResult, Intrinsics
from ppd_ros import conversions
from ppd_ros.cloud_reading import xyz_of_cloud
from ppd_ros.conversions import image_to_depth
from ppd_ros.outputs import is_dropped, messages_of
from ppd_ros.parameters import SPECS, frame_settings

DEFAULTS = {spec.name: spec.default for spec in SPECS}
RELATIVE = torch.tensor([[0.0, 0.5, torch.nan], [0.25, 0.75, 1.0]])
ALL = {"depth", "camera_info", "points"}
HEADER = Header(frame_id="camera")


def settings_of(**values):
    values = {f"alignment.{name}": value for name, value in values.items()}
    return frame_settings({**DEFAULTS, **values}).alignment


def untied(failure=None):
    return DepthResult(
        relative_depth=RELATIVE,
        relative_depth_model=RELATIVE,
        valid_mask=torch.isfinite(RELATIVE),
        alignment_failure=failure,
        intrinsics=Intrinsics.from_fov(3, 2, 60),
        colors=torch.zeros(2, 3, 3, dtype=torch.uint8),
    )


def messages(result, settings, wanted=frozenset(ALL), *, is_organized=True):
    return messages_of(
        result, CameraInfo(), set(wanted), HEADER, settings, is_organized=is_organized
    )


def test_drop_publishes_nothing_of_an_untied_frame():
    settings = settings_of(source="depth", on_failure="drop")
    assert is_dropped(untied(), settings)
    assert messages(untied(), settings) == {}


@pytest.mark.parametrize("is_organized", [True, False])
def test_nan_publishes_no_number_of_an_untied_frame(is_organized):
    settings = settings_of(source="depth", on_failure="nan")
    sent = messages(untied(), settings, is_organized=is_organized)
    assert set(sent) == ALL
    assert not is_dropped(untied(), settings)
    assert np.isnan(image_to_depth(sent["depth"])).all()
    assert np.isnan(xyz_of_cloud(sent["points"])).all()
    assert len(xyz_of_cloud(sent["points"])) == (6 if is_organized else 0)


@pytest.mark.parametrize(
    "values", [{"source": "depth", "on_failure": "relative"}, {"source": "none"}]
)
def test_relative_publishes_what_the_model_says(values):
    sent = messages(untied(), settings_of(**values))
    assert set(sent) == ALL
    assert np.array_equal(image_to_depth(sent["depth"]), RELATIVE.numpy(), equal_nan=True)


@pytest.mark.parametrize("on_failure", ["drop", "nan", "relative"])
def test_a_tied_frame_is_published_whatever_is_done_with_others(on_failure):
    result = dataclasses.replace(
        untied(), metric_depth=RELATIVE + 2, alignment=Alignment(1.0, 0.0, "depth", "held")
    )
    settings = settings_of(source="depth", on_failure=on_failure)
    depth = image_to_depth(messages(result, settings)["depth"])
    assert np.array_equal(depth, (RELATIVE + 2).numpy(), equal_nan=True)


def test_camera_info_alone_goes_out_without_a_result():
    settings = settings_of(source="depth", on_failure="drop")
    assert set(messages(None, settings, {"camera_info"})) == {"camera_info"}


@pytest.mark.parametrize("on_failure", ["drop", "nan", "relative"])
def test_the_alignment_tells_of_every_untied_frame(monkeypatch, on_failure):
    asked = []

    def to_message(alignment, header, *, source, failure):
        asked.append((alignment, header, source, failure.reason))
        return "message"

    monkeypatch.setattr(conversions, "alignment_to_message", to_message)
    settings = settings_of(source="lidar", on_failure=on_failure)
    result = untied(AlignmentError("no_overlap", "it is elsewhere"))
    assert messages(result, settings, {"alignment", "depth"})["alignment"] == "message"
    assert asked == [(None, HEADER, "lidar", "no_overlap")]
