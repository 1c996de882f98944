"""The report of an experiment: tables, tests and a figure from the rows of all runs."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from medssl.evaluation.figures import labels_figure, words
from medssl.evaluation.metrics import read_rows
from medssl.evaluation.summary import (
    AVERAGE,
    FEWEST_CASES,
    METRICS,
    Cell,
    Comparison,
    Row,
    cell,
    check_rows,
    compare_all,
    ordered,
)
from medssl.files import replacing

TITLES = {"dice": "Dice", "iou": "IoU", "hd95_mm": "HD95 (mm, or pixels)", "surface_dice": "Surface Dice"}
DECIMALS = {"dice": 3, "iou": 3, "hd95_mm": 1, "surface_dice": 3}
MISSING = "–"


def report(rows_files: Iterable[str | Path], output_dir: str | Path) -> Path:
    """Write the report of some runs and return the path of its Markdown file.

    Beside ``report.md`` it writes ``summary.csv`` (every number of the tables, one per line), ``comparisons.csv`` (the
    tests) and ``dice_by_labels.png``. Numbers are the mean over cases within a fold, then mean ± standard deviation
    over folds. Methods, settings and classes keep the order in which they first appear.

    Args:
        rows_files: files of rows, as from `medssl.evaluation.metrics.write_rows`.
        output_dir: folder of the report, made if missing.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if there are no rows, a line is not a row, a result occurs twice, or references differ.
    """
    files = [Path(file) for file in rows_files]
    rows = [row for file in files for row in read_rows(file)]
    if not rows:
        raise ValueError(f"There are no rows in {[str(file) for file in files]}; evaluate a run first.")
    warnings = check_rows(rows)
    comparisons = compare_all(rows)
    output_dir = Path(output_dir)
    figure = labels_figure(rows, output_dir / "dice_by_labels.png")
    _write_csv(output_dir / "summary.csv", _summary_lines(rows))
    _write_csv(output_dir / "comparisons.csv", _comparison_lines(comparisons))
    sections = [
        "# Results",
        f"{len(rows)} results of {len(ordered(rows, 'case'))} cases. Numbers are means over the cases of a fold, then "
        "mean ± standard deviation over folds; no ± where there is one fold.",
        *_warning_section(warnings),
        *_overview(rows),
        f"![Dice against the number of labelled scans]({figure.name})",
        *(section for metric in METRICS for section in _metric_section(rows, metric)),
        *_comparison_section(comparisons),
    ]
    path = output_dir / "report.md"
    with replacing(path) as temporary:
        temporary.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    return path


def _groups(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Return the settings and numbers of labels that occur, in the order of the report."""
    present = {(row["setting"], row["labels"]) for row in rows}
    counts = sorted(ordered(rows, "labels"))
    return [(setting, n) for setting in ordered(rows, "setting") for n in counts if (setting, n) in present]


def _select(rows: Sequence[Row], **fields: str | int) -> list[Row]:
    return [row for row in rows if all(row[name] == value for name, value in fields.items())]


def _markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(head) - 1)
    # A bar in a name would open another column.
    escaped = [[text.replace("|", r"\|") for text in line] for line in (head, rule, *lines)]
    return "\n".join("| " + " | ".join(line) + " |" for line in escaped)


def _number(found: Cell, metric: str) -> str:
    """Return a cell as text, or a dash if it is undefined."""
    if found.mean is None:
        return MISSING
    digits = DECIMALS[metric]
    return f"{found.mean:.{digits}f}" + ("" if found.sd is None else f" ± {found.sd:.{digits}f}")


def _overview(rows: Sequence[Row]) -> list[str]:
    """Return the table of the figure: average Dice by method and number of labels."""
    counts = sorted(ordered(rows, "labels"))
    lines = []
    for method, setting in dict.fromkeys((row["method"], row["setting"]) for row in rows):
        chosen = _select(rows, method=method, setting=setting)
        numbers = [_number(cell(_select(chosen, labels=n), "dice", AVERAGE), "dice") for n in counts]
        lines.append([f"{method}, {words(setting)}", *numbers])
    head = ["Method", *(f"{n} labelled" for n in counts)]
    return ["## Average Dice by number of labelled scans", _markdown_table(head, lines)]


def _metric_section(rows: Sequence[Row], metric: str) -> list[str]:
    classes = [*ordered(rows, "class"), AVERAGE]
    note = "Left out: results without a value, because the class is absent in the reference"
    note += " or (missed) was not predicted at all." if metric == "hd95_mm" else "."
    note += " The average is the mIoU over the foreground classes." if metric == "iou" else ""
    section = [f"## {TITLES[metric]}", note]
    for setting, labels in _groups(rows):
        chosen = _select(rows, setting=setting, labels=labels)
        lines = []
        for method in ordered(chosen, "method"):
            own = _select(chosen, method=method)
            cells = [cell(own, metric, name) for name in classes]
            numbers = [_number(found, metric) for found in cells]
            lines.append([method, *numbers, str(len(ordered(own, "fold"))), _left_out(cells[-1])])
        section += [
            f"### {TITLES[metric]}, {words(setting)}, {labels} labelled",
            _markdown_table(["Method", *classes, "folds", "left out"], lines),
        ]
    return section


def _left_out(found: Cell) -> str:
    count = found.undefined + found.missed
    return f"{count} ({found.missed} missed)" if found.missed else str(count)


def _warning_section(sentences: Sequence[str]) -> list[str]:
    if not sentences:
        return []
    head = "**The methods were not evaluated on the same cases, so the tables do not compare like with like.**"
    return [head, "\n".join(f"- {sentence}" for sentence in sentences)]


def _comparison_section(comparisons: Sequence[Comparison]) -> list[str]:
    if not comparisons:
        return []
    lines = []
    for found in comparisons:
        names = [f"{method}, {words(setting)}" for method, setting in (found.competitor, found.reference)]
        difference = MISSING if found.difference is None else f"{found.difference:+.3f}"
        p = MISSING if found.p is None else f"{found.p:.2g}" + ("†" if found.cases < FEWEST_CASES else "")
        lines.append([names[0], names[1], str(found.labels), difference, p, str(found.pairs), str(found.cases)])
    head = ["Method", "compared with", "labelled", "difference in Dice", "p", "pairs", "cases"]
    return [
        "## Paired tests",
        "Wilcoxon signed-rank test, two-sided, not corrected for the number of tests, on the mean Dice over classes of "
        "the (fold, case) pairs that both methods have, averaged over the folds of a case: against the best method of "
        "the setting, and against training from scratch. † Too few cases: with fewer than "
        f"{FEWEST_CASES} no difference can reach p < 0.05.",
        _markdown_table(head, lines),
    ]


def _summary_lines(rows: Sequence[Row]) -> list[list]:
    head = ["metric", "setting", "labels", "method", "class", "mean", "sd", "folds", "values", "undefined", "missed"]
    lines: list[list] = [head]
    for metric in METRICS:
        for setting, labels in _groups(rows):
            chosen = _select(rows, setting=setting, labels=labels)
            for method in ordered(chosen, "method"):
                own = _select(chosen, method=method)
                for name in [*ordered(rows, "class"), AVERAGE]:
                    found = cell(own, metric, name)
                    numbers = [found.mean, found.sd, found.folds, found.values, found.undefined, found.missed]
                    lines.append([metric, setting, labels, method, name, *numbers])
    return lines


def _comparison_lines(comparisons: Sequence[Comparison]) -> list[list]:
    head = ["labels", "method", "setting", "reference_method", "reference_setting", "difference", "p", "pairs", "cases"]
    return [
        head,
        *([c.labels, *c.competitor, *c.reference, c.difference, c.p, c.pairs, c.cases] for c in comparisons),
    ]


def _write_csv(path: Path, lines: Sequence[Sequence]) -> None:
    """Write a CSV file; missing values stay empty."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
