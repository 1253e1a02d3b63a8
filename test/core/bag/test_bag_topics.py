from __future__ import annotations

from dataclasses import replace

import pytest

from ppd_core.bag.recording import BagTopic
from ppd_core.bag.topics import ChosenTopics, choose_topics, other_sensors

TYPES = {
    "image": "sensor_msgs/msg/Image",
    "jpeg": "sensor_msgs/msg/CompressedImage",
    "info": "sensor_msgs/msg/CameraInfo",
    "cloud": "sensor_msgs/msg/PointCloud2",
    "tf": "tf2_msgs/msg/TFMessage",
    "old_tf": "tf/msg/tfMessage",
    "imu": "sensor_msgs/msg/Imu",
    "theora": "theora_image_transport/msg/Packet",
    "none": "sensor_msgs/msg/CompressedImage",
}
TYPES |= dict.fromkeys(("color", "grey", "depth", "open"), TYPES["image"])


def topics_of(text):
    """Of lines "type name name ..."."""
    made = {}
    for line in text.strip().splitlines():
        kind, *names = line.split()
        for name in names:
            made[name] = BagTopic(name, TYPES[kind], 0 if kind == "none" else 10)
    return made


def encodings_of(text):
    """Topic -> whether it holds depth, of those whose line says so."""
    lines = [line.split() for line in text.strip().splitlines()]
    return {name: ENCODED[kind] for kind, *names in lines if kind in ENCODED for name in names}


REALSENSE = """
image /camera/camera/color/image_raw /camera/camera/depth/image_rect_raw
image /camera/camera/aligned_depth_to_color/image_raw /camera/camera/infra1/image_rect_raw
image /camera/camera/infra2/image_rect_raw /camera/camera/aligned_depth_to_infra1/image_raw
jpeg /camera/camera/color/image_raw/compressed
jpeg /camera/camera/aligned_depth_to_color/image_raw/compressedDepth
jpeg /camera/camera/depth/image_rect_raw/compressed
theora /camera/camera/color/image_raw/theora
info /camera/camera/color/camera_info /camera/camera/depth/camera_info
info /camera/camera/infra1/camera_info /camera/camera/aligned_depth_to_color/camera_info
cloud /camera/camera/depth/color/points
imu /camera/camera/imu
tf /tf /tf_static
"""
ZED = """
image /zed/zed_node/rgb/image_rect_color /zed/zed_node/rgb_raw/image_raw_color
image /zed/zed_node/left/image_rect_color /zed/zed_node/right/image_rect_color
image /zed/zed_node/left_raw/image_raw_gray /zed/zed_node/stereo/image_rect_color
image /zed/zed_node/depth/depth_registered /zed/zed_node/confidence/confidence_map
image /zed/zed_node/disparity/disparity_image
jpeg /zed/zed_node/rgb/image_rect_color/compressed
info /zed/zed_node/rgb/camera_info /zed/zed_node/left/camera_info /zed/zed_node/depth/camera_info
cloud /zed/zed_node/point_cloud/cloud_registered
tf /tf /tf_static
"""
ORBBEC = """
image /camera/color/image_raw /camera/depth/image_raw /camera/ir/image_raw
image /camera/left_ir/image_raw /camera/right_ir/image_raw
info /camera/color/camera_info /camera/depth/camera_info /camera/ir/camera_info
cloud /camera/depth_registered/points /camera/depth/points
"""
AZURE_KINECT = """
image /rgb/image_raw /depth/image_raw /ir/image_raw /depth_to_rgb/image_raw /rgb_to_depth/image_raw
info /rgb/camera_info /depth/camera_info /depth_to_rgb/camera_info /rgb_to_depth/camera_info
cloud /points2
tf /tf /tf_static
"""
USB_CAM = """
jpeg /image_raw/compressed
info /camera_info
"""
TUM = """
image /camera/rgb/image_color /camera/depth/image
info /camera/rgb/camera_info /camera/depth/camera_info
old_tf /tf
imu /imu
"""
KITTI = """
image /kitti/camera_color_left/image_raw
info /kitti/camera_color_left/camera_info
cloud /kitti/velo/pointcloud
tf /tf /tf_static
"""
DEMO = """
image /camera/image /camera/depth_in /camera/truth /ppd/depth/image /ppd/depth/image_mm
info /camera/camera_info /ppd/depth/camera_info
cloud /ppd/points
tf /tf
"""
OPENNI = """
image /camera/rgb/image_raw /camera/rgb/image_rect_color /camera/rgb/image_mono
image /camera/depth_registered/image_raw /camera/depth/image_raw
info /camera/rgb/camera_info
cloud /velodyne_points /camera/depth_registered/points
"""
OAK = """
image /oak/rgb/image_raw /oak/left/image_rect /oak/right/image_rect /oak/rgb/preview/image_raw
jpeg /oak/depth/image_raw/compressedDepth
info /oak/rgb/camera_info
"""
TURTLEBOT4 = """
color /oakd/rgb/preview/image_raw
depth /oakd/stereo/image_raw
none /oakd/rgb/preview/image_raw/compressed /oakd/rgb/preview/image_raw/compressedDepth
none /oakd/stereo/image_raw/compressedDepth
info /oakd/rgb/preview/camera_info /oakd/stereo/camera_info
tf /tf /tf_static
"""
ZED_5_1 = """
color /zed/zed_node/rgb/color/rect/image /zed/zed_node/rgb/color/raw/image
color /zed/zed_node/left/color/rect/image /zed/zed_node/right/color/rect/image
color /zed/zed_node/stereo/color/rect/image
grey /zed/zed_node/rgb/gray/rect/image /zed/zed_node/left/gray/raw/image
depth /zed/zed_node/depth/depth_registered /zed/zed_node/confidence/confidence_map
info /zed/zed_node/rgb/color/rect/image/camera_info /zed/zed_node/rgb/color/raw/camera_info
info /zed/zed_node/depth/camera_info /zed/zed_node/left/color/rect/camera_info
cloud /zed/zed_node/point_cloud/cloud_registered
tf /tf /tf_static
"""
REALSENSE_VIEWER = """
color /device_0/sensor_1/Color_0/image/data
open /device_0/sensor_0/Depth_0/image/data
grey /device_0/sensor_0/Infrared_1/image/data /device_0/sensor_0/Infrared_2/image/data
info /device_0/sensor_0/Depth_0/info/camera_info /device_0/sensor_1/Color_0/info/camera_info
info /device_0/sensor_0/Infrared_1/info/camera_info
"""
TF = ("/tf",), ("/tf_static",)
ENCODED = {"color": False, "grey": False, "depth": True, "open": None}
"""Kind of a line -> what `read_encodings` says of its topics."""


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        (
            REALSENSE,
            ChosenTopics(
                "/camera/camera/color/image_raw",
                "/camera/camera/color/camera_info",
                "/camera/camera/aligned_depth_to_color/image_raw",
                "/camera/camera/depth/color/points",
                *TF,
            ),
        ),
        (
            ORBBEC,
            ChosenTopics(
                "/camera/color/image_raw", "/camera/color/camera_info", "/camera/depth/image_raw"
            ),
        ),
        (
            AZURE_KINECT,
            ChosenTopics(
                "/rgb/image_raw",
                "/rgb/camera_info",
                "/depth_to_rgb/image_raw",
                "/points2",
                *TF,
            ),
        ),
        (USB_CAM, ChosenTopics("/image_raw/compressed", "/camera_info")),
        (
            TUM,
            ChosenTopics(
                "/camera/rgb/image_color",
                "/camera/rgb/camera_info",
                "/camera/depth/image",
                tf=("/tf",),
            ),
        ),
        (
            KITTI,
            ChosenTopics(
                "/kitti/camera_color_left/image_raw",
                "/kitti/camera_color_left/camera_info",
                None,
                "/kitti/velo/pointcloud",
                *TF,
            ),
        ),
        (
            DEMO,
            ChosenTopics("/camera/image", "/camera/camera_info", "/camera/depth_in", tf=("/tf",)),
        ),
        (
            OPENNI,
            ChosenTopics(
                "/camera/rgb/image_raw",
                "/camera/rgb/camera_info",
                "/camera/depth_registered/image_raw",
                "/velodyne_points",
            ),
        ),
        (
            OAK,
            ChosenTopics(
                "/oak/rgb/image_raw",
                "/oak/rgb/camera_info",
                "/oak/depth/image_raw/compressedDepth",
            ),
        ),
        (
            TURTLEBOT4,
            ChosenTopics(
                "/oakd/rgb/preview/image_raw",
                "/oakd/rgb/preview/camera_info",
                "/oakd/stereo/image_raw",
                None,
                *TF,
            ),
        ),
        (
            ZED_5_1,
            ChosenTopics(
                "/zed/zed_node/rgb/color/rect/image",
                "/zed/zed_node/rgb/color/rect/image/camera_info",
                "/zed/zed_node/depth/depth_registered",
                "/zed/zed_node/point_cloud/cloud_registered",
                *TF,
            ),
        ),
        (
            REALSENSE_VIEWER,
            ChosenTopics(
                "/device_0/sensor_1/Color_0/image/data",
                "/device_0/sensor_1/Color_0/info/camera_info",
                "/device_0/sensor_0/Depth_0/image/data",
            ),
        ),
    ],
    ids=[
        *("realsense", "orbbec", "kinect", "usb_cam", "tum", "kitti", "demo", "openni", "oak"),
        *("turtlebot4", "zed 5.1", "realsense-viewer"),
    ],
)
def test_the_topics_of_real_drivers_are_found(text, chosen):
    found = choose_topics(topics_of(text), holds_depth=encodings_of(text))
    assert replace(found, depth_info=None) == chosen


def test_a_topic_s_encoding_is_looked_at_before_its_name():
    text = """
    depth /robot/front/image_raw
    color /robot/depth_camera/image_raw
    color /robot/depth_camera/depth/image_color
    info /robot/depth_camera/camera_info
    """
    topics, encodings = topics_of(text), encodings_of(text)
    chosen = choose_topics(topics, image="/robot/depth_camera/image_raw", holds_depth=encodings)
    assert chosen.camera_info == "/robot/depth_camera/camera_info"
    assert chosen.depth is None
    assert other_sensors(topics, chosen, encodings) == ["/robot/front/image_raw"]
    del topics["/robot/depth_camera/depth/image_color"]
    chosen = choose_topics(topics, holds_depth=encodings)
    assert chosen.image == "/robot/depth_camera/image_raw"


def test_a_topic_without_messages_is_not_the_camera():
    topics = topics_of("jpeg /camera/image_raw/compressed\ninfo /camera/camera_info")
    topics["/camera/image_raw"] = BagTopic("/camera/image_raw", TYPES["image"], 0)
    assert choose_topics(topics).image == "/camera/image_raw/compressed"


def test_the_depth_images_own_calibration_is_not_the_colour_images():
    found = choose_topics(topics_of(REALSENSE))
    assert found.depth_info == "/camera/camera/aligned_depth_to_color/camera_info"
    assert choose_topics(topics_of(DEMO)).depth_info is None


def test_of_a_zed_the_rectified_colour_with_its_registered_depth_is_taken():
    chosen = choose_topics(topics_of(ZED), source="depth")
    assert chosen.image == "/zed/zed_node/rgb/image_rect_color"
    assert chosen.camera_info == "/zed/zed_node/rgb/camera_info"
    assert chosen.depth == "/zed/zed_node/depth/depth_registered"


TWO_CAMERAS = """
image /front/image_raw /rear/image_raw /front/depth/image_raw /rear/depth/image_raw
info /front/camera_info /rear/camera_info
cloud /lidar_left/points /lidar_right/points
"""


def test_several_cameras_are_listed_with_the_option_that_decides():
    with pytest.raises(ValueError, match=r"--image: /front/image_raw, /rear/image_raw$"):
        choose_topics(topics_of(TWO_CAMERAS))


def test_a_stereo_pair_without_a_colour_stream_is_two_cameras():
    with pytest.raises(ValueError, match=r"--image: /s/left/image_raw, /s/right/image_raw$"):
        choose_topics(topics_of("image /s/left/image_raw /s/right/image_raw"))


def test_what_is_named_is_taken_and_brings_its_own_depth():
    chosen = choose_topics(topics_of(TWO_CAMERAS), image="/rear/image_raw", source="depth")
    assert chosen.camera_info == "/rear/camera_info"
    assert chosen.depth == "/rear/depth/image_raw"


def test_a_name_may_leave_out_the_first_slash():
    assert choose_topics(topics_of(TWO_CAMERAS), image="rear/image_raw").image == "/rear/image_raw"


def test_several_clouds_matter_only_to_lidar():
    topics = topics_of(TWO_CAMERAS)
    assert choose_topics(topics, image="/front/image_raw").lidar is None
    with pytest.raises(ValueError, match=r"--lidar: /lidar_left/points, /lidar_right/points$"):
        choose_topics(topics, image="/front/image_raw", source="lidar")


def test_a_source_that_is_not_there_lists_what_is_by_type():
    topics = topics_of("image /camera/image\ninfo /camera/camera_info\ncloud /ppd/points")
    with pytest.raises(ValueError, match=r"no depth topic belongs to /camera/image: .*--depth"):
        choose_topics(topics, source="depth")
    with pytest.raises(ValueError, match=r"no point cloud.*CameraInfo: /camera/camera_info; "):
        choose_topics(topics, source="lidar")


def test_a_name_that_is_not_there_lists_what_is_by_type():
    with pytest.raises(
        ValueError,
        match=r"no topic /no; it has .*Image: /camera/depth_in, /camera/image, .*/ppd/depth",
    ):
        choose_topics(topics_of(DEMO), image="/no")


@pytest.mark.parametrize(
    ("option", "name"),
    [("image", "/camera/camera_info"), ("depth", "/tf"), ("lidar", "/camera/image")],
)
def test_a_name_of_another_type_is_refused(option, name):
    with pytest.raises(ValueError, match=rf"--{option} must be of type .* got {name} of "):
        choose_topics(topics_of(DEMO), **{option: name})


def test_a_recording_without_images_says_what_it_has():
    with pytest.raises(ValueError, match=r"no colour images.*sensor_msgs/msg/Imu: /imu"):
        choose_topics(topics_of("imu /imu\nimage /camera/depth/image_raw"))
    with pytest.raises(ValueError, match="it has no topics"):
        choose_topics({})


def test_neither_our_own_depth_nor_the_truth_is_a_sensor():
    text = "image /camera/image /camera/truth /camera/truth_depth /robot/ppd/depth/image"
    chosen = choose_topics(topics_of(text))
    assert (chosen.image, chosen.depth) == ("/camera/image", None)


def test_only_what_a_source_needs_is_read():
    chosen = choose_topics(topics_of(REALSENSE))
    assert chosen.names("none") == {chosen.image, chosen.camera_info}
    assert chosen.names("depth") == {chosen.image, chosen.camera_info, chosen.depth}
    assert chosen.names("lidar") == {
        *(chosen.image, chosen.camera_info, chosen.lidar, "/tf", "/tf_static")
    }


@pytest.mark.parametrize(
    ("found", "has_camera", "has_own_metres", "source"),
    [
        ({"depth": "/d", "lidar": "/l", "camera_info": "/i"}, True, True, "depth"),
        ({"lidar": "/l", "camera_info": "/i"}, False, True, "lidar"),
        ({"lidar": "/l"}, True, False, "lidar"),
        ({"lidar": "/l"}, False, True, "moge2"),
        ({}, True, False, "none"),
    ],
)
def test_best_source_is_what_measures_and_else_what_guesses(
    found, has_camera, has_own_metres, source
):
    chosen = ChosenTopics("/image", **found)
    best = chosen.best_source(has_camera=has_camera, has_own_metres=has_own_metres)
    assert best == source
