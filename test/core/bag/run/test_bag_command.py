"""`ppd bag` as it is typed: what it says, what it leaves, its exit status."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags")
pytest.importorskip("mcap", reason="recordings need mcap")

from ppd_core.bag.reader import BagMessage, BagReader, BagTopic
from ppd_core.bag.writer import BagWriter
from ppd_core.cli import main

FRAMES = 12
DEADLINE_S = 120.0
Command = Callable[..., int]


@pytest.fixture
def ppd_bag(tools: Any) -> Command:
    quick = ["--model", "nano", "--device", "cpu", "--steps", "1"]
    quick += ["--processing-area", str(tools.AREA)]

    def command(source: Path, out: Path, *words: str) -> int:
        return main(["bag", str(source), "-o", str(out), *quick, *words])

    return command


def test_a_recording_gets_its_depth(
    recording: Path,
    ppd_bag: Command,
    capsys: pytest.CaptureFixture[str],
    tools: Any,
    tmp_path: Path,
) -> None:
    assert ppd_bag(recording, tmp_path / "out") == 0
    said = capsys.readouterr()
    assert "metres from depth, /camera/aligned_depth/image_raw" in said.err
    assert f"{FRAMES} images; {FRAMES} fitted." in said.out
    assert len(tools.read_topic(tmp_path / "out", "/ppd/points")) == FRAMES


def test_done_is_done_unless_it_shall_be_done_anew(
    recording: Path, ppd_bag: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert ppd_bag(recording, out) == 0
    before = (out / "out_0.mcap").read_bytes()
    assert ppd_bag(recording, out) == 0
    assert (out / "out_0.mcap").read_bytes() == before
    assert ppd_bag(recording, out, "--decimation", "2") == 2
    assert "begun with another decimation" in capsys.readouterr().err
    assert ppd_bag(recording, out, "--decimation", "2", "--overwrite") == 0
    assert (out / "out_0.mcap").stat().st_size < len(before)


def test_what_is_not_ours_is_left_alone(
    recording: Path, ppd_bag: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("data")
    assert ppd_bag(recording, tmp_path, "--overwrite") == 2
    assert "precious" in capsys.readouterr().err
    assert (tmp_path / "precious").read_text() == "data"


def test_a_recording_is_never_written_over_itself(
    recording: Path, ppd_bag: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    both = tmp_path / "both"
    shutil.copytree(recording, both)
    before = {path.name: path.read_bytes() for path in both.iterdir()}
    (data,) = both.glob("*.mcap")
    for source in (both, data):
        assert ppd_bag(source, both, "--overwrite") == 2
        assert "OUT must be another folder than that of IN" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in both.iterdir()} == before


def test_a_recording_of_somebody_else_is_neither_gone_on_with_nor_written_over(
    recording: Path, ppd_bag: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(recording, other)
    before = {path.name: path.read_bytes() for path in other.iterdir()}
    for words in ([], ["--overwrite"]):
        assert ppd_bag(recording, other, *words) == 2
        assert "holds a recording that no such run has written" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in other.iterdir()} == before


@pytest.mark.parametrize(
    "words", [["--batch-size", "0"], ["--source", "moge2"], ["--camera", "no_such.yaml"]]
)
def test_overwrite_removes_nothing_for_a_command_that_cannot_run(
    words: list[str], recording: Path, ppd_bag: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert ppd_bag(recording, out) == 0
    before = (out / "out_0.mcap").read_bytes()
    assert ppd_bag(recording, out, "--overwrite", *words) == 2
    assert (out / "out_0.mcap").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "what"), [(["--model", "tiny"], "model"), (["--fov-deg", "50"], "camera")]
)
def test_another_model_or_camera_does_not_go_on(
    words: list[str],
    what: str,
    recording: Path,
    ppd_bag: Command,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert ppd_bag(recording, tmp_path / "out") == 0
    assert ppd_bag(recording, tmp_path / "out", *words) == 2
    assert f"begun with another {what}:" in capsys.readouterr().err


def test_an_output_may_lie_within_its_input(
    recording: Path, ppd_bag: Command, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    shutil.copytree(recording, source)
    assert ppd_bag(source, source / "ppd") == 0
    assert ppd_bag(source, source / "ppd") == 0  # It is still known as the same.


def test_an_output_that_is_named_twice_is_written_once(
    recording: Path, ppd_bag: Command, tools: Any, tmp_path: Path
) -> None:
    assert ppd_bag(recording, tmp_path / "out", "--write", "depth", "alignment", "depth") == 0
    assert len(tools.read_topic(tmp_path / "out", "/ppd/depth/image")) == FRAMES
    assert ppd_bag(recording, tmp_path / "out", "--write", "alignment", "depth") == 0


def test_depth_without_metres_is_said_to_have_none(
    recording: Path, ppd_bag: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert ppd_bag(recording, tmp_path / "out", "--source", "none") == 0
    assert "depth is RELATIVE, not in metres" in capsys.readouterr().err


def test_metres_by_a_range(recording: Path, ppd_bag: Command, tools: Any, tmp_path: Path) -> None:
    assert ppd_bag(recording, tmp_path / "out", "--near", "0.5", "--far", "3") == 0
    sources = {one.source for one in tools.read_topic(tmp_path / "out", "/ppd/alignment")}
    assert sources == {"constant"}


def test_a_recording_without_calibration_has_points_by_a_field_of_view(
    recording: Path,
    ppd_bag: Command,
    capsys: pytest.CaptureFixture[str],
    tools: Any,
    tmp_path: Path,
) -> None:
    with BagReader(recording) as reader, BagWriter(tmp_path / "in") as writer:
        for message in reader.messages({"/camera/image_raw"}):
            writer.copy(reader.topics[message.topic], message)
        writer.close({})
    assert ppd_bag(tmp_path / "in", tmp_path / "without") == 0
    assert "no calibration was recorded: no points" in capsys.readouterr().err
    assert "/ppd/points" not in tools.read_all(tmp_path / "without")
    assert ppd_bag(tmp_path / "in", tmp_path / "with", "--fov-deg", "60") == 0
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
    topic: BagTopic,
    words: list[str],
    recording: Path,
    ppd_bag: Command,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    source = _with_another(recording, tmp_path / "in", topic)
    assert ppd_bag(source, tmp_path / "out", *words) == 2
    assert f"{topic.name} cannot be copied, for" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert ppd_bag(source, tmp_path / "out", "--keep", "/other", *words) == 0


def test_metres_come_from_the_sensor_that_is_named(
    recording: Path, ppd_bag: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cloud = BagTopic("/scan", "sensor_msgs/msg/PointCloud2")
    source = _with_another(recording, tmp_path / "in", cloud)  # Of bytes that are no cloud.
    assert ppd_bag(source, tmp_path / "depth") == 0
    assert "metres from depth, /camera/aligned_depth/image_raw" in capsys.readouterr().err
    assert ppd_bag(source, tmp_path / "lidar", "--lidar", "/scan") == 1
    said = capsys.readouterr().err
    assert "metres from lidar, /scan" in said
    assert "1 messages beside the images cannot be read." in said


def test_depth_of_an_earlier_run_is_replaced_and_that_is_said(
    recording: Path,
    ppd_bag: Command,
    capsys: pytest.CaptureFixture[str],
    tools: Any,
    tmp_path: Path,
) -> None:
    assert ppd_bag(recording, tmp_path / "one") == 0
    assert ppd_bag(tmp_path / "one", tmp_path / "two") == 0
    said = capsys.readouterr().err
    assert "written anew: /ppd/alignment, /ppd/depth/camera_info, /ppd/depth/image" in said
    assert len(tools.read_topic(tmp_path / "two", "/ppd/points")) == FRAMES


def test_a_calibration_that_is_none_is_told_and_does_not_keep_a_given_one_out(
    recording: Path,
    ppd_bag: Command,
    capsys: pytest.CaptureFixture[str],
    tools: Any,
    tmp_path: Path,
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
    assert ppd_bag(tmp_path / "in", tmp_path / "without") == 0
    said = capsys.readouterr().err
    assert f"{FRAMES} images without points: its CameraInfo cannot be used: camera is not" in said
    assert "/ppd/points" not in tools.read_all(tmp_path / "without")
    assert ppd_bag(tmp_path / "in", tmp_path / "with", "--fov-deg", "60") == 0
    info = tools.read_topic(tmp_path / "with", "/ppd/depth/camera_info")[0]
    assert info.k[0] == pytest.approx(tools.CAMERA.fx)
    assert len(tools.read_topic(tmp_path / "with", "/ppd/points")) == FRAMES


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
    words: list[str],
    problem: str,
    recording: Path,
    ppd_bag: Command,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert ppd_bag(recording, tmp_path / "out", *words) == 2
    assert re.search(problem, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_what_is_no_recording_is_one_sentence(
    ppd_bag: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert ppd_bag(tmp_path / "none.mcap", tmp_path / "out") == 2
    assert "none.mcap" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_damage_in_the_middle_is_gone_round_and_told(
    nano: Any, ppd_bag: Command, capsys: pytest.CaptureFixture[str], tools: Any, tmp_path: Path
) -> None:
    whole = tools.write_recording(tmp_path / "whole", nano, 24, chunk_bytes=4 * 2**10)
    (path,) = whole.glob("*.mcap")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    damaged = tmp_path / "damaged.mcap"
    damaged.write_bytes(content)
    assert ppd_bag(damaged, tmp_path / "out") == 1
    first = capsys.readouterr()
    assert ppd_bag(damaged, tmp_path / "out") == 1  # It is as damaged when all is done.
    second = capsys.readouterr()
    assert second.out == first.out
    told = [line for line in first.err.splitlines() if "not read" in line or "Paired" in line]
    assert told and set(told) <= set(second.err.splitlines())
    said = first.err
    assert "not read:" in said and "damaged.mcap" in said
    stamps = tools.stamps_ns(tools.read_topic(tmp_path / "out", "/ppd/points"))
    wanted = [tools.BEGIN_NS + index * tools.PERIOD_NS for index in range(24)]
    assert set(stamps) < set(wanted)
    assert len(stamps) >= 22
    assert stamps[0] == wanted[0] and stamps[-1] == wanted[-1]


def _started(recording: Path, out: Path, tools: Any) -> subprocess.Popen[bytes]:
    """A run in a process of its own."""
    words = ["--model", "nano", "--device", "cpu", "--keep", "none"]
    return subprocess.Popen(
        [sys.executable, "-m", "ppd_core.cli", "bag", str(recording), "-o", str(out), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _wait_for_frames(process: subprocess.Popen[bytes], count: int) -> None:
    """Until so many images are done, as the progress bar has it."""
    assert process.stderr is not None
    said, deadline_s = b"", time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        said += os.read(process.stderr.fileno(), 4096)
        done = [int(number) for number in re.findall(rb"(\d+)/\d+ \[", said)]
        if max(done, default=0) >= count:
            return
        assert process.poll() is None, said
    raise AssertionError(f"no {count} frames within {DEADLINE_S} s: {said!r}")


def test_ctrl_c_makes_safe_what_is_done(
    nano: Any, tools: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = tools.write_recording(tmp_path / "in", nano, 60)
    process = _started(source, tmp_path / "out", tools)
    _wait_for_frames(process, 3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert b"ended by a signal; the same command goes on from here" in said
    done = len(tools.read_topic(tmp_path / "out", "/ppd/points"))
    assert 3 <= done < 60
    words = ["--model", "nano", "--device", "cpu", "--keep", "none"]
    assert main(["bag", str(source), "-o", str(tmp_path / "out"), *words]) == 0
    assert f"going on after {done} images that are done" in capsys.readouterr().err
    assert len(tools.read_topic(tmp_path / "out", "/ppd/points")) == 60


def test_a_run_that_was_killed_outright_goes_on(nano: Any, tools: Any, tmp_path: Path) -> None:
    source = tools.write_recording(tmp_path / "in", nano, 60)
    process = _started(source, tmp_path / "out", tools)
    _wait_for_frames(process, 3)
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    words = ["--model", "nano", "--device", "cpu", "--keep", "none"]
    assert main(["bag", str(source), "-o", str(tmp_path / "out"), *words]) == 0
    stamps = tools.stamps_ns(tools.read_topic(tmp_path / "out", "/ppd/points"))
    assert stamps == [tools.BEGIN_NS + index * tools.PERIOD_NS for index in range(60)]
