import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform
from PIL import Image

from medssl.evaluation import pictures
from medssl.evaluation.pictures import overlay_figure

NAMES = {0: "background", 1: "liver"}


@pytest.fixture
def drawn(monkeypatch):
    """Collect what is drawn: (array, aspect) of every picture, in rows of scan, reference, reference overlay ..."""
    shown = []
    original = pictures.Axes.imshow

    def imshow(axes, array, **options):
        shown.append((np.asarray(array), options["aspect"]))
        return original(axes, array, **options)

    monkeypatch.setattr(pictures.Axes, "imshow", imshow)
    return shown


def scan(codes, spacing=(1.0, 2.0, 4.0)):
    """Give a scan stored in some orientation, bright at its right, anterior, superior corner, and a label there."""
    values = np.zeros((6, 5, 4), dtype=np.float32)
    values[4:, 3:, 3:] = 1
    change = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    stored = values
    for axis, flip in enumerate(change[:, 1]):
        stored = np.flip(stored, axis) if flip < 0 else stored
    stored = stored.transpose(np.argsort(change[:, 0]))
    affine = np.diag([*spacing, 1.0]) @ inv_ornt_aff(change, values.shape)
    return MetaTensor(np.ascontiguousarray(stored)[None], affine=torch.from_numpy(affine))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAL", "PIR"])
def test_slices_are_radiological_whatever_the_storage(codes, drawn, tmp_path):
    image = scan(codes)
    overlay_figure(image, image.numpy()[0].astype(int), image.int(), NAMES, tmp_path / "overlay.png")
    axial, coronal, sagittal = (drawn[i][0] for i in (0, 5, 10))
    assert np.argwhere(axial).max(axis=0).tolist() == [1, 1]
    assert [array.shape for array in (axial, coronal, sagittal)] == [(5, 6), (4, 6), (4, 5)]
    for array in (axial, coronal, sagittal):
        assert array[0, 0] == 1
        assert array[-1, -1] == 0


def test_voxels_keep_their_proportions(drawn, tmp_path):
    image = scan("PIR")
    overlay_figure(image, image.int(), image.int(), NAMES, tmp_path / "overlay.png")
    assert [drawn[i][1] for i in (0, 5, 10)] == [pytest.approx(ratio) for ratio in (2 / 1, 4 / 1, 4 / 2)]


def test_the_background_is_not_drawn(drawn, tmp_path):
    image = scan("RAS")
    overlay_figure(image, image.int(), image.int(), NAMES, tmp_path / "overlay.png")
    grey, overlay = drawn[1][0], drawn[2][0]
    assert np.array_equal(np.isnan(overlay), grey == 0)


def test_an_empty_reference_shows_the_prediction(drawn, tmp_path):
    image = scan("RAS")
    overlay_figure(image, torch.zeros(6, 5, 4).int(), image.int(), NAMES, tmp_path / "overlay.png")
    assert drawn[0][0].any()


def test_two_empty_maps_show_the_centre(tmp_path):
    empty = torch.zeros(6, 5, 4).int()
    path = overlay_figure(scan("RAS"), empty, empty, NAMES, tmp_path / "overlay.png", window=(0, 2))
    with Image.open(path) as image:
        assert image.format == "PNG"


def test_other_shapes_are_an_error(tmp_path):
    image = scan("RAS")
    with pytest.raises(ValueError, match="A map has the shape"):
        overlay_figure(image, image.int()[..., 1:], image.int(), NAMES, tmp_path / "overlay.png")
    with pytest.raises(ValueError, match="one 3D scan"):
        overlay_figure(image[0], image.int(), image.int(), NAMES, tmp_path / "overlay.png")
    assert not list(tmp_path.iterdir())
