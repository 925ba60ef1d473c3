"""Small things that several tests are made of: controls that watch, concepts that change, a hash of a whole base."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from motif.attention import Call, Control, Row, Site
from motif.base import Base
from motif.concept import Concept, Record
from motif.text import Text
from motif.weights import Change, is_cross_kv, select


@dataclass(frozen=True)
class Model:
    """One base, and diffusers' own pipeline with the same weights and stock attention."""

    family: str
    base: Any
    stock: Any

    def noise(self, n: int = 1, *, seed: int = 0, size: tuple[int, int] | None = None) -> torch.Tensor:
        """x_T of n images."""
        shape = self.base.latent_shape(size)
        return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def fingerprint(base: Base) -> str:
    """A hash of every parameter and buffer of the base, by name, and of what hangs on its modules."""
    digest = hashlib.sha256()
    models = {"unet": base.models.unet, "vae": base.models.vae}
    models |= {f"text{i}": reader.encoder for i, reader in enumerate(base.models.readers)}
    for part, module in models.items():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            digest.update(f"{part}.{name}{tensor.dtype}{tensor.requires_grad}".encode())
            digest.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        digest.update(str([m.training for m in module.modules()]).encode())
    digest.update(str([type(p).__name__ for p in base.models.unet.attn_processors.values()]).encode())
    embeddings = [reader.encoder.get_input_embeddings() for reader in base.models.readers]
    digest.update(str([len(embedding._forward_hooks) for embedding in embeddings]).encode())
    return digest.hexdigest()


@dataclass(eq=False)
class Watch(Control):
    """Looks at every map of steps before `until`, changes nothing, and keeps what it saw."""

    until: int = 10**6
    seen: list[tuple[int, Site, Tensor]] = field(default_factory=list)

    def looks(self, site: Site, call: Call) -> bool:
        return call.step < self.until

    def maps(self, site: Site, call: Call, maps: Tensor) -> Tensor:
        self.seen.append((call.step, site, maps))
        return maps


class Flat(Control):
    """Cross maps of one lane become uniform: a change that is easily seen, and stays in its lane."""

    def __init__(self, lane: str = "main") -> None:
        self.lane = lane

    def looks(self, site: Site, call: Call) -> bool:
        return site.kind == "cross" and call.row(self.lane) is not None

    def maps(self, site: Site, call: Call, maps: Tensor) -> Tensor:
        row = call.row(self.lane)
        assert row is not None
        flat = maps.clone()
        flat[row.span] = 1 / maps.shape[-1]
        return flat


def call_of(
    text: Text, x: Tensor, *, controls: Sequence[Control] = (), t: float = 500, memory: Any = None
) -> Call:
    """The call of one lane without guidance."""
    rows = (Row("main", "cond", slice(0, len(x)), text),)
    h, w = x.shape[-2:]
    return Call(rows, 0, 1, t, (h, w), tuple(controls), memory)


def predict(
    base: Base, x: Tensor, prompt: str | Sequence[str], *, t: int = 500, call: Any = "plain"
) -> Tensor:
    """The base's raw output for one prompt, or one per image."""
    text = base.read(prompt)
    states = text.states.expand(len(x), -1, -1)
    pooled = None if text.pooled is None else text.pooled.expand(len(x), -1)
    call = call_of(text, x) if call == "plain" else call
    return base.predict(x, torch.tensor([t] * len(x)), states, pooled, call)


def concept_of(
    base: Base,
    token: str | None = "<new1>",
    *,
    seed: int = 0,
    vectors: int = 1,
    size: float = 0.05,
    rank: int = 0,
) -> Concept:
    """A random concept for this base: K/V changes of every cross layer, and a token unless it is None."""
    draw = torch.Generator().manual_seed(seed)

    def random(*shape: int, scale: float = size) -> Tensor:
        return scale * torch.randn(*shape, generator=draw)

    changes: dict[str, Change] = {}
    for name, weight in select(base.models.unet, is_cross_kv).items():
        out, into = weight.shape
        change = (
            Change(up=random(out, rank), down=random(rank, into)) if rank else Change(dense=random(out, into))
        )
        changes[f"unet.{name}"] = change
    tokens = {token: tuple(random(vectors, r.width, scale=0.5) for r in base.models.readers)} if token else {}
    return Concept(tokens, changes, Record("random", base.origin, {token: "cat"} if token else {}))


def encoded(base: Base, token: str = "<S>", *, seed: int = 0, patches: int = 4) -> Concept:
    """What an encoder makes of a photo: a word with patches, of random keys and values."""
    draw = torch.Generator().manual_seed(seed)
    widths = {
        s.name: len(base.models.own[f"unet.{s.name}.to_k.weight"])
        for s in base.models.sites
        if s.kind == "cross"
    }

    def patch(width: int) -> Tensor:
        return 3 * torch.randn(patches, width, generator=draw)

    local = {site: (patch(width), patch(width)) for site, width in widths.items()}
    plain_one = concept_of(base, token, seed=seed + 1)
    return replace(plain_one, changes={}, local={token: local})


def gap(a: Tensor, b: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return float((a - b).abs().max() / b.abs().max())
