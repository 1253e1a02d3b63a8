"""What is known of each model without having it: where it is kept, on what terms, what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ppd_core.config import PRESETS
from ppd_core.evaluation.model import SPACES
from ppd_core.registry import PACKAGED, REGISTRY

TWIN_SUFFIX = "-twin"
"""A preset's name and this: the depth head of its prompt, without the diffusion."""


@dataclass(frozen=True)
class ModelCard:
    """A model that can be measured.

    Attributes:
        name: what tables and the command call it.
        family: which adapter runs it.
        space: of its relative depth, one of `model.SPACES`.
        licence: of its weights: SPDX identifier, or a name where it has none.
        resolution: the size that its own processor brings an image to.
        hub_repo: its repository on the hub; None of our own, whose files the registry knows.
        is_commercial_use_allowed: False where its licence forbids it.
        needs_sensor_depth: it takes a sensor's depth and improves it.
    """

    name: str
    family: str
    space: str
    licence: str
    resolution: str
    hub_repo: str | None = None
    is_commercial_use_allowed: bool = True
    needs_sensor_depth: bool = False

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise ValueError(f"space must be one of {', '.join(SPACES)}, got {self.space!r}")

    @property
    def page_url(self) -> str:
        """Where a person reads about it and gets its files; "" without `hub_repo`."""
        if self.hub_repo is None:
            return ""
        return f"https://huggingface.co/{self.hub_repo}"

    @property
    def licence_text(self) -> str:
        """The licence, with what a user must not overlook."""
        allowed = self.is_commercial_use_allowed
        return self.licence if allowed else f"{self.licence}, non-commercial use only"


_NON_COMMERCIAL = "CC-BY-NC-4.0"


def _depth_anything() -> list[ModelCard]:
    """The relative and the metric ones; of each the small one alone is free for any use."""
    cards = []
    for kind in ("", "Metric-Indoor-", "Metric-Outdoor-"):
        for size in ("Small", "Base", "Large"):
            is_small = size == "Small"
            cards.append(
                ModelCard(
                    name=f"depth-anything-v2-{kind.lower()}{size.lower()}",
                    family="transformers",
                    space="metric" if kind else "disparity",
                    licence="Apache-2.0" if is_small else _NON_COMMERCIAL,
                    hub_repo=f"depth-anything/Depth-Anything-V2-{kind}{size}-hf",
                    resolution="shorter side 518, both multiples of 14",
                    is_commercial_use_allowed=is_small,
                )
            )
    return cards


def _zoedepth(name: str, repo: str) -> ModelCard:
    return ModelCard(
        name=name,
        family="zoedepth",
        space="metric",
        licence="MIT",
        hub_repo=f"Intel/{repo}",
        resolution="reflected at its borders, near 384 x 512 (rows first), multiples of 32",
    )


def _prompt_depth_anything(name: str, vit: str) -> ModelCard:
    return ModelCard(
        name=f"prompt-depth-anything-{name}",
        family="prompt-depth-anything",
        space="metric",
        licence="Apache-2.0",
        hub_repo=f"depth-anything/prompt-depth-anything-{vit}-hf",
        resolution="shorter side 756, both multiples of 14",
        needs_sensor_depth=True,
    )


def _marigold(name: str, repo: str, licence: str) -> ModelCard:
    return ModelCard(
        name=name,
        family="marigold",
        space="depth",
        licence=licence,
        hub_repo=f"prs-eth/{repo}",
        resolution="longer side 768, padded to multiples of 8",
    )


def _lotus(name: str, repo: str) -> ModelCard:
    return ModelCard(
        name=name,
        family="lotus",
        space="disparity",
        licence="Apache-2.0",
        hub_repo=f"jingheya/{repo}",
        resolution="longer side 768, padded to multiples of 8",
    )


_CARDS = (
    *_depth_anything(),
    ModelCard(
        name="depth-pro",
        family="transformers",
        space="metric",
        licence="Apple Machine Learning Research Model licence",
        hub_repo="apple/DepthPro-hf",
        resolution="1536 x 1536, whatever the aspect ratio",
        is_commercial_use_allowed=False,
    ),
    _zoedepth("zoedepth", "zoedepth-nyu-kitti"),
    _zoedepth("zoedepth-nyu", "zoedepth-nyu"),
    _zoedepth("zoedepth-kitti", "zoedepth-kitti"),
    _prompt_depth_anything("small", "vits"),
    _prompt_depth_anything("large", "vitl"),
    _marigold("marigold", "marigold-depth-v1-1", "OpenRAIL++-M"),
    _marigold("marigold-v1-0", "marigold-depth-v1-0", "Apache-2.0"),
    _marigold("marigold-lcm", "marigold-depth-lcm-v1-0", "Apache-2.0"),
    _lotus("lotus-d", "lotus-depth-d-v2-0-disparity"),
    _lotus("lotus-g", "lotus-depth-g-v2-1-disparity"),
    ModelCard(
        name="moge-2",
        family="moge-2",
        space="metric",
        licence="MIT",
        hub_repo="Ruicheng/moge-2-vitl-normal",
        resolution="3600 patches of 14 pixels at the image's aspect ratio",
    ),
    ModelCard(
        name="vggt",
        family="vggt",
        space="depth",
        licence=_NON_COMMERCIAL,
        hub_repo="facebook/VGGT-1B",
        resolution="longer side 518, both multiples of 14",
        is_commercial_use_allowed=False,
    ),
    # Marigold left Stable Diffusion's VAE as it was.
    ModelCard(
        name="oracle:vae",
        family="vae",
        space="depth",
        licence="OpenRAIL++-M",
        hub_repo="prs-eth/marigold-depth-v1-1",
        resolution="the truth's own",
    ),
    ModelCard(
        name="sensor",
        family="sensor",
        space="metric",
        licence="that of the data",
        resolution="the image's own",
        needs_sensor_depth=True,
    ),
)


def own_card(name: str) -> ModelCard:
    """The card of a preset, of its twin, or of a checkpoint file."""
    preset_name = name.removesuffix(TWIN_SUFFIX)
    config = PRESETS.get(preset_name)
    files = [REGISTRY[file].licence for file in config.weights] if config else []
    licence = " + ".join(dict.fromkeys(files)) or "that of its checkpoint"
    area = f"near {config.preprocess.processing_area}" if config else "its config's number of"
    return ModelCard(
        name=name,
        family="own",
        space="log",
        licence="Apache-2.0" if preset_name in PACKAGED else licence,
        resolution=f"{area} pixels, both sides multiples of 16",
        is_commercial_use_allowed="-NC" not in licence,
    )


_OWN = (own_card(name) for name in (*PRESETS, "nano" + TWIN_SUFFIX))
MODELS: Mapping[str, ModelCard] = {card.name: card for card in (*_OWN, *_CARDS)}
"""Name -> model: our own first; a checkpoint's path is a model, too."""
