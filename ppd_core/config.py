"""One frozen, self-checking dataclass for each stage, and the model presets.

A config is fixed once, at the border (command line, ROS parameter, Python call); past it, code
trusts it. Every error names the field, what was wanted and what came.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

COARSE_PATCH_PX = 16
"""Patch side of the first half of SP-DiT; image sides at model size are multiples of it."""
FINE_PATCH_PX = 8
"""Patch side of the second half."""
MAX_IMAGE_PIXELS = 100_000_000
"""Of an image that comes in; a larger one is refused."""
PREDICTIONS = ("velocity", "x0")
BACKEND_NAMES = ("eager", "graph")
"""How a pipeline's networks can be run; see `ppd_core.backends`."""
IMAGE_KINDS: Mapping[str, str] = {
    "auto": "rectified where the image topic's name says so (image_rect ...), which is told once",
    "raw": "as the lens shows it: K and the distortion of the calibration",
    "rectified": "without distortion: P of the calibration",
}
"""What an image may be beside its calibration -> what is taken of that."""
PACKAGE_FORMATS = ("aoti", "tensorrt")
"""What `ppd export` can make of a model; see `ppd_core.backends.package`."""


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


def _require_whole(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        _require(is_whole, f"{name} must be a whole number, got {value!r}")


@dataclass(frozen=True)
class PreprocessConfig:
    """How an image is brought to the size that the model works at.

    Args:
        processing_area: pixels at model size, keeping the aspect ratio; the published weights
            were trained at 1024 x 768.
    """

    processing_area: int = 1024 * 768

    def __post_init__(self) -> None:
        _require_whole(self, "processing_area")
        low, high = COARSE_PATCH_PX**2, 16_000_000
        _require(
            low <= self.processing_area <= high,
            f"processing_area must be in [{low}, {high}] pixels, got {self.processing_area}",
        )


@dataclass(frozen=True)
class SamplerConfig:
    """How many Euler steps, and which noise they start from.

    Args:
        num_steps: network evaluations a frame.
        noise_seed: seed of the fixed starting noise (same image, same depth).
    """

    num_steps: int = 4
    noise_seed: int = 0

    def __post_init__(self) -> None:
        _require_whole(self, "num_steps", "noise_seed")
        _require(
            1 <= self.num_steps <= 1000, f"num_steps must be in [1, 1000], got {self.num_steps}"
        )
        _require(
            0 <= self.noise_seed < 2**63,
            f"noise_seed must be in [0, 2**63), got {self.noise_seed}",
        )


@dataclass(frozen=True)
class SpDitConfig:
    """The shape of SP-DiT, and the two switches of the paper's ablation.

    Args:
        hidden_size: token width D.
        depth: transformer blocks; the prompt is fused after half of them.
        num_heads: attention heads; D / num_heads must be a multiple of 4 (2-D RoPE).
        mlp_ratio: hidden width of a block's MLP over D.
        semantics_dim: width of the semantic prompt's tokens.
        has_semantics: fuse the semantic prompt; off is the paper's plain DiT.
        has_cascade: coarse patches first; off runs every block at the fine patch.
        has_fine_input: with the cascade, embed x_t and image once more, by fine patches, beside
            the tokens that were split. A wide model's coarse token holds all 4 x 256 values of
            its patch; a narrow one's does not, and what it lost no border can be drawn from.
        prediction: what the network's output is: "velocity" (the paper's) or "x0". A token
            narrower than its patch's noise cannot carry the noise to the output, so a narrow
            model predicts x_0 and the sampler converts (arXiv 2511.13720).
    """

    hidden_size: int = 1024
    depth: int = 24
    num_heads: int = 16
    mlp_ratio: float = 4.0
    semantics_dim: int = 1024
    has_semantics: bool = True
    has_cascade: bool = True
    has_fine_input: bool = False
    prediction: str = "velocity"

    def __post_init__(self) -> None:
        sizes = ("hidden_size", "depth", "num_heads", "semantics_dim")
        _require_whole(self, *sizes)
        for name in sizes:
            value = getattr(self, name)
            _require(value >= 1, f"{name} must be >= 1, got {value}")
        _require(self.mlp_ratio > 0, f"mlp_ratio must be > 0, got {self.mlp_ratio}")
        _require(
            self.depth % 2 == 0,
            f"depth must be even (the prompt is fused midway), got {self.depth}",
        )
        _require(
            self.hidden_size % (4 * self.num_heads) == 0,
            f"hidden_size must be a multiple of 4 * num_heads = {4 * self.num_heads}, "
            f"got {self.hidden_size}",
        )
        _require(
            self.prediction in PREDICTIONS,
            f"prediction must be one of {', '.join(PREDICTIONS)}, got {self.prediction!r}",
        )


PROMPT_SIZES = {
    "da2": ("s", "b", "l"),
    "dinov2": ("s", "b", "l"),
    "efficientnet": ("lite0",),
    "mae": ("b", "l"),
    "moge2": ("l",),
    "vggt": ("l",),
}
"""Prompt kind -> the sizes that it exists in."""
PROMPT_WIDTH = {"s": 384, "b": 768, "l": 1024, "lite0": 576}
"""Prompt size -> token width."""


@dataclass(frozen=True)
class PromptConfig:
    """Which foundation model makes the semantic prompt.

    Args:
        kind: "da2" (Depth Anything V2's encoder), "dinov2" (the plain one), "mae", "moge2",
            "vggt", or nano's, which is trained here from ImageNet's weights: "efficientnet".
        size: ViT size of the backbone: "s", "b" or "l"; mae has no "s", moge2 and vggt are
            published as "l" alone, and the small ones have their own.
    """

    kind: str = "da2"
    size: str = "l"

    def __post_init__(self) -> None:
        _require(
            self.kind in PROMPT_SIZES,
            f"prompt kind must be one of {', '.join(PROMPT_SIZES)}, got {self.kind!r}",
        )
        sizes = PROMPT_SIZES[self.kind]
        _require(
            self.size in sizes,
            f"prompt {self.kind} exists in size {', '.join(sizes)}, got {self.size!r}",
        )


@dataclass(frozen=True)
class PipelineConfig:
    """Everything that `DepthPipeline` needs to be built.

    Args:
        weights: names in `ppd_core.weights.REGISTRY`, the model's first and the prompt's second;
            empty for a preset that has no published weights (nano's come with the package).
    """

    model: SpDitConfig = field(default_factory=SpDitConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    weights: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        width = PROMPT_WIDTH[self.prompt.size]
        _require(
            not self.model.has_semantics or self.model.semantics_dim == width,
            f"semantics_dim must be {width}, the width of prompt {self.prompt.kind} "
            f"size {self.prompt.size}, got {self.model.semantics_dim}",
        )

    @property
    def has_own_metres(self) -> bool:
        """Whether the prompt network guesses metres, too."""
        return self.prompt.kind == "moge2"


PRESETS: dict[str, PipelineConfig] = {
    "ppd-da2": PipelineConfig(weights=("ppd", "depth-anything-v2-vitl")),
    "ppd-moge2": PipelineConfig(
        prompt=PromptConfig(kind="moge2"), weights=("ppd-moge", "moge-2-vitl-normal")
    ),
    # Trained on simulated scenes; its weights are in the package.
    "nano": PipelineConfig(
        model=SpDitConfig(
            hidden_size=192,
            depth=8,
            num_heads=3,
            semantics_dim=576,
            has_fine_input=True,
            prediction="x0",
        ),
        prompt=PromptConfig(kind="efficientnet", size="lite0"),
        preprocess=PreprocessConfig(processing_area=160 * 120),
        sampler=SamplerConfig(num_steps=2),
    ),
    # Untrained: for tests, and for seeing the whole way through the house on any machine.
    "tiny": PipelineConfig(
        model=SpDitConfig(hidden_size=64, depth=4, num_heads=4, semantics_dim=384),
        prompt=PromptConfig(kind="dinov2", size="s"),
        preprocess=PreprocessConfig(processing_area=256 * 192),
    ),
}


def preset(name: str) -> PipelineConfig:
    """The preset of that name.

    Raises:
        ValueError: there is none; the message lists those that exist.
    """
    if name not in PRESETS:
        raise ValueError(
            f"unknown model {name!r}; known presets: {', '.join(PRESETS)}; "
            "or give the path of a checkpoint file"
        )
    return PRESETS[name]


@dataclass(frozen=True)
class Profile:
    """What is spent on a frame, by what the model was made for.

    Args:
        num_steps: Euler steps; None = the config's own.
        area_share: of the config's processing_area.
    """

    num_steps: int | None
    area_share: float

    def __post_init__(self) -> None:
        if self.num_steps is not None:
            SamplerConfig(num_steps=self.num_steps)
        _require(0 < self.area_share <= 1, f"area_share must be in (0, 1], got {self.area_share}")

    def num_steps_of(self, config: PipelineConfig) -> int:
        """The steps of a frame by that config."""
        own = config.sampler.num_steps
        if self.num_steps is None:
            return own
        # Nano, which predicts x_0, knows no times but those of its own steps: more make it worse
        # (AbsRel 0.192 with 20, 0.167 with 4: `ppd eval --model nano --steps 4 20 --data
        # simulated=out/held_out --limit 60`).
        return min(self.num_steps, own) if config.model.prediction == "x0" else self.num_steps

    def processing_area_of(self, config: PipelineConfig) -> int:
        """The pixels of a frame by that config, never less than one patch."""
        area = round(self.area_share * config.preprocess.processing_area)
        return max(COARSE_PATCH_PX**2, area)


PROFILES: dict[str, Profile] = {
    # Half of both: at most a quarter of the sampler's work and half of the prompt's, while a side
    # shrinks by 0.7 alone.
    "fast": Profile(num_steps=SamplerConfig().num_steps // 2, area_share=0.5),
    "balanced": Profile(num_steps=None, area_share=1.0),
    # Beyond 20 steps the sampled depth hardly changes; published figures stop at 50.
    "quality": Profile(num_steps=20, area_share=1.0),
}
DEFAULT_PROFILE = "balanced"


def config_to_json(config: PipelineConfig) -> str:
    """The config as JSON text, as a checkpoint's metadata keeps it."""
    return json.dumps(asdict(config), indent=None, sort_keys=True)


def config_from_json(text: str) -> PipelineConfig:
    """The inverse of `config_to_json`.

    Raises:
        ValueError: not JSON, an unknown field, or a value that a config refuses.
    """
    try:
        values = json.loads(text)
        return PipelineConfig(
            model=SpDitConfig(**values["model"]),
            prompt=PromptConfig(**values["prompt"]),
            preprocess=PreprocessConfig(**values["preprocess"]),
            sampler=SamplerConfig(**values["sampler"]),
            weights=tuple(values["weights"]),
        )
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"config must be the JSON that config_to_json writes: {error}") from error
