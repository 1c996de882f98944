"""DICOM SEG and RTSTRUCT files with known voxels and contours, written tag by tag."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pack_bits
from pydicom.sequence import Sequence

from tests.scans.dicom_writer import geometry, header

SEG, LABEL_MAP, CONTOURS = (
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.66.7",
    "1.2.840.10008.5.1.4.1.1.481.3",
)


def with_frame_of_reference(data, _) -> None:
    """Edit slices of `dicom_writer.save_slices`: a frame of reference, as scanners write it."""
    data.FrameOfReferenceUID = "1.2.3.99"


def save_seg(path: Path, masks: dict, affine: np.ndarray, kind="BINARY", series="1.2.3", frame="1.2.3.99", turn=1):
    """Write masks (x, y, z) by name, fractions from 0 to 1 for FRACTIONAL; ``turn=-1`` turns the order of frames."""
    frames = [
        (number, index, mask[:, :, index])
        for number, mask in enumerate(masks.values(), start=1)
        for index in range(mask.shape[2])
        if mask[:, :, index].any()
    ][::turn]
    data = _with_frames(header(LABEL_MAP if kind == "LABELMAP" else SEG, "7.7", "SEG"), frames, affine, kind)
    data.SegmentationType, data.FrameOfReferenceUID = kind, frame
    data.SegmentSequence = Sequence([_item(SegmentNumber=n, SegmentLabel=name) for n, name in enumerate(masks, 1)])
    data.ReferencedSeriesSequence = Sequence([_item(SeriesInstanceUID=series)])
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def _with_frames(data: Dataset, frames: list, affine: np.ndarray, kind: str) -> Dataset:
    lps, spacing, directions = geometry(affine)
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.NumberOfFrames, (data.Columns, data.Rows) = len(frames), frames[0][2].shape
    bits = 1 if kind == "BINARY" else 8
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    # The number of the segment, for a label map; what it says of one frame must not hold for all.
    values = [pixels.T * {"LABELMAP": number, "FRACTIONAL": 200, "BINARY": 1}[kind] for number, _, pixels in frames]
    pixels = np.round(np.stack(values)).astype(np.uint8)
    data.PixelData = pack_bits(pixels.ravel()) if bits == 1 else pixels.tobytes() + bytes(pixels.size % 2)
    if kind == "FRACTIONAL":
        data.MaximumFractionalValue = 200
    data.SharedFunctionalGroupsSequence = Sequence(
        [
            _item(
                PixelMeasuresSequence=[
                    _item(PixelSpacing=[spacing[1], spacing[0]], SliceThickness=round(spacing[2], 4))
                ],
                PlaneOrientationSequence=[_item(ImageOrientationPatient=directions)],
            )
        ]
    )
    data.PerFrameFunctionalGroupsSequence = Sequence(
        [
            _item(
                PlanePositionSequence=[_item(ImagePositionPatient=list(lps[:3, 3] + index * lps[:3, 2]))],
                SegmentIdentificationSequence=[_item(ReferencedSegmentNumber=number)],
            )
            for number, index, _ in frames
        ]
    )
    return data


def save_contours(path: Path, contours: dict, series="1.2.3", frame="1.2.3.99", kind="CLOSED_PLANAR") -> Path:
    """Write an RTSTRUCT; ``contours`` lists, by name, points in LPS mm, shape ``(N, 3)`` each."""
    data = header(CONTOURS, "8.8", "RTSTRUCT")
    study = _item(RTReferencedSeriesSequence=[_item(SeriesInstanceUID=series)])
    reference = _item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])
    data.ReferencedFrameOfReferenceSequence = Sequence([reference])
    numbered = list(enumerate(contours, start=1))
    data.StructureSetROISequence = Sequence(
        [_item(ROINumber=n, ROIName=name, ReferencedFrameOfReferenceUID=frame) for n, name in numbered]
    )
    data.ROIContourSequence = Sequence(
        [
            _item(
                ReferencedROINumber=n,
                ContourSequence=[
                    _item(
                        ContourGeometricType=kind,
                        NumberOfContourPoints=len(points),
                        ContourData=[f"{number:.4f}" for number in np.ravel(points)],
                    )
                    for points in contours[name]
                ],
            )
            for n, name in numbered
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def to_lps(indices: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return the points in LPS mm of voxel coordinates, shape ``(N, 3)``."""
    return (indices @ affine[:3, :3].T + affine[:3, 3]) * [-1, -1, 1]


def circle(centre, radius: float, place: float, spacing, count: int = 400) -> np.ndarray:
    """Return the voxel coordinates of a circle of a radius in mm in slice ``place``."""
    angles = np.arange(count) * 2 * np.pi / count
    x, y = (centre[axis] + radius * wave(angles) / spacing[axis] for axis, wave in enumerate((np.cos, np.sin)))
    return np.stack([x, y, np.full(count, place)], axis=1)


def _item(**tags) -> Dataset:
    item = Dataset()
    for name, value in tags.items():
        setattr(item, name, Sequence(value) if name.endswith("Sequence") else value)
    return item
