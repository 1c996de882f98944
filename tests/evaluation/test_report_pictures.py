import numpy as np
import pytest
from PIL import Image

from medssl.evaluation import report_pictures
from medssl.evaluation.case_slices import CaseSlice, slices_folder, to_bytes, write_slices
from medssl.evaluation.report_pictures import picture, write_pictures


def blank(names=(1,)):
    zeros = np.zeros((12, 10), np.int16)
    return CaseSlice(zeros.astype(np.uint8), zeros, zeros, 1.0, {value: f"class {value}" for value in names})


@pytest.fixture
def evaluated(tmp_path, make_row):
    """Give the rows of two folds by file, beside which slices of all cases lie."""
    by_file = {}
    for fold, dice in enumerate([(0.9, 0.5, 0.2), (0.8, 0.6, 0.1)]):
        file = tmp_path / f"fold={fold}" / "rows.jsonl"
        by_file[file] = [make_row(fold=fold, case=case, dice=d) for case, d in zip("xyz", dice, strict=True)]
        write_slices(slices_folder(file), {case: to_bytes(blank()) for case in "xyz"})
    return by_file


def test_best_middle_and_worst_are_those_of_all_folds(evaluated, tmp_path, make_row, monkeypatch):
    file = next(iter(evaluated))
    # Lifts the median of all results, 0.57, towards the 0.6 of the other fold; its own slice was not kept.
    evaluated[file].append(make_row(case="w", dice=0.57))
    drawn = []

    def draw(cases):
        drawn.extend(cases)
        return picture(cases)

    monkeypatch.setattr(report_pictures, "picture", draw)
    (path,) = write_pictures(evaluated, tmp_path / "pictures").values()
    assert drawn == ["best: x, fold 0, Dice 0.90", "middle: y, fold 1, Dice 0.60", "worst: z, fold 1, Dice 0.10"]
    with Image.open(path) as image:
        assert image.format == "PNG"


def test_each_method_is_shown_with_its_fewest_labels(evaluated, tmp_path, make_row):
    file = next(iter(evaluated))
    evaluated[file] += [make_row(labels=5, case="x"), make_row("b/c", labels=5, case="x")]
    pictures = write_pictures(evaluated, tmp_path / "pictures")
    assert list(pictures) == ["a, fine tune, 1 labelled", "b/c, fine tune, 5 labelled"]
    assert all(path.parent == tmp_path / "pictures" for path in pictures.values())


def test_runs_without_slices_have_no_pictures(tmp_path, make_row):
    assert write_pictures({tmp_path / "rows.jsonl": [make_row()]}, tmp_path / "pictures") == {}
    assert not (tmp_path / "pictures").exists()


def test_the_outline_is_drawn_around_the_labels_alone():
    labels = np.zeros((12, 10), np.int16)
    labels[3:8, 2:7] = 1
    scan = np.zeros((12, 10), np.uint8)
    figure = picture({"best": CaseSlice(scan, labels, np.zeros_like(labels), 1.0, {1: "liver", 2: "spleen"})})
    drawn = [[path for item in axes.collections for path in item.get_paths()] for axes in figure.axes]
    assert [len(paths) for paths in drawn] == [0, 1, 0]
    box = drawn[1][0].get_extents()
    assert (box.x0, box.y0, box.x1, box.y1) == (1.5, 2.5, 6.5, 7.5)
