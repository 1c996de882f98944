"""Make the 2D data lists of docs/results.md from a folder of public images.

    python benchmarks/tables_2d_data.py IMAGES OUT [NAME ...]

NAME is a function below; default: all. Only `acdc` needs h5py (`python -m pip install h5py`).

The sets are small. `vessels` are 9 eyes and `cells` 5 smears, one image each; `acdc` has 7 and `sunnybrook` 4
patients, so use `medssl folds` there. All `membranes` are slices of one stack, split in blocks with a slice left out
between them; they say nothing about other specimens. `axons` come from 3 specimens and `micrographs` are 3 images:
only an example.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from medssl.data.datalist import SECTIONS, Datalist, write_datalist

BLACK, WHITE, RED, BLUE = (0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255)
Entries = Iterable[dict[str, str]]


def acdc(images: Path, out: Path) -> None:
    """ACDC: slices of 7 patients, end diastole and end systole; the spacing is lost."""
    _acdc(images, out, {0: "background", 1: "right ventricle", 2: "myocardium", 3: "left ventricle"})


def hearts(images: Path, out: Path) -> None:
    """ACDC with its three structures as one, which is large."""
    _acdc(images, out, {0: "background", 1: "heart"})


def _acdc(images: Path, out: Path, labels: dict[int, str]) -> None:
    import h5py

    entries = []
    for path in sorted((images / "acdc-cardiac").glob("*.h5")):
        with h5py.File(path) as file:
            volume, label = file["image"][()], np.minimum(file["label"][()], len(labels) - 1)
        for z in range(len(volume)):
            entry = {"case": f"{path.stem}_z{z:02d}", "group": path.stem, "position": f"{(z + 0.5) / len(volume):.4f}"}
            for kind, plane in (("image", volume[z].T), ("label", label[z].T)):
                entry[kind] = str(out / f"{kind}s" / f"{entry['case']}.nii.gz")
                Path(entry[kind]).parent.mkdir(parents=True, exist_ok=True)
                nib.save(nib.Nifti1Image(np.ascontiguousarray(plane), np.eye(4)), entry[kind])
            entries.append(entry)
    held_out = ("patient013", "patient019")
    licence = "CC BY-NC-SA 4.0 (ACDC)"
    _write(out, "MR", labels, entries, lambda entry: _held_out(entry, held_out), licence=licence)


def _held_out(entry: dict[str, str], patients: tuple[str, ...]) -> str:
    return "test" if entry["group"].startswith(patients) else "training"


def sunnybrook(images: Path, out: Path) -> None:
    """Sunnybrook: 60 slices of 4 patients; the patient with 4 slices is unlabeled."""
    folder = images / "sunnybrook-cmr"
    entries = [
        {"case": path.name.removesuffix(".dcm.png"), "group": path.name[:10], "image": str(path), "label": str(label)}
        for path in sorted((folder / "Images").glob("*/*.png"))
        for label in (folder / "Labels").glob(f"*/{path.name}")
    ]
    held_out = {"SC-HF-I-40": "unlabeled", "SC-HF-I-04": "test"}
    labels, colours = {0: "background", 1: "left ventricle"}, {0: BLACK, 1: WHITE}
    _write(out, "MR", labels, entries, lambda entry: held_out.get(entry["group"], "training"), colours, "Public Domain")


def membranes(images: Path, out: Path) -> None:
    """ISBI-2012: 12 neighbouring slices of one stack; 7 and 9 lie between the sections and are unlabeled."""
    folder = images / "isbi2012-em"
    entries = [
        {"case": f"slice_{z:02d}", "image": str(folder / f"image/{z}.png"), "label": str(folder / f"label/{z}.png")}
        for z in range(12)
    ]
    section = ["training"] * 7 + ["unlabeled", "validation", "unlabeled", "test", "test"]
    labels, colours = {0: "background", 1: "membrane"}, {0: WHITE, 1: BLACK}
    _write(out, "image", labels, entries, lambda entry: section[int(entry["case"][-2:])], colours, "ISBI-2012 terms")


def axons(images: Path, out: Path) -> None:
    """AxonDeepSeg: 6 micrographs; masks that were interpolated are rounded to 0, 128 and 255."""
    entries = []
    for path in sorted((images / "axondeepseg-sem").rglob("image*.png")):
        group = path.relative_to(images / "axondeepseg-sem").parts[0].strip("_")
        case = group + path.stem.removeprefix("image") + ("_val" if "Validation" in path.parts else "")
        grey = np.asarray(Image.open(path.with_name(path.name.replace("image", "mask"))).convert("L"))
        label = _picture(np.digitize(grey, (64, 192)).astype(np.uint8), out / "labels" / f"{case}.png")
        entries.append({"case": case, "group": group, "image": str(path), "label": label})
    held_out = {"test_training_files": "training", "test_patch_files": "validation", "test_demo_files": "test"}
    labels = {0: "background", 1: "myelin", 2: "axon"}
    _write(out, "image", labels, entries, lambda entry: held_out[entry["group"]], licence="MIT")


def micrographs(images: Path, out: Path) -> None:
    """NASA Super1: two views of one spot to train and to choose the best epoch, another spot for the test."""
    entries = [
        {"case": path.stem, "image": str(path), "label": str(path.parents[1] / f"{section}_annot/{path.stem}_mask.tif")}
        for section in ("train", "test")
        for path in sorted((images / "nasa-micrographs" / "Super1" / section).glob("*.tif"))
    ]
    # The mean over classes excludes 0, so no phase has the value 0.
    labels = {0: "background", 1: "matrix", 2: "blue phase", 3: "red phase"}
    colours = {1: "else", 2: BLUE, 3: RED}
    names = {"spot3_0d": "training", "spot3_180d": "validation", "spot2_0d": "test"}
    _write(out, "image", labels, entries, lambda entry: names[entry["case"].rpartition("_")[0]], colours, "MIT")


def vessels(images: Path, out: Path) -> None:
    """MedScribble: vessels of 4 eyes in colour fundus pictures turned grey (STARE) and 5 in OCT angiography."""
    held_out = {"im0255": "validation", "10159": "validation", "im0239": "test", "10052": "test", "10080": "test"}
    _medscribble(images, out, ("STARE", "OCTA500"), "vessel", held_out)


def cells(images: Path, out: Path) -> None:
    """MedScribble: 5 white blood cells, each filling much of its picture."""
    _medscribble(images, out, ("WBC",), "cell", {"036": "validation", "056": "test"})


def _medscribble(images: Path, out: Path, sources: tuple[str, ...], name: str, held_out: dict[str, str]) -> None:
    entries = []
    for source in sources:
        for path in sorted((images / "medscribble-2d" / source).rglob("img.npy")):
            number = path.parent.name.split("_")[0]
            image, soft = (np.load(path.with_name(file), allow_pickle=False) for file in ("img.npy", "seg.npy"))
            case = f"{source}_{number}"
            entry = {"case": case, "image": _picture(image.astype(np.float32), out / "images" / f"{case}.tif")}
            entry["label"] = _picture((soft > 0.5).astype(np.uint8), out / "labels" / f"{case}.png")
            entries.append(entry)
    labels = {0: "background", 1: name}
    _write(out, "image", labels, entries, lambda entry: held_out.get(entry["case"].split("_")[1], "training"))


def _picture(pixels: np.ndarray, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return str(path)


def _write(
    out: Path,
    modality: str,
    labels: dict[int, str],
    entries: Entries,
    section_of: Callable[[dict[str, str]], str],
    colours: dict | None = None,
    licence: str | None = None,
) -> None:
    sections: dict[str, list] = {section: [] for section in SECTIONS}
    for entry in entries:
        section = section_of(entry)
        kept = {key: value for key, value in entry.items() if key != "label" or section != "unlabeled"}
        sections[section].append(kept)
    listed = {section: tuple(cases) for section, cases in sections.items()}
    made = Datalist(out.name, modality, labels, listed, licence, spatial_dims=2, label_colours=colours)
    print(write_datalist(made, out / "list.json"), {section: len(cases) for section, cases in listed.items()})


SETS = (acdc, hearts, sunnybrook, membranes, axons, micrographs, vessels, cells)

if __name__ == "__main__":
    wanted = sys.argv[3:]
    for make in SETS:
        if not wanted or make.__name__ in wanted:
            make(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve() / make.__name__)
