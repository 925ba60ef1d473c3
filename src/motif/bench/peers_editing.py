"""The plain side of inversions and edits: what is made ready beforehand, and the call that is measured.

As on our side, a photo is read and encoded in an inversion's time and the way back is decoded; an edit starts from an
inversion that is there. A call gives the latents that it ends at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from motif.base import Base
from motif.bench.ours import GUIDANCE, Job
from motif.bench.plain_editing import After, Plain, mapping
from motif.bench.plain_edits import Blend, Taken, origins, pix2pix_zero
from motif.bench.plain_pipelines import encoders, pipeline_of, worded_edit
from motif.bench.subject import Subject, concept
from motif.images import to_images
from motif.photo import encode, read_photos

Start = tuple[Tensor, Tensor, Tensor]
"""A photo's latents, and the states of its caption and of the empty prompt."""


def start_of(base: Base, subject: Subject) -> Start:
    """Read and encoded."""
    with torch.no_grad():
        x0 = encode(base, read_photos(base, subject.photo))
        return x0, base.read(subject.source).states, base.read("").states


# -- inversions ------------------------------------------------------------------------------------------------


def invert(method: str, settings: dict[str, Any], base: Base, subject: Subject) -> Job:
    """The plain side of an inversion."""
    plain = Plain(base, settings["steps"], GUIDANCE)

    def work(rounds: int) -> Tensor:
        start = start_of(base, subject)
        if method in FITTED:
            back = FITTED[method](plain, start, rounds)
        elif method == "value-embedding":
            back = _value_embedding(plain, start, rounds, base, subject)
        else:
            back = _walked(plain, start, method)
        to_images(base.decode(torch.cat([start[0], back])))
        return back

    return Job(lambda _: work(settings["inner_steps"]), plain.unet, lambda: work(1), (base.models.unet,))


FITTED: dict[str, Callable[[Plain, Start, int], Tensor]] = {
    "null-text": lambda plain, start, rounds: plain.fitted(*start, rounds)[1],
    "null-text-plus": lambda plain, start, rounds: plain.fitted(*start, rounds, weight=1.0)[1],
    "text-embedding": lambda plain, start, rounds: plain.fitted(*start, rounds, side="cond")[1],
}


def _value_embedding(plain: Plain, start: Start, updates: int, base: Base, subject: Subject) -> Tensor:
    from motif.invert.image_tokens import image_tokens

    words, width = start[1].shape[1:]
    encoder = "pocket" if base.name == "pocket" else "paper"
    pictures = to_images(read_photos(base, subject.photo).float() / 127.5 - 1)
    tokens = image_tokens(pictures, encoder, width=width, device=str(base.device))
    network = mapping(tokens.shape[1], words).to(base.device)
    return plain.value_embedding(*start, tokens, network, updates)


def _walked(plain: Plain, start: Start, method: str) -> Tensor:
    """Up by DDIM, and back as the method does it."""
    x0, caption, empty = start
    way = plain.ddim(x0, caption)
    offsets: list[Tensor] = []  # direct inversion's

    def measured(step: int, x: Tensor) -> Tensor:
        offsets.append(way[plain.steps - 1 - step] - x)
        return x + offsets[-1]

    def pulled(step: int, x: Tensor) -> Tensor:
        return way[plain.steps - 1 - step] if plain.times[step] < 400 else x

    after: After | None = {"direct": measured, "proximal": pulled}.get(method)
    null = caption if method in ("negative-prompt", "proximal") else empty
    return plain.walk(way[-1], [null] * plain.steps, caption, after=after)


# -- edits -----------------------------------------------------------------------------------------------------


def edit(method: str, settings: dict[str, Any], base: Base, subject: Subject) -> Job:
    """The plain side of an edit."""
    if method in ("sdedit", "word-swap"):
        return _stock(method, settings["steps"], base, subject)
    me, target = base, subject.target
    if method == "custom-edit":
        me = base.wear(concept(base, 1, subject.one.noun))
        target = target.replace(subject.one.noun, f"<new1> {subject.one.noun}")
    plain = Plain(me, settings["steps"], GUIDANCE)
    x0, caption, empty = start_of(me, subject)
    if method == "pix2pix-zero":
        return Job(lambda _: _along(plain, base, x0, subject), plain.unet, spare=(base.models.unet,))
    way = plain.ddim(x0, caption)

    def pinned(step: int, pair: Tensor) -> Tensor:
        return torch.cat([way[plain.steps - 1 - step], pair[1:]])

    def work() -> Tensor:
        with torch.no_grad():
            texts = torch.cat([me.read(text).states for text in (subject.source, target)])
        taken = Taken(plain, x0, unguided=0.5 if method == "p2plus" else 0.0)
        edit, after = taken, pinned
        if method == "custom-edit":
            before, other = (me.tokenise([text])[0][0] for text in (subject.source, target))
            mine, theirs = (tokens.ids[: tokens.end + 1] for tokens in (before, other))
            taken = Taken(plain, x0, origins(mine, theirs, len(before.ids)).to(x0.device), cross=0.6)
            places = before.span(subject.one.noun)
            blend = Blend(plain, x0, taken, range(places.start, places.stop))

            def blended(step: int, pair: Tensor) -> Tensor:
                return blend.after(step, pinned(step, pair))

            edit, after = blend.maps, blended
        pair = plain.walk(torch.cat([way[-1]] * 2), [empty] * plain.steps, texts, edit=edit, after=after)
        to_images(me.decode(pair))
        return pair[1:]

    return Job(lambda _: work(), plain.unet, work, (base.models.unet,))


def _along(plain: Plain, base: Base, x0: Tensor, subject: Subject) -> Tensor:
    """pix2pix-zero, from one caption to another."""
    with torch.no_grad():
        before, after = (base.read(text).states for text in (subject.source, subject.target))
    draw = torch.Generator().manual_seed(0)
    x, reference = pix2pix_zero(plain, x0, before, before + (after - before), rounds=5, amount=0.1, draw=draw)
    to_images(base.decode(torch.cat([reference, x])))
    return x


def _stock(method: str, steps: int, base: Base, subject: Subject) -> Job:
    """diffusers' own pipelines: from the noise of an inversion, or from a photo."""
    pipe = pipeline_of(base, image=method == "sdedit")
    (photo,) = to_images(read_photos(base, subject.photo).float() / 127.5 - 1)
    begun: Any = photo
    if method == "word-swap":
        x0, caption, _ = start_of(base, subject)
        begun = Plain(base, steps, GUIDANCE).ddim(x0, caption)[-1]

    def work() -> Tensor:
        latents = worded_edit(pipe, begun, subject.target, steps, GUIDANCE)
        to_images(base.decode(latents.to(base.device)))
        return latents

    return Job(lambda _: work(), pipe.unet, work, (base.models.unet, *encoders(base)))
