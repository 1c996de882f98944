"""What tests a network before it segments: labelled scans that are left out, or a part of the only one."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np

from medssl.files import replacing
from medssl.probe.rows import IGNORED
from medssl.workflows.segment_predict import load_volume
from medssl.workflows.segment_training import LabelledCase

# Between the part to learn from and the part to test on: neighbouring slices look alike, so that they would test
# memory. A part of the scan's length, because a receptive field is often as long as an organ.
_GAP = 0.05
# Of a structure that counts in the test, in each part.
_LEAST_SHARE = 0.05


class HeldOut(NamedTuple):
    """A test: what a network learns from, and where it is measured.

    Attributes:
        name: of what is held out.
        learn_from: labelled scans, or a part of one as a scan of its own.
        for_probe: what a probe learns from instead; empty: the same.
        case: is segmented.
        region: part of it, along right, anterior and superior, that counts; None counts the whole.
        values: of the structures that count; None counts all.
    """

    name: str
    learn_from: tuple[LabelledCase, ...]
    case: LabelledCase
    region: tuple[slice, ...] | None = None
    values: tuple[int, ...] | None = None
    for_probe: tuple[LabelledCase, ...] = ()

    def cases(self, method: str) -> tuple[LabelledCase, ...]:
        """Return what a method learns from."""
        return self.for_probe if method == "probe" and self.for_probe else self.learn_from


def left_out_scans(cases: Sequence[LabelledCase], number: int) -> list[HeldOut]:
    """Return tests on some scans, each left out while the others are learnt from; none where there is only one."""
    if len(cases) < 2:
        return []
    return [HeldOut(case.case, tuple(c for c in cases if c is not case), case) for case in cases[:number]]


def held_out_part(case: LabelledCase, values: Iterable[int], folder: Path) -> HeldOut | None:
    """Return a test on a part of a scan while the rest is learnt from, or None where no cut parts any structure.

    The scan is cut in two across the axis, and at the slice, where the parts of the structures are most equal, with a
    gap between them. The part with more of them is written as a scan of its own, for fine-tuning. A probe takes the
    features of the whole scan, as it does where it segments, and ignores all labels outside that part.

    Args:
        case: a labelled scan.
        values: of the structures in its mask.
        folder: of the part to learn from, and of nothing else.
    """
    label = np.rint(load_volume(case.label).numpy()[0]).astype(np.int64)
    cut = _best_cut(label, list(values))
    if cut is None:
        return None
    learnt, tested, shown = cut
    key = hashlib.sha256(f"{case.content} {learnt}".encode()).hexdigest()
    part = LabelledCase(f"{case.case}_part", folder / f"{key[:16]}.nii", folder / f"{key[:16]}_mask.nii", key)
    whole = LabelledCase(f"{case.case}_rest", case.image, folder / f"{key[:16]}_rest.nii", f"{key} rest")
    _remove_others(folder, (part.image, part.label, whole.label))
    _write_part(case, part, learnt)
    _write_rest(case, whole, learnt)
    return HeldOut(f"part of {case.case}", (part,), case, tested, shown, (whole,))


Box = tuple[slice, ...]


def _best_cut(label: np.ndarray, values: Sequence[int]) -> tuple[Box, Box, tuple[int, ...]] | None:
    """Return the box to learn from, that to test on, and the structures that both show."""
    best, cut = 0.0, None
    for axis, size in enumerate(label.shape):
        gap = max(round(_GAP * size), 1)
        others = tuple(other for other in range(label.ndim) if other != axis)
        counts = np.stack([(label == value).sum(axis=others) for value in values])
        shares = np.cumsum(counts, axis=1) / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        # For a lower part that ends with each slice, and an upper part that begins behind the gap.
        lower, upper = shares[:, : size - gap], 1 - shares[:, gap:]
        smaller = np.minimum(lower, upper)
        score = np.where(smaller >= _LEAST_SHARE, smaller, 0).sum(axis=0)
        if score.max(initial=0) > best:
            last = int(score.argmax())
            best = float(score[last])
            parts = _slab(label.shape, axis, 0, last + 1), _slab(label.shape, axis, last + 1 + gap, size)
            parts = parts if lower[:, last].sum() >= upper[:, last].sum() else parts[::-1]
            shown = smaller[:, last] >= _LEAST_SHARE
            cut = (*parts, tuple(value for value, both in zip(values, shown, strict=True) if both))
    return cut


def _slab(shape: Sequence[int], axis: int, first: int, end: int) -> Box:
    box = [slice(0, size) for size in shape]
    box[axis] = slice(first, end)
    return tuple(box)


def _remove_others(folder: Path, kept: Sequence[Path]) -> None:
    for path in folder.glob("*"):
        if path not in kept:
            path.unlink()


def _write_part(case: LabelledCase, part: LabelledCase, box: Box) -> None:
    """Write the scan and the mask of a part, unless they are there."""
    for whole, path in ((case.image, part.image), (case.label, part.label)):
        if not path.is_file():
            volume = load_volume(whole)
            affine = volume.affine.numpy().astype(np.float64)
            affine[:3, 3] = (affine @ [*(side.start for side in box), 1])[:3]
            values = volume.numpy()[0][box]
            _save(np.rint(values).astype(np.uint8) if whole is case.label else values, affine, path)


def _write_rest(case: LabelledCase, whole: LabelledCase, box: Box) -> None:
    """Write the mask of the whole scan, ignored outside a part, unless it is there."""
    if not whole.label.is_file():
        volume = load_volume(case.label)
        mask = np.full(volume.shape[1:], IGNORED, np.uint8)
        mask[box] = np.rint(volume.numpy()[0][box])
        _save(mask, volume.affine.numpy().astype(np.float64), whole.label)


def _save(values: np.ndarray, affine: np.ndarray, path: Path) -> None:
    image = nib.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    with replacing(path) as temporary:
        nib.save(image, temporary)
