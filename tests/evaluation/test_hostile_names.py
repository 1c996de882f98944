"""Names that a spreadsheet, a browser, Markdown or matplotlib would take for more than text."""

import csv
import json

import pytest

from medssl.evaluation.metrics import write_rows
from medssl.evaluation.report import report
from medssl.evaluation.rows_csv import read_rows_csv

NAMES = [
    "=cmd|' /C calc'!A0",
    "+1+1",
    "@SUM(A1)",
    "-2+3",
    "<script>alert(1)</script>",
    "[a](javascript:b)",
    "$\\frac{$",
    "one\ntwo",
    'quote"d, name',
    "Mu\u0308ller",
    "Müller",
]


@pytest.fixture
def written(make_row, tmp_path):
    rows = [{**make_row(name, name="=1|2"), "case": name} for name in NAMES]
    write_rows(tmp_path / "rows.jsonl", rows)
    report([tmp_path / "rows.jsonl"], tmp_path / "report")
    return rows, tmp_path / "report"


def test_no_cell_of_a_table_is_a_formula(written):
    for file in written[1].glob("*.csv"):
        with file.open(newline="", encoding="utf-8") as lines:
            cells = [cell for line in csv.reader(lines) for cell in line]
        assert not [cell for cell in cells if cell[:1] in tuple("=@+-\t") and not _is_number(cell)], file.name


def test_rows_are_read_back_as_they_were(written):
    rows, folder = written
    found = read_rows_csv(folder / "rows.csv")
    assert [(row["method"], row["case"], row["class"]) for row in found] == [
        (row["method"], row["case"], row["class"]) for row in rows
    ]


def test_the_report_shows_names_as_text(written):
    text = (written[1] / "report.md").read_text(encoding="utf-8")
    assert "<script" not in text and "&lt;script>alert(1)" in text
    assert "\ntwo" not in text and "one two" in text
    assert "\\[a](javascript:b)" in text
    assert r"=1\|2" in text
    assert "Mu\u0308ller" in text and "Müller" in text


def _is_number(cell: str) -> bool:
    try:
        return json.loads(cell.lstrip("+")) is not None
    except ValueError:
        return False
