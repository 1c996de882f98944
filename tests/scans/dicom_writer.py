"""DICOM as scanners and archives write it, with known voxels."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

INTERCEPT = -1024.0
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def header(sop: str, uid: str, modality: str = "CT") -> FileDataset:
    """Return a dataset with all that does not depend on the voxels."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = sop, meta.MediaStorageSOPInstanceUID
    data.Modality, data.StudyInstanceUID, data.SeriesInstanceUID, data.SeriesNumber = modality, "1.2.3.4", uid, 1
    return data


def add_pixels(data: Dataset, hu: np.ndarray, slope: float = 1.0) -> None:
    """Store voxels (x, y) or (x, y, frames) as unsigned 16 bit."""
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.Columns, data.Rows = hu.shape[:2]
    data.PixelData = np.round((hu.T - INTERCEPT) / slope).astype(np.uint16).tobytes()


def geometry(affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Return the affine to LPS, the spacing, and the directions of rows and columns as DICOM lists them."""
    lps = LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    axes = lps[:3, :2] / spacing[:2]
    return lps, spacing, [float(value) for value in axes.T.ravel()]


def save_slices(folder: Path, hu: np.ndarray, affine: np.ndarray, slopes=None, uid="1.2.3", keep=None, edit=None):
    """Write one file a slice; ``edit(data, index)`` changes a slice before it is saved."""
    folder.mkdir(parents=True, exist_ok=True)
    lps, spacing, directions = geometry(affine)
    for index in range(hu.shape[2]) if keep is None else keep:
        data = header(CTImageStorage, uid)
        slope = 1.0 if slopes is None else slopes[index]
        add_pixels(data, hu[:, :, index], slope)
        data.RescaleSlope, data.RescaleIntercept, data.InstanceNumber = slope, INTERCEPT, index + 1
        data.PixelSpacing, data.SliceThickness = [spacing[1], spacing[0]], round(float(lps[2, 2]), 4)
        data.ImageOrientationPatient = directions
        data.ImagePositionPatient = [float(value) for value in lps[:3, 3] + index * lps[:3, 2]]
        if edit is not None:
            edit(data, index)
        data.save_as(folder / f"{uid}_{99 - index}", enforce_file_format=True)
    return folder


def save_enhanced(path: Path, hu: np.ndarray, affine: np.ndarray, order=None, slopes=None) -> Path:
    """Write one multi-frame file with its frames in any order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lps, spacing, directions = geometry(affine)
    order = list(range(hu.shape[2]) if order is None else order)
    data = header(EnhancedCTImageStorage, "1.2.3")
    slopes = [1.0] * hu.shape[2] if slopes is None else slopes
    scaled = np.stack([(hu[:, :, index] - INTERCEPT) / slopes[index] + INTERCEPT for index in order], axis=2)
    add_pixels(data, scaled)
    data.NumberOfFrames = len(order)
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [spacing[1], spacing[0]], spacing[2]
    orientation.ImageOrientationPatient = directions
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([orientation])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for index in order:
        position, values, frame = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [float(value) for value in lps[:3, 3] + index * lps[:3, 2]]
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = slopes[index], INTERCEPT, "HU"
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = Sequence([position]), Sequence([values])
        frames.append(frame)
    data.PerFrameFunctionalGroupsSequence = Sequence(frames)
    data.save_as(path, enforce_file_format=True)
    return path


def save_other(path: Path, modality: str) -> Path:
    """Write an object without pixels, such as a report (SR)."""
    data = header("1.2.840.10008.5.1.4.1.1.88.11", "9.9", modality)
    data.save_as(path, enforce_file_format=True)
    return path


def save_index(path: Path) -> Path:
    """Write the index of a disc as far as a reader looks at it."""
    data = header("1.2.840.10008.1.3.10", "9.9")
    del data.SeriesInstanceUID, data.Modality
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path
