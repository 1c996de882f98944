import numpy as np
import pytest

from medssl.workflows.segments import meant_labels, parse_labels

LABELS = {1: "liver", 2: "spleen"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1=liver,3=spleen", "without gaps"),
        ("1=liver,2=liver", "share a name"),
        ("1=liver,1=spleen", "occurs twice"),
        ("liver", "is not a label"),
        ("1=", "is not a label"),
    ],
)
def test_wrong_labels_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_labels(text)


def test_names_decide_whatever_the_order_of_the_segments():
    meant = meant_labels(np.array([0, 1, 2, 3]), ["Spleen", "liver", "spleen"], LABELS, "a")
    assert meant.tolist() == [0, 2, 1, 2]


def test_without_names_the_values_are_the_labels():
    assert meant_labels(np.array([0.0, 2.0, 1.0]), [], LABELS, "a").tolist() == [0, 2, 1]


def test_an_empty_segment_may_have_any_name():
    assert meant_labels(np.array([0, 2]), ["notes", "liver"], LABELS, "a").tolist() == [0, 1]


@pytest.mark.parametrize(("value", "segments"), [(3, []), (1, ["kidney"]), (3, ["liver", "spleen"]), (-1, [])])
def test_a_value_without_a_label_is_named(value, segments):
    with pytest.raises(ValueError, match=rf"a\.nii holds the value {value}.*1=liver, 2=spleen"):
        meant_labels(np.array([0, value]), segments, LABELS, "a.nii")
