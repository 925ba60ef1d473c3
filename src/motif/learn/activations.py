"""What backward keeps of the UNet's pass, counted on tensors that have shapes and no contents (torch's meta device)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from motif.base import Base


class _Attention(torch.autograd.Function):
    """Keeps what fused attention does: q, k, v and the result, and no maps."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = torch.empty_like(q)
        ctx.save_for_backward(q, k, v, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError("shapes alone")


class _Fused(TorchFunctionMode):
    """Attention without contents is counted as it is computed elsewhere: torch would keep the maps."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention and args[0].is_meta:
            return _Attention.apply(*args[:3])
        return func(*args, **(kwargs or {}))


def activations(base: Base, learned: Any, rows: int, side: int, *, checkpointing: bool = False) -> int:
    """Bytes that backward keeps of a UNet's pass over so many rows; with checkpointing, also of the block that keeps
    most, which is computed again."""
    unet, models = base.models.unet, base.models
    own = {id(weight) for weight in models.own.values()}
    learning = [models.parameter(name).requires_grad_(True) for name in learned]
    try:
        whole, largest = _kept(base, rows, side, own)
        if not checkpointing:
            return whole
        unet.enable_gradient_checkpointing()
        return _kept(base, rows, side, own)[0] + largest
    finally:
        unet.disable_gradient_checkpointing()
        for weight in learning:
            weight.requires_grad_(False)


def _kept(base: Base, rows: int, side: int, own: set[int]) -> tuple[int, int]:
    """(bytes that autograd saves in all, and in the block that saves most)."""
    seen, blocks, held = dict[int, int](), dict[int, int](), list[Tensor]()
    inside: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        where = storage._cdata  # pyright: ignore[reportPrivateUsage]  (addresses are all 0 on the meta device)
        if id(tensor) not in own and where not in seen:
            seen[where] = storage.nbytes()
            held.append(tensor)  # so that no other storage takes its place
            if inside:
                blocks[inside[-1]] = blocks.get(inside[-1], 0) + storage.nbytes()
        return tensor

    def enter(module: nn.Module, _: Any) -> None:
        inside.append(id(module))

    def leave(*_: Any) -> None:
        inside.pop()

    kinds = ("ResnetBlock2D", "BasicTransformerBlock")
    watched = [m for m in base.models.unet.modules() if type(m).__name__ in kinds]
    hooks = [
        hook for m in watched for hook in (m.register_forward_pre_hook(enter), m.register_forward_hook(leave))
    ]
    device, dtype = base.device, base.dtype
    width = sum(reader.width for reader in base.models.readers)
    x = torch.zeros(rows, *base.latent_shape((side, side)), device=device, dtype=dtype)
    length = base.models.readers[0].length
    states = torch.zeros(rows, length, width, device=device, dtype=dtype, requires_grad=True)
    pooled = (
        torch.zeros(rows, _pooled(base), device=device, dtype=dtype) if len(base.models.readers) > 1 else None
    )
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), _Fused():
            base.predict(x, torch.zeros(rows, device=device), states, pooled, None)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(seen.values()), max(blocks.values(), default=0)


def _pooled(base: Base) -> int:
    return int(base.models.readers[-1].encoder.config.projection_dim)
