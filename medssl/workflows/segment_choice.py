"""Which network segments: a solved probe or a fine-tuned one, tested on what they have not learnt from."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from medssl.files import write_json
from medssl.workflows.segment_carry import LEAST_BACKWARDS, Carrier, carrying_targets, num_targets
from medssl.workflows.segment_chosen import METHODS, Choice, Scores, as_text, scans
from medssl.workflows.segment_held_out import HeldOut, held_out_part, left_out_scans
from medssl.workflows.segment_predict import Predictor, in_ras, load_volume
from medssl.workflows.segment_progress import Display
from medssl.workflows.segment_training import (
    LabelledCase,
    Trainer,
    UnlabelledCase,
    load_run,
    start_seconds,
    step_seconds,
)

# Labelled scans that are left out, one at a time: for the probe, and for what takes minutes for each.
_LEFT_OUT, _LEFT_OUT_OF_LONGER = 3, 1
_MINUTES_OF_MORE = 20.0
# A shorter fine-tuning is not worth its time; more steps are asked for where nothing tests what it learns.
_LEAST_SECONDS, _LEAST_STEPS, _LEAST_STEPS_UNTESTED = 60.0, 100, 300
_LEFT_OUT_SECONDS, _CARRY_SECONDS = 30.0, 10.0
_UNTESTED = "There was time for it; nothing could be held out of the one labelled scan to compare it with the probe."
_WEAK = (
    "This is weak evidence: parts of one scan are more alike than two scans, and the part learnt from is smaller than "
    "the whole."
)

logger = logging.getLogger(__name__)


class Chooser:
    """Trains networks on the labelled scans and chooses one.

    Args:
        trainer: trains and keeps them.
        cases: labelled scans.
        names: of the structures.
        minutes: asked for by the user, for the whole command.
        display: shows the progress.
        unlabelled: scans to which labels may be carried.
    """

    def __init__(
        self,
        trainer: Trainer,
        cases: Sequence[LabelledCase],
        names: Mapping[int, str],
        minutes: float,
        display: Display,
        unlabelled: Sequence[UnlabelledCase] = (),
    ) -> None:
        self.trainer = trainer
        self.cases = cases
        self.names = names
        self.minutes = minutes
        self.display = display
        self.targets = carrying_targets(unlabelled, num_targets(minutes))
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
        with self.display.unit("probe", f"Fit a linear probe to {scans(self.cases)}"):
            run = self.trainer.train("probe", self.cases)
        probe = Choice(run, f"a linear probe. {obstacle}".strip(), self.cases, on_part=self._is_part(held_out))
        for test in held_out:
            if not probe.scores or self._seconds_for(1, 1) > self.display.left.of_unit("probe"):
                probe.scores |= self._tested("probe", [test], None)
        probe.tests = [test for test in held_out if test.name in probe.scores]
        best = self._with_carried(probe) if self.targets else probe
        self.display.left.expect("left out", 0, _LEFT_OUT_SECONDS)
        self.display.left.expect("fine_tune", 0, 0.0)
        if obstacle:
            return best
        try:
            return self._with_fine_tuning(best, best.tests[: self._num_left_out()])
        except FloatingPointError as error:
            best.reason = f"{best.reason} Fine-tuning failed: {error}"
            return best

    def _with_carried(self, probe: Choice) -> Choice:
        """Return the better one of a probe and of one that also learns from labels carried to other scans."""
        model = load_run(probe.run, self.trainer.backbone.trust)
        folder = self.trainer.folder / "carried"
        carrier = Carrier(
            *(model, folder, self.cases, self.targets, len(self.names), self.display), self._has_time_to_carry
        )
        self.display.left.expect("carry", len(self.targets) * (1 + (len(self.cases) > 1)), _CARRY_SECONDS)
        carried = carrier.carried(self.cases)
        if not carried:
            return probe
        cases, backwards = [*self.cases, *carried], len(self.cases) == 1
        if backwards:
            tests = [HeldOut(self.cases[0].case, tuple(carried), self.cases[0])]
        else:
            tests = [_with_carried_labels(test, carrier) for test in probe.tests[: self._num_left_out()]]
        self.display.left.expect("carry", 0, _CARRY_SECONDS)
        scores = self._tested("carried", tests, None)
        run = self.trainer.folder_of("carried", cases)
        found = Choice(run, "", cases, tests, scores, backwards=backwards)
        ours, theirs = found.dice or 0.0, probe.tested_on(tests).dice or 0.0
        compared = f"Labels were carried by registration to {scans(carried, 'other')}. "
        if backwards:
            theirs = LEAST_BACKWARDS
            compared += (
                f"A network that learnt from those alone has a mean Dice of {ours:.2f} on the scan they came from; "
                f"with less than {theirs} they would not be used."
            )
        else:
            compared += f"Mean Dice on {scans(tests)} left out: {ours:.2f} with them, {theirs:.2f} without."
        if ours <= theirs:
            probe.reason = f"{probe.reason} {compared}"
            return probe
        with self.display.unit("probe", f"Fit a linear probe to {scans(self.cases)} and {scans(carried, 'other')}"):
            self.trainer.train("carried", cases)
        found.reason = f"{found.method}. {compared}"
        return found

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
        return _LEFT_OUT if self.minutes >= _MINUTES_OF_MORE else _LEFT_OUT_OF_LONGER

    def _seconds_for(self, num_trainings: int, num_tests: int) -> float:
        """Return the seconds that each of the fine-tunings has, if everything else is to end in time."""
        left = self.display.left
        seconds = left.of_unit("left out") or left.of_unit("predict")
        after = (self._num_predictions + num_tests) * seconds + self._other_seconds
        return (60 * self.minutes - self.display.elapsed - after) / num_trainings - self._start_seconds

    def _has_time_to_carry(self) -> bool:
        """Say whether labels can be carried to one more scan, learnt from and tested, if the rest is to end in time."""
        left = self.display.left
        return self._seconds_for(1, 1) > left.of_unit("carry") + 2 * left.of_unit("probe")

    def _with_fine_tuning(self, best: Choice, tests: Sequence[HeldOut]) -> Choice:
        """Return the better one of a probe and of a network that is fine-tuned on what that learnt from."""
        self._start_seconds = start_seconds(best.run, best.cases, self.trainer.backbone.trust)
        share = self._seconds_for(1 + len(tests), len(tests))
        too_short = self._too_short(best, share, tests)
        if too_short:
            best.reason = f"{best.reason} {too_short}"
            return best
        share = max(share, _LEAST_SECONDS)
        self.display.left.expect("fine_tune", 1 + len(tests), share)
        self.display.left.expect("left out", len(tests), _LEFT_OUT_SECONDS)
        run = self.trainer.folder_of("fine_tune", best.cases)
        scores = self._tested("fine_tune", tests, share / 60)
        tuned = Choice(run, "", best.cases, tests, scores, best.on_part, best.backwards)
        theirs = best.tested_on(tests).dice
        on = _tested_on(best, tests)
        compared = f"Mean Dice on {on}: {as_text(tuned.dice)} fine-tuned, {as_text(theirs)} with the probe."
        compared += f" {_WEAK}" if best.on_part else ""
        if tests and (theirs or 0.0) >= (tuned.dice or 0.0):
            self.display.left.expect("fine_tune", 0, 0.0)
            best.reason = f"{best.reason} {compared}" if best.cases is not self.cases else f"{best.method}. {compared}"
            return best
        # What the tests did not need, or needed too much, is that of the last one.
        share = max(self._seconds_for(1, 0), _LEAST_SECONDS)
        self._fine_tuned(best.cases, share / 60, scans(best.cases))
        tuned.reason = f"{tuned.method}. {compared if tests else _UNTESTED}"
        return tuned

    def _too_short(self, best: Choice, share: float, held_out: Sequence[HeldOut]) -> str:
        """Return why there is no time to fine-tune, or nothing."""
        subsets = [test.learn_from for test in held_out] or [best.cases]
        if all(self.trainer.is_trained("fine_tune", cases) for cases in subsets):
            return ""
        if share < _LEAST_SECONDS:
            return "There was no time left to fine-tune; more --minutes give it some."
        seconds, least = (
            step_seconds(best.run, self.trainer.backbone.trust),
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
                with self.display.unit("left out", f"Test {METHODS[method]} on {test.name}"):
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


def _with_carried_labels(test: HeldOut, carrier: Carrier) -> HeldOut:
    """Return a test on a scan left out that, as any scan that is segmented, may be given labels of the others."""
    itself = UnlabelledCase(test.case.case, test.case.image, test.case.content)
    carried = carrier.carried(test.learn_from, more=[itself])
    return test._replace(learn_from=(*test.learn_from, *carried))


def _tested_on(best: Choice, tests: Sequence[HeldOut]) -> str:
    if best.on_part and tests:
        return f"a {tests[0].name}, held out"
    return f"{tests[0].name}, learning from carried labels alone" if best.backwards else f"{scans(tests)} left out"


def _dice(found: np.ndarray, wanted: np.ndarray) -> float | None:
    if not wanted.any():
        return None
    return round(2 * float((found & wanted).sum()) / float(found.sum() + wanted.sum()), 4)
