"""Segmented scans on disk: what was found, kept until the scan or the network changes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor

from medssl.evaluation.segment_measures import Measure, measure
from medssl.evaluation.segment_thumbnail import structure_colours, thumbnail
from medssl.files import file_sha256, replacing, write_json
from medssl.workflows.segment_facts import Scan
from medssl.workflows.segment_labels import Structures
from medssl.workflows.segment_predict import Predictor, in_ras, load_volume, write_prediction

# The last one for DICOM series alone.
ENDINGS = (".seg.nrrd", ".nii.gz", ".seg.dcm")


@dataclass(frozen=True)
class Found:
    """What is known of a segmented or labelled scan.

    Attributes:
        measures: of the structures, by value.
        confidence: of the structures that a network found, by value.
        picture: PNG.
        corrected: whether a file is not as it was written, so that it was kept: the user has changed it.
        endings: of the files that were written.
    """

    measures: dict[int, Measure]
    confidence: dict[int, float]
    picture: bytes
    corrected: bool = False
    endings: tuple[str, ...] = ()


class Predictions:
    """The segmentations of a folder.

    Args:
        folder: of the files for the user.
        records: folder of what is known about them.
        structures: what the masks show.
    """

    def __init__(self, folder: Path, records: Path, structures: Structures) -> None:
        self.folder = folder
        self.records = records
        self.structures = structures

    def read(self, case: str, key: str) -> Found | None:
        """Return what was found with the same network on the same scan, or None."""
        record = self._record(case)
        if record is None or record["key"] != key:
            return None
        picture = self.records / f"{case}.png"
        if not picture.is_file() or not all(self._path(case, name).is_file() for name in record["files"]):
            return None
        return _found(record, picture.read_bytes(), corrected=self._is_corrected(case, record))

    def segment(self, case: str, scan: Scan, key: str, predictor: Predictor) -> Found:
        """Segment a scan, write the files, and return what was found.

        Files that the user has changed since they were written stay as they are.

        Raises:
            ValueError, OSError: if the scan cannot be read or preprocessed.
        """
        former = self._record(case) or {"files": dict.fromkeys(ENDINGS, "")}
        corrected = self._is_corrected(case, former)
        label, confidence = predictor(scan)
        files = former["files"] if corrected else {}
        if not corrected:
            # Were the command killed in between, the new files would look like the user's.
            write_json(self.records / f"{case}.json", {"key": "", "files": {}})
            self._path(case, ENDINGS[-1]).unlink(missing_ok=True)
            write_prediction(label, scan, case, self.structures.names, self.structures.values, self.folder)
            written = {ending: self._path(case, ending) for ending in ENDINGS}
            files = {ending: file_sha256(path) for ending, path in written.items() if path.is_file()}
        measures, picture = described(load_volume(scan), in_ras(label), self.structures.names)
        return self._keep(case, key, measures, confidence, picture, files, corrected)

    def describe(self, case: str, scan: Scan, label: Path, key: str) -> Found:
        """Return what a labelled scan shows, and remove the segmentation that it had before it was labelled."""
        self._remove(case)
        kept = self.read(case, key)
        if kept is not None:
            return kept
        measures, picture = described(load_volume(scan), load_volume(label), self.structures.names)
        return self._keep(case, key, measures, {}, picture, {}, corrected=False)

    def _keep(
        self,
        case: str,
        key: str,
        measures: Mapping[int, Measure],
        confidence: Mapping[int, float],
        picture: bytes,
        files: Mapping[str, str],
        corrected: bool,
    ) -> Found:
        record = {"key": key, "measures": dict(measures), "confidence": dict(confidence), "files": dict(files)}
        with replacing(self.records / f"{case}.png") as temporary:
            temporary.write_bytes(picture)
        write_json(self.records / f"{case}.json", record)
        return Found(dict(measures), dict(confidence), picture, corrected, tuple(files))

    def _record(self, case: str) -> dict[str, Any] | None:
        try:
            return json.loads((self.records / f"{case}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _remove(self, case: str) -> None:
        record = self._record(case)
        if record is not None and record["files"] and not self._is_corrected(case, record):
            for ending in record["files"]:
                self._path(case, ending).unlink(missing_ok=True)

    def _is_corrected(self, case: str, record: Mapping[str, Any]) -> bool:
        files = {self._path(case, ending): sha256 for ending, sha256 in record["files"].items()}
        return any(path.is_file() and file_sha256(path) != sha256 for path, sha256 in files.items())

    def _path(self, case: str, ending: str) -> Path:
        return self.folder / f"{case}{ending}"


def described(scan: MetaTensor, label: MetaTensor, names: Mapping[int, str]) -> tuple[dict[int, Measure], bytes]:
    """Return the measures of a label map and its picture.

    Args:
        scan: axes along right, anterior and superior, shape ``(1, H, W, D)``.
        label: on the same grid.
        names: of the values.
    """
    mask = np.rint(label.numpy()[0]).astype(np.uint8)
    voxel_ml = abs(float(np.linalg.det(scan.affine.numpy()[:3, :3]))) / 1000
    spacing = tuple(float(length) for length in scan.pixdim)
    palette = dict(zip(names, structure_colours(list(names.values())).values(), strict=True))
    return measure(mask, voxel_ml, list(names)), thumbnail(scan.numpy()[0], mask, spacing, palette)


def _found(record: Mapping[str, Any], picture: bytes, corrected: bool) -> Found:
    measures = {
        int(value): Measure(volume, parts, tuple(sides)) for value, (volume, parts, sides) in record["measures"].items()
    }
    confidence = {int(v): c for v, c in record["confidence"].items()}
    return Found(measures, confidence, picture, corrected, tuple(record["files"]))
