"""A report: one HTML page that stands alone, with pictures, tables and curves.

    write_report("out/report.html", "A cat, learned", [
        Section("The photos", "What was given.", [Pictures([Picture(photo, "a cat") for photo in photos])]),
        Section("Training", "", [Curve(curve({"loss": points}, "step", "loss"))]),
        Section("Scores", "", [Table.of([score.row() for score in scores])]),
    ])

Pictures are PNG data URIs, curves inline SVG, the style is in the page: no script, no network, light and
dark. All text is escaped; a Curve is markup only where it comes from `curve`, any other string in its place
is shown as text. The same content gives the same bytes.
"""

import base64
import io
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from motif.errors import InputError
from motif.files import written
from motif.images import open_picture

SHOWN = 128  # px on the page: pictures smaller than this are shown at the next multiple of their size
LARGEST = 512  # px kept of a picture's longer side


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, a PIL one or a file, and what stands under it."""

    image: Image.Image | str | Path
    caption: str = ""
    width: int | None = None  # on the page, px; None: at least 128, at most 256
    alt: str = ""  # what it shows, for those who do not see it; the default is what stands under it

    @cached_property
    def small(self) -> Image.Image:
        """RGB, or RGBA where it is transparent; its longer side at most 512 px."""
        image = self.image if isinstance(self.image, Image.Image) else open_picture(self.image).image
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
        return image

    @property
    def shown(self) -> int:
        """Width on the page, px: whole multiples, so that a 64 px picture is shown at 128."""
        width = self.small.width
        return self.width or min(max(width * math.ceil(SHOWN / width), SHOWN), 2 * SHOWN)

    @property
    def uri(self) -> str:
        """The picture as a PNG in a data URI, without metadata."""
        buffer = io.BytesIO()
        plain = Image.frombytes(self.small.mode, self.small.size, self.small.tobytes())
        plain.save(buffer, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures in a row that wraps."""

    pictures: Sequence[Picture]
    caption: str = ""
    kind: ClassVar[str] = "pictures"


@dataclass(frozen=True, eq=False)
class Grid:
    """Pictures in rows and columns with headings: prompts down, methods across."""

    columns: Sequence[str]
    rows: Mapping[str, Sequence[Picture]]  # each row has a picture per column
    caption: str = ""
    kind: ClassVar[str] = "grid"

    def __post_init__(self) -> None:
        for name, row in self.rows.items():
            if len(row) != len(self.columns):
                raise InputError(f"grid row {name!r} has {len(row)} pictures for {len(self.columns)} columns")


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of values. Columns of numbers are aligned right, with `digits` decimals."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    digits: int = 3
    kind: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise InputError(
                    f"table row {list(row)} has {len(row)} cells for {len(self.columns)} columns"
                )

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, object]], caption: str = "", digits: int = 3) -> "Table":
        """From dictionaries, as `Score.row()` gives them; columns in the order they first appear."""
        listed = list(rows)
        columns = list(dict.fromkeys(key for row in listed for key in row))
        return cls(columns, [[row.get(column) for column in columns] for row in listed], caption, digits)

    def numeric(self, column: int) -> bool:
        """Whether every value that a column has is a number."""
        values = [row[column] for row in self.rows if row[column] is not None]
        return bool(values) and all(_is_number(value) for value in values)

    def text(self, value: object) -> str:
        """A cell as it is read: floats with `digits` decimals, nothing for None as a dash."""
        if value is None:
            return "–"
        if not _is_number(value):
            return str(value)
        if isinstance(value, numbers.Integral):
            return f"{int(value):,}".replace(",", "\u202f").replace("-", "−")
        return f"{value:.{self.digits}f}".replace("-", "−")


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and value is not True and value is not False


@dataclass(frozen=True, eq=False)
class Curve:
    """A drawing made by `curve`."""

    svg: str
    caption: str = ""
    kind: ClassVar[str] = "curve"


@dataclass(frozen=True, eq=False)
class Code:
    """Text to copy: a command, a prompt, a setting."""

    code: str
    caption: str = ""
    kind: ClassVar[str] = "code"


Block = Pictures | Grid | Table | Curve | Code


@dataclass(frozen=True, eq=False)
class Section:
    """A heading, its text (an empty line starts a paragraph), and blocks in their order."""

    title: str
    text: str = ""
    blocks: Sequence[Block] = ()


def write_report(
    path: str | Path, title: str, sections: Sequence[Section], *, lead: str = "", foot: str = ""
) -> Path:
    """Write the page, beside its place and then renamed.

    Args:
        path: the file, `report.html`; missing folders are made.
        title: of the page.
        sections: in their order.
        lead: what the page says, under the title.
        foot: how it was made, in small print: the command, the time it took.

    Raises:
        InputError: a picture that cannot be read, or a place that cannot be written.
    """
    page = render(title, sections, lead=lead, foot=foot)
    with written(path) as part:
        part.write_text(page, encoding="utf-8", newline="\n")
    return Path(path)


def render(title: str, sections: Sequence[Section], *, lead: str = "", foot: str = "") -> str:
    """The page as HTML; see `write_report`."""
    from jinja2 import Environment, StrictUndefined

    jinja: Any = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    jinja.filters["paragraphs"] = paragraphs
    source = resources.files("motif").joinpath("report.html.jinja").read_text(encoding="utf-8")
    return jinja.from_string(source).render(title=title, sections=sections, lead=lead, foot=foot)


def paragraphs(text: str) -> list[str]:
    """Text split at empty lines."""
    return [part.strip() for part in text.replace("\r\n", "\n").split("\n\n") if part.strip()]


def curve(series: Mapping[str, Sequence[tuple[float, float]]], xlabel: str, ylabel: str) -> str:
    """Lines over one pair of axes, as inline SVG in the page's own font and colours; see `motif.drawing`.

    Args:
        series: (x, y) points by name, at least one series with a point; one series alone has no legend.
        xlabel, ylabel: what the axes measure, with units.
    """
    from motif.drawing import lines

    return lines(series, xlabel, ylabel)
