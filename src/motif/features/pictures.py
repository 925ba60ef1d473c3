"""The pictures a metric reads, and the one way they are prepared for an encoder.

Sources: a folder, a file, a PIL picture, or any list of files and pictures. In a folder, every file with a
picture's suffix counts, in natural order ("2.png" before "10.png"), except masks (`NAME-mask.png`); a file
that cannot be read is an error by name, never skipped. Files are opened when their batch comes, so a folder
of any size fits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from motif.errors import InputError
from motif.files import natural
from motif.images import open_picture

if TYPE_CHECKING:
    from torch import Tensor

Pictures = str | Path | Image.Image | Iterable[str | Path | Image.Image]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})


def gather(source: Pictures, what: str = "pictures") -> list[Path | Image.Image]:
    """The pictures of a source, files still closed; InputError where there are none, or one is not there."""
    if isinstance(source, Image.Image):
        return [source]
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        found: list[Path | Image.Image] = list(_folder(path)) if path.is_dir() else [path]
    else:
        found = [item if isinstance(item, Image.Image) else Path(item).expanduser() for item in source]
    if not found:
        where = f" in {source}" if isinstance(source, str | Path) else ""
        raise InputError(f"no {what}{where}: give a folder with pictures, files, or PIL pictures")
    for item in found:
        if isinstance(item, Path) and not item.is_file():
            raise InputError(f"{item}: no such file or folder ({what})")
    return found


def _folder(folder: Path) -> list[Path]:
    files = [f for f in folder.iterdir() if f.is_file() and f.suffix.lower() in SUFFIXES]
    files = [f for f in files if not f.stem.endswith("-mask") and not f.name.startswith(".")]
    return sorted(files, key=natural)


def names(pictures: Sequence[Path | Image.Image]) -> tuple[str, ...]:
    """What to call each picture: the file's name, or its place in the list."""
    return tuple(p.name if isinstance(p, Path) else f"picture {i}" for i, p in enumerate(pictures))


def opened(picture: Path | Image.Image) -> Image.Image:
    """As RGB, by the policy of `motif.images`: what is transparent is put on white, from a file or not."""
    if isinstance(picture, Path):
        return open_picture(picture).image
    if picture.has_transparency_data:
        full = picture.convert("RGBA")
        return Image.composite(
            full.convert("RGB"), Image.new("RGB", full.size, "white"), full.getchannel("A")
        )
    return picture.convert("RGB")


@dataclass(frozen=True)
class Preprocessing:
    """Shorter side to `resize` (bicubic, antialiased), the central `crop` square, (x − mean) / std; Pillow
    and torch.

    Sizes round as torchvision's Resize and CenterCrop do, which the papers' scripts use: the longer side is
    cut down to a whole pixel, the crop's corner is rounded to the even neighbour.
    """

    resize: int  # pixels
    crop: int  # pixels
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not 0 < self.crop <= self.resize:
            raise InputError(f"an encoder's crop of {self.crop} px does not fit in {self.resize} px")

    def __call__(self, picture: Image.Image) -> "Tensor":
        """An RGB picture of any size -> [3, crop, crop], float32."""
        import numpy as np
        import torch

        short = min(picture.size)
        width, height = (
            self.resize if side == short else int(self.resize * side / short) for side in picture.size
        )
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        left, top = round((width - self.crop) / 2), round((height - self.crop) / 2)
        picture = picture.crop((left, top, left + self.crop, top + self.crop))
        x = torch.as_tensor(np.array(picture, dtype=np.float32) / 255).permute(2, 0, 1)  # [3, h, w] in [0, 1]
        mean, std = (
            torch.tensor(values, dtype=torch.float32).view(3, 1, 1) for values in (self.mean, self.std)
        )
        return (x - mean) / std

    def batch(self, pictures: Sequence[Path | Image.Image]) -> "Tensor":
        """[image, 3, crop, crop], float32; files are opened here."""
        import torch

        return torch.stack([self(opened(picture)) for picture in pictures])

    def __str__(self) -> str:
        def spelled(values: Sequence[float]) -> str:
            return ", ".join(f"{value:g}" for value in values)

        return (
            f"shorter side to {self.resize} px bicubic, centre crop {self.crop} px, "
            f"mean ({spelled(self.mean)}), std ({spelled(self.std)})"
        )
