import json

import pytest

from medssl.data.datalist import (
    Datalist,
    load_few_labels,
    load_section,
    read_datalist,
    require_few_labels,
    write_datalist,
)

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
        ({"name": ...}, "'name' must be text"),
        ({"modality": "PET"}, "'modality' must be CT, MR or image, not 'PET'"),
        ({"labels": ...}, "'labels' must map integers to names"),
        ({"labels": {"liver": 1}}, "'labels' must map integers to names"),
        ({"labels": {"0": "background", "1": 5}}, "'labels.1' must be text, not 5"),
        ({"labels": {"0": "background", "2": "liver"}}, r"'labels' are \[0, 2\]"),
        ({"labels": {"0": "background", "1": "Liver", "2": "liver"}}, "'liver' twice"),
        ({"training": ..., "unlabeled": ...}, "there are no cases"),
        ({"training": [], "unlabeled": []}, "there are no cases"),
        ({"training": {"case": "a"}}, "'training' must be a list"),
        ({"training": ["a.nii.gz"]}, r"'training\[0\]' must be an object"),
        ({"training": [{"image": "/", "label": "b"}]}, r"'training\[0\]': case ''"),
        ({"training": [{"case": "a", "image": ["b", "b"], "label": "d"}]}, r"'training\[0\]\.image' .* none .* twice"),
        ({"training": [{"case": "a", "image": ["b", 1], "label": "d"}]}, r"'training\[0\]\.image' must be text, not 1"),
        (
            {"training": [{"case": "a", "image": "b", "label": ["c", "d"]}]},
            r"'training\[0\]\.label' lists several files",
        ),
        (
            {"unlabeled": [{"case": "e", "image": ["b", "c"]}, {"case": "f", "image": "g"}]},
            r"different numbers of channels: 'f' has 1, 'e' has 2",
        ),
        (
            {"channels": ["T1"], "training": [], "unlabeled": [{"case": "e", "image": ["b", "c"]}]},
            r"'channels' must name the 2 file\(s\) of every 'image', not \['T1'\]",
        ),
        ({"training": [{"case": "a", "label": "b"}]}, r"'training\[0\].image' must be text"),
        ({"training": [{"case": "a", "image": "b"}]}, r"'training\[0\]' has no 'label'"),
        ({"unlabeled": [ENTRY]}, r"'unlabeled\[0\]' has a label"),
        ({"trainig": [ENTRY]}, "'trainig' is not a section"),
        ({"test": [ENTRY]}, r"case 'a' is in 'training\[0\]' and 'test\[0\]'"),
        ({"test": [{**ENTRY, "case": "A"}]}, "case 'A' is in"),
    ],
)
def test_a_fault_is_named_with_file_and_key(tmp_path, changes, message):
    with pytest.raises(ValueError, match=r"list\.json.*" + message):
        read_datalist(write(tmp_path, **changes))


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


SLICES = [
    {"case": f"{name}_{z}", "group": name, "image": f"{name}_{z}.png", "label": f"{name}_{z}_mask.png"}
    for name in ("anna", "ben", "cleo")
    for z in range(4)
]


def test_a_list_of_pictures_goes_forth_and_back(tmp_path):
    colours = {"0": "else", "1": [255, 0, 0]}
    changes = {"modality": "image", "spatial_dims": 2, "label_colours": colours, "training": SLICES}
    read = read_datalist(write(tmp_path, **changes))
    assert (read.modality, read.spatial_dims, read.label_colours) == ("image", 2, {0: "else", 1: (255, 0, 0)})
    again = read_datalist(write_datalist(read, tmp_path / "again.json"))
    assert (again.sections, again.label_colours, again.spatial_dims) == (read.sections, read.label_colours, 2)


def test_few_labels_are_all_slices_of_few_cases(tmp_path):
    path = write(tmp_path, training=SLICES, spatial_dims=2)
    one, two = (load_few_labels(path, "training", count, fold=0) for count in (1, 2))
    assert (len(one), len(two)) == (4, 8)
    assert {case["group"] for case in one} < {case["group"] for case in two}
    with pytest.raises(ValueError, match="4 labelled cases are asked for, but there are 3"):
        load_few_labels(path, "training", 4, fold=0)


def test_few_labels_are_checked_without_a_draw(tmp_path):
    listed = read_datalist(write(tmp_path, training=SLICES, spatial_dims=2))
    for count in (None, 1, 3):
        assert list(require_few_labels(listed, "training", count)) == ["anna", "ben", "cleo"]
    for count in (0, 4):
        with pytest.raises(ValueError, match=rf"list\.json, section 'training': {count} labelled cases are asked for"):
            require_few_labels(listed, "training", count)


def test_all_cases_of_a_list_have_the_same_keys(tmp_path):
    path = write(tmp_path, training=[ENTRY, *SLICES], label_colours={"1": [1, 2, 3]})
    cases = load_section(path, "training")
    assert {tuple(sorted(case)) for case in cases} == {("case", "group", "image", "label", "label_colours")}
    assert (cases[0]["group"], cases[0]["label_colours"]) == ("a", "1=#010203")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spatial_dims": 4}, "'spatial_dims' must be 2 or 3, not 4"),
        ({"training": [{**ENTRY, "group": 7}]}, r"'training\[0\]\.group' must be text"),
        ({"training": SLICES[:1], "test": SLICES[1:2]}, "group 'anna' is in 'training' and in 'test'"),
        ({"label_colours": [255, 0, 0]}, "'label_colours' must map values of 'labels' to colours"),
        ({"label_colours": {"5": [255, 0, 0]}}, "'label_colours' must map values of 'labels' to colours"),
        ({"label_colours": {"1": [255, 0]}}, "'label_colours': the colour of label 1 is"),
    ],
)
def test_a_fault_of_2d_data_is_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=r"list\.json.*" + message):
        read_datalist(write(tmp_path, **changes))


def test_a_list_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no data list .*gone\.json; `medssl datalist` creates one"):
        read_datalist(tmp_path / "gone.json")
