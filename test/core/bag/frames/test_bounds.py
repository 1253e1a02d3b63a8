"""How long a frame waits, and how much is kept meanwhile."""

from __future__ import annotations

from ppd_core.bag.frames import PairingReport, RecordedFrameSettings, _FrameBuffer

from .conftest import (
    CHOSEN,
    START_MS,
    STORE,
    Recording,
    at,
    depth,
    evidence,
    image,
    merged,
    ran,
    stream,
)


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
    buffer = _FrameBuffer(
        reader, CHOSEN, RecordedFrameSettings(source="depth"), PairingReport(), None
    )
    for message in reader.messages():
        list(buffer.take(message))
        # 1.1 s at 10 ms.
        assert len(buffer._sensor) <= 112
