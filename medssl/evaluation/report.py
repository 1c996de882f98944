"""The report of an experiment: tables, tests, a figure and pictures from the rows of all runs."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import astuple, replace
from pathlib import Path

from medssl.evaluation.comparisons import Comparison, compare_all
from medssl.evaluation.figures import labels_figure
from medssl.evaluation.metrics import read_rows
from medssl.evaluation.plain_text import csv_cell, markdown_text
from medssl.evaluation.report_pictures import write_pictures
from medssl.evaluation.report_sections import (
    case_section,
    comparison_section,
    groups,
    metric_section,
    overview,
    picture_section,
    select,
    volume_section,
    warning_section,
)
from medssl.evaluation.rows_csv import read_rows_csv, write_rows_csv
from medssl.evaluation.summary import AVERAGE, METRICS, Row, cell, check_rows, competitors, ordered, summarize_cases
from medssl.files import replacing, sweep_temporary


def report(rows_files: Iterable[str | Path], output_dir: str | Path) -> Path:
    """Write the report of some runs and return the path of its Markdown file.

    Beside ``report.md`` it writes ``summary.csv`` (every number of the tables, one per line), ``cases.csv`` (medians,
    failures, lowest cases), ``comparisons.csv`` (differences, intervals and tests), ``rows.csv`` (what it was made of),
    ``dice_by_labels.png`` and, where the evaluations kept slices, ``pictures/``. Numbers are the mean over cases within
    a fold, then mean ± standard deviation over folds. Methods, settings and classes keep the order in which they first
    appear.

    Args:
        rows_files: files of rows, as from `medssl.evaluation.metrics.write_rows`, or the ``rows.csv`` of a report.
        output_dir: folder of the report, made if missing.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if there are no rows, a line is not a row, a result occurs twice, references differ, or a slice is
            damaged.
    """
    by_file = {Path(file): _read(Path(file)) for file in rows_files}
    rows = [row for found in by_file.values() for row in found]
    if not rows:
        raise ValueError(f"There are no rows in {[str(file) for file in by_file]}; evaluate a run first.")
    warnings = check_rows(rows)
    comparisons = compare_all(rows)
    output_dir = Path(output_dir)
    # What a killed report left.
    for folder in (output_dir, output_dir / "pictures"):
        sweep_temporary(folder)
    figure = labels_figure(rows, output_dir / "dice_by_labels.png")
    pictures = write_pictures(by_file, output_dir / "pictures")
    write_rows_csv(output_dir / "rows.csv", rows)
    _write_csv(output_dir / "summary.csv", _summary_lines(rows))
    _write_csv(output_dir / "cases.csv", _case_lines(rows))
    _write_csv(output_dir / "comparisons.csv", _comparison_lines(comparisons))
    shown = [_shown(row) for row in rows]
    sections = [
        "# Results",
        f"{len(rows)} results of {len(ordered(rows, 'case'))} cases. Numbers are means over the cases of a fold (a "
        "draw of labelled scans), then mean ± standard deviation over folds; no ± where there is one fold.",
        *warning_section([markdown_text(sentence) for sentence in warnings]),
        *overview(shown),
        f"![Dice against the number of labelled scans]({figure.name})",
        *case_section(shown),
        *comparison_section([_shown_comparison(found) for found in comparisons]),
        *picture_section({markdown_text(title): f"pictures/{path.name}" for title, path in pictures.items()}),
        *(section for metric in METRICS for section in metric_section(shown, metric)),
        *volume_section(shown),
    ]
    path = output_dir / "report.md"
    with replacing(path) as temporary:
        temporary.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    return path


def _shown(row: Row) -> Row:
    return {**row, **{name: markdown_text(row[name]) for name in ("method", "setting", "case", "class")}}


def _shown_comparison(found: Comparison) -> Comparison:
    names = {side: tuple(map(markdown_text, getattr(found, side))) for side in ("competitor", "reference")}
    return replace(found, **names)


def _read(path: Path) -> list[Row]:
    return read_rows_csv(path) if path.suffix == ".csv" else read_rows(path)


def _summary_lines(rows: Sequence[Row]) -> list[list]:
    head = ["metric", "setting", "labels", "method", "class", "mean", "sd", "folds", "values", "undefined", "missed"]
    lines: list[list] = [head]
    for metric in METRICS:
        for setting, labels in groups(rows):
            chosen = select(rows, setting=setting, labels=labels)
            for method in ordered(chosen, "method"):
                own = select(chosen, method=method)
                for name in [*ordered(rows, "class"), AVERAGE]:
                    found = cell(own, metric, name)
                    numbers = [found.mean, found.sd, found.folds, found.values, found.undefined, found.missed]
                    lines.append([metric, setting, labels, method, name, *numbers])
    return lines


def _case_lines(rows: Sequence[Row]) -> list[list]:
    head = ["setting", "labels", "method", "results", "median_dice", "failures", "lowest_dice", "lowest_case"]
    lines: list[list] = [[*head, "lowest_fold", "correlation_with_image_mean"]]
    for method, setting, labels in competitors(rows):
        found = summarize_cases(select(rows, method=method, setting=setting, labels=labels))
        lines.append([setting, labels, method, *astuple(found)])
    return lines


def _comparison_lines(comparisons: Sequence[Comparison]) -> list[list]:
    head = ["labels", "method", "setting", "reference_method", "reference_setting", "difference", "low", "high"]
    lines: list[list] = [[*head, "p", "p_holm", "pairs", "cases", "draws"]]
    for found in comparisons:
        gain = found.difference
        names = [found.labels, *found.competitor, *found.reference]
        tests = [found.p, found.corrected_p, found.pairs, found.cases, gain.draws]
        lines.append([*names, gain.mean, gain.low, gain.high, *tests])
    return lines


def _write_csv(path: Path, lines: Sequence[Sequence]) -> None:
    """Write a CSV file; missing values stay empty."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([csv_cell(value) for value in line] for line in lines)
