"""Who is timed when: in turns, so that noise hits all alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

FEWEST_FRAMES = 3
LONG_FRAME_S = 60.0
"""Of frames as long as this one is timed: what disturbs them is short beside them."""
MOST_FRAMES = 300


def frame_count(expected_s: float, budget_s: float) -> int:
    """How many frames of that length to time."""
    fewest = FEWEST_FRAMES if expected_s < LONG_FRAME_S else 1
    return max(fewest, min(MOST_FRAMES, int(budget_s / max(expected_s, 1e-6))))


def turns(counts: Sequence[int]) -> Iterator[int]:
    """The indices of those whose turn it is, each as often as its count says.

    There are as many rounds as the largest count; who has fewer turns has them spread evenly over
    all rounds, the last of them in the last round.

    Example: counts 4 and 2 are 0, 0, 1, 0, 0, 1.
    """
    rounds = max(counts, default=0)
    for number in range(rounds):
        for index, count in enumerate(counts):
            if (number + 1) * count // rounds > number * count // rounds:
                yield index
