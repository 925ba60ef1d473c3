"""A stage as a mitsuba scene, and its path tracing into layers.

Beside the picture, the same rays give albedo, normal and depth (for `denoise`), and marks: texture
coordinates that only the object's mesh, or only the accessory's, has. Their mean over a pixel's rays is
exact coverage.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from motif.errors import InputError
from motif.pocket.world import contexts
from motif.pocket.world.camera import FIELD, Camera
from motif.pocket.world.denoise import Layer
from motif.pocket.world.meshes import Mesh
from motif.pocket.world.scene import Scene, View
from motif.pocket.world.staging import Stage, reach

MARK = 1000.0
"""Texture coordinate of marked meshes; all others stay within 0..1."""


@cache
def _mitsuba() -> Any:
    """Mitsuba with its scalar variant, on one thread: many processes make better use of many cores."""
    try:
        import drjit
        import mitsuba
    except ImportError as error:
        raise InputError("rendering pocket's world needs mitsuba: pip install 'motif[pocket]'") from error
    mitsuba.set_variant("scalar_rgb")
    mitsuba.set_log_level(mitsuba.LogLevel.Error)
    drjit.set_thread_count(1)
    return mitsuba


def require_renderer() -> None:
    """InputError where mitsuba is not installed."""
    _mitsuba()


def rays(scene: Scene, stage: Stage, *, side: int, samples: int) -> Layer:
    """[side, side, 13]: linear RGB, alpha, marks of object and accessory, albedo, normal, depth."""
    mi = _mitsuba()
    view, camera = scene.view, stage.camera
    place = contexts.PLACES[view.context]
    description: dict[str, Any] = {
        "type": "scene",
        "integrator": {
            "type": "aov",
            "aovs": "uv:uv,albedo:albedo,normal:sh_normal,depth:depth",
            "image": {"type": "path", "max_depth": 3, "hide_emitters": True},
        },
        "sensor": _sensor(mi, camera, side=side, samples=samples),
        "sky": {"type": "constant", "radiance": {"type": "rgb", "value": list(place.sky)}},
        "sun": _sun(view, place),
        "object": _shape(mi, stage.object_, "object", shiny=scene.instance.shiny, mark=(MARK, 0.0)),
        **_surroundings(mi, view, place),
    }
    if stage.accessory is not None:
        description["accessory"] = _shape(mi, stage.accessory, "accessory", mark=(0.0, MARK))
    if stage.companion is not None:
        shiny = view.companion is not None and view.companion.shiny
        description["companion"] = _shape(mi, stage.companion, "companion", shiny=shiny)
    image = mi.render(mi.load_dict(description), spp=samples, seed=view.seed & 0xFFFF)
    return np.asarray(image, dtype=np.float32)


def _sensor(mi: Any, camera: Camera, *, side: int, samples: int) -> dict[str, Any]:
    film = {
        "type": "hdrfilm",
        "width": side,
        "height": side,
        "pixel_format": "rgba",
        "component_format": "float32",
    }
    pose = mi.ScalarTransform4f().look_at(
        origin=camera.origin.tolist(), target=camera.target.tolist(), up=[0, 0, 1]
    )
    return {
        "type": "perspective",
        "fov": FIELD,
        "to_world": pose,
        "film": {**film, "rfilter": {"type": "box"}},
        "sampler": {"type": "multijitter", "sample_count": samples},
    }


def _sun(view: View, place: contexts.Place) -> dict[str, Any]:
    azimuth, elevation, strength = view.light
    a, e = np.radians(azimuth), np.radians(elevation)
    direction = [float(np.sin(a) * np.cos(e)), float(np.cos(a) * np.cos(e)), float(-np.sin(e))]
    irradiance = [value * strength for value in place.sun]
    return {"type": "directional", "direction": direction, "irradiance": {"type": "rgb", "value": irradiance}}


def _surroundings(mi: Any, view: View, place: contexts.Place) -> dict[str, Any]:
    to = mi.ScalarTransform4f
    variant = view.seed % contexts.VARIANTS
    end = reach(view) if place.wall is None else place.wall + 0.2
    half = 16.0
    rng = np.random.default_rng(view.seed + 3)
    slide = rng.uniform(0, place.tile, 2).tolist()
    ground = {
        "type": "rectangle",
        "to_world": to().translate([slide[0] - place.tile / 2, end - half, 0]).scale([half, half, 1]),
        "bsdf": _textured(mi, contexts.ground(view.context, variant), repeat=2 * half / place.tile),
    }
    if place.wall is None:
        return {"ground": ground}
    wall = {
        "type": "rectangle",
        "to_world": to().translate([slide[1], place.wall, half]).rotate([1, 0, 0], 90).scale([half, half, 1]),
        "bsdf": {
            "type": "twosided",
            "paint": _textured(mi, contexts.upright(view.context, variant), repeat=2 * half / 2.4),
        },
    }
    return {"ground": ground, "wall": wall}


def _textured(mi: Any, texture: Any, *, repeat: float) -> dict[str, Any]:
    to_uv = mi.ScalarTransform4f().scale([repeat, repeat, 1])
    bitmap = {"type": "bitmap", "bitmap": mi.Bitmap(texture), "raw": True, "to_uv": to_uv}
    return {"type": "diffuse", "reflectance": bitmap}


def _shape(
    mi: Any, mesh: Mesh, name: str, *, shiny: bool = False, mark: tuple[float, float] = (0.0, 0.0)
) -> Any:
    """A mitsuba mesh with vertex colours; roughplastic refuses them, so shiny is `principled`."""
    colour = {"type": "mesh_attribute", "name": "vertex_color"}
    if shiny:
        surface = {
            "type": "principled",
            "base_color": colour,
            "roughness": 0.2,
            "specular": 0.8,
            "clearcoat": 1.0,
            "clearcoat_gloss": 0.9,
        }
    else:
        surface = {"type": "diffuse", "reflectance": colour}
    properties = mi.Properties()
    properties["mesh_bsdf"] = mi.load_dict({"type": "twosided", "side": surface})
    solid = mesh.solid
    count = len(solid.vertices)
    shape = mi.Mesh(
        name, count, len(solid.faces), has_vertex_normals=True, has_vertex_texcoords=True, props=properties
    )
    shape.add_attribute("vertex_color", 3, mesh.colours.astype(np.float32).ravel())
    parameters = mi.traverse(shape)
    parameters["vertex_positions"] = solid.vertices.astype(np.float32).ravel()
    parameters["vertex_normals"] = solid.normals.astype(np.float32).ravel()
    parameters["vertex_texcoords"] = np.tile(np.array(mark, dtype=np.float32), count)
    parameters["faces"] = solid.faces.astype(np.uint32).ravel()
    parameters.update()
    return shape
