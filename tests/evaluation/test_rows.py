from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medssl.evaluation.case_slices import read_slice
from medssl.evaluation.metrics import read_rows
from medssl.evaluation.ranks import merge_rank_rows, rank_rows_path
from medssl.evaluation.rows import WriteRows
from medssl.evaluation.summary import case_means

AFFINE = np.diag([-2.0, -2.0, 5.0, 1.0])
IDENTITY = {"method": "kats", "setting": "linear_probe", "labels": 1, "fold": 0}


def evaluate(folder, rows_path, shifts):
    """Write the rows of cases whose predictions are off by so many voxels, as an evaluator does; each is brighter."""
    handler = WriteRows(str(rows_path), {"0": "background", "1": "liver"}, IDENTITY)
    label = np.zeros((16, 16, 4), np.uint8)
    label[2:10, 4:12, 1:3] = 1
    for i, (case, shift) in enumerate(shifts.items()):
        nib.save(nib.Nifti1Image(label, AFFINE), folder / f"{case}.nii.gz")
        image = MetaTensor(torch.full((1, 8, 8, 4), 0.25 * i), affine=torch.tensor(AFFINE * [2, 2, 1, 1]))
        found = MetaTensor(torch.from_numpy(np.roll(label, shift, 0))[None].float(), affine=torch.tensor(AFFINE))
        sample = {"case": case, "image": image, "label": str(folder / f"{case}.nii.gz")}
        handler(SimpleNamespace(state=SimpleNamespace(batch=[sample], output=[{"pred": found}])))
    handler._write(None)


def test_rows_hold_brightness_and_volumes(tmp_path):
    evaluate(tmp_path, tmp_path / "rows.jsonl", {"a": 0, "b": 2})
    rows = read_rows(tmp_path / "rows.jsonl")
    assert [row["image_mean"] for row in rows] == [0.0, 0.25]
    # 8 x 8 x 2 voxels of 2 x 2 x 5 mm.
    assert [row["expected_ml"] for row in rows] == [pytest.approx(2.56)] * 2
    assert [row["dice"] for row in rows] == [1.0, pytest.approx(0.75)]


def test_slices_of_the_best_middle_and_worst_case_lie_beside_the_rows(tmp_path):
    evaluate(tmp_path, tmp_path / "rows.jsonl", {"a": 1, "b": 0, "c": 4, "d": 3, "e": 2})
    assert sorted(path.stem for path in (tmp_path / "rows.slices").iterdir()) == ["b", "c", "e"]
    worst = read_slice(tmp_path / "rows.slices" / "c.npz")
    assert (worst.reference == 1).sum() == (worst.prediction == 1).sum() == 64
    assert ((worst.reference == 1) & (worst.prediction == 1)).sum() == 32


def test_slices_of_ranks_end_up_beside_the_rows_of_all(tmp_path):
    for rank, case in enumerate("ab"):
        evaluate(tmp_path, rank_rows_path(str(tmp_path), rank), {case: rank})
    merge_rank_rows(tmp_path, ["a", "b"])
    assert sorted(path.stem for path in (tmp_path / "rows.slices").iterdir()) == ["a", "b"]
    assert len(case_means(read_rows(tmp_path / "rows.jsonl"))) == 2
    assert not (tmp_path / ".rows").exists()
