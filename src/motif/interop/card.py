"""The model card beside every export: what it is, of which base, how it was made, how to load it.

It tells no path of the machine that it was made on, and nothing of the photos.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePath

from motif.concept import Concept
from motif.interop.adobe import PICKLE
from motif.interop.diffusers import CLIPS, WEIGHTS
from motif.interop.foreign import Foreign
from motif.interop.lora import FILE

MARK = "<!-- written by motif export -->"
FAMILIES: dict[tuple[int, ...], str] = {
    (768,): "stable-diffusion-v1",
    (1024,): "stable-diffusion-v2",
    (768, 1280): "stable-diffusion-xl-v1-base",
}
POOLING = (
    "for text in [(pipe.text_encoder, pipe.tokenizer), (pipe.text_encoder_2, pipe.tokenizer_2)]:",
    "    model = getattr(text[0], 'text_model', text[0])",
    "    model.eos_token_id = text[1].eos_token_id",
)
"""CLIP's published configurations pool at the largest id of a text, which a new word has: so at its end instead."""
HUB = re.compile(r"[\w.-]+/[\w.-]+")


def base_label(name: str) -> str:
    """A base by a name that tells no folder: a hub id or `pocket` as it is, of a path the last part."""
    if name == "pocket" or (HUB.fullmatch(name) and not name.startswith(".") and not Path(name).exists()):
        return name
    return PurePath(name.replace("\\", "/")).name


def header(concept: Concept) -> dict[str, str]:
    """What every file's header says: ModelSpec's keys, which other tools show."""
    parts = next(iter(concept.tokens.values()), ())
    widths = tuple(part.shape[1] for part in parts)
    kind = "lora" if concept.changes else "textual-inversion"
    return {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{FAMILIES.get(widths, base_label(concept.record.base.name))}/{kind}",
        "modelspec.implementation": "motif",
        "modelspec.title": _title(concept),
        "modelspec.trigger_phrase": _phrase(concept),
    }


def _title(concept: Concept) -> str:
    return " and ".join(_phrases(concept)) or f"{concept.record.method} weights"


def _phrase(concept: Concept) -> str:
    return ", ".join(_phrases(concept))


def _phrases(concept: Concept) -> list[str]:
    return [f"{token} {concept.record.nouns.get(token, '')}".strip() for token in concept.tokens]


def card(concept: Concept, files: Sequence[Foreign], *, to: str, licence: str) -> str:
    """The card as Markdown with the hub's YAML in front."""
    record, label = concept.record, base_label(concept.record.base.name)
    hub = [f"base_model: {label}"] if HUB.fullmatch(record.base.name) and label == record.base.name else []
    tags = [
        record.method,
        "textual_inversion" if concept.tokens else "",
        "lora" if concept.changes else "",
        "motif",
    ]
    front = ["---", *hub, "license: other", "tags:", *[f"- {tag}" for tag in tags if tag], "---", MARK, ""]
    about = [
        f"# {_title(concept).replace('<', '`<').replace('>', '>`')}",
        "",
        f"- What: {_contents(concept)}, for text-to-image pictures of it",
        f"- Base: {label} (no other: the weights add to its own)",
        f"- Words: {', '.join(f'`{phrase}`' for phrase in _phrases(concept)) or 'none; it acts on every prompt'}",
        f"- Made by: {record.method}, motif {record.versions.get('motif', '')}{_settings(concept)}",
        f"- Licence: {licence or 'not stated by its maker; ask before you use it'}. The terms of {label} hold too.",
        "",
        "| file | holds |",
        "|---|---|",
        *[f"| `{file.name}` | {_holds(file)} |" for file in files],
        "",
    ]
    return "\n".join([*front, *about, *_loading(concept, files, to=to, label=label)]).rstrip() + "\n"


def _contents(concept: Concept) -> str:
    vectors = {token: len(parts[0]) for token, parts in concept.tokens.items()}
    words = ", ".join(f"the word `{token}` ({n} vector{'s' * (n > 1)})" for token, n in vectors.items())
    weights = f"changes of {len(concept.changes)} weights" if concept.changes else ""
    return " and ".join(part for part in (words, weights) if part)


def _settings(concept: Concept) -> str:
    """The settings that are numbers: words may be paths."""
    numbers = {n: v for n, v in concept.record.settings.items() if isinstance(v, int | float)}
    return f" ({', '.join(f'{name} {value}' for name, value in numbers.items())})" if numbers else ""


def _holds(file: Foreign) -> str:
    if file.name.endswith(FILE):
        return "the weights as LoRA, which stock diffusers loads"
    if file.name == WEIGHTS:
        return "the same weights whole, for other tools (diffusers' `load_attn_procs` does nothing: its issue 9320)"
    if any("lora" in key for key in file.content):
        return "the weights as LoRA"
    if file.name.endswith("delta.safetensors"):
        return "word and weights under the official delta's names"
    return f"the word `{file.metadata.get('motif.token', '')}`"


def _loading(concept: Concept, files: Sequence[Foreign], *, to: str, label: str) -> list[str]:
    if to == "adobe":
        code = PICKLE.replace("NAME", repr(files[0].name))
        return ["The official code reads a pickle, which motif does not write. This makes it, in this folder:", "",
                "```python", code.rstrip(), "```"]  # fmt: skip
    if to in ("kohya", "a1111"):
        words = ", ".join(f"`{PurePath(f.name).stem}` for `{f.metadata['motif.token']}`" for f in files
                          if "motif.token" in f.metadata)  # fmt: skip
        lines = ["- A1111's web UI: the embedding goes into `embeddings`, the LoRA into `models/Lora`.",
                 "- ComfyUI: the embedding goes into `models/embeddings`, the LoRA into `models/loras`."]  # fmt: skip
        lines += (
            [f"- In a prompt, the word is the embedding's file name: {words} (ComfyUI: `embedding:NAME`)."]
            if words
            else []
        )
        lora = next((PurePath(f.name).stem for f in files if "motif.token" not in f.metadata), "")
        return [*lines, *([f"- The LoRA belongs to it, at strength 1: `<lora:{lora}:1>`."] if lora else [])]
    two = any(len(parts) > 1 for parts in concept.tokens.values())
    kind = "StableDiffusionXLPipeline" if two else "StableDiffusionPipeline"
    where = "str(pocket_weights() / 'pipeline')" if label == "pocket" else repr(label)
    load = "from_single_file" if label.endswith(".safetensors") else "from_pretrained"
    start = [
        f"from diffusers import {kind}",
        *(["from motif.loading import pocket_weights"] if label == "pocket" else []),
    ]
    phrase = f"a photo of a {_phrases(concept)[0]}" if concept.tokens else "a photo"
    return ["In stock diffusers (with peft installed), in this folder:", "", "```python", *start, "",
            f"pipe = {kind}.{load}({where})", "```", "", "```python", *_load_lines(files, two=two), "```",
            "", "```python", f"pipe({phrase!r}).images[0].save('picture.png')", "```"]  # fmt: skip


def _load_lines(files: Sequence[Foreign], *, two: bool) -> list[str]:
    lines = ["from safetensors.torch import load_file", ""] if two else []
    for file in files:
        token = file.metadata.get("motif.token")
        if file.name == FILE:
            lines.append(f"pipe.load_lora_weights('.', weight_name={file.name!r})")
        elif token and not two:
            lines.append(f"pipe.load_textual_inversion('.', weight_name={file.name!r}, token={token!r})")
        elif token:
            lines.append(f"rows = load_file({file.name!r})")
            for key, suffix in zip(CLIPS, ("", "_2"), strict=True):
                encoder = f"text_encoder=pipe.text_encoder{suffix}, tokenizer=pipe.tokenizer{suffix}"
                lines.append(f"pipe.load_textual_inversion(rows[{key!r}], token={token!r}, {encoder})")
    return [*lines, *POOLING] if two else lines
