from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from ppd_core.data.datasets import DATASETS
from ppd_core.data.mixing import PAPER_WEIGHTS, mixture_index, mixture_turn, permuted_index

WEIGHTS = tuple(PAPER_WEIGHTS.values())
SIZES = (59, 7, 23, 101, 1)


@pytest.mark.parametrize("size", [1, 2, 3, 16, 17, 1000])
def test_permutation_meets_every_index_once(size):
    assert sorted(permuted_index(i, size, "key") for i in range(size)) == list(range(size))


def test_permutation_of_a_large_set_needs_no_list():
    size = 10**12
    images = {permuted_index(i, size, "key") for i in range(100)}
    assert len(images) == 100
    assert all(0 <= image < size for image in images)


def test_permutation_depends_on_the_key():
    orders = {tuple(permuted_index(i, 50, f"key {key}") for i in range(50)) for key in range(20)}
    assert len(orders) == 20


def test_permutations_send_an_index_everywhere_alike():
    size, trials = 10, 4000
    counts = Counter(permuted_index(3, size, f"trial {trial}") for trial in range(trials))
    expected = trials / size
    chi_square = sum((counts[image] - expected) ** 2 / expected for image in range(size))
    assert chi_square < 27.9  # 99.9 % of a chi-square with 9 degrees of freedom


def test_neighbours_do_not_stay_neighbours():
    size = 1000
    images = [permuted_index(i, size, "key") for i in range(size)]
    close = sum(abs(b - a) == 1 for a, b in pairwise(images))
    assert close < 12  # 2 expected


def test_permutation_refuses_an_index_outside():
    with pytest.raises(ValueError, match=r"index must be in \[0, 5\), got 5"):
        permuted_index(5, 5, "key")


@pytest.mark.parametrize("weights", [WEIGHTS, (1, 2, 3), (0, 1, 0.01), (7,), (0.3, 0.3, 0.4, 0)])
def test_shares_are_the_weights_at_every_moment(weights):
    counts = Counter()
    total = sum(weights)
    block = max(64, 2 * total / min(weight for weight in weights if weight))
    for index in range(3000):
        source, turn = mixture_turn(weights, seed=3, index=index)
        assert turn == counts[source]
        counts[source] += 1
        # Inside a block chance decides: allow it five standard deviations.
        for source, weight in enumerate(weights):
            share = weight / total
            drift = abs(counts[source] - share * (index + 1))
            assert drift <= 2 + 5 * (share * (1 - share) * block / 4) ** 0.5


@pytest.mark.parametrize("weights", [(0, 1, 0), (0, 0.63, 0), (0, 0.81, 0)])
def test_a_source_without_weight_never_comes(weights):
    sources = {mixture_index(weights, (0, 5, 0), 1, index)[0] for index in range(3000)}
    assert sources == {1}


def test_sources_come_in_a_random_order():
    sources = [mixture_turn((1, 1), seed=5, index=index)[0] for index in range(4000)]
    repeats = sum(a == b for a, b in pairwise(sources)) / 3999
    assert repeats == pytest.approx(0.5, abs=0.04)


def test_every_item_of_a_source_comes_once_before_any_comes_again():
    items: list[list[int]] = [[] for _ in SIZES]
    for index in range(2000):
        source, item = mixture_index(WEIGHTS, SIZES, 0, index)
        items[source].append(item)
    for size, seen in zip(SIZES, items, strict=True):
        laps = [seen[start : start + size] for start in range(0, len(seen) - size + 1, size)]
        assert laps
        assert all(sorted(lap) == list(range(size)) for lap in laps)
    assert items[0][:59] != items[0][59:118]  # the next lap has its own order


def test_an_interrupted_series_goes_on_as_if_nothing_had_happened():
    whole = [mixture_index(WEIGHTS, SIZES, 9, index) for index in range(500)]
    assert [mixture_index(WEIGHTS, SIZES, 9, index) for index in range(321, 500)] == whole[321:]


def test_the_order_is_the_same_in_every_process_and_version():
    series = [mixture_index(WEIGHTS, SIZES, 42, index) for index in range(1000, 1006)]
    assert series == [(0, 24), (2, 12), (1, 6), (0, 17), (0, 35), (0, 3)]


def test_another_seed_is_another_order():
    series = {
        tuple(mixture_index(WEIGHTS, SIZES, seed, index) for index in range(20))
        for seed in (0, 1, 2, (0, 1))
    }
    assert len(series) == 4


@pytest.mark.parametrize(
    ("weights", "sizes", "index", "message"),
    [
        ((1, 1), (3,), 0, "got 2 weights and 1 sizes"),
        ((), (), 0, r"weights must be >= 0 and not all 0, got \[\]"),
        ((0, 0), (1, 1), 0, r"weights must be >= 0 and not all 0, got \[0, 0\]"),
        ((1, -1), (1, 1), 0, r"got \[1, -1\]"),
        ((1, float("nan")), (1, 1), 0, r"got \[1, nan\]"),
        ((1, 1e-9), (1, 1), 0, "weights must be within 1 : 10000"),
        ((1,), (0,), 0, r"a source with a weight must have items, got sizes \[0\]"),
        ((1,), (1,), -1, "index must be >= 0, got -1"),
    ],
)
def test_wrong_arguments_are_refused(weights, sizes, index, message):
    with pytest.raises(ValueError, match=message):
        mixture_index(weights, sizes, 0, index)


def test_the_papers_weights_are_shares_of_known_data_sets():
    assert sum(PAPER_WEIGHTS.values()) == pytest.approx(1)
    assert PAPER_WEIGHTS.keys() <= DATASETS.keys()
