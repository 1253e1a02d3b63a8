"""A recording through the model: nothing lost, nothing twice, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags, extra 'bag'")
pytest.importorskip("mcap", reason="recordings need mcap, extra 'bag'")

from ppd_core.bag.reader import BagReader
from ppd_core.bag.recorded_frame import RecordedFrameSettings
from ppd_core.bag.run import Plan, Run, Watch
from ppd_core.bag.settings import RunSettings
from ppd_core.bag.topics import choose_topics
from ppd_core.bag.writer import BagWriter

FRAMES = 12
OURS = ("/ppd/depth/image", "/ppd/depth/camera_info", "/ppd/points", "/ppd/alignment")
KEPT = ("/camera/camera_info", "/camera/image_raw", "/camera/aligned_depth/image_raw", "/other")


@pytest.fixture
def settings(tools: Any) -> RunSettings:
    return RunSettings(RecordedFrameSettings("depth"), num_steps=1, processing_area=tools.AREA)


@pytest.fixture
def run_bag(nano: Any, settings: RunSettings) -> Callable[..., Run]:
    def run(
        source: Path,
        folder: Path,
        *,
        pipeline: Any = nano,
        kept: tuple[str, ...] = KEPT,
        watch: Watch | None = None,
        settings: RunSettings = settings,
        **plan: Any,
    ) -> Run:
        with BagReader(source) as reader:
            chosen = choose_topics(reader.topics)
            kept = tuple(set(kept) & set(reader.topics))
            one = Run(
                Plan(reader, chosen, settings, folder, kept, **plan), pipeline, watch or Watch()
            )
            if (state := BagWriter.resumed(folder)) is not None:
                one.resume(state)
            one()
            return one

    return run


@pytest.fixture(scope="session")
def whole(recording: Path, nano: Any, tools: Any, tmp_path_factory: Any) -> Path:
    """What a run without any trouble writes."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    settings = RunSettings(RecordedFrameSettings("depth"), num_steps=1, processing_area=tools.AREA)
    with BagReader(recording) as reader:
        Run(Plan(reader, choose_topics(reader.topics), settings, folder, KEPT), nano)()
    return folder


def frames_of(messages: dict[str, Any]) -> dict[str, Any]:
    """They tell durations, which no two runs share."""
    return {topic: found for topic, found in messages.items() if topic != "/diagnostics"}


class Stopping:
    """A watch that ends a run after so many frames."""

    def __init__(self, count: int) -> None:
        self._left = count

    def watch(self) -> Watch:
        return Watch(advance=self._advance, is_stopped=lambda: self._left <= 0)

    def _advance(self, count: int) -> None:
        self._left -= count


class Failing:
    """A pipeline that fails in the end, as a process that is killed does."""

    def __init__(self, pipeline: Any, calls: int, error: BaseException) -> None:
        self._pipeline, self._calls, self._error = pipeline, calls, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    def batch(self, *args: Any, **options: Any) -> Any:
        self._calls -= 1
        if self._calls < 0:
            raise self._error
        return self._pipeline.batch(*args, **options)


def test_every_image_has_its_outputs_at_its_own_time(
    whole: Path, recording: Path, tools: Any
) -> None:
    wanted = [tools.BEGIN_NS + index * tools.PERIOD_NS for index in range(FRAMES)]
    written, given = tools.read_all(whole), tools.read_all(recording)
    for topic in OURS:
        assert tools.stamps_ns(tools.read_topic(whole, topic)) == wanted
        assert [log for log, _ in written[topic]] == [log for log, _ in given["/camera/image_raw"]]
        frames = {one.header.frame_id for one in tools.read_topic(whole, topic)}
        assert frames == {"camera"}


def test_what_was_recorded_is_copied_byte_by_byte(
    whole: Path, recording: Path, tools: Any
) -> None:
    written, given = tools.read_all(whole), tools.read_all(recording)
    assert {topic: written[topic] for topic in KEPT} == given


def test_depth_is_the_sensor_s_where_the_sensor_is_the_model_s(
    whole: Path, recording: Path, tools: Any
) -> None:
    sensor = tools.read_topic(recording, "/camera/aligned_depth/image_raw")
    for message, truth in zip(tools.read_topic(whole, "/ppd/depth/image"), sensor, strict=True):
        depth = message.data.view("<f4")
        np.testing.assert_allclose(depth, truth.data.view("<u2") / 1000, rtol=0.01)
    states = {one.state for one in tools.read_topic(whole, "/ppd/alignment")}
    assert states == {"fitted"}


def test_confidence_is_written_where_it_is_wanted_and_decides_what_is_a_hole(
    recording: Path, run_bag: Any, tools: Any, settings: RunSettings, tmp_path: Path
) -> None:
    wanted = ("depth", "confidence")
    for least in (0.0, 1.0):
        folder = tmp_path / str(least)
        run_bag(
            recording,
            folder,
            kept=(),
            settings=replace(settings, outputs=wanted, min_confidence=least),
        )
        depths = [one.data.view("<f4") for one in tools.read_topic(folder, "/ppd/depth/image")]
        sure = [one.data.view("<f4") for one in tools.read_topic(folder, "/ppd/depth/confidence")]
        assert len(sure) == len(depths) == FRAMES
        for depth, confidence in zip(depths, sure, strict=True):
            assert 0 <= confidence.min() <= confidence.max() <= 1
            assert not np.isfinite(depth[confidence < least]).any()
            assert np.isfinite(depth).any() or least


def test_points_are_along_the_rays_of_the_recorded_camera(whole: Path, tools: Any) -> None:
    cloud = tools.read_topic(whole, "/ppd/points")[0]
    depth = tools.read_topic(whole, "/ppd/depth/image")[0].data.view("<f4")
    points = cloud.data.view("<f4").reshape(tools.HEIGHT, tools.WIDTH, 4)
    np.testing.assert_array_equal(points[..., 2].ravel(), depth)
    x = (np.arange(tools.WIDTH) - tools.CAMERA.cx) / tools.CAMERA.fx
    np.testing.assert_allclose(points[..., 0], points[..., 2] * x, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 5, 11])
def test_a_run_that_was_stopped_goes_on_as_if_nothing_had_been(
    count: int, recording: Path, whole: Path, run_bag: Any, tools: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    first = run_bag(recording, folder, watch=Stopping(count).watch())
    assert (first.is_complete, first.progress.frames) == (False, count)
    assert len(tools.read_topic(folder, "/ppd/points")) == count  # It is a bag already.
    second = run_bag(recording, folder)
    assert (second.is_complete, second.progress.frames) == (True, FRAMES)
    assert frames_of(tools.read_all(folder)) == frames_of(tools.read_all(whole))
    assert second.progress.states == {"fitted": FRAMES}


def test_so_does_one_that_was_killed_between_two_checkpoints(
    recording: Path,
    whole: Path,
    run_bag: Any,
    nano: Any,
    settings: Any,
    tools: Any,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "out"
    often = replace(settings, checkpoint_s=1e-6)
    with pytest.raises(SystemExit):
        run_bag(recording, folder, pipeline=Failing(nano, 7, SystemExit()), settings=often)
    second = run_bag(recording, folder)
    assert second.progress.frames == FRAMES
    assert frames_of(tools.read_all(folder)) == frames_of(tools.read_all(whole))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_no_part_begins_before_the_end_of_the_one_before_it(
    storage: str, recording: Path, run_bag: Any, settings: Any, tmp_path: Path
) -> None:
    """Players read part after part."""
    often = replace(settings, checkpoint_s=1e-6)
    run_bag(recording, tmp_path / "out", settings=often, storage=storage)
    with BagReader(tmp_path / "out") as whole:
        parts = list(whole.files)
    times = []
    for part in parts:
        with BagReader(part) as reader:
            times.append([message.log_ns for message in reader.messages()])
    assert len(times) > FRAMES / 2
    assert all(before[-1] <= after[0] for before, after in pairwise(times))


def test_a_tied_scale_goes_on_over_a_stop(
    recording: Path, run_bag: Any, settings: Any, tools: Any, tmp_path: Path
) -> None:
    from ppd_core.alignment.affine import alignment_from_range

    frames = RecordedFrameSettings("constant", constant=alignment_from_range(0.5, 3.0))
    tied = replace(settings, frames=frames)
    run_bag(recording, tmp_path / "one", settings=tied)
    run_bag(recording, tmp_path / "two", settings=tied, watch=Stopping(6).watch())
    run_bag(recording, tmp_path / "two", settings=tied)
    one, two = (tools.read_all(tmp_path / name)["/ppd/alignment"] for name in ("one", "two"))
    assert one == two
    states = [message.state for message in tools.read_topic(tmp_path / "one", "/ppd/alignment")]
    assert states == ["constant"] + ["tied"] * (FRAMES - 1)


def test_a_stop_is_heeded_where_no_image_comes(
    recording: Path, whole: Path, run_bag: Any, tools: Any, tmp_path: Path
) -> None:
    with BagReader(recording) as reader, BagWriter(tmp_path / "in") as writer:
        for message in reader.messages():
            writer.copy(reader.topics[message.topic], message)
        other = next(iter(reader.messages({"/other"})))
        for index in range(1000):
            late = replace(other, log_ns=message.log_ns + (60 + index) * 10**9)
            writer.copy(reader.topics["/other"], late)
        writer.close({})
    asked: list[int] = []

    def is_stopped() -> bool:
        asked.append(1)
        return len(asked) > 500

    run = run_bag(tmp_path / "in", tmp_path / "out", watch=Watch(is_stopped=is_stopped))
    assert not run.is_complete
    assert len(asked) < 510  # Not to the end of what has no images.
    run = run_bag(tmp_path / "in", tmp_path / "out")
    written = tools.read_all(tmp_path / "out")
    assert len(written.pop("/other")) == FRAMES + 1000
    wanted = frames_of(tools.read_all(whole))
    assert frames_of(written) == {name: wanted[name] for name in wanted if name != "/other"}


def test_other_settings_do_not_go_on(
    recording: Path, run_bag: Any, settings: Any, tmp_path: Path
) -> None:
    run_bag(recording, tmp_path / "out", watch=Stopping(3).watch())
    with pytest.raises(ValueError, match="begun with another decimation: give the same"):
        run_bag(recording, tmp_path / "out", settings=replace(settings, decimation=2))


def test_batches_give_what_single_frames_give(
    recording: Path, whole: Path, run_bag: Any, settings: Any, tools: Any, tmp_path: Path
) -> None:
    run_bag(recording, tmp_path / "out", settings=replace(settings, batch_size=5))
    for one, other in zip(
        tools.read_topic(tmp_path / "out", "/ppd/depth/image"),
        tools.read_topic(whole, "/ppd/depth/image"),
        strict=True,
    ):
        assert tools.stamps_ns([one]) == tools.stamps_ns([other])
        np.testing.assert_allclose(one.data.view("<f4"), other.data.view("<f4"), rtol=1e-4)


class Small:
    """A pipeline on a device with room for two frames."""

    def __init__(self, pipeline: Any, room: int) -> None:
        self._pipeline, self._room = pipeline, room
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    def batch(self, images: Any, **options: Any) -> Any:
        if len(images) > self._room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.sizes.append(len(images))
        return self._pipeline.batch(images, **options)


def test_too_large_batches_are_halved_and_said_so(
    recording: Path, run_bag: Any, nano: Any, settings: Any, tools: Any, tmp_path: Path
) -> None:
    said: list[str] = []
    small = Small(nano, room=2)
    run_bag(
        recording,
        tmp_path / "out",
        pipeline=small,
        settings=replace(settings, batch_size=8),
        watch=Watch(say=said.append),
    )
    assert small.sizes == [2] * 6
    assert [text.split(":")[0] for text in said] == [
        f"the device's memory is not enough for {count} frames at once" for count in (8, 4)
    ]
    assert len(tools.read_topic(tmp_path / "out", "/ppd/points")) == FRAMES


def test_memory_for_no_frame_ends_the_run_and_keeps_what_was_written(
    recording: Path, run_bag: Any, nano: Any, tmp_path: Path
) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        run_bag(recording, tmp_path / "out", pipeline=Small(nano, room=0))


def _no_encoding(image: Any) -> None:
    image.encoding = "no such"


def _negative_stamp(image: Any) -> None:
    image.header.stamp.sec = -5


def _one_pixel(image: Any) -> None:
    image.width = image.height = 1


@pytest.mark.parametrize("spoil", [_no_encoding, _negative_stamp, _one_pixel])
def test_an_image_that_cannot_be_read_is_told_and_left_out(
    spoil: Callable[[Any], None], recording: Path, run_bag: Any, tools: Any, tmp_path: Path
) -> None:
    with BagReader(recording) as reader, BagWriter(tmp_path / "in") as writer:
        images = 0
        for message in reader.messages():
            topic = reader.topics[message.topic]
            if message.topic == "/camera/image_raw" and (images := images + 1) == 4:
                image = reader.deserialize(message)
                spoil(image)
                writer.write(message.topic, message.log_ns, image)
            else:
                writer.copy(topic, message)
        writer.close({})
    said: list[str] = []
    run = run_bag(tmp_path / "in", tmp_path / "out", watch=Watch(say=said.append))
    assert (run.progress.frames, run.progress.unreadable) == (FRAMES, 1)
    assert len(tools.read_topic(tmp_path / "out", "/ppd/points")) == FRAMES - 1
    assert any(text.startswith("image 3 cannot be read") for text in said)


def test_nothing_is_copied_that_is_not_wanted(
    recording: Path, run_bag: Any, tools: Any, tmp_path: Path
) -> None:
    run_bag(recording, tmp_path / "out", kept=())
    assert set(frames_of(tools.read_all(tmp_path / "out"))) == set(OURS)


@pytest.mark.parametrize("storage", ["sqlite3", "ros1"])
def test_other_formats_go_in_and_out(
    storage: str, recording: Path, whole: Path, run_bag: Any, tools: Any, tmp_path: Path
) -> None:
    with BagReader(recording) as reader, BagWriter(tmp_path / "in", storage=storage) as writer:
        for message in reader.messages():
            writer.copy(reader.topics[message.topic], message)
        writer.close({})
    source = tmp_path / "in"
    if storage == "ros1":
        (source,) = source.glob("*.bag")
    run_bag(source, tmp_path / "out", storage=storage)
    out = tmp_path / "out"
    if storage == "ros1":
        (out,) = out.glob("*.bag")
    written, wanted = tools.read_all(out), tools.read_all(whole)
    assert {topic: len(found) for topic, found in written.items()} == {
        topic: len(found) for topic, found in wanted.items()
    }
    assert written["/ppd/depth/image"] == wanted["/ppd/depth/image"]


def test_a_full_disk_is_one_error_and_what_was_safe_stays(
    recording: Path, run_bag: Any, settings: Any, monkeypatch: Any, tools: Any, tmp_path: Path
) -> None:
    from ppd_core.bag import parts

    run_bag(recording, tmp_path / "out", watch=Stopping(4).watch())

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts.McapPart, "write", full)
    with pytest.raises(OSError, match="No space left"):
        run_bag(recording, tmp_path / "out")
    monkeypatch.undo()
    assert len(tools.read_topic(tmp_path / "out", "/ppd/points")) == 4
    assert run_bag(recording, tmp_path / "out").progress.frames == FRAMES


def test_a_recording_that_begins_anew_begins_its_metres_anew(
    recording: Path, run_bag: Any, settings: Any, tools: Any, tmp_path: Path
) -> None:
    from ppd_core.alignment.affine import alignment_from_range

    later_ns = 2 * FRAMES * tools.PERIOD_NS
    with BagReader(recording) as reader, BagWriter(tmp_path / "in") as writer:
        for shift_ns in (0, later_ns):
            for message in reader.messages():
                shifted = replace(message, log_ns=message.log_ns + shift_ns)
                writer.copy(reader.topics[message.topic], shifted)
        writer.close({})
    frames = RecordedFrameSettings("constant", constant=alignment_from_range(0.5, 3.0))
    run_bag(tmp_path / "in", tmp_path / "out", settings=replace(settings, frames=frames))
    messages = tools.read_topic(tmp_path / "out", "/ppd/alignment")
    once = ["constant"] + ["tied"] * (FRAMES - 1)
    assert [message.state for message in messages] == 2 * once
