"""Which message of the sensor belongs to an image, whatever the clocks."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ppd_core.types import AlignmentError

from .conftest import CHOSEN, MS, START_MS, at, depth, evidence, image, merged, ran, stream


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
