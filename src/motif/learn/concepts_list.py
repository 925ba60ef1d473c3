"""The field's concepts_list: several concepts in one JSON file, for a joint run (card 1.10).

[{"instance_prompt": "photo of a <new1> cat", "class_prompt": "cat",
  "instance_data_dir": "./data/cat", "class_data_dir": "./real_reg/samples_cat"}, ...]
"""

from __future__ import annotations

import difflib
import json
import logging
from pathlib import Path
from typing import Any

from motif.errors import InputError
from motif.files import read_text
from motif.learn.examples import Examples, find_tokens
from motif.learn.listing import CAPTIONED, PICTURED

log = logging.getLogger("motif")

NEEDED = ("instance_prompt", "instance_data_dir")
KEYS = (*NEEDED, "class_prompt", "class_data_dir")


def concepts_list(path: Path) -> list[Examples]:
    """The examples of every concept of the file; folders are looked for from the working directory, then beside it.

    A prompt without a <token> teaches its plain words (card 1.3). A class_data_dir that is not there or empty is where
    the published code writes what it draws: the method's prior stands in for it. The log tells of both. It may be an
    images.txt too, with caption.txt beside it for a class_prompt, as the released code's `--real_prior` has them.
    """
    try:
        told = json.loads(read_text(path))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a JSON file ({error})") from None
    if not isinstance(told, list) or not told or not all(isinstance(one, dict) for one in told):
        raise InputError(f"{path}: a list of objects with {', '.join(KEYS)} is wanted")
    return [_examples(path, i, one) for i, one in enumerate(told)]


def _examples(path: Path, i: int, told: dict[str, Any]) -> Examples:
    for key, value in told.items():
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(KEYS)}"
            raise InputError(f"{path}: concept {i} has {key}: {hint}")
        if not isinstance(value, str):
            raise InputError(f"{path}: concept {i} has {key} = {value!r}: text is wanted")
    if missing := [key for key in NEEDED if not told.get(key)]:
        raise InputError(f"{path}: concept {i} has no {missing[0]}")
    prompt = told["instance_prompt"]
    if wordless := not find_tokens(prompt):
        log.warning('%s: "%s" names no <token>: its plain words learn what the photos show', path, prompt)
    prior, class_prompt = _prior(path, told)
    return Examples(
        _found(path, told["instance_data_dir"]),
        prompt,
        token=None if wordless else "",
        class_prompt=class_prompt,
        prior=prior,
    )


def _prior(path: Path, told: dict[str, str]) -> tuple[str, str]:
    """(the folder of a concept's prior, or "" for the method's; what it shows)."""
    place, prompt = told.get("class_data_dir", ""), told.get("class_prompt", "")
    if not place:
        return "", prompt
    folder = _found(path, place)
    if folder.name == PICTURED and folder.is_file():
        folder = folder.parent
        prompt = "" if Path(prompt).name == CAPTIONED else prompt
    if folder.is_dir() and any(folder.iterdir()):
        return str(folder), prompt
    log.info("%s: class_data_dir %s has nothing yet: the method's prior stands in for it", path, place)
    return "", prompt


def _found(path: Path, place: str) -> Path:
    here = Path(place).expanduser()
    return here if here.exists() else path.parent / here
