"""Draw docs/images/segment.png: what ``medssl segment`` finds in a CT scan that nobody has labelled for it.

    python docs/draw_segmentation.py BTCV WORK

BTCV holds ``images/btcv_NN.nii.gz`` and ``labels/btcv_NN.nii.gz`` of the challenge (Synapse syn3193805, CC BY 4.0).
WORK gets five labelled and five other scans with five organs, and the result. The five others are those that the
weights that come with medssl were not pretrained on. Few minutes leave no time for fine-tuning, so that the result is
that of a linear probe. The scan with the highest mean Dice is drawn, and the Dice of all is printed.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medssl.evaluation.pictures import PLANES, draw_outlines, letter_sides, plane_aspect, plane_slice
from medssl.evaluation.segment_thumbnail import structure_colours

PICTURE = Path(__file__).resolve().parent / "images" / "segment.png"
# Numbers of BTCV.
ORGANS = {6: "liver", 1: "spleen", 2: "right kidney", 3: "left kidney", 8: "aorta"}
LABELLED, OTHERS = ("00", "03", "04", "06", "07"), ("01", "12", "18", "19", "22")
SETTINGS = ("--minutes", "4")
SHOWN = ("axial", "coronal")
WINDOW = (-110, 240)
# mm around the organs that are shown.
MARGIN = 30
BACKGROUND, INK = "#111418", "#e8eaed"


def write_folders(btcv: Path, work: Path) -> None:
    """Write ``scans`` with ten scans and ``labels`` with the masks of five."""
    for folder in ("scans", "labels"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    for number in (*LABELLED, *OTHERS):
        shutil.copy(btcv / "images" / f"btcv_{number}.nii.gz", work / "scans")
    for number in LABELLED:
        mask = nib.load(btcv / "labels" / f"btcv_{number}.nii.gz")
        nib.save(nib.Nifti1Image(organs(mask), mask.affine), work / "labels" / f"btcv_{number}.nii.gz")


def organs(mask: nib.Nifti1Image) -> np.ndarray:
    """Return the organs of a mask of BTCV as 1, 2, …, in the order of `ORGANS`."""
    values = np.asarray(mask.dataobj)
    found = np.zeros(values.shape, np.uint8)
    for new, old in enumerate(ORGANS, start=1):
        found[values == old] = new
    return found


def segment(work: Path) -> Path:
    """Run ``medssl segment`` and return the folder of the segmentations."""
    names = ",".join(f"{value}={name}" for value, name in enumerate(ORGANS.values(), start=1))
    command = ["segment", "scans", "--labels", "labels", "--label-names", names, *SETTINGS, "--out", "result"]
    subprocess.run([Path(sys.executable).with_name("medssl"), *command], cwd=work, check=True)  # noqa: S603
    return work / "result" / "segmentations"


def dice(found: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """Return the Dice of every organ."""
    scores = {}
    for value, name in enumerate(ORGANS.values(), start=1):
        ours, theirs = found == value, wanted == value
        scores[name] = float(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))
    return scores


def right_anterior_superior(path: Path) -> tuple[np.ndarray, tuple[float, ...]]:
    """Return the voxels of a file along right, anterior and superior, and their size in mm."""
    image = nib.as_closest_canonical(nib.load(path))
    return np.asarray(image.dataobj), image.header.get_zooms()[:3]


def draw(scan_path: Path, found: nib.Nifti1Image, wanted: nib.Nifti1Image, scores: dict[str, float]) -> None:
    """Write the picture: two planes, the outlines of medssl above, the manual ones below."""
    scan, spacing = right_anterior_superior(scan_path)
    maps = [np.asarray(nib.as_closest_canonical(image).dataobj) for image in (found, wanted)]
    box = body_box(maps[1], spacing)
    scan, maps = scan[box], [values[box] for values in maps]
    colours = structure_colours(list(ORGANS.values()))
    palette = {value: colours[name] for value, name in enumerate(ORGANS.values(), start=1)}
    figure = Figure(figsize=(9.6, 7.6), dpi=90, facecolor=BACKGROUND, layout="constrained")
    grid = figure.subplots(2, len(SHOWN))
    for plane, column in zip(SHOWN, grid.T, strict=True):
        axis, left, right = PLANES[plane]
        index, aspect = fullest(maps[1], axis), plane_aspect(spacing, axis)
        for axes, values, title in zip(column, maps, ("medssl", "drawn by hand"), strict=True):
            grey = plane_slice(scan, axis, index)
            axes.imshow(grey, cmap="gray", vmin=WINDOW[0], vmax=WINDOW[1], aspect=aspect, interpolation="bilinear")
            draw_outlines(axes, plane_slice(values, axis, index), palette, width=1.6)
            letter_sides(axes, left, right)
            axes.set_title(f"{title}, {plane}", color=INK, fontsize=11)
    lines = [Line2D([], [], color=colours[name], lw=3, label=f"{name} {scores[name]:.2f}") for name in scores]
    legend = {"ncols": len(lines), "frameon": False, "labelcolor": INK, "fontsize": 11, "title": "Dice in this scan"}
    figure.legend(handles=lines, loc="outside lower center", **legend).get_title().set_color(INK)
    figure.savefig(PICTURE, facecolor=BACKGROUND)


def body_box(values: np.ndarray, spacing: tuple[float, ...]) -> tuple[slice, ...]:
    """Return the box of the organs with `MARGIN` around them."""
    box = []
    for places, size, length in zip(np.nonzero(values), spacing, values.shape, strict=True):
        margin = round(MARGIN / size)
        box.append(slice(max(places.min() - margin, 0), min(places.max() + margin + 1, length)))
    return tuple(box)


def fullest(values: np.ndarray, axis: int) -> int:
    """Return the slice that shows most organs, and of those the one with most of their voxels."""
    slices = np.moveaxis(values, axis, 0)
    return max(range(len(slices)), key=lambda i: (len(np.unique(slices[i])), np.count_nonzero(slices[i])))


def main() -> None:
    """Segment, print the Dice of every scan as a table, and draw the best one."""
    btcv, work = map(Path, sys.argv[1:])
    write_folders(btcv, work)
    folder = segment(work)
    results, means = {}, {}
    print("| Dice |", " | ".join([*ORGANS.values(), "mean"]), "|")
    print("|---|" + "---:|" * (len(ORGANS) + 1))
    for number in OTHERS:
        found = nib.load(folder / f"btcv_{number}.nii.gz")
        mask = nib.load(btcv / "labels" / f"btcv_{number}.nii.gz")
        wanted = nib.Nifti1Image(organs(mask), mask.affine)
        scores = dice(np.asarray(found.dataobj), np.asarray(wanted.dataobj))
        results[number], means[number] = (found, wanted, scores), np.mean(list(scores.values()))
        print(f"| btcv_{number} |", " | ".join(f"{score:.2f}" for score in [*scores.values(), means[number]]), "|")
    best = max(means, key=means.get)
    draw(work / "scans" / f"btcv_{best}.nii.gz", *results[best])
    print(f"Drew btcv_{best}: mean {means[best]:.2f}, over all {np.mean(list(means.values())):.2f}")


if __name__ == "__main__":
    main()
