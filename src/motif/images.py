"""Pictures: read from any file a camera or a painter writes, made from tensors, put into grids, written.

`open_picture` has one policy for every mode, and its notes say what was done:

    orientation   the EXIF rotation is applied
    colour        an embedded ICC profile is converted to sRGB; CMYK, LAB, YCbCr, grey and palettes become RGB
    depth         16 bits are scaled to 8 (x / 257), floats by the smallest of 1, 255, 65535 that holds them, unclipped
    alpha         becomes the mask, and the picture is put on white
    mask          NAME-mask.png beside NAME.* (white is the subject; NAME-MASK.PNG too) comes before alpha
    animation     the first frame

Torch is imported where a tensor is made, so that the command line starts without it.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from motif.errors import InputError
from motif.files import written
from motif.grids import grid

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Picture", "grid", "mask_path", "open_picture", "save_image", "square", "to_images"]

DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, RuntimeError, ArithmeticError, struct.error,
)  # fmt: skip
"""What Pillow's decoders raise on damaged files."""

MASKS = tuple(f"-{word}.{kind}" for word in ("mask", "Mask", "MASK") for kind in ("png", "PNG", "Png"))
"""How a mask's name may end: spelled out, so that no folder is listed once for each of its pictures."""

BICUBIC = Image.Resampling.BICUBIC


@dataclass(frozen=True, eq=False)
class Picture:
    """An opened picture: RGB, its mask where there is one (white is the subject), and what was done to it."""

    path: Path
    image: Image.Image
    mask: Image.Image | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, as it is seen."""
        return self.image.size


def open_picture(path: str | Path) -> Picture:
    """Read a picture by the policy above. InputError names a file that is not there, no picture, or damaged."""
    path = Path(path)
    notes: list[str] = []
    image, alpha = _without_alpha(_decoded(path, notes), notes)
    rgb = _rgb(image, notes)
    if alpha is not None:
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)
    mask = _mask_beside(path, rgb.size, notes)
    if mask is None and alpha is not None:
        mask = alpha
        notes.append("its transparency is the mask, and it was put on white")
        if alpha.getextrema()[1] == 0:
            raise InputError(f"{path}: wholly transparent, nothing can be seen on it")
    rgb.info.clear()
    return Picture(path, rgb, mask, tuple(notes))


def mask_path(path: str | Path) -> Path:
    """Where the mask of a picture lies: NAME-mask.png beside it, or NAME-MASK.PNG and the like where that is there."""
    path = Path(path)
    places = [path.with_name(path.stem + ending) for ending in MASKS]
    return next((place for place in places if place.is_file()), places[0])


def _decoded(path: Path, notes: list[str]) -> Image.Image:
    """The first frame, upright, with all its pixels read. Pillow's own warnings become notes."""
    if not path.is_file():
        what = "a folder, not a picture: name the pictures in it" if path.is_dir() else "no such picture"
        raise InputError(f"{path}: {what}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with Image.open(path) as file:
                frames, depth = int(getattr(file, "n_frames", 1)), _depth(file)
                image = _turned(file, notes)
        except UnidentifiedImageError:
            raise InputError(f"{path}: not a picture that can be read here{_hint(path)}") from None
        except PermissionError:
            raise InputError(f"{path}: no permission to read it") from None
        except Image.DecompressionBombError as error:
            raise InputError(f"{path}: too large ({error}): make it smaller first") from None
        except DAMAGE as error:
            raise InputError(
                f"{path}: damaged or cut short ({_first_line(error)}): replace it or take it out"
            ) from None
    if frames > 1:
        notes.append(f"the first of {frames} frames is used")
    if depth:
        notes.append(depth)
    notes += [
        f"Pillow says: {_first_line(w.message)}"
        for w in caught
        if not issubclass(w.category, DeprecationWarning)
    ]
    return image


def _hint(path: Path) -> str:
    if path.stat().st_size == 0:
        return ": the file is empty"
    if path.suffix.lower() in {".heic", ".heif"}:
        return ": export HEIC pictures as JPEG or PNG"
    return ": export it as JPEG or PNG"


def _depth(file: Image.Image) -> str:
    """The decoders of 16-bit colour keep the high byte; say so."""
    raw = [str(tile[3]) for tile in getattr(file, "tile", ()) if len(tile) > 3]
    return (
        "16 bits a channel were scaled to 8"
        if any(";16" in r and file.mode not in _DEEP for r in raw)
        else ""
    )


def _first_line(error: Any) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _turned(file: Image.Image, notes: list[str]) -> Image.Image:
    """A loaded copy of an opened file, turned as its EXIF orientation says. (Pillow turns TIFF files as it loads.)"""
    orientations = [_orientation(file)]
    file.load()
    orientations.append(_orientation(file))
    try:
        image = ImageOps.exif_transpose(file)
    except DAMAGE:
        orientations, image = [0], file.copy()
    if turn := next((o for o in orientations if o in range(2, 9)), 0):
        notes.append(f"turned upright (EXIF orientation {turn})")
    if 0 in orientations:
        notes.append("its EXIF data is damaged and was ignored")
    image.info = dict(file.info)
    return image


def _orientation(file: Image.Image) -> int:
    """1 to 8, where 1 is upright; 0 where the EXIF data cannot be read."""
    try:
        return int(file.getexif().get(ExifTags.Base.Orientation, 1))
    except DAMAGE:
        return 0


def _without_alpha(image: Image.Image, notes: list[str]) -> tuple[Image.Image, Image.Image | None]:
    """(the picture without alpha, its alpha as L where something is transparent)."""
    if not image.has_transparency_data or image.mode in _DEEP:
        return image, None
    profile = image.info.get("icc_profile")
    grey = image.mode in {"LA", "La"}
    if image.mode in {"P", "PA"}:
        notes.append("a palette became RGB")
    full = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    alpha = full.getchannel("A")
    plain = full.convert("L" if grey else "RGB")
    plain.info = {} if profile is None else {"icc_profile": profile}
    return plain, None if alpha.getextrema()[0] == 255 else alpha


_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_PLAIN = {
    "1": "black and white",
    "L": "grey",
    "P": "a palette",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
    "HSV": "HSV",
}


def _rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    profile = image.info.get("icc_profile")
    if image.mode in _DEEP:
        image = _eight_bits(image, notes)
        notes.append("grey became RGB")
    elif image.mode == "LAB":
        notes.append("LAB became RGB")
        return _converted(image, ImageCms.createProfile("LAB"))
    elif image.mode in {"P", "1", "HSV", "RGBX"}:
        if image.mode in _PLAIN:
            notes.append(f"{_PLAIN[image.mode]} became RGB")
        image = image.convert("RGB")
    elif image.mode in _PLAIN:
        notes.append(f"{_PLAIN[image.mode]} became RGB")
    if profile:
        image = _with_profile(image, profile, notes)
    return image.convert("RGB")


def _with_profile(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    """The picture in sRGB by its own profile; a profile that is damaged or of another kind is ignored, with a note."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if image.mode == "RGB" and "srgb" in name.lower():
            return image
        converted = _converted(image, source)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        notes.append("its colour profile is damaged or of another kind, and was ignored")
        return image
    notes.append(f'converted to sRGB from its colour profile "{name or "unnamed"}"')
    return converted


def _converted(image: Image.Image, source: Any) -> Image.Image:
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None  # it is None only where inPlace is asked for
    return converted


def _eight_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    """16-bit, 32-bit and float grey -> L, scaled, never clipped."""
    import numpy as np

    values = np.asarray(image, dtype=np.float64)  # [h, w]
    if not np.isfinite(values).all():
        notes.append("values that are not numbers became black")
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F":
        full = 1.0 if high <= 1 else 255.0 if high <= 255 else 65535.0 if high <= 65535 else high
    else:
        full = 255.0 if image.mode == "I" and high <= 255 else 65535.0 if high <= 65535 else high
    shift = min(low, 0.0)
    notes.append(
        f"{'float' if image.mode == 'F' else '16-bit'} values were scaled to 8 bits ({shift:g} to {full:g})"
    )
    scaled = (values - shift) / (full - shift) * 255
    return Image.fromarray(scaled.round().astype(np.uint8))


def _mask_beside(path: Path, size: tuple[int, int], notes: list[str]) -> Image.Image | None:
    place = mask_path(path)
    if not place.is_file() or place == path:
        return None
    mask = _decoded(place, []).convert("L")
    if mask.size != size:
        if abs(mask.width * size[1] - mask.height * size[0]) > max(size) * 2:
            (w, h), (x, y) = size, mask.size
            raise InputError(
                f"{place}: {x}x{y} does not fit {path.name}, which is {w}x{h}: the mask needs the same shape"
            )
        mask = mask.resize(size, BICUBIC)
    if mask.getextrema()[1] == 0:
        raise InputError(f"{place}: all black, it marks nothing: white is the subject")
    notes.append(f"mask from {place.name}")
    return mask


def to_images(pictures: Tensor) -> list[Image.Image]:
    """[image, 3, h, w] in [-1, 1] as pictures; values outside are clamped."""
    import torch

    pixels = ((pictures.detach().float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return [Image.fromarray(p.permute(1, 2, 0).contiguous().numpy()) for p in pixels]


def square(image: Image.Image, size: int) -> Image.Image:
    """The centre square of a picture, size x size pixels (bicubic); aspect is kept."""
    return ImageOps.fit(image, (size, size), BICUBIC)


def save_image(image: Image.Image, path: str | Path) -> Path:
    """Write a picture in the format of its name, beside its place and then renamed. InputError if it cannot be."""
    path = Path(path)
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise InputError(f"{path}: a picture's name ends in .png, .jpg or .webp")
    if kind == "JPEG" and image.mode not in {"L", "RGB", "CMYK"}:
        image = image.convert("RGB")
    with written(path) as part:
        image.save(part, kind, **({"quality": 95} if kind in {"JPEG", "WEBP"} else {}))
    return path
