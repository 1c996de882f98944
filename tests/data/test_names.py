import pytest
from monai.bundle import ConfigParser

from medssl.data.names import require_labels, require_safe_case


def test_a_case_that_is_not_a_file_name_is_an_error():
    for case in ("../x", "a/b", "a\\b", "", ".", "..", "-o", "; rm", "a\nb", "a\0", "x" * 129, "a ", None, 7):
        with pytest.raises(ValueError, match=r"list\.json: case .* cannot be part of a file name"):
            require_safe_case(case, "list.json")


def test_ordinary_case_ids_are_taken():
    for case in ("a", "LUNG1-001", "s_0001.v2", "Fall 7 (süd)", "x" * 128):
        require_safe_case(case, "list.json")


def test_labels_from_0_without_gaps_are_taken():
    require_labels({1: "liver", 0: "background", 2: "left kidney"}, "list.json")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({1: "liver"}, r"'labels' are \[1\]; renumber"),
        ({0: "background", 2: "liver"}, r"'labels' are \[0, 2\]; renumber"),
        ({0: "background", 1: "Liver", 2: " liver"}, "'liver' twice"),
        ({0: "background", 1: " "}, "'' twice or empty"),
        ({0: "background", 1: "a\nb"}, r"the label name 'a\\nb' has a line break"),
        ({0: "background", 1: "$__import__('os').mkdir('MADE')"}, r"starts with \$, @ or %"),
        ({0: "background", 1: "@num_classes"}, r"label name '@num_classes' starts with \$, @ or %"),
        ({0: "background", 1: "%train.json::run"}, r"starts with \$, @ or %"),
        ({0: "background", 1: "lobe @::run"}, r"holds @#, @::, %# or %::"),
        ({0: "background", 1: "a\0"}, r"the label name 'a\\x00' has a line break or another sign without a shape"),
    ],
)
def test_labels_that_a_program_would_lose_are_an_error(labels, message):
    with pytest.raises(ValueError, match=r"list\.json: .*" + message):
        require_labels(labels, "list.json")


def test_what_a_configuration_takes_for_text_is_a_name():
    names = ("=cmd|' /C calc'!A0", "<b>", 'quote"d', "95 % isodose", "a@b", "US$", "Mu\u0308ller", "${x} `id`"[1:])
    require_labels({0: "background", **dict(enumerate(names, 1))}, "list.json")
    parser = ConfigParser({"class_names": dict(enumerate(names))})
    assert tuple(parser.get_parsed_content("class_names").values()) == names
