"""What becomes of loading and checking a damaged file."""

import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from medssl.scans.contents import channel_problems, image_problems
from medssl.scans.integrity import has_error, read_whole
from medssl.scans.loading import VerifiedLoadImaged
from medssl.scans.loading_2d import LoadImages2Dd
from tests.scans.bombs import bomb
from tests.scans.damages import BYTES, FIELDS
from tests.scans.files import AFFINE
from tests.scans.sound_files import FORMATS, Format

DAMAGES = (*BYTES, "another field", "size bomb")
FINE = ("refused by name", "as before", "legal but other")


@dataclass(frozen=True)
class Damaged:
    """A damaged scan.

    Attributes:
        path: of the scan: a file or a folder.
        file: the file that was changed.
        former: what the file held.
        contradicts: whether the change contradicts a checksum, or a length that the header says.
    """

    path: Path
    file: Path
    former: bytes
    contradicts: bool = False

    def undo(self) -> None:
        self.file.write_bytes(self.former)


def sound(name: str, folder: Path) -> Path:
    """Write the sound scan of a format into a new folder."""
    folder.mkdir(parents=True)
    return FORMATS[name].write(folder)


def damage(name: str, path: Path, kind: str | None, rng: np.random.Generator | None = None) -> Damaged:
    """Damage one file of a sound scan in one of the ways of `DAMAGES`; None changes nothing."""
    one, file = FORMATS[name], path
    if kind is None:
        return Damaged(path, path, b"")
    if path.is_dir() or kind in BYTES:
        files = sorted((path if path.is_dir() else path.parent).iterdir())
        file = files[rng.integers(len(files))]
    whole = file.read_bytes()
    change = BYTES.get(kind) or {"another field": FIELDS[one.family]}.get(kind) or partial(bomb, one.family)
    changed = change(whole, rng)
    file.write_bytes(changed)
    return Damaged(path, file, whole, kind in BYTES and _contradicts(one, whole, changed))


def _contradicts(one: Format, whole: bytes, changed: bytes) -> bool:
    """Whether a checksum covers what was changed, or the length contradicts a header that was not changed."""
    if one.stream is not None:
        start = whole.index(one.stream, whole.find(b"LOCAL") + 1)
        return changed[:start] == whole[:start]
    end = one.header_end(whole) if one.has_length else 0
    return one.has_length and len(changed) != len(whole) and changed[:end] == whole[:end]


def outcome(name: str, damaged: Damaged) -> str:
    """Say what became of a damaged scan; `FINE` lists the outcomes that are right."""
    one = FORMATS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = _loaded(one, damaged)
        checked = _checked(one, damaged)
    if loaded not in FINE and not isinstance(loaded, np.ndarray | tuple):
        return loaded
    if isinstance(checked, str):
        return checked
    is_refused = loaded == "refused by name"
    if checked == is_refused:
        return "judged otherwise by medssl check"
    if is_refused:
        return loaded
    if _is_sound(one, *loaded):
        return "as before"
    return "silently wrong" if damaged.contradicts else "legal but other"


def _loaded(one: Format, damaged: Damaged):
    """Return voxels and affine as training loads them, or what went wrong."""
    load = LoadImages2Dd("image", one.channels) if one.pixels else VerifiedLoadImaged("image")
    try:
        volume = load({"image": str(damaged.path)})["image"]
    except ValueError as error:
        named = any(str(path) in str(error) for path in (damaged.path, damaged.file))
        return "refused by name" if named else f"refused without a name: {error}"
    except Exception as error:
        return f"traceback: {type(error).__name__}: {error}"
    return volume.numpy(), volume.affine.numpy()


def _checked(one: Format, damaged: Damaged) -> bool | str:
    """Whether `medssl check` accepts the scan, or what went wrong."""
    try:
        whole = read_whole(damaged.path, 2 if one.pixels else 3)
        problems = list(whole.problems)
        if whole.voxels is not None:
            problems += image_problems(whole.voxels, "image")
            problems += channel_problems(whole.voxels, one.channels, 2 if one.pixels else 3)
    except Exception as error:
        return f"traceback of medssl check: {type(error).__name__}: {error}"
    return not has_error(problems)


def _is_sound(one: Format, voxels: np.ndarray, affine: np.ndarray) -> bool:
    return np.array_equal(voxels, one.truth()) and (one.pixels or np.allclose(affine, AFFINE, atol=1e-3))
