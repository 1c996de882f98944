import io
from functools import partial

import nibabel as nib
import numpy as np
import pytest
from rich.console import Console

from medssl.data.datalist import read_datalist
from medssl.data.phantom import write_phantom
from medssl.evaluation.metrics import read_rows
from medssl.workflows import demo

FEW_STEPS = {"base_channels": 4, "num_levels": 2, "max_epochs": 1, "steps_per_epoch": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The demonstration with fewer, smaller scans and two steps a training: everything else is as shipped."""
    shown = io.StringIO()
    folder = tmp_path_factory.mktemp("here") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        small = partial(write_phantom, num_cases=5, num_labelled=2, num_validation=1, num_test=1, shape=(40, 32, 20))
        patch.setattr(demo, "write_phantom", small)
        patch.setattr(demo, "PRETRAINING", {**demo.PRETRAINING, **FEW_STEPS, "panel_every": 2})
        patch.setattr(demo, "PROBE", {**demo.PROBE, **FEW_STEPS})
        bundle = demo.run_demo(folder, Console(file=shown, width=120))
    return folder, bundle, shown.getvalue()


@pytest.mark.slow
def test_the_bundle_is_whole(made):
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
def test_both_probes_are_judged_on_the_same_cases_and_classes(made):
    folder, _, shown = made
    judged = [
        [(row["case"], row["class"]) for row in read_rows(folder / run / "rows.jsonl")]
        for run in ("probe", "probe_random")
    ]
    assert judged[0] == judged[1] != []
    assert "pretrained" in shown and "random" in shown and "left kidney" in shown


@pytest.mark.slow
def test_the_picture_and_the_report_are_there(made):
    folder, _, shown = made
    assert (folder / "prediction.png").stat().st_size > 10_000
    assert (folder / "report" / "report.md").is_file()
    assert str(folder / "prediction.png") in shown


def test_a_folder_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="not empty"):
        demo.run_demo(tmp_path, Console(file=io.StringIO()))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
