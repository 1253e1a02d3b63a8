"""Start the depth node, and RViz on request: `ros2 launch ppd_ros depth.launch.py --show-args`.

Include it in a launch file of your own inside a `GroupAction(scoped=True, forwarding=False)`, so
that arguments of yours with the same names (`model`, `params_file` ...) stay yours. With several
cameras (`cameras` in params_file) their topics are remapped there, too, by `SetRemap`;
docs/install.md shows both.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue

AS_IN_FILE = "Empty: as params_file says."
OVERRIDES = {
    "model": ("model", str),
    "profile": ("profile", str),
    "num_steps": ("num_steps", int),
    "alignment_source": ("alignment.source", str),
    "image_transport": ("image_transport", str),
    "rs_compat": ("rs_compat", bool),
    "autostart": ("autostart", bool),
    "use_sim_time": ("use_sim_time", bool),
}
"""Launch argument that, when it is not empty, wins over the file -> parameter and its type."""


def arguments() -> list[DeclareLaunchArgument]:
    """Every launch argument, in the order in which `--show-args` prints them."""
    share = Path(get_package_share_directory("ppd_ros"))
    levels = ["debug", "info", "warn", "error", "fatal"]
    truths = ["", "true", "false"]
    return [
        DeclareLaunchArgument(
            "image_topic",
            default_value="/camera/image_raw",
            description="Colour image to read (sensor_msgs/Image; for image_transport compressed, "
            "the name without /compressed).",
        ),
        DeclareLaunchArgument(
            "camera_info_topic",
            default_value="/camera/camera_info",
            description="Calibration of that camera (sensor_msgs/CameraInfo).",
        ),
        DeclareLaunchArgument(
            "depth_topic",
            default_value="/camera/aligned_depth_to_color/image_raw",
            description="Depth image registered to the colour image (sensor_msgs/Image); "
            "for alignment_source depth.",
        ),
        DeclareLaunchArgument(
            "depth_camera_info_topic",
            default_value="/camera/aligned_depth_to_color/camera_info",
            description="Calibration of the depth image, where there is one "
            "(sensor_msgs/CameraInfo); for alignment_source depth.",
        ),
        DeclareLaunchArgument(
            "lidar_topic",
            default_value="/lidar/points",
            description="Point cloud (sensor_msgs/PointCloud2); for alignment_source lidar.",
        ),
        DeclareLaunchArgument(
            "params_file",
            default_value=str(share / "config" / "ppd.yaml"),
            description="Parameters of the node; copy the default one and change the copy. Where "
            "it names several cameras (left ...), they are read from left/image, left/camera_info "
            "and left/depth_in in the node's namespace, and not from the topics above.",
        ),
        DeclareLaunchArgument(
            "model",
            default_value="",
            description="Preset (ppd-da2, ppd-moge2, nano; tiny is untrained) "
            f"or the path of a checkpoint. {AS_IN_FILE}",
        ),
        DeclareLaunchArgument(
            "profile",
            default_value="",
            choices=["", "fast", "balanced", "quality"],
            description="What is spent on a frame: fast is half the steps at half the area, "
            f"balanced what the model was made for, quality 20 steps. {AS_IN_FILE}",
        ),
        DeclareLaunchArgument(
            "num_steps",
            default_value="",
            description="Sampling steps a frame, whatever the profile: more is finer and "
            f"slower. {AS_IN_FILE}",
        ),
        DeclareLaunchArgument(
            "alignment_source",
            default_value="",
            choices=["", "none", "constant", "depth", "lidar", "moge2"],
            description=f"What ties depth to metres. {AS_IN_FILE}",
        ),
        DeclareLaunchArgument(
            "image_transport",
            default_value="",
            choices=["", "raw", "compressed"],
            description="compressed: read sensor_msgs/CompressedImage (JPEG or PNG) from "
            f"image_topic/compressed. {AS_IN_FILE}",
        ),
        DeclareLaunchArgument(
            "rs_compat",
            default_value="",
            choices=truths,
            description="true: name the outputs as realsense-ros does, in the node's namespace "
            "(aligned_depth_to_color/image_raw, aligned_depth_to_color/camera_info, "
            f"depth/color/points). {AS_IN_FILE}",
        ),
        DeclareLaunchArgument(
            "namespace",
            default_value="",
            description="Namespace of the node: with robot1, the outputs are /robot1/ppd/...",
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="",
            choices=truths,
            description="true: configure and activate at once. false: wait for a lifecycle "
            f"manager. {AS_IN_FILE}",
        ),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="",
            choices=truths,
            description=f"true: take the time from /clock (bags, simulators). {AS_IN_FILE}",
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=levels,
            description="Least severe messages of the node to print.",
        ),
        DeclareLaunchArgument(
            "use_rviz",
            default_value="false",
            choices=["true", "false"],
            description="Show depth and points in RViz too (needs the package rviz2).",
        ),
        DeclareLaunchArgument(
            "rviz_config",
            default_value=str(share / "config" / "ppd.rviz"),
            description="What RViz shows; its /ppd/depth/image and /ppd/points are those of this "
            "node, whatever its namespace.",
        ),
    ]


def overrides(context: LaunchContext) -> dict[str, ParameterValue]:
    """The parameters that were given as launch arguments."""
    return {
        parameter: ParameterValue(LaunchConfiguration(argument), value_type=kind)
        for argument, (parameter, kind) in OVERRIDES.items()
        if LaunchConfiguration(argument).perform(context)
    }


def nodes(context: LaunchContext) -> list[Node]:
    """The depth node, and RViz where it is wanted."""
    given = overrides(context)
    time_source = [{"use_sim_time": given["use_sim_time"]}] if "use_sim_time" in given else []
    is_rs_compat = LaunchConfiguration("rs_compat").perform(context) == "true"
    points = "depth/color/points" if is_rs_compat else "ppd/points"
    return [
        # First: where rviz2 is missing, launch gives up here, and must not leave a node behind.
        Node(
            package="rviz2",
            executable="rviz2",
            # Names without a slash are then those in the namespace of the depth node.
            namespace=LaunchConfiguration("namespace"),
            arguments=["-d", LaunchConfiguration("rviz_config")],
            parameters=time_source,
            remappings=[("/ppd/depth/image", "ppd/depth/image"), ("/ppd/points", points)],
            condition=IfCondition(LaunchConfiguration("use_rviz")),
        ),
        LifecycleNode(
            package="ppd_ros",
            executable="depth_node",
            name="ppd",
            namespace=LaunchConfiguration("namespace"),
            parameters=[LaunchConfiguration("params_file"), given],
            remappings=[
                ("image", LaunchConfiguration("image_topic")),
                ("camera_info", LaunchConfiguration("camera_info_topic")),
                ("depth_in", LaunchConfiguration("depth_topic")),
                ("depth_camera_info", LaunchConfiguration("depth_camera_info_topic")),
                ("lidar_in", LaunchConfiguration("lidar_topic")),
            ],
            ros_arguments=["--log-level", LaunchConfiguration("log_level")],
            output="screen",
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    return LaunchDescription([*arguments(), OpaqueFunction(function=nodes)])
