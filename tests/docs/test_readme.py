"""The README's code blocks, run as they stand, on pocket, among the slow tests."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
COMMANDS = [
    line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines() if line.startswith("motif ")
]
PYTHON = [block for kind, block in BLOCKS if kind == "python"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pocket: Any) -> Path:
    """A folder like a clone's root: the examples are there, outputs land here."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_is_something_to_run() -> None:
    assert len(PYTHON) == 1
    assert len(COMMANDS) >= 5
    assert {kind for kind, _ in BLOCKS} <= {"sh", "python"}


def test_make_targets_exist() -> None:
    targets = re.findall(
        r"^make (\w+)", "\n".join(block for kind, block in BLOCKS if kind == "sh"), flags=re.MULTILINE
    )
    makefile = (ROOT / "Makefile").read_text()
    assert targets == ["demo", "test"]
    assert all(f"\n{target}:" in makefile for target in targets)


def test_links_and_pictures_are_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_python_block_runs_and_draws(here: Path) -> None:
    exec(compile(PYTHON[0], "README.md", "exec"), {})
    assert sorted(path.name for path in here.glob("duck*")) == ["duck.png", "duck.safetensors"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_commands_run_in_order(here: Path) -> None:
    from motif.cli import main

    for line in COMMANDS:
        wanted = 0 if "photos/" not in line else 2  # your own photos are not in the repository
        assert main(shlex.split(line)[1:]) == wanted, line
    assert len(list((here / "drawn").glob("*.png"))) >= 4
