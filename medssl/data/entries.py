"""The cases that a data list names."""

import os
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medssl.data.names import case_of_file, composed, require_no_code, require_safe_case
from medssl.scans.channels import channels_of_file, image_channels


def require_text(path: Path, content: Mapping[str, Any], key: str) -> str:
    """Return the text under a key; raises ValueError if it is not text or empty."""
    value = content.get(key)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError(f"{path}: '{key}' must be text, not {value!r}.")
    return value


def read_section(path: Path, name: str, entries: Any, channels: int = 1) -> tuple[dict[str, str], ...]:
    """Read the cases of a section, with absolute paths; a case without a name is named after its file.

    Args:
        path: the data list.
        name: of the section.
        entries: what the list holds under that name.
        channels: that an image has; where they are several, an image that is one file holds them all.

    Raises:
        ValueError: if an entry is not a case; names the place.
    """
    if not isinstance(entries, list):
        raise ValueError(f"{path}: '{name}' must be a list of cases.")
    return tuple(_read_entry(path, f"{name}[{index}]", name, entry, channels) for index, entry in enumerate(entries))


def _read_entry(path: Path, place: str, section: str, entry: Any, channels: int) -> dict[str, str]:
    if not isinstance(entry, dict):
        raise ValueError(f"{path}: '{place}' must be an object with 'image' and perhaps 'case' and 'label'.")
    keys = ("image",) if section == "unlabeled" else ("image", "label")
    if section == "unlabeled" and "label" in entry:
        raise ValueError(f"{path}: '{place}' has a label; list the case in 'training', or drop the label.")
    if section != "unlabeled" and "label" not in entry:
        raise ValueError(f"{path}: '{place}' has no 'label'; list the case in 'unlabeled'.")
    first = entry["image"][0] if isinstance(entry.get("image"), list) and entry["image"] else entry.get("image")
    if "case" not in entry and isinstance(first, str):
        entry = {"case": case_of_file(image_channels(first)[0].file), **entry}
    if isinstance(entry.get("case"), str):
        entry = {**entry, "case": composed(entry["case"])}
    require_safe_case(entry.get("case"), f"{path}, '{place}'")
    files = {key: _files(path, f"{place}.{key}", entry.get(key)) for key in keys}
    if channels > 1 and isinstance(files["image"], str) and image_channels(files["image"])[0].count == 1:
        files["image"] = channels_of_file(files["image"], channels)
    if isinstance(files.get("label"), list):
        raise ValueError(f"{path}: '{place}.label' lists several files; a case has one label map.")
    if "position" in entry:
        files["position"] = _position(path, f"{place}.position", entry["position"])
    if "group" not in entry:
        return {"case": entry["case"], **files}
    return {
        "case": entry["case"],
        "group": require_text(path, {f"{place}.group": entry["group"]}, f"{place}.group"),
        **files,
    }


def _files(path: Path, place: str, value: Any) -> str | list[str]:
    """Return the absolute path of a file, or those of several channels."""
    if not isinstance(value, list):
        return _existing(path.parent / require_text(path, {place: value}, place))
    found = [_existing(path.parent / require_text(path, {place: one}, place)) for one in value]
    if len(set(found)) < len(found) or not found:
        raise ValueError(f"{path}: '{place}' must list one file for each channel, none of them twice.")
    return found if len(found) > 1 else found[0]


def read_channels(path: Path, stored: Any, cases: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the names of the channels where images have several; none where each has one.

    Args:
        path: the data list.
        stored: what it holds as ``channels``; ``None``: they are numbered.
        cases: all of the list.

    Raises:
        ValueError: if cases have different numbers of channels, or there are other names than channels, or a name that
            a configuration would take for code.
    """
    counts = {len(image_channels(case["image"])): case["case"] for case in cases}
    if len(counts) > 1:
        listed = ", ".join(f"'{case}' has {count}" for count, case in sorted(counts.items()))
        raise ValueError(f"{path}: cases have different numbers of channels: {listed}; list the same for all.")
    count = next(iter(counts), 1)
    names = [f"channel {index}" for index in range(count)] if stored is None else stored
    is_text = isinstance(names, list) and all(isinstance(name, str) and name.strip() for name in names)
    if not is_text or len(names) != count or len(set(names)) != count:
        raise ValueError(f"{path}: 'channels' must name the {count} file(s) of every 'image', not {stored!r}.")
    require_no_code(names, "channel", path)
    return tuple(names) if count > 1 else ()


def _existing(path: Path) -> str:
    """Return the absolute path, with its accents as the file system stores them."""
    (listed,) = image_channels(path)
    absolute = os.path.abspath(listed.file)
    if not absolute.isascii() and not os.path.exists(absolute):
        forms = (unicodedata.normalize(form, absolute) for form in ("NFC", "NFD"))
        absolute = next(filter(os.path.exists, forms), absolute)
    return str(listed._replace(file=absolute))


def _position(path: Path, place: str, value: Any) -> str:
    try:
        if 0 <= float(value) <= 1:
            return str(value)  # Text, like everything in an entry.
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{path}: '{place}' must be a number from 0 to 1, the slice's place in its scan, not {value!r}.")


def require_unique_cases(path: Path, sections: Mapping[str, tuple[dict[str, str], ...]]) -> None:
    """Require that no two cases have one id.

    Args:
        path: the data list.
        sections: cases by section.

    Raises:
        ValueError: if two do; names both places.
    """
    places: dict[str, str] = {}
    for name, cases in sections.items():
        for index, entry in enumerate(cases):
            # Ids that differ only in upper and lower case are one file on some systems.
            case, place = entry["case"].casefold(), f"{name}[{index}]"
            if case in places:
                raise ValueError(
                    f"{path}: case '{entry['case']}' is in '{places[case]}' and '{place}'; ids must be unique."
                )
            places[case] = place
