"""The proof: stock diffusers, with what `motif export` wrote and the card's own lines, draws what motif draws."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from motif.concept import Concept
from motif.interop.outgoing import write_files
from motif.lanes import Lane, denoise, finish
from motif.learn.compress import compress
from motif.sample.plain import plain
from motif.weights import Change
from pieces import Model, concept_of, gap

PROMPT, STEPS, GUIDANCE = "photo of a <new1> cat", 3, 5.0
NEAR = 2e-5  # a LoRA is added as a second product, W₀x + B(Ax), in float32: rounding, through three steps


@pytest.fixture
def client(model: Model) -> Any:
    """A stock pipeline of its own, with the base's weights: what is loaded into it stays out of other tests."""
    extra = {} if model.family == "sdxl" else {"requires_safety_checker": False}
    pipe = type(model.stock)(**copy.deepcopy(model.stock.components), **extra)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def blocks(folder: Path) -> list[str]:
    """The card's code."""
    return re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def load_as_the_card_says(folder: Path, pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    exec(blocks(folder)[1], {"pipe": pipe})


def theirs(pipe: Any, model: Model, x: torch.Tensor, output: str = "latent") -> Any:
    """`prompt`, not embeddings: the pipeline reads the new word itself."""
    made = pipe(PROMPT, latents=x, num_inference_steps=STEPS, guidance_scale=GUIDANCE, height=model.base.size,
                width=model.base.size, output_type=output)  # fmt: skip
    return made.images


def ours(model: Model, concept: Concept, x: torch.Tensor) -> torch.Tensor:
    me = model.base.wear(concept)
    with torch.no_grad():
        lane = Lane("main", x, me.read(PROMPT), me.read_uncond(), GUIDANCE)
        return finish(denoise(me, [lane], steps=STEPS))["main"]


def seen(model: Model, concept: Concept, x: torch.Tensor) -> None:
    """The concept is seen: a loader that did nothing would be far off."""
    bare = replace(concept, changes={}) if concept.changes else None
    if bare is not None and bare.tokens:
        assert gap(ours(model, bare, x), ours(model, concept, x)) > 1e-3
    other = replace(concept, tokens={t: tuple(-v for v in parts) for t, parts in concept.tokens.items()})
    assert gap(ours(model, other, x), ours(model, concept, x)) > 1e-3


@pytest.mark.parametrize("vectors", [1, 3])
def test_a_word_alone(model, client, vectors, tmp_path, monkeypatch):
    concept = replace(concept_of(model.base, vectors=vectors), changes={})
    write_files(concept, tmp_path, to="diffusers", base=model.base)
    load_as_the_card_says(tmp_path, client, monkeypatch)
    x = model.noise(seed=3)
    seen(model, concept, x)
    assert gap(theirs(client, model, x), ours(model, concept, x)) < NEAR


@pytest.mark.parametrize(("to", "energy"), [("diffusers", None), ("lora", 0.5)])
def test_word_and_weights(model, client, to, energy, tmp_path, monkeypatch):
    pytest.importorskip("peft", reason="stock diffusers loads a LoRA through peft")
    concept = concept_of(model.base, vectors=2)
    concept = concept if energy is None else compress(concept, energy=energy)
    write_files(concept, tmp_path, to=to, base=model.base)
    load_as_the_card_says(tmp_path, client, monkeypatch)
    x = model.noise(seed=3)
    seen(model, concept, x)
    assert gap(theirs(client, model, x), ours(model, concept, x)) < NEAR


@pytest.mark.parametrize("energy", [None, 0.5])
def test_kohyas_keys(model, client, energy, tmp_path):
    """Stock diffusers reads them too. Layers of different ranks are where it loses alphas."""
    pytest.importorskip("peft", reason="stock diffusers loads a LoRA through peft")
    concept = concept_of(model.base)
    concept = concept if energy is None else compress(concept, energy=energy)
    write_files(concept, tmp_path, to="kohya")
    write_files(replace(concept, changes={}), tmp_path / "word", to="diffusers", base=model.base)
    client.load_lora_weights(str(tmp_path), weight_name="new1_lora.safetensors")
    load = blocks(tmp_path / "word")[1].replace("'.'", repr(str(tmp_path / "word")))
    exec(load.replace("load_file('", f"load_file('{tmp_path / 'word'}/"), {"pipe": client})
    x = model.noise(seed=4)
    assert gap(theirs(client, model, x), ours(model, concept, x)) < NEAR


def test_the_same_picture(model, client, tmp_path, monkeypatch):
    """To the pixel's rounding."""
    pytest.importorskip("peft", reason="stock diffusers loads a LoRA through peft")
    concept = concept_of(model.base)
    write_files(concept, tmp_path, to="diffusers", base=model.base)
    load_as_the_card_says(tmp_path, client, monkeypatch)
    x = model.noise(seed=7)
    made = client(PROMPT, generator=torch.Generator().manual_seed(7), num_inference_steps=STEPS,
                  guidance_scale=GUIDANCE, height=model.base.size, width=model.base.size)  # fmt: skip
    (mine,) = plain(model.base.wear(concept), PROMPT, seed=7, steps=STEPS, guidance=GUIDANCE)
    assert x.shape[0] == 1
    assert np.abs(np.asarray(mine).astype(int) - np.asarray(made.images[0])).max() <= 1


@pytest.mark.filterwarnings("ignore:.*lora_bias")
def test_faces_and_text_encoders(small, tmp_path, monkeypatch):
    """q, k, v, out and its bias, and the text encoders: all that a LoRA can hold of the learning methods."""
    pytest.importorskip("peft", reason="stock diffusers loads a LoRA through peft")
    own = {n: w for n, w in small.base.models.own.items()
           if ".attn2." in n or (n.startswith("text") and n.endswith("_proj.weight"))}  # fmt: skip
    draw = torch.Generator().manual_seed(1)
    changes = {n: Change(dense=0.05 * torch.randn(w.shape, generator=draw)) for n, w in own.items()}
    concept = replace(concept_of(small.base), changes=changes)
    extra = {} if small.family == "sdxl" else {"requires_safety_checker": False}
    pipe = type(small.stock)(**copy.deepcopy(small.stock.components), **extra)
    pipe.set_progress_bar_config(disable=True)
    write_files(concept, tmp_path, to="lora")
    load_as_the_card_says(tmp_path, pipe, monkeypatch)
    x = small.noise(seed=3)
    seen(small, concept, x)
    assert gap(theirs(pipe, small, x), ours(small, concept, x)) < NEAR


def test_a_published_clip_that_pools_at_the_largest_id(sdxl, tmp_path, monkeypatch):
    """SDXL's own configuration says eos_token_id 2, and transformers then pools at the new word; the card's lines
    bring it back to the end of the text."""
    pipe = type(sdxl.stock)(**copy.deepcopy(sdxl.stock.components))
    pipe.set_progress_bar_config(disable=True)
    concept = replace(concept_of(sdxl.base), changes={})
    write_files(concept, tmp_path, to="lora")
    for encoder in (pipe.text_encoder, pipe.text_encoder_2):
        getattr(encoder, "text_model", encoder).eos_token_id = 2
    code = blocks(tmp_path)[1]
    monkeypatch.chdir(tmp_path)
    exec(code[: code.index("for text in")], {"pipe": pipe})
    x = sdxl.noise(seed=3)
    assert gap(theirs(pipe, sdxl, x), ours(sdxl, concept, x)) > 1e-3
    exec(code[code.index("for text in") :], {"pipe": pipe})
    assert gap(theirs(pipe, sdxl, x), ours(sdxl, concept, x)) < NEAR


def test_the_stock_loader_of_custom_diffusion_still_does_nothing(sd1, tmp_path):
    """Why the weights go out as LoRA (huggingface/diffusers #9320). Where this fails, the card may say better news."""
    concept = concept_of(sd1.base)
    write_files(concept, tmp_path, to="diffusers", base=sd1.base)
    pipe = type(sd1.stock)(**copy.deepcopy(sd1.stock.components), requires_safety_checker=False)
    before = {name: weight.clone() for name, weight in pipe.unet.state_dict().items()}
    pipe.unet.load_attn_procs(str(tmp_path), weight_name="pytorch_custom_diffusion_weights.safetensors")
    after = pipe.unet.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[n], after[n]) for n in before)
