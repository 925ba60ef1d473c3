"""Training pictures on disk: contact sheets of 256 tiles, masks and scenes; by many processes, resumable.

Shard k of a kind is three files: `train-0000.avif` (16 x 16 tiles of 64 px, row by row), `train-0000-mask.webp` (the
same layout, 8-bit coverage of the object, lossless), `train-0000.json.gz` (id, instance and view of each tile).
Picture i depends only on (seed, i), so a shard is the same whoever writes it and whenever. `world.json` says what all
follow from. Kinds: "train"; "apart", those of its instances (one in 24) from which nothing ever learns, again, by
themselves; "crowd", 64 other instances of every class, twice. The last two are what the model card measures with.
31,488 pictures, as rendered by default, and the other two take 57 MB, so that they travel.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from motif.errors import InputError
from motif.files import written
from motif.pocket.world.scene import CONTEXTS, NOUNS, Scene, draw_instance, draw_view

Bytes = NDArray[np.uint8]
TILE = 64
COLUMNS = 16
_INSTANCE, _VIEW, _CROWD = 0, 1, 14  # streams of random numbers
RENDERER = 2
"""Counts up when the same scene comes out as another picture."""
CROWD = 64
"""Instances of each class in the crowd, which tells whether an instance is known among so many."""
APART, APART_SHARE = 256, 24
"""Instances of the kind "apart"; one training instance in so many is held out."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Rendered pictures with all that is known of them."""

    rgb: Bytes  # [picture, 64, 64, 3]
    mask: Bytes  # [picture, 64, 64], coverage of the object
    scenes: list[Scene]
    instances: list[str]
    """Instance id of each picture; views of one instance share it."""


def scene_at(seed: int, index: int, *, views_per_instance: int = 5) -> tuple[str, Scene]:
    """Instance id and scene of picture `index` of the world that `seed` names."""
    number = index // views_per_instance
    instance = draw_instance(np.random.default_rng([seed, _INSTANCE, number]))
    view = draw_view(np.random.default_rng([seed, _VIEW, index]))
    return f"{seed}-{number:06d}", Scene(instance, view)


def is_held_out(name: str) -> bool:
    """Whether an instance is kept from training: a fixed function of its name, the same while more is rendered."""
    return zlib.crc32(name.encode()) % APART_SHARE == 0


def apart_at(seed: int, index: int, *, views_per_instance: int = 5) -> tuple[str, Scene]:
    """Instance id and scene of picture `index` of the held-out instances of the training stream, in its order."""
    held_out = (number for number in itertools.count() if is_held_out(f"{seed}-{number:06d}"))
    number = next(itertools.islice(held_out, index // views_per_instance, None))
    place = number * views_per_instance + index % views_per_instance
    return scene_at(seed, place, views_per_instance=views_per_instance)


def crowd_at(seed: int, index: int) -> tuple[str, Scene]:
    """Instance id and scene of picture `index` of the crowd: two plain views, in two places, of each of `CROWD`
    instances of each class; none of them is a training instance.
    """
    number, view = index // 2, index % 2
    rng = np.random.default_rng([seed, _CROWD, number])
    instance = draw_instance(rng, noun=NOUNS[number // CROWD])
    places = [CONTEXTS[int(place)] for place in rng.permutation(len(CONTEXTS))[:2]]
    looks = np.random.default_rng([seed, _CROWD, number, view])
    return f"{seed}-crowd-{number:04d}", Scene(instance, draw_view(looks, context=places[view], plain=True))


@dataclass(frozen=True, slots=True)
class World:
    """What a folder's pictures follow from; kept in its `world.json`."""

    seed: int
    samples: int = 16
    views_per_instance: int = 5
    renderer: int = RENDERER

    def scene(self, kind: str, index: int) -> tuple[str, Scene]:
        """Instance id and scene of a picture of "train", "apart" or "crowd"."""
        if kind == "crowd":
            return crowd_at(self.seed, index)
        at = apart_at if kind == "apart" else scene_at
        return at(self.seed, index, views_per_instance=self.views_per_instance)


def write_shards(
    out: str | Path,
    *,
    count: int,
    seed: int,
    kind: str = "train",
    workers: int | None = None,
    samples: int = 16,
    views_per_instance: int = 5,
    per_shard: int = 256,
    done: Callable[[Path], None] = lambda sheet: None,
) -> list[Path]:
    """Renders `count` pictures of a kind ("train", "apart" or "crowd") into `out`; returns the shards' picture
    files, in order.

    Shards that are already complete are kept. `workers` are processes (all cores by default), `samples` rays
    per pixel; `done` is called with each picture file once it is there. InputError: a setting below 1, a folder of
    another world, or no mitsuba here.
    """
    for name, value in (("count", count), ("samples", samples), ("per_shard", per_shard)):
        if value < 1:
            raise InputError(f"{name} is {value}, but must be 1 or more")
    folder, world = Path(out), World(seed, samples, views_per_instance)
    from motif.pocket.world.tracing import require_renderer  # of the extra "pocket": shards are read without

    require_renderer()
    folder.mkdir(parents=True, exist_ok=True)
    _keep_world(folder, world)
    sheets: list[Path] = []
    jobs: list[tuple[Path, str, World, range]] = []
    for shard, start in enumerate(range(0, count, per_shard)):
        indices = range(start, min(start + per_shard, count))
        sheet = folder / f"{kind}-{shard:04d}.avif"
        sheets.append(sheet)
        if _complete(sheet, indices, world.scene(kind, start)):
            done(sheet)
        else:
            jobs.append((sheet, kind, world, indices))
    workers = min(workers or _cores(), len(jobs))
    if workers <= 1:
        for job in jobs:
            done(_write_shard(*job))
        return sheets
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        shards = [pool.submit(_write_shard, *job) for job in jobs]
        try:
            for ready in as_completed(shards):
                done(ready.result())
        except BaseException:  # Ctrl-C, or a full disk: what is begun is finished, and the rest left out
            pool.shutdown(cancel_futures=True)
            raise
    return sheets


def _cores() -> int:
    """The cores that this process may use."""
    able: Any = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(able(0)) if able else os.cpu_count() or 1


def _keep_world(folder: Path, world: World) -> None:
    """Writes `world.json`. InputError where it is there and says something else."""
    path, said = folder / "world.json", asdict(world)
    if not path.exists():
        with written(path) as draft:
            draft.write_text(json.dumps(said) + "\n")
    there = json.loads(path.read_text())
    for name, value in said.items():
        if there.get(name) != value:
            raise InputError(
                f"{folder} was rendered with {name} {there.get(name)}, not {value}: use that, or another folder"
            )


def _complete(sheet: Path, indices: range, first: tuple[str, Scene]) -> bool:
    """Whether the shard is all there: its sheet is renamed into place last, and vouches for its companions.

    A shard that a smaller `count` had cut short is incomplete. InputError for a shard of another world.
    """
    if not sheet.exists():
        return False
    entries = _entries(sheet)
    if (entries[0]["id"], Scene.from_json(entries[0])) != first:
        raise InputError(
            f"{sheet} has another seed, views per instance or shard size: use those, or another folder"
        )
    return len(entries) == len(indices)


def _mask_file(sheet: Path) -> Path:
    return sheet.with_name(f"{sheet.stem}-mask.webp")


def _scenes_file(sheet: Path) -> Path:
    return sheet.with_suffix(".json.gz")


def _entries(sheet: Path) -> list[dict[str, Any]]:
    return json.loads(gzip.decompress(_scenes_file(sheet).read_bytes()))


def _write_shard(sheet: Path, kind: str, world: World, indices: range) -> Path:
    from motif.pocket.world.render import render

    pictures: list[Bytes] = []
    masks: list[Bytes] = []
    scenes: list[dict[str, Any]] = []
    for index in indices:
        name, scene = world.scene(kind, index)
        picture, mask = render(scene, samples=world.samples)
        pictures.append(picture)
        masks.append(mask)
        scenes.append({"id": name, **scene.to_json()})
    mask_file, scenes_file = _mask_file(sheet), _scenes_file(sheet)
    sheet.unlink(
        missing_ok=True
    )  # a shorter shard of an earlier run: while it is gone, the shard is incomplete
    save_sheet(masks, mask_file)
    with written(scenes_file) as draft:
        draft.write_bytes(gzip.compress(json.dumps(scenes, separators=(",", ":")).encode(), mtime=0))
    save_sheet(pictures, sheet)
    return sheet


SAVED: dict[str, dict[str, Any]] = {
    ".png": {"optimize": True},
    ".webp": {"lossless": True, "quality": 100, "method": 4},
    ".avif": {"quality": 86, "subsampling": "4:4:4", "max_threads": 1},
}
"""How tiles are saved: without loss, or as AVIF: 38 dB, in 1.4 kB a picture instead of 4.5.

Lossy WebP halves the chroma's resolution: 31 dB at its best quality, on edges as saturated as these."""


def save_sheet(pictures: Sequence[Bytes], path: Path) -> None:
    """Tiles as one picture, of the kind that its name's ending says."""
    with written(path) as draft:
        Image.fromarray(tiled(np.stack(pictures))).save(draft, **SAVED[path.suffix])


def tiled(pictures: Bytes, *, columns: int = COLUMNS) -> Bytes:
    """[picture, side, side, ...] to one sheet, row by row; the places left over are black."""
    count, side = pictures.shape[:2]
    rows = -(-count // columns)
    full = np.zeros((rows * columns, *pictures.shape[1:]), dtype=np.uint8)
    full[:count] = pictures
    grid = full.reshape(rows, columns, *pictures.shape[1:]).swapaxes(1, 2)
    return np.ascontiguousarray(grid.reshape(rows * side, columns * side, *pictures.shape[3:]))


def untiled(sheet: Bytes, count: int, *, side: int = TILE) -> Bytes:
    """The first `count` tiles of a sheet, [picture, side, side, ...]."""
    rows, columns = sheet.shape[0] // side, sheet.shape[1] // side
    grid = sheet.reshape(rows, side, columns, side, *sheet.shape[2:]).swapaxes(1, 2)
    return grid.reshape(rows * columns, side, side, *sheet.shape[2:])[:count]


def read_shards(folder: str | Path, *, kind: str = "train", limit: int | None = None) -> Pictures:
    """All pictures of the complete shards of a kind in `folder` (the first `limit`), in order."""
    sheets = sorted(Path(folder).glob(f"{kind}-*.avif"))
    if not sheets:
        raise InputError(f"no shards ({kind}-*.avif) in {folder}; render them first: motif pocket render")
    rgb: list[Bytes] = []
    masks: list[Bytes] = []
    scenes: list[Scene] = []
    instances: list[str] = []
    for sheet in sheets:
        entries = _entries(sheet)
        if limit is not None:
            entries = entries[: limit - len(scenes)]
        rgb.append(untiled(np.asarray(Image.open(sheet).convert("RGB")), len(entries)))
        masks.append(untiled(np.asarray(Image.open(_mask_file(sheet)).convert("L")), len(entries)))
        scenes += [Scene.from_json(entry) for entry in entries]
        instances += [entry["id"] for entry in entries]
        if limit is not None and len(scenes) >= limit:
            break
    return Pictures(np.concatenate(rgb), np.concatenate(masks), scenes, instances)
