"""Attention, and the six moments at which a pass can be changed.

    q = Wq x,  k = Wk c,  v = Wv c'          context:   choose c and c'
                                             keyvalue:  edit k and v
    A = softmax(q kᵀ / √d)                   maps:      edit A      (only if someone looks)
    y = A v                                  output:    edit y, per head, before Wo
    ε_c, ε_u = UNet(x, t, c)                 predicted: edit what the lanes are guided with
    x ← x_t-1                                after:     edit the lanes' latents

A `Control` is handed to the denoiser with the call, never installed in the model: the one attention processor,
`Seam`, is stateless and owns no weights, so worn weights, LoRA layers and any number of controls meet in it.
Where no control looks at a map, attention stays fused and equals diffusers' own bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from motif.errors import InputError

if TYPE_CHECKING:
    from motif.text import Text

Kind = Literal["self", "cross"]
Side = Literal["cond", "uncond"]

FEW = 16
"""A map of so many cells, or fewer, is too coarse to say where a word is."""


@dataclass(frozen=True)
class Site:
    """One attention layer of the denoiser."""

    name: str  # "down_blocks.0.attentions.1.transformer_blocks.0.attn2"
    kind: Kind
    place: str  # "down", "mid" or "up"
    level: int = 0  # its pixels are the latent's, halved so often


@dataclass(frozen=True)
class Row:
    """One block of the batch: a lane, on one side of guidance."""

    lane: str  # "main", "aux", "source", "target", ...
    side: Side
    span: slice  # its images in the batch
    text: Text


@dataclass(frozen=True)
class Call:
    """What one pass of the denoiser tells every site.

    `size` is the latent's (h, w). `memory` keeps the texts' keys and values from step to step of one run (None while
    gradients are wanted): of each layer, of the rows of the last step. `looked` collects the controls that were shown a
    map, so that one which no layer saw is an error and not a silent no-op. `latents` are the lanes' before the step.
    """

    rows: tuple[Row, ...]
    step: int
    steps: int
    t: float
    size: tuple[int, int]
    controls: tuple[Control, ...] = ()
    memory: Memory | None = None
    looked: set[int] = field(default_factory=set[int])
    latents: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    def row(self, lane: str, side: Side = "cond") -> Row | None:
        """The row of that lane and side, or None where it is not in this pass."""
        return next((r for r in self.rows if (r.lane, r.side) == (lane, side)), None)

    def grid(self, pixels: int) -> tuple[int, int]:
        """(h, w) of a map with so many pixels: the latent's size, halved (rounding up) until it fits."""
        h, w = self.size
        while h * w > pixels:
            h, w = (h + 1) // 2, (w + 1) // 2
        if h * w != pixels:
            raise ValueError(f"no halving of {self.size} has {pixels} pixels")
        return h, w

    def level(self, part: int) -> int:
        """The `Site.level` whose maps have 1/part of the latent's side: level(4) is 16 x 16 of 64 x 64 latents.

        A map of 16 cells or fewer says nothing about places: there it is the next finer level (8 x 8 on pocket).
        """
        level = part.bit_length() - 1
        if part < 1 or part != 1 << level:
            raise ValueError(f"a map's side is the latent's halved, and {part} is no power of 2")
        while level and math.prod(-(-side >> level) for side in self.size) <= FEW:
            level -= 1
        return level


Memory = dict[str, tuple[tuple[Row, ...], Tensor, Tensor]]


class Control:
    """One intervention. Override the moments you need; each one is the identity.

    Shapes: contexts, keys and values `[image, word, channel]` (for self-attention a word is a pixel), maps
    `[image, head, pixel, word]`, outputs `[image, head, pixel, channel]`, latents `{lane: [image, c, h, w]}`.
    `call.row(lane).span` says which images of the batch belong to a lane. Never edit in place: return new tensors.
    """

    def reads(self, lane: str, side: Side, step: int, steps: int) -> bool:
        """Whether it needs that row of a step. Of a lane whose way is known, rows that nobody needs are left out."""
        moments = ("keyvalue", "maps", "output", "predicted")
        return any(getattr(type(self), name) is not getattr(Control, name) for name in moments)

    def looks(self, site: Site, call: Call) -> bool:
        """Whether this site must compute its map; where nobody looks, attention stays fused."""
        return False

    def context(self, site: Site, call: Call, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        return keys, values

    def keyvalue(self, site: Site, call: Call, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return k, v

    def maps(self, site: Site, call: Call, maps: Tensor) -> Tensor:
        """Called at the sites where this control looks."""
        return maps

    def output(self, site: Site, call: Call, q: Tensor, maps: Tensor | None, out: Tensor) -> Tensor:
        return out

    def predicted(
        self, call: Call, outputs: Mapping[tuple[str, Side], Tensor]
    ) -> Mapping[tuple[str, Side], Tensor]:
        """Called with the denoiser's raw outputs `{(lane, side): [image, c, h, w]}`, before guidance."""
        return outputs

    def after(self, call: Call, latents: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return latents


class Seam:
    """The one attention processor: stateless, without weights of its own."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        call: Call | None = None,
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q = _heads(attn.to_q(hidden_states), attn.heads)
        k, v = (_heads(x, attn.heads) for x in self._keyvalue(attn, context, call))
        if attention_mask is not None:
            mask: Tensor = attn.prepare_attention_mask(attention_mask, k.shape[2], len(k))
            attention_mask = mask.view(len(k), attn.heads, -1, k.shape[2])
        controls = call.controls if call else ()
        viewers = [c for c in controls if c.looks(self.site, call)] if call else []
        maps = None
        if viewers and call:
            maps = _softmax(attn, q, k, attention_mask)
            for control in viewers:
                maps = control.maps(self.site, call, maps)
            out = maps @ v
            if not torch.compiler.is_compiling():
                call.looked.update(map(id, viewers))
        else:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=attention_mask)
        for control in controls:
            assert call is not None
            out = control.output(self.site, call, q, maps, out)
        return attn.to_out[1](attn.to_out[0](out.transpose(1, 2).flatten(2)))

    def _keyvalue(self, attn: Any, context: Tensor, call: Call | None) -> tuple[Tensor, Tensor]:
        """Keys and values before the split into heads; a text's are remembered over the steps of a run."""
        if call is None:
            return attn.to_k(context), attn.to_v(context)
        memory = call.memory if self.site.kind == "cross" else None
        if memory is not None and any(type(c).context is not Control.context for c in call.controls):
            memory = None
        if memory is not None:
            k, v = self._remembered(attn, context, call.rows, memory)
        else:
            keys = values = context
            for control in call.controls:
                keys, values = control.context(self.site, call, keys, values)
            k, v = attn.to_k(keys), attn.to_v(values)
        for control in call.controls:
            k, v = control.keyvalue(self.site, call, k, v)
        return k, v

    def _remembered(
        self, attn: Any, context: Tensor, rows: tuple[Row, ...], memory: Memory
    ) -> tuple[Tensor, Tensor]:
        """Only rows with a text that the last step had not are projected; in the first step, all as one."""
        before, k, v = memory.get(self.site.name, ((), context, context))
        if before and before is rows:
            return k, v
        kept = {_said(row): (k[row.span], v[row.span]) for row in before}
        if not any(_said(row) in kept for row in rows):
            k, v = attn.to_k(context), attn.to_v(context)
        else:
            for row in rows:
                if _said(row) not in kept:
                    kept[_said(row)] = attn.to_k(context[row.span]), attn.to_v(context[row.span])
            k, v = (torch.cat(parts) for parts in zip(*(kept[_said(row)] for row in rows), strict=True))
        memory[self.site.name] = rows, k, v
        return k, v


def _said(row: Row) -> tuple[int, int]:
    """What a row reads: its text, which lives as long as the row does, for so many images."""
    return id(row.text), row.span.stop - row.span.start


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)  # [image, head, word, channel]


def _softmax(attn: Any, q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """A = softmax(q kᵀ / √d), in float32 where the layer asks for it."""
    dtype = q.dtype
    if attn.upcast_attention:
        q, k = q.float(), k.float()
    scores = (q * attn.scale) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores + mask
    return (scores.float() if attn.upcast_softmax else scores).softmax(-1).to(dtype)


def open_seams(unet: Any) -> tuple[Site, ...]:
    """Put a `Seam` into every attention layer of a `UNet2DConditionModel`; its outputs do not change by a bit.

    Raises InputError for a layer that does more than project, attend and project (group, spatial or cross norms,
    added keys, residual connections): such a UNet is not one of Stable Diffusion's.
    """
    seams: dict[str, Seam] = {}
    last = len(unet.config.down_block_types) - 1
    for key in unet.attn_processors:
        name = key.removesuffix(".processor")
        attn = unet.get_submodule(name)
        extras = ("group_norm", "spatial_norm", "norm_cross", "norm_q", "norm_k", "add_k_proj")
        odd = [part for part in extras if getattr(attn, part, None) is not None]
        if odd or attn.residual_connection or attn.rescale_output_factor != 1.0:
            raise InputError(
                f"attention layer {name} has {', '.join(odd) or 'a residual'}: motif reads SD1, SD2 and SDXL"
            )
        kind: Kind = "cross" if name.endswith("attn2") else "self"
        seams[key] = Seam(Site(name, kind, name.split("_")[0], _level(name, last)))
    unet.set_attn_processor(dict(seams))
    return tuple(seam.site for seam in seams.values())


def _level(name: str, last: int) -> int:
    """How often the latent is halved at a layer: the down path halves behind each block but the last."""
    block, _, rest = name.partition(".")
    if block == "mid_block":
        return last
    index = int(rest.partition(".")[0])
    return index if block == "down_blocks" else last - index
