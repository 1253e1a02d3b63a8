"""The depth sensor of a data set, measured like a model."""

from __future__ import annotations

from ppd_core.evaluation.baselines.cards import ModelCard
from ppd_core.evaluation.baselines.library import ModelOptions
from ppd_core.evaluation.recorded import RecordedDepth


def open_sensor(card: ModelCard, options: ModelOptions) -> RecordedDepth:
    """What the sensor saw, where it saw something.

    Raises:
        ValueError: an option of networks is given.
    """
    options.refuse(card.name, "num_steps", "ensemble_size", "processing_area", "repo")
    return RecordedDepth(card.name)
