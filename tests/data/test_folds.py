import pytest

from medssl.data.datalist import Datalist
from medssl.data.folds import fold_datalists


def cases(*names):
    return tuple({"case": name, "image": f"/{name}.nii", "label": f"/{name}_label.nii"} for name in names)


@pytest.fixture
def datalist():
    sections = {
        "training": cases("a", "b", "c", "d", "e"),
        "validation": cases("v"),
        "test": cases("t", "u"),
        "unlabeled": ({"case": "x", "image": "/x.nii"},),
    }
    return Datalist("toy", "CT", {0: "background", 1: "liver"}, sections)


def ids(datalist, section):
    return {case["case"] for case in datalist.section(section)}


def test_every_labelled_case_is_tested_once(datalist):
    tested = [ids(fold, "test") for fold in fold_datalists(datalist, 3)]
    assert set.union(*tested) == set("abcdetu")
    assert sum(map(len, tested)) == 7


def test_a_fold_never_trains_on_its_test_cases(datalist):
    for fold in fold_datalists(datalist, 3):
        assert ids(fold, "training") | ids(fold, "test") == set("abcdetu")
        assert not ids(fold, "training") & ids(fold, "test")


def test_validation_and_unlabeled_cases_stay(datalist):
    for fold in fold_datalists(datalist, 3):
        assert (ids(fold, "validation"), ids(fold, "unlabeled")) == ({"v"}, {"x"})


def test_more_folds_than_cases_is_an_error(datalist):
    with pytest.raises(ValueError, match="8 folds cannot be made of 7 cases"):
        fold_datalists(datalist, 8)


def test_the_slices_of_a_case_are_in_one_fold():
    entries = tuple(
        {"case": f"{name}{z}", "group": name, "image": "/i", "label": "/l"} for name in "abcd" for z in "012"
    )
    alone = tuple({"case": f"{name}9", "group": name, "image": "/i"} for name in "abx")
    sections = {"training": entries, "test": (), "unlabeled": alone}
    folds = fold_datalists(Datalist("toy", "MR", {0: "background", 1: "heart"}, sections, spatial_dims=2), 2)
    tested = [{case["group"] for case in fold.section("test")} for fold in folds]
    assert [len(groups) for groups in tested] == [2, 2] and not tested[0] & tested[1]
    for fold, groups in zip(folds, tested, strict=True):
        assert len(fold.section("test")) == len(fold.section("training")) == 6
        # Nothing is learnt from a case that is tested.
        assert not groups & {case["group"] for case in fold.section("training+unlabeled")}
