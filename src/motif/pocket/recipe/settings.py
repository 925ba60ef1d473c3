"""All numbers of the recipe, one frozen value per size: `tiny` for tests, `first` for hours of two cores,
`h200` for one GPU.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from motif.pocket.recipe.clip import ClipSettings
from motif.pocket.recipe.dino import DinoSettings
from motif.pocket.recipe.judge import JudgeSettings
from motif.pocket.recipe.training import Schedule
from motif.pocket.recipe.unet import UnetSettings
from motif.pocket.recipe.vae import VaeSettings

STAGES = ("tokenizer", "vae", "condition-clip", "clip", "dino", "judge", "unet", "decoder", "condition-image")
"""In the order in which they need each other: the UNet needs the first three, the decoder's refinement the
VAE, the image tower's the conditioning CLIP.
"""


@dataclass(frozen=True)
class Settings:
    """The settings of every stage, and the seed of each (different, so that no two parts start alike)."""

    vae: VaeSettings
    condition_clip: ClipSettings
    clip: ClipSettings
    dino: DinoSettings
    judge: JudgeSettings
    unet: UnetSettings
    decoder: Schedule
    condition_image: Schedule
    seed: int = 0

    def seed_of(self, stage: str) -> int:
        """A seed of its own for every stage."""
        return 1000 * self.seed + STAGES.index(stage)


def _first() -> Settings:
    """Two CPU cores, about two and a half hours."""
    reader = Schedule(steps=60_000, minutes=8, batch=64, lr=8e-4, ema=0.995)
    autoencoder = Schedule(steps=60_000, minutes=40, batch=16, lr=1e-3, ema=0.998, save_minutes=1.5)
    return Settings(
        vae=VaeSettings(autoencoder),
        condition_clip=ClipSettings(replace(reader, minutes=14)),
        clip=ClipSettings(replace(reader, minutes=10), text_width=192, text_layers=3, image_width=208),
        dino=DinoSettings(reader),
        judge=JudgeSettings(reader),
        unet=UnetSettings(Schedule(steps=100_000, minutes=60, batch=64, lr=1e-3, muon_lr=0.005, warm_up=100)),
        decoder=replace(autoencoder, minutes=20, lr=6e-4, muon_lr=0.01),
        condition_image=replace(reader, minutes=15),
    )


def _h200() -> Settings:
    """One H200, about half an hour: larger batches; the shapes of `first` (a larger UNet would not stay within the
    package's 60 MB beside ELITE's encoder)."""
    first = _first()
    reader = Schedule(steps=6_000, batch=512, lr=1e-3, ema=0.999, save_minutes=1, show_minutes=2)
    autoencoder = replace(reader, steps=20_000, batch=96, lr=1.5e-3)
    return Settings(
        vae=replace(first.vae, schedule=autoencoder),
        condition_clip=replace(first.condition_clip, schedule=reader),
        clip=replace(first.clip, schedule=reader),
        dino=replace(first.dino, schedule=reader),
        judge=replace(first.judge, schedule=reader),
        unet=UnetSettings(
            replace(reader, steps=30_000, batch=256, muon_lr=0.0, ema=0.9995, warm_up=500),
            captions=8,
        ),
        decoder=replace(autoencoder, steps=10_000, lr=6e-4, muon_lr=0.01),
        condition_image=reader,
    )


def _tiny() -> Settings:
    """Seconds: every part at its smallest, for tests."""
    few = Schedule(steps=3, batch=8, lr=1e-3, ema=0.9, warm_up=2)
    clip = ClipSettings(
        few,
        text_width=32,
        text_layers=1,
        text_heads=2,
        image_width=32,
        image_layers=1,
        image_heads=2,
        projection=32,
        captions=2,
    )
    return Settings(
        vae=VaeSettings(few, channels=(8, 16, 16), groups=4),
        condition_clip=clip,
        clip=replace(clip, text_width=16, image_width=48, image_heads=3),
        dino=DinoSettings(few, width=32, layers=1, heads=2),
        judge=JudgeSettings(few, widths=(8, 16, 16, 16), identity=16),
        unet=UnetSettings(few, channels=(16, 32, 32), heads=(2, 2, 2), groups=4, captions=2),
        decoder=few,
        condition_image=few,
    )


SIZES = {"tiny": _tiny(), "first": _first(), "h200": _h200()}
