"""Inversions beside the same procedures written by hand (`by_hand`): latent for latent, on pocket."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from by_hand import ByHand, photo
from motif import invert
from motif.invert.image_tokens import image_tokens
from motif.invert.mapping import fresh
from motif.invert.value_embedding import VARIANTS
from pieces import gap

STEPS, GUIDANCE = 3, 5.0
CAPTION = "a photo of a red cat in the desert"


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """A held-out photo; the caption is not its own, so that there is something to fit."""
    return photo()


@pytest.fixture(scope="module")
def run() -> ByHand:
    return ByHand(STEPS, GUIDANCE)


@pytest.fixture(scope="module")
def way(run: ByHand, picture: Image.Image) -> list[Tensor]:
    return run.climb(run.encode(picture), run.read(CAPTION))


def upwards(back: list[Tensor]) -> Tensor:
    """[level, ...] of what was walked from the noise down."""
    return torch.stack(back[::-1])


def test_ddim_inversion(pocket: Any, picture: Image.Image, run: ByHand, way: list[Tensor]) -> None:
    mine = invert.ddim(pocket, picture, CAPTION, steps=STEPS, guidance=GUIDANCE)
    assert gap(mine.latents, torch.stack(way)) < 1e-4
    back, (caption, empty) = [way[-1]], (run.read(CAPTION), run.read(""))
    for step in range(STEPS):
        with torch.no_grad():
            uncond, cond = (run.noise(back[-1], step, states) for states in (empty, caption))
        back.append(run.down(back[-1], step, run.guided(uncond, cond)))
    assert mine.way is not None and gap(mine.way, upwards(back)) < 1e-3
    assert gap(mine.way[0], mine.latents[0]) > 0.1, "guidance leaves the way up, or nothing was tested"


def test_negative_prompt_inversion_is_guidance_one(
    pocket: Any, picture: Image.Image, run: ByHand, way: list[Tensor]
) -> None:
    mine = invert.negative_prompt(pocket, picture, CAPTION, steps=STEPS, guidance=GUIDANCE)
    back, caption = [way[-1]], run.read(CAPTION)
    for step in range(STEPS):
        with torch.no_grad():
            back.append(run.down(back[-1], step, run.noise(back[-1], step, caption)))
    assert mine.way is not None and gap(mine.way, upwards(back)) < 1e-3
    assert mine.uncond is not None and gap(mine.uncond[0], caption) < 1e-5


def test_null_text_inversion(pocket: Any, picture: Image.Image, run: ByHand, way: list[Tensor]) -> None:
    mine = invert.null_text(pocket, picture, CAPTION, steps=STEPS, guidance=GUIDANCE, inner_steps=3)
    nulls, back = run.null_text(way, run.read(CAPTION), 3)
    assert mine.way is not None and gap(mine.way, upwards(back)) < 1e-3
    plain = invert.ddim(pocket, picture, CAPTION, steps=STEPS, guidance=GUIDANCE)
    assert plain.way is not None and gap(mine.way[0], plain.way[0]) > 0.05, "or nothing was fitted"
    assert mine.uncond is not None
    learned = torch.stack(nulls) - run.read("")
    off = (
        mine.uncond - run.read("") - learned
    ).abs()  # Adam takes signs: where a slope is 0 they are rounding's
    assert float(off.mean()) < 0.01 * float(learned.abs().mean())


@pytest.mark.parametrize(("updates", "compared"), [(1, STEPS), (2, 1)])
def test_value_embedding_as_released(
    pocket: Any, picture: Image.Image, run: ByHand, updates: int, compared: int
) -> None:
    """One update a step in every step, and two in the first: Adam's take signs of slopes that may be rounding's, from
    the second step's second on."""
    settings: Any = {"steps": STEPS, "guidance": GUIDANCE, "inner_steps": updates}
    mine = invert.value_embedding(pocket, picture, CAPTION, **settings)
    caption = run.read(CAPTION)
    words, width = caption.shape[1:]
    tokens = image_tokens([picture], "pocket", width=width, device="cpu")
    networks = convolutions(tokens.shape[1], words)
    found, back = run.value_embedding(run.encode(picture), caption, tokens, networks, updates, pixels=64)
    assert mine.way is not None
    assert gap(mine.way[STEPS - compared :], upwards(back)[STEPS - compared :]) < 1e-3
    for kind, learned in zip(("scale", "shift"), zip(*found, strict=True), strict=True):
        assert gap(mine.values[kind][:compared], torch.stack(learned)[:compared]) < 1e-3, kind


def test_value_embedding_as_in_the_paper(pocket: Any, picture: Image.Image, run: ByHand) -> None:
    """c̃ itself, from N(0, 0.01²), at 1e-4 to the end, and the noisiest maps measured. The betas are ours (the card
    remembers none): whatever they are."""
    settings: Any = {"steps": STEPS, "guidance": GUIDANCE, "inner_steps": 2, "variant": "paper"}
    mine = invert.value_embedding(pocket, picture, CAPTION, **settings)
    caption = run.read(CAPTION)
    words, width = caption.shape[1:]
    tokens = image_tokens([picture], "pocket", width=width, device="cpu")
    networks = convolutions(tokens.shape[1], words, paper=True)
    encoded, betas = run.encode(picture), VARIANTS["paper"].betas
    found, back = run.value_embedding(encoded, caption, tokens, networks, 2, pixels=64, paper=betas)
    assert mine.values.keys() == {"direct"}
    learned = torch.stack([one for (one,) in found])
    assert mine.way is not None and gap(mine.way, upwards(back)) < 1e-3
    assert gap(mine.values["direct"], learned) < 1e-3
    assert gap(learned[0], learned[-1]) > 0.01, "or nothing was learned"


def test_the_paper_s_network_starts_small() -> None:
    """N(0, 0.01²) (card 10.2)."""
    drawn = fresh(1, 197, 77, head="direct", start="small", seed=0, device=torch.device("cpu"))
    for weight in drawn[0:6:2]:
        assert float(weight.std()) == pytest.approx(0.01, rel=0.05) and abs(float(weight.mean())) < 5e-4
        assert float(weight.abs().max()) > 0.03, "a normal draw has tails"
    assert not any(bias.any() for bias in drawn[1:6:2])


def convolutions(tokens: int, words: int, *, paper: bool = False) -> nn.Sequential:
    """The release's mapping network in torch's own layers, in training mode for ever, or the paper's; its first values
    are the seed's draw."""
    channels = words if paper else 2 * words
    made = nn.Sequential(
        nn.Conv1d(tokens, channels, 1), nn.Conv1d(channels, channels, 1), nn.BatchNorm1d(channels),
        nn.LeakyReLU(0.01), nn.Conv1d(channels, channels, 1),
    ).train()  # fmt: skip
    kind: Any = {"head": "direct", "start": "small"} if paper else {"head": "affine", "start": "default"}
    drawn = fresh(1, tokens, words, **kind, seed=0, device=torch.device("cpu"))
    w0, b0, w1, b1, w2, b2, _, _ = (part[0] for part in drawn)
    with torch.no_grad():
        for layer, weight, bias in ((made[0], w0, b0), (made[1], w1, b1), (made[4], w2, b2)):
            layer.weight.copy_(weight[..., None])
            layer.bias.copy_(bias[:, 0])
    return made
