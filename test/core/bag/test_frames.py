"""Frames of recordings that are made here, message by message."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ppd_core.alignment.affine import alignment_from_range
from ppd_core.alignment.anchors import Anchors
from ppd_core.bag.frames import PairingReport, RecordedFrameSettings, recorded_frames
from ppd_core.bag.reader import BagReader
from ppd_core.bag.recording import BagMessage, BagTopic
from ppd_core.bag.static import read_static
from ppd_core.bag.topics import ChosenTopics, choose_topics
from ppd_core.types import AlignmentError, Intrinsics

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
        stamp_ms, header=header(stamp_ms, frame_id), encoding="32FC1", step=4 * size[1], data=data
    )


def info(stamp_ms, focal=100.0):
    k = np.array([focal, 0, 3.5, 0, focal, 2.5, 0, 0, 1.0])
    roi = T["RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return T["CameraInfo"](
        header=header(stamp_ms),
        height=HEIGHT,
        width=WIDTH,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=k,
        r=np.eye(3).ravel(),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=roi,
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


def test_images_alone_come_at_once_and_in_order():
    done = ran(stream(5, CHOSEN.image, lambda ms: image(ms, ms % 251)), chosen=IMAGES_ONLY)
    assert [frame.index for frame in done.frames] == [0, 1, 2, 3, 4]
    assert done.came_after == [1, 2, 3, 4, 5]
    assert [frame.stamp_ns for frame in done.frames] == [
        (START_MS + 100 * step) * MS for step in range(5)
    ]
    assert done.frames[2].rgb()[0, 0, 0] == (START_MS + 200) % 251
    assert done.frames[0].intrinsics(WIDTH, HEIGHT) is None
    assert done.report.num_no_camera == 5


def test_images_of_changing_size_keep_theirs():
    sizes = [(6, 8), (4, 4), (6, 8)]
    entries = [at(i, CHOSEN.image, image(START_MS + i, size=size)) for i, size in enumerate(sizes)]
    shapes = [frame.rgb().shape for frame in ran(entries, chosen=IMAGES_ONLY).frames]
    assert shapes == [(*size, 3) for size in sizes]


def test_the_log_time_is_not_the_stamp():
    (frame,) = ran([(99_000, CHOSEN.image, image(START_MS))], chosen=IMAGES_ONLY).frames
    assert (frame.log_ns, frame.stamp_ns) == (99_000 * MS, START_MS * MS)


def test_compressed_images_stay_compressed_until_they_are_asked_for():
    picture = np.full((HEIGHT, WIDTH, 3), (30, 20, 10), np.uint8)
    png = cv2.imencode(".png", picture)[1]
    message = T["CompressedImage"](header=header(START_MS), format="png", data=png.ravel())
    (frame,) = ran([at(0, CHOSEN.image, message)], chosen=IMAGES_ONLY).frames
    assert len(frame.image.data) == len(png)
    assert frame.rgb()[0, 0].tolist() == [10, 20, 30]


def test_a_frame_waits_for_the_depth_that_comes_later():
    done = ran(
        merged(
            stream(3, CHOSEN.image, image),
            stream(3, CHOSEN.depth, depth, late_ms=50),
        ),
        "depth",
    )
    assert [frame.sensor_offset_s for frame in done.frames] == [0, 0, 0]
    assert done.came_after == [2, 4, 6]
    assert (done.report.exact, done.report.nearest, done.report.missing) == (3, 0, 0)


def test_the_nearest_depth_is_taken_within_the_slop():
    # 100 ms apart; the depth camera runs 40 ms ahead of each image, so 60 ms behind the next.
    done = ran(
        merged(
            stream(3, CHOSEN.image, image),
            stream(4, CHOSEN.depth, depth, first_ms=-40),
        ),
        "depth",
    )
    assert [frame.sensor_offset_s for frame in done.frames] == [-0.04, -0.04, -0.04]
    assert (done.report.exact, done.report.nearest, done.report.missing) == (0, 3, 0)
    assert done.report.max_offset_s == 0.04


def test_what_is_beyond_the_slop_is_unpaired_and_says_how_far():
    done = ran(
        [at(0, CHOSEN.image, image(START_MS)), at(300, CHOSEN.depth, depth(START_MS + 300))],
        "depth",
        max_slop_s=0.2,
    )
    found = evidence(done.frames[0])
    assert isinstance(found, AlignmentError) and found.reason == "unpaired"
    assert "the nearest is 0.3 s after the image (max_slop_s is 0.2)" in str(found)
    assert done.report.missing == 1 and done.report.least_missing_s == 0.3


def test_a_sensor_that_stops_holds_nothing_back_for_longer_than_the_wait():
    entries = merged(stream(30, CHOSEN.image, image), stream(1, CHOSEN.depth, depth))
    done = ran(entries, "depth", max_wait_s=0.5)
    assert [frame.index for frame in done.frames] == list(range(30))
    # Of images at 0, 100, ... ms: the sixth after an image is more than 500 ms after it.
    waits = [
        after - 1 - frame.index for frame, after in zip(done.frames, done.came_after, strict=True)
    ]
    assert max(waits) == 7  # and the one depth image
    assert done.report.exact == 1 and done.report.missing == 28 and done.report.nearest == 1


def test_a_topic_without_messages_is_not_waited_for():
    done = ran(stream(3, CHOSEN.image, image), "depth")
    assert done.came_after == [1, 2, 3]
    assert [evidence(frame).reason for frame in done.frames] == ["unpaired"] * 3


def test_a_sensor_on_another_clock_never_pairs_and_is_not_waited_for():
    far = stream(4, CHOSEN.depth, lambda ms: depth(ms + 1_000_000), first_ms=-1)
    done = ran(merged(stream(3, CHOSEN.image, image), far), "depth")
    assert done.came_after == [2, 4, 6]
    assert "another clock?" in str(evidence(done.frames[1]))
    assert "1e+03 s after" in str(evidence(done.frames[1]))
    assert any("another clock" in one for one in done.report.describe(CHOSEN.depth, 0.1))


def test_two_images_of_one_stamp_are_two_frames_of_one_sensor_message():
    entries = [
        at(0, CHOSEN.image, image(START_MS, 1)),
        at(1, CHOSEN.image, image(START_MS, 2)),
        at(2, CHOSEN.depth, depth(START_MS)),
    ]
    frames = ran(entries, "depth").frames
    assert [frame.rgb()[0, 0, 0] for frame in frames] == [1, 2]
    assert [frame.sensor_offset_s for frame in frames] == [0, 0]


def test_what_nobody_stamped_counts_as_taken_when_it_was_recorded():
    entries = [at(0, CHOSEN.image, image(0)), at(30, CHOSEN.depth, depth(0))]
    done = ran(entries, "depth")
    (frame,) = done.frames
    assert (frame.stamp_ns, frame.time_ns) == (0, START_MS * MS)
    assert frame.sensor_offset_s == 0.03
    assert done.report.num_unstamped == 1


def test_a_recording_that_begins_anew_loses_no_frame_and_pairs_within_each_part():
    def part(log_ms, metres):
        return merged(
            [(log_ms + 100 * i, CHOSEN.image, image(START_MS + 100 * i)) for i in range(20)],
            [
                (log_ms + 100 * i + 50, CHOSEN.depth, depth(START_MS + 100 * i, metres))
                for i in range(20)
            ],
        )

    done = ran([*part(50_000, 2.0), *part(52_000, 3.0)], "depth")
    assert [frame.index for frame in done.frames] == list(range(40))
    assert done.report.exact == 40 and done.report.num_restarts == 1
    seen = [float(evidence(frame).depth.max()) for frame in done.frames]
    assert seen == [2.0] * 20 + [3.0] * 20
    assert [frame.index for frame in done.frames if frame.is_restart] == [20]


def test_a_recorder_whose_clock_was_set_back_still_pairs():
    entries = merged(stream(60, CHOSEN.image, image), stream(60, CHOSEN.depth, depth, late_ms=50))
    entries = [
        (log - 3_600_000 if index >= 60 else log, topic, message)
        for index, (log, topic, message) in enumerate(entries)
    ]
    done = ran(entries, "depth", max_wait_s=0.3)
    assert done.report.exact == 60
    assert (
        max(
            after - 2 * frame.index
            for frame, after in zip(done.frames, done.came_after, strict=True)
        )
        == 2
    )


def test_a_damaged_image_is_a_frame_with_a_problem():
    entries = [
        at(0, CHOSEN.image, image(START_MS)),
        at(100, CHOSEN.image, b"\0\1\0\0damaged"),
        at(200, CHOSEN.image, image(START_MS + 200)),
    ]
    done = ran(entries, chosen=IMAGES_ONLY)
    assert [bool(frame.problem) for frame in done.frames] == [False, True, False]
    with pytest.raises(ValueError, match="damaged message"):
        done.frames[1].rgb()
    assert done.report.num_unreadable == 1
    assert done.frames[1].time_ns == (START_MS + 100) * MS


@pytest.mark.parametrize("source", ["depth", "lidar"])
def test_a_damaged_image_has_no_evidence_of_a_sensor(source):
    (frame,) = ran([at(0, CHOSEN.image, b"\0\1\0\0damaged")], source).frames
    found = frame.evidence(HEIGHT, WIDTH, intrinsics=Intrinsics.from_fov(WIDTH, HEIGHT, 60))
    assert found.reason == "unpaired"


def test_an_image_that_cannot_be_decoded_says_so_when_it_is_asked_for():
    broken = T["CompressedImage"](
        header=header(START_MS), format="jpeg", data=np.arange(9, dtype=np.uint8)
    )
    (frame,) = ran([at(0, CHOSEN.image, broken)], chosen=IMAGES_ONLY).frames
    assert frame.problem == ""
    with pytest.raises(ValueError):
        frame.rgb()


@pytest.mark.parametrize(
    ("encoding", "step", "rows"),
    [("nv12", 1, 9), ("mono16", 2, 6), ("bayer_rggb16", 2, 6), ("yuv422_yuy2", 2, 6)],
)
def test_what_only_some_cameras_send_is_read_as_the_node_reads_it(encoding, step, rows):
    data = np.full(rows * WIDTH * step, 128, np.uint8)
    message = image(START_MS, encoding=encoding, step=WIDTH * step, data=data)
    (frame,) = ran([at(0, CHOSEN.image, message)], chosen=IMAGES_ONLY).frames
    # Grey of half the brightness, by full or limited range.
    assert frame.rgb().shape == (HEIGHT, WIDTH, 3)
    assert np.abs(frame.rgb().astype(int) - 129).max() <= 2


def test_a_jpeg_that_was_cut_off_is_no_grey_picture():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    jpeg = cv2.imencode(".jpg", picture)[1].ravel()
    message = T["CompressedImage"](header=header(START_MS), format="jpeg", data=jpeg[:-500])
    (frame,) = ran([at(0, CHOSEN.image, message)], chosen=IMAGES_ONLY).frames
    with pytest.raises(ValueError, match="damaged"):
        frame.rgb()


def test_compressed_depth_is_millimetres_or_unreadable():
    png = cv2.imencode(".png", np.full((HEIGHT, WIDTH), 1500, np.uint16))[1].ravel()
    whole = np.concatenate([np.zeros(12, np.uint8), png])
    for data, expected in ((whole, [1.5]), (whole[:-30], "unreadable"), (png[:5], "unreadable")):
        message = T["CompressedImage"](
            header=header(START_MS), format="16UC1; compressedDepth png", data=data
        )
        entries = [at(0, CHOSEN.depth, message), at(1, CHOSEN.image, image(START_MS))]
        found = evidence(ran(entries, "depth").frames[0])
        seen = found.reason if isinstance(found, AlignmentError) else found.depth.unique().tolist()
        assert seen == expected


def test_a_calibration_at_the_start_is_in_force_throughout_and_nothing_waits():
    entries = [at(-5, CHOSEN.camera_info, info(START_MS - 5)), *stream(6, CHOSEN.image, image)]
    done = ran(entries)
    assert done.came_after == [2, 3, 4, 5, 6, 7]
    assert [frame.intrinsics(WIDTH, HEIGHT).fx for frame in done.frames] == [100.0] * 6


def test_a_calibration_of_half_the_image_is_brought_to_it_and_one_of_another_camera_is_none():
    entries = [
        at(-5, CHOSEN.camera_info, info(START_MS - 5)),
        at(0, CHOSEN.image, image(START_MS)),
    ]
    (frame,) = ran(entries).frames
    assert frame.intrinsics(2 * WIDTH, 2 * HEIGHT).fx == 200.0
    assert frame.camera_problem(WIDTH, HEIGHT) == ""
    assert frame.intrinsics(WIDTH, 3 * HEIGHT) is None
    assert "proportions" in frame.camera_problem(WIDTH, 3 * HEIGHT)
    (frame,) = ran(entries[1:]).frames
    assert frame.camera_problem(WIDTH, HEIGHT) == "no CameraInfo was recorded for it"


def test_frames_before_the_first_calibration_wait_for_it():
    entries = merged(
        stream(5, CHOSEN.image, image), [at(250, CHOSEN.camera_info, info(START_MS + 250))]
    )
    done = ran(entries)
    assert done.came_after == [4, 4, 4, 5, 6]
    assert all(frame.info is not None for frame in done.frames)


def test_the_newest_calibration_at_or_before_an_image_is_in_force():
    entries = merged(
        stream(4, CHOSEN.image, image),
        # Recorded after the image whose stamp it has, and of another zoom each time.
        stream(4, CHOSEN.camera_info, lambda ms: info(ms, focal=float(ms)), late_ms=20),
    )
    focals = [frame.intrinsics(WIDTH, HEIGHT).fx for frame in ran(entries).frames]
    assert focals == [START_MS, START_MS + 100, START_MS + 200, START_MS + 300]


def test_depth_evidence_is_of_the_messages_own_metres():
    entries = [at(0, CHOSEN.depth, depth(START_MS, 2.5)), at(1, CHOSEN.image, image(START_MS))]
    found = evidence(ran(entries, "depth").frames[0])
    assert isinstance(found, Anchors) and found.source == "depth"
    assert found.depth.unique().tolist() == [2.5]
    assert (found.height, found.width) == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (depth(START_MS, metres=2500.0), "wrong_unit"),
        (image(START_MS, encoding="8UC3"), "unreadable"),
        (depth(START_MS + 900), "unpaired"),
    ],
)
def test_depth_evidence_that_cannot_be_used_says_why(message, reason):
    entries = [at(0, CHOSEN.depth, message), at(1, CHOSEN.image, image(START_MS))]
    found = evidence(ran(entries, "depth").frames[0])
    assert isinstance(found, AlignmentError) and found.reason == reason


def test_a_depth_image_of_another_frame_is_told_of_once():
    entries = merged(
        stream(3, CHOSEN.image, image),
        stream(3, CHOSEN.depth, lambda ms: depth(ms, frame_id="depth_optical")),
    )
    report = ran(entries, "depth").report
    assert len(report.other_frames) == 1 and "'depth_optical'" in report.other_frames[0]


def test_constant_and_own_evidence_pass_through():
    constant = alignment_from_range(0.5, 10)
    (frame,) = ran([at(0, CHOSEN.image, image(START_MS))], "constant", constant=constant).frames
    assert evidence(frame) is constant
    (frame,) = ran([at(0, CHOSEN.image, image(START_MS))], "moge2").frames
    mark = object()
    assert evidence(frame, own_anchors=lambda: mark) is mark
    (frame,) = ran([at(0, CHOSEN.image, image(START_MS))]).frames
    with pytest.raises(ValueError, match="'none'"):
        evidence(frame)


GRID = [(x / 50, y / 50, z) for x in range(-2, 3) for y in range(-2, 3) for z in (2.0,)] * 4
"""Metres in front of the camera, inside the image of `info`."""


def lidar_entries(num=3, *, tf_late_ms=80):
    """The scanner is 1 m behind the camera, which moves off at 1 m/s on its own axis."""
    # Places in world: camera at z = t, scanner at -1.
    return merged(
        [at(-50, "/tf_static", transforms(0, "world", "lidar", (0, 0, -1)))],
        [at(-40, CHOSEN.camera_info, info(START_MS))],
        stream(num, CHOSEN.image, image),
        stream(num, CHOSEN.lidar, lambda ms: cloud(ms, GRID), first_ms=10),
        [
            (
                START_MS + step * 50 - 100 + tf_late_ms,
                "/tf",
                transforms(
                    START_MS + step * 50 - 100,
                    "world",
                    "camera",
                    (0, 0, step * 0.05 - 0.1),
                ),
            )
            for step in range(2 * num + 6)
        ],
    )


def lidar_config():
    from ppd_core.alignment.config import AlignmentConfig

    return AlignmentConfig(min_samples=10)


@pytest.mark.parametrize("is_prepared", [False, True])
def test_a_cloud_is_brought_to_the_camera_by_transforms_that_come_later(is_prepared):
    done = ran(lidar_entries(), "lidar", config=lidar_config(), is_prepared=is_prepared)
    for step, frame in enumerate(done.frames):
        found = evidence(frame)
        assert isinstance(found, Anchors) and found.source == "lidar", found
        # 2 m from the scanner at -1, seen from where the camera is at its own stamp.
        assert found.depth.numpy() == pytest.approx(1 - 0.1 * step, abs=1e-5)
    assert done.report.nearest == 3 and done.report.num_no_transform == 0


def test_a_fixed_frame_takes_out_what_the_camera_moved_between_scan_and_image():
    entries = [
        one if one[1] != CHOSEN.lidar else (*one[:2], cloud(one[0], GRID, frame_id="camera"))
        for one in lidar_entries()
    ]
    config = lidar_config()
    same = ran(entries, "lidar", config=config).frames[1]
    assert evidence(same).depth.numpy() == pytest.approx(2.0)
    fixed = ran(entries, "lidar", config=config, fixed_frame="world").frames[1]
    # The scan is of 10 ms later, at 1 m/s: 1 cm farther on.
    assert evidence(fixed).depth.numpy() == pytest.approx(2.01, abs=1e-5)


def test_a_recording_on_disk_gives_the_same_frames(tmp_path):
    entries = lidar_entries()
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        known = {}
        for log_ms, topic, message in entries:
            kind = message.__msgtype__
            if topic not in known:
                known[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(known[topic], log_ms * MS, STORE.serialize_cdr(message, kind))
    wanted = RecordedFrameSettings(source="lidar", config=lidar_config())
    with BagReader(tmp_path / "bag") as reader:
        chosen = choose_topics(reader.topics, source="lidar")
        static = read_static(reader, chosen)
        frames = list(recorded_frames(reader, chosen, wanted, static=static))
    assert (chosen.image, chosen.lidar) == (CHOSEN.image, CHOSEN.lidar)
    made = ran(entries, "lidar", config=lidar_config()).frames
    assert [frame.stamp_ns for frame in frames] == [frame.stamp_ns for frame in made]
    for read, direct in zip(frames, made, strict=True):
        assert (read.rgb() == direct.rgb()).all()
        assert evidence(read).depth.equal(evidence(direct).depth)


def test_a_cloud_without_a_transform_or_a_calibration_says_so():
    entries = lidar_entries()
    without_tf = [one for one in entries if one[1] != "/tf"]
    done = ran(without_tf, "lidar", config=lidar_config())
    assert [evidence(frame).reason for frame in done.frames] == ["no_transform"] * 3
    assert "'camera'" in str(evidence(done.frames[0])) and done.report.num_no_transform == 3
    without_info = [one for one in entries if one[1] != CHOSEN.camera_info]
    done = ran(without_info, "lidar", config=lidar_config())
    assert [evidence(frame).reason for frame in done.frames] == ["no_camera"] * 3


def test_a_looped_recording_uses_the_transforms_of_each_round():
    first = lidar_entries(30)
    again = [(log + 4_000, topic, message) for log, topic, message in first]
    done = ran([*first, *again], "lidar", config=lidar_config())
    assert len(done.frames) == 60 and done.report.num_restarts == 1
    assert done.report.num_no_transform == 0
    seen = [float(evidence(frame).depth.max()) for frame in done.frames[:5] + done.frames[30:35]]
    assert seen == pytest.approx([1, 0.9, 0.8, 0.7, 0.6] * 2, abs=1e-5)


@given(
    offsets_ms=st.lists(st.integers(-400, 400), min_size=1, max_size=25),
    every_ms=st.sampled_from([10, 33, 100]),
    lates=st.tuples(st.integers(0, 300), st.integers(0, 300)),
)
@settings(max_examples=60, deadline=None)
def test_pairs_are_those_of_whoever_sees_the_whole_recording(offsets_ms, every_ms, lates):
    """In whatever order messages come within the wait: by brute force over all of them."""
    sensor_ms = [START_MS + 50 * index + off for index, off in enumerate(offsets_ms)]
    sensors = [(ms + lates[0], CHOSEN.depth, depth(ms)) for ms in sorted(set(sensor_ms))]
    images = stream(15, CHOSEN.image, image, every_ms=every_ms, late_ms=lates[1])
    done = ran(merged(images, sensors), "depth", max_slop_s=0.04)
    assert [frame.index for frame in done.frames] == list(range(15))
    for frame in done.frames:
        least = min(abs(ms * MS - frame.stamp_ns) for ms in sensor_ms) / 1e9
        if least > 0.04:
            assert frame.sensor is None and frame.failure.reason == "unpaired"
        else:
            assert abs(frame.sensor_offset_s) == least


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["image", "depth", "tf", "info", "damage"]),
            st.integers(0, 100_000),
            st.integers(-2_000, 2_000),
        ),
        max_size=40,
    )
)
@settings(max_examples=60, deadline=None)
def test_whatever_a_recording_holds_every_image_comes_once_and_in_order(chaos):
    log_ms, entries = 50_000, []
    for kind, stamp_ms, step_ms in chaos:
        log_ms += step_ms
        entries.append(
            {
                "image": (log_ms, CHOSEN.image, image(stamp_ms)),
                "depth": (log_ms, CHOSEN.depth, depth(stamp_ms)),
                "tf": (log_ms, "/tf", transforms(stamp_ms, "world", "camera", (0, 0, 0))),
                "info": (log_ms, CHOSEN.camera_info, info(stamp_ms)),
                "damage": (log_ms, CHOSEN.image, b"\0\1\0\0damaged"),
            }[kind]
        )
    logs = [log * MS for log, topic, _ in entries if topic == CHOSEN.image]
    for source in ("depth", "lidar"):
        frames = ran(entries, source).frames
        assert [frame.log_ns for frame in frames] == logs
        assert [frame.index for frame in frames] == list(range(len(logs)))
        for frame in frames:
            assert isinstance(evidence(frame), Anchors | AlignmentError)


def test_memory_is_bounded_in_bytes():
    """What waits is let go in order when it grows too large, and the report counts it."""
    entries = merged(stream(40, CHOSEN.image, image), [at(3950, CHOSEN.depth, depth(START_MS))])
    size = len(STORE.serialize_cdr(image(START_MS), "sensor_msgs/msg/Image"))
    done = ran(entries, "depth", max_wait_s=100.0, max_bytes=5 * size)
    assert [frame.index for frame in done.frames] == list(range(40))
    held = [after - frame.index for frame, after in zip(done.frames, done.came_after, strict=True)]
    assert max(held[:30]) == 6  # five are kept, and the one that made it too much
    assert done.report.num_early >= 30


def test_a_sensor_alone_fills_no_memory():
    many = stream(1000, CHOSEN.depth, depth, every_ms=10)
    reader = Recording([*many, (30_000, CHOSEN.image, image(30_000))])
    from ppd_core.bag.frames import _FrameBuffer

    buffer = _FrameBuffer(
        reader, CHOSEN, RecordedFrameSettings(source="depth"), PairingReport(), None
    )
    for message in reader.messages():
        list(buffer.take(message))
        # 1.1 s at 10 ms.
        assert len(buffer._sensor) <= 112


def test_what_stands_still_is_read_without_reading_on():
    entries = [
        at(0, "/tf_static", transforms(0, "world", "lidar", (0, 0, -1))),
        *stream(50, CHOSEN.camera_info, info),
    ]
    reader = Recording(entries)
    static = read_static(reader, CHOSEN)
    assert reader.num_read == 2
    assert len(static.transforms) == 1 and static.info is not None
    unknown = Recording(entries, counts_are_known=False)
    assert len(read_static(unknown, CHOSEN).transforms) == 1
    assert unknown.num_read == 51
    assert read_static(Recording([]), CHOSEN).info is None
