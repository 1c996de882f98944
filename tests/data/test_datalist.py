import json

import pytest

from medssl.data.datalist import Datalist, load_few_labels, load_section, read_datalist, write_datalist

ENTRY = {"case": "a", "image": "a.nii.gz", "label": "sub/a.nii.gz"}
CONTENT = {
    "name": "toy",
    "modality": "CT",
    "labels": {"0": "background", "1": "liver"},
    "training": [ENTRY],
    "unlabeled": [{"case": "b", "image": "/elsewhere/b"}],
}


def write(folder, **changes):
    path = folder / "list.json"
    content = {key: value for key, value in {**CONTENT, **changes}.items() if value is not ...}
    path.write_text(json.dumps(content))
    return path


def test_paths_become_absolute(tmp_path):
    datalist = read_datalist(write(tmp_path))
    assert datalist.section("training") == [
        {"case": "a", "image": str(tmp_path / "a.nii.gz"), "label": str(tmp_path / "sub/a.nii.gz")}
    ]
    assert datalist.section("unlabeled")[0]["image"] == "/elsewhere/b"


def test_label_values_become_integers(tmp_path):
    assert read_datalist(write(tmp_path)).labels == {0: "background", 1: "liver"}


def test_sections_can_be_joined(tmp_path):
    assert [case["case"] for case in load_section(write(tmp_path), "training+unlabeled")] == ["a", "b"]


def test_a_list_without_labels_needs_no_names(tmp_path):
    datalist = read_datalist(write(tmp_path, labels=..., training=...))
    assert datalist.labels == {0: "background"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ...}, "'name' must be a text"),
        ({"modality": "PET"}, "'modality' must be CT or MR, not 'PET'"),
        ({"labels": ...}, "'labels' must map integers to names"),
        ({"labels": {"liver": 1}}, "'labels' must map integers to names"),
        ({"labels": {"0": "background", "1": 5}}, "'labels.1' must be a text, not 5"),
        ({"labels": {"0": "background", "2": "liver"}}, r"'labels' are \[0, 2\]"),
        ({"labels": {"0": "background", "1": "Liver", "2": "liver"}}, "'liver' twice"),
        ({"training": ..., "unlabeled": ...}, "there is no case"),
        ({"training": [], "unlabeled": []}, "there is no case"),
        ({"training": {"case": "a"}}, "'training' must be a list"),
        ({"training": ["a.nii.gz"]}, r"'training\[0\]' must be an object"),
        ({"training": [{"image": "a", "label": "b"}]}, r"'training\[0\]': case None"),
        ({"training": [{"case": "a", "label": "b"}]}, r"'training\[0\].image' must be a text"),
        ({"training": [{"case": "a", "image": "b"}]}, r"'training\[0\]' has no 'label'"),
        ({"unlabeled": [ENTRY]}, r"'unlabeled\[0\]' has a label"),
        ({"trainig": [ENTRY]}, "'trainig' is no section"),
        ({"test": [ENTRY]}, r"case 'a' is in 'training\[0\]' and 'test\[0\]'"),
        ({"test": [{**ENTRY, "case": "A"}]}, "case 'A' is in"),
    ],
)
def test_a_fault_is_named_with_file_and_key(tmp_path, changes, message):
    with pytest.raises(ValueError, match=r"list\.json.*" + message):
        read_datalist(write(tmp_path, **changes))


@pytest.mark.parametrize("case", ["../x", "a/b", "a\\b", "", ".", "..", "-o", "; rm", "a\nb", "a\0", "x" * 129, "a "])
def test_a_case_that_is_no_file_name_is_an_error(tmp_path, case):
    with pytest.raises(ValueError, match="cannot be part of a file name"):
        read_datalist(write(tmp_path, training=[{**ENTRY, "case": case}]))


@pytest.mark.parametrize("case", ["a", "LUNG1-001", "s_0001.v2", "Fall 7 (süd)", "x" * 128])
def test_ordinary_case_ids_are_taken(tmp_path, case):
    datalist = read_datalist(write(tmp_path, training=[{**ENTRY, "case": case}]))
    assert datalist.section("training")[0]["case"] == case


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"name": "a", "name": "b"}', "[" * 100_000])
def test_a_file_that_is_no_json_object_is_an_error(tmp_path, text):
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(ValueError, match=r"list\.json"):
        read_datalist(tmp_path / "list.json")


@pytest.mark.parametrize(
    ("section", "message"), [("tests", "no section 'tests'"), ("test", "no case in section 'test'")]
)
def test_a_section_that_is_unknown_or_empty_is_an_error(tmp_path, section, message):
    with pytest.raises(ValueError, match=message):
        load_section(write(tmp_path), section)


def test_a_written_list_reads_back(tmp_path):
    datalist = read_datalist(write(tmp_path, licence="CC BY 4.0"))
    copy = read_datalist(write_datalist(datalist, tmp_path / "copy.json"))
    assert (copy.sections, copy.labels, copy.licence) == (datalist.sections, datalist.labels, "CC BY 4.0")


def test_a_written_list_moves_with_its_folder(tmp_path):
    path = write_datalist(read_datalist(write(tmp_path)), tmp_path / "copy.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["training"][0]["image"] == "a.nii.gz"
    assert content["unlabeled"][0]["image"] == "/elsewhere/b"


def test_a_failed_write_leaves_the_former_list(tmp_path):
    path = write(tmp_path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_datalist(Datalist(object(), "CT", {0: "background"}, {}), path)
    assert [item.name for item in tmp_path.iterdir()] == ["list.json"]
    assert path.read_bytes() == before


def test_few_labels_are_nested_over_counts(tmp_path):
    cases = [{**ENTRY, "case": f"c{index}"} for index in range(9)]
    path = write(tmp_path, training=cases)
    two, five = ({case["case"] for case in load_few_labels(path, "training", count, fold=1)} for count in (2, 5))
    assert len(two) == 2 and len(five) == 5 and two < five


def test_no_count_means_all_labels(tmp_path):
    path = write(tmp_path, training=[{**ENTRY, "case": case} for case in "cad"])
    assert len(load_few_labels(path, "training", None, fold=0)) == 3


def test_more_labels_than_there_are_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="there are 1"):
        load_few_labels(write(tmp_path), "training", 2, fold=0)
