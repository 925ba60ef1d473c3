"""`bench`: every row in a process of its own; a row and its plain implementation take turns."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from motif.bench.plan import Row, rows
from motif.bench.table import Measured, Report
from motif.errors import InputError

log = logging.getLogger("motif")

Turn = dict[str, Any]


def bench(
    *,
    base: str = "pocket",
    only: Sequence[str] = (),
    quick: bool = False,
    turns: int | None = None,
    threads: int = 0,
    device: str | None = None,
    precision: str | None = None,
    on_row: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Measure what this machine does in how much time and memory, beside plain implementations in the same run.

    Args:
        base: A name that `Base.load` takes.
        only: Rows of these alone: learn, merge, encode, sample, invert, edit, scaling.
        quick: A few steps of everything, once: to see that it runs. Its numbers say little.
        turns: How often each side of a row is run, in turns; the default is 3, and 1 when quick.
        threads: CPU threads of every process; 0 is torch's own choice.
        device: cpu, cuda, cuda:1...; the default is a GPU where there is one.
        precision: fp32, fp16, bf16; the default is fp32 on a CPU and bf16 on a GPU.
        on_row: Told of every row: its name, how many are done, of how many.

    Raises:
        InputError: a word that names no rows, no turns, or not one row that could be measured.
    """
    turns = (1 if quick else 3) if turns is None else turns
    if turns < 1 or threads < 0:
        raise InputError(
            f"{turns} turns with {threads} threads: one turn or more, and no threads is torch's choice"
        )
    planned, found = rows(quick=quick, only=only), list[Measured]()
    how = {"base": base, "threads": threads, "device": device, "precision": precision}
    for number, row in enumerate(planned):
        if on_row:
            on_row(row.name, number, len(planned))
        found.append(_row(row, how, turns))
        if found[-1].error:
            log.warning("%s was not measured: %s", row.name, found[-1].error)
    if not any(one.ours for one in found):
        raise InputError(f"nothing was measured; {found[0].row.name}: {found[0].error}")
    return Report(tuple(found), base, turns, quick)


def _row(row: Row, how: dict[str, Any], turns: int) -> Measured:
    """All turns of a row. A plain side that fails leaves ours as it is."""
    sides: dict[str, list[Turn]] = {"motif": []} | ({"plain": []} if row.peer else {})
    for _ in range(turns):
        for side in list(sides):
            turn = process({**how, "row": row.data(), "side": side})
            if "error" not in turn:
                sides[side].append(turn)
            elif side == "motif":
                return Measured(row, error=turn["error"])
            else:
                sides.pop(side)
                log.warning("the plain side of %s was not measured: %s", row.name, turn["error"])
    return Measured(row, tuple(sides["motif"]), tuple(sides.get("plain", ())))


def process(spec: dict[str, Any]) -> Turn:
    """What one process tells; {"error": why} where it failed."""
    command = [sys.executable, "-m", "motif.bench.work", json.dumps(spec)]
    env = {**os.environ} | ({"OMP_NUM_THREADS": str(spec["threads"])} if spec["threads"] else {})
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    try:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, ValueError):
        said = done.stderr.strip().splitlines()
        return {"error": said[-1] if said else f"the process ended with {done.returncode}"}
