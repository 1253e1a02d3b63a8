"""How far from float32 each precision and backend is: `python benchmarks/rounding.py --json FILE`.

The same images from the same noise; the reference is the plain path in float32 on the same device.
Figures, by `<precision>.<backend>`: `rmse` and `max` of the difference of relative depth at model
size, and of the reference itself `spread`, its standard deviation. A published model is
given random weights: what is rounded where does not depend on their values.
`precision.py` says what the rounding does to depth in metres.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from itertools import islice, product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ppd_core import DepthPipeline
from ppd_core.bag.messages import message_to_rgb
from ppd_core.bag.reader import BagReader
from ppd_core.bench.configuration import Way
from ppd_core.bench.report import hardware, print_figures, write_report
from ppd_core.config import PRESETS
from ppd_core.device import DTYPES
from ppd_core.registry import packaged_recording

IMAGES = 4
IMAGE_TOPIC = "/camera/image/compressed"
GAIN = 0.5
"""Of random layers: what they give has about half the spread of what they get."""


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and write the JSON after each way; 1 where one of them failed."""
    args = _arguments(argv)
    figures: dict[str, float] = {}
    is_failed = False
    with tempfile.TemporaryDirectory() as folder:
        model = args.model
        if PRESETS[model].weights:
            model = random_checkpoint(model, Path(folder) / "random.safetensors", args.device)
        reference = depths(model, args, Way("eager", torch.float32))
        figures["spread"] = float(reference.std())
        for backend, dtype in product(args.backend, args.dtype):
            way = Way(backend, DTYPES[dtype])
            try:
                difference = depths(model, args, way) - reference
            except (ValueError, RuntimeError) as error:  # of this way alone
                print(f"{way.name}: {error}", file=sys.stderr)
                is_failed = True
                continue
            figures[f"{way.name}.rmse"] = math.sqrt(float(difference.square().mean()))
            figures[f"{way.name}.max"] = float(difference.abs().max())
            if args.json is not None:
                write_report(args.json, figures)
    print_figures(figures)
    print(hardware())
    return int(is_failed)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="nano", choices=PRESETS, help="(default: nano)")
    parser.add_argument("--device", help="default: cuda if there is one, else cpu")
    parser.add_argument(
        "--dtype", nargs="+", choices=DTYPES, default=["bfloat16", "float16", "float8"]
    )
    parser.add_argument("--backend", nargs="+", default=["eager", "graph"], metavar="NAME")
    parser.add_argument("--processing-area", type=int, metavar="PIXELS", help="(default: its own)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    return parser.parse_args(argv)


def random_checkpoint(name: str, path: Path, device: str | None) -> Path:
    """Write the preset with random weights, none of them zero as training begins with some."""
    pipeline = DepthPipeline.from_config(PRESETS[name], device=device, backend="eager")
    assert pipeline.models is not None
    generator = torch.Generator(pipeline.device).manual_seed(0)
    with torch.no_grad():
        for parameter in pipeline.models.parameters():
            if parameter.dim() > 1:
                std = GAIN / math.sqrt(parameter[0].numel())
                parameter.normal_(0, std, generator=generator)
    pipeline.save_pretrained(path)
    return path


def depths(model: str | Path, args: argparse.Namespace, way: Way) -> Tensor:
    """(N, h, w) float64 on the CPU, relative depth of the images at model size."""
    pipeline = DepthPipeline.from_pretrained(
        model, device=args.device, dtype=way.dtype, backend=way.backend, download=False
    )
    results = [pipeline(image, processing_area=args.processing_area) for image in images()]
    return torch.stack([one.relative_depth_model.double().cpu() for one in results])


def images() -> list[np.ndarray]:
    """The first of the packaged recording, (H, W, 3) uint8."""
    with BagReader(packaged_recording()) as reader:
        recorded = islice(reader.messages([IMAGE_TOPIC]), IMAGES)
        return [message_to_rgb(reader.deserialize(one)) for one in recorded]


if __name__ == "__main__":
    sys.exit(main())
