"""Merging concepts of Stable Diffusion 1.5's size, ours against the released procedure: `python bench/merge.py`.

The base has SD1.5's shapes and random weights, made in the temporary folder; the concepts are random changes of all its
32 key and value matrices with a token each, and the captions the default ones. Each side merges the same concepts in
memory, in turns; ours twice, the first time on a machine that has not read the base's general captions yet, and again
with those that it left in the cache. The table gives the median seconds, what ours take to read their files and to
write the result, and both sides' errors.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

CAPTIONS = 200

Seconds = dict[str, dict[str, list[float]]]
"""{"2 concepts": {"first": of every turn, ...}}."""


def concept(base: Any, seed: int) -> Any:
    """A random concept of the size of a learned one: changes of 1 % of each weight's norm, dense."""
    import torch

    from motif.concept import Concept, Record
    from motif.weights import Change, is_cross_kv, select

    draw = torch.Generator().manual_seed(seed)
    changes: dict[str, Change] = {}
    for name, weight in select(base.models.unet, is_cross_kv).items():
        delta = torch.randn(weight.shape, generator=draw)
        changes[f"unet.{name}"] = Change(dense=delta * float(0.01 * weight.norm() / delta.norm()))
    token, noun = f"<new{seed}>", ("dog", "cat", "chair", "boat", "duck")[seed % 5]
    rows = tuple(0.02 * torch.randn(1, reader.width, generator=draw) for reader in base.models.readers)
    record = Record("random", base.origin, {token: noun}, [f"photo of a {token} {noun}"])
    return Concept({token: rows}, changes, record)


def off(base: Any, concepts: Sequence[Any], weights: dict[str, Any]) -> float:
    """The largest ‖W Cᵀ − V‖ / ‖V‖ of the words, read as a user's prompt is, in float64."""
    import torch

    worst = 0.0
    worn = base.dressed({}, {t: v for c in concepts for t, v in c.tokens.items()}, {})
    for one in concepts:
        ((token, noun),) = one.record.nouns.items()
        text = worn.read(f"photo of a {token} {noun}")
        rows = text.states[0, text.span(f"{token} {noun}")].double().T
        for name, change in one.changes.items():
            target = (base.models.parameter(name).double() + change.dense.double()) @ rows
            gap = torch.linalg.matrix_norm(weights[name].double() @ rows - target)
            worst = max(worst, float(gap / torch.linalg.matrix_norm(target)))
    return worst


def timed(job: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came of it."""
    begun = time.perf_counter()
    made = job()
    return time.perf_counter() - begun, made


def row(base: Any, concepts: Sequence[Any], turns: int, folder: Path, kept: Seconds) -> str:
    """One line of the table; every turn's seconds are kept."""
    from motif.bench.plain_merging import merge as plain
    from motif.concept import Concept
    from motif.learn.held import held_captions
    from motif.learn.merge import merge

    captions, cache = held_captions(base, concepts, "", CAPTIONS), folder / "cache"
    os.environ["MOTIF_CACHE"] = str(cache)
    seconds = kept.setdefault(f"{len(concepts)} concepts", {"first": [], "again": [], "plain": []})
    for _ in range(turns):
        shutil.rmtree(cache, ignore_errors=True)
        took, first = timed(lambda: merge(base, *concepts, count=CAPTIONS))
        seconds["first"].append(took)
        took, ours = timed(lambda: merge(base, *concepts, count=CAPTIONS))
        seconds["again"].append(took)
        assert first == ours  # the cache is not heard
        took, theirs = timed(lambda: plain(base, concepts, captions))
        seconds["plain"].append(took)
    paths = [one.save(folder / f"{i}.safetensors") for i, one in enumerate(concepts)]
    reading, _ = timed(lambda: [Concept.load(path) for path in paths])
    writing, path = timed(lambda: ours.save(folder / "merged.safetensors"))
    worn = {name: change.on(base.models.parameter(name)) for name, change in ours.changes.items()}
    a, again, b = (statistics.median(times) for times in seconds.values())
    size, whole = path.stat().st_size / 1e6, sum(w.numel() for w in theirs.values()) * 4 / 1e6
    return (
        f"| {len(concepts)} | {a:.2f} | {again:.2f} | {b:.2f} | {off(base, concepts, worn):.0e} "
        f"| {off(base, concepts, theirs):.0e} | {size:.1f} | {whole:.1f} | {reading:.2f} | {writing:.2f} |"
    )


def main() -> None:
    """Measure two concepts and ten, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--out", type=Path, help="write the table there too")
    asked = parser.parse_args()
    import torch
    from cells import CODE, codes
    from machine import processor
    from results import Value, plainly
    from stable_diffusion_shape import build

    from motif.base import Base

    torch.set_num_threads(asked.threads)
    base = Base.load(
        str(build(Path(tempfile.gettempdir()) / "motif-bench-sd15-512")), precision="fp32", device="cpu"
    )
    lines = [
        f"Stable Diffusion 1.5's shapes, {CAPTIONS} captions, {asked.threads} threads, {processor()}, {date.today()}; "
        f"medians of {asked.turns} turns.",
        "",
        "| concepts | first merge, s | the next, s | released procedure, s | words off by | its | file, MB | its "
        "| reading files, s | writing, s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    kept: Seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (2, 10):
            concepts = [concept(base, seed) for seed in range(1, count + 1)]
            lines.append(row(base, concepts, asked.turns, Path(folder), kept))
            print(lines[-1], flush=True)
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
        rows = {
            name + more: {"seconds": plainly(Value.of({"": took[which]}))}
            for name, took in kept.items()
            for which, more in (("first", ""), ("again", ", captions read before"))
        }
        told = {CODE: codes(Path(__file__)), "rows": rows}
        asked.out.with_name("results.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
