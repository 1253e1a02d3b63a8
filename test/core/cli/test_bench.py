from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from ppd_core.bench import ceiling
from ppd_core.bench.configuration import BASES, PRECISIONS
from ppd_core.cli import bench, main
from ppd_core.device import DTYPES

Run = Callable[..., int]
FIGURES = {"p50_ms", "p95_ms", "frames", "frames_per_s", "tflops", "start_s", "ceiling_share"}
STAGES = {"preprocess_ms", "prompt_ms", "sample_ms", "upsample_ms", "align_ms"}


@pytest.fixture
def ppd_bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """`ppd bench WORDS` on the CPU, in little time."""
    monkeypatch.setattr(ceiling, "SIDES", (64,))
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(["bench", "--device", "cpu", "--seconds", "0.01", *words])


def figures_in(path: Path) -> dict[str, float]:
    content = json.loads(path.read_text())
    assert all(isinstance(content.pop(name), str) for name in ("hardware", "versions", "command"))
    assert all(isinstance(value, float) and math.isfinite(value) for value in content.values())
    return content


def of_one(figures: dict[str, float], name: str) -> dict[str, float]:
    found = {k.removeprefix(f"{name}."): v for k, v in figures.items() if k.startswith(name)}
    found.pop("peak_mb", None)  # only where the system tells
    return found


def test_a_plain_run_compares_nano_with_both_bases(
    ppd_bench: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ppd_bench("--size", "32x16", "--json", "a.json") == 0
    figures = figures_in(Path("a.json"))
    eager = of_one(figures, "fp32.eager.32x16.2")
    ratios = {"ratio_to_eager_autocast", "ratio_to_eager_autocast_bf16"}
    assert eager.keys() == FIGURES | STAGES | ratios
    assert 0 < eager["p50_ms"] <= eager["p95_ms"]
    assert eager["ratio_to_eager_autocast"] == pytest.approx(
        figures["fp16.eager_autocast.32x16.2.p50_ms"] / eager["p50_ms"], rel=1e-3
    )
    assert 0.3 < sum(eager[name] for name in STAGES) / eager["p50_ms"] < 2
    assert figures["fp32.ceiling_tflops"] > 0
    out = capsys.readouterr().out
    for word in ("fp32.eager.32x16.2", "bf16.eager_autocast_bf16.32x16.2", "x eager-autocast"):
        assert word in out
    assert "at random" not in out


def test_every_axis_may_have_several_values(ppd_bench: Run) -> None:
    words = "--model nano --random --size 32x16 32x32 --steps 1 2 --batch 1 2 --base"
    assert ppd_bench(*words.split(), "--dtype", "bfloat16", "--json", "a.json") == 0
    figures = figures_in(Path("a.json"))
    timed = {name.removesuffix(".p50_ms") for name in figures if name.endswith(".p50_ms")}
    assert timed == {
        f"bf16.eager.{size}.{steps}{batch}"
        for size in ("32x16", "32x32")
        for steps in (1, 2)
        for batch in ("", ".b2")
    }
    assert {"bf16.eager.2.b2.pixel_exponent", "bf16.eager.32x16.b2.ms_per_step"} <= figures.keys()
    assert "bf16.eager.32x32.1.ms_per_image" in figures
    assert not [name for name in figures if "ratio" in name]


def test_a_sweep_tells_how_the_cost_grows(
    ppd_bench: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ppd_bench("--size", "32x16", "--base", "--sweep", "steps") == 0
    captured = capsys.readouterr()
    assert "fp32.eager.32x16: ms more for each step" in captured.out
    assert "timing 32x16.8, 3 of 3" in captured.err


def test_random_weights_are_named_so(ppd_bench: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert ppd_bench("--random", "--size", "16x16", "--steps", "1", "--base") == 0
    assert "weights made at random" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--size 100x96", "size must have sides that are multiples of 16, got 100x96"),
        ("--size 640", "must be WxH like 640x480, got '640'"),
        ("--steps 0", "num_steps must be in [1, 1000], got 0"),
        ("--batch 0", "batch must be >= 1, got 0"),
        ("--backend steam", "invalid choice: 'steam'"),
        ("--dtype float4", "invalid choice: 'float4'"),
        ("--seconds 0", "seconds must be > 0, got 0.0"),
        ("--device tpu", "device must be"),
        ("--steps 1 --sweep steps", "--sweep steps chooses them itself, got --steps, too"),
        ("--size 16x16 32x32 --sweep pixels", "chooses them itself, got --size, too"),
        ("--model nonsense", "unknown model 'nonsense'"),
        ("--model mine.safetensors --random", "only a preset can be built at random"),
    ],
)
def test_wrong_usage_is_told_in_one_sentence(
    ppd_bench: Run, words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ppd_bench(*words.split()) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("ppd bench: ")
    assert message in last


def test_missing_weights_are_not_fetched_but_random_ones_offered(
    ppd_bench: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert ppd_bench("--model", "ppd-da2", "--weights-dir", str(tmp_path / "none")) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("or give --random")


def test_options_name_what_the_package_has() -> None:
    assert set(DTYPES.values()) == set(PRECISIONS)
    assert set(bench.DTYPE_NAMES) < set(DTYPES)
    assert bench.BASE_NAMES == BASES


@pytest.mark.gpu
def test_on_cuda_the_plain_path_the_fast_one_and_the_base_are_timed(ppd_bench: Run) -> None:
    assert ppd_bench("--device", "cuda", "--size", "64x48", "--json", "a.json") == 0
    figures = figures_in(Path("a.json"))
    timed = {name.split(".")[1] for name in figures if name.endswith(".p50_ms")}
    assert timed == {"eager_autocast", "eager", "graph"}
    weights_mb = 20  # half precision
    assert all(value > weights_mb for name, value in figures.items() if name.endswith("peak_mb"))
    assert any(name.endswith(".ceiling_tflops") for name in figures)
