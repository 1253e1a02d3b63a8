from __future__ import annotations

import pytest
import torch

from ppd_core.evaluation.ranks import Ranks


def test_a_process_alone_does_all():
    assert Ranks.from_environment({}) == Ranks()
    assert Ranks().share([1, 2, 3]) == [1, 2, 3]
    assert Ranks().is_main


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_the_shares_are_all_of_it_and_nothing_twice(world: int):
    items = list(range(10))
    shares = [Ranks(rank, world).share(items) for rank in range(world)]
    assert sorted(item for share in shares for item in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_environment_of_a_launcher_is_read():
    words = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}
    assert Ranks.from_environment(words) == Ranks(3, 4, 1)
    assert Ranks.from_environment({"WORLD_SIZE": "4", "RANK": "3"}) == Ranks(3, 4, 3)


@pytest.mark.parametrize(
    "words", [{"RANK": "1"}, {"WORLD_SIZE": "two"}, {"WORLD_SIZE": "2", "RANK": "-1"}]
)
def test_an_environment_that_cannot_be_is_refused(words: dict[str, str]):
    with pytest.raises(ValueError, match=r"rank|RANK"):
        Ranks.from_environment(words)


def test_each_process_gets_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [Ranks(rank, 3, rank).device_name(None) for rank in range(3)] == [
        "cuda:0",
        "cuda:1",
        "cuda:0",
    ]
    assert Ranks(1, 3, 1).device_name("cpu") == "cpu"
    assert Ranks().device_name("cuda") == "cuda"
