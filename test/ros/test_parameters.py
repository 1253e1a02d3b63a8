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
from ppd_core.config import (
    DEFAULT_PROFILE,
    PRESETS,
    PROFILES,
    PipelineConfig,
    PreprocessConfig,
    SamplerConfig,
)
from ppd_ros import parameters
from ppd_ros.model_parameters import model_settings
from ppd_ros.parameters import (
    BY_PROFILE,
    MIN_AREA,
    PROFILE_TEXTS,
    SPECS,
    Effort,
    camera_names,
    frame_settings,
)

YAML = Path(__file__).parents[2] / "config" / "ppd.yaml"
DEFAULTS = {spec.name: spec.default for spec in SPECS}


@pytest.fixture
def make_node(domain_id):
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    nodes = []

    def make(*, cli_args=None, **values):
        overrides = [Parameter(name.replace("__", "."), value=v) for name, v in values.items()]
        nodes.append(
            Node(
                f"node{len(nodes)}",
                context=context,
                parameter_overrides=overrides,
                cli_args=cli_args,
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
    written["cameras"] = tuple(written["cameras"])
    assert written == DEFAULTS


def test_yaml_is_what_the_node_starts_with(make_node):
    node = make_node(cli_args=["--ros-args", "--params-file", str(YAML)])
    parameters.declare(node)
    assert parameters.current_values(node) == DEFAULTS


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
    assert settings.effort == Effort(BY_PROFILE, BY_PROFILE, DEFAULT_PROFILE)
    assert settings.quality == Effort(BY_PROFILE, BY_PROFILE, "quality")
    assert settings.alignment.source == "none"
    assert settings.alignment.config == AlignmentConfig()
    assert model_settings(DEFAULTS).model in PRESETS


@pytest.mark.parametrize(
    ("name", "config"), [("num_steps", SamplerConfig), ("processing_area", PreprocessConfig)]
)
def test_bounds_are_those_of_the_core(name, config):
    low, high = next(spec.bounds for spec in SPECS if spec.name == name)
    assert low == BY_PROFILE
    low = {"num_steps": 1, "processing_area": MIN_AREA}[name]
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


@pytest.mark.parametrize("name", ["processing_area", "quality.processing_area"])
def test_an_area_is_the_profile_s_or_large_enough(name):
    assert frame_settings({**DEFAULTS, name: BY_PROFILE})
    assert frame_settings({**DEFAULTS, name: MIN_AREA})
    with pytest.raises(ValueError, match=r"processing_area must be .* got 255"):
        frame_settings({**DEFAULTS, name: 255})


@pytest.mark.parametrize("profile", PROFILES)
def test_the_profile_decides_what_is_not_given(profile):
    config = PRESETS["nano"]
    wanted = PROFILES[profile]

    def effort(**given):
        found = frame_settings({**DEFAULTS, "profile": profile, **given})
        assert found.quality == frame_settings(DEFAULTS).quality
        return found.effort.num_steps_of(config), found.effort.processing_area_of(config)

    steps, area = wanted.num_steps_of(config), wanted.processing_area_of(config)
    assert effort() == (steps, area)
    assert effort(num_steps=7) == (7, area)
    assert effort(processing_area=1000) == (steps, 1000)


def test_quality_is_the_profile_of_that_name():
    quality, config = frame_settings(DEFAULTS).quality, PipelineConfig()
    assert quality.num_steps_of(config) == PROFILES["quality"].num_steps
    assert quality.processing_area_of(config) == config.preprocess.processing_area


def test_every_profile_is_told_of():
    assert PROFILE_TEXTS.keys() == PROFILES.keys()


def test_auto_and_empty_leave_the_choice_to_the_pipeline():
    settings = model_settings(DEFAULTS)
    assert (settings.weights_dir, settings.device) == (None, None)
    assert (settings.dtype, settings.backend) == (None, None)


def test_model_settings_are_what_was_given():
    given = {"weights_dir": "~/w", "device": "cuda:1", "dtype": "bfloat16"}
    given |= {"backend": "graph", "model": "x"}
    settings = model_settings({**DEFAULTS, **given})
    assert settings.weights_dir == Path.home() / "w"
    assert (settings.model, settings.device) == ("x", "cuda:1")
    assert (settings.dtype, settings.backend) == (torch.bfloat16, "graph")
    assert model_settings({**DEFAULTS, "dtype": "float8"}).dtype is torch.float8_e4m3fn


@pytest.mark.parametrize(
    ("width", "height", "expected"), [(640, 480, (640, 480)), (0, 480, None), (640, 0, None)]
)
def test_a_side_of_zero_is_no_warm_up(width, height, expected):
    given = {"warm_up.width": width, "warm_up.height": height}
    assert model_settings({**DEFAULTS, **given}).warm_up_size == expected


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
        ("image_transport", "theora", r"image_transport must be one of raw, compressed, got"),
        ("on_oom", "hope", r"on_oom must be one of stop, shrink, got 'hope'"),
        ("range.min_m", 1000.0, r"range.min_m must be less than range.max_m, got 1000 and 1000"),
        ("points.decimation", 0, r"points.decimation must be in \[1, 64\], got 0"),
        ("max_rate_hz", -1.0, r"max_rate_hz must be in \[0.0, 1000.0\], got -1.0"),
        ("backend", "fast", r"backend must be one of auto, eager, graph.*got 'fast'"),
        ("dtype", "int8", r"dtype must be one of auto, float32, .*got 'int8'"),
        ("num_steps", -1, r"num_steps must be in \[0, 1000\], got -1"),
        ("profile", "best", r"profile must be one of fast, balanced, quality, got 'best'"),
        ("processing_area", -1, r"processing_area must be in \[0, 16000000\], got -1"),
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
        parameters.declare(make_node(num_steps=-1))


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


@pytest.mark.parametrize(
    "name",
    ["model", "weights_dir", "device", "dtype", "backend", "warm_up.width", "image_transport"],
)
def test_what_configure_reads_changes_only_before_it(make_node, name):
    node = make_node()
    parameters.declare(node)
    others = {"dtype": "float32", "backend": "eager", "warm_up.width": 0}
    others["image_transport"] = "compressed"
    value = others.get(name, "cpu")
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


@pytest.mark.parametrize("given", [[], [""], None])
def test_one_camera_needs_no_name(make_node, given):
    node = make_node() if given is None else make_node(cameras=given)
    parameters.declare(node)
    assert camera_names(parameters.current_values(node)) == ("",)


def test_cameras_have_the_names_that_were_given(make_node):
    node = make_node(cameras=["left", "right"])
    parameters.declare(node)
    assert camera_names(parameters.current_values(node)) == ("left", "right")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["left", "left"], "must differ from each other, got left, left"),
        (["left eye"], "names of letters, digits and _, got 'left eye'"),
        (["/left"], "got '/left'"),
        (["2"], "got '2'"),
        ("left", "must be a list of names, got 'left'"),
        (1, "must be a list of names, got 1"),
        ([1, 2], r"must be a list of names, got \(1, 2\)"),
    ],
)
def test_cameras_that_cannot_be_are_refused(make_node, given, words):
    with pytest.raises(ValueError, match=words):
        parameters.declare(make_node(cameras=given))


def test_a_rate_is_a_period():
    assert frame_settings(DEFAULTS).min_period_s == 0
    assert frame_settings({**DEFAULTS, "max_rate_hz": 20.0}).min_period_s == 0.05
