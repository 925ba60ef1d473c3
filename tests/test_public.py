"""The public face: its names, and how quickly it comes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import motif
from motif import errors

HEAVY = ("torch", "diffusers", "transformers", "matplotlib", "mitsuba", "numpy")


def test_public_names_are_sorted_complete_and_there() -> None:
    assert motif.__all__ == sorted(motif.__all__)
    assert set(motif._PLACES) <= set(motif.__all__)
    for name in motif.__all__:
        value = getattr(motif, name)
        assert value is not None and name in dir(motif)
        assert motif.__all__.count(name) == 1
    for name, place in motif._PLACES.items():
        assert getattr(motif, name) is getattr(sys.modules[place], name)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="edti"):
        motif.edti  # noqa: B018
    assert not hasattr(motif, "_nothing")


def test_errors_are_one_tree_with_the_exits_of_the_command_line() -> None:
    tree = {
        errors.MotifError: 1,
        errors.InputError: 2,
        errors.WrongBase: 2,
        errors.MissingModel: 3,
        errors.Interrupted: 130,
    }
    for kind, code in tree.items():
        assert issubclass(kind, errors.MotifError) and kind.exit_code == code
        assert kind.__name__ in (errors.__doc__ or "")
    assert issubclass(errors.WrongBase, errors.InputError)


def start(code: str) -> dict[str, object]:
    """Run code in a fresh interpreter: the seconds of CPU it took, and the heavy modules it imported."""
    report = f"""
import json, sys, time
began = time.process_time()
{code}
took = time.process_time() - began
print(json.dumps({{"seconds": took, "heavy": [m for m in {HEAVY!r} if m in sys.modules]}}), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return json.loads(done.stderr.splitlines()[-1])


def test_importing_motif_is_quick_and_light() -> None:
    found = min((start("import motif") for _ in range(3)), key=lambda run: run["seconds"])
    assert found["heavy"] == [] and found["seconds"] < 0.3


def test_the_help_of_the_command_line_is_quick_and_light() -> None:
    found = min(
        (start("from motif.cli import main; main(['--help'])") for _ in range(3)), key=lambda r: r["seconds"]
    )
    assert found["heavy"] == [] and found["seconds"] < 0.5


@pytest.mark.parametrize(
    "arguments", [["methods"], ["learn", "--help"], ["lern"], ["check", "nowhere", "--jsn"]]
)
def test_what_needs_no_model_does_not_import_torch(arguments: list[str]) -> None:
    assert start(f"from motif.cli import main; main({arguments!r})")["heavy"] == []
