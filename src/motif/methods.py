"""The methods of every verb, by their names on the command line.

A table, because it can be read and searched, and nothing happens at import. To add a method, write one file and one
line here. Another package adds its own by an entry point, read when the table is asked for:

    [project.entry-points."motif.methods"]
    "learn.my-method" = "my_package.my_method:my_method"

A metric of which less is better says so: ours by `less=True` in its line, another package's by an attribute of its
function, `my_metric.less_is_better = True`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from typing import Any

from motif.errors import InputError

GROUP = "motif.methods"


@dataclass(frozen=True)
class Method:
    """Where a function lives, what it does in a few words, and where it comes from."""

    path: str  # "package.module:function"
    summary: str
    paper: str = ""
    less: bool = False  # of a metric: less is better

    def load(self) -> Callable[..., Any]:
        """Import the function."""
        module, _, name = self.path.partition(":")
        return getattr(import_module(module), name)


LEARN = {
    "custom-diffusion": Method(
        "motif.learn.custom_diffusion:custom_diffusion",
        "keys and values of cross-attention, and a new word, from a few photos",
        "Kumari et al. 2023, arXiv:2212.04488",
    ),
    "custom-edit": Method(
        "motif.learn.custom_edit:custom_edit",
        "Custom Diffusion with a word for the looks, varied templates and crops, for editing",
        "Choi et al. 2023, arXiv:2305.15779",
    ),
    "dreambooth": Method(
        "motif.learn.dreambooth:dreambooth",
        "all weights of the UNet behind a rare word, or low-rank changes of its attention",
        "Ruiz et al. 2023, arXiv:2208.12242",
    ),
    "fine-tune-all": Method(
        "motif.learn.fine_tune_all:fine_tune_all",
        "all weights of the UNet, and a new word: Custom Diffusion's baseline",
        "Kumari et al. 2023, arXiv:2212.04488",
    ),
    "ico": Method(
        "motif.learn.ico:ico",
        "keys and values, and a word of several vectors, with contexts of each photo's own around it",
        "Jin et al. 2024, arXiv:2412.04831",
    ),
    "textual-inversion": Method(
        "motif.learn.textual_inversion:textual_inversion",
        "the vectors of a new word alone",
        "Gal et al. 2022, arXiv:2208.01618",
    ),
}

SAMPLE = {
    "plain": Method(
        "motif.sample.plain:plain",
        "pictures of a prompt: DDIM or DDPM steps with classifier-free guidance",
        "Song et al. 2021, arXiv:2010.02502",
    ),
    "dci": Method(
        "motif.sample.dci:dci",
        "two prompts draw together at first: the concept's, and one with an ordinary noun for all the rest",
        "Jin et al. 2024, arXiv:2412.04831",
    ),
    "elite": Method(
        "motif.sample.elite:elite",
        "an encoded photo's patches, read where the prompt's word looks",
        "Wei et al. 2023, arXiv:2302.13848",
    ),
}

INVERT = {
    "ddim": Method(
        "motif.invert.ddim:ddim",
        "the sampler walked upwards: comes back without guidance alone",
        "Song et al. 2021, arXiv:2010.02502",
    ),
    "null-text": Method(
        "motif.invert.null_text:null_text",
        "the empty prompt of every step is fitted to come back under guidance",
        "Mokady et al. 2023, arXiv:2211.09794",
    ),
    "null-text-plus": Method(
        "motif.invert.null_text_plus:null_text_plus",
        "null-text that keeps the photo's attention maps too",
        "Li et al. 2023, arXiv:2303.15649",
    ),
    "text-embedding": Method(
        "motif.invert.text_embedding:text_embedding",
        "the caption's embedding of every step is fitted: null-text's roles exchanged, a baseline",
        "Li et al. 2023, arXiv:2303.15649",
    ),
    "negative-prompt": Method(
        "motif.invert.negative_prompt:negative_prompt",
        "the caption in the place of the empty prompt: no fitting",
        "Miyake et al. 2023, arXiv:2305.16807",
    ),
    "proximal": Method(
        "motif.invert.proximal:proximal",
        "negative-prompt, and guidance only where source and target differ enough",
        "Han et al. 2024, arXiv:2306.05414",
    ),
    "direct": Method(
        "motif.invert.direct:direct",
        "the source is put back on its way after every step: exact",
        "Ju et al. 2024, arXiv:2310.01506",
    ),
    "value-embedding": Method(
        "motif.invert.value_embedding:value_embedding",
        "StyleDiffusion: the values of cross-attention read a fitted embedding of the photo",
        "Li et al. 2023, arXiv:2303.15649",
    ),
}

EDIT = {
    "prompt-to-prompt": Method(
        "motif.edit.prompt_to_prompt:prompt_to_prompt",
        "the source's attention maps keep what both prompts say in its place",
        "Hertz et al. 2022, arXiv:2208.01626",
    ),
    "p2plus": Method(
        "motif.edit.p2plus:p2plus",
        "prompt-to-prompt, and self maps on the unguided side: larger changes of shape",
        "Li et al. 2023, arXiv:2303.15649",
    ),
    "custom-edit": Method(
        "motif.edit.custom_edit:custom_edit",
        "a learned concept in the place of a word, the rest of the photo untouched",
        "Choi et al. 2023, arXiv:2305.15779",
    ),
    "sdedit": Method(
        "motif.edit.sdedit:sdedit",
        "the photo noised part of the way, and denoised with another prompt",
        "Meng et al. 2022, arXiv:2108.01073",
    ),
    "word-swap": Method(
        "motif.edit.word_swap:word_swap",
        "the inverted noise with another prompt: the plain baseline",
        "Song et al. 2021, arXiv:2010.02502",
    ),
    "pix2pix-zero": Method(
        "motif.edit.pix2pix_zero:pix2pix_zero",
        "the caption's embedding moved along a direction, cross maps held by their gradient",
        "Parmar et al. 2023, arXiv:2302.03027",
    ),
    "style-transfer": Method(
        "motif.edit.style_transfer:style_transfer",
        "a photo's features with the values of another's style",
        "Li et al. 2023, arXiv:2303.15649",
    ),
}

MEASURE = {
    "clip-i": Method(
        "motif.measure.clip_i:clip_i",
        "image alignment: cosine of CLIP's image features with the photos'",
        "Gal et al. 2022, arXiv:2208.01618",
    ),
    "clip-t": Method(
        "motif.measure.clip_t:clip_t",
        "text alignment: CLIPScore with the prompt, without the concept's token",
        "Hessel et al. 2021, arXiv:2104.08718",
    ),
    "dino-i": Method(
        "motif.measure.dino_i:dino_i",
        "image alignment: cosine of DINO's image features with the photos'",
        "Ruiz et al. 2023, arXiv:2208.12242",
    ),
    "kid": Method(
        "motif.measure.kid:kid",
        "distance of two sets' distributions of features, unbiased",
        "Bińkowski et al. 2018, arXiv:1801.01401",
        less=True,
    ),
    "fid": Method(
        "motif.measure.fid:fid", "distance as Gaussians", "Heusel et al. 2017, arXiv:1706.08500", less=True
    ),
    "drift": Method(
        "motif.measure.drift:drift",
        "what a concept did to its class word: its pictures before and after",
        "Kumari et al. 2023, arXiv:2212.04488",
    ),
    "concepts": Method(
        "motif.measure.concepts:concepts",
        "identity of each of several concepts, and bleed between them",
        "Kumari et al. 2023, arXiv:2212.04488",
    ),
    "clipscore": Method(
        "motif.measure.clipscore:clipscore",
        "text alignment of edits, in hundreds",
        "Hessel et al. 2021, arXiv:2104.08718",
    ),
    "source-similarity": Method(
        "motif.measure.source_similarity:source_similarity",
        "cosine of edits with their own sources, by CLIP",
        "Choi et al. 2023, arXiv:2305.15779",
    ),
    "reference-similarity": Method(
        "motif.measure.reference_similarity:reference_similarity",
        "cosine of edits with the concept's photos, by CLIP",
        "Choi et al. 2023, arXiv:2305.15779",
    ),
    "text-similarity": Method(
        "motif.measure.text_similarity:text_similarity",
        "cosine of edits with their target prompts, by CLIP",
        "Choi et al. 2023, arXiv:2305.15779",
    ),
    "structure": Method(
        "motif.measure.structure:structure",
        "has an edit kept its source's layout: self-similarity of DINO's keys",
        "Tumanyan et al. 2022, arXiv:2201.00424",
        less=True,
    ),
    "ns-lpips": Method(
        "motif.measure.ns_lpips:ns_lpips",
        "has an edit left alone what it was not about: LPIPS outside of a mask",
        "Li et al. 2023, arXiv:2303.15649",
        less=True,
    ),
    "lpips": Method(
        "motif.measure.lpips:lpips",
        "how different edits and their sources look",
        "Zhang et al. 2018, arXiv:1801.03924",
        less=True,
    ),
    "psnr": Method(
        "motif.measure.psnr:psnr",
        "edits and their sources pixel by pixel, in dB; whole or in a region",
    ),
    "ssim": Method(
        "motif.measure.ssim:ssim",
        "structural similarity of edits and their sources; whole or in a region",
        "Wang et al. 2004, doi:10.1109/TIP.2003.819861",
    ),
    "mse": Method(
        "motif.measure.mse:mse",
        "mean squared difference of edits and their sources; whole or in a region",
        less=True,
    ),
}

VERBS = {"learn": LEARN, "sample": SAMPLE, "invert": INVERT, "edit": EDIT, "measure": MEASURE}


@cache
def table(verb: str) -> dict[str, Method]:
    """{command-line name: Method} of a verb, those of other packages last; they cannot replace our own."""
    found = dict(VERBS[verb])
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        of, _, name = entry.name.partition(".")
        if of == verb:
            package = entry.dist.name if entry.dist else entry.module
            found.setdefault(name, Method(f"{entry.module}:{entry.attr}", f"by the package {package}"))
    return found


def find(verb: str, name: str) -> Method:
    """A method by its name; InputError suggests the nearest names."""
    methods = table(verb)
    if name in methods:
        return methods[name]
    near = difflib.get_close_matches(name, methods, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(methods)}"
    raise InputError(f"no method {name} to {verb}: {hint}")


def load(verb: str, name: str) -> Callable[..., Any]:
    """Import a method's function by its command-line name."""
    return find(verb, name).load()


def less_is_better(metric: str) -> bool:
    """Whether less of a metric is better; False where there is none of that name."""
    found = table("measure").get(metric)
    if found is None or metric in MEASURE:
        return found is not None and found.less
    return bool(getattr(found.load(), "less_is_better", False))
