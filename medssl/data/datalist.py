"""The data list: which scans exist, which are labelled, and which are held out."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medssl.data.entries import read_channels, read_section, require_text, require_unique_cases
from medssl.data.foreign_lists import native_content
from medssl.data.names import require_labels
from medssl.data.splits import by_group, group_of, nested_few_label_subsets, require_whole_groups
from medssl.files import replacing
from medssl.scans.channels import channels_of_file, image_channels, image_files
from medssl.scans.colours import Colour, format_label_colours, require_label_colours
from medssl.scans.structures import names_as_text, structure_path

SECTIONS = ("training", "validation", "test", "unlabeled")
MODALITIES = ("CT", "MR", "image")


@dataclass(frozen=True)
class Datalist:
    """A data list in MONAI's decathlon style.

    Attributes:
        name: name of the data set.
        modality: ``"CT"``, ``"MR"``, or ``"image"`` for micrographs and other pictures.
        labels: name of every label value, starting at 0 = background, without gaps.
        sections: ``{"case", "image", "label"}`` of every case by section, with absolute paths; cases in ``unlabeled``
            have no label. Cases with the same ``"group"``, such as the slices of a scan or the images of a specimen,
            are never split across sections or folds. ``"position"`` is the place of a slice in its scan, from 0 to 1,
            as text.
        licence: licence of the data, if known.
        path: the JSON file, if the list was read from one.
        spatial_dims: number of spatial axes of the images, 2 or 3.
        label_colours: colour of each label value, where masks are colour pictures (see `medssl.scans.colours`).
        channels: names of the channels, where every ``"image"`` is a list of files, or of channels of one file
            (`medssl.scans.channels`); else empty.
    """

    name: str
    modality: Literal["CT", "MR", "image"]
    labels: dict[int, str]
    sections: dict[str, tuple[dict[str, Any], ...]]
    licence: str | None = None
    path: Path | None = None
    spatial_dims: Literal[2, 3] = 3
    label_colours: dict[int, Colour | str] | None = None
    channels: tuple[str, ...] = ()

    def section(self, name: str) -> list[dict[str, Any]]:
        """Return the cases of a section, or of several joined by ``+``.

        Args:
            name: section, such as ``"test"`` or ``"training+unlabeled"``.

        Raises:
            ValueError: if the section does not exist or is empty.
        """
        parts = name.split("+")
        source = self.path or f"Data list {self.name}"
        for part in parts:
            if part not in SECTIONS:
                raise ValueError(f"{source} has no section '{part}'; the sections are {', '.join(SECTIONS)}.")
        cases = [dict(case) for part in parts for case in self.sections.get(part, ())]
        if not cases:
            raise ValueError(f"{source} has no case in section '{name}'; add some or choose another section.")
        return cases


def read_datalist(path: str | os.PathLike[str], channel: str | None = None) -> Datalist:
    """Read and check the data list in a JSON file; `medssl.scans.integrity` checks the files that it names.

    The ``dataset.json`` of the Medical Segmentation Decathlon and of nnU-Net are read too
    (see `medssl.data.foreign_lists`).

    Args:
        path: the JSON file; paths in it may be relative to its folder.
        channel: name or number of the channel to take, where a foreign list has several.

    Raises:
        ValueError: if the file is not a valid list; the message names the file and the key.
        FileNotFoundError: if the file does not exist.
    """
    path = Path(path)
    content = native_content(path, _read_json(path), channel)
    for key, value in content.items():
        if key not in SECTIONS and isinstance(value, list) and any(isinstance(item, dict) for item in value):
            raise ValueError(f"{path}: '{key}' is not a section; the sections are {', '.join(SECTIONS)}.")
    dims, named = _spatial_dims(path, content), content.get("channels")
    # Of pictures, colours have no names.
    channels = len(named) if isinstance(named, list) and dims == 3 else 1
    sections = {name: read_section(path, name, content.get(name, []), channels) for name in SECTIONS}
    if not any(sections.values()):
        raise ValueError(f"{path}: there are no cases; list some in one of {', '.join(SECTIONS)}.")
    require_unique_cases(path, sections)
    require_whole_groups(sections, path)
    labels = _read_labels(path, content, sections)
    licence = content.get("licence", content.get("license"))
    cases = [case for listed in sections.values() for case in listed]
    return Datalist(
        name=require_text(path, content, "name"),
        modality=_modality(path, content),
        labels=labels,
        sections=sections,
        licence=None if licence is None else str(licence),
        path=path.absolute(),
        spatial_dims=dims,
        label_colours=_read_colours(path, content, labels),
        channels=read_channels(path, content.get("channels"), cases),
    )


def write_datalist(datalist: Datalist, path: str | os.PathLike[str]) -> Path:
    """Write a data list to a JSON file, completely or not at all, and return its path.

    Files below its folder are listed relative to it, so that the folder can be moved.

    Args:
        datalist: the list to write.
        path: the JSON file; its folder is created, an existing file is replaced.
    """
    path = Path(os.path.abspath(path))
    content: dict[str, Any] = {"name": datalist.name, "modality": datalist.modality}
    content |= {"licence": datalist.licence} if datalist.licence else {}
    content |= {"spatial_dims": datalist.spatial_dims} if datalist.spatial_dims != 3 else {}
    content |= {"channels": list(datalist.channels)} if datalist.channels else {}
    content["labels"] = {str(value): name for value, name in datalist.labels.items()}
    if datalist.label_colours:
        content["label_colours"] = {str(value): colour for value, colour in datalist.label_colours.items()}
    for name in SECTIONS:
        content[name] = [
            {
                key: _portable(_joined(value), path.parent) if key in ("image", "label") else value
                for key, value in case.items()
            }
            for case in datalist.sections.get(name, ())
        ]
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def load_section(path: str | os.PathLike[str], section: str) -> list[dict[str, str]]:
    """Load the cases of a section of a data list, with absolute paths.

    If any case of the list has a group, every case gets one: by default its own name. If the list has label colours,
    each case holds them as ``label_colours``, text that `medssl.scans.colours.parse_label_colours` reads. If a label is
    a DICOM SEG or RTSTRUCT, each case holds ``label_names`` (`medssl.scans.structures.names_as_text`) and
    ``label_scan``, the scan again.

    Args:
        path: the JSON file.
        section: section, such as ``"test"`` or ``"training+unlabeled"``.
    """
    datalist = read_datalist(path)
    return _loadable(datalist, datalist.section(section))


def load_few_labels(
    path: str | os.PathLike[str], section: str, num_labels: int | None, fold: int
) -> list[dict[str, str]]:
    """Load the cases of a section that a run with few labels may learn from.

    In one fold, the cases for 2 labels are among those for 5 labels. All cases of a group, such as the slices of a
    scan, count as one.

    Args:
        path: the JSON file.
        section: section, such as ``"training"``.
        num_labels: number of cases, or of groups where there are any; ``None``: all.
        fold: number of the draw, which seeds it.

    Raises:
        ValueError: if the section has fewer cases.
    """
    datalist = read_datalist(path)
    groups = require_few_labels(datalist, section, num_labels)
    chosen = groups if num_labels is None else nested_few_label_subsets(groups, [num_labels], seed=fold)[num_labels]
    return _loadable(datalist, [case for group in chosen for case in groups[group]])


def require_few_labels(datalist: Datalist, section: str, num_labels: int | None) -> dict[str, list[dict[str, str]]]:
    """Return the groups of a section; raises ValueError if they are fewer than a run with few labels asks for."""
    groups = by_group(datalist.section(section))
    if num_labels is not None and not 1 <= num_labels <= len(groups):
        raise ValueError(
            f"{datalist.path}, section '{section}': {num_labels} labelled cases are asked for, but there are "
            f"{len(groups)}; ask for 1 to that many."
        )
    return groups


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique_keys)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no data list {path}; `medssl datalist` creates one.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object with keys such as 'name' and 'training'.")
    return content


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"the key '{twice[0]}' appears twice")
    return dict(pairs)


def _modality(path: Path, content: Mapping[str, Any]) -> Literal["CT", "MR", "image"]:
    if content.get("modality") not in MODALITIES:
        raise ValueError(f"{path}: 'modality' must be CT, MR or image, not {content.get('modality')!r}.")
    return content["modality"]


def _spatial_dims(path: Path, content: Mapping[str, Any]) -> Literal[2, 3]:
    stored = content.get("spatial_dims", 3)
    if stored not in (2, 3) or isinstance(stored, bool | float):
        raise ValueError(f"{path}: 'spatial_dims' must be 2 or 3, not {stored!r}.")
    return stored


def _read_labels(path: Path, content: Mapping[str, Any], sections: Mapping[str, Any]) -> dict[int, str]:
    if "labels" not in content and not any(sections[name] for name in SECTIONS if name != "unlabeled"):
        return {0: "background"}
    stored = content.get("labels")
    if not isinstance(stored, dict) or not all(re.fullmatch(r"\d{1,9}", key) for key in stored):
        raise ValueError(f'{path}: \'labels\' must map integers to names, as in {{"0": "background", "1": "liver"}}.')
    labels = {int(key): require_text(path, {f"labels.{key}": name}, f"labels.{key}") for key, name in stored.items()}
    require_labels(labels, path)
    return dict(sorted(labels.items()))


def _read_colours(path: Path, content: Mapping[str, Any], labels: Mapping[int, str]) -> dict[int, Colour | str] | None:
    stored = content.get("label_colours")
    if stored is None:
        return None
    if not isinstance(stored, dict) or not all(key.isdecimal() and int(key) in labels for key in stored):
        raise ValueError(f"{path}: 'label_colours' must map values of 'labels' to colours such as [255, 0, 0].")
    return require_label_colours({int(value): colour for value, colour in stored.items()}, f"{path}: 'label_colours'")


def _loadable(datalist: Datalist, cases: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return what transforms read of cases, with the same keys for all, so that they can form a batch."""
    listed = [case for section in datalist.sections.values() for case in section]
    has_groups = any("group" in case for case in listed)
    has_positions = all("position" in case for case in listed)
    has_structures = any("label" in case and structure_path(case["label"]) is not None for case in listed)
    colours = {"label_colours": format_label_colours(datalist.label_colours)} if datalist.label_colours else {}
    names = names_as_text(datalist.labels)
    return [
        {key: value for key, value in case.items() if key != "position" or has_positions}
        | ({"group": group_of(case)} if has_groups else {})
        | ({"label_names": names, "label_scan": image_files(case["image"])[0]} if has_structures else {})
        | colours
        for case in cases
    ]


def _joined(image: str | list[str]) -> str | list[str]:
    """Return the file instead of the list of all of its channels."""
    channels = image_channels(image)
    file, _, count = channels[0]
    return file if count > 1 and list(map(str, channels)) == channels_of_file(file, count) else image


def _portable(file: str | list[str], folder: Path) -> str | list[str]:
    if isinstance(file, list):
        return [_portable(one, folder) for one in file]
    # A reader takes a relative path as relative to the list, so one that is relative to the working folder must go.
    path = Path(os.path.abspath(file))
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
