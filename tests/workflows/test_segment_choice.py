from pathlib import Path

import pytest
from rich.console import Console

from medssl.data.datalist import read_datalist
from medssl.workflows import segment_choice, segment_training
from medssl.workflows.segment_backbone import choose_backbone
from medssl.workflows.segment_choice import Chooser
from medssl.workflows.segment_chosen import Choice
from medssl.workflows.segment_progress import Display
from medssl.workflows.segment_training import LabelledCase, Trainer, UnlabelledCase

NAMES = {1: "one", 2: "two"}


@pytest.fixture
def chooser(ct_list, pretrained, tmp_path, monkeypatch):
    """Gives a chooser over labelled scans, with all minutes for every fine-tuning and a clock that stands still."""
    for limit in ("_LEAST_SECONDS", "_LEAST_STEPS", "_LEAST_STEPS_UNTESTED"):
        monkeypatch.setattr(segment_choice, limit, 0.1)
    monkeypatch.setattr(Display, "elapsed", 0.0)
    monkeypatch.setattr(Chooser, "_seconds_for", lambda self, *_: 60 * self.minutes)
    monkeypatch.setattr(Chooser, "_has_time_to_carry", lambda self: True)
    monkeypatch.setattr(segment_training, "_MAX_VOXELS", 3000)
    listed = read_datalist(ct_list)
    names = {value: name for value, name in listed.labels.items() if value}
    labelled = [
        LabelledCase(case["case"], Path(case["image"]), Path(case["label"]), case["case"])
        for case in listed.section("training")
    ]

    others = [
        UnlabelledCase(case["case"], Path(case["image"]), case["case"])
        for case in listed.section("validation+test+unlabeled")
    ]

    def make(num_labelled, minutes, carrying=False):
        trainer = Trainer(
            tmp_path, choose_backbone(str(pretrained), "CT", [], dict), "CT", names, "ignore", minutes, num_labelled
        )
        display = Display(Console(quiet=True))
        made = Chooser(trainer, labelled[:num_labelled], names, minutes, display)
        made.targets = others if carrying else []
        return made

    return make


def test_with_two_labels_both_networks_are_tested_on_the_scan_that_was_left_out(chooser, tmp_path):
    made = chooser(2, 0.02).choose(0, 0.0, "")
    assert "Mean Dice on 1 labelled scan left out" in made.reason
    tested = {path.parts[-3].split("-")[0] for path in tmp_path.glob("runs/*/left_out/*.json")}
    assert tested == {"probe", "fine_tune"}
    assert made.run.name.split("-")[0] in tested
    assert made.expected()["mean of all"] is not None


def test_with_one_label_both_networks_are_tested_on_a_part_of_it_and_the_reason_says_that_this_is_weak(
    chooser, tmp_path
):
    made = chooser(1, 0.02).choose(0, 0.0, "")
    assert made.on_part and "a part of" in made.reason and "weak evidence" in made.reason
    tested = {path.parts[-3].split("-")[0] for path in tmp_path.glob("runs/*/left_out/*.json")}
    assert tested == {"probe", "fine_tune"}
    assert list(made.scores) == [f"part of {next(tmp_path.glob('runs/*/left_out/*.json')).stem}"]


def test_where_no_part_can_be_held_out_fine_tuning_is_chosen_and_says_that_it_is_untested(chooser, monkeypatch):
    monkeypatch.setattr(segment_choice, "held_out_part", lambda *_: None)
    made = chooser(1, 0.01).choose(0, 0.0, "")
    assert made.run.name.startswith("fine_tune") and made.scores == {}
    assert "nothing could be held out of the one labelled scan" in made.reason


def test_without_time_or_with_an_obstacle_the_probe_is_chosen(chooser):
    timed_out = chooser(1, 0.0).choose(0, 0.0, "")
    assert timed_out.run.name.startswith("probe") and "no time left" in timed_out.reason
    hindered = chooser(1, 10.0).choose(0, 0.0, "Masks lack a structure.")
    assert hindered.run == timed_out.run and "Masks lack a structure." in hindered.reason


def test_where_too_few_steps_fit_into_the_time_the_probe_is_chosen(chooser, monkeypatch):
    monkeypatch.setattr(segment_choice, "_LEAST_STEPS", 10**9)
    made = chooser(1, 0.05).choose(0, 0.0, "")
    assert made.run.name.startswith("probe") and "are too few" in made.reason


def test_where_fine_tuning_diverges_the_probe_is_chosen(chooser, monkeypatch):
    def diverge(*_):
        raise FloatingPointError("the loss is not finite.")

    made = chooser(1, 0.05)
    monkeypatch.setattr(Chooser, "_fine_tuned", diverge)
    found = made.choose(0, 0.0, "")
    assert found.run.name.startswith("probe") and "Fine-tuning failed: the loss is not finite." in found.reason


def test_with_one_label_carried_labels_are_tested_by_the_way_back_to_the_labelled_scan(chooser, monkeypatch):
    monkeypatch.setattr(segment_choice, "LEAST_BACKWARDS", 0.0)
    made = chooser(1, 0.0, carrying=True)
    found = made.choose(0, 0.0, "")
    assert found.run.name.startswith("carried") and found.backwards and not found.on_part
    assert list(found.scores) == [made.cases[0].case]
    assert [case.case for case in found.cases] == [
        made.cases[0].case,
        *(f"{target.case}_carried" for target in made.targets),
    ]
    (test,) = found.tests
    assert made.cases[0] not in test.learn_from


def test_labels_are_carried_to_as_many_scans_as_there_is_time_for(chooser, monkeypatch):
    monkeypatch.setattr(segment_choice, "LEAST_BACKWARDS", 0.0)
    made = chooser(1, 0.0, carrying=True)
    monkeypatch.setattr(Chooser, "_has_time_to_carry", lambda self: False)
    assert len(made.targets) > 2
    assert len(made.choose(0, 0.0, "").cases) == 1 + 2


def test_carried_labels_that_do_not_lead_back_are_not_used(chooser, monkeypatch):
    monkeypatch.setattr(segment_choice, "LEAST_BACKWARDS", 1.0)
    found = chooser(1, 0.0, carrying=True).choose(0, 0.0, "")
    assert found.run.name.startswith("probe") and "they would not be used" in found.reason


@pytest.mark.parametrize(("carried", "chosen"), [(1.0, "carried"), (0.0, "probe")])
def test_with_two_labels_carried_labels_are_tested_on_the_scan_that_was_left_out(chooser, monkeypatch, carried, chosen):
    measured = Chooser._dice

    def dice(self, run, test):
        found = measured(self, run, test)
        return dict.fromkeys(found, carried) if run.name.startswith("carried") else found

    monkeypatch.setattr(Chooser, "_dice", dice)
    made = chooser(2, 0.0, carrying=True)
    found = made.choose(0, 0.0, "")
    assert found.run.name.startswith(chosen)
    assert "Mean Dice on 1 labelled scan left out" in found.reason
    (test,) = made.choose(0, 0.0, "").tests[:1]
    assert test.case not in test.learn_from


def test_fine_tuning_starts_from_what_was_carried_too(chooser, monkeypatch):
    monkeypatch.setattr(segment_choice, "LEAST_BACKWARDS", 0.0)
    tuned = []
    monkeypatch.setattr(Chooser, "_fine_tuned", lambda self, cases, *_: tuned.append([case.case for case in cases]))
    monkeypatch.setattr(Chooser, "_dice", lambda self, run, test: {"one": 1.0 if run is None else 0.5})
    made = chooser(1, 0.05, carrying=True)
    found = made.choose(0, 0.0, "")
    carried = [f"{target.case}_carried" for target in made.targets]
    assert tuned == [carried, [made.cases[0].case, *carried]]
    assert found.run.name.startswith("fine_tune") and found.backwards


def test_fine_tuning_gets_what_tests_predictions_and_the_rest_leave_of_the_minutes(tmp_path, monkeypatch):
    display = Display(Console(quiet=True))
    monkeypatch.setattr(Display, "elapsed", 100.0)
    display.left.finish("left out", 20.0)
    made = Chooser(None, [], NAMES, 10.0, display)
    made._num_predictions, made._other_seconds, made._start_seconds = 5.5, 18.0, 8.0
    assert made._seconds_for(2, 1) == (600 - 100 - (5.5 + 1) * 20 - 18) / 2 - 8
    assert made._seconds_for(1, 0) == 600 - 100 - 5.5 * 20 - 18 - 8


@pytest.mark.parametrize(("elapsed", "has_time"), [(380.0, True), (390.0, False)])
def test_a_further_scan_gets_labels_while_tests_probes_and_predictions_would_end_in_time(
    monkeypatch, elapsed, has_time
):
    display = Display(Console(quiet=True))
    monkeypatch.setattr(Display, "elapsed", elapsed)
    for kind, seconds in {"left out": 20.0, "carry": 30.0, "probe": 25.0}.items():
        display.left.finish(kind, seconds)
    made = Chooser(None, [], NAMES, 10.0, display)
    made._num_predictions, made._other_seconds = 4, 36.0
    # 600 - elapsed - (4 + 1) * 20 - 36 against 30 + 2 * 25.
    assert made._has_time_to_carry() == has_time


def test_further_scans_are_left_out_only_where_there_is_time(chooser, monkeypatch):
    monkeypatch.setattr(Chooser, "_seconds_for", lambda *_: -1.0)
    made = chooser(2, 0.01).choose(0, 0.0, "")
    assert len(made.scores) == 1


def test_the_expected_dice_is_that_of_the_scans_that_show_a_structure(tmp_path):
    found = Choice(
        tmp_path, "", scores={"a": {"liver": 0.8, "spleen": None}, "b": {"liver": 0.6, "spleen": 0.5}}
    ).expected()
    assert found == {"liver": pytest.approx(0.7), "spleen": 0.5, "mean of all": pytest.approx(0.6)}
