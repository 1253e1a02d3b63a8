from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from ppd_core.bag.transforms import TransformTree, slerp
from ppd_core.types import AlignmentError

SECOND = 10**9
UNTURNED = (0.0, 0.0, 0.0, 1.0)


def about_z(degrees):
    half = math.radians(degrees) / 2
    return (0.0, 0.0, math.sin(half), math.cos(half))


def moved(matrix, point):
    return (matrix @ [*point, 1])[:3]


@pytest.fixture
def spinning():
    """A sensor that moves at 1 m/s along x and turns 90 degrees a second about z, at 10 Hz."""
    tree = TransformTree()
    for step in range(11):
        seconds = step / 10
        place = (seconds, 0.0, 0.5)
        tree.add("odom", "sensor", step * SECOND // 10, place, about_z(90 * seconds))
    return tree


def spun(seconds, point):
    """The closed form of what `spinning` does to a point."""
    angle = math.radians(90 * seconds)
    x, y, z = point
    return (
        seconds + math.cos(angle) * x - math.sin(angle) * y,
        math.sin(angle) * x + math.cos(angle) * y,
        0.5 + z,
    )


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.13, 0.55, 0.999, 1.0])
def test_between_stamps_motion_is_linear_and_turning_steady(spinning, seconds):
    matrix = spinning.lookup("odom", "sensor", round(seconds * SECOND))
    assert moved(matrix, (1, 2, 3)) == pytest.approx(spun(seconds, (1, 2, 3)))
    back = spinning.lookup("sensor", "odom", round(seconds * SECOND))
    assert back @ matrix == pytest.approx(np.eye(4))


def test_at_a_stamp_the_recorded_pose_is_given_exactly():
    tree = TransformTree()
    for stamp, x in ((1, 0.1), (4, 0.3), (7, 0.7)):
        tree.add("map", "base", stamp, (x, 0, 0), UNTURNED)
    assert [tree.lookup("map", "base", stamp)[0, 3] for stamp in (1, 4, 7)] == [0.1, 0.3, 0.7]


@pytest.mark.parametrize(
    ("stamp_ns", "text"),
    [
        (SECOND + 1, "1e-09 s in the future"),
        (-SECOND // 2, "0.5 s in the past"),
        (3 * SECOND, "known from 0.000 to 1.000 s, asked for 3.000 s: 2 s in the future"),
    ],
)
def test_nothing_is_made_up_outside_what_was_recorded(spinning, stamp_ns, text):
    with pytest.raises(AlignmentError, match=text) as error:
        spinning.lookup("odom", "sensor", stamp_ns)
    assert error.value.reason == "no_transform"


def test_a_single_pose_holds_at_its_stamp_alone():
    tree = TransformTree()
    tree.add("map", "base", 5, (1, 0, 0), UNTURNED)
    assert tree.lookup("map", "base", 5)[0, 3] == 1
    with pytest.raises(AlignmentError, match="future"):
        tree.lookup("map", "base", 6)


def test_chains_meet_at_the_common_ancestor(spinning):
    spinning.add("sensor", "lidar", 0, (0, 0, 1), about_z(90), is_static=True)
    spinning.add("odom", "mast", 0, (0, 0, 2), UNTURNED, is_static=True)
    spinning.add("mast", "camera", 0, (0, 5, 0), UNTURNED, is_static=True)
    matrix = spinning.lookup("camera", "lidar", SECOND // 2)
    # lidar -> sensor: (-2, 1, 4); -> odom by the closed form; -> camera: less (0, 5, 2).
    expected = np.subtract(spun(0.5, (-2, 1, 4)), (0, 5, 2))
    assert moved(matrix, (1, 2, 3)) == pytest.approx(expected)
    assert spinning.lookup("lidar", "camera", SECOND // 2) @ matrix == pytest.approx(np.eye(4))


def test_what_is_not_known_above_the_common_ancestor_does_not_matter(spinning):
    spinning.add("map", "odom", 0, (9, 9, 9), UNTURNED)  # known at 0 alone
    spinning.add("odom", "mast", 0, (0, 0, 0.5), UNTURNED, is_static=True)
    matrix = spinning.lookup("mast", "sensor", SECOND // 2)
    assert matrix[:3, 3] == pytest.approx((0.5, 0, 0))


def test_opposite_quaternions_are_one_rotation():
    tree = TransformTree()
    tree.add("map", "base", 0, (0, 0, 0), about_z(10))
    tree.add("map", "base", 100, (0, 0, 0), tuple(-value for value in about_z(50)))
    turned = moved(tree.lookup("map", "base", 50), (1, 0, 0))
    assert turned == pytest.approx((math.cos(math.radians(30)), math.sin(math.radians(30)), 0))


def test_slerp_turns_the_short_way_and_is_exact_for_equal_rotations():
    middle = slerp(np.array(about_z(-170)), np.array(about_z(170)), 0.5)
    assert abs(middle @ np.array(about_z(180))) == pytest.approx(1)
    same = np.array(about_z(33))
    assert slerp(same, same, 0.3) == pytest.approx(same)


def test_static_transforms_hold_always_and_the_last_one_said_counts():
    tree = TransformTree()
    tree.add("base", "lidar", 50, (1, 0, 0), UNTURNED, is_static=True)
    tree.add("base", "lidar", 60, (2, 0, 0), UNTURNED, is_static=True)
    assert [tree.lookup("base", "lidar", stamp)[0, 3] for stamp in (0, 10**18)] == [2, 2]


def test_a_fixed_frame_takes_out_the_motion_between_two_stamps(spinning):
    early, late = SECOND // 5, 4 * SECOND // 5
    matrix = spinning.lookup_over("sensor", late, "sensor", early, "odom")
    there = spun(0.2, (1, 2, 3))
    assert spun(0.8, moved(matrix, (1, 2, 3))) == pytest.approx(there)


def test_what_is_missing_is_named(spinning):
    with pytest.raises(AlignmentError, match=r"'cam' not among .* which are: odom, sensor"):
        spinning.lookup("cam", "sensor", 0)
    spinning.add("map", "other", 0, (0, 0, 0), UNTURNED, is_static=True)
    with pytest.raises(AlignmentError, match=r"'sensor' to 'other': the two are not connected"):
        spinning.lookup("other", "sensor", 0)


def test_frames_that_hang_on_each_other_end_in_an_error():
    tree = TransformTree()
    tree.add("a", "b", 0, (0, 0, 0), UNTURNED, is_static=True)
    tree.add("b", "a", 0, (0, 0, 0), UNTURNED, is_static=True)
    tree.add("root", "c", 0, (0, 0, 0), UNTURNED, is_static=True)
    with pytest.raises(AlignmentError, match="circle"):
        tree.lookup("c", "a", 0)


def test_the_top_is_that_of_the_newest_poses_and_a_circle_ends():
    tree = TransformTree()
    tree.add("base", "/camera", 0, (0, 0, 0), UNTURNED, is_static=True)
    tree.add("map", "base", 7, (0, 0, 0), UNTURNED)
    tree.add("odom", "base", 4, (0, 0, 0), UNTURNED)
    assert [tree.top(one) for one in ("camera", "/camera", "base")] == ["map"] * 3
    assert tree.top("map") == "map" and tree.top("nobody") == "nobody"
    tree.add("camera", "map", 7, (0, 0, 0), UNTURNED)
    assert tree.top("camera") in ("camera", "base", "map")


def test_a_child_that_is_hung_elsewhere_is_not_interpolated_across():
    tree = TransformTree()
    tree.add("left", "cup", 0, (1, 0, 0), UNTURNED)
    tree.add("right", "cup", 10, (5, 0, 0), UNTURNED)
    assert tree.lookup("left", "cup", 4)[0, 3] == 1
    assert tree.lookup("right", "cup", 10)[0, 3] == 5


def test_history_is_bounded_and_keeps_what_it_says():
    tree = TransformTree(history_s=2.0)
    for step in range(1000):
        tree.add("map", "base", step * SECOND // 10, (step, 0, 0), UNTURNED)
    assert len(tree._edges["base"].stamps_ns) <= 22
    newest = 999 * SECOND // 10
    assert tree.lookup("map", "base", newest - 2 * SECOND)[0, 3] == 979
    with pytest.raises(AlignmentError, match="past"):
        tree.lookup("map", "base", newest - 3 * SECOND)
    tree.add("map", "base", 0, (7, 0, 0), UNTURNED)  # older than is remembered
    with pytest.raises(AlignmentError, match="past"):
        tree.lookup("map", "base", 0)


def test_transforms_may_come_out_of_order_and_the_first_of_a_stamp_stands():
    tree = TransformTree()
    for stamp, x in ((10, 1.0), (30, 3.0), (20, 8.0), (20, 99.0)):
        tree.add("map", "base", stamp, (x, 0, 0), UNTURNED)
    assert tree.lookup("map", "base", 20)[0, 3] == 8
    assert tree.lookup("map", "base", 15)[0, 3] == 4.5


@pytest.mark.parametrize(
    ("parent", "child", "translation", "quaternion"),
    [
        ("", "base", (0, 0, 0), UNTURNED),
        ("map", "map", (0, 0, 0), UNTURNED),
        ("map", "base", (0, math.nan, 0), UNTURNED),
        ("map", "base", (0, 0, 0), (0, 0, 0, 0)),
        ("map", "base", (0, 0, 0), (0, 0, 0, math.nan)),
    ],
)
def test_what_is_no_transform_is_counted_and_left_out(parent, child, translation, quaternion):
    tree = TransformTree()
    tree.add(parent, child, 0, translation, quaternion)
    assert tree.num_refused == 1
    with pytest.raises(AlignmentError, match="frames of tf, which are: none"):
        tree.lookup("map", "base", 0)


def test_a_slash_before_a_frame_does_not_count():
    tree = TransformTree()
    tree.add("/map", "/base", 0, (1, 0, 0), UNTURNED, is_static=True)
    assert tree.lookup("map", "/base", 0)[0, 3] == 1


def test_a_message_gives_all_its_transforms():
    def stamped(parent, child, x):
        return SimpleNamespace(
            header=SimpleNamespace(
                frame_id=parent, stamp=SimpleNamespace(sec=2, nanosec=SECOND // 2)
            ),
            child_frame_id=child,
            transform=SimpleNamespace(
                translation=SimpleNamespace(x=x, y=0.0, z=0.0),
                rotation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0),
            ),
        )

    tree = TransformTree()
    tree.add_message(
        SimpleNamespace(transforms=[stamped("map", "a", 1.0), stamped("map", "b", 3.0)])
    )
    assert tree.lookup("a", "b", 5 * SECOND // 2)[0, 3] == 2
    assert tree.newest_ns("a") == 5 * SECOND // 2


def test_when_time_begins_anew_only_what_stands_still_is_kept(spinning):
    spinning.add("sensor", "lidar", 0, (0, 0, 1), UNTURNED, is_static=True)
    spinning.forget_moving()
    assert spinning.lookup("sensor", "lidar", 0)[2, 3] == 1
    assert spinning.newest_ns("sensor") is None
    with pytest.raises(AlignmentError):
        spinning.lookup("odom", "sensor", SECOND // 2)
    assert spinning.newest_ns("lidar") is None
