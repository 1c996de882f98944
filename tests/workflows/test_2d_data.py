"""The whole line on 2D data: slices of volumes, and pictures with colour masks."""

import json

import pytest

from medssl.evaluation.metrics import read_rows
from medssl.evaluation.report import report
from medssl.packaging.checks.rehearsal import rehearse
from medssl.packaging.pack import pack
from medssl.workflows.checking import check_report
from medssl.workflows.preparing import prepare
from medssl.workflows.training import evaluate, pretrain, train_segmentation
from tests.slices import write_pictures
from tests.tiny import NETWORK, PRETRAINING, SEGMENTATION

SIZES = {"patch_size": [16, 16], "shuffle_blocks": 20}


@pytest.fixture(scope="module", params=["slices", "pictures"])
def line(request, slice_list, tmp_path_factory):
    """The data list, the data recipes and the settings of a line, and its folder."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "slices":
        return slice_list, ["mr_slices", "phantom_2d"], {**SIZES, "spacing": [6.0, 6.0]}, folder
    return (
        write_pictures(slice_list, folder, colours=True),
        ["image_2d", "image_rgb_2d"],
        {**SIZES, "spacing": [1, 1]},
        folder,
    )


@pytest.fixture(scope="module")
def backbone(line):
    datalist, data, sizes, folder = line
    pretrain("vox2vec", datalist, data, folder / "pretrain", overrides={**PRETRAINING, **sizes})
    return folder / "pretrain"


@pytest.fixture(scope="module")
def probe(line, backbone):
    datalist, data, sizes, folder = line
    run = folder / "probe"
    train_segmentation(
        "linear_probe", datalist, data, run, backbone=backbone, num_labels=1, overrides={**SEGMENTATION, **sizes}
    )
    return run


def test_the_list_passes_the_check(line):
    datalist, data, _, _ = line
    lines, num_errors = check_report(datalist, data)
    assert num_errors == 0
    assert lines[-1].startswith("80 cases, 0 errors")


def test_a_store_serves_pretraining(line, tmp_path):
    datalist, data, sizes, _ = line
    prepared = prepare(datalist, data, tmp_path / "store", num_processes=1, overrides={"spacing": sizes["spacing"]})
    assert (len(prepared.made), prepared.failed) == (48, {})
    pretrain("kats", datalist, data, tmp_path / "run", overrides={**PRETRAINING, **sizes}, store=tmp_path / "store")


def test_a_probe_on_one_case_is_evaluated_on_every_slice(line, probe):
    rows = read_rows(evaluate(probe))
    classes = json.loads(line[0].read_text(encoding="utf-8"))["labels"].values()
    assert len(rows) == 16 * (len(classes) - 1)
    assert {row["group"] for row in rows} == {"phantom_mr_003"}
    assert any(row["reference_voxels"] > 50 for row in rows)
    assert report([probe / "rows.jsonl"], probe.parent / "report").exists()


def test_fine_tuning_and_the_cached_probe_take_2d_data(line, backbone, tmp_path):
    datalist, data, sizes, _ = line
    settings = {**SEGMENTATION, **sizes}
    train_segmentation(
        "fine_tune", datalist, data, tmp_path / "tuned", backbone=backbone, num_labels=1, overrides=settings
    )
    settings["features_dir"] = str(tmp_path / "features")
    cached = tmp_path / "cached"
    train_segmentation(
        "linear_probe",
        datalist,
        data,
        cached,
        backbone=backbone,
        num_labels=1,
        layers=["cached_probe"],
        overrides=settings,
    )
    assert read_rows(evaluate(cached, layers=["fast_evaluate"]))


def test_its_bundle_says_what_it_is_for(line, probe):
    bundle = pack(probe, "toy")
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    image = metadata["network_data_format"]["inputs"]["image"]
    is_slices = line[1][0] == "mr_slices"
    assert metadata["data_type"] == "2D NIfTI, PNG, TIFF or BMP"
    assert (image["modality"], image["num_channels"]) == (("MR", 1) if is_slices else ("image", 3))
    assert (image["format"], len(image["spatial_shape"])) == ("magnitude" if is_slices else "RGB", 2)
    card = (bundle / "docs" / "README.md").read_text(encoding="utf-8")
    assert ("MR slices" if is_slices else "images like those") in card
    assert "monailabel" not in card


@pytest.mark.slow
def test_every_monai_command_works_on_its_bundle(probe, tmp_path):
    assert rehearse(pack(probe, "toy", tmp_path)) == []


def test_images_of_other_channels_than_the_network_takes_are_refused(slice_list, tmp_path):
    coloured = write_pictures(slice_list, tmp_path / "data", colours=True)
    settings = {**PRETRAINING, **SIZES, "spacing": [1, 1]}
    with pytest.raises(ValueError, match=r"z00\.png cannot be used: it has 3 channels.* and in_channels is 1"):
        pretrain("vox2vec", coloured, ["image_2d"], tmp_path / "run", overrides=settings)


def test_a_window_larger_than_the_image_is_padded(slice_list, tmp_path):
    sizes = {**SIZES, "patch_size": [64, 64], "spacing": [6.0, 6.0]}
    run = tmp_path / "run"
    train_segmentation(
        "from_scratch",
        slice_list,
        ["mr_slices", "phantom_2d"],
        run,
        num_labels=1,
        overrides={**SEGMENTATION, **NETWORK, **sizes},
    )
    assert (run / "model.pt").exists()
