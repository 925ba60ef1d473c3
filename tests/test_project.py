"""The project itself: what it declares is what it uses, and its layers hold."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import motif

ROOT = Path(__file__).parents[1]
SOURCE = sorted((ROOT / "src" / "motif").rglob("*.py"))
NAMES = {"PIL": "pillow", "skimage": "scikit-image"}  # where a module is not named as its distribution
FORBIDDEN = {"torchvision", "timm", "lpips", "open_clip", "cv2"}


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def normal(requirement: str) -> str:
    return re.split(r"[<>=!~\[; ]", requirement)[0].lower().replace("_", "-")


def imports(path: Path) -> Iterator[str]:
    """The top-level modules a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def test_every_library_that_is_imported_is_declared_and_every_declared_one_is_used() -> None:
    declared = {normal(line) for line in project()["project"]["dependencies"]}
    extras = project()["project"]["optional-dependencies"]
    optional = {
        normal(line) for name in ("pocket", "measure", "study", "ui", "scale") for line in extras[name]
    }
    used = {name for path in SOURCE for name in imports(path)} - set(sys.stdlib_module_names) - {"motif"}
    used = {NAMES.get(name, name.replace("_", "-")) for name in used}
    assert used - declared - optional == set()
    indirect = {"accelerate"}  # diffusers and transformers load weights through it
    assert declared - used - indirect == set()


def test_libraries_that_do_not_belong_here_are_not_imported() -> None:
    for path in [*SOURCE, *(ROOT / "tests").rglob("*.py")]:
        assert not FORBIDDEN & set(imports(path)), path


def own_lines(function: ast.FunctionDef) -> int:
    """Lines of a function's body, its docstring and the functions inside it left out."""
    inner = {n for node in ast.walk(function) if node is not function and isinstance(node, ast.FunctionDef)
             for n in range(node.lineno, (node.end_lineno or 0) + 1)}  # fmt: skip
    body = function.body[1:] if ast.get_docstring(function) and len(function.body) > 1 else function.body
    return len({n for node in body for n in range(node.lineno, (node.end_lineno or 0) + 1)} - inner)


def test_every_file_is_read_in_one_sitting_and_every_function_fits_a_screen() -> None:
    for path in SOURCE:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") < 300, path
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        assert [f.name for f in functions if own_lines(f) >= 50] == [], path


def test_the_tested_versions_cover_every_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normal(line): line for line in lines if line and not line.startswith("#")}
    extras = project()["project"]["optional-dependencies"]
    needed = [
        *project()["project"]["dependencies"],
        *extras["dev"],
        *extras["measure"],
        *extras["pocket"],
        *extras["study"],
        *extras["scale"],
        "tensorboard",
    ]
    assert {normal(line) for line in needed} - pinned.keys() == set()
    assert pinned["torch"] == "torch==2.13.0"
    assert all("==" in line and "+" not in line for line in pinned.values())


def test_no_file_is_too_long() -> None:
    assert {
        path.name: n for path in SOURCE if (n := len(path.read_text(encoding="utf-8").splitlines())) > 400
    } == {}


def test_the_layers_hold() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as l; l()", "--no-cache"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_the_makefile_has_its_targets_and_ci_runs_the_tests() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("setup", "demo", "test", "check", "slow", "docs", "pocket", "elite"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    script = ROOT / ".ci" / "run"
    assert "make test" in script.read_text(encoding="utf-8") and os.access(script, os.X_OK)


def test_no_long_test_is_skipped_for_a_library_that_its_target_does_not_install() -> None:
    wants = re.compile(r'(?:importorskip|find_spec)\("(\w+)')
    tests = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    asked = {NAMES.get(name, name) for text in tests for name in wants.findall(text)} - {
        "scipy"
    }  # scikit-image's
    told = subprocess.run(["make", "-n", "-B", "slow"], cwd=ROOT, capture_output=True, text=True).stdout
    install = next(line for line in told.splitlines() if " pip install " in line and "scale" in line)
    extras = project()["project"]["optional-dependencies"]
    inside = re.search(r"\.\[([\w,]+)\]", install)
    assert inside, told
    installed = {normal(line) for name in inside[1].split(",") for line in extras[name]}
    assert {"ray", "optuna", "tensorboard", "fastapi", "mitsuba"} <= asked
    assert asked - installed - {*install.split()} == set()


def test_the_version_is_one() -> None:
    from importlib.metadata import version

    assert version("motif") == motif.__version__


def test_examples_are_attributed() -> None:
    text = (ROOT / "examples" / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for folder in (ROOT / "examples").iterdir():
        if folder.is_dir() and not folder.name.startswith("."):
            assert f"`{folder.name}`" in text


@pytest.mark.parametrize("path", SOURCE, ids=lambda p: str(p.relative_to(ROOT / "src")))
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.slow  # the package index has the builder
def test_a_wheel_has_every_file_of_the_package_and_no_other(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(pip, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        found = {name for name in packed.namelist() if name.startswith("motif/")}
    listed = ["git", "ls-files", "-z", "src/motif"]
    known = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    assert found == {name.removeprefix("src/") for name in known if name}
