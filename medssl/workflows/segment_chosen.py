"""The network that a few-label segmentation chose, what it was tested on, and the words about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medssl.workflows.segment_held_out import HeldOut
from medssl.workflows.segment_training import LabelledCase

METHODS = {
    "probe": "a linear probe",
    "carried": "a linear probe that learnt from carried labels too",
    "fine_tune": "a fine-tuned network",
}
# Dice by what was held out, and structure.
Scores = dict[str, dict[str, float | None]]


@dataclass
class Choice:
    """The network that segments.

    Attributes:
        run: its folder.
        reason: why it was chosen.
        cases: that it learnt from.
        tests: that it was given, and that another network is to be compared with it by.
        scores: their results.
        on_part: whether it was tested on a part of the only labelled scan.
        backwards: whether it was tested on the only labelled scan, by a network that learnt from labels carried from it
            to others, and not from the scan itself.
    """

    run: Path
    reason: str
    cases: Sequence[LabelledCase] = ()
    tests: Sequence[HeldOut] = ()
    scores: Scores = field(default_factory=dict)
    on_part: bool = False
    backwards: bool = False

    @property
    def method(self) -> str:
        """What a report calls the network."""
        return METHODS[self.run.name.rpartition("-")[0]]

    def expected(self) -> dict[str, float | None]:
        """Return the mean Dice of every structure over the tests that show it, and ``mean of all`` over all."""
        names = dict.fromkeys(name for scores in self.scores.values() for name in scores)
        means = {name: _mean([scores[name] for scores in self.scores.values()]) for name in names}
        return {**means, "mean of all": _mean(list(means.values()))} if means else {}

    def tested_on(self, tests: Sequence[HeldOut]) -> "Choice":
        """Return the same with the results of some of its tests alone."""
        names = [test.name for test in tests]
        scores = {name: self.scores[name] for name in names if name in self.scores}
        return Choice(self.run, self.reason, self.cases, tests, scores, self.on_part, self.backwards)

    @property
    def dice(self) -> float | None:
        """The mean Dice over structures."""
        return self.expected().get("mean of all")


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def scans(cases: Sequence[LabelledCase | HeldOut], kind: str = "labelled") -> str:
    """Return how many scans there are, as text."""
    return f"{len(cases)} {kind} scan{'s' * (len(cases) > 1)}"


def as_text(value: float | None) -> str:
    """Return a Dice as text."""
    return "unknown" if value is None else f"{value:.2f}"
