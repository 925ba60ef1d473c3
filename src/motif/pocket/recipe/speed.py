"""What is fastest on this machine: the precision.

Nothing is compiled: for the prototype's VAE on two Zen 5 cores torch.compile took 400 s, and 5.9 pictures a second came
out instead of 7.7. On a GPU it was never tried.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch


@lru_cache
def precision(device: str) -> torch.dtype:
    """bfloat16 where the hardware multiplies it, else float32.

    Measured: a Zen 3 (AVX2) runs bf16 13 times slower than fp32; a Sapphire Rapids (AMX) trains pocket's UNet 2.5 times
    faster in bf16.
    """
    if device != "cpu":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    able: Any = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.9 and later
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


def autocast(device: str) -> AbstractContextManager[Any]:
    """Mixed precision where it pays on this device; else nothing."""
    dtype = precision(device)
    return torch.autocast(torch.device(device).type, dtype) if dtype != torch.float32 else nullcontext()
