import pytest

from medssl.transforms.anatomy import anatomy_color, anatomy_term


@pytest.mark.parametrize("name", ["right kidney", "kidney_right", "Right Kidney"])
def test_a_side_may_stand_anywhere(name):
    assert anatomy_term(name) == anatomy_term("right kidney")
    assert "SCT^24028007^Right" in anatomy_term(name)


def test_a_synonym_is_the_same_structure():
    assert anatomy_term("oesophagus") == anatomy_term("esophagus")
    assert anatomy_color("oesophagus", 1) == anatomy_color("esophagus", 9)


def test_unknown_structures_have_no_term_and_distinct_colours():
    colors = {anatomy_color(f"part {label}", label) for label in range(1, 30)}
    assert anatomy_term("part 1") is None
    assert len(colors) == 29
    assert all(0 <= part <= 1 for color in colors for part in color)


def test_a_term_has_seven_parts():
    assert len(anatomy_term("left adrenal gland").split("~")) == 7
