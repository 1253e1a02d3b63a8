"""Say how far the nearest object is, and where, for each cloud of the depth node.

    .venv/bin/python examples/nearest_object.py [--ros-args -r /ppd/points:=/other/points]

The node must give metres (`alignment.source` other than none). A floor in view is an object, too.
Positions are in the camera's optical frame: x right, y down, z forward. Ctrl-C ends it.
"""

import contextlib

import cv2
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from sensor_msgs.msg import PointCloud2

STEP = 0.03  # A pixel beside one that is nearer by more than this share is on another surface.
MIN_PIXELS = 100  # A smaller piece of surface is noise.


def print_nearest(cloud: PointCloud2) -> None:
    """Print distance and place of the nearest piece of surface that is large enough."""
    if cloud.height < 2 or cloud.point_step != 16:
        raise ValueError("need the organized cloud: points.organized must be true")
    xyz = np.frombuffer(cloud.data, np.float32).reshape(cloud.height, cloud.width, 4)[..., :3]
    distance_m = np.linalg.norm(xyz, axis=-1)  # NaN where there is no point
    nearest_around_m = cv2.erode(np.nan_to_num(distance_m, nan=np.inf), np.ones((3, 3)))
    is_surface = distance_m / (1 + STEP) <= nearest_around_m  # False for NaN
    _, labels, stats, _ = cv2.connectedComponentsWithStats(is_surface.astype(np.uint8))
    large = [k for k in range(1, len(stats)) if stats[k, cv2.CC_STAT_AREA] >= MIN_PIXELS]
    # Not the nearest pixel, which may be a stray one, but the nearest hundredth.
    near_m = {label: np.percentile(distance_m[labels == label], 1) for label in large}
    if not near_m:
        return print("nothing in view", flush=True)
    label = min(near_m, key=near_m.__getitem__)
    x, y, z = np.median(xyz[labels == label], axis=0)
    print(f"{near_m[label]:.3f} m; its middle: x {x:+.3f} y {y:+.3f} z {z:.3f} m", flush=True)


rclpy.init()
node = rclpy.create_node("nearest_object")
# Reliable, as it is published: best effort loses parts of large clouds. 1: never an old cloud.
node.create_subscription(PointCloud2, "/ppd/points", print_nearest, 1)
with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
    rclpy.spin(node)
rclpy.try_shutdown()
