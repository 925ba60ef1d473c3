"""ELITE's sampling: encoded photos, heard beside the prompt by local attention (`motif.local`).

Wei et al. 2023 (arXiv 2302.13848), section 3.3; card 5. λ is `local`: 0.8 where the prompt is one of the sentences of
training ("a photo of a <S>"), 0.6 where it says more; 0 is the concept's word alone. The other samplers, and edits,
hear the same concepts with 0.6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from motif.attention import Control
from motif.base import Base
from motif.errors import InputError
from motif.local import STRENGTH, Form, LocalAttention
from motif.sample.plain import plain
from motif.sample.progress import Progress
from motif.solver import Solver
from motif.tokens import TOKEN

if TYPE_CHECKING:
    from PIL.Image import Image

GENERATION = 0.8
"""λ where a prompt says nothing but the concept."""

TEMPLATES = (
    "a photo of a {}", "a rendering of a {}", "a cropped photo of the {}", "the photo of a {}", "a photo of a clean {}",
    "a photo of a dirty {}", "a dark photo of the {}", "a photo of my {}", "a photo of the cool {}",
    "a close-up photo of a {}", "a bright photo of the {}", "a cropped photo of a {}", "a photo of the {}",
    "a good photo of the {}", "a photo of one {}", "a close-up photo of the {}", "a rendition of the {}",
    "a photo of the clean {}", "a rendition of a {}", "a photo of a nice {}", "a good photo of a {}",
    "a photo of the nice {}", "a photo of the small {}", "a photo of the weird {}", "a photo of the large {}",
    "a photo of a cool {}", "a photo of a small {}",
)  # fmt: skip
"""The sentences of training (card 2.6; Textual Inversion's list)."""


def elite(
    base: Base,
    prompt: str,
    *,
    n: int = 1,
    seed: int = 0,
    steps: int = 50,
    local: float | None = None,
    maximum: Form = "image",
    guidance: float | None = None,
    eta: float = 0.0,
    solver: Solver = "ddim",
    negative: str = "",
    height: int | None = None,
    width: int | None = None,
    batch_size: int = 8,
    controls: Sequence[Control] = (),
    on_progress: Callable[[Progress], None] | None = None,
    on_image: Callable[[Image], None] | None = None,
) -> list[Image]:
    """Draw n pictures of a prompt that names encoded photos, with their patches in attention.

    Args:
        n: How many pictures.
        seed: The first picture's seed, 0 or more; picture i uses seed + i.
        steps: Denoising steps, 1 to 1000 (paper: 100 of lms).
        local: The weight λ of the patches, 0 (the word alone) up; more is nearer to the photo (paper: 0.8 to generate,
            0.6 to edit, which is what is taken unless given, by the prompt).
        maximum: What the word's map is divided by: its maximum in each image, or in the whole batch (release); none
            does without the map.
        guidance: Guidance scale; 1 is none. The default is the base's own (paper: 5).
        eta: 0 is DDIM, 1 the DDPM sampler.
        solver: How a step is taken: ddim, or lms, the paper's linear multistep method, which takes eta 0 alone.
        negative: What to steer away from.
        height: In pixels; the default is the base's size.
        width: In pixels; the default is the base's size.
        batch_size: Pictures per pass; it changes memory, and the pictures of release alone.
        controls: Interventions in attention, after this one.
        on_progress: Told of every denoising step.
        on_image: Given each picture as soon as its pass is done, in order.
    Raises:
        InputError: no encoded photo is worn and named; a strength below 0; a setting that cannot act.
    """
    named = [token for token in TOKEN.findall(prompt) if token in base.local]
    if not named:
        worn = ", ".join(base.local) or "none"
        raise InputError(
            f'the prompt "{prompt}" names no encoded photo (worn with patches: {worn}): wear what `motif encode` '
            "made, or draw with `motif sample plain`"
        )
    strength = default_strength(prompt) if local is None else local
    if not strength and maximum != "image":
        raise InputError("local is 0: there is no local attention whose maximum could be taken")
    return plain(
        base, prompt, n=n, seed=seed, steps=steps, guidance=guidance, eta=eta, solver=solver, negative=negative,
        height=height, width=width, batch_size=batch_size,
        controls=[LocalAttention.of(base, strength, maximum), *controls], on_progress=on_progress, on_image=on_image,
    )  # fmt: skip


def default_strength(prompt: str) -> float:
    """The paper's λ for a prompt."""
    plain_prompt = " ".join(TOKEN.sub("{}", prompt).split()).lower().removesuffix(".")
    return GENERATION if plain_prompt in TEMPLATES else STRENGTH
