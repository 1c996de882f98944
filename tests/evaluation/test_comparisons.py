import numpy as np
import pytest
from scipy.stats import wilcoxon

from medssl.evaluation.comparisons import compare, compare_all, mean_interval
from medssl.evaluation.summary import AVERAGE, cell

A, B = ("a", "fine_tune"), ("b", "fine_tune")


def test_the_test_is_paired_by_case(make_row):
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 9))
    ours = [make_row("a", case=str(i), dice=dice) for i, dice in enumerate(first)]
    theirs = [make_row("b", case=str(i), dice=dice) for i, dice in reversed(list(enumerate(second)))]
    found = compare(1, A, B, ours, theirs)
    assert found.p == pytest.approx(wilcoxon(first, second).pvalue)
    assert found.difference.mean == pytest.approx((first - second).mean())
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
    assert (found.difference.mean, found.pairs) == (pytest.approx(0.2), 1)


def test_without_pairs_there_is_no_p_value(make_row):
    found = compare(1, A, B, [make_row(case="x")], [make_row(case="y")])
    assert (found.p, found.difference.mean, found.pairs) == (None, None, 0)


def test_equal_results_give_p_one(make_row):
    assert compare(1, A, B, [make_row("a")], [make_row("b")]).p == 1.0


def test_methods_meet_the_best_of_their_setting_and_training_from_scratch(make_row):
    rows = [make_row("a", dice=0.5), make_row("b", dice=0.7), make_row("c", "from_scratch", dice=0.9)]
    met = [(found.competitor, found.reference) for found in compare_all(rows)]
    scratch = ("c", "from_scratch")
    assert met == [(A, B), (A, scratch), (B, scratch)]


def test_every_p_value_is_corrected_for_all_tests_of_the_report(make_row):
    gains = {"a": 0.0, "b": 0.01, "c": 0.02}
    rows = [
        make_row(method, labels=labels, case=str(case), dice=0.5 + gain * (1 + case) * labels)
        for method, gain in gains.items()
        for labels in (1, 2)
        for case in range(8)
    ]
    found = compare_all(rows)
    assert len(found) == 4
    # Eight differences of one sign: 2 / 2**8 each.
    assert [comparison.p for comparison in found] == [pytest.approx(2 / 2**8)] * 4
    assert [comparison.corrected_p for comparison in found] == [pytest.approx(4 * 2 / 2**8)] * 4


def test_what_cannot_be_tested_does_not_count_as_a_test(make_row):
    rows = [make_row(m, case=str(i), dice=d + 0.01 * i) for m, d in (("a", 0.5), ("b", 0.6)) for i in range(8)]
    tested, untested = compare_all([*rows, make_row("c", case="elsewhere", dice=0.1)])
    assert (tested.corrected_p, untested.corrected_p) == (tested.p, None)


def test_a_constant_gain_has_an_interval_without_width(make_row):
    ours, theirs = (
        [make_row(m, fold=f, case=str(i), dice=0.1 * i + 0.03 * f + gain) for f in range(3) for i in range(5)]
        for m, gain in (("a", 0.2), ("b", 0.0))
    )
    gain = compare(1, A, B, ours, theirs).difference
    assert (gain.mean, gain.low, gain.high) == tuple([pytest.approx(0.2)] * 3)
    assert (gain.draws, gain.cases) == (3, 5)


def test_the_difference_is_that_of_the_tables(make_row):
    rng = np.random.default_rng(2)
    # The spleen is absent in some cases, so case means and class means differ.
    places = [(f, c, n) for f in range(3) for c in "uvwxyz" for n in ("liver", "spleen") if (n, c) != ("spleen", "w")]
    rows = {m: [make_row(m, fold=f, case=c, name=n, dice=rng.random()) for f, c, n in places] for m in "ab"}
    means = [cell(rows[m], "dice", AVERAGE).mean for m in "ab"]
    assert compare(1, A, B, rows["a"], rows["b"]).difference.mean == pytest.approx(means[0] - means[1])
    assert mean_interval(rows["a"]).mean == pytest.approx(means[0])
