"""`ppd weights`: list, fetch, verify and convert the weight files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ppd_core.config import PRESETS, config_to_json
from ppd_core.download import fetch
from ppd_core.registry import REGISTRY, WeightsError, published, verify, weights_dir

if TYPE_CHECKING:
    from torch import Tensor

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

DTYPES = ("float32", "bfloat16", "float16")


def add_parser(subparsers: Subparsers) -> None:
    """Add `weights` and its four commands to the parsers of `ppd`."""
    parser = subparsers.add_parser(
        "weights", help="list, fetch, verify and convert the published weight files"
    )
    commands = parser.add_subparsers(dest="weights_command", required=True, metavar="COMMAND")
    presets = ", ".join(name for name, config in PRESETS.items() if config.weights)
    listing = commands.add_parser("list", help="the published files, and which are here")
    fetching = commands.add_parser("fetch", help="download files, checked and resumable")
    fetching.add_argument(
        "names", nargs="+", metavar="NAME", help=f"a file's name, or a preset: {presets}"
    )
    fetching.add_argument("--force", action="store_true", help="replace files that are here")
    verifying = commands.add_parser("verify", help="print each file's sha256 and if it is right")
    verifying.add_argument("names", nargs="+", metavar="NAME|PATH")
    converting = commands.add_parser(
        "convert", help="join a preset's files, or re-encode one file, as .safetensors"
    )
    converting.add_argument("source", metavar="PRESET|PATH", help=f"{presets}, or a file")
    converting.add_argument("-o", "--output", required=True, type=_safetensors_path)
    converting.add_argument("--dtype", choices=DTYPES, help="default: as in the file")
    for command in (listing, fetching, verifying, converting):
        command.add_argument(
            "--dir", type=Path, help="folder of the weight files (default: $PPD_WEIGHTS_DIR, "
            "else ppd_ros/weights in the user's cache)",
        )  # fmt: skip


def _safetensors_path(text: str) -> Path:
    if Path(text).suffix != ".safetensors":
        raise argparse.ArgumentTypeError(f"must end in .safetensors, got {text!r}")
    return Path(text)


def run(args: argparse.Namespace) -> int:
    """Run the command that was parsed.

    Returns:
        The exit status: 0, or 1 if anything failed; each failure is a line on stderr.
    """
    commands: dict[str, Callable[[argparse.Namespace], bool]] = {
        "list": _list,
        "fetch": _fetch,
        "verify": _verify,
        "convert": _convert,
    }
    return 0 if commands[args.weights_command](args) else 1


def _for_each(names: Iterable[str], step: Callable[[str], None]) -> bool:
    """Take each step; one that fails is reported and does not keep the others away."""
    failures = 0
    for name in names:
        try:
            step(name)
        except WeightsError as error:
            print(f"ppd weights: {error}", file=sys.stderr)
            failures += 1
    return not failures


def _list(args: argparse.Namespace) -> bool:
    folder = weights_dir(args.dir)
    rows = [("NAME", "FILE", "SIZE", "HERE", "LICENCE", "USE")]
    for file in REGISTRY.values():
        path = folder / file.filename
        size_bytes = path.stat().st_size if path.is_file() else file.size_bytes
        size = "unknown" if size_bytes is None else f"{size_bytes / 1e9:.2f} GB"
        here = "present" if path.is_file() else "missing"
        rows.append((file.name, file.filename, size, here, file.licence_text, file.use))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    print(f"folder: {folder}")
    return True


def _fetch(args: argparse.Namespace) -> bool:
    def fetch_one(name: str) -> None:
        print(f"{name}: {fetch(name, args.dir, force=args.force)}")

    return _for_each(_with_presets_expanded(args.names), fetch_one)


def _with_presets_expanded(names: list[str]) -> Iterator[str]:
    for name in names:
        # A preset without files keeps its name, and is then refused as no file's.
        yield from (PRESETS[name].weights if name in PRESETS else ()) or (name,)


def _verify(args: argparse.Namespace) -> bool:
    def verify_one(name: str) -> None:
        found = verify(name, args.dir)
        print(f"{found.status:8}  {found.sha256}  {found.size_bytes:>11} bytes  {found.path}")
        if found.status == "mismatch":
            raise WeightsError(f"{found.path} is not the file that was published")

    return _for_each(_with_presets_expanded(args.names), verify_one)


def _convert(args: argparse.Namespace) -> bool:
    from ppd_core.weights import save_checkpoint

    def convert(source: str) -> None:
        tensors, metadata = _read_source(source, args.dir, args.dtype)
        save_checkpoint(args.output, tensors, metadata)
        print(f"{len(tensors)} tensors: {args.output}")

    return _for_each([args.source], convert)


def _read_source(
    source: str, folder: Path | None, dtype_name: str | None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of the file to write."""
    import torch

    from ppd_core.weights import read_checkpoint, read_published, read_tensors

    dtype = getattr(torch, dtype_name) if dtype_name else None
    if source not in PRESETS:
        if not Path(source).exists():
            known = ", ".join(PRESETS)
            raise WeightsError(f"{source} is neither a file nor a preset; presets: {known}")
        if Path(source).suffix == ".safetensors":
            return read_checkpoint(source, dtype=dtype)
        return read_tensors(source, dtype=dtype), {}
    config = PRESETS[source]
    if not config.weights:
        raise WeightsError(f"preset {source} has no published weights")
    tensors: dict[str, Tensor] = {}
    # The model's own keys begin with "dit." as published.
    for name, prefix in zip(config.weights, ("", "semantics."), strict=True):
        one = read_published(name, folder, dtype=dtype)
        tensors |= {prefix + key: value for key, value in one.items()}
    licences = "; ".join(f"{name}: {published(name).licence_text}" for name in config.weights)
    print(f"ppd weights: licences of the parts: {licences}", file=sys.stderr)
    return tensors, {"ppd_config": config_to_json(config), "licences": licences}
