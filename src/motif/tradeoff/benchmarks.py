"""Concepts by the hundred: the papers' data sets, as the tables that a spec would have for each concept.

concepts = "CustomConcept101/dataset.json"                  every concept with its own photos and prompts
concepts = "dreambench/prompts_and_classes.txt"             DreamBench, with its 25 prompts for each subject
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from motif.errors import InputError
from motif.files import read_text
from motif.measure.readers import dreambench, dreambench_prompts, single_concepts
from motif.measure.readers.custom_concept import filled

HERE = "{concept}"


def prompts_in(file: Path) -> list[str]:
    """A file's prompts, one a line; the papers' files have {} where a spec has {concept}."""
    found = [line.strip().replace("{}", HERE) for line in read_text(file).splitlines() if line.strip()]
    if not found:
        raise InputError(f"{file}: holds no prompts")
    return found


def benchmark(file: Path) -> list[dict[str, Any]]:
    """The concepts of a data set's own file. InputError where it is none, or a photo's folder is not there."""
    if file.suffix == ".json":
        found = [
            {"name": one.name, "photos": str(one.photos), "prompt": one.caption, "noun": one.noun,
             "prompts": filled(one.prompt_file, [HERE])}
            for one in single_concepts(file)
        ]  # fmt: skip
    elif file.suffix == ".txt":
        found = [
            {"name": one.name, "photos": str(one.photos), "prompt": f"photo of a <new1> {one.noun}", "noun": one.noun,
             "prompts": dreambench_prompts(one.kind, HERE)}
            for one in dreambench(file)
        ]  # fmt: skip
    else:
        raise InputError(
            f"concepts = \"{file.name}\": a list of concepts, CustomConcept101's dataset.json, or DreamBench's "
            "prompts_and_classes.txt"
        )
    if lost := [one["photos"] for one in found if not Path(str(one["photos"])).is_dir()]:
        raise InputError(
            f"{lost[0]}: {file.name} names it and it is not there ({len(lost)} of {len(found)} folders)"
        )
    return found
