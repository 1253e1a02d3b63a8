"""The shards that `ppd sim generate` writes, as a set to measure on: exact depth, and a sensor's.

A shard is a tar file, made to be read from front to back; here its samples are found once, by the
headers, and each is then read from its place.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ppd_core.data.eval_samples import EvalSample, Listing, make_eval_sample
from ppd_core.data.frames import Layout
from ppd_core.data.shards import SHARD_PATTERN, decode_sample
from ppd_core.types import Intrinsics

MANIFEST_FILE = "dataset.json"

LAYOUT = f"ROOT/{SHARD_PATTERN} and ROOT/{MANIFEST_FILE} (ppd sim generate --held-out -o ROOT)"


class _Place(NamedTuple):
    shard: Path
    key: str
    files: dict[str, tuple[int, int]]  # "depth.npy" -> offset and size


def open_simulated(root: Path) -> Listing:
    """All samples of all shards.

    Args:
        root: the folder of the shards.

    Raises:
        ValueError: there is no shard, or one cannot be read.
    """
    layout = Layout("simulated", root, LAYOUT)
    shards = sorted(root.glob(SHARD_PATTERN))
    if not shards:
        raise layout.missing(root / SHARD_PATTERN, "file")
    places = [place for shard in shards for place in _places(shard)]
    return Listing([place.key for place in places], partial(_read, places), _split(root))


def _places(shard: Path) -> list[_Place]:
    found: dict[str, _Place] = {}
    try:
        with tarfile.open(shard) as tar:
            for member in tar:
                key, _, name = member.name.partition(".")
                place = found.setdefault(key, _Place(shard, key, {}))
                place.files[name] = member.offset_data, member.size
    except (OSError, EOFError, tarfile.TarError) as error:
        raise ValueError(f"cannot read shard {shard}: {error}") from error
    return list(found.values())


def _read(places: Sequence[_Place], index: int) -> EvalSample:
    place = places[index]
    files: dict[str, str | bytes] = {"__key__": place.key}
    with place.shard.open("rb") as stream:
        for name, (offset, size) in place.files.items():
            stream.seek(offset)
            files[name] = stream.read(size)
    try:
        sample = decode_sample(files)
        camera = Intrinsics(
            **{name: sample.camera[name] for name in ("width", "height", "fx", "fy", "cx", "cy")}
        )
    except (ValueError, LookupError) as error:
        raise ValueError(f"{place.shard}: {error}") from error
    return make_eval_sample(
        place.key,
        sample.image,
        sample.depth.astype(np.float32, copy=False),
        intrinsics=camera,
        sensor_depth=sample.sensor_depth,
    )


def _split(root: Path) -> str:
    path = root / MANIFEST_FILE
    if not path.is_file():
        return "unknown: there is no dataset.json"
    try:
        is_held_out = bool(json.loads(path.read_text(encoding="utf-8"))["is_held_out"])
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"cannot read {path}: {error!r}") from error
    return "held-out scenes" if is_held_out else "scenes that training may have seen"
