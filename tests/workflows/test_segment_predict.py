import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor

from medssl.scans.structure_labels import read_structures
from medssl.workflows.segment_predict import write_prediction
from tests.scans.dicom_writer import save_slices
from tests.scans.files import AFFINE, hounsfield, organs, save_nifti
from tests.scans.structure_writer import with_frame_of_reference

NAMES = {1: "liver", 2: "spleen"}


def test_the_segmentation_of_a_dicom_series_is_a_dicom_seg_too(tmp_path):
    label = MetaTensor(torch.from_numpy(organs())[None], torch.from_numpy(AFFINE))
    series = save_slices(tmp_path / "ct", hounsfield(), AFFINE, edit=with_frame_of_reference)
    volume = save_nifti(tmp_path / "scan.nii.gz", hounsfield())
    for case, scan in (("a", series), ("b", volume)):
        write_prediction(label, scan, case, NAMES, {1: 1, 2: 7}, tmp_path / "out")
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["a.nii.gz", "a.seg.dcm", "a.seg.nrrd", "b.nii.gz", "b.seg.nrrd"]
    assert np.array_equal(read_structures(tmp_path / "out" / "a.seg.dcm", series, NAMES).voxels, organs())
    assert np.unique(nib.load(tmp_path / "out" / "a.nii.gz").dataobj).tolist() == [0, 1, 7]
