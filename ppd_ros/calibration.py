"""`Intrinsics` -> CameraInfo; the other way is `ppd_core.camera_info`."""

from __future__ import annotations

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from ppd_core.message_values import calibration_values
from ppd_core.types import Intrinsics


def intrinsics_to_info(intrinsics: Intrinsics, header: Header) -> CameraInfo:
    """Make the calibration of a camera whose raw image is not rectified by anybody (P from K)."""
    return CameraInfo(header=header, **calibration_values(intrinsics))
