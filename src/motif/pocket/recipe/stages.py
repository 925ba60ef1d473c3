"""The whole recipe: `train` runs the stages in order, each resumable, from a folder of rendered shards to
trained parts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer

from motif.errors import InputError
from motif.loading import device_of
from motif.pocket.recipe.clip import train_clip
from motif.pocket.recipe.dino import train_dino
from motif.pocket.recipe.image_tower import train_image_tower
from motif.pocket.recipe.judge import train_judge
from motif.pocket.recipe.latents import cached_latents
from motif.pocket.recipe.material import LABELS, NONE, Material, load_material
from motif.pocket.recipe.processes import count, joined, rank, wait
from motif.pocket.recipe.settings import SIZES, STAGES, Settings
from motif.pocket.recipe.shipping import fits, text_tower, unpack
from motif.pocket.recipe.tokenizer import build_tokenizer
from motif.pocket.recipe.training import CHECKPOINT, Schedule
from motif.pocket.recipe.unet import train_unet
from motif.pocket.recipe.vae import load_vae, train_decoder, train_vae
from motif.pocket.world import grammar

Report = Callable[[str], None]


def train(
    out: Path | str,
    shards: Path | str,
    *,
    stages: Iterable[str] = STAGES,
    size: str = "first",
    minutes: float | None = None,
    threads: int = 2,
    device: str = "cpu",
    start: Path | str | None = None,
    report: Report = print,
) -> dict[str, Any]:
    """Trains pocket's parts into the folder `out` (one folder per stage: checkpoint, log, grids, EMA
    weights).

    Under torchrun the processes share every batch (`processes`).
    `minutes` replaces every chosen stage's own budget; a stage whose budget is spent is left as it is, and
    a larger budget goes on from its checkpoint. `start` is a shipped folder: parts that the run lacks start from its
    weights. Returns the last figures per stage. Raises InputError for an unknown stage or size, for a device that is
    not here, or when a stage's forerunner is missing.
    """
    chosen = [stage for stage in STAGES if stage in set(stages)]
    if unknown := set(stages) - set(STAGES):
        raise InputError(f"there is no stage {sorted(unknown)[0]!r}; the stages are {', '.join(STAGES)}")
    if size not in SIZES:
        raise InputError(f"there is no size {size!r}; the sizes are {', '.join(SIZES)}")
    device, settings = device_of(device), SIZES[size]
    if minutes is not None:
        settings = rescheduled(settings, lambda one: replace(one, minutes=minutes))
    torch.set_num_threads(threads)
    say = report if rank_asked() == 0 else _silent
    if start is not None and rank_asked() == 0:
        laid = ", ".join(unpack(Path(start), Path(out)))
        say(
            f"from {start}: {laid}"
            if laid
            else f"{out} has every part already: nothing is taken from {start}"
        )
    material, held_out = load_material(Path(shards))
    figures: dict[str, Any] = {}
    with joined(device):
        wait()  # the first process has laid out what all start from
        settings = rescheduled(settings, lambda one: replace(one, batch=one.batch // count()))
        for stage in chosen:
            say(f"{stage}: {len(material)} pictures, {len(held_out)} held out")
            figures[stage] = train_one(stage, material, held_out, Path(out), settings, device)
            say(f"{stage}: {figures[stage]}")
    return figures


def rank_asked() -> int:
    """This process's number as torchrun tells it, before the processes have joined."""
    return int(os.environ.get("RANK", "0"))


def _silent(line: str) -> None:
    """What processes beside the first one report."""


def rescheduled(settings: Settings, change: Callable[[Schedule], Schedule]) -> Settings:
    """The settings with every stage's schedule changed."""
    names = ("vae", "condition_clip", "clip", "dino", "judge", "unet")
    parts: dict[str, Any] = {name: change(getattr(settings, name)) for name in ("decoder", "condition_image")}
    for name in names:
        part = getattr(settings, name)
        parts[name] = replace(part, schedule=change(part.schedule))
    return replace(settings, **parts)


def train_one(
    stage: str, material: Material, held_out: Material, out: Path, settings: Settings, device: str
) -> dict[str, Any]:
    """Runs one stage in `out/stage`."""
    folder, seed = out / stage, settings.seed_of(stage)
    if stage == "tokenizer":
        tokenizer = build_tokenizer(grammar.all_words())
        if rank() == 0:
            tokenizer.save_pretrained(folder)
        wait()
        return {"tokens": len(tokenizer)}
    if stage == "vae" and taken(folder, "vae"):
        return {
            "kept": "the weights are there, taken from a shipped folder: what reads its latents was made for them"
        }
    if stage == "vae":
        return train_vae(material, held_out, folder, settings.vae, device=device, seed=seed)
    if stage == "decoder":
        needed(out / "vae" / "vae")
        return train_decoder(
            material, held_out, out / "vae", folder, settings.vae, settings.decoder, device=device, seed=seed
        )
    if stage == "dino":
        return train_dino(material, held_out, folder, settings.dino, device=device, seed=seed)
    if stage == "judge":
        return train_judge(material, held_out, folder, settings.judge, device=device, seed=seed)
    if stage == "unet":
        return train_unet_on(material, out, settings, device)
    tokenizer = AutoTokenizer.from_pretrained(needed(out / "tokenizer"))
    if stage == "condition-image":
        tower = replace(settings.condition_clip, schedule=settings.condition_image)
        whole = needed(out / "condition-clip" / "clip")
        return train_image_tower(
            material, held_out, tokenizer, whole, folder, tower, device=device, seed=seed
        )
    clip = settings.clip if stage == "clip" else settings.condition_clip
    return train_clip(stage, material, held_out, tokenizer, folder, clip, device=device, seed=seed)


def train_unet_on(material: Material, out: Path, settings: Settings, device: str) -> dict[str, Any]:
    """The UNet's stage: caches latents and text states of the material, then trains. InputError where the UNet that is
    there learned from those of another VAE or text tower.
    """
    needed(out / "vae" / "vae")
    needed(out / "condition-clip" / "clip")
    vae = load_vae(out / "vae", device)
    tower, tokenizer = text_tower(out)
    if (out / "unet" / "unet").exists():
        fits(out, vae, tower)
    tower = tower.to(device)
    seed = settings.seed_of("unet")
    latents = cached_latents(
        material, vae, tower, tokenizer, out / "unet", each=settings.unet.captions, device=device, seed=seed
    )
    return train_unet(
        latents,
        vae,
        tower,
        tokenizer,
        out / "unet",
        settings.unet,
        dressed=dressed(material),
        device=device,
        seed=seed,
    )


def dressed(material: Material) -> Tensor:
    """Rows of the pictures with an accessory."""
    return (material.labels["accessory"] != LABELS["accessory"].index(NONE)).nonzero().flatten()


def taken(folder: Path, name: str) -> bool:
    """Whether a stage's weights were laid there by `unpack`: they are there, and no training of theirs is."""
    return (folder / name).exists() and not (folder / CHECKPOINT).exists()


def needed(folder: Path) -> Path:
    """The folder, or InputError naming the stage to run first."""
    if not folder.exists():
        raise InputError(f"{folder} is missing: run the stage {folder.parent.name!r} first")
    return folder
