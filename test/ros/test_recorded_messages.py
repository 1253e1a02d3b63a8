"""A recording that is written without ROS holds what the node would publish."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags, extra 'bag'")

from ppd_core.bag import making
from ppd_core.bag.typestore import ALIGNMENT_TYPE, typestore
from ppd_core.message_values import alignment_values
from ppd_core.status_report import WARN, StatusReport
from ppd_core.types import Alignment, AlignmentError, Intrinsics
from ppd_ros import calibration, conversions

STORE = typestore()
HEADER = Header(stamp=Time(sec=12, nanosec=345), frame_id="camera")
OWN_HEADER = making.make_header(12 * 10**9 + 345, "camera")
CAMERA = Intrinsics(64, 48, 50.5, 51.5, 31.0, 24.0, "rational_polynomial", tuple(range(8)))


def depth():
    values = torch.rand(48, 64, generator=torch.Generator().manual_seed(0)) * 90 - 5
    values[0, :3] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    return values


def packed():
    points = torch.rand(48, 64, 4, generator=torch.Generator().manual_seed(0))
    points[3, 4, :3] = torch.nan
    return points


def diagnostics():
    status = DiagnosticStatus(
        level=DiagnosticStatus.WARN, name="ppd", message="slow", hardware_id="cpu",
        values=[KeyValue(key="frames", value="3")],
    )  # fmt: skip
    return DiagnosticArray(header=Header(stamp=HEADER.stamp), status=[status])


MESSAGES = {
    "rgb": (
        lambda: conversions.rgb_to_image(np.arange(60, dtype=np.uint8).reshape(4, 5, 3), HEADER),
        lambda: making.rgb_message(np.arange(60, dtype=np.uint8).reshape(4, 5, 3), OWN_HEADER),
    ),
    "depth": (
        lambda: conversions.depth_to_image(depth(), HEADER),
        lambda: making.depth_message(depth(), OWN_HEADER),
    ),
    "relative depth": (
        lambda: conversions.depth_to_image(depth(), HEADER, is_metric=False),
        lambda: making.depth_message(depth(), OWN_HEADER, is_metric=False),
    ),
    "depth_mm": (
        lambda: conversions.depth_to_image_mm(depth(), HEADER),
        lambda: making.depth_mm_message(depth(), OWN_HEADER),
    ),
    "points": (
        lambda: conversions.packed_to_cloud(packed(), HEADER),
        lambda: making.cloud_message(packed(), OWN_HEADER),
    ),
    "camera_info": (
        lambda: calibration.intrinsics_to_info(CAMERA, HEADER),
        lambda: making.info_message(CAMERA, OWN_HEADER),
    ),
    "diagnostics": (
        diagnostics,
        lambda: making.diagnostics_message(
            12 * 10**9 + 345,
            [StatusReport("ppd", WARN, "slow", {"frames": "3"}, "cpu")],
        ),
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_it_is_byte_for_byte_what_the_node_publishes(name):
    of_node, of_recording = (make() for make in MESSAGES[name])
    msgtype = of_recording.__msgtype__
    octets = bytes(serialize_message(of_node))
    own = bytes(STORE.serialize_cdr(of_recording, msgtype))
    assert len(own) == len(octets)
    # Between fields that must be aligned rmw leaves whatever its memory held: only there they
    # may differ, so those bytes are taken through one writer.
    again = bytes(STORE.serialize_cdr(STORE.deserialize_cdr(octets, msgtype), msgtype))
    assert again == own
    assert deserialize_message(own, type(of_node)) == deserialize_message(octets, type(of_node))


@pytest.mark.parametrize("alignment", [Alignment(1.5, -0.5, "depth", "fitted", 0.1), None])
def test_an_alignment_is_the_nodes(alignment, monkeypatch):
    failure = AlignmentError("flat_samples", "")
    # Its class is built by colcon only: any that takes the fields shows what the node fills in.
    monkeypatch.setattr(conversions, "alignment_type", lambda: dict)
    of_node = conversions.alignment_to_message(alignment, HEADER, source="depth", failure=failure)
    assert of_node.pop("header") == HEADER
    message = making.alignment_message(alignment, OWN_HEADER, source="depth", failure=failure)
    own = {name: getattr(message, name) for name, _ in STORE.fielddefs[ALIGNMENT_TYPE][1]}
    del own["header"]
    assert (
        str(own)
        == str(of_node)
        == str(alignment_values(alignment, source="depth", failure=failure))
    )
