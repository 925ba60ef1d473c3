"""Optimisers by name, each through its own library; what a library lacks is said before any work."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from motif.errors import InputError


@dataclass(frozen=True)
class Optimiser:
    """How one is made.

    Attributes:
        make: Of parameter groups, each with its lr and weight_decay.
        library: What it needs beyond motif's own dependencies, in the extra "optimisers".
        finds_rate: It finds its own rate: every group's is 1, times the schedule.
        gpu: It needs one.
        moments: Bytes per trained value that it keeps, about.
    """

    make: Callable[[Any], Any]
    library: str = ""
    finds_rate: bool = False
    gpu: bool = False
    moments: float = 8.0


def _adamw(groups: Any) -> Any:
    return torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8, fused=True)


def _adamw_8bit(groups: Any) -> Any:
    return _library("bitsandbytes").optim.AdamW8bit(groups, betas=(0.9, 0.999), eps=1e-8)


def _prodigy(groups: Any) -> Any:
    """With the corrections that its authors advise for diffusion models."""
    chosen = {"betas": (0.9, 0.999), "decouple": True, "use_bias_correction": True, "safeguard_warmup": True}
    return _library("prodigyopt").Prodigy(groups, lr=1.0, **chosen)


def _adafactor(groups: Any) -> Any:
    from transformers.optimization import Adafactor

    return Adafactor(groups, lr=1.0, scale_parameter=False, relative_step=False, warmup_init=False)


OPTIMISERS: Mapping[str, Optimiser] = {
    "adamw": Optimiser(_adamw),
    "adamw-8bit": Optimiser(_adamw_8bit, "bitsandbytes", gpu=True, moments=2.0),
    "prodigy": Optimiser(_prodigy, "prodigyopt", finds_rate=True, moments=16.0),
    "adafactor": Optimiser(_adafactor, moments=0.1),
}


def chosen(name: str, device: torch.device) -> Optimiser:
    """The one of that name. InputError where there is none, or where it cannot work here."""
    if name not in OPTIMISERS:
        raise InputError(f"optimiser {name}: there is {', '.join(OPTIMISERS)}")
    found = OPTIMISERS[name]
    if found.library and importlib.util.find_spec(found.library) is None:
        raise InputError(
            f"the optimiser {name} needs {found.library}, which is not installed: pip install 'motif[optimisers]'"
        )
    if found.gpu and device.type == "cpu":
        raise InputError(f"the optimiser {name} needs a GPU: use adafactor to save memory on a CPU")
    return found


def finds_rate(name: str) -> bool:
    """Whether it finds its own rate, so that none is to be given."""
    return name in OPTIMISERS and OPTIMISERS[name].finds_rate


def _library(name: str) -> Any:
    return importlib.import_module(name)
