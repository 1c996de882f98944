"""A bundle's zip as a folder, without letting the zip write elsewhere or fill the disk."""

import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monai.apps.utils import safe_extract_member

# More than any bundle of medssl has. A zip that unpacks to less than the harmless size may have any ratio.
_MAX_MEMBERS = 1000
_MAX_BYTES = 8 * 2**30
_MAX_RATIO = 100
_HARMLESS_BYTES = 64 * 2**20


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """Yield the folder of a bundle, unpacked from its zip into a temporary place that is removed after the block.

    Args:
        archive: zip that holds one folder, as `medssl.packaging.pack.pack` writes it.

    Raises:
        ValueError: if the file is not a complete zip; if a member is a link, encrypted, or would be written outside
            the folder; or if it unpacks to more than 1000 members, 8 GiB, or (from 64 MiB on) 100 times its size.
            Only the temporary place is ever written to.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            with zipfile.ZipFile(archive) as opened:
                members = opened.infolist()
                _require_bounded_size(archive, members)
                targets = [_target(archive, member, folder) for member in members]
                for member, target in zip(members, targets, strict=True):
                    _extract(opened, member, target)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise ValueError(f"{archive} is not a complete zip file: {error}.") from error
        tops = sorted(folder.iterdir())
        if len(tops) != 1 or not tops[0].is_dir():
            raise ValueError(f"{archive} must hold one folder, that of the bundle, got {[top.name for top in tops]}.")
        yield tops[0]


def _require_bounded_size(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > _MAX_MEMBERS:
        raise ValueError(f"{archive} holds {len(members)} members; a bundle has at most {_MAX_MEMBERS}.")
    # zipfile reads no more of a member than it is said to hold.
    size = sum(member.file_size for member in members)
    if size > _MAX_BYTES:
        raise ValueError(f"{archive} unpacks to {size} bytes; a bundle has at most {_MAX_BYTES}.")
    ratio = size / archive.stat().st_size
    if size > _HARMLESS_BYTES and ratio > _MAX_RATIO:
        raise ValueError(f"{archive} unpacks to {ratio:.0f} times its size; that of a bundle is at most {_MAX_RATIO}.")


def _target(archive: Path, member: zipfile.ZipInfo, folder: Path) -> Path:
    if stat.S_ISLNK(member.external_attr >> 16) or member.flag_bits & 1:
        raise ValueError(f"{archive}: {member.filename} is a link or encrypted; a bundle holds plain files only.")
    try:
        return Path(safe_extract_member(member, folder))
    except ValueError as error:
        raise ValueError(f"{archive}: {error}; a bundle writes into its own folder only.") from error


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(member) as source, target.open("wb") as written:
        shutil.copyfileobj(source, written)
