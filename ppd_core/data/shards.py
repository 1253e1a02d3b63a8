"""Depth samples in WebDataset shards: tar files of small files, read as one stream.

A sample is five files that share a key: `KEY.image.png` (8 bit RGB), `KEY.depth.npy` (float32,
metres along the optical z axis, +inf where nothing is), `KEY.sensor.png` (uint16 millimetres,
0 = hole; may be missing) and `KEY.camera.json`. A shard is complete or not there.

Source of the layout: WebDataset, https://github.com/webdataset/webdataset.
"""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ppd_core.atomic_file import atomic_write

SHARD_PATTERN = "shard-*.tar"
SENSOR_MAX_MM = np.iinfo(np.uint16).max
# Entropy coding alone: three times as fast as the usual search, and no larger for rendered images.
_PNG_OPTIONS = [cv2.IMWRITE_PNG_COMPRESSION, 1]
_PNG_OPTIONS += [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]
if hasattr(cv2, "IMWRITE_PNG_FILTER"):  # not before OpenCV 4.12
    _PNG_OPTIONS += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]


@dataclass(frozen=True, eq=False)
class DepthSample:
    """An image with its depth.

    Attributes:
        key: what the sample is called; unique in its data set, without a dot.
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float32, metres along the optical z axis; +inf = nothing there, NaN = not
            known.
        sensor_depth: (H, W) float32, the same as a depth sensor saw it, NaN = hole; or None.
        camera: "width", "height", "fx", "fy", "cx", "cy", and what else its maker knew of it.
    """

    key: str
    image: np.ndarray
    depth: np.ndarray
    sensor_depth: np.ndarray | None
    camera: dict[str, Any]


def shard_name(index: int) -> str:
    """The file name of shard `index`: 7 -> "shard-000007.tar"."""
    return f"shard-{index:06d}.tar"


def list_shards(source: str | Path | Sequence[str]) -> list[str]:
    """Find the shards that are meant: a folder's in sorted order, others as they are named.

    Args:
        source: a folder of `shard-*.tar`; a path or URL, where braces count
            ("https://host/set/shard-{000000..000099}.tar") and "pipe:COMMAND" reads a command's
            output; or several of these.

    Raises:
        ValueError: nothing is there; the message says where.
    """
    if not isinstance(source, str | Path):
        return [shard for one in source for shard in list_shards(one)]
    if Path(source).is_dir():
        shards = sorted(str(path) for path in Path(source).glob(SHARD_PATTERN))
    else:
        from webdataset.shardlists import expand_urls

        shards = expand_urls(str(source))
    missing = [shard for shard in shards if ":" not in shard and not Path(shard).is_file()]
    if missing:
        raise ValueError(f"no such shard or folder: {missing[0]}")
    if not shards:
        raise ValueError(f"no {SHARD_PATTERN} in folder {source}")
    return shards


def iterate_shards(
    source: str | Path | Sequence[str],
    *,
    seed: int,
    epoch: int,
    rank: int = 0,
    world: int = 1,
    skip: int = 0,
    shuffle_buffer: int = 0,
) -> Iterator[DepthSample]:
    """Read one epoch of this reader's share, in an order that the arguments determine.

    All readers shuffle the shards alike, by `seed` and `epoch`, and reader `rank` takes every
    `world`-th of them. The shares differ in length where the shards do not divide evenly.

    Args:
        source: as in `list_shards`.
        seed, epoch: what the order is drawn from.
        rank, world: which of how many readers this is. Count the workers of a data loader too.
        skip: samples to leave out at the start, undecoded: where an interrupted epoch goes on.
        shuffle_buffer: samples, undecoded, that are mixed before they come out; 0 keeps the
            order inside a shard.

    Raises:
        ValueError: wrong arguments, fewer shards than readers, or a shard that cannot be read;
            the message names it.
    """
    if not 0 <= rank < world:
        raise ValueError(f"rank must be in [0, world), got rank {rank} of {world}")
    if skip < 0 or shuffle_buffer < 0:
        raise ValueError(
            f"skip and shuffle_buffer must be >= 0, got skip {skip}, buffer {shuffle_buffer}"
        )
    shards = list_shards(source)
    if len(shards) < world:
        raise ValueError(f"{world} readers need as many shards, got {len(shards)}")
    # Seeded by text: Random hashes it with SHA-512, the same in every process and version.
    random.Random(f"shards {seed} {epoch}").shuffle(shards)
    files: Iterator[dict[str, Any]] = (
        one for shard in shards[rank::world] for one in _read_shard(shard)
    )
    if shuffle_buffer:
        files = _shuffled(files, shuffle_buffer, random.Random(f"{seed} {epoch} {rank} {world}"))
    return (decode_sample(one) for one in islice(files, skip, None))


def _shuffled(
    files: Iterator[dict[str, Any]], buffer_size: int, rng: random.Random
) -> Iterator[dict[str, Any]]:
    """Swap each newcomer with a random one of the last `buffer_size`."""
    buffer = list(islice(files, buffer_size))
    for one in files:
        index = rng.randrange(buffer_size)
        yield buffer[index]
        buffer[index] = one
    rng.shuffle(buffer)
    yield from buffer


def _read_shard(url: str) -> Iterator[dict[str, Any]]:
    """The samples of a shard, each a dict of file bytes by name, with "__key__"."""
    from webdataset.tariterators import tarfile_samples

    try:
        yield from tarfile_samples([{"url": url}])
    except (OSError, EOFError, tarfile.TarError) as error:
        # WebDataset adds to the arguments, so str() would be more than the reason.
        reason = getattr(error, "strerror", None) or error.args[0]
        raise ValueError(f"cannot read shard {url}: {reason}") from error


def write_shard(path: str | Path, samples: Iterable[DepthSample]) -> int:
    """Write a shard that appears under `path` only when it is complete.

    The same samples give the same bytes: no time, user or machine is recorded.

    Returns:
        The number of samples.

    Raises:
        ValueError: nothing can be created there, or a sample cannot be stored.
        OSError: the disk failed while writing.
    """
    from webdataset.writer import TarWriter

    count = 0
    facts = {"mtime": 0, "user": "", "group": "", "mode": 0o644}
    with atomic_write(path) as stream, TarWriter(stream, encoder=False, **facts) as tar:
        for sample in samples:
            tar.write(encode_sample(sample))
            count += 1
    return count


def encode_sample(sample: DepthSample) -> dict[str, str | bytes]:
    """The files of a sample by name, and its "__key__".

    Raises:
        ValueError: the arrays are not what `DepthSample` says, or the key has a dot or slash.
    """
    if not sample.key or "." in sample.key or "/" in sample.key:
        raise ValueError(f"a key must be text without dots and slashes, got {sample.key!r}")
    _check("image", sample.image, (*sample.depth.shape, 3), np.uint8)
    _check("depth", sample.depth, sample.image.shape[:2], np.float32)
    depth_file = io.BytesIO()
    np.save(depth_file, sample.depth, allow_pickle=False)
    files: dict[str, str | bytes] = {
        "__key__": sample.key,
        "image.png": _encode_png(sample.image[..., ::-1]),
        "depth.npy": depth_file.getvalue(),
        "camera.json": json.dumps(sample.camera, sort_keys=True).encode(),
    }
    if sample.sensor_depth is not None:
        _check("sensor_depth", sample.sensor_depth, sample.depth.shape, np.float32)
        files["sensor.png"] = _encode_png(_to_millimetres(sample.sensor_depth))
    return files


def decode_sample(files: dict[str, Any]) -> DepthSample:
    """The inverse of `encode_sample`; sensor depth comes back in whole millimetres.

    Raises:
        ValueError: a file is missing or broken; the message names the sample.
    """
    key = files["__key__"]
    missing = {"image.png", "depth.npy", "camera.json"} - files.keys()
    if missing:
        raise ValueError(f"sample {key} lacks {', '.join(sorted(missing))}")
    sensor_depth = None
    try:
        image = _decode_png(files["image.png"], cv2.IMREAD_COLOR)[..., ::-1]
        depth = np.load(io.BytesIO(files["depth.npy"]), allow_pickle=False)
        camera = json.loads(files["camera.json"])
        if "sensor.png" in files:
            millimetres = _decode_png(files["sensor.png"], cv2.IMREAD_UNCHANGED)
            sensor_depth = millimetres.astype(np.float32) / np.float32(1000)
            sensor_depth[millimetres == 0] = np.nan
    except (ValueError, EOFError) as error:
        raise ValueError(f"sample {key} is broken: {error}") from error
    return DepthSample(key, np.ascontiguousarray(image), depth, sensor_depth, camera)


def _check(name: str, array: np.ndarray, shape: tuple[int, ...], dtype: type) -> None:
    if array.shape != shape or array.dtype != dtype:
        wanted = f"{shape} {np.dtype(dtype).name}"
        raise ValueError(f"{name} must be {wanted}, got {array.shape} {array.dtype}")


def _to_millimetres(depth: np.ndarray) -> np.ndarray:
    """uint16, 0 where the depth is no number or does not fit."""
    millimetres = np.rint(depth * np.float32(1000))
    fits = (millimetres > 0) & (millimetres <= SENSOR_MAX_MM)
    return np.where(fits, millimetres, 0).astype(np.uint16)


def _encode_png(array: np.ndarray) -> bytes:
    done, encoded = cv2.imencode(".png", array, _PNG_OPTIONS)
    if not done:
        raise ValueError(f"cannot store {array.shape} {array.dtype} as PNG")
    return encoded.tobytes()


def _decode_png(data: bytes, mode: int) -> np.ndarray:
    # OpenCV refuses an empty buffer with an error of its own.
    array = cv2.imdecode(np.frombuffer(data, np.uint8), mode) if data else None
    if array is None:
        raise ValueError("not a PNG image")
    return array
