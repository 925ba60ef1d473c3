"""All numbers of the recipe, one frozen value per size: `tiny` for tests, `first` for hours of two cores, `h200` for one GPU."""

from __future__ import annotations

from dataclasses import dataclass, replace

from motif.pocket.recipe.clip import ClipSettings
from motif.pocket.recipe.dino import DinoSettings
from motif.pocket.recipe.judge import JudgeSettings
from motif.pocket.recipe.training import Schedule
from motif.pocket.recipe.unet import UnetSettings
from motif.pocket.recipe.vae import VaeSettings

STAGES = ("tokenizer", "vae", "condition-clip", "clip", "dino", "judge", "unet", "decoder")
"""In the order in which they need each other: the UNet needs the first three, the decoder's refinement the VAE."""


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
    seed: int = 0

    def seed_of(self, stage: str) -> int:
        """A seed of its own for every stage."""
        return 1000 * self.seed + STAGES.index(stage)


def _first() -> Settings:
    """Two CPU cores, about two and a half hours."""
    return Settings(
        vae=VaeSettings(Schedule(steps=60_000, minutes=40, batch=16, lr=1e-3, ema=0.998, save_minutes=1.5)),
        condition_clip=ClipSettings(Schedule(steps=60_000, minutes=14, batch=64, lr=8e-4, ema=0.995)),
        clip=ClipSettings(
            Schedule(steps=60_000, minutes=10, batch=64, lr=8e-4, ema=0.995),
            text_width=192, text_layers=3, image_width=208, image_layers=4,
        ),
        dino=DinoSettings(Schedule(steps=60_000, minutes=8, batch=64, lr=8e-4, ema=0.995)),
        judge=JudgeSettings(Schedule(steps=60_000, minutes=8, batch=64, lr=8e-4, ema=0.995)),
        unet=UnetSettings(Schedule(steps=100_000, minutes=60, batch=32, lr=1e-3, muon_lr=0.0, ema=0.998, warm_up=100)),
        decoder=Schedule(steps=60_000, minutes=20, batch=16, lr=6e-4, muon_lr=0.01, ema=0.998),
    )  # fmt: skip


def _h200() -> Settings:
    """One H200, about twenty-five minutes: larger batches and a UNet of 20 M parameters; the other shapes are those of `first`."""
    first = _first()
    fast = {"minutes": None, "save_minutes": 1.0, "show_minutes": 2.0}
    return replace(
        first,
        vae=replace(first.vae, schedule=Schedule(steps=20_000, batch=96, lr=1.5e-3, ema=0.999, **fast)),
        condition_clip=replace(first.condition_clip, schedule=Schedule(steps=6_000, batch=512, lr=1e-3, ema=0.999, **fast)),
        clip=replace(first.clip, schedule=Schedule(steps=6_000, batch=512, lr=1e-3, ema=0.999, **fast)),
        dino=replace(first.dino, schedule=Schedule(steps=6_000, batch=512, lr=1e-3, ema=0.999, **fast)),
        judge=replace(first.judge, schedule=Schedule(steps=6_000, batch=512, lr=1e-3, ema=0.999, **fast)),
        unet=replace(
            first.unet,
            schedule=Schedule(steps=30_000, batch=256, lr=1e-3, muon_lr=0.0, ema=0.9995, warm_up=500, **fast),
            channels=(96, 160, 224), heads=(3, 5, 7), captions=8,
        ),
        decoder=Schedule(steps=10_000, batch=96, lr=6e-4, muon_lr=0.01, ema=0.999, **fast),
    )  # fmt: skip


def _tiny() -> Settings:
    """Seconds: every part at its smallest, for tests."""
    few = Schedule(steps=3, batch=8, lr=1e-3, ema=0.9, warm_up=2)
    clip = ClipSettings(few, text_width=32, text_layers=1, text_heads=2, image_width=32, image_layers=1, image_heads=2, projection=32, captions=2)
    return Settings(
        vae=VaeSettings(few, channels=(8, 16, 16), groups=4),
        condition_clip=clip,
        clip=replace(clip, text_width=16, image_width=48, image_heads=3),
        dino=DinoSettings(few, width=32, layers=1, heads=2),
        judge=JudgeSettings(few, widths=(8, 16, 16, 16), identity=16),
        unet=UnetSettings(few, channels=(16, 32, 32), heads=(2, 2, 2), groups=4, captions=2),
        decoder=few,
    )


SIZES = {"tiny": _tiny(), "first": _first(), "h200": _h200()}
