"""`ppd bag` as it is typed: what it says, what it leaves, its exit status."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags, extra 'bag'")
pytest.importorskip("mcap", reason="recordings need mcap, extra 'bag'")

from ppd_core.bag.reader import BagMessage, BagReader, BagTopic
from ppd_core.bag.typestore import own_types
from ppd_core.bag.writer import BagWriter
from ppd_core.cli import main

FRAMES = 12


class Done(NamedTuple):
    """Exit status of a command, and what it said."""

    status: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def ppd_bag(tools: Any, capsys: pytest.CaptureFixture[str]) -> Command:
    quick = ["--model", "nano", "--device", "cpu", "--steps", "1"]
    quick += ["--processing-area", str(tools.AREA)]

    def command(source: Path, out: Path, *words: str) -> Done:
        status = main(["bag", str(source), "-o", str(out), *quick, *words])
        return Done(status, *capsys.readouterr())

    return command


def test_a_recording_gets_its_depth(
    recording: Path, ppd_bag: Command, tools: Any, tmp_path: Path
) -> None:
    done = ppd_bag(recording, tmp_path / "out")
    assert done.status == 0
    assert "metres from depth, /camera/aligned_depth/image_raw" in done.err
    assert f"{FRAMES} images; {FRAMES} fitted." in done.out
    assert len(tools.read_topic(tmp_path / "out", "/ppd/points")) == FRAMES


def test_done_is_done_unless_it_shall_be_done_anew(
    recording: Path, ppd_bag: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert ppd_bag(recording, out).status == 0
    before = (out / "out_0.mcap").read_bytes()
    assert ppd_bag(recording, out).status == 0
    assert (out / "out_0.mcap").read_bytes() == before
    done = ppd_bag(recording, out, "--decimation", "2")
    assert done.status == 2
    assert "begun with another decimation" in done.err
    assert ppd_bag(recording, out, "--decimation", "2", "--overwrite").status == 0
    assert (out / "out_0.mcap").stat().st_size < len(before)


def test_what_is_not_ours_is_left_alone(recording: Path, ppd_bag: Command, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    done = ppd_bag(recording, tmp_path, "--overwrite")
    assert done.status == 2
    assert "precious" in done.err
    assert (tmp_path / "precious").read_text() == "data"


def test_a_recording_is_never_written_over_itself(
    recording: Path, ppd_bag: Command, tmp_path: Path
) -> None:
    both = tmp_path / "both"
    shutil.copytree(recording, both)
    before = {path.name: path.read_bytes() for path in both.iterdir()}
    (data,) = both.glob("*.mcap")
    for source in (both, data):
        done = ppd_bag(source, both, "--overwrite")
        assert done.status == 2
        assert "OUT must be another folder than that of IN" in done.err
    assert {path.name: path.read_bytes() for path in both.iterdir()} == before


def test_a_recording_of_somebody_else_is_neither_gone_on_with_nor_written_over(
    recording: Path, ppd_bag: Command, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(recording, other)
    before = {path.name: path.read_bytes() for path in other.iterdir()}
    for words in ([], ["--overwrite"]):
        done = ppd_bag(recording, other, *words)
        assert done.status == 2
        assert "holds a recording that no such run has written" in done.err
    assert {path.name: path.read_bytes() for path in other.iterdir()} == before


@pytest.mark.parametrize(
    "words", [["--batch-size", "0"], ["--source", "moge2"], ["--camera", "no_such.yaml"]]
)
def test_overwrite_removes_nothing_for_a_command_that_cannot_run(
    words: list[str], recording: Path, ppd_bag: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert ppd_bag(recording, out).status == 0
    before = (out / "out_0.mcap").read_bytes()
    assert ppd_bag(recording, out, "--overwrite", *words).status == 2
    assert (out / "out_0.mcap").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "what"), [(["--model", "tiny"], "model"), (["--fov-deg", "50"], "camera")]
)
def test_another_model_or_camera_does_not_go_on(
    words: list[str], what: str, recording: Path, ppd_bag: Command, tmp_path: Path
) -> None:
    assert ppd_bag(recording, tmp_path / "out").status == 0
    done = ppd_bag(recording, tmp_path / "out", *words)
    assert done.status == 2
    assert f"begun with another {what}:" in done.err


def test_an_output_may_lie_within_its_input(
    recording: Path, ppd_bag: Command, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    shutil.copytree(recording, source)
    assert ppd_bag(source, source / "ppd").status == 0
    assert ppd_bag(source, source / "ppd").status == 0  # It is still known as the same.


def test_an_output_that_is_named_twice_is_written_once(
    recording: Path, ppd_bag: Command, tools: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert ppd_bag(recording, out, "--write", "depth", "alignment", "depth").status == 0
    assert len(tools.read_topic(out, "/ppd/depth/image")) == FRAMES
    assert ppd_bag(recording, out, "--write", "alignment", "depth").status == 0


def test_depth_without_metres_is_said_to_have_none(
    recording: Path, ppd_bag: Command, tmp_path: Path
) -> None:
    done = ppd_bag(recording, tmp_path / "out", "--source", "none")
    assert done.status == 0
    assert "depth is RELATIVE, not in metres" in done.err


def test_metres_by_a_range(recording: Path, ppd_bag: Command, tools: Any, tmp_path: Path) -> None:
    assert ppd_bag(recording, tmp_path / "out", "--near", "0.5", "--far", "3").status == 0
    sources = {one.source for one in tools.read_topic(tmp_path / "out", "/ppd/alignment")}
    assert sources == {"constant"}


def test_a_recording_without_calibration_has_points_by_a_field_of_view(
    recording: Path, ppd_bag: Command, tools: Any, tmp_path: Path
) -> None:
    with BagReader(recording) as reader, BagWriter(tmp_path / "in") as writer:
        for message in reader.messages({"/camera/image_raw"}):
            writer.copy(reader.topics[message.topic], message)
        writer.close({})
    done = ppd_bag(tmp_path / "in", tmp_path / "without")
    assert done.status == 0
    assert "no calibration was recorded: no points" in done.err
    assert "/ppd/points" not in tools.read_all(tmp_path / "without")
    assert ppd_bag(tmp_path / "in", tmp_path / "with", "--fov-deg", "60").status == 0
    info = tools.read_topic(tmp_path / "with", "/ppd/depth/camera_info")[0]
    assert info.k[0] == pytest.approx(tools.CAMERA.fx)


def _with_another(recording: Path, folder: Path, topic: BagTopic) -> Path:
    """The recording and one message of another topic."""
    with BagReader(recording) as reader, BagWriter(folder) as writer:
        for message in reader.messages():
            writer.copy(reader.topics[message.topic], message)
        writer.copy(topic, BagMessage(topic.name, topic.msgtype, message.log_ns, bytes(8)))
        writer.close({})
    return folder


@pytest.mark.parametrize(
    ("topic", "words"),
    [
        (BagTopic("/diagnostics", "std_msgs/msg/String"), []),
        (BagTopic("/own", "own_msgs/msg/Own"), ["--storage", "ros1"]),
    ],
)
def test_what_cannot_be_copied_is_told_before_anything_is_done(
    topic: BagTopic, words: list[str], recording: Path, ppd_bag: Command, tmp_path: Path
) -> None:
    source = _with_another(recording, tmp_path / "in", topic)
    done = ppd_bag(source, tmp_path / "out", *words)
    assert done.status == 2
    assert f"{topic.name} cannot be copied, for" in done.err
    assert not (tmp_path / "out").exists()
    assert ppd_bag(source, tmp_path / "out", "--keep", "/other", *words).status == 0


def test_metres_come_from_the_sensor_that_is_named(
    recording: Path, ppd_bag: Command, tmp_path: Path
) -> None:
    cloud = BagTopic("/scan", "sensor_msgs/msg/PointCloud2")
    source = _with_another(recording, tmp_path / "in", cloud)  # Of bytes that are no cloud.
    done = ppd_bag(source, tmp_path / "depth")
    assert done.status == 0
    assert "metres from depth, /camera/aligned_depth/image_raw" in done.err
    done = ppd_bag(source, tmp_path / "lidar", "--lidar", "/scan")
    assert done.status == 1
    assert "metres from lidar, /scan" in done.err
    assert "1 messages beside the images cannot be read." in done.err


def test_depth_of_an_earlier_run_is_replaced_and_that_is_said(
    recording: Path, ppd_bag: Command, tools: Any, tmp_path: Path
) -> None:
    assert ppd_bag(recording, tmp_path / "one").status == 0
    done = ppd_bag(tmp_path / "one", tmp_path / "two")
    assert done.status == 0
    written = "/ppd/alignment, /ppd/depth/camera_info, /ppd/depth/image"
    assert f"written anew: {written}" in done.err
    assert len(tools.read_topic(tmp_path / "two", "/ppd/points")) == FRAMES


def test_a_calibration_that_is_none_is_told_and_does_not_keep_a_given_one_out(
    recording: Path, ppd_bag: Command, tools: Any, tmp_path: Path
) -> None:
    with BagReader(recording) as reader, BagWriter(tmp_path / "in") as writer:
        for message in reader.messages():
            if message.topic == "/camera/camera_info":
                info = reader.deserialize(message)
                info.k, info.p = info.k * 0, info.p * 0  # As drivers send it before calibration.
                writer.write(message.topic, message.log_ns, info)
            else:
                writer.copy(reader.topics[message.topic], message)
        writer.close({})
    done = ppd_bag(tmp_path / "in", tmp_path / "without")
    assert done.status == 0
    problem = "its CameraInfo cannot be used: camera is not"
    assert f"{FRAMES} images without points: {problem}" in done.err
    assert "/ppd/points" not in tools.read_all(tmp_path / "without")
    assert ppd_bag(tmp_path / "in", tmp_path / "with", "--fov-deg", "60").status == 0
    info = tools.read_topic(tmp_path / "with", "/ppd/depth/camera_info")[0]
    assert info.k[0] == pytest.approx(tools.CAMERA.fx)
    assert len(tools.read_topic(tmp_path / "with", "/ppd/points")) == FRAMES


def test_topics_are_known_by_their_encoding_and_what_was_recorded_is_not_called_missing(
    recording: Path, ppd_bag: Command, tmp_path: Path
) -> None:
    names = {
        "/camera/image_raw": "/oakd/rgb/preview/image_raw",
        "/camera/aligned_depth/image_raw": "/oakd/stereo/image_raw",
        "/camera/camera_info": "/calibration/camera_info",
        "/other": "/other",
    }
    with BagReader(recording) as reader, BagWriter(tmp_path / "in") as writer:
        for message in reader.messages():
            topic = replace(reader.topics[message.topic], name=names[message.topic])
            writer.copy(topic, replace(message, topic=topic.name))
        writer.close({})
    done = ppd_bag(tmp_path / "in", tmp_path / "out")
    assert done.status == 0
    assert "/oakd/rgb/preview/image_raw; metres from depth, /oakd/stereo/image_raw" in done.err
    assert "belongs to the image by its name (--camera-info: /calibration/camera_info)" in done.err
    given = ["--camera-info", "/calibration/camera_info", "--overwrite"]
    assert "no calibration" not in ppd_bag(tmp_path / "in", tmp_path / "out", *given).err


@pytest.mark.parametrize(
    ("suffix", "text", "status", "told"),
    [
        (".png", "16UC1; png compressed ", 0, ""),
        (".jpg", "16UC1; jpeg compressed ", 1, "a JPEG, which has other values"),
    ],
)
def test_depth_that_cannot_be_read_is_told_with_its_reason(
    suffix: str,
    text: str,
    status: int,
    told: str,
    recording: Path,
    ppd_bag: Command,
    tmp_path: Path,
) -> None:
    depth = "/camera/aligned_depth/image_raw"
    with BagReader(recording) as reader, BagWriter(tmp_path / "in") as writer:
        for message in reader.messages():
            if message.topic == depth:
                image = reader.deserialize(message)
                pixels = image.data.view(np.uint16).reshape(image.height, image.width)
                pixels = pixels if suffix == ".png" else (pixels >> 4).astype(np.uint8)
                data = cv2.imencode(suffix, pixels)[1].ravel()
                kind = own_types()["sensor_msgs/msg/CompressedImage"]
                small = kind(header=image.header, format=text, data=data)
                writer.write(f"{depth}/compressed", message.log_ns, small)
            else:
                writer.copy(reader.topics[message.topic], message)
        writer.close({})
    done = ppd_bag(tmp_path / "in", tmp_path / "out", "--depth", f"{depth}/compressed")
    assert done.status == status
    if status:
        assert f"{FRAMES} images without metres of their own: the sensor's message" in done.err
        assert told in done.err
    else:
        assert f"{FRAMES} images; {FRAMES} fitted." in done.out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--image", "/no/such"], "/no/such"),
        (["--keep", "/no/such"], "--keep: .* has no topic /no/such"),
        (["--near", "1"], "--near and --far must be given together"),
        (["--near", "1", "--far", "3", "--source", "depth"], "are of source constant"),
        (["--source", "lidar"], "no point cloud"),
        (["--steps", "0"], "num_steps must be in .*, got 0"),
        (["--batch-size", "0"], "batch_size must be >= 1, got 0"),
        (["--namespace", "ppd"], "namespace must begin with /"),
    ],
)
def test_wrong_usage_is_one_sentence_and_leaves_nothing(
    words: list[str], problem: str, recording: Path, ppd_bag: Command, tmp_path: Path
) -> None:
    done = ppd_bag(recording, tmp_path / "out", *words)
    assert done.status == 2
    assert re.search(problem, done.err)
    assert not (tmp_path / "out").exists()


def test_what_is_no_recording_is_one_sentence(ppd_bag: Command, tmp_path: Path) -> None:
    done = ppd_bag(tmp_path / "none.mcap", tmp_path / "out")
    assert done.status == 2
    assert "none.mcap" in done.err
    assert not (tmp_path / "out").exists()


def test_damage_in_the_middle_is_gone_round_and_told(
    nano: Any, ppd_bag: Command, tools: Any, tmp_path: Path
) -> None:
    whole = tools.write_recording(tmp_path / "whole", nano, 24, chunk_bytes=4 * 2**10)
    (path,) = whole.glob("*.mcap")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    damaged = tmp_path / "damaged.mcap"
    damaged.write_bytes(content)
    first = ppd_bag(damaged, tmp_path / "out")
    second = ppd_bag(damaged, tmp_path / "out")  # It is as damaged when all is done.
    assert (first.status, second.status) == (1, 1)
    assert second.out == first.out
    told = [line for line in first.err.splitlines() if "not read" in line or "Paired" in line]
    assert told and set(told) <= set(second.err.splitlines())
    assert "not read:" in first.err and "damaged.mcap" in first.err
    stamps = tools.stamps_ns(tools.read_topic(tmp_path / "out", "/ppd/points"))
    wanted = [tools.BEGIN_NS + index * tools.PERIOD_NS for index in range(24)]
    assert set(stamps) < set(wanted)
    assert len(stamps) >= 22
    assert stamps[0] == wanted[0] and stamps[-1] == wanted[-1]
