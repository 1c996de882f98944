"""The sections of a report, as Markdown."""

from collections.abc import Mapping, Sequence

import numpy as np

from medssl.evaluation.comparisons import FEWEST_CASES, Comparison
from medssl.evaluation.figures import words
from medssl.evaluation.statistics import Interval
from medssl.evaluation.summary import (
    AVERAGE,
    FAILURE,
    Cell,
    Row,
    cell,
    competitors,
    ordered,
    summarize_cases,
)

TITLES = {"dice": "Dice", "iou": "IoU", "hd95_mm": "HD95 (mm, or pixels)", "surface_dice": "Surface Dice"}
DECIMALS = {"dice": 3, "iou": 3, "hd95_mm": 1, "surface_dice": 3}
MISSING = "–"


def groups(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """Return the settings and numbers of labels that occur, in the order of the report."""
    present = {(row["setting"], row["labels"]) for row in rows}
    counts = sorted(ordered(rows, "labels"))
    return [(setting, n) for setting in ordered(rows, "setting") for n in counts if (setting, n) in present]


def select(rows: Sequence[Row], **fields: str | int) -> list[Row]:
    """Return the rows that have these values."""
    return [row for row in rows if all(row[name] == value for name, value in fields.items())]


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with its first column on the left and the others on the right."""
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


def overview(rows: Sequence[Row]) -> list[str]:
    """Return the table of the figure: average Dice by method and number of labels."""
    counts = sorted(ordered(rows, "labels"))
    lines = []
    for method, setting in dict.fromkeys((row["method"], row["setting"]) for row in rows):
        chosen = select(rows, method=method, setting=setting)
        numbers = [_number(cell(select(chosen, labels=n), "dice", AVERAGE), "dice") for n in counts]
        lines.append([f"{method}, {words(setting)}", *numbers])
    head = ["Method", *(f"{n} labelled" for n in counts)]
    return ["## Average Dice by number of labelled scans", markdown_table(head, lines)]


def metric_section(rows: Sequence[Row], metric: str) -> list[str]:
    """Return the tables of a metric by class, one per setting and number of labels."""
    classes = [*ordered(rows, "class"), AVERAGE]
    note = "Left out: results without a value, because the class is absent in the reference"
    note += " or (missed) was not predicted at all." if metric == "hd95_mm" else "."
    note += " The average is the mIoU over the foreground classes." if metric == "iou" else ""
    section = [f"## {TITLES[metric]}", note]
    for setting, labels in groups(rows):
        chosen = select(rows, setting=setting, labels=labels)
        lines = []
        for method in ordered(chosen, "method"):
            own = select(chosen, method=method)
            cells = [cell(own, metric, name) for name in classes]
            numbers = [_number(found, metric) for found in cells]
            lines.append([method, *numbers, str(len(ordered(own, "fold"))), _left_out(cells[-1])])
        section += [
            f"### {TITLES[metric]}, {words(setting)}, {labels} labelled",
            markdown_table(["Method", *classes, "folds", "left out"], lines),
        ]
    return section


def _left_out(found: Cell) -> str:
    count = found.undefined + found.missed
    return f"{count} ({found.missed} missed)" if found.missed else str(count)


def warning_section(sentences: Sequence[str]) -> list[str]:
    """Return what the reader must know first: methods that lack cases."""
    if not sentences:
        return []
    head = "**The methods were not evaluated on the same cases, so the tables do not compare like with like.**"
    return [head, "\n".join(f"- {sentence}" for sentence in sentences)]


def case_section(rows: Sequence[Row]) -> list[str]:
    """Return the table of medians, failures and lowest cases, which show why a mean is low."""
    has_images = any(row["image_mean"] is not None for row in rows)
    lines = []
    for method, setting, labels in competitors(rows):
        own = select(rows, method=method, setting=setting, labels=labels)
        found = summarize_cases(own)
        lowest, median, share = MISSING, MISSING, MISSING
        if found.results:
            median = f"{found.median:.3f}"
            share = f"{found.failures} of {found.results} ({found.failures / found.results:.0%})"
            lowest = f"{found.lowest:.3f} ({found.lowest_case}, fold {found.lowest_fold})"
        follows = MISSING if found.image_correlation is None else f"{found.image_correlation:+.2f}"
        line = [f"{method}, {words(setting)}", str(labels), _number(cell(own, "dice", AVERAGE), "dice")]
        lines.append([*line, median, share, lowest, *([follows] if has_images else [])])
    head = ["Method", "labelled", "mean Dice", "median", f"failures (Dice < {FAILURE})", "lowest case"]
    note = "Of the mean Dice over classes of every case and fold."
    if has_images:
        head.append("Dice follows the image mean: r")
        note += (
            " r is Pearson's correlation, over cases, of Dice and the mean of the preprocessed image: far from 0, "
            "brightness decides how well a scan is segmented, and the scaling of intensities needs work."
        )
    return ["## Single cases", note, markdown_table(head, lines)]


def comparison_section(comparisons: Sequence[Comparison]) -> list[str]:
    """Return the table of differences with intervals and corrected p values."""
    if not comparisons:
        return []
    lines = []
    for found in comparisons:
        names = [f"{method}, {words(setting)}" for method, setting in (found.competitor, found.reference)]
        p = MISSING if found.p is None else f"{found.corrected_p:.2g}" + ("†" if found.cases < FEWEST_CASES else "")
        counts = [str(found.pairs), str(found.cases), str(found.difference.draws)]
        lines.append([*names, str(found.labels), _interval(found.difference), p, *counts])
    head = ["Method", "compared with", "labelled", "difference in Dice (95 % interval)", "p (Holm)"]
    tests = sum(found.p is not None for found in comparisons)
    return [
        "## Paired comparisons",
        "Differences in mean Dice on the results that both methods have, against the best method of the setting "
        "(chosen on these same results, so its lead is flattered), and against training from scratch. Intervals: "
        "paired bootstrap over draws and cases together. Few draws make them too narrow: in simulations they held the "
        "truth in 74 to 93 % of trials with 3 draws, 83 to 92 % with 5, 92 to 96 % with 10. p: Wilcoxon signed-rank "
        "test, two-sided, on the differences of cases averaged over draws, corrected by Holm's method for the "
        f"{_count(tests, 'test')} of this report. † Too few cases: with fewer than {FEWEST_CASES} no difference can "
        "reach p < 0.05, even uncorrected.",
        markdown_table([*head, "pairs", "cases", "draws"], lines),
        *_without_interval(comparisons),
    ]


def _interval(found: Interval) -> str:
    if found.mean is None:
        return MISSING
    ends = "" if found.low is None else f" ({found.low:+.3f} to {found.high:+.3f})"
    return f"{found.mean:+.3f}{ends}"


def _without_interval(comparisons: Sequence[Comparison]) -> list[str]:
    """Return why some differences have no interval, and what to do about it."""
    unpaired = [found for found in comparisons if not found.pairs]
    small = [found for found in comparisons if found.pairs and found.difference.low is None]
    sentences = []
    if unpaired:
        names = ", ".join(_pair(found) for found in unpaired)
        sentences.append(f"No case and fold in common, so nothing to compare: {names}. Evaluate both on the same list.")
    if small:
        names = ", ".join(
            f"{_pair(found)} ({_count(found.difference.draws, 'draw')}, {_count(found.cases, 'case')})"
            for found in small
        )
        sentences.append(
            f"No interval, which takes two draws and two cases or more: {names}. Train with further draws "
            "(`--fold`, or `folds` of a protocol), or evaluate more cases."
        )
    return sentences


def _pair(found: Comparison) -> str:
    (method, setting), (other, other_setting) = found.competitor, found.reference
    return f"{method}, {words(setting)} against {other}, {words(other_setting)} with {found.labels} labelled"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def picture_section(pictures: Mapping[str, str]) -> list[str]:
    """Return the pictures of single cases.

    Args:
        pictures: path of each, relative to the report, by title.
    """
    if not pictures:
        return []
    return [
        "## Pictures",
        "Best, middle and worst test case, with the fewest labelled scans. The slice is the one with most of the "
        "reference (of a volume the axial one, the patient's right on the left); the scan is shown as the network sees "
        "it, after preprocessing.",
        *(f"**{title}**\n\n![{title}: scan, reference and prediction]({path})" for title, path in pictures.items()),
    ]


def volume_section(rows: Sequence[Row]) -> list[str]:
    """Return the table of predicted against expected volumes; nothing for pictures and for rows of early versions."""
    rows = [row for row in rows if row["expected_ml"] is not None]
    if not rows:
        return []
    classes = ordered(rows, "class")
    lines = []
    for method, setting, labels in competitors(rows):
        own = select(rows, method=method, setting=setting, labels=labels)
        volumes = [_volumes(select(own, **{"class": name})) for name in classes]
        lines.append([f"{method}, {words(setting)}", str(labels), *volumes])
    note = "Predicted / expected volume in ml, the mean over cases and folds."
    return ["## Volumes", note, markdown_table(["Method", "labelled", *classes], lines)]


def _volumes(rows: Sequence[Row]) -> str:
    if not rows:
        return MISSING
    return " / ".join(f"{np.mean([row[name] for row in rows]):.3g}" for name in ("predicted_ml", "expected_ml"))
