import pytest

from medssl.data.splits import by_group, k_folds, nested_few_label_subsets, require_whole_groups, shuffled_cases

CASES = [f"case_{index}" for index in range(12)]


def test_subsets_are_nested_and_of_the_asked_size():
    subsets = nested_few_label_subsets(CASES, [1, 2, 5, 10], seed=3)
    assert [len(subset) for subset in subsets.values()] == [1, 2, 5, 10]
    assert set(subsets[1]) < set(subsets[2]) < set(subsets[5]) < set(subsets[10])


def test_subsets_do_not_depend_on_the_order_of_the_cases():
    assert nested_few_label_subsets(CASES, [4], 0) == nested_few_label_subsets(CASES[::-1], [4], 0)


def test_a_subset_does_not_depend_on_the_other_counts():
    assert nested_few_label_subsets(CASES, [2], 0)[2] == nested_few_label_subsets(CASES, [9, 2], 0)[2]


def test_another_seed_gives_other_subsets():
    assert len({tuple(nested_few_label_subsets(CASES, [3], seed)[3]) for seed in range(8)}) > 1


@pytest.mark.parametrize("count", [0, 13])
def test_an_impossible_count_is_an_error(count):
    with pytest.raises(ValueError, match="there are 12"):
        nested_few_label_subsets(CASES, [count], seed=0)


def test_a_case_that_comes_twice_is_named():
    with pytest.raises(ValueError, match="case_1"):
        shuffled_cases([*CASES, "case_1"], seed=0)


def test_folds_hold_every_case_once_and_are_even():
    folds = k_folds(CASES, 5, seed=0)
    assert sorted(case for fold in folds for case in fold) == sorted(CASES)
    assert sorted(len(fold) for fold in folds) == [2, 2, 2, 3, 3]


def test_folds_do_not_depend_on_the_order_of_the_cases():
    assert k_folds(CASES, 3, 1) == k_folds(reversed(CASES), 3, 1)


@pytest.mark.parametrize("num_folds", [1, 13])
def test_an_impossible_number_of_folds_is_an_error(num_folds):
    with pytest.raises(ValueError, match="12 cases"):
        k_folds(CASES, num_folds, seed=0)


def members(group, *names):
    return [{"case": name, "group": group} for name in names]


def test_cases_without_a_group_are_their_own():
    assert by_group([*members("g", "a", "b"), {"case": "c"}]) == {"g": members("g", "a", "b"), "c": [{"case": "c"}]}


@pytest.mark.parametrize(("first", "second"), [("training", "test"), ("validation", "test"), ("unlabeled", "test")])
def test_a_group_in_two_sections_is_named(first, second):
    with pytest.raises(ValueError, match=rf"list\.json: group 'g' is in '{first}' and in '{second}'"):
        require_whole_groups({first: members("g", "a"), second: members("g", "b")}, "list.json")


def test_a_patient_may_have_slices_without_labels_beside_those_for_training():
    require_whole_groups({"training": members("g", "a"), "unlabeled": members("g", "b")}, "list.json")
