"""Pictures: every mode a camera writes is read by the stated policy; tensors and files round-trip."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageCms

from motif.errors import InputError
from motif.files import written
from motif.images import MASKS, grid, mask_path, open_picture, save_image, square, to_images

SIDE = 48


def scene(width: int = SIDE, height: int = SIDE) -> Image.Image:
    """A smooth picture whose corners differ, so that every turn and flip shows."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [x * 255 / (width - 1), y * 255 / (height - 1), (x + y) * 255 / (width + height - 2)]
    return Image.fromarray(np.stack(channels, -1).round().astype(np.uint8))


def gap(a: Image.Image, b: Image.Image) -> float:
    """Mean absolute difference, of 255."""
    assert a.size == b.size and a.mode == b.mode
    return float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean())


# -- tensors ---------------------------------------------------------------------------------------------------


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_a_picture_survives_the_way_to_a_tensor_and_back(pixels: np.ndarray) -> None:
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1  # black is -1, white is 1
    assert to_images(tensor)[0].tobytes() == pixels.tobytes()


def test_tensors_outside_the_range_are_clamped_and_half_precision_is_read() -> None:
    pictures = torch.tensor([-3.0, 0.0, 3.0]).view(3, 1, 1, 1).expand(3, 3, 2, 2).to(torch.bfloat16)
    assert [image.getpixel((0, 0))[0] for image in to_images(pictures)] == [0, 128, 255]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20))
def test_square_has_the_size_that_was_asked_for(width: int, height: int, size: int) -> None:
    assert square(Image.new("RGB", (width, height)), size).size == (size, size)


def test_square_takes_the_centre() -> None:
    wide = Image.new("RGB", (90, 30), "red")
    wide.paste("blue", (30, 0, 60, 30))
    assert gap(square(wide, 30), Image.new("RGB", (30, 30), "blue")) == 0


# -- reading ---------------------------------------------------------------------------------------------------


# How a camera stores what is seen, v[y, x], by the EXIF standard: where the stored row 0 and column 0 are seen.
STORED = {
    1: lambda v: v,  # top, left
    2: lambda v: v[:, ::-1],  # top, right
    3: lambda v: v[::-1, ::-1],  # bottom, right
    4: lambda v: v[::-1],  # bottom, left
    5: lambda v: v.swapaxes(0, 1),  # left, top
    6: lambda v: v[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda v: v[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda v: v[::-1].swapaxes(0, 1),  # left, bottom
}


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", STORED)
def test_a_turned_photo_is_read_upright(tmp_path: Path, orientation: int, ending: str) -> None:
    upright = scene(64, 32)
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(upright))))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a.{ending}", exif=exif, **({"quality": 95} if ending in {"jpg", "webp"} else {}))
    picture = open_picture(tmp_path / f"a.{ending}")
    assert picture.size == (64, 32)
    assert gap(picture.image, upright) < 4
    assert any("upright" in note for note in picture.notes) == (orientation != 1)


def saved(folder: Path, name: str, image: Image.Image, **keywords: Any) -> Path:
    image.save(folder / name, **keywords)
    return folder / name


@pytest.mark.parametrize(
    ("mode", "name", "note", "most"),
    [
        ("RGB", "a.png", "", 0),
        ("RGB", "a.bmp", "", 0),
        ("CMYK", "a.jpg", "CMYK became RGB", 5),
        ("CMYK", "a.tif", "CMYK became RGB", 1),
        ("YCbCr", "a.tif", "YCbCr became RGB", 3),
        ("P", "a.png", "a palette became RGB", 20),
        ("P", "a.gif", "a palette became RGB", 20),
        ("LAB", "a.tif", "LAB became RGB", 4),
    ],
)
def test_every_colour_mode_becomes_rgb(tmp_path: Path, mode: str, name: str, note: str, most: float) -> None:
    image = scene()
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        stored = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
        assert stored
    else:
        stored = image.quantize(128) if mode == "P" else image.convert(mode)
    picture = open_picture(saved(tmp_path, name, stored))
    assert picture.image.mode == "RGB" and picture.mask is None
    assert gap(picture.image, image) <= most
    assert picture.notes == ((note,) if note else ())


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_becomes_rgb(tmp_path: Path, mode: str) -> None:
    grey = scene().convert(mode)
    picture = open_picture(saved(tmp_path, "a.png", grey))
    assert gap(picture.image, grey.convert("RGB")) == 0 and len(picture.notes) == 1


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_scaled_and_never_clipped(tmp_path: Path, ending: str) -> None:
    ramp = np.linspace(0, 65535, SIDE * SIDE).round().astype(np.uint16).reshape(SIDE, SIDE)
    picture = open_picture(saved(tmp_path, f"a.{ending}", Image.fromarray(ramp)))
    read = np.asarray(picture.image)[..., 0]
    assert np.array_equal(read, (ramp / 257).round().astype(np.uint8))
    assert any("scaled" in note for note in picture.notes)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 255.0), (-1.0, 1.0), (0.0, 3e5)])
def test_floats_keep_their_order(tmp_path: Path, low: float, high: float) -> None:
    ramp = np.linspace(low, high, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    picture = open_picture(saved(tmp_path, "a.tif", Image.fromarray(ramp)))
    read = np.asarray(picture.image)[..., 0].ravel().astype(int)
    assert read[0] == 0 and read[-1] == 255 and (np.diff(read) >= 0).all() and len(set(read)) == 256


def test_sixteen_bit_colour_says_that_it_was_scaled(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_of_16_bit_colour(8))
    picture = open_picture(path)
    assert picture.image.getpixel((0, 0)) == (200, 100, 50)
    assert picture.notes == ("16 bits a channel were scaled to 8",)


def png_of_16_bit_colour(side: int) -> bytes:
    """A flat picture of (200, 100, 50), 16 bits a channel; Pillow cannot write one."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    row = b"\0" + b"".join((value * 257).to_bytes(2) for value in (200, 100, 50)) * side
    head = side.to_bytes(4) * 2 + bytes([16, 2, 0, 0, 0])
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * side)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "RGB with a transparent colour"])
def test_alpha_is_the_mask_and_the_picture_is_put_on_white(tmp_path: Path, kind: str) -> None:
    image = Image.new("RGB", (SIDE, SIDE), (10, 20, 30))
    alpha = Image.new("L", image.size, 0)
    alpha.paste(255, (0, 0, SIDE // 2, SIDE))
    if kind == "palette":
        stored = image.quantize(2)
        stored.putpixel((0, 0), 0)
        clear = Image.new("P", image.size, 1)
        clear.putpalette([10, 20, 30, 255, 0, 255])
        clear.paste(0, (0, 0, SIDE // 2, SIDE))
        path = saved(tmp_path, "a.png", clear, transparency=1)
    elif kind.startswith("RGB with"):
        image.paste((255, 0, 255), (SIDE // 2, 0, SIDE, SIDE))
        path = saved(tmp_path, "a.png", image, transparency=(255, 0, 255))
    else:
        stored = image.convert("L" if kind == "LA" else "RGB")
        stored.putalpha(alpha)
        path = saved(tmp_path, "a.png", stored)
    picture = open_picture(path)
    assert picture.mask is not None and gap(picture.mask, alpha) == 0
    assert picture.image.getpixel((SIDE - 1, 0)) == (255, 255, 255)
    assert picture.image.getpixel((0, 0)) != (255, 255, 255)
    assert any("white" in note for note in picture.notes)


def test_an_opaque_alpha_is_no_mask(tmp_path: Path) -> None:
    picture = open_picture(saved(tmp_path, "a.png", scene().convert("RGBA")))
    assert picture.mask is None and picture.notes == () and gap(picture.image, scene()) == 0


def test_a_mask_beside_the_picture_comes_before_alpha(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.png", scene())
    mask = Image.new("L", (SIDE, SIDE), 0)
    mask.paste(255, (0, 0, 10, 10))
    saved(tmp_path, mask_path(path).name, mask)
    picture = open_picture(path)
    assert picture.mask is not None and gap(picture.mask, mask) == 0
    assert picture.notes == ("mask from a-mask.png",)


@pytest.mark.parametrize("ending", MASKS)
def test_a_mask_is_found_however_its_ending_is_written(tmp_path: Path, ending: str) -> None:
    path = saved(tmp_path, "A.jpg", scene())
    assert mask_path(path).name == "A-mask.png"
    Image.new("L", (SIDE, SIDE), 255).save(tmp_path / f"A{ending}", "PNG")
    assert mask_path(path).name == f"A{ending}" and open_picture(path).mask is not None


@pytest.mark.parametrize(
    ("mask", "word"),
    [(Image.new("L", (10, 40), 255), "same shape"), (Image.new("L", (SIDE, SIDE)), "all black")],
)
def test_a_mask_that_cannot_be_meant_is_refused(tmp_path: Path, mask: Image.Image, word: str) -> None:
    path = saved(tmp_path, "a.png", scene())
    saved(tmp_path, "a-mask.png", mask)
    with pytest.raises(InputError, match=rf"a-mask\.png.*{word}"):
        open_picture(path)


def test_an_embedded_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))
    picture = open_picture(saved(tmp_path, "a.png", scene(), icc_profile=lab.tobytes()))
    assert picture.image.mode == "RGB" and len(picture.notes) == 1 and "profile" in picture.notes[0]
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    same = open_picture(saved(tmp_path, "b.png", scene(), icc_profile=srgb.tobytes()))
    assert same.notes == () and gap(same.image, scene()) == 0
    broken = open_picture(saved(tmp_path, "c.png", scene(), icc_profile=b"no profile at all"))
    assert "ignored" in broken.notes[0] and gap(broken.image, scene()) == 0


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    picture = open_picture(tmp_path / "a.gif")
    assert picture.image.getpixel((0, 0)) == (255, 0, 0) and "first of 2 frames" in picture.notes[0]


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "gif", "tif", "bmp"])
def test_a_truncated_picture_is_named(tmp_path: Path, ending: str) -> None:
    path = saved(tmp_path, f"a.{ending}", scene(200, 200))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=rf"a\.{ending}: (damaged|not a picture)"):
        open_picture(path)


@given(data=st.data())
def test_damaged_bytes_never_raise_anything_else(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    ending = data.draw(st.sampled_from(["jpg", "png", "gif", "tif", "bmp", "webp"]))
    path = saved(folder, f"a.{ending}", scene(32, 32))
    whole = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=20)):
        whole[place] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    try:
        assert open_picture(path).image.mode == "RGB"
    except InputError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [("a.jpg", b"hello", "not a picture"), ("a.png", b"", "empty"), ("a.heic", b"\0\0\0 ftypheic", "HEIC")],
)
def test_what_is_no_picture_is_named(tmp_path: Path, name: str, content: bytes, word: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}.*{word}"):
        open_picture(tmp_path / name)


def test_a_missing_picture_and_a_folder_are_named(tmp_path: Path) -> None:
    for place, word in [(tmp_path / "none.png", "no such picture"), (tmp_path, "a folder")]:
        with pytest.raises(InputError, match=word):
            open_picture(place)


def test_a_one_pixel_picture_is_read(tmp_path: Path) -> None:
    assert open_picture(saved(tmp_path, "a.png", Image.new("RGB", (1, 1), "red"))).size == (1, 1)


# -- writing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "JPEG"])
def test_a_saved_picture_is_read_again(tmp_path: Path, ending: str) -> None:
    path = save_image(scene().convert("RGBA"), tmp_path / "new" / "folder" / f"a.{ending}")
    assert gap(open_picture(path).image, scene()) < 4
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("name", ["a", "a.txt", "a.safetensors"])
def test_a_name_without_a_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.png"):
        save_image(scene(), tmp_path / name)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("number", "word"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only")])
def test_a_failed_write_leaves_the_last_good_file(tmp_path: Path, number: int, word: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text("good")
    with pytest.raises(InputError, match=word), written(path) as part:
        part.write_text("half")
        raise OSError(number, "no")
    assert path.read_text() == "good" and os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_in_a_librarys_own_words_is_understood(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="disk is full"), written(tmp_path / "a"):
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    with pytest.raises(KeyError), written(tmp_path / "a"):
        raise KeyError("a bug stays a bug")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_real_full_device_is_understood(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="disk is full"),
        written(tmp_path / "a"),
        open("/dev/full", "w") as full,
    ):
        full.write("x")
        full.flush()


# -- grids -----------------------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 40))
def test_a_grid_holds_every_picture_once(n: int, columns: int, cell: int) -> None:
    colours = [(20 * i + 10, 0, 200) for i in range(n)]
    sheet = grid([Image.new("RGB", (5, 5), colour) for colour in colours], columns=columns, cell=cell)
    found = {colour: count for count, colour in sheet.getcolors(1 << 20)}
    assert all(found[colour] == cell * cell for colour in colours)


def test_labels_and_a_title_make_room_for_themselves() -> None:
    images = [Image.new("RGB", (64, 64), "red")] * 3
    plain, labelled = (
        grid(images),
        grid(images, labels=["a <new1> cat on the beach at night"] * 3, title="cats"),
    )
    assert labelled.height > plain.height
    assert np.asarray(labelled.convert("L")).min() < 60  # black text is there
    with pytest.raises(InputError, match="one label a picture"):
        grid(images, labels=["one"])
    with pytest.raises(InputError):
        grid([])


def test_the_module_does_not_import_torch() -> None:
    code = "import sys, motif.images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
