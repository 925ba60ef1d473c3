"""An inversion: the way from a photo to noise and back, as one value and one `.inversion` file.

    latents   Z*[0 … T]: level 0 is the encoded photo, level T the start noise of every edit
    uncond    what guidance is taken against at each step, where it is not the empty prompt
    replays   what every run that starts from it does again (`motif.replay`): pin, threshold, feed values

An edit walks `lanes(base, prompts)` down with `controls(base)`: first the source's lane, which comes back to the
photo, then one lane per target prompt. The file is safetensors with a JSON header, never a pickle.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from motif.attention import Control
from motif.base import Base
from motif.errors import InputError, WrongBase
from motif.files import written
from motif.images import to_images
from motif.lanes import Lane, denoise
from motif.origin import Origin
from motif.replay import KINDS
from motif.text import Text

log = logging.getLogger("motif")

if TYPE_CHECKING:
    from PIL.Image import Image

FORMAT = "motif.inversion/1"
ENDING = ".inversion"


@dataclass(frozen=True)
class Made:
    """How an inversion was made, what it cost, and how well its source lane comes back."""

    base: Origin
    concepts: Mapping[str, str] = field(default_factory=dict[str, str])  # fingerprint -> its tokens
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    scores: Mapping[str, float] = field(default_factory=dict[str, float])  # psnr, ssim, vae_psnr, latent_mse
    cost: Mapping[str, float] = field(default_factory=dict[str, float])  # forwards, backwards, seconds


@dataclass(frozen=True, eq=False)
class Inversion:
    """One photo or several, inverted with their captions."""

    method: str  # "null-text"
    prompts: tuple[str, ...]  # the caption of every image
    latents: Tensor  # [level, image, c, h, w], float32
    times: tuple[int, ...]  # the timestep of every step, from the noisiest down
    guidance: float  # what it was fitted for, and the default of its edits
    made: Made
    photos: Tensor  # [image, 3, height, width], uint8: what was encoded
    uncond: Tensor | None = None  # [step or 1, image or 1, word, channel]; None: the states of `against`
    against: tuple[str, ...] = ("",)  # the prompts of the unconditional side (pooled vector, tokens)
    replays: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    values: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])  # what the replays read
    way: Tensor | None = None  # [level, image, c, h, w]: how the source's lane came back, at `guidance`

    @property
    def steps(self) -> int:
        return len(self.latents) - 1

    @property
    def start(self) -> Tensor:
        """The noise that every lane starts from: [image, c, h, w]."""
        return self.latents[-1]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the photos in pixels."""
        return int(self.photos.shape[-2]), int(self.photos.shape[-1])

    def __len__(self) -> int:
        return self.latents.shape[1]

    def __str__(self) -> str:
        h, w = self.size
        told = ", ".join(f"{name} {value:.4g}" for name, value in self.made.scores.items())
        return f"{self.method} inversion of {' | '.join(self.prompts)}: {self.steps} steps, {w}x{h} ({told})"

    # -- running it --------------------------------------------------------------------------------------------

    def lanes(self, base: Base, prompts: Sequence[str] = (), *, guidance: float | None = None) -> list[Lane]:
        """The source's lane, then one per target prompt ("target", "target-2", ...), all from the same noise.

        The source goes the way that it came back by, where that is known at this guidance. Raises WrongBase where the
        inversion does not fit the base or what it wears.
        """
        self.check(base)
        with torch.no_grad():
            uncond, texts = self._uncond(base), [base.read(_shortest(self.prompts)), *map(base.read, prompts)]
        names = ["source", "target", *(f"target-{i}" for i in range(2, len(prompts) + 1))]
        start, scale = self.start.to(base.device), self.guidance if guidance is None else guidance
        fitted = self.values or (self.uncond is not None and len(self.uncond) > 1)
        if prompts and fitted and scale not in (1, self.guidance):
            log.warning(
                "fitted for guidance %g, the photo is not kept at %g: invert it at that", self.guidance, scale
            )
        known = scale == self.guidance or self.replays.get("pinned", {}).get("every") == 1
        ways = [self.way.to(base.device) if known and self.way is not None else None, *[None] * len(prompts)]
        told = zip(names, texts, ways, strict=False)
        return [Lane(name, start, text, uncond, scale, way=way) for name, text, way in told]

    def controls(self, base: Base) -> list[Control]:
        """What reconstruction needs beside the lanes. An edit puts its own controls behind these."""
        return [KINDS[kind].of(self, base, **settings) for kind, settings in self.replays.items()]

    def reconstruct(
        self, base: Base, *, guidance: float | None = None, controls: Sequence[Control] = ()
    ) -> Tensor:
        """The latents that the source's lane alone comes back to: [image, c, h, w]."""
        return self.walked(base, guidance=guidance, controls=controls)[0]

    def walked(
        self, base: Base, *, guidance: float | None = None, controls: Sequence[Control] = ()
    ) -> Tensor:
        """The way back of the source's lane, walked anew: [level, image, c, h, w]."""
        with torch.no_grad():
            (lane,), mine = self.lanes(base, guidance=guidance), self.controls(base)
            lane = dataclasses.replace(lane, way=None)
            run = denoise(base, [lane], steps=self.steps, controls=[*mine, *controls])
            return torch.stack([lane.latents, *(step.latents["source"] for step in run)]).flip(0)

    def retuned(self, kind: str, **settings: Any) -> Inversion:
        """With other settings of one of its replays: `retuned("values", until=0.5)`, which leaves the source's way."""
        if kind not in self.replays:
            has = ", ".join(self.replays) or "nothing"
            raise InputError(f"there are no {kind} here: a {self.method} inversion replays {has}")
        if unknown := settings.keys() - self.replays[kind].keys():
            raise InputError(f"{kind} has no setting {min(unknown)}: {', '.join(self.replays[kind])}")
        replays = {**self.replays, kind: {**self.replays[kind], **settings}}
        way = self.way if kind == "values" and settings.keys() <= {"until"} else None
        return dataclasses.replace(self, replays=replays, way=way)

    def only(self, image: int) -> Inversion:
        """The inversion of one of its photos alone."""
        one = slice(image, image + 1)

        def mine(x: Tensor) -> Tensor:  # [step, image or 1, ...]
            return x[:, one] if x.shape[1] == len(self) else x

        if not 0 <= image < len(self):
            raise InputError(f"photo {image} of {len(self)}: count from 0")
        return dataclasses.replace(
            self, prompts=self.prompts[one], latents=self.latents[:, one], photos=self.photos[one],
            uncond=None if self.uncond is None else mine(self.uncond),
            against=self.against[one] if len(self.against) == len(self) else self.against,
            values={name: mine(value) for name, value in self.values.items()},
            way=None if self.way is None else self.way[:, one],
        )  # fmt: skip

    def pictures(self) -> list[Image]:
        """The photos, as they were encoded."""
        return to_images(self.photos.float() / 127.5 - 1)

    def describe(self) -> dict[str, Any]:
        """What a listing prints: method, captions, base, size, settings, how well it comes back, what it cost."""
        h, w = self.size
        return {
            "method": self.method,
            "prompts": list(self.prompts),
            "base": self.made.base.name,
            "wears": [tokens or "a concept without a token" for tokens in self.made.concepts.values()],
            "size": f"{w}x{h}",
            "steps": self.steps,
            "guidance": self.guidance,
            "replays": {kind: dict(settings) for kind, settings in self.replays.items()},
            "settings": dict(self.made.settings),
            "scores": dict(self.made.scores),
            "cost": dict(self.made.cost),
            "versions": dict(self.made.versions),
        }

    def _uncond(self, base: Base) -> Text | list[Text]:
        text = base.read(_shortest(self.against)) if any(self.against) else base.read_uncond()
        if self.uncond is None:
            return text
        states = self.uncond.to(text.states)
        texts = [dataclasses.replace(text, states=each) for each in states]
        return texts[0] if len(texts) == 1 else texts

    def check(self, base: Base) -> None:
        """WrongBase where the base, its schedule or the concepts that it wears are not those it was made with."""
        mine, theirs, who = self.made.base, base.origin, f'the inversion of "{self.prompts[0]}"'
        if not mine.same_shape(theirs):
            raise WrongBase(f"{who} was made on {mine.name}, whose architecture is not {theirs.name}'s")
        if mine.prediction != theirs.prediction:
            raise WrongBase(
                f"{who} was made on {mine.name}, which predicts {mine.prediction}; {theirs.name} predicts "
                f"{theirs.prediction}"
            )
        if not mine.same_weights(theirs):
            raise WrongBase(f"{who} was made on {mine.name}; {theirs.name} has other weights: invert with it")
        worn = {concept.fingerprint: " ".join(concept.tokens) for concept in base.concepts}
        if missing := self.made.concepts.keys() - worn.keys():
            what = self.made.concepts[min(missing)] or "a concept"
            raise WrongBase(
                f"{who} was made wearing {what}, which is not worn here: wear that concept (--wear)"
            )
        if more := worn.keys() - self.made.concepts.keys():
            what = worn[min(more)] or "a concept"
            raise WrongBase(f"{who} was made without {what}, which is worn here: invert again wearing it")
        if self.times != base.schedule.timesteps(self.steps):
            raise WrongBase(f"{who} was made with other timesteps than {theirs.name}'s scheduler takes")

    # -- as a file ---------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write one `.inversion` file, beside its place and then renamed."""
        from safetensors.torch import save_file

        path = inversion_path(path)
        tensors = {"latents": self.latents, "photos": self.photos}
        more = {"uncond": self.uncond, "way": self.way}
        tensors |= {name: tensor for name, tensor in more.items() if tensor is not None}
        tensors |= {f"values/{name}": value for name, value in self.values.items()}
        told = {
            "method": self.method, "prompts": self.prompts, "times": self.times, "guidance": self.guidance,
            "against": self.against, "replays": self.replays, "made": asdict(self.made),
        }  # fmt: skip
        header = {"format": "pt", "motif.format": FORMAT, "motif.record": json.dumps(told, default=str)}
        kept = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        with written(path) as part:
            save_file(kept, part, header)
        return path

    @staticmethod
    def load(path: str | Path) -> Inversion:
        """Read a file that `save` wrote. InputError for anything else."""
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such inversion file")
        try:
            with safe_open(path, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
                header: dict[str, str] = file.metadata() or {}  # pyright: ignore[reportUnknownMemberType]
                tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from None
        except SafetensorError as error:
            raise InputError(f"{path}: not an inversion, or cut short ({error})") from None
        if header.get("motif.format") != FORMAT:
            raise InputError(f"{path}: not an inversion: name a file that `motif invert` wrote")
        try:
            return _assemble(json.loads(header["motif.record"]), tensors)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{path}: damaged ({type(error).__name__}: {error}): invert the photo again"
            ) from None


def inversion_path(path: str | Path) -> Path:
    """The name of an inversion's file: `.inversion` is added where there is no ending."""
    path = Path(path).expanduser()
    if path.suffix not in {"", ENDING}:
        raise InputError(
            f"{path}: an inversion is one {ENDING} file: name it {path.with_suffix(ENDING).name}"
        )
    return path.with_suffix(ENDING)


def _assemble(told: dict[str, Any], tensors: dict[str, Tensor]) -> Inversion:
    origin: dict[str, Any] = {name: _frozen(value) for name, value in told["made"]["base"].items()}
    made: dict[str, Any] = {**told["made"], "base": Origin(**origin)}
    read: dict[str, Any] = {name: _frozen(value) for name, value in told.items()} | {"made": Made(**made)}
    read |= {name: tensors[name] for name in ("latents", "photos", "uncond", "way") if name in tensors}
    values = {key.removeprefix("values/"): t for key, t in tensors.items() if key.startswith("values/")}
    inversion = Inversion(**read, values=values)
    if (
        inversion.latents.dim() != 5
        or inversion.steps != len(inversion.times)
        or (inversion.way is not None and inversion.way.shape != inversion.latents.shape)
        or inversion.replays.keys() - KINDS
    ):
        raise ValueError("its tensors do not fit its record")
    return inversion


def _frozen(value: Any) -> Any:
    """JSON has lists where we have tuples."""
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]


def _shortest(prompts: Sequence[str]) -> Sequence[str]:
    return prompts[:1] if len(set(prompts)) == 1 else prompts
