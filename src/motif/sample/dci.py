"""DCI: Divide, Conquer, then Integrate. The words "V* noun" cost the prompt its say; so two prompts draw together.

    main: "a <new1> cat in times square"   gives the concept      } in every cross-attention layer the two compete
    aux:  "a dog in times square"          gives everything else  } for each pixel and head; then main goes on alone

Jin et al. 2024 (arXiv 2412.04831), section 3.3; card of ICO and DCI, 4 to 6. λ is `balance`, T_a / T is `until`. Ours:
spans and stand-ins by themselves, several concepts, equal cost, and `auto`, which picks λ (`judged`).
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motif.attention import Control
from motif.base import Base
from motif.errors import InputError, require_heard
from motif.sample.drawn import Drawn, Keep
from motif.sample.integration import GAIN, Form, Layers
from motif.sample.judged import Judge
from motif.sample.progress import Progress, Told
from motif.sample.sheets import Row, Seen, balances_sheet, masks_sheet
from motif.sample.stand_in import Pair
from motif.sample.two_lanes import TwoLanes, equal_steps, evaluations, thrown

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger("motif")

BALANCE = 1.0
"""Where nobody says."""

AUTO = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""What `auto` chooses among (paper: typically -2 to 2)."""


def dci(
    base: Base,
    prompt: str,
    *,
    n: int = 1,
    seed: int = 0,
    steps: int = 50,
    stand_in: Mapping[str, str] | Sequence[str] = (),
    balance: float = BALANCE,
    until: float = 0.15,
    balances: str | Sequence[float] = "",
    auto: bool = False,
    references: str | Path | Sequence[Path] = "",
    encoder: str = "",
    show_masks: bool = False,
    masks: Form = "release",
    gain: float = GAIN,
    layers: Layers = "all",
    entire: bool = True,
    shared: bool = True,
    aux_seed: int | None = None,
    equal_cost: bool = False,
    guidance: float | None = None,
    eta: float = 0.0,
    negative: str = "",
    height: int | None = None,
    width: int | None = None,
    batch_size: int = 8,
    controls: Sequence[Control] = (),
    on_progress: Callable[[Progress], None] | None = None,
    on_image: Keep | None = None,
) -> Drawn:
    """Draw a learned concept beside a prompt with an ordinary noun in its place, which gives the rest of the picture.

    Args:
        n: How many pictures (of each balance).
        seed: The first picture's seed, 0 or more; picture i uses seed + i.
        steps: Denoising steps, 1 to 1000 (paper's code: 200, with eta 1).
        stand_in: "<new1> cat=fox" says what stands in for the concept; the default is a common noun of its kind.
        balance: The paper's λ: less is nearer to the photos, more to the prompt (paper: -2 to 2; 0 mixes too).
        until: The part of the run with two lanes, 0 (plain sampling) to 1 (paper: .15, its code: .3).
        balances: Several at once, as -2,-1,0,1,2: the same seeds with each, and a sheet of them.
        auto: Keep the one of the balances (-2 to 2 where none are given) that is most true to photos and prompt.
        references: The concept's photos, a folder, for auto.
        encoder: The CLIP that judges for auto: pocket, paper (ViT-B/32), a folder or a hub id; the default is pocket's
            on pocket, and the paper's elsewhere.
        show_masks: A sheet of the auxiliary lane's weights too, by the size of the layers' maps.
        masks: How the lanes compete: release (the published code), paper (as printed: a half everywhere), none (added).
        gain: How decided the masks of release are, for latents of 64 x 64; other sizes follow.
        layers: Where the lanes meet: in all cross-attention layers, or the last one.
        entire: Both lanes read the entire prompt, one with the stand-in; without it one reads the concept's words alone
            and the other all the others (an ablation of the paper).
        shared: Guide the auxiliary lane with the main one's unconditional prediction.
        aux_seed: The auxiliary lane's first seed; the default is another for each picture's own.
        equal_cost: Fewer steps, so that the denoiser works no more than in plain sampling with --steps.
        guidance: Guidance scale; 1 is none. The default is the base's own (paper's code: 6).
        eta: 0 is DDIM, 1 the DDPM sampler.
        negative: What to steer away from.
        height: In pixels; the default is the base's size.
        width: In pixels; the default is the base's size.
        batch_size: Pictures per pass; it changes memory, not the pictures.
        controls: Interventions in attention, before this one.
        on_progress: Told of every denoising step.
        on_image: Given each picture as soon as its pass is done, in order; auto's when it has chosen.
    Raises:
        InputError: nothing to stand in for, a window of no step, auto without references, a setting that cannot act.
    """
    if n < 1 or batch_size < 1:
        raise InputError(f"n is {n}, batches of {batch_size}: ask for at least one picture")
    guidance, plain = base.guidance if guidance is None else guidance, steps
    _check_heard(
        until, guidance, balances=balances or "", auto=auto, show_masks=show_masks, entire=entire, shared=shared,
        aux_seed=aux_seed, equal_cost=equal_cost,
    )  # fmt: skip
    values = _balances(balance, balances, auto)
    _check_entire(stand_in, entire=entire, auto=auto)
    _check_masks(show_masks=show_masks, masks=masks, gain=gain)
    if not auto and (references or encoder):
        raise InputError("references and encoder are of auto: add it, or drop them")
    pair = _pair(base, prompt, stand_in, entire) if until else Pair(prompt, prompt, (), ())
    if equal_cost:
        steps = equal_steps(base.schedule, steps, until, guided=guidance != 1.0, shared=shared)
    size = (base.size if height is None else height, base.size if width is None else width)
    passes = math.ceil(n / batch_size) * (len(values) + auto)
    told = [Told(on_progress, passes * steps)] if on_progress else []
    run = TwoLanes(
        base, pair, steps, guidance, until, size, eta, negative, shared, masks, layers, gain, (*controls, *told)
    )  # fmt: skip
    judge = Judge.of(base, pair, references, encoder) if auto else None
    _tell(run, evaluations(plain, 0.0, guided=guidance != 1.0, shared=shared))
    draw = _Draw(run, range(seed, seed + n), aux_seed, batch_size, show_masks, len(values) > 1)
    rows = [draw.row(value, None if judge else on_image) for value in values]
    about: dict[str, Any] = {"steps": steps, "evaluations": run.evaluations}
    about |= {"aux_prompt": pair.aux, "steps_with_two_lanes": run.window} if until else {}
    about |= {} if entire else {"main_prompt": pair.main}
    sheets = {"balances": balances_sheet(rows, draw.seeds, prompt)} if len(rows) > 1 else {}
    why = ""
    if judge:
        best, why = judge.best(rows, draw.alone())
        rows, about = [rows[best]], {**about, "balance": rows[best].balance, "why": why}
        for image, one in zip(rows[0].images, draw.seeds, strict=True):
            if on_image:
                on_image(image, seed=one)
    if show_masks:
        sheets["masks"] = masks_sheet(rows, draw.seeds, pair.aux)
    return Drawn(
        [image for row in rows for image in row.images],
        seeds=[*draw.seeds] * len(rows),
        labels=[draw.label(row.balance) if len(rows) > 1 else "" for row in rows for _ in row.images],
        sheets=sheets,
        about=about,
        why=why,
    )


@dataclass(frozen=True, eq=False)
class _Draw:
    """The same seeds with one balance after another."""

    run: TwoLanes
    seeds: range
    aux_seed: int | None
    batch_size: int
    show_masks: bool
    several: bool

    def label(self, balance: float) -> str:
        """What tells a balance's pictures from the others'."""
        return f"balance {balance:g}" if self.several else ""

    def row(self, balance: float, keep: Keep | None) -> Row:
        """The pictures of one balance, and their masks."""
        images: list[Image] = []
        seen: list[Seen] = []
        for first in range(0, len(self.seeds), self.batch_size):
            seeds = self.seeds[first : first + self.batch_size]
            aux = (
                None
                if self.aux_seed is None
                else range(self.aux_seed + first, self.aux_seed + first + len(seeds))
            )
            masks: Seen = {}
            drawn = self.run.pictures(seeds, balance, aux_seeds=aux, seen=masks if self.show_masks else None)
            for image, seed in zip(drawn, seeds, strict=True):
                if keep:
                    keep(image, seed=seed, label=self.label(balance))
            images += drawn
            seen.append(masks)
        return Row(balance, images, seen)

    def alone(self) -> list[Image]:
        """The auxiliary prompt without the concept: plain pictures of the same seeds."""
        pair = self.run.pair
        run = dataclasses.replace(self.run, pair=Pair(pair.aux, pair.aux, (), ()), until=0.0)
        return dataclasses.replace(self, run=run, show_masks=False).row(0.0, None).images


def _pair(base: Base, prompt: str, stand_in: Mapping[str, str] | Sequence[str], entire: bool) -> Pair:
    return Pair.of(base, prompt, stand_in) if entire else Pair.apart(base, prompt)


def _tell(run: TwoLanes, plain: int) -> None:
    if run.until:
        log.info(
            'the auxiliary prompt is "%s", for %d of %d steps (%d evaluations a picture; plain sampling: %d)',
            run.pair.aux, run.window, run.steps, run.evaluations, plain,
        )  # fmt: skip
        if run.shared and thrown(run.base.schedule, run.steps, run.window, run.guidance) > 1:
            log.warning(
                "%d steps are few for shared guidance of %g: it throws the auxiliary lane about instead of drawing it "
                "in: take more steps, or guidance of its own (--no-shared)",
                run.steps,
                run.guidance,
            )
    else:
        log.info("until is 0: plain sampling, in which stand-in, balance and masks have no say")


def _balances(one: float, several: str | Sequence[float], auto: bool) -> list[float]:
    try:
        parts = [part for part in several.split(",") if part.strip()] if isinstance(several, str) else several
        found = [float(part) for part in parts] or ([*AUTO] if auto else [one])
    except ValueError:
        raise InputError(f"balances {several!r}: numbers with commas between them, as -2,-1,0,1,2") from None
    if one != BALANCE and (parts or auto):
        raise InputError(
            f"balance is {one:g}, and several are asked for: name it among the balances, or drop it"
        )
    if not all(map(math.isfinite, found)) or len(set(found)) != len(found):
        raise InputError(f"balances {several!r}: finite numbers, each once")
    if auto and len(found) < 2:
        raise InputError("auto chooses among balances: name at least two")
    return found


def _check_heard(until: float, guidance: float, **settings: Any) -> None:
    """InputError for what would change nothing without an auxiliary lane, or without guidance. Stand-in, balance and
    the masks' form may stand beside until 0: in a grid it is the point of plain sampling."""
    if not until:
        names = [name for name in settings if name != "shared"]
        require_heard(
            dci, settings, names, "until is 0, which is plain sampling: raise it, or leave that out"
        )
    if guidance == 1.0:
        require_heard(dci, settings, ["shared"], "guidance is 1, and no unconditional prediction is made")


def _check_entire(stand_in: Mapping[str, str] | Sequence[str], *, entire: bool, auto: bool) -> None:
    if not entire and (stand_in or auto):
        what = "no stand-in" if stand_in else "nothing that auto could compare with"
        raise InputError(f"without the entire prompt there is {what}: drop it, or leave the prompt entire")


def _check_masks(*, show_masks: bool, masks: Form, gain: float) -> None:
    """InputError for settings that could not act."""
    if masks == "none" and show_masks:
        raise InputError('masks "none" adds the lanes up: there is no mask to show')
    if masks != "release" and gain != GAIN:
        raise InputError(f'gain is of the masks "release"; "{masks}" has none')
    if not (math.isfinite(gain) and gain > 0):
        raise InputError(f"gain is {gain:g}: a number above 0")
