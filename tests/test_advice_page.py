"""The table of docs/advise.md says what the rows beside it say."""

import csv
import json
import re
from collections import defaultdict
from pathlib import Path
from statistics import mean

import pytest

DOCS = Path(__file__).parents[1] / "docs"
ROWS = sorted((DOCS / "results" / "advice").glob("*.csv"))
TABLE = re.search(r"<!-- verdicts -->\n\n((?:\|.*\n)+)", (DOCS / "advise.md").read_text(encoding="utf-8"))[1]
LINES = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in TABLE.splitlines()[2:]]


def dice_of_settings(path):
    """Give the mean Dice of every setting, as text "2x, random 16x3", by data set and structure."""
    found = defaultdict(lambda: defaultdict(list))
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            found[row["data"], row["class"]][f"{row['factor']}x, {row['backbone']}"].append(float(row["dice"]))
    return {key: {name: mean(dice) for name, dice in settings.items()} for key, settings in found.items()}


GRID = {key: settings for path in ROWS for key, settings in dice_of_settings(path).items()}


def test_the_table_has_every_structure_of_the_rows_once():
    assert sorted((data, name) for data, name, *_ in LINES) == sorted(GRID)


@pytest.mark.parametrize("line", LINES, ids=[f"{data} {name}" for data, name, *_ in LINES])
def test_a_line_of_the_table_is_that_of_its_rows(line):
    data, structure, _, advised, dice, best, best_dice, verdict, share = line
    settings = GRID[data, structure]
    assert dice == f"{settings[advised]:.3f}"
    assert settings[best] == max(settings.values()) and best_dice == f"{settings[best]:.3f}"
    assert (verdict == "best") == (advised == best)
    assert share.endswith(f" of {len(settings)}")


@pytest.mark.parametrize("path", ROWS, ids=[path.stem for path in ROWS])
def test_advice_beside_the_rows_has_their_structures(path):
    content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert {structure for _, structure in dice_of_settings(path)} <= content["structures"].keys()
