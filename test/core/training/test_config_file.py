from __future__ import annotations

from pathlib import Path

import pytest

from ppd_core.config import PromptConfig
from ppd_core.registry import REGISTRY
from ppd_core.training.config_file import load_config

CONFIGS = Path(__file__).parents[3] / "config" / "train"
MINIMAL = """
objective: regression
steps: 10
data:
  sources: [{urls: somewhere}]
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(MINIMAL)
    return path


@pytest.mark.parametrize("name", ["pretrain", "finetune", "nano_prompt", "nano"])
def test_shipped_configs_are_whole(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.yaml")
    assert config.output == f"runs/{name}"
    assert config.validation.sources


def test_paper_stages_have_the_published_values() -> None:
    first, second = (load_config(CONFIGS / f"{name}.yaml") for name in ("pretrain", "finetune"))
    assert (first.data.size, second.data.size) == ((512, 512), (768, 1024))
    assert (first.gradient_weight, second.gradient_weight) == (0.0, 0.2)
    assert {one.optimizer.lr for one in (first, second)} == {1e-4}
    assert second.pipeline_config().model.prediction == "velocity"
    assert [source.weight for source in second.data.sources] == [0.5, 0.15, 0.15, 0.1, 0.1]


@pytest.mark.parametrize(("kind", "name"), [("mae", "mae-vitl"), ("vggt", "vggt-1b")])
def test_the_prompts_of_the_ablation_are_had_by_the_changes_that_the_file_names(
    kind: str, name: str
) -> None:
    path = CONFIGS / "pretrain.yaml"
    assert kind in path.read_text() and name in path.read_text() and name in REGISTRY
    config = load_config(path, [f"prompt.kind={kind}", f"prompt_checkpoint={name}"])
    assert config.pipeline_config().prompt == PromptConfig(kind, "l")


def test_changes_go_into_nested_fields_and_lists(config_file: Path) -> None:
    changes = [
        "optimizer.lr=3e-4",  # text in YAML 1.1
        "data.size=[96, 128]",
        "phases=[{until_step: 4, batch_size: 8}]",
        "phases.0.until_step=5",
        "data.sources.0.weight=2",
        "model.hidden_size=96",
    ]
    config = load_config(config_file, changes)
    assert config.optimizer.lr == 3e-4
    assert config.data.size == (96, 128)
    assert (config.phases[0].until_step, config.phases[0].batch_size) == (5, 8)
    assert config.data.sources[0].weight == 2.0
    assert config.pipeline_config().model.hidden_size == 96
    assert config.pipeline_config().preprocess.processing_area == 96 * 128


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optimiser.lr=1", "unknown key optimiser"),
        ("optimizer.rate=1", "unknown key optimizer.rate"),
        ("data.sources.0.url=x", "unknown key data.sources.0.url"),
        ("model.width=3", "model has no field width"),
        ("steps=many", "steps must be a whole number, got 'many'"),
        ("steps=true", "steps must be a whole number, got True"),
        ("steps=1.5", "steps must be a whole number, got 1.5"),
        ("steps=0", "steps must be >= 1, got 0"),
        ("data.cache=1", "data.cache must be true or false, got 1"),
        ("data.size=[100, 128]", "data.size must be (height, width), multiples of 16"),
        ("data.size=[128]", "data.size must be 2 values"),
        ("data.sources=[]", "at least one source"),
        ("data.sources.0.dataset=hypersim", "either urls or dataset"),
        ("data.sources.1.weight=1", "must be an index below 1"),
        (
            "objective=diffusion",
            "objective must be one of flow, regression, surfaces, got 'diffusion'",
        ),
        ("optimizer.betas=[0.9, 1.0]", "betas must be in [0, 1)"),
        ("optimizer.lr_scales={encoder.: 0}", "lr_scales.encoder. must be above 0, got 0"),
        ("timesteps.grid_steps=0", "num_steps must be in [1, 1000], got 0"),
        ("phases=[{until_step: 9}, {until_step: 5}]", "phases.until_step must rise"),
        ("steps", "must be like key=value"),
    ],
)
def test_wrong_values_are_refused_by_name(config_file: Path, change: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        load_config(config_file, [change])
    assert message in str(caught.value)


def test_missing_keys_are_named(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("objective: flow\ndata: {sources: [{urls: x}]}\n")
    with pytest.raises(ValueError, match="missing key steps"):
        load_config(path)


def test_a_file_that_is_no_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        load_config(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    with pytest.raises(ValueError, match="not YAML"):
        load_config(broken)


def test_a_phase_is_complete_and_ends(config_file: Path) -> None:
    config = load_config(
        config_file, ["phases=[{until_step: 4, size: [32, 48]}]", "data.size=[64, 96]"]
    )
    assert config.phase_at(3).size == (32, 48)
    assert config.phase_at(3).batch_size == config.data.batch_size
    assert config.phase_at(4).size == (64, 96)
