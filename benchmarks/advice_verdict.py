"""Is the setting that `medssl advise` gives the best of a grid? Rows of `advice.py` in, a Markdown table out.

    python benchmarks/advice_verdict.py docs/results/advice/*.csv

Per data set and structure, Dice is the mean over numbers of labels, draws and validation cases. A setting counts as
good where the 95 % interval of its difference to the best setting contains 0: a bootstrap over draws and cases, paired.
The best of many settings is lucky, so this asks more than it seems. Every setting of the grid is judged so.
"""

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
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


def advised_setting(path: Path, values: Values) -> Setting:
    """Give the setting of the grid that is nearest to what the file beside the rows advises."""
    content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    settings, native = content["settings"], min(content["scans"]["spacing"])
    factor = min(settings["spacing"]["value"]) / native
    near = min((setting[0] for setting in values), key=lambda text: abs(float(text) - factor))
    named = settings["backbone"]["value"]
    if any(backbone == named for _, backbone in values):
        return near, named
    levels = settings["num_levels"]["value"]
    drawn = {int(name.rpartition("x")[2]): name for _, name in values if name.startswith("random")}
    return near, drawn[min(drawn, key=lambda number: abs(number - levels))]


def verdicts(path: Path) -> Iterator[list[str]]:
    """Yield a line of the table for every structure of a data set."""
    thick = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["structures"]
    for (data, structure), values in read_rows(path).items():
        means = mean_dice(values)
        best, advised = max(means, key=lambda setting: means[setting]), advised_setting(path, values)
        good = [setting for setting in means if is_good(values, setting, best)]
        verdict = "best" if advised == best else "within" if advised in good else "**below**"
        yield [
            *(data, structure, f"{thick[structure]['thickness']:.3g}", *shown(advised, means), *shown(best, means)),
            *(verdict, f"{len(good)} of {len(means)}"),
        ]


def shown(setting: Setting, means: dict[Setting, float]) -> tuple[str, str]:
    """Give a setting and its Dice as text."""
    return f"{setting[0]}x, {setting[1]}", f"{means[setting]:.3f}"


def good_counts(paths: Sequence[Path]) -> Iterator[list[str]]:
    """Yield in how many structures each setting is as good as the best, of those whose grid has it."""
    counts: dict[Setting, list[bool]] = defaultdict(list)
    for path in paths:
        for values in read_rows(path).values():
            means = mean_dice(values)
            best = max(means, key=lambda setting: means[setting])
            for factor, backbone in means:
                levels = f"{backbone.rpartition('x')[2]} levels" if backbone.startswith("random") else backbone
                counts[f"{factor}x", levels].append(is_good(values, (factor, backbone), best))
    for (factor, levels), found in sorted(counts.items()):
        yield [f"{factor}, {levels}", f"{sum(found)} of {len(found)}"]


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Give a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))


HEAD = ("Data", "Structure", "Thick", "Advised", "Dice", "Best", "Dice", "Advised is", "As good as the best")


def main(paths: Sequence[Path]) -> None:
    """Print the tables."""
    print(table(HEAD, [line for path in paths for line in verdicts(path)]))
    print()
    print(table(("Always", "As good as the best"), good_counts(paths)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path, nargs="+")
    main(parser.parse_args().rows)
