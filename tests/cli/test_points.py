import nibabel as nib
import pytest


@pytest.fixture
def scan(ct_list):
    return sorted((ct_list.parent / "images").iterdir())[0]


def test_files_and_volume_are_printed(medssl, scan, tmp_path):
    points = ("--in", 0, 0, 0, "--in", -10, 0, 0, "--not", 20, -20, 0)
    status, out, _ = medssl(
        *("segment-points", scan, *points, "--bundle", "abdomen-ct", "--out", tmp_path, "--name", "liver")
    )
    assert status == 0
    files = [tmp_path / "liver.seg.nrrd", tmp_path / "liver.nii.gz"]
    assert out.splitlines()[:2] == [f"Segmentation: {path}" for path in files]
    image = nib.load(files[1])
    voxel = abs(float(nib.affines.voxel_sizes(image.affine).prod()))
    assert out.splitlines()[2] == f"Volume of liver: {image.get_fdata().sum() * voxel / 1000:.1f} ml"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "No point inside the structure is given; give at least one."),
        (("--in", 0, 0), "--in takes the three coordinates of a point in mm: --in R A S."),
        (("--in", 0, 0, 0, "--not", 0, 0, "x"), "--not takes the three coordinates"),
        (("--in", 0, "nan", 0), "The point (0, nan, 0) is not in"),
        (("--in", 900, 0, 0), "The point (900, 0, 0) is not in"),
        (("--in", 0, 0, 0, "--not", 0, 0, 0), "The voxel at (0, 0, 0) is given as inside and as outside"),
        (("--in", 0, 0, 0, "--name", "../a"), "'../a' cannot be the name of a file"),
        (("--in", 0, 0, 0, "--bundle", "lungs"), "There is no folder lungs"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(medssl, scan, tmp_path, words, sentence):
    status, _, errors = medssl("segment-points", scan, "--bundle", "abdomen-ct", "--out", tmp_path / "out", *words)
    assert status == 1
    assert errors.startswith(f"Error: {sentence}")
    assert not (tmp_path / "out").exists()
