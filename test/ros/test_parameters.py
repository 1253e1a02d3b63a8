from __future__ import annotations

from pathlib import Path

import pytest
import rclpy
import torch
import yaml
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from ppd_core.alignment.config import AlignmentConfig
from ppd_core.config import PRESETS, PreprocessConfig, SamplerConfig
from ppd_ros import parameters
from ppd_ros.parameters import SPECS, frame_settings, model_settings

YAML = Path(__file__).parents[2] / "config" / "ppd.yaml"
DEFAULTS = {spec.name: spec.default for spec in SPECS}


@pytest.fixture
def make_node(domain_id):
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    nodes = []

    def make(**values):
        overrides = [Parameter(name.replace("__", "."), value=v) for name, v in values.items()]
        nodes.append(
            Node(
                f"node{len(nodes)}",
                context=context,
                parameter_overrides=overrides,
                use_global_arguments=False,
            )
        )
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    context.shutdown()


def flat(tree, prefix=""):
    """Nested YAML -> names with dots."""
    result = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        result.update(flat(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return result


def test_yaml_repeats_the_defaults():
    written = flat(yaml.safe_load(YAML.read_text())["/**"]["ros__parameters"])
    # Left out, for a preset has its own; the value is in a comment.
    area = DEFAULTS["processing_area"]
    assert f"# processing_area: {area}" in YAML.read_text()
    assert {**written, "processing_area": area} == DEFAULTS


def test_yaml_has_a_comment_above_every_parameter():
    lines = YAML.read_text().splitlines()
    names = [spec.name.rpartition(".")[2] for spec in SPECS]
    for name in names:
        at = next(i for i, line in enumerate(lines) if line.strip("# ").startswith(f"{name}:"))
        assert lines[at - 1].strip().startswith("#"), name


def test_yaml_tells_the_bounds():
    text = YAML.read_text()
    for spec in SPECS:
        if spec.bounds:
            low, high = spec.bounds
            assert f"[{low:g}, {high:g}]" in text or f"[{low}, {high}]" in text, spec.name


def test_defaults_are_those_of_the_core():
    settings = frame_settings(DEFAULTS)
    assert settings.sampler == SamplerConfig()
    assert settings.preprocess == PreprocessConfig()
    assert settings.alignment.source == "none"
    assert settings.alignment.config == AlignmentConfig()
    assert model_settings(DEFAULTS).model in PRESETS


@pytest.mark.parametrize(
    ("name", "config"), [("num_steps", SamplerConfig), ("processing_area", PreprocessConfig)]
)
def test_bounds_are_those_of_the_core(name, config):
    low, high = next(spec.bounds for spec in SPECS if spec.name == name)
    for inside in (low, high):
        config(**{name: inside})
    for outside in (low - 1, high + 1):
        with pytest.raises(ValueError, match=name):
            config(**{name: outside})


def test_declared_parameters_have_descriptions_and_bounds(make_node):
    node = make_node()
    parameters.declare(node)
    assert parameters.current_values(node) == DEFAULTS
    for spec in SPECS:
        descriptor = node.describe_parameter(spec.name)
        assert descriptor.description.startswith(spec.description)
        ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
        assert [(r.from_value, r.to_value) for r in ranges] == (
            [spec.bounds] if spec.bounds else []
        )
        assert all(choice in descriptor.additional_constraints for choice in spec.choices)


def test_area_is_the_presets_own_unless_given(make_node):
    tiny = PRESETS["tiny"].preprocess.processing_area
    assert parameters.declare(make_node(model="tiny")).preprocess.processing_area == tiny
    given = parameters.declare(make_node(model="tiny", processing_area=1024))
    assert given.preprocess.processing_area == 1024
    checkpoint = parameters.declare(make_node(model="/data/my.safetensors"))
    assert checkpoint.preprocess == PreprocessConfig()


def test_auto_and_empty_leave_the_choice_to_the_pipeline():
    settings = model_settings(DEFAULTS)
    assert (settings.weights_dir, settings.device, settings.dtype) == (None, None, None)


def test_model_settings_are_what_was_given():
    given = {"weights_dir": "~/w", "device": "cuda:1", "dtype": "bfloat16", "model": "x"}
    settings = model_settings({**DEFAULTS, **given})
    assert settings.weights_dir == Path.home() / "w"
    assert (settings.model, settings.device) == ("x", "cuda:1")
    assert settings.dtype is torch.bfloat16


def test_constant_alignment_spans_near_to_far():
    settings = frame_settings(
        {
            **DEFAULTS,
            "alignment.source": "constant",
            "alignment.near_m": 0.0,
            "alignment.far_m": 7.0,
        }
    )
    assert settings.alignment.source == settings.alignment.constant.source == "constant"
    assert settings.alignment.constant.shift == 0.0
    assert settings.alignment.constant.scale == pytest.approx(2.0794415)  # log 8


def test_staleness_is_switched_off_by_a_switch_not_by_a_number():
    assert frame_settings(DEFAULTS).max_age_s == 1.0
    assert frame_settings({**DEFAULTS, "drop_stale": False}).max_age_s is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "alignment.source",
            "gps",
            r"alignment.source must be one of none, constant, depth, lidar, moge2, got 'gps'",
        ),
        ("dtype", "int8", r"dtype must be one of auto, float32, .*got 'int8'"),
        ("num_steps", 0, r"num_steps must be in \[1, 1000\], got 0"),
        ("processing_area", 255, r"processing_area must be in \[256, 16000000\], got 255"),
        ("max_age_s", 0.0, r"max_age_s must be in \[0.001, 3600.0\], got 0.0"),
        ("max_age_s", -1.0, r"max_age_s must be in \[0.001, 3600.0\], got -1.0"),
        ("max_age_s", float("nan"), r"max_age_s must be in \[0.001, 3600.0\], got nan"),
        ("alignment.on_failure", "hope", r"must be one of drop, nan, relative, got 'hope'"),
        ("alignment.hold_s", -1.0, r"alignment.hold_s must be in \[0.0, 60.0\], got -1.0"),
        ("alignment.max_depth_m", 0.1, r"need 0 <= min_depth_m < max_depth_m"),
        ("alignment.near_m", 10.0, r"need 0 <= near < far metres, got near 10.0, far 10.0"),
    ],
)
def test_settings_refuse_with_the_reason(name, value, message):
    with pytest.raises(ValueError, match=message):
        frame_settings({**DEFAULTS, name: value})


def test_declaring_refuses_a_value_out_of_bounds(make_node):
    with pytest.raises(InvalidParameterValueException, match="num_steps"):
        parameters.declare(make_node(num_steps=0))


def test_declaring_refuses_a_wrong_type(make_node):
    with pytest.raises(InvalidParameterTypeException, match="max_age_s"):
        parameters.declare(make_node(max_age_s=1))


def test_declaring_refuses_an_unknown_source(make_node):
    with pytest.raises(ValueError, match=r"one of none, constant, .* got 'gps'"):
        parameters.declare(make_node(alignment__source="gps"))


def changed(node, is_configured, **values):
    changes = [Parameter(name.replace("__", "."), value=v) for name, v in values.items()]
    return parameters.changed_settings(node, changes, is_configured=is_configured)


def test_changes_that_belong_together_are_judged_together(make_node):
    node = make_node()
    parameters.declare(node)
    settings = changed(
        node, True, alignment__source="constant", alignment__near_m=20.0, alignment__far_m=30.0
    )
    assert settings.alignment.constant.shift == pytest.approx(3.0445224)  # log 21
    with pytest.raises(ValueError, match=r"need 0 <= near < far metres, got near 20.0, far 10.0"):
        changed(node, True, alignment__near_m=20.0)


@pytest.mark.parametrize("name", ["model", "weights_dir", "device", "dtype"])
def test_what_configure_reads_changes_only_before_it(make_node, name):
    node = make_node()
    parameters.declare(node)
    value = "float32" if name == "dtype" else "cpu"
    changed(node, False, **{name: value})
    changed(node, True, **{name: DEFAULTS[name]})
    with pytest.raises(ValueError, match=f"{name} can change only while unconfigured: clean up"):
        changed(node, True, **{name: value})


def test_autostart_is_read_only(make_node):
    node = make_node()
    parameters.declare(node)
    result = node.set_parameters([Parameter("autostart", value=False)])[0]
    assert not result.successful


def test_parameters_of_others_are_left_to_them(make_node):
    node = make_node()
    settings = parameters.declare(node)
    assert changed(node, True, use_sim_time=True) == settings


@pytest.mark.parametrize("given", ["nan", float("nan")])
def test_the_word_nan_is_understood_though_yaml_reads_a_number(make_node, given):
    node = make_node(alignment__on_failure=given)
    assert parameters.declare(node).alignment.on_failure == "nan"
    changed = parameters.changed_settings(
        node, [Parameter("alignment.on_failure", value="drop")], is_configured=True
    )
    assert changed.alignment.on_failure == "drop"
    back = parameters.changed_settings(
        node, [Parameter("alignment.on_failure", value=given)], is_configured=True
    )
    assert back.alignment.on_failure == "nan"
    with pytest.raises(ValueError, match=r"must be one of drop, nan, relative, got 1\.0"):
        parameters.changed_settings(
            node, [Parameter("alignment.on_failure", value=1.0)], is_configured=True
        )
