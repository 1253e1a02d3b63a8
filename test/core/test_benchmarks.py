"""Each benchmark once, on tiny data and tiny models: what it writes, not how fast it is."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("webdataset", reason="shards need webdataset")

from ppd_core import DepthPipeline, Intrinsics
from ppd_core.config import PipelineConfig, PreprocessConfig, PromptConfig, SpDitConfig
from ppd_core.data.shards import DepthSample, shard_name, write_shard

ROOT = Path(__file__).parent.parent.parent
WIDTH, HEIGHT = 64, 48
FRAMES = 6
FACTS = {"hardware", "versions", "command"}
MODEL = {"hidden_size": 32, "depth": 2, "num_heads": 2, "prediction": "x0"}
TRAINING = """
objective: {objective}
steps: 4
preset: nano
model: {model}
mixed_precision: "no"
phases: [{{until_step: 2, batch_size: 1}}]
data:
  sources: [{{urls: nowhere}}]
  size: [{height}, {width}]
  batch_size: 2
  num_workers: 0
  cache: true
"""


@pytest.fixture(scope="module")
def benchmark():
    """Import by the name of the script, as `python benchmarks/NAME.py` finds its siblings."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        torch.set_num_threads(1)
        yield importlib.import_module
        torch.set_num_threads(threads)
        for name in [path.stem for path in (ROOT / "benchmarks").glob("*.py")]:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> Path:
    """Shards of a box before a wall, somewhere else in each frame; one pixel has no depth."""
    folder = tmp_path_factory.mktemp("frames")
    k = Intrinsics.from_fov(WIDTH, HEIGHT, 60)
    camera = {name: getattr(k, name) for name in ("width", "height", "fx", "fy", "cx", "cy")}
    rng = np.random.default_rng(0)

    def sample(index: int) -> DepthSample:
        depth = np.full((HEIGHT, WIDTH), 2.0 + 0.1 * index, np.float32)
        top, left = rng.integers(4, 20, 2)
        depth[top : top + 20, left : left + 30] = 1.2
        depth[0, 0] = np.inf
        image = np.where(depth[..., None] < 1.5, 200, 60) + rng.integers(0, 20, (HEIGHT, WIDTH, 3))
        return DepthSample(f"{index:09d}-00", image.astype(np.uint8), depth, None, camera)

    for shard in range(2):
        write_shard(folder / shard_name(shard), map(sample, range(3 * shard, 3 * shard + 3)))
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    config = PipelineConfig(
        model=SpDitConfig(semantics_dim=576, **MODEL),
        prompt=PromptConfig(kind="efficientnet", size="lite0"),
        preprocess=PreprocessConfig(processing_area=32 * 32),
    )
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    DepthPipeline.from_config(config, device="cpu").save_pretrained(path)
    return path


def figures_in(path: Path) -> dict[str, float]:
    """The numbers of a report; that nothing else is in it is checked on the way."""
    content = json.loads(path.read_text())
    assert content.keys() >= FACTS
    assert all(isinstance(content.pop(name), str) for name in FACTS)
    assert all(isinstance(value, float) and math.isfinite(value) for value in content.values())
    return content


def test_nano_writes_its_figures(benchmark, frames, checkpoint, tmp_path):
    path = tmp_path / "nano.json"
    words = f"--checkpoint {checkpoint} --held-out {frames} --limit 5 --batch-size 2 --calls 3"
    benchmark("nano").main([*words.split(), "--device", "cpu", "--json", str(path)])
    figures = figures_in(path)
    quality = ["absrel", "delta1", "flying_share", "unresolved_share", "edge_chamfer_m"]
    assert figures.keys() == {
        *(
            f"{way}{size}{name}"
            for name in quality
            for way in ("", "twin_", "mixture_")
            for size in ("", "model_")
        ),
        *(f"truth_{name}" for name in quality),
        *("fps_320x240", "parameters_m", "weights_mb"),
    }
    assert figures["fps_320x240"] > 0
    assert figures["weights_mb"] == pytest.approx(checkpoint.stat().st_size / 1e6, rel=1e-3)
    assert figures["weights_mb"] == pytest.approx(4 * figures["parameters_m"], rel=0.05)  # float32


def test_precision_writes_its_figures_and_the_table(benchmark, frames, checkpoint, tmp_path):
    path, page = tmp_path / "precision.json", tmp_path / "results.md"
    page.write_text("<!-- precision: begin -->old<!-- precision: end -->")
    words = f"--model {checkpoint} --held-out {frames} --limit 4 --batch-size 3 --calls 1"
    words += f" --device cpu --json {path} --markdown {page} --precisions bf16 fp8"
    benchmark("precision").main(words.split())
    names = ("absrel_to_fp32", "rmse_relative", "absrel", "flying_share", "ms_frame")
    figures = figures_in(path)
    assert figures.keys() == {f"{one}.{name}" for one in ("fp32", "bf16", "fp8") for name in names}
    for name in ("absrel_to_fp32", "rmse_relative"):
        assert 0 == figures[f"fp32.{name}"] < figures[f"bf16.{name}"] < figures[f"fp8.{name}"]
    text = page.read_text()
    assert "old" not in text
    assert f"| fp8 (float8) | {figures['fp8.absrel_to_fp32']:.5f} |" in text
    assert "| fp16 (float16) | not measured |" in text


def test_a_difference_of_precision_is_in_metres_and_in_relative_depth(benchmark):
    difference = benchmark("precision").Difference()
    near, far = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)  # 0.5 m and 5 m
    difference.add(far, near)
    assert difference.figures() == pytest.approx({"absrel_to_fp32": 9, "rmse_relative": 1})
    difference.add(near, near - 1)  # what is below 0 counts as 0
    assert difference.figures() == pytest.approx({"absrel_to_fp32": 4.5, "rmse_relative": 1})


def test_a_batch_is_sampled_as_the_pipeline_samples_its_images(benchmark, frames, checkpoint):
    predict, held_out = benchmark("predict"), benchmark("held_out")
    pipeline = DepthPipeline.from_pretrained(checkpoint, device="cpu")
    (batch,) = held_out.held_out_batches(frames, 3, 4)
    images = predict.model_images(batch.images, pipeline.config.preprocess.processing_area)
    relative = predict.sampled(pipeline, images)
    alone = torch.stack([pipeline(image).relative_depth_model for image in batch.images])
    torch.testing.assert_close(relative, alone, atol=1e-4, rtol=1e-4)
    regressed = predict.regressed(pipeline, images)
    assert regressed.shape == relative.shape
    assert not torch.allclose(regressed, relative, atol=1e-2)


def test_too_few_held_out_frames_are_an_error(benchmark, frames):
    batches = benchmark("held_out").held_out_batches(frames, FRAMES + 1, 4)
    with pytest.raises(ValueError, match="must hold at least 7 frames, got 6"):
        list(batches)


def test_ablation_trains_measures_and_goes_on(benchmark, frames, tmp_path, monkeypatch):
    pytest.importorskip("accelerate", reason="training needs accelerate")
    ablation = benchmark("ablation")
    configs = {"--config": "flow", "--twin-config": "regression"}
    words = []
    for flag, objective in configs.items():
        model = MODEL if objective == "flow" else {}
        text = TRAINING.format(objective=objective, model=model, height=HEIGHT, width=WIDTH)
        (tmp_path / f"{objective}.yaml").write_text(text)
        words += [flag, str(tmp_path / f"{objective}.yaml")]
    page = tmp_path / "results.md"
    page.write_text("# Results\n<!-- ablation: begin -->old<!-- ablation: end -->\nthe end\n")
    words += ["--data", str(frames), "--held-out", str(frames), "--out", str(tmp_path / "runs")]
    words += ["--steps", "2", "--limit", "4", "--device", "cpu", "--markdown", str(page)]
    path = tmp_path / "ablation.json"
    assert ablation.main([*words, "--json", str(path)]) == 0

    flows = ["plain_dit", "prompt", "cascade", "cascade_coarse", "cascade_velocity"]
    names = [*flows, "twin", "vae", "truth"]
    quality = ["absrel", "delta1", "flying_share", "unresolved_share", "edge_chamfer_m"]
    figures = figures_in(path)
    assert figures.keys() == {f"{variant}.{name}" for variant in names for name in quality}
    assert figures["truth.flying_share"] == 0
    assert figures["truth.absrel"] < figures["cascade.absrel"]
    text = page.read_text()
    assert text.startswith("# Results\n") and text.endswith("the end\n") and "old" not in text
    assert f"| (c) + cascade | {figures['cascade.absrel']:.4f} |" in text

    for name in ("train", "train_vae"):  # all is trained: a second run must not train again
        monkeypatch.setattr(ablation, name, None)
    assert ablation.main([*words, "--json", str(path)]) == 0
    assert figures_in(path) == figures
    with pytest.raises(ValueError, match="holds a run with other seed"):
        ablation.main([*words, "--set", "seed=1"])


def test_vae_learns_the_round_trip(benchmark):
    vae_module = benchmark("vae")
    torch.manual_seed(0)
    vae = vae_module.FieldVae((8, 16, 16, 16))
    field = torch.full((2, 1, 32, 32), -0.5)
    field[:, :, 8:24, 8:24] = 0.3
    valid = torch.ones_like(field, dtype=torch.bool)
    assert vae.encode(field)[0].shape == (2, 4, 4, 4)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=3e-3)
    for step in range(80):
        loss = vae.loss(field, valid, torch.Generator().manual_seed(step))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert (vae(field) - field).abs().mean() < 0.1


def test_a_steps_change_keeps_phases_and_warm_up_in_proportion(benchmark, tmp_path):
    variants = benchmark("variants")
    path = tmp_path / "flow.yaml"
    path.write_text(
        TRAINING.format(objective="flow", model=MODEL, height=HEIGHT, width=WIDTH)
        + "optimizer: {warmup_steps: 1}\n"
    )
    config = variants.Plan(path, path, steps=400).flow(variants.FLOW_VARIANTS[2], Path("p"))
    assert (config.steps, config.optimizer.warmup_steps) == (400, 100)
    assert [phase.until_step for phase in config.phases] == [200]
    assert config.prompt_checkpoint == "p"


def test_a_page_without_markers_is_refused_and_stays(benchmark, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- ablation: end --> <!-- ablation: begin -->")
    with pytest.raises(ValueError, match="must have the markers <!-- ablation: begin -->"):
        benchmark("results_table").replace_between_markers(page, "ablation", "new")
    assert page.read_text() == "<!-- ablation: end --> <!-- ablation: begin -->"


def test_startup_parts_a_start(benchmark, checkpoint, tmp_path):
    words = ["--model", str(checkpoint), "--device", "cpu", "--starts", "1", "--threads", "1"]
    words += ["--width", str(WIDTH), "--height", str(HEIGHT), "--backend", "eager"]
    path = tmp_path / "startup.json"
    benchmark("startup").main([*words, "--json", str(path)])
    figures = figures_in(path)
    parts = ["import_torch", "import_ppd", "build", "weights", "first_depth"]
    names = [*parts, "second_depth", "total"]
    prefixes = ("", "cold_", "warm_")
    assert figures.keys() == {f"{prefix}{name}" for prefix in prefixes for name in names}
    assert all(value > 0 for value in figures.values())
    for prefix in prefixes:
        measured = sum(figures[prefix + part] for part in parts)
        assert measured <= figures[f"{prefix}total"]
