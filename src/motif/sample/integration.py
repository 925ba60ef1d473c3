"""DCI's masks: two lanes compete for every pixel and head of every cross-attention layer.

    B = softmax_words(10 A)                            A: maps after their softmax; words: the prompt's own, no specials
    m_c = Σ B over "V* noun"      m_a = Σ B' over all words of the auxiliary prompt but the stand-in
    s = gain · softmax_pixels(10 m)                    gain = 500 · cells of the latent / 64²
    w_a = σ(λ s_a − s_c),  w_c = 1 − w_a               O_c ← w_c O_c + w_a O_a, before the output projection

Jin et al. 2024 (arXiv 2412.04831), eq. 3 to 5; card of ICO and DCI, 5.2 (the published code's constants, without which
the masks are a half everywhere). Ours: the gain follows the latent's size, so that a map of half the latent's side is
as decided on 16 x 16 latents as on 64 x 64. "paper" has the equations as they are printed: M = q kᵀ / √d, no gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from motif.attention import Call, Control, Site
from motif.sample.stand_in import Span, positions
from motif.text import Tokens

Form = Literal["release", "paper", "none"]
Layers = Literal["all", "last"]

GAIN = 500.0
"""Of the softmax over pixels, on latents of 64 x 64."""

SHARPNESS = 10.0
"""What maps, and then sums of them, are multiplied by before a softmax."""

CELLS = 64 * 64


@dataclass(frozen=True)
class Words:
    """Token positions in one prompt: its own words, and those among them that a mask sums up."""

    own: tuple[int, ...]
    picked: tuple[int, ...]

    @staticmethod
    def of(tokens: Tokens, spans: Sequence[Span], *, rest: bool = False) -> Words:
        """The words in those stretches of the prompt; with `rest` all the others."""
        own = tuple(i for i, c in enumerate(tokens.chars) if c)
        named = positions(tokens, spans)
        return Words(own, tuple(i for i in own if i not in named) if rest else named)


def mass(maps: Tensor, words: Words) -> Tensor:
    """m [..., pixel] from maps [..., pixel, word]: what the picked words have of every pixel, from 0 to 1."""
    again = (SHARPNESS * maps[..., list(words.own)].float()).softmax(-1)
    return again[..., [words.own.index(i) for i in words.picked]].sum(-1)


def spread(m: Tensor, cells: int, *, gain: float = GAIN) -> Tensor:
    """s [..., pixel] from m: its mean is gain / 64² on the latent's own grid of `cells`, 4 times that on the next."""
    return gain * cells / CELLS * (SHARPNESS * m).softmax(-1)


def printed(q: Tensor, k: Tensor, words: Words) -> Tensor:
    """The paper's S_s(M) [image, head, pixel]: the words' logits summed up, softmax over pixels."""
    logits = q.float() @ k[..., list(words.picked), :].float().transpose(-1, -2) * q.shape[-1] ** -0.5
    return logits.sum(-1).softmax(-1)


def share(concept: Tensor, auxiliary: Tensor, balance: float) -> Tensor:
    """w_a, the auxiliary lane's weight: the softmax of (s_c, λ s_a) over the two lanes."""
    return (balance * auxiliary - concept).sigmoid()


@dataclass(eq=False)
class Integration(Control):
    """Puts the lane "aux" into the lane "main" as long as both live; "aux" itself and unguided rows stay as they are.

    `form` "none" adds the lanes up, O_c + λ O_a, and `last` is the one layer that acts where it is named: the paper's
    ablations. `seen` collects the masks [image, h, w] of every layer and step, the mean over heads, by their size.
    """

    concept: Words
    auxiliary: Words
    balance: float
    form: Form = "release"
    gain: float = GAIN
    last: str | None = None
    seen: dict[tuple[int, int], list[Tensor]] | None = None
    acted: int = 0
    _keys: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    def looks(self, site: Site, call: Call) -> bool:
        return self.form == "release" and self._acts(site, call)

    def _acts(self, site: Site, call: Call) -> bool:
        wanted = self.last in (None, site.name)
        return (
            site.kind == "cross" and wanted and call.row("aux") is not None and call.row("main") is not None
        )

    def keyvalue(self, site: Site, call: Call, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if self.form == "paper" and self._acts(site, call):
            self._keys[site.name] = k
        return k, v

    def output(self, site: Site, call: Call, q: Tensor, maps: Tensor | None, out: Tensor) -> Tensor:
        main, aux = call.row("main"), call.row("aux")
        if main is None or aux is None or not self._acts(site, call):
            return out
        mine, other = out[main.span], out[aux.span]
        if self.form == "none":
            mixed = mine + self.balance * other
        else:
            s_c, s_a = (
                self._strength(site, call, q, maps, span, words)
                for span, words in ((main.span, self.concept), (aux.span, self.auxiliary))
            )
            w = share(s_c, s_a, self.balance)  # [image, head, pixel]
            self._keep(call, w)
            w = w.to(out.dtype).unsqueeze(-1)
            mixed = (1 - w) * mine + w * other
        self.acted += 1
        out = out.clone()
        out[main.span] = mixed
        return out

    def _strength(
        self, site: Site, call: Call, q: Tensor, maps: Tensor | None, span: slice, words: Words
    ) -> Tensor:
        if self.form == "paper":
            k = self._keys[site.name][span]
            return printed(q[span], k.unflatten(-1, (q.shape[1], -1)).transpose(1, 2), words)
        assert maps is not None  # it looks here
        h, w = call.size
        return spread(mass(maps[span], words), h * w, gain=self.gain)

    def _keep(self, call: Call, w: Tensor) -> None:
        if self.seen is not None:
            size = call.grid(w.shape[-1])
            self.seen.setdefault(size, []).append(w.mean(1).unflatten(-1, size).cpu())
