"""Draws an edit pair: two pictures that differ where one word differs, and the true mask of that change."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from motif.pocket.world import contexts
from motif.pocket.world.edit_pairs import EditPair
from motif.pocket.world.meshes import Mesh
from motif.pocket.world.render import repainted, to_bytes, trace
from motif.pocket.world.staging import Stage, framing, staged


@dataclass(frozen=True, slots=True)
class PairPictures:
    """Two pictures that share everything but one word."""

    before: NDArray[np.uint8]  # [64, 64, 3]
    after: NDArray[np.uint8]  # [64, 64, 3]
    change: NDArray[np.uint8]  # [64, 64], where the edit may change the picture


def render_pair(pair: EditPair, *, size: int = 64, samples: int = 16) -> PairPictures:
    """Both scenes from one camera that holds both, at one depth in the ground.

    The change is, for a colour or a pattern, the surface that is painted otherwise; for a noun the object and for an
    accessory the accessory, of both scenes; for a context all but the object. Shadows and bounced light outside it
    differ too, as they do in a real pair.
    """
    sink = min(contexts.PLACES[scene.view.context].sink for scene in (pair.before, pair.after))
    stages = [staged(scene, sink=sink) for scene in (pair.before, pair.after)]
    camera = framing(
        [stage.object_ for stage in stages],
        [mesh for stage in stages for mesh in _meshes(stage)],
        pair.before.view,
    )
    first, second = (
        trace(scene, size=size, samples=samples, stage=replace(stage, camera=camera))
        for scene, stage in zip((pair.before, pair.after), stages, strict=True)
    )
    if pair.kind == "context":
        change = 1 - np.minimum(first.object_, second.object_)
    elif pair.kind == "accessory":
        change = np.maximum(first.accessory, second.accessory)
    elif pair.kind in ("colour", "pattern"):
        change = np.minimum(repainted(first, second), first.object_)
    else:
        change = np.maximum(first.object_, second.object_)
    return PairPictures(to_bytes(first.picture), to_bytes(second.picture), to_bytes(change))


def _meshes(stage: Stage) -> list[Mesh]:
    return [mesh for mesh in (stage.object_, stage.accessory, stage.companion) if mesh is not None]
