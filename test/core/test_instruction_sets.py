"""Parity and half precision as lesser processors compute them, as far as this one can show it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ppd_core.machine_facts import INSTRUCTION_SETS, ISA_LIMIT

HERE = Path(__file__).parent
PLACES = ("models/test_semantics.py", "models/test_sp_dit.py", "bench/test_eager_autocast.py")
PLACES += ("test_pipeline.py", "test_precision.py")
NEEDED = {"AVX2": "AVX2", "AVX512_CORE_BF16": "AVX512_BF16", "ALL": None}
"""What oneDNN is limited to -> what the processor must have, of `INSTRUCTION_SETS`."""
TIMEOUT_S = 170.0


@pytest.mark.parametrize("limit", NEEDED)
def test_parity_and_half_precision_hold_within_an_instruction_set(limit):
    needed = NEEDED[limit]
    if needed is not None and not getattr(torch.cpu, INSTRUCTION_SETS[needed], bool)():
        pytest.skip(f"this processor has no {needed}")
    if limit == os.environ.get(ISA_LIMIT, "ALL"):
        pytest.skip(f"the other tests run with {ISA_LIMIT}={limit} already")
    files = [str(HERE / place) for place in PLACES]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "processor",
            "-p",
            "no:cacheprovider",
            *files,
        ],
        cwd=HERE.parents[1],
        env={**os.environ, ISA_LIMIT: limit},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) >= len(PLACES)
