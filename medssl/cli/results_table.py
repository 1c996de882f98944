"""The table that `medssl evaluate` prints."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from medssl.evaluation.summary import AVERAGE, Cell, cell, ordered


def results_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table with one line per class, and their mean: Dice, HD95 and volumes, as means over the cases.

    Args:
        rows: of one evaluation, as from `medssl.evaluation.metrics.read_rows`.
    """
    has_volumes = any(row["expected_ml"] is not None for row in rows)
    volumes = ["predicted ml", "expected ml"] if has_volumes else []
    num_cases = len(ordered(rows, "case"))
    title = f"Means over {num_cases} cases" if num_cases > 1 else "One case"
    table = Table("Class", title=title, title_justify="left")
    for name in ("Dice", "HD95 (mm, or pixels)", "not found", *volumes):
        table.add_column(name, justify="right")
    for name in (*ordered(rows, "class"), AVERAGE):
        own = [row for row in rows if row["class"] == name]
        dice, distance = (cell(rows, metric, name) for metric in ("dice", "hd95_mm"))
        found = [_volume(own, field) for field in ("predicted_ml", "expected_ml") if has_volumes]
        label = "mean" if name == AVERAGE else name
        table.add_row(label, _number(dice, 3), _number(distance, 1), str(distance.missed), *found)
    return table


def _number(found: Cell, digits: int) -> str:
    return "–" if found.mean is None else f"{found.mean:.{digits}f}"


def _volume(rows: Sequence[Mapping[str, Any]], field: str) -> str:
    return f"{np.mean([row[field] for row in rows]):.3g}" if rows else ""
