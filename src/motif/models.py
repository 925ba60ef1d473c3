"""The networks of a pipeline, held once in memory and shared by every base that is dressed from it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from motif.attention import Seam, Site, open_seams
from motif.errors import InputError, WrongBase
from motif.origin import Origin
from motif.schedule import CLEAN, Schedule
from motif.text import Reader
from motif.weights import Change, signature


@dataclass(frozen=True, eq=False)
class Models:
    """The memory that dressed bases share. One wearer at a time: `lock`."""

    unet: Any
    vae: Any
    readers: tuple[Reader, ...]
    sites: tuple[Site, ...]
    own: Mapping[
        str, Tensor
    ]  # every parameter of the UNet and the text encoders by full name, as it was loaded
    empty_is_zero: bool = False  # SDXL: an empty negative prompt is a zero state, not an encoded ""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def parts(self) -> dict[str, Any]:
        """The modules that weights can be worn on: "unet", "text_encoder" and SDXL's "text_encoder_2"."""
        suffixes = ("", "_2")
        encoders = {
            f"text_encoder{s}": reader.encoder for s, reader in zip(suffixes, self.readers, strict=False)
        }
        return {"unet": self.unet} | encoders

    @property
    def device(self) -> torch.device:
        """Where the weights are; asked of one of them, since diffusers' own `device` walks through the whole module."""
        return next(iter(self.own.values())).device

    @property
    def dtype(self) -> torch.dtype:
        """The UNet's own type, also while weights of another type are worn."""
        return next(weight.dtype for name, weight in self.own.items() if name.startswith("unet."))

    def parameter(self, name: str) -> Tensor:
        """The base's own weight, by its full name, also while another is worn; KeyError where there is none."""
        return self.own[name]

    def origin(self, name: str, schedule: Schedule) -> Origin:
        """What tells this base from another."""
        # older versions of transformers put `text_model.` before an encoder's names: the base is the same
        signed = signature({name.replace(".text_model.", "."): weight for name, weight in self.own.items()})
        ends = [schedule.at(t) for t in (CLEAN, 0, schedule.length - 1)]
        told = json.dumps([ends, signature(dict(self.vae.named_parameters()))])
        frame = hashlib.sha256(told.encode()).hexdigest()[:16]
        return Origin(name, *signed, schedule.prediction, frame)

    def check_fit(
        self, changes: Mapping[str, Change], tokens: Mapping[str, Sequence[Tensor]], *, who: str, base: str
    ) -> None:
        """WrongBase where a concept has a weight or a vector for which there is no place here."""
        for name, change in changes.items():
            if name not in self.own:
                raise WrongBase(f"{who} changes {name}, which {base} does not have")
            if (theirs := change.shape) != (ours := tuple(self.own[name].shape)):
                raise WrongBase(f"{who} changes {name} as {theirs}; in {base} it is {ours}")
        widths = [reader.width for reader in self.readers]
        for token, parts in tokens.items():
            if [part.shape[-1] for part in parts] != widths or any(part.dim() != 2 for part in parts):
                raise WrongBase(
                    f"{token} is {[tuple(part.shape) for part in parts]} (vectors, channels); "
                    f"{base}'s text encoders read {widths} channels"
                )

    def check_seams(self) -> None:
        """InputError where somebody replaced a seam by another attention processor: controls would not be heard."""
        processors = self.unet.attn_processors
        lost = [name for name, processor in processors.items() if not isinstance(processor, Seam)]
        if lost:
            raise InputError(
                f"{lost[0]} (+{len(lost) - 1} more) has another attention processor: load the base anew"
            )

    @staticmethod
    def of(unet: Any, vae: Any, readers: Sequence[Reader], *, empty_is_zero: bool = False) -> Models:
        """Open the seams, and keep hold of every parameter that is there now."""
        models = Models(unet, vae, tuple(readers), open_seams(unet), {}, empty_is_zero)
        own = {
            f"{part}.{name}": weight
            for part, module in models.parts().items()
            for name, weight in module.named_parameters()
        }
        return dataclasses.replace(models, own=own)
