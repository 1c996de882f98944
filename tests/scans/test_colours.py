import numpy as np
import pytest

from medssl.scans.colours import colours_to_labels, format_label_colours, parse_label_colours, require_label_colours

RED, BLUE = (255, 0, 0), (0, 0, 255)


def test_text_and_colours_go_forth_and_back():
    text = "0=else,1=#ff0000,2=#0000ff"
    assert parse_label_colours(text) == {0: "else", 1: RED, 2: BLUE}
    assert format_label_colours(parse_label_colours(text)) == text


@pytest.mark.parametrize("text", ["1=red", "1=#ff000", "1", "1=#ff0000,1=#0000ff", "a=#ff0000", ""])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="give every value once, as in"):
        parse_label_colours(text)


@pytest.mark.parametrize(
    ("colours", "message"),
    [
        ({1: [255, 0]}, "the colour of label 1 is"),
        ({1: [256, 0, 0]}, "from 0 to 255"),
        ({1: "red"}, "'else' for every other colour"),
        ({1: [255, 0, 0], 2: [255, 0, 0]}, "two labels have the same colour"),
        ({0: "else", 1: "else"}, "two labels have the same colour"),
    ],
)
def test_colours_that_say_nothing_clear_are_refused(colours, message):
    with pytest.raises(ValueError, match=r"list\.json.*" + message):
        require_label_colours(colours, "list.json")


def test_every_colour_becomes_its_label():
    pixels = np.array([[RED, BLUE, (0, 0, 0)]], np.uint8)
    assert colours_to_labels(pixels, {0: (0, 0, 0), 1: RED, 300: BLUE}, "mask.png").tolist() == [[1, 300, 0]]


def test_an_unlisted_colour_is_named_with_its_file_and_pixel():
    pixels = np.array([[RED, RED], [RED, (9, 10, 11)], [RED, (9, 10, 12)]], np.uint8)
    with pytest.raises(ValueError, match=r"mask\.png has the colour #090a0b at pixel \(1, 1\) and, in 2 pixels"):
        colours_to_labels(pixels, {1: RED}, "mask.png")
    assert colours_to_labels(pixels, {0: "else", 1: RED}, "mask.png").sum() == 4
