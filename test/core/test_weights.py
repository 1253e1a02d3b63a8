"""Reading, strict loading and saving of weights, and what it costs in memory."""

from __future__ import annotations

import itertools
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ppd_core import weights
from ppd_core.weights import (
    WeightsError,
    load_published,
    load_strict,
    read_checkpoint,
    read_published,
    read_tensors,
    save_checkpoint,
)


def small_module() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))


def meta_module(dtype: torch.dtype = torch.float32) -> nn.Module:
    with torch.device("meta"):
        return small_module().to(dtype)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {key: torch.randn_like(value) for key, value in small_module().state_dict().items()}


def message_of(path: Path) -> str:
    """The one line that reading the file fails with."""
    with pytest.raises(WeightsError) as caught:
        read_tensors(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def assert_same(got: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert list(got) == list(wanted)
    for key, value in wanted.items():
        assert got[key].dtype == value.dtype
        assert torch.equal(got[key], value), key


# Reading


def write_zip(tensors: object, path: Path) -> None:
    torch.save(tensors, path)


def write_legacy(tensors: object, path: Path) -> None:
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_read_tensors_returns_what_torch_saved(tmp_path, state, write):
    write(state, tmp_path / "w.pth")
    assert_same(read_tensors(tmp_path / "w.pth"), state)


def test_read_tensors_returns_what_safetensors_saved(tmp_path, state):
    save_file(state, tmp_path / "w.safetensors")
    got = read_tensors(tmp_path / "w.safetensors")
    assert_same(dict(sorted(got.items())), dict(sorted(state.items())))


def test_read_tensors_goes_by_content_and_not_by_suffix(tmp_path, state):
    save_file(state, tmp_path / "w.pth")
    assert set(read_tensors(tmp_path / "w.pth")) == set(state)


def test_read_tensors_takes_the_model_out_of_a_moge2_file(tmp_path, state):
    torch.save(
        {"model_config": {"num_tokens_range": [1200, 3600]}, "model": state}, tmp_path / "m"
    )
    assert_same(read_tensors(tmp_path / "m"), state)


def test_read_tensors_gives_parameters_as_plain_tensors(tmp_path):
    torch.save({"w": nn.Parameter(torch.ones(2))}, tmp_path / "w.pth")
    assert not read_tensors(tmp_path / "w.pth")["w"].requires_grad


@pytest.mark.parametrize("write", [write_zip, write_legacy, save_file])
def test_read_tensors_converts_floats_alone(tmp_path, monkeypatch, state, write):
    monkeypatch.setattr(weights, "_GROUP_BYTES", 20)  # Several mappings, as for a large file.
    state["steps"] = torch.arange(3)
    write(state, tmp_path / "w")
    got = read_tensors(tmp_path / "w", dtype=torch.bfloat16)
    assert set(got) == set(state)
    assert got["steps"].dtype == torch.int64
    for key in set(state) - {"steps"}:
        assert got[key].dtype == torch.bfloat16
        assert torch.equal(got[key], state[key].bfloat16())


class Conversions(TorchDispatchMode):
    """Notes on which device tensors are brought to another dtype."""

    def __init__(self):
        super().__init__()
        self.devices = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket is torch.ops.aten._to_copy and out.dtype != args[0].dtype:
            self.devices.append(args[0].device.type)
        return out


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("write", [write_zip, write_legacy, save_file])
def test_read_tensors_converts_on_the_device_that_they_go_to(tmp_path, monkeypatch, write, dtype):
    monkeypatch.setattr(weights, "_GROUP_BYTES", 20)
    given = {"w": torch.ones(4, 3), "steps": torch.arange(3), "b": torch.ones(4)}
    write(given, tmp_path / "w")
    with Conversions() as conversions:
        got = read_tensors(tmp_path / "w", dtype=dtype, device="meta")
    assert {value.device.type for value in got.values()} == {"meta"}
    assert {key: value.shape for key, value in got.items()} == {
        key: value.shape for key, value in given.items()
    }
    assert got["w"].dtype == got["b"].dtype == (dtype or torch.float32)
    assert got["steps"].dtype == torch.int64
    assert conversions.devices == (["meta"] * 2 if dtype == torch.bfloat16 else [])


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_read_tensors_leaves_named_keys_in_the_file(tmp_path, monkeypatch, state, dtype):
    monkeypatch.setattr(weights, "_GROUP_BYTES", 1)
    save_file(state | {"head.w": torch.ones(2), "head.b": torch.ones(2)}, tmp_path / "w")
    got = read_tensors(tmp_path / "w", dtype=dtype, ignored_prefixes=("head.",))
    assert set(got) == set(state)


def test_load_published_sends_the_file_where_the_module_will_be(tmp_path, monkeypatch, state):
    torch.save({f"dit.{key}": value for key, value in state.items()}, tmp_path / "ppd.pth")
    asked = []

    def read(path, **wanted):
        asked.append((wanted["dtype"], wanted["device"]))
        return read_tensors(path, **wanted)

    monkeypatch.setattr(weights, "read_tensors", read)
    load_published("ppd", meta_module(), tmp_path, dtype=torch.float16, device="cpu")
    load_published("ppd", meta_module(), tmp_path)
    assert asked == [(torch.float16, "cpu"), (torch.float32, None)]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "is a web page"),
        (b"\n  <html lang=en>", "is a web page"),
        (b'<?xml version="1.0"?><Error>AccessDenied</Error>', "is a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
            "is a git-LFS pointer",
        ),
        (b"one two three four", "is neither a PyTorch nor a safetensors file"),
        (b"cposix\nsystem\n(S'true'\ntR.", "is neither a PyTorch nor a safetensors file"),
        (b"PK\x03\x04" + bytes(100), "is truncated: the end of its zip archive is missing"),
        (b"\x80\x02", "is truncated, damaged or not weights"),
        (b"\xff" * 8 + b"{", "is truncated, damaged or not weights"),
    ],
)
def test_read_tensors_names_what_a_wrong_file_is(tmp_path, content, cause):
    path = tmp_path / "ppd.pth"
    path.write_bytes(content)
    assert cause in message_of(path)


@pytest.mark.parametrize("write", [write_zip, write_legacy, save_file])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_read_tensors_refuses_a_truncated_file(tmp_path, write, kept):
    path = tmp_path / "w"
    write({"w": torch.zeros(1000)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert "is truncated" in message_of(path)


def test_read_tensors_refuses_a_zip_that_torch_did_not_write(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("photo.txt", "hello")
    assert "is truncated, damaged or not weights" in message_of(tmp_path / "w.pth")


def test_read_tensors_refuses_a_tar_that_begins_like_a_pickle(tmp_path):
    import tarfile

    (tmp_path / "x").write_bytes(b"x")
    with tarfile.open(
        tmp_path / "w.pth", "w", format=tarfile.USTAR_FORMAT, encoding="latin-1"
    ) as archive:
        archive.add(tmp_path / "x", arcname="\x80\x02")
    assert (tmp_path / "w.pth").read_bytes().startswith(b"\x80")
    assert "is neither a PyTorch nor a safetensors file" in message_of(tmp_path / "w.pth")


def test_read_tensors_refuses_a_folder_and_a_missing_file(tmp_path):
    assert "is a folder, not a weight file" in message_of(tmp_path)
    assert "cannot be read: No such file" in message_of(tmp_path / "missing.pth")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ([torch.zeros(1)], "must hold a dict of tensors, got list"),
        ({}, "must hold a dict of tensors, got dict"),
        ({"w": torch.zeros(1), "epoch": 3}, "must hold named tensors alone, got epoch as well"),
        ({7: torch.zeros(1)}, "must hold named tensors alone, got 7 as well"),
    ],
)
def test_read_tensors_refuses_what_is_not_a_dict_of_tensors(tmp_path, content, cause):
    torch.save(content, tmp_path / "w.pth")
    assert cause in message_of(tmp_path / "w.pth")


class RunsCode:
    """Pickles to a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def write_raw_pickle(content: object, path: Path, protocol: int = 2) -> None:
    path.write_bytes(pickle.dumps(content, protocol=protocol))


def write_modern_pickle(content: object, path: Path) -> None:
    write_raw_pickle(content, path, protocol=4)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("write", [write_zip, write_legacy, write_raw_pickle, write_modern_pickle])
def test_read_tensors_refuses_a_pickle_that_wants_to_run_code(tmp_path, write, dtype):
    proof, path = tmp_path / "it-ran", tmp_path / "ppd.pth"
    write({"dit.w": torch.zeros(1), "evil": RunsCode(f"touch {proof}")}, path)
    with pytest.raises(WeightsError, match="is refused: it is a pickle with more than") as caught:
        read_tensors(path, dtype=dtype)
    assert not proof.exists()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value), "torch's advice to switch safety off"


def test_the_code_of_that_pickle_would_have_run(tmp_path):
    proof = tmp_path / "it-ran"
    pickle.loads(pickle.dumps(RunsCode(f"touch {proof}")))
    assert proof.exists()


# Loading


def test_load_strict_fills_a_meta_module_without_copying(state):
    module = meta_module()
    load_strict(module, state)
    assert_same(module.state_dict(), state)
    assert module[0].weight.data_ptr() == state["0.weight"].data_ptr()
    assert module[0].weight.requires_grad


def test_load_strict_fills_a_real_module(state):
    module = small_module().requires_grad_(False)
    load_strict(module, state)
    assert_same(module.state_dict(), state)
    assert not module[0].weight.requires_grad


def test_load_strict_strips_the_prefix_and_leaves_named_keys_aside(state):
    module = meta_module()
    tensors = {f"dit.{key}": value for key, value in state.items()}
    tensors["depth_head.w"] = torch.zeros(9)
    load_strict(module, tensors, strip_prefix="dit.", ignored_prefixes=("depth_head.",))
    assert_same(module.state_dict(), state)
    assert len(tensors) == 5


@pytest.mark.parametrize(
    ("built", "asked", "wanted"),
    [
        (torch.float32, None, torch.float32),
        (torch.bfloat16, None, torch.bfloat16),
        (torch.float32, torch.float16, torch.float16),
    ],
)
def test_load_strict_keeps_the_modules_dtype_unless_asked(state, built, asked, wanted):
    module = meta_module(built)
    load_strict(module, state, dtype=asked)
    assert_same(module.state_dict(), {key: value.to(wanted) for key, value in state.items()})


def test_load_strict_never_converts_integers():
    module = nn.BatchNorm1d(2)
    load_strict(module, module.state_dict(), dtype=torch.bfloat16)
    assert module.weight.dtype == torch.bfloat16
    assert module.num_batches_tracked.dtype == torch.int64


def test_load_strict_lists_every_kind_of_misfit_and_changes_nothing(state):
    module = small_module()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    tensors = {f"dit.{key}": value for key, value in state.items()}
    del tensors["dit.0.bias"]
    tensors["dit.1.weight"] = torch.zeros(5)
    tensors["0.bias"] = torch.zeros(4)  # The prefix is not optional.
    with pytest.raises(WeightsError) as caught:
        load_strict(module, tensors, strip_prefix="dit.")
    assert str(caught.value) == (
        "weights do not fit Sequential: 1 missing (dit.0.bias); 1 extra (0.bias); "
        "1 misshapen (dit.1.weight must be (4,), got (5,))"
    )
    assert_same(module.state_dict(), before)


def test_load_strict_bounds_a_long_list_and_counts_it_all(state):
    extra = {f"x{i}": torch.zeros(1) for i in range(700)}
    with pytest.raises(WeightsError) as caught:
        load_strict(meta_module(), state | extra)
    assert "700 extra (x0, x1, " in str(caught.value)
    assert "x9, ... and 690 more)" in str(caught.value)
    assert "x10" not in str(caught.value)


def test_load_strict_names_a_buffer_that_stayed_on_meta(state):
    module = meta_module()
    module[1].register_buffer("table", torch.zeros(2, device="meta"), persistent=False)
    with pytest.raises(WeightsError, match=r"must not be built on the meta device: 1\.table"):
        load_strict(module, state)


# Published files


def test_load_published_strips_dit_from_a_ppd_file(tmp_path, state):
    torch.save({f"dit.{key}": value for key, value in state.items()}, tmp_path / "ppd.pth")
    module = meta_module()
    load_published("ppd", module, tmp_path)
    assert_same(module.state_dict(), state)


def test_load_published_leaves_the_depth_head_of_depth_anything_aside(tmp_path):
    tensors = {"pretrained.weight": torch.ones(4, 3), "pretrained.bias": torch.ones(4)}
    head = {"depth_head.scratch.weight": torch.ones(1)}
    torch.save(tensors | head, tmp_path / "depth_anything_v2_vitl.pth")
    module = nn.ModuleDict({"pretrained": nn.Linear(3, 4)})
    load_published("depth-anything-v2-vitl", module, tmp_path)
    assert_same(module.state_dict(), tensors)
    assert_same(read_published("depth-anything-v2-vitl", tmp_path), tensors)


def test_load_published_reads_the_nested_dict_of_moge2(tmp_path, state):
    torch.save({"model_config": {}, "model": state}, tmp_path / "moge2.pt")
    module = meta_module()
    load_published("moge-2-vitl-normal", module, tmp_path)
    assert_same(module.state_dict(), state)


def test_load_published_brings_the_file_to_the_modules_dtype(tmp_path, state):
    torch.save({f"dit.{key}": value for key, value in state.items()}, tmp_path / "ppd.pth")
    module = meta_module(torch.bfloat16)
    load_published("ppd", module, tmp_path)
    assert_same(module.state_dict(), {key: value.bfloat16() for key, value in state.items()})
    load_published("ppd", module, tmp_path, dtype=torch.float16)
    assert module[0].weight.dtype == torch.float16


def test_load_published_puts_the_prompt_s_name_before_the_keys_of_mae(tmp_path, state):
    save_file(state, tmp_path / "mae_vitl.safetensors")
    module = nn.ModuleDict({"pretrained": meta_module()})
    load_published("mae-vitl", module, tmp_path)
    assert_same(module["pretrained"].state_dict(), state)


def test_load_published_names_the_file_that_does_not_fit(tmp_path, state):
    torch.save(state, tmp_path / "ppd.pth")
    with pytest.raises(WeightsError) as caught:
        load_published("ppd", meta_module(), tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'ppd.pth'}: weights do not fit Sequential")
    assert "4 missing (dit.0.weight" in str(caught.value)


def test_load_published_downloads_only_when_told_to(tmp_path, monkeypatch, state):
    fetched = []

    def fetch(name, directory):
        fetched.append(name)
        torch.save({f"dit.{k}": v for k, v in state.items()}, Path(directory) / "ppd.pth")

    monkeypatch.setattr(weights, "fetch", fetch)
    with pytest.raises(WeightsError, match=r"ppd\.pth is missing"):
        load_published("ppd", meta_module(), tmp_path)
    assert fetched == []
    load_published("ppd", meta_module(), tmp_path, download=True)
    load_published("ppd", meta_module(), tmp_path, download=True)
    assert fetched == ["ppd"]


# Checkpoints


def test_checkpoint_round_trip_keeps_tensors_and_metadata(tmp_path, state):
    path = tmp_path / "new" / "one.safetensors"
    state["bfloat16"] = torch.ones(3, dtype=torch.bfloat16)
    state["transposed"] = torch.arange(6.0).view(2, 3).T
    save_checkpoint(path, state, {"ppd_config": "{}"})
    tensors, metadata = read_checkpoint(path)
    assert metadata == {"ppd_config": "{}"}
    assert_same(dict(sorted(tensors.items())), dict(sorted(state.items())))
    assert os.listdir(path.parent) == ["one.safetensors"]


def test_checkpoint_can_be_read_in_another_dtype_and_written_over_itself(tmp_path, state):
    path = tmp_path / "one.safetensors"
    save_checkpoint(path, state, {"a": "b"})
    tensors, metadata = read_checkpoint(path)
    save_checkpoint(path, tensors, metadata)
    tensors, metadata = read_checkpoint(path, dtype=torch.float16)
    assert metadata == {"a": "b"}
    assert torch.equal(tensors["0.weight"], state["0.weight"].half())


def test_checkpoint_has_the_permissions_of_any_new_file(tmp_path, state):
    save_checkpoint(tmp_path / "one.safetensors", state, {})
    (tmp_path / "other").touch()
    modes = [stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("one.safetensors", "other")]
    assert modes[0] == modes[1]


def test_checkpoint_refuses_another_suffix_and_nothing(tmp_path, state):
    with pytest.raises(ValueError, match=r"must end in \.safetensors, got 'one\.pth'"):
        save_checkpoint(tmp_path / "one.pth", state, {})
    with pytest.raises(ValueError, match="at least one tensor, got none"):
        save_checkpoint(tmp_path / "one.safetensors", {}, {})
    assert os.listdir(tmp_path) == []


def test_checkpoint_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch, state):
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"one\.safetensors cannot be written: .*File exists"):
        save_checkpoint(tmp_path / "file" / "one.safetensors", state, {})

    def disk_is_full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", disk_is_full)
    with pytest.raises(WeightsError, match=r"cannot be written: .*No space left"):
        save_checkpoint(tmp_path / "one.safetensors", state, {})
    assert os.listdir(tmp_path) == ["file"]


def test_read_checkpoint_refuses_a_pth(tmp_path, state):
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"must be a \.safetensors file .*, got .*w\.pth"):
        read_checkpoint(tmp_path / "w.pth")


# Memory

LAYERS, WIDTH = 50, 1000

MEASURE = """
import sys
import torch
from torch import nn
import safetensors.torch
from ppd_core.weights import load_strict, read_tensors

def status(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

dtype = getattr(torch, sys.argv[2])
with torch.device("meta"):
    module = nn.Sequential(*(nn.Linear({w}, {w}, dtype=dtype) for _ in range({n})))
module.requires_grad_(False)
before = status("VmRSS")
load_strict(module, read_tensors(sys.argv[1], dtype=dtype))
total = sum(float(p[..., 0].sum()) for p in module.parameters())  # Touches every page.
assert total == {n} * ({w} + 1), total
print(status("VmHWM") - before)
"""


@pytest.fixture(scope="module")
def large_files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    tensors = {}
    for layer, (name, shape) in itertools.product(
        range(LAYERS), (("weight", (WIDTH, WIDTH)), ("bias", (WIDTH,)))
    ):
        tensors[f"{layer}.{name}"] = torch.ones(shape)
    save_file(tensors, folder / "w.safetensors")
    torch.save(tensors, folder / "w.pth")
    return folder


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("filename", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_loading_peaks_within_1_3_times_the_size(large_files, filename, dtype):
    code = MEASURE.format(w=WIDTH, n=LAYERS)
    command = [sys.executable, "-c", code, str(large_files / filename), dtype]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    peak_bytes, float32_bytes = int(done.stdout), LAYERS * (WIDTH + 1) * WIDTH * 4
    assert peak_bytes >= 0.5 * float32_bytes, "the measurement itself is broken"
    assert peak_bytes <= 1.3 * float32_bytes


ROOT = Path(__file__).parents[2]
