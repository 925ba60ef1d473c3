"""What is measured: evaluations, steps, memory; and the rows themselves, run on pocket."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from motif.bench import work
from motif.bench.meter import Meter, put_away, resident
from motif.bench.plan import Row
from motif.bench.run import process


def test_a_meter_counts_rows_and_steps_and_leaves_nothing_behind() -> None:
    layer, meter = torch.nn.Linear(2, 2), Meter(torch.device("cpu"))
    with meter.watching(layer):
        layer(torch.zeros(3, 2))
        layer(torch.zeros(4, 2))
    layer(torch.zeros(5, 2))
    assert meter.evaluations == 7 and not layer._forward_pre_hooks
    assert meter.rate is None
    for step in (1, 2, 3):
        meter.told(SimpleNamespace(step=step, steps=3))
        time.sleep(0.02)
    assert 20 < (meter.rate or 0) < 51
    assert meter.timed(lambda: time.sleep(0.05))[1] == pytest.approx(0.05, abs=0.03)


def test_the_peak_is_of_this_process_and_no_other() -> None:
    held = bytearray(b"1") * 600_000_000  # the parent's at the fork
    code = "from motif.bench.meter import resident; print(resident())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 50_000_000 < int(told) < len(held) <= resident()
    del held
    assert resident() >= 600_000_000, "it is the most that was held, not what is"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="this system keeps a process's peak")
def test_the_peak_counts_from_where_it_begins_and_what_is_put_away_is_not_in_it() -> None:
    layer, meter = torch.nn.Linear(10_000, 10_000, bias=False), Meter(torch.device("cpu"))
    assert meter.begin()
    held = meter.peak()
    put_away([layer])
    assert meter.begin() and meter.peak() < held - 300_000_000
    assert layer.weight.shape == (10_000, 10_000) and bool(layer(torch.ones(1, 10_000)).isnan().all())
    assert meter.begin()
    before, more = meter.peak(), bytearray(b"1") * 200_000_000
    del more
    assert meter.peak() > before + 150_000_000, "what the call holds in passing is"


def test_a_row_in_its_own_process() -> None:
    spec = {"base": "pocket", "threads": 1, "device": "cpu", "precision": None, "side": "motif"}
    found = process({**spec, "row": Row("sample", "plain", settings={"steps": 2, "n": 1}).data()})
    assert (
        found["evaluations"] == 4
        and found["seconds"] > 0
        and found["peak"] > 10**8
        and found["bytes"] is None
    )
    assert found["peak_of"] == ("the call" if Path("/proc/self/clear_refs").exists() else "the process")
    assert found["on"] == {"device": "cpu", "threads": 1, "precision": "float32", "size": 64}


def test_what_was_wrong_is_told_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    spec = {
        "base": str(tmp_path / "nowhere"),
        "threads": 0,
        "device": "cpu",
        "precision": None,
        "side": "motif",
    }
    row = Row("encode", "encode").data()
    monkeypatch.setattr(sys, "argv", ["work", json.dumps({**spec, "row": row})])
    work.main()
    out = capsys.readouterr()
    assert "nowhere" in json.loads(out.out)["error"] and out.err == ""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_quick_measures_every_row(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "motif", "bench", "--quick", "--threads", "1", "--device", "cpu",
                           "-o", str(tmp_path / "table.md")], capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "table.json").read_text())
    assert [row["name"] for row in data["rows"] if row["error"]] == []
    for row in data["rows"]:
        (turn,) = row["motif"]
        assert turn["seconds"] > 0 and turn["peak"] > 10**8
        assert bool(turn["bytes"]) == (row["verb"] in ("learn", "merge", "encode", "invert"))
        assert bool(row["plain"]) == bool(row["peer"])
