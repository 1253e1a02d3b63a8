from __future__ import annotations

import pytest
import torch

from ppd_core.bench.configuration import Way
from ppd_core.bench.table import (
    as_text,
    ceiling_lines,
    fact_lines,
    growth_lines,
    main_table,
    significant,
    stage_table,
)

FIGURES = {
    "fp32.eager.64x48.4.p50_ms": 12.3456,
    "fp32.eager.64x48.4.ceiling_share": 0.256,
    "bf16.eager.64x48.4.p50_ms": 7.0,
    "bf16.eager.64x48.4.prompt_ms": 1.5,
    "fp32.eager.4.pixel_exponent": 1.234,
    "fp32.ceiling_tflops": 0.1234,
}
NAMES = ["fp32.eager.64x48.4", "bf16.eager.64x48.4"]


def test_a_table_has_the_columns_that_somebody_has_a_figure_for():
    assert main_table(FIGURES, NAMES) == [
        ["", "p50 ms", "of ceiling"],
        ["fp32.eager.64x48.4", "12.35", "25.6%"],
        ["bf16.eager.64x48.4", "7", "-"],
    ]
    assert stage_table(FIGURES, NAMES[1:], ["prompt", "sample"]) == [
        ["ms", "prompt", "sample"],
        ["bf16.eager.64x48.4", "1.5", "-"],
    ]


def test_text_has_names_to_the_left_and_numbers_to_the_right():
    assert as_text([["", "ms"], ["a", "1"], ["long", "123"]]) == "       ms\na       1\nlong  123"


def test_lines_of_growth_ceiling_and_choices():
    facts = {Way("eager", torch.bfloat16): {"attention": "flash"}}
    assert fact_lines(facts) == ["bf16.eager: attention flash"]
    assert growth_lines(FIGURES) == ["fp32.eager.4: time ~ pixels to the power 1.23"]
    assert ceiling_lines(FIGURES) == ["fp32: a large matrix product reaches 0.123 TFLOP/s"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.123456, "0.123"), (52.01, "52"), (999.6, "1000"), (52010.4, "52010")]
)
def test_no_digit_before_the_point_is_dropped(value, text):
    assert significant(3)(value) == text
