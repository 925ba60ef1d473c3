"""The convolutions that LPIPS reads: AlexNet, SqueezeNet 1.1 and VGG-16, without torchvision, under its weights' names.

Each is a list of layers in torchvision's order, so that layer i of the file is `features.i`, and the places behind
which LPIPS looks (Zhang et al. 2018). Krizhevsky 2014; Iandola et al. 2016; Simonyan & Zisserman 2015.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

ROOT = "https://download.pytorch.org/models"


@dataclass(frozen=True)
class Backbone:
    """Layers as words: `64 k11 s4 p2` is a convolution, R a ReLU, M a pooling by 3 / 2, m by 2 / 2, C by 3 / 2 with
    its last column kept, `F16 64` a Fire module."""

    file: str  # torchvision's weights
    layers: str
    looks: tuple[int, ...]  # behind these layers

    @property
    def url(self) -> str:
        return f"{ROOT}/{self.file}"


BACKBONES = {
    "alex": Backbone(
        "alexnet-owt-7be5be79.pth",
        "64 k11 s4 p2, R, M, 192 k5 s1 p2, R, M, 384 k3 s1 p1, R, 256 k3 s1 p1, R, 256 k3 s1 p1, R",
        (1, 4, 7, 9, 11),
    ),
    "squeeze": Backbone(
        "squeezenet1_1-b8a52dc0.pth",
        "64 k3 s2 p0, R, C, F16 64, F16 64, C, F32 128, F32 128, C, F48 192, F48 192, F64 256, F64 256",
        (1, 4, 7, 9, 10, 11, 12),
    ),
    "vgg": Backbone(
        "vgg16-397923af.pth",
        ", m, ".join(
            ", ".join([f"{width} k3 s1 p1, R"] * times)
            for width, times in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
        ),
        (3, 8, 15, 22, 29),
    ),
}


def built(backbone: Backbone) -> "nn.Sequential":
    """The layers, with random weights, under the names that torchvision's `features` have."""
    from torch import nn

    layers: list[Any] = []
    width = 3
    for word in backbone.layers.split(", "):
        if word == "R":
            layers.append(nn.ReLU())
        elif word in ("M", "C"):
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=word == "C"))
        elif word == "m":
            layers.append(nn.MaxPool2d(2, 2))
        elif word.startswith("F"):
            squeezed, wide = (int(part) for part in word[1:].split())
            layers.append(_fire(width, squeezed, wide))
            width = 2 * wide
        else:
            out, kernel, stride, padding = (int(part.lstrip("ksp")) for part in word.split())
            layers.append(nn.Conv2d(width, out, kernel, stride, padding))
            width = out
    return nn.Sequential(*layers)


def _fire(width: int, squeezed: int, wide: int) -> "nn.Module":
    import torch
    from torch import Tensor, nn

    class Fire(nn.Module):
        """A squeeze by 1 x 1, then 1 x 1 and 3 x 3 side by side."""

        def __init__(self) -> None:
            super().__init__()
            self.squeeze = nn.Conv2d(width, squeezed, 1)
            self.expand1x1 = nn.Conv2d(squeezed, wide, 1)
            self.expand3x3 = nn.Conv2d(squeezed, wide, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.squeeze(x).relu()
            return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], 1)

    return Fire()
