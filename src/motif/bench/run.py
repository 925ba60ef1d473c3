"""`bench`: every row in a process of its own; a row and its plain implementation take turns.

Every turn is kept when it is done (`kept`), so that a table that was stopped goes on.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from motif.bench.kept import Kept, Pair
from motif.bench.plan import Row, rows
from motif.bench.table import Measured, Report
from motif.errors import InputError, Interrupted

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
    kept: str | Path | None = None,
    fresh: bool = False,
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
        kept: A file for every turn that is measured: after a stop the same call goes on.
        fresh: Measure anew what a stopped run has kept.
        on_row: Told of every row: its name, how many are done, of how many.

    Raises:
        InputError: a word that names no rows, no turns, or not one row that could be measured.
        Interrupted: stopped; what is measured is kept, where there is a file for it.
    """
    turns = (1 if quick else 3) if turns is None else turns
    if turns < 1:
        raise InputError(f"{turns} turns: one or more is needed")
    if threads < 0:
        raise InputError(f"{threads} threads: one or more, or 0 for torch's choice")
    planned, found, held = rows(quick=quick, only=only), list[Measured](), list[Measured]()
    store = Kept(
        Path(kept) if kept else None,
        {"base": base, "threads": threads, "device": device, "precision": precision},
    )
    if fresh:
        store.forget()
    try:
        for number, row in enumerate(planned):
            if on_row and not _whole(row, turns, store):
                on_row(row.name, number, len(planned))
            found.append(_row(row, turns, store))
            held += found[-1:] if found[-1].error else []
            if len(found) > 1 and found[0].error and len({one.error for one in found}) == 1:
                break  # no base, no such device: it is not the row's fault
            while held and (len(found) > 1 or found[0].ours):
                log.warning("%s was not measured: %s", held[0].row.name, held.pop(0).error)
    except KeyboardInterrupt:
        told = f"{len(found)} of {len(planned)} rows are measured"
        kept_in = f" and kept in {store.path}, and the same command goes on" if store.path else ""
        raise Interrupted(f"stopped: {told}{kept_in}") from None
    if not any(one.ours for one in found):
        raise InputError(f"nothing was measured: {found[0].error}")
    return Report(tuple(found), base, turns, quick)


def _whole(row: Row, turns: int, store: Kept) -> bool:
    """Whether every turn of a row is there."""
    return all(store.get(row, turn) for turn in range(turns))


def _row(row: Row, turns: int, store: Kept) -> Measured:
    """All turns of a row. A plain side that fails leaves ours as it is."""
    sides, pairs = ["motif", "plain"] if row.peer else ["motif"], list[Pair]()
    lost = ""
    for number in range(turns):
        pair = store.get(row, number)
        if pair is None:
            pair = Pair()
            for side in list(sides):
                turn = process({**store.how, "row": row.data(), "side": side})
                if "error" not in turn:
                    pair[side] = turn
                elif side == "motif":
                    return Measured(row, error=turn["error"])
                else:
                    sides.remove(side)
                    lost = turn["error"]
                    log.warning("the plain side of %s was not measured: %s", row.name, turn["error"])
            store.add(row, number, pair)
        pairs.append(pair)
    compared = bool(row.peer) and all("plain" in pair for pair in pairs)
    plain = tuple(pair["plain"] for pair in pairs) if compared else ()
    return Measured(row, tuple(pair["motif"] for pair in pairs), plain, lost=lost)


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
