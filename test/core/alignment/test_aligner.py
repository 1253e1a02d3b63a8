from __future__ import annotations

import dataclasses
import gc
import weakref

import numpy as np
import pytest
import torch

from ppd_core.alignment.affine import alignment_from_range
from ppd_core.alignment.aligner import FrameAligner, alignment_from_depth
from ppd_core.alignment.anchors import Anchors, depth_anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.types import AlignmentError

HEIGHT, WIDTH = 48, 64
PLAIN = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
CONFIG = AlignmentConfig(hold_s=0.5)


def scene(seed: int = 0) -> torch.Tensor:
    """Metres: a slanted floor with boxes on it, somewhere else for each seed."""
    generator = torch.Generator().manual_seed(seed)
    depth = 1 / torch.linspace(0.25, 1.5, HEIGHT)[:, None].expand(HEIGHT, WIDTH).clone()
    for _ in range(6):
        top, left = (int(torch.randint(0, n - 12, (1,), generator=generator)) for n in (48, 64))
        factor = 0.4 + 0.5 * torch.rand(1, generator=generator)
        depth[top : top + 12, left : left + 12] *= factor
    return depth


def relative_of(depth: torch.Tensor, scale: float = 2.0, shift: float = 0.1) -> torch.Tensor:
    return (depth.log1p() - shift) / scale


def anchors(depth: torch.Tensor, source: str = "depth") -> Anchors:
    return depth_anchors(depth, HEIGHT, WIDTH, CONFIG, source=source)


NOTHING = AlignmentError("unpaired", "no message")


def test_a_good_sensor_gives_metres():
    aligned = FrameAligner(CONFIG).align(relative_of(scene()), anchors(scene()), 0.0)
    torch.testing.assert_close(aligned.metric_depth, scene(), rtol=1e-3, atol=1e-3)
    assert (aligned.alignment.state, aligned.failure) == ("fitted", None)
    assert not aligned.alignment.has_field


def test_the_local_correction_is_said():
    config = dataclasses.replace(CONFIG, has_field=True)
    wavy = relative_of(scene()) + 0.05 * torch.sin(torch.arange(WIDTH) / 9)
    aligned = FrameAligner(config).align(wavy, anchors(scene()), 0.0)
    assert aligned.alignment.has_field
    plain = FrameAligner(CONFIG).align(wavy, anchors(scene()), 0.0)
    errors = [(one.metric_depth - scene()).square().mean() for one in (aligned, plain)]
    assert errors[0] < 0.3 * errors[1]


def test_without_any_good_frame_there_are_no_metres():
    aligned = FrameAligner(CONFIG).align(relative_of(scene()), NOTHING, 0.0)
    assert (aligned.metric_depth, aligned.alignment, aligned.failure) == (None, None, NOTHING)


def test_the_last_metres_are_carried_on_for_a_while_though_relative_depth_changes_its_scale():
    aligner = FrameAligner(CONFIG)
    aligner.align(relative_of(scene()), anchors(scene()), 0.0)
    for stamp_s, scale in ((0.2, 1.7), (0.4, 2.4)):
        held = aligner.align(relative_of(scene(), scale, 0.3), NOTHING, stamp_s)
        assert (held.alignment.state, held.failure) == ("held", NOTHING)
        torch.testing.assert_close(held.metric_depth, scene(), rtol=5e-3, atol=5e-3)
    lost = aligner.align(relative_of(scene()), NOTHING, 0.6)
    assert lost.metric_depth is None
    back = aligner.align(relative_of(scene()), anchors(scene()), 0.7)
    assert back.alignment.state == "fitted"


def test_a_slow_camera_is_held_for_as_long_as_it_was_told():
    aligner = FrameAligner(dataclasses.replace(CONFIG, hold_s=5.0))
    aligner.align(relative_of(scene()), anchors(scene()), 0.0)
    assert aligner.align(relative_of(scene()), NOTHING, 3.0).alignment.state == "held"
    assert aligner.align(relative_of(scene()), NOTHING, 5.5).alignment is None


def test_a_bad_fit_is_held_like_a_missing_one():
    aligner = FrameAligner(CONFIG)
    aligner.align(relative_of(scene()), anchors(scene()), 0.0)
    held = aligner.align(relative_of(scene()), anchors(torch.full((9, 9), torch.nan)), 0.1)
    assert (held.alignment.state, held.failure.reason) == ("held", "few_samples")


def test_metres_are_not_carried_over_a_cut():
    aligner = FrameAligner(CONFIG)
    aligner.align(relative_of(scene()), anchors(scene()), 0.0)
    upside_down = relative_of(scene()).flip(0)
    assert aligner.align(upside_down, NOTHING, 0.1).metric_depth is None


@pytest.mark.parametrize("source", ["constant", "held"])
def test_a_noisy_video_does_not_lose_its_scale(source):
    generator = torch.Generator().manual_seed(0)
    given = alignment_from_range(0.5, 7.0)
    aligner = FrameAligner(dataclasses.replace(CONFIG, hold_s=60.0))
    clean = relative_of(scene())
    first = torch.expm1(given.scale * clean + given.shift)
    start = given if source == "constant" else anchors(first)
    aligner.align(clean, start, 0.0)
    for n in range(1, 300):
        noisy = clean + 0.01 * torch.randn(clean.shape, generator=generator)
        evidence = given if source == "constant" else NOTHING
        aligned = aligner.align(noisy, evidence, n / 30)
    assert aligned.alignment.state == ("tied" if source == "constant" else "held")
    assert aligned.alignment.scale == pytest.approx(given.scale, rel=0.05)


def test_a_panned_video_does_not_lose_its_scale():
    given = alignment_from_range(0.5, 4.0)
    wide = relative_of(torch.cat([scene(n) for n in range(8)], dim=1))
    aligner = FrameAligner(CONFIG)
    for n in range(200):
        aligned = aligner.align(wide[:, 2 * n : 2 * n + WIDTH], given, n / 30)
    assert aligned.alignment.scale == pytest.approx(given.scale, rel=0.1)


def test_frames_that_are_not_tied_are_not_kept_in_memory():
    aligner = FrameAligner(CONFIG)
    gc.disable()
    try:
        relative = relative_of(scene())
        watched = weakref.ref(relative)
        for failure in (NOTHING, anchors(torch.full((9, 9), torch.nan))):
            assert aligner.align(relative, failure, 0.0).metric_depth is None
        del relative, failure
        assert watched() is None
    finally:
        gc.enable()


def test_without_tracking_metres_are_not_carried_over_a_cut_either():
    aligner = FrameAligner(dataclasses.replace(CONFIG, is_tracked=False))
    aligner.align(relative_of(scene()), anchors(scene()), 0.0)
    assert aligner.align(relative_of(scene()), NOTHING, 0.1).alignment.state == "held"
    assert aligner.align(relative_of(scene()).flip(0), NOTHING, 0.2).metric_depth is None


def test_double_precision_is_as_good():
    config = dataclasses.replace(CONFIG, has_field=True)
    exact = anchors(scene().double())
    aligned = FrameAligner(config).align(relative_of(scene()).double(), exact, 0.0)
    assert aligned.metric_depth.dtype == torch.float32
    torch.testing.assert_close(aligned.metric_depth, scene(), rtol=1e-2, atol=1e-2)


def test_a_cut_with_a_sensor_is_followed_at_once():
    aligner = FrameAligner(CONFIG)
    aligner.align(relative_of(scene()), anchors(scene()), 0.0)
    far = 4 * scene(1).flip(0)
    aligned = aligner.align(relative_of(far, 3.0, 0.5), anchors(far), 0.1)
    torch.testing.assert_close(aligned.metric_depth, far, rtol=1e-2, atol=1e-2)


def test_a_given_alignment_is_kept_steady_over_a_video():
    given = alignment_from_range(0.5, 4.0)
    truth = torch.expm1(given.scale * relative_of(scene()) + given.shift)
    aligner = FrameAligner(CONFIG)
    first = aligner.align(relative_of(scene()), given, 0.0)
    assert first.alignment == given
    # Relative depth breathes: what it calls 0 and 1 is drawn anew in each frame.
    breathing = 1.3 * relative_of(scene()) - 0.1
    second = aligner.align(breathing, given, 0.1)
    assert second.alignment.state == "tied"
    torch.testing.assert_close(second.metric_depth, truth, rtol=0.03, atol=0.03)
    untied = FrameAligner(dataclasses.replace(CONFIG, is_tracked=False))
    untied.align(relative_of(scene()), given, 0.0)
    assert untied.align(breathing, given, 0.1).alignment == given


def test_tied_metres_come_back_to_what_was_given():
    given = alignment_from_range(0.5, 4.0)
    aligner = FrameAligner(CONFIG)
    aligner.align(relative_of(scene()), given, 0.0)
    breathing = 1.2 * relative_of(scene()) - 0.05
    for n in range(1, 200):
        aligned = aligner.align(breathing, given, 0.2 * n)
    assert aligned.alignment.scale == pytest.approx(given.scale, rel=0.02)
    assert aligned.alignment.shift == pytest.approx(given.shift, abs=0.02)


def test_after_a_reset_a_pause_or_another_size_nothing_is_tied():
    given = alignment_from_range(0.5, 4.0)
    breathing = 1.3 * relative_of(scene()) - 0.1
    aligner = FrameAligner(CONFIG)
    aligner.align(relative_of(scene()), given, 0.0)
    aligner.reset()
    assert aligner.align(breathing, given, 0.1).alignment == given
    assert aligner.align(relative_of(scene()), given, 9.0).alignment == given
    assert aligner.align(relative_of(scene())[:40, :40], given, 9.1).alignment == given


@pytest.mark.parametrize("has_field", [False, True])
def test_a_network_that_guesses_metres_anew_in_each_frame_is_steadied(has_field):
    generator = torch.Generator().manual_seed(0)
    seen = {True: [], False: []}
    for is_tracked, depths in seen.items():
        config = dataclasses.replace(CONFIG, is_tracked=is_tracked, has_field=has_field)
        aligner = FrameAligner(config)
        for n in range(40):
            guess = scene() * (1 + 0.05 * torch.randn(1, generator=generator))
            aligned = aligner.align(relative_of(scene()), anchors(guess, "moge2"), 0.1 * n)
            depths.append(aligned.metric_depth[24, 32].item())
    steady, wild = (torch.tensor(seen[key][5:]).std() for key in (True, False))
    assert steady < 0.3 * wild


def test_on_a_static_scene_the_scale_wanders_half_as_much():
    generator = torch.Generator().manual_seed(0)
    relative = relative_of(scene()) + 0.03 * torch.randn(HEIGHT, WIDTH, generator=generator)
    seen = {True: [], False: []}
    for is_tracked, depths in seen.items():
        aligner = FrameAligner(dataclasses.replace(CONFIG, is_tracked=is_tracked))
        for n in range(100):
            noise = 0.02 * torch.randn(HEIGHT, WIDTH, generator=generator)
            aligned = aligner.align(relative, anchors(scene() * (1 + noise)), n / 30)
            depths.append(aligned.metric_depth[30:34, 20:24].mean().item())
    steady, wild = (torch.tensor(seen[key][20:]).std() for key in (True, False))
    assert steady < 0.5 * wild


def no_anchors():
    raise AssertionError("the prompt network is not asked")


@pytest.mark.parametrize("as_given", [torch.Tensor.clone, torch.Tensor.numpy])
def test_one_image_is_tied_to_a_sensor_with_holes_and_follows_it(as_given):
    wavy = relative_of(scene()) + 0.05 * torch.sin(torch.arange(WIDTH) / 9)
    sensor = scene()
    sensor[10:20, 10:20] = torch.nan
    aligned = alignment_from_depth(as_given(sensor))(PLAIN, wavy, no_anchors)
    plain = alignment_from_depth(as_given(sensor), CONFIG)(PLAIN, wavy, no_anchors)
    assert aligned.alignment.has_field
    assert torch.isfinite(aligned.metric_depth).all()
    errors = [(one.metric_depth - scene()).square().mean() for one in (aligned, plain)]
    assert errors[0] < 0.3 * errors[1]


def test_one_image_has_no_metres_of_a_sensor_that_cannot_be_trusted():
    relative = relative_of(scene())
    blind = alignment_from_depth(torch.full_like(relative, torch.nan))(PLAIN, relative, no_anchors)
    assert (blind.metric_depth, blind.failure.reason) == (None, "few_samples")
    millimetres = alignment_from_depth(1000 * scene())(PLAIN, relative, no_anchors)
    assert (millimetres.metric_depth, millimetres.failure.reason) == (None, "wrong_unit")


def test_what_is_no_sensor_s_image_is_refused_before_the_model_runs():
    with pytest.raises(ValueError, match=r"depth must be \(h, w\) floating point.*torch.int16"):
        alignment_from_depth(torch.ones(4, 5, dtype=torch.int16))
