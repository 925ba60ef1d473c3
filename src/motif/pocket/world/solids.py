"""Solids that toys are made of (vertices, unit normals, triangles), and `Sculpture`, which collects them.

Lengths are in the toy's own units (most toys are about 1.5 to 2 high); z is up and toys face +x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import trimesh
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Point = Sequence[float]


class Solid(NamedTuple):
    """A triangle mesh."""

    vertices: Array  # [vertex, 3]
    normals: Array  # [vertex, 3], unit
    faces: NDArray[np.int64]  # [face, 3]


@dataclass(frozen=True, slots=True)
class Toy:
    """A sculpted object: one mesh with a paint role per vertex, and where a hat and a scarf go."""

    solid: Solid
    roles: NDArray[np.int64]  # [vertex], index into `paints`
    paints: tuple[str, ...]
    """Role names (main, second, accent, eye) or colour words of `PALETTE`."""
    top: Array  # [3], the middle of the hat's brim
    brim: float
    neck: Array | None  # [3], the middle of the scarf
    neck_radius: float


def join(solids: Sequence[Solid]) -> Solid:
    """One mesh of many; nothing is welded."""
    starts = np.cumsum([0] + [len(solid.vertices) for solid in solids[:-1]])
    return Solid(
        np.concatenate([solid.vertices for solid in solids]),
        np.concatenate([solid.normals for solid in solids]),
        np.concatenate([solid.faces + start for solid, start in zip(solids, starts, strict=True)]),
    )


def turn(axis: str, degrees: float) -> Array:
    """Rotation matrix [3, 3] about x, y or z."""
    angle = np.radians(degrees)
    c, s = np.cos(angle), np.sin(angle)
    rows = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }[axis]
    return np.array(rows, dtype=np.float64)


def _lattice(points: Array, normals: Array) -> Solid:
    """Triangles over a [row, column, 3] lattice of points."""
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b = index[:-1, :-1].ravel(), index[1:, :-1].ravel()
    c, d = index[1:, 1:].ravel(), index[:-1, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return Solid(points.reshape(-1, 3), normals.reshape(-1, 3), faces)


@lru_cache(maxsize=8)
def ball(fine: int = 4) -> Solid:
    """Unit sphere; `fine` 4 (2562 vertices) carries a pattern, 2 is for small parts."""
    mesh = trimesh.creation.icosphere(subdivisions=fine)
    vertices = np.array(mesh.vertices, dtype=np.float64)
    return Solid(vertices, vertices.copy(), np.array(mesh.faces, dtype=np.int64))


def _smooth_line(points: Array, between: int) -> Array:
    """Catmull-Rom curve through `points` with `between` steps per span."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.arange(between)[:, None] / between
    spans: list[Array] = []
    for a, b, c, d in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True):
        spans.append(
            0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        )
    return np.concatenate([*spans, points[-1:]])


def lathe(profile: ArrayLike, *, smooth: bool = False, around: int = 44, step: float = 0.06) -> Solid:
    """Turns a profile of (radius, z) points, listed from bottom to top on the outside, about z."""
    line = np.array(profile, dtype=np.float64)
    if smooth:
        line = _smooth_line(line, 7)
        line[:, 0] = np.maximum(line[:, 0], 0)
        return _turned(line, around)
    bands: list[Solid] = []
    for start, end in pairwise(line):
        count = max(2, int(np.ceil(np.linalg.norm(end - start) / step)) + 1)
        bands.append(_turned(start + (end - start) * np.linspace(0, 1, count)[:, None], around))
    return join(bands)


def _turned(line: Array, around: int) -> Solid:
    slope = np.gradient(line, axis=0)  # [row, 2]
    normal = np.stack([slope[:, 1], -slope[:, 0]], 1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    angle = np.linspace(0, 2 * np.pi, around)
    c, s = np.cos(angle), np.sin(angle)
    points = np.stack([line[:, :1] * c, line[:, :1] * s, np.repeat(line[:, 1:], around, 1)], -1)
    normals = np.stack([normal[:, :1] * c, normal[:, :1] * s, np.repeat(normal[:, 1:], around, 1)], -1)
    return _lattice(points, normals)


@lru_cache(maxsize=64)
def rod(end: float = 1.0) -> Solid:
    """Cylinder (or frustum, or cone for `end` 0) of radius 1 to `end`, z from 0 to 1, with caps."""
    profile = [(0.0, 0.0), (1.0, 0.0), (end, 1.0)] + ([(0.0, 1.0)] if end > 0 else [])
    return lathe(profile, around=28, step=0.12)


def tube(points: ArrayLike, radii: ArrayLike, *, around: int = 18) -> Solid:
    """A bent pipe through `points` [point, 3], with one radius per point and round ends."""
    line = _smooth_line(np.array(points, dtype=np.float64), 6)  # [row, 3]
    given = np.array(radii, dtype=np.float64)
    radius = np.interp(np.linspace(0, 1, len(line)), np.linspace(0, 1, len(given)), given)
    ahead = np.gradient(line, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    across = np.cross(ahead, _stable_side(ahead))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    upward = np.cross(across, ahead)
    angle = np.linspace(0, 2 * np.pi, around)[:, None]
    normals = across[:, None] * np.cos(angle) + upward[:, None] * np.sin(angle)  # [row, around, 3]
    pipe = _lattice(line[:, None] + normals * radius[:, None, None], normals)
    ends = [_moved(ball(2), line[k], radius[k]) for k in (0, -1)]
    return join([pipe, *ends])


def _stable_side(ahead: Array) -> Array:
    """The axis that a curve turns least towards: keeps a pipe from twisting."""
    return np.eye(3)[int(np.argmin(np.abs(ahead).max(0)))]


def _moved(solid: Solid, at: Array, size: float) -> Solid:
    return Solid(solid.vertices * size + at, solid.normals, solid.faces)


@lru_cache(maxsize=64)
def block(x: float, y: float, z: float, round_by: float = 0.06, cells: int = 12) -> Solid:
    """Box of half sizes x, y, z with edges rounded by a radius, centred at 0."""
    half = np.array([x, y, z])
    radius = min(round_by, float(half.min()))
    line = np.concatenate([[-1.0, -0.985], np.linspace(-0.95, 0.95, cells), [0.985, 1.0]])
    sides: list[Solid] = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            u, w = np.meshgrid(line, line, indexing="ij")
            cube = np.zeros((*u.shape, 3))
            cube[..., axis], cube[..., (axis + 1) % 3], cube[..., (axis + 2) % 3] = sign, u, w
            inner = np.clip(cube * half, -(half - radius), half - radius)
            out = cube * half - inner
            normals = np.zeros_like(cube)
            normals[..., axis] = sign
            length = np.linalg.norm(out, axis=-1, keepdims=True)
            normals = np.where(length > 1e-9, out / np.maximum(length, 1e-9), normals)
            sides.append(_lattice(inner + normals * radius, normals))
    return join(sides)


def ring(thickness: float) -> Solid:
    """Torus of radius 1 about z."""
    mesh = trimesh.creation.torus(1.0, thickness, major_sections=40, minor_sections=14)
    return Solid(np.array(mesh.vertices), np.array(mesh.vertex_normals), np.array(mesh.faces))


def flat(polygons: Sequence[ArrayLike], *, cells: int = 1) -> Solid:
    """Flat-shaded convex polygons, each cut into a fan; quads with `cells` > 1 into a lattice."""
    pieces: list[Solid] = []
    for polygon in polygons:
        corners = np.array(polygon, dtype=np.float64)
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        normal /= np.linalg.norm(normal)
        if len(corners) == 4 and cells > 1:
            t = np.linspace(0, 1, cells + 1)
            left = corners[0] + (corners[3] - corners[0]) * t[:, None]
            right = corners[1] + (corners[2] - corners[1]) * t[:, None]
            points = left[:, None] + (right - left)[:, None] * t[:, None]
            pieces.append(_lattice(points, np.broadcast_to(normal, points.shape).copy()))
        else:
            fan = [(0, k, k + 1) for k in range(1, len(corners) - 1)]
            pieces.append(Solid(corners, np.tile(normal, (len(corners), 1)), np.array(fan)))
    return join(pieces)


class Sculpture:
    """Collects solids with their paint, then becomes a `Toy`."""

    def __init__(self) -> None:
        self._solids: list[Solid] = []
        self._paints: list[str] = []

    def add(
        self,
        solid: Solid,
        paint: str,
        at: Point = (0, 0, 0),
        size: float | Point = 1.0,
        turned: Array | None = None,
    ) -> None:
        scale = np.broadcast_to(np.array(size, dtype=np.float64), (3,))
        matrix = np.eye(3) if turned is None else turned
        vertices = (solid.vertices * scale) @ matrix.T + np.array(at)
        normals = (solid.normals / scale) @ matrix.T
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        self._solids.append(Solid(vertices, normals, solid.faces))
        self._paints.append(paint)

    def limb(self, start: Point, end: Point, radius: float, paint: str, *, taper: float = 1.0) -> None:
        """A rod from `start` to `end`."""
        a, b = np.array(start, dtype=np.float64), np.array(end, dtype=np.float64)
        length = float(np.linalg.norm(b - a))
        z = (b - a) / length
        x = np.cross([0.0, 1.0, 0.0] if abs(z[1]) < 0.9 else [1.0, 0.0, 0.0], z)
        x /= np.linalg.norm(x)
        frame = np.stack([x, np.cross(z, x), z], 1)
        self.add(rod(taper), paint, a.tolist(), (radius, radius, length), frame)

    def toy(self, *, top: Point, brim: float, neck: Point | None = None, neck_radius: float = 0.0) -> Toy:
        paints = tuple(dict.fromkeys(self._paints))
        roles = np.concatenate(
            [
                np.full(len(s.vertices), paints.index(p))
                for s, p in zip(self._solids, self._paints, strict=True)
            ]
        )
        return Toy(
            join(self._solids), roles, paints, np.array(top, dtype=np.float64), brim,
            None if neck is None else np.array(neck, dtype=np.float64), neck_radius,
        )  # fmt: skip
