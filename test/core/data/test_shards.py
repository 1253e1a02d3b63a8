from __future__ import annotations

import functools
import http.server
import shutil
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("webdataset", reason="shards need webdataset")

from ppd_core.data import shards
from ppd_core.data.shards import (
    DepthSample,
    decode_sample,
    encode_sample,
    iterate_shards,
    list_shards,
    shard_name,
    write_shard,
)

HEIGHT, WIDTH = 6, 8


def make_sample(number: int) -> DepthSample:
    rng = np.random.default_rng(number)
    depth = rng.uniform(0.1, 9, (HEIGHT, WIDTH)).astype(np.float32)
    depth[0, 0] = np.inf
    sensor_depth = depth.copy()
    sensor_depth[:, 0] = np.nan
    image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return DepthSample(f"{number:09d}-00", image, depth, sensor_depth, {"scene_seed": number})


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """Five shards of four samples, numbered through."""
    for index in range(5):
        write_shard(
            tmp_path / shard_name(index), map(make_sample, range(4 * index, 4 * index + 4))
        )
    return tmp_path


def read_numbers(source: object, **options: int) -> list[int]:
    options = {"seed": 0, "epoch": 0} | options
    return [int(one.key.split("-")[0]) for one in iterate_shards(source, **options)]


def test_sample_survives_the_round_trip():
    sample = make_sample(3)
    back = decode_sample(encode_sample(sample))
    assert back.key == sample.key
    assert back.camera == {"scene_seed": 3}
    np.testing.assert_array_equal(back.image, sample.image)
    np.testing.assert_array_equal(back.depth, sample.depth)
    assert back.image.dtype == np.uint8
    assert back.depth.dtype == back.sensor_depth.dtype == np.float32
    np.testing.assert_allclose(back.sensor_depth, sample.sensor_depth, rtol=0, atol=0.00051)
    assert np.isnan(back.sensor_depth[:, 0]).all()


def test_sensor_depth_that_no_uint16_holds_becomes_a_hole():
    sensor_depth = np.full((HEIGHT, WIDTH), 1, np.float32)
    sensor_depth[0, :5] = [np.inf, -1, 65.535, 65.54, 0.0004]
    back = decode_sample(encode_sample(replace(make_sample(0), sensor_depth=sensor_depth)))
    holes = np.isnan(back.sensor_depth[0, :5])
    np.testing.assert_array_equal(holes, [True, True, False, True, True])


def test_sensor_depth_may_be_missing():
    assert (
        decode_sample(encode_sample(replace(make_sample(0), sensor_depth=None))).sensor_depth
        is None
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": "a.b"}, "without dots and slashes, got 'a.b'"),
        ({"key": ""}, "without dots and slashes, got ''"),
        ({"image": np.zeros((HEIGHT, WIDTH, 3))}, "uint8, got .* float64"),
        ({"depth": np.zeros((HEIGHT, WIDTH))}, r"depth must be \(6, 8\) float32"),
        ({"depth": np.zeros((3, 4), np.float32)}, r"image must be \(3, 4, 3\)"),
        ({"sensor_depth": np.zeros((3, 4), np.float32)}, "sensor_depth must be"),
    ],
)
def test_wrong_sample_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        encode_sample(replace(make_sample(0), **change))


def test_shard_that_went_away_is_named_with_the_reason(data_set):
    samples = iterate_shards(data_set, seed=0, epoch=0)
    for path in data_set.iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"cannot read shard .*\.tar: No such file"):
        next(samples)


@pytest.mark.parametrize("name", ["image.png", "depth.npy", "camera.json"])
def test_broken_sample_is_named(name):
    files = encode_sample(make_sample(7))
    with pytest.raises(ValueError, match=f"000000007-00 lacks {name}"):
        decode_sample({key: data for key, data in files.items() if key != name})
    for data in (b"\x00nothing", b""):
        with pytest.raises(ValueError, match="000000007-00 is broken"):
            decode_sample({**files, name: data})


def test_same_samples_give_the_same_bytes(tmp_path):
    for name in ("a.tar", "b.tar"):
        assert write_shard(tmp_path / name, map(make_sample, range(3))) == 3
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        members = tar.getmembers()
    assert [one.name for one in members[:4]] == [
        f"000000000-00.{name}" for name in ("camera.json", "depth.npy", "image.png", "sensor.png")
    ]
    assert {(one.mtime, one.uid, one.gid, one.uname, one.gname) for one in members} == {
        (0, 0, 0, "", "")
    }


def test_shard_that_was_not_finished_is_not_there(tmp_path):
    def samples() -> Iterator[DepthSample]:
        yield make_sample(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / "a.tar", samples())
    assert not list(tmp_path.iterdir())


def test_every_sample_comes_once_in_an_order_of_seed_and_epoch(data_set):
    first = read_numbers(data_set)
    assert sorted(first) == list(range(20))
    assert first == read_numbers(data_set)
    assert first != read_numbers(data_set, epoch=1)
    assert first != read_numbers(data_set, seed=1)


def test_readers_share_the_shards(data_set):
    shares = [read_numbers(data_set, rank=rank, world=3) for rank in range(3)]
    assert sorted(number for share in shares for number in share) == list(range(20))
    assert [len(share) for share in shares] == [8, 8, 4]


@pytest.mark.parametrize("shuffle_buffer", [0, 1, 7, 100])
def test_skipped_samples_are_the_first_ones_and_stay_undecoded(
    data_set, monkeypatch, shuffle_buffer
):
    options = {"seed": 5, "epoch": 2, "shuffle_buffer": shuffle_buffer}
    whole = read_numbers(data_set, **options)
    decoded = []

    def decode(files: dict) -> DepthSample:
        decoded.append(files["__key__"])
        return decode_sample(files)

    monkeypatch.setattr(shards, "decode_sample", decode)
    assert read_numbers(data_set, skip=13, **options) == whole[13:]
    assert len(decoded) == 7
    assert read_numbers(data_set, skip=20, **options) == []


def test_buffer_mixes_the_samples(data_set):
    mixed = read_numbers(data_set, shuffle_buffer=8)
    plain = read_numbers(data_set)
    assert sorted(mixed) == sorted(plain)
    assert mixed != plain
    # What comes out n-th was among the first n + 8 to go in.
    assert all(plain.index(number) <= place + 8 for place, number in enumerate(mixed))


def test_shards_are_found_by_folder_braces_and_list(data_set):
    paths = [str(data_set / shard_name(index)) for index in range(5)]
    assert list_shards(data_set) == list_shards(str(data_set)) == paths
    braces = f"{data_set}/shard-{{000000..000004}}.tar"
    assert list_shards(braces) == paths
    assert list_shards([paths[1], data_set]) == [paths[1], *paths]
    assert list_shards("https://host/{a,b}.tar") == ["https://host/a.tar", "https://host/b.tar"]


def test_missing_shards_are_named(data_set, tmp_path):
    with pytest.raises(ValueError, match=r"no such shard or folder: .*shard-000005.tar"):
        list_shards(f"{data_set}/shard-{{000003..000006}}.tar")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no shard-\*.tar in folder .*empty"):
        list_shards(tmp_path / "empty")


def test_broken_shard_is_named(data_set):
    path = data_set / shard_name(2)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"cannot read shard .*shard-000002.tar: unexpected end"):
        read_numbers(data_set)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 2, "world": 2}, "got rank 2 of 2"),
        ({"rank": -1}, "got rank -1 of 1"),
        ({"skip": -1}, "got skip -1"),
        ({"world": 6}, "6 readers need as many shards, got 5"),
    ],
)
def test_wrong_arguments_are_refused_at_once(data_set, options, message):
    with pytest.raises(ValueError, match=message):
        iterate_shards(data_set, seed=0, epoch=0, **options)


def test_shards_are_read_from_a_command(data_set):
    source = f"pipe:cat {data_set}/shard-{{000000..000001}}.tar"
    assert sorted(read_numbers(source)) == list(range(8))


@pytest.mark.skipif(shutil.which("curl") is None, reason="WebDataset downloads by curl")
def test_shards_are_read_over_http(data_set, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # curl would ask a proxy for it

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(data_set))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        source = f"http://127.0.0.1:{server.server_port}/shard-{{000000..000001}}.tar"
        assert sorted(read_numbers(source)) == list(range(8))
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
