"""LoRA: a change as a product of two thin matrices, in PEFT's and diffusers' keys (card 5.6).

    W = W₀ + (α / r) B A          Hu et al. 2021, arXiv:2106.09685;  unet.<layer>.lora_A.weight is A, lora_B B

A dense change goes out exactly: at the smaller side's rank, with an identity for one factor (`motif compress` makes it
thin). We write α = r, so that no reader has to scale. On the way in, a product that takes more room than its weight is
multiplied out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from motif.base import Base
from motif.concept import Concept
from motif.errors import InputError, WrongBase
from motif.interop.foreign import Foreign, Piece, number, tensor
from motif.weights import Change

FILE = "pytorch_lora_weights.safetensors"
ADAPTER = "lora_adapter_metadata"
OTHERS = {"dora_scale": "DoRA", "lora_magnitude_vector": "DoRA", "hada_": "LoHa", "lokr_": "LoKr", "oft_": "OFT",
          "glora": "GLoRA", "lora_embedding_": "LoRA of an embedding"}  # fmt: skip
LEAF = re.compile(
    r"(?:\.lora_(?P<peft>[AB])(?:\.default)?|(?:\.lora|\.lora_linear_layer)\.(?P<old>down|up)"
    r"|(?P<processor>_lora)\.(?P<first>down|up))\.(?P<what>weight|bias)$"
)
PARTS = ("unet", "text_encoder_2", "text_encoder")


@dataclass
class Pair:
    """The factors of one layer, as a file has them."""

    up: Any = None
    down: Any = None
    mid: Any = None
    bias: Any = None  # B's: scaled as the product is
    alpha: float | None = None
    rank_root: bool = False  # rsLoRA
    whole: dict[str, Any] = field(default_factory=dict[str, Any])  # of "weight" and "bias" without factors

    @property
    def scale(self) -> float:
        """α / r; of rsLoRA α / √r."""
        rank = len(self.down)
        return 1.0 if self.alpha is None else self.alpha / (rank**0.5 if self.rank_root else rank)


def factors(change: Change) -> tuple[Tensor, Tensor]:
    """(B, A) of a weight's change, exactly: [out, r] and [r, in]; of a convolution [out, r, 1, 1] and [r, in, h, w]."""
    if change.up is not None and change.down is not None:
        return change.up, change.down
    full = change.full()
    out, into = full.flatten(1).shape
    one = torch.eye(min(out, into), dtype=full.dtype, device=full.device)
    up, down = (one, full.flatten(1)) if out <= into else (full.flatten(1), one)
    if full.dim() == 2:
        return up, down
    return up.reshape(*up.shape, *[1] * (full.dim() - 2)), down.reshape(-1, *full.shape[1:])


def folded(pair: Pair, who: str) -> Change:
    """W − W₀ of one layer's factors, scaled; dense where the product would take more room, and of a convolution."""
    if pair.up is None or pair.down is None:
        raise InputError(f"{who}: has one of its two LoRA factors alone")
    up, down = tensor(pair.up, who), tensor(pair.down, who)
    mid = None if pair.mid is None else tensor(pair.mid, who)
    flat = min(up.dim(), down.dim()) >= 2 and up.numel() == len(up) * len(down) > 0
    if not flat or (mid is not None and (mid.dim() != 4 or {*mid.shape[:2]} != {len(down)})):
        shapes = " and ".join(str(tuple(part.shape)) for part in (up, mid, down) if part is not None)
        raise InputError(f"{who}: LoRA factors {shapes} have no product")
    scale = pair.scale
    if mid is not None:  # a convolution in three factors: 1x1, its kernel, 1x1
        return Change(dense=scale * torch.einsum("or,rsyx,si->oiyx", up.flatten(1), mid, down.flatten(1)))
    shape = (len(up), *down.shape[1:])
    up, down = up.flatten(1), down.flatten(1)
    up = up if scale == 1 else scale * up
    if len(shape) > 2 or up.numel() + down.numel() >= len(up) * down.shape[1]:
        return Change(dense=(up @ down).reshape(shape))
    return Change(up=up, down=down)


def written(concept: Concept) -> list[Foreign]:
    """`pytorch_lora_weights.safetensors`; none for a word alone. InputError for what a LoRA does not hold."""
    if not concept.changes:
        return []
    pairs = layers(concept)
    biases = {
        n: c for n, c in concept.changes.items() if n.endswith(".bias") and n.removesuffix(".bias") in pairs
    }
    require_factors(concept, "a LoRA", but=biases)
    content: dict[str, Tensor] = {}
    ranks: dict[str, dict[str, int]] = {}
    for name, (up, down) in pairs.items():
        content |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
        if biases:  # one bias is every layer's, to PEFT: nothing where there is none
            bias = biases.get(f"{name}.bias")
            content[f"{name}.lora_B.bias"] = up.new_zeros(len(up)) if bias is None else bias.full()
        part, _, layer = name.partition(".")
        ranks.setdefault(part, {})[layer] = len(down)
    config: dict[str, Any] = {}
    for part, of in ranks.items():
        usual = max(sorted(set(of.values())), key=list(of.values()).count)
        odd = {f"^{layer}": rank for layer, rank in of.items() if rank != usual}
        config |= {
            f"{part}.r": usual,
            f"{part}.lora_alpha": usual,
            f"{part}.rank_pattern": odd,
            f"{part}.alpha_pattern": odd,
            f"{part}.target_modules": list(of),
            f"{part}.lora_bias": bool(biases),
        }
    return [Foreign(FILE, content, {ADAPTER: json.dumps(config, sort_keys=True)})]


def layers(concept: Concept) -> dict[str, tuple[Tensor, Tensor]]:
    """{layer: (B, A)} of every change of a matrix or a convolution."""
    matrices = {n: c for n, c in concept.changes.items() if n.endswith(".weight") and len(c.shape) > 1}
    return {name.removesuffix(".weight"): factors(change) for name, change in matrices.items()}


def require_factors(concept: Concept, what: str, but: Container[str] = ()) -> None:
    """InputError for a change that is no product, of a norm or of a bias, except those named."""
    lone = [n for n, c in concept.changes.items() if not n.endswith(".weight") or len(c.shape) < 2]
    if lost := [name for name in lone if name not in but]:
        raise InputError(
            f"{lost[0]} (of {len(lost)}) is no matrix, and {what} does not hold it: share the concept's own file"
        )


def refuse_others(names: Mapping[str, Any], who: str) -> None:
    """InputError for a relative of LoRA whose arithmetic is another."""
    for name in names:
        for sign, kind in OTHERS.items():
            if sign in name:
                raise InputError(f"{who}: {kind} ({name}); motif reads LoRA: convert it to LoRA first")


def resolve(base: Base, layer: str, who: str) -> str:
    """Our name of a layer: with or without transformers' `text_model.`, and the UNet's without its part."""
    part = next((part for part in PARTS if layer.startswith(f"{part}.")), "")
    inner = layer.removeprefix(f"{part}.") if part else layer
    bare = inner.replace("text_model.", "")
    for name in (f"{part or 'unet'}.{form}" for form in (inner, bare, f"text_model.{bare}")):
        if f"{name}.weight" in base.models.own:
            return name
    raise WrongBase(f"{who} changes {layer}, which {base.name} does not have: choose its base with --base")


def folded_all(pairs: Mapping[str, Pair], who: str, base: Base) -> dict[str, Change]:
    """The changes of resolved layers, in the shapes of the base's weights."""
    changes: dict[str, Change] = {}
    for name, pair in pairs.items():
        if pair.up is not None or pair.down is not None:
            changes[f"{name}.weight"] = folded(pair, f"{who}: {name}")
            bias = None if pair.bias is None else tensor(pair.bias, f"{who}: {name}.bias")
            if bias is not None and (bias.any() or f"{name}.bias" in base.models.own):
                changes[f"{name}.bias"] = Change(dense=bias * pair.scale)
        for leaf, value in pair.whole.items():
            changes[f"{name}.{leaf}"] = Change(dense=tensor(value, name))
    return {name: _shaped(change, name, base) for name, change in changes.items()}


def _shaped(change: Change, name: str, base: Base) -> Change:
    """A 1x1 convolution's change may come as a matrix, and a matrix's as a 1x1 convolution."""
    own = tuple(base.models.parameter(name).shape) if name in base.models.own else change.shape
    bare = [tuple(side for i, side in enumerate(shape) if i < 2 or side > 1) for shape in (own, change.shape)]
    return Change(dense=change.full().reshape(own)) if own != change.shape and bare[0] == bare[1] else change


def matches(content: Mapping[str, Any]) -> bool:
    """Whether it is a LoRA in PEFT's or diffusers' keys, of any age."""
    return any(LEAF.search(name) for name in content)


def read(file: Foreign, base: Base) -> Piece:
    """Every layer's factors, folded: Δ = (α / r) B A."""
    refuse_others(file.content, file.name)
    pairs = dict[str, Pair]()
    alphas = dict[str, float]()
    for key, value in file.content.items():
        key = key.removeprefix("base_model.model.")
        if key.endswith(".alpha"):
            alphas[resolve(base, _layer(key.removesuffix(".alpha")), file.name)] = number(value, key)
            continue
        found = LEAF.search(key)
        if not found:
            raise InputError(f"{file.name}: {key} is no part of a LoRA")
        layer = key[: found.start()] + (found["processor"] or "")
        pair = pairs.setdefault(resolve(base, _layer(layer), file.name), Pair())
        side = "down" if (found["peft"] or found["old"] or found["first"]) in ("A", "down") else "up"
        setattr(pair, side if found["what"] == "weight" else "bias", value)
    for name, pair in pairs.items():
        _scale(pair, name, file, alphas.get(name))
    return Piece({}, folded_all(pairs, file.name, base))


def _layer(name: str) -> str:
    """A layer's name today of what older diffusers wrote: attn2.processor.to_k_lora, self_attn.to_q_lora."""
    name = re.sub(r"\.processor\.", ".", name)
    if found := re.fullmatch(r"(.+self_attn\.)to_(q|k|v|out)_lora", name):
        return f"{found[1]}{found[2]}_proj"
    return re.sub(r"\.to_(q|k|v|out)_lora$", lambda m: f".to_{m[1]}" + (".0" if m[1] == "out" else ""), name)


def _scale(pair: Pair, name: str, file: Foreign, alpha: float | None) -> None:
    """α of one layer: its own key's, else what the header or `adapter_config.json` says, else the rank."""
    part, _, layer = name.partition(".")
    try:
        told: dict[str, Any] = dict(json.loads(file.metadata.get(ADAPTER, "{}")))
        mine = {
            key.removeprefix(f"{part}."): value for key, value in told.items() if key.startswith(f"{part}.")
        }
        config = dict(file.config) or mine
        patterns: dict[str, float] = config.get("alpha_pattern") or {}
        near = [a for pattern, a in patterns.items() if re.match(rf"(.*\.)?({pattern})$", layer)]
        usual = near[0] if near else config.get("lora_alpha")
        pair.alpha = alpha if alpha is not None else None if usual is None else float(usual)
        pair.rank_root = bool(config.get("use_rslora"))
    except (TypeError, ValueError, re.error) as error:
        raise InputError(f"{file.name}: its {ADAPTER} cannot be read ({error})") from None
    if pair.alpha is None and file.stem == "adapter_model":
        raise InputError(f"{file.name}: PEFT keeps its scale in adapter_config.json, which is not beside it")
