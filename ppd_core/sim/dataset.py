"""What a simulated data set consists of, and the manifest that says so beside its shards."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import mujoco

from ppd_core.atomic_file import atomic_write
from ppd_core.data.shards import SHARD_PATTERN
from ppd_core.sim.depth_sensor import DepthSensorConfig
from ppd_core.sim.scenes import HELD_OUT_SEEDS
from ppd_core.version import __version__

MANIFEST_NAME = "dataset.json"
_SEED_LIMIT = 10**9
"""Keys have nine digits for a scene's seed."""


@dataclass(frozen=True)
class DatasetConfig:
    """What a data set consists of; it determines every byte, on the same machine.

    Args:
        seed: the first scene's; the others count on from it.
        count: frames.
        width, height: of a frame, pixels.
        views_per_scene: frames of each scene (of the last one, what is left).
        scenes_per_shard: scenes in each shard.
        is_held_out: whether these are scenes for evaluation; `HELD_OUT_SEEDS` must hold all of
            their seeds then, and none otherwise.
        sensor: the faults of the depth sensor.

    Raises:
        ValueError: a value is not usable; the message says which and what came.
    """

    seed: int
    count: int
    width: int = 320
    height: int = 240
    views_per_scene: int = 8
    scenes_per_shard: int = 16
    is_held_out: bool = False
    sensor: DepthSensorConfig = field(default_factory=DepthSensorConfig)

    def __post_init__(self) -> None:
        for name in ("count", "width", "height", "views_per_scene", "scenes_per_shard"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.views_per_scene > 100:
            raise ValueError(f"views_per_scene must be <= 100, got {self.views_per_scene}")
        last = self.scene_seeds[-1]
        if self.seed < 0 or last >= _SEED_LIMIT:
            raise ValueError(f"scene seeds must be in [0, 10**9), got {self.seed} to {last}")
        reserved = f"{HELD_OUT_SEEDS[0]} to {HELD_OUT_SEEDS[-1]}"
        got = f"got scene seeds {self.seed} to {last}"
        if self.is_held_out:
            if self.seed not in HELD_OUT_SEEDS or last not in HELD_OUT_SEEDS:
                raise ValueError(f"held-out scenes have the seeds {reserved}, {got}")
        elif self.seed <= HELD_OUT_SEEDS[-1] and last >= HELD_OUT_SEEDS[0]:
            raise ValueError(f"seeds {reserved} are held out for evaluation, {got}")

    @property
    def scene_seeds(self) -> range:
        """The seeds of all scenes."""
        return range(self.seed, self.seed + -(-self.count // self.views_per_scene))

    @property
    def shard_count(self) -> int:
        """How many shards the data set has."""
        return -(-len(self.scene_seeds) // self.scenes_per_shard)

    def frames_in_shard(self, index: int) -> int:
        """How many frames shard `index` has: the last one may have less."""
        full = self.scenes_per_shard * self.views_per_scene
        return min(full, self.count - index * full)


def manifest(config: DatasetConfig) -> dict[str, Any]:
    """What `dataset.json` says: the config, and the versions that the frames depend on."""
    versions = {"ppd_ros": __version__, "mujoco": mujoco.__version__}
    return {**asdict(config), "versions": versions}


def write_manifest(folder: Path, config: DatasetConfig) -> None:
    """Write it, or make sure that the one that is there says the same.

    Raises:
        ValueError: the folder holds another data set.
    """
    path = folder / MANIFEST_NAME
    wanted = json.loads(json.dumps(manifest(config)))
    if not path.exists():
        if any(folder.glob(SHARD_PATTERN)):
            raise ValueError(f"{folder} holds shards without {MANIFEST_NAME}: take another folder")
        with atomic_write(path) as stream:
            stream.write(json.dumps(wanted, indent=2).encode() + b"\n")
        return
    try:
        found = dict(json.loads(path.read_text()))
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    for name in wanted | found:
        if wanted.get(name) != found.get(name):
            raise ValueError(
                f"{folder} holds another data set, its {name} is {found.get(name)}, "
                f"got {wanted.get(name)}: give the same, or take another folder"
            )
