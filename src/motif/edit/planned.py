"""From two prompts and an edit's settings to its lanes and controls: what Prompt-to-Prompt and its relatives share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

from motif.attention import Control
from motif.base import Base
from motif.edit.alignment import Tail, TokenMap, chosen, holds, places, refined, replaced
from motif.edit.blend import LocalBlend
from motif.edit.injection import CrossEdit, CrossInjection, SelfInjection, level_of
from motif.edit.run import Plan, Source, same_as_source
from motif.edit.windows import Window, factors, shares
from motif.errors import InputError
from motif.lanes import Lane
from motif.text import Text, Tokens

Mode = Literal["auto", "refine", "replace"]
UpTo = Literal["half", "quarter"]
BlendFrom = Literal["union", "source"]

NEVER = Window(0.0, 0.0)

BLENDING = ("blend_from", "blend_threshold", "blend_start", "spare")

PARTS: Mapping[str, int] = {"half": 2, "quarter": 4}


@dataclass(frozen=True)
class Blend:
    """The local blend's settings."""

    words: Sequence[str] = ()
    of: BlendFrom = "union"
    threshold: float = 0.3
    start: float = 0.2
    spare: Sequence[str] = ()


@dataclass(frozen=True)
class Settings:
    """What an attention edit does; windows of self maps are one for all targets, or one for each."""

    cross: Window
    own: Sequence[Window]  # self maps, conditional side
    mode: Mode = "auto"
    tail: Tail = "fixed"
    words: Mapping[str, Window] = field(default_factory=dict[str, Window])  # cross windows of some words
    louder: Mapping[str, float] = field(default_factory=dict[str, float])
    up_to: UpTo = "half"
    unguided: Window = NEVER  # self maps, unconditional side (P2Plus)
    blend: Blend = Blend()


def planned(
    base: Base, source: Source, prompts: Sequence[str], use: Settings, *, guidance: float | None = None
) -> Plan:
    """Lanes and controls of an attention edit, once everything that can be wrong with it has been looked at."""
    lanes = source.lanes(base, prompts, guidance=guidance)
    _check(use, lanes, source.steps)
    first, targets = lanes[0].text, {lane.name: lane.text for lane in lanes[1:]}
    controls: list[Control] = []
    if any(window.acts(source.steps, cross=True) for window in (use.cross, *use.words.values())):
        edits = {name: _cross(first, text, use, source.steps) for name, text in targets.items()}
        controls.append(CrossInjection(edits))
    windows = dict(zip(targets, _each(use.own, len(targets)), strict=True))
    own, unguided = (
        any(window.acts(source.steps) for window in windows.values()),
        use.unguided.acts(source.steps),
    )
    if own or unguided:
        require_layers(base, use.up_to)
    if own:
        controls.append(SelfInjection(windows, part=PARTS[use.up_to]))
    if unguided:
        both = dict.fromkeys(targets, use.unguided)
        controls.append(SelfInjection(both, part=PARTS[use.up_to], side="uncond"))
    pairs = [(before, after.tokens[0]) for before in first.tokens for after in targets.values()]
    if use.tail == "official" and not any(_shifts(*pair, use) for pair in pairs):
        raise InputError(
            "tail would change nothing: it is of a word replaced by one of another length in tokens"
        )
    same = {} if use.louder else same_as_source(base, source, lanes)
    return Plan(lanes, controls, _blend(use.blend, first, targets), same)


def _check(use: Settings, lanes: Sequence[Lane], steps: int) -> None:
    first, targets = lanes[0].text.tokens, [lane.text.tokens[0] for lane in lanes[1:]]
    for word in [*use.louder, *use.words]:
        if not any(holds(tokens, word) for tokens in targets):
            targets[0].span(word)  # raises, with the word and the prompt
    for word in [*use.blend.words, *use.blend.spare]:
        if not any(holds(tokens, word) for tokens in (*first, *targets)):
            raise InputError(
                f"the blend word \"{word}\" is in no prompt: neither the source's nor the target's"
            )
    if use.blend.of == "source" and use.blend.words:
        wanted = [word for word in use.blend.words if any(holds(tokens, word) for tokens in first)]
        if len(wanted) < len(use.blend.words):
            missing = next(word for word in use.blend.words if word not in wanted)
            raise InputError(
                f'the blend word "{missing}" is not in the source\'s prompt "{first[0].prompt}", and the mask comes '
                "from the source alone: name one of its words"
            )
    if not 0 <= use.blend.threshold < 1 or not 0 <= use.blend.start < 1:
        raise InputError(
            f"blend threshold {use.blend.threshold:g}, start {use.blend.start:g}: both lie from 0 to below 1"
        )
    windows = [("cross", use.cross, True), ("unconditional", use.unguided, False)]
    windows += [("self", window, False) for window in use.own]
    windows += [(f'cross ("{word}")', window, True) for word, window in use.words.items()]
    for name, window, cross in windows:
        if window.last > window.first and not window.acts(steps, cross=cross):
            raise InputError(
                f"the {name} window from {window.first:g} to {window.last:g} is shorter than one of {steps} steps"
            )
    _require_loud(use, targets, steps)
    if use.unguided.last > use.unguided.first and lanes[0].guidance == 1:
        raise InputError("at guidance 1 there is no unconditional side whose maps could be injected")
    if len(use.own) not in (1, len(targets)):
        raise InputError(f"{len(use.own)} self windows for {len(targets)} targets: give one, or one for each")


def _require_loud(use: Settings, targets: Sequence[Tokens], steps: int) -> None:
    """InputError for a louder word whose own maps are injected at no step: there is nothing to multiply."""
    for word in use.louder:
        mine = [(each, shares(each, use.cross, _held(each, use.words), steps)) for each in targets]
        if not any(share[:, places(each, word)].any() for each, share in mine if holds(each, word)):
            raise InputError(
                f'"{word}" is made louder while its cross maps are injected, and they never are: give its cross window '
                "a length"
            )


def _require_place(blend: Blend, source: Text, targets: Mapping[str, Text]) -> None:
    """InputError where a target, beside one of the photos, holds no blend word: its edit would be blended away."""
    for before, (after,) in product(source.tokens, [text.tokens for text in targets.values()]):
        sides = (before, after) if blend.of == "union" else (before,)
        if not any(holds(tokens, word) for tokens in sides for word in blend.words):
            where = '" or "'.join(each.prompt for each in sides)
            raise InputError(
                f'no blend word ({", ".join(blend.words)}) is in "{where}": nothing of the edit "{after.prompt}" would '
                "be left"
            )


def require_layers(base: Base, up_to: UpTo) -> None:
    """InputError where the base has no layers whose self maps could be injected."""
    if not any(site.kind == "self" and site.level >= level_of(PARTS[up_to]) for site in base.models.sites):
        raise InputError(
            f"{base.name} has no self-attention at a {up_to} of its latents' side or below: choose another self_up_to"
        )


def _cross(source: Text, target: Text, use: Settings, steps: int) -> CrossEdit:
    """One lane's edit; photos with captions of their own have maps of their own."""
    after = target.tokens[0]
    words, louder = _held(after, use.words), _held(after, use.louder)
    maps = [_mapped(before, after, use) for before in source.tokens]
    return CrossEdit(maps, shares(after, use.cross, words, steps), factors(after, louder))


def _held(tokens: Tokens, words: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the words that a prompt holds."""
    return {word: value for word, value in words.items() if holds(tokens, word)}


def _mapped(before: Tokens, after: Tokens, use: Settings) -> TokenMap:
    refine = _mode(before, after, use) == "refine"
    return refined(before, after) if refine else replaced(before, after, tail=use.tail)


def _shifts(before: Tokens, after: Tokens, use: Settings) -> bool:
    """Whether the two tails differ: words are replaced, and one of them is longer than what it replaces."""
    if _mode(before, after, use) == "refine":
        return False
    fixed, official = (replaced(before, after, tail=tail).matrix for tail in ("fixed", "official"))
    return fixed is None or official is None or not fixed.equal(official)


def _mode(before: Tokens, after: Tokens, use: Settings) -> Mode:
    return chosen(before, after) if use.mode == "auto" else use.mode


def _blend(blend: Blend, source: Text, targets: Mapping[str, Text]) -> LocalBlend | None:
    if not blend.words:
        return None
    _require_place(blend, source, targets)
    texts = {"source": source, **(targets if blend.of == "union" else {})}
    spare = {name: _places(text, blend.spare) for name, text in {"source": source, **targets}.items()}
    return LocalBlend(
        {name: _places(text, blend.words) for name, text in texts.items()},
        list(targets),
        spare=spare if blend.spare else None,
        threshold=blend.threshold,
        start=blend.start,
    )


def _places(text: Text, words: Sequence[str]) -> list[list[int]]:
    """For each of a text's prompts the positions of those words that it holds."""
    return [[i for w in words if holds(tokens, w) for i in places(tokens, w)] for tokens in text.tokens]


def _each(windows: Sequence[Window], count: int) -> list[Window]:
    return list(windows) if len(windows) == count else [*windows] * count
