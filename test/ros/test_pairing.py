from __future__ import annotations

import threading

import pytest

from ppd_ros.pairing import KEPT_MESSAGES, OTHER_CLOCK_S, SILENT_S, PairingBuffer

DEADLINE_S = 10.0
FOREVER_S = 3600.0
"""Of a wait that must end by something else: longer than the test may take."""
S = 1_000_000_000
NOON = 1_700_000_000 * S


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


def filled(*offsets_s, **options):
    buffer = PairingBuffer(**options)
    for offset_s in offsets_s:
        buffer.put(NOON + round(offset_s * S), offset_s)
    return buffer


def test_the_nearest_stamp_wins_whatever_the_order():
    buffer = filled(0.3, -0.1, 0.05, 2.0)
    found = buffer.nearest(NOON, max_wait_s=0.0)
    assert (found.message, found.offset_s) == (0.05, pytest.approx(0.05))


def test_offset_tells_the_side():
    found = filled(-0.25, 9.0).nearest(NOON, max_wait_s=0.0)
    assert found.offset_s == pytest.approx(-0.25)


def test_nothing_came_nothing_is_found():
    assert PairingBuffer().nearest(NOON, max_wait_s=0.0) is None


def test_the_buffer_is_bounded():
    buffer = filled(*range(KEPT_MESSAGES + 5))
    assert buffer.num_received == KEPT_MESSAGES + 5
    assert buffer.nearest(NOON, max_wait_s=0.0).message == 5


def test_what_an_image_expects_outlives_the_buffer():
    """A model of many seconds: a hundred messages come while it works on one image."""
    buffer = filled(-0.03)
    buffer.expect(NOON)
    for number in range(10 * KEPT_MESSAGES):
        buffer.put(NOON + round((number * 0.03 + 0.01) * S), number)
    assert buffer.nearest(NOON, max_wait_s=0.0).message == 0


def test_a_message_on_its_way_is_waited_for():
    buffer = filled(-0.1)
    sender = threading.Timer(0.05, buffer.put, [NOON + S // 1000, "late"])
    sender.start()
    assert buffer.nearest(NOON, max_wait_s=DEADLINE_S).message == "late"
    sender.join()


def test_a_message_that_is_late_enough_ends_the_wait():
    assert filled(-0.1, 0.0).nearest(NOON, max_wait_s=FOREVER_S).message == 0.0
    assert filled(0.1).nearest(NOON, max_wait_s=FOREVER_S).message == 0.1


def test_the_wait_is_bounded():
    assert filled(-0.1).nearest(NOON, max_wait_s=0.05).message == -0.1


def test_close_ends_the_wait():
    buffer = filled(-0.1)
    closer = threading.Timer(0.05, buffer.close)
    closer.start()
    assert buffer.nearest(NOON, max_wait_s=FOREVER_S).message == -0.1
    closer.join()


@pytest.mark.parametrize("offset_s", [None, -0.1])
def test_a_silent_sensor_is_not_waited_for(offset_s):
    clock = Clock()
    buffer = filled(*([] if offset_s is None else [offset_s]), now_s=clock)
    clock.now_s += SILENT_S + 0.1
    found = buffer.nearest(NOON, max_wait_s=FOREVER_S)
    assert (found and found.message) == offset_s


def test_stamps_of_another_clock_are_not_waited_for():
    found = filled(-2 * OTHER_CLOCK_S).nearest(NOON, max_wait_s=FOREVER_S)
    assert found.offset_s == -2 * OTHER_CLOCK_S
