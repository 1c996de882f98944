from PIL import Image

from medssl.evaluation.figures import colours, labels_figure


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
