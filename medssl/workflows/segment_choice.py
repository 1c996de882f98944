"""Which network segments: the solved probe or a fine-tuned one, tested on what both have not learnt from."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medssl.files import write_json
from medssl.workflows.segment_held_out import HeldOut, held_out_part, left_out_scans
from medssl.workflows.segment_predict import Predictor, in_ras, load_volume
from medssl.workflows.segment_progress import Display
from medssl.workflows.segment_training import LabelledCase, Trainer, load_run, start_seconds, step_seconds

# Labelled scans that are left out, one at a time: for the probe, and for fine-tuning, which takes minutes for each.
_LEFT_OUT, _LEFT_OUT_OF_FINE_TUNING = 3, 1
_MINUTES_OF_MORE = 20.0
# A shorter fine-tuning is not worth its time; more steps are asked for where nothing tests what it learns.
_LEAST_SECONDS, _LEAST_STEPS, _LEAST_STEPS_UNTESTED = 60.0, 100, 300
_LEFT_OUT_SECONDS = 30.0
_METHODS = {"probe": "a linear probe", "fine_tune": "a fine-tuned network"}
_UNTESTED = "There was time for it; nothing could be held out of the one labelled scan to compare it with the probe."
_WEAK = (
    "This is weak evidence: parts of one scan are more alike than two scans, and the part learnt from is smaller than "
    "the whole."
)
Scores = dict[str, dict[str, float | None]]

logger = logging.getLogger(__name__)


@dataclass
class Choice:
    """The network that segments.

    Attributes:
        run: its folder.
        reason: why it was chosen.
        scores: Dice by what was held out, and structure.
        on_part: whether that was a part of the only labelled scan.
    """

    run: Path
    reason: str
    scores: Scores = field(default_factory=dict)
    on_part: bool = False

    @property
    def method(self) -> str:
        """What a report calls the network."""
        return _METHODS[self.run.name.rpartition("-")[0]]

    def expected(self) -> dict[str, float | None]:
        """Return the mean Dice of every structure over the tests that show it, and ``mean of all`` over all."""
        names = dict.fromkeys(name for scores in self.scores.values() for name in scores)
        means = {name: _mean([scores[name] for scores in self.scores.values()]) for name in names}
        return {**means, "mean of all": _mean(list(means.values()))} if means else {}


class Chooser:
    """Trains networks on the labelled scans and chooses one.

    Args:
        trainer: trains and keeps them.
        cases: labelled scans.
        names: of the structures.
        minutes: asked for by the user, for the whole command.
        display: shows the progress.
    """

    def __init__(
        self,
        trainer: Trainer,
        cases: Sequence[LabelledCase],
        names: Mapping[int, str],
        minutes: float,
        display: Display,
    ) -> None:
        self.trainer = trainer
        self.cases = cases
        self.names = names
        self.minutes = minutes
        self.display = display
        self._num_predictions, self._other_seconds, self._start_seconds = 0.0, 0.0, 0.0

    def choose(self, num_predictions: float, other_seconds: float, obstacle: str) -> Choice:
        """Return the network for the other scans.

        Args:
            num_predictions: scans that are to be segmented, as a multiple of the size of the labelled ones.
            other_seconds: for what comes after, besides segmenting.
            obstacle: a sentence that says why there can be no fine-tuning; empty if there can.
        """
        self._num_predictions, self._other_seconds = num_predictions, other_seconds
        held_out = self._held_out()
        self.display.left.expect("left out", len(held_out), _LEFT_OUT_SECONDS)
        with self.display.unit("probe", f"Fit a linear probe to {_scans(self.cases)}"):
            run = self.trainer.train("probe", self.cases)
        probe = Choice(run, f"a linear probe. {obstacle}".strip(), on_part=self._is_part(held_out))
        for test in held_out:
            if not probe.scores or self._seconds_for(1, 1) > self.display.left.of_unit("probe"):
                probe.scores |= self._tested("probe", [test], None)
        self.display.left.expect("left out", 0, _LEFT_OUT_SECONDS)
        self.display.left.expect("fine_tune", 0, 0.0)
        if obstacle:
            return probe
        tested = [test for test in held_out if test.name in probe.scores]
        try:
            return self._with_fine_tuning(probe, tested[: self._num_left_out()])
        except FloatingPointError as error:
            probe.reason = f"{probe.reason} Fine-tuning failed: {error}"
            return probe

    def _held_out(self) -> list[HeldOut]:
        """Return what networks are tested on: labelled scans, or a part of the only one."""
        if len(self.cases) > 1:
            return left_out_scans(self.cases, _LEFT_OUT)
        part = held_out_part(self.cases[0], self.names, self.trainer.folder / "part")
        if part is None:
            logger.warning("No part of %s can be held out to test on.", self.cases[0].case)
            return []
        logger.warning("With one labelled scan, networks are tested on a part of it. %s", _WEAK)
        return [part]

    def _is_part(self, held_out: Sequence[HeldOut]) -> bool:
        return any(test.region is not None for test in held_out)

    def _num_left_out(self) -> int:
        return _LEFT_OUT if self.minutes >= _MINUTES_OF_MORE else _LEFT_OUT_OF_FINE_TUNING

    def _seconds_for(self, num_trainings: int, num_tests: int) -> float:
        """Return the seconds that each of the fine-tunings has, if everything else is to end in time."""
        left = self.display.left
        seconds = left.of_unit("left out") or left.of_unit("predict")
        after = (self._num_predictions + num_tests) * seconds + self._other_seconds
        return (60 * self.minutes - self.display.elapsed - after) / num_trainings - self._start_seconds

    def _with_fine_tuning(self, probe: Choice, held_out: Sequence[HeldOut]) -> Choice:
        self._start_seconds = start_seconds(probe.run, self.cases, self.trainer.backbone.trust)
        share = self._seconds_for(1 + len(held_out), len(held_out))
        too_short = self._too_short(probe.run, share, held_out)
        if too_short:
            probe.reason = f"{probe.reason} {too_short}"
            return probe
        share = max(share, _LEAST_SECONDS)
        self.display.left.expect("fine_tune", 1 + len(held_out), share)
        self.display.left.expect("left out", len(held_out), _LEFT_OUT_SECONDS)
        scores = self._tested("fine_tune", held_out, share / 60)
        ours, theirs = ({case: s[case] for case in scores} for s in (scores, probe.scores))
        tuned, probed = (Choice(probe.run, "", found).expected().get("mean of all") for found in (ours, theirs))
        on = f"a {held_out[0].name}, held out" if probe.on_part else f"{_scans(held_out)} left out"
        tested = f"Mean Dice on {on}: {_number(tuned)} fine-tuned, {_number(probed)} with the probe."
        tested += f" {_WEAK}" if probe.on_part else ""
        if held_out and (probed or 0.0) >= (tuned or 0.0):
            self.display.left.expect("fine_tune", 0, 0.0)
            probe.reason = f"a linear probe. {tested}"
            return probe
        # What the tests did not need, or needed too much, is that of the last one.
        share = max(self._seconds_for(1, 0), _LEAST_SECONDS)
        run = self._fine_tuned(self.cases, share / 60, _scans(self.cases))
        return Choice(run, f"a fine-tuned network. {tested if held_out else _UNTESTED}", scores, probe.on_part)

    def _too_short(self, run: Path, share: float, held_out: Sequence[HeldOut]) -> str:
        """Return why there is no time to fine-tune, or nothing."""
        subsets = [test.learn_from for test in held_out] or [self.cases]
        if all(self.trainer.is_trained("fine_tune", cases) for cases in subsets):
            return ""
        if share < _LEAST_SECONDS:
            return "There was no time left to fine-tune; more --minutes give it some."
        seconds, least = (
            step_seconds(run, self.trainer.backbone.trust),
            _LEAST_STEPS if held_out else _LEAST_STEPS_UNTESTED,
        )
        if share >= seconds * least:
            return ""
        return (
            f"There was no time to fine-tune: a step takes {seconds:.1f} s here, and {share / seconds:.0f} steps in "
            f"the {share / 60:.1f} minutes left for it are too few (at least {least}); more --minutes give it some."
        )

    def _tested(self, method: str, held_out: Sequence[HeldOut], minutes: float | None) -> Scores:
        """Return the Dice on what is held out of networks that learnt from the rest."""
        scores = {}
        for test in held_out:
            cases = test.cases(method)
            kept = self.trainer.folder_of(method, cases) / "left_out" / f"{test.case.case}.json"
            if not kept.is_file():
                without = f"what is labelled, without {test.name}"
                if method == "fine_tune":
                    run = self._fine_tuned(cases, minutes, without)
                else:
                    with self.display.unit("probe", f"Fit a linear probe to {without}"):
                        run = self.trainer.train(method, cases)
                with self.display.unit("left out", f"Test {_METHODS[method]} on {test.name}"):
                    write_json(kept, self._dice(run, test))
            scores[test.name] = json.loads(kept.read_text(encoding="utf-8"))
        return scores

    def _dice(self, run: Path, test: HeldOut) -> dict[str, float | None]:
        """Return the Dice of every structure; None where it does not count or the mask lacks it."""
        region = (0, *(test.region or (...,)))
        label = np.rint(load_volume(test.case.label).numpy())[region]
        model = load_run(run, self.trainer.backbone.trust)
        found = in_ras(Predictor(model)(test.case.image).label).numpy()[region]
        counted = self.names if test.values is None else test.values
        return {
            name: _dice(found == value, label == value) if value in counted else None
            for value, name in self.names.items()
        }

    def _fine_tuned(self, cases: Sequence[LabelledCase], minutes: float | None, on: str) -> Path:
        begin, trained = self.display.elapsed, self.trainer.is_trained("fine_tune", cases)
        with self.display.unit("fine_tune", f"Fine-tune on {on}"):
            run = self.trainer.train("fine_tune", cases, minutes)
        if not trained and minutes is not None:
            self._start_seconds = max(self.display.elapsed - begin - 60 * minutes, 0.0)
        return run


def _dice(found: np.ndarray, wanted: np.ndarray) -> float | None:
    if not wanted.any():
        return None
    return round(2 * float((found & wanted).sum()) / float(found.sum() + wanted.sum()), 4)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _scans(cases: Sequence[LabelledCase | HeldOut]) -> str:
    return f"{len(cases)} labelled scan{'s' * (len(cases) > 1)}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
