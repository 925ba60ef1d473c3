"""Value embedding (StyleDiffusion): cross-attention's keys read the caption, its values an embedding of the photo.

    min over M_i   ‖ z_{k−1} − Z*[k−1] ‖² + Σ_layers ‖ â − ã ‖²,    V = Ψ_V(M_i(E(x))),  K = Ψ_K(c),  for ε_c alone

Li et al. 2023 (arXiv 2303.15649); card 10. One network a step, started from the last step's; ⌈100 e^(−0.1 i)⌉ updates
of a fresh Adam at 0.01 (1 − i/100), until the loss is below 1e-5 + 2e-5 i; the maps are those of a quarter of the
latent's side. Ours: the file keeps what the networks give; several photos at once; `VARIANTS` by name.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from motif.base import Base
from motif.errors import InputError
from motif.images import to_images
from motif.inversion import Inversion
from motif.invert.adam import Adam, falling
from motif.invert.fitted import require_precision
from motif.invert.guided import Guided, states_of
from motif.invert.image_tokens import image_tokens
from motif.invert.kept import Kept
from motif.invert.mapping import Head, Start, fresh, mapped
from motif.invert.pivot import Task, begin, finished, run_key, trajectory
from motif.invert.seen_maps import Maps, apart
from motif.photo import Photo
from motif.progress import Progress
from motif.replay import Fed, Inputs

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Variant:
    """Where paper and release differ."""

    head: Head
    start: Start
    lr: float
    falling: bool  # whether the rate falls by 1 % of it per step
    betas: tuple[float, float]
    top: bool  # whether the noisiest maps are measured, or those of the level below are taken for them


VARIANTS: Mapping[str, Variant] = {
    "release": Variant("affine", "default", 1e-2, True, (0.9, 0.999), top=False),
    "paper": Variant("direct", "small", 1e-4, False, (0.5, 0.999), top=True),
}
"""The paper names Adam, its rate and the small start; its betas are not in the text that we have, and (.5, .999), a
constant rate and the top timestep's label are our reading."""


def value_embedding(
    base: Base,
    photos: Photo | Sequence[Photo],
    prompt: str | Sequence[str],
    *,
    steps: int = 30,
    guidance: float | None = None,
    inner_steps: int = 100,
    variant: Literal["release", "paper"] = "release",
    head: Literal["direct", "affine", "free"] | None = None,
    inputs: Inputs = "values",
    lr: float | None = None,
    attention_weight: float = 1.0,
    early_stop: float = 1e-5,
    until: float = 0.5,
    encoder: str = "",
    seed: int = 0,
    height: int | None = None,
    width: int | None = None,
    folder: Path | None = None,
    resume: bool = False,
    preview_every: int = 0,
    on_image: Callable[[Image], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Inversion:
    """Invert photos by DDIM, and learn an embedding for the values of cross-attention that brings them back.

    Args:
        steps: Steps up, and down again in every edit.
        guidance: Guidance scale that is fitted, and used by the edits; the default is the base's own.
        inner_steps: Updates of the first step at most; step i has a share e^(-0.1 i) of them.
        variant: The release's settings, or the paper's (mapping, start, learning rate, the noisiest maps).
        head: What the mapping gives: a scale and a shift of the text (affine) or the embedding itself (direct); free
            is without a mapping, the embedding is learned directly (the paper's ablation). The default is the
            variant's.
        inputs: Whose input is learned: the values', the keys', or that of both (the paper's ablations).
        lr: Learning rate of the first step; the default is the variant's (release 1e-2, paper 1e-4).
        attention_weight: Weight of the loss that keeps the inversion's attention maps; 0 is the paper's ablation.
        early_stop: The loss at which the first step's updates end; 2e-5 is added per step.
        until: The share of an edit's run in which its target reads the learned values (the paper's tau_v).
        encoder: The CLIP that reads the photo: pocket, paper (ViT-B/16), a transformers folder or a hub id; the
            default is pocket's on pocket, and the paper's elsewhere.
        seed: Seed of the networks' first values.
        height: Of the photo in pixels; the default is the base's size.
        width: Of the photo in pixels; the default is the base's size.
        folder: Where a stopped run's state is kept.
        preview_every: Draw the photo and the way back so far after every so many steps; 0 is never.
        on_image: Given those pictures.
        on_progress: Told of every step.
    Raises:
        InputError: a photo, a size or a setting that cannot work. MissingModel: the encoder is not here.
    """
    settings = locals()
    if inner_steps < 1 or early_stop < 0 or attention_weight < 0 or not 0 <= until <= 1:
        raise InputError(
            "inner_steps is 1 or more, early_stop and attention_weight 0 or more, until between 0 and 1"
        )
    if lr is not None and lr <= 0:
        raise InputError(f"lr is {lr:g}: it lies above 0")
    require_precision(base, "value-embedding")
    if head == "free" and (encoder or seed):
        raise InputError("encoder and seed are of the mapping, and head free has none: leave them out")
    task = begin(base, photos, prompt, settings)
    chosen = VARIANTS[variant]
    use = SimpleNamespace(
        variant=chosen, head=head or chosen.head, lr=lr or chosen.lr, updates=inner_steps, weight=attention_weight,
        stop=early_stop, seed=seed, inputs=inputs,
    )  # fmt: skip
    if head == "free":
        tokens = torch.zeros(len(task.photos), 0, 0, device=base.device)  # nobody reads the photo
    else:
        encoder = encoder or ("pocket" if base.name == "pocket" else "paper")
        pictures = to_images(task.photos.float() / 127.5 - 1)
        tokens = image_tokens(pictures, encoder, width=task.text.states.shape[-1], device=str(base.device))
    kept = Kept(folder, run_key(task, "value-embedding"), resume=resume)
    task.ticker.steps = 2 * task.steps

    def finish(latents: Tensor, values: dict[str, Tensor], back: Tensor) -> Inversion:
        parts: Any = {"values": values, "replays": {"values": {"until": until, "inputs": inputs}}}
        return finished(task, "value-embedding", latents, way=back, **parts)

    return _walked(task, use, kept, tokens, finish)


@dataclass(frozen=True, eq=False)
class _Reached:
    """What is learned so far: bound as one, so that a run that is stopped at any moment keeps whole steps."""

    parts: Sequence[Tensor]  # the networks of the last step
    back: Sequence[Tensor] = ()  # the way down, level by level
    values: Mapping[str, Sequence[Tensor]] = field(default_factory=dict[str, Sequence[Tensor]])

    def state(self) -> dict[str, Tensor]:
        found = {f"part{i}": part for i, part in enumerate(self.parts)} | {"back": torch.stack([*self.back])}
        return found | {name: torch.stack([*each]) for name, each in self.values.items() if each}

    def after(self, parts: Sequence[Tensor], moved: Tensor, values: Mapping[str, Tensor]) -> _Reached:
        more = {name: [*self.values[name], value] for name, value in values.items()}
        return _Reached(parts, [*self.back, moved], more)


Finish = Callable[[Tensor, dict[str, Tensor], Tensor], Inversion]
"""(Z*, what the networks of all steps give, [step, image, word, channel] each; the way back: level by level, as Z*) ->
the inversion."""


def _walked(task: Task, use: Any, kept: Kept, tokens: Tensor, finish: Finish) -> Inversion:
    """Up, and down again. Stopped on the way up, its latents and maps are kept; on the way down what is learned, and
    the way up is walked again for its maps."""
    old = {name: value.to(task.base.device) for name, value in kept.tensors.items()}
    seen, levels = Maps.of(task), list(old.get("latents", ()))
    seen.steps.update(_maps_of(old))
    parts = [old[f"part{i}"] for i in range(8) if f"part{i}" in old] or _begun(task, use, tokens)
    names = ("scale", "shift") if use.head == "affine" else ("direct",)
    now = _Reached(parts, [*old.get("back", ())], {name: [*old.get(name, ())] for name in names})
    first = len(now.values[names[0]])
    task.resumed(kept.tensors, 0 if now.back else max(len(levels) - 1, 0))

    def state() -> dict[str, Tensor]:
        if now.back:
            return now.state() | {"cost": task.spent()}
        found = {"latents": torch.stack(levels)} if levels else {}
        return found | {"cost": task.spent()} | _named(seen)

    def save() -> None:
        if kept.due():
            kept.save(state())

    with kept.guarding(state, task.ticker):
        latents = trajectory(task, controls=[seen], levels=levels, each=save)
        if now.back:
            task.ticker.skip(first)
        else:
            now = dataclasses.replace(now, back=[latents[-1]])
        way = Guided(task, latents)
        if use.variant.top and first == 0:
            with torch.no_grad():  # the maps of Z*[T] itself, at the noisiest label: a step of its own
                seen.steps[-1] = _noisiest(way, task)
        for step in range(first, task.steps):
            wanted = seen.steps[_behind(step, use.variant.top)]
            parts, values, moved, loss = _fitted(way, use, step, now.back[-1], now.parts, tokens, wanted)
            now = now.after(parts, moved, values)
            way.show(step, now.back[-2], moved)
            task.ticker.tick(loss=loss)
            save()
        done = {name: torch.stack([*each]).cpu() for name, each in now.values.items()}
        return finish(latents, done, torch.stack([*now.back]).flip(0))


def _begun(task: Task, use: Any, tokens: Tensor) -> list[Tensor]:
    """What is learned, as it is before the first step: a network's parameters, or the caption's own embedding."""
    if use.head == "free":
        return [task.text.states.float().expand(len(tokens), -1, -1).clone()]
    words = task.text.states.shape[1]
    return fresh(
        len(tokens), tokens.shape[1], words, head=use.head, start=use.variant.start, seed=use.seed, device=tokens.device
    )  # fmt: skip


def _named(seen: Maps) -> dict[str, Tensor]:
    """Maps, as a state keeps them."""
    return {f"map {step} {site}": x for step, maps in seen.steps.items() for site, x in maps.items()}


def _maps_of(state: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    found: dict[int, dict[str, Tensor]] = {}
    for name, maps in state.items():
        if name.startswith("map "):
            _, step, site = name.split(" ")
            found.setdefault(int(step), {})[site] = maps
    return found


def _behind(step: int, top: bool) -> int:
    """The recorded step whose maps were made of the same latents: one label noisier. For the first there is none, and
    the release takes its own once more."""
    return step - 1 if step or top else 0


def _noisiest(way: Guided, task: Task) -> dict[str, Tensor]:
    seen = Maps()
    way.predict(0, way.latents[-1], task.text.states, task.text.pooled, side="cond", controls=[seen])
    return seen.steps[0]


@torch.enable_grad()
def _fitted(
    way: Guided,
    use: Any,
    step: int,
    x: Tensor,
    parts: Sequence[Tensor],
    tokens: Tensor,
    wanted: Mapping[str, Tensor],
) -> tuple[list[Tensor], dict[str, Tensor], Tensor, float]:
    """(the networks of this step, what they give, the latents behind it, the largest loss)."""
    task = way.task
    parts = [part.clone() for part in parts]
    with torch.no_grad():
        empty = task.base.read_uncond()
        uncond = way.predict(step, x, empty.states, empty.pooled, remember=False)
    lr = falling(use.lr, step, task.steps) if use.variant.falling else use.lr
    adam, busy, losses = Adam(parts, lr, use.variant.betas), list(range(len(x))), torch.zeros(len(x))

    def tried(images: list[int], values: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(the latents behind the step, the loss) of some images, with these values."""
        seen = Maps()
        fed = [Fed(values, use.inputs), seen]
        out = way.predict(step, x[images], *states_of(task.text, images), side="cond", controls=fed)
        moved = way.move(step, x[images], out, uncond[images])
        return moved, way.loss(step, moved, images) + use.weight * apart(seen.steps[step], wanted, images)

    for update in range(math.ceil(use.updates * math.exp(-0.1 * step))):
        rows = [part[busy].requires_grad_() for part in parts]
        _, loss = tried(busy, mapped(rows, tokens[busy], use.head))
        slopes = torch.autograd.grad(loss.sum(), rows)
        task.spend(backwards=len(busy))
        adam.update(busy, slopes, update)
        losses[busy] = loss.detach().cpu()
        busy = [image for image in busy if losses[image] >= use.stop + 2e-5 * step]
        if not busy:
            break
    with torch.no_grad():
        values = mapped(parts, tokens, use.head)
        moved, _ = tried(list(range(len(x))), values)
    return parts, values, moved, float(losses.max())
