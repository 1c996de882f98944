"""Write segmentations of DICOM series as DICOM SEG, with names, codes and colours of the structures."""

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from medssl.files import replacing
from medssl.scans.dicom import DicomSeries, dicom_series
from medssl.scans.readers import is_series
from medssl.transforms.anatomy import anatomy_codes, anatomy_color
from medssl.transforms.save import LabelMapWriter, SaveLabelMapd

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription

# What every series has by the standard, though it may be empty; archives that remove names remove some of these too.
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
_SERIES_NUMBER = 9000

logger = logging.getLogger(__name__)


def write_dicom_segmentation(
    path: str | os.PathLike[str], label: NDArray[np.uint8], scan: str | os.PathLike[str], names: Mapping[int, str]
) -> bool:
    """Write a label map of a DICOM series as DICOM SEG, and return whether that could be done.

    The file is a binary segmentation with one segment for each name, found or not, and refers to the slices of the
    series, with the patient and the study that they name. Known anatomy has its SNOMED CT code, anything else that of
    an anatomical structure. Labels on the straight grid of a tilted gantry go back to the slices by nearest neighbour.
    A series that lacks what a DICOM SEG must repeat gets none, which is said in the log.

    Args:
        path: the file; an existing one is replaced.
        label: label map on the grid of the series, axes x, y, z.
        scan: the series.
        names: of the label values 1, 2, ... without gaps.

    Raises:
        ValueError: if the label map does not have the size of the series.
    """
    # It takes a quarter of a second, and few scans are DICOM.
    import highdicom

    series = dicom_series(scan)
    if label.shape != series.shape:
        raise ValueError(f"{scan} has {series.shape} voxels, but the label map {label.shape}.")
    sources = [_source(file, series.spacing[2]) for file in series.files]
    content = hashlib.sha256(label.tobytes() + repr(names).encode()).hexdigest()
    made_of = [str(source.get("SOPInstanceUID", "")) for source in sources]
    try:
        segmentation = highdicom.seg.Segmentation(
            source_images=sources,
            pixel_array=_frames(label, series, sources),
            segmentation_type="BINARY",
            segment_descriptions=[_description(value, name) for value, name in names.items()],
            series_instance_uid=pydicom.uid.generate_uid(entropy_srcs=["series", content, *made_of]),
            series_number=int(sources[0].get("SeriesNumber") or 0) + _SERIES_NUMBER,
            sop_instance_uid=pydicom.uid.generate_uid(entropy_srcs=["instance", content, *made_of]),
            instance_number=1,
            manufacturer="medssl",
            manufacturer_model_name="medssl",
            software_versions=version("medssl"),
            device_serial_number="0",
        )
    except (AttributeError, KeyError, ValueError, TypeError) as error:
        logger.warning("%s gets no DICOM SEG, since its headers lack what one repeats: %s", scan, error)
        return False
    with replacing(path) as temporary:
        segmentation.save_as(temporary, enforce_file_format=True)
    return True


def _source(file: str, thickness: float) -> pydicom.Dataset:
    source = pydicom.dcmread(file, stop_before_pixels=True)
    if not source.get("SliceThickness"):
        # May be unknown to the scanner, but not to a segmentation.
        source.SliceThickness = round(thickness, 6)
    for name in _MAY_BE_EMPTY:
        if name not in source:
            setattr(source, name, "")
    return source


def _frames(label: NDArray[np.uint8], series: DicomSeries, sources: Sequence[pydicom.Dataset]) -> NDArray[np.uint8]:
    """Return the labels of the stored slices, in the order of the files or of the frames: axes slice, row, column."""
    columns, rows = series.slices[0].size
    before, _ = series.margins
    starts = before + np.rint(series.shifts).astype(int)
    slices = [label[x : x + columns, y : y + rows, index].T for index, (x, y) in enumerate(starts.tolist())]
    if len(sources) == len(slices):
        return np.stack(slices)
    frames = np.zeros((int(sources[0].NumberOfFrames), rows, columns), np.uint8)
    frames[[one.frame for one in series.slices]] = slices
    return frames


def _description(value: int, name: str) -> "SegmentDescription":
    import highdicom
    from pydicom.sr.coding import Code

    category, kind, side = (None if code is None else Code(*code) for code in anatomy_codes(name))
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="medssl", version=version("medssl"), family=Code("123109", "DCM", "Artificial Intelligence")
    )
    description = highdicom.seg.SegmentDescription(
        segment_number=value,
        # A short text of DICOM.
        segment_label=name[:64],
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
    )
    if side is not None:
        modifier = highdicom.sr.CodedConcept(side.value, side.scheme_designator, side.meaning)
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]
    description.RecommendedDisplayCIELabValue = _lab(anatomy_color(name, value))
    return description


def _lab(colour: tuple[float, float, float]) -> list[int]:
    """Return a colour as DICOM stores it: L*, a* and b* as integers of two bytes (PS3.3, C.10.7.1.1)."""
    from skimage.color import rgb2lab

    lightness, a, b = rgb2lab(np.array(colour)[None, None])[0, 0]
    return [round(lightness / 100 * 65535), *(round((part + 128) / 255 * 65535) for part in (a, b))]


class DicomSegmentationWriter(LabelMapWriter):
    """Write one label map as DICOM SEG, on behalf of `SaveImageDicomSegmentationd`."""

    def set_metadata(self, meta_dict: Mapping[str, Any] | None, **options: Any) -> None:
        """Store the path of the series."""
        self.scan = str((meta_dict or {}).get("filename_or_obj", ""))

    def write(self, filename: str | os.PathLike[str], verbose: bool = True, **kwargs: Any) -> None:
        """Write the file under a temporary name and move it into place."""
        super().write(filename, verbose=verbose)
        write_dicom_segmentation(filename, np.asarray(self.data_obj, np.uint8), self.scan, self.labels)


class SaveImageDicomSegmentationd(SaveLabelMapd):
    """Save label maps of DICOM series as DICOM SEG files; those of other scans are passed over.

    See `write_dicom_segmentation`. Files are named as by `medssl.transforms.save.SaveImageSegmentationd`. Like it, this
    is a MONAI ``SaveImaged``, so that servers that skip file writers skip it too.

    Args:
        keys: keys of the label maps, integers of shape ``(1, x, y, z)`` on the grid of their scan.
        output_dir: folder of the files.
        labels: name of every label value; values 1, 2, ... without gaps (0 is background).
        output_postfix: appended to the name of the scan.
        separate_folder: write every scan into its own folder.
        allow_missing_keys: ignore keys that the sample lacks.

    Raises:
        ValueError: if ``labels`` has gaps or duplicate names.

    Example:
        >>> import tempfile, torch
        >>> from monai.data import MetaTensor
        >>> volume = MetaTensor(torch.ones(1, 4, 4, 4), meta={"filename_or_obj": "case_7.nii.gz"})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = SaveImageDicomSegmentationd("pred", folder, labels={1: "liver"})({"pred": volume})
        ...     print(os.listdir(folder))
        []
    """

    output_ext = ".dcm"
    writer = DicomSegmentationWriter

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Write the label maps of DICOM series and return ``data`` unchanged."""
        scans = [str(data[key].meta.get("filename_or_obj", "")) for key in self.key_iterator(dict(data))]
        if not all(scan and Path(scan).exists() and is_series(scan) for scan in scans):
            return dict(data)
        return super().__call__(data)
