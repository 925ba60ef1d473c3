"""Edits beside the same procedures written by hand (`by_hand`): latent for latent, on pocket."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from by_hand import Blend, ByHand, PromptToPrompt, StyleTransfer, photo, pix2pix_zero, proximal, regular
from motif import edit, invert
from pieces import gap

STEPS, GUIDANCE, CLOSE = 3, 5.0, 1e-3
HALF = 64
"""Pixels of maps of half the latent's side (16), which is where pocket's blend masks come from too."""
QUARTER = 16
WINDOWS: Any = {"cross_until": 0.6, "self_until": 0.4}
"""Two steps of the three, and one."""
CAPTION, SWAPPED, LONGER = (
    "a photo of a red cat in the desert", "a photo of a red dog in the desert",
    "a photo of a red cat with a green hat in the desert",
)  # fmt: skip
PARTED = "a photo of a red teacup in the desert"
"""Its teacup is two tokens."""
SAME = [*range(32)]
ADDED = [*range(7), None, None, None, None, 7, 8, 9, 10]
"""What the longer caption's positions are in the first: start, "a photo of a red cat", four words of its own, the rest
and the end."""
LATER: Any = {
    "cross_from": 0.3, "cross_until": 0.8, "louder": {"hat": 3.0},
    "cross_words": {"red": 0.0, "hat": 0.6, "desert": (0.6, 1.0)},
}  # fmt: skip
"""Steps 1 and 2 of the three; "red" in none, the new "hat" in the first two, "desert" in the last."""
LATER_AT = {5: (0.0, 0.0), 10: (0.0, 0.6), 13: (0.6, 1.0)}


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return photo()


@pytest.fixture(scope="module")
def run() -> ByHand:
    return ByHand(STEPS, GUIDANCE)


@pytest.fixture(scope="module")
def way(run: ByHand, picture: Image.Image) -> list[Tensor]:
    return run.climb(run.encode(picture), run.read(CAPTION))


@pytest.fixture(scope="module")
def ddim(pocket: Any, picture: Image.Image) -> Any:
    return invert.ddim(pocket, picture, CAPTION, steps=STEPS, guidance=GUIDANCE)


def plain(run: ByHand, way: list[Tensor], target: str) -> Tensor:
    """The word swap: no maps are touched."""
    return run.pair(way[-1], [run.read("")] * STEPS, (run.read(CAPTION), run.read(target)))


def test_the_target_positions_are_what_the_tokenizer_says(run: ByHand) -> None:
    before, after = (run.pipe.tokenizer(text).input_ids for text in (CAPTION, LONGER))
    assert [after[n] for n, m in enumerate(ADDED) if m is not None] == [
        before[m] for m in ADDED if m is not None
    ]
    lengths = [len(run.pipe.tokenizer(text).input_ids) - len(before) for text in (SWAPPED, PARTED)]
    assert lengths == [0, 1]


def test_word_swap(pocket: Any, run: ByHand, way: list[Tensor], ddim: Any) -> None:
    mine = edit.word_swap(pocket, ddim, SWAPPED)
    assert gap(mine.latents[0], plain(run, way, SWAPPED)[1:]) < CLOSE


@pytest.mark.parametrize(
    ("target", "settings", "origins", "louder"),
    [
        (SWAPPED, {"mode": "replace"}, SAME, {}),
        (SWAPPED, {"mode": "refine"}, [*range(6), None, *range(7, 32)], {}),
        (PARTED, {"mode": "replace"}, [*range(7), *range(6, 31)], {6: 0.5, 7: 0.5}),
        (LONGER, {}, ADDED, {}),
        (LONGER, {"louder": {"green hat": 3.0, "desert": 0.5}}, ADDED, {9: 3.0, 10: 3.0, 13: 0.5}),
        (CAPTION, {"louder": {"red": 4.0}}, SAME, {5: 4.0}),
        (LONGER, LATER, ADDED, {10: 3.0}),
        (
            SWAPPED,
            {"mode": "replace", "self_from": 0.7, "self_until": 1.0, "self_up_to": "quarter"},
            SAME,
            {},
        ),
    ],
    ids=[
        "replace",
        "refine",
        "replace by two tokens",
        "refine more words",
        "re-weight new words",
        "re-weight",
        "windows of cross maps and of words",
        "windows and sizes of self maps",
    ],
)
def test_prompt_to_prompt(
    pocket: Any,
    run: ByHand,
    way: list[Tensor],
    ddim: Any,
    target: str,
    settings: Any,
    origins: Any,
    louder: Any,
) -> None:
    mine = edit.prompt_to_prompt(pocket, ddim, target, **{**WINDOWS, **settings})
    told = {name: value for name, value in settings.items() if name.endswith(("_from", "_until"))}
    words = LATER_AT if "cross_words" in settings else None
    pixels = QUARTER if settings.get("self_up_to") == "quarter" else HALF
    hand = PromptToPrompt(run, origins, **{**WINDOWS, **told}, words=words, pixels=pixels, louder=louder)
    texts = (run.read(CAPTION), run.read(target))
    theirs = run.pair(way[-1], [run.read("")] * STEPS, texts, edit=hand)
    assert gap(mine.latents[0], theirs[1:]) < CLOSE
    assert gap(theirs[1:], plain(run, way, target)[1:]) > 20 * CLOSE, "the maps matter"


def test_p2plus(pocket: Any, run: ByHand, way: list[Tensor], ddim: Any) -> None:
    mine = edit.p2plus(pocket, ddim, SWAPPED, mode="replace", uncond_until=0.7, **WINDOWS)
    hand = PromptToPrompt(run, SAME, uncond_until=0.7, **WINDOWS, pixels=HALF)
    texts = (run.read(CAPTION), run.read(SWAPPED))
    theirs = run.pair(way[-1], [run.read("")] * STEPS, texts, edit=hand)
    assert gap(mine.latents[0], theirs[1:]) < CLOSE


def test_windows_of_p2plus(pocket: Any, run: ByHand, way: list[Tensor], ddim: Any) -> None:
    """Until the first step has passed both lanes' empty sides are one: the last step alone tells of `uncond_from`."""
    windows: Any = {
        "cross_from": 0.3, "cross_until": 0.8, "self_from": 0.4, "self_until": 0.7,
        "uncond_from": 0.7, "uncond_until": 1.0,
    }  # fmt: skip
    words = {"red": 0.0, "desert": (0.3, 1.0)}
    mine = edit.p2plus(
        pocket, ddim, SWAPPED, mode="replace", cross_words=words, self_up_to="quarter", **windows
    )
    told = {5: (0.0, 0.0), 9: (0.3, 1.0)}
    hand = PromptToPrompt(run, SAME, **windows, words=told, pixels=QUARTER)
    texts = (run.read(CAPTION), run.read(SWAPPED))
    theirs = run.pair(way[-1], [run.read("")] * STEPS, texts, edit=hand)
    assert gap(mine.latents[0], theirs[1:]) < CLOSE


@pytest.fixture(scope="module")
def fitted(pocket: Any, picture: Image.Image, run: ByHand, way: list[Tensor]) -> tuple[Any, list[Tensor]]:
    """Null-text inversions: motif's, and the empty prompts by hand."""
    mine = invert.null_text(pocket, picture, CAPTION, steps=STEPS, guidance=GUIDANCE, inner_steps=2)
    return mine, run.null_text(way, run.read(CAPTION), 2)[0]


@pytest.mark.parametrize(("of", "target_words"), [("union", (6, 10)), ("source", ())])
def test_local_blend_on_null_text(
    pocket: Any, fitted: Any, run: ByHand, way: list[Tensor], of: Any, target_words: tuple[int, ...]
) -> None:
    inversion, nulls = fitted
    words = ["cat", "hat"] if of == "union" else ["cat"]
    blend: Any = {"blend": words, "blend_from": of, "blend_threshold": 0.6, "blend_start": 0.4}
    mine = edit.prompt_to_prompt(pocket, inversion, LONGER, **WINDOWS, **blend)
    maps = PromptToPrompt(run, ADDED, **WINDOWS, pixels=HALF)
    hand = Blend(run, maps, ((6,), target_words), side=8, threshold=0.6, start=0.4)
    theirs = run.pair(way[-1], nulls, (run.read(CAPTION), run.read(LONGER)), edit=hand.maps, after=hand.after)
    assert mine.masks is not None and torch.equal(mine.masks[0, 0].float(), hand.mask[0, 0])
    assert 0.05 < float(hand.mask.mean()) < 0.95, "a mask that is everything tests nothing"
    assert gap(mine.latents[0], theirs[1:]) < CLOSE


def test_direct_inversion_moves_the_source_alone(
    pocket: Any, picture: Image.Image, run: ByHand, way: list[Tensor]
) -> None:
    inversion = invert.direct(pocket, picture, CAPTION, steps=STEPS, guidance=GUIDANCE)
    mine = edit.prompt_to_prompt(pocket, inversion, SWAPPED, mode="replace", **WINDOWS)
    hand = PromptToPrompt(run, SAME, **WINDOWS, pixels=HALF)
    theirs = run.pair(
        way[-1], [run.read("")] * STEPS, (run.read(CAPTION), run.read(SWAPPED)), edit=hand,
        after=lambda i, z: torch.cat([way[STEPS - 1 - i], z[1:]]),
    )  # fmt: skip
    assert gap(mine.latents[0], theirs[1:]) < CLOSE


def test_negative_prompt_edit(pocket: Any, picture: Image.Image, run: ByHand, way: list[Tensor]) -> None:
    inversion = invert.negative_prompt(pocket, picture, CAPTION, steps=STEPS, guidance=GUIDANCE)
    mine = edit.word_swap(pocket, inversion, SWAPPED)
    theirs = run.pair(way[-1], [run.read(CAPTION)] * STEPS, (run.read(CAPTION), run.read(SWAPPED)))
    assert gap(mine.latents[0], theirs[1:]) < CLOSE


def test_proximal_edit_is_cut_and_pulled(
    pocket: Any, picture: Image.Image, run: ByHand, way: list[Tensor]
) -> None:
    """Soft, over both rows; pulled to Z* by half below timestep 600 where nothing is edited, widened by a cell."""
    inversion = invert.proximal(pocket, picture, CAPTION, steps=STEPS, guidance=GUIDANCE, pull=0.5, until=600)
    mine = edit.word_swap(pocket, inversion, SWAPPED)
    edited = torch.zeros(0)

    def shrink(i: int, gap: Tensor) -> Tensor:
        nonlocal edited
        soft, edited = proximal(gap, 0.7)
        return soft

    def after(i: int, z: Tensor) -> Tensor:
        if run.times[i] >= 600:
            return z
        keep = 1 - torch.nn.functional.max_pool2d(edited, 3, 1, 1)
        pin = way[STEPS - 1 - i]
        return torch.cat([z[:1] - 0.5 * (z[:1] - pin), z[1:] - 0.5 * keep * (z[1:] - pin)])

    texts = (run.read(CAPTION), run.read(SWAPPED))
    theirs = run.pair(way[-1], [texts[0]] * STEPS, texts, shrink=shrink, after=after)
    assert gap(mine.latents[0], theirs[1:]) < CLOSE
    assert gap(theirs[1:], run.pair(way[-1], [texts[0]] * STEPS, texts)[1:]) > 20 * CLOSE


@pytest.fixture(scope="module")
def valued(pocket: Any, picture: Image.Image) -> Any:
    """An inversion by value embedding."""
    return invert.value_embedding(
        pocket, picture, CAPTION, steps=STEPS, guidance=GUIDANCE, inner_steps=2, until=0.5
    )


def test_value_embedding_feeds_the_caption_s_side_alone(
    pocket: Any, valued: Any, run: ByHand, way: list[Tensor]
) -> None:
    """The target reads learned values of its own states in the first half, the source at every step."""
    inversion = valued
    mine = edit.prompt_to_prompt(pocket, inversion, SWAPPED, mode="replace", **WINDOWS)
    empty, before, after = (run.read(text) for text in ("", CAPTION, SWAPPED))

    def values(i: int) -> Tensor:
        scale, shift = (inversion.values[name][i] for name in ("scale", "shift"))
        target = after * scale + shift if i < 0.5 * STEPS else after
        return torch.cat([empty, empty, before * scale + shift, target])

    hand = PromptToPrompt(run, SAME, **WINDOWS, pixels=HALF)
    theirs = run.pair(way[-1], [empty] * STEPS, (before, after), edit=hand, values=values)
    assert gap(mine.latents[0], theirs[1:]) < CLOSE


@pytest.mark.parametrize("rounds", [0, 1])
def test_pix2pix_zero(pocket: Any, run: ByHand, way: list[Tensor], ddim: Any, rounds: int) -> None:
    before, after = ["a cat in the desert", "a red cat"], ["a dog in the desert", "a red dog"]
    more: Any = {"ac_weight": 10.0, "kl_weight": 5.0, "seed": 3} if rounds else {}
    mine = edit.pix2pix_zero(
        pocket, ddim, SWAPPED, source_captions=before, target_captions=after, amount=0.05, regularise=rounds, **more
    )  # fmt: skip
    caption = run.read(CAPTION)
    direction = sum(run.read(text) for text in after) / 2 - sum(run.read(text) for text in before) / 2
    draw = torch.Generator().manual_seed(3)
    if rounds:
        way = run.climb(way[0], caption, lambda noise: regular(noise, draw, rounds, (10.0, 5.0)))
    reference, theirs = pix2pix_zero(run, way, caption, caption + direction, 0.05)
    assert gap(mine.latents[0], theirs) < CLOSE
    assert gap(theirs, reference) > 20 * CLOSE, "the direction matters"


@pytest.mark.parametrize(
    "shares",
    [{"maps": 0.7, "features": 0.4, "values": 0.3}, {"maps": 0.4, "features": 0.7, "values": 0.4}],
    ids=["mostly maps", "mostly features and values"],
)
def test_style_transfer(
    pocket: Any, run: ByHand, way: list[Tensor], ddim: Any, valued: Any, shares: dict[str, float]
) -> None:
    """The content's maps and features beside the style's values, each in its own steps and layers, on both sides of
    guidance (the values on the caption's alone)."""
    until: Any = {f"{name}_until": share for name, share in shares.items()}
    mine = edit.style_transfer(pocket, ddim, SWAPPED, style=valued, **until)
    empty, before, after = (run.read(text) for text in ("", CAPTION, SWAPPED))
    hand = StyleTransfer(run, **shares)

    def values(i: int) -> Tensor:
        scale, shift = (valued.values[name][i] for name in ("scale", "shift"))
        return hand.values(i, [empty, empty, before, after], scale, shift)

    how: Any = {"edit": hand.maps, "output": hand.features, "values": values}
    theirs = run.pair(way[-1], [empty] * STEPS, (before, after), **how)
    assert gap(mine.latents[0], theirs[1:]) < CLOSE
