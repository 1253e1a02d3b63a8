"""The paper's claims in miniature: `python benchmarks/ablation.py --data DIR --json FILE`.

Trains each variant with the same data and the same number of steps, and measures all of them on
the held-out scenes at model size: AbsRel, delta1, flying pixels and the edge-aware Chamfer
distance. Interrupted and run again, it continues: what is trained stays.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from held_out import FRAMES, held_out_batches, make_held_out
from predict import model_images, regressed, sampled, target_depth
from results_table import markdown_table, replace_between_markers
from scores import Scores
from torch import Tensor
from tqdm import tqdm
from vae import load_vae, read_note, train_vae
from variants import FLOW_VARIANTS, TRUTH, TWIN, VAE, VARIANTS, Plan

from ppd_core import DepthPipeline, weights
from ppd_core.bench.report import command, hardware, write_report
from ppd_core.config import config_from_json
from ppd_core.device import resolve_device
from ppd_core.training.checkpoints import list_checkpoints, step_of
from ppd_core.training.config import TrainConfig
from ppd_core.training.run import plain
from ppd_core.training.setup import EXPORT_NAMES
from ppd_core.training.targets import depth_target
from ppd_core.training.train import train

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Images (B, 3, h, w), truth and mask (B, h, w) -> relative depth (B, h, w)."""

COLUMNS = {
    "absrel": ("AbsRel", "{:.4f}"),
    "delta1": ("delta1", "{:.4f}"),
    "flying_share": ("flying pixels", "{:.3f}"),
    "unresolved_share": ("unresolved edges", "{:.3f}"),
    "edge_chamfer_m": ("edge Chamfer, m", "{:.4f}"),
}


class InterruptedRunError(Exception):
    """A run was told to stop; the number is the signal's."""


def main(argv: list[str] | None = None) -> int:
    """Train what is missing, measure, print and write."""
    args = _arguments(argv)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    plan = Plan(args.config, args.twin_config, args.data, args.steps, tuple(args.changes))
    make_held_out(args.held_out, args.limit, args.processes)
    try:
        predicts = train_all(plan, args.out, set(args.only), resolve_device(args.device))
    except InterruptedRunError as stop:
        print("ablation: stopped; the same command goes on", file=sys.stderr)
        return 128 + stop.args[0]
    figures = measure(predicts, plan, args.held_out, args.limit, args.batch_size)
    table = table_of(figures)
    print(table, hardware(), sep="\n\n")
    if args.json is not None:
        write_report(args.json, figures)
    if args.markdown is not None:
        made = f"{table}\n\nMade by `{command()}`; {hardware()}."
        replace_between_markers(args.markdown, "ablation", made)
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    names = [variant.name for variant in VARIANTS]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    paths = {
        "--data": (None, "training shards (default: as in the configs)"),
        "--held-out": ("out/held_out", "the held-out frames; rendered if missing"),
        "--out": ("out/ablation", "the runs"),
        "--config": ("config/train/nano.yaml", "of the diffusion models"),
        "--twin-config": ("config/train/nano_prompt.yaml", "of the regression"),
    }
    for flag, (default, text) in paths.items():
        shown = f" (default: {default})" if default else ""
        path = default and Path(default)
        parser.add_argument(flag, type=Path, default=path, metavar="PATH", help=text + shown)
    parser.add_argument("--steps", type=int, metavar="N", help="of every run")
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a field of both configs; may come several times",
    )
    parser.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="VARIANT", help=str(names)
    )
    parser.add_argument("--limit", type=int, default=FRAMES, metavar="N", help="frames to measure")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="of measuring")
    parser.add_argument("--threads", type=int, metavar="N", help="torch's (default: its own)")
    parser.add_argument("--processes", type=int, metavar="N", help="that render frames")
    parser.add_argument("--device", help="default: cuda if there is one, else cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument(
        "--markdown", type=Path, metavar="PAGE", help="rewrite the table of that page"
    )
    return parser.parse_args(argv)


def train_all(plan: Plan, out: Path, names: set[str], device: torch.device) -> dict[str, Predict]:
    """Train the named variants as far as they are not, and give what each predicts."""
    predicts: dict[str, Predict] = {}
    prompt = run_of(plan.twin(), out / TWIN.name)
    for variant in FLOW_VARIANTS:
        if variant.name in names:
            path = run_of(plan.flow(variant, prompt), out / variant.name)
            pipeline = DepthPipeline.from_pretrained(path, device=device, dtype=torch.float32)
            predicts[variant.name] = partial(_sampled, pipeline)
    if TWIN.name in names:
        predicts[TWIN.name] = partial(_regressed, twin_pipeline(prompt, device))
    if VAE.name in names:
        # The flow's batches, not the twin's: it stands beside the sampled fields.
        vae_config = plan.flow(FLOW_VARIANTS[0], prompt)
        path = vae_run(vae_config, out / VAE.name / "vae.safetensors", device)
        predicts[VAE.name] = partial(_round_trip, load_vae(path, device))
    if TRUTH.name in names:
        predicts[TRUTH.name] = _truth
    return predicts


def run_of(config: TrainConfig, output: Path) -> Path:
    """The file that a run of this config exports; trained from where it stands.

    Raises:
        ValueError: the folder holds a run of another config.
        InterruptedRunError: a signal ended it.
    """
    if found := list_checkpoints(output):
        old = json.loads((found[-1] / "state.json").read_text())["config"]
        _require_same(output, old, plain(config))
    is_done = bool(found) and step_of(found[-1]) >= config.steps
    if not is_done and (signal_number := train(config, output, resume=True)):
        raise InterruptedRunError(signal_number)
    return list_checkpoints(output)[-1] / EXPORT_NAMES[config.objective]


def vae_run(config: TrainConfig, path: Path, device: torch.device) -> Path:
    """The same for the VAE, whose training is short and starts anew."""
    wanted = plain(config)
    if path.exists():
        _require_same(path.parent, json.loads(read_note(path)), wanted)
    else:
        train_vae(config, device, path, json.dumps(wanted))
    return path


def _require_same(output: Path, old: dict[str, object], new: dict[str, object]) -> None:
    different = sorted(key for key in old | new if old.get(key) != new.get(key))
    if different:
        raise ValueError(
            f"{output} holds a run with other {', '.join(different)}: take another --out"
        )


def twin_pipeline(path: Path, device: torch.device) -> DepthPipeline:
    """A pipeline whose prompt is the one in the file; its SP-DiT is untrained and not used."""
    tensors, metadata = weights.read_checkpoint(path, dtype=torch.float32)
    config = config_from_json(metadata["ppd_config"])
    pipeline = DepthPipeline.from_config(config, device=device, dtype=torch.float32)
    weights.load_strict(pipeline.models["semantics"], tensors, strip_prefix="semantics.")
    return pipeline


def _sampled(pipeline: DepthPipeline, images: Tensor, _depth: Tensor, _valid: Tensor) -> Tensor:
    return sampled(pipeline, images)


def _regressed(pipeline: DepthPipeline, images: Tensor, _depth: Tensor, _valid: Tensor) -> Tensor:
    return regressed(pipeline, images)


def _round_trip(vae: torch.nn.Module, _images: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
    field = depth_target(depth[:, None], valid[:, None])
    return vae(field.to(next(vae.parameters()).device))[:, 0] + 0.5


def _truth(_images: Tensor, depth: Tensor, valid: Tensor) -> Tensor:
    return target_depth(depth, valid)


def measure(
    predicts: dict[str, Predict], plan: Plan, folder: Path, frames: int, batch_size: int
) -> dict[str, float]:
    """`<variant>.absrel` and so on, on the first held-out frames at model size."""
    area = plan.processing_area()
    scores = {name: Scores() for name in predicts}
    with tqdm(total=frames, desc="measure", unit="frame") as progress:
        for batch in held_out_batches(folder, frames, batch_size):
            images = model_images(batch.images, area)
            depth, valid_mask, cameras = batch.truth_at(*images.shape[-2:])
            for name, predict in predicts.items():
                relative = predict(images, depth, valid_mask)
                scores[name].add(relative, depth, valid_mask, cameras)
            progress.update(len(batch.images))
    return {
        f"{name}.{figure}": value
        for name, one in scores.items()
        for figure, value in one.figures().items()
    }


def table_of(figures: dict[str, float]) -> str:
    """The Markdown table of the variants that were measured."""
    rows = [
        [variant.title]
        + [form.format(figures[f"{variant.name}.{name}"]) for name, (_, form) in COLUMNS.items()]
        for variant in VARIANTS
        if f"{variant.name}.absrel" in figures
    ]
    return markdown_table(["variant", *[title for title, _ in COLUMNS.values()]], rows)


if __name__ == "__main__":
    sys.exit(main())
