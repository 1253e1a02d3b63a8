from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from ppd_core.alignment.config import SOURCES
from ppd_ros import parameters
from ppd_ros.sim_camera_node import FRAME_ID, SPECS

ROOT = Path(__file__).parents[2]
RVIZ = ROOT / "config" / "ppd.rviz"


@pytest.fixture(scope="module")
def displays():
    """RViz's displays by their class."""
    manager = yaml.safe_load(RVIZ.read_text())["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == FRAME_ID  # shows the simulated camera
    return {display["Class"].rpartition("/")[2]: display for display in manager["Displays"]}


def test_rviz_shows_the_depth_topic(displays):
    topic = displays["Image"]["Topic"]
    assert topic["Value"] == "/ppd/depth/image"
    assert topic["Reliability Policy"] == "Reliable"


def test_rviz_shows_the_points_in_their_colours(displays):
    display = displays["PointCloud2"]
    assert display["Topic"]["Value"] == "/ppd/points"
    assert display["Topic"]["Reliability Policy"] == "Reliable"
    assert display["Color Transformer"] == "RGB8"
    assert all(shown["Enabled"] for shown in displays.values())


def test_launch_offers_every_source_of_metres():
    text = (ROOT / "launch" / "depth.launch.py").read_text(encoding="utf-8")
    choices = re.search(r'"alignment_source",.*?choices=(\[.*?\])', text, re.DOTALL)[1]
    assert ast.literal_eval(choices) == ["", *SOURCES]


def test_launch_arguments_of_the_simulated_camera_are_its_parameters():
    """Read, not run: where ROS comes from wheels there is no `launch`."""
    tree = ast.parse((ROOT / "launch" / "sim.launch.py").read_text(encoding="utf-8"))
    table = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "PARAMETERS"
    )
    specs = {spec.name: spec for spec in SPECS}
    for key, value in zip(table.keys, table.values, strict=True):
        kind, default, _ = value.elts
        spec = specs[key.value]
        assert kind.id == type(spec.default).__name__
        assert default.value == str(spec.default)


NAV2_KEYS = {
    # nav2_costmap_2d/src/costmap_2d_ros.cpp
    "local_costmap": {"global_frame", "robot_base_frame", "rolling_window", "plugins"},
    # nav2_costmap_2d/plugins/voxel_layer.cpp, and obstacle_layer.cpp for observation_sources;
    # min_obstacle_height is not a key of the layer in Humble.
    "voxel_layer": {
        *("plugin", "enabled", "origin_z", "z_resolution", "z_voxels", "unknown_threshold"),
        *("mark_threshold", "max_obstacle_height", "combination_method", "publish_voxel_map"),
        *("footprint_clearing_enabled", "observation_sources"),
    },
    # nav2_costmap_2d/plugins/obstacle_layer.cpp
    "source": {
        *("topic", "data_type", "sensor_frame", "observation_persistence", "marking", "clearing"),
        *("expected_update_rate", "min_obstacle_height", "max_obstacle_height", "inf_is_valid"),
        *("obstacle_min_range", "obstacle_max_range", "raytrace_min_range", "raytrace_max_range"),
    },
    # nav2_costmap_2d/plugins/inflation_layer.cpp
    "inflation_layer": {"plugin", "enabled", "inflation_radius", "cost_scaling_factor"},
}
"""Read by the plugins in the branches humble, jazzy and kilted of ros-navigation/navigation2."""
MOVEIT_KEYS = {
    # occupancy_map_monitor/src/occupancy_map_monitor_middleware_handle.cpp
    "monitor": {"octomap_frame", "octomap_resolution", "sensors"},
    # perception/pointcloud_octomap_updater/src/pointcloud_octomap_updater.cpp: all are required
    "occupancy_map_monitor/PointCloudOctomapUpdater": {
        *("sensor_plugin", "point_cloud_topic", "max_range", "padding_offset", "padding_scale"),
        *("point_subsample", "max_update_rate", "filtered_cloud_topic"),
    },
    # perception/depth_image_octomap_updater/src/depth_image_octomap_updater.cpp: after a missing
    # one, in this order, the rest is not read
    "occupancy_map_monitor/DepthImageOctomapUpdater": {
        *("sensor_plugin", "image_topic", "queue_size", "near_clipping_plane_distance"),
        *("far_clipping_plane_distance", "shadow_threshold", "padding_scale", "padding_offset"),
        *("max_update_rate", "skip_vertical_pixels", "skip_horizontal_pixels"),
        *("filtered_cloud_topic", "ns"),
    },
}
"""Read in the branches humble, jazzy and kilted of moveit/moveit2, below moveit_ros/."""


def integration(name):
    return yaml.safe_load((ROOT / "config" / "integrations" / name).read_text(encoding="utf-8"))


def test_nav2_marks_and_clears_by_the_node_s_points():
    costmap = integration("nav2_voxel_layer.yaml")["local_costmap"]["local_costmap"]
    settings = costmap["ros__parameters"]
    layer, inflation = (settings[name] for name in settings["plugins"])
    source = layer.pop(layer["observation_sources"])
    assert settings.keys() - set(settings["plugins"]) <= NAV2_KEYS["local_costmap"]
    assert layer.keys() <= NAV2_KEYS["voxel_layer"]
    assert source.keys() <= NAV2_KEYS["source"]
    assert inflation.keys() <= NAV2_KEYS["inflation_layer"]
    assert layer["plugin"] == "nav2_costmap_2d::VoxelLayer"
    assert (source["topic"], source["data_type"]) == ("/ppd/points", "PointCloud2")
    assert source["marking"] and source["clearing"]
    assert source["raytrace_max_range"] > source["obstacle_max_range"]
    top_m = layer["origin_z"] + layer["z_voxels"] * layer["z_resolution"]
    assert layer["z_voxels"] <= 16
    assert top_m == layer["max_obstacle_height"] == source["max_obstacle_height"]


def test_moveit_reads_every_key_that_its_updaters_ask_for():
    settings = integration("moveit_sensors_3d.yaml")
    sensors = {name: value for name, value in settings.items() if isinstance(value, dict)}
    assert settings.keys() - sensors.keys() == MOVEIT_KEYS["monitor"]
    assert set(settings["sensors"]) <= sensors.keys()
    for sensor in sensors.values():
        assert sensor.keys() == MOVEIT_KEYS[sensor["sensor_plugin"]]
        # ROS parameters have one type: an integer is not read where a float is wanted.
        for key in ("padding_offset", "padding_scale", "max_update_rate"):
            assert isinstance(sensor[key], float)
    assert sensors["ppd_points"]["point_cloud_topic"] == "/ppd/points"
    assert sensors["ppd_depth_image"]["image_topic"] == "/ppd/depth/image_raw"


def launch_arguments():
    """Name -> keywords of every argument that `depth.launch.py` declares."""
    tree = ast.parse((ROOT / "launch" / "depth.launch.py").read_text(encoding="utf-8"))
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {
        call.args[0].value: {keyword.arg: keyword.value for keyword in call.keywords}
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "DeclareLaunchArgument"
    }


def test_the_launch_files_in_the_docs_give_arguments_that_there_are():
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    ast.parse(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1])
    commands = re.findall(r"ros2 launch ppd_ros depth.launch.py(.*?)(?:\n[^ ]|`)", page, re.DOTALL)
    given = set(re.findall(r"(\w+):=", " ".join(commands)))
    given |= set(re.findall(r'"(\w+)":', re.search(r"launch_arguments={(.*)}", page)[1]))
    assert {"image_topic", "depth_topic", "params_file"} <= given <= launch_arguments().keys()


def overrides():
    """Launch argument -> the parameter that it overrides, and the name of its type."""
    text = (ROOT / "launch" / "depth.launch.py").read_text(encoding="utf-8")
    table = re.search(r"^OVERRIDES = {(.*?)^}", text, re.MULTILINE | re.DOTALL)[1]
    rows = re.findall(r'"(\w+)": \("([\w.]+)", (\w+)\)', table)
    return {argument: (parameter, kind) for argument, parameter, kind in rows}


def test_an_override_that_is_not_given_is_empty():
    arguments = launch_arguments()
    assert len(overrides()) > 5
    assert all(arguments[name]["default_value"].value == "" for name in overrides())


def test_overrides_are_parameters_of_the_node():
    specs = {spec.name: spec for spec in parameters.SPECS}
    for argument, (name, kind) in overrides().items():
        if name == "use_sim_time":  # rclpy's own
            continue
        assert kind == type(specs[name].default).__name__
        if kind == "str" and specs[name].choices:
            choices = ast.literal_eval(launch_arguments()[argument]["choices"])
            assert choices == ["", *specs[name].choices]
