"""The benches that reproduce claims, a few steps of each: they run, stop and go on, and leave what the page reads."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"


sys.path.insert(0, str(BENCH))
results: Any = importlib.import_module("results")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("script", "more", "left"),
    [
        ("compress", [], {"compress": {"whole", "energy 0.6", "energy 0.1", "rank 1"},
                          "weights": {"cross-attention", "self-attention", "other"}}),
        ("ico_schemes", [], {"ico-schemes": {"base, class word", "vectors 1", "vectors 2", "vectors 3", "contexts 2",
                                             "contexts 6"}}),
        ("value_embedding", [], {"value-embedding": {"null-text", "attention loss", "no attention loss",
                                                     "no mapping", "text-embedding"},
                                 "short-captions": {"null-text", "value-embedding"}}),
        ("custom_edit", ["--methods", "custom-edit", "textual-inversion"],
         {"custom-edit": {"custom-edit", "textual-inversion", "custom-edit, SDEdit", "textual-inversion, SDEdit"}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_bench_leaves_what_the_page_reads(
    tmp_path: Path, script: str, more: list[str], left: dict[str, set[str]]
) -> None:
    command = [sys.executable, str(BENCH / f"{script}.py"), "--quick", "-o", str(tmp_path), *more]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    for name, rows in left.items():
        source = results.READERS[name]
        own = script == "custom_edit"  # whose OUT holds its own files alone
        found = source.read(tmp_path / "quick" / (Path(source.place).name if own else source.place))
        assert {row for row in found if " over " not in row} == rows
        assert all(value.mean == value.mean for metrics in found.values() for value in metrics.values())
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("cells/*.json")}
    assert files
    first = min(files)
    first.unlink()
    again = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
    assert again.returncode == 0, again.stderr[-3000:]
    assert {path for path, at in files.items() if path.stat().st_mtime_ns != at} == {first}, (
        "the one that was lost"
    )
