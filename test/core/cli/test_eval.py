from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")
pytest.importorskip("webdataset", reason="shards need webdataset")
pytest.importorskip("scipy", reason="measures of clouds need scipy")

from ppd_core.cli import main
from ppd_core.sim.dataset import DatasetConfig
from ppd_core.sim.generate import generate
from ppd_core.sim.scenes import HELD_OUT_SEEDS

SCENES = 5
TIMES = ("model_ms", "metrics_ms")
DEADLINE_S = 120


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As the processes that are started: with more of them, sums are rounded otherwise."""
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    size = {"width": 160, "height": 120, "views_per_scene": 1, "is_held_out": True}
    generate(folder, DatasetConfig(HELD_OUT_SEEDS[0], SCENES, **size), processes=1)
    return folder


def words(scenes: Path, output: Path, *more: str) -> list[str]:
    data = ["--data", f"simulated={scenes}", "-o", str(output), "--device", "cpu"]
    return ["eval", *data, "--pictures", "0", *more]


def start(scenes: Path, output: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ppd_core.cli", *words(scenes, output)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def table(output: Path) -> list[dict[str, str]]:
    """What must not depend on when and by how many processes it was made."""
    rows = list(csv.DictReader((output / "table.csv").read_text().splitlines()))
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


@pytest.fixture(scope="module")
def whole(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("whole")
    assert main(words(scenes, output)) == 0
    return output


def test_three_models_make_a_table_and_a_report(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    models = ["--model", "nano", "nano-twin", "tiny"]
    assert main([*words(scenes, tmp_path, *models), "--pictures", "1", "--limit", "3"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in shown[1:4]] == [
        "nano",
        "nano-twin",
        "tiny (untrained)",
    ]
    assert shown[-1] == str(tmp_path / "report.html")
    rows = table(tmp_path)
    assert [row["images"] for row in rows] == ["3"] * 3
    assert len({row["weights"] for row in rows}) == 2  # the twin is in nano's file
    assert rows[0]["settings"] == "2 steps, 19200 px, float32, eager"
    assert all(row["protocol"] == "ppd" and float(row["absrel"]) > 0 for row in rows)
    report = json.loads((tmp_path / "report.json").read_text())
    assert {"command", "versions", "hardware"} <= set(report)
    assert [row["model"] for row in report["rows"]] == [row["model"] for row in rows]
    assert report["rows"][0]["means"]["absrel"] == pytest.approx(
        float(rows[0]["absrel"]), rel=1e-4
    )
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 3 and page.count("<img") == 3 * 2 * 6
    assert "The first 3 of 5 in" in page


def test_a_killed_run_goes_on_to_the_same_table(scenes: Path, whole: Path, tmp_path: Path):
    child = start(scenes, tmp_path)
    deadline = time.monotonic() + DEADLINE_S
    lines = 0
    while lines < 1 + 2:  # the head and two images
        assert time.monotonic() < deadline and child.poll() is None, child.communicate()[1]
        files = list((tmp_path / "records").glob("*.jsonl"))
        lines = files[0].read_text().count("\n") if files else 0
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not (tmp_path / "report.json").exists()
    record = files[0].read_text().splitlines()[1]
    assert main(words(scenes, tmp_path)) == 0
    assert table(tmp_path) == table(whole)
    assert files[0].read_text().splitlines()[1] == record  # seconds and all: not made anew


def test_two_processes_make_the_table_of_one(scenes: Path, whole: Path, tmp_path: Path):
    children = [
        start(scenes, tmp_path, WORLD_SIZE="2", RANK=str(rank), LOCAL_RANK=str(rank))
        for rank in (0, 1)
    ]
    told = [child.communicate(timeout=DEADLINE_S) for child in children]
    assert [child.returncode for child in children] == [0, 0], told
    assert table(tmp_path) == table(whole)
    files = sorted((tmp_path / "records").iterdir())
    assert [file.name[-12:-6] for file in files] == ["0-of-2", "1-of-2"]
    assert [file.read_text().count("\n") for file in files] == [1 + 3, 1 + 2]
    assert told[1][0] == ""


@pytest.mark.gpu
def test_a_gpu_measures_what_a_cpu_measures(scenes: Path, whole: Path, tmp_path: Path):
    alike = ["--device", "cuda", "--dtype", "float32", "--backend", "eager"]
    assert main(words(scenes, tmp_path, *alike)) == 0
    (found,), (wanted,) = table(tmp_path), table(whole)
    for metric in ("absrel", "delta1", "flying", "edge_cloud_m", "edge_chamfer_m"):
        assert float(found[metric]) == pytest.approx(float(wanted[metric]), rel=0.05), metric


def test_each_number_of_steps_is_a_row(scenes: Path, tmp_path: Path):
    more = ["--model", "nano", "nano-twin", "--steps", "1", "2", "--limit", "1"]
    assert main(words(scenes, tmp_path, *more)) == 0
    names = [row["model"] for row in table(tmp_path)]
    assert names == ["nano-1steps", "nano-2steps", "nano-twin"]


def test_several_protocols_are_rows_and_one_that_does_not_fit_fails(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(words(scenes, tmp_path, "--protocol", "ppd", "metric", "--limit", "2")) == 1
    ppd, metric = table(tmp_path)
    assert (ppd["failed"], metric["measured"], metric["failed"]) == ("0", "0", "2")
    assert "* nano on simulated held-out scenes by metric: 2 x the protocol cannot bring" in (
        capsys.readouterr().out
    )
    report = json.loads((tmp_path / "report.json").read_text())
    detail = report["rows"][1]["failures"][0]["detail"]
    assert detail.startswith("protocol metric takes metric depth")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pairs of a folder: one is whole, one has no readable image, one no truth."""
    root = tmp_path / "photos"
    rows, columns = np.mgrid[:48, :64]
    for name, fill in (("a", 1000), ("b", 1000), ("c", 0)):
        for kind in ("image", "depth"):
            (root / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray((rows * 5 % 256).astype(np.uint8)).save(root / f"image/{name}.png")
        depth = np.where(columns > 30, fill, 2 * fill).astype(np.uint16)
        Image.fromarray(depth).save(root / f"depth/{name}.png")
    (root / "image/b.png").write_bytes((root / "image/b.png").read_bytes()[:60])
    return root


def test_what_cannot_be_measured_is_in_every_file_and_in_the_status(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    output = tmp_path / "out"
    assert main(["eval", "--data", f"folder={photos}", "-o", str(output), "--device", "cpu"]) == 1
    (row,) = table(output)
    assert (row["images"], row["measured"], row["failed"]) == ("3", "1", "2")
    assert row["absrel_images"] == "1" and "edge_cloud_m" not in row  # no camera
    assert "1 of 3 *" in capsys.readouterr().out
    report: dict[str, Any] = json.loads((output / "report.json").read_text())
    reasons = {one["image"]: one["reason"] for one in report["rows"][0]["failures"]}
    assert sorted(reasons.values()) == ["no_truth", "unreadable"]
    page = (output / "report.html").read_text()
    assert "2 of 3 images failed" in page and "cloud of" not in page
    # Mended, and run again: the failures are tried anew, the rest is not.
    (photos / "image/b.png").write_bytes((photos / "image/a.png").read_bytes())
    assert main(["eval", "--data", f"folder={photos}", "-o", str(output), "--device", "cpu"]) == 1
    assert table(output)[0]["measured"] == "2"


def test_a_model_that_is_not_here_does_not_stop_the_others(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    missing = ["--weights-dir", str(tmp_path / "none"), "--limit", "1"]
    assert main(words(scenes, tmp_path, "--model", "ppd-da2", "nano", *missing)) == 1
    assert "ppd eval: ppd-da2 is not measured: " in capsys.readouterr().err
    assert [row["model"] for row in table(tmp_path)] == ["nano"]
    assert "ppd-da2 is not measured" in (tmp_path / "report.html").read_text()
    assert main(words(scenes, tmp_path / "b", "--model", "ppd-da2", *missing)) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", "nana"], "no such model or checkpoint file: nana; known models: "),
        (["--protocol", "best"], "protocol must be one of ppd, marigold"),
        (["--limit", "0"], "limit must be >= 1, got 0"),
        (["--pictures", "-1"], "pictures must be >= 0, got -1"),
        (["--data", "simulated"], "--data must be NAME=ROOT"),
        (["--data", "nyu=/data"], "evaluation set must be one of nyuv2"),
        (["--data", "simulated=/nowhere"], "/nowhere"),
        (["--estimate", "/depth"], "--estimate needs --bag"),
        (["--bag", "run.mcap"], "--bag needs --image TOPIC and --depth TOPIC"),
    ],
)
def test_wrong_usage_is_one_line(
    scenes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
):
    assert main([*words(scenes, tmp_path), *more]) == 2
    told = capsys.readouterr().err
    assert told.startswith("ppd eval: ") and told.count("\n") == 1 and message in told


def test_without_data_there_is_nothing_to_measure_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["eval", "-o", str(tmp_path)]) == 2
    assert "give --data NAME=ROOT, or --bag FILE" in capsys.readouterr().err
