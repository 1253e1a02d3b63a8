"""Weights from file to module and back: safe reading, strict loading, one-file checkpoints.

Which files are published is in `ppd_core.registry`, how they get here in `ppd_core.download`; the
names of both are also to be had from here.
"""

from __future__ import annotations

import itertools
import os
import pickle
import re
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ppd_core.download import fetch
from ppd_core.registry import (
    REGISTRY,
    PublishedFile,
    Verification,
    WeightsError,
    find,
    packaged_checkpoint,
    published,
    verify,
    weights_dir,
)

__all__ = [
    "REGISTRY",
    "PublishedFile",
    "Verification",
    "WeightsError",
    "fetch",
    "find",
    "load_published",
    "load_strict",
    "packaged_checkpoint",
    "published",
    "read_checkpoint",
    "read_published",
    "read_tensors",
    "save_checkpoint",
    "verify",
    "weights_dir",
]

_GROUP_BYTES = 1 << 27
"""How much of a mapped file may be resident at once while its tensors are converted."""


def read_tensors(
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
    ignored_prefixes: tuple[str, ...] = (),
) -> dict[str, Tensor]:
    """Read the tensors of a weight file, and never anything else.

    Args:
        path: .safetensors, or what `torch.save` wrote of a flat dict of tensors, or of a dict
            that has such a dict under "model" (as MoGe-2's file). The content decides, not the
            suffix.
        dtype: what floating-point tensors are converted to; None = as they are in the file.
        device: where they go, as they are in the file, to be converted there; None = the CPU.
        ignored_prefixes: keys that begin so are left in the file.

    Returns:
        Key -> tensor. On the CPU and without a conversion the tensors map the file's pages and
        are read only when touched: replace such a file, but never write into it. Else no more
        than the result and 128 MiB (or the largest tensor) are in memory at a time. A file of
        torch < 1.6 cannot be mapped: it is read whole first.

    Raises:
        WeightsError: missing, truncated, not weights, or a pickle with more than tensors in it.
    """
    path, device = Path(path), torch.device(device or "cpu")
    kind = _kind_of(path)

    def opened() -> dict[str, Tensor]:
        content = _open(path, kind)
        return {k: v for k, v in content.items() if not k.startswith(ignored_prefixes)}

    source = opened()
    is_as_wanted = all(t.dtype == dtype for t in source.values() if t.is_floating_point())
    if device.type == "cpu" and (dtype is None or is_as_wanted):
        return source
    brought: dict[str, Tensor] = {}
    resident_bytes = 0
    for name in list(source):
        if resident_bytes >= _GROUP_BYTES and kind != "pickle":
            # A page once read stays in memory until its mapping is gone: take a fresh one.
            source, resident_bytes = opened(), 0
        resident_bytes += source[name].nbytes
        brought[name] = _brought(source.pop(name), dtype, device)
    return brought


def _brought(tensor: Tensor, dtype: torch.dtype | None, device: torch.device) -> Tensor:
    """A copy, of that dtype if it is of floating-point values, on that device."""
    wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
    if device.type == "cpu":
        return tensor.to(wanted, copy=True)
    return tensor.to(device).to(wanted)


def _kind_of(path: Path) -> str:
    """Tell "safetensors", "zip" (torch >= 1.6) or "pickle" (older) by the content."""
    if path.is_dir():
        raise WeightsError(f"{path} is a folder, not a weight file")
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise WeightsError(f"weight file {path} cannot be read: {error.strerror}") from error
    if not head:
        raise WeightsError(f"{path} is empty")
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path} is a git-LFS pointer, not the weights it stands for: run `git lfs pull`"
        )
    if re.match(rb"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE):
        raise WeightsError(f"{path} is a web page, not weights: the download went wrong")
    if head[8:9] == b"{":
        return "safetensors"
    if head.startswith(b"PK\x03\x04"):
        if not zipfile.is_zipfile(path):
            raise WeightsError(f"{path} is truncated: the end of its zip archive is missing")
        return "zip"
    # A tar can be made to look like a pickle, and torch < 2.6 runs the code in one.
    if head.startswith(b"\x80") and not tarfile.is_tarfile(path):
        return "pickle"
    raise WeightsError(f"{path} is neither a PyTorch nor a safetensors file")


def _open(path: Path, kind: str) -> dict[str, Tensor]:
    """Map the file (a "pickle": read it) and refuse what is not a dict of tensors."""
    try:
        if kind == "safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=kind == "zip")
    except pickle.UnpicklingError as error:
        # torch's own message is a page long and advises to run the code.
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise WeightsError(
            f"{path} is refused: it is a pickle with more than tensors in it"
            f"{f' ({found[1]})' if found else ''}, and such a file can run any code"
        ) from error
    except Exception as error:  # A damaged file can break the readers anywhere.
        detail = f"{type(error).__name__}: {error}".splitlines()[0][:150].rstrip(": ")
        raise WeightsError(f"{path} is truncated, damaged or not weights ({detail})") from error
    return _tensors_in(path, content)


def _tensors_in(path: Path, content: object) -> dict[str, Tensor]:
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]
    if not isinstance(content, dict) or not content:
        raise WeightsError(f"{path} must hold a dict of tensors, got {type(content).__name__}")
    others = [
        str(key)
        for key, value in content.items()
        if not (isinstance(key, str) and isinstance(value, Tensor))
    ]
    if others:
        raise WeightsError(f"{path} must hold named tensors alone, got {_listed(others)} as well")
    return {key: value.detach() for key, value in content.items()}


def _listed(names: Iterable[str], limit: int = 10) -> str:
    names = list(names)
    more = f", ... and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def load_strict(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    strip_prefix: str = "",
    ignored_prefixes: tuple[str, ...] = (),
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
) -> None:
    """Put tensors into a module; every key must fit, and every key must be there.

    The module takes the tensors themselves where dtype and device agree, so a module built on
    the meta device costs no memory of its own. Where they do not, the copies come on top of
    what `tensors` holds: give `read_tensors` dtype and device instead.

    Args:
        module: on the meta device or a real one.
        tensors: key -> tensor, as `read_tensors` gives them; not changed.
        strip_prefix: what every key begins with and the module's do not.
        ignored_prefixes: keys that begin so are left aside.
        dtype: of the module's floating-point values from now on; None = what it was built with.
        device: where the module will be; None = where it is, or for meta where the tensors are.

    Raises:
        WeightsError: keys are missing, extra or of another shape (the module is unchanged, the
            message lists them), or a buffer that no file holds is still on the meta device.
    """
    wanted = {strip_prefix + key: value for key, value in module.state_dict().items()}
    given = {key: value for key, value in tensors.items() if not key.startswith(ignored_prefixes)}
    _require_fit(type(module).__name__, wanted, given)
    state = {}
    for key, old in wanted.items():
        tensor = given[key]
        new_dtype = dtype if dtype is not None and old.is_floating_point() else old.dtype
        new_device = device or (tensor.device if old.is_meta else old.device)
        state[key.removeprefix(strip_prefix)] = tensor.to(new_device, new_dtype)
    module.load_state_dict(state, assign=True)
    values = itertools.chain(module.named_parameters(), module.named_buffers())
    empty = [name for name, value in values if value.is_meta]
    if empty:
        raise WeightsError(
            f"{type(module).__name__} has values that no weight file holds, and that must not be "
            f"built on the meta device: {_listed(empty)}"
        )


def _require_fit(
    module_name: str, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]
) -> None:
    missing = [key for key in wanted if key not in given]
    extra = [key for key in given if key not in wanted]
    misshapen = [
        f"{key} must be {tuple(value.shape)}, got {tuple(given[key].shape)}"
        for key, value in wanted.items()
        if key in given and given[key].shape != value.shape
    ]
    problems = [
        f"{len(keys)} {what} ({_listed(keys)})"
        for what, keys in (("missing", missing), ("extra", extra), ("misshapen", misshapen))
        if keys
    ]
    if problems:
        raise WeightsError(f"weights do not fit {module_name}: {'; '.join(problems)}")


def read_published(
    name: str,
    directory: str | Path | None = None,
    *,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
) -> dict[str, Tensor]:
    """`read_tensors` of a published file that is on this machine, less the keys of no use.

    Keys are as in the file, but for what the registry puts before them.

    Raises:
        WeightsError: as `find` and `read_tensors`.
    """
    file, path = published(name), find(name, directory)
    tensors = read_tensors(
        path, dtype=dtype, device=device, ignored_prefixes=file.ignored_prefixes
    )
    return {file.add_prefix + key: value for key, value in tensors.items()}


def load_published(
    name: str,
    module: nn.Module,
    directory: str | Path | None = None,
    *,
    download: bool = False,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
) -> None:
    """Put a published file into the module that it was made for, by the file's own key rules.

    Args:
        name: of the registry.
        module: with the checkpoint's names ("ppd" and "ppd-moge": less `dit.`); best on meta.
        directory: as in `weights_dir`.
        download: `fetch` the file if it is not there.
        dtype, device: as in `load_strict`.

    Raises:
        WeightsError: as `find`, `fetch`, `read_tensors` and `load_strict`.
    """
    file = published(name)
    if download and not (weights_dir(directory) / file.filename).is_file():
        fetch(name, directory)
    floating = (p.dtype for p in module.parameters() if p.is_floating_point())
    wanted = dtype or next(floating, None)
    tensors = read_published(name, directory, dtype=wanted, device=device)
    try:
        load_strict(module, tensors, strip_prefix=file.strip_prefix, dtype=dtype, device=device)
    except WeightsError as error:
        raise WeightsError(f"{find(name, directory)}: {error}") from error


def save_checkpoint(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors and text to one .safetensors file, whole or not at all.

    Raises:
        ValueError: the name does not end in .safetensors, or there are no tensors.
        WeightsError: the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"a checkpoint's name must end in .safetensors, got {path.name!r}")
    if not tensors:
        raise ValueError("a checkpoint must hold at least one tensor, got none")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode  # `save_file` may narrow it to the owner.
        whole = {key: value.detach().contiguous() for key, value in tensors.items()}
        save_file(whole, temporary, metadata=dict(metadata))
        temporary.chmod(mode)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"checkpoint {path} cannot be written: {error}") from error
    finally:
        if temporary.is_file():
            temporary.unlink()


def read_checkpoint(
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `save_checkpoint` wrote: its tensors (as `read_tensors`) and its metadata.

    Raises:
        WeightsError: as `read_tensors`, or it is not a .safetensors file.
    """
    from safetensors import safe_open

    path = Path(path)
    if _kind_of(path) != "safetensors":
        raise WeightsError(
            f"a checkpoint must be a .safetensors file (`ppd weights convert` makes one), "
            f"got {path}"
        )
    tensors = read_tensors(path, dtype=dtype, device=device)
    with safe_open(path, framework="pt") as file:
        return tensors, dict(file.metadata() or {})
