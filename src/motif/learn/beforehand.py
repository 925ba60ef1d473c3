"""What can be said of a run before its base is loaded: whether its settings go together, and what memory it takes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from motif.base import Base
from motif.concept import Concept
from motif.learn.examples import Examples
from motif.learn.heard import require_heard
from motif.learn.job import Job, require_possible
from motif.learn.memory import Estimate, estimate, switches
from motif.learn.ranks import Ranks


def look_ahead(
    function: Any,
    shape: Base | None,
    examples: Examples | Sequence[Examples],
    chosen: Mapping[str, Any],
    *,
    asked: Mapping[str, Any],
    worn: Sequence[Concept],
    device: torch.device,
    ranks: Ranks,
    folder: Path,
) -> tuple[Estimate, list[str]] | None:
    """The memory that a run will take, and what takes less, cheapest first; None where that is not known.

    Args:
        function: The method.
        shape: Its base without values (`outline`); None where that is not to be had.
        examples: What it will be given.
        chosen: Its settings, as the command line has them.
        asked: Those of them that the user gave.
        worn: The concepts that the base will wear.
        device: Where it will run.
        ranks: The processes of the run.
        folder: The run's folder.
    Raises:
        InputError: settings that cannot work, or that nothing would hear.
    """
    if not hasattr(function, "plan"):
        return None
    concepts = (examples,) if isinstance(examples, Examples) else tuple(examples)
    parameters = inspect.signature(function).parameters
    if shape is None:
        defaults = {name: parameter.default for name, parameter in parameters.items()}
        require_heard(SimpleNamespace(**defaults | dict(chosen)), None, concepts, asked)
        return None
    vectors = {token: parts for concept in worn for token, parts in concept.tokens.items()}
    shape = shape.dressed({}, vectors, {})
    settings = function.settle(shape, examples, **chosen)
    lesson = function.plan(shape, examples, **{k: v for k, v in settings.items() if k in parameters})
    use: Any = SimpleNamespace(**settings)
    require_heard(use, lesson, concepts, asked)
    require_possible(Job(shape, concepts, lesson, use, use.resolution or shape.size, folder, ranks), device)
    found = estimate(shape, lesson, settings, device, ranks.count)
    return found, switches(settings, lesson.size(shape) // 4, len(concepts))
