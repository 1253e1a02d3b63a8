"""What can be opened by name, and on what terms."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ppd_core.evaluation.baselines import MODELS, open_model, takes_steps
from ppd_core.evaluation.baselines.catalog import _FAMILIES
from ppd_core.evaluation.baselines.library import require
from ppd_core.evaluation.model import SPACES, ModelError

FREE = {"Apache-2.0", "MIT", "OpenRAIL++-M", "that of its checkpoint", "that of the data"}


def test_each_model_has_an_adapter_a_space_and_terms():
    for name, card in MODELS.items():
        assert card.name == name
        assert card.family in _FAMILIES
        assert card.space in SPACES
        assert card.resolution
        assert (card.hub_repo is None) == (card.family in ("own", "sensor"))
        is_free = set(card.licence.split(" + ")) <= FREE
        assert card.is_commercial_use_allowed == is_free, name
        assert ("non-commercial" in card.licence_text) != is_free


def test_what_is_not_free_says_so():
    not_free = {name for name, card in MODELS.items() if not card.is_commercial_use_allowed}
    assert {"ppd-da2", "depth-pro", "vggt", "depth-anything-v2-large"} <= not_free
    assert not {"nano", "ppd-moge2", "moge-2", "depth-anything-v2-small"} & not_free
    assert MODELS["ppd-da2"].licence == "Apache-2.0 + CC-BY-NC-4.0"


def test_an_unknown_name_lists_those_that_exist():
    with pytest.raises(ValueError, match=r"unknown model 'midas'; known ones: .*depth-pro"):
        open_model("midas")


def test_a_library_that_is_not_installed_names_the_extra():
    with pytest.raises(ModelError, match=r"x needs the library no_such: pip install 'ppd_ros\[e"):
        require("no_such", "x")


def test_an_error_inside_a_library_is_not_taken_for_its_absence(tmp_path, monkeypatch):
    (tmp_path / "half_there.py").write_text("import no_such_part")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_part"):
        require("half_there", "x")


def test_the_list_of_models_is_had_without_their_libraries():
    code = (
        "import sys; from ppd_core.evaluation import baselines; "
        "print(len(baselines.MODELS), *{'transformers', 'diffusers', 'timm'} & set(sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert out.stdout.split() == [str(len(MODELS))]


@pytest.mark.parametrize("name", [name for name in MODELS if not takes_steps(name)])
def test_a_model_that_takes_no_steps_refuses_them(name: str):
    with pytest.raises((ValueError, ModelError), match=r"has no num_steps|needs"):
        open_model(name, "cpu", num_steps=1)


def test_ours_take_steps_and_a_backend_and_rivals_no_backend():
    assert all(map(takes_steps, ("nano", "ppd-da2", "runs/last.safetensors", "marigold")))
    assert not takes_steps("nano-twin")
    assert open_model("nano", "cpu", num_steps=1, backend="eager").settings == {
        "steps": "1",
        "area": "19200 px",
        "dtype": "float32",
        "backend": "eager",
    }
    with pytest.raises(ValueError, match="depth-pro has no backend"):
        open_model("depth-pro", "cpu", backend="eager")
