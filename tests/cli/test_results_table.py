from io import StringIO

from rich.console import Console

from medssl.cli.results_table import results_table

ROW = {"fold": 0, "iou": None, "surface_dice": None, "reference_voxels": 9, "predicted_ml": 3.0, "expected_ml": 4.0}


def printed(rows):
    """Give the words of every line of the table."""
    console = Console(width=120, record=True, file=StringIO())
    console.print(results_table(rows))
    lines = console.export_text().replace("│", " ").splitlines()
    return {words[0]: words[1:] for words in map(str.split, lines) if words}


def test_every_class_has_a_line_and_the_last_is_their_mean():
    lines = printed(
        [
            {**ROW, "case": "a", "class": "liver", "dice": 0.5, "hd95_mm": 4.0},
            {**ROW, "case": "b", "class": "liver", "dice": 0.7, "hd95_mm": 6.0},
            {**ROW, "case": "a", "class": "spleen", "dice": 0.0, "hd95_mm": None, "predicted_ml": 0.0},
        ]
    )
    assert lines["liver"] == ["0.600", "5.0", "0", "3", "4"]
    assert lines["spleen"] == ["0.000", "–", "1", "0", "4"]
    assert lines["mean"] == ["0.300", "5.0", "1"]


def test_pictures_have_no_volumes():
    row = {**ROW, "case": "a", "class": "cell", "dice": 0.5, "hd95_mm": 4.0, "predicted_ml": None, "expected_ml": None}
    assert printed([row])["cell"] == ["0.500", "4.0", "0"]
