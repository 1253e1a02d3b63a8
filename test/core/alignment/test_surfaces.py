import numpy as np
import pytest
import torch

from ppd_core import AlignmentConfig, DepthPipeline, alignment_from_depth
from ppd_core.alignment.hypotheses import FEATURES, NAMES
from ppd_core.alignment.surfaces import SurfaceChooser, choose_surfaces
from ppd_core.models.surface_net import MAX_CORRECTION_LOG, SurfaceNet, SurfaceNetConfig
from ppd_core.types import AlignedDepth

DEPTHS = (1.0, 1.01, 2.0)


def choose(shares: tuple[float, ...], known: tuple[bool, ...] = (True, True, True)):
    log_depth = torch.tensor(DEPTHS).log().view(3, 1, 1)
    logits = torch.tensor(shares).log().view(3, 1, 1)
    is_known = torch.tensor(known).view(3, 1, 1)
    chosen = choose_surfaces(log_depth, is_known, logits, torch.zeros(1, 1, 1))
    return chosen.depth.item(), chosen.confidence.item()


def test_the_answer_is_a_hypothesis_and_no_mean() -> None:
    depth, confidence = choose((0.2, 0.1, 0.7))
    assert depth == pytest.approx(2.0)
    assert confidence == pytest.approx(0.7)


def test_hypotheses_that_agree_add_up() -> None:
    depth, confidence = choose((0.25, 0.3, 0.45))
    assert depth == pytest.approx(1.01)
    assert confidence == pytest.approx(0.55)


def test_what_is_not_known_has_no_say() -> None:
    depth, confidence = choose((0.2, 0.1, 0.7), (True, True, False))
    assert depth == pytest.approx(1.0)
    assert confidence == pytest.approx(1.0)


def test_where_nothing_is_known_nothing_is_claimed() -> None:
    depth, confidence = choose((0.2, 0.1, 0.7), (False, False, False))
    assert np.isnan(depth)
    assert confidence == 0


def test_the_correction_is_bounded() -> None:
    net = SurfaceNet(SurfaceNetConfig(FEATURES, len(NAMES))).eval()
    logits, correction = net(100 * torch.randn(2, FEATURES, 19, 35))
    assert logits.shape == (2, len(NAMES), 19, 35)
    assert correction.shape == (2, 1, 19, 35)
    assert correction.abs().max() <= MAX_CORRECTION_LOG


def test_without_a_sensor_nothing_changes() -> None:
    aligned = AlignedDepth(torch.ones(4, 4), None)
    assert SurfaceChooser()(np.zeros((4, 4, 3), np.uint8), aligned) is aligned


def test_the_packaged_network_fills_a_hole_with_one_of_its_walls() -> None:
    rows, cols = 48, 64
    image = np.full((rows, cols, 3), 90, np.uint8)
    image[:, cols // 2 :] = 200
    walls = torch.where(torch.arange(cols) < cols // 2, 1.0, 2.0).expand(rows, cols)
    sensor = walls.clone()
    sensor[:, cols // 2 - 4 : cols // 2 + 6] = torch.nan
    nothing = torch.full((rows, cols), torch.nan)
    settled = SurfaceChooser()(image, AlignedDepth(nothing, None, sensor_depth=sensor))
    assert settled.metric_depth is not None and settled.confidence is not None
    is_wall = (settled.metric_depth / 1.0).log().abs() < 0.03
    is_wall |= (settled.metric_depth / 2.0).log().abs() < 0.03
    assert is_wall.all()
    assert settled.confidence.min() >= 0 and settled.confidence.max() <= 1


def test_a_pipeline_settles_surfaces_where_it_is_asked_to() -> None:
    pipeline = DepthPipeline.from_pretrained("tiny", device="cpu")
    image = np.full((32, 48, 3), 100, np.uint8)  # Untrained, it sees edges anywhere.
    relative = pipeline(image).relative_depth
    sensor = torch.expm1(1.5 * relative + 0.5)
    config = AlignmentConfig(has_surfaces=True)
    result = pipeline(image, alignment=alignment_from_depth(sensor, config))
    assert result.metric_depth is not None and result.confidence is not None
    assert "surfaces" in result.timings_s
    error = (result.metric_depth / sensor).log().abs()
    assert error.nanmedian() < 0.03
    plain = pipeline(image, alignment=alignment_from_depth(sensor))
    assert "surfaces" not in plain.timings_s
