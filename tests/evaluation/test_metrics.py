import json

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from medssl.evaluation.metrics import case_rows, read_rows, write_rows

NAMES = {0: "background", 1: "liver", 2: "spleen"}
IDENTITY = {"method": "simclr", "setting": "fine_tune", "labels": 1, "fold": 0, "case": "a"}


def box(shape, *slices, value=1):
    values = np.zeros(shape, dtype=np.int16)
    values[slices] = value
    return values


def surface_points(mask, spacing):
    """Voxels of a mask with a face neighbour outside it, in mm."""
    padded = np.pad(mask, 1)
    inner = np.ones_like(padded)
    for axis in range(mask.ndim):
        for shift in (-1, 1):
            inner &= np.roll(padded, shift, axis)
    return (np.argwhere(padded & ~inner) - 1) * np.asarray(spacing)


def surface_distances(a, b, spacing):
    table = cdist(surface_points(a, spacing), surface_points(b, spacing))
    return table.min(axis=1), table.min(axis=0)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.2, 3.0), (2.0, 0.5)])
def test_metrics_equal_their_definitions(spacing):
    rng = np.random.default_rng(3)
    shape = (9, 8, 7)[: len(spacing)]
    label, prediction = (rng.random((2, *shape)) < 0.4).astype(int)
    row = case_rows(prediction, label, spacing, NAMES, tolerance_mm=1.0)[0]
    a, b = prediction.astype(bool), label.astype(bool)
    there, back = surface_distances(a, b, spacing)
    assert row["dice"] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()), abs=1e-6)
    assert row["iou"] == pytest.approx((a & b).sum() / (a | b).sum(), abs=1e-6)
    assert row["hd95_mm"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-5)
    near = (there <= 1).sum() + (back <= 1).sum()
    assert row["surface_dice"] == pytest.approx(near / (len(there) + len(back)), abs=1e-6)


def test_distances_are_in_mm_along_the_right_axis():
    label, prediction = box((9, 5, 5), 2, 2, 2), box((9, 5, 5), 5, 2, 2)
    assert case_rows(prediction, label, (2.0, 1.0, 1.0), NAMES)[0]["hd95_mm"] == pytest.approx(6.0)


def test_surface_dice_counts_what_lies_within_the_tolerance():
    label, prediction = box((9, 5), 2, 2), box((9, 5), 3, 2)
    rows = [case_rows(prediction, label, (1.5, 1.0), NAMES, tolerance_mm=mm)[0] for mm in (1.0, 1.5)]
    assert [row["surface_dice"] for row in rows] == [0.0, 1.0]


def test_cropping_changes_nothing():
    small = box((6, 6, 6), slice(1, 4), slice(1, 5), slice(2, 4)), box((6, 6, 6), slice(2, 5), slice(2, 5), slice(1, 4))
    large = [np.pad(values, 10) for values in small]
    assert case_rows(*small, (1, 2, 3), NAMES) == case_rows(*large, (1, 2, 3), NAMES)


def test_a_surface_on_the_border_of_the_scan_counts():
    label = box((4, 4, 4), slice(None), slice(None), slice(0, 2))
    row = case_rows(label, label, (1, 1, 1), NAMES)[0]
    assert (row["dice"], row["hd95_mm"], row["surface_dice"]) == (1.0, 0.0, 1.0)


def test_a_class_that_is_absent_in_the_reference_is_undefined():
    row = case_rows(box((4, 4), 1, 1, value=2), box((4, 4), 1, 1), (1, 1), NAMES)[1]
    assert (row["dice"], row["iou"], row["hd95_mm"], row["surface_dice"]) == (None, None, None, None)
    assert (row["reference_voxels"], row["predicted_voxels"]) == (0, 1)


def test_a_missed_class_has_dice_zero_and_no_distance():
    row = case_rows(box((4, 4), 1, 1, value=2), box((4, 4), 1, 1), (1, 1), NAMES)[0]
    assert (row["dice"], row["iou"], row["hd95_mm"], row["surface_dice"]) == (0.0, 0.0, None, 0.0)


def test_rows_carry_the_identity_and_every_class_but_the_background():
    rows = case_rows(box((4, 4), 1), box((4, 4), 1), (1, 1), NAMES, **IDENTITY)
    assert [row["class"] for row in rows] == ["liver", "spleen"]
    assert all(row.items() >= IDENTITY.items() for row in rows)


def test_maps_may_be_tensors_with_a_channel():
    values = box((4, 4, 4), 1)
    tensor = torch.from_numpy(values)[None]
    assert case_rows(tensor, values, (1, 1, 1), NAMES) == case_rows(values, values, (1, 1, 1), NAMES)


@pytest.mark.parametrize(
    ("prediction", "spacing", "message"),
    [
        (np.zeros((4, 5), int), (1, 1), "differ in shape"),
        (np.zeros((4, 4)), (1, 1), "integer"),
        (np.full((4, 4), 7), (1, 1), r"prediction holds the values \[7\]"),
        (np.zeros((4, 4), int), (1, 1, 1), "spacing needs 2"),
    ],
)
def test_what_does_not_fit_is_an_error(prediction, spacing, message):
    with pytest.raises(ValueError, match=message):
        case_rows(prediction, np.zeros((4, 4), int), spacing, NAMES)


def rows_of(case):
    return case_rows(box((4, 4), 1), box((4, 4), 1), (1, 1), NAMES, **{**IDENTITY, "case": case})


def test_rows_come_back_in_order_and_replace_former_ones(tmp_path):
    path = tmp_path / "run" / "rows.jsonl"
    write_rows(path, rows_of("c"))
    write_rows(path, rows_of("a") + rows_of("b"))
    assert read_rows(path) == rows_of("a") + rows_of("b")


def test_rows_that_are_not_json_leave_the_file_as_it_was(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_rows(path, rows_of("a"))
    with pytest.raises(ValueError, match="JSON"):
        write_rows(path, [rows_of("b")[0], {**rows_of("b")[1], "dice": float("nan")}])
    assert read_rows(path) == rows_of("a")
    assert list(tmp_path.iterdir()) == [path]


def test_older_rows_get_the_iou_that_their_dice_stands_for(tmp_path):
    path = tmp_path / "rows.jsonl"
    label, prediction = box((9, 9), slice(1, 7), slice(2, 5)), box((9, 9), slice(3, 8), slice(2, 4))
    rows = case_rows(prediction, label, (1, 1), NAMES, **IDENTITY)
    older = [{name: value for name, value in row.items() if name != "iou"} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in older), encoding="utf-8")
    assert [row["iou"] for row in read_rows(path)] == [pytest.approx(rows[0]["iou"], abs=1e-6), None]


@pytest.mark.parametrize("broken", ['{"method": "sim', "[]", "{}"])
def test_a_broken_line_is_named(tmp_path, broken):
    path = tmp_path / "rows.jsonl"
    write_rows(path, rows_of("a"))
    path.write_text(path.read_text(encoding="utf-8") + broken + "\n")
    with pytest.raises(ValueError, match=r"rows\.jsonl, line 3"):
        read_rows(path)


def test_a_cut_line_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(rows_of("a")[0]))
    with pytest.raises(ValueError, match="line 1: the last line is cut off"):
        read_rows(path)


def test_volumes_are_in_ml_and_of_volumes_alone():
    label, prediction = box((9, 5, 5), slice(0, 4), 2, 2), box((9, 5, 5), 5, 2, 2)
    row = case_rows(prediction, label, (2.0, 5.0, 10.0), NAMES, image_mean=0.3)[0]
    assert (row["expected_ml"], row["predicted_ml"], row["image_mean"]) == (pytest.approx(0.4), pytest.approx(0.1), 0.3)
    flat = case_rows(prediction[:, 2], label[:, 2], (2.0, 5.0), NAMES)[0]
    assert (flat["expected_ml"], flat["predicted_ml"]) == (None, None)
