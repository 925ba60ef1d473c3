"""Style transfer: a content photo denoised with the values of a style photo, its features held in the decoder.

    K from the prompt, V from the style's learned embedding M_t(E(style))            (StyleDiffusion's value path)
    in the decoder's self-attention: A ← A_content in the first steps, and y ← y_content at its coarsest layers, longer

Li et al. 2023 (StyleDiffusion, arXiv 2303.15649), section 5 and Fig. 19, which does not say which features in which
layers, nor for how long; ours: values for half of the run (the edits' tau_v), and the choice of Plug-and-Play (Tumanyan
et al. 2023): self maps for half of it, and in the place of a residual block's output that of self-attention at the
decoder's coarsest level, for four fifths; card 10.6.

While self maps are injected they are made, also at the finest level: of Stable Diffusion's 64 x 64 latents one has
4096 x 4096 numbers in each of 8 heads, 512 MiB in float32, and 2 GiB for a photo's four rows (content and target, on
both sides of guidance). Two such tensors live at once (scores and maps, then maps and their copy): 4 GiB beside the
model for one photo, half of it in half precision. `maps_until` 0 makes none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from motif.attention import Call, Control, Side, Site
from motif.base import Base
from motif.edit.edited import Edited
from motif.edit.run import Plan, carried_out, targets_of, told
from motif.edit.windows import Window
from motif.errors import InputError
from motif.inversion import Inversion
from motif.progress import Progress
from motif.replay import Values, embedded


def style_transfer(
    base: Base,
    inversion: Inversion,
    prompt: str,
    *,
    style: str | Path | Inversion = "",
    maps_until: float = 0.5,
    features_until: float = 0.8,
    values_until: float = 0.5,
    guidance: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Edited:
    """Draw a content photo in the style of another: the other's values, this one's features.

    Args:
        style: The file of the style photo's inversion by value-embedding, with as many steps as the content's.
        maps_until: Until which part of the run the content's self maps are injected in the decoder.
        features_until: Until which part of the run the content's features are injected in the decoder's coarsest level.
        values_until: Until which part of the run values come from the style. They were fitted to bring a photo back
            against guidance, so that to the end of the run (1) they hold the content's own looks too: name the style
            in PROMPT.
        guidance: Guidance scale; the default is the inversion's.
    Raises:
        InputError: a style that is no value-embedding inversion of one photo, or has other steps.
        WrongBase: an inversion does not fit this base.
    """
    if not style:
        raise InputError("whose style? Name the inversion of a style photo, made by value-embedding (style)")
    given = style if isinstance(style, Inversion) else Inversion.load(Path(style).expanduser())
    settings = told({**locals(), "style": " | ".join(given.prompts)})
    settings.pop("given")
    prompts = targets_of(base, inversion, prompt)
    feed = _fed(base, given, inversion, values_until)
    maps, features = Window(0.0, maps_until), Window(0.0, features_until)
    for name, window in (("maps_until", maps), ("features_until", features)):
        if window.last and not window.acts(inversion.steps):
            raise InputError(
                f"{name} {window.last:g} is shorter than one of {inversion.steps} steps: more, or 0"
            )
    controls: list[Control] = [feed] if values_until else []
    controls += [DecoderMaps(maps)] if maps.acts(inversion.steps) else []
    controls += [DecoderFeatures(features, _coarsest(base))] if features.acts(inversion.steps) else []
    plan = Plan(inversion.lanes(base, prompts, guidance=guidance), controls)
    found = carried_out(base, inversion, plan, method="style-transfer", settings=settings, tell=on_progress)
    return dataclasses.replace(found, beside={"style": given.pictures()[0]})


def _fed(base: Base, style: Inversion, content: Inversion, until: float) -> StyleValues:
    if "values" not in style.replays or len(style) != 1:
        raise InputError(
            f"the style is a {style.method} inversion of {len(style)} photos: invert one photo with value-embedding"
        )
    if style.replays["values"].get("inputs", "values") != "values":
        raise InputError("the style's keys were learned (inputs): style is in the values alone")
    if "values" in content.replays:
        raise InputError(
            "the content was inverted with values of its own: invert it with ddim, direct or null-text"
        )
    if style.steps != content.steps:
        raise InputError(
            f"the style has {style.steps} steps and the content {content.steps}: invert both with as many"
        )
    style.check(base)
    Window(0.0, until)
    values = Values.of(style, base).values
    return StyleValues(values, until)


class StyleValues(Control):
    """The target lane's values come from the style's embedding, its keys from its prompt."""

    def __init__(self, values: Mapping[str, Tensor], until: float, lane: str = "target") -> None:
        self.values, self.until, self.lane = values, until, lane

    def context(self, site: Site, call: Call, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        row = call.row(self.lane)
        if site.kind == "self" or row is None or call.step >= self.until * call.steps - 1e-9:
            return keys, values
        new = values.clone()
        here = {name: value[call.step] for name, value in self.values.items()}
        new[row.span] = embedded(values[row.span], here)
        return keys, new


class DecoderMaps(Control):
    """The target's self maps in the decoder are the source's."""

    def __init__(self, window: Window, *, lane: str = "target", source: str = "source") -> None:
        self.window, self.lane, self.source = window, lane, source

    def reads(self, lane: str, side: Side, step: int, steps: int) -> bool:
        return lane == self.source and self.window.holds(step, steps)

    def looks(self, site: Site, call: Call) -> bool:
        return decodes(site) and self.window.holds(call.step, call.steps)

    def maps(self, site: Site, call: Call, maps: Tensor) -> Tensor:
        return carried(call, maps, self.source, self.lane)


class DecoderFeatures(Control):
    """The target's features at one level of the decoder, what self-attention gives there, are the source's."""

    def __init__(self, window: Window, level: int, *, lane: str = "target", source: str = "source") -> None:
        self.window, self.level, self.lane, self.source = window, level, lane, source

    def reads(self, lane: str, side: Side, step: int, steps: int) -> bool:
        return lane == self.source and self.window.holds(step, steps)

    def output(self, site: Site, call: Call, q: Tensor, maps: Tensor | None, out: Tensor) -> Tensor:
        here = decodes(site) and site.level == self.level and self.window.holds(call.step, call.steps)
        return carried(call, out, self.source, self.lane) if here else out


def decodes(site: Site) -> bool:
    """Whether a layer is self-attention of the decoder."""
    return site.kind == "self" and site.place == "up"


def carried(call: Call, x: Tensor, source: str, lane: str) -> Tensor:
    """One lane's rows in another's places, on both sides of guidance."""
    new = x.clone()
    for giver in call.rows:
        taker = call.row(lane, giver.side) if giver.lane == source else None
        if taker is not None:
            new[taker.span] = x[giver.span]
    return new


def _coarsest(base: Base) -> int:
    """The level of the decoder's coarsest self-attention."""
    levels = [site.level for site in base.models.sites if site.kind == "self" and site.place == "up"]
    if not levels:
        raise InputError(f"{base.name} has no self-attention in its decoder: no features to inject")
    return max(levels)
