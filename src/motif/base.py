"""A base: a Stable-Diffusion pipeline with its seams open, and what it wears.

A `Base` is a frozen value over models that are shared and never edited. `wear` gives another `Base` over the same
memory; its weights are swapped in for the length of each call and out again, so that the models stay bit-identical.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from motif import loading
from motif.attention import Call
from motif.concept import Concept
from motif.errors import InputError
from motif.local import Features, check_local
from motif.models import Models
from motif.origin import Origin
from motif.schedule import Schedule
from motif.text import Reader, Text
from motif.weights import not_finite, worn

log = logging.getLogger("motif")


@dataclass(frozen=True, eq=False)
class Base:
    """A pipeline, and what it wears: whole weights by full name, vectors by token, and the concepts they came from."""

    name: str
    models: Models
    schedule: Schedule
    origin: Origin
    size: int  # the side of its pictures in pixels
    guidance: float = 7.5  # its own default guidance scale
    advice: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict[str, Mapping[str, Any]]
    )  # settings per method
    weights: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    vectors: Mapping[str, tuple[Tensor, ...]] = field(default_factory=dict[str, tuple[Tensor, ...]])
    nouns: Mapping[str, str] = field(default_factory=dict[str, str])
    concepts: tuple[Concept, ...] = ()

    @staticmethod
    def load(name: str = "pocket", *, device: str | None = None, precision: str | None = None) -> Base:
        """`pocket`, a diffusers folder, a single `.safetensors`, or a hub id.

        Args:
            device: "cpu", "cuda", "cuda:1"...; the default is a GPU where there is one.
            precision: "fp32", "fp16" or "bf16"; the default is fp32 on a CPU and bf16 on a GPU.
        Raises:
            MissingModel: not on this machine and not to be fetched. InputError: not a Stable Diffusion pipeline, or
                a device that is not here.
        """
        device = loading.device_of(device)
        parts = loading.pipeline_parts(name, dtype=loading.dtype_of(precision, device), device=device)
        return Base.of(name, **parts)

    @staticmethod
    def of(
        name: str,
        *,
        unet: Any,
        vae: Any,
        readers: Sequence[Reader],
        scheduler: Mapping[str, Any],
        empty_is_zero: bool = False,
        advice: Mapping[str, Any] | None = None,
    ) -> Base:
        """From models in memory; they are frozen and their attention seams opened, their outputs stay the same.

        `advice` is what the base's makers found to work: {"guidance": 5, "learn": {"custom-diffusion": {"lr": ...}}}.
        Raises InputError where the UNet reads something else than the VAE's latents (inpainting, editing).
        """
        for model in (unet, vae, *(reader.encoder for reader in readers)):
            model.requires_grad_(False).eval()
        reads, latent = int(unet.config.in_channels), int(vae.config.latent_channels)
        if reads != latent:
            raise InputError(
                f"{name}: its UNet reads {reads} channels and its VAE makes {latent} (inpainting or editing); "
                "motif reads text-to-image models"
            )
        models = Models.of(unet, vae, readers, empty_is_zero=empty_is_zero)
        schedule, cells = Schedule.read(scheduler), unet.config.sample_size
        if cells is None:
            raise InputError(f"{name}: its UNet's config names no sample_size, the side of its latents")
        side = (cells if isinstance(cells, int) else max(cells)) * 2 ** (
            len(vae.config.block_out_channels) - 1
        )
        advice = advice or {}
        guidance, learn = float(advice.get("guidance", 7.5)), advice.get("learn", {})
        return Base(name, models, schedule, models.origin(name, schedule), int(side), guidance, learn)

    # -- what it wears -------------------------------------------------------------------------------------------

    def wear(self, *concepts: Concept, other_base: bool = False) -> Base:
        """This base with concepts on, added to those it wears already. Checked here, before anything is used.

        Concepts that change the same weights are added up, W₀ + Σ (W_i − W₀), and the log says so.

        Args:
            other_base: wear a concept of another base with the same architecture (a fine-tuned relative).
        Raises:
            WrongBase: learned on another base. InputError: two concepts with one token, a value that is not finite, or
                nothing would change.
        """
        base = self
        for concept in concepts:
            base = base._wear_one(concept, other_base=other_base)
        return base

    def _wear_one(self, concept: Concept, *, other_base: bool) -> Base:
        who = " ".join(concept.tokens) or concept.record.method
        concept.record.base.require(self.origin, who=who, other_base=other_base)
        if twice := concept.tokens.keys() & self.vectors.keys():
            raise InputError(
                f"two concepts use the token {min(twice)}: wear one under another name, --wear FILE=<new2> "
                "(in Python: concept.renamed)"
            )
        self.models.check_fit(concept.changes, concept.tokens, who=who, base=self.name)
        check_local(concept.local, concept.tokens, self.models.own, base=self.name)
        changes = {} if any(map(concept.same_encoder, self.concepts)) else concept.changes
        if shared := changes.keys() & self.weights.keys():
            log.warning(
                "%s changes %d weights that another concept changes too: the changes are added",
                who,
                len(shared),
            )
        changed = {name: change.on(self.weight(name)) for name, change in changes.items()}
        device, dtype = self.device, self.dtype
        vectors = {
            token: tuple(v.to(device, dtype) for v in parts) for token, parts in concept.tokens.items()
        }
        values = changed | {f"{t}/{i}": v for t, parts in vectors.items() for i, v in enumerate(parts)}
        if broken := not_finite(values):
            raise InputError(
                f"{who}: {broken} is not finite in {dtype}: the concept is damaged or was learned at too high a "
                f"rate{'' if dtype == torch.float32 else ', or overflows: try --precision fp32'}"
            )
        told = self.difference(base := self._with(concept, changed, vectors))
        if not all(torch.equal(weight, self.weight(name)) for name, weight in changed.items()):
            log.info("%s: %s", who, told)
        elif not vectors:
            raise InputError(
                f"{who} changes nothing on {self.name}: the file holds no learned weight and no token"
            )
        else:  # a word alone: all there is of some concepts, and suspicious where weights should have changed
            log.log(logging.WARNING if changed else logging.INFO, "%s: %s", who, told)
        return base

    def _with(
        self, concept: Concept, weights: Mapping[str, Tensor], vectors: Mapping[str, tuple[Tensor, ...]]
    ) -> Base:
        nouns = {**self.nouns, **concept.record.nouns}
        base = self.dressed({**self.weights, **weights}, {**self.vectors, **vectors}, nouns)
        return replace(base, concepts=(*self.concepts, concept))

    def weight(self, name: str) -> Tensor:
        """What stands in a weight's place: the one that is worn there, or the base's own."""
        return self.weights.get(name, self.models.parameter(name))

    def dressed(
        self,
        weights: Mapping[str, Tensor],
        vectors: Mapping[str, tuple[Tensor, ...]],
        nouns: Mapping[str, str],
    ) -> Base:
        """This base with just these tensors on (they may be parameters under training)."""
        return replace(self, weights=weights, vectors=vectors, nouns=nouns)

    def difference(self, after: Base) -> str:
        """What another dress has on beyond this one, in words: "32 of 32 weights changed, mean |W - W0| 1e-3; ..."."""
        pairs = [(after.weight(name), self.weight(name)) for name in {**self.weights, **after.weights}]
        gaps = [float((w.float() - w0.float()).abs().mean()) for w, w0 in pairs if w is not w0]
        changed, mean = sum(gap > 0 for gap in gaps), sum(gaps) / max(len(gaps), 1)
        fresh = {token: len(v[0]) for token, v in after.vectors.items() if token not in self.vectors}
        words = ", ".join(f"{token} ({n} vector{'s' * (n > 1)})" for token, n in fresh.items())
        return f"{changed} of {len(gaps)} weights changed, mean |W - W0| {mean:.2e}; tokens {words or 'none'}"

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Wear the weights for the length of the block. `predict` and `read` do it themselves; training with gradient
        checkpointing holds it open around backward."""
        by_part: dict[str, dict[str, Tensor]] = {}
        for name, weight in self.weights.items():
            owner, _, rest = name.partition(".")
            by_part.setdefault(owner, {})[rest] = weight
        with self.models.lock, contextlib.ExitStack() as stack:
            parts = self.models.parts()
            for owner, weights in by_part.items():
                stack.enter_context(worn(parts[owner], weights))
            yield

    @property
    def local(self) -> dict[str, Features]:
        """The local features of the concepts that it wears, by token."""
        return {token: features for concept in self.concepts for token, features in concept.local.items()}

    # -- what it does --------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        return self.models.device

    @property
    def dtype(self) -> torch.dtype:
        return self.models.dtype

    @property
    def latent_factor(self) -> int:
        """Pixels per latent cell (8; pocket 4)."""
        return 2 ** (len(self.models.vae.config.block_out_channels) - 1)

    def latent_shape(self, size: tuple[int, int] | None = None) -> tuple[int, int, int]:
        """[c, h, w] of the latents of a picture of (h, w) pixels; InputError where the size does not divide."""
        h, w = size or (self.size, self.size)
        if h % self.latent_factor or w % self.latent_factor or min(h, w) < 1:
            raise InputError(
                f"a picture of {h}x{w} does not fit: both sides must be positive multiples of {self.latent_factor}"
            )
        return int(self.models.unet.config.in_channels), h // self.latent_factor, w // self.latent_factor

    def tokenise(self, prompts: Sequence[str]) -> list[list[Any]]:
        """[text encoder][prompt]. InputError for a prompt too long, or a `<token>` that no worn concept knows."""
        counts = [{t: len(v[i]) for t, v in self.vectors.items()} for i in range(len(self.models.readers))]
        pairs = zip(self.models.readers, counts, strict=True)
        return [[reader.tokenise(prompt, count) for prompt in prompts] for reader, count in pairs]

    def read(self, prompts: str | Sequence[str]) -> Text:
        """Encode one prompt or several; `tokenise` says what is an error."""
        prompts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
        cuts, states = self.tokenise(prompts), list[Tensor]()
        pooled: Tensor | None = None
        with self.on():
            for i, (reader, cut) in enumerate(zip(self.models.readers, cuts, strict=True)):
                state, pool = reader.encode(cut, {token: parts[i] for token, parts in self.vectors.items()})
                states.append(state)
                pooled = pool if pool is not None else pooled
        return Text(prompts, torch.cat(states, -1), pooled, tuple(cuts[0]))

    def read_uncond(self, prompt: str = "") -> Text:
        """The unconditional side of guidance: an empty or a negative prompt, as the base was trained to see it."""
        text = self.read(prompt)
        if prompt or not self.models.empty_is_zero:
            return text
        zero = None if text.pooled is None else torch.zeros_like(text.pooled)
        return replace(text, states=torch.zeros_like(text.states), pooled=zero)

    def predict(
        self, x: Tensor, t: Tensor | float, states: Tensor, pooled: Tensor | None, call: Call | None
    ) -> Tensor:
        """The network's raw output for a stacked batch: x [image, c, h, w], t one timestep or one per image."""
        extra: dict[str, Any] = {}
        if pooled is not None:
            h, w = (side * self.latent_factor for side in x.shape[-2:])
            ids = torch.tensor(
                [h, w, 0, 0, h, w], device=x.device, dtype=x.dtype
            )  # original size, crop, target size
            extra["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": ids.expand(len(x), -1)}
        with self.on():
            out = self.models.unet(
                x,
                t,
                encoder_hidden_states=states,
                cross_attention_kwargs={"call": call},
                return_dict=False,
                **extra,
            )
        return out[0]

    def posterior(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [image, 3, h, w] in [-1, 1] -> mean and standard deviation of their scaled latents, in the VAE's
        float32. One picture at a time: eight of 1024 pixels would take 24 GB."""
        vae, scale = self.models.vae, self.models.vae.config.scaling_factor
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            found = [vae.encode(one.to(self.device, vae.dtype)).latent_dist for one in pictures.split(1)]
        return torch.cat([one.mean for one in found]) * scale, torch.cat([one.std for one in found]) * scale

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents -> pictures [image, 3, h, w] in [-1, 1], float32, one at a time. Latents that are not finite
        are an error."""
        if not torch.isfinite(latents).all():
            likely = (
                f"damaged weights in {self.name}, a concept learned at too high a rate, or too strong guidance"
                if self.dtype == torch.float32
                else f"{self.name} overflowed in {self.dtype}; try --precision fp32"
            )
            raise InputError(f"the latents are not finite: {likely}")
        vae = self.models.vae
        latents = latents.to(vae.dtype) / vae.config.scaling_factor
        with torch.no_grad():
            return torch.cat([vae.decode(one).sample.float().clamp(-1, 1) for one in latents.split(1)])
