"""Segmenting scans with a trained network: the label map on the scan's own grid, and how sure the network is."""

from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import nrrd
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import KeepLargestConnectedComponent, Orientation
from torch import Tensor

from medssl.evaluation.growing import GrowingInferer
from medssl.evaluation.pictures import CANONICAL
from medssl.files import staging_folder
from medssl.packaging.loading import LoadedBundle
from medssl.scans.channels import grid_file, image_channels, listed_image
from medssl.scans.loading import VerifiedLoadImaged
from medssl.scans.readers import is_series
from medssl.transforms.dicom_segmentation import write_dicom_segmentation
from medssl.transforms.labels import InvertToLabeld
from medssl.transforms.save import segmentation_header
from medssl.workflows.running import bare_errors
from medssl.workflows.segment_facts import Scan


class Prediction(NamedTuple):
    """The segmentation of a scan.

    Attributes:
        label: label map on the scan's own grid, shape ``(1, *spatial)``, uint8.
        confidence: of every structure found, by its value: mean, over the voxels found, of the probability of the
            class found.
    """

    label: MetaTensor
    confidence: dict[int, float]


class Predictor:
    """Segments scans with the network of a run.

    Args:
        model: what inference needs.
    """

    def __init__(self, model: LoadedBundle) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.preprocessing = model.preprocessing()
        self.network = model.network.to(self.device).eval()
        self.one_piece = list(model.one_piece)
        self.largest_pieces = KeepLargestConnectedComponent(self.one_piece, is_onehot=False)
        self.windows = GrowingInferer(
            *(model.patch_size, model.growth_stride, model.overlap, 2), sw_device=self.device, device="cpu"
        )

    @torch.no_grad()
    def __call__(self, scan: Scan) -> Prediction:
        """Segment a scan.

        Raises:
            ValueError, OSError: if it cannot be read or preprocessed.
        """
        with bare_errors():
            sample = self.preprocessing({"image": listed_image(scan)})
            logits = self.windows(sample["image"].as_tensor()[None], self.network)[0]
            confidence = _confidence(logits)
            sample["pred"] = MetaTensor(logits, meta=sample["image"].meta)
            label = InvertToLabeld("pred", self.preprocessing, "image")(sample)["pred"]
            return Prediction(self.largest_pieces(label) if self.one_piece else label, confidence)


def _confidence(logits: Tensor) -> dict[int, float]:
    # The background has the logit 0, in the solved probe as in the loss of fine-tuning.
    highest, channel = logits.max(dim=0)
    shift = highest.clamp(min=0)
    probability = (highest - shift).exp() / ((logits - shift).exp().sum(dim=0) + (-shift).exp())
    found = torch.where(highest > 0, channel + 1, 0)
    size = len(logits) + 1
    counts = torch.bincount(found.flatten(), minlength=size)
    sums = torch.bincount(found.flatten(), probability.double().flatten(), minlength=size)
    return {value: float(sums[value] / counts[value]) for value in range(1, size) if counts[value]}


def in_ras(volume: MetaTensor) -> MetaTensor:
    """Return a volume with its axes along right, anterior and superior."""
    return Orientation(**CANONICAL)(volume)


def load_volume(scan: Scan) -> MetaTensor:
    """Return a mask or the first channel of a scan, ``(1, H, W, D)``, its axes along right, anterior and superior."""
    first = str(image_channels(scan)[0])
    return in_ras(VerifiedLoadImaged("image", ensure_channel_first=True)({"image": first})["image"])


def write_prediction(
    label: MetaTensor, scan: Scan, case: str, names: dict[int, str], values: dict[int, int], folder: Path
) -> None:
    """Write a label map as ``CASE.seg.nrrd`` for 3D Slicer and as ``CASE.nii.gz``, both or none.

    That of a DICOM series is also written as ``CASE.seg.dcm``, where its headers allow.

    Args:
        label: shape ``(1, H, W, D)`` with its affine, on the grid of the scan.
        scan: file, folder of a DICOM series, or channels.
        case: id of the scan.
        names: of the values.
        values: that stand for them in the NIfTI file: those of the user's masks.
        folder: of the files.
    """
    mask, affine = label.numpy()[0].astype(np.uint8), label.affine.numpy().astype(np.float64)
    table = np.zeros(256, np.uint16)
    table[list(values)] = list(values.values())
    own = table[mask]
    with staging_folder(folder, last=f"{case}.seg.nrrd") as staging:
        image = nib.Nifti1Image(own.astype(np.uint8) if own.max(initial=0) < 256 else own, affine)
        image.header.set_xyzt_units("mm")
        nib.save(image, staging / f"{case}.nii.gz")
        if is_series(grid_file(scan)):
            write_dicom_segmentation(staging / f"{case}.seg.dcm", mask, grid_file(scan), names)
        header = segmentation_header(mask.shape, affine, names)
        nrrd.write(str(staging / f"{case}.seg.nrrd"), mask, header, index_order="F")
