"""accelerate's trackers, which hear a run's numbers beside metrics.jsonl: TensorBoard, trackio, and others."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from motif.errors import InputError

EXTRA = ("tensorboard", "trackio")
"""Those that come with the extra "trackers"."""

Tell = Callable[[Mapping[str, Any]], None]


def named(track: str) -> list[str]:
    """The trackers of a setting: names separated by commas."""
    return list(dict.fromkeys(name for name in (part.strip() for part in track.split(",")) if name))


def require_trackers(names: Sequence[str], folder: Path | None) -> None:
    """InputError for a tracker that accelerate does not know, or whose library is not here; before any work."""
    if names and folder is None:
        raise InputError("track tells trackers what the run's folder logs: name a folder")
    if not names:
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
    from accelerate.utils import LoggerType

    available = {str(one) for one in get_available_trackers()}
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            near = difflib.get_close_matches(name, LOGGER_TYPE_TO_CLASS, n=1)
            hint = (
                f"did you mean {near[0]}?" if near else f"there is {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}"
            )
            raise InputError(f"track {name}: no tracker that accelerate knows; {hint}")
        if name in {str(one) for one in LoggerType} and name not in available:
            what = '"motif[trackers]"' if name in EXTRA else name.replace("_", "-")
            raise InputError(f"track {name}: its library is not installed: pip install {what}")


@contextlib.contextmanager
def telling(names: Sequence[str], folder: Path, project: str, settings: Mapping[str, Any]) -> Iterator[Tell]:
    """Tells trackers every line of the log, under its step; they are finished when the block ends, however it ends.

    Args:
        names: As accelerate calls them, or registered with it.
        folder: Where those that write files write them, in `tracked`.
        project: What they file the run under.
        settings: Of the run, shown beside its curves.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    opened: list[Any] = []
    try:
        for name in names:
            kind: Any = LOGGER_TYPE_TO_CLASS[name]
            opened.append(
                kind(project, folder / "tracked") if kind.requires_logging_directory else kind(project)
            )
            opened[-1].start()
            opened[-1].store_init_configuration({key: _plain(value) for key, value in settings.items()})

        def tell(entry: Mapping[str, Any]) -> None:
            numbers = {key: value for key, value in entry.items() if key != "step"}
            for tracker in opened:
                tracker.log(numbers, step=entry["step"])

        yield tell
    finally:
        for tracker in opened:
            tracker.finish()


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)
