"""RVL, the lossless coding of depth images that image_transport offers beside PNG.

Values are numbers of base 8, the least digit first, each digit in four bits whose highest says
that another follows; eight such nibbles are a 32-bit word, the first in its highest bits. Pixels
row after row are runs: how many are empty, how many are not, and of each of these how much it
differs from the one before it, with its sign in the lowest bit.

Source: A. D. Wilson, "Fast Lossless Depth Image Compression", ISS 2017.
"""

from __future__ import annotations

import numpy as np

_MAX_DIGITS = 10
"""Of a number below 2^30: more than any run or difference needs."""
_NIBBLES_PER_PIXEL = 8
"""At the most: six of a difference of 16-bit values, two of runs of one pixel."""


def decode_rvl(data: bytes | memoryview, num_pixels: int) -> np.ndarray:
    """Decode a depth image.

    Memory is less than a hundred bytes for each byte of data, and thirty for each pixel, whatever
    the data say.

    Args:
        data: whole words, the lowest byte first; what follows the last pixel is not looked at.
        num_pixels: of the image.

    Returns:
        (num_pixels,) uint16, 0 = empty.

    Raises:
        ValueError: the data end before the last pixel, or were damaged so that it shows.
    """
    numbers = _numbers(data, num_pixels)
    lengths, is_length = _runs(numbers, num_pixels)
    numbers = numbers[~is_length]
    differences = (numbers >> 1) ^ -(numbers & 1)
    values = np.cumsum(differences, dtype=np.int64)
    if values.size and not (values.min() > 0 and values.max() < 2**16):
        raise ValueError("it has a value that is no 16-bit one")
    pixels = np.zeros(num_pixels, np.uint16)
    pixels[np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)] = values
    return pixels


def _numbers(data: bytes | memoryview, num_pixels: int) -> np.ndarray:
    """All numbers of the data, as far as an image of that size can need them: (N,) int32."""
    num_words = min(len(data) // 4, num_pixels * _NIBBLES_PER_PIXEL // 8 + 2)
    words = np.frombuffer(data, ">u1", count=4 * num_words).reshape(-1, 4)[:, ::-1]
    nibbles = np.stack([words >> 4, words & 15], axis=-1).ravel()
    ends = np.flatnonzero(nibbles < 8).astype(np.int32) + 1
    if not ends.size:
        return np.empty(0, np.int32)
    nibbles = nibbles[: ends[-1]]
    lengths = np.diff(ends, prepend=np.int32(0))
    if lengths.max() > _MAX_DIGITS:
        raise ValueError("it has a number of too many digits")
    starts = ends - lengths
    places = np.arange(len(nibbles), dtype=np.int32) - np.repeat(starts, lengths)
    return np.add.reduceat((nibbles & 7).astype(np.int32) << 3 * places, starts)


def _runs(numbers: np.ndarray, num_pixels: int) -> tuple[list[int], np.ndarray]:
    """Lengths of the runs, empty and not by turns, and which numbers are such.

    The mask ends all numbers behind the image, too, so that those outside it are its differences.
    """
    is_length = np.ones(len(numbers), bool)
    lengths: list[int] = []
    at, left = 0, num_pixels
    # Where a run is, the one before it tells: the one loop that cannot be an array's.
    while left:
        if at + 2 > len(numbers):
            raise ValueError("it is truncated")
        empty, full = int(numbers[at]), int(numbers[at + 1])
        first, at = at + 2, at + 2 + full
        left -= empty + full
        if left < 0:
            raise ValueError("it has more pixels than its size says")
        if at > len(numbers):
            raise ValueError("it is truncated")
        is_length[first:at] = False
        lengths += (empty, full)
    return lengths, is_length
