import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from medssl.data.datalist import read_datalist
from medssl.workflows.advising import advise


def emptied(listed, cases, folder):
    """Give a list whose labels of some training cases show nothing."""
    changed = []
    for case in listed.sections["training"]:
        if case["case"] in cases:
            image = nib.load(case["label"])
            path = folder / f"{case['case']}.nii.gz"
            nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), path)
            case = {**case, "label": str(path)}
        changed.append(case)
    return replace(listed, sections={**listed.sections, "training": tuple(changed)})


def test_a_ct_of_the_abdomen_gets_the_shipped_weights_and_every_setting_a_reason(ct_list):
    advice = advise(read_datalist(ct_list))
    assert advice.settings["backbone"].value == "abdomen-ct-4mm"
    assert advice.settings["spacing"].value == [4.0, 4.0, 6.0]
    assert set(advice.settings) == {
        *("backbone", "spacing", "num_levels", "window_divisor", "window_weights", "method"),
    }
    assert all(reason.endswith(".") for _, reason in advice.settings.values())


def test_an_mr_gets_spacing_levels_and_patch_of_its_own(mr_list):
    advice = advise(read_datalist(mr_list))
    assert advice.settings["backbone"].value == "random weights"
    assert advice.settings["spacing"].value == pytest.approx([5.6, 5.9, 8.5], rel=0.05)
    assert len(advice.settings["patch_size"].value) == 3
    assert advice.scans.unit == "mm"


def test_slices_get_a_2d_method(slice_list):
    advice = advise(read_datalist(slice_list))
    assert len(advice.settings["spacing"].value) == 2
    assert advice.settings["method"].value.startswith("simclr --with ")


def test_the_spacing_of_a_recipe_is_judged(ct_list):
    found = advise(read_datalist(ct_list), ["ct", "ct_3mm"]).settings["spacing of --data"]
    assert found.value == [3.0, 3.0, 3.0] and "voxels thick" in found.reason


def test_only_labelled_training_cases_are_read(ct_list):
    listed = read_datalist(ct_list)
    gone = tuple({**case, "image": "gone.nii.gz", "label": "gone.nii.gz"} for case in listed.sections["training"])
    held_out = replace(listed, sections={**listed.sections, "validation": gone, "test": gone})
    advice = advise(held_out)
    assert list(advice.cases) == [case["case"] for case in listed.sections["training"]]


def test_one_label_is_enough_and_none_an_error(ct_list):
    listed = read_datalist(ct_list)
    one, *_ = listed.sections["training"]
    assert advise(replace(listed, sections={**listed.sections, "training": (one,)})).cases == (one["case"],)
    bare = {key: value for key, value in one.items() if key != "label"}
    for cases in ((), (bare,)):
        with pytest.raises(ValueError, match=r"no labelled case in 'training'; one is enough"):
            advise(replace(listed, sections={**listed.sections, "training": cases}))


def test_labels_without_a_structure_are_an_error_and_one_of_several_a_note(ct_list, tmp_path):
    listed = read_datalist(ct_list)
    names = [case["case"] for case in listed.sections["training"]]
    with pytest.raises(ValueError, match=rf"{names[0]}\.nii\.gz, .*: no voxel is of a structure"):
        advise(emptied(listed, names, tmp_path))
    assert f"The label of {names[0]} is empty." in advise(emptied(listed, names[:1], tmp_path)).notes


def test_a_structure_that_no_label_shows_is_a_note(ct_list):
    listed = read_datalist(ct_list)
    more = replace(listed, labels={**listed.labels, len(listed.labels): "appendix"})
    advice = advise(more)
    assert "No measured label shows appendix." in advice.notes and "appendix" not in advice.structures


def test_advice_can_be_written_as_json(mr_list):
    advice = advise(read_datalist(mr_list))
    content = json.loads(json.dumps(advice.as_json()))
    assert content["settings"]["spacing"]["value"] == advice.settings["spacing"].value
    name = next(iter(advice.structures))
    assert content["structures"][name]["thickness"] == advice.structures[name].thickness
