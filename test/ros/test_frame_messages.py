"""What is published of a frame, by what is known of it and by the parameters."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from ppd_core.cloud_reading import xyz_of_cloud
from ppd_core.depth_reading import image_to_depth
from ppd_core.depth_result import DepthResult
from ppd_core.geometry.rectify import Rectification
from ppd_core.image_reading import image_to_rgb
from ppd_core.types import Alignment, AlignmentError, Intrinsics
from ppd_ros import conversions, frame_messages
from ppd_ros.conversions import rgb_to_image
from ppd_ros.frame_messages import is_dropped, messages_of
from ppd_ros.outputs import OUTPUTS
from ppd_ros.parameters import SPECS, frame_settings
from ppd_ros.requests import Request, WaitingFrame
from ppd_ros.views import View

DEFAULTS = {spec.name: spec.default for spec in SPECS}
RELATIVE = torch.tensor([[0.0, 0.5, torch.nan], [0.25, 0.75, 1.0]])
METRES = torch.tensor([[0.2, 1.0, torch.nan], [2.0, 4.0, 70.0]])
RGB = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
HEADER = Header(frame_id="camera")
CAMERA = Intrinsics(3, 2, 2.0, 2.0, 1.0, 0.5)
ALL = {"depth", "camera_info", "points"}
TIED = Alignment(1.0, 0.0, "depth", "fitted")


def untied(failure=None):
    return DepthResult(
        relative_depth=RELATIVE,
        relative_depth_model=RELATIVE,
        valid_mask=torch.isfinite(RELATIVE),
        alignment_failure=failure,
    )


def tied(metres=METRES):
    confidence = torch.where(torch.isfinite(metres), 0.75, 0.0)
    return dataclasses.replace(
        untied(), metric_depth=metres, alignment=TIED, confidence=confidence
    )


def request_of(wanted=frozenset(ALL), *, image=None, rectification=None, **values):
    names = {"source", "on_failure"}
    values = {
        f"alignment.{k}" if k in names else k.replace("__", "."): v for k, v in values.items()
    }
    settings = frame_settings({**DEFAULTS, **values})
    return Request(
        frame=WaitingFrame(image or rgb_to_image(RGB, HEADER)),
        rgb=RGB,
        view=View(CAMERA, CameraInfo(header=HEADER), rectification),
        wanted=frozenset(wanted),
        ties=SimpleNamespace(settings=settings.alignment, source=None),
        aligner=None,
        settings=settings,
        start_s=0.0,
        ready_s=0.0,
    )


def messages(result, wanted=frozenset(ALL), **values):
    return messages_of(request_of(wanted, **values), result)


def depth_of(result, **values):
    return image_to_depth(messages(result, {"depth"}, **values)["depth"])


def test_drop_publishes_nothing_of_an_untied_frame():
    request = request_of(source="depth", on_failure="drop")
    assert is_dropped(untied(), request.ties.settings)
    assert messages_of(request, untied()) == {}


@pytest.mark.parametrize("is_organized", [True, False])
def test_nan_publishes_no_number_of_an_untied_frame(is_organized):
    values = {"source": "depth", "on_failure": "nan", "points__organized": is_organized}
    sent = messages(untied(), **values)
    assert set(sent) == ALL
    assert np.isnan(image_to_depth(sent["depth"])).all()
    assert np.isnan(xyz_of_cloud(sent["points"])).all()
    assert len(xyz_of_cloud(sent["points"])) == (6 if is_organized else 0)


@pytest.mark.parametrize(
    "values", [{"source": "depth", "on_failure": "relative"}, {"source": "none"}]
)
def test_relative_publishes_what_the_model_says(values):
    sent = messages(untied(), **values)
    assert set(sent) == ALL
    assert np.array_equal(image_to_depth(sent["depth"]), RELATIVE.numpy(), equal_nan=True)


def test_a_range_is_of_metres_alone():
    """Relative depth is below every metre, and is not too near."""
    assert np.isfinite(depth_of(untied(), range__min_m=5.0)).sum() == 5


@pytest.mark.parametrize("on_failure", ["drop", "nan", "relative"])
def test_a_tied_frame_is_published_whatever_is_done_with_others(on_failure):
    depth = depth_of(tied(), source="depth", on_failure=on_failure)
    assert np.array_equal(depth, METRES.numpy(), equal_nan=True)


def test_camera_info_alone_goes_out_without_a_result():
    sent = messages(None, {"camera_info"}, source="depth", on_failure="drop")
    assert set(sent) == {"camera_info"}


@pytest.mark.parametrize("on_failure", ["drop", "nan", "relative"])
def test_the_alignment_tells_of_every_untied_frame(monkeypatch, on_failure):
    asked = []

    def to_message(alignment, header, *, source, failure):
        asked.append((alignment, header, source, failure.reason))
        return "message"

    monkeypatch.setattr(conversions, "alignment_to_message", to_message)
    result = untied(AlignmentError("no_overlap", "it is elsewhere"))
    sent = messages(result, {"alignment", "depth"}, source="lidar", on_failure=on_failure)
    assert sent["alignment"] == "message"
    assert asked == [(None, HEADER, "lidar", "no_overlap")]


def test_outside_of_the_range_is_infinite_in_depth_and_no_point():
    values = {"source": "depth", "range__min_m": 0.5, "range__max_m": 10.0}
    sent = messages(tied(), {"depth", "depth_mm", "points"}, **values)
    expected = [[-np.inf, 1.0, np.nan], [2.0, 4.0, np.inf]]
    assert np.array_equal(image_to_depth(sent["depth"]), expected, equal_nan=True)
    millimetres = np.frombuffer(sent["depth_mm"].data, "<u2").reshape(2, 3)
    assert millimetres.tolist() == [[0, 1000, 0], [2000, 4000, 0]]
    z = xyz_of_cloud(sent["points"])[:, 2].reshape(2, 3)
    assert np.array_equal(z, [[np.nan, 1.0, np.nan], [2.0, 4.0, np.nan]], equal_nan=True)


def test_the_sky_is_beyond_every_range():
    sky = torch.zeros(2, 3, dtype=torch.bool)
    sky[0, 1] = True
    result = dataclasses.replace(tied(), sky_mask=sky)
    assert np.isposinf(depth_of(result, source="moge2")[0, 1])
    assert np.isnan(xyz_of_cloud(messages(result, source="moge2")["points"])[1]).all()


def test_there_are_no_millimetres_of_relative_depth():
    sent = messages(untied(), {"depth_mm"})
    assert not np.frombuffer(sent["depth_mm"].data, "<u2").any()


def test_points_lie_on_the_rays_and_have_the_colours_of_their_pixels():
    cloud = messages(tied(), source="depth")["points"]
    points, colors = conversions.cloud_to_points(cloud)
    assert points[1, 2] == pytest.approx([(2 - 1.0) / 2 * 70, (1 - 0.5) / 2 * 70, 70])
    assert np.array_equal(colors, RGB)
    assert cloud.header == HEADER


def test_every_second_row_and_column_become_points():
    cloud = messages(tied(), source="depth", points__decimation=2)["points"]
    points, colors = conversions.cloud_to_points(cloud)
    assert points.shape == (1, 2, 3)
    assert points[0, 0] == pytest.approx([-0.1, -0.05, 0.2])
    assert np.array_equal(colors, RGB[::2, ::2])


def test_the_colour_image_is_the_very_message_where_it_can_be():
    image = rgb_to_image(RGB, HEADER)
    assert messages(tied(), {"rgb"}, image=image)["rgb"] is image
    grey = Image(header=HEADER, height=2, width=3, encoding="mono8", step=3, data=[0] * 6)
    sent = messages(tied(), {"rgb"}, image=grey)["rgb"]
    assert sent.encoding == "rgb8"
    assert np.array_equal(image_to_rgb(sent), RGB)


def test_what_a_rectified_image_does_not_show_has_no_depth():
    columns, rows = np.meshgrid(np.float32([0, 1, 9]), np.float32([0, 1]))
    image = rgb_to_image(RGB, HEADER)
    values = {"rectification": Rectification(columns, rows), "source": "depth", "image": image}
    sent = messages(tied(), {"depth", "points", "rgb"}, **values)
    assert np.isnan(image_to_depth(sent["depth"])[:, 2]).all()
    assert np.isnan(xyz_of_cloud(sent["points"]).reshape(2, 3, 3)[:, 2]).all()
    assert np.isfinite(image_to_depth(sent["depth"])).sum() == 4
    assert sent["rgb"] is not image


@pytest.mark.parametrize("result", [untied(), tied()])
def test_the_preview_is_black_where_nothing_is_known(result):
    picture = image_to_rgb(messages(result, {"preview"}, source="none")["preview"])
    assert picture.shape == (2, 3, 3)
    assert (picture.max(axis=2) == 0).tolist() == [[False, False, True], [False, False, False]]


def test_all_that_is_wanted_is_made_and_nothing_else():
    wanted = set(OUTPUTS)
    sent = messages(tied(), wanted, source="depth")
    assert list(sent) == list(OUTPUTS)
    assert all(message.header == HEADER for message in sent.values())
    for name in OUTPUTS:
        assert list(messages(tied(), {name}, source="depth")) == [name]


def test_confidence_is_a_float_image_and_relative_depth_has_none():
    sent = messages(tied(), {"confidence"}, source="depth")["confidence"]
    assert (sent.encoding, sent.header) == ("32FC1", HEADER)
    assert set(np.unique(image_to_depth(sent))) <= {0.0, 0.75}
    assert not messages(untied(), {"confidence"}, source="none")


def test_less_confidence_than_wanted_makes_a_hole_of_depth_and_points():
    wanted = {"depth", "points"}
    for least, is_there in ((0.7, True), (0.8, False)):
        sent = messages(tied(), wanted, source="depth", alignment__min_confidence=least)
        assert np.isfinite(image_to_depth(sent["depth"])).any() == is_there


@pytest.mark.parametrize("is_organized", [True, False])
@pytest.mark.parametrize("decimation", [1, 2])
@pytest.mark.parametrize("result", [untied(), tied()])
def test_points_that_were_made_on_a_device_are_those_of_the_cpu(result, decimation, is_organized):
    source = "none" if result.metric_depth is None else "depth"
    values = {"points__organized": is_organized, "points__decimation": decimation}
    request = request_of(source=source, **values)
    here = frame_messages.depth_of(request, result)
    assert here.packed is None
    there = frame_messages.fetched(request, here)
    assert there.packed is not None
    expected, found = (
        frame_messages._message("points", request, depth) for depth in (here, there)
    )
    assert found == expected
    assert torch.equal(there.values.nan_to_num(9), here.values.nan_to_num(9))


def test_points_that_nobody_wants_are_not_made_on_a_device():
    request = request_of({"depth"})
    here = frame_messages.depth_of(request, untied())
    assert frame_messages.fetched(request, here).packed is None
