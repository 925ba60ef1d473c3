"""From trained parts to the shipped folder: a stock Stable Diffusion pipeline and the readers that metrics
and methods need.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPModel,
    CLIPTextModel,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    ViTModel,
)

from motif.base import Base
from motif.errors import InputError
from motif.features.extractors import fingerprint
from motif.origin import Origin
from motif.pocket.recipe.clip import image_processor
from motif.pocket.recipe.dino import vit_processor
from motif.pocket.recipe.judge import load_judge
from motif.pocket.recipe.latents import made_for
from motif.pocket.recipe.unet import build_scheduler, load_unet
from motif.pocket.recipe.vae import load_vae

Pipeline: Any = StableDiffusionPipeline  # its annotations are narrower than what it takes
LIMIT = 60_000_000
"""All weights together, in bytes."""
ENCODER = Path("elite") / "encoder.safetensors"
"""ELITE's encoder, in a run's folder and in the shipped one: `motif learn elite` trains it on the shipped base."""


def text_tower(run: Path) -> tuple[Any, Any]:
    """(CLIPTextModel, tokenizer) of the conditioning CLIP, frozen."""
    folder = run / "condition-clip" / "clip"
    whole: Any = CLIPModel.from_pretrained(folder)
    tower = CLIPTextModel(whole.config.text_config)
    known = tower.state_dict()
    state = {
        (name if name in known else f"text_model.{name}"): value
        for name, value in whole.text_model.state_dict().items()
    }
    tower.load_state_dict(state)
    return tower.eval().requires_grad_(False), AutoTokenizer.from_pretrained(folder)


def image_tower(run: Path) -> Any:
    """The conditioning CLIP's own image side, with its projection: as it was trained on, where it was."""
    trained_on = run / "condition-image" / "clip"
    whole: Any = CLIPModel.from_pretrained(
        trained_on if trained_on.exists() else run / "condition-clip" / "clip"
    )
    tower = CLIPVisionModelWithProjection(whole.config.vision_config)
    mine = tuple(f"{name}." for name in ("vision_model", "visual_projection"))
    tower.load_state_dict(
        {name: value for name, value in whole.state_dict().items() if name.startswith(mine)}
    )
    return tower.eval()


def fits(run: Path, vae: Any, tower: Any) -> None:
    """InputError where a run's UNet learned from latents of another VAE or from words of another text tower: one of
    them was trained further since.
    """
    if not made_for(run / "unet", vae, tower):
        raise InputError(
            f"{run / 'unet'} learned from another VAE or conditioning CLIP than the run's: remove it, and train the "
            "stage unet anew"
        )


def decoder_of(run: Path, vae: Any) -> Any:
    """The run's VAE with its decoder trained on, where it was. InputError where that was another VAE's."""
    if not (run / "decoder" / "vae").exists():
        return vae
    further = load_vae(run / "decoder")
    mine, state = further.state_dict(), vae.state_dict()
    if any(
        not torch.equal(mine[name], state[name])
        for name in mine
        if name.startswith(("encoder", "quant_conv"))
    ):
        raise InputError(
            f"{run / 'decoder'} belongs to another VAE than the run's: remove it, and train the stage decoder anew"
        )
    return further


def build_pipeline(run: Path) -> StableDiffusionPipeline:
    """The pipeline of the parts in a run's folder, float32. InputError where they do not belong together."""
    tower, tokenizer = text_tower(run)
    vae = load_vae(run / "vae")
    fits(run, vae, tower)
    return Pipeline(
        vae=decoder_of(run, vae),
        text_encoder=tower,
        tokenizer=tokenizer,
        unet=load_unet(run / "unet"),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def assemble(run: Path, out: Path) -> dict[str, int]:
    """Writes the shipped folder from a run: `pipeline/`, `clip/`, `condition-clip/`, `dino/`, `judge/`, all
    float16.

    The folder is built beside `out` and renamed. Parts not trained yet are left out, except the pipeline's,
    which must be there (InputError). ELITE's encoder is the run's, or the one that `out` has, where its base and image
    tower are those of the new folder; one of other weights is left out. Returns the bytes per part. Raises InputError
    when all together are larger than `LIMIT`.
    """
    for part in ("vae/vae", "condition-clip/clip", "unet/unet"):
        if not (run / part).exists():
            raise InputError(f"{run / part} is missing: train that stage first")
    beside = out.with_name(out.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    build_pipeline(run).to(dtype=torch.float16).save_pretrained(beside / "pipeline")
    shutil.copy(
        Path(str(resources.files("motif.pocket") / "advice.json")), beside / "pipeline" / "motif.json"
    )
    image_tower(run).half().save_pretrained(beside / "condition-clip")
    image_processor().save_pretrained(beside / "condition-clip")
    if (run / "clip" / "clip").exists():
        CLIPModel.from_pretrained(run / "clip" / "clip").half().save_pretrained(beside / "clip")
        AutoTokenizer.from_pretrained(run / "clip" / "clip").save_pretrained(beside / "clip")
        image_processor().save_pretrained(beside / "clip")
    if (run / "dino" / "dino").exists():
        ViTModel.from_pretrained(run / "dino" / "dino", add_pooling_layer=False).half().save_pretrained(
            beside / "dino"
        )
        vit_processor().save_pretrained(beside / "dino")
    if (run / "judge" / "judge").exists():
        shutil.copytree(run / "judge" / "judge", beside / "judge")
    encoders = [place / ENCODER for place in (run, out) if (place / ENCODER).is_file()]
    if fitting := next((encoder for encoder in encoders if belongs(encoder, beside)), None):
        (beside / ENCODER).parent.mkdir()
        shutil.copy(fitting, beside / ENCODER)
    sizes = {part.name: folder_size(part) for part in sorted(beside.iterdir())}
    if (total := sum(sizes.values())) > LIMIT:
        raise InputError(
            f"the shipped weights take {total / 1e6:.1f} MB, over {LIMIT / 1e6:.0f} MB: use a smaller size"
            + (" (ELITE's encoder: --small 8 or less)" if fitting else "")
        )
    replace_folder(beside, out)
    return sizes


def belongs(encoder: Path, shipped: Path) -> bool:
    """Whether an ELITE encoder was trained on the base and the image tower of a shipped folder, which it then finds
    under the name pocket. InputError where the file is no encoder."""
    try:
        with safe_open(encoder, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
            told = json.loads((file.metadata() or {})["motif.elite"])  # pyright: ignore[reportUnknownMemberType]
        base: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in told["base"].items()
        }
        origin, image, weights = Origin(**base), told["image"], told["image_weights"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{encoder} is no ELITE encoder, or damaged: remove it, or train it anew") from error
    tower: Any = CLIPVisionModel.from_pretrained(shipped / "condition-clip", dtype=torch.float32)
    mine = Base.load(str(shipped / "pipeline"), device="cpu", precision="fp32").origin
    return (image, weights, origin.fingerprint) == ("pocket", fingerprint(tower), mine.fingerprint)


def unpack(shipped: Path, run: Path) -> list[str]:
    """The reverse of `assemble`: lays a shipped folder's parts into a run's, for stages to go on from.

    Parts that the run has already stay; the names of those laid out are returned. Two things do not come back: what
    float16 rounded off, and the conditioning CLIP's text projection and scale, which only its own training needs.
    Raises InputError without a pipeline.
    """
    if not (shipped / "pipeline" / "unet").exists():
        raise InputError(f"{shipped} is no shipped folder of pocket: it has no pipeline/unet")
    pipeline: Any = Pipeline.from_pretrained(shipped / "pipeline", dtype=torch.float32, safety_checker=None)
    saves: dict[str, Callable[[Path], Any]] = {
        "tokenizer": pipeline.tokenizer.save_pretrained,
        "vae/vae": pipeline.vae.save_pretrained,
        "unet/unet": pipeline.unet.save_pretrained,
        "condition-clip/clip": lambda folder: _save_condition(pipeline, shipped, folder),
    }
    for part in ("clip", "dino", "judge"):
        if (shipped / part).exists() and (part != "judge" or readable(shipped / part)):
            saves[f"{part}/{part}"] = lambda folder, part=part: shutil.copytree(shipped / part, folder)
    if (shipped / ENCODER).is_file():
        saves[ENCODER.as_posix()] = lambda file: shutil.copy(shipped / ENCODER, file)
    return [name.split("/")[0] for name, save in saves.items() if _lay(run / name, save)]


def readable(judge: Path) -> bool:
    """Whether a shipped judge is one that this version can go on from."""
    try:
        load_judge(judge)
    except InputError:
        return False
    return True


def _lay(folder: Path, save: Callable[[Path], Any]) -> bool:
    """Saves a folder (or a file) beside, then renames; False, and nothing, where it is there."""
    if folder.exists():
        return False
    beside = folder.with_name(folder.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.parent.mkdir(parents=True, exist_ok=True)
    save(beside)
    os.replace(beside, folder)
    return True


def _save_condition(pipeline: Any, shipped: Path, folder: Path) -> None:
    """The conditioning CLIP as one CLIPModel, from its two towers."""
    image: Any = CLIPVisionModelWithProjection.from_pretrained(
        shipped / "condition-clip", dtype=torch.float32
    )
    text = pipeline.text_encoder
    whole: Any = CLIPModel(
        CLIPConfig(
            text_config=text.config.to_dict(),
            vision_config=image.config.to_dict(),
            projection_dim=image.config.projection_dim,
        )
    )
    state = {
        name if name.startswith("text_model.") else f"text_model.{name}": value
        for name, value in text.state_dict().items()
    }
    missing, strange = whole.load_state_dict({**state, **image.state_dict()}, strict=False)
    if strange or set(missing) - {"text_projection.weight", "logit_scale"}:
        raise InputError(f"{shipped} does not hold the towers of a CLIP: {[*strange, *missing][:3]}")
    whole.save_pretrained(folder)
    pipeline.tokenizer.save_pretrained(folder)


def folder_size(folder: Path) -> int:
    """Bytes of all files under a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def replace_folder(new: Path, out: Path) -> None:
    """Puts `new` in the place of `out`; the old one is moved aside first, then removed."""
    old = out.with_name(out.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.replace(out, old)
    os.replace(new, out)
    shutil.rmtree(old, ignore_errors=True)


def prove(out: Path, *, prompt: str = "a photo of a red car on the beach", steps: int = 30) -> Any:
    """Loads the shipped pipeline as anyone would and draws one picture (a PIL image of 64 px); raises if
    diffusers refuses.
    """
    pipeline = Pipeline.from_pretrained(out / "pipeline", dtype=torch.float32, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.Generator().manual_seed(0)
    return pipeline(prompt, num_inference_steps=steps, guidance_scale=5.0, generator=noise).images[0]
