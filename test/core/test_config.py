from __future__ import annotations

import re

import pytest

from ppd_core.config import (
    DEFAULT_PROFILE,
    PRESETS,
    PROFILES,
    PipelineConfig,
    PreprocessConfig,
    Profile,
    PromptConfig,
    SamplerConfig,
    SpDitConfig,
    config_from_json,
    config_to_json,
    preset,
)

REFUSED = [
    (PreprocessConfig, {"processing_area": 1000.5}, "processing_area must be a whole number"),
    (SamplerConfig, {"num_steps": "4"}, "num_steps must be a whole number, got '4'"),
    (SamplerConfig, {"num_steps": True}, "num_steps must be a whole number, got True"),
    (SpDitConfig, {"depth": 4.0}, "depth must be a whole number, got 4.0"),
    (PreprocessConfig, {"processing_area": 255}, "processing_area must be in [256, 16000000]"),
    (SamplerConfig, {"num_steps": 0}, "num_steps must be in [1, 1000], got 0"),
    (SamplerConfig, {"noise_seed": -1}, "noise_seed must be in [0, 2**63), got -1"),
    (SpDitConfig, {"hidden_size": 0}, "hidden_size must be >= 1, got 0"),
    (SpDitConfig, {"depth": 0}, "depth must be >= 1, got 0"),
    (SpDitConfig, {"num_heads": 0}, "num_heads must be >= 1, got 0"),
    (SpDitConfig, {"semantics_dim": 0}, "semantics_dim must be >= 1, got 0"),
    (SpDitConfig, {"mlp_ratio": 0}, "mlp_ratio must be > 0, got 0"),
    (SpDitConfig, {"depth": 5}, "depth must be even (the prompt is fused midway), got 5"),
    (SpDitConfig, {"hidden_size": 100}, "hidden_size must be a multiple of 4 * num_heads = 64"),
    (PromptConfig, {"kind": "clip"}, "mae, moge2, vggt, got 'clip'"),
    (PromptConfig, {"size": "g"}, "prompt da2 exists in size s, b, l, got 'g'"),
    (PromptConfig, {"kind": "mae", "size": "s"}, "prompt mae exists in size b, l, got 's'"),
    (PromptConfig, {"kind": "moge2", "size": "s"}, "prompt moge2 exists in size l, got 's'"),
    (PromptConfig, {"kind": "efficientnet"}, "efficientnet exists in size lite0, got 'l'"),
    (SpDitConfig, {"prediction": "eps"}, "prediction must be one of velocity, x0, got 'eps'"),
    (Profile, {"num_steps": 0, "area_share": 1.0}, "num_steps must be in [1, 1000], got 0"),
    (Profile, {"num_steps": 4, "area_share": 0.0}, "area_share must be in (0, 1], got 0.0"),
    (Profile, {"num_steps": 4, "area_share": 1.5}, "area_share must be in (0, 1], got 1.5"),
    (PipelineConfig, {"prompt": PromptConfig(size="s")}, "semantics_dim must be 384"),
]


@pytest.mark.parametrize(("config", "values", "message"), REFUSED)
def test_a_config_refuses_what_makes_no_sense(config, values, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        config(**values)


def test_published_presets_are_the_published_model():
    for name in ("ppd-da2", "ppd-moge2"):
        assert preset(name).model == SpDitConfig()
        assert preset(name).preprocess.processing_area == 1024 * 768
        assert preset(name).sampler.num_steps == 4


def test_unknown_preset_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown model 'nano9'; known .*or give the path"):
        preset("nano9")


@pytest.mark.parametrize("name", PRESETS)
def test_config_survives_json(name):
    assert config_from_json(config_to_json(PRESETS[name])) == PRESETS[name]


@pytest.mark.parametrize("text", ["{", "{}", '{"model": {"width": 3}}', "[]"])
def test_config_from_json_refuses_what_it_did_not_write(text):
    with pytest.raises(ValueError, match="config must be the JSON that config_to_json writes"):
        config_from_json(text)


@pytest.mark.parametrize("name", ["ppd-da2", "ppd-moge2", "tiny"])
def test_profiles_are_shares_of_what_the_model_was_made_for(name):
    config = PRESETS[name]
    area = config.preprocess.processing_area
    efforts = {
        profile: (one.num_steps_of(config), one.processing_area_of(config))
        for profile, one in PROFILES.items()
    }
    assert efforts == {"fast": (2, area // 2), "balanced": (4, area), "quality": (20, area)}


def test_a_network_that_knows_its_own_times_alone_gets_no_more_steps():
    steps = {name: profile.num_steps_of(PRESETS["nano"]) for name, profile in PROFILES.items()}
    assert steps == {"fast": 2, "balanced": 2, "quality": 2}


def test_the_default_profile_is_the_config_itself():
    config = PipelineConfig(
        preprocess=PreprocessConfig(processing_area=5000), sampler=SamplerConfig(num_steps=7)
    )
    profile = PROFILES[DEFAULT_PROFILE]
    assert (profile.num_steps_of(config), profile.processing_area_of(config)) == (7, 5000)


def test_no_profile_goes_below_one_patch():
    config = PipelineConfig(preprocess=PreprocessConfig(processing_area=300))
    assert PROFILES["fast"].processing_area_of(config) == 256
