"""Every check of a bundle, given as a folder or as a zip."""

from pathlib import Path

from medssl.packaging.checks.preflight import check_bundle
from medssl.packaging.checks.rehearsal import rehearse
from medssl.packaging.checks.unpacking import unpacked


def check_packed(path: Path, quick: bool = False, trust: bool = False) -> list[str]:
    """Return what is wrong with a bundle, one sentence per fault; an empty list if nothing is.

    Args:
        path: folder or zip of a packed bundle.
        quick: True skips `medssl.packaging.checks.rehearsal.rehearse` where `trust` is True.
        trust: True runs what the bundle holds: its configuration, its TorchScript, and MONAI's commands on it. Else it
            is read as data.

    Raises:
        FileNotFoundError: if there is no such folder or file.
        ValueError: if the file is not a zip that is safe to unpack, see `medssl.packaging.checks.unpacking.unpacked`.
    """
    if path.is_dir():
        return check_bundle(path.resolve(), trust) or (rehearse(path) if trust and not quick else [])
    if not path.is_file():
        raise FileNotFoundError(f"There is no bundle {path}; give the folder or the zip of one.")
    with unpacked(path) as bundle:
        return check_packed(bundle, quick, trust)
