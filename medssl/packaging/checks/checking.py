"""Every check of a bundle, given as a folder or as a zip."""

from pathlib import Path

from medssl.packaging.checks.preflight import check_bundle
from medssl.packaging.checks.rehearsal import rehearse
from medssl.packaging.checks.unpacking import unpacked


def check_packed(path: Path, quick: bool = False) -> list[str]:
    """Return what is wrong with a bundle, one sentence per fault; an empty list if nothing is.

    Args:
        path: folder or zip of a packed bundle that you trust: its configuration is run.
        quick: True skips `medssl.packaging.checks.rehearsal.rehearse`, which runs MONAI's commands.

    Raises:
        FileNotFoundError: if there is no such folder or file.
        ValueError: if the file is not a zip that is safe to unpack, see `medssl.packaging.checks.unpacking.unpacked`.
    """
    if path.is_dir():
        return check_bundle(path.resolve()) or ([] if quick else rehearse(path))
    if not path.is_file():
        raise FileNotFoundError(f"There is no bundle {path}; give the folder or the zip of one.")
    with unpacked(path) as bundle:
        return check_packed(bundle, quick)
