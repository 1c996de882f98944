import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Orientationd, Spacing, Spacingd

from medssl.transforms import resample
from medssl.transforms.resample import SeparableSpacingd

SPACINGS = [(1.0, 1.0, 2.0), (1.5, 1.5, 1.5), (3.0, 0.4, 2.5), (0.71, 2.0, 0.9)]
SHAPES = [(24, 9, 5), (1, 8, 7), (6, 5, 1)]


def image_of(shape, spacing=(0.8, 0.8, 2.5), axes=None, dtype=torch.float32, seed=0) -> MetaTensor:
    """Noise on a grid of the given spacing, turned by ``axes`` and moved off the origin."""
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = (torch.eye(3) if axes is None else torch.as_tensor(axes)).double() * torch.tensor(spacing)
    affine[:3, 3] = torch.tensor([-31.0, 12.5, 7.0])
    values = torch.randint(-1000, 1000, (1, *shape), generator=torch.Generator().manual_seed(seed))
    return MetaTensor(values.to(dtype), affine=affine)


def both(image: MetaTensor, pixdim, **options) -> tuple[MetaTensor, MetaTensor]:
    return tuple(
        make("image", pixdim, **options)({"image": image.clone()})["image"] for make in (SeparableSpacingd, Spacingd)
    )


def same(ours: MetaTensor, theirs: MetaTensor, tolerance: float) -> None:
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype == torch.float32
    torch.testing.assert_close(ours.affine, theirs.affine, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.as_tensor(), theirs.as_tensor(), rtol=0, atol=tolerance)


@pytest.fixture
def fast(monkeypatch):
    """Fail where MONAI would resample by itself."""

    def refuse(*args, **kwargs):
        raise AssertionError("MONAI resampled")

    calls = resample.SpatialResample.__call__
    monkeypatch.setattr(
        resample.SpatialResample,
        "__call__",
        lambda self, *args, lazy=None, **kwargs: calls(self, *args, lazy=lazy, **kwargs) if lazy else refuse(),
    )
    return calls


def monai(image, pixdim, mode, calls):
    transform = Spacing(pixdim, mode=mode)
    transform.sp_resample = lambda *args, **kwargs: calls(resample.SpatialResample(), *args, **kwargs)
    return transform(image.clone(), mode=mode, padding_mode="border", align_corners=False, dtype=np.float64)


@pytest.mark.parametrize(
    ("shape", "pixdim"),
    [*[((13, 17, 11), pixdim) for pixdim in SPACINGS], *[(shape, SPACINGS[3]) for shape in SHAPES]],
)
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_voxels_and_affine_are_those_of_monai(fast, shape, pixdim, mode):
    image = image_of(shape)
    ours = SeparableSpacingd("image", pixdim, mode=mode)({"image": image.clone()})["image"]
    same(ours, monai(image, pixdim, mode, fast), 0.02)


@pytest.mark.parametrize("dtype", [torch.int16, torch.uint8, torch.int32, torch.float64])
def test_integers_go_in_and_floats_come_out(fast, dtype):
    image = image_of((12, 9, 10), dtype=torch.int32).to(dtype)
    same(
        SeparableSpacingd("image", (1, 1, 2))({"image": image})["image"],
        monai(image, (1, 1, 2), "bilinear", fast),
        0.02,
    )


@pytest.mark.parametrize("flips", [(-1, 1, 1), (1, -1, -1), (-1, -1, 1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_any_orientation_is_resampled_as_it_lies(fast, flips, order):
    image = image_of((9, 8, 12), axes=np.diag(flips)[list(order)])
    ours = SeparableSpacingd("image", (1.1, 0.9, 2.0))({"image": image.clone()})["image"]
    same(ours, monai(image, (1.1, 0.9, 2.0), "bilinear", fast), 0.02)


def test_an_oblique_grid_keeps_its_axes(fast):
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    image = image_of((14, 11, 9), axes=turn)
    same(
        SeparableSpacingd("image", (1, 1, 2))({"image": image})["image"],
        monai(image, (1, 1, 2), "bilinear", fast),
        0.05,
    )


def test_an_affine_rounded_to_float32_counts_as_parallel(fast):
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    image = image_of((64, 60, 40), axes=turn)
    image.affine = image.affine.float().double()
    same(
        SeparableSpacingd("image", (1, 1, 2))({"image": image})["image"], monai(image, (1, 1, 2), "bilinear", fast), 0.2
    )


def test_the_volume_of_a_nifti_file_stays_in_its_order_in_memory():
    image = image_of((9, 8, 7), dtype=torch.int16)
    turned = MetaTensor(image.as_tensor().permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1), affine=image.affine)
    ours = SeparableSpacingd("image", (1, 1, 2))({"image": turned})["image"]
    assert ours.stride()[1] == 1
    same(ours, both(image, (1, 1, 2))[1], 0.02)


def test_a_label_is_resampled_with_its_image_and_keeps_its_values():
    sample = {"image": image_of((20, 18, 12)), "label": image_of((20, 18, 12), dtype=torch.uint8, seed=1) % 5}
    ours, theirs = (
        make(["image", "label"], (1.0, 1.3, 2.0), mode=["bilinear", "nearest"])(dict(sample))
        for make in (SeparableSpacingd, Spacingd)
    )
    same(ours["image"], theirs["image"], 0.02)
    assert ours["label"].equal(theirs["label"])


def test_all_channels_are_resampled():
    image = image_of((9, 8, 7))
    image = MetaTensor(torch.cat([image.as_tensor(), image.as_tensor().flip(1)]), affine=image.affine)
    same(*both(image, (1, 1, 2)), 0.02)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_a_slice_of_two_axes_is_resampled(mode):
    image = MetaTensor(
        torch.rand(1, 19, 14, generator=torch.Generator().manual_seed(0)),
        affine=torch.diag(torch.tensor([0.7, 0.9, 1.0])),
    )
    same(*both(image, (1.1, 0.5), mode=mode), 1e-5)


SHEAR = [[1.0, 0.2, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("axes", "options"),
    [
        (SHEAR, {}),
        (None, {"padding_mode": "zeros"}),
        (None, {"align_corners": True}),
        (None, {"mode": 3, "padding_mode": "nearest"}),
        (np.diag([-1.0, 1, 1]), {"diagonal": True}),
    ],
)
def test_what_is_not_separable_is_left_to_monai(axes, options):
    ours, theirs = both(image_of((10, 9, 8), axes=axes), (1, 1, 2), **options)
    assert ours.equal(theirs) and ours.affine.equal(theirs.affine)


def test_an_image_that_has_the_spacing_already_stays_as_it_is():
    image = image_of((6, 5, 4), spacing=(1, 1, 2), dtype=torch.int16)
    ours, theirs = both(image, (1, 1, 2))
    assert ours.dtype == torch.float32 and ours.equal(theirs) and ours.equal(image.float())


def test_a_lazy_call_is_left_pending():
    ours, theirs = (
        make("image", (1, 1, 2), lazy=True)({"image": image_of((6, 5, 4))})["image"]
        for make in (SeparableSpacingd, Spacingd)
    )
    assert len(ours.pending_operations) == 1 and not ours.applied_operations
    assert ours.peek_pending_shape() == theirs.peek_pending_shape()


def test_it_is_noted_down_as_monai_notes_it():
    ours, theirs = both(image_of((6, 5, 4)), (1, 1, 2))
    (our_note,), (their_note,) = ours.applied_operations, theirs.applied_operations
    for note in (our_note, their_note):
        assert note.pop("class")
        note.pop("id")
        note["extra_info"].pop("src_affine")
    assert our_note == their_note


def test_invertd_brings_a_prediction_back_to_the_grid_of_the_scan():
    back = []
    for make in (SeparableSpacingd, Spacingd):
        steps = Compose([Orientationd("image", axcodes="RAS", labels=None), make("image", (1.0, 1.0, 2.0))])
        sample = steps({"image": image_of((20, 16, 12), axes=np.diag([-1.0, -1, 1]))})
        sample["pred"] = sample["image"] * 2
        invert = Invertd("pred", steps, orig_keys="image", nearest_interp=False, to_tensor=True)
        back.append(invert(sample)["pred"])
    assert back[0].shape == (1, 20, 16, 12)
    same(back[0], back[1], 0.05)
    torch.testing.assert_close(back[0].affine, image_of((20, 16, 12), axes=np.diag([-1.0, -1, 1])).affine)


def test_a_sheared_grid_becomes_a_straight_one_and_nothing_moves():
    affine = torch.tensor([[2.0, 0.6, 0, -20], [0, 2, 0, 5], [0, 0, 3, 7], [0, 0, 0, 1]], dtype=torch.float64)
    blob = [(torch.arange(size) - place) ** 2 for size, place in ((30, 9), (30, 20), (20, 6))]
    volume = torch.exp(-(blob[0][:, None, None] + blob[1][None, :, None] + blob[2]) / 8.0)
    resampled = SeparableSpacingd("image", pixdim=(1, 1, 1))({"image": MetaTensor(volume[None], affine=affine)})[
        "image"
    ]
    axes = resampled.affine[:3, :3]
    torch.testing.assert_close(axes.T @ axes, torch.eye(3, dtype=torch.float64), atol=1e-5, rtol=0)
    place = torch.tensor([9.0, 20, 6, 1], dtype=torch.float64)
    brightest = torch.tensor([*np.unravel_index(int(resampled[0].argmax()), resampled.shape[1:]), 1]).double()
    assert ((resampled.affine @ brightest) - affine @ place).abs().max() <= 0.9
