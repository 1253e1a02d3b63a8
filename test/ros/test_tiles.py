from __future__ import annotations

import numpy as np

from ppd_ros.tiles import GAP_PX, TITLE_PX, colour_bar, sheet, titled


def grey(height, width, value=100):
    return np.full((height, width, 3), value, np.uint8)


def test_title_stands_above_the_picture_a_bar_for_each_line():
    tile = titled(grey(20, 90), "first", "second")
    assert tile.shape == (2 * TITLE_PX + 20, 90, 3)
    assert (tile[2 * TITLE_PX :] == 100).all()
    assert all((tile[TITLE_PX * i : TITLE_PX * (i + 1)] < 100).any() for i in (0, 1))


def test_long_title_is_made_smaller_and_not_cut_off():
    def columns_of_ink(text):
        bar = titled(grey(4, 200), text)[:TITLE_PX]
        return np.flatnonzero((bar < 150).any(axis=(0, 2)))

    long = "a title that is much too long to fit above so narrow a picture"
    assert 180 < columns_of_ink(long).max() < 198
    assert columns_of_ink("short").max() < 60


def test_colour_bar_is_a_line_that_goes_from_red_to_blue():
    bar = colour_bar(400, "0.5 m", "3.5 m", "black: none")
    assert titled(grey(20, 400), "first", bar).shape == (2 * TITLE_PX + 20, 400, 3)
    middle = bar[TITLE_PX // 2].astype(int)
    red, blue = middle[:, 0] - middle[:, 2], middle[:, 2] - middle[:, 0]
    assert 0 < np.argmax(red) < np.argmax(blue) < 200


def test_sheet_has_gaps_around_all_tiles_and_fills_the_shorter_row():
    picture = sheet([[grey(10, 20), grey(10, 20)], [grey(5, 30, 50)]])
    assert picture.shape == (15 + 3 * GAP_PX, 40 + 3 * GAP_PX, 3)
    second_row = picture[10 + 2 * GAP_PX : -GAP_PX]
    assert (second_row[:, GAP_PX : GAP_PX + 30] == 50).all()
    assert (second_row[:, GAP_PX + 30 :] == 255).all()
    assert (picture[:GAP_PX] == 255).all() and (picture[-GAP_PX:] == 255).all()
