"""Scans of two channels in an unmodified MONAI Label: a packed bundle and the label app, as its plugin uses them."""

import json
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from medssl.networks.fpn import FPN
from medssl.networks.heads import LinearHead
from medssl.networks.segmentation import SegmentationNetwork
from medssl.packaging.pack import pack
from medssl.packaging.sources import source_bundles
from tests.bundles.test_inference import dice, oblique_affine, scan_and_label
from tests.packaging.toy_run import pretraining_run, segment_bright_voxels, segmentation_run
from tests.slicer.serving import asked, serving, serving_bundles

pytestmark = pytest.mark.slicer
CLIENT = Path(__file__).with_name("channel_client.py")
NETWORK = {"in_channels": 2, "base_channels": 4, "num_levels": 2}
WRONG = "it holds one channel where 2 are wanted"


def of_two_channels(run: Path) -> Path:
    """Turn a toy run into one of two channels."""
    config = json.loads((run / "config.json").read_text())
    config.update({"in_channels": 2, "channel_names": ["T1", "T2"]})
    (run / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    backbone = FPN(**NETWORK)
    if (run / "backbone.pt").exists():
        torch.save(backbone.state_dict(), run / "backbone.pt")
    else:
        network = SegmentationNetwork(backbone, LinearHead(3, backbone.level_channels, 2))
        segment_bright_voxels(network)
        # What it segments is bright in the second channel.
        with torch.no_grad():
            network.backbone.stem.weight[0] = network.backbone.stem.weight[0].flip(0)
        torch.save(network.state_dict(), run / "model.pt")
    return run


def write_studies(folder: Path) -> Path:
    """Write a scan whose second channel shows the organs: as 4D NIfTI, as NRRD of two components, and alone."""
    folder.mkdir()
    volume, _ = scan_and_label()
    both = np.stack([volume[::-1, ::-1], volume], axis=-1)
    nib.save(nib.Nifti1Image(both, oblique_affine()), folder / "both.nii.gz")
    nib.save(nib.Nifti1Image(volume, oblique_affine()), folder / "alone.nii.gz")
    channels = []
    for number in range(2):
        nib.save(nib.Nifti1Image(both[..., number], oblique_affine()), folder / "channel.nii.gz")
        channels.append(sitk.ReadImage(str(folder / "channel.nii.gz")))
    (folder / "channel.nii.gz").unlink()
    sitk.WriteImage(sitk.Compose(channels), str(folder / "components.nrrd"))
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("channels")
    write_studies(folder / "studies")
    nib.save(nib.Nifti1Image(scan_and_label()[1], oblique_affine()), folder / "label.nii.gz")
    return folder


@pytest.fixture(scope="module")
def segmented(environment, work):
    """The answers of the server to a bundle that segments."""
    bundle = pack(of_two_channels(segmentation_run(work / "run")), "toy", work / "bundles", zip_bundle=False)
    script = [["infer", bundle.name, name, {}] for name in ("both", "components", "alone")]
    script.append(["session", bundle.name, str(work / "studies" / "both.nii.gz"), {}])
    (work / "segmented").mkdir()
    with serving_bundles(environment, [bundle], work / "studies", work) as url:
        return asked(environment, CLIENT, url, work / "segmented", json.dumps(script))


@pytest.mark.parametrize("answer", [0, 1, 3], ids=["4D NIfTI", "components", "uploaded"])
def test_a_bundle_segments_a_scan_with_both_channels_in_one_file(answer, segmented, work):
    assert "error" not in segmented[answer], segmented[answer]
    found, header = nrrd.read(str(work / "segmented" / f"{answer}.nrrd"))
    _, label = scan_and_label()
    assert found.dtype == np.uint8 and found.shape == label.shape
    assert dice(found > 0, label > 0) > 0.9
    to_ras = np.diag([-1, -1, 1]) @ header["space directions"].T
    np.testing.assert_allclose(to_ras, oblique_affine()[:3, :3], atol=1e-4)


def test_a_bundle_refuses_a_scan_that_lacks_a_channel_and_the_log_says_why(segmented, work):
    assert "error" in segmented[2]
    log = (work / "server.log").read_text(encoding="utf-8")
    assert f"alone.nii.gz cannot be used: {WRONG}" in log


@pytest.fixture(scope="module")
def labelled(environment, work):
    """The answers of the label app."""
    bundle = pack(of_two_channels(pretraining_run(work / "pretrained")), "toy", work / "apps", zip_bundle=False)
    (work / "labelled").mkdir()
    click = {"foreground": [[int(i) for i in np.argwhere(scan_and_label()[1] == 2).mean(axis=0).round()]]}
    script = [["save", "both", str(work / "label.nii.gz"), ["liver", "kidney"]], ["train", "segmentation"]]
    script += [["infer", "segmentation", name, {}] for name in ("components", "alone")]
    script += [["infer", model, name, click] for model in ("similarity", "points") for name in ("both", "alone")]
    options = {"bundle": bundle, "labels": "1=liver,2=kidney"}
    with serving(
        environment, source_bundles() / "monailabel", work / "studies", options, work / "app_server.log"
    ) as url:
        return asked(environment, CLIENT, url, work / "labelled", json.dumps(script))


def test_the_label_app_learns_from_both_channels_and_segments(labelled, work):
    assert labelled[1]["status"] == "DONE", labelled[1]
    found, _ = nrrd.read(str(work / "labelled" / "2.nrrd"))
    assert found.shape == scan_and_label()[1].shape
    # The very voxels it learnt from, in another format.
    assert dice(found > 0, scan_and_label()[1] > 0) > 0.8


@pytest.mark.parametrize("answer", [4, 6], ids=["similarity", "points"])
def test_a_click_in_a_scan_of_two_channels_is_answered(answer, labelled, work):
    found, _ = nrrd.read(str(work / "labelled" / f"{answer}.nrrd"))
    assert found.shape == scan_and_label()[1].shape
    assert set(np.unique(found)) == {0, 1}


@pytest.mark.parametrize("answer", [3, 5, 7], ids=["segmentation", "similarity", "points"])
def test_the_label_app_says_in_a_sentence_that_a_channel_is_missing(answer, labelled):
    assert f"alone.nii.gz cannot be used: {WRONG}" in labelled[answer]["error"]
