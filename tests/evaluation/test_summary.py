import numpy as np
import pytest

from medssl.evaluation.summary import AVERAGE, cell, check_rows, summarize_cases


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


def test_single_cases_show_what_the_mean_hides(make_row):
    dice = {"u": 0.9, "v": 0.8, "w": 0.29, "x": 0.0}
    found = summarize_cases([make_row(case=case, dice=value, fold=3) for case, value in dice.items()])
    assert found.median == pytest.approx((0.8 + 0.29) / 2)
    assert (found.results, found.failures) == (4, 2)
    assert (found.lowest, found.lowest_case, found.lowest_fold) == (0.0, "x", 3)


def test_a_case_is_judged_by_the_mean_of_its_classes(make_row):
    found = summarize_cases([make_row(name="liver", dice=0.1), make_row(name="spleen", dice=0.6)])
    assert (found.failures, found.lowest) == (0, pytest.approx(0.35))


def test_dice_is_correlated_with_the_image_mean_over_cases(make_row):
    rng = np.random.default_rng(1)
    means, dice = rng.random((2, 8))
    rows = [
        make_row(case=str(i), fold=fold, dice=d + shift, image_mean=m)
        for i, (m, d) in enumerate(zip(means, dice, strict=True))
        for fold, shift in enumerate((-0.1, 0.1))
    ]
    centred = means - means.mean(), dice - dice.mean()
    expected = (centred[0] * centred[1]).sum() / np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
    assert summarize_cases(rows).image_correlation == pytest.approx(expected)


@pytest.mark.parametrize("means", [(None, None, None), (0.4, 0.4, 0.4), (0.1, 0.2)])
def test_without_different_image_means_there_is_no_correlation(means, make_row):
    rows = [make_row(case=str(i), dice=0.1 * i, image_mean=mean) for i, mean in enumerate(means)]
    assert summarize_cases(rows).image_correlation is None


def test_a_method_without_any_dice_has_no_summary(make_row):
    found = summarize_cases([make_row(dice=None)])
    assert (found.results, found.median, found.lowest_case) == (0, None, None)
