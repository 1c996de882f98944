import numpy as np
import pytest
from scipy.stats import bootstrap

from medssl.evaluation.statistics import bootstrap_interval, holm


def values_of(table):
    """Give the values of a table of draws x cases, of one class."""
    return {(f, c, "liver"): [value] for f, row in enumerate(table) for c, value in enumerate(row)}


@pytest.mark.parametrize("level", ["cases", "draws"])
def test_with_one_level_that_varies_it_is_the_bootstrap_of_scipy(level):
    sample = np.random.default_rng(5).gamma(2.0, size=12)
    table = np.tile(sample, (4, 1)) if level == "cases" else np.tile(sample[:, None], (1, 4))
    found = bootstrap_interval(values_of(table), resamples=20_000)
    expected = bootstrap(
        (sample,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(6)
    ).confidence_interval
    assert found.mean == pytest.approx(sample.mean())
    assert (found.low, found.high) == (pytest.approx(expected.low, abs=0.02), pytest.approx(expected.high, abs=0.02))


def test_every_draw_meets_the_same_cases_of_a_resample():
    # All spread lies between cases and every draw repeats it, so the standard error is that of the cases alone.
    sample = np.random.default_rng(7).normal(size=40)
    found = bootstrap_interval(values_of(np.tile(sample, (10, 1))))
    error = sample.std() / np.sqrt(len(sample))
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.08)


@pytest.mark.parametrize("draws", [5, 10])
def test_intervals_hold_the_truth_as_often_as_they_say(draws):
    rng = np.random.default_rng(8)
    held = []
    for _ in range(300):
        table = 0.1 + rng.normal(0, 0.1, (draws, 1)) + rng.normal(0, 0.2, (1, 30)) + rng.normal(0, 0.1, (draws, 30))
        found = bootstrap_interval(values_of(table), seed=len(held), resamples=300)
        held.append(found.low <= 0.1 <= found.high)
    # A percentile interval of few draws is somewhat short; 0.82 is out of reach of one that leaves a level out.
    assert 0.82 <= np.mean(held) <= 0.99


def test_cases_of_one_fold_each_are_resampled_too():
    values = {(case % 3, case, "liver"): [float(case)] for case in range(21)}
    found = bootstrap_interval(values)
    assert found.mean == 10.0
    assert (found.draws, found.cases) == (3, 21)
    error = np.std(np.arange(21)) / np.sqrt(21)
    # Wider than that of the cases alone, since the weights of both levels multiply.
    assert 1 <= (found.high - found.low) / (2 * 1.96 * error) <= 1.5


def test_classes_count_once_and_draws_count_once():
    values = {(0, "x", "liver"): [0.2, 0.4], (0, "y", "spleen"): [0.9], (1, "x", "liver"): [0.5]}
    assert bootstrap_interval(values).mean == pytest.approx(((0.3 + 0.9) / 2 + 0.5) / 2)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1)])
def test_one_draw_or_one_case_has_a_mean_and_no_interval(shape):
    found = bootstrap_interval(values_of(np.full(shape, 0.5)))
    assert (found.mean, found.low, found.high) == (0.5, None, None)
    assert (found.draws, found.cases) == shape


def test_no_values_have_no_mean():
    assert bootstrap_interval({}).mean is None


def test_the_seed_fixes_the_interval():
    values = values_of(np.random.default_rng(9).random((3, 6)))
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)


@pytest.mark.parametrize(
    ("raw", "corrected"),
    [
        # By hand: 0.01 x 4, 0.02 x 3, 0.03 x 2 = 0.06, 0.04 x 1 raised to 0.06.
        ([0.01, 0.04, 0.03, 0.02], [0.04, 0.06, 0.06, 0.06]),
        # By hand: 0.001 x 3, 0.4 x 2, 0.9 x 1.
        ([0.9, 0.001, 0.4], [0.9, 0.003, 0.8]),
        ([0.6, 0.7], [1.0, 1.0]),
        ([0.03], [0.03]),
        ([], []),
    ],
)
def test_p_values_are_corrected_step_by_step(raw, corrected):
    assert holm(raw) == pytest.approx(corrected)
