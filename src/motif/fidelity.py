"""How alike two pictures are, pixel by pixel.

    PSNR = 10 log₁₀(1 / MSE)                                           of values in [0, 1]
    SSIM = (2 μₐ μ_b + c₁)(2 σₐb + c₂) / ((μₐ² + μ_b² + c₁)(σₐ² + σ_b² + c₂))   (Wang et al. 2004), averaged

with a Gaussian window of σ 1.5 and 11 pixels, c₁ = .01², c₂ = .03², reflected borders, every channel for itself.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SIGMA, REACH = 1.5, 5


def psnr(a: Tensor, b: Tensor, *, span: float = 1.0) -> Tensor:
    """In dB, of every image: [image, ...] whose values span `span`. Equal ones give infinity."""
    error = (a.double() - b.double()).square().flatten(1).mean(1)
    return 10 * torch.log10(span**2 / error)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Of every image: [image, channel, h, w] in [0, 1]. Pictures must be larger than 5 pixels."""
    return ssim_map(a, b).flatten(1).mean(1)


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """SSIM around every pixel: [image, channel, h, w] in [0, 1] -> the same shape, float64."""
    a, b = a.double(), b.double()
    mean_a, mean_b = _blurred(a), _blurred(b)
    var_a, var_b = _blurred(a * a) - mean_a**2, _blurred(b * b) - mean_b**2
    both = _blurred(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))


def _blurred(x: Tensor) -> Tensor:
    places = torch.arange(-REACH, REACH + 1, dtype=x.dtype, device=x.device)
    window = torch.exp(-0.5 * (places / SIGMA) ** 2)
    window = (window / window.sum()).expand(x.shape[1], 1, -1)
    x = F.pad(x, (REACH,) * 4, mode="reflect")
    x = F.conv2d(x, window.unsqueeze(2), groups=x.shape[1])
    return F.conv2d(x, window.unsqueeze(3), groups=x.shape[1])
