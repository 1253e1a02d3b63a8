"""Recordings that are made here, message by message, and the frames that come of them."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
from rosbags.typesys import Stores, get_typestore

from ppd_core.bag.frames import PairingReport, RecordedFrameSettings, recorded_frames
from ppd_core.bag.recording import BagMessage, BagTopic
from ppd_core.bag.static import read_static
from ppd_core.bag.topics import ChosenTopics

STORE = get_typestore(Stores.ROS2_JAZZY)
T = {name.rpartition("/")[2]: kind for name, kind in STORE.types.items() if "/msg/" in name}
MS = 10**6
START_MS = 10_000
"""Of the first stamp; not 0, which stands for none."""
HEIGHT, WIDTH = 6, 8
CHOSEN = ChosenTopics(
    image="/camera/image_raw",
    camera_info="/camera/camera_info",
    depth="/camera/depth",
    depth_info="/camera/depth_camera/camera_info",
    lidar="/velodyne_points",
    tf=("/tf",),
    tf_static=("/tf_static",),
)
IMAGES_ONLY = ChosenTopics(image=CHOSEN.image)


def header(stamp_ms, frame_id="camera"):
    sec, milli = divmod(stamp_ms, 1000)
    return T["Header"](stamp=T["Time"](sec=sec, nanosec=milli * MS), frame_id=frame_id)


def image(stamp_ms, value=0, size=(HEIGHT, WIDTH), **changed):
    height, width = size
    data = np.full(height * width * 3, value, np.uint8)
    return T["Image"](
        **{
            "header": header(stamp_ms),
            "height": height,
            "width": width,
            "encoding": "rgb8",
            "is_bigendian": 0,
            "step": 3 * width,
            "data": data,
            **changed,
        }
    )


def depth(stamp_ms, metres=2.0, frame_id="camera", size=(HEIGHT, WIDTH)):
    data = np.full(size, metres, np.float32).view(np.uint8).ravel()
    return image(
        stamp_ms,
        size=size,
        header=header(stamp_ms, frame_id),
        encoding="32FC1",
        step=4 * size[1],
        data=data,
    )


def info(stamp_ms, focal=100.0, **changed):
    k = np.array([focal, 0, 3.5, 0, focal, 2.5, 0, 0, 1.0])
    roi = T["RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return T["CameraInfo"](
        **{
            "header": header(stamp_ms),
            "height": HEIGHT,
            "width": WIDTH,
            "distortion_model": "plumb_bob",
            "d": np.zeros(5),
            "k": k,
            "r": np.eye(3).ravel(),
            "p": np.zeros(12),
            "binning_x": 0,
            "binning_y": 0,
            "roi": roi,
            **changed,
        }
    )


def cloud(stamp_ms, xyz, frame_id="lidar"):
    xyz = np.asarray(xyz, np.float32)
    fields = [
        T["PointField"](name=name, offset=4 * axis, datatype=7, count=1)
        for axis, name in enumerate("xyz")
    ]
    return T["PointCloud2"](
        header=header(stamp_ms, frame_id),
        height=1,
        width=len(xyz),
        fields=fields,
        is_bigendian=False,
        point_step=12,
        row_step=12 * len(xyz),
        data=xyz.view(np.uint8).ravel(),
        is_dense=True,
    )


def transforms(stamp_ms, parent, child, translation):
    one = T["TransformStamped"](
        header=header(stamp_ms, parent),
        child_frame_id=child,
        transform=T["Transform"](
            translation=T["Vector3"](*map(float, translation)),
            rotation=T["Quaternion"](0.0, 0.0, 0.0, 1.0),
        ),
    )
    return T["TFMessage"](transforms=[one])


class Recording:
    """What a reader is to those who read frames: (log_ms, topic, message or bytes) as given."""

    def __init__(self, entries, *, counts_are_known=True):
        self.num_read = 0
        self._messages = []
        for log_ms, topic, message in entries:
            kind = "sensor_msgs/msg/Image"
            data = message
            if not isinstance(message, bytes):
                kind = message.__msgtype__
                data = bytes(STORE.serialize_cdr(message, kind))
            self._messages.append(BagMessage(topic, kind, log_ms * MS, data))
        counts = Counter(one.topic for one in self._messages)
        known = {one.topic: one.msgtype for one in self._messages}
        for name in vars(CHOSEN).values():
            for topic in (name,) if isinstance(name, str) else name:
                known.setdefault(topic, "")
        self.topics = {
            name: BagTopic(name, kind, counts[name] if counts_are_known else None)
            for name, kind in known.items()
        }

    def messages(self, topics=None):
        for message in self._messages:
            if topics is None or message.topic in topics:
                self.num_read += 1
                yield message

    def deserialize(self, message):
        try:
            return STORE.deserialize_cdr(message.data, message.msgtype)
        except Exception as error:
            raise ValueError(f"{message.topic}: a damaged message") from error


def ran(entries, source="none", chosen=CHOSEN, *, is_prepared=False, **given_settings):
    """Frames, the report and after which message each frame came."""
    reader, report = Recording(entries), PairingReport()
    static = read_static(reader, chosen) if is_prepared else None
    reader.num_read = 0
    frames, came_after = [], []
    made = RecordedFrameSettings(source=source, **given_settings)
    for frame in recorded_frames(reader, chosen, made, report=report, static=static):
        frames.append(frame)
        came_after.append(reader.num_read)
    return SimpleNamespace(frames=frames, report=report, came_after=came_after)


def at(step, topic, message):
    return START_MS + step, topic, message


def stream(num, topic, make, *, every_ms=100, first_ms=0, late_ms=0):
    """`make(stamp_ms)` of each stamp, recorded `late_ms` after it."""
    stamps = [START_MS + first_ms + every_ms * index for index in range(num)]
    return [(stamp + late_ms, topic, make(stamp)) for stamp in stamps]


def merged(*streams):
    return sorted((one for stream in streams for one in stream), key=lambda one: one[0])


def evidence(frame, **given):
    camera = frame.intrinsics(WIDTH, HEIGHT)
    return frame.evidence(HEIGHT, WIDTH, intrinsics=camera, **given)
