import numpy as np
import pytest
from scipy.stats import wilcoxon

from medssl.evaluation.summary import AVERAGE, cell, check_rows, compare, compare_all

A, B = ("a", "fine_tune"), ("b", "fine_tune")


def test_cases_are_averaged_within_a_fold_first(make_row):
    rows = [make_row(fold=0, case="x", dice=0.0), make_row(fold=0, case="y", dice=0.4), make_row(fold=1, dice=0.6)]
    found = cell(rows, "dice", "liver")
    assert found.mean == pytest.approx(0.4)
    assert found.sd == pytest.approx(np.std([0.2, 0.6], ddof=1))
    assert (found.folds, found.values) == (2, 3)


def test_one_fold_has_no_standard_deviation(make_row):
    assert cell([make_row(case="x"), make_row(case="y")], "dice", "liver").sd is None


def test_the_average_counts_every_class_once(make_row):
    rows = [make_row(case=case, name="liver", dice=0.9) for case in "xyz"] + [make_row(name="spleen", dice=0.5)]
    assert cell(rows, "dice", AVERAGE).mean == pytest.approx(0.7)


def test_undefined_results_are_left_out_and_counted(make_row):
    rows = [make_row(case="x", dice=0.8), make_row(case="y", dice=None)]
    found = cell(rows, "dice", "liver")
    assert (found.mean, found.values, found.undefined, found.missed) == (0.8, 1, 1, 0)


def test_a_missed_class_lowers_dice_and_is_counted_beside_the_distance(make_row):
    rows = [make_row(case="x", dice=0.8), make_row(case="y", dice=0.0, hd95_mm=None, predicted_voxels=0)]
    assert cell(rows, "dice", "liver").mean == pytest.approx(0.4)
    found = cell(rows, "hd95_mm", "liver")
    assert (found.mean, found.undefined, found.missed) == (pytest.approx(2.0), 0, 1)


def test_without_any_value_there_is_no_mean(make_row):
    assert cell([make_row(dice=None)], "dice", "liver").mean is None
    assert cell([], "dice", "liver").mean is None


def test_a_result_that_is_there_twice_is_an_error(make_row):
    with pytest.raises(ValueError, match="twice"):
        check_rows([make_row(), make_row(dice=0.6)])


def test_different_references_of_a_case_are_an_error(make_row):
    with pytest.raises(ValueError, match="Case x, class liver"):
        check_rows([make_row("a"), make_row("b", reference_voxels=101)])


def test_methods_with_the_same_cases_raise_no_warning(make_row):
    assert check_rows([make_row(method, case=case) for case in "xy" for method in "ab"]) == []


def test_a_method_that_lacks_a_case_is_named(make_row):
    (sentence,) = check_rows([make_row("a", case="x"), make_row("a", case="y"), make_row("b", case="x")])
    assert "b (fine_tune, 1 labels) lacks 1 of 2" in sentence
    assert "case y" in sentence


def test_the_test_is_paired_by_case(make_row):
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 9))
    ours = [make_row("a", case=str(i), dice=dice) for i, dice in enumerate(first)]
    theirs = [make_row("b", case=str(i), dice=dice) for i, dice in reversed(list(enumerate(second)))]
    found = compare(1, A, B, ours, theirs)
    assert found.p == pytest.approx(wilcoxon(first, second).pvalue)
    assert found.difference == pytest.approx((first - second).mean())
    assert (found.pairs, found.cases) == (9, 9)


def test_repeated_folds_of_a_case_do_not_add_to_the_evidence(make_row):
    dice = np.linspace(0.5, 0.8, 7)
    once, folds = (
        [[make_row(m, fold=f, case=str(i), dice=d + g) for f in range(n) for i, d in enumerate(dice)] for m, g in gains]
        for n, gains in ((1, (("a", 0.1), ("b", 0))), (5, (("a", 0.1), ("b", 0))))
    )
    single, repeated = compare(1, A, B, *once), compare(1, A, B, *folds)
    assert repeated.p == pytest.approx(single.p)
    assert (repeated.pairs, repeated.cases) == (35, 7)


def test_the_slices_of_a_scan_count_as_one_case(make_row):
    slices = [(f"{scan}_{z}", scan) for scan in "abcdefg" for z in range(5)]
    ours, theirs = (
        [{**make_row(m, case=case, dice=0.5 + gain), "group": group} for case, group in slices]
        for m, gain in (("a", 0.1), ("b", 0))
    )
    found = compare(1, A, B, ours, theirs)
    assert (found.pairs, found.cases) == (35, 7)


def test_only_cases_of_both_are_compared(make_row):
    found = compare(1, A, B, [make_row("a", case=case) for case in "xy"], [make_row("b", case="y", dice=0.3)])
    assert (found.difference, found.pairs) == (pytest.approx(0.2), 1)


def test_without_pairs_there_is_no_p_value(make_row):
    found = compare(1, A, B, [make_row(case="x")], [make_row(case="y")])
    assert (found.p, found.difference, found.pairs) == (None, None, 0)


def test_equal_results_give_p_one(make_row):
    assert compare(1, A, B, [make_row("a")], [make_row("b")]).p == 1.0


def test_methods_meet_the_best_of_their_setting_and_training_from_scratch(make_row):
    rows = [make_row("a", dice=0.5), make_row("b", dice=0.7), make_row("c", "from_scratch", dice=0.9)]
    met = [(found.competitor, found.reference) for found in compare_all(rows)]
    scratch = ("c", "from_scratch")
    assert met == [(A, B), (A, scratch), (B, scratch)]
