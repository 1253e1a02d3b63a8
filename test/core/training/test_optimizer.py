from __future__ import annotations

import pytest
import torch
from torch import nn

from ppd_core.config import SpDitConfig
from ppd_core.models.sp_dit import SpDit
from ppd_core.training.config import OptimizerConfig
from ppd_core.training.optimizer import (
    averaged_copy,
    build_optimizer,
    learning_rate,
    set_learning_rate,
    update_average,
)


def test_warmup_is_linear_and_reaches_the_rate() -> None:
    config = OptimizerConfig(lr=0.4, warmup_steps=4)
    rates = [learning_rate(config, step, 100) for step in range(6)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_cosine_falls_to_the_floor() -> None:
    config = OptimizerConfig(lr=1.0, schedule="cosine", warmup_steps=10, floor=0.2)
    rates = {step: learning_rate(config, step, 110) for step in (10, 60, 110, 500)}
    assert rates == pytest.approx({10: 1.0, 60: 0.6, 110: 0.2, 500: 0.2})


def test_a_constant_rate_falls_in_the_last_steps() -> None:
    config = OptimizerConfig(lr=1.0, warmup_steps=10, decay_steps=20, floor=0.2)
    rates = {step: learning_rate(config, step, 100) for step in (4, 80, 90, 100)}
    assert rates == pytest.approx({4: 0.5, 80: 1.0, 90: 0.6, 100: 0.2})


def test_groups_tell_vectors_and_scaled_names_apart() -> None:
    dit = SpDit(SpDitConfig(hidden_size=32, depth=2, num_heads=2, semantics_dim=8))
    config = OptimizerConfig(lr=0.1, weight_decay=0.05, lr_scales={"proj_fusion.": 3.0})
    optimizer = build_optimizer(dit, config)
    set_learning_rate(optimizer, 0.2)
    names = {id(parameter): name for name, parameter in dit.named_parameters()}
    seen = set()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            seen.add(name)
            assert group["weight_decay"] == (0.05 if parameter.ndim > 1 else 0), name
            is_fusion = name.startswith("proj_fusion")
            assert group["lr"] == pytest.approx(0.6 if is_fusion else 0.2), name
    assert seen == set(names.values())


def test_the_average_warms_up_and_then_decays() -> None:
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(1.0)
    average = averaged_copy(module)
    average.weight.data.zero_()
    update_average(average, module, decay=0.9, step=0)  # d = 1 / 10
    assert float(average.weight) == pytest.approx(0.9)
    average.weight.data.zero_()
    update_average(average, module, decay=0.9, step=10_000)
    assert float(average.weight) == pytest.approx(0.1)


def test_the_average_of_decay_0_is_the_weights() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average = averaged_copy(module)
    nn.init.normal_(module[0].weight)
    module[1].running_mean.fill_(3.0)
    update_average(average, module, decay=0.0, step=5)
    for old, new in zip(average.state_dict().values(), module.state_dict().values(), strict=True):
        assert torch.equal(old, new)
    assert not any(parameter.requires_grad for parameter in average.parameters())
