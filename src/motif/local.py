"""Local attention: an encoded photo's patches, read beside the prompt where the prompt's word looks.

    out = A v + λ (A_l ⊙ a / max a) v_l,    A_l = softmax(q k_lᵀ / √d),    a = the column of A of the concept's word

Wei et al. 2023 (ELITE, arXiv 2302.13848), eq. 6 and 8; card 3.4. Patches outside of the object's mask are zero keys and
stay in the softmax. λ = 0 is the prompt alone. Ours: any number of concepts, each at its own word, in any lane.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from motif.attention import Call, Control, Side, Site
from motif.errors import InputError, WrongBase

if TYPE_CHECKING:
    from motif.base import Base

Features = Mapping[str, tuple[Tensor, Tensor]]
"""Layer -> keys and values of a photo's patches there, [patch, channel] each."""

Form = Literal["image", "release", "none"]
"""What the word's map is divided by: its maximum in each image, or in the whole batch; or no map at all."""

STRENGTH = 0.6
"""λ where nobody says (the paper's for editing prompts; for generation it is 0.8)."""


class LocalAttention(Control):
    """Adds what the patches of worn concepts say, wherever a row's prompt names their words: not beside the empty
    prompt, but where a caption stands in its place (negative-prompt inversion)."""

    def __init__(
        self, local: Mapping[str, Features], strength: float = STRENGTH, form: Form = "image"
    ) -> None:
        if not 0 <= strength < float("inf"):
            raise InputError(f"the local strength is {strength:g}: a number from 0 (the word alone) up")
        self.local, self.strength, self.form = local, strength, form

    @staticmethod
    def of(base: Base, strength: float = STRENGTH, form: Form = "image") -> LocalAttention:
        """Of all concepts that a base wears."""

        def here(features: Features) -> Features:
            return {
                site: (k.to(base.device, base.dtype), v.to(base.device, base.dtype))
                for site, (k, v) in features.items()
            }

        there = {token: here(features) for token, features in base.local.items()}
        return LocalAttention(there, strength, form)

    def reads(self, lane: str, side: Side, step: int, steps: int) -> bool:
        return False  # of a lane, it changes what the lane itself reads

    def looks(self, site: Site, call: Call) -> bool:
        return bool(self.strength) and site.kind == "cross" and bool(self._places(call))

    def output(self, site: Site, call: Call, q: Tensor, maps: Tensor | None, out: Tensor) -> Tensor:
        if not self.strength or site.kind != "cross" or not (places := self._places(call)):
            return out
        assert maps is not None
        images, positions = (torch.tensor([place[i] for place in places], device=out.device) for i in (0, 2))
        share = self._share(maps[images, :, :, positions].float())  # [place, head, pixel]
        by_size: dict[int, list[int]] = defaultdict(list)
        for i, (_, token, _) in enumerate(places):
            by_size[len(self.local[token][site.name][0])].append(i)
        for members in by_size.values():
            found = [self.local[places[i][1]][site.name] for i in members]
            chosen = torch.tensor(members, device=out.device)
            k, v = (_heads(torch.stack([pair[j] for pair in found]), q.shape[1]).to(q) for j in (0, 1))
            said = F.scaled_dot_product_attention(q[images[chosen]], k, v)
            more = self.strength * share[chosen, :, :, None].to(said.dtype) * said
            out = out.index_add(0, images[chosen], more.to(out.dtype))
        return out

    def _share(self, maps: Tensor) -> Tensor:
        """How much each pixel listens."""
        if self.form == "none":
            return torch.ones_like(maps)
        most = maps.amax() if self.form == "release" else maps.amax((1, 2), keepdim=True)
        return maps / most.clamp_min(torch.finfo(maps.dtype).tiny)

    def _places(self, call: Call) -> list[tuple[int, str, int]]:
        """(image of the batch, token, position of its first vector), wherever a row's prompt names one."""
        found: list[tuple[int, str, int]] = []
        for row in call.rows:
            for i in range(row.span.stop - row.span.start):
                tokens = row.text.tokens[min(i, len(row.text.tokens) - 1)]
                found += [
                    (row.span.start + i, token, position)
                    for position, token, part in tokens.splices
                    if not part and token in self.local
                ]
        return found


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def hearing(base: Base, controls: Sequence[Control]) -> tuple[Control, ...]:
    """The controls of a run: with local attention first, where the base wears local features and nobody else sees to
    them."""
    if not base.local or any(isinstance(control, LocalAttention) for control in controls):
        return tuple(controls)
    return (LocalAttention.of(base), *controls)


def check_local(
    local: Mapping[str, Features],
    tokens: Mapping[str, Sequence[Tensor]],
    own: Mapping[str, Tensor],
    *,
    base: str,
) -> None:
    """WrongBase or InputError for local features that would not be heard here: no such word, layer or width."""
    for token, features in local.items():
        if token not in tokens:
            raise InputError(
                f"local features of {token}, which is no token of the concept: encode the photo again"
            )
        layers = {
            name.removeprefix("unet.").removesuffix(".to_k.weight"): len(weight)
            for name, weight in own.items()
            if name.endswith(".attn2.to_k.weight")
        }
        if features.keys() != layers.keys():
            odd = min(features.keys() ^ layers.keys())
            raise WrongBase(
                f"{token}'s local features and {base}'s cross-attention layers differ, as in {odd}"
            )
        for site, (k, v) in features.items():
            if k.shape != v.shape or k.dim() != 2 or k.shape[1] != layers[site]:
                raise WrongBase(
                    f"{token}'s local features in {site} are {tuple(k.shape)} and {tuple(v.shape)}; "
                    f"{base} reads {layers[site]} channels there"
                )
