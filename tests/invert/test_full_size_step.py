"""One step of null-text inversion at 512 px with Stable Diffusion 1's shapes: it runs on a CPU in 24 GB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import json, resource, sys, torch
sys.path.insert(0, {tests!r})
import tiny
from diffusers import AutoencoderKL, UNet2DConditionModel
from edit_pieces import photo
from motif.base import Base
from motif.invert import null_text
from motif.text import Reader

torch.manual_seed(0)
tiny.LENGTH = 77
small = tiny.pipeline("sd1")
text = tiny.CLIPTextModel(tiny._text_config(small.tokenizer, 768))
unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
vae = AutoencoderKL(
    block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
    down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
)
base = Base.of("full size", unet=unet, vae=vae, readers=[Reader(small.tokenizer, text)],
               scheduler=small.scheduler.config)
told, caption = [], " ".join(["photo", "of", "cat"] * 25)
assert base.tokenise([caption])[0][0].end == 76, "the caption fills every position"
found = null_text(base, photo(0, (512, 512)), caption, steps=1, inner_steps=1, on_progress=told.append)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([found.size, [*found.latents.shape], [*found.uncond.shape], len(told), found.made.cost, peak]))
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_step_of_null_text_at_512_px_runs_in_24_gb() -> None:
    run = [sys.executable, "-c", CODE.replace("{tests!r}", repr(str(Path(__file__).parents[1])))]
    done = subprocess.run(run, capture_output=True, text=True, timeout=1700, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    size, latents, uncond, ticks, cost, peak = json.loads(done.stdout.splitlines()[-1])
    assert (size, latents, ticks) == ([512, 512], [2, 1, 4, 64, 64], 2)
    assert uncond == [1, 1, 77, 768]
    assert cost["backwards"] == 1 and cost["forwards"] == 4  # up; the caption's, one try and the last
    assert peak < 24e9, f"{peak / 1e9:.1f} GB"
    print(f"peak {peak / 1e9:.1f} GB, {cost['seconds']} s")
