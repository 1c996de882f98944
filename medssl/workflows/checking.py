"""The `medssl check` command: one line per case or finding."""

from collections.abc import Sequence
from pathlib import Path

from medssl.data.checking import check_datalist
from medssl.data.datalist import SECTIONS, read_datalist
from medssl.workflows.recipes import channel_settings, find_recipe, merge


def check_report(datalist: Path, data: Sequence[str] = ()) -> tuple[list[str], int]:
    """The lines of a check, one per case or finding and a summary at the end, and the number of errors.

    Args:
        datalist: the data list.
        data: data recipes, for patch size, spacing and channels.

    Raises:
        ValueError: if the list is wrong or empty.
    """
    listed = read_datalist(datalist)
    cases = [(section, entry["case"]) for section in SECTIONS for entry in listed.sections[section]]
    if not cases:
        raise ValueError(f"{datalist} lists no cases; add scans to training, validation, test or unlabeled.")
    sizes = merge([find_recipe("data", name) for name in data], channel_settings(listed)) if data else {}
    findings = check_datalist(datalist, sizes.get("patch_size"), sizes.get("spacing"), sizes.get("in_channels"))
    lines = []
    for section, case in cases:
        found = [f for f in findings if (f.section, f.case) == (section, case)]
        lines += [f"{section} {case}: {f.severity}: {f.file}: {f.problem}" for f in found]
        lines += [f"{section} {case}: ok"] * (not found)
    num_errors = sum(f.severity == "error" for f in findings)
    lines.append(f"{len(cases)} cases, {num_errors} errors, {len(findings) - num_errors} warnings")
    return lines, num_errors
