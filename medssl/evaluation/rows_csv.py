"""Rows of results as a table that can be kept beside a document: one line a case and class, in CSV."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.evaluation.metrics import FIELDS
from medssl.evaluation.plain_text import csv_cell, text_of_csv
from medssl.files import replacing

_TEXTS = ("method", "setting", "case", "class")
_COUNTS = ("labels", "fold", "reference_voxels", "predicted_voxels")


def write_rows_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows to a CSV file with the columns `medssl.evaluation.metrics.FIELDS`, measurements to four decimals.

    Args:
        path: the file; its folder is made if missing.
        rows: as from `medssl.evaluation.metrics.read_rows`. A value of None stays empty.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "rows.csv"
        >>> write_rows_csv(file, [{**dict.fromkeys(FIELDS, 1), "dice": 0.87654321, "hd95_mm": None}])
        >>> row = read_rows_csv(file)[0]
        >>> row["dice"], row["hd95_mm"], row["fold"]
        (0.8765, None, 1)
    """
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(FIELDS)
        table.writerows([_rounded(row[field]) for field in FIELDS] for row in rows)


def read_rows_csv(path: str | Path) -> list[dict[str, Any]]:
    """Return the rows of a CSV file that `write_rows_csv` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has other columns, or a value is not a number where one is expected; the message names file
            and line.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        if tuple(table.fieldnames or ()) != FIELDS:
            raise ValueError(f"{path} does not have the columns {', '.join(FIELDS)}; write it with `medssl report`.")
        return [_row(line, f"{path}, line {table.line_num}") for line in table]


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else csv_cell(value)


def _row(line: Mapping[str, str], where: str) -> dict[str, Any]:
    try:
        return {field: _value(field, line[field]) for field in FIELDS}
    except (TypeError, ValueError):
        raise ValueError(f"{where} holds {list(line.values())}, which is not a row of results.") from None


def _value(field: str, text: str) -> str | int | float | None:
    if field in _TEXTS:
        return text_of_csv(text)
    if text == "":
        return None
    return int(text) if field in _COUNTS else float(text)
