from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch

from ppd_core.alignment.affine import alignment_from_range
from ppd_core.alignment.aligner import FrameAligner
from ppd_core.alignment.anchors import Anchors, depth_anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.snapshot import (
    alignment_from_json,
    alignment_to_json,
    tensor_from_json,
    tensor_to_json,
)
from ppd_core.types import Alignment, AlignmentError

HEIGHT, WIDTH = 48, 64
NUM_FRAMES = 30
CONFIG = AlignmentConfig(hold_s=0.5)


def frames(source):
    """(relative depth, evidence, stamp) of a video: noisy, with gaps and a cut."""
    generator = torch.Generator().manual_seed(7)
    floor = 1 / torch.linspace(0.25, 1.5, HEIGHT)[:, None].expand(HEIGHT, WIDTH).clone()
    for index in range(NUM_FRAMES):
        depth = floor.clone()
        left = index if index < 20 else WIDTH - 20 - (index - 20)
        depth[10:30, left : left + 12] *= 0.5 if index < 20 else 0.7
        noise = 0.01 * torch.randn(HEIGHT, WIDTH, generator=generator)
        scale = 2 + 0.3 * math.sin(index)
        relative = (depth.log1p() - 0.1) / scale + noise
        measured = depth * (1 + 0.02 * torch.randn(HEIGHT, WIDTH, generator=generator))
        evidence = depth_anchors(measured, HEIGHT, WIDTH, CONFIG, source=source)
        if source == "constant":
            evidence = alignment_from_range(0.5, 5.0 + 0.1 * index)
        elif index in (5, 6, 13) or 22 <= index < 29:
            evidence = AlignmentError("unpaired", "no message")
        yield relative, evidence, 100 + index * 0.1


def said(aligner, some):
    """All that an aligner says of frames; NaN compares as text."""
    told = []
    for frame in some:
        aligned = aligner.align(*frame)
        metres = (
            None if aligned.metric_depth is None else aligned.metric_depth.cpu().numpy().tobytes()
        )
        told.append((repr(aligned.alignment), str(aligned.failure), metres))
    return told


@pytest.mark.parametrize("is_tracked", [True, False])
@pytest.mark.parametrize("source", ["depth", "lidar", "moge2", "constant"])
def test_a_run_that_is_stopped_anywhere_goes_on_as_if_it_were_not(source, is_tracked):
    config = AlignmentConfig(hold_s=0.5, is_tracked=is_tracked)
    video = list(frames(source))
    whole = said(FrameAligner(config), video)
    assert len({one[0] for one in whole}) > 10  # the video is no still picture
    # Stopped after every frame, and each time another one goes on.
    aligner, told = FrameAligner(config), []
    for frame in video:
        text = json.dumps(aligner.state(), allow_nan=False)
        aligner = FrameAligner(config)
        aligner.restore(json.loads(text))
        told += said(aligner, [frame])
    assert told == whole


@pytest.mark.gpu
@pytest.mark.parametrize("source", ["depth", "moge2"])
def test_a_run_on_a_gpu_goes_on_as_if_it_were_not_stopped(source):
    video = [
        (relative.cuda(), _on_gpu(evidence), at_s) for relative, evidence, at_s in frames(source)
    ]
    whole = said(FrameAligner(CONFIG), video)
    aligner, told = FrameAligner(CONFIG), []
    for frame in video:
        state = json.loads(json.dumps(aligner.state(), allow_nan=False))
        aligner = FrameAligner(CONFIG)
        aligner.restore(state)
        told += said(aligner, [frame])
    assert told == whole


def _on_gpu(evidence):
    if not isinstance(evidence, Anchors):
        return evidence
    tensors = {
        name: value.cuda() for name, value in vars(evidence).items() if torch.is_tensor(value)
    }
    return dataclasses.replace(evidence, **tensors)


def test_metres_are_held_over_a_stop():
    video = list(frames("depth"))
    first = FrameAligner(CONFIG)
    said(first, video[:5])
    second = FrameAligner(CONFIG)
    second.restore(first.state())
    assert second.align(*video[5]).alignment.state == "held"
    assert FrameAligner(CONFIG).align(*video[5]).alignment is None


def test_a_reset_that_is_wanted_leaves_nothing_to_go_on_with():
    first = FrameAligner(CONFIG)
    said(first, list(frames("depth"))[:3])
    first.reset()
    assert first.state() == FrameAligner(CONFIG).state()


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("tracker"),
        lambda state: state["keyframe"].pop("size"),
        lambda state: state["keyframe"].update(relative_depth="!"),
        lambda state: state["keyframe"].update(alignment=None),
        lambda state: state["tracker"]["last"].update(scale=-1.0),
        lambda state: state["tracker"]["last"].update(other=1),
    ],
)
def test_what_is_no_state_is_refused_and_changes_nothing(change):
    video = list(frames("depth"))
    first, second = FrameAligner(CONFIG), FrameAligner(CONFIG)
    said(first, video[:3])
    said(second, video[:3])
    state = json.loads(json.dumps(first.state()))
    change(state)
    with pytest.raises(ValueError, match="an aligner's state must be"):
        second.restore(state)
    assert said(second, video[3:]) == said(first, video[3:])


def test_numbers_that_json_does_not_know_come_back():
    alignment = Alignment(1.25, 1 / 3, "depth", "fitted", scale_std=math.inf)
    text = json.dumps(alignment_to_json(alignment), allow_nan=False)
    assert repr(alignment_from_json(json.loads(text))) == repr(alignment)
    assert alignment_from_json(alignment_to_json(None)) is None


def test_tensors_come_back_to_the_bit():
    tensor = torch.randn(4096, generator=torch.Generator().manual_seed(1))
    tensor[:2] = torch.tensor([torch.nan, torch.inf])
    assert tensor_from_json(tensor_to_json(tensor)).numpy().tobytes() == (tensor.numpy().tobytes())


def test_the_evidence_of_the_video_is_of_the_kind_it_should_be():
    kinds = {type(evidence) for _, evidence, _ in frames("depth")}
    assert kinds == {Anchors, AlignmentError}
