"""Which sample comes when, in a training on several data sets: a pure function of the index.

An interrupted run goes on exactly where it was, with any number of processes, because nothing
but the seed and the number of samples so far decides what is next.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

PAPER_WEIGHTS: Mapping[str, float] = {
    "hypersim": 0.5,
    "urbansyn": 0.15,
    "unrealstereo4k": 0.15,
    "vkitti2": 0.1,
    "tartanair": 0.1,
}
"""Data set -> share of the samples in the paper's second stage; the first is all Hypersim.

Source: github.com/gangweix/pixel-perfect-depth, ppd/data/general_datamodule.py.
"""

Seed = int | tuple[int, ...]

MIN_BLOCK = 64
MIN_SHARE = 1e-4
FEISTEL_ROUNDS = 6
_MASK_64 = (1 << 64) - 1


def mixture_index(
    weights: Sequence[float], sizes: Sequence[int], seed: Seed, index: int
) -> tuple[int, int]:
    """The source and the item in it that sample `index` of a training is.

    A source gives all its items once, in a random order, then all of them again in another.

    Args:
        weights, seed, index: as in `mixture_turn`.
        sizes: items in each source, >= 1 where the weight is > 0.

    Returns:
        (source, item), 0 <= item < sizes[source].

    Raises:
        ValueError: an argument is not as said.
    """
    if len(weights) != len(sizes):
        raise ValueError(f"got {len(weights)} weights and {len(sizes)} sizes; they go in pairs")
    source, turn = mixture_turn(weights, seed, index)
    if sizes[source] < 1:
        raise ValueError(f"a source with a weight must have items, got sizes {list(sizes)}")
    lap, step = divmod(turn, sizes[source])
    return source, permuted_index(step, sizes[source], f"{seed} items {source} {lap}")


def mixture_turn(weights: Sequence[float], seed: Seed, index: int) -> tuple[int, int]:
    """The source of sample `index`, and how many samples before it came from that source.

    Indices go by in blocks. In each block every source has its share, to within two samples, in
    a random order; over all blocks the shares are those of the weights.

    Args:
        weights: of each source; 0, or at least 1 / 10000 of their sum, which need not be 1.
        seed: another seed is another order.
        index: >= 0, counted over the whole training.

    Raises:
        ValueError: an argument is not as said.
    """
    block_size = _block_size(weights)
    if index < 0:
        raise ValueError(f"index must be >= 0, got {index}")
    block, position = divmod(index, block_size)
    return _block(tuple(weights), seed, block, block_size)[position]


def permuted_index(index: int, size: int, key: str) -> int:
    """Where `index` goes in a pseudo-random permutation of range(size), without making a list.

    A Feistel network permutes the next power of four; what falls outside is sent through again.

    Args:
        index: in [0, size).
        size: >= 1.
        key: any text; it chooses the permutation.

    Source: Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002.
    """
    if not 0 <= index < size:
        raise ValueError(f"index must be in [0, {size}), got {index}")
    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    half_mask = (1 << half_bits) - 1
    round_keys = _round_keys(key)
    while True:
        left, right = index >> half_bits, index & half_mask
        for round_key in round_keys:
            left, right = right, left ^ (_scramble(right ^ round_key) & half_mask)
        index = left << half_bits | right
        if index < size:
            return index


def _block_size(weights: Sequence[float]) -> int:
    # Two of each source in a block, or rounding could take a source more than its all.
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise ValueError(f"weights must be >= 0 and not all 0, got {list(weights)}")
    least = min(weight for weight in weights if weight > 0) / math.fsum(weights)
    if least < MIN_SHARE:
        raise ValueError(f"weights must be within 1 : {1 / MIN_SHARE:g}, got {list(weights)}")
    return max(MIN_BLOCK, math.ceil(2 / least))


@lru_cache(maxsize=64)
def _block(
    weights: tuple[float, ...], seed: Seed, block: int, block_size: int
) -> tuple[tuple[int, int], ...]:
    """(source, its turn) of each index of a block."""
    turns = _counts(weights, block * block_size)
    ends = _counts(weights, (block + 1) * block_size)
    slots = [source for source, end in enumerate(ends) for _ in range(end - turns[source])]
    order = []
    for position in range(block_size):
        source = slots[permuted_index(position, block_size, f"{seed} block {block}")]
        order.append((source, turns[source]))
        turns[source] += 1
    return tuple(order)


def _counts(weights: tuple[float, ...], count: int) -> list[int]:
    """How many of the first `count` samples are each source's; they sum to `count`."""
    total = math.fsum(weights)
    parts = (math.fsum(weights[:end]) for end in range(1, len(weights)))
    # count * total / total may round to less: a last source without weight would get a sample.
    bounds = [count if part == total else math.floor(count * part / total) for part in parts]
    return [high - low for low, high in pairwise([0, *bounds, count])]


@lru_cache(maxsize=1024)
def _round_keys(key: str) -> tuple[int, ...]:
    # Not hash(): that differs from process to process.
    digest = hashlib.shake_128(key.encode()).digest(8 * FEISTEL_ROUNDS)
    return tuple(
        int.from_bytes(digest[start : start + 8], "little") for start in range(0, len(digest), 8)
    )


def _scramble(value: int) -> int:
    """The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK_64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK_64
    return value ^ (value >> 31)
