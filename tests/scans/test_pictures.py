import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from medssl.scans.pictures import read_picture

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (3, 5), np.uint8)
COLOURS = RANDOM.integers(0, 256, (3, 5, 3), np.uint8)


@pytest.mark.parametrize("ending", ["png", "tif", "tiff", "bmp", "PNG"])
@pytest.mark.parametrize("pixels", [GREY, COLOURS], ids=["grey", "rgb"])
def test_the_first_axis_runs_from_left_to_right_and_the_second_down(tmp_path, ending, pixels):
    path = tmp_path / f"image.{ending}"
    Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(read_picture(path), pixels.swapaxes(0, 1))


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3)], ids=["grey", "rgb"])
def test_sixteen_bits_stay_sixteen_bits(tmp_path, ending, shape):
    pixels = RANDOM.integers(0, 2**16, shape, np.uint16)
    path = tmp_path / f"image.{ending}"
    if ending == "png":
        sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=len(shape) == 3), str(path))
    else:
        tifffile.imwrite(path, pixels, photometric="rgb" if len(shape) == 3 else "minisblack")
    found = read_picture(path)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, pixels.swapaxes(0, 1))


def test_fractions_stay_fractions(tmp_path):
    Image.fromarray(np.array([[0.25, -7.5]], np.float32)).save(tmp_path / "image.tif")
    assert read_picture(tmp_path / "image.tif").ravel().tolist() == [0.25, -7.5]


def test_an_opaque_alpha_channel_is_left_out(tmp_path):
    opaque = np.concatenate([COLOURS, np.full((3, 5, 1), 255, np.uint8)], axis=-1)
    Image.fromarray(opaque).save(tmp_path / "image.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "image.png"), COLOURS.swapaxes(0, 1))


def test_what_a_transparent_pixel_shows_is_not_guessed(tmp_path):
    alpha = np.full((3, 5, 1), 255, np.uint8)
    alpha[1, 1:3] = 0
    Image.fromarray(np.concatenate([COLOURS, alpha], axis=-1)).save(tmp_path / "image.png")
    with pytest.raises(ValueError, match=r"image\.png is transparent in 2 pixels"):
        read_picture(tmp_path / "image.png")


def test_a_palette_is_indices_or_colours_as_it_is_meant(tmp_path):
    image = Image.frombytes("P", (2, 1), bytes([0, 2]))
    image.putpalette([0, 0, 0, 9, 9, 9, 255, 0, 0])
    image.save(tmp_path / "mask.png")
    assert read_picture(tmp_path / "mask.png", "index mask").ravel().tolist() == [0, 2]
    assert read_picture(tmp_path / "mask.png", "colour mask")[1, 0].tolist() == [255, 0, 0]
    with pytest.raises(ValueError, match=r"mask\.png has a palette"):
        read_picture(tmp_path / "mask.png")


def test_black_and_white_are_0_and_1(tmp_path):
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "mask.png")
    assert read_picture(tmp_path / "mask.png").ravel().tolist() == [0, 1]


def test_several_pages_are_not_one_image(tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((4, 8, 8), np.uint8), photometric="minisblack")
    with pytest.raises(ValueError, match=r"stack\.tif has 4 pages"):
        read_picture(tmp_path / "stack.tif")


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "image.png"
    Image.fromarray(RANDOM.integers(0, 256, (64, 64), np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: -len(content) // 2] if damage == "cut" else content)
    with pytest.raises(ValueError, match=r"image\.png cannot be read as a picture"):
        read_picture(path)


def test_other_kinds_of_colours_are_refused(tmp_path):
    Image.new("CMYK", (4, 4)).save(tmp_path / "print.tif")
    with pytest.raises(ValueError, match=r"print\.tif has pixels of mode CMYK"):
        read_picture(tmp_path / "print.tif")
