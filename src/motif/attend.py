"""Where each word of a prompt is looked at: cross-attention maps, watched while a picture is drawn or comes back.

    m_n = mean over layers, heads and steps of A[:, n],   A = softmax(q kᵀ / √d) of the conditional side

Prompt-to-Prompt's pictures of maps (Hertz et al. 2022, arXiv 2208.01626, Fig. 4). Ours: all layers, scaled up to the
finest one; a word of several tokens or vectors is the mean of its positions; `Watched` serves
the mask of NS-LPIPS too (`motif.measure.attended`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from motif.attention import Call, Control, Side, Site
from motif.base import Base
from motif.errors import InputError
from motif.images import grid, to_images
from motif.lanes import Lane, Step, denoise, finish
from motif.progress import Progress, Ticker

if TYPE_CHECKING:
    from PIL.Image import Image

Heads = Literal["all", "last-half"]

CELL = 104
"""The width of a map on a sheet, in pixels."""


class Start(Protocol):
    """What is walked down: an `Inversion`, or the noise of a seed (`motif.edit.seeded`)."""

    @property
    def steps(self) -> int: ...
    def __len__(self) -> int: ...
    def lanes(
        self, base: Base, prompts: Sequence[str] = (), *, guidance: float | None = None
    ) -> list[Lane]: ...
    def controls(self, base: Base) -> list[Control]: ...


class Watched(Control):
    """Keeps the source lane's cross maps of some words, layer by layer and step by step, and changes nothing.

    Args:
        places: For each image, for each of its words, the positions in the prompt.
        part: Only the layers of this part of the latent's side; None is all of them.
        heads: Whose maps: all, or the second half of a layer's heads.
    """

    def __init__(
        self, places: Sequence[Sequence[Sequence[int]]], *, part: int | None = None, heads: Heads = "all"
    ) -> None:
        self.places, self.part, self.heads = places, part, heads
        self.sums: dict[tuple[str, int], list[Tensor]] = {}  # (layer, step) -> of each image [word, h, w]
        self.levels: dict[str, int] = {}  # of each layer, in the order in which they run

    def reads(self, lane: str, side: Side, step: int, steps: int) -> bool:
        return (lane, side) == ("source", "cond")

    def looks(self, site: Site, call: Call) -> bool:
        return site.kind == "cross" and (self.part is None or site.level == call.level(self.part))

    def maps(self, site: Site, call: Call, maps: Tensor) -> Tensor:
        row = call.row("source")
        if row is None:
            return maps
        half = maps.shape[1] // 2 if self.heads == "last-half" else 0
        mine = maps[row.span, half:].detach().float().mean(1)  # [image, pixel, position]
        h, w = call.grid(maps.shape[2])
        found = [
            torch.stack([mine[image][:, list(word)].mean(-1) for word in words]).unflatten(-1, (h, w))
            for image, words in enumerate(self.places)
        ]
        self.sums[site.name, call.step], self.levels[site.name] = found, site.level
        return maps


@dataclass(frozen=True, eq=False)
class Attended:
    """The maps of every word in every picture, by layer and step."""

    words: tuple[tuple[str, ...], ...]  # of each image
    images: tuple[Image, ...]  # what was drawn, or what the inversion came back to
    watched: Watched
    steps: int

    @property
    def levels(self) -> list[int]:
        """How often the latent's side is halved, the finest first."""
        return sorted({*self.watched.levels.values()})

    @property
    def layers(self) -> list[str]:
        """The layers that were watched, in the order in which they run."""
        return [*self.watched.levels]

    def mean(
        self,
        image: int = 0,
        *,
        levels: Sequence[int] = (),
        layers: Sequence[str] = (),
        steps: Sequence[int] = (),
    ) -> Tensor:
        """[word, h, w] of one image: shares of the attention, the mean over those layers and steps (or over all)."""
        level_of = self.watched.levels
        chosen = [
            (layer, step)
            for layer, step in self.watched.sums
            if (not levels or level_of[layer] in levels)
            and (not layers or layer in layers)
            and (not steps or step in steps)
        ]
        if not chosen:
            raise InputError(
                f"no maps of levels {[*levels]}, layers {[*layers]} at steps {[*steps]}: levels are {self.levels}, "
                f"layers {self.layers}"
            )
        by_level: dict[int, Tensor] = {}
        for layer, step in chosen:
            one, level = self.watched.sums[layer, step][image], level_of[layer]
            by_level[level] = by_level[level] + one if level in by_level else one
        size = by_level[min(by_level)].shape[-2:]
        total = sum(
            F.interpolate(one[None], size=size, mode="bilinear", align_corners=False)[0]
            for one in by_level.values()
        )
        assert isinstance(total, Tensor)
        return (total / len(chosen)).cpu()

    def grey(self, maps: Tensor) -> list[Image]:
        """Maps [word, h, w] as grey pictures of the drawn one's size, each over its own maximum."""
        w, h = self.images[0].size
        over = (maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-12))[:, None]
        large = F.interpolate(over, size=(h, w), mode="bicubic", align_corners=False).clamp(0, 1)
        return [one.convert("L") for one in to_images(large.expand(-1, 3, -1, -1) * 2 - 1)]

    def sheet(
        self,
        image: int = 0,
        *,
        per_level: bool = False,
        per_layer: bool = False,
        per_step: bool = False,
        every: int = 1,
    ) -> Image:
        """The picture, then a column for every word: its map over the picture, the word under it.

        Args:
            image: Which picture.
            per_level: A row for every level of layers, the finest first.
            per_layer: A row for every layer, in the order in which they run.
            per_step: A row for every step, or for the mean of `every` steps.
            every: How many steps share a row.
        """
        if every < 1 or not 0 <= image < len(self.images):
            raise InputError(f"every {every}, picture {image}: every is 1 or more, pictures count from 0")
        if per_level and per_layer:
            raise InputError("a row is of a level of layers, or of one layer: drop per_level or per_layer")
        runs = [range(i, min(i + every, self.steps)) for i in range(0, self.steps, every)]
        of: dict[int, list[str]] = {level: [] for level in self.levels}
        for layer, level in self.watched.levels.items():
            of[level].append(layer)
        parts = [*of.values()] if per_level else [[layer] for layer in self.layers] if per_layer else [[]]
        rows = [(layers, run) for run in (runs if per_step else [range(0)]) for layers in parts]
        cells: list[Image] = []
        labels: list[str] = []
        for layers, run in rows:
            maps = self.mean(image, layers=layers, steps=run)
            cells.append(self.images[image])
            labels.append(_named(layers if per_layer else [], bool(layers), run, maps))
            cells += [_over(self.images[image], mask) for mask in self.grey(maps)]
            labels += [f"{word} {100 * float(one.mean()):.2g} %"
                       for word, one in zip(self.words[image], maps, strict=True)]  # fmt: skip
        note = "each map over its own maximum; % is the word's mean share of the attention"
        return grid(cells, columns=1 + len(self.words[image]), labels=labels, title=note, cell=CELL)


def _named(layers: Sequence[str], part: bool, run: range, maps: Tensor) -> str:
    """What a row shows: "8x8, steps 1 to 5", "down 0.1.0, 16x16"."""
    h, w = maps.shape[-2:]
    parts = [f"{layer.split('_')[0]} {'.'.join(re.findall(r'[.]([0-9]+)', layer))}" for layer in layers]
    parts += [f"{w}x{h}"] if part else []
    if run:
        parts.append(f"step {run[0] + 1}" if len(run) == 1 else f"steps {run[0] + 1} to {run[-1] + 1}")
    return ", ".join(parts) or "mean of all"


def _over(picture: Image, mask: Image) -> Image:
    """A picture in dark grey, and in its own colours where the mask is white, with a warm glow."""
    from PIL import Image, ImageEnhance

    dark = ImageEnhance.Brightness(picture.convert("L").convert("RGB")).enhance(0.35)
    glow = Image.blend(picture, Image.new("RGB", picture.size, (255, 190, 40)), 0.45)
    return Image.composite(glow, dark, mask)


def attend(
    base: Base,
    start: Start,
    *,
    word: Sequence[str] = (),
    guidance: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Attended:
    """Watch where each word is looked at while a prompt is drawn from a seed, or an inversion comes back.

    Args:
        word: A word or phrase of the prompt to watch; the default is every word, learned tokens too.
        guidance: Guidance scale; the default is the start's own.
    Raises:
        InputError: a word that is not in the prompt. WrongBase: the inversion does not fit this base.
    """
    (lane,) = start.lanes(base, guidance=guidance)
    asked = (word,) if isinstance(word, str) else tuple(word)
    prompts = range(len(start))
    if asked:
        spans = [[(text, lane.text.span(text, image=i)) for text in asked] for i in prompts]
    else:
        spans = [lane.text.tokens[min(i, len(lane.text) - 1)].words() for i in prompts]
    if not all(spans):
        raise InputError("an empty prompt has no words to watch")
    seen = Watched([[range(span.start, span.stop) for _, span in each] for each in spans])
    ticker = Ticker(on_progress, start.steps)
    with torch.no_grad():
        run = denoise(base, [lane], steps=start.steps, controls=[*start.controls(base), seen])
        images = to_images(base.decode(finish(_told(run, ticker))["source"]))
    return Attended(
        tuple(tuple(text for text, _ in each) for each in spans), tuple(images), seen, start.steps
    )


def _told(run: Iterator[Step], ticker: Ticker) -> Iterator[Step]:
    for step in run:
        ticker.tick()
        yield step


def file_name(number: int, word: str) -> str:
    """ "02-cat", "03-new1": a word as a part of a file's name."""
    return f"{number:02d}-{re.sub(r'[^A-Za-z0-9]+', '_', word).strip('_') or 'word'}"
