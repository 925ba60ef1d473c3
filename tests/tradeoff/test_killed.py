"""kill -9 of the whole command at random moments: the same command goes on, and ends with the same table."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from motif.tradeoff.sweep import tradeoff

KILLS = 4


def made(out: Path) -> int:
    """How many results are there."""
    return len(list(out.glob("results/*/*/result.json")))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("on", ["loop", "processes"])
def test_killed_at_random_moments_it_ends_with_the_same_table(
    tmp_path: Path, home: Path, photos: Path, clip_folder: Path, on: str
) -> None:
    spec, out, whole = (tmp_path / name for name in ("spec.toml", "out", "whole"))
    spec.write_text(f"""
base = "{home}"
concepts = [{{name = "toy", photos = "{photos}", prompt = "photo of a <new1> cat"}},
            {{name = "twin", photos = "{photos}", prompt = "photo of a <new1> dog"}}]
prompts = ["a {{concept}}"]
seeds = 2
sampling = {{steps = 2}}
encoder = "{clip_folder}"
[[methods]]
[[methods]]
learn = "custom-diffusion"
settings = {{steps = [1, 3], prior = "none", batch_size = 2, resolution = 16, lr = 1e-2}}
""")
    tradeoff(spec, whole)
    assert made(whole) == 2 * (2 + 2 * (1 + 2) + 3 * 2), (
        "concepts x (the base's pictures, two learned with theirs, the scores)"
    )
    command = [sys.executable, "-m", "motif", "tradeoff", str(spec), "-o", str(out), "--on", on, "--quiet"]
    chance, kills = random.Random(on), 0
    while kills < KILLS:
        before = made(out)
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wanted = before + chance.randrange(0, 3)
        while run.poll() is None and made(out) < wanted:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.3))
        run.kill()
        if run.wait() == 0:
            break
        kills += 1
        if (out / "table.json").exists():  # it was done, and killed before it could say so
            assert (out / "table.json").read_bytes() == (whole / "table.json").read_bytes()
            break
    assert kills >= 2, "it was done before it was killed twice"
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (out / "table.json").read_bytes() == (whole / "table.json").read_bytes()
    assert not [path for path in out.rglob("*.part")] and made(out) == made(whole)
