"""Tiny 2D data for tests: slices of phantoms as 2D NIfTI files and as pictures."""

from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from medssl.data.datalist import SECTIONS, Datalist, read_datalist, write_datalist
from medssl.data.slices import cut_slices
from medssl.phantom.dataset import write_phantom

COLOURS = {1: (255, 0, 0), 2: (0, 0, 255)}


def write_slices(folder: Path) -> Path:
    """Write the axial slices of five tiny MR phantoms as 2D NIfTI files, and give the path of their data list."""
    sizes = {"shape": (40, 32, 16), "spacing": (5.6, 5.9, 10.6)}
    cases = {"num_cases": 5, "num_labelled": 2, "num_validation": 1, "num_test": 1}
    volumes = write_phantom(folder / "volumes", **cases, **sizes, modality="MR")
    return cut_slices(read_datalist(volumes), folder / "slices")


def write_pictures(slices: Path, folder: Path, colours: bool = False) -> Path:
    """Write a list of 2D NIfTI files as PNG files, grey with index masks or RGB with colour masks, and give its list.

    Of the labels, 1 and 2 are kept.
    """
    source = read_datalist(slices)
    folder.mkdir(parents=True, exist_ok=True)
    sections = {}
    for section in SECTIONS:
        sections[section] = tuple(_write_case(case, folder, colours) for case in source.sections[section])
    labels = {value: source.labels[value] for value in range(3)}
    listed = {0: "else", **COLOURS} if colours else None
    made = Datalist("pictures", "image", labels, sections, spatial_dims=2, label_colours=listed)
    return write_datalist(made, folder / "datalist.json")


def _write_case(case: dict[str, str], folder: Path, colours: bool) -> dict[str, str]:
    entry = {"case": case["case"], "group": case["group"]}
    grey = np.asarray(nib.load(case["image"]).dataobj, dtype=np.float32)
    grey = (255 * (grey - grey.min()) / np.ptp(grey)).astype(np.uint8).T
    pixels = np.stack([grey, 255 - grey, grey // 2], axis=-1) if colours else grey
    entry["image"] = str(folder / f"{case['case']}.png")
    Image.fromarray(pixels).save(entry["image"])
    if "label" in case:
        mask = np.asarray(nib.load(case["label"]).dataobj).astype(np.uint8).T
        mask[mask > 2] = 0
        if colours:
            mask = np.array([(0, 0, 0), *COLOURS.values()], dtype=np.uint8)[mask]
        entry["label"] = str(folder / f"{case['case']}_mask.png")
        Image.fromarray(mask).save(entry["label"])
    return entry
