"""The published checkpoints, `global_mapper.pt` and `local_mapper.pt`, as an encoder.

Both files have the same names and shapes (card 6), so that the wrong one loads without a word; the role is told by the
file's name, and nothing else tells it. Pickles are read for their tensors alone (`motif.interop.foreign`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motif.base import Base
from motif.elite.encoder import Encoder
from motif.elite.mapper import PARTS, Mapper
from motif.elite.start import projection
from motif.elite.tower import PAPER, layers_of
from motif.errors import InputError, WrongBase
from motif.interop.foreign import open_foreign
from motif.weights import is_cross_kv

log = logging.getLogger("motif")

DEPTH = 24
"""Layers of CLIP ViT-L/14, which the published encoder reads."""

LOCAL, GLOBAL = re.compile(r"local_mapper(_\d+)?\.\w+"), re.compile(r"(global_)?mapper(_\d+)?\.\w+")


def role(name: str) -> str:
    """ "global" or "local", by the file's name; "" for a file of something else."""
    return "local" if LOCAL.fullmatch(name) else "global" if GLOBAL.fullmatch(name) else ""


def read_official(
    files: Sequence[str | Path], base: Base, *, image: str = PAPER, depth: int = DEPTH
) -> Encoder:
    """An encoder of files that are called as the published ones; see `from_official`."""
    by_role: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for file in map(Path, files):
        found = role(file.name)
        if found in by_role or not found:
            raise InputError(
                f"{file}: wanted are one global_mapper.pt and, where there is one, its local_mapper.pt"
            )
        by_role[found] = (file.name, open_foreign(file).content)
    if "global" not in by_role:
        raise InputError(f"{files[0]}: a local mapper alone makes no concept: give global_mapper.pt too")
    return from_official(by_role["global"], by_role.get("local"), base, image=image, depth=depth)


def from_official(
    global_file: tuple[str, Mapping[str, Any]],
    local_file: tuple[str, Mapping[str, Any]] | None,
    base: Base,
    *,
    image: str = PAPER,
    depth: int = DEPTH,
) -> Encoder:
    """An encoder of the files' tensors; each file is (its name, its content).

    Args:
        global_file: global_mapper.pt, or mapper_070000.pt of a training.
        local_file: local_mapper.pt, or local_mapper_065000.pt; without it the encoder has words alone.
        base: What they belong to (Stable Diffusion v1-4).
        image: The image encoder.
        depth: How many layers it has.
    Raises:
        InputError: the two swapped or one given twice, a file that is something else, or not finite. WrongBase: no
            place here.
    """
    for file, wanted in ((global_file, "global"), (local_file, "local")):
        if file and (found := role(file[0])) != wanted:
            other = (
                f"is by its name the {found} one: the two are swapped" if found else "does not tell its role"
            )
            raise InputError(
                f"{file[0]} is given as the {wanted} mapper and {other}; both have the same tensors, so that the name "
                f"must tell: {wanted}_mapper.pt"
            )
    layers, widths = layers_of(depth), tuple(reader.width for reader in base.models.readers)
    names = [name for name in base.models.own if name.startswith("unet.") and is_cross_kv(name)]
    own = {name: base.models.parameter(name).detach().float().cpu() for name in names}
    mapper, weights = _split(*global_file, own, len(layers), sum(widths))
    changes = {name: weights[name] - weight for name, weight in own.items()}
    patches, projections = None, dict[str, Tensor]()
    if local_file:
        context = next(weight.shape[1] for weight in own.values())
        patches, local = _split(*local_file, own, len(layers), context)
        if all(torch.equal(local[name], weight) for name, weight in weights.items()):
            raise InputError(
                f"{local_file[0]} and {global_file[0]} hold the same tensors: one of them is a copy"
            )
        moved = [sum(float((w[n] - own[n]).norm()) for n in own) for w in (weights, local)]
        if moved[1] < moved[0]:  # training moves the local ones by five times the rate
            log.warning(
                "%s is further from the base than %s: are the files' names swapped?",
                global_file[0],
                local_file[0],
            )
        projections = {projection(name): weight for name, weight in local.items()}
    settings = {"files": [file[0] for file in (global_file, local_file) if file]}
    return Encoder(base.origin, image, "", layers, widths, mapper, changes, patches, projections, settings)


def _split(
    file: str, content: Mapping[str, Any], own: Mapping[str, Tensor], layers: int, out: int
) -> tuple[Mapper, dict[str, Tensor]]:
    """(the mapping network, the projections by the base's full names)."""
    short = {
        name: name.removeprefix("unet.").replace(".", "_").removesuffix("_weight") + ".weight" for name in own
    }
    expected = {short[name]: tuple(weight.shape) for name, weight in own.items()}
    first = content.get("mapping_0.0.weight")
    if not isinstance(first, Tensor):
        raise InputError(f"{file}: not a mapper of ELITE: it has no mapping_0.0.weight")
    into = first.shape[-1]
    like = Mapper({name: torch.empty(shape) for name, shape in _shapes(layers, into, out).items()})
    expected |= {name: tuple(t.shape) for name, t in like.weights.items()}
    if odd := expected.keys() ^ content.keys():
        name = min(odd)
        raise WrongBase(
            f"{file} {'lacks' if name in expected else 'has'} {name}: not an ELITE mapper of this base"
        )
    for name, shape in expected.items():
        tensor = content[name]
        if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
            raise WrongBase(
                f"{file}: {name} is {tuple(getattr(tensor, 'shape', ()))}; here it must be {shape}"
            )
        if not torch.isfinite(tensor).all():
            raise InputError(f"{file}: damaged: its tensor {name} is not finite")
    values = {name: content[name].detach().float().cpu() for name in expected}
    return Mapper({n: values[n] for n in like.weights}), {name: values[short[name]] for name in own}


def _shapes(layers: int, into: int, out: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for part in PARTS:
        for i in range(layers):
            for spot, rows in ((0, into), (3, into), (6, out)):
                found |= {f"{part}_{i}.{spot}.weight": (rows, into), f"{part}_{i}.{spot}.bias": (rows,)}
            for spot in (1, 4):
                found |= {f"{part}_{i}.{spot}.{name}": (into,) for name in ("weight", "bias")}
    return found
