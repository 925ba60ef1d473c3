"""The report of a trade-off: curves, front, table, contact sheet and what failed, on one page that stands alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motif.grids import grid
from motif.images import open_picture, save_image, square
from motif.report import Block, Code, Curve, Grid, Picture, Pictures, Section, write_report
from motif.report import Table as Shown
from motif.tokens import without_tokens
from motif.tradeoff.figure import figure
from motif.tradeoff.store import Store
from motif.tradeoff.table import Row, Table, Value

if TYPE_CHECKING:
    from PIL.Image import Image

Tile = tuple[Any, str]  # a picture of the sheet, and what stands under it
WITHOUT = "without a value"
COLUMNS, PROMPTS, CONCEPTS, CELL = 10, 4, 6, 160
"""How much of everything a contact sheet shows, and how large, px."""


def report(
    out: Path,
    table: Table,
    store: Store,
    photos: Mapping[str, Sequence[str]],
    *,
    spec: str,
    command: str,
    foot: str,
) -> Path:
    """Write report.html and sheet.png into a folder; returns the page's path.

    Args:
        photos: The photos of every concept.
        spec: Its text, to do it again.
        command: That did it.
        foot: How it was made, in small print.
    """
    chosen, sheets, tiles = _columns(table), list[Block](), list[Tile]()
    for concept in list(photos)[:CONCEPTS]:
        found = _sheet(concept, chosen, photos[concept], store, tiles)
        sheets += found
    if tiles:
        columns = 1 + len(chosen)
        sheet = grid(
            [image for image, _ in tiles], columns=columns, labels=[told for _, told in tiles], cell=CELL
        )
        save_image(sheet, out / "sheet.png")
    sections = [*_curves(table), _points(table), *_failures(table)]
    if sheets:
        text = f"The same prompts, the first seed; {len(chosen)} of {len(table.rows)} points, the front's among them."
        sections.insert(1, Section("Contact sheet", text, sheets))
    sections.append(Section("Again", "", [Code(command, "The command."), Code(spec, "Its spec.")]))
    lead = f"{len(table.rows)} points of {len(photos)} concept{'s' * (len(photos) > 1)}: {', '.join(photos)}."
    return write_report(out / "report.html", "Trade-off", sections, lead=lead, foot=foot)


def _curves(table: Table) -> list[Section]:
    if not table.axes or not table.placed():
        return []
    across, up = table.axes
    volumes = table.volumes()
    rows = [{"curve": name, "hypervolume": area} for name, area in volumes.items()]
    where = ", ".join(f"{value:g}" for value in table.reference)
    best = ", ".join(row.name for row in table.front())
    along = ", ".join(dict.fromkeys(row.spot.along for row in table.rows if row.spot.along))
    told = "Means over concepts; bars are one standard error over pictures"
    return [
        Section(
            f"{up} over {across}",
            f"On the front, from left to right: {best}.",
            [
                Curve(figure(table), f"{told}{f'; numbers at points are {along}' if along else ''}."),
                Shown.of(
                    rows, f"The area that a curve's points dominate, from ({where}) on. More is better.", 4
                ),
            ],
        )
    ]


def _points(table: Table) -> Section:
    rows: list[dict[str, object]] = []
    best = {id(row) for row in table.front()}
    for row in table.rows:
        told: dict[str, object] = {"point": row.name, "front": "yes" if id(row) in best else ""}
        told |= {name: _cell(value) for name, value in row.values.items()} | {"pictures": row.pictures}
        told |= {WITHOUT: row.without} if row.without else {}
        rows.append(told | ({"missing": row.lost} if row.lost else {}))
    text = (
        "± is one standard error over pictures (other seeds of the same prompts); in brackets, over concepts."
    )
    if any(row.without for row in table.rows):
        text += " Pictures without a value are left out of that metric's mean and errors."
    return Section("All points", text, [Shown.of(rows, digits=4)])


def _cell(value: Value) -> str:
    error = "" if value.error is None else f" ± {value.error:.4f}"
    return f"{value.mean:.4f}{error}" + ("" if value.across is None else f" ({value.across:.4f})")


def _failures(table: Table) -> list[Section]:
    if not table.failures:
        return []
    rows: list[dict[str, Any]] = [{"job": f.label, "what went wrong": f.why} for f in table.failures]
    text = "These jobs failed; the same command tries them again. What Python said is in failures/."
    return [Section("What failed", text, [Shown.of(rows)])]


def _columns(table: Table) -> list[Row]:
    """The points of the sheet, in the table's order: those of the front, and others evenly spread."""
    best = {id(row) for row in table.front()}
    others = [row for row in table.rows if id(row) not in best]
    room = max(COLUMNS - len(best), 0)
    step = max(len(others) / room, 1.0) if room else 0.0
    kept = best | {id(others[int(i * step)]) for i in range(min(room, len(others)))}
    return [row for row in table.rows if id(row) in kept][:COLUMNS]


def _sheet(
    concept: str, chosen: Sequence[Row], photos: Sequence[str], store: Store, tiles: list[Tile]
) -> list[Block]:
    """The photos of a concept, and its pictures: prompts down, points across. `tiles` takes them too."""
    shown = [Picture(_small(Path(photo)), width=CELL, alt=f"a photo of {concept}") for photo in photos[:6]]
    rows: dict[str, list[Picture]] = {}
    for row in chosen:
        cell = next(cell for cell in row.spot.cells if cell.concept == concept)
        for i, (prompt, place) in enumerate(_firsts(cell.draws, store)):
            said = without_tokens(prompt)
            shows = Picture(_small(place), width=CELL, alt=f"{concept}, {row.name}: {said}")
            rows.setdefault(f"{i + 1}: {said}", []).append(shows)
    whole = {name.partition(": ")[2]: row for name, row in rows.items() if len(row) == len(chosen)}
    for prompt, row in whole.items():
        first = _small(Path(photos[0]))
        labels = [f"{concept}: {prompt}", *(point.name for point in chosen)]
        tiles += zip([first, *(picture.small for picture in row)], labels, strict=True)
    blocks: list[Block] = [Pictures(shown, f"{concept}: its photos.")]
    return [*blocks, Grid([row.name for row in chosen], whole)] if whole else blocks


def _firsts(draws: Mapping[str, str], store: Store) -> list[tuple[str, Path]]:
    """The first picture of each of the first prompts that are drawn."""
    found: dict[str, Path] = {}
    for address, shows in draws.items():
        if store.has(address):
            found.setdefault(shows, store.place(address) / store.result(address)["file"])
    return list(found.items())[:PROMPTS]


def _small(path: Path) -> Image:
    return square(open_picture(path).image, CELL)
