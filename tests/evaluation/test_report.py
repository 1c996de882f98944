import csv
import json
import re

import numpy as np
import pytest

from medssl.evaluation.case_slices import CaseSlice, to_bytes, write_slices
from medssl.evaluation.metrics import write_rows
from medssl.evaluation.report import report


@pytest.fixture
def write(tmp_path):
    """Give a function that reports rows and returns the text of the report."""

    def write(rows):
        write_rows(tmp_path / "rows.jsonl", rows)
        return report([tmp_path / "rows.jsonl"], tmp_path / "report").read_text(encoding="utf-8")

    return write


def test_a_report_is_six_files(write, make_row, tmp_path):
    write([make_row()])
    names = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert names == ["cases.csv", "comparisons.csv", "dice_by_labels.png", "report.md", "rows.csv", "summary.csv"]


def test_what_a_killed_report_left_is_swept(write, make_row, tmp_path):
    (tmp_path / "report" / "pictures").mkdir(parents=True)
    for name in (".rows.csv.k3v_9x2a.csv", "pictures/.01_a.png.pz5ecc0k.png"):
        (tmp_path / "report" / name).touch()
    write([make_row()])
    assert not list((tmp_path / "report").rglob(".*"))


def test_numbers_are_means_and_deviations_over_folds(write, make_row):
    text = write([make_row(fold=0, dice=0.6), make_row(fold=1, dice=0.8)])
    assert "| a | 0.700 ± 0.141 | 0.700 ± 0.141 | 2 | 0 |" in text
    assert "| a | 3.0 ± 1.4 | 3.0 ± 1.4 | 2 | 0 |" in text


def test_the_average_iou_is_the_mean_over_the_foreground_classes(write, make_row):
    text = write([make_row(name="liver", iou=0.25), make_row(name="spleen", iou=0.75)])
    section = text[text.index("## IoU") :]
    assert "mIoU" in section
    assert "| a | 0.250 | 0.750 | 0.500 | 1 | 0 |" in section


def test_missing_numbers_are_dashes(write, make_row):
    text = write([make_row("a", labels=1), make_row("a", labels=5), make_row("b", labels=5, dice=0.25)])
    assert "| b, fine tune | – | 0.250 |" in text
    assert "| a, fine tune | 0.500 | 0.500 |" in text


def test_what_was_left_out_is_counted(write, make_row):
    rows = [make_row(), make_row(name="spleen", dice=None), make_row(name="aorta", dice=0.0, hd95_mm=None)]
    text = write(rows)
    assert "| a | 0.500 | – | 0.000 | 0.250 | 1 | 1 |" in text
    assert "| a | 5.0 | – | – | 5.0 | 1 | 2 (1 missed) |" in text


def test_methods_and_classes_keep_their_order_and_labels_are_sorted(write, make_row):
    rows = [make_row(m, labels=n, name=c) for n in (10, 2) for m in ("z", "b") for c in ("spleen", "aorta")]
    text = write(rows)
    assert "| Method | spleen | aorta | average |" in text
    assert "| Method | 2 labelled | 10 labelled |" in text
    assert text.index("| z, fine tune") < text.index("| b, fine tune")


def test_few_cases_are_marked_beside_p(write, make_row):
    rows = [make_row(m, case=str(i), dice=d + 0.01 * i) for m, d in (("a", 0.5), ("b", 0.6)) for i in range(5)]
    assert "| a, fine tune | b, fine tune | 1 | -0.100 | 0.062† | 5 | 5 |" in write(rows)


def test_different_cases_are_announced_at_the_top(write, make_row):
    text = write([make_row("a", case="x"), make_row("b", case="x"), make_row("b", case="y")])
    assert text.index("not evaluated on the same cases") < text.index("## ")


def test_one_method_has_nothing_to_be_compared_with(write, make_row):
    assert "Paired tests" not in write([make_row()])


def test_the_csv_holds_full_numbers_and_empty_fields(write, make_row, tmp_path):
    write([make_row(dice=1 / 3)])
    with (tmp_path / "report" / "summary.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert float(lines[0]["mean"]) == 1 / 3
    assert lines[0]["sd"] == ""


def test_the_rows_of_all_files_are_joined(make_row, tmp_path):
    files = [tmp_path / f"{method}.jsonl" for method in "ab"]
    for file in files:
        write_rows(file, [make_row(file.stem)])
    assert "| b, fine tune | a, fine tune |" in report(files, tmp_path).read_text(encoding="utf-8")


def test_no_rows_are_an_error_that_leaves_nothing(tmp_path):
    (tmp_path / "rows.jsonl").touch()
    with pytest.raises(ValueError, match="no rows"):
        report([tmp_path / "rows.jsonl"], tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_every_difference_has_an_interval_and_a_corrected_p(write, make_row, tmp_path):
    rows = [
        make_row(m, fold=f, case=str(i), dice=0.3 + gain + 0.01 * i)
        for m, gain in (("a", 0.0), ("b", 0.1), ("c", 0.2))
        for f in range(2)
        for i in range(8)
    ]
    text = write(rows)
    # Eight differences of one sign: 2 / 2**8, twice.
    assert "| a, fine tune | c, fine tune | 1 | -0.200 (-0.200 to -0.200) | 0.016 | 16 | 8 | 2 |" in text
    assert "| b, fine tune | c, fine tune | 1 | -0.100 (-0.100 to -0.100) | 0.016 | 16 | 8 | 2 |" in text
    assert "the 2 tests of this report" in text
    with (tmp_path / "report" / "comparisons.csv").open(newline="") as file:
        (first, _) = csv.DictReader(file)
    assert float(first["low"]) == pytest.approx(-0.2)
    assert float(first["p_holm"]) == pytest.approx(4 / 2**8)


def test_why_there_is_no_interval_is_said(write, make_row):
    rows = [make_row(m, case=case) for m in "ab" for case in "xy"]
    text = write([*rows, make_row("c", case="elsewhere")])
    assert "No interval, which takes two draws and two cases or more: b, fine tune against a, fine tune" in text
    assert "(1 draw, 2 cases)" in text
    assert "No case and fold in common, so nothing to compare: c, fine tune against a, fine tune" in text


def test_failures_and_the_lowest_case_are_shown(write, make_row):
    text = write([make_row(case=case, dice=dice) for case, dice in (("x", 0.8), ("y", 0.2), ("z", 0.65), ("w", 0.25))])
    assert "| a, fine tune | 1 | 0.475 | 0.450 | 2 of 4 (50%) | 0.200 (y, fold 0) | – |" in text


def test_dice_that_follows_the_brightness_is_shown(write, make_row):
    rows = [make_row(case=str(i), dice=0.2 * i, image_mean=0.1 + 0.05 * i) for i in range(5)]
    assert "| +1.00 |" in write(rows)


def test_volumes_are_shown_where_there_are_any(write, make_row):
    text = write([make_row(case="x", predicted_ml=1.0, expected_ml=5.0), make_row(case="y", predicted_ml=2.0)])
    assert "| a, fine tune | 1 | 1.5 / 3.5 |" in text
    assert "Volumes" not in write([make_row(predicted_ml=None, expected_ml=None)])


def test_rows_of_early_versions_are_reported(make_row, tmp_path):
    newer = ("expected_ml", "predicted_ml", "image_mean")
    rows = [{name: value for name, value in make_row().items() if name not in newer}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = report([tmp_path / "rows.jsonl"], tmp_path / "report").read_text(encoding="utf-8")
    assert "| a, fine tune | 0.500 |" in text
    assert "image mean" not in text


def test_a_dice_of_nan_is_named_and_nothing_is_written(make_row, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps(make_row(case="x", dice=float("nan"))) + "\n")
    with pytest.raises(ValueError, match=r"rows\.jsonl, line 1: dice is nan; evaluate case x again"):
        report([tmp_path / "rows.jsonl"], tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_pictures_lie_beside_the_report(write, make_row, tmp_path):
    plane = np.zeros((8, 8), np.int16)
    found = CaseSlice(plane.astype(np.uint8), plane, plane, 1.0, {1: "liver"})
    write_slices(tmp_path / "rows.slices", {"x": to_bytes(found)})
    (path,) = re.findall(r"\(pictures/(.*?)\)", write([make_row(case="x")]))
    assert (tmp_path / "report" / "pictures" / path).is_file()
