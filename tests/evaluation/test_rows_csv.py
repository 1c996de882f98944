import pytest

from medssl.evaluation.metrics import FIELDS, write_rows
from medssl.evaluation.report import report
from medssl.evaluation.rows_csv import read_rows_csv, write_rows_csv


def row_of(method="kats", case="a", dice=0.5, **changes):
    values = {"method": method, "setting": "linear_probe", "labels": 1, "fold": 0, "case": case, "class": "liver"}
    scores = {"dice": dice, "iou": 0.25, "hd95_mm": None, "surface_dice": 0.1, "image_mean": None}
    counts = {"reference_voxels": 8, "predicted_voxels": 9, "expected_ml": 0.008, "predicted_ml": 0.009}
    return {**values, **scores, **counts, **changes}


def test_rows_come_back_with_their_types_and_four_decimals(tmp_path):
    rows = [row_of(case="7", dice=0.123456), row_of(case='ß, "b"\n', dice=None)]
    write_rows_csv(tmp_path / "rows.csv", rows)
    assert read_rows_csv(tmp_path / "rows.csv") == [{**rows[0], "dice": 0.1235}, rows[1]]


def test_the_rows_of_a_report_make_the_same_report_again(tmp_path):
    rows = [row_of(method, case, dice) for method, dice in (("kats", 0.75), ("random", 0.25)) for case in "abc"]
    write_rows(tmp_path / "rows.jsonl", rows)
    first = report([tmp_path / "rows.jsonl"], tmp_path / "first")
    again = report([first.parent / "rows.csv"], tmp_path / "again")
    assert again.read_text(encoding="utf-8") == first.read_text(encoding="utf-8")


def test_another_table_is_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("method,dice\nkats,0.5\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"rows.csv does not have the columns method, setting.*medssl report"):
        read_rows_csv(tmp_path / "rows.csv")


def test_a_value_that_is_not_a_number_is_named_with_its_line(tmp_path):
    write_rows_csv(tmp_path / "rows.csv", [row_of(), row_of(case="b")])
    text = (tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines()
    text[2] = text[2].replace("0.5", "half")
    (tmp_path / "rows.csv").write_text("\n".join(text) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"rows.csv, line 3 holds .*'half'"):
        read_rows_csv(tmp_path / "rows.csv")


def test_the_columns_are_those_of_the_rows(tmp_path):
    write_rows_csv(tmp_path / "rows.csv", [])
    assert (tmp_path / "rows.csv").read_text(encoding="utf-8") == ",".join(FIELDS) + "\n"
