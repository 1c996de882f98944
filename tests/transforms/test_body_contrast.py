import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import LoadImage

from medssl.transforms.body_contrast import BodyContrastd


def scan(seed=0):
    """A body of uneven tissue in the noise of a wide field of air."""
    rng = np.random.default_rng(seed)
    image = np.abs(rng.normal(0, 3, (40, 40, 10)))
    image[8:32, 8:32] = rng.normal(200, 50, (24, 24, 10)).clip(100)
    return torch.from_numpy(image.astype(np.float32))[None]


def scaled(image, **options):
    return BodyContrastd("image", **options)({"image": image})["image"]


def test_mean_and_deviation_of_the_body_are_the_wanted_ones():
    body = scaled(scan(), mean=0.5, deviation=0.1)[:, 8:32, 8:32].numpy()
    assert body.mean() == pytest.approx(0.5, abs=1e-3) and body.std() == pytest.approx(0.1, abs=1e-3)


def test_values_are_cut_off_at_0_and_1():
    result = scaled(scan(), deviation=1.0)
    assert result.min() == 0 and result.max() == 1 and result.dtype == torch.float32


@pytest.mark.parametrize("change", [lambda x: 40 * x, lambda x: x - 1000, lambda x: (x * 8).to(torch.int16)])
def test_the_unit_of_the_values_does_not_matter(change):
    torch.testing.assert_close(scaled(change(scan())), scaled(scan()), rtol=0, atol=2e-3)


def test_a_few_bright_voxels_do_not_set_the_scale():
    image = scan()
    spoilt = image.clone()
    # One voxel in five hundred, five times as bright as the body.
    spoilt.view(-1)[::500] = 1000
    kept = spoilt == image
    before, after = scaled(image)[kept], scaled(spoilt)[kept]
    assert (before - after).abs().mean() < 0.03


def test_the_air_around_the_body_does_not_set_the_scale():
    wide = torch.nn.functional.pad(scan(), (0, 0, 30, 30, 30, 30))
    torch.testing.assert_close(scaled(wide)[:, 30:70, 30:70], scaled(scan()), rtol=0, atol=0.02)


def test_channels_are_scaled_alone_and_the_image_that_goes_in_stays():
    image = torch.cat([scan(0), 7 * scan(1)])
    before = image.clone()
    result = scaled(image)
    assert image.equal(before)
    assert result[:1].equal(scaled(scan(0))) and result[1:].allclose(scaled(scan(1)), atol=1e-5)


@pytest.mark.parametrize("values", [np.full((4, 4, 4), 7.0), np.full((4, 4, 4), np.nan)])
def test_an_image_without_contrast_is_named(values, tmp_path):
    nib.save(nib.Nifti1Image(values.astype(np.float32), np.eye(4)), tmp_path / "flat.nii.gz")
    image = LoadImage(ensure_channel_first=True)(tmp_path / "flat.nii.gz")
    with pytest.raises(ValueError, match=r"flat\.nii\.gz has one value throughout"):
        scaled(image)
