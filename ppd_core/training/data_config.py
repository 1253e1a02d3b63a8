"""Where training frames come from and how they are varied: the `data` part of a run's config."""

from __future__ import annotations

from dataclasses import dataclass, field

from ppd_core.config import COARSE_PATCH_PX
from ppd_core.training.checks import (
    require,
    require_above,
    require_at_least,
    require_share,
    require_size,
)


@dataclass(frozen=True)
class SourceConfig:
    """One place that frames come from: shards, or a published data set on disk.

    Args:
        urls: folder, path or URL of shards, as `data.shards.list_shards` reads it.
        dataset: name of a data set in `data.datasets`, instead.
        root: the folder where that data set is.
        split: which part of it.
        weight: its part in the mix, next to the other sources' weights.
    """

    urls: str | None = None
    dataset: str | None = None
    root: str | None = None
    split: str = "train"
    weight: float = 1.0

    def __post_init__(self) -> None:
        require(
            (self.urls is None) != (self.dataset is None),
            f"a source must have either urls or dataset, got urls {self.urls!r} and dataset "
            f"{self.dataset!r}",
        )
        require(
            (self.dataset is None) == (self.root is None),
            f"dataset and root come together, got dataset {self.dataset!r} and root {self.root!r}",
        )
        require_above(self, 0, "weight")


@dataclass(frozen=True)
class AugmentConfig:
    """How frames are varied; every strength may be 0.

    Args:
        crop_scale: least and greatest side of the random crop, as a share of the largest crop
            that has the training size's aspect.
        flip_share: share of frames that are mirrored.
        colour_share: share of frames whose colours change; the five strengths below are the
            greatest change, drawn uniformly.
        brightness, contrast, saturation: relative.
        hue_deg: rotation of the chroma plane.
        gamma: of its logarithm.
        noise_share: share of frames with camera noise and blur.
        read_noise, shot_noise: greatest standard deviation, of the range 0 .. 1; shot noise is
            that at full brightness and grows with the square root of the light.
        blur_px: greatest sigma of a Gaussian blur.
        jpeg_share: share of frames that go through JPEG of a quality of 40 to 95.
    """

    crop_scale: tuple[float, float] = (0.6, 1.0)
    flip_share: float = 0.5
    colour_share: float = 0.8
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue_deg: float = 15.0
    gamma: float = 0.3
    noise_share: float = 0.5
    read_noise: float = 0.02
    shot_noise: float = 0.03
    blur_px: float = 0.7
    jpeg_share: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.crop_scale
        require(0 < low <= high <= 1, f"crop_scale must be 0 < low <= high <= 1, got {low, high}")
        require_share(self, "flip_share", "colour_share", "noise_share", "jpeg_share")
        require_share(self, "brightness", "contrast", "saturation")
        require_at_least(self, 0, "hue_deg", "gamma", "read_noise", "shot_noise", "blur_px")


@dataclass(frozen=True)
class DataConfig:
    """Where frames come from and how batches are made of them.

    Args:
        sources: what is mixed, by weight.
        size: (height, width) of a training image, multiples of 16.
        batch_size: frames of one process in one forward pass.
        cache: decode all shards once and keep them in memory, each process its share; else
            shards are read as streams.
        cache_size: (height, width) that frames are brought to when they are cached; None keeps
            their own, which must then be the same for all.
        max_frames: cache no more than these; None = all.
        num_workers: processes that prepare batches; 0 prepares them in the training process.
        shuffle_buffer: frames, undecoded, that a stream is mixed over.
        augment: how frames are varied.
    """

    sources: tuple[SourceConfig, ...] = ()
    size: tuple[int, int] = (144, 192)
    batch_size: int = 32
    cache: bool = False
    cache_size: tuple[int, int] | None = None
    max_frames: int | None = None
    num_workers: int = 1
    shuffle_buffer: int = 256
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        require(len(self.sources) > 0, "data.sources must name at least one source, got none")
        require_size("data.size", self.size, COARSE_PATCH_PX)
        require_size("data.cache_size", self.cache_size)
        require_at_least(self, 1, "batch_size")
        require_at_least(self, 0, "num_workers", "shuffle_buffer")
        if self.max_frames is not None:
            require_at_least(self, 1, "max_frames")
