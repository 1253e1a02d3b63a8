"""Rendered scenes: whoever is nearer to the truth at borders has the smaller edge measures."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")
pytest.importorskip("webdataset", reason="shards need webdataset")
pytest.importorskip("scipy", reason="measures of clouds need scipy")

from ppd_core.data.eval_sets import open_eval_set
from ppd_core.evaluation.baselines import open_model
from ppd_core.evaluation.measure import AnyModel
from ppd_core.evaluation.model import Prediction
from ppd_core.evaluation.protocols import PROTOCOLS
from ppd_core.evaluation.records import Key
from ppd_core.evaluation.run import Task, evaluate
from ppd_core.evaluation.summary import Row
from ppd_core.sim.dataset import DatasetConfig
from ppd_core.sim.generate import generate
from ppd_core.sim.scenes import HELD_OUT_SEEDS


class Blurred:
    """The truth averaged over squares and interpolated, as a latent of that size would keep it."""

    space, licence = "log", "none"

    def __init__(self, side_px: int) -> None:
        self.name, self._side_px = f"blurred-{side_px}", side_px

    def reconstruct(self, truth: Tensor, valid_mask: Tensor) -> Prediction:
        log_depth = torch.log1p(torch.where(valid_mask, truth, 10.0))[None, None]
        small = F.avg_pool2d(log_depth, self._side_px)
        return Prediction(F.interpolate(small, truth.shape, mode="bilinear")[0, 0])


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    root = tmp_path_factory.mktemp("scenes")
    size = {"width": 160, "height": 120, "views_per_scene": 1, "is_held_out": True}
    generate(root, DatasetConfig(HELD_OUT_SEEDS[0], 8, **size), processes=1)
    data = open_eval_set("simulated", root)
    ours = [open_model(name, "cpu") for name in ("nano", "nano-twin", "tiny")]
    models: list[AnyModel] = [*(Blurred(side_px) for side_px in (1, 4, 8)), *ours]
    found = {}
    for model in models:
        keys = {"ppd": Key(model.name, "", data.name, str(root), "ppd")}
        task = Task(model, data, {"ppd": PROTOCOLS["ppd"]}, keys)
        (found[model.name],) = evaluate(task, root / "out")
    return found


def test_the_more_the_truth_is_blurred_the_farther_its_clouds_are(rows: dict[str, Row]):
    for metric in ("edge_cloud_m", "edge_chamfer_m"):
        truth, blurred_4, blurred_8 = (
            rows[f"blurred-{side_px}"].means[metric] for side_px in (1, 4, 8)
        )
        assert truth < 1e-5 < 0.01 < blurred_4 < blurred_8
        assert blurred_8 < rows["tiny (untrained)"].means[metric]


def test_the_truth_has_no_flying_pixels_and_a_blur_has(rows: dict[str, Row]):
    flying = [rows[f"blurred-{side_px}"].means["flying"] for side_px in (1, 4, 8)]
    assert flying[0] == 0 and min(flying[1:]) > 0.2


def test_nano_has_less_flying_pixels_than_its_twin(rows: dict[str, Row]):
    assert rows["nano"].means["flying"] < rows["nano-twin"].means["flying"]
    assert rows["nano-twin"].means["flying"] < rows["tiny (untrained)"].means["flying"]


def test_no_image_fails(rows: dict[str, Row]):
    assert {name: row.failures for name, row in rows.items() if row.failed} == {}
