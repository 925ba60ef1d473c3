"""The rows of the table: every way to learn, draw, invert and edit, and how the cost grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from motif import methods
from motif.errors import InputError

EXPLICIT = "explicit attention and both sides of guidance throughout, as released"
SCRIPTS = "diffusers' modules, as the published scripts use them"

PEERS = {
    ("learn", "custom-diffusion"): SCRIPTS,
    ("learn", "custom-edit"): f"{SCRIPTS}: Custom Diffusion's with templates and crops",
    ("learn", "dreambooth"): SCRIPTS,
    ("learn", "fine-tune-all"): f"{SCRIPTS}: Custom Diffusion's with all of the UNet's weights",
    ("learn", "ico"): f"{SCRIPTS}: Custom Diffusion's with contexts put behind the position embedding",
    ("learn", "textual-inversion"): SCRIPTS,
    ("merge", "merge"): 'the released procedure, which does not hold how a caption opens ("photo of a")',
    ("encode", "encode"): "ELITE's networks as torch's modules, as released",
    ("sample", "plain"): "diffusers' StableDiffusionPipeline with DDIM",
    ("sample", "dci"): "explicit attention throughout, as released",
    ("invert", "ddim"): EXPLICIT,
    ("invert", "null-text"): f"{EXPLICIT}, the UNet's own gradients made too",
    (
        "invert",
        "null-text-plus",
    ): "null-text's, and a pass more for the maps; no release, our reading written plainly",
    ("invert", "text-embedding"): "null-text's with the roles exchanged, as StyleDiffusion's release has it",
    ("invert", "negative-prompt"): EXPLICIT,
    ("invert", "proximal"): f"{EXPLICIT}, pulled to the way up",
    ("invert", "direct"): f"{EXPLICIT}, the offsets measured in a pass of their own",
    ("invert", "value-embedding"): "explicit attention, torch's convolutions and batch norm, as released",
    ("edit", "prompt-to-prompt"): f"{EXPLICIT}, the source walked again",
    ("edit", "p2plus"): f"{EXPLICIT}, the source walked again",
    ("edit", "custom-edit"): f"{EXPLICIT}, the source walked again, and the local blend",
    ("edit", "sdedit"): "diffusers' StableDiffusionImg2ImgPipeline with DDIM",
    ("edit", "word-swap"): "diffusers' StableDiffusionPipeline with DDIM, from the inverted noise",
    ("edit", "pix2pix-zero"): "explicit attention, the reference's maps of all steps kept, as released",
}
"""What a method is compared with."""

ALONE = {
    (
        "edit",
        "style-transfer",
    ): "nothing is released, and the paper leaves open which features and for how long",
}
"""What has no peer, and why not."""


@dataclass(frozen=True)
class Row:
    """One job."""

    verb: str
    method: str
    grows: str = ""  # what a row of the scaling tables varies
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def peer(self) -> str:
        """The plain implementation, or nothing."""
        return "" if self.grows else PEERS.get((self.verb, self.method), "")

    @property
    def alone(self) -> str:
        """Why there is no plain implementation, or nothing."""
        return "" if self.grows else ALONE.get((self.verb, self.method), "")

    @property
    def name(self) -> str:
        """As it stands in the table."""
        if not self.grows:
            return self.method if self.method == self.verb else f"{self.verb} {self.method}"
        return (
            f"{self.verb} {self.method}".removesuffix(f" {self.verb}")
            + f", {self.grows} {self.settings[self.grows]}"
        )

    def data(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def rows(*, quick: bool = False, only: Sequence[str] = ()) -> list[Row]:
    """Every row, or those of some verbs; "scaling" is a word of its own.

    Raises:
        InputError: a word that is no verb of the table.
    """
    found: dict[str, list[Row]] = {
        "learn": [
            Row("learn", name, settings={"steps": 3 if quick else 30}) for name in methods.table("learn")
        ],
        "merge": [Row("merge", "merge", settings={"concepts": 2, "captions": 40 if quick else 200})],
        "encode": [Row("encode", "encode")],
        "sample": [Row("sample", name, settings=_drawing(quick)) for name in ("plain", "dci")],
        "invert": [Row("invert", name, settings=_walk(quick)) for name in methods.table("invert")],
        "edit": [Row("edit", name, settings=_walk(quick)) for name in methods.table("edit")],
        "scaling": _scaling(quick),
    }
    for word in only:
        if word not in found:
            raise InputError(f"no rows {word}: there is {', '.join(found)}")
    return [row for verb, group in found.items() if not only or verb in only for row in group]


def _drawing(quick: bool) -> dict[str, Any]:
    return {"steps": 8, "n": 1} if quick else {"steps": 50, "n": 4}


def _walk(quick: bool) -> dict[str, Any]:
    return {"steps": 4, "inner_steps": 2} if quick else {"steps": 10, "inner_steps": 10}


def _scaling(quick: bool) -> list[Row]:
    """The same job, more of it."""
    drawing = {"steps": 2 if quick else 20, "n": 1, "scale": 1.0, "worn": 0}
    learning = {"steps": 3 if quick else 20}
    captions = {"captions": 40 if quick else 200}
    grown: list[tuple[str, str, dict[str, Any], str, tuple[float, ...]]] = [
        ("learn", "custom-diffusion", learning, "batch_size", (1, 2, 4, 8)),
        ("sample", "plain", drawing, "n", (1, 2, 4, 8)),
        ("sample", "plain", drawing, "steps", (10, 20, 50, 100)),
        ("sample", "plain", drawing, "scale", (1.0, 1.5, 2.0)),
        ("sample", "plain", drawing, "worn", (1, 2, 4)),
        ("merge", "merge", captions, "concepts", (2, 5, 10)),
    ]
    return [
        Row(verb, method, grows, {**settings, grows: value})
        for verb, method, settings, grows, values in grown
        for value in (values[1:2] if quick else values)
    ]
