"""Puts a scene's meshes in the world and finds its camera; nothing is traced here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from motif.pocket.world import contexts
from motif.pocket.world.camera import Camera, fitted
from motif.pocket.world.meshes import Mesh, beside, build, hat, scarf
from motif.pocket.world.scene import WEARERS, Instance, Scene, View, mix_paint
from motif.pocket.world.solids import Array, Solid, turn

FLATTERING = {
    "dog": 58, "cat": 32, "duck": 58, "car": 52, "teapot": 72, "mug": 68, "chair": 38, "robot": 22,
    "snowman": 22, "house": 38, "boat": 66, "rocket": 30, "mushroom": 30, "cactus": 14,
}  # fmt: skip
"""Degrees from facing the camera at which each noun is best told."""


@dataclass(frozen=True, slots=True)
class Stage:
    """All meshes in the world, and the camera."""

    object_: Mesh
    accessory: Mesh | None
    companion: Mesh | None
    camera: Camera


def _placed(mesh: Mesh, *, heading: float, at: Sequence[float], size: float = 1.0) -> Mesh:
    matrix = turn("z", heading)
    solid = mesh.solid
    return Mesh(
        Solid(solid.vertices * size @ matrix.T + np.array(at), solid.normals @ matrix.T, solid.faces),
        mesh.colours,
    )


def _heading(instance: Instance, view: View) -> float:
    """Rotation about z that turns a toy (facing +x) to the viewer (at -y), then aside."""
    return view.side * (FLATTERING[instance.noun] + view.yaw) - 90.0


def staged(scene: Scene, *, sink: float | None = None) -> Stage:
    """A scene's meshes in place, and its camera. `sink` replaces the context's own depth in the ground."""
    instance, view = scene.instance, scene.view
    rng = np.random.default_rng(view.seed + 2)
    model = build(instance)
    sink = contexts.PLACES[view.context].sink if sink is None else sink
    heading = _heading(instance, view)
    body = _placed(model.mesh, heading=heading, at=(0, 0, -sink))
    accessory = companion = None
    width = float(np.abs(body.solid.vertices[:, 0]).max())
    size, deep, spin = rng.uniform(0.30, 0.38), rng.uniform(-0.5, 0.1), rng.uniform(0, 90)
    aside = -view.side * (width + size + rng.uniform(-0.05, 0.1))
    if view.accessory is not None:
        kind, colour_name = view.accessory
        colour = np.array(mix_paint(rng, colour_name).rgb)
        if kind in ("ball", "box"):
            accessory = _placed(beside(kind, colour, size), heading=spin, at=(aside, deep, -0.4 * sink))
        else:
            worn = (
                scarf(model, colour) if kind == "scarf" and instance.noun in WEARERS else hat(model, colour)
            )
            accessory = _placed(worn, heading=heading, at=(0, 0, -sink))
    if view.companion is not None:
        other = build(view.companion)
        at = (aside * 1.05, deep + 0.3, -0.5 * sink)
        companion = _placed(other.mesh, heading=_heading(view.companion, view), at=at, size=0.52)
    meshes = [mesh for mesh in (body, accessory, companion) if mesh is not None]
    return Stage(body, accessory, companion, framing([body], meshes, view))


def emptied(stage: Stage) -> Stage:
    """The place alone, seen by the same camera: the object lies far below the ground."""
    mesh = stage.object_
    below = Solid(mesh.solid.vertices - np.array([0, 0, 100.0]), mesh.solid.normals, mesh.solid.faces)
    return Stage(Mesh(below, mesh.colours), None, None, stage.camera)


def framing(bodies: Sequence[Mesh], meshes: Sequence[Mesh], view: View) -> Camera:
    """The camera that shows `bodies` at the asked size with all of `meshes` inside."""
    large, whole = (np.concatenate([seen(mesh.solid) for mesh in group]) for group in (bodies, meshes))
    return fitted(large, whole, pitch=view.pitch, fill=view.fill, shift=view.shift)


def seen(solid: Solid) -> Array:
    """Points around the part that is above the ground: its vertices, and where edges go into the ground."""
    vertices, faces = solid.vertices, solid.faces
    above = vertices[vertices[:, 2] >= 0]
    if not len(above):
        return vertices
    first, last = (vertices[np.roll(faces, -i, axis=1).ravel()] for i in (0, 1))
    cut = (first[:, 2] >= 0) != (last[:, 2] >= 0)
    first, last = first[cut], last[cut]
    share = first[:, 2] / (first[:, 2] - last[:, 2])
    return np.concatenate([above, first + share[:, None] * (last - first)])


def reach(view: View) -> float:
    """Distance behind the object at which the ground of an open place ends."""
    return 2.0 + 1.4 * (view.seed % 1009) / 1009


def horizon(camera: Camera, view: View) -> float:
    """Row of the ground's far edge, as a share of the picture's height from the top."""
    edge = camera.project(np.array([[camera.target[0], reach(view), 0.0]]))
    return float(1 - edge[0, 1]) / 2
