from __future__ import annotations

import torch

from ppd_core.alignment.borders import REACH_PX, settle_borders

HEIGHT, WIDTH = 40, 60
NEAR, FAR = 1.0, 2.0


def step(column: int, width: int = WIDTH) -> torch.Tensor:
    """A near surface up to a column, a far one from there."""
    return torch.where(torch.arange(width) < column, NEAR, FAR).expand(HEIGHT, width).clone()


def levels(depth: torch.Tensor) -> set[float]:
    return set(torch.unique(depth.round(decimals=4)).tolist())


def test_a_smeared_border_becomes_a_step():
    smeared = step(30)
    smeared[:, 28:32] = torch.linspace(1.1, 1.9, 4)
    sensor = step(30)
    sensor[:, 28:32] = torch.nan
    settled = settle_borders(smeared, sensor)
    assert levels(settled) == {NEAR, FAR}
    torch.testing.assert_close(settled, step(30))  # where the model's own crosses the middle


def test_the_model_s_border_wins_against_a_fattened_one():
    model, sensor = step(30), step(33)
    torch.testing.assert_close(settle_borders(model, sensor), model)


def test_what_the_model_overlooked_is_the_sensor_s():
    wall = torch.full((HEIGHT, WIDTH), FAR)
    sensor = wall.clone()
    sensor[10:30, 20:40] = NEAR
    settled = settle_borders(wall, sensor)
    assert levels(settled) == {NEAR, FAR}
    assert (settled[12:28, 22:38] == NEAR).all()


def test_the_model_is_kept_where_the_sensor_agrees_or_sees_nothing():
    model = step(30) * 1.01
    sensor = step(30)
    sensor[:20] = torch.nan
    settled = settle_borders(model, sensor)
    torch.testing.assert_close(settled[: 20 - REACH_PX], model[: 20 - REACH_PX])
    torch.testing.assert_close(settled[22:-1, 5:25], model[22:-1, 5:25])


def test_a_floor_has_no_borders():
    floor = (1 / torch.linspace(0.2, 1.0, HEIGHT)).flip(0)[:, None].expand(HEIGHT, WIDTH).clone()
    settled = settle_borders(floor, floor)
    torch.testing.assert_close(settled[1:-1, 1:-1], floor[1:-1, 1:-1])


def test_a_sensor_of_another_size_will_do():
    model = step(30)
    half = settle_borders(model, step(30)[::2, ::2])
    torch.testing.assert_close(half, model)
    double = settle_borders(model, step(30).repeat_interleave(2, 0).repeat_interleave(2, 1))
    torch.testing.assert_close(double, model)


def test_nan_stays_nan_and_an_empty_sensor_changes_nothing():
    model = step(30)
    model[5, 5] = torch.nan
    blind = settle_borders(model, torch.full((9, 7), torch.nan))
    torch.testing.assert_close(blind, model, equal_nan=True)
    assert torch.isnan(settle_borders(model, step(30))).sum() == 1
