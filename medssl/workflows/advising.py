"""The `medssl advise` command: which settings suit the structures of a data list, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from medssl.advice import rules
from medssl.advice.measures import StructureMeasures
from medssl.advice.rules import Advised, Scans
from medssl.data.datalist import Datalist
from medssl.workflows.measuring import CaseMeasures, measure_case
from medssl.workflows.recipes import channel_settings, find_recipe, merge
from medssl.workflows.suiting_weights import suiting_weights

# More labelled cases would hardly move a median.
_MOST_CASES = 5


@dataclass(frozen=True)
class Advice:
    """What a data list is like, and what suits it.

    Attributes:
        cases: that were measured.
        num_labelled: labelled cases there are.
        scans: spacing and extent.
        structures: medians over the cases that show them, by name.
        shown: number of measured cases that show each.
        settings: what is advised, by setting.
        notes: what a user should know, one sentence each.
    """

    cases: tuple[str, ...]
    num_labelled: int
    scans: Scans
    structures: dict[str, StructureMeasures]
    shown: dict[str, int]
    settings: dict[str, Advised]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "cases": list(self.cases),
            "labelled": self.num_labelled,
            "scans": asdict(self.scans),
            "structures": {
                name: {"cases": self.shown[name], **asdict(measured)} for name, measured in self.structures.items()
            },
            "settings": {name: advised._asdict() for name, advised in self.settings.items()},
            "notes": list(self.notes),
        }


def advise(listed: Datalist, data: Sequence[str] = ()) -> Advice:
    """Measure the structures of labelled training cases, and advise settings.

    At most five cases are read, spread evenly over the list. Held-out cases are not looked at.

    Args:
        listed: the data list.
        data: data recipes, whose spacing is judged as well.

    Raises:
        FileNotFoundError: if there is no such recipe.
        ValueError: if no training case is labelled, a file cannot be used, or no label shows a structure.
    """
    recipe = merge([find_recipe("data", name) for name in data], channel_settings(listed)) if data else {}
    labelled = [case for case in listed.sections["training"] if "label" in case]
    if not labelled:
        raise ValueError(f"{listed.path or listed.name} has no labelled case in 'training'; one is enough: label it.")
    chosen = [labelled[index] for index in np.unique(np.linspace(0, len(labelled) - 1, _MOST_CASES).astype(int))]
    found = {case["case"]: _measured(listed, case) for case in chosen}
    empty = [case for case, measured in found.items() if not measured.structures]
    if len(empty) == len(found):
        raise ValueError(
            f"{_labels_of(chosen)}: no voxel is of a structure, so there is nothing to measure; label one."
        )
    scans, structures, shown = summary(list(found.values()), "px" if listed.modality == "image" else "mm")
    notes = [f"The label of {case} is empty." for case in empty]
    notes += [
        f"No measured label shows {name}." for value, name in listed.labels.items() if value and name not in shown
    ]
    settings = advised_settings(structures, scans, listed.modality, recipe)
    return Advice(tuple(found), len(labelled), scans, structures, shown, settings, tuple(notes))


def summary(
    found: Sequence[CaseMeasures], unit: str = "mm"
) -> tuple[Scans, dict[str, StructureMeasures], dict[str, int]]:
    """Return medians over cases: of the scans, of every structure, and how many cases show each.

    Args:
        found: measures of at least one case.
        unit: of lengths.
    """
    spacing, extent = ([case[index] for case in found] for index in (1, 2))
    scans = Scans(_medians(spacing), _medians(extent), unit)
    names = list(dict.fromkeys(name for case in found for name in case.structures))
    own = {name: [case.structures[name] for case in found if name in case.structures] for name in names}
    structures = {
        name: StructureMeasures(
            *(median(one.size for one in measured), _medians([one.extent for one in measured])),
            *(median(getattr(one, field) for one in measured) for field in ("thickness", "share", "contrast")),
        )
        for name, measured in own.items()
    }
    return scans, structures, {name: len(measured) for name, measured in own.items()}


def advised_settings(
    structures: Mapping[str, StructureMeasures], scans: Scans, modality: str, recipe: Mapping[str, Any]
) -> dict[str, Advised]:
    """Return what is advised, by setting, in the order of the command's output.

    Args:
        structures: by name; at least one.
        scans: of the data set.
        modality: CT, MR or image.
        recipe: data recipe of the user, whose spacing is judged; may be empty.
    """
    weights = suiting_weights(modality, scans.spacing, scans.extent)
    settings: dict[str, Advised] = {}
    if weights is not None:
        fit = rules.fit_of_spacing(structures, scans, weights.spacing)
        settings["backbone"] = Advised(weights.name, f"pretrained on {modality} with voxels and patches that suit.")
        settings["spacing"] = Advised(list(weights.spacing), f"that of {weights.name}; {fit}")
        settings["num_levels"] = Advised(weights.levels, f"those of {weights.name}.")
    else:
        settings["backbone"] = Advised("random weights", f"no weights that come with medssl suit this {modality}.")
        settings["spacing"] = rules.advised_spacing(structures, scans)
        spacing = settings["spacing"].value
        settings["num_levels"] = rules.advised_levels(structures, scans, spacing)
        settings["patch_size"] = rules.advised_patch(structures, scans, spacing)
    settings["window_divisor"] = rules.advised_window(structures, scans)
    settings["window_weights"] = rules.advised_weights(structures, scans)
    settings["method"] = _method(structures, scans)
    if "spacing" in recipe:
        fit = rules.fit_of_spacing(structures, scans, recipe["spacing"])
        settings["spacing of --data"] = Advised(list(recipe["spacing"]), fit)
    return settings


def _method(structures: Mapping[str, StructureMeasures], scans: Scans) -> Advised:
    """Return the method; what the rules rest on is in docs/advise.md."""
    if len(scans.spacing) == 3:
        return Advised("segment", "a solved probe, which fine-tuning must beat on a labelled scan that is left out.")
    if len(set(rules.window_divisors(structures, scans).values())) > 1:
        return Advised("simclr --with multi_scale", "structures ask for windows of different sizes.")
    return Advised("simclr --with scale_aware", "all structures ask for windows of one size.")


def _measured(listed: Datalist, case: Mapping[str, Any]) -> CaseMeasures:
    return measure_case(
        *(case["image"], case["label"], listed.labels, listed.spatial_dims, listed.modality, listed.label_colours)
    )


def _labels_of(cases: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(str(case["label"]) for case in cases)


def _medians(lengths: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(np.median(lengths, axis=0).tolist())
