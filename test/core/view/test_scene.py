from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ppd_core.types import RELATIVE_CLOUD_OFFSET
from ppd_core.view import blueprint as at
from ppd_core.view.frame import ShownAlignment

from .conftest import HEIGHT, STAMP_NS, WIDTH

POSITIONS, COLORS = "Points3D:positions", "Points3D:colors"


def test_depth_comes_back_bit_for_bit_with_all_that_is_no_depth(show, make_frame):
    depth = make_frame().depth.copy()
    depth[0, :4] = np.nan, np.inf, -np.inf, np.float32(1e-3)
    shown, _ = show(make_frame(depth=depth))
    (read,) = shown.depths(at.DEPTH)
    assert read.tobytes() == depth.tobytes()
    assert shown.values(at.DEPTH, "DepthImage:meter") == [[1.0]]


def test_what_is_no_depth_is_covered_and_depth_is_not(show, make_frame):
    depth = make_frame().depth.copy()
    depth[0, :3] = np.nan, np.inf, -np.inf
    shown, _ = show(make_frame(depth=depth), make_frame(1))
    holes = f"{at.DEPTH}/{at.HOLES}"
    (classes,) = [v for v in shown.values(holes, "SegmentationImage:buffer") if v]
    classes = np.frombuffer(bytes(classes[0]), np.uint8).reshape(HEIGHT, WIDTH)
    assert classes[0].tolist() == [1, 2, 3, 0, 0, 0, 0, 0]
    assert not classes[1:].any()
    assert {1.0} == {v[0] for v in shown.values(holes, "SegmentationImage:opacity") if v}
    # Frame 1 has none, and the covers of frame 0 must not stay.
    assert len(shown.values(holes, "Clear:is_recursive")) == 1
    context = shown.constants[at.PINHOLE]["AnnotationContext:context"]
    described = {one["class_id"]: one["class_description"]["info"] for one in context[0]}
    assert described[0]["color"] & 0xFF == 0  # depth is seen through its class
    assert all(described[number]["color"] & 0xFF == 255 for number in (1, 2, 3))


def test_colours_go_from_far_to_near_and_follow_slowly(show, make_frame):
    near = make_frame().depth.copy()
    near[0, 0] = np.inf
    shown, _ = show(*(make_frame(i, depth=depth) for i, depth in enumerate((near, 2 * near))))
    ranges = np.array(shown.values(at.DEPTH, "DepthImage:depth_range"))[:, 0]
    assert near[4, 4] >= ranges[0, 0] > ranges[0, 1] >= 1
    np.testing.assert_allclose(
        ranges[1], 1.1 * ranges[0], rtol=1e-6
    )  # a tenth of the way to twice


def test_the_sensor_has_the_colours_of_the_depth(show, make_frame):
    sensor = np.full((3, 4), 9.0, np.float32)
    sensor[0, 0] = np.nan
    shown, _ = show(make_frame(sensor_depth=sensor))
    (read,) = shown.depths(at.SENSOR)
    assert read.tobytes() == sensor.tobytes()
    ranges = [shown.values(path, "DepthImage:depth_range") for path in (at.DEPTH, at.SENSOR)]
    assert ranges[0] == ranges[1]


def test_confidence_is_grey_and_white_is_sure(show, make_frame):
    sure = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    shown, _ = show(make_frame(confidence=sure))
    (buffer,) = shown.values(at.CONFIDENCE, "Image:buffer")
    assert bytes(buffer[0]) == np.round(255 * sure).astype(np.uint8).tobytes()


def test_a_point_is_where_its_pixel_and_depth_say(show, make_frame, camera):
    shown, _ = show(make_frame())
    (points,) = shown.values(at.CLOUD, POSITIONS)
    points = np.array(points).reshape(HEIGHT, WIDTH, 3)
    row, column, depth = 4, 7, make_frame().depth
    z = depth[row, column]
    expected = (column - camera.cx) / camera.fx * z, (row - camera.cy) / camera.fy * z, z
    np.testing.assert_allclose(points[row, column], expected, rtol=1e-6)
    colors = shown.values(at.CLOUD, COLORS)[0]
    assert set(colors) == {0xC80000FF}


def test_invalid_points_are_left_out(show, make_frame):
    depth = make_frame().depth.copy()
    depth[1, 2], depth[2, 3], depth[3, 4] = np.nan, np.inf, -np.inf
    shown, _ = show(make_frame(depth=depth))
    (points,) = shown.values(at.CLOUD, POSITIONS)
    assert len(points) == HEIGHT * WIDTH - 3
    assert np.isfinite(np.array(points)).all()


def test_relative_depth_gets_a_cloud_in_front_of_the_lens(show, make_frame):
    depth = np.full((HEIGHT, WIDTH), -0.25, np.float32)
    shown, _ = show(make_frame(depth=depth, is_metric=False))
    (points,) = shown.values(at.CLOUD, POSITIONS)
    assert len(points) == HEIGHT * WIDTH
    assert np.allclose(np.array(points)[:, 2], RELATIVE_CLOUD_OFFSET - 0.25)


@pytest.mark.parametrize("max_points", [1, 4, 12, 47])
def test_clouds_are_thinned_to_the_budget(show, make_frame, max_points):
    shown, _ = show(make_frame(), max_points=max_points)
    (points,) = shown.values(at.CLOUD, POSITIONS)
    assert max_points / 4 <= len(points) <= max_points


def test_points_that_are_there_already_are_shown_and_not_made_anew(show, make_frame):
    points = np.array([[1, 2, 3], [np.nan, 0, 1], [4, 5, 6]], np.float32)
    colors = np.array([[1, 2, 3], [0, 0, 0], [255, 0, 7]], np.uint8)
    shown, _ = show(make_frame(points=points, colors=colors))
    assert shown.values(at.CLOUD, POSITIONS) == [[[1, 2, 3], [4, 5, 6]]]
    assert shown.values(at.CLOUD, COLORS) == [[0x010203FF, 0xFF0007FF]]


def test_the_frustum_is_the_camera_s_in_pixels_from_the_corner(show, make_frame, camera):
    shown, _ = show(make_frame(), make_frame(1), make_frame(2, intrinsics=replace(camera, fx=9.0)))
    matrices = shown.values(at.PINHOLE, "Pinhole:image_from_camera")
    assert len(matrices) == 2  # logged where it changes
    matrix = np.array(matrices[0]).reshape(3, 3).T
    expected = [[camera.fx, 0, camera.cx + 0.5], [0, camera.fy, camera.cy + 0.5], [0, 0, 1]]
    np.testing.assert_allclose(matrix, expected)
    assert shown.values(at.PINHOLE, "Pinhole:resolution")[0] == [[WIDTH, HEIGHT]]
    rdf = [3, 2, 5]  # right, down, forward, by Rerun's numbers
    assert shown.constants[at.CAMERA]["ViewCoordinates:xyz"] == [rdf]


def test_the_camera_s_place_takes_its_points_to_the_world(show, make_frame):
    # It looks along world +x from (1, 2, 3): optical x is world -y, optical y is world -z.
    place = np.array([[0, 0, 1, 1], [-1, 0, 0, 2], [0, -1, 0, 3], [0, 0, 0, 1]], float)
    shown, _ = show(make_frame(world_from_camera=place))
    (rotation,) = shown.values(at.CAMERA, "Transform3D:mat3x3")
    (translation,) = shown.values(at.CAMERA, "Transform3D:translation")
    rotation = np.array(rotation[0]).reshape(3, 3).T
    np.testing.assert_allclose(rotation @ [0.5, 0.25, 2.0] + translation[0], [3.0, 1.5, 2.75])


def test_times_are_the_header_s_and_frames_are_counted(show, make_frame):
    shown, _ = show(make_frame(), make_frame(1))
    assert shown.timelines == {at.STAMP, at.FRAME}
    assert shown.values(at.IMAGE, at.FRAME) == [0, 1]
    assert shown.values(at.IMAGE, at.STAMP) == [STAMP_NS, STAMP_NS + 10**8]


def test_a_clock_that_began_at_zero_shows_durations(show, make_frame):
    shown, _ = show(make_frame(stamp_ns=1_500_000_000))
    assert shown.values(at.IMAGE, at.STAMP) == [1_500_000_000]


def test_frames_without_a_time_have_numbers_alone(show, make_frame):
    shown, _ = show(make_frame(stamp_ns=None))
    assert shown.timelines == {at.FRAME}


def test_the_alignment_is_plotted_and_its_failures_are_told(show, make_frame):
    lost = ShownAlignment("lost", "depth", failure="few_samples")
    shown, _ = show(make_frame(), make_frame(1, alignment=lost))
    plotted = {
        name: shown.values(f"{at.ALIGNMENT}/{name}", "Scalars:scalars")
        for name in (*at.FIT, *at.QUALITY)
    }
    # What the lost frame has not, NaN, is no number to plot.
    expected = {"scale": 1.5, "shift": 0.25, "inlier_ratio": 0.9, "rmse_m": 0.02}
    assert plotted == {name: [[value]] for name, value in expected.items()}
    assert shown.values(at.STATE, "StateChange:state") == [["fitted"], ["lost"]]
    assert shown.values(at.LOG, "TextLog:text") == [["lost: few_samples"]]
    assert shown.values(at.LOG, "TextLog:level") == [["ERROR"]]
    assert shown.values(f"{at.LATENCY}/sample", "Scalars:scalars") == [[12.5], [12.5]]


def test_the_layout_follows_what_there_is_to_show(show, make_frame):
    everything = {"sensor_depth": np.ones((3, 4), np.float32), "world_from_camera": np.eye(4)}
    shown, scene = show(make_frame(), make_frame(1), make_frame(2, **everything))
    assert shown.blueprint_count == 2
    assert scene.frame_count == 3


def test_sizes_that_do_not_fit_are_told(show, make_frame, camera):
    with pytest.raises(ValueError, match="depth must have the camera's size, 9 x 6, got 8 x 6"):
        show(make_frame(intrinsics=replace(camera, width=9)))
    points = np.zeros((4, 3), np.float32)
    with pytest.raises(ValueError, match=r"colors must be \(4, 3\), got \(3, 3\)"):
        show(make_frame(points=points, colors=np.zeros((3, 3), np.uint8)))
