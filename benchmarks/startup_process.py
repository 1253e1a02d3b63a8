"""One start, measured: `python startup_process.py JSON`; prints what took how long, as JSON.

Nothing may be imported before the clock runs.
"""

# ruff: noqa: E402, I001 - the order of the imports is what is measured
from __future__ import annotations

import json
import sys
import time

_IMPORT_S = time.perf_counter()
import torch

_TORCH_S = time.perf_counter()
from ppd_core import DepthPipeline
import numpy as np

_CORE_S = time.perf_counter()


def main() -> None:
    """The JSON has `start_s`, of the caller's `time.perf_counter` when it started us, `model`,
    `device`, `backend`, `threads`, `width` and `height`."""
    wanted = json.loads(sys.argv[1])
    if wanted["threads"] is not None:
        torch.set_num_threads(wanted["threads"])
    pipeline = DepthPipeline.from_pretrained(
        wanted["model"], device=wanted["device"], backend=wanted["backend"], download=False
    )
    image = np.zeros((wanted["height"], wanted["width"], 3), np.uint8)
    ends = [time.perf_counter()]
    for _ in range(2):
        pipeline(image).relative_depth.cpu()
        ends.append(time.perf_counter())
    seconds = {
        "import_torch": _TORCH_S - _IMPORT_S,
        "import_ppd": _CORE_S - _TORCH_S,
        **pipeline.load_seconds,
        "first_depth": ends[1] - ends[0],
        "second_depth": ends[2] - ends[1],
        "total": ends[1] - wanted["start_s"],
    }
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
