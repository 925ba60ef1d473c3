"""Path traces a scene with mitsuba: a 64 px picture and the exact mask of its object.

The picture is traced at twice its side and reduced, which smooths edges for the same number of rays. Coverage of the
object comes from the same rays: its mesh has a constant texture coordinate that nothing else has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from motif.pocket.world import backdrops, contexts, styles
from motif.pocket.world.camera import FIELD, Camera, fitted
from motif.pocket.world.denoise import denoised
from motif.pocket.world.meshes import Mesh, beside, build, hat, scarf
from motif.pocket.world.scene import PALETTE, WEARERS, Instance, Scene, View, mix_paint
from motif.pocket.world.solids import Array, Solid, turn

OVERSAMPLE = 2
MARK = 1000.0
"""Texture coordinate of marked meshes; all others stay within 0..1."""
FLATTERING = {
    "dog": 58, "cat": 32, "duck": 58, "car": 52, "teapot": 72, "mug": 68, "chair": 38, "robot": 22, "snowman": 22,
    "house": 38, "boat": 66, "rocket": 30, "mushroom": 30, "cactus": 14,
}  # fmt: skip
"""Degrees from facing the camera at which each noun is best told."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced scene at `side` pixels."""

    picture: Array  # [side, side, 3], display values 0..1
    object_: Array  # [side, side], coverage of the object 0..1
    accessory: Array  # [side, side], coverage of the accessory 0..1


@dataclass(frozen=True, slots=True)
class Stage:
    """All meshes in the world, and the camera."""

    object_: Mesh
    accessory: Mesh | None
    companion: Mesh | None
    camera: Camera


def render(
    scene: Scene, *, size: int = 64, samples: int = 16
) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], np.ndarray[Any, np.dtype[np.uint8]]]:
    """Picture [size, size, 3] and mask of the object [size, size], both 8 bits. `samples` are rays per pixel."""
    traced = trace(scene, size=size, samples=samples)
    return to_bytes(traced.picture), to_bytes(traced.object_)


def to_bytes(picture: Array) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def trace(scene: Scene, *, size: int = 64, samples: int = 16, stage: Stage | None = None) -> Traced:
    """As `render`, in floats, with the accessory's coverage; a given `stage` replaces the scene's own."""
    side = size * OVERSAMPLE
    stage = staged(scene) if stage is None else stage
    per_pixel = max(1, round(samples / OVERSAMPLE**2))
    layers = _rays(scene, stage, side=side, samples=per_pixel)
    alpha = np.clip(layers[..., 3:4], 0, 1)
    light = denoised(
        layers[..., :3], alpha=alpha[..., 0], albedo=layers[..., 6:9], normal=layers[..., 9:12], depth=layers[..., 12]
    )
    if contexts.PLACES[scene.view.context].wall is None:
        far = backdrops.backdrop(
            scene.view.context, np.random.default_rng(scene.view.seed), horizon=_horizon(stage.camera, scene.view), side=side
        )
        light = light + (1 - alpha) * _to_linear(far)
    picture = _to_display(light)
    if scene.view.style != "photo":
        artist = styles.pencil if scene.view.style == "pencil" else styles.watercolour
        picture = artist(picture, np.random.default_rng(scene.view.seed + 1))
    covers = np.floor(layers[..., 4:6] / MARK * per_pixel + 0.05) / per_pixel
    return Traced(_reduced(picture), _reduced(covers[..., 0]), _reduced(covers[..., 1]))


def _reduced(picture: Array) -> Array:
    """Mean over OVERSAMPLE x OVERSAMPLE pixels."""
    side = picture.shape[0] // OVERSAMPLE
    return picture.reshape(side, OVERSAMPLE, side, OVERSAMPLE, *picture.shape[2:]).mean((1, 3))


def _to_display(light: Array) -> Array:
    """Linear to sRGB, with highlights rolled off above 0.8."""
    over = np.maximum(light - 0.8, 0)
    light = np.clip(np.minimum(light, 0.8) + 0.2 * (1 - np.exp(-over / 0.2)), 0, 1)
    return np.where(light < 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-8) ** (1 / 2.4) - 0.055)


def _to_linear(picture: Array) -> Array:
    return np.where(picture < 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4)


def _placed(mesh: Mesh, *, heading: float, at: Sequence[float], size: float = 1.0) -> Mesh:
    matrix = turn("z", heading)
    solid = mesh.solid
    return Mesh(Solid(solid.vertices * size @ matrix.T + np.array(at), solid.normals @ matrix.T, solid.faces), mesh.colours)


def _heading(instance: Instance, view: View) -> float:
    """Rotation about z that turns a toy (facing +x) to the viewer (at -y), then aside."""
    return view.side * (FLATTERING[instance.noun] + view.yaw) - 90.0


def staged(scene: Scene, *, sink: float | None = None) -> Stage:
    """Puts a scene's meshes in the world and finds its camera. `sink` replaces the context's own depth in the ground."""
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
            worn = scarf(model, colour) if kind == "scarf" and instance.noun in WEARERS else hat(model, colour)
            accessory = _placed(worn, heading=heading, at=(0, 0, -sink))
    if view.companion is not None:
        other = build(view.companion)
        at = (aside * 1.05, deep + 0.3, -0.5 * sink)
        companion = _placed(other.mesh, heading=_heading(view.companion, view), at=at, size=0.52)
    meshes = [mesh for mesh in (body, accessory, companion) if mesh is not None]
    return Stage(body, accessory, companion, framing([body], meshes, view))


def framing(bodies: Sequence[Mesh], meshes: Sequence[Mesh], view: View) -> Camera:
    """The camera that shows `bodies` at the asked size with all of `meshes` inside."""
    large, whole = (np.concatenate([_seen(mesh.solid.vertices) for mesh in group]) for group in (bodies, meshes))
    return fitted(large, whole, pitch=view.pitch, fill=view.fill, shift=view.shift)


def _seen(vertices: Array) -> Array:
    """The part that is above the ground."""
    above = vertices[vertices[:, 2] >= 0]
    return above if len(above) else vertices


def _reach(view: View) -> float:
    """Distance behind the object at which the ground of an open place ends."""
    return 2.0 + 1.4 * (view.seed % 1009) / 1009


def _horizon(camera: Camera, view: View) -> float:
    """Row of the ground's far edge, as a share of the picture's height from the top."""
    edge = camera.project(np.array([[camera.target[0], _reach(view), 0.0]]))
    return float(1 - edge[0, 1]) / 2


@cache
def _mitsuba() -> Any:
    import drjit
    import mitsuba

    mitsuba.set_variant("scalar_rgb")
    mitsuba.set_log_level(mitsuba.LogLevel.Error)
    drjit.set_thread_count(1)
    return mitsuba


def _rays(scene: Scene, stage: Stage, *, side: int, samples: int) -> Array:
    """[side, side, 13]: linear RGB, alpha, marks of object and accessory, albedo, normal, depth."""
    mi = _mitsuba()
    view, camera = scene.view, stage.camera
    place = contexts.PLACES[view.context]
    to = mi.ScalarTransform4f
    film = {"type": "hdrfilm", "width": side, "height": side, "pixel_format": "rgba", "rfilter": {"type": "box"}}
    film["component_format"] = "float32"
    description: dict[str, Any] = {
        "type": "scene",
        "integrator": {
            "type": "aov",
            "aovs": "uv:uv,albedo:albedo,normal:sh_normal,depth:depth",
            "image": {"type": "path", "max_depth": 3, "hide_emitters": True},
        },
        "sensor": {
            "type": "perspective",
            "fov": FIELD,
            "to_world": to().look_at(origin=camera.origin.tolist(), target=camera.target.tolist(), up=[0, 0, 1]),
            "film": film,
            "sampler": {"type": "multijitter", "sample_count": samples},
        },
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


def _sun(view: View, place: contexts.Place) -> dict[str, Any]:
    azimuth, elevation, strength = view.light
    a, e = np.radians(azimuth), np.radians(elevation)
    direction = [float(np.sin(a) * np.cos(e)), float(np.cos(a) * np.cos(e)), float(-np.sin(e))]
    irradiance = [value * strength for value in place.sun]
    return {"type": "directional", "direction": direction, "irradiance": {"type": "rgb", "value": irradiance}}


def _surroundings(mi: Any, view: View, place: contexts.Place) -> dict[str, Any]:
    to = mi.ScalarTransform4f
    variant = view.seed % contexts.VARIANTS
    end = _reach(view) if place.wall is None else place.wall + 0.2
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
        "bsdf": {"type": "twosided", "paint": _textured(mi, contexts.upright(view.context, variant), repeat=2 * half / 2.4)},
    }
    return {"ground": ground, "wall": wall}


def _textured(mi: Any, texture: Any, *, repeat: float) -> dict[str, Any]:
    to_uv = mi.ScalarTransform4f().scale([repeat, repeat, 1])
    bitmap = {"type": "bitmap", "bitmap": mi.Bitmap(texture), "raw": True, "to_uv": to_uv}
    return {"type": "diffuse", "reflectance": bitmap}


def _shape(mi: Any, mesh: Mesh, name: str, *, shiny: bool = False, mark: tuple[float, float] = (0.0, 0.0)) -> Any:
    """A mitsuba mesh with vertex colours; roughplastic refuses them, so shiny is `principled`."""
    colour = {"type": "mesh_attribute", "name": "vertex_color"}
    if shiny:
        surface = {"type": "principled", "base_color": colour, "roughness": 0.2, "specular": 0.8, "clearcoat": 1.0, "clearcoat_gloss": 0.9}
    else:
        surface = {"type": "diffuse", "reflectance": colour}
    properties = mi.Properties()
    properties["mesh_bsdf"] = mi.load_dict({"type": "twosided", "side": surface})
    solid = mesh.solid
    count = len(solid.vertices)
    shape = mi.Mesh(name, count, len(solid.faces), has_vertex_normals=True, has_vertex_texcoords=True, props=properties)
    shape.add_attribute("vertex_color", 3, mesh.colours.astype(np.float32).ravel())
    parameters = mi.traverse(shape)
    parameters["vertex_positions"] = solid.vertices.astype(np.float32).ravel()
    parameters["vertex_normals"] = solid.normals.astype(np.float32).ravel()
    parameters["vertex_texcoords"] = np.tile(np.array(mark, dtype=np.float32), count)
    parameters["faces"] = solid.faces.astype(np.uint32).ravel()
    parameters.update()
    return shape
