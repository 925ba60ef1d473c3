"""M_t, the mapping network of value embedding: from a photo's tokens to an embedding for the values.

    Conv(tokens → C) · Conv(C → C) · norm · LeakyReLU(0.01) · Conv(C → C)        kernel 1, over the token axis

"direct" has C = the text's words and gives c̃ itself (the paper's table 1); "affine" has twice as many and gives
c̃ = c ⊙ s + b (the release); "free" is the paper's ablation (Figure 15): no network, c̃ is what is learned. The
release's batch norm stays in training mode with one picture: it normalises every channel over the width, which is what
is computed here. Every photo has a network of its own, in the first axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Head = Literal["direct", "affine", "free"]
Start = Literal["default", "small"]


def fresh(
    images: int, tokens: int, words: int, *, head: Head, start: Start, seed: int, device: torch.device
) -> list[Tensor]:
    """The parameters of step 0, equal for every photo: three weights and biases, the norm's scale and shift.

    `start` is torch's default for convolutions (release), or N(0, 0.01²) with zero biases (paper).
    """
    draw = torch.Generator().manual_seed(seed)
    channels = words * (2 if head == "affine" else 1)
    made: list[Tensor] = []
    for into in (tokens, channels, channels):
        if start == "small":
            made += [0.01 * torch.randn(channels, into, generator=draw), torch.zeros(channels, 1)]
        else:
            reach = into**-0.5
            made += [
                (2 * torch.rand(*shape, generator=draw) - 1) * reach
                for shape in ((channels, into), (channels, 1))
            ]
    made += [torch.ones(channels, 1), torch.zeros(channels, 1)]
    return [part.to(device).repeat(images, 1, 1) for part in made]


def mapped(parts: Sequence[Tensor], tokens: Tensor, head: Head) -> dict[str, Tensor]:
    """What a network makes of tokens [image, token, width]: {"direct"} or {"scale", "shift"}, [image, word, width]."""
    if head == "free":
        return {"direct": parts[0]}
    w0, b0, w1, b1, w2, b2, gain, bias = parts
    x = w1 @ (w0 @ tokens + b0) + b1
    x = F.layer_norm(x, x.shape[-1:], eps=1e-5) * gain + bias
    x = w2 @ F.leaky_relu(x, 0.01) + b2
    if head == "direct":
        return {"direct": x}
    scale, shift = x.chunk(2, dim=1)
    return {"scale": scale, "shift": shift}
