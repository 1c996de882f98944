"""The numbers of docs/results.md are those of the rows beside it."""

import csv
import re
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

import pytest

DOCS = Path(__file__).parents[1] / "docs"
# A table follows a comment that names its rows: <!-- rows: results/hippocampus.csv -->
TABLE = re.compile(r"<!-- rows: (\S+\.csv) -->\n\n((?:\|.*\n)+)")
SETTINGS = {"solved probe": "linear_probe", "fine-tuned": "fine_tune", "from scratch": "from_scratch"}
TABLES = TABLE.findall((DOCS / "results.md").read_text(encoding="utf-8"))


def mean_dice(rows):
    """Give mean and deviation over draws of the mean over classes of the mean over cases."""
    values = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["dice"]:
            values[row["fold"]][row["class"]].append(float(row["dice"]))
    draws = [mean(mean(dice) for dice in classes.values()) for classes in values.values()]
    return mean(draws), stdev(draws) if len(draws) > 1 else None


def cells(table):
    """Yield method, setting, number of labels and text of every cell with a number."""
    head, _, *lines = [[text.strip() for text in line.strip().strip("|").split("|")] for line in table.splitlines()]
    for method, *texts in lines:
        name, _, setting = method.replace("`", "").rpartition(", ")
        for title, text in zip(head[1:], texts, strict=True):
            if text != "–":
                yield name, SETTINGS[setting], re.match(r"\d+", title)[0], text


def test_there_are_tables_with_rows():
    assert TABLES


@pytest.mark.parametrize(("file", "table"), TABLES, ids=[file for file, _ in TABLES])
def test_every_number_of_a_table_is_that_of_its_rows(file, table):
    with (DOCS / file).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    compared = 0
    for method, setting, labels, text in cells(table):
        own = [r for r in rows if (r["method"], r["setting"], r["labels"]) == (method, setting, labels)]
        average, deviation = mean_dice(own)
        assert text == f"{average:.3f}" + ("" if deviation is None else f" ± {deviation:.3f}")
        compared += 1
    assert compared


def test_every_file_of_rows_has_its_table():
    assert {path.name for path in (DOCS / "results").glob("*.csv")} == {Path(file).name for file, _ in TABLES}
