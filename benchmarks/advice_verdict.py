"""Is the setting that `medssl advise` gives the best of a grid? Rows of `advice.py` in, a Markdown table out.

    python benchmarks/advice_verdict.py docs/results/advice/*.csv

Per data set and structure, Dice is the mean over numbers of labels, draws and validation cases. A setting counts as good
where the 95 % interval of its difference to the best setting contains 0: a bootstrap over draws and cases, paired. The best
of many settings is lucky, so this asks more than it seems. Every row of the grid is judged in the same way.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

SAMPLES = 2000
Setting = tuple[str, str]
Values = dict[Setting, dict[tuple[str, str, str], float]]


def read_rows(path: Path) -> dict[tuple[str, str], Values]:
    """Give Dice by (labels, draw, case), setting, and data set and structure."""
    values: dict[tuple[str, str], Values] = defaultdict(lambda: defaultdict(dict))
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            place = (row["labels"], row["draw"], row["case"])
            values[row["data"], row["class"]][row["factor"], row["backbone"]][place] = float(row["dice"])
    return values


def is_good(values: Values, setting: Setting, best: Setting) -> bool:
    """Say whether the interval of the difference of two settings contains 0."""
    places = list(values[best])
    draws, cases = (sorted({place[axis] for place in places}) for axis in (1, 2))
    table = np.full((len(draws), len(cases)), np.nan)
    for row, draw in enumerate(draws):
        for column, case in enumerate(cases):
            differences = [values[best][p] - values[setting][p] for p in places if p[1:] == (draw, case)]
            table[row, column] = np.mean(differences) if differences else np.nan
    random = np.random.default_rng(0)
    means = []
    for _ in range(SAMPLES):
        rows, columns = random.integers(len(draws), size=len(draws)), random.integers(len(cases), size=len(cases))
        means.append(np.nanmean(table[np.ix_(rows, columns)]))
    return bool(np.quantile(means, 0.025) <= 0)


def mean_dice(values: Values) -> dict[Setting, float]:
    """Give the mean Dice of every setting."""
    return {setting: float(np.mean(list(dice.values()))) for setting, dice in values.items()}


def print_grid(rows: Mapping[tuple[str, str], Values]) -> None:
    """Print the mean Dice of every setting, and a star where it is as good as the best."""
    for (data, structure), values in rows.items():
        means = mean_dice(values)
        best = max(means, key=lambda setting: means[setting])
        shown = [f"{f}x {b}: {means[f, b]:.3f}{'*' * is_good(values, (f, b), best)}" for f, b in means]
        print(f"{data}, {structure}: {'; '.join(shown)}")


def good_shares(rows: Mapping[tuple[str, str], Values]) -> dict[Setting, tuple[int, int]]:
    """Give in how many of the structures that have it each setting is as good as the best."""
    counts: dict[Setting, list[bool]] = defaultdict(list)
    for values in rows.values():
        means = mean_dice(values)
        best = max(means, key=lambda setting: means[setting])
        for setting in means:
            counts[setting].append(is_good(values, setting, best))
    return {setting: (sum(found), len(found)) for setting, found in counts.items()}


def main(paths: Sequence[Path]) -> None:
    """Print the grid and how often each setting is good."""
    rows = {key: values for path in paths for key, values in read_rows(path).items()}
    print_grid(rows)
    for setting, (good, number) in sorted(good_shares(rows).items()):
        print(f"{setting[0]}x {setting[1]}: good for {good} of {number}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path, nargs="+")
    main(parser.parse_args().rows)
