"""What `ppd bag` is to do with a recording, checked once."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from ppd_core.alignment.config import ON_FAILURE
from ppd_core.bag.output_names import DEFAULT_OUTPUTS, OUTPUTS
from ppd_core.bag.recorded_frame import RecordedFrameSettings


@dataclass(frozen=True)
class RunSettings:
    """How the frames of a recording are worked on, and what is written of them.

    Args:
        frames: what belongs to an image, and what ties its depth to metres.
        outputs: keys of `OUTPUTS`.
        namespace: of the written topics.
        on_failure: a key of `ON_FAILURE`.
        min_confidence: metres with less are written as NaN.
        min_m, max_m: range of metres; see `published_depth`.
        decimation: every so manyth row and column becomes points.
        num_steps, processing_area: of the model.
        batch_size: frames that go through the model together.
        checkpoint_s: after so many seconds of work what was written is made safe.

    Raises:
        ValueError: a value is not usable; the message says which and what came.
    """

    frames: RecordedFrameSettings
    num_steps: int
    processing_area: int
    outputs: tuple[str, ...] = DEFAULT_OUTPUTS
    namespace: str = "/ppd"
    on_failure: str = "drop"
    min_confidence: float = 0.0
    min_m: float = 0.0
    max_m: float = 1000.0
    decimation: int = 1
    batch_size: int = 1
    checkpoint_s: float = 60.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.outputs if name not in OUTPUTS]
        if unknown or not self.outputs:
            raise ValueError(
                f"outputs must be of {', '.join(OUTPUTS)}, got {' '.join(self.outputs) or 'none'}"
            )
        if not self.namespace.startswith("/"):
            raise ValueError(f"namespace must begin with /, got {self.namespace!r}")
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f"min_confidence must be in [0, 1], got {self.min_confidence}")
        if self.on_failure not in ON_FAILURE:
            known = ", ".join(ON_FAILURE)
            raise ValueError(f"on_failure must be one of {known}, got {self.on_failure!r}")
        if not 0 <= self.min_m < self.max_m:
            raise ValueError(f"need 0 <= min_m < max_m, got {self.min_m:g} and {self.max_m:g}")
        for name in ("decimation", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if not (self.checkpoint_s > 0 and math.isfinite(self.checkpoint_s)):
            raise ValueError(f"checkpoint_s must be > 0, got {self.checkpoint_s}")

    def topic(self, output: str) -> str:
        """The topic of a key of `OUTPUTS`."""
        name = OUTPUTS[output]
        return name if name.startswith("/") else f"{self.namespace.rstrip('/')}/{name}"

    def facts(self) -> dict[str, Any]:
        """What a run must share with the one that it continues, as JSON holds it."""
        facts = dataclasses.asdict(self)
        for name in ("batch_size", "checkpoint_s"):  # How, and not what.
            del facts[name]
        constant = self.frames.constant
        # Without what of it is not known: NaN equals nothing.
        facts["frames"]["constant"] = constant and [constant.scale, constant.shift]
        return facts
