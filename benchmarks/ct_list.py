"""Make the CT data list of docs/results.md from a folder of public scans: unpack, merge labels, list.

    python benchmarks/ct_list.py SCANS OUT

The label maps of TotalSegmentator hold 61 classes; the seven groups below become labels 1 to 7.
"""

import json
import sys
import tarfile
from pathlib import Path

import nibabel as nib
import numpy as np

# TotalSegmentator's class numbers (version 2): https://github.com/wasserth/TotalSegmentator#class-details
GROUPS = {
    "spleen": [1],
    "kidney": [2, 3],
    "liver": [5],
    "stomach": [6],
    "gallbladder": [4],
    "aorta": [52],
    "spine": list(range(26, 51)),
}
UNLABELED = {
    "aorta": "totalsegmentator-tests/aorta_report/test_result/models/ct_cropped.nii.gz",
    "pulmonary": "totalsegmentator-tests/pulmonary_report/models/ct_cropped.nii.gz",
    "chaos": "chaos-ct-set3/DICOM_anon.tar.xz",
    "nsclc": "nsclc-radiomics-lung1-001/LUNG1-001_image.tar.xz",
    "crlm": "crlm-ct-1004/CRLM-CT-1004_image.tar.xz",
    **{f"sts_{n}": f"ibsi-sts/STS_{n}/CT_image.nii.gz" for n in ("002", "008", "012", "015", "019", "024", "025")},
}


def unpack(archive: Path, out: Path) -> Path:
    """Unpack the one DICOM series in an archive; return its folder."""
    folder = out / archive.name.removesuffix(".tar.xz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (series,) = {file.parent for file in folder.rglob("*") if file.is_file()}
    return series


def merged(source: Path, target: Path) -> Path:
    """Write the label map with the seven groups."""
    image = nib.load(source)
    values = np.asarray(image.dataobj)
    label = np.zeros(values.shape, np.uint8)
    for number, members in enumerate(GROUPS.values(), start=1):
        label[np.isin(values, members)] = number
    nib.save(nib.Nifti1Image(label, image.affine), target)
    return target


def main(scans: Path, out: Path) -> None:
    """Write OUT/ct.json and the files it lists."""
    out.mkdir(parents=True)
    own = scans / "totalsegmentator-tests"
    unlabeled = []
    for case, name in UNLABELED.items():
        path = scans / name
        unlabeled.append({"case": case, "image": unpack(path, out) if path.suffix == ".xz" else path})
    training = {
        "case": "example_ct",
        "image": own / "example_ct.nii.gz",
        "label": merged(own / "example_seg_fast_force_split.nii.gz", out / "example_ct_label.nii.gz"),
    }
    test = {
        "case": "example_ct_dicom",
        "image": unpack(own / "example_ct_dicom.tar.xz", out),
        "label": merged(own / "example_seg_dicom.nii.gz", out / "example_ct_dicom_label.nii.gz"),
    }
    sections = {"training": [training], "validation": [], "test": [test], "unlabeled": unlabeled}
    labels = {"0": "background", **{str(i): name for i, name in enumerate(GROUPS, start=1)}}
    content = {"name": "public-ct", "modality": "CT", "labels": labels, **sections}
    (out / "ct.json").write_text(json.dumps(content, indent=2, default=str))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
