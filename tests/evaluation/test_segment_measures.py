import numpy as np

from medssl.evaluation.segment_measures import Measure, flags, measure


def test_parts_sides_and_volume_are_those_of_the_map():
    label = np.zeros((20, 20, 20), int)
    label[2:8, 2:8, 2:8] = 1
    label[12:18, 12:18, 14:20] = 1
    label[10, 10, 10] = 1
    label[0:3, 17:20, 5] = 3
    found = measure(label, 0.001, [1, 2, 3])
    assert found[1] == Measure((2 * 6**3 + 1) * 0.001, 2, ("upper",))
    assert 2 not in found
    assert found[3].sides == ("left", "front")


USUAL = [{1: Measure(100.0, 1, ("upper",))}, {1: Measure(110.0, 2, ())}]


def test_what_is_like_the_labelled_scans_is_not_flagged():
    assert flags(1, Measure(90.0, 2, ("upper",)), USUAL, []) == []


def test_what_is_unlike_them_is_named():
    assert flags(1, Measure(31.5, 3, ("lower", "upper")), USUAL, []) == [
        "touches the lower edge of the scan",
        "3 separate parts",
        "volume is 0.3 × the median",
    ]


def test_a_structure_that_all_labelled_scans_show_is_missed():
    assert flags(1, None, USUAL, []) == ["not found"]
    assert flags(2, None, [*USUAL, {2: Measure(1.0, 1, ())}], []) == []


def test_other_segmented_scans_count_for_the_volume():
    others = [{1: Measure(20.0, 1, ())}] * 5
    assert flags(1, Measure(25.0, 1, ()), USUAL, others) == []
