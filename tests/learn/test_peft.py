"""DreamBooth's LoRA beside the usual one: diffusers' UNet with peft's adapters, in a loop as their scripts have it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from motif.base import Base
from motif.learn import Examples, dreambooth
from motif.learn.descent import Descent
from motif.learn.trained import Trained
from motif.schedule import Schedule
from pieces import Model

RANK, LR = 4, 1e-3
ASKED: dict[str, Any] = {"steps": 3, "batch_size": 2, "lr": LR, "lora": RANK, "prior": "none"}


def test_its_steps_are_those_of_peft(small: Model, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W + up down, with peft's scale α/r = 1: the same batches and noise, the same gradients, and after three steps of
    AdamW the same up and down."""
    pytest.importorskip("peft", reason="the stock LoRA is peft's")
    from diffusers import DDPMScheduler
    from peft import LoraConfig

    examples, base = Examples(photos, "a sks cat", token=None), small.base
    settled = dreambooth.settle(base, examples, **ASKED)
    lesson = dreambooth.plan(base, examples, lora=RANK, lr=LR)
    start = Trained.start(base, lesson.learned(), {}, {}, rank=RANK, seed=settled["seed"]).thin
    seen, noised, gradients, ends = list[Any](), list[Any](), list[Any](), list[Any]()
    predict, noise, step = Base.predict, Schedule.noise, Descent.step

    def predicting(self: Base, x: Any, t: Any, states: Any, pooled: Any, call: Any) -> Any:
        seen.append((t, states, pooled))
        return predict(self, x, t, states, pooled, call)

    def noising(self: Schedule, x0: Any, eps: Any, t: Any) -> Any:
        noised.append((x0, eps))
        return noise(self, x0, eps, t)

    def stepping(self: Descent, k: int) -> None:
        gradients.append({n: p.grad.clone() for n, p in self.parameters.items() if p.grad is not None})
        step(self, k)
        ends.append({n: p.detach().clone() for n, p in self.parameters.items()})

    monkeypatch.setattr(Base, "predict", predicting)
    monkeypatch.setattr(Schedule, "noise", noising)
    monkeypatch.setattr(Descent, "step", stepping)
    dreambooth(base, examples, **ASKED)
    assert len(seen) == len(noised) == len(ends) == 3

    unet: Any = copy.deepcopy(small.stock.unet).train()
    layers = ["to_q", "to_k", "to_v", "to_out.0"]
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=layers))
    adapters = {n: p for n, p in unet.named_parameters() if p.requires_grad}

    def mine(name: str) -> str:
        plain = name.replace(".base_layer", "").replace(".default", "")
        for side, part in (("lora_A", "down"), ("lora_B", "up")):
            plain = plain.replace(f".{side}.weight", f".weight/{part}")
        return f"unet.{plain}"

    assert {mine(name) for name in adapters} == ends[0].keys()
    with torch.no_grad():
        for name, value in adapters.items():
            up, down = start[mine(name).rpartition("/")[0]]
            value.copy_(down if "lora_A" in name else up)
    schedule = DDPMScheduler.from_config(small.stock.scheduler.config)
    optimiser = torch.optim.AdamW(adapters.values(), lr=LR, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)
    for (t, states, pooled), (x0, eps), gradient, end in zip(seen, noised, gradients, ends, strict=True):
        x_t: Any = schedule.add_noise(x0, eps, t)
        ids = torch.tensor([base.size, base.size, 0, 0, base.size, base.size]).expand(len(x0), -1)
        extra = {} if pooled is None else {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": ids}}
        out = unet(x_t, t, encoder_hidden_states=states, return_dict=False, **extra)[0]
        velocity = schedule.config.prediction_type == "v_prediction"
        target: Any = schedule.get_velocity(x0, eps, t) if velocity else eps
        F.mse_loss(out, target).backward()
        largest = max(float(g.abs().max()) for g in gradient.values())
        for name, value in adapters.items():
            assert torch.allclose(value.grad, gradient[mine(name)], rtol=1e-2, atol=1e-4 * largest), name
        torch.nn.utils.clip_grad_norm_(adapters.values(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        for name, value in adapters.items():
            apart = (value - end[mine(name)]).abs()
            assert apart.mean() < 1e-3 * LR and apart.max() < LR, name
    moved = max(float(p.detach().abs().max()) for n, p in adapters.items() if "lora_B" in n)
    assert moved > LR
