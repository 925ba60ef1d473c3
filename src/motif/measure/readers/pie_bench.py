"""PIE-Bench: 700 photos with captions before and after an edit, and the region of the edit (Ju et al. 2024).

    mapping_file.json   {id: {image_path, original_prompt, editing_prompt, editing_instruction, editing_type_id,
                         blended_word, mask}}
    mask                [start, length, start, length, ...] over the 512 x 512 pixels row by row, 1 is edited; then the
                        outermost frame of one pixel is set to 1, as in the evaluation
    prompts             their differences stand in [brackets]; blended_word is "source target", or empty

Editing card, 14.5. The photos (512 x 512) lie in annotation_images/; the data set needs a form, so it is not fetched.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from motif.errors import InputError
from motif.files import read_json

if TYPE_CHECKING:
    from PIL import Image

SIDE = 512
MAPPING = "mapping_file.json"
KINDS = (
    "random", "change object", "add object", "delete object", "change content", "change pose", "change colour",
    "change material", "change background", "change style",
)  # fmt: skip


@dataclass(frozen=True)
class EditCase:
    """One photo and the edit asked for."""

    name: str  # "111000000000"
    photo: Path
    source: str  # prompts, without brackets
    target: str
    instruction: str
    kind: str  # of KINDS
    blend: tuple[str, str] | None  # the source's word and the target's, for local blend
    runs: tuple[int, ...]

    def mask(self) -> "Image.Image":
        """L, 512 x 512: white is the region to edit."""
        return decoded_mask(self.runs)


def pie_bench(folder: str | Path, *, mapping: str = MAPPING) -> list[EditCase]:
    """The cases of a PIE-Bench folder, in the file's order; photos are not opened.

    Args:
        folder: holds the mapping file and annotation_images/.
        mapping: the mapping file's name ("mapping_file_ti2i_benchmark.json" has the same form).

    Raises:
        InputError: no such file, or a case that is not of this form, by its name.
    """
    home = Path(folder).expanduser()
    cases: list[EditCase] = []
    for name, entry in read_json(home / mapping).items():
        try:
            cases.append(_case(home, str(name), entry))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(
                f"{home / mapping}: {name} is no case of PIE-Bench ({type(error).__name__}: {error})"
            ) from None
    if not cases:
        raise InputError(f"{home / mapping}: holds no cases")
    return cases


def _case(home: Path, name: str, entry: Any) -> EditCase:
    told = cast(dict[str, Any], dict(entry))
    words = str(told["blended_word"]).split()
    if len(words) not in (0, 2):
        raise ValueError(f"blended_word {json.dumps(told['blended_word'])} is not two words")
    runs = tuple(int(number) for number in told["mask"])
    _check(runs)
    return EditCase(
        name=name,
        photo=home / "annotation_images" / str(told["image_path"]),
        source=_bare(told["original_prompt"]),
        target=_bare(told["editing_prompt"]),
        instruction=str(told["editing_instruction"]),
        kind=KINDS[int(told["editing_type_id"])],
        blend=(words[0], words[1]) if words else None,
        runs=runs,
    )


def _bare(prompt: Any) -> str:
    return str(prompt).replace("[", "").replace("]", "")


def _check(runs: Sequence[int], side: int = SIDE) -> None:
    if (
        len(runs) % 2
        or any(start < 0 or start >= side * side for start in runs[::2])
        or min(runs, default=0) < 0
    ):
        raise ValueError("the mask is no list of start, length, start, length, ...")


def decoded_mask(runs: Sequence[int], *, side: int = SIDE, frame: bool = True) -> "Image.Image":
    """L, side x side: 255 in the runs (cut at the end), and on the outermost frame."""
    import numpy as np
    from PIL import Image

    try:
        _check(runs, side)
    except ValueError as error:
        raise InputError(str(error)) from None
    flat = np.zeros(side * side, dtype=np.uint8)
    for start, length in zip(runs[::2], runs[1::2], strict=True):
        flat[start : start + length] = 255
    mask = flat.reshape(side, side)
    if frame:
        mask[[0, -1]] = 255
        mask[:, [0, -1]] = 255
    return Image.fromarray(mask)
