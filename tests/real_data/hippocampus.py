"""A data list of real scans: MR crops around one hippocampus, with its anterior and posterior part labelled."""

from pathlib import Path

from medssl.data.datalist import write_datalist
from medssl.data.folders import build_datalist

NAMES = {1: "anterior", 2: "posterior"}


def list_of_six(shared_data: Path, folder: Path) -> Path:
    """Write a data list of six pairs into an empty folder: three for training, one for validation, two for testing."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
        for path in sorted((shared_data / "msd-hippocampus" / kind).glob("*.nii.gz"))[:6]:
            (folder / kind / path.name).symlink_to(path)
    names = ",".join(f"{value}={name}" for value, name in NAMES.items())
    made = build_datalist(folder / "images", folder / "labels", "six", "MR", names, 0, num_validation=1, num_test=2)
    return write_datalist(made, folder / "list.json")
