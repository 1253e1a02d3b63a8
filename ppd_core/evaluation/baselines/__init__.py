"""The models that can be measured: our own, the rivals, and what bounds some of them."""

from ppd_core.evaluation.baselines.cards import MODELS, ModelCard
from ppd_core.evaluation.baselines.catalog import Model, open_model, takes_steps
from ppd_core.evaluation.baselines.library import ModelOptions

__all__ = ["MODELS", "Model", "ModelCard", "ModelOptions", "open_model", "takes_steps"]
