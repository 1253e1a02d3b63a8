"""What the records of a run say: times of frames and of stages, and whether memory grew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from node_run import Recorded

PICKED_UP_S = 0.010
"""How long after a newer image came the worker may still begin with the one before it."""
NO_WORK = {"model", "publish", "prompt", "sample", "stamp to published"}
"""Stages of the node that are the networks', or sums of others."""
SETTLED_FRAMES = 100
"""Memory is the median over so many frames, at the beginning and at the end."""


@dataclass(frozen=True)
class Times:
    """All in milliseconds, one entry a frame if not said otherwise.

    Attributes:
        work: what the node spent on a frame without the networks: take and callback in the
            executor's thread, and the worker's from the mailbox to the end of the last publish.
        oldest: age of the frame when the last of its outputs was published.
        arrived: age of its image when the node's callback had it.
        end_to_end: from stamp to the listener's callback of the last output; of the frames that
            arrived completely.
        stages: name -> how long it took; together they are `work`.
        takes: how long rclpy took to hand over an image.
        callbacks: durations of all callbacks of the executor's thread.
        not_newest: how many frames were not the newest that had come when work on them began.
        delivered_share: of the messages that were published, those that the listener got.
        received_share: of the camera's images, those that came to the node's callback.
    """

    work: np.ndarray
    oldest: np.ndarray
    arrived: np.ndarray
    end_to_end: np.ndarray
    stages: Mapping[str, np.ndarray]
    takes: np.ndarray
    callbacks: np.ndarray
    not_newest: int
    delivered_share: float
    received_share: float


def times_of(recorded: Recorded) -> Times:
    """The times of a run.

    Raises:
        RuntimeError: no frame came to all its outputs and to the listener.
    """
    received = {int(stamp): one for stamp, one in recorded.node["received"].items()}
    worked = [one for one in recorded.node["worked"] if one["stamp_ns"] in received]
    got = [received[one["stamp_ns"]] for one in worked]
    heard = [dict(pairs) for pairs in recorded.arrivals.values()]
    ages_s = [[ages.get(one["stamp_ns"]) for ages in heard] for one in worked]
    whole_s = [max(ages) for ages in ages_s if None not in ages]
    if not whole_s:
        raise RuntimeError(f"none of {len(worked)} frames arrived at the listener completely")
    work_s = [
        one["work_s"] + image["take_s"] + image["callback_s"]
        for one, image in zip(worked, got, strict=True)
    ]
    return Times(
        work=_ms(work_s),
        oldest=_ms([max(one["age_s"].values()) for one in worked]),
        arrived=_ms([one["age_s"] for one in got]),
        end_to_end=_ms(whole_s),
        stages=_stages(worked, got, _ms(work_s)),
        takes=_ms([one["take_s"] for one in got]),
        callbacks=_ms([one for kind in recorded.node["callbacks_s"].values() for one in kind]),
        not_newest=_not_newest(worked, received),
        delivered_share=float(np.mean([age is not None for ages in ages_s for age in ages])),
        received_share=_received_share(sorted(received), recorded.scenario.rate_hz),
    )


def growth_of(recorded: Recorded) -> dict[str, float]:
    """How much more memory, threads and file descriptors there were at the end of a run."""
    rss_mb = np.array(recorded.node["rss_mb"])
    before, after = recorded.node["resources"]
    settled = min(SETTLED_FRAMES, len(rss_mb))
    return {
        "rss_growth_mb": float(np.median(rss_mb[-settled:]) - np.median(rss_mb[:settled])),
        **{f"{name}_growth": float(after[name] - before[name]) for name in before},
    }


def _stages(
    worked: list[dict[str, Any]], got: list[dict[str, Any]], work: np.ndarray
) -> dict[str, np.ndarray]:
    """What rclpy does before, the node's own stages in order, what rclpy does after."""
    stages = {
        "take": _ms([one["take_s"] for one in got]),
        "callback": _ms([one["callback_s"] for one in got]),
    }
    for name in worked[0]["stages_s"]:
        if name not in NO_WORK:
            stages[name] = _ms([one["stages_s"].get(name, 0.0) for one in worked])
    calls_s = [sum(one["publish_s"].values()) for one in worked]
    built_s = [one["stages_s"]["publish"] for one in worked]
    stages["build messages"] = _ms(built_s) - _ms(calls_s)
    for topic in worked[0]["publish_s"]:
        stages[f"publish {topic}"] = _ms([one["publish_s"].get(topic, 0.0) for one in worked])
    return {**stages, "other": work - sum(stages.values())}


def _received_share(stamps_ns: list[int], rate_hz: float) -> float:
    periods = (stamps_ns[-1] - stamps_ns[0]) / 1e9 * rate_hz
    return (len(stamps_ns) - 1) / periods if periods else 1.0


def _not_newest(worked: list[dict[str, Any]], received: Mapping[int, dict[str, Any]]) -> int:
    def has_newer(one: dict[str, Any]) -> bool:
        return any(
            stamp > one["stamp_ns"] and image["done_at_s"] < one["begin_at_s"] - PICKED_UP_S
            for stamp, image in received.items()
        )

    return sum(map(has_newer, worked))


def _ms(seconds: list[float]) -> np.ndarray:
    return 1e3 * np.array(seconds)
