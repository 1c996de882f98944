import pytest
from PIL import Image

from medssl.evaluation.figures import colours, dice_limits, labels_figure
from medssl.evaluation.statistics import Interval


def test_the_figure_is_a_picture(make_row, tmp_path):
    rows = [make_row(m, labels=n, fold=f, dice=0.4 + 0.02 * n) for m in "abcdefghi" for n in (1, 5) for f in (0, 1)]
    path = labels_figure(rows, tmp_path / "new" / "figure.png")
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert len(image.convert("RGB").getcolors(1 << 24)) > 9


def test_a_method_without_any_value_leaves_no_mark(make_row, tmp_path):
    shown = [labels_figure([make_row(dice=None)], tmp_path / f"{i}.png").stat().st_size for i in range(2)]
    assert shown[0] == shown[1]


def test_more_colours_than_the_safe_ones_still_differ():
    assert len(set(colours(15))) == 15


def point(mean, low=None, high=None):
    return Interval(mean, low, high, 2, 2)


def test_the_axis_fits_the_intervals():
    low, high = dice_limits([point(0.5, 0.42, 0.61), point(0.7, 0.66, 0.78)])
    assert 0.37 < low < 0.42
    assert 0.78 < high < 0.83


@pytest.mark.parametrize("mean", [0.0, 0.02, 0.5, 0.97, 1.0])
def test_the_axis_of_a_single_point_is_wide_enough_and_within_dice(mean):
    low, high = dice_limits([point(mean)])
    assert 0 <= low <= mean <= high <= 1
    assert high - low >= 0.1 - 1e-9
