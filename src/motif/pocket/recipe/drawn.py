"""What the model card says of what the pipeline draws: the judge's word, KID, two seeds, seconds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from motif.pocket.recipe.figures import Figure, by_colours, dino_features, figure
from motif.pocket.recipe.judge import KINDS, Judge, agreement, classified, found_masks
from motif.pocket.recipe.latents import text_states
from motif.pocket.recipe.material import LABELS, Material, normalised
from motif.pocket.recipe.probes import kernel_distance, kernel_distance_error
from motif.pocket.recipe.unet import GUIDANCE, STEPS, sample
from motif.pocket.world.phrases import FAR_FILL, PLACES
from motif.pocket.world.scene import NOUNS, Scene

SMALL_CAPTIONS = [f"a {how} photo of a {noun}" for how in ("far away", "very small") for noun in NOUNS]


def said(kind: str, name: str, caption: str) -> bool:
    """Whether a caption says this label of its object, so that a sample can be held to it."""
    if kind == "context":
        return any(phrase in caption for phrase in PLACES[name])
    words = caption.split()
    if kind == "colour":  # what comes after the noun is some other thing's, or its part's
        return name in words[: next(i for i, word in enumerate(words) if word in NOUNS)]
    return name in words


def held(logits: dict[str, Tensor], asked: Material, captions: Sequence[str]) -> dict[str, Tensor]:
    """Per kind of label, [image]: 1 where the judge sees what the caption says, 0 where not, NaN where it says nothing
    of the kind. Of a striped or checked object's two colours either may come first.
    """
    right = agreement(logits, asked)
    first_two = (logits["colour"].topk(2).indices == asked.labels["colour"][:, None]).any(1).float()
    right["colour"] = torch.where(
        two_coloured(captions) & ~right["colour"].isnan(), first_two, right["colour"]
    )
    for kind in KINDS:
        names = [LABELS[kind][int(label)] for label in asked.labels[kind]]
        silent = [not said(kind, name, text) for name, text in zip(names, captions, strict=True)]
        right[kind][torch.tensor(silent)] = torch.nan
    return {kind: right[kind] for kind in KINDS}


def two_coloured(captions: Sequence[str]) -> Tensor:
    """[caption]: whether it asks for a striped or a checked object."""
    return torch.tensor([bool({"striped", "checked"} & set(text.split())) for text in captions])


def draw(pipeline: Any, captions: Sequence[str], seed: int) -> Tensor:
    """[caption, 3, 64, 64] samples in -1..1 with the shipped guidance and steps."""
    states = text_states(pipeline.text_encoder, pipeline.tokenizer, ["", *captions], "cpu").float()
    pieces = enumerate(states[1:].split(16))
    return torch.cat(
        [sample(pipeline.unet, pipeline.vae, one, states[:1], seed=seed + i) for i, one in pieces]
    )


@torch.no_grad()
def decoded_noise(pipeline: Any, count: int) -> Tensor:
    """[image, 3, 64, 64] in -1..1: pictures of nothing, whose latents are noise."""
    side, channels = pipeline.unet.config.sample_size, pipeline.unet.config.in_channels
    noise = torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(0))
    pieces = (noise / pipeline.vae.config.scaling_factor).split(64)
    return torch.cat([pipeline.vae.decode(piece).sample for piece in pieces]).clamp(-1, 1)


def empty_places(scenes: Sequence[Scene]) -> Tensor:
    """[scene, 3, 64, 64] in -1..1: renders of their places, without the object and what goes with it."""
    from motif.pocket.world.render import to_bytes, trace  # of the extra "pocket"
    from motif.pocket.world.staging import emptied, staged

    rgb = np.stack([to_bytes(trace(one, stage=emptied(staged(one))).picture) for one in scenes])
    return normalised(torch.from_numpy(rgb))


def sample_figures(judge: Judge, images: Tensor, asked: Material, captions: Sequence[str]) -> list[Figure]:
    """What the judge sees in samples of captions; floor: in the sample of another caption, ceiling: in the render."""
    ours, theirs = classified(judge, images), classified(judge, normalised(asked.rgb))
    right, ceiling = held(ours, asked, captions), held(theirs, asked, captions)
    floor = held({kind: logits.roll(1, 0) for kind, logits in ours.items()}, asked, captions)
    out = [
        figure(f"samples {kind}", right[kind], floor[kind], ceiling[kind])
        for kind in KINDS
        if not right[kind].isnan().all()
    ]
    two = two_coloured(captions)
    return [*out, *by_colours("samples colour", two, right["colour"], floor["colour"], ceiling["colour"])]


def there_figures(
    judge: Judge, images: Tensor, small: Tensor, renders: Material, empty: Tensor
) -> list[Figure]:
    """Whether the judge finds an object at all, of at least half the size of the smallest in held-out renders: in
    samples, and in those asked to be small; floor: in `empty_places`, ceiling: in renders (for the second: of objects
    far away).
    """
    least = renders.mask.float().mean((1, 2)).min().item() / 255 / 2

    def there(some: Tensor) -> Tensor:
        return ((found_masks(judge, some) > 0.5).float().mean((1, 2, 3)) >= least).float()

    real, nothing = there(normalised(renders.rgb)), there(empty)
    far = torch.tensor([one.view.fill < FAR_FILL for one in renders.scenes])
    return [
        figure("samples: object there", there(images), nothing, real),
        figure("samples: object there, asked small", there(small), nothing, real[far] if far.any() else None),
    ]


def kid_figure(folder: Path, images: Tensor, asked: Material, noise: Tensor) -> Figure:
    """KID, on DINO's features, of samples against the renders of the same captions; floor: of decoded noise, ceiling:
    of one half of the renders against the other.
    """
    ours, theirs, nothing = (dino_features(folder, some) for some in (images, normalised(asked.rgb), noise))
    return Figure(
        "samples kid (dino)",
        kernel_distance(ours, theirs, paired=True),
        kernel_distance_error(ours, theirs, paired=True),
        len(ours),
        kernel_distance(nothing, theirs),
        kernel_distance(theirs[::2], theirs[1::2]),
    )


def seeds_figure(pipeline: Any, folder: Path, captions: list[str]) -> Figure:
    """1 − cosine of DINO's features of two seeds' samples of a caption; as ceiling, that of two captions'."""
    one, two = (
        F.normalize(dino_features(folder, draw(pipeline, captions, seed)), dim=1) for seed in (100, 200)
    )
    same, apart = (1 - (one * other).sum(1) for other in (two, two.roll(1, 0)))
    return figure("two seeds' distance (dino)", same, 0.0, apart)


def speed_figures(pipeline: Any, *, repeats: int = 3) -> list[Figure]:
    """Seconds of the stock pipeline, from prompt to pictures, for one and for eight pictures; torch's present
    threads, after a first call that is not counted.
    """
    out: list[Figure] = []
    pipeline.set_progress_bar_config(disable=True)
    for count in (1, 8):
        seconds: list[float] = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            pipeline(["a photo of a dog"] * count, num_inference_steps=STEPS, guidance_scale=GUIDANCE)
            seconds.append(time.perf_counter() - start)
        out.append(figure(f"seconds for {count}", torch.tensor(seconds[1:])))
    return out
