"""Attention maps of one lane written over another's: what Prompt-to-Prompt and P2Plus do inside the network.

    cross   M*[n] ← α_n E_n M̂[n] + (1 − α_n) M*[n]      M̂ carried over by the words' alignment (`alignment`)
    self    M*    ← M                                     at the coarse layers, in a window of the run

Rows are found by name and never by their place; a step in which nothing is written leaves attention fused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from motif.attention import Call, Control, Side, Site
from motif.edit.alignment import TokenMap
from motif.edit.windows import Window


@dataclass(frozen=True, eq=False)
class CrossEdit:
    """What happens to one lane's cross maps."""

    maps: Sequence[TokenMap]  # one for all images, or one for each where the source's captions differ
    share: Tensor  # α: [step, position]
    factor: Tensor  # E: [position]

    def act(self, step: int) -> bool:
        """Whether it writes anything at a step."""
        return bool(self.share[step].any())

    def edit(self, step: int, source: Tensor, target: Tensor) -> Tensor:
        """Maps [image, head, pixel, position] of the source and the target -> the target's new ones."""
        found, share = list[Tensor](), self.share[step].to(target)
        for image in range(len(target)):
            own = self.maps[min(image, len(self.maps) - 1)]
            carried = own.carry(source[image], target[image]) * self.factor.to(target)
            found.append(torch.where(share > 0, carried, target[image]))
        return torch.stack(found)


class CrossInjection(Control):
    """The target lanes' cross maps from the source's, on the conditional side.

    Args:
        edits: What happens in each lane, by its name.
        source: The lane that gives.
    """

    def __init__(self, edits: Mapping[str, CrossEdit], *, source: str = "source") -> None:
        self.edits, self.source = edits, source

    def reads(self, lane: str, side: Side, step: int, steps: int) -> bool:
        return (lane, side) == (self.source, "cond") and any(edit.act(step) for edit in self.edits.values())

    def looks(self, site: Site, call: Call) -> bool:
        return site.kind == "cross" and any(edit.act(call.step) for edit in self.edits.values())

    def maps(self, site: Site, call: Call, maps: Tensor) -> Tensor:
        giver = call.row(self.source)
        if giver is None:
            return maps
        new = maps.clone()
        for lane, edit in self.edits.items():
            row = call.row(lane)
            if row is not None and edit.act(call.step):
                new[row.span] = edit.edit(call.step, maps[giver.span], maps[row.span])
        return new


def level_of(part: int) -> int:
    """How often the latent is halved where a side is 1/part of it. Injection says nothing of places, so that a map of
    few cells is as good as any (unlike `Call.level`)."""
    return part.bit_length() - 1


class SelfInjection(Control):
    """The target lanes' self maps are the source's, at layers up to 1/`part` of the latent's side.

    Args:
        windows: When, for each lane by its name.
        part: 2 is half the latent's side (32 of Stable Diffusion's 64), 4 a quarter (16).
        side: Which side of guidance; P2Plus writes the unconditional one too.
        source: The lane that gives.
    """

    def __init__(
        self, windows: Mapping[str, Window], *, part: int = 2, side: Side = "cond", source: str = "source"
    ) -> None:
        self.windows, self.part, self.source = windows, part, source
        self.side: Side = side

    def reads(self, lane: str, side: Side, step: int, steps: int) -> bool:
        inside = any(window.holds(step, steps) for window in self.windows.values())
        return (lane, side) == (self.source, self.side) and inside

    def looks(self, site: Site, call: Call) -> bool:
        if site.kind != "self" or site.level < level_of(self.part):
            return False
        return any(self._writes(lane, call) for lane in self.windows)

    def maps(self, site: Site, call: Call, maps: Tensor) -> Tensor:
        giver = call.row(self.source, self.side)
        if giver is None:
            return maps
        new = maps.clone()
        for lane in self.windows:
            row = call.row(lane, self.side)
            if row is not None and self._writes(lane, call):
                new[row.span] = maps[giver.span]
        return new

    def _writes(self, lane: str, call: Call) -> bool:
        return self.windows[lane].holds(call.step, call.steps) and call.row(lane, self.side) is not None
