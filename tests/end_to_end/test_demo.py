import io
import json

import nibabel as nib
import numpy as np
import pytest
from rich.console import Console

from medssl.data.datalist import read_datalist
from medssl.evaluation.metrics import read_rows
from medssl.files import file_sha256
from medssl.packaging.shipped_weights import bundle_folder
from medssl.workflows import demo
from tests.end_to_end.small_demo import run_small_demo


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("here") / "demo"
    return folder, *run_small_demo(folder)


@pytest.mark.slow
def test_the_bundle_is_complete(made):
    _, bundle, _ = made
    for name in ("configs/inference.json", "configs/metadata.json", "models/model.pt", "models/model.ts", "LICENSE"):
        assert (bundle / name).is_file(), name


@pytest.mark.slow
def test_the_held_out_scan_is_segmented_on_its_own_grid(made):
    folder, _, _ = made
    scan = nib.load(read_datalist(folder / "data" / "datalist.json").section("test")[0]["image"])
    (file,) = (folder / "prediction").glob("*.nii.gz")
    prediction = nib.load(file)
    assert prediction.shape == scan.shape
    np.testing.assert_allclose(prediction.affine, scan.affine, atol=1e-4)
    assert len(list((folder / "prediction").glob("*.seg.nrrd"))) == 1


@pytest.mark.slow
def test_all_networks_are_evaluated_on_the_same_cases_and_classes(made):
    folder, _, shown = made
    names = ("pretrained", "random", "scratch")
    judged = [[(row["case"], row["class"]) for row in read_rows(folder / run / "rows.jsonl")] for run in names]
    assert judged[0] == judged[1] == judged[2] != []
    assert all(name in shown for name in (*names, "left kidney"))


@pytest.mark.slow
def test_no_phantom_is_among_the_scans_of_the_weights(made):
    folder, _, _ = made
    scans = json.loads((bundle_folder(demo.WEIGHTS) / "docs" / "scans.json").read_text(encoding="utf-8"))
    known = {scan["sha256_file"] for part in scans.values() for scan in part}
    files = list((folder / "data").rglob("*.nii.gz"))
    assert files and not known & {file_sha256(file) for file in files}


@pytest.mark.slow
def test_the_picture_and_the_report_are_written(made):
    folder, _, shown = made
    assert (folder / "prediction.png").stat().st_size > 10_000
    assert (folder / "report" / "report.md").is_file()
    assert str(folder / "prediction.png") in shown


def test_a_folder_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="not empty"):
        demo.run_demo(tmp_path, Console(file=io.StringIO()))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
