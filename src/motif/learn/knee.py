"""Where a curve of image and text alignment over checkpoints bends, and when a run is past that.

    k* = argmax_k  (T_k − T_0) − (T_b − T_0) (I_k − I_0) / (I_b − I_0),        b = argmax_k I_k

among the checkpoints that no other beats in both. I is CLIP-I with the photos and T is CLIP-T (Kumari et al. 2023,
section 4; card 4.2); 0 is before the first step. The longer a concept is learned, the more its pictures are like the
photos and the less like the words: the knee lies farthest above the straight line from the start to the best likeness.
A run is past it when `patience` checkpoints have come behind it and it has not moved. Ours: the papers stop after a
number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """What the pictures of one checkpoint score, each with its standard error."""

    step: int
    image: float
    image_error: float
    text: float
    text_error: float

    def beats(self, other: Reading) -> bool:
        """Whether it is better in one and no worse in the other."""
        least = self.image >= other.image and self.text >= other.text
        return least and (self.image, self.text) != (other.image, other.text)


def knee(start: Reading, readings: Sequence[Reading]) -> tuple[int, str]:
    """The step to keep, and why in words: the one farthest above the line, and of equals the first."""
    top = max(readings, key=lambda r: (r.image, r.text))
    if top.image <= start.image:
        return readings[-1].step, "the last, for none is more like the photos than the start"
    slope = (top.text - start.text) / (top.image - start.image)
    unbeaten = [r for r in readings if not any(other.beats(r) for other in readings)]
    above = [r.text - start.text - slope * (r.image - start.image) for r in unbeaten]
    if (most := max(above)) < 1e-9:
        return top.step, "the most like the photos, for none lies above the straight line to it"
    kept = unbeaten[above.index(most)]
    share = (kept.image - start.image) / (top.image - start.image)
    return kept.step, (
        f"{share:.0%} of the gain in image alignment, and text alignment {most:.3f} above the straight line from the "
        "start to the best likeness"
    )


def passed(start: Reading, readings: Sequence[Reading], patience: int) -> int | None:
    """The step at which it was seen that the knee is passed; None where it is not, or with a patience of 0.

    A knee whose pictures are not nearer to the photos by more than the errors of both readings is none yet. What was
    read first decides: readings of later checkpoints change nothing, so that a run that went on, or was resumed, stops
    where one would have that did not.
    """
    for n in range(patience + 1, len(readings) + 1) if patience else ():
        step, _ = knee(start, readings[:n])
        found = next((r for r in readings[: n - patience] if r.step == step), None)
        if found and found.image - start.image > found.image_error + start.image_error:
            return readings[n - 1].step
    return None
