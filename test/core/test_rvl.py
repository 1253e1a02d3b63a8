"""RVL against the paper's layout by hand, and against an encoder that is written out plainly."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ppd_core.rvl import decode_rvl


def rvl_of(pixels: np.ndarray) -> bytes:
    """The encoder, number by number."""
    nibbles: list[int] = []

    def put(number: int) -> None:
        while number >= 8:
            nibbles.append(number % 8 + 8)
            number //= 8
        nibbles.append(number)

    values, before = pixels.ravel().tolist(), 0
    while values:
        empty = next((at for at, value in enumerate(values) if value), len(values))
        rest = values[empty:]
        full = next((at for at, value in enumerate(rest) if not value), len(rest))
        put(empty)
        put(full)
        for value in rest[:full]:
            change, before = value - before, value
            put(2 * change if change >= 0 else -2 * change - 1)
        values = rest[full:]
    nibbles += [0] * (-len(nibbles) % 8)
    digits = "".join(f"{nibble:x}" for nibble in nibbles)
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    return struct.pack(f"<{len(words)}I", *words)


def test_a_word_laid_out_by_hand_is_read() -> None:
    # One empty pixel, then two: 3 (change +3, 6) and 1 (change -2, 3); then one empty, none full.
    assert decode_rvl(struct.pack("<I", 0x12631000), 4).tolist() == [0, 3, 1, 0]
    # A change of +9 is 18 = 2 + 2 * 8: a digit that says that another follows, and that one.
    assert decode_rvl(struct.pack("<I", 0x01A20000), 1).tolist() == [9]


@settings(deadline=None)
@given(
    arrays(
        np.uint16,
        st.integers(1, 200),
        elements=st.sampled_from([0, 0, 1, 500, 501, 499, 32768, 65535]) | st.integers(0, 65535),
    )
)
def test_what_was_encoded_comes_back(pixels: np.ndarray) -> None:
    decoded = decode_rvl(rvl_of(pixels), len(pixels))
    assert decoded.dtype == np.uint16
    assert np.array_equal(decoded, pixels)


@pytest.mark.parametrize(
    ("words", "num_pixels", "reason"),
    [
        ([], 1, "truncated"),
        ([0x01A20000], 3, "truncated"),
        ([0x12631000], 2, "more pixels than its size"),
        ([0x01100000], 1, "no 16-bit one"),
        ([0xFFFFFFFF, 0xFFFFFFF0], 8, "too many digits"),
        ([0xFFFFFFFF] * 1000, 10**8, "truncated"),
    ],
)
def test_what_cannot_be_is_refused(words: list[int], num_pixels: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_rvl(struct.pack(f"<{len(words)}I", *words), num_pixels)


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(1, 300))
def test_any_data_give_an_image_or_a_value_error(data: bytes, num_pixels: int) -> None:
    try:
        decoded = decode_rvl(data, num_pixels)
    except ValueError:
        return
    assert decoded.shape == (num_pixels,)
