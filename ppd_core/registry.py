"""The published weight files: which there are, on what terms, and where they lie here.

`ppd_core.download` fetches them and `ppd_core.weights` reads them.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ppd_core.cache_dir import cache_dir


class WeightsError(RuntimeError):
    """Weights that are missing, damaged, unsafe or do not fit; one clear sentence each."""


@dataclass(frozen=True)
class PublishedFile:
    """One file that its authors publish.

    Attributes:
        name: what the registry, the command and a preset call it.
        filename: its name in the weights folder.
        page_url: where a person gets it with a browser.
        licence: SPDX identifier.
        use: what it is for.
        hub_repo: repository on the hub; None where the file is not on it and is fetched by hand.
        hub_filename: its name there.
        sha256, size_bytes: of the file, as far as they are publicly known; the hub's own
            metadata fills in for None.
        strip_prefix: taken off its keys to get the module's.
        add_prefix: put before its keys to get the module's.
        ignored_prefixes: keys that the module has no use for.
    """

    name: str
    filename: str
    page_url: str
    licence: str
    use: str
    hub_repo: str | None = None
    hub_filename: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None
    strip_prefix: str = ""
    add_prefix: str = ""
    ignored_prefixes: tuple[str, ...] = ()

    @property
    def licence_text(self) -> str:
        """The licence, with what a user must not overlook."""
        return (
            f"{self.licence}, non-commercial use only" if "-NC" in self.licence else self.licence
        )


PACKAGED = ("nano",)
"""Presets whose weights come with the package."""


def packaged_checkpoint(preset_name: str) -> Path | None:
    """The one-file checkpoint of a preset whose weights come with the package, else None."""
    if preset_name not in PACKAGED:
        return None
    return Path(__file__).parent / "assets" / f"{preset_name}.safetensors"


def packaged_recording() -> Path:
    """The recording that comes with the package: some seconds of a simulated table, as MCAP.

    What is in it, and how it was made, is in `ppd_core.sim.recording`.
    """
    return Path(__file__).parent / "assets" / "table.mcap"


_FILES = (
    PublishedFile(
        name="ppd",
        filename="ppd.pth",
        page_url="https://huggingface.co/gangweix/Pixel-Perfect-Depth",
        licence="Apache-2.0",
        use="the model that takes the da2 prompt",
        hub_repo="gangweix/Pixel-Perfect-Depth",
        hub_filename="ppd.pth",
        strip_prefix="dit.",
    ),
    PublishedFile(
        name="depth-anything-v2-vitl",
        filename="depth_anything_v2_vitl.pth",
        page_url="https://huggingface.co/depth-anything/Depth-Anything-V2-Large",
        licence="CC-BY-NC-4.0",
        use="the da2 prompt",
        hub_repo="depth-anything/Depth-Anything-V2-Large",
        hub_filename="depth_anything_v2_vitl.pth",
        sha256="a7ea19fa0ed99244e67b624c72b8580b7e9553043245905be58796a608eb9345",
        size_bytes=1_341_395_338,
        ignored_prefixes=("depth_head.",),
    ),
    PublishedFile(
        name="ppd-moge",
        filename="ppd_moge.pth",
        page_url="https://drive.google.com/file/d/1tabmcsbRVDKDfmO4KU1vOjurzN-wp0HV/view",
        licence="Apache-2.0",
        use="the model that takes the moge2 prompt",
        strip_prefix="dit.",
    ),
    PublishedFile(
        name="moge-2-vitl-normal",
        # On the hub it is "model.pt", which says nothing in a folder of many; the authors of PPD
        # keep it as "moge2.pt", so that their checkpoints folder serves as a weights folder.
        filename="moge2.pt",
        page_url="https://huggingface.co/Ruicheng/moge-2-vitl-normal",
        licence="MIT",
        use="the moge2 prompt and the metric anchor",
        hub_repo="Ruicheng/moge-2-vitl-normal",
        hub_filename="model.pt",
        sha256="280741fd09bc3f403ccff9967784c2a391b52d2c0742ae3efdb21d9f90cc1a01",
        size_bytes=1_323_815_904,
    ),
    PublishedFile(
        name="mae-vitl",
        filename="mae_vitl.safetensors",
        page_url="https://huggingface.co/timm/vit_large_patch16_224.mae",
        licence="CC-BY-NC-4.0",
        use="the mae prompt, for training",
        hub_repo="timm/vit_large_patch16_224.mae",
        hub_filename="model.safetensors",
        add_prefix="pretrained.",
    ),
    PublishedFile(
        name="vggt-1b",
        filename="vggt_1b.safetensors",
        page_url="https://huggingface.co/facebook/VGGT-1B",
        licence="CC-BY-NC-4.0",
        use="the vggt prompt, for training",
        hub_repo="facebook/VGGT-1B",
        hub_filename="model.safetensors",
        strip_prefix="aggregator.",
        ignored_prefixes=("camera_head.", "point_head.", "depth_head.", "track_head."),
    ),
)
REGISTRY: dict[str, PublishedFile] = {file.name: file for file in _FILES}
"""Name -> published file."""


def weights_dir(path: str | Path | None = None) -> Path:
    """The folder of the weight files; it need not exist.

    Args:
        path: the folder itself; None = $PPD_WEIGHTS_DIR, else `ppd_ros/weights` in the user's
            cache ($XDG_CACHE_HOME, else ~/.cache).
    """
    chosen = path or os.environ.get("PPD_WEIGHTS_DIR")
    if chosen:
        return Path(chosen).expanduser()
    return cache_dir("weights")


def published(name: str) -> PublishedFile:
    """The registry's entry of that name.

    Raises:
        WeightsError: there is none; the message lists those that exist.
    """
    if name not in REGISTRY:
        raise WeightsError(f"unknown weights {name!r}; known names: {', '.join(REGISTRY)}")
    return REGISTRY[name]


def find(name: str, directory: str | Path | None = None) -> Path:
    """Where a published file lies on this machine.

    Args:
        name: of the registry; or the path of an existing file, which is returned as it is.
        directory: as in `weights_dir`.

    Raises:
        WeightsError: it is not there; the message says which file, where to get it and where to
            put it.
    """
    if name not in REGISTRY and Path(name).is_file():
        return Path(name)
    if name not in REGISTRY and os.sep in name:
        raise WeightsError(f"weight file {name} does not exist")
    file = published(name)
    path = weights_dir(directory) / file.filename
    if path.is_file():
        return path
    command = f"run `ppd weights fetch {name}`, or " if file.hub_repo else ""
    raise WeightsError(f"{file.filename} is missing: {command}{by_hand(file, path)}")


def by_hand(file: PublishedFile, path: Path) -> str:
    """What a person does to get a file without `fetch`."""
    what = file.hub_filename or file.filename
    return f"download {what} from {file.page_url} and put it at {path}"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes:
        path: the file.
        sha256, size_bytes: its own.
        status: "ok", "mismatch", or "unknown" where nothing is known to compare with.
    """

    path: Path
    sha256: str
    size_bytes: int
    status: str


def verify(name_or_path: str | Path, directory: str | Path | None = None) -> Verification:
    """Compare a file with its published SHA-256, or with the one noted when it was fetched.

    Args:
        name_or_path: a name of the registry, or a path; a path is known by its file name.
        directory: as in `weights_dir`; for a name only.

    Raises:
        WeightsError: there is no such name or file, or it cannot be read.
    """
    path = find(str(name_or_path), directory)
    wanted = next((f.sha256 for f in REGISTRY.values() if f.filename == path.name), None)
    try:
        if wanted is None and noted_sum(path).is_file():
            wanted = noted_sum(path).read_text(encoding="utf-8").split(" ")[0]
        sha256, size_bytes = sha256_of(path), path.stat().st_size
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    status = "unknown" if wanted is None else "ok" if sha256 == wanted else "mismatch"
    return Verification(path, sha256, size_bytes, status)


def noted_sum(path: Path) -> Path:
    """The file in `sha256sum` format that `fetch` leaves beside what it fetched."""
    return path.with_name(path.name + ".sha256")
