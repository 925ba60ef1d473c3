"""What every inversion has at its start and at its end: a photo's trajectory Z*, and the value made of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from motif.attention import Control
from motif.base import Base
from motif.climb import climb
from motif.counted import Counted
from motif.errors import InputError
from motif.fidelity import psnr, ssim
from motif.inversion import Inversion, Made
from motif.photo import Photo, encode, one_prompt_each, read_photos
from motif.progress import Progress, Ticker
from motif.text import Text
from motif.versions import versions

if TYPE_CHECKING:
    from PIL.Image import Image

UNSAID = ("base", "photos", "prompt", "folder", "resume", "preview_every", "on_image", "on_progress")
"""Parameters of a method that are no settings."""


@dataclass(frozen=True, eq=False)
class Task:
    """Photos with their captions, checked and read, before the first step."""

    base: Base
    photos: Tensor  # [image, 3, height, width], uint8
    prompts: tuple[str, ...]
    text: Text
    steps: int
    guidance: float
    settings: Mapping[str, Any]
    ticker: Ticker
    show_every: int = 0  # steps between two pictures of the way back; 0 is none
    on_image: Callable[[Image], None] | None = None
    cost: dict[str, float] = field(
        default_factory=lambda: {"forwards": 0.0, "backwards": 0.0, "seconds": 0.0}
    )

    def spend(self, *, forwards: int = 0, backwards: int = 0) -> None:
        """Count evaluations of the denoiser, each of one picture."""
        self.cost["forwards"] += forwards
        self.cost["backwards"] += backwards

    def spent(self) -> Tensor:
        """The cost so far, as a state keeps it."""
        return torch.tensor(
            [self.cost["forwards"], self.cost["backwards"], self.seconds], dtype=torch.float64
        )

    @property
    def seconds(self) -> float:
        """How long it has worked, in all its parts."""
        return self.cost["seconds"] + self.ticker.seconds

    def resumed(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Take over the cost of a state, and so many steps."""
        if "cost" in state:
            self.spend(forwards=int(state["cost"][0]), backwards=int(state["cost"][1]))
            self.cost["seconds"] += float(state["cost"][2])
        self.ticker.skip(steps)


def begin(
    base: Base, photos: Photo | Sequence[Photo], prompt: str | Sequence[str], settings: Mapping[str, Any]
) -> Task:
    """Read and check everything; `settings` are the method's bound arguments."""
    told = {name: value for name, value in settings.items() if name not in UNSAID}
    tell: Callable[[Progress], None] | None = settings.get("on_progress")
    guidance = base.guidance if told.get("guidance") is None else float(told["guidance"])
    steps = int(told["steps"])
    base.schedule.timesteps(steps)
    every, on_image = int(settings.get("preview_every") or 0), settings.get("on_image")
    if every < 0 or (every and on_image is None):
        raise InputError(f"preview_every is {every}: 0 or more, and with it someone who looks (on_image)")
    pixels = read_photos(base, photos, height=told.get("height"), width=told.get("width"))
    told |= {"guidance": guidance, "height": int(pixels.shape[-2]), "width": int(pixels.shape[-1])}
    prompts = one_prompt_each(prompt, len(pixels))
    with torch.no_grad():
        text = base.read(prompts[:1] if len(set(prompts)) == 1 else prompts)
    ticker = Ticker(tell, steps)
    told = json.loads(json.dumps(told, default=str))
    return Task(base, pixels, prompts, text, steps, guidance, told, ticker, every, on_image)


def run_key(task: Task, method: str) -> str:
    """One word for photos, captions, settings, base and what it wears: equal where the same work is asked for."""
    worn = [concept.fingerprint for concept in task.base.concepts]
    settings = dict(task.settings)
    if settings.get("encoder"):
        settings["encoder"] = _content(str(settings["encoder"]))
    told = [
        method,
        task.prompts,
        settings,
        task.base.origin.fingerprint,
        worn,
        str(task.base.dtype),
    ]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    digest.update(task.photos.contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def _content(encoder: str) -> Any:
    """Of a folder with an encoder what lies in there, of another name the name."""
    folder = Path(encoder).expanduser()
    if not folder.is_dir():
        return encoder
    found: list[list[str]] = []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        with path.open("rb") as file:
            found.append([path.name, hashlib.file_digest(file, "sha256").hexdigest()])
    return found


def trajectory(
    task: Task,
    *,
    controls: Sequence[Control] = (),
    levels: list[Tensor] | None = None,
    each: Callable[[], None] | None = None,
) -> Tensor:
    """Z* [level, image, c, h, w] by DDIM inversion with the source's captions.

    It goes on from `levels`, and leaves its own there; `each` is called after every one.
    """
    levels = [] if levels is None else levels
    if not levels:
        levels.append(encode(task.base, task.photos))
    done, told = len(levels) - 1, controls
    for _, x in climb(task.base, levels[-1], task.text, steps=task.steps, start=done, controls=told):
        levels.append(x)
        task.spend(forwards=len(x))
        task.ticker.tick()
        if each:
            each()
    found = torch.stack(levels)
    if not torch.isfinite(found).all():
        raise InputError(f"the trajectory is not finite: {task.base.name} overflowed; try --precision fp32")
    return found


def finished(
    task: Task, method: str, latents: Tensor, *, way: Tensor | None = None, **parts: Any
) -> Inversion:
    """The inversion, with what its way back [level, image, c, h, w] scores; a method that walked it gives it."""
    base = task.base
    worn = {concept.fingerprint: " ".join(concept.tokens) for concept in base.concepts}
    cost = {**task.cost, "seconds": round(task.seconds, 3)}
    made = Made(base.origin, worn, task.settings, versions(), {}, cost)
    times = base.schedule.timesteps(task.steps)
    inversion = Inversion(
        method, task.prompts, latents.float().cpu(), times, task.guidance, made, task.photos, **parts
    )
    if way is None:
        counted = Counted(None, task.steps)
        way = inversion.walked(base, controls=[counted])
        cost["reconstruction_forwards"] = float(counted.evaluations)
    made.scores.update(scores(base, task.photos, inversion.latents[0], way[0]))  # pyright: ignore
    return dataclasses.replace(inversion, way=way.float().cpu())


def scores(base: Base, photos: Tensor, encoded: Tensor, again: Tensor) -> dict[str, float]:
    """How well latents come back: against the photo, and what the VAE alone reaches (means over the images)."""
    photo = photos.float() / 255
    back, bound = (_pixels(base, latents) for latents in (again, encoded))
    return {
        "psnr": _mean(psnr(back, photo)),
        "ssim": _mean(ssim(back, photo)),
        "vae_psnr": _mean(psnr(bound, photo)),
        "latent_mse": float((again.cpu().float() - encoded.cpu()).square().mean()),
    }


def _pixels(base: Base, latents: Tensor) -> Tensor:
    """Pictures in [0, 1], rounded to bytes as they are saved."""
    return ((base.decode(latents.to(base.device)).cpu() + 1) * 127.5).round().clamp(0, 255) / 255


def _mean(x: Tensor) -> float:
    return round(float(x.clamp(max=100).mean()), 4)
