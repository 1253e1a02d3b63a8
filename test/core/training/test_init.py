from __future__ import annotations

import pytest
import torch

from ppd_core.config import SpDitConfig
from ppd_core.models.sp_dit import SpDit
from ppd_core.training.init import init_sp_dit

CONFIG = SpDitConfig(hidden_size=32, depth=2, num_heads=2, semantics_dim=8)


def make(gate: float) -> SpDit:
    torch.manual_seed(0)
    dit = SpDit(CONFIG)
    init_sp_dit(dit, gate)
    return dit


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(2, 4, 32, 32), torch.randn(2, 4, 8), torch.tensor([500.0, 1000.0])


def test_first_output_is_zero() -> None:
    assert not make(gate=0.5)(*inputs()).any()


@pytest.mark.parametrize("gate", [0.0, 0.25])
def test_gates_start_where_they_are_told_at_any_time(gate: float) -> None:
    for block in make(gate).blocks:
        shifts = block.adaLN_modulation(torch.randn(3, 32)).chunk(6, dim=1)
        for place, values in enumerate(shifts):
            expected = gate if place in (2, 5) else 0.0
            assert (values == expected).all()


def test_a_gate_of_zero_makes_a_block_the_identity() -> None:
    dit, tokens = make(0.0), torch.randn(1, 4, 32)
    rope, _ = dit.ropes(torch.randn(1, 4, 32, 32))
    block = dit.blocks[0]
    assert torch.equal(block(tokens, block.modulation(torch.randn(1, 32)), rope), tokens)


def test_linear_layers_are_xavier_uniform() -> None:
    weight = make(0.0).proj_fusion[2].weight.detach()
    bound = (6 / sum(weight.shape)) ** 0.5
    assert float(weight.abs().max()) == pytest.approx(bound, rel=0.01)
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.02)


def test_with_open_gates_every_weight_learns_within_three_steps() -> None:
    dit = make(gate=0.1)
    optimizer = torch.optim.SGD(dit.parameters(), lr=0.1)
    for _ in range(3):  # the last layer, then the modulations, then the time
        optimizer.zero_grad()
        (dit(*inputs()) - 1).square().mean().backward()
        optimizer.step()
    idle = [name for name, p in dit.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []
