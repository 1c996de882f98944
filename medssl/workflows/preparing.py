"""The `medssl prepare` command: preprocess every case once, into a volume store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medssl.data.datalist import load_section, read_datalist
from medssl.workflows.recipes import channel_settings, find_recipe, merge


@dataclass
class Prepared:
    """Ids of the cases that were `made` or `kept`, and the problem of every case that `failed`."""

    made: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def prepare(
    datalist: Path,
    data: Sequence[str],
    output_dir: Path,
    sections: str | None = None,
    num_processes: int | None = None,
    verify: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> Prepared:
    """Preprocess the cases of a data list into a store for ``medssl pretrain --store``, and return what became of each.

    Only images are read, never labels. Cases with the same source and preprocessing as before are kept. Several
    commands can work on one store at the same time, and under ``torchrun`` the ranks share the cases. A case that fails
    does not stop the others. The manifest is written last and lists finished cases only.

    Args:
        datalist: the data list.
        data: names of data recipes, or YAML files, later ones winning.
        output_dir: the store, new or existing.
        sections: sections of the data list, joined by ``+``; default: those of the pretraining recipe.
        num_processes: cases prepared at a time; default: one per core, or 1 for a few small files.
        verify: also compare the checksums of the cases to keep, and make damaged ones again. Otherwise only their
            headers and sizes are checked.
        overrides: settings in MONAI's syntax, the same as for ``medssl pretrain``.

    Raises:
        FileNotFoundError: if a recipe or the data list does not exist.
        ValueError: if the list is wrong.
        OSError: if the disk has too little space.
    """
    recipe = [find_recipe("pretrain/configs", "train"), *(find_recipe("data", name) for name in data)]
    config = merge(recipe, channel_settings(read_datalist(datalist)), overrides)
    if config["sections"] is None:
        raise ValueError("There is nothing to prepare: this data recipe makes its volumes itself.")
    cases = load_section(datalist, sections or config["sections"])
    # Here, because importing MONAI takes seconds that a wrong path need not wait for.
    from medssl.workflows.preparing_cases import prepare_cases

    results = prepare_cases(config, [path.name for path in recipe], cases, Path(output_dir), num_processes, verify)
    return Prepared(
        made=[case for case, (status, _) in results.items() if status == "made"],
        kept=[case for case, (status, _) in results.items() if status == "kept"],
        failed={case: problem for case, (status, problem) in results.items() if status == "failed"},
    )
