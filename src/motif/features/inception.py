"""FID's Inception V3: what KID and FID are measured with in papers, from NVIDIA's TorchScript file.

    x (299 x 299) → (x − 128) / 128 → Inception → the last pooled features, [2048]

As clean-fid (Parmar et al. 2022; the "clean" mode of Custom Diffusion's KID, customization card 4.2): each colour is
resized to 299 x 299 by itself in floating point, bicubic and antialiased, without rounding; the frame is not cropped.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from PIL import Image

from motif.errors import InputError, MissingModel
from motif.features.extractors import batched, fingerprint
from motif.features.pictures import opened
from motif.features.published import published

if TYPE_CHECKING:
    from torch import Tensor

FILE = "inception-2015-12-05.pt"
URL = f"https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/{FILE}"
SIDE = 299


@dataclass(frozen=True, eq=False)
class InceptionEncoder:
    """FID's Inception: pictures to features."""

    name: str
    folder: Path
    fingerprint: str
    model: Any  # TorchScript; its `layers` take [image, 3, 299, 299] in [-1, 1]

    @classmethod
    def load(cls, name: str | Path = "paper", *, device: str = "cpu") -> Self:
        """Read it: `paper` (NVIDIA's file, in torch's cache), or a TorchScript file of the same kind.

        Raises:
            MissingModel: not on this machine; the message names the file and its address.
            InputError: pocket, which has none, or a file that is none.
        """
        import torch

        from motif.loading import device_of

        if str(name) == "pocket":
            raise InputError("pocket has no Inception: choose features clip or dino, or --encoder paper")
        path = published(FILE, URL, "Inception") if str(name) == "paper" else Path(name).expanduser()
        if not path.is_file():
            raise MissingModel(f"{name}: no such file; Inception is `paper` or a TorchScript file ({FILE})")
        script: Any = torch.jit
        try:
            with (
                warnings.catch_warnings()
            ):  # torch would rather have another format; the published file is this one
                warnings.simplefilter("ignore", DeprecationWarning)
                model = script.load(str(path), map_location="cpu").eval()
            layers = model.layers
        except (RuntimeError, AttributeError) as error:
            raise InputError(f"{path}: not Inception as TorchScript ({str(error).splitlines()[0]})") from None
        del layers
        return cls(str(name), path.parent, fingerprint(model), model.to(device_of(device)))

    def images(self, pictures: Sequence[Path | Image.Image], *, batch_size: int = 32) -> "Tensor":
        """Features of pictures: [image, channel], fp32, on the CPU, not normalised."""
        return batched(pictures, batch_size, self._images)

    def _images(self, pictures: Sequence[Path | Image.Image]) -> "Tensor":
        import torch

        place = next(self.model.parameters()).device
        pixels = torch.stack([_resized(opened(picture)) for picture in pictures]).to(place)
        return self.model.layers((pixels - 128) / 128).flatten(1)

    def choices(self) -> dict[str, object]:
        return {
            "encoder": self.name,
            "backbone": f"Inception V3 (2015-12-05, TorchScript), patch of {SIDE} px, fp32",
            "folder": str(self.folder),
            "weights": self.fingerprint,
            "preprocessing": f"{SIDE} x {SIDE} without a crop, bicubic per colour in float, (x - 128) / 128",
        }


def _resized(picture: Image.Image) -> "Tensor":
    """[3, 299, 299] in [0, 255], float32, overshoot kept."""
    import numpy as np
    import torch

    bands = [
        np.asarray(
            Image.fromarray(np.asarray(band, dtype=np.float32)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        )
        for band in picture.split()
    ]
    return torch.from_numpy(np.stack(bands))
