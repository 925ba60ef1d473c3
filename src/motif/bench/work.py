"""One side of one row, in a process of its own: `python -m motif.bench.work SPEC`, JSON in and JSON out."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from motif.base import Base
from motif.bench import ours, peers
from motif.bench.meter import Meter, put_away
from motif.bench.subject import subject
from motif.concept import Concept
from motif.errors import MotifError
from motif.inversion import Inversion


def measured(spec: dict[str, Any]) -> dict[str, Any]:
    """What the job of a specification costs."""
    if spec["threads"]:
        torch.set_num_threads(spec["threads"])
    base = Base.load(spec["base"], device=spec["device"], precision=spec["precision"])
    row, makers = spec["row"], {"motif": ours.ready, "plain": peers.ready}
    with tempfile.TemporaryDirectory(prefix="motif-bench-") as folder:
        about = subject(Path(folder), base.size)
        job = makers[spec["side"]](row["verb"], row["method"], row["settings"], base, about)
        put_away(job.spare)
        if job.warm:
            job.warm()
        meter = Meter(base.device)
        alone = meter.begin()
        with meter.watching(job.unet):
            made, seconds = meter.timed(lambda: job.work(meter))
        return {
            "seconds": seconds,
            "rate": meter.rate,
            "evaluations": meter.evaluations or None,
            "peak": meter.peak(),
            "peak_of": "the call" if alone else "the process",
            "bytes": size(made, Path(folder)),
            "on": machine(base),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def size(made: Any, folder: Path) -> int | None:
    """Bytes of the file that it makes, a concept's or an inversion's; None of pictures."""
    if not isinstance(made, Concept | Inversion):
        return None
    return (
        made.save(folder / f"made{'.inversion' if isinstance(made, Inversion) else '.safetensors'}")
        .stat()
        .st_size
    )


def machine(base: Base) -> dict[str, Any]:
    """What the process ran on, as it sees it."""
    cuda = base.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(base.device) if cuda else str(base.device),
        "threads": torch.get_num_threads(),
        "precision": str(base.dtype).removeprefix("torch."),
        "size": base.size,
    }


def watch(parent: int) -> None:
    """End with the process that asked: what a killed one left would slow down the next."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    """Print the result, or what was wrong."""
    threading.Thread(target=watch, args=(os.getppid(),), daemon=True).start()
    try:
        found = measured(json.loads(sys.argv[1]))
    except MotifError as error:
        found = {"error": str(error)}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
