"""LPIPS: how different two pictures look, by the activations of a network for recognising things.

    d(x, y) = Σ_l mean over places p of Σ_c w_lc (x̂_lcp − ŷ_lcp)²            x̂: activations, unit length over channels

Zhang et al. 2018, version 0.1: AlexNet (`alex`), SqueezeNet (`squeeze`) or VGG-16 with learned w ≥ 0. Ours, without
torchvision; the networks are torchvision's files, the w lie in the package torchmetrics. `pocket` is the same form over
the patches of pocket's DINO with w = 1/L: it has no learned w and is not LPIPS's number, but it works offline.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motif.errors import InputError, MissingModel
from motif.features.backbones import BACKBONES, built
from motif.features.extractors import DinoEncoder, fingerprint
from motif.features.published import published

if TYPE_CHECKING:
    from torch import Tensor

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPS = 1e-10


@dataclass(frozen=True, eq=False)
class Perceptual:
    """A network's layers and their channels' weights: two pictures to one distance."""

    name: str  # "pocket", "alex", "squeeze", "vgg", a folder
    layers: "Callable[[Tensor], list[Tensor]]"  # [image, 3, h, w] in [-1, 1] -> [image, channel, ...] of each layer
    weights: "Sequence[Tensor] | None"  # [channel] of each layer; None is 1/L everywhere
    about: Mapping[str, object]
    side: int | None = None  # pixels of a side that it was made for; None: any

    @classmethod
    def load(
        cls, name: "str | Path | Perceptual" = "pocket", *, paper: str = "alex", device: str = "cpu"
    ) -> "Perceptual":
        """Read it.

        Args:
            name: `pocket`, `alex`, `squeeze`, `vgg`, `paper` (what `paper` says), a transformers ViT's folder or id.
            paper: the network that `paper` means.
            device: where it computes.

        Raises:
            MissingModel: a file is not on this machine; the message names it, its address and its place.
        """
        if isinstance(name, Perceptual):
            return name
        net = paper if str(name) == "paper" else str(name)
        return _lpips(net, device) if net in BACKBONES else _vit(DinoEncoder.load(net, device=device))

    def distance(self, x: "Tensor", y: "Tensor") -> float:
        """d of two pictures [3, h, w] as LPIPS expects them, in [-1, 1]."""
        import torch

        with torch.inference_mode():
            found = self.layers(torch.stack([x, y]).float())
        total = 0.0
        for i, layer in enumerate(found):
            unit = layer / (layer.square().sum(1, keepdim=True).sqrt() + EPS)
            apart = (unit[0] - unit[1]).square().flatten(1).mean(1)  # [channel]
            total += float(
                apart.sum() / len(found) if self.weights is None else (apart * self.weights[i]).sum()
            )
        return total

    def choices(self) -> dict[str, object]:
        return {"encoder": self.name, **self.about}


def _lpips(net: str, device: str) -> Perceptual:
    """AlexNet, SqueezeNet or VGG-16 with LPIPS's weights, both from their files."""
    import torch

    from motif.loading import device_of

    backbone = BACKBONES[net]
    heads, place = _heads(net), device_of(device)
    file = published(backbone.file, backbone.url, f"LPIPS ({net})")
    read = _tensors(file)
    model = built(backbone).eval().requires_grad_(False)
    wanted = {key: read.get(f"features.{key}") for key in model.state_dict()}
    lost = [
        key for key, value in model.state_dict().items() if getattr(wanted[key], "shape", None) != value.shape
    ]
    if lost:
        raise InputError(
            f"{file}: no weight features.{lost[0]} of the right shape: it is not torchvision's file"
        )
    model.load_state_dict(wanted)
    model.to(place)
    shift, scale = (torch.tensor(v, device=place).view(3, 1, 1) for v in (SHIFT, SCALE))

    def layers(x: "Tensor") -> "list[Tensor]":
        x, found = (x.to(place) - shift) / scale, list["Tensor"]()
        for i, layer in enumerate(model):
            x = layer(x)
            if i in backbone.looks:
                found.append(x)
        return found

    about: dict[str, object] = {
        "backbone": f"{net}, {len(backbone.looks)} layers, LPIPS 0.1 weights, fp32",
        "folder": str(file.parent),
        "weights": fingerprint(model),
    }
    return Perceptual(net, layers, [head.to(place) for head in heads], about)


def _heads(net: str) -> "list[Tensor]":
    """LPIPS's learned w of every layer, as torchmetrics ships them."""
    spec = find_spec("torchmetrics")
    if spec is None or not spec.submodule_search_locations:
        raise MissingModel(f"LPIPS ({net}): its weights are in torchmetrics: pip install 'motif[measure]'")
    file = Path(spec.submodule_search_locations[0]) / "functional" / "image" / "lpips_models" / f"{net}.pth"
    if not file.is_file():
        raise MissingModel(f"LPIPS ({net}): {file} is missing: install torchmetrics again")
    read = _tensors(file)
    return [
        read[key].flatten()
        for key in sorted(read, key=lambda key: int(key.split(".")[0].removeprefix("lin")))
    ]


def _tensors(file: Path) -> "dict[str, Tensor]":
    import torch

    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle have many ways to say that a file is none of theirs
        raise InputError(f"{file}: cannot be read as weights ({str(error).splitlines()[0]})") from None


def _vit(encoder: DinoEncoder) -> Perceptual:
    """The patches behind every block of a ViT, on equal terms."""
    import torch

    told = encoder.preprocessing
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (told.mean, told.std))

    def layers(x: "Tensor") -> "list[Tensor]":
        pixels: Any = (((x + 1) / 2 - mean) / std).to(encoder.model.device)
        out = encoder.model(pixel_values=pixels, interpolate_pos_encoding=True, output_hidden_states=True)
        return [states[:, 1:].mT.cpu() for states in out.hidden_states[1:]]

    about = {
        **encoder.choices(),
        "preprocessing": f"mean {told.mean}, std {told.std}",
        "layers": "patches behind every block, every channel alike (LPIPS's form without its weights)",
    }
    return Perceptual(encoder.name, layers, None, about, side=told.crop)
