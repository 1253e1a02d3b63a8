"""The depth node on a simulated camera, and RViz: `ros2 launch ppd_ros sim.launch.py`."""

from __future__ import annotations

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from ament_index_python.resources import has_resource
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description import LaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

PARAMETERS = {
    "seed": (int, "900000013", "Which scene; the same number is the same scene, moving alike."),
    "kind": (str, "table", "Kind of scene: table, bin, shelf, room, or any (the seed decides)."),
    "rate_hz": (float, "10.0", "Frames a second of the camera."),
    "motion_speed": (float, "1.0", "How fast camera and objects move; 0: nothing moves."),
}
"""Parameter of the camera that is a launch argument -> its type, default and description."""


def can_show() -> bool:
    """Whether RViz is installed and has a screen to appear on."""
    has_screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(has_screen and has_resource("packages", "rviz2"))


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    share = Path(get_package_share_directory("ppd_ros"))
    camera = Node(
        package="ppd_ros",
        executable="sim_camera_node",
        namespace="camera",
        parameters=[
            {
                name: ParameterValue(LaunchConfiguration(name), value_type=kind)
                for name, (kind, _, _) in PARAMETERS.items()
            }
        ],
        output="screen",
    )
    depth = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(share / "launch" / "depth.launch.py")),
        launch_arguments={
            "image_topic": "/camera/image",
            "camera_info_topic": "/camera/camera_info",
            "depth_topic": "/camera/depth_in",
        }.items(),
    )
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (_, default, description) in PARAMETERS.items()
    ]
    # Those of depth.launch.py can be given too; these have another default here.
    arguments += [
        DeclareLaunchArgument(
            "model",
            default_value="nano",
            description="Preset or path of a checkpoint; nano was trained on scenes like these.",
        ),
        DeclareLaunchArgument(
            "alignment_source",
            default_value="depth",
            description="What ties depth to metres; depth: the camera's own faulty depth sensor.",
        ),
        DeclareLaunchArgument(
            "use_rviz",
            default_value=str(can_show()).lower(),
            choices=["true", "false"],
            description="Show depth and points in RViz too; by default where rviz2 is installed "
            "and there is a screen.",
        ),
    ]
    return LaunchDescription([*arguments, camera, depth])
