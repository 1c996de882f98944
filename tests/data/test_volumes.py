import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from medssl.data.volumes import is_undamaged, map_volume, read_record, write_volume
from medssl.transforms.intensity import RandBezierIntensityd

IDENTITY = {"case": "a", "key": "k", "preprocessing": "p", "source": {"name": "a.nii.gz"}}
AFFINE = np.diag([1.0, -2.0, 3.0, 1.0])


def stored(folder, image, foreground=None):
    """Write an image, and give its record and its mapped tensors."""
    folder.mkdir(exist_ok=True)
    foreground = image[:1] > image.mean() if foreground is None else foreground
    volume = write_volume(folder, image, foreground, AFFINE, IDENTITY)
    return volume, map_volume(folder, volume)


def restored(mapped):
    slope, intercept = mapped["intensity"]
    return mapped["image"].float() * slope + intercept


@pytest.mark.parametrize("shape", [(1, 9, 7, 5), (2, 9, 7, 5), (1, 9, 7), (1, 300, 40, 30)])
def test_a_scaled_image_comes_back_within_half_a_step_and_its_body_as_it_was(shape, tmp_path):
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    image[0, 0, :2] = torch.arange(2.0).reshape(2, *[1] * (len(shape) - 3))
    _, mapped = stored(tmp_path, image)
    assert mapped["image"].shape == image.shape
    assert (restored(mapped) - image).abs().max() <= 0.5 / 61425 + 2e-7
    assert restored(mapped)[image == 0].unique().tolist() == [0.0]
    assert mapped["foreground"].dtype == torch.bool
    assert torch.equal(mapped["foreground"], image[:1] > image.mean())


def test_any_other_range_is_rounded_to_65536_levels(tmp_path):
    image = torch.linspace(-1350, 1000, 6 * 5 * 4).reshape(1, 6, 5, 4)
    volume, mapped = stored(tmp_path, image)
    assert volume.slope == pytest.approx(2350 / 65535)
    assert (restored(mapped) - image).abs().max() <= 0.5 * volume.slope * 1.02
    assert mapped["image"].min() == -32768 and mapped["image"].max() == 32767


def test_an_image_of_one_value_comes_back(tmp_path):
    image = torch.full((1, 4, 4, 4), 7.0)
    _, mapped = stored(tmp_path, image, torch.ones(1, 4, 4, 4, dtype=torch.bool))
    assert torch.equal(restored(mapped), image)


def test_the_intensity_curve_sees_the_same_levels_in_what_was_stored(tmp_path):
    image = torch.rand(1, 40, 40, 20, generator=torch.Generator().manual_seed(1))
    _, mapped = stored(tmp_path, image)
    bend = RandBezierIntensityd("view_1", prob=1)
    curves = [bend.set_random_state(seed=2)({"view_1": view})["view_1"] for view in (image, restored(mapped))]
    # But for values at the very edge of a level, where float32 decides.
    assert (curves[0] != curves[1]).float().mean() < 1e-3


def test_the_last_axis_is_the_slowest_on_disk_at_two_bytes_a_voxel(tmp_path):
    image = torch.rand(1, 30, 20, 10)
    _, mapped = stored(tmp_path, image)
    array = np.load(tmp_path / "image.npy", allow_pickle=False)
    assert (array.shape, array.dtype) == ((1, 10, 30, 20), np.int16)
    np.testing.assert_array_equal(np.moveaxis(array, 1, -1), mapped["image"].numpy())
    assert (tmp_path / "image.npy").stat().st_size == 2 * image.numel() + 128


def test_mapped_tensors_are_the_file_itself_and_cannot_change_it(tmp_path, monkeypatch):
    maps, load = [], np.load
    monkeypatch.setattr(np, "load", lambda *args, **options: maps.append(load(*args, **options)) or maps[-1])
    volume, mapped = stored(tmp_path, torch.rand(1, 6, 5, 4))
    assert all(isinstance(array, np.memmap) for array in maps)
    assert np.shares_memory(maps[0], mapped["image"].numpy())
    assert np.shares_memory(maps[1], mapped["foreground"].numpy())
    before = (tmp_path / "image.npy").read_bytes()
    mapped["image"].zero_()
    assert (tmp_path / "image.npy").read_bytes() == before
    assert map_volume(tmp_path, volume)["image"].any()


def test_the_record_has_the_geometry_and_comes_back(tmp_path):
    volume, _ = stored(tmp_path, torch.rand(1, 6, 5, 4))
    assert read_record(tmp_path) == volume
    assert (volume.spacing, volume.affine, volume.shape) == ([1.0, 2.0, 3.0], AFFINE.tolist(), [1, 6, 5, 4])
    assert (volume.case, volume.key, volume.preprocessing) == ("a", "k", "p")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 2}'])
def test_a_record_that_is_none_is_no_record(text, tmp_path):
    assert read_record(tmp_path) is None
    (tmp_path / "case.json").write_text(text)
    assert read_record(tmp_path) is None


def test_a_newer_format_is_no_record(tmp_path):
    stored(tmp_path, torch.rand(1, 6, 5, 4))
    content = json.loads((tmp_path / "case.json").read_text(encoding="utf-8"))
    (tmp_path / "case.json").write_text(json.dumps({**content, "format": 2}))
    assert read_record(tmp_path) is None


@pytest.mark.parametrize("name", ["image.npy", "foreground.npy"])
@pytest.mark.parametrize("damage", ["missing", "empty", "short", "other"])
def test_a_damaged_array_is_named_when_it_is_mapped(name, damage, tmp_path):
    volume, _ = stored(tmp_path, torch.rand(1, 6, 5, 4))
    path, whole = tmp_path / name, (tmp_path / name).read_bytes()
    if damage == "other":
        np.save(path, np.zeros((1, 4, 6, 4), np.int16))
    else:
        path.write_bytes(b"" if damage == "empty" else whole[:-1])
    if damage == "missing":
        path.unlink()
    with pytest.raises(ValueError, match=rf"{name}.*medssl prepare"):
        map_volume(tmp_path, volume)
    assert not is_undamaged(tmp_path, volume)


def test_a_flipped_bit_is_found_by_the_checksum_alone(tmp_path):
    volume, _ = stored(tmp_path, torch.rand(1, 6, 5, 4))
    changed = bytearray((tmp_path / "image.npy").read_bytes())
    changed[-1] ^= 1
    (tmp_path / "image.npy").write_bytes(changed)
    assert is_undamaged(tmp_path, volume)
    assert not is_undamaged(tmp_path, volume, fully=True)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value, tmp_path):
    image = torch.rand(1, 6, 5, 4)
    image[0, 1, 2, 3] = value
    with pytest.raises(ValueError, match="NaN or Inf"):
        stored(tmp_path, image, torch.ones(1, 6, 5, 4, dtype=torch.bool))


# A limit on the size of files is a full disk to whoever writes.
FULL_DISK = """
import resource, sys, torch, numpy as np
from pathlib import Path
from medssl.data.volumes import write_volume
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
image = torch.rand(1, 100, 100, 100)
identity = {"case": "a", "key": "", "preprocessing": "", "source": {}}
write_volume(Path(sys.argv[1]), image, image > 0.5, np.eye(4), identity)
"""


def test_a_full_disk_is_named_and_leaves_nothing_half(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, encoding="utf-8")
    assert "The disk is full" in done.stderr and "image.npy" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_regions_are_stored_where_there_are_any(tmp_path):
    image = torch.rand(1, 6, 5, 4)
    regions = torch.randint(0, 100_000, (1, 6, 5, 4), dtype=torch.int32)
    volume = write_volume(tmp_path, image, image > 0.5, AFFINE, IDENTITY, regions)
    mapped = map_volume(tmp_path, volume)
    assert torch.equal(mapped["regions"], regions)
    assert is_undamaged(tmp_path, volume, fully=True)
    (tmp_path / "regions.npy").unlink()
    assert not is_undamaged(tmp_path, volume)


def test_without_regions_there_are_none(tmp_path):
    _, mapped = stored(tmp_path, torch.rand(1, 6, 5, 4))
    assert "regions" not in mapped and not (tmp_path / "regions.npy").exists()
