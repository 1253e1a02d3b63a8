from __future__ import annotations

from ppd_core.bench.sweep import scaled_sizes


def test_sizes_go_from_a_quarter_to_twice_the_pixels():
    assert scaled_sizes(128, 96) == [(64, 48), (96, 64), (128, 96), (176, 128)]
    assert scaled_sizes(1024, 768)[0] == (512, 384)


def test_the_smallest_image_gives_each_size_once():
    sizes = scaled_sizes(16, 16)
    assert sizes[0] == (16, 16)
    assert len(sizes) == len(set(sizes))
