import json
import shutil

import pytest

from medssl.workflows.checking import check_report


@pytest.fixture
def spoilt_list(ct_list, tmp_path):
    """A data list whose test image is cut off."""
    shutil.copytree(ct_list.parent, tmp_path / "data")
    listed = json.loads(ct_list.read_text(encoding="utf-8"))
    image = tmp_path / "data" / listed["test"][0]["image"]
    image.write_bytes(image.read_bytes()[:-100])
    return tmp_path / "data" / "datalist.json"


def test_a_sound_list_has_one_line_a_case_and_a_summary(ct_list):
    lines, num_errors = check_report(ct_list)
    assert num_errors == 0
    assert len(lines) == 6
    assert all(line.endswith(": ok") for line in lines[:-1])
    assert lines[-1] == "5 cases, 0 errors, 0 warnings"


def test_what_is_wrong_is_said_with_section_case_and_file(spoilt_list):
    lines, num_errors = check_report(spoilt_list)
    wrong = [line for line in lines[:-1] if not line.endswith(": ok")]
    assert num_errors == len(wrong) == 1
    assert wrong[0].startswith("test phantom_ct_003: error: ")
    assert "phantom_ct_003.nii.gz" in wrong[0]
    assert len(lines) == 6


def test_sizes_of_a_data_recipe_are_checked_too(ct_list, tmp_path):
    (tmp_path / "large.yaml").write_text("{patch_size: [64, 16, 8], spacing: [6, 6, 9]}")
    lines, num_errors = check_report(ct_list, ["ct", str(tmp_path / "large.yaml")])
    assert num_errors == 0
    assert all("warning" in line and "pad" in line for line in lines[:-1])


def test_a_list_without_a_case_is_an_error(tmp_path):
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"name": "none", "modality": "CT", "labels": {"0": "background"}, "training": []}))
    with pytest.raises(ValueError, match=r"list\.json.*no case"):
        check_report(path)
